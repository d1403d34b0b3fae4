//! The running product: starts the bus, the engines and the skills, runs turns,
//! announces what skills want said, and stops all of it again.

use crate::audit::{self, Outside};
use crate::config::Config;
use crate::consent::{self, Prompts};
use crate::effects::HubEffects;
use crate::models::Catalog;
use crate::native::{NativeSkills, home};
use crate::paths::{DataLock, HubFile, Paths};
use crate::privacy::{self, Privacy};
use crate::recorder::Recorder;
use crate::registry::Registry;
use crate::session::driver::{TurnContext, TurnInput, TurnOrder, VoiceSettings, run_turn};
use crate::session::hops::{HopEvent, Reach};
use crate::session::{Pins, Session};
use crate::sink::{AudioSink, SinkCommand, SinkEvent};
use crate::skills::{self, HubSkills};
use crate::supervisor::{EngineSpec, EngineState, Supervised};
use anyhow::{Context as _, bail};
use loqa_audit::{Audit, Journal};
use loqa_bus::{Bus, BusServer, Permissions, RestartPolicy, ServerOptions};
use loqa_protocol::client::{AskReply, AskRequest, AuditReply, AuditRequest, NodeInfo, TurnReport};
use loqa_protocol::engine::EngineKind;
use loqa_protocol::tts::TtsRequest;
use loqa_protocol::{ErrorCode, Failure, Hop, SessionId, ToolOutcome, ToolSpec, TurnClass, TurnId, WorkId, subject};
use loqa_skills::secrets::Secrets;
use loqa_skills::{DevSkill, MAX_BUDGET, SkillEvent, SkillHost, SkillHostOptions, SystemClock, Taint};
use loqa_store::Store;
use loqa_turn::state::{Deadlines, TurnSettings};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};

/// Makes an output for each announcement; `None` means that announcements are only recorded.
pub type SinkFactory = Arc<dyn Fn() -> AudioSink + Send + Sync>;

/// A running hub.
pub struct Hub {
    inner: Arc<Inner>,
    engines: Vec<Supervised>,
    natives: NativeSkills,
    server: Arc<BusServer>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    _lock: DataLock,
}

struct Inner {
    context: TurnContext,
    sessions: Mutex<HashMap<SessionId, Arc<Mutex<Session>>>>,
    timers_changed: Arc<Notify>,
    capabilities: Vec<String>,
    announcements: mpsc::Sender<String>,
    audit: Arc<Audit>,
    privacy: Arc<Privacy>,
    /// Where sound goes that no caller takes: announcements, and answers that a client wants spoken.
    speakers: Option<SinkFactory>,
    /// What turns may use of the skills changes while the hub runs.
    skills: Arc<HubSkills>,
}

/// How a turn begins.
#[derive(Debug, Clone, Default)]
pub struct TurnOptions {
    /// Continues this session; `None` begins a new one.
    pub session: Option<SessionId>,
    /// Whether nothing of it may be kept, whatever is configured.
    pub guest: bool,
    /// Whether what is said is kept as a recording, for the whole session; `None` is as
    /// configured, or as the session had it.
    pub keep_audio: Option<bool>,
}

/// A turn that runs by itself.
pub struct RunningTurn {
    /// Its id.
    pub turn: TurnId,
    orders: mpsc::Sender<TurnOrder>,
    report: oneshot::Receiver<TurnReport>,
}

impl RunningTurn {
    /// Stops it or speaks over it; too late is no fault.
    pub async fn order(&self, order: TurnOrder) {
        let _ = self.orders.send(order).await;
    }

    /// A handle that can give orders while the report is awaited.
    #[must_use]
    pub fn orders(&self) -> mpsc::Sender<TurnOrder> {
        self.orders.clone()
    }

    /// Waits for its end.
    pub async fn report(self) -> anyhow::Result<TurnReport> {
        self.report.await.context("the turn's task ended without a report")
    }
}

/// Longest text a turn accepts, in characters. Chosen: what a person types, not a file.
pub const MAX_TEXT: usize = 2_000;
/// Sessions kept in memory; the oldest idle ones beyond it are forgotten. Chosen.
const MAX_SESSIONS: usize = 64;
/// Name of the operator's bus identity.
const OPERATOR: &str = "operator";

const SYSTEM_PROMPT: &str = "You are Loqa, a voice assistant on the user's own machine. \
Answer in one or two short spoken sentences. Use a tool when one fits; never pretend to have done something.";

impl Hub {
    /// Starts everything and returns once the bus is up and the engines are being
    /// started; [`Hub::wait_ready`] waits for their models.
    pub async fn start(config: &Config, paths: &Paths, announce_to: Option<SinkFactory>) -> anyhow::Result<Self> {
        paths.prepare()?;
        let lock = DataLock::take(&paths.data)?;
        let audit = {
            let (data, config) = (paths.data.clone(), config.clone());
            tokio::task::spawn_blocking(move || audit::open(&data, &config)).await.context("open the audit")??
        };
        let catalog = Catalog::load(&paths.models)?.with_downloads(&paths.data);
        let engine_specs = {
            let (config, paths) = (config.clone(), paths.clone());
            // Digests of model files are read from the disk: not on an async thread.
            tokio::task::spawn_blocking(move || engine_specs(&config, &paths, &catalog))
        };
        let store = {
            let (data, config) = (paths.data.clone(), config.clone());
            let opened = tokio::task::spawn_blocking(move || privacy::open_store(&data, &config));
            opened.await.context("open the event store")??
        };
        let privacy = Arc::new(Privacy::new(config, store.clone()));
        let skills_opened = {
            let (data, folders) = (paths.data.clone(), paths.skills.clone());
            let (announcements, announced) = mpsc::channel(32);
            let effects = Arc::new(HubEffects::new(announcements.clone(), store.clone()));
            let (opening, dev, journal) = (Arc::clone(&effects), config.list("skills.dev"), Arc::clone(&audit));
            let opened = tokio::task::spawn_blocking(move || open_skills(&data, &folders, &dev, opening, journal));
            (opened, announcements, announced, effects)
        };
        let mqtt = home::gateway(config, &paths.data)?;
        let options = ServerOptions { binary: paths.nats_server.clone(), run_dir: paths.run() };
        let gateway = mqtt.as_ref().map(|mqtt| mqtt.gateway.clone());
        let server = Arc::new(
            BusServer::start_with_mqtt(options, RestartPolicy::default(), gateway)
                .await
                .context("start the message bus")?,
        );
        let hub_credentials =
            server.add_identity("hub", Permissions::hub()).await.context("make the hub's identity")?;
        let bus = Bus::connect(&hub_credentials).await.context("connect to the message bus")?;
        let operator =
            server.add_identity(OPERATOR, Permissions::operator()).await.context("make the operator's identity")?;
        lock.publish(&HubFile {
            pid: std::process::id(),
            url: operator.url.clone(),
            identity: operator.identity.clone(),
            seed: operator.seed.clone(),
        })?;
        let registry = Registry::new();
        registry.clone().serve(bus.clone()).await.context("serve the registry")?;

        let specs = engine_specs.await.context("check the models")??;
        let capabilities = specs.iter().map(|spec| spec.capability.clone()).collect::<Vec<_>>();
        let voice = voice_settings(config, &specs);
        let settings = turn_settings(config, &specs);
        let engines: Vec<Supervised> = specs
            .into_iter()
            .map(|spec| Supervised::start(spec, server.clone(), registry.clone(), audit.clone()))
            .collect();

        let (opened, announcements, announced, effects) = skills_opened;
        let (shelf, dev_skills) = opened.await.context("open the skills")??;
        let shelf = Arc::new(shelf);
        let skills = shelf.host();
        let prompts = Arc::new(Prompts::default());
        prompts.publish_on(bus.clone());
        skills.set_consent(Arc::clone(&prompts) as _, config.millis("skills.prompt_ms"));
        let natives = start_natives(config, paths, mqtt.as_ref(), &server, &bus, skills).await?;
        shelf.renew_offer()?;
        let offer = shelf.offer();
        let recorder = Recorder::start(store.clone(), bus.clone());
        let context = TurnContext {
            reach: Reach {
                bus: bus.clone(),
                registry: registry.clone(),
                server: server.state(),
                pins: Pins::default(),
                outside: Arc::new(outside(config, audit.clone())),
                scope: privacy.scope(false),
            },
            settings: Arc::new(settings),
            intents: offer.intents,
            tools: offer.tools,
            skills: Arc::clone(skills),
            prompts,
            recorder,
            keep_audio: false,
            voice: Arc::new(voice),
        };
        effects.attach(context.reach.clone(), context.settings.llm_tiers.clone());
        let answering = consent::serve(Arc::clone(&context.prompts), Arc::clone(&context.skills), bus.clone());
        let inner = Arc::new(Inner {
            context,
            sessions: Mutex::default(),
            timers_changed: Arc::default(),
            capabilities,
            announcements,
            audit: audit.clone(),
            privacy: Arc::clone(&privacy),
            speakers: announce_to,
            skills: Arc::clone(&shelf),
        });
        let tasks = vec![
            tokio::spawn(run_timers(inner.clone())),
            tokio::spawn(run_publications(inner.clone(), effects.published())),
            tokio::spawn(skills::watch_dev(shelf.clone(), dev_skills)),
            tokio::spawn(announce(inner.clone(), announced)),
            tokio::spawn(serve_clients(inner.clone(), bus.clone())),
            tokio::spawn(answering),
            tokio::spawn(privacy::serve(privacy, audit.clone(), bus.clone())),
            tokio::spawn(privacy::prune(store.clone(), privacy::retention(config))),
            tokio::spawn(privacy::note_nodes(store, registry)),
            tokio::spawn(skills::serve(shelf, bus.clone())),
            tokio::spawn(audit::prune(audit, config.integer("audit.keep_days"))),
        ];
        Ok(Self { inner, engines, natives, server, tasks, _lock: lock })
    }

    /// Waits until every configured engine offers its capability; returns those that
    /// do not, each with the reason where one is known.
    pub async fn wait_ready(&self, limit: Duration) -> Vec<(String, String)> {
        let end = Instant::now() + limit;
        let mut missing = Vec::new();
        for engine in &self.engines {
            let mut state = engine.state();
            let broken = async {
                match state.wait_for(|state| matches!(state, EngineState::Broken { .. })).await {
                    Ok(state) => match &*state {
                        EngineState::Broken { reason } => reason.clone(),
                        EngineState::Starting
                        | EngineState::Running { .. }
                        | EngineState::Backoff { .. }
                        | EngineState::Stopped => String::new(),
                    },
                    Err(_) => "supervision ended".to_owned(),
                }
            };
            let capability = &engine.spec.capability;
            let reason = tokio::select! {
                ready = self.inner.context.reach.registry.wait_for(capability, end.saturating_duration_since(Instant::now())) => {
                    if ready { continue }
                    match &*engine.state().borrow() {
                        EngineState::Backoff { reason, .. } => reason.clone(),
                        EngineState::Starting
                        | EngineState::Running { .. }
                        | EngineState::Broken { .. }
                        | EngineState::Stopped => format!("not ready after {} s", limit.as_secs()),
                    }
                }
                reason = broken => reason,
            };
            missing.push((capability.clone(), reason));
        }
        missing
    }

    /// Begins a turn. Without a session a new one is made.
    pub async fn begin(&self, session: Option<SessionId>, input: TurnInput, sink: AudioSink) -> RunningTurn {
        self.begin_with(TurnOptions { session, ..TurnOptions::default() }, input, sink).await
    }

    /// Begins a turn, with how it may be remembered.
    pub async fn begin_with(&self, options: TurnOptions, input: TurnInput, sink: AudioSink) -> RunningTurn {
        begin(&self.inner, options, input, Some(sink)).await
    }

    /// What is kept, and who reads it.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.inner.privacy.store()
    }

    /// What may be kept, and guest mode.
    #[must_use]
    pub fn privacy(&self) -> &Arc<Privacy> {
        &self.inner.privacy
    }

    /// Ends a session: its history is forgotten, and what was kept for it only goes.
    pub async fn end_session(&self, session: &SessionId) {
        let ended = self.inner.sessions.lock().await.remove(session);
        if ended.is_some() {
            forget(&self.inner, session.clone(), "ended");
        }
    }

    /// Rows of `loqa nodes`.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.inner.context.reach.registry.list(Instant::now())
    }

    /// Capabilities that are configured, in the order of the engines.
    #[must_use]
    pub fn capabilities(&self) -> &[String] {
        &self.inner.capabilities
    }

    /// Process id of nats-server.
    #[must_use]
    pub fn bus_pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Process ids of the engines by capability.
    #[must_use]
    pub fn engine_pids(&self) -> Vec<(String, u32)> {
        self.engines.iter().filter_map(|engine| engine.pid().map(|pid| (engine.spec.capability.clone(), pid))).collect()
    }

    /// The questions to the person that are open, for a window and for tests.
    #[must_use]
    pub fn prompts(&self) -> &Arc<Prompts> {
        &self.inner.context.prompts
    }

    /// Process ids of the native skills that run, by name.
    #[must_use]
    pub fn skill_pids(&self) -> Vec<(String, u32)> {
        self.natives.pids()
    }

    /// The recorder, for figures and tests.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.inner.context.recorder
    }

    /// A way to the engines with no worker chosen yet.
    pub(crate) fn fresh_reach(&self) -> Reach {
        Reach { pins: Pins::default(), ..self.inner.context.reach.clone() }
    }

    /// The tools that skills offer.
    #[must_use]
    pub fn tools(&self) -> Vec<ToolSpec> {
        self.inner.skills.offer().tools.to_vec()
    }

    /// The audit, for figures and tests.
    #[must_use]
    pub fn audit(&self) -> &Arc<Audit> {
        &self.inner.audit
    }

    /// Has a text spoken outside of a turn, as a skill's announcement is.
    pub async fn announce(&self, text: &str) {
        let _ = self.inner.announcements.send(text.to_owned()).await;
    }

    /// Ends the engines, the bus and all tasks; returns when they are gone.
    pub async fn stop(self) {
        for task in &self.tasks {
            task.abort();
        }
        self.inner.context.recorder.flush().await;
        let mut stopping = tokio::task::JoinSet::new();
        stopping.spawn(self.natives.stop());
        for engine in self.engines {
            stopping.spawn(engine.stop());
        }
        while stopping.join_next().await.is_some() {}
        for session in self.inner.sessions.lock().await.keys() {
            audit::session_ended(&*self.inner.audit, session, "hub_stopped");
        }
        let store = self.inner.privacy.store().clone();
        // What was kept for a session only goes with it.
        if let Err(e) = tokio::task::spawn_blocking(move || store.close()).await {
            tracing::error!(error = %e, "the event store ended badly");
        }
        let audit = Arc::clone(&self.inner.audit);
        // What waits, and a last checkpoint.
        if let Err(e) = tokio::task::spawn_blocking(move || audit.close()).await {
            tracing::error!(error = %e, "the audit ended badly");
        }
        match Arc::try_unwrap(self.server) {
            Ok(server) => server.stop().await,
            Err(_) => tracing::warn!("the bus is still in use, it ends with this process"),
        }
    }
}

/// Begins a turn; without a sink its answer is text only.
async fn begin(inner: &Arc<Inner>, options: TurnOptions, input: TurnInput, sink: Option<AudioSink>) -> RunningTurn {
    let session_id = options.session.unwrap_or_else(|| SessionId::from_bits(rand::random()));
    let turn = TurnId::from_bits(rand::random());
    let (orders, order_receiver) = mpsc::channel(4);
    let (sender, report) = oneshot::channel();
    if let TurnInput::Text(text) = &input
        && let Some(failure) = unfit_text(text)
    {
        let _ = sender.send(TurnReport {
            session: session_id,
            turn: turn.clone(),
            transcript: String::new(),
            class: TurnClass::None,
            tool: None,
            reply: String::new(),
            latency_ms: None,
            failure: Some(failure),
        });
        return RunningTurn { turn, orders, report };
    }
    let session = {
        let mut sessions = inner.sessions.lock().await;
        if sessions.len() >= MAX_SESSIONS && !sessions.contains_key(&session_id) {
            // An idle session is one that nobody else holds.
            let idle = sessions.iter().find(|(_, s)| Arc::strong_count(s) == 1).map(|(id, _)| id.clone());
            if let Some(idle) = idle {
                sessions.remove(&idle);
                forget(inner, idle, "forgotten");
            }
        }
        if !sessions.contains_key(&session_id) {
            audit::session_started(&*inner.audit, &session_id);
        }
        sessions.entry(session_id.clone()).or_insert_with(|| Arc::new(Mutex::new(Session::new(session_id)))).clone()
    };
    let scope = inner.privacy.scope(options.guest);
    let (inner, id) = (inner.clone(), turn.clone());
    tokio::spawn(async move {
        // Turns of one session follow each other.
        let mut session = session.lock().await;
        let mut context = inner.context.clone();
        context.reach.scope = scope;
        if let Some(keep) = options.keep_audio {
            session.keep_audio = Some(keep);
        }
        context.keep_audio = session.keep_audio.unwrap_or(inner.privacy.keep_audio()) && scope.may_be_kept();
        let offer = inner.skills.offer();
        (context.intents, context.tools) = (offer.intents, offer.tools);
        let sink = sink.unwrap_or_else(|| {
            context.voice = Arc::new(VoiceSettings { tts: None, ..VoiceSettings::clone(&context.voice) });
            AudioSink::memory().0
        });
        // What a guest says is not told to the owner's next turn, nor the other way round.
        let as_guest = !scope.may_be_kept();
        if as_guest {
            session.swap_histories();
        } else {
            session.forget_guest();
        }
        let report = run_turn(&context, &mut session, id, input, sink, order_receiver, Taint::user()).await;
        if as_guest {
            session.swap_histories();
        }
        inner.timers_changed.notify_one();
        let _ = sender.send(report);
    });
    RunningTurn { turn, orders, report }
}

fn unfit_text(text: &str) -> Option<Failure> {
    let length = text.chars().count();
    if length > MAX_TEXT {
        let message = format!("the text has {length} characters, a turn accepts {MAX_TEXT}");
        return Some(Failure::new(Hop::Input, ErrorCode::TextTooLong, message));
    }
    let speaks = text.chars().any(char::is_alphanumeric);
    (!speaks).then(|| Failure::new(Hop::Input, ErrorCode::NotUnderstood, "the text holds no word"))
}

/// What hangs on a session goes with it.
fn forget(inner: &Inner, session: SessionId, reason: &'static str) {
    audit::session_ended(&*inner.audit, &session, reason);
    let (skills, store) = (inner.context.skills.clone(), inner.privacy.store().clone());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = skills.grants().end_session(&session) {
            tracing::error!(%error, "the grants of a session that ended cannot be ended");
        }
        if let Err(error) = store.end_session(&session) {
            tracing::error!(%error, "what was kept for a session that ended stays");
        }
    });
}

fn engine_specs(config: &Config, paths: &Paths, catalog: &Catalog) -> anyhow::Result<Vec<EngineSpec>> {
    let mut specs = Vec::new();
    let otlp_endpoint = config.text_if_set("telemetry.otlp_endpoint").map(str::to_owned);
    let threads = |key: &str| -> Map<String, Value> {
        let threads = config.integer(key);
        (threads > 0).then(|| ("threads".to_owned(), Value::from(threads))).into_iter().collect()
    };
    if config.bool("stt.enabled") {
        let model = catalog.verified(config.text("stt.model"), EngineKind::Stt)?;
        specs.push(EngineSpec {
            kind: EngineKind::Stt,
            capability: model.capability.clone(),
            model: model.name.clone(),
            model_path: model.path,
            program: paths.program("loqa-stt"),
            settings: threads("stt.threads"),
            otlp_endpoint: otlp_endpoint.clone(),
        });
    }
    if let Some(endpoint) = config.text_if_set("llm.endpoint") {
        let Some(model) = config.text_if_set("llm.endpoint_model") else {
            bail!("`llm.endpoint` is set, set `llm.endpoint_model` to the name of a model there");
        };
        specs.push(EngineSpec {
            kind: EngineKind::Llm,
            capability: "llm.endpoint".to_owned(),
            model: model.to_owned(),
            model_path: Default::default(),
            program: paths.program("loqa-llm"),
            settings: [("backend", "openai"), ("endpoint", endpoint)]
                .map(|(key, value)| (key.to_owned(), Value::from(value)))
                .into_iter()
                .collect(),
            otlp_endpoint: otlp_endpoint.clone(),
        });
    }
    for name in config.list("llm.models") {
        let model = catalog.verified(&name, EngineKind::Llm)?;
        specs.push(EngineSpec {
            kind: EngineKind::Llm,
            capability: model.capability.clone(),
            model: model.name.clone(),
            model_path: model.path,
            program: paths.program("loqa-llm"),
            settings: threads("llm.threads"),
            otlp_endpoint: otlp_endpoint.clone(),
        });
    }
    if config.bool("tts.enabled") {
        let model = catalog.verified(config.text("tts.model"), EngineKind::Tts)?;
        let mut settings = threads("tts.threads");
        settings.insert("ort_dylib".to_owned(), Value::from(paths.onnxruntime.to_string_lossy().into_owned()));
        settings.insert("cache_bytes".to_owned(), Value::from(config.integer("tts.cache_bytes")));
        if let Some(folder) = &model.voices_dir {
            settings.insert("voices_dir".to_owned(), Value::from(folder.to_string_lossy().into_owned()));
        }
        specs.push(EngineSpec {
            kind: EngineKind::Tts,
            capability: model.capability.clone(),
            model: model.name.clone(),
            model_path: model.path,
            program: paths.program("loqa-tts"),
            settings,
            otlp_endpoint,
        });
    }
    Ok(specs)
}

fn voice_settings(config: &Config, specs: &[EngineSpec]) -> VoiceSettings {
    let capability = |kind| specs.iter().find(|spec| spec.kind == kind).map(|spec| spec.capability.clone());
    VoiceSettings {
        stt: capability(EngineKind::Stt),
        language: config.text("stt.language").to_owned(),
        tts: capability(EngineKind::Tts),
        voice: config.text_if_set("tts.voice").map(str::to_owned),
        speed: config.number("tts.speed") as f32,
        system_prompt: SYSTEM_PROMPT.to_owned(),
        stt_deadline: config.millis("turn.stt_final_ms"),
        llm_deadline: config.millis("turn.llm_total_ms"),
        tts_deadline: config.millis("turn.total_ms"),
        skill_budget: config.millis("turn.skill_ms"),
    }
}

fn turn_settings(config: &Config, specs: &[EngineSpec]) -> TurnSettings {
    TurnSettings {
        deadlines: Deadlines {
            stt_final: config.millis("turn.stt_final_ms"),
            llm_first: config.millis("turn.llm_first_ms"),
            llm_total: config.millis("turn.llm_total_ms"),
            // The skill host ends a call at its budget, which is longer for skills that ask a server;
            // the machine only catches a host that does not.
            skill: (config.millis("turn.skill_ms") * 2).max(MAX_BUDGET + Duration::from_secs(1)),
            // The gate ends each question in time; this bounds all questions of a turn.
            consent: config.millis("skills.prompt_ms") * 3,
            tts_first: config.millis("turn.tts_first_ms"),
            turn: config.millis("turn.total_ms"),
            ..Deadlines::default()
        },
        llm_tiers: specs
            .iter()
            .filter(|spec| spec.kind == EngineKind::Llm)
            .map(|spec| spec.capability.clone())
            .collect(),
        min_confidence: config.number("stt.min_confidence") as f32,
        min_tool_confidence: config.number("llm.min_tool_confidence") as f32,
    }
}

/// The native skills that are configured. Their programs start in the background,
/// because the person may have to be asked.
async fn start_natives(
    config: &Config,
    paths: &Paths,
    mqtt: Option<&home::Gateway>,
    server: &Arc<BusServer>,
    bus: &Bus,
    skills: &Arc<SkillHost>,
) -> anyhow::Result<NativeSkills> {
    let kept = Secrets::in_folder(&paths.data);
    let secrets = Arc::new(move |skill: &str, name: &str| kept.get(skill, name).map(|it| it.expose().to_owned()));
    let natives = NativeSkills::open(Arc::clone(server), bus.clone(), Arc::clone(skills), secrets).await?;
    if let Some(spec) = home::spec(config, paths, mqtt)? {
        natives.add(spec)?;
        let skills = Arc::clone(skills);
        tokio::task::spawn_blocking(move || {
            if let Err(reason) = skills.start_native(home::SKILL) {
                tracing::warn!(skill = home::SKILL, reason = reason.as_str(), "the program may not run yet");
            }
        });
    }
    Ok(natives)
}

fn open_skills(
    data: &Path,
    folders: &[std::path::PathBuf],
    dev: &[String],
    effects: Arc<HubEffects>,
    journal: Arc<dyn Journal>,
) -> anyhow::Result<(HubSkills, Vec<DevSkill>)> {
    let options = SkillHostOptions { data_dir: data.to_owned(), clock: Arc::new(SystemClock) };
    let host = SkillHost::open_with_audit(options, effects, journal).context("open the skill store")?;
    let skills = HubSkills::load(host, data, folders)?;
    let watched = skills.load_dev(dev)?;
    Ok((skills, watched))
}

/// Which engines ask a server, and where that is.
fn outside(config: &Config, journal: Arc<dyn Journal>) -> Outside {
    let endpoint = config.text_if_set("llm.endpoint");
    Outside::new(journal, endpoint.map(|url| ("llm.endpoint".to_owned(), url.to_owned())).into_iter().collect())
}

/// Passes on what skills publish to the skills that subscribed.
async fn run_publications(inner: Arc<Inner>, published: Arc<Notify>) {
    loop {
        published.notified().await;
        let skills = inner.context.skills.clone();
        let delivered = tokio::task::spawn_blocking(move || {
            let mut said = Vec::new();
            for delivery in skills.take_publications() {
                match skills.deliver_publication(&delivery) {
                    Ok(outcome) => said.extend(outcome),
                    Err(failure) => tracing::warn!(skill = delivery.to, %failure, "a publication was not taken"),
                }
            }
            said
        })
        .await;
        for outcome in delivered.unwrap_or_default().into_iter().filter(|outcome| !outcome.say.is_empty()) {
            let _ = inner.announcements.send(outcome.say).await;
        }
        inner.timers_changed.notify_one();
    }
}

/// Delivers due timers to their skills. Sleeps at most a second while one is set, so
/// that a changed wall clock is noticed.
async fn run_timers(inner: Arc<Inner>) {
    loop {
        let skills = inner.context.skills.clone();
        let due = tokio::task::spawn_blocking(move || {
            let mut said: Vec<ToolOutcome> = Vec::new();
            for timer in skills.due_timers(wall_ms()) {
                let event = SkillEvent { name: timer.name, data: timer.data };
                match skills.deliver(&timer.skill, &event) {
                    Ok(outcome) => said.extend(outcome),
                    Err(failure) => tracing::warn!(skill = %timer.skill, %failure, "event was not taken"),
                }
            }
            if let Err(error) = skills.grants().tick() {
                tracing::error!(%error, "the clock of the grants cannot be kept");
            }
            (said, skills.next_timer())
        })
        .await;
        let Ok((said, next)) = due else { continue };
        for outcome in said.into_iter().filter(|outcome| !outcome.say.is_empty()) {
            let _ = inner.announcements.send(outcome.say).await;
        }
        let pause = next.map_or(Duration::from_mins(1), |due_ms| {
            Duration::from_millis(u64::try_from(due_ms - wall_ms()).unwrap_or(0)).min(Duration::from_secs(1))
        });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = inner.timers_changed.notified() => {}
        }
    }
}

fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Speaks announcements one after the other.
async fn announce(inner: Arc<Inner>, mut texts: mpsc::Receiver<String>) {
    while let Some(text) = texts.recv().await {
        let (Some(speakers), Some(capability)) = (&inner.speakers, &inner.context.voice.tts) else {
            tracing::info!("an announcement has no voice or no output");
            continue;
        };
        let mut sink = speakers();
        let (events, mut hop) = mpsc::channel(64);
        let (clauses, queue) = mpsc::channel(1);
        let request = TtsRequest {
            work: WorkId::from_bits(rand::random()),
            turn: TurnId::from_bits(rand::random()),
            session: SessionId::from_bits(rand::random()),
            text,
            voice: inner.context.voice.voice.clone(),
            speed: inner.context.voice.speed,
            deadline_ms: 30_000,
        };
        let running = inner.context.reach.speak(capability.clone(), queue, events, 0);
        if clauses.send((0, request)).await.is_err() {
            continue;
        }
        drop(clauses);
        while let Some((_, event)) = hop.recv().await {
            match event {
                HopEvent::Chunk { samples, .. } => {
                    let _ = sink.commands.send(SinkCommand::Chunk(samples)).await;
                }
                HopEvent::Failed(failure) => tracing::warn!(%failure, "an announcement was not spoken"),
                HopEvent::ClauseDone { .. } => break,
                HopEvent::Partial(_)
                | HopEvent::Heard { .. }
                | HopEvent::Delta { .. }
                | HopEvent::ModelToolCall { .. }
                | HopEvent::ReplyDone(_) => {}
            }
        }
        running.finished();
        let _ = sink.commands.send(SinkCommand::Finish).await;
        while let Some(event) = sink.events.recv().await {
            if matches!(event, SinkEvent::Drained | SinkEvent::Failed(_)) {
                break;
            }
        }
    }
}

/// Answers clients that hold the operator's credentials.
async fn serve_clients(inner: Arc<Inner>, bus: Bus) {
    let subscriptions = async {
        let asks = bus.subscribe(subject::HUB_ASK, None, 32).await?;
        let nodes = bus.subscribe(subject::HUB_NODES, None, 32).await?;
        let audits = bus.subscribe(subject::HUB_AUDIT, None, 8).await?;
        bus.flush().await?;
        Ok::<_, loqa_bus::BusError>((asks, nodes, audits))
    };
    let (mut asks, mut nodes, mut audits) = match subscriptions.await {
        Ok(subscriptions) => subscriptions,
        Err(e) => {
            tracing::error!(error = %e, "clients cannot be served");
            return;
        }
    };
    loop {
        tokio::select! {
            Some(message) = asks.next() => {
                let (inner, bus) = (inner.clone(), bus.clone());
                tokio::spawn(async move {
                    let reply = match message.json::<AskRequest>() {
                        Ok(ask) => {
                            let sink = inner.speakers.as_ref().filter(|_| ask.speak).map(|speakers| speakers());
                            let options =
                                TurnOptions { session: ask.session, guest: ask.guest, keep_audio: None };
                            let turn = begin(&inner, options, TurnInput::Text(ask.text), sink).await;
                            match turn.report().await {
                                Ok(report) => AskReply::Turn(report),
                                Err(e) => AskReply::Refused {
                                    failure: Failure::new(Hop::Hub, ErrorCode::ShuttingDown, format!("{e:#}")),
                                },
                            }
                        }
                        Err(e) => AskReply::Refused {
                            failure: Failure::new(Hop::Hub, ErrorCode::BadRequest, e.to_string()),
                        },
                    };
                    if let Some(to) = &message.reply
                        && let Err(e) = bus.respond(to, &reply).await
                    {
                        tracing::debug!(error = %e, "answer to a client did not leave");
                    }
                });
            }
            Some(message) = audits.next() => {
                let (audit, bus) = (inner.audit.clone(), bus.clone());
                tokio::spawn(async move {
                    let refused = |code, message: String| AuditReply::Refused { failure: Failure::new(Hop::Hub, code, message) };
                    let reply = match message.json::<AuditRequest>() {
                        Ok(request) => tokio::task::spawn_blocking(move || audit::answer(&audit, request))
                            .await
                            .unwrap_or_else(|e| refused(ErrorCode::StorageFault, e.to_string())),
                        Err(e) => refused(ErrorCode::BadRequest, e.to_string()),
                    };
                    if let Some(to) = &message.reply
                        && let Err(e) = bus.respond(to, &reply).await
                    {
                        tracing::debug!(error = %e, "answer to a client did not leave");
                    }
                });
            }
            Some(message) = nodes.next() => {
                let rows = inner.context.reach.registry.list(Instant::now());
                if let Some(to) = &message.reply
                    && let Err(e) = bus.respond(to, &rows).await
                {
                    tracing::debug!(error = %e, "answer to a client did not leave");
                }
            }
            else => return,
        }
    }
}
