//! How soon a module that misbehaves is stopped, and what the others feel of it.
//!
//! `LOQA_TEST_N` sets the number of runs of each kind (10 without it). With it the
//! figures are held to the goal: 99 of 100 are stopped within their budget and a tenth.
//! Without it only to ten times that, because a test machine may be busy.

use crate::support::{invocation, manifest, module, timer_folder};
use loqa_protocol::ErrorCode;
use loqa_skills::{Effects, HttpAnswer, HttpOrder, Invocation, Pending, SkillHost, SkillHostOptions, SystemClock};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const BUDGET: Duration = Duration::from_millis(250);

/// A server that never answers; with `blocks`, an effect that holds up its caller instead.
#[derive(Default)]
struct Hanging {
    kept: Mutex<Vec<Pending<HttpAnswer>>>,
    blocks: bool,
}

impl Effects for Hanging {
    fn say(&self, _: &str, _: &str) {}
    fn notify(&self, _: &str, _: &str) {}
    fn publish(&self, _: &str, _: &str, _: &Value) {}

    fn http(&self, _: HttpOrder, pending: Pending<HttpAnswer>) {
        if self.blocks {
            std::thread::sleep(BUDGET * 8);
        }
        self.kept.lock().unwrap().push(pending);
    }
}

fn host(effects: Hanging) -> (Arc<SkillHost>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let options = SkillHostOptions { data_dir: folder.path().join("data"), clock: Arc::new(SystemClock) };
    (Arc::new(SkillHost::open(options, Arc::new(effects)).unwrap()), folder)
}

fn load(host: &SkillHost, folder: &Path, permissions: &[String], text: &str) {
    let folder = folder.join("skill");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("skill.yaml"), manifest(permissions)).unwrap();
    std::fs::write(folder.join("test.wasm"), wat::parse_str(text).unwrap()).unwrap();
    host.load(&folder).unwrap();
}

fn hanging_request() -> (Vec<String>, String) {
    let arguments = r#"{"method":"GET","url":"https://a.test/x"}"#;
    let permissions = [r#"{ use: http:call, urls: ["https://a.test/x"], methods: [GET], per_minute: 600, reason: r }"#];
    let text = module(
        r#"(import "loqa:host/v1" "http" (func $host (param i64) (result i64)))"#,
        &format!(r#"(data (i32.const 0) "{}")"#, crate::support::escaped(arguments)),
        // Once, so that no rate ends it early, and then on and on with the rest of the time.
        &format!("(drop (call $host (call $copy (i32.const 0) (i32.const {})))) (loop $l (br $l))", arguments.len()),
    );
    (permissions.map(str::to_owned).to_vec(), text)
}

/// Every way to misbehave that there is a limit for.
fn kinds() -> Vec<(&'static str, Vec<String>, String)> {
    let now = r#"(import "loqa:host/v1" "now" (func $host (param i64) (result i64)))"#;
    let flood = module(
        now,
        r#"(data (i32.const 0) "{}")"#,
        "(loop $l (drop (call $host (call $copy (i32.const 0) (i32.const 2)))) (br $l))",
    );
    let (permissions, slow) = hanging_request();
    let timer = vec!["{ use: timer:set, reason: r }".to_owned()];
    vec![
        ("loop", vec![], module("", "", "(loop $l (br $l))")),
        ("recursion", vec![], module("", "(func $again (call $again))", "(call $again)")),
        ("memory", vec![], module("", "", "(loop $l (drop (memory.grow (i32.const 8))) (br $l))")),
        (
            "output",
            vec![],
            module(
                "",
                "",
                "(call $output_set (call $alloc (i64.const 70000)) (i64.const 70000)) (return (i32.const 0))",
            ),
        ),
        ("host calls", timer, flood),
        ("hanging server", permissions, slow),
    ]
}

fn n_runs() -> (usize, bool) {
    match std::env::var("LOQA_TEST_N").ok().and_then(|n| n.parse().ok()) {
        Some(n) => (n, true),
        None => (10, false),
    }
}

fn at(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    times[(share * (times.len() - 1) as f64).round() as usize]
}

/// Runs it again and again; a suspended skill is loaded anew.
fn stop_times(host: &SkillHost, folder: &Path, permissions: &[String], text: &str, n: usize) -> Vec<Duration> {
    (0..n)
        .map(|run| {
            if run % 4 == 0 {
                load(host, folder, permissions, text);
            }
            let began = Instant::now();
            let failure = host.call(&invocation("test.run", json!({}), BUDGET)).unwrap_err();
            assert_eq!(failure.code, ErrorCode::SkillFault, "{failure}");
            began.elapsed()
        })
        .collect()
}

#[test]
fn whatever_a_module_does_it_is_stopped_in_time() {
    let (n, is_strict) = n_runs();
    let limit = if is_strict { BUDGET * 11 / 10 } else { BUDGET * 10 };
    for (kind, permissions, text) in kinds() {
        let (host, folder) = host(Hanging::default());
        let mut times = stop_times(&host, folder.path(), &permissions, &text, n);
        let (p50, p99, max) = (at(&mut times, 0.5), at(&mut times, 0.99), at(&mut times, 1.0));
        println!("{kind}: {n} runs, stopped after p50 {p50:?}, p99 {p99:?}, max {max:?}");
        assert!(p99 <= limit, "{kind}: p99 {p99:?} of {n} runs, budget {BUDGET:?}");
    }
}

#[test]
fn an_effect_that_blocks_its_caller_would_be_noticed() {
    // Control: the same module before an effect that waits on the skill's own thread.
    let (host, folder) = host(Hanging { blocks: true, ..Hanging::default() });
    let (permissions, text) = hanging_request();
    let times = stop_times(&host, folder.path(), &permissions, &text, 2);
    assert!(times.iter().all(|time| *time > BUDGET * 11 / 10), "{times:?}");
}

/// Times of a well-behaved skill, called again and again until told to stop, at least `n` times.
fn good_times(host: &SkillHost, until: &AtomicBool, n: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    while times.len() < n || !until.load(Ordering::Relaxed) {
        let call = Invocation { budget: Duration::from_secs(60), ..invocation("timer.left", json!({}), BUDGET) };
        let began = Instant::now();
        host.call(&call).unwrap();
        times.push(began.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    times
}

#[test]
fn another_skill_goes_on_beside_it() {
    let (n, is_strict) = n_runs();
    let (host, folder) = host(Hanging::default());
    host.load(&timer_folder()).unwrap();
    let mut alone = good_times(&host, &AtomicBool::new(true), 20 * n.min(50));
    let alone = at(&mut alone, 0.95);
    for (kind, permissions, text) in kinds() {
        let is_over = AtomicBool::new(false);
        let mut beside = std::thread::scope(|scope| {
            let good = scope.spawn(|| good_times(&host, &is_over, 0));
            stop_times(&host, folder.path(), &permissions, &text, n.min(40));
            is_over.store(true, Ordering::Relaxed);
            good.join().unwrap()
        });
        let beside = at(&mut beside, 0.95);
        let ratio = beside.as_secs_f64() / alone.as_secs_f64();
        println!("beside `{kind}`: p95 {beside:?}, alone {alone:?}, ratio {ratio:.2}");
        // A well-behaved call takes well below a millisecond: 20 ms more is the goal.
        let limit = alone + Duration::from_millis(if is_strict { 20 } else { 200 });
        assert!(beside <= limit, "{kind}: p95 {beside:?} beside it, {alone:?} alone");
    }
}
