//! What a hub puts on record, and `loqa audit` beside it and after it.

use axum::Router;
use axum::http::header;
use axum::routing::{get, post};
use loqa_audit::{Kind, Reader, Row, verify};
use loqa_tests::{TestHub, kill, last_json, loqa};
use std::path::Path;
use std::time::{Duration, Instant};

fn rows(data: &Path) -> Vec<Row> {
    let mut rows = Reader::open(data).unwrap().list(&loqa_audit::Filter::default()).unwrap();
    rows.reverse();
    rows
}

fn of(data: &Path, kind: Kind) -> Vec<Row> {
    rows(data).into_iter().filter(|row| row.kind() == Some(kind)).collect()
}

/// Runs `loqa audit … --json` beside a hub that runs on this runtime.
async fn audit(data: &Path, arguments: &[&str]) -> (i32, serde_json::Value) {
    let data = data.to_owned();
    let arguments: Vec<String> = ["--json", "audit"].iter().chain(arguments).map(|&a| a.to_owned()).collect();
    tokio::task::spawn_blocking(move || {
        let output = loqa(&data, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        (output.status.code().unwrap(), last_json(&output))
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_skills_and_restarts_are_on_record_and_the_command_reads_it() {
    let hub = TestHub::start(&[("stt.enabled", "false"), ("tts.enabled", "false")]).await;
    let data = hub.data.path().to_owned();
    assert_eq!(hub.ask("set a timer for five minutes").await.failure, None);
    let (capability, pid) = hub.hub.engine_pids().remove(0);
    kill(pid);
    let began = Instant::now();
    while of(&data, Kind::EngineRestart).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(30), "the restart is on record");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let restart = &of(&data, Kind::EngineRestart)[0];
    assert_eq!((restart.actor(), restart.text("reason")), (Some(capability.as_str()), Some("died")));
    let loaded = of(&data, Kind::SkillLoad);
    assert!(loaded.iter().any(|row| row.actor() == Some("timer") && row.record["actor"]["digest"].is_string()));
    assert_eq!(of(&data, Kind::SessionStart).len(), 1);

    let anchor = data.join("anchor.json");
    let (code, checkpoint) = audit(&data, &["checkpoint", "--out", anchor.to_str().unwrap()]).await;
    assert_eq!(code, 0, "a running hub signs: {checkpoint}");
    let (code, report) = audit(&data, &["verify", "--anchor", anchor.to_str().unwrap()]).await;
    assert_eq!((code, &report["ok"], &report["key_known"]), (0, &true.into(), &true.into()), "{report}");
    let (_, listed) = audit(&data, &["list", "--kind", "skill.load"]).await;
    assert_eq!(listed["rows"].as_array().unwrap().len(), loaded.len(), "{listed}");
    let out = data.join("export.jsonl");
    let (code, exported) = audit(&data, &["export", "--out", out.to_str().unwrap()]).await;
    assert_eq!((code, exported["rows"].as_u64().unwrap() > 4), (0, true), "{exported}");
    assert_eq!(of(&data, Kind::AuditExport).len(), 1, "an export is on record");

    hub.hub.stop().await;
    let ended = of(&data, Kind::SessionEnd);
    assert_eq!(ended.iter().map(|row| row.text("reason")).collect::<Vec<_>>(), [Some("hub_stopped")]);
    let reader = Reader::open(&data).unwrap();
    let report = verify(&reader, reader.key().as_deref(), &[]).unwrap();
    assert_eq!((report.bad, report.sealed, report.open), (None, report.last - 1, vec![]), "sealed to the end");

    // Without a hub the command signs itself, and finds what was changed.
    let (code, _) = audit(&data, &["checkpoint"]).await;
    assert_eq!(code, 0);
    let (code, shown) = audit(&data, &["show", &restart.seq.to_string()]).await;
    assert_eq!((code, shown["contents"]["state"].as_str()), (0, Some("kept")), "{shown}");
    let (code, erased) = audit(&data, &["erase", "--all"]).await;
    assert_eq!((code, erased["erased"].as_u64() > Some(0)), (0, true), "{erased}");
    let (_, shown) = audit(&data, &["show", &restart.seq.to_string()]).await;
    assert_eq!(shown["contents"]["state"], "erased");
    let (code, egress) = audit(&data, &["egress", "--by", "day"]).await;
    assert_eq!((code, &egress["bytes"]), (0, &0.into()), "nothing left the machine: {egress}");
    let file = data.join("audit.db");
    let content = std::fs::read(&file).unwrap();
    let at = content.windows(8).rposition(|window| window == b"\"reason\"").unwrap();
    let changed: Vec<u8> = content.iter().enumerate().map(|(i, b)| if i == at + 10 { b'#' } else { *b }).collect();
    std::fs::write(&file, changed).unwrap();
    let (code, report) = audit(&data, &["verify"]).await;
    assert_eq!((code, report["bad"]["check"].as_str()), (1, Some("hash")), "{report}");
}

const ANSWER: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Beethoven.\"},\"finish_reason\":\"stop\"}]}\n\n\
    data: [DONE]\n\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_to_an_endpoint_is_on_record_before_it_goes_and_in_the_ledger() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v1", listener.local_addr().unwrap());
    let data = tempfile::tempdir().unwrap();
    let (intents, looked_at) = (std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)), data.path().to_owned());
    let seen = intents.clone();
    let chat = move |body: String| {
        // At the server: the row is on the disk already.
        let found = of(&looked_at, Kind::CallIntent).len();
        if body.contains("ninth symphony") {
            seen.store(found, std::sync::atomic::Ordering::SeqCst);
        }
        async { ([(header::CONTENT_TYPE, "text/event-stream")], ANSWER) }
    };
    let app = Router::new()
        .route("/v1/models", get(|| async { r#"{"object":"list","data":[{"id":"m"}]}"# }))
        .route("/v1/chat/completions", post(chat));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });

    let settings = [
        ("stt.enabled", "false"),
        ("tts.enabled", "false"),
        ("llm.endpoint", endpoint.as_str()),
        ("llm.endpoint_model", "m"),
    ];
    let hub = loqa_tests::start_in(data.path(), &settings).await.unwrap();
    let missing = hub.wait_ready(loqa_tests::PATIENCE).await;
    assert!(missing.is_empty(), "{missing:?}");
    let hub = TestHub { hub, data };
    let report = hub.ask("who wrote the ninth symphony").await;
    assert_eq!((report.failure, report.reply.as_str()), (None, "Beethoven."));
    assert_eq!(intents.load(std::sync::atomic::Ordering::SeqCst), 1, "the intent came first");
    let data = hub.data.path().to_owned();
    hub.hub.audit().flush().unwrap();
    let sums = Reader::open(&data).unwrap().egress(None, None, None).unwrap();
    assert_eq!(sums.len(), 1);
    assert_eq!((sums[0].actor.as_str(), &*sums[0].origin), ("llm.endpoint", endpoint.strip_suffix("/v1").unwrap()));
    assert!(sums[0].bytes > 100 && sums[0].times == 1, "{sums:?}");
    assert!(rows(&data).iter().all(|row| !row.body.contains("symphony")), "the record holds no contents");

    server.abort();
    let _ = server.await;
    assert_eq!(hub.ask("tell me a joke").await.failure, None, "the next tier takes over");
    hub.hub.stop().await;
    let reader = Reader::open(&data).unwrap();
    let report = verify(&reader, reader.key().as_deref(), &[]).unwrap();
    assert_eq!((report.bad, report.open), (None, vec![]), "each request has its outcome");
}
