//! The running product: starts the bus, the engines and the skills, runs turns, and
//! stops all of it again.

mod assemble;
mod background;
mod begin;
mod clients;
mod erase;
mod fetching;
mod keys;
mod programs;
mod rehearse;
mod settings;
mod swap;

use crate::audit;
use crate::config::Config;
use crate::consent::{self, Prompts};
use crate::effects::HubEffects;
use crate::native::{NativeSkills, home};
use crate::paths::{ApiAddress, DataLock, HubFile, Paths};
use crate::privacy::{self, Privacy};
use crate::pulls::Pulls;
use crate::recorder::Recorder;
use crate::registry::Registry;
use crate::session::driver::{TurnContext, TurnInput, TurnOrder};
use crate::session::hops::Reach;
use crate::session::{Pins, Session};
use crate::sink::AudioSink;
use crate::skills::{self, HubSkills};
use crate::supervisor::{EngineState, Supervised};
use anyhow::Context as _;
use assemble::{Tuning, engine_specs, open_skills, outside, start_natives};
pub use keys::{KeyAnswer, KeyRequests};
use loqa_audit::Audit;
use loqa_bus::{Bus, BusError, BusServer, Credentials, Permissions, RestartPolicy, ServerOptions};
use loqa_protocol::client::{NodeInfo, TurnReport};
use loqa_protocol::{SessionId, ToolSpec, TurnId};
use loqa_store::Store;
pub use settings::{Applies, SettingError, applies};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Notify, mpsc, oneshot, watch};

/// Makes an output for each announcement; `None` means that announcements are only recorded.
pub type SinkFactory = Arc<dyn Fn() -> AudioSink + Send + Sync>;

/// A running hub.
pub struct Hub {
    inner: Arc<Inner>,
    natives: NativeSkills,
    server: Arc<BusServer>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// How clients of this user reach the hub.
    file: std::sync::Mutex<HubFile>,
    lock: DataLock,
}

struct Inner {
    context: TurnContext,
    sessions: Mutex<HashMap<SessionId, Arc<Mutex<Session>>>>,
    timers_changed: Arc<Notify>,
    /// In the order of the configuration; language models best first.
    engines: std::sync::Mutex<Vec<Supervised>>,
    /// Held while a model is put to use.
    swapping: Mutex<()>,
    /// Models that are being fetched.
    pulls: Pulls,
    /// Held while a session is run again.
    replaying: Arc<Mutex<()>>,
    /// Engines that end their work because others took their places, and replays. All of
    /// them end soon once `stopping` says so.
    leaving: std::sync::Mutex<Vec<tokio::task::JoinHandle<()>>>,
    stopping: watch::Sender<bool>,
    /// The hub's, which it ends.
    server: Weak<BusServer>,
    effects: Arc<HubEffects>,
    announcements: mpsc::Sender<String>,
    audit: Arc<Audit>,
    privacy: Arc<Privacy>,
    /// Where sound goes that no caller takes: announcements, and answers that a client wants spoken.
    speakers: Option<SinkFactory>,
    /// What turns may use of the skills changes while the hub runs.
    skills: Arc<HubSkills>,
    /// And so do deadlines, limits and the voice.
    tuning: RwLock<Tuning>,
    config: RwLock<Config>,
    /// As it is for the next start.
    saved: std::sync::Mutex<Config>,
    paths: Paths,
}

impl Inner {
    /// What a turn that begins is to keep to.
    fn tuning(&self) -> Tuning {
        self.tuning.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
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

impl From<Option<SessionId>> for TurnOptions {
    fn from(session: Option<SessionId>) -> Self {
        Self { session, ..Self::default() }
    }
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
/// Name of the operator's bus identity.
const OPERATOR: &str = "operator";
/// Longest wait for others to let go of a hub that stops. Chosen: above the longest call of a skill.
const LET_GO: Duration = Duration::from_secs(15);

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
        let catalog = paths.catalog()?;
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
        let file = HubFile {
            pid: std::process::id(),
            url: operator.url.clone(),
            identity: operator.identity.clone(),
            seed: operator.seed.clone(),
            api: None,
        };
        lock.publish(&file)?;
        let registry = Registry::new();
        registry.clone().serve(bus.clone()).await.context("serve the registry")?;

        let specs = engine_specs.await.context("check the models")??;
        let tuning = Tuning::of(config, &specs);
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
        let natives = start_natives(config, paths, mqtt.as_ref(), &server, &bus, skills, &effects).await?;
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
            settings: Arc::clone(&tuning.settings),
            intents: offer.intents,
            tools: offer.tools,
            skills: Arc::clone(skills),
            prompts,
            recorder,
            voice: Arc::clone(&tuning.voice),
            keep_audio: false,
        };
        effects.attach(context.reach.clone(), context.settings.llm_tiers.clone());
        let answering = consent::serve(Arc::clone(&context.prompts), Arc::clone(&context.skills), bus.clone());
        let inner = Arc::new(Inner {
            context,
            sessions: Mutex::default(),
            timers_changed: Arc::default(),
            engines: std::sync::Mutex::new(engines),
            swapping: Mutex::default(),
            pulls: Pulls::new(Arc::clone(&audit) as _),
            replaying: Arc::default(),
            leaving: std::sync::Mutex::default(),
            stopping: watch::channel(false).0,
            server: Arc::downgrade(&server),
            effects: Arc::clone(&effects),
            announcements,
            audit: audit.clone(),
            privacy: Arc::clone(&privacy),
            speakers: announce_to,
            skills: Arc::clone(&shelf),
            tuning: RwLock::new(tuning),
            config: RwLock::new(config.clone()),
            saved: std::sync::Mutex::new(config.clone()),
            paths: paths.clone(),
        });
        let tasks = vec![
            tokio::spawn(background::run_timers(inner.clone())),
            tokio::spawn(background::run_publications(inner.clone(), effects.published())),
            tokio::spawn(skills::watch_dev(shelf.clone(), dev_skills)),
            tokio::spawn(background::announce(inner.clone(), announced)),
            tokio::spawn(clients::serve(inner.clone(), bus.clone())),
            tokio::spawn(answering),
            tokio::spawn(privacy::prune(store.clone(), privacy::retention(config))),
            tokio::spawn(privacy::note_nodes(store, registry)),
            tokio::spawn(skills::serve(shelf, bus.clone())),
            tokio::spawn(audit::prune(audit, config.integer("audit.keep_days"))),
        ];
        Ok(Self { inner, natives, server, tasks, file: std::sync::Mutex::new(file), lock })
    }

    /// Waits until every configured engine offers its capability; returns those that
    /// do not, each with the reason where one is known.
    pub async fn wait_ready(&self, limit: Duration) -> Vec<(String, String)> {
        self.wait_ready_for(limit, |_| true).await
    }

    /// As [`Hub::wait_ready`], for the capabilities that are wanted only.
    pub async fn wait_ready_for(&self, limit: Duration, is_wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let end = Instant::now() + limit;
        let mut missing = Vec::new();
        let engines: Vec<_> = {
            let engines = self.inner.engines.lock().unwrap_or_else(PoisonError::into_inner);
            let wanted = engines.iter().filter(|engine| is_wanted(&engine.spec.capability));
            wanted.map(|engine| (engine.spec.capability.clone(), engine.state())).collect()
        };
        for (capability, state_of) in engines {
            let mut state = state_of.clone();
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
            let reason = tokio::select! {
                ready = self.inner.context.reach.registry.wait_for(&capability, end.saturating_duration_since(Instant::now())) => {
                    if ready { continue }
                    match &*state_of.borrow() {
                        EngineState::Backoff { reason, .. } => reason.clone(),
                        EngineState::Starting
                        | EngineState::Running { .. }
                        | EngineState::Broken { .. }
                        | EngineState::Stopped => format!("not ready after {} s", limit.as_secs()),
                    }
                }
                reason = broken => reason,
            };
            missing.push((capability, reason));
        }
        missing
    }

    /// Begins a turn. Without a session a new one is made.
    pub async fn begin(&self, session: Option<SessionId>, input: TurnInput, sink: AudioSink) -> RunningTurn {
        self.begin_with(TurnOptions { session, ..TurnOptions::default() }, input, sink).await
    }

    /// Begins a turn, with how it may be remembered.
    pub async fn begin_with(&self, options: TurnOptions, input: TurnInput, sink: AudioSink) -> RunningTurn {
        begin::begin(&self.inner, options, input, Some(sink)).await
    }

    /// Begins a turn whose answer is text only.
    pub async fn begin_silent(&self, options: TurnOptions, input: TurnInput) -> RunningTurn {
        begin::begin(&self.inner, options, input, None).await
    }

    /// Begins a typed turn for a client. Its answer is text; where `speak` says so it is
    /// also spoken on the hub's own output, if there is one.
    pub async fn ask(&self, options: TurnOptions, text: String, speak: bool) -> RunningTurn {
        begin::ask(&self.inner, options, text, speak).await
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
            begin::forget(&self.inner, session.clone(), "ended");
        }
    }

    /// Rows of `loqa nodes`.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.inner.context.reach.registry.list(Instant::now())
    }

    /// Capabilities that are in use, in the order of the engines.
    #[must_use]
    pub fn capabilities(&self) -> Vec<String> {
        let engines = self.inner.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.iter().map(|engine| engine.spec.capability.clone()).collect()
    }

    /// Process id of nats-server.
    #[must_use]
    pub fn bus_pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Process ids of the engines by capability.
    #[must_use]
    pub fn engine_pids(&self) -> Vec<(String, u32)> {
        let engines = self.inner.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.iter().filter_map(|engine| engine.pid().map(|pid| (engine.spec.capability.clone(), pid))).collect()
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

    /// The skills: what is loaded, and having the installed ones looked at again.
    #[must_use]
    pub fn skills(&self) -> &Arc<HubSkills> {
        &self.inner.skills
    }

    /// Where things lie.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.inner.paths
    }

    /// The configuration that is in force.
    #[must_use]
    pub fn config(&self) -> Config {
        self.inner.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A connection of its own that hears what happens: events of turns, questions to the
    /// person, what skills publish.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn observe(&self) -> Result<Bus, BusError> {
        let credentials = {
            let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            Credentials { url: file.url.clone(), identity: file.identity.clone(), seed: file.seed.clone() }
        };
        Bus::connect(&credentials).await
    }

    /// Tells clients of this user where the HTTP API is; `None` when it is gone. Blocks for a file.
    ///
    /// # Errors
    /// The hub file cannot be written.
    pub fn publish_api(&self, api: Option<ApiAddress>) -> anyhow::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.api = api;
        self.lock.publish(&file)
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
        self.inner.stopping.send_replace(true);
        self.inner.pulls.close().await;
        let leaving = std::mem::take(&mut *self.inner.leaving.lock().unwrap_or_else(PoisonError::into_inner));
        for task in leaving {
            let _ended = task.await;
        }
        let engines = std::mem::take(&mut *self.inner.engines.lock().unwrap_or_else(PoisonError::into_inner));
        let mut stopping = tokio::task::JoinSet::new();
        stopping.spawn(self.natives.stop());
        for engine in engines {
            stopping.spawn(engine.stop());
        }
        while stopping.join_next().await.is_some() {}
        for session in self.inner.sessions.lock().await.keys() {
            audit::session_ended(&*self.inner.audit, session, "hub_stopped");
        }
        let store = self.inner.privacy.store().clone();
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

    /// As [`Hub::stop`], for a hub that others hold too: waits a moment for them to let go.
    pub async fn stop_shared(mut hub: Arc<Self>) {
        let end = Instant::now() + LET_GO;
        loop {
            match Arc::try_unwrap(hub) {
                Ok(hub) => return hub.stop().await,
                Err(shared) if Instant::now() < end => hub = shared,
                Err(_) => return tracing::error!("the hub is still in use, its programs end with this process"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
