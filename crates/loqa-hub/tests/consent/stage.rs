//! A stage for turns: the real bus, session driver, turn machine, skill host and gate, with
//! a model that does whatever it is told and effects that are only written down.

use loqa_audit::LogOnly;
use loqa_bus::{Bus, BusServer, Permissions, ServerOptions, Subscription};
use loqa_hub::audit::Outside;
use loqa_hub::consent::Prompts;
use loqa_hub::recorder::Recorder;
use loqa_hub::registry::Registry;
use loqa_hub::session::driver::{TurnContext, TurnInput, VoiceSettings, run_turn};
use loqa_hub::session::hops::Reach;
use loqa_hub::session::{Pins, Session};
use loqa_hub::sink::AudioSink;
use loqa_protocol::client::TurnReport;
use loqa_protocol::engine::{Capability, EngineAnnounce, EngineHello, EngineKind, Heartbeat};
use loqa_protocol::llm::{ChatMessage, LlmDone, LlmReply, LlmRequest};
use loqa_protocol::{InstanceId, PROTOCOL_VERSION, ToolCall, TurnId, subject};
use loqa_skills::consent::Consent;
use loqa_skills::{
    DeviceOrder, Effects, HttpAnswer, HttpOrder, Pending, SkillHost, SkillHostOptions, SystemClock, Taint,
};
use loqa_turn::intent::IntentIndex;
use loqa_turn::state::{Deadlines, TurnSettings};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Capability of the stand-in.
const MODEL: &str = "llm.obedient";
/// Only a broken product waits this long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What the model does when it is shown these messages.
#[derive(Debug, Clone)]
pub enum Move {
    /// It says this.
    Say(String),
    /// It calls a tool.
    Call(ToolCall),
}

/// How the stand-in for the model chooses.
pub type Mind = Arc<dyn Fn(&[ChatMessage]) -> Move + Send + Sync>;

/// What skills did to the world.
#[derive(Default)]
pub struct World(Mutex<Vec<String>>);

impl World {
    /// Everything since the last look.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Something happened.
    pub fn push(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

impl Effects for World {
    fn say(&self, _skill: &str, _text: &str) {}
    fn notify(&self, _skill: &str, _text: &str) {}
    fn publish(&self, _skill: &str, _topic: &str, _data: &Value) {}

    fn http(&self, order: HttpOrder, pending: Pending<HttpAnswer>) {
        self.push(format!("{} {}", order.method, order.url));
        pending.answer(Ok(HttpAnswer { status: 200, ..HttpAnswer::default() }));
    }

    fn device(&self, order: DeviceOrder, pending: Pending<Value>) {
        self.push(format!("{} {}", order.operation, order.entity));
        pending.answer(Ok(Value::Null));
    }
}

/// One stage; its folder goes with it.
pub struct Stage {
    pub context: TurnContext,
    pub world: Arc<World>,
    pub prompts: Arc<Prompts>,
    pub folder: tempfile::TempDir,
    pub bus: Bus,
    server: BusServer,
    _tasks: Vec<tokio::task::JoinHandle<()>>,
}

fn nats_server() -> PathBuf {
    let tools = std::env::var_os("LOQA_TOOLS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools"), PathBuf::from);
    let binary = tools.join("nats").join(format!("nats-server{}", std::env::consts::EXE_SUFFIX));
    assert!(binary.is_file(), "{} is missing: run `npm run setup`", binary.display());
    binary
}

impl Stage {
    /// `load` brings the skills; the person has `prompt_limit` for each answer.
    pub async fn new(
        mind: Mind,
        prompt_limit: Duration,
        skill: Duration,
        load: impl FnOnce(&Arc<SkillHost>, &Path, &Arc<World>),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = ServerOptions { binary: nats_server(), run_dir: folder.path().join("run") };
        let server = BusServer::start(options).await.unwrap();
        let bus = Bus::connect(&server.add_identity("hub", Permissions::hub()).await.unwrap()).await.unwrap();
        let registry = Registry::new();
        let engine = obey(&server, &registry, mind).await;

        let world = Arc::<World>::default();
        let data_dir = folder.path().join("data");
        let options = SkillHostOptions { data_dir, clock: Arc::new(SystemClock) };
        let skills = SkillHost::open(options, Arc::clone(&world) as Arc<dyn Effects>).unwrap();
        let skills = Arc::new(skills);
        load(&skills, folder.path(), &world);
        let prompts = Arc::new(Prompts::default());
        prompts.publish_on(bus.clone());
        skills.set_consent(Arc::clone(&prompts) as Arc<dyn Consent>, prompt_limit);

        let context = TurnContext {
            reach: Reach {
                bus: bus.clone(),
                registry,
                server: server.state(),
                pins: Pins::default(),
                outside: Arc::new(Outside::new(Arc::new(LogOnly), BTreeMap::new())),
                scope: loqa_protocol::PrivacyScope::Persistent,
            },
            settings: Arc::new(TurnSettings {
                llm_tiers: vec![MODEL.to_owned()],
                deadlines: Deadlines { skill, consent: prompt_limit * 3, ..Deadlines::default() },
                ..TurnSettings::default()
            }),
            intents: Arc::new(IntentIndex::compile(&skills.intents()).unwrap()),
            tools: Arc::new(skills.tools()),
            skills,
            prompts: Arc::clone(&prompts),
            keep_audio: false,
            recorder: Recorder::start(
                loqa_store::Store::open(loqa_store::StoreOptions::memory()).unwrap(),
                bus.clone(),
            ),
            voice: Arc::new(VoiceSettings {
                stt: None,
                language: String::new(),
                tts: None,
                voice: None,
                speed: 1.0,
                system_prompt: "You are Loqa.".to_owned(),
                stt_deadline: PATIENCE,
                llm_deadline: PATIENCE,
                tts_deadline: PATIENCE,
                skill_budget: skill / 2,
            }),
        };
        Self { context, world, prompts, folder, bus, server, _tasks: engine }
    }

    /// Another client of the bus.
    pub async fn join(&self, name: &str, permissions: Permissions) -> Bus {
        Bus::connect(&self.server.add_identity(name, permissions).await.unwrap()).await.unwrap()
    }

    /// One typed turn of a session.
    pub async fn ask(&self, session: &mut Session, text: &str) -> TurnReport {
        let (sink, _recording) = AudioSink::memory();
        let (_orders, orders) = mpsc::channel(1);
        let turn = TurnId::from_bits(rand::random());
        let input = TurnInput::Text(text.to_owned());
        let report = run_turn(&self.context, session, turn, input, sink, orders, Taint::user());
        tokio::time::timeout(PATIENCE, report).await.expect("every turn ends")
    }
}

/// Serves as the language model until the stage is gone.
async fn obey(server: &BusServer, registry: &Registry, mind: Mind) -> Vec<tokio::task::JoinHandle<()>> {
    let instance = InstanceId::from_bits(1);
    let credentials = server.add_identity("engine-obedient", Permissions::engine(&instance, MODEL)).await.unwrap();
    let bus = Bus::connect(&credentials).await.unwrap();
    let any = bus.subscribe(&subject::work(MODEL).unwrap(), Some(subject::WORKERS), 64).await.unwrap();
    let own = bus.subscribe(&subject::work_at(MODEL, &instance).unwrap(), None, 64).await.unwrap();
    bus.flush().await.unwrap();
    registry.hello(
        EngineHello {
            protocol: PROTOCOL_VERSION,
            instance: instance.clone(),
            kind: EngineKind::Llm,
            program: "obedient".to_owned(),
            version: "0".to_owned(),
            pid: std::process::id(),
            node: "test".to_owned(),
        },
        Instant::now(),
    );
    let capability = Capability {
        name: MODEL.to_owned(),
        model: "obedient".to_owned(),
        quantisation: "none".to_owned(),
        languages: Vec::new(),
        sample_rate: None,
        voices: Vec::new(),
        measured_speed: 1.0,
    };
    let announce = EngineAnnounce { instance: instance.clone(), capabilities: vec![capability], slots: 1, ready_ms: 1 };
    registry.announce(announce, Instant::now());
    let (alive, beating) = (registry.clone(), instance.clone());
    let heart = tokio::spawn(async move {
        for seq in 0.. {
            let beat = Heartbeat { instance: beating.clone(), seq, busy: 0, rss_bytes: 0 };
            alive.heartbeat(&beat, Instant::now());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let serve =
        |requests: Subscription| tokio::spawn(answer(bus.clone(), requests, instance.clone(), Arc::clone(&mind)));
    vec![heart, serve(any), serve(own)]
}

async fn answer(bus: Bus, mut requests: Subscription, instance: InstanceId, mind: Mind) {
    while let Some(message) = requests.next().await {
        let Some(reply) = message.reply.clone() else { continue };
        let request: LlmRequest = message.json().unwrap();
        let mut replies = vec![LlmReply::Accepted { instance: instance.clone() }];
        replies.push(match mind(&request.messages) {
            Move::Say(text) => LlmReply::Delta { text },
            Move::Call(call) => LlmReply::ToolCall { call, confidence: 1.0 },
        });
        replies.push(LlmReply::Done(LlmDone {
            prompt_tokens: 1,
            cached_tokens: 0,
            output_tokens: 1,
            first_token_us: 1,
            total_us: 1,
            truncated: false,
        }));
        for one in replies {
            bus.respond(&reply, &one).await.unwrap();
        }
    }
}

/// A tool call.
pub fn call(name: &str, arguments: Value) -> ToolCall {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    ToolCall { name: name.to_owned(), arguments }
}
