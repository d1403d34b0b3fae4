//! A hub just large enough for one engine: the real bus, a registry of what was
//! announced, and the engine as a real process.

use loqa_bus::{Bus, BusServer, Message, Permissions, ReplyStream, RestartPolicy, ServerOptions, Subscription};
use loqa_protocol::engine::{Control, ControlAnswer, EngineAnnounce, EngineBoot, EngineHello, Heartbeat, HubAnswer};
use loqa_protocol::{Failure, InstanceId, SessionId, TurnId, WorkId, audio, header, subject};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;

/// Generous: only a broken product waits this long.
pub const LIMIT: Duration = Duration::from_secs(30);

fn nats_server() -> PathBuf {
    let tools = std::env::var_os("LOQA_TOOLS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools"), PathBuf::from);
    let binary = tools.join("nats").join(format!("nats-server{}", std::env::consts::EXE_SUFFIX));
    assert!(binary.is_file(), "{} is missing: run `npm run setup`", binary.display());
    binary
}

pub struct TestHub {
    pub server: BusServer,
    pub bus: Bus,
    hellos: Subscription,
    announces: Subscription,
    heartbeats: Subscription,
    _dir: TempDir,
}

impl TestHub {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = ServerOptions { binary: nats_server(), run_dir: dir.path().to_owned() };
        let policy = RestartPolicy { deaths: 1_000, ..RestartPolicy::default() };
        let server = BusServer::start_with(options, policy).await.unwrap();
        let bus = Bus::connect(&server.add_identity("hub", Permissions::hub()).await.unwrap()).await.unwrap();
        let hellos = bus.subscribe(subject::ENGINE_HELLO, None, 64).await.unwrap();
        let announces = bus.subscribe(subject::ENGINE_ANNOUNCE, None, 64).await.unwrap();
        let heartbeats = bus.subscribe(subject::ENGINE_HEARTBEAT, None, 64).await.unwrap();
        bus.flush().await.unwrap();
        Self { server, bus, hellos, announces, heartbeats, _dir: dir }
    }

    /// Starts an engine, gives it its orders, and waits until it is ready.
    pub async fn engine(&mut self, capability: &str, settings: Value) -> TestEngine {
        let engine = self.spawn(capability, settings).await;
        self.welcome_hello().await;
        self.welcome_announce().await;
        engine
    }

    pub async fn spawn(&self, capability: &str, settings: Value) -> TestEngine {
        let instance = InstanceId::from_bits(rand_bits());
        let permissions = Permissions::engine(&instance, capability);
        let identity = self.server.add_identity(instance.as_str(), permissions).await.unwrap();
        let Value::Object(settings) = settings else { panic!("settings are an object") };
        let boot = EngineBoot {
            url: identity.url,
            identity: identity.identity,
            seed: identity.seed,
            instance: instance.clone(),
            capability: capability.to_owned(),
            model: "script".to_owned(),
            model_path: String::new(),
            settings,
        };
        let mut line = serde_json::to_vec(&boot).unwrap();
        line.push(b'\n');
        TestEngine::spawn(instance, capability, &boot.seed, &line)
    }

    pub async fn welcome_hello(&mut self) -> EngineHello {
        let message = timeout(LIMIT, self.hellos.next()).await.expect("a hello comes").unwrap();
        self.welcome(&message).await;
        message.json().unwrap()
    }

    pub async fn welcome_announce(&mut self) -> EngineAnnounce {
        let message = timeout(LIMIT, self.announces.next()).await.expect("an announcement comes").unwrap();
        self.welcome(&message).await;
        message.json().unwrap()
    }

    pub async fn refuse_hello(&mut self, failure: Failure) {
        let message = timeout(LIMIT, self.hellos.next()).await.unwrap().unwrap();
        self.bus.respond(message.reply.as_deref().unwrap(), &HubAnswer::Refused { failure }).await.unwrap();
    }

    pub async fn heartbeat(&mut self) -> Heartbeat {
        timeout(LIMIT, self.heartbeats.next()).await.expect("a heartbeat comes").unwrap().json().unwrap()
    }

    async fn welcome(&self, message: &Message) {
        let hello: Value = message.json().unwrap();
        assert!(message.reply_belongs_to(hello["instance"].as_str().unwrap()));
        let welcome = HubAnswer::Welcome { heartbeat_ms: 2_000 };
        self.bus.respond(message.reply.as_deref().unwrap(), &welcome).await.unwrap();
    }

    /// Asks for work of the engine's kind with these fields on top of the usual ones.
    pub async fn open(&self, engine: &TestEngine, work: &str, extra: Value) -> ReplyStream {
        let mut request = json!({
            "work": WorkId::new(work).unwrap(),
            "turn": TurnId::from_bits(1),
            "session": SessionId::from_bits(1),
            "deadline_ms": 20_000,
        });
        let fields = match engine.capability.split('.').next().unwrap() {
            "stt" => json!({ "language": null, "partials": true }),
            "llm" => json!({ "messages": [], "max_tokens": 10, "temperature": 0.0 }),
            _ => json!({ "text": "Hello.", "voice": null, "speed": 1.0 }),
        };
        for source in [fields, extra] {
            for (key, value) in source.as_object().unwrap() {
                request[key] = value.clone();
            }
        }
        self.bus.open_stream(&subject::work(&engine.capability).unwrap(), &request).await.unwrap()
    }

    /// Sends one frame of silence.
    pub async fn frame(&self, engine: &TestEngine, work: &str, seq: u64, samples: usize) {
        let subject = subject::audio(&engine.instance, &WorkId::new(work).unwrap());
        let headers = [(header::SEQ, &*seq.to_string()), (header::VOICED, "1")];
        let payload = audio::pcm_to_bytes(&vec![0; samples]).into();
        self.bus.publish_bytes(&subject, &headers, payload).await.unwrap();
    }

    pub async fn end_audio(&self, engine: &TestEngine, work: &str, total: u64) -> Value {
        let subject = subject::audio(&engine.instance, &WorkId::new(work).unwrap());
        let total = total.to_string();
        let headers = [(header::END, &*total)];
        let answer = self.bus.request_bytes(&subject, &headers, bytes::Bytes::new(), LIMIT);
        answer.await.unwrap().json().unwrap()
    }

    pub async fn order(&self, engine: &TestEngine, order: &Control) -> ControlAnswer {
        self.bus.request(&subject::engine_control(&engine.instance), order, LIMIT).await.unwrap()
    }
}

/// The next JSON message of a stream.
pub async fn next<T: DeserializeOwned>(stream: &mut ReplyStream) -> T {
    stream.next(LIMIT).await.unwrap().json().unwrap()
}

/// An engine process; killed when dropped.
pub struct TestEngine {
    pub instance: InstanceId,
    pub capability: String,
    pub child: Child,
    /// Dropping it tells the engine that the hub is gone.
    pub stdin: Option<ChildStdin>,
}

impl TestEngine {
    fn spawn(instance: InstanceId, capability: &str, seed: &str, boot: &[u8]) -> Self {
        use std::io::Write as _;
        let mut child = Command::new(env!("CARGO_BIN_EXE_loqa-scripted"))
            .env("LOQA_LOG", "info,async_nats=warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        for file in ["cmdline", "environ"] {
            if let Ok(bytes) = std::fs::read(format!("/proc/{}/{file}", child.id())) {
                assert!(!String::from_utf8_lossy(&bytes).contains(seed), "the seed is in {file}");
            }
        }
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(boot).unwrap();
        Self { instance, capability: capability.to_owned(), child, stdin: Some(stdin) }
    }

    /// Waits for the end, and returns what was logged.
    pub async fn ended(&mut self) -> (ExitStatus, String) {
        let ends = tokio::time::Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(tokio::time::Instant::now() < ends, "the engine does not end");
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (status, log)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for TestEngine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rand_bits() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}
