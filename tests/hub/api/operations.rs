//! Every operation of `docs/openapi.json`: it answers, and it refuses.

use super::{Api, QUIET, read};
use loqa_protocol::TurnId;
use loqa_skills::CallControl;
use loqa_skills::consent::{Answer, Consent as _, Occasion, Question};
use loqa_skills::package::pack;
use loqa_skills::permission::Tier;
use loqa_skills::{Permission, Scope, Taint};
use loqa_tests::{PATIENCE, repository};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Calls operations by their templates and remembers which.
struct Covered<'a> {
    api: &'a Api,
    seen: BTreeSet<String>,
}

impl Covered<'_> {
    async fn ok(&mut self, operation: &str, path: &str, body: Option<Value>) -> Value {
        let (method, _) = operation.split_once(' ').unwrap();
        let (status, answer) = self.api.send(method.parse().unwrap(), path, body).await;
        assert!(status.is_success(), "{operation} at {path}: {status} {answer}");
        self.seen.insert(operation.to_owned());
        answer
    }

    async fn fails(&mut self, operation: &str, path: &str, body: Option<Value>, status: u16, code: &str) {
        let (method, _) = operation.split_once(' ').unwrap();
        let (found, answer) = self.api.send(method.parse().unwrap(), path, body).await;
        assert_eq!(found, status, "{operation} at {path}: {answer}");
        assert_eq!(answer["code"], code, "{operation} at {path}: {answer}");
    }
}

/// The bundled timer skill under another name and version, as a package.
fn egg_timer(version: &str, more: &str) -> Vec<u8> {
    let timer = repository().join("skills/timer/dist");
    let folder = tempfile::tempdir().unwrap();
    let manifest = std::fs::read_to_string(timer.join("skill.yaml")).unwrap();
    let old = manifest.lines().find(|line| line.starts_with("version:")).unwrap().to_owned();
    let manifest = manifest
        .replace("name: timer", "name: egg")
        .replace("tool: timer.", "tool: egg.")
        .replace("module: timer.wasm", "module: egg.wasm")
        .replace(&old, &format!("version: {version}"))
        .replace("permissions:\n", &format!("permissions:\n{more}"));
    std::fs::write(folder.path().join("skill.yaml"), manifest).unwrap();
    std::fs::copy(timer.join("timer.wasm"), folder.path().join("egg.wasm")).unwrap();
    pack(folder.path(), None).unwrap()
}

async fn upload(api: &Api, package: Vec<u8>, media_type: &str) -> (StatusCode, Value) {
    let request = api.client.post(api.url("/v1/packages")).bearer_auth(&api.token);
    read(request.header("content-type", media_type).body(package).send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers() {
    let api = Api::start(&QUIET).await;
    let mut call = Covered { api: &api, seen: BTreeSet::new() };
    sessions(&mut call).await;
    skills(&mut call).await;
    packages(&mut call).await;
    grants(&mut call).await;
    prompts(&mut call).await;
    audit(&mut call).await;
    figures(&mut call).await;
    fetching(&mut call).await;
    settings(&mut call).await;
    logins(&mut call).await;
    remembered(&mut call).await;
    let seen = call.seen;

    let document = api.get("/openapi.json").await;
    let committed = std::fs::read_to_string(repository().join("docs/openapi.json")).unwrap();
    assert_eq!(document, serde_json::from_str::<Value>(&committed).unwrap(), "docs/openapi.json is what is served");
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{} {path}", method.to_uppercase());
            // Whatever it is, without the token it is refused, and tells nothing.
            if operation.get("security").is_none() {
                let path = path.replace("{seq}", "1").replace(['{', '}'], "x");
                let request = api.client.request(method.to_uppercase().parse().unwrap(), api.url(&path));
                let (status, body) = read(request.send().await.unwrap()).await;
                assert_eq!((status.as_u16(), body["code"].as_str()), (401, Some("unauthorized")), "{name}");
            }
            described.insert(name);
        }
    }
    assert_eq!(described, seen, "every operation that is described is called here, and no other");
    api.stop().await;
}

async fn sessions(call: &mut Covered<'_>) {
    call.ok("GET /health", "/health", None).await;
    let first =
        call.ok("POST /v1/turns", "/v1/turns", Some(json!({ "text": "set a tea timer for ten minutes" }))).await;
    assert_eq!(first["failure"], Value::Null, "{first}");
    assert_eq!(first["tool"]["name"], "timer.start");
    let (session, turn) = (first["session"].as_str().unwrap(), first["turn"].as_str().unwrap());
    let again = json!({ "text": "cancel all timers", "session": session });
    call.ok("POST /v1/turns", "/v1/turns", Some(again)).await;
    for (body, code) in [
        (json!({}), "bad_request"),
        (json!({ "text": "" }), "bad_request"),
        (json!({ "text": "x".repeat(2_001) }), "text_too_long"),
        (json!({ "text": "x", "session": "No Token" }), "bad_request"),
        (json!({ "text": "x", "more": 1 }), "bad_request"),
        (json!("x"), "bad_request"),
    ] {
        call.fails("POST /v1/turns", "/v1/turns", Some(body), 400, code).await;
    }
    let (status, body) = read(
        call.api.client.post(call.api.url("/v1/turns")).bearer_auth(&call.api.token).body("{}").send().await.unwrap(),
    )
    .await;
    assert_eq!(status, 415, "a body says that it is JSON: {body}");
    let large = json!({ "text": "x".repeat(300_000) });
    call.fails("POST /v1/turns", "/v1/turns", Some(large), 413, "too_large").await;

    call.api.hub.recorder().flush().await;
    let list = call.ok("GET /v1/sessions", "/v1/sessions?limit=1", None).await;
    assert_eq!(list["items"][0]["session"], session, "{list}");
    call.fails("GET /v1/sessions", "/v1/sessions?limit=0", None, 400, "bad_request").await;
    call.fails("GET /v1/sessions", "/v1/sessions?after=00", None, 404, "not_found").await;
    call.fails("GET /v1/sessions", "/v1/sessions?offset=3", None, 400, "bad_request").await;
    let one = call.ok("GET /v1/sessions/{session}", &format!("/v1/sessions/{session}"), None).await;
    assert_eq!(one["turns"], 2, "{one}");
    call.fails("GET /v1/sessions/{session}", "/v1/sessions/s-none", None, 404, "not_found").await;
    call.fails("GET /v1/sessions/{session}", "/v1/sessions/..%2Fx", None, 400, "bad_request").await;
    let path = format!("/v1/sessions/{session}/turns?limit=1");
    let page = call.ok("GET /v1/sessions/{session}/turns", &path, None).await;
    assert_eq!(page["items"][0]["turn"], turn, "the oldest first");
    let next = call.api.get(&format!("{path}&after={}", page["next"].as_str().unwrap())).await;
    assert_eq!(next["items"][0]["transcript"], "cancel all timers");
    assert!(next.get("next").is_none(), "the last page: {next}");
    let row = call.ok("GET /v1/turns/{turn}", &format!("/v1/turns/{turn}"), None).await;
    assert_eq!(row["transcript"], "set a tea timer for ten minutes");
    call.fails("GET /v1/turns/{turn}", "/v1/turns/t-none", None, 404, "not_found").await;
    let events = call.ok("GET /v1/turns/{turn}/events", &format!("/v1/turns/{turn}/events"), None).await;
    assert_eq!(events["events"][0]["event"]["type"], "turn_started");
    let found = call.ok("GET /v1/search", "/v1/search?q=TEA", None).await;
    assert!(found["items"].as_array().unwrap().iter().any(|hit| hit["turn"] == turn), "{found}");
    call.fails("GET /v1/search", "/v1/search?q=", None, 400, "bad_request").await;

    // What a guest says is not kept.
    let mode = call.ok("PUT /v1/privacy", "/v1/privacy", Some(json!({ "guest": true }))).await;
    assert_eq!((&mode["guest"], &mode["scope"]), (&json!(true), &json!("ephemeral")));
    let guest = call.api.ask("set a xylophone timer for nine minutes").await;
    call.ok("PUT /v1/privacy", "/v1/privacy", Some(json!({ "guest": false }))).await;
    let mode = call.ok("GET /v1/privacy", "/v1/privacy", None).await;
    assert_eq!(mode["guest"], false);
    call.fails("PUT /v1/privacy", "/v1/privacy", Some(json!({ "guest": 1 })), 400, "bad_request").await;
    call.api.hub.recorder().flush().await;
    let path = format!("/v1/turns/{}", guest["turn"].as_str().unwrap());
    call.fails("GET /v1/turns/{turn}", &path, None, 404, "not_found").await;

    let gone = call.ok("DELETE /v1/sessions/{session}", &format!("/v1/sessions/{session}"), None).await;
    assert_eq!(gone["before"]["turns"].as_u64().unwrap() - gone["after"]["turns"].as_u64().unwrap(), 2, "{gone}");
    call.fails("GET /v1/turns/{turn}", &format!("/v1/turns/{turn}"), None, 404, "not_found").await;
    call.fails("DELETE /v1/sessions/{session}", &format!("/v1/sessions/{session}"), None, 404, "not_found").await;
}

async fn skills(call: &mut Covered<'_>) {
    let list = call.ok("GET /v1/skills", "/v1/skills", None).await;
    assert_eq!(list["skills"][0]["name"], "timer");
    let timer = call.ok("GET /v1/skills/{name}", "/v1/skills/timer", None).await;
    assert_eq!(timer["skill"]["source"], "bundled");
    assert!(timer["permissions"].as_array().unwrap().iter().any(|line| line["permission"] == "timer:set"));
    assert!(timer["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "timer.start"));
    call.fails("GET /v1/skills/{name}", "/v1/skills/nobody", None, 404, "not_found").await;
    for change in ["enable", "disable", "rollback"] {
        let operation = format!("POST /v1/skills/{{name}}/{change}");
        call.fails(&operation, &format!("/v1/skills/timer/{change}"), None, 409, "conflict").await;
        call.fails(&operation, &format!("/v1/skills/nobody/{change}"), None, 404, "not_found").await;
    }
    let calls = call.ok("GET /v1/skills/{name}/calls", "/v1/skills/timer/calls?limit=2", None).await;
    assert_eq!(calls["rows"].as_array().unwrap().len(), 2);
    assert!(calls["rows"].as_array().unwrap().iter().all(|row| row["record"]["actor"]["id"] == "timer"), "{calls}");
    call.fails("GET /v1/skills/{name}/calls", "/v1/skills/nobody/calls", None, 404, "not_found").await;
    let path = "/v1/skills/timer/dry-run";
    let operation = "POST /v1/skills/{name}/dry-run";
    let run = call.ok(operation, path, Some(json!({ "text": "set a timer for five minutes" }))).await;
    assert_eq!(run["trigger"], "timer.start", "{run}");
    assert!(run["outcome"]["say"].as_str().unwrap().contains("5 minutes"), "{run}");
    let tool = json!({ "tool": "timer.start", "arguments": { "duration_s": 60 } });
    assert_eq!(call.ok(operation, path, Some(tool)).await["failure"], Value::Null);
    assert_eq!(call.api.ask("list my timers").await["reply"], "You have no timers.", "nothing was set");
    call.fails(operation, path, Some(json!({})), 400, "bad_request").await;
    call.fails(operation, "/v1/skills/nobody/dry-run", Some(json!({ "text": "x" })), 404, "not_found").await;
}

async fn packages(call: &mut Covered<'_>) {
    let (status, sheet) = upload(call.api, egg_timer("1.0.0", ""), "application/octet-stream").await;
    assert_eq!(status, 201, "{sheet}");
    call.seen.insert("POST /v1/packages".to_owned());
    assert_eq!((&sheet["name"], &sheet["action"]), (&json!("egg"), &json!("install")));
    let digest = sheet["digest"].as_str().unwrap().to_owned();
    let path = format!("/v1/packages/{digest}");
    assert_eq!(call.ok("GET /v1/packages/{digest}", &path, None).await, sheet);
    assert!(!call.api.hub.tools().iter().any(|tool| tool.name == "egg.start"), "an upload installs nothing");
    let install = "POST /v1/packages/{digest}/install";
    let wrong = json!({ "consent": "0".repeat(64) });
    call.fails(install, &format!("{path}/install"), Some(wrong), 409, "conflict").await;
    let agreed = json!({ "consent": sheet["consent"] });
    let installed = call.ok(install, &format!("{path}/install"), Some(agreed.clone())).await;
    assert_eq!(installed["skill"]["state"], "enabled", "{installed}");
    assert!(call.api.hub.tools().iter().any(|tool| tool.name == "egg.start"), "turns may use it");
    call.fails(install, &format!("{path}/install"), Some(agreed), 404, "not_found").await;

    let disabled = call.ok("POST /v1/skills/{name}/disable", "/v1/skills/egg/disable", None).await;
    assert_eq!((&disabled["skill"]["enabled"], &disabled["skill"]["state"]), (&json!(false), &json!("not_loaded")));
    call.ok("POST /v1/skills/{name}/enable", "/v1/skills/egg/enable", None).await;

    // A version that asks for more says so, and is taken only with a yes to that.
    let more = "  - { use: notify:show, reason: \"shows that the egg is done\" }\n";
    let (_, wider) = upload(call.api, egg_timer("1.1.0", more), "application/vnd.loqa.skill").await;
    assert_eq!(wider["action"], "upgrade", "{wider}");
    assert!(wider["differences"].as_array().unwrap().iter().any(|it| it.as_str().unwrap().contains("notify:show")));
    let path = format!("/v1/packages/{}", wider["digest"].as_str().unwrap());
    let upgraded = call.ok(install, &format!("{path}/install"), Some(json!({ "consent": wider["consent"] }))).await;
    assert_eq!(upgraded["skill"]["version"], "1.1.0", "{upgraded}");
    assert_eq!(upgraded["skill"]["previous"], "1.0.0");
    let back = call.ok("POST /v1/skills/{name}/rollback", "/v1/skills/egg/rollback", None).await;
    assert_eq!(back["skill"]["version"], "1.0.0");

    // A version that waits because the command line was not answered.
    let package = loqa_skills::Package::read(&egg_timer("1.2.0", "")).unwrap();
    let store = loqa_skills::Installed::in_data(call.api.data.path());
    store.upgrade(&package, &[], 1).unwrap();
    let waiting = call.api.get("/v1/skills/egg").await;
    assert_eq!(waiting["staged"]["version"], "1.2.0", "{waiting}");
    let upgrade = "POST /v1/skills/{name}/upgrade";
    let wrong = json!({ "digest": "0".repeat(64) });
    call.fails(upgrade, "/v1/skills/egg/upgrade", Some(wrong.clone()), 409, "conflict").await;
    let waiting = json!({ "digest": waiting["staged"]["digest"] });
    let taken = call.ok(upgrade, "/v1/skills/egg/upgrade", Some(waiting)).await;
    assert_eq!(taken["skill"]["version"], "1.2.0");
    call.fails(upgrade, "/v1/skills/timer/upgrade", Some(wrong), 409, "conflict").await;

    call.ok("DELETE /v1/skills/{name}", "/v1/skills/egg", None).await;
    call.fails("DELETE /v1/skills/{name}", "/v1/skills/egg", None, 404, "not_found").await;
    call.fails("DELETE /v1/skills/{name}", "/v1/skills/timer", None, 409, "conflict").await;
    assert!(!call.api.hub.tools().iter().any(|tool| tool.name.starts_with("egg.")));

    let (_, sheet) = upload(call.api, egg_timer("1.0.0", ""), "application/zip").await;
    let path = format!("/v1/packages/{}", sheet["digest"].as_str().unwrap());
    call.ok("DELETE /v1/packages/{digest}", &path, None).await;
    call.fails("DELETE /v1/packages/{digest}", &path, None, 404, "not_found").await;
    call.fails("GET /v1/packages/{digest}", &path, None, 404, "not_found").await;
    for (package, media_type, status) in [
        (b"no package".to_vec(), "application/octet-stream", 400),
        (Vec::new(), "application/octet-stream", 400),
        (egg_timer("1.0.0", ""), "text/plain", 415),
    ] {
        assert_eq!(upload(call.api, package, media_type).await.0, status, "{media_type}");
    }
}

async fn grants(call: &mut Covered<'_>) {
    let list = call.ok("GET /v1/grants", "/v1/grants?skill=timer", None).await;
    let names = |list: &Value| -> Vec<String> {
        let grants = list["grants"].as_array().unwrap().iter();
        grants.map(|grant| grant["permission"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&list), ["kv:store", "timer:set", "tts:say"]);
    let revoked = json!({ "skill": "timer", "permission": "timer:set" });
    call.ok("POST /v1/grants/revoke", "/v1/grants/revoke", Some(revoked)).await;
    let denied = call.api.ask("set a timer for 6 minutes").await;
    assert_eq!(denied["reply"], "Sorry, I am not allowed to do that.");
    assert!(names(&call.api.get("/v1/grants?all=true").await).len() > 2, "what is over is shown when asked for");
    let grant = |permission: &str| json!({ "skill": "timer", "permission": permission, "lifetime": "always" });
    call.ok("POST /v1/grants", "/v1/grants", Some(grant("timer:set"))).await;
    assert_eq!(names(&call.api.get("/v1/grants?skill=timer").await).len(), 3);
    for (body, status) in [
        (grant("timer:everything"), 400),
        (grant("http:call"), 400),
        (json!({ "skill": "timer", "permission": "timer:set", "lifetime": "session" }), 400),
        (json!({ "skill": "timer", "permission": "timer:set", "lifetime": "forever" }), 400),
    ] {
        call.fails("POST /v1/grants", "/v1/grants", Some(body), status, "bad_request").await;
    }
    let unknown = json!({ "skill": "timer", "permission": "x" });
    call.fails("POST /v1/grants/revoke", "/v1/grants/revoke", Some(unknown), 400, "bad_request").await;
}

fn question() -> Question {
    Question {
        skill: "timer".into(),
        title: "Timer".into(),
        version: "1.0.0".into(),
        digest: "00".into(),
        permission: Permission::DeviceControl,
        tier: Tier::T2,
        occasion: Occasion::FirstUse,
        operation: "device",
        target: "device light.kitchen turn_on".into(),
        reason: "switches your lights".into(),
        scope: Scope::default(),
        taint: Taint::user(),
        turn: Some((loqa_protocol::SessionId::from_bits(1), TurnId::from_bits(2))),
    }
}

async fn prompts(call: &mut Covered<'_>) {
    let prompts = Arc::clone(call.api.hub.prompts());
    let cancel = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let control = CallControl::new(Instant::now() + PATIENCE, cancel);
    let asking = tokio::task::spawn_blocking(move || prompts.ask(&question(), PATIENCE, &control));
    let end = Instant::now() + PATIENCE;
    let open = loop {
        let list = call.ok("GET /v1/prompts", "/v1/prompts", None).await;
        if let Some(prompt) = list["prompts"].get(0) {
            break prompt.clone();
        }
        assert!(Instant::now() < end, "the question is open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(open["target"], "device light.kitchen turn_on");
    let path = format!("/v1/prompts/{}/answer", open["id"].as_str().unwrap());
    let operation = "POST /v1/prompts/{prompt}/answer";
    call.fails(operation, &path, Some(json!({ "answer": "perhaps" })), 400, "bad_request").await;
    call.ok(operation, &path, Some(json!({ "answer": "once" }))).await;
    assert_eq!(asking.await.unwrap(), Answer::Once);
    call.fails(operation, &path, Some(json!({ "answer": "once" })), 404, "not_found").await;
}

async fn audit(call: &mut Covered<'_>) {
    let page = call.ok("GET /v1/audit", "/v1/audit?actor=timer&limit=1", None).await;
    let row = &page["rows"][0];
    assert_eq!(row["record"]["actor"]["id"], "timer", "{page}");
    let next = page["next"].as_str().unwrap();
    let older = call.api.get(&format!("/v1/audit?actor=timer&limit=1&after={next}")).await;
    assert!(older["rows"][0]["seq"].as_u64() < row["seq"].as_u64());
    let denied = call.api.get("/v1/audit?decision=deny&kind=call.denied").await;
    assert!(denied["rows"].as_array().unwrap().iter().all(|row| row["record"]["decision"] == "deny"));
    call.fails("GET /v1/audit", "/v1/audit?decision=maybe", None, 400, "bad_request").await;
    call.fails("GET /v1/audit", "/v1/audit?kind=nonsense", None, 404, "not_found").await;
    call.fails("GET /v1/audit", "/v1/audit?after=r", None, 404, "not_found").await;
    let shown = format!("/v1/audit/rows/{}", row["seq"]);
    assert_eq!(call.ok("GET /v1/audit/rows/{seq}", &shown, None).await["row"], *row);
    call.fails("GET /v1/audit/rows/{seq}", "/v1/audit/rows/999999", None, 404, "not_found").await;
    call.fails("GET /v1/audit/rows/{seq}", "/v1/audit/rows/first", None, 400, "bad_request").await;
    let sealed = call.ok("POST /v1/audit/checkpoint", "/v1/audit/checkpoint", None).await;
    assert!(sealed["checkpoint"]["checkpoint"]["seq"].as_u64() > Some(0), "{sealed}");
    let report = call.ok("GET /v1/audit/verify", "/v1/audit/verify", None).await;
    assert_eq!(report["ok"], true, "{report}");
    let egress = call.ok("GET /v1/audit/egress", "/v1/audit/egress?by=day", None).await;
    assert_eq!(egress["bytes"], 0, "nothing left this hub: {egress}");
    call.fails("GET /v1/audit/egress", "/v1/audit/egress?by=year", None, 400, "bad_request").await;

    call.ok("GET /v1/audit/export", "/v1/audit/export?actor=timer", None).await;
    let export = call.api.client.get(call.api.url("/v1/audit/export?format=csv")).bearer_auth(&call.api.token);
    let text = export.send().await.unwrap().text().await.unwrap();
    let rows = text.lines().count() as u64 - 1;
    assert!(rows > 10, "{rows} rows");
    let path = "/v1/audit/export?format=csv&contents=true";
    call.fails("GET /v1/audit/export", path, None, 400, "bad_request").await;
    // The export is a row itself, with the number of rows that went out.
    let end = Instant::now() + PATIENCE;
    loop {
        let exports = call.api.get("/v1/audit?kind=audit.export").await;
        let scopes: Vec<_> =
            exports["rows"].as_array().unwrap().iter().map(|row| row["record"]["scope"].clone()).collect();
        if scopes.contains(&json!(format!("{rows} rows"))) {
            break;
        }
        assert!(Instant::now() < end, "{rows} rows in {scopes:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn figures(call: &mut Covered<'_>) {
    let latency = call.ok("GET /v1/latency", "/v1/latency", None).await;
    assert_eq!(latency["over"], "run");
    assert_eq!(call.api.get("/v1/latency?since_ms=0").await["over"], "window");
    call.fails("GET /v1/latency", "/v1/latency?since_ms=now", None, 400, "bad_request").await;
    call.ok("GET /v1/latency/turns", "/v1/latency/turns?limit=5", None).await;
    call.fails("GET /v1/latency/turns", "/v1/latency/turns?limit=501", None, 400, "bad_request").await;
    assert!(call.ok("GET /v1/nodes", "/v1/nodes", None).await["nodes"].as_array().unwrap().is_empty());
    let status = call.ok("GET /v1/status", "/v1/status", None).await;
    assert_eq!(status["skills"], json!(["timer"]), "{status}");
    let models = call.ok("GET /v1/models", "/v1/models", None).await;
    let starter = models["models"].as_array().unwrap().iter().find(|model| model["name"] == "starter-tts").unwrap();
    assert_eq!((&starter["state"], &starter["tier"]), (&json!("installed"), &Value::Null));
    let request = call.api.client.get(call.api.url("/v1/models")).bearer_auth(&call.api.token);
    let first = request.try_clone().unwrap().send().await.unwrap();
    let tag = first.headers()["etag"].clone();
    let again = request.header("if-none-match", tag).send().await.unwrap();
    assert_eq!(again.status(), 304);
    let tier = |tier: u32| Some(json!({ "tier": tier }));
    let operation = "POST /v1/models/{name}/use";
    let used = call.ok(operation, "/v1/models/reflex/use", tier(1)).await;
    assert_eq!(used["models"][0]["model"], "reflex", "{used}");
    call.fails(operation, "/v1/models/reflex/use", tier(7), 400, "bad_request").await;
    call.fails(operation, "/v1/models/none/use", tier(1), 404, "not_found").await;
}

async fn fetching(call: &mut Covered<'_>) {
    call.api.without_downloads();
    let pull = "POST /v1/models/{name}/pull";
    let models = call.api.get("/v1/models").await;
    let tiny =
        models["models"].as_array().unwrap().iter().find(|model| model["name"] == "whisper-tiny").unwrap().clone();
    let agreed = Some(json!({ "licence": tiny["licence"] }));
    let begun = call.ok(pull, "/v1/models/whisper-tiny/pull", agreed.clone()).await;
    assert_eq!((&begun["name"], &begun["total"]), (&json!("whisper-tiny"), &tiny["bytes"]), "{begun}");
    call.fails(pull, "/v1/models/none/pull", agreed.clone(), 404, "not_found").await;
    call.fails(pull, "/v1/models/reflex/pull", agreed, 409, "conflict").await;
    let cancel = "DELETE /v1/models/{name}/pull";
    let over = call.ok(cancel, "/v1/models/whisper-tiny/pull", None).await;
    assert_ne!(over["state"], "running", "{over}");
    call.fails(cancel, "/v1/models/reflex/pull", None, 404, "not_found").await;
    let pulls = call.ok("GET /v1/models/pulls", "/v1/models/pulls", None).await;
    assert_eq!(pulls["pulls"], json!([over]));
    let forecast = call.ok("GET /v1/models/{name}/forecast", "/v1/models/whisper-tiny/forecast", None).await;
    assert_eq!((&forecast["unit"], &forecast["download_bytes"]), (&json!("times_real_time"), &tiny["bytes"]));
    call.fails("GET /v1/models/{name}/forecast", "/v1/models/none/forecast", None, 404, "not_found").await;
    let remove = "DELETE /v1/models/{name}";
    assert_eq!(call.ok(remove, "/v1/models/whisper-tiny", None).await["removed_bytes"], 0);
    call.fails(remove, "/v1/models/starter-tts", None, 409, "conflict").await;
    call.fails(remove, "/v1/models/none", None, 404, "not_found").await;
}

/// Last, because nothing is left afterwards.
async fn remembered(call: &mut Covered<'_>) {
    let turn = call.api.ask("set a tea timer for ten minutes").await;
    let session = turn["session"].as_str().unwrap().to_owned();
    call.api.hub.recorder().flush().await;
    let store = call.ok("GET /v1/store", "/v1/store", None).await;
    assert!(store["counts"]["turns"].as_u64() > Some(0) && store["failing"].is_null(), "{store}");
    call.ok("GET /v1/sessions/{session}/export", &format!("/v1/sessions/{session}/export"), None).await;
    let replay = "POST /v1/sessions/{session}/replay";
    let report = call.ok(replay, &format!("/v1/sessions/{session}/replay"), Some(json!({}))).await;
    assert_eq!((&report["turns"], &report["different"]), (&json!(1), &json!(0)), "{report}");
    call.fails(replay, "/v1/sessions/s-none/replay", Some(json!({})), 404, "not_found").await;
    let wipe = "POST /v1/privacy/wipe";
    call.fails(wipe, "/v1/privacy/wipe", Some(json!({ "confirm": "yes" })), 400, "bad_request").await;
    let erased = call.ok(wipe, "/v1/privacy/wipe", Some(json!({ "confirm": "wipe" }))).await;
    assert_eq!(erased["after"]["turns"], 0, "{erased}");
}

async fn settings(call: &mut Covered<'_>) {
    let list = call.ok("GET /v1/settings", "/v1/settings", None).await;
    assert!(list["settings"].as_array().unwrap().len() > 30);
    let stt = list["settings"].as_array().unwrap().iter().find(|row| row["key"] == "stt.enabled").unwrap();
    assert_eq!(stt["overridden_by"], "--set", "{stt}");
    let path = "/v1/settings/tts.speed";
    let put = "PUT /v1/settings/{key}";
    let changed = call.ok(put, path, Some(json!({ "value": 1.25 }))).await;
    assert_eq!((&changed["value"], &changed["applies"]), (&json!(1.25), &json!("now")), "{changed}");
    let text = std::fs::read_to_string(call.api.config_file()).unwrap();
    assert_eq!(text, "[tts]\nspeed = 1.25\n");
    let later = call.ok(put, "/v1/settings/audit.keep_days", Some(json!({ "value": 30 }))).await;
    assert_eq!((&later["value"], &later["next"], &later["applies"]), (&json!(365), &json!(30), &json!("restart")));
    let one = call.ok("GET /v1/settings/{key}", path, None).await;
    assert!(one["origin"].as_str().unwrap().ends_with("loqa.toml:2"), "{one}");
    call.fails(put, path, Some(json!({ "value": "fast" })), 400, "bad_request").await;
    call.fails(put, path, Some(json!({ "value": 9 })), 400, "bad_request").await;
    call.fails(put, "/v1/settings/no.key", Some(json!({ "value": 1 })), 404, "not_found").await;
    call.fails("GET /v1/settings/{key}", "/v1/settings/no.key", None, 404, "not_found").await;
    for key in ["paths.programs", "bus.nats_server", "skills.dev", "api.port"] {
        let value = if key == "skills.dev" {
            json!([])
        } else if key == "api.port" {
            json!(1)
        } else {
            json!("/tmp")
        };
        call.fails(put, &format!("/v1/settings/{key}"), Some(json!({ "value": value })), 403, "forbidden").await;
    }
    let reset = call.ok("DELETE /v1/settings/{key}", path, None).await;
    assert_eq!(reset["value"], 1.0, "{reset}");
    call.fails("DELETE /v1/settings/{key}", "/v1/settings/no.key", None, 404, "not_found").await;
    let rows = call.api.get("/v1/audit?kind=config.change").await;
    let targets: Vec<_> = rows["rows"].as_array().unwrap().iter().map(|row| row["record"]["effect"].clone()).collect();
    let changes = targets.iter().filter(|effect| effect["target"] == "tts.speed").count();
    assert_eq!(changes, 2, "each change is a row, and only a change: {targets:?}");
}

async fn logins(call: &mut Covered<'_>) {
    let api = call.api;
    let code = call.ok("POST /v1/login/codes", "/v1/login/codes", None).await["code"].clone();
    let log_in = async |code: Value, origin: &str| {
        let request = api.client.post(api.url("/v1/login")).header("content-type", "application/json");
        request.header("origin", origin).body(json!({ "code": code }).to_string()).send().await.unwrap()
    };
    let origin = api.server.url();
    assert_eq!(log_in(json!("guess"), &origin).await.status(), 403);
    assert_eq!(log_in(code.clone(), "http://evil.example").await.status(), 403);
    let answer = log_in(code.clone(), &origin).await;
    assert_eq!(answer.status(), 204);
    call.seen.insert("POST /v1/login".to_owned());
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert_eq!(log_in(code, &origin).await.status(), 403, "a code works once");
    let status = async |origin: Option<&str>, site: Option<&str>| {
        let mut request = api.client.get(api.url("/v1/status")).header("cookie", &cookie);
        for (name, value) in [("origin", origin), ("sec-fetch-site", site)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(status(Some(&origin), None).await, 200);
    assert_eq!(status(None, Some("same-origin")).await, 200);
    assert_eq!(status(None, None).await, 401, "the cookie alone is worth nothing");
    assert_eq!(status(None, Some("cross-site")).await, 403);
    let out = api.client.delete(api.url("/v1/login")).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(out.status(), 204);
    call.seen.insert("DELETE /v1/login".to_owned());
    assert_eq!(status(Some(&origin), None).await, 401, "logged out");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_the_description_need_no_token_and_nothing_else_is_there() {
    let api = Api::start(&QUIET).await;
    for (path, media_type) in [
        ("/", "text/html"),
        ("/page/app.js", "text/javascript"),
        ("/page/style.css", "text/css"),
        ("/openapi.json", "application/json"),
    ] {
        let response = api.client.get(api.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with(media_type), "{path}");
    }
    for path in ["/nothing", "/v1", "/v1/", "/v2/status", "/page/../api.token", "/.env"] {
        let (status, _) = api.send(Method::GET, path, None).await;
        assert_eq!(status, 404, "{path}");
        let (status, _) = read(api.client.get(api.url(path)).send().await.unwrap()).await;
        assert_eq!(status, 401, "without the token not even that is told: {path}");
    }
    for (method, path) in [(Method::POST, "/v1/status"), (Method::PATCH, "/v1/turns"), (Method::OPTIONS, "/v1/status")]
    {
        let request = api.client.request(method.clone(), api.url(path)).bearer_auth(&api.token);
        let response = request.send().await.unwrap();
        assert!(response.headers().contains_key("allow"), "{method} {path}");
        assert_eq!(read(response).await.0, 405, "{method} {path}");
    }
    let failed = api.get("/v1/audit?kind=api.auth_fail").await;
    assert!(!failed["rows"].as_array().unwrap().is_empty(), "who had no token is on record");
    api.stop().await;
}
