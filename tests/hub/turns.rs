//! Turns that go well, and turns that have nothing to say.

use loqa_hub::session::driver::{TurnInput, TurnOrder};
use loqa_hub::sink::AudioSink;
use loqa_protocol::audio::OUTPUT_SAMPLE_RATE;
use loqa_protocol::{ErrorCode, TurnClass};
use loqa_tests::{PATIENCE, TestHub, clip, last_json, loqa, noise, silence, speech};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn a_spoken_command_is_heard_done_and_answered() {
    let hub = TestHub::start(&[("tts.cache_bytes", "0")]).await;
    let (report, sound) = hub.say(&speech("timer.wav")).await;
    assert_eq!(report.failure, None);
    assert_eq!(report.transcript.to_lowercase().trim_end_matches('.'), "set a timer for 5 minutes");
    let call = report.tool.clone().expect("a tool was called");
    assert_eq!(call.name, "timer.start");
    assert_eq!(call.arguments["duration_s"], 300);
    assert_eq!(report.class, TurnClass::Intent);
    assert!(report.reply.contains("5 minutes"), "{}", report.reply);

    let samples = sound.samples();
    let loudest = samples.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
    assert!(samples.len() > OUTPUT_SAMPLE_RATE as usize / 2, "the answer lasts more than half a second");
    assert!(loudest > 1000, "the answer is loud enough to be heard: {loudest}");

    let split = report.latency_ms.expect("there was a first sound");
    let gap = (split.sum() - split.total).abs();
    assert!(gap <= (0.05 * split.total).max(1.0), "the parts add up to the whole: {split:?}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typed_commands_share_the_skill_across_turns() {
    let hub = TestHub::start(&[]).await;
    let started = hub.ask("set a tea timer for three minutes").await;
    assert_eq!(started.tool.unwrap().arguments["label"], "tea");
    let left = hub.ask("how much time is left on the tea timer").await;
    assert_eq!(left.failure, None);
    assert_eq!(left.tool.unwrap().name, "timer.left");
    let cancelled = hub.ask("cancel the tea timer").await;
    assert_eq!(cancelled.tool.unwrap().name, "timer.cancel");
    let list = hub.ask("list my timers").await;
    assert!(list.reply.to_lowercase().contains("no timers"), "{}", list.reply);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_stays_with_the_worker_that_took_it() {
    use loqa_hub::session::Pins;
    use loqa_protocol::InstanceId;
    let pins = Pins::default();
    assert_eq!(pins.get("stt.whisper"), None);
    pins.set("stt.whisper", Some(InstanceId::new("e-1").unwrap()));
    assert_eq!(pins.get("stt.whisper"), Some(InstanceId::new("e-1").unwrap()));
    // In one session, over the pinned subjects of the real engines.
    let hub = TestHub::start(&[]).await;
    let session = Some(loqa_protocol::SessionId::from_bits(7));
    for _ in 0..3 {
        let (sink, _recording) = AudioSink::memory();
        let input = loqa_tests::voice(&speech("timer.wav"), std::time::Duration::ZERO);
        let report = hub.hub.begin(session.clone(), input, sink).await.report().await.unwrap();
        assert_eq!(report.failure, None);
    }
    // The worker goes away; the session finds another.
    let (_, pid) = hub.hub.engine_pids().into_iter().find(|(name, _)| name == "stt.whisper").unwrap();
    loqa_tests::kill(pid);
    let (sink, _recording) = AudioSink::memory();
    let input = loqa_tests::voice(&speech("timer.wav"), std::time::Duration::ZERO);
    let report = hub.hub.begin(session, input, sink).await.report().await.unwrap();
    assert_eq!(report.failure, None);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_is_announced_when_it_ends_even_by_the_next_hub() {
    let data = tempfile::tempdir().unwrap();
    let settings = [("stt.enabled", "false"), ("llm.models", "")];
    let (heard, mut announcements) = tokio::sync::mpsc::unbounded_channel();
    let announce_to: loqa_hub::SinkFactory = Arc::new(move || {
        let (sink, recording) = AudioSink::memory();
        let _ = heard.send(recording);
        sink
    });
    for (order, restarted) in [("set a timer for one second", false), ("set a tea timer for two seconds", true)] {
        let mut hub = loqa_tests::start_with(data.path(), &settings, Some(announce_to.clone())).await.unwrap();
        assert!(hub.wait_ready(PATIENCE).await.is_empty());
        let (sink, _recording) = AudioSink::memory();
        let set = hub.begin(None, TurnInput::Text(order.to_owned()), sink).await.report().await.unwrap();
        assert_eq!(set.tool.map(|call| call.name).as_deref(), Some("timer.start"));
        if restarted {
            hub.stop().await;
            hub = loqa_tests::start_with(data.path(), &settings, Some(announce_to.clone())).await.unwrap();
        }
        let recording = tokio::time::timeout(PATIENCE, announcements.recv()).await.expect("the timer ends").unwrap();
        let end = std::time::Instant::now() + PATIENCE;
        while recording.duration() < std::time::Duration::from_millis(300) {
            assert!(std::time::Instant::now() < end, "the announcement is spoken");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        hub.stop().await;
    }
    assert!(announcements.try_recv().is_err(), "each timer is announced once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_kept_only_where_the_user_lets_it() {
    for (keep, wanted) in [("turns", true), ("none", false)] {
        let hub = TestHub::start(&[("privacy.keep", keep), ("stt.enabled", "false"), ("tts.enabled", "false")]).await;
        hub.ask("set a xylophone timer for nine minutes").await;
        hub.ask("cancel all timers").await;
        hub.hub.recorder().flush().await;
        let kept = std::fs::read_dir(hub.data.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .any(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let bytes = std::fs::read(&path).unwrap();
                name.starts_with("loqa.db") && bytes.windows(9).any(|window| window == b"xylophone")
            });
        assert_eq!(kept, wanted, "privacy.keep = {keep}");
        hub.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_turn_ends_at_once_and_the_next_one_works() {
    let hub = TestHub::start(&[]).await;
    for wait_ms in [0, 20, 60, 120] {
        let (sink, _recording) = AudioSink::memory();
        let input = loqa_tests::voice(&speech("timer.wav"), std::time::Duration::from_millis(1));
        let turn = hub.hub.begin(None, input, sink).await;
        tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
        turn.order(TurnOrder::Cancel).await;
        tokio::time::timeout(PATIENCE, turn.report()).await.expect("it ends").unwrap();
        let (next, _) = hub.say(&speech("timer.wav")).await;
        assert_eq!(next.failure, None, "after a cancel at {wait_ms} ms");
        hub.ask("cancel all timers").await;
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_noise_end_quietly_without_an_action() {
    let hub = TestHub::start(&[]).await;
    for (name, samples) in [("silence", silence(2.0)), ("noise", noise(2.0))] {
        let (report, sound) = hub.say(&samples).await;
        assert_eq!(report.tool, None, "{name} must not act");
        let code = report.failure.map(|failure| failure.code);
        assert_eq!(code, Some(ErrorCode::NoSpeech), "{name}: heard `{}`", report.transcript);
        assert!(sound.samples().is_empty(), "{name} is not answered");
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_utterance_covers_goes_to_the_model_which_acts_only_when_sure() {
    let hub = TestHub::start(&[("stt.enabled", "false")]).await;
    let sure = hub.ask("the cake takes forty minutes please time it").await;
    assert_eq!(sure.class, TurnClass::Reflex);
    assert_eq!(sure.tool.as_ref().map(|call| call.name.as_str()), Some("timer.start"), "{sure:?}");
    assert!(!sure.reply.is_empty());
    let unsure = hub.ask("i'm boiling eggs give me six minutes").await;
    assert_eq!(unsure.tool, None, "a call below the gate is not carried out");
    assert_eq!(unsure.failure.map(|failure| failure.code), Some(ErrorCode::NotUnderstood));
    assert!(!unsure.reply.is_empty(), "it says that it did nothing");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_without_a_model_says_so_instead_of_guessing() {
    let hub = TestHub::start(&[("llm.models", ""), ("stt.enabled", "false"), ("tts.enabled", "false")]).await;
    let known = hub.ask("set a timer for ten minutes").await;
    assert_eq!(known.tool.unwrap().arguments["duration_s"], 600, "intents need no model");
    let unknown = hub.ask("who wrote the ninth symphony").await;
    assert_eq!(unknown.tool, None);
    assert_eq!(unknown.failure.map(|failure| failure.code), Some(ErrorCode::NotUnderstood));
    hub.stop().await;
}

#[test]
fn the_demo_prints_one_object_and_writes_the_reply() {
    let folder = tempfile::tempdir().unwrap();
    let reply = folder.path().join("reply.wav");
    let output = loqa(folder.path(), &["demo", "--json", "--silent", "--out", reply.to_str().unwrap()]);
    let turn = last_json(&output);
    assert!(output.status.success(), "{turn}");
    assert_eq!(turn["class"], "intent");
    assert_eq!(turn["tool"]["name"], "timer.start");
    assert_eq!(turn["reply_wav"], reply.to_str().unwrap());
    for part in [
        "total",
        "endpoint",
        "stt_tail",
        "plan",
        "skill",
        "llm_first_token",
        "first_clause",
        "tts_first_chunk",
        "bus",
        "output",
    ] {
        assert!(turn["latency_ms"][part].is_number(), "{part} in {turn}");
    }
    let samples = loqa_audio::wav::read_speech(&reply).unwrap();
    assert!(samples.len() > 8_000, "the file holds the spoken reply");
}

#[test]
fn the_demo_takes_text_and_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let output = loqa(folder.path(), &["demo", "--json", "--silent", "--text", "pause the timer"]);
    assert_eq!(last_json(&output)["tool"]["name"], "timer.pause");
    let wav = clip("timer.wav");
    let output = loqa(folder.path(), &["demo", "--json", "--silent", "--wav", wav.to_str().unwrap()]);
    assert_eq!(last_json(&output)["tool"]["name"], "timer.start");
}
