//! Parts that die in the middle of a turn: the turn ends, the next one works, and no
//! process is left.

use loqa_hub::session::driver::TurnInput;
use loqa_hub::sink::AudioSink;
use loqa_protocol::client::TurnReport;
use loqa_tests::{PATIENCE, TestHub, is_alive, kill, last_json, loqa, loqa_command, speech, voice, wait_gone};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

/// Deaths of each part; the closing figures use 30 (`LOQA_TEST_KILLS`).
fn kills() -> u32 {
    std::env::var("LOQA_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(3)
}

/// Supervisors give a part up at its fifth death within a minute, so each hub sees fewer.
const KILLS_PER_HUB: u32 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_dies_in_mid_turn_costs_at_most_that_turn() {
    for capability in ["stt.whisper", "tts.kokoro", "llm.reflex"] {
        let mut tally = Tally::default();
        let mut round = 0;
        while round < kills() {
            let hub = TestHub::start(&[("tts.cache_bytes", "0")]).await;
            for _ in 0..KILLS_PER_HUB.min(kills() - round) {
                let pid = wait_for_pid(&hub, capability).await;
                // Spread the deaths over the turn: while listening, while answering. A
                // language model has its say within a few milliseconds.
                let (running, within_ms) = if capability == "llm.reflex" {
                    (begin_asking_the_model(&hub).await, 15)
                } else {
                    (begin_speaking(&hub).await, 400)
                };
                tokio::time::sleep(Duration::from_millis(u64::from(round * 37 % within_ms))).await;
                kill(pid);
                tally.count(&finish(running).await);
                wait_for_restart(&hub, capability, pid).await;
                let (next, _) = hub.say(&speech("timer.wav")).await;
                assert_eq!(next.failure, None, "{capability}, round {round}: the next turn works");
                let next = finish(begin_asking_the_model(&hub).await).await;
                assert_eq!(next.failure, None, "{capability}, round {round}: the model answers again");
                hub.ask("cancel all timers").await;
                round += 1;
            }
            hub.stop().await;
        }
        eprintln!("{capability}: {tally:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_dies_in_mid_turn_costs_at_most_that_turn() {
    let mut tally = Tally::default();
    let mut round = 0;
    while round < kills() {
        let hub = TestHub::start(&[("tts.cache_bytes", "0")]).await;
        for _ in 0..KILLS_PER_HUB.min(kills() - round) {
            let pid = wait_for_bus(&hub).await;
            let running = begin_speaking(&hub).await;
            tokio::time::sleep(Duration::from_millis(u64::from(round * 53 % 400))).await;
            kill(pid);
            tally.count(&finish(running).await);
            let (next, _) = hub.say(&speech("timer.wav")).await;
            assert_eq!(next.failure, None, "round {round}: the next turn works");
            hub.ask("cancel all timers").await;
            round += 1;
        }
        hub.stop().await;
    }
    eprintln!("nats-server: {tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_keeps_dying_is_given_up_with_its_reason() {
    let data = tempfile::tempdir().unwrap();
    let hub = loqa_tests::start_in(
        data.path(),
        &[("tts.onnxruntime", "/nonexistent/libonnxruntime.so"), ("stt.enabled", "false"), ("llm.models", "")],
    )
    .await
    .unwrap();
    let missing = hub.wait_ready(PATIENCE).await;
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].0, "tts.kokoro");
    assert!(missing[0].1.contains("/nonexistent/libonnxruntime.so"), "the reason names the file: {}", missing[0].1);
    hub.stop().await;
}

#[test]
fn a_hub_that_is_killed_leaves_no_process_and_its_folder_is_free() {
    let data = tempfile::tempdir().unwrap();
    for _ in 0..kills() {
        let mut hub = loqa_command(data.path())
            .args(["serve", "--json", "--silent"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(hub.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["missing"], serde_json::json!([]), "{ready}");
        let mut pids: Vec<u32> = ready["engines"]
            .as_array()
            .unwrap()
            .iter()
            .map(|engine| u32::try_from(engine["pid"].as_u64().unwrap()).unwrap())
            .collect();
        pids.push(u32::try_from(ready["nats_server_pid"].as_u64().unwrap()).unwrap());
        assert!(pids.iter().all(|pid| is_alive(*pid)), "everything runs before the kill");

        let second = loqa(data.path(), &["serve", "--json", "--silent"]);
        assert!(!second.status.success());
        let error = last_json(&second)["error"].as_str().unwrap().to_owned();
        assert!(error.contains(&format!("process id {}", hub.id())), "the second hub says who holds it: {error}");

        let nodes = last_json(&loqa(data.path(), &["nodes", "--json"]));
        assert_eq!(nodes["nodes"].as_array().map(Vec::len), Some(3), "{nodes}");
        let asked = last_json(&loqa(data.path(), &["ask", "--json", "list my timers"]));
        assert_eq!(asked["tool"]["name"], "timer.list", "a client asks the running hub: {asked}");

        kill(hub.id());
        hub.wait().unwrap();
        wait_gone(&pids);
    }
}

async fn begin_speaking(hub: &TestHub) -> loqa_hub::RunningTurn {
    let (sink, _recording) = AudioSink::memory();
    let input = voice(&speech("timer.wav"), Duration::from_millis(2));
    hub.hub.begin(None, input, sink).await
}

/// A turn that no declared utterance covers.
async fn begin_asking_the_model(hub: &TestHub) -> loqa_hub::RunningTurn {
    let (sink, _recording) = AudioSink::memory();
    let input = TurnInput::Text("is my tea timer finished".to_owned());
    hub.hub.begin(None, input, sink).await
}

async fn finish(turn: loqa_hub::RunningTurn) -> TurnReport {
    tokio::time::timeout(PATIENCE, turn.report()).await.expect("every turn ends within its deadline").unwrap()
}

async fn wait_for_bus(hub: &TestHub) -> u32 {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(pid) = hub.hub.bus_pid() {
            return pid;
        }
        assert!(std::time::Instant::now() < end, "nats-server does not come back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn wait_for_pid(hub: &TestHub, capability: &str) -> u32 {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some((_, pid)) = hub.hub.engine_pids().into_iter().find(|(name, _)| name == capability) {
            return pid;
        }
        assert!(std::time::Instant::now() < end, "{capability} does not come up");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn wait_for_restart(hub: &TestHub, capability: &str, old: u32) {
    let end = std::time::Instant::now() + PATIENCE;
    while wait_for_pid(hub, capability).await == old {
        assert!(std::time::Instant::now() < end, "{capability} is not started again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(hub.hub.wait_ready(PATIENCE).await.is_empty(), "{capability} is ready again");
}

#[derive(Debug, Default)]
struct Tally {
    recovered: u32,
    failed_with_code: u32,
}

impl Tally {
    fn count(&mut self, report: &TurnReport) {
        match &report.failure {
            None => self.recovered += 1,
            Some(_) => self.failed_with_code += 1,
        }
    }
}
