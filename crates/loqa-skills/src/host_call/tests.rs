//! Host calls without a module around them: what they answer, what they ask of the
//! world, and that nothing that a guest could pass breaks them.
//!
//! `LOQA_TEST_N` sets how many hostile inputs each function gets (1,000 without it).

use super::*;
use crate::consent::{Answer, Consent, Question};
use crate::control::CallControl;
use crate::grants::{Grantor, Lifetime, NewGrant};
use crate::host::effects::{DeviceOrder, Effects, EventQuery, HttpAnswer, HttpOrder, LlmAnswer, LlmOrder, Pending};
use crate::secrets::Secrets;
use crate::taint::Label;
use crate::{Permission, Scope, SkillHost, SkillHostOptions, SystemClock};
use loqa_audit::{Entry, Journal, JournalError, Kind};
use loqa_protocol::llm::{ChatMessage, Role};
use loqa_protocol::{SessionId, TurnId};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;

const MANIFEST: &str = r#"
schema: 1
name: test
version: 1.0.0
title: Test
description: A test.
author: Tests
license: MIT
runtime: { kind: wasm, module: test.wasm, host_api: 1 }
permissions:
  - { use: log:write, reason: r }
  - { use: reply:say, reason: r }
  - { use: kv:store, reason: r }
  - { use: bus:publish, topics: [a, b.c], per_minute: 1200, reason: r }
  - { use: timer:set, reason: r }
  - { use: tts:say, reason: r }
  - { use: notify:show, reason: r }
  - { use: http:call, urls: ["https://a.test/", "https://b.test/only"], methods: [GET, POST], per_minute: 600, reason: r }
  - { use: secret:use, name: key, origin: "https://a.test", reason: r }
  - { use: transcript:read, level: "history:2", reason: r }
  - { use: event_store:read, level: session, reason: r }
  - { use: llm:complete, tokens_per_day: 1000, reason: r }
  - { use: device:control, domains: [light], entities: [light.kitchen], reason: r }
"#;

/// Answers requests from a list and writes down what was asked.
#[derive(Default)]
struct World {
    answers: Mutex<VecDeque<HttpAnswer>>,
    asked: Mutex<Vec<String>>,
    /// Keeps what is never answered.
    hanging: Mutex<Vec<Pending<HttpAnswer>>>,
}

impl World {
    fn note(&self, line: String) {
        self.asked.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Effects for World {
    fn say(&self, _: &str, _: &str) {}
    fn notify(&self, _: &str, _: &str) {}
    fn publish(&self, _: &str, _: &str, _: &Value) {}

    fn http(&self, order: HttpOrder, pending: Pending<HttpAnswer>) {
        let headers = order.headers.iter().map(|(name, value)| format!(" {name}={value}")).collect::<String>();
        self.note(format!("{} {}{headers} {}", order.method, order.url, String::from_utf8_lossy(&order.body)));
        match self.answers.lock().unwrap().pop_front() {
            Some(answer) => pending.answer(Ok(answer)),
            None => self.hanging.lock().unwrap().push(pending),
        }
    }

    fn events(&self, query: EventQuery, pending: Pending<Vec<Value>>) {
        pending.answer(Ok(vec![json!(format!("{:?}", query.level))]));
    }

    fn complete(&self, order: LlmOrder, pending: Pending<LlmAnswer>) {
        pending.answer(Ok(LlmAnswer { text: format!("heard {}", order.prompt), tokens: 100 }));
    }

    fn device(&self, order: DeviceOrder, pending: Pending<Value>) {
        self.note(format!("{} {}", order.operation, order.entity));
        pending.answer(Ok(json!("done")));
    }
}

struct Yes;

impl Consent for Yes {
    fn ask(&self, _: &Question, _: Duration, _: &CallControl) -> Answer {
        Answer::Once
    }
}

/// Counts rows by kind and operation.
#[derive(Default)]
struct Rows(Mutex<Vec<String>>);

impl Journal for Rows {
    fn append(&self, entry: Entry) -> Result<u64, JournalError> {
        self.append_later(entry);
        Ok(1)
    }

    fn append_later(&self, entry: Entry) {
        if matches!(entry.kind, Kind::CallIntent | Kind::CallDenied) {
            let operation = entry.effect.map(|effect| effect.operation).unwrap_or_default();
            self.0.lock().unwrap().push(format!("{} {operation}", entry.kind));
        }
    }

    fn finish(&self, _: u64, outcome: Outcome) {
        let bytes = outcome.bytes_out.map(|bytes| format!(" {bytes} out")).unwrap_or_default();
        self.0.lock().unwrap().push(format!("{}{bytes}", outcome.status.unwrap()));
    }
}

struct Fixture {
    host: SkillHost,
    manifest: Arc<Manifest>,
    world: Arc<World>,
    rows: Arc<Rows>,
    secrets: Secrets,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (world, rows) = (Arc::new(World::default()), Arc::new(Rows::default()));
        let options = SkillHostOptions { data_dir: folder.path().to_owned(), clock: Arc::new(SystemClock) };
        let host = SkillHost::open_with_audit(options, Arc::clone(&world) as _, Arc::clone(&rows) as _).unwrap();
        host.set_consent(Arc::new(Yes), Duration::from_secs(1));
        let manifest = Arc::new(Manifest::parse(Path::new("skill.yaml"), MANIFEST.as_bytes()).unwrap());
        for requested in &manifest.permissions {
            let grant = NewGrant::by_manifest(
                &manifest,
                "digest",
                requested.permission,
                &Scope::default(),
                Lifetime::Always,
                Grantor::Operator,
            );
            host.grants().grant(grant.unwrap()).unwrap();
        }
        let secrets = Secrets::in_folder(folder.path());
        rows.0.lock().unwrap().clear();
        Self { host, manifest, world, rows, secrets, _folder: folder }
    }

    fn running(&self, budget: Duration) -> Running {
        let actor = Actor {
            skill: "test".to_owned(),
            version: "1.0.0".to_owned(),
            title: "Test".to_owned(),
            module: String::new(),
            digest: "digest".to_owned(),
            invocation: 1,
            turn: Some((SessionId::from_bits(1), TurnId::from_bits(1))),
            scope: loqa_protocol::PrivacyScope::Persistent,
            since: self.host.grants().revocations(),
            control: CallControl::lasting(budget),
        };
        let message = |role, content: &str| ChatMessage { role, content: content.to_owned() };
        let said = Said {
            utterance: "now".to_owned(),
            history: vec![message(Role::User, "one"), message(Role::Assistant, "two"), message(Role::User, "three")],
            taint: Taint::user().with(Label::File),
        };
        self.host.running(Arc::clone(&self.manifest), actor, Taint::user(), said, Vec::new(), 0)
    }

    fn call(&self, running: &mut Running, function: HostFunction, arguments: &Value) -> Value {
        serde_json::from_slice(&running.answer(function, arguments.to_string().as_bytes())).unwrap()
    }
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> HttpAnswer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    HttpAnswer { status, headers, body: body.as_bytes().to_vec(), bytes_out: 9 }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_request_brings_its_answer_and_leaves_its_mark() {
    let fixture = Fixture::new();
    let mut running = fixture.running(LONG);
    fixture.world.answers.lock().unwrap().push_back(answer(
        200,
        &[("content-type", "text/plain"), ("set-cookie", "x")],
        "hi",
    ));
    let got =
        fixture.call(&mut running, HostFunction::Http, &json!({ "method": "GET", "url": "https://a.test/x#frag" }));
    assert_eq!(
        got,
        json!({ "ok": { "status": 200, "headers": { "content-type": "text/plain" }, "body": "hi", "url": "https://a.test/x" } })
    );
    assert_eq!(fixture.world.take(), ["GET https://a.test/x "]);
    assert_eq!(*fixture.rows.0.lock().unwrap(), ["call.intent http", "ok 9 out"], "what left is in the record");
    assert!(running.taint.labels().any(|label| *label == Label::Web("https://a.test".to_owned())));
}

#[test]
fn every_redirect_is_decided_and_secrets_stay_at_home() {
    let fixture = Fixture::new();
    fixture.secrets.set("test", "key", "s3cret-value").unwrap();
    let request = |redirects: u32| {
        json!({
            "method": "GET", "url": "https://a.test/x", "redirects": redirects,
            "secrets": [{ "name": "key", "header": "authorization", "prefix": "Bearer " }],
        })
    };
    let push = |answer| fixture.world.answers.lock().unwrap().push_back(answer);
    push(answer(302, &[("location", "https://b.test/only")], ""));
    push(answer(200, &[], "the server repeats s3cret-value"));
    let got = fixture.call(&mut fixture.running(LONG), HostFunction::Http, &request(2));
    assert_eq!(
        fixture.world.take(),
        ["GET https://a.test/x authorization=Bearer s3cret-value ", "GET https://b.test/only "],
        "another origin does not get the secret"
    );
    assert_eq!(got["ok"]["url"], "https://b.test/only");

    // The server that has the secret repeats it: the skill does not see it.
    push(answer(200, &[("etag", "s3cret-value")], "you sent s3cret-value"));
    let got = fixture.call(&mut fixture.running(LONG), HostFunction::Http, &request(0));
    assert_eq!(got["ok"]["body"], "you sent [secret]");
    assert!(!got.to_string().contains("s3cret-value"), "{got}");
    fixture.world.take();

    for to in ["https://c.test/", "https://b.test/other", "http://a.test/", "https://127.0.0.1/", "//evil.test/"] {
        push(answer(302, &[("location", to)], ""));
        let got = fixture.call(&mut fixture.running(LONG), HostFunction::Http, &request(2));
        assert_eq!(got["error"]["code"], "out_of_scope", "{to}");
        assert_eq!(fixture.world.take().len(), 1, "{to} is not called");
    }
    // Five requests are the most, however long the chain is.
    for _ in 0..9 {
        push(answer(302, &[("location", "/again")], ""));
    }
    let got = fixture.call(&mut fixture.running(LONG), HostFunction::Http, &request(4));
    assert_eq!((got["ok"]["status"].as_u64(), fixture.world.take().len()), (Some(302), 5));
}

#[test]
fn a_secret_goes_to_its_own_origin_and_nowhere_else() {
    let fixture = Fixture::new();
    let with = |url: &str, name: &str| json!({ "method": "GET", "url": url, "secrets": [{ "name": name, "header": "x-api-key" }] });
    let code = |arguments: &Value| {
        let got = fixture.call(&mut fixture.running(LONG), HostFunction::Http, arguments);
        got["error"]["code"].as_str().unwrap_or("ok").to_owned()
    };
    assert_eq!(code(&with("https://a.test/", "key")), "unavailable", "it is not set");
    fixture.secrets.set("test", "key", "s3cret-value").unwrap();
    fixture.secrets.set("other", "token", "not-mine").unwrap();
    assert_eq!(code(&with("https://b.test/only", "key")), "out_of_scope");
    assert_eq!(code(&with("https://a.test/", "token")), "out_of_scope");
    assert_eq!(fixture.world.take(), [""; 0], "nothing left");
    let mut running = fixture.running(LONG);
    let asked = |running: &mut Running, name: &str, origin: &str| {
        fixture.call(running, HostFunction::Secret, &json!({ "name": name, "origin": origin }))
    };
    assert_eq!(asked(&mut running, "key", "https://a.test"), json!({ "ok": true }), "whether, and never what");
    assert_eq!(asked(&mut running, "key", "https://b.test")["error"]["code"], "out_of_scope");
}

#[test]
fn a_server_that_says_nothing_costs_no_more_than_the_call_has() {
    let fixture = Fixture::new();
    let mut running = fixture.running(Duration::from_millis(300));
    let began = Instant::now();
    let got = fixture.call(&mut running, HostFunction::Http, &json!({ "method": "GET", "url": "https://a.test/" }));
    let took = began.elapsed();
    assert_eq!(got["error"]["code"], "timeout");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(!running.actor.control.left().is_zero(), "some of the time is left to say so");
    assert!(!fixture.world.hanging.lock().unwrap()[0].is_wanted(), "whoever works on it learns that it is over");
    assert_eq!(fixture.rows.0.lock().unwrap().last().map(String::as_str), Some("timeout"));
}

#[test]
fn a_revocation_ends_a_request_that_is_under_way() {
    let fixture = Fixture::new();
    let mut running = fixture.running(LONG);
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while fixture.world.hanging.lock().unwrap().is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            fixture.host.revoke("test", Permission::HttpCall);
        });
        let got = fixture.call(&mut running, HostFunction::Http, &json!({ "method": "GET", "url": "https://a.test/" }));
        assert_eq!(got["error"]["code"], "cancelled");
    });
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn what_was_said_is_read_as_far_as_it_is_granted() {
    let fixture = Fixture::new();
    let mut running = fixture.running(LONG);
    let mut read = |level: &str| fixture.call(&mut running, HostFunction::Transcript, &json!({ "level": level }));
    assert_eq!(read("args"), json!({ "ok": null }));
    assert_eq!(read("utterance"), json!({ "ok": "now" }));
    let last = [json!({ "role": "assistant", "text": "two" }), json!({ "role": "user", "text": "three" })];
    assert_eq!(read("history:2"), json!({ "ok": last }));
    assert_eq!(read("history:3")["error"]["code"], "out_of_scope");
    for nonsense in ["history:0", "history:x", "history:", "all", "history:99999999999999999999"] {
        // The gate speaks first: a use that does not say what it wants is beyond every scope.
        assert_eq!(read(nonsense)["error"]["code"], "out_of_scope", "{nonsense}");
    }
    assert!(running.taint.is_foreign(), "what was said may come from anywhere");
    let mut events = |level: &str| fixture.call(&mut running, HostFunction::EventStore, &json!({ "level": level }));
    assert_eq!(events("session"), json!({ "ok": ["Session"] }));
    assert_eq!(events("all")["error"]["code"], "out_of_scope");
}

#[test]
fn tokens_of_a_day_run_out_and_a_restart_brings_none_back() {
    let fixture = Fixture::new();
    let ask = |fixture: &Fixture| {
        let arguments = json!({ "prompt": "hello", "max_tokens": 300 });
        fixture.call(&mut fixture.running(LONG), HostFunction::Llm, &arguments)
    };
    assert_eq!(ask(&fixture), json!({ "ok": { "text": "heard hello", "tokens": 100 } }));
    // 302 tokens are asked for each time, 100 are used.
    let answers = (0..12).map(|_| ask(&fixture)["error"]["code"].as_str().unwrap_or("ok").to_owned());
    let answers = answers.collect::<Vec<_>>();
    assert!(answers.iter().any(|code| code == "ok"), "{answers:?}");
    assert_eq!(answers.last().map(String::as_str), Some("rate_exceeded"), "{answers:?}");
    let Fixture { host, _folder: folder, .. } = fixture;
    let used = host.shared.store.tokens_of_day("test", understand::day(crate::Clock::wall_ms(&SystemClock))).unwrap();
    assert!((200..=1_000).contains(&used), "{used}");
    drop(host);
    let store = crate::store::Store::open(folder.path()).unwrap();
    assert_eq!(store.tokens_of_day("test", understand::day(crate::Clock::wall_ms(&SystemClock))).unwrap(), used);
}

#[test]
fn publications_are_limited_by_the_second() {
    let fixture = Fixture::new();
    let mut running = fixture.running(LONG);
    let published = (0..40)
        .map(|n| fixture.call(&mut running, HostFunction::Publish, &json!({ "topic": "b.c", "data": n })))
        .filter(|got| got.get("ok").is_some())
        .count();
    // The calls take well under two seconds, so that at most two windows are seen.
    assert!((20..=40).contains(&published), "{published}");
    assert_eq!(fixture.host.take_publications().len(), 0, "nobody subscribed");
}

/// A generator of its own, so that a failure is the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n.max(1) as u64).unwrap()
    }
}

/// Keys and values that functions look at, right and wrong.
const KEYS: &[&str] = &[
    "level",
    "text",
    "topic",
    "data",
    "key",
    "value",
    "prefix",
    "id",
    "due_in_ms",
    "method",
    "url",
    "headers",
    "body",
    "secrets",
    "redirects",
    "name",
    "origin",
    "limit",
    "system",
    "prompt",
    "max_tokens",
    "operation",
    "entity",
    "x",
    "",
];
const TEXTS: &[&str] = &[
    "",
    "a",
    "b.c",
    "info",
    "GET",
    "POST",
    "https://a.test/",
    "https://b.test/only",
    "http://[::1]/",
    "https://u:p@a.test/",
    "file:///etc/passwd",
    "key",
    "https://a.test",
    "utterance",
    "history:1",
    "history:18446744073709551616",
    "own",
    "all",
    "turn_on",
    "light.kitchen",
    "light.*",
    "lock.door",
    "\u{0}",
    "\u{202e}evil",
    "\u{1b}[2J",
    "\r\nhost: x",
    "🦀",
    "..",
    "*",
    ">",
    "_INBOX.hub",
    "$SYS",
    "'; DROP TABLE kv; --",
    "%00",
    "ä",
];

fn hostile_value(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth > 3 { 6 } else { 9 }) {
        0 => Value::Null,
        1 => json!(random.next().cast_signed()),
        2 => json!(random.below(100)),
        3 => json!(f64::from_bits(random.next())),
        4 | 5 => json!(TEXTS[random.below(TEXTS.len())]),
        6 => json!("x".repeat(random.below(5_000))),
        7 => (0..random.below(4)).map(|_| hostile_value(random, depth + 1)).collect(),
        _ => hostile_object(random, depth + 1),
    }
}

fn hostile_object(random: &mut Random, depth: usize) -> Value {
    let n = random.below(6);
    Value::Object((0..n).map(|_| (KEYS[random.below(KEYS.len())].to_owned(), hostile_value(random, depth))).collect())
}

/// Arguments that are right for the function, with some of them spoiled.
fn spoiled(random: &mut Random, function: HostFunction) -> Value {
    let mut arguments = match function {
        HostFunction::Log => json!({ "level": "info", "text": "a" }),
        HostFunction::Say | HostFunction::Announce | HostFunction::Notify => json!({ "text": "a" }),
        HostFunction::Publish => json!({ "topic": "a", "data": 1 }),
        HostFunction::KvGet | HostFunction::KvDelete => json!({ "key": "k" }),
        HostFunction::KvSet => json!({ "key": "k", "value": 1 }),
        HostFunction::KvList => json!({ "prefix": "" }),
        HostFunction::Now | HostFunction::TimerList => json!({}),
        HostFunction::TimerSet => json!({ "id": "t", "due_in_ms": 5, "data": null }),
        HostFunction::TimerCancel => json!({ "id": "t" }),
        HostFunction::Http => json!({ "method": "GET", "url": "https://a.test/", "headers": {}, "redirects": 0 }),
        HostFunction::Secret => json!({ "name": "key", "origin": "https://a.test" }),
        HostFunction::Transcript => json!({ "level": "utterance" }),
        HostFunction::EventStore => json!({ "level": "own", "limit": 5 }),
        HostFunction::Llm => json!({ "prompt": "a", "max_tokens": 1 }),
        HostFunction::Device => json!({ "operation": "turn_on", "entity": "light.kitchen", "data": null }),
    };
    if let Some(map) = arguments.as_object_mut()
        && random.below(3) > 0
    {
        let keys = map.keys().cloned().collect::<Vec<_>>();
        if !keys.is_empty() {
            map.insert(keys[random.below(keys.len())].clone(), hostile_value(random, 2));
        }
    }
    arguments
}

fn hostile_bytes(random: &mut Random, function: HostFunction) -> Vec<u8> {
    match random.below(5) {
        0 => (0..random.below(64)).map(|_| random.next().to_le_bytes()[0]).collect(),
        1 => {
            let mut text = spoiled(random, function).to_string().into_bytes();
            let at = random.below(text.len());
            text[at] = random.next().to_le_bytes()[0];
            text.truncate(random.below(text.len() + 20));
            text
        }
        2 => hostile_object(random, 0).to_string().into_bytes(),
        3 => format!("{}{}", "[".repeat(random.below(3_000)), "{".repeat(random.below(3_000))).into_bytes(),
        _ => spoiled(random, function).to_string().into_bytes(),
    }
}

#[test]
fn no_input_breaks_a_host_function() {
    let n = std::env::var("LOQA_TEST_N").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    let fixture = Fixture::new();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for function in HostFunction::ALL.iter().copied() {
        let (mut n_ok, mut n_refused) = (0, 0);
        let mut running = fixture.running(Duration::from_secs(600));
        for round in 0..n {
            if round % 50 == 0 {
                // Drafts and limits of one invocation must not hide what comes after.
                running = fixture.running(Duration::from_secs(600));
            }
            let input = hostile_bytes(&mut random, function);
            fixture.world.answers.lock().unwrap().push_back(answer(200, &[], "hi"));
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| running.answer(function, &input)));
            let answer = result.unwrap_or_else(|_| panic!("{}({})", function.name(), input.escape_ascii()));
            fixture.world.answers.lock().unwrap().clear();
            let answer = serde_json::from_slice::<Value>(&answer).expect("an answer is JSON");
            match (answer.get("ok"), answer.get("error")) {
                (Some(_), None) => n_ok += 1,
                (None, Some(error)) => {
                    n_refused += 1;
                    assert!(error["code"].is_string() && error["message"].is_string(), "{error}");
                }
                _ => panic!("{}({}) answered {answer}", function.name(), input.escape_ascii()),
            }
        }
        // Control: the inputs are neither all refused at the door nor all harmless.
        assert!(n_refused * 4 > n, "{}: {n_refused} of {n} were refused", function.name());
        // Limits by the minute, the day and the number of questions leave few of some.
        assert!(n_ok > 0, "{}: none of {n} was done", function.name());
    }
    let asked = fixture.world.take();
    assert!(
        asked.iter().all(|line| line.contains(" https://a.test/")
            || line.contains(" https://b.test/only")
            || line.ends_with(" light.kitchen")),
        "only what is granted was reached"
    );
}
