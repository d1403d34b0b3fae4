//! The real program on the real bus, with the test in the place of the hub.

use crate::kit::{Outcome, all_tools, reflex_path, repository, request, stories_path, timer_tools};
use loqa_bus::{Bus, BusServer, Permissions, ServerOptions};
use loqa_protocol::engine::{
    Capability, Control, ControlAnswer, EngineAnnounce, EngineBoot, EngineHello, EngineKind, HubAnswer,
};
use loqa_protocol::llm::{LlmReply, LlmRequest, Role};
use loqa_protocol::{ErrorCode, Failure, InstanceId, WorkId, subject};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// Generous: a loaded machine, not the engine, is what takes long.
const PATIENCE: Duration = Duration::from_secs(60);

fn nats_server() -> PathBuf {
    let tools = std::env::var_os("LOQA_TOOLS").map_or_else(|| repository().join(".tools"), PathBuf::from);
    let binary = tools.join("nats").join(format!("nats-server{}", std::env::consts::EXE_SUFFIX));
    assert!(binary.exists(), "{} is missing, run `npm run setup`", binary.display());
    binary
}

/// A bus, a hub's connection to it, and the engine.
struct Stage {
    hub: Bus,
    child: Child,
    instance: InstanceId,
    capability: Capability,
    _server: BusServer,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn set(capability: &str, model: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = ServerOptions { binary: nats_server(), run_dir: folder.path().to_owned() };
        let server = BusServer::start(options).await.unwrap();
        let hub = Bus::connect(&server.add_identity("hub", Permissions::hub()).await.unwrap()).await.unwrap();
        let mut hellos = hub.subscribe(subject::ENGINE_HELLO, None, 16).await.unwrap();
        let mut announces = hub.subscribe(subject::ENGINE_ANNOUNCE, None, 16).await.unwrap();
        hub.flush().await.unwrap();

        let instance = InstanceId::from_bits(7);
        let credentials =
            server.add_identity(instance.as_str(), Permissions::engine(&instance, capability)).await.unwrap();
        let boot = EngineBoot {
            url: credentials.url,
            identity: credentials.identity,
            seed: credentials.seed,
            instance: instance.clone(),
            capability: capability.into(),
            model: "the-model".into(),
            model_path: model.to_str().unwrap().into(),
            settings: Map::new(),
        };
        let mut child =
            Command::new(env!("CARGO_BIN_EXE_loqa-llm")).stdin(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        // The pipe stays open: its end is the hub's end.
        let line = format!("{}\n", serde_json::to_string(&boot).unwrap());
        child.stdin.as_mut().unwrap().write_all(line.as_bytes()).await.unwrap();

        let welcome = HubAnswer::Welcome { heartbeat_ms: 2_000 };
        let hello = tokio::time::timeout(PATIENCE, hellos.next()).await.unwrap().unwrap();
        assert_eq!(hello.json::<EngineHello>().unwrap().kind, EngineKind::Llm);
        hub.respond(hello.reply.as_deref().unwrap(), &welcome).await.unwrap();
        let announce = tokio::time::timeout(PATIENCE, announces.next()).await.unwrap().unwrap();
        hub.respond(announce.reply.as_deref().unwrap(), &welcome).await.unwrap();
        let announced: EngineAnnounce = announce.json().unwrap();
        Self {
            hub,
            child,
            instance,
            capability: announced.capabilities.first().unwrap().clone(),
            _server: server,
            _folder: folder,
        }
    }

    async fn ask(&self, request: &LlmRequest, mut seen: impl AsyncFnMut(&LlmReply)) -> Result<Outcome, Failure> {
        let work = subject::work(&self.capability.name).unwrap();
        let mut stream = self.hub.open_stream(&work, request).await.unwrap();
        let mut outcome = Outcome::default();
        loop {
            let reply: LlmReply = stream.next(PATIENCE).await.unwrap().json().unwrap();
            seen(&reply).await;
            match reply {
                LlmReply::Failed { failure } => return Err(failure),
                reply => outcome.take(reply),
            }
            if outcome.done.is_some() {
                return Ok(outcome);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_becomes_a_call_over_the_bus() {
    let mut stage = Stage::set("llm.reflex", &reflex_path()).await;
    assert_eq!(stage.capability.name, "llm.reflex");
    assert_eq!((stage.capability.model.as_str(), stage.capability.quantisation.as_str()), ("the-model", "q8_0"));
    assert!(stage.capability.measured_speed > 1.0, "{:?}", stage.capability);

    let mut timer = request(&[(Role::User, "Set a timer for five minutes.")], &timer_tools());
    let begun = Instant::now();
    let outcome = stage.ask(&timer, async |_| {}).await.unwrap();
    eprintln!("first command: {:?} in all, {:?}", begun.elapsed(), outcome.done);
    assert_eq!(outcome.shown(), r#"timer.start {"duration_s":300}"#);
    timer.work = WorkId::from_bits(2);
    let begun = Instant::now();
    let outcome = stage.ask(&timer, async |_| {}).await.unwrap();
    eprintln!("again: {:?} in all, {:?}", begun.elapsed(), outcome.done);
    assert!(outcome.done.unwrap().cached_tokens > 0);

    #[cfg(target_os = "linux")]
    if let Some(pid) = stage.child.id() {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        eprintln!("{}", status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("no VmRSS"));
    }
    let mut endless = request(&[(Role::User, &"x".repeat(100_000))], &all_tools());
    endless.work = WorkId::from_bits(3);
    let refused = stage.ask(&endless, async |_| {}).await.expect_err("100 kB are no command");
    assert_eq!(refused.code, ErrorCode::BadRequest);

    // The hub is gone when its end of the pipe is.
    drop(stage.child.stdin.take());
    let status = tokio::time::timeout(PATIENCE, stage.child.wait()).await.expect("it leaves").unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_reply_stops_when_the_hub_cancels_it() {
    let stage = Stage::set("llm.stories", &stories_path()).await;
    let mut long = request(&[(Role::User, "Once upon a time")], &[]);
    long.max_tokens = 1_000_000;
    let mut cancelled = None;
    let failure = stage
        .ask(&long, async |reply| {
            if cancelled.is_none() && matches!(reply, LlmReply::Delta { .. }) {
                let control = subject::engine_control(&stage.instance);
                let order = Control::Cancel { work: long.work.clone() };
                cancelled = Some(Instant::now());
                let answer: ControlAnswer = stage.hub.request(&control, &order, PATIENCE).await.unwrap();
                assert_eq!(answer, ControlAnswer::Cancelled);
            }
        })
        .await
        .expect_err("cancelled");
    assert_eq!(failure.code, ErrorCode::Cancelled);
    let took = cancelled.unwrap().elapsed();
    eprintln!("cancelled over the bus in {took:?}");
    assert!(took < Duration::from_millis(500), "{took:?}");
    // The engine is free for the next.
    let mut next = request(&[(Role::User, "The dog")], &[]);
    next.work = WorkId::from_bits(2);
    let outcome = stage.ask(&next, async |_| {}).await.unwrap();
    assert!(outcome.deltas > 5);
}

#[tokio::test]
async fn a_model_that_is_refused_ends_the_program_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.gguf");
    std::fs::write(&path, b"lmgg not a language model").unwrap();
    let options = ServerOptions { binary: nats_server(), run_dir: folder.path().to_owned() };
    let server = BusServer::start(options).await.unwrap();
    let hub = Bus::connect(&server.add_identity("hub", Permissions::hub()).await.unwrap()).await.unwrap();
    let mut hellos = hub.subscribe(subject::ENGINE_HELLO, None, 16).await.unwrap();
    hub.flush().await.unwrap();
    let instance = InstanceId::from_bits(8);
    let credentials = server.add_identity(instance.as_str(), Permissions::engine(&instance, "llm.x")).await.unwrap();
    let boot = serde_json::json!({
        "url": credentials.url, "identity": credentials.identity, "seed": credentials.seed, "instance": instance,
        "capability": "llm.x", "model": "x", "model_path": path, "settings": Value::Object(Map::new()),
    });
    let mut child = Command::new(env!("CARGO_BIN_EXE_loqa-llm"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(format!("{boot}\n").as_bytes()).await.unwrap();
    if let Ok(Some(hello)) = tokio::time::timeout(PATIENCE, hellos.next()).await {
        let welcome = HubAnswer::Welcome { heartbeat_ms: 2_000 };
        hub.respond(hello.reply.as_deref().unwrap(), &welcome).await.unwrap();
    }
    let stdin = child.stdin.take();
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
    drop(stdin);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("broken.gguf") && said.contains("Whisper"), "{said}");
}
