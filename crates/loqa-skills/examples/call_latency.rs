//! Prints what a warm call of the timer skill costs in the host, beside a bare Extism
//! call on the same module: `cargo run -p loqa-skills --example call_latency`.
//!
//! The bare call has host functions that answer from a table, and neither permissions,
//! limits nor a store; the difference is what Loqa's host adds.

#![expect(clippy::print_stdout, reason = "an example that prints")]
#![allow(clippy::unwrap_used, reason = "an example that may stop")]

use extism::{CompiledPlugin, Function, PTR, Plugin, PluginBuilder, UserData, Wasm};
use loqa_audit::{Actor, ActorKind, Context, Entry, Journal, JournalError, Kind, Outcome};
use loqa_protocol::{PrivacyScope, SessionId, ToolCall, TurnId};
use loqa_skills::{Effects, HostFunction, Invocation, Said, SkillHost, SkillHostOptions, SystemClock, Taint};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

struct Silent;

impl Effects for Silent {
    fn say(&self, _: &str, _: &str) {}
    fn notify(&self, _: &str, _: &str) {}
    fn publish(&self, _: &str, _: &str, _: &Value) {}
}

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../skills/timer/dist");
    let wasm =
        std::fs::read(folder.join("timer.wasm")).expect("skills/timer/dist/timer.wasm is there after `npm run setup`");
    println!("module: {} bytes", wasm.len());

    let started = Instant::now();
    let compiled = compile_bare(wasm);
    println!("compile: {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    let started = Instant::now();
    let mut bare = Plugin::new_from_compiled(&compiled).unwrap();
    println!("instantiate: {:.0} µs", started.elapsed().as_secs_f64() * 1e6);
    let input = json!({ "tool": "timer.left", "arguments": {} }).to_string();
    report("bare Extism, timer.left", 5_000, || {
        bare.call::<&str, &str>("loqa_tool", &input).unwrap();
    });

    let data = tempfile::tempdir().unwrap();
    let options = SkillHostOptions { data_dir: data.path().to_owned(), clock: Arc::new(SystemClock) };
    let host = SkillHost::open(options, Arc::new(Silent)).unwrap();
    let started = Instant::now();
    host.load(&folder).unwrap();
    println!("load: {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    let call = |tool: &str, arguments: Value| {
        host.call(&invocation(tool, arguments)).unwrap();
    };
    let started = Instant::now();
    call("timer.left", json!({}));
    println!("first call: {:.0} µs", started.elapsed().as_secs_f64() * 1e6);
    report("host, timer.left (reads only)", 5_000, || call("timer.left", json!({})));
    report("host, timer.start then timer.cancel (two commits)", 200, || {
        call("timer.start", json!({ "duration_s": 60 }));
        call("timer.cancel", json!({}));
    });
    drop(host);
    with_rows(&folder);
}

/// The same with rows that are on the disk before the call ends.
fn with_rows(folder: &Path) {
    let data = tempfile::tempdir().unwrap();
    let journal = Arc::new(Rows::open(data.path()));
    report("one row on the disk (SQLite, synchronous=FULL)", 500, || {
        journal
            .append(Entry::new(Kind::CallIntent, Actor::named(ActorKind::Hub, "bench"), Context::default()))
            .unwrap();
    });
    let options = SkillHostOptions { data_dir: data.path().to_owned(), clock: Arc::new(SystemClock) };
    let host = SkillHost::open_with_audit(options, Arc::new(Silent), journal).unwrap();
    host.load(folder).unwrap();
    // One after the other as people speak: without pauses the disk is what is measured.
    let mut times = (0..100)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(50));
            let started = Instant::now();
            host.call(&invocation("timer.left", json!({}))).unwrap();
            started.elapsed()
        })
        .collect::<Vec<_>>();
    print_times("host with rows, timer.left (reads only)", &mut times);
    report("host with rows, timer.start then timer.cancel (two commits)", 200, || {
        host.call(&invocation("timer.start", json!({ "duration_s": 60 }))).unwrap();
        host.call(&invocation("timer.cancel", json!({}))).unwrap();
    });
    let notify = data.path().join("notify");
    std::fs::create_dir_all(&notify).unwrap();
    std::fs::write(notify.join("skill.yaml"), NOTIFY_MANIFEST).unwrap();
    std::fs::write(notify.join("test.wasm"), wat::parse_str(NOTIFY_MODULE).unwrap()).unwrap();
    host.load(&notify).unwrap();
    // 60 a minute are the most that the permission gives.
    let mut times = (0..50)
        .map(|_| {
            let started = Instant::now();
            host.call(&invocation("test.run", json!({}))).unwrap();
            started.elapsed()
        })
        .collect::<Vec<_>>();
    print_times("host with rows, one audited effect", &mut times);
}

const NOTIFY_MANIFEST: &str = "schema: 1
name: test
version: 1.0.0
title: Test
description: A test.
author: Tests
license: MIT
runtime: { kind: wasm, module: test.wasm, host_api: 1 }
tools:
  - { name: test.run, description: Runs., effect: safe }
permissions:
  - { use: notify:show, per_minute: 60, reason: r }
";
const NOTIFY_MODULE: &str = r#"(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "loqa:host/v1" "notify" (func $host (param i64) (result i64)))
  (memory 1)
  (data (i32.const 0) "{\"text\":\"hello\"}")
  (data (i32.const 64) "{\"ok\":null}")
  (func $copy (param $from i32) (param $length i32) (result i64)
    (local $to i64) (local $idx i32)
    (local.set $to (call $alloc (i64.extend_i32_u (local.get $length))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $idx) (local.get $length)))
        (call $store_u8 (i64.add (local.get $to) (i64.extend_i32_u (local.get $idx)))
          (i32.load8_u (i32.add (local.get $from) (local.get $idx))))
        (local.set $idx (i32.add (local.get $idx) (i32.const 1)))
        (br $next)))
    (local.get $to))
  (func (export "loqa_tool") (result i32)
    (drop (call $host (call $copy (i32.const 0) (i32.const 16))))
    (call $output_set (call $copy (i32.const 64) (i32.const 11)) (i64.const 11))
    (i32.const 0)))"#;

/// A journal as plain as can be that keeps its promise: a row is on the disk when `append` returns.
struct Rows(Mutex<rusqlite::Connection>);

impl Rows {
    fn open(folder: &Path) -> Self {
        let connection = rusqlite::Connection::open(folder.join("rows.db")).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE row (id INTEGER PRIMARY KEY, text TEXT);")
            .unwrap();
        Self(Mutex::new(connection))
    }

    fn insert(&self, text: &str) -> u64 {
        let connection = self.0.lock().unwrap();
        connection.execute("INSERT INTO row (text) VALUES (?1)", [text]).unwrap();
        connection.last_insert_rowid().unsigned_abs()
    }
}

impl Journal for Rows {
    fn append(&self, entry: Entry) -> Result<u64, JournalError> {
        Ok(self.insert(entry.kind.as_str()))
    }

    // Outcomes are written in batches by the real one; here they are not written at all.
    fn append_later(&self, _: Entry) {}

    fn finish(&self, _: u64, _: Outcome) {}
}

fn invocation(tool: &str, arguments: Value) -> Invocation {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    Invocation {
        session: SessionId::from_bits(1),
        turn: TurnId::from_bits(1),
        scope: PrivacyScope::Persistent,
        call: ToolCall { name: tool.to_owned(), arguments },
        taint: Taint::user(),
        said: Said::default(),
        budget: Duration::from_secs(1),
        cancel: Arc::new(AtomicBool::new(false)),
    }
}

fn compile_bare(wasm: Vec<u8>) -> CompiledPlugin {
    let functions = HostFunction::ALL.iter().map(|function| {
        let answer = if *function == HostFunction::TimerList { r#"{"ok":[]}"# } else { r#"{"ok":null}"# };
        Function::new(function.name(), [PTR], [PTR], UserData::new(()), move |plugin, _, outputs, _| {
            let handle = plugin.memory_new(answer)?;
            outputs[0] = plugin.memory_to_val(handle);
            Ok(())
        })
        .with_namespace(loqa_skills::host_call::NAMESPACE)
    });
    PluginBuilder::new(extism::Manifest::new([Wasm::data(wasm)]))
        .with_functions(functions)
        .with_cache_disabled()
        .compile()
        .unwrap()
}

fn report(what: &str, n_calls: usize, mut call: impl FnMut()) {
    for _ in 0..n_calls / 10 {
        call();
    }
    let mut times = (0..n_calls)
        .map(|_| {
            let started = Instant::now();
            call();
            started.elapsed()
        })
        .collect::<Vec<_>>();
    print_times(what, &mut times);
}

fn print_times(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: f64| times[(share * (times.len() - 1) as f64) as usize].as_secs_f64() * 1e6;
    println!("{what}: p50 {:.1} µs, p99 {:.1} µs", at(0.5), at(0.99));
}
