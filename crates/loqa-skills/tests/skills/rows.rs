//! What a call leaves in the record: one intent before it, one outcome after it, and
//! nothing that happens before the intent is safe.

use crate::support::{BUDGET, Recorder, escaped, invocation, manifest, module};
use loqa_audit::{Entry, Journal, JournalError, Kind, Outcome};
use loqa_protocol::ErrorCode;
use loqa_skills::{BUS_EVENT_PREFIX, Effects, SkillHost, SkillHostOptions, SystemClock};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Keeps every row as a line; can be slow, and can be broken.
#[derive(Default)]
struct Rows {
    lines: Mutex<Vec<String>>,
    pause: Option<Duration>,
    is_broken: AtomicBool,
}

impl Rows {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }

    /// The same once there are `n`: a call that fails does not wait for its own row.
    fn take_when(&self, n: usize) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(20);
        while self.lines.lock().unwrap().len() < n && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.take()
    }

    fn push(&self, line: String) -> u64 {
        let mut lines = self.lines.lock().unwrap();
        lines.push(line);
        lines.len() as u64
    }
}

impl Journal for Rows {
    fn append(&self, entry: Entry) -> Result<u64, JournalError> {
        if let Some(pause) = self.pause {
            std::thread::sleep(pause);
        }
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(JournalError("disk full".into()));
        }
        let effect = entry.effect.unwrap();
        let target = effect.target.map(|target| format!(" {target}")).unwrap_or_default();
        Ok(self.push(format!("{} {}{target}", entry.kind, effect.operation)))
    }

    fn append_later(&self, entry: Entry) {
        if matches!(entry.kind, Kind::CallDenied | Kind::SkillSuspend) {
            self.push(entry.kind.to_string());
        }
    }

    fn finish(&self, _: u64, outcome: Outcome) {
        let uses = outcome.uses.iter().map(|(name, n)| format!(" {name}×{n}")).collect::<String>();
        self.push(format!("{}{uses}", outcome.status.unwrap()));
    }
}

struct Bench {
    host: SkillHost,
    rows: Arc<Rows>,
    effects: Arc<Recorder>,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(rows: Rows) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (rows, effects) = (Arc::new(rows), Arc::new(Recorder::default()));
        let options = SkillHostOptions { data_dir: folder.path().join("data"), clock: Arc::new(SystemClock) };
        let host = SkillHost::open_with_audit(options, Arc::clone(&effects) as Arc<dyn Effects>, rows.clone()).unwrap();
        Self { host, rows, effects, folder }
    }

    fn load(&self, manifest: &str, module: &str) {
        self.host.load(&write(self.folder.path(), manifest, module)).unwrap();
        self.rows.take();
    }

    fn call(&self, budget: Duration) -> Result<(), ErrorCode> {
        self.host.call(&invocation("test.run", json!({}), budget)).map(drop).map_err(|failure| failure.code)
    }
}

fn write(folder: &Path, manifest: &str, module: &str) -> PathBuf {
    let folder = folder.join("skill");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("skill.yaml"), manifest).unwrap();
    std::fs::write(folder.join("test.wasm"), wat::parse_str(module).unwrap()).unwrap();
    folder
}

/// A module that makes these host calls, one after the other.
fn calls(calls: &[(&str, &str)]) -> String {
    let mut names = calls.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    names.sort_unstable();
    names.dedup();
    let imports = names
        .iter()
        .map(|name| format!(r#"(import "loqa:host/v1" "{name}" (func ${name} (param i64) (result i64)))"#))
        .collect::<String>();
    let mut data = String::new();
    let mut body = String::new();
    for (idx, (name, arguments)) in calls.iter().enumerate() {
        let at = idx * 512;
        data.push_str(&format!(r#"(data (i32.const {at}) "{}")"#, escaped(arguments)));
        let length = arguments.len();
        body.push_str(&format!("(drop (call ${name} (call $copy (i32.const {at}) (i32.const {length}))))"));
    }
    module(&imports, &data, &body)
}

const KV: &str = "{ use: kv:store, reason: r }";
const SHOW: &str = "{ use: notify:show, reason: r }";
const SET: (&str, &str) = ("kv_set", r#"{"key":"k","value":1}"#);
const GET: (&str, &str) = ("kv_get", r#"{"key":"k"}"#);
const NOTIFY: (&str, &str) = ("notify", r#"{"text":"hello"}"#);

#[test]
fn each_call_has_one_intent_and_one_outcome() {
    let bench = Bench::new(Rows::default());
    let permissions = [KV.to_owned(), SHOW.to_owned()];
    bench.load(&manifest(&permissions), &calls(&[SET, GET, GET, NOTIFY]));
    bench.call(BUDGET).unwrap();
    assert_eq!(
        bench.rows.take(),
        ["call.intent tool test.run", "call.intent notify", "ok", "ok kv_get×2 kv_set×1"],
        "uses inside are counted, effects outside have rows of their own"
    );
    bench.load(&manifest(&permissions), &module("", "", "unreachable"));
    assert_eq!(bench.call(BUDGET), Err(ErrorCode::SkillFault));
    assert_eq!(bench.rows.take_when(2), ["call.intent tool test.run", "trap"]);
    bench.load(&manifest(&permissions), &module("", "", "(loop $l (br $l))"));
    assert_eq!(bench.call(Duration::from_millis(100)), Err(ErrorCode::SkillFault));
    assert_eq!(bench.rows.take_when(2), ["call.intent tool test.run", "timeout"]);
    let cancelled = invocation("test.run", json!({}), BUDGET);
    let cancel = Arc::clone(&cancelled.cancel);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while bench.rows.lines.lock().unwrap().is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            cancel.store(true, Ordering::Relaxed);
        });
        bench.host.call(&cancelled).unwrap_err();
    });
    assert_eq!(bench.rows.take_when(2), ["call.intent tool test.run", "cancelled"]);
}

#[test]
fn nothing_happens_outside_and_nothing_is_kept_before_the_intent_is_safe() {
    let bench = Bench::new(Rows { pause: Some(Duration::from_millis(150)), ..Rows::default() });
    let permissions = [KV.to_owned(), SHOW.to_owned()];
    bench.load(&manifest(&permissions), &calls(&[SET, NOTIFY]));
    bench.call(BUDGET).unwrap();
    assert_eq!(bench.rows.take()[..2], ["call.intent tool test.run", "call.intent notify"], "in this order");

    bench.load(&manifest(&permissions), &calls(&[("kv_set", r#"{"key":"new","value":1}"#), NOTIFY]));
    bench.rows.is_broken.store(true, Ordering::Relaxed);
    bench.effects.take();
    assert_eq!(bench.call(BUDGET), Err(ErrorCode::StorageFault), "a record that cannot be written stops the call");
    assert_eq!(bench.effects.take(), [""; 0]);
    bench.rows.is_broken.store(false, Ordering::Relaxed);
    // What was not kept is not there to be announced: a timer would show.
    let timer = [KV.to_owned(), "{ use: timer:set, reason: r }".to_owned()];
    let set = ("timer_set", r#"{"id":"t","due_in_ms":5,"data":null}"#);
    bench.load(&manifest(&timer), &calls(&[set]));
    bench.rows.is_broken.store(true, Ordering::Relaxed);
    assert_eq!(bench.call(BUDGET), Err(ErrorCode::StorageFault));
    assert_eq!(bench.host.next_timer(), None, "nothing of that call is kept");
    bench.rows.is_broken.store(false, Ordering::Relaxed);
    bench.call(BUDGET).unwrap();
    assert!(bench.host.next_timer().is_some());
}

#[test]
fn a_skill_that_fails_five_times_is_suspended_and_the_record_says_so() {
    let bench = Bench::new(Rows::default());
    bench.load(&manifest(&[]), &module("", "", "unreachable"));
    for _ in 0..5 {
        assert_eq!(bench.call(BUDGET), Err(ErrorCode::SkillFault));
    }
    let rows = bench.rows.take_when(11);
    assert_eq!(rows.iter().filter(|row| *row == "skill.suspend").count(), 1, "{rows:?}");
    assert_eq!(
        bench.effects.take(),
        ["test notifies The skill “Test” failed five times within ten minutes and was stopped."]
    );
    assert_eq!(bench.call(BUDGET), Err(ErrorCode::SkillFault));
    assert_eq!(bench.rows.take(), [""; 0], "a suspended skill is not called");
}

#[test]
fn a_publication_reaches_who_subscribed_and_may_hear_it() {
    let bench = Bench::new(Rows::default());
    let publisher = manifest(&["{ use: bus:publish, topics: [news], reason: r }".to_owned()]);
    bench.load(&publisher, &calls(&[("publish", r#"{"topic":"news","data":{"n":1}}"#)]));
    // A second skill, whose event handler writes down that it was called.
    let folder = bench.folder.path().join("listener");
    std::fs::create_dir_all(&folder).unwrap();
    let listener = "schema: 1\nname: listener\nversion: 1.0.0\ntitle: L\ndescription: L.\nauthor: T\nlicense: MIT\n\
        runtime: { kind: wasm, module: test.wasm, host_api: 1 }\npermissions:\n  \
        - { use: bus:subscribe, topics: [test.news], reason: r }\n  - { use: notify:show, reason: r }\n\
        events: { subscribe: [bus.test.news] }\n";
    let module = calls(&[NOTIFY]).replace("loqa_tool", "loqa_event");
    std::fs::write(folder.join("skill.yaml"), listener).unwrap();
    std::fs::write(folder.join("test.wasm"), wat::parse_str(module).unwrap()).unwrap();
    bench.host.load(&folder).unwrap();

    bench.call(BUDGET).unwrap();
    let deliveries = bench.host.take_publications();
    assert_eq!(deliveries.len(), 1);
    assert_eq!((deliveries[0].to.as_str(), deliveries[0].event.name.as_str()), ("listener", "bus.test.news"));
    assert!(deliveries[0].event.name.starts_with(BUS_EVENT_PREFIX));
    assert_eq!(deliveries[0].event.data, json!({ "from": "test", "topic": "news", "data": { "n": 1 } }));
    assert!(deliveries[0].taint.is_foreign(), "what another skill made is foreign");
    bench.effects.take();
    bench.host.deliver_publication(&deliveries[0]).unwrap();
    assert_eq!(bench.effects.take(), ["listener notifies hello"]);
    bench.host.revoke("listener", loqa_skills::Permission::BusSubscribe);
    bench.host.deliver_publication(&deliveries[0]).unwrap();
    assert_eq!(bench.effects.take(), [""; 0], "without the permission nothing is heard");
    let _: Value = deliveries[0].event.data.clone();
}

#[test]
fn an_event_that_no_permission_names_is_refused_in_the_manifest() {
    let bench = Bench::new(Rows::default());
    let text = manifest(&[]) + "events: { subscribe: [bus.test.news] }\n";
    let folder = write(bench.folder.path(), &text, &module("", "", ""));
    let error = bench.host.load(&folder).unwrap_err().to_string();
    assert!(error.contains("`bus.test.news` is no topic of `bus:subscribe`"), "{error}");
}
