//! Kept sessions are run again by the program itself: the same models give the same
//! result, others show where they differ, and nothing is done by it.

use loqa_hub::TurnOptions;
use loqa_hub::session::driver::TurnInput;
use loqa_hub::sink::AudioSink;
use loqa_protocol::SessionId;
use loqa_store::Reader;
use loqa_tests::{PATIENCE, last_json, loqa, repository, speech, start_in, voice};
use std::path::Path;
use std::time::Duration;

/// A session of a spoken turn, with its recording, and a typed one.
async fn record(data: &Path) -> SessionId {
    let settings = [("tts.enabled", "false"), ("privacy.keep", "persistent")];
    let hub = start_in(data, &settings).await.unwrap();
    assert!(hub.wait_ready(PATIENCE).await.is_empty());
    let options = TurnOptions { keep_audio: Some(true), ..TurnOptions::default() };
    let (sink, _recording) = AudioSink::memory();
    let input = voice(&speech("timer.wav"), Duration::ZERO);
    let first = hub.begin_with(options, input, sink).await.report().await.unwrap();
    assert_eq!(first.tool.as_ref().map(|call| call.name.as_str()), Some("timer.start"));
    let (sink, _recording) = AudioSink::memory();
    let input = TurnInput::Text("cancel all timers".to_owned());
    let second = hub.begin(Some(first.session.clone()), input, sink).await.report().await.unwrap();
    assert_eq!(second.tool.map(|call| call.name).as_deref(), Some("timer.cancel"));
    hub.stop().await;
    first.session
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_comes_out_the_same_and_a_changed_one_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let session = record(&data).await;
    let kept = std::fs::read(data.join("skills.db")).unwrap();
    let run = |arguments: &[&str]| {
        let output = loqa(&data, arguments);
        (output.status.code(), last_json(&output))
    };
    let (code, same) = run(&["replay", "--json", session.as_str()]);
    assert_eq!((code, &same["turns"], &same["different"]), (Some(0), &2.into(), &0.into()), "{same}");
    let turns = &same["sessions"][0]["turns"];
    assert_eq!((&turns[0]["spoken"], &turns[1]["spoken"]), (&true.into(), &false.into()), "{same}");
    assert_eq!(turns[0]["tool"]["after"]["name"], "timer.start");
    // Nothing was done by it and nothing kept.
    assert_eq!(std::fs::read(data.join("skills.db")).unwrap(), kept, "no timer was set");
    let reader = Reader::open(&data.join("loqa.db")).unwrap();
    assert_eq!(reader.counts().unwrap().turns, 2);

    // As a suite, from the files that an export writes.
    let suite = folder.path().join("suite");
    std::fs::create_dir(&suite).unwrap();
    let file = suite.join("timers.jsonl");
    let (code, _) = run(&["sessions", "export", "--json", "--all", "--audio", "--out", &file.to_string_lossy()]);
    assert_eq!(code, Some(0));
    let suite = suite.to_string_lossy().into_owned();
    let (code, same) = run(&["replay", "--json", "--tier", "llm.reflex", "--suite", &suite]);
    assert_eq!((code, &same["different"]), (Some(0), &0.into()), "{same}");

    // Control: what was recorded otherwise is told.
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"name\":\"timer.cancel\"", "\"name\":\"timer.pause\"")).unwrap();
    let (code, changed) = run(&["replay", "--json", "--suite", &suite]);
    assert_eq!((code, &changed["different"]), (Some(1), &1.into()), "{changed}");
    assert_eq!(changed["sessions"][0]["turns"][1]["tool"]["same"], false);
    std::fs::write(&file, text).unwrap();

    // Another version of a skill: timers of more than a minute are refused.
    let skill = folder.path().join("timer/dist");
    std::fs::create_dir_all(&skill).unwrap();
    let dist = repository().join("skills/timer/dist");
    std::fs::copy(dist.join("timer.wasm"), skill.join("timer.wasm")).unwrap();
    let manifest = std::fs::read_to_string(dist.join("skill.yaml")).unwrap();
    assert!(manifest.contains("maximum: 86400"));
    std::fs::write(skill.join("skill.yaml"), manifest.replace("maximum: 86400", "maximum: 60")).unwrap();
    let (code, other) = run(&["replay", "--json", "--skill", &skill.to_string_lossy(), "--suite", &suite]);
    assert_eq!((code, other["different"].as_u64() > Some(0)), (Some(1), true), "{other}");

    for wrong in [
        vec!["replay", "--json", "s-00000000000000ff"],
        vec!["replay", "--json", "--tier", "llm.none", session.as_str()],
        vec!["replay", "--json", "--suite", "/nonexistent"],
    ] {
        let (code, answer) = run(&wrong);
        assert!(code != Some(0) && answer["error"].is_string(), "{wrong:?}: {answer}");
    }
}
