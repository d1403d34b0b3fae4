//! From the first hello to the exit code.

use crate::support::{LIMIT, TestHub, next};
use loqa_bus::Permissions;
use loqa_protocol::engine::{Control, ControlAnswer, EngineKind};
use loqa_protocol::llm::LlmReply;
use loqa_protocol::{ErrorCode, Failure, Hop, PROTOCOL_VERSION};
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[tokio::test]
async fn an_engine_says_who_it_is_then_what_it_can_do_then_that_it_lives() {
    let mut hub = TestHub::start().await;
    let engine = hub.spawn("stt.whisper", json!({ "slots": 2, "load_ms": 50 })).await;
    let hello = hub.welcome_hello().await;
    assert_eq!((hello.protocol, hello.kind), (PROTOCOL_VERSION, EngineKind::Stt));
    assert_eq!((&hello.instance, hello.pid), (&engine.instance, engine.child.id()));
    assert!(!hello.node.is_empty() && hello.program == "loqa-scripted");
    let announce = hub.welcome_announce().await;
    assert_eq!((announce.slots, announce.capabilities[0].name.as_str()), (2, "stt.whisper"));
    assert!(announce.ready_ms >= 50, "loading counts");
    let first = hub.heartbeat().await;
    let second = hub.heartbeat().await;
    assert_eq!((first.seq, second.seq, first.busy), (0, 1, 0));
    assert!(first.rss_bytes > 1_000_000, "{first:?}");
}

#[tokio::test]
async fn an_engine_whose_hub_is_gone_ends_even_in_the_middle_of_work() {
    let mut hub = TestHub::start().await;
    for script in [json!({}), json!({ "fault": "hang" }), json!({ "fault": "hang", "deaf": true })] {
        let mut engine = hub.engine("llm.reflex", script).await;
        let mut stream = hub.open(&engine, "w-1", json!({})).await;
        assert!(matches!(next(&mut stream).await, LlmReply::Accepted { .. }));
        let gone = Instant::now();
        drop(engine.stdin.take());
        let (status, log) = engine.ended().await;
        let took = gone.elapsed();
        assert!(status.success(), "{status}: {log}");
        assert!(took < Duration::from_secs(20), "2 s are promised: {took:?}");
    }
}

#[tokio::test]
async fn an_engine_whose_hub_is_gone_ends_while_it_loads_its_model() {
    let mut hub = TestHub::start().await;
    let mut engine = hub.spawn("llm.reflex", json!({ "load_ms": 600_000 })).await;
    hub.welcome_hello().await;
    drop(engine.stdin.take());
    assert!(engine.ended().await.0.success());
}

#[tokio::test]
async fn a_drained_engine_finishes_its_work_takes_no_new_and_ends() {
    let mut hub = TestHub::start().await;
    let script = json!({ "replies": [{ "deltas": ["a", "b", "c", "d"], "delta_ms": 100 }] });
    let mut engine = hub.engine("llm.reflex", script).await;
    let mut running = hub.open(&engine, "w-1", json!({})).await;
    assert!(matches!(next(&mut running).await, LlmReply::Accepted { .. }));
    assert!(matches!(next(&mut running).await, LlmReply::Delta { .. }));
    let mut waiting = hub.open(&engine, "w-2", json!({})).await;
    assert!(matches!(next(&mut waiting).await, LlmReply::Accepted { .. }));

    assert_eq!(hub.order(&engine, &Control::Drain).await, ControlAnswer::Draining);
    let LlmReply::Failed { failure } = next(&mut waiting).await else { panic!("what waits is refused") };
    assert_eq!(failure.code, ErrorCode::ShuttingDown);
    let mut late = hub.open(&engine, "w-3", json!({})).await;
    let LlmReply::Failed { failure } = next(&mut late).await else { panic!("new work is refused") };
    assert_eq!(failure.code, ErrorCode::ShuttingDown);
    let last = loop {
        match next(&mut running).await {
            LlmReply::Delta { .. } => {}
            other => break other,
        }
    };
    assert!(matches!(last, LlmReply::Done(_)), "what runs is finished: {last:?}");
    let (status, log) = engine.ended().await;
    assert!(status.success(), "{status}: {log}");
}

#[tokio::test]
async fn a_terminate_signal_drains() {
    let mut hub = TestHub::start().await;
    let mut engine = hub.engine("llm.reflex", json!({})).await;
    engine.signal(rustix::process::Signal::TERM);
    assert!(engine.ended().await.0.success());
}

#[tokio::test]
async fn a_panic_is_reported_and_ends_the_process() {
    let mut hub = TestHub::start().await;
    let mut engine = hub.engine("llm.reflex", json!({ "fault": "panic" })).await;
    let mut stream = hub.open(&engine, "w-1", json!({})).await;
    assert!(matches!(next(&mut stream).await, LlmReply::Accepted { .. }));
    let LlmReply::Failed { failure } = next(&mut stream).await else { panic!("a failure") };
    assert_eq!(failure.code, ErrorCode::EngineFault);
    let (status, log) = engine.ended().await;
    assert_eq!(status.code(), Some(5), "{log}");
    assert!(log.contains("scripted.rs"), "the log says where: {log}");
    assert!(!log.contains("the script says so"), "what a panic says may be what a user said: {log}");
}

#[tokio::test]
async fn a_crash_leaves_the_next_engine_room() {
    let mut hub = TestHub::start().await;
    for fault in ["abort", "abort_halfway"] {
        let script = json!({ "fault": fault, "replies": [{ "deltas": ["a", "b"] }] });
        let mut engine = hub.engine("llm.reflex", script).await;
        let _stream = hub.open(&engine, "w-1", json!({})).await;
        assert!(!engine.ended().await.0.success());
        hub.server.remove_identity(engine.instance.as_str()).await.unwrap();
    }
    let engine = hub.engine("llm.reflex", json!({})).await;
    let mut stream = hub.open(&engine, "w-1", json!({})).await;
    assert!(matches!(next(&mut stream).await, LlmReply::Accepted { .. }));
    assert!(matches!(next(&mut stream).await, LlmReply::Delta { .. }));
}

#[tokio::test]
async fn after_a_restart_of_the_bus_the_engine_registers_again_and_works() {
    let mut hub = TestHub::start().await;
    let engine = hub.engine("llm.reflex", json!({ "fault": "hang", "fault_once": true })).await;
    let mut stream = hub.open(&engine, "w-1", json!({})).await;
    assert!(matches!(next(&mut stream).await, LlmReply::Accepted { .. }));
    let pid = rustix::process::Pid::from_raw(i32::try_from(hub.server.pid().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();

    assert!(stream.next(LIMIT).await.is_err(), "the work under way is lost and says so");
    assert_eq!(hub.welcome_hello().await.instance, engine.instance);
    assert_eq!(hub.welcome_announce().await.instance, engine.instance);
    let mut stream = hub.open(&engine, "w-2", json!({})).await;
    assert!(matches!(next(&mut stream).await, LlmReply::Accepted { .. }));
    assert!(matches!(next(&mut stream).await, LlmReply::Delta { .. }), "the hung job was let go");
}

#[tokio::test]
async fn a_refused_model_and_a_refused_engine_end_with_their_codes() {
    let mut hub = TestHub::start().await;
    let mut engine = hub.spawn("llm.reflex", json!({ "refuse_model": "the file is empty" })).await;
    let (status, log) = engine.ended().await;
    assert_eq!(status.code(), Some(3), "{log}");
    assert!(log.contains("the file is empty"), "{log}");
    // Its hello may still be there.
    let mut engine = hub.spawn("llm.reflex", json!({ "load_ms": 600_000 })).await;
    loop {
        hub.refuse_hello(Failure::new(Hop::Hub, ErrorCode::ProtocolMismatch, "too old")).await;
        if let Ok(Some(status)) = tokio::time::timeout(Duration::from_millis(500), wait(&mut engine)).await {
            assert_eq!(status, 4);
            break;
        }
    }
    let mut engine = hub.spawn("llm.reflex", json!({ "slots": 0 })).await;
    assert_eq!(engine.ended().await.0.code(), Some(3), "a model without workers is none");
    let mut engine = hub.spawn("llm.reflex", json!({ "tpyo": 1 })).await;
    let (status, log) = engine.ended().await;
    assert_eq!(status.code(), Some(3));
    assert!(log.contains("tpyo"), "{log}");
}

#[tokio::test]
async fn with_a_stranger_s_key_the_engine_ends() {
    let hub = TestHub::start().await;
    let identity = hub.server.add_identity("e-1", Permissions::operator()).await.unwrap();
    hub.server.remove_identity("e-1").await.unwrap();
    let boot = json!({
        "url": identity.url, "identity": "e-1", "seed": identity.seed,
        "instance": "e-1", "capability": "llm.reflex", "model": "m", "model_path": "",
    });
    let (code, log) = tokio::task::spawn_blocking(move || run(&[], boot.to_string().as_bytes())).await.unwrap();
    assert_eq!(code, Some(4), "{log}");
    assert!(log.contains("refused the identity `e-1`"), "{log}");
    assert!(!log.contains(&identity.seed), "{log}");
}

#[test]
fn started_by_hand_it_says_what_to_do_instead() {
    for input in [&b""[..], b"hello\n", b"{}\n"] {
        let (code, log) = run(&[], input);
        assert_eq!(code, Some(2), "{log}");
        assert!(log.contains("boot line"), "{log}");
    }
    let (code, log) = run(&["--listen"], b"");
    assert_eq!(code, Some(2));
    assert!(log.contains("unknown argument `--listen`"), "{log}");
    for argument in ["--version", "--help"] {
        assert_eq!(run(&[argument], b"").0, Some(0));
    }
}

async fn wait(engine: &mut crate::support::TestEngine) -> Option<i32> {
    loop {
        if let Some(status) = engine.child.try_wait().unwrap() {
            return status.code();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs the program with an input that then ends; gives exit code and standard error.
fn run(arguments: &[&str], input: &[u8]) -> (Option<i32>, String) {
    use std::io::Write as _;
    let mut child = Command::new(env!("CARGO_BIN_EXE_loqa-scripted"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that refuses its arguments does not read.
    let _ = stdin.write_all(input);
    let keeps_stdin_open = input.starts_with(b"{\"");
    if !keeps_stdin_open {
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        return (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let _ = stdin.write_all(b"\n");
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}
