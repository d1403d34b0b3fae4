//! Prints what a warm call of the timer skill costs in the host, beside a bare Extism
//! call on the same module: `cargo run -p loqa-skills --example call_latency`.
//!
//! The bare call has host functions that answer from a table, and neither permissions,
//! limits nor a store; the difference is what Loqa's host adds.

#![expect(clippy::print_stdout, reason = "an example that prints")]
#![allow(clippy::unwrap_used, reason = "an example that may stop")]

use extism::{CompiledPlugin, Function, PTR, Plugin, PluginBuilder, UserData, Wasm};
use loqa_protocol::{SessionId, ToolCall, TurnId};
use loqa_skills::{Effects, HostFunction, Invocation, Said, SkillHost, SkillHostOptions, SystemClock, Taint};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
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
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        host.call(&Invocation {
            session: SessionId::from_bits(1),
            turn: TurnId::from_bits(1),
            call: ToolCall { name: tool.to_owned(), arguments },
            taint: Taint::user(),
            said: Said::default(),
            budget: Duration::from_secs(1),
            cancel: Arc::new(AtomicBool::new(false)),
        })
        .unwrap();
    };
    let started = Instant::now();
    call("timer.left", json!({}));
    println!("first call: {:.0} µs", started.elapsed().as_secs_f64() * 1e6);
    report("host, timer.left (reads only)", 5_000, || call("timer.left", json!({})));
    report("host, timer.start then timer.cancel (two commits)", 200, || {
        call("timer.start", json!({ "duration_s": 60 }));
        call("timer.cancel", json!({}));
    });
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
    times.sort_unstable();
    let at = |share: f64| times[(share * (n_calls - 1) as f64) as usize].as_secs_f64() * 1e6;
    println!("{what}: p50 {:.1} µs, p99 {:.1} µs", at(0.5), at(0.99));
}
