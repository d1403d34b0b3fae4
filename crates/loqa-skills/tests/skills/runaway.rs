//! Modules that misbehave: each is stopped with a code that names the skill, and the host lives on.

use crate::support::{BUDGET, Bench, invocation, manifest, module};
use loqa_protocol::ErrorCode;
use loqa_skills::SkillState;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What a broken module may take in all; far above its budget, because the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

fn run(permissions: &[String], text: &str, budget: Duration) -> (ErrorCode, String) {
    let bench = Bench::new();
    bench.host.load(&bench.write_skill(&manifest(permissions), text)).unwrap();
    let started = Instant::now();
    let failure = bench.host.call(&invocation("test.run", json!({}), budget)).unwrap_err();
    let elapsed = started.elapsed();
    assert!(elapsed < PATIENCE, "stopped after {elapsed:?}: {failure}");
    (failure.code, failure.message)
}

fn fault(text: &str, budget_ms: u64) -> String {
    let (code, message) = run(&[], text, Duration::from_millis(budget_ms));
    assert_eq!(code, ErrorCode::SkillFault);
    message
}

#[test]
fn an_endless_loop_is_stopped_at_its_deadline() {
    assert_eq!(fault(&module("", "", "(loop $l (br $l))"), 100), "skill `test` did not finish within 100 ms");
}

#[test]
fn endless_recursion_is_stopped() {
    let message = fault(&module("", "(func $again (call $again))", "(call $again)"), 10_000);
    assert_eq!(message, "skill `test` broke: wasm trap: call stack exhausted");
}

#[test]
fn memory_ends_at_its_limit() {
    let message = fault(&module("", "", "(loop $l (drop (memory.grow (i32.const 8))) (br $l))"), 10_000);
    assert_eq!(message, "skill `test` needs more than 32 MiB of memory");
    let blocks = "(loop $l (drop (call $alloc (i64.const 1000000))) (br $l))";
    assert_eq!(
        fault(&module("", "", blocks), 10_000),
        "skill `test` holds more than 4194304 bytes or 256 blocks for the host"
    );
}

#[test]
fn too_much_output_is_refused() {
    let body = "(call $output_set (call $alloc (i64.const 70000)) (i64.const 70000)) (return (i32.const 0))";
    assert_eq!(fault(&module("", "", body), 10_000), "skill `test` returned 70000 bytes, at most 65536 are allowed");
}

#[test]
fn a_flood_of_host_calls_is_stopped() {
    let text = module(
        r#"(import "loqa:host/v1" "now" (func $host (param i64) (result i64)))"#,
        r#"(data (i32.const 0) "{}")"#,
        "(loop $l (drop (call $host (call $copy (i32.const 0) (i32.const 2)))) (br $l))",
    );
    let (code, message) = run(&["{ use: timer:set, reason: for tests }".to_owned()], &text, BUDGET);
    assert_eq!((code, message.as_str()), (ErrorCode::SkillFault, "skill `test` made more than 64 host calls"));
}

#[test]
fn a_trap_is_a_fault_of_the_skill() {
    assert_eq!(
        fault(&module("", "", "unreachable"), 10_000),
        "skill `test` broke: wasm trap: wasm `unreachable` instruction executed"
    );
    assert_eq!(
        fault(&module("", "", "(drop (i32.div_u (i32.const 1) (i32.const 0)))"), 10_000),
        "skill `test` broke: wasm trap: integer divide by zero"
    );
}

#[test]
fn code_that_runs_before_any_call_is_bounded_too() {
    let bench = Bench::new();
    let with_start = |body: &str| module("", &format!("(func $start {body}) (start $start)"), "");
    for (text, expected) in [
        (with_start("(loop $l (br $l))"), "may grow its memory; link with --max-memory=33554432"),
        (
            with_start("(loop $l (br $l))").replace("(memory 1)", "(memory 1 512)"),
            "computed for too long when it is linked",
        ),
        (with_start("unreachable").replace("(memory 1)", "(memory 1 512)"), "instruction executed when it is linked"),
        (
            module("", r#"(func (export "_initialize") (loop $l (br $l)))"#, "")
                .replace("(memory 1)", "(memory 1 512)"),
            "computed for too long when it is linked",
        ),
    ] {
        let started = Instant::now();
        let error = bench.host.load(&bench.write_skill(&manifest(&[]), &text)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    }
}

#[test]
fn nonsense_instead_of_a_reply_is_a_fault() {
    for reply in ["", "{}", "null", "[1]", r#"{\"ok\":{\"say\":5}}"#, r#"{\"ok\":{\"say\":\"\\u0007\"}}"#, "\\ff\\fe"] {
        // Escapes count once in the module.
        let length = wat_length(reply);
        let body = format!(
            "(call $output_set (call $copy (i32.const 0) (i32.const {length})) (i64.const {length})) (return (i32.const 0))"
        );
        let message = fault(&module("", &format!(r#"(data (i32.const 0) "{reply}")"#), &body), 10_000);
        assert!(
            message.starts_with("skill `test` returned something else") || message.contains("control characters"),
            "{reply}: {message}"
        );
    }
}

fn wat_length(escaped: &str) -> usize {
    let mut length = 0;
    let mut characters = escaped.chars();
    while let Some(character) = characters.next() {
        if character == '\\' && characters.next().is_some_and(|next| next.is_ascii_hexdigit()) {
            characters.next();
        }
        length += 1;
    }
    length
}

#[test]
fn the_guest_reaches_nothing_but_its_own_blocks() {
    let bench = Bench::new();
    let attempts = (1..=32)
        .map(|back| {
            format!("(call $store_u64 (i64.sub (call $alloc (i64.const 16)) (i64.const {back})) (i64.const -1))")
        })
        .chain(
            [0, 8, 1 << 16, 1 << 32, -1, i64::MAX]
                .map(|at| format!("(call $store_u64 (i64.const {at}) (i64.const -1))")),
        )
        .chain(
            [(-1_i64, -1), (1, -1), (0, -1), (1 << 16, i64::MAX), (i64::from(u32::MAX), 16)]
                .map(|(at, length)| format!("(call $output_set (i64.const {at}) (i64.const {length}))")),
        )
        .chain([-1_i64, 1, 24, i64::MAX].map(|at| format!("(drop (call $host (i64.const {at})))")));
    for attempt in attempts {
        let text = module(r#"(import "loqa:host/v1" "now" (func $host (param i64) (result i64)))"#, "", &attempt);
        bench.host.load(&bench.write_skill(&manifest(&[]), &text)).unwrap();
        let failure = bench.call("test.run", json!({})).unwrap_err();
        assert_eq!(failure.code, ErrorCode::SkillFault, "{attempt}");
        let expected = ["reached outside of its blocks", "at most 65536 are allowed", "something else than a block"];
        assert!(expected.iter().any(|text| failure.message.contains(text)), "{attempt}: {failure}");
    }
    bench.host.load(&bench.write_skill(&manifest(&[]), &module("", "", ""))).unwrap();
    bench.call("test.run", json!({})).unwrap();
}

#[test]
fn a_cancelled_call_ends_at_once_and_is_no_fault() {
    let bench = Bench::new();
    bench.host.load(&bench.write_skill(&manifest(&[]), &module("", "", "(loop $l (br $l))"))).unwrap();
    let invocation = invocation("test.run", json!({}), BUDGET);
    let cancel = std::sync::Arc::clone(&invocation.cancel);
    let failure = std::thread::scope(|scope| {
        let call = scope.spawn(|| bench.host.call(&invocation));
        cancel.store(true, Ordering::SeqCst);
        call.join().unwrap().unwrap_err()
    });
    assert_eq!(
        (failure.code, failure.message.as_str()),
        (ErrorCode::Cancelled, "the call of skill `test` was cancelled")
    );
    assert_eq!(bench.host.skills()[0].state, SkillState::Enabled);
}

#[test]
fn five_faults_in_ten_minutes_suspend_a_skill_until_it_is_loaded_again() {
    let bench = Bench::new();
    let folder = bench.write_skill(&manifest(&[]), &module("", "", "unreachable"));
    bench.host.load(&folder).unwrap();
    for _ in 0..4 {
        bench.call("test.run", json!({})).unwrap_err();
    }
    bench.clock.pass(10 * 60 * 1_000);
    for _ in 0..4 {
        bench.call("test.run", json!({})).unwrap_err();
    }
    assert_eq!(bench.host.skills()[0].state, SkillState::Enabled, "faults are forgotten after ten minutes");
    assert_eq!(bench.effects.take(), [""; 0]);
    bench.call("test.run", json!({})).unwrap_err();
    assert_eq!(bench.host.skills()[0].state, SkillState::Suspended);
    assert_eq!(
        bench.effects.take(),
        ["test notifies The skill “Test” failed five times within ten minutes and was stopped."]
    );
    let failure = bench.call("test.run", json!({})).unwrap_err();
    assert_eq!(failure.code, ErrorCode::SkillFault);
    assert!(failure.message.contains("is suspended"), "{failure}");
    bench.host.load(&folder).unwrap();
    assert_eq!(bench.host.skills()[0].state, SkillState::Enabled);
}

#[test]
fn a_call_after_a_fault_works() {
    // The argument decides, so that one module can do both.
    let text = module(
        r#"(import "extism:host/env" "input_length" (func $input_length (result i64)))"#,
        "",
        "(if (i64.gt_u (call $input_length) (i64.const 60)) (then (loop $l (br $l))))",
    );
    let manifest = manifest(&[]).replace(
        "description: Runs., effect: safe }",
        "description: Runs., effect: safe, parameters: { type: object, properties: { pad: { type: string } } } }",
    );
    let bench = Bench::new();
    bench.host.load(&bench.write_skill(&manifest, &text)).unwrap();
    for _ in 0..4 {
        let long = json!({ "pad": "x".repeat(60) });
        let failure = bench.host.call(&invocation("test.run", long, Duration::from_millis(30))).unwrap_err();
        assert_eq!(failure.message, "skill `test` did not finish within 30 ms");
        bench.call("test.run", json!({})).unwrap();
    }
}

#[test]
fn calls_of_one_skill_take_turns_and_too_many_are_turned_away() {
    let bench = Bench::new();
    bench.host.load(&bench.write_skill(&manifest(&[]), &module("", "", "(loop $l (br $l))"))).unwrap();
    let mut failures = std::thread::scope(|scope| {
        let calls = (0..30)
            .map(|_| scope.spawn(|| bench.host.call(&invocation("test.run", json!({}), Duration::from_millis(300)))))
            .collect::<Vec<_>>();
        calls.into_iter().map(|call| call.join().unwrap().unwrap_err().message).collect::<Vec<_>>()
    });
    failures.sort();
    failures.dedup();
    assert!(failures.iter().any(|message| message.contains("is busy, too many calls wait")), "{failures:?}");
}

#[test]
fn modules_that_reach_around_the_gate_are_refused() {
    let bench = Bench::new();
    let import = |module: &str, name: &str, kind: &str| {
        format!(
            r#"(module (import "{module}" "{name}" {kind}) (func (export "loqa_tool") (result i32) (i32.const 0)))"#
        )
    };
    let function = "(func (param i64) (result i64))";
    for (text, expected) in [
        (
            import("extism:host/env", "http_request", "(func (param i64 i64) (result i64))"),
            "goes around the permissions",
        ),
        (import("extism:host/env", "var_set", "(func (param i64 i64))"), "goes around the permissions"),
        (import("extism:host/env", "config_get", function), "goes around the permissions"),
        (import("extism:host/env", "log_info", "(func (param i64))"), "goes around the permissions"),
        (import("extism:host/env", "error_set", "(func (param i64))"), "goes around the permissions"),
        (import("extism:host/env", "memory", "(memory 1)"), "is not a function"),
        (import("extism:host/user", "now", function), "only `loqa:host/v1` is offered"),
        (import("wasi_snapshot_preview1", "fd_write", "(func (param i32 i32 i32 i32) (result i32))"), "without WASI"),
        (import("loqa:host/v1", "http_call", function), "this version has no host function `http_call`"),
        ("(module)".to_owned(), "exports no function `loqa_tool`"),
        (r#"(module (table 1 funcref) (func (export "loqa_tool")))"#.to_owned(), "a table may grow"),
        (r#"(module (memory 300) (func (export "loqa_tool")))"#.to_owned(), "begins with 300 pages"),
        (r#"(module (memory i64 1) (func (export "loqa_tool")))"#.to_owned(), "not a valid module of WebAssembly 2.0"),
        (
            r#"(module (memory 1) (memory 1) (func (export "loqa_tool")))"#.to_owned(),
            "not a valid module of WebAssembly 2.0",
        ),
        (r#"(module (type (struct)) (func (export "loqa_tool")))"#.to_owned(), "not a valid module of WebAssembly 2.0"),
    ] {
        let error = bench.host.load(&bench.write_skill(&manifest(&[]), &text)).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("skill `test`"), "{text}\n{error}");
    }
    assert!(bench.host.skills().is_empty(), "a refused skill must not be loaded");
}

#[test]
fn files_that_are_no_modules_are_refused() {
    let bench = Bench::new();
    let good = wat::parse_str(module("", "", "")).unwrap();
    for bytes in [&b""[..], b"\0asm", b"\0asm\x01\0\0\0\xff\xff", b"(module)", b"MZ", &good[..good.len() - 3]] {
        let error = bench.host.load(&bench.write_skill_bytes(&manifest(&[]), bytes)).unwrap_err().to_string();
        assert!(error.starts_with("skill `test`, module `"), "{error}");
    }
    let folder = bench.write_skill_bytes(&manifest(&[]), &good);
    std::fs::remove_file(folder.join("test.wasm")).unwrap();
    let error = bench.host.load(&folder).unwrap_err().to_string();
    assert!(error.starts_with("read `"), "{error}");
    #[cfg(unix)]
    {
        std::fs::write(folder.join("elsewhere.wasm"), &good).unwrap();
        std::os::unix::fs::symlink(folder.join("elsewhere.wasm"), folder.join("test.wasm")).unwrap();
        let error = bench.host.load(&folder).unwrap_err().to_string();
        assert!(error.ends_with("not a regular file"), "{error}");
    }
}
