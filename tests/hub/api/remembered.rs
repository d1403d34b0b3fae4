//! Sessions run again and exported, and everything taken back, over the API of a real hub.

use super::{Api, QUIET, read};
use crate::api::live::{connect, say};
use loqa_api::replay::{ReplayReport, ReplayedTurn};
use loqa_api::talk::{Playback, TalkRequest};
use loqa_tests::PATIENCE;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_run_again_one_at_a_time_and_nothing_of_it_is_kept() {
    let api = Api::start(&QUIET).await;
    let first = api.ask("set a tea timer for ten minutes").await;
    assert_eq!(first["failure"], Value::Null, "{first}");
    let session = first["session"].as_str().unwrap().to_owned();
    // Here it may not; on the hub of a replay nothing was ever revoked.
    let revoked = json!({ "skill": "timer", "permission": "timer:set" });
    assert_eq!(api.post("/v1/grants/revoke", revoked).await.0, 200);
    let said = json!({ "text": "set an egg timer for two minutes", "session": session });
    let (_, second) = api.post("/v1/turns", said).await;
    assert_eq!(second["reply"], "Sorry, I am not allowed to do that.");
    api.hub.recorder().flush().await;
    let before = api.get("/v1/store").await;
    assert_eq!((&before["counts"]["turns"], &before["counts"]["sessions"]), (&json!(2), &json!(1)), "{before}");
    assert!(before["file"].as_str().unwrap().ends_with("loqa.db") && before["counts"]["bytes"].as_u64() > Some(0));

    let path = format!("/v1/sessions/{session}/replay");
    let (status, answer) = api.post(&path, json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let report: ReplayReport = serde_json::from_value(answer.clone()).unwrap();
    let turns = &report.sessions[0].turns;
    assert_eq!((report.turns, turns.len(), turns[0].spoken), (2, 2, false), "{answer}");
    let is_same = |turn: &ReplayedTurn| turn.transcript.same && turn.tool.same && turn.failure.same;
    assert!(is_same(&turns[0]) && turns[0].reply.same, "{answer}");
    assert_eq!(turns[0].tool.after.as_ref().map(|call| call.name.as_str()), Some("timer.start"));
    assert!(!turns[1].reply.same, "{answer}");
    assert_eq!(turns[1].reply.before, "Sorry, I am not allowed to do that.");
    assert_eq!(report.different, turns.iter().filter(|turn| !is_same(turn)).count(), "{answer}");
    // With a model, whose engine is started for it and gone afterwards.
    let (status, answer) = api.post(&path, json!({ "llm": "reflex" })).await;
    assert_eq!((status.as_u16(), &answer["turns"]), (200, &json!(2)), "{answer}");
    assert!(api.hub.models_in_use().is_empty());

    let granted = json!({ "skill": "timer", "permission": "timer:set", "lifetime": "always" });
    assert_eq!(api.post("/v1/grants", granted).await.0, 201);
    let timers = api.ask("list my timers").await["reply"].as_str().unwrap().to_owned();
    assert!(timers.contains("tea") && !timers.contains("egg"), "a replay sets no timers: {timers}");
    assert_eq!(api.get(&format!("/v1/sessions/{session}")).await["turns"], 2, "and keeps nothing");

    for (path, body, status) in [
        ("/v1/sessions/s-none/replay".to_owned(), json!({}), 404),
        (path.clone(), json!({ "llm": "nothing" }), 400),
        (path.clone(), json!({ "llm": "starter-tts" }), 400),
        (path.clone(), json!({ "llm": "qwen3-4b" }), 409),
        (path.clone(), json!({ "skill": "/tmp" }), 400),
    ] {
        let (found, answer) = api.post(&path, body.clone()).await;
        assert_eq!(found, status, "{body}: {answer}");
    }

    // One at a time.
    let tries = futures_util::future::join_all((0..4).map(|_| api.post(&path, json!({})))).await;
    let statuses: Vec<u16> = tries.iter().map(|(status, _)| status.as_u16()).collect();
    let with = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert!(with(200) >= 1 && with(409) >= 1 && with(200) + with(409) == 4, "{statuses:?}");

    // A client that goes away ends its replay, and others may begin one.
    let gone = reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(50)).build().unwrap();
    let request = gone.post(api.url(&path)).bearer_auth(&api.token).header("content-type", "application/json");
    let cut = request.body(r#"{"llm":"reflex"}"#).send().await;
    assert!(cut.is_err_and(|error| error.is_timeout()), "a replay takes longer than that");
    let end = Instant::now() + PATIENCE;
    while api.post(&path, json!({})).await.0 != 200 {
        assert!(Instant::now() < end, "the place is given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // A hub that stops takes a replay with it.
    let (client, url, token) = (api.client.clone(), api.url(&path), api.token.clone());
    let running = tokio::spawn(async move {
        let request = client.post(url).bearer_auth(token).header("content-type", "application/json");
        request.body(r#"{"llm":"reflex"}"#).send().await
    });
    let end = Instant::now() + PATIENCE;
    while api.post(&path, json!({ "llm": "nothing" })).await.0 != 409 && !running.is_finished() {
        assert!(Instant::now() < end, "it begins");
    }
    api.stop().await;
    let _ended = tokio::time::timeout(PATIENCE, running).await.expect("whoever asked is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_taken_back_with_a_proof_but_not_under_a_turn() {
    let api = Api::start(&[("tts.enabled", "false"), ("llm.models", "")]).await;
    let turn = api.ask("set a xanthophyll timer for ten minutes").await;
    let session = turn["session"].as_str().unwrap().to_owned();
    api.hub.recorder().flush().await;

    let path = format!("/v1/sessions/{session}/export");
    let request = |path: &str| api.client.get(api.url(path)).bearer_auth(&api.token);
    let export = request(&path).send().await.unwrap();
    assert_eq!(export.headers()["content-type"], "application/x-ndjson");
    let name = format!("attachment; filename=\"{session}.jsonl\"");
    assert_eq!(export.headers()["content-disposition"], name.as_str());
    let kinds = |text: &str| {
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["type"].as_str().unwrap().to_owned();
        text.lines().map(line).collect::<Vec<_>>()
    };
    let text = export.text().await.unwrap();
    assert!(text.contains("xanthophyll"));
    assert_eq!(kinds(&text)[..3], ["session", "turn", "event"]);
    let short = request(&format!("{path}?events=false")).send().await.unwrap().text().await.unwrap();
    assert_eq!(kinds(&short), ["session", "turn"]);
    let read_back = loqa_hub::replay::from_lines(&text).unwrap();
    assert_eq!(read_back[0].turns[0].row.transcript, "set a xanthophyll timer for ten minutes");
    assert_eq!(read(request("/v1/sessions/s-none/export").send().await.unwrap()).await.0, 404);
    assert_eq!(read(request(&format!("{path}?voice=1")).send().await.unwrap()).await.0, 400);

    // Somebody speaks.
    let mut socket = connect(&api, "/v1/talk").await;
    let start = TalkRequest::Start {
        session: None,
        speak: false,
        playback: Playback::Immediate,
        guest: false,
        keep_audio: None,
    };
    // The turn begins a moment after the message.
    let mut begun = api.hub.recorder().subscribe();
    say(&mut socket, &start).await;
    drop(tokio::time::timeout(PATIENCE, begun.recv()).await.expect("the turn begins"));
    let wipe = async |confirm: &str| api.post("/v1/privacy/wipe", json!({ "confirm": confirm })).await;
    let end = Instant::now() + PATIENCE;
    let (status, refused) = wipe("wipe").await;
    assert_eq!((status.as_u16(), &refused["code"]), (409, &json!("conflict")), "{refused}");
    assert!(api.get("/v1/store").await["counts"]["turns"].as_u64() > Some(0), "nothing went");
    drop(socket);
    for wrong in ["", "yes", "Wipe", "wipe "] {
        let (status, refused) = wipe(wrong).await;
        assert_eq!((status.as_u16(), &refused["code"]), (400, &json!("bad_request")), "{wrong}: {refused}");
    }
    assert_eq!(api.post("/v1/privacy/wipe", json!({})).await.0, 400);
    let erased = loop {
        let (status, answer) = wipe("wipe").await;
        if status == 200 {
            break answer;
        }
        assert_eq!(status, 409, "{answer}");
        assert!(Instant::now() < end, "the turn of a closed socket ends: {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(erased["before"]["turns"].as_u64() > Some(0), "{erased}");
    assert_eq!((&erased["after"]["turns"], &erased["after"]["sessions"]), (&json!(0), &json!(0)), "{erased}");
    assert_eq!(api.get("/v1/sessions").await["items"], json!([]));
    assert_eq!(api.get("/v1/search?q=xanthophyll").await["items"], json!([]));
    let (status, _) = api.send(Method::GET, &format!("/v1/turns/{}", turn["turn"].as_str().unwrap()), None).await;
    assert_eq!(status, 404);
    let proof = api.get("/v1/audit?kind=store.wipe").await;
    assert_eq!(proof["rows"].as_array().unwrap().len(), 1, "{proof}");
    assert!(proof["rows"][0]["record"]["scope"].as_str().unwrap().contains("\"sessions\":["), "{proof}");
    assert_eq!(api.get("/v1/audit/verify").await["ok"], true);
    let ended = api.get(&format!("/v1/audit?kind=session.end&session={session}")).await;
    assert_eq!(ended["rows"][0]["record"]["reason"], "forgotten", "the conversation is forgotten too: {ended}");
    // And it goes on.
    assert_eq!(api.ask("cancel all timers").await["failure"], Value::Null);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_the_audit_takes_every_filter_of_the_list() {
    let api = Api::start(&QUIET).await;
    api.ask("set a tea timer for ten minutes").await;
    let list = async |filter: &str| {
        let listed = api.get(&format!("/v1/audit?limit=500&{filter}")).await;
        let hash = |row: &Value| row["hash"].as_str().unwrap().to_owned();
        let mut hashes: Vec<String> = listed["rows"].as_array().unwrap().iter().map(hash).collect();
        hashes.reverse();
        hashes
    };
    let all = list("").await.len();
    let mut narrowed = 0;
    for filter in ["permission=timer:set", "decision=allow", "decision=deny", "text=timer", "actor=timer"] {
        let listed = list(filter).await;
        let request = api.client.get(api.url(&format!("/v1/audit/export?{filter}"))).bearer_auth(&api.token);
        let text = request.send().await.unwrap().text().await.unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let exported: Vec<String> = lines.map(|line| line["hash"].as_str().unwrap().to_owned()).collect();
        // What happened meanwhile stands behind.
        assert_eq!(exported.get(..listed.len()), Some(&listed[..]), "{filter}");
        narrowed += usize::from(exported.len() < all);
    }
    assert_eq!(narrowed, 5, "each of them leaves rows out");
    let (status, _) = api.send(Method::GET, "/v1/audit/export?decision=perhaps", None).await;
    assert_eq!(status, 400);
    api.stop().await;
}
