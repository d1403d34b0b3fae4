//! Every host function in every state of its permission, through a real module.

use crate::support::{Bench, escaped, manifest, module};
use loqa_protocol::ErrorCode;
use loqa_skills::authorize::Reach;
use loqa_skills::{HostFunction, Permission, Scope};
use serde_json::json;
use std::sync::Arc;

/// Arguments that are fine, and the effect that shows outside. Each function needs a row: no wildcard here.
fn row(function: HostFunction) -> (&'static str, Option<&'static str>) {
    match function {
        HostFunction::Log => (r#"{"level":"info","text":"hello"}"#, None),
        HostFunction::Say => (r#"{"text":"hello"}"#, Some("test says hello")),
        HostFunction::Announce => (r#"{"text":"hello"}"#, Some("test says hello")),
        HostFunction::Notify => (r#"{"text":"hello"}"#, Some("test notifies hello")),
        HostFunction::Publish => (r#"{"topic":"a","data":1}"#, Some("test publishes 1 on a")),
        HostFunction::KvGet => (r#"{"key":"k"}"#, None),
        HostFunction::KvSet => (r#"{"key":"k","value":1}"#, None),
        HostFunction::KvDelete => (r#"{"key":"k"}"#, None),
        HostFunction::KvList => (r#"{"prefix":""}"#, None),
        HostFunction::Now => ("{}", None),
        HostFunction::TimerSet => (r#"{"id":"t","due_in_ms":5,"data":null}"#, None),
        HostFunction::TimerCancel => (r#"{"id":"t"}"#, None),
        HostFunction::TimerList => ("{}", None),
        HostFunction::Http => (r#"{"method":"GET","url":"https://a.test/x"}"#, Some("test calls GET https://a.test/x")),
        HostFunction::Secret => (r#"{"name":"key","origin":"https://a.test"}"#, None),
        HostFunction::Transcript => (r#"{"level":"utterance"}"#, None),
        HostFunction::EventStore => (r#"{"level":"own"}"#, Some("test reads Own events")),
        HostFunction::Llm => (r#"{"prompt":"hello"}"#, Some("test asks hello")),
        HostFunction::Device => {
            (r#"{"operation":"turn_on","entity":"light.kitchen"}"#, Some("test orders turn_on light.kitchen"))
        }
    }
}

/// A module that makes one host call.
fn caller(function: HostFunction, arguments: &str) -> String {
    module(
        &format!(r#"(import "loqa:host/v1" "{}" (func $host (param i64) (result i64)))"#, function.name()),
        &format!(r#"(data (i32.const 0) "{}")"#, escaped(arguments)),
        &format!("(drop (call $host (call $copy (i32.const 0) (i32.const {}))))", arguments.len()),
    )
}

fn request(function: HostFunction) -> String {
    let scope = match function.permission() {
        Permission::BusPublish => "topics: [a], ",
        Permission::HttpCall => r#"urls: ["https://a.test/"], methods: [GET], "#,
        Permission::SecretUse => r#"name: key, origin: "https://a.test", "#,
        Permission::TranscriptRead => "level: utterance, ",
        Permission::EventStoreRead => "level: own, ",
        Permission::DeviceControl => "domains: [light], entities: [light.kitchen], ",
        _ => "",
    };
    format!("{{ use: {}, {scope}reason: for tests }}", function.permission())
}

#[test]
fn every_host_function_is_denied_unless_declared_and_granted() {
    for function in HostFunction::ALL.iter().copied() {
        let (arguments, effect) = row(function);
        let (name, permission) = (function.name(), function.permission());
        for (state, expected) in [("undeclared", "not_declared"), ("declared", "not_granted"), ("granted", "granted")] {
            let bench = Bench::new();
            let permissions = if state == "undeclared" { Vec::new() } else { vec![request(function)] };
            bench.host.load(&bench.write_skill(&manifest(&permissions), &caller(function, arguments))).unwrap();
            match state {
                "declared" => bench.host.revoke("test", permission),
                "granted" => bench.host.grant("test", permission, Scope::default()),
                _ => {}
            }
            bench.call("test.run", json!({})).unwrap_or_else(|failure| panic!("{name}, {state}: {failure}"));
            // What is asked for at its first use finds nobody there to be asked.
            let is_asked = state == "declared" && ["transcript", "device"].contains(&name);
            let expected = if is_asked { "unanswered" } else { expected };
            let is_recorded = state != "granted" || function.reach() == Reach::Outside;
            let rows = is_recorded.then(|| format!("{name} {permission} {expected}"));
            assert_eq!(bench.decisions.take(), Vec::from_iter(rows), "{name}, {state}");
            let expected_effects = if state == "granted" { effect.into_iter().collect() } else { Vec::new() };
            assert_eq!(bench.effects.take(), expected_effects, "{name}, {state}");
            let timer_is_set = bench.host.next_timer().is_some();
            assert_eq!(timer_is_set, state == "granted" && function == HostFunction::TimerSet, "{name}, {state}");
        }
    }
}

#[test]
fn a_denied_function_is_denied_whatever_its_arguments() {
    for function in HostFunction::ALL.iter().copied() {
        for arguments in ["", "null", "{", r#"{"unknown":1}"#] {
            let bench = Bench::new();
            bench.host.load(&bench.write_skill(&manifest(&[]), &caller(function, arguments))).unwrap();
            let _refused_or_not = bench.call("test.run", json!({}));
            let decisions = bench.decisions.take();
            assert!(
                decisions.iter().all(|decision| decision.ends_with("not_declared")),
                "{}({arguments}) was decided as {decisions:?}",
                function.name()
            );
        }
    }
}

#[test]
fn bad_arguments_change_nothing() {
    for function in HostFunction::ALL.iter().copied() {
        for arguments in
            ["null", "{", r#"{"unknown":1}"#, r#"{"id":"","due_in_ms":-1,"data":0}"#, r#"{"text":"\u001b[2J"}"#]
        {
            let bench = Bench::new();
            bench.host.load(&bench.write_skill(&manifest(&[request(function)]), &caller(function, arguments))).unwrap();
            let outcome = bench.call("test.run", json!({}));
            assert!(
                outcome.is_ok(),
                "{}({arguments}) is an error that the skill can handle: {outcome:?}",
                function.name()
            );
            assert_eq!(bench.effects.take(), [""; 0], "{}({arguments})", function.name());
            assert_eq!(bench.host.next_timer(), None, "{}({arguments})", function.name());
        }
    }
}

/// Shows two notifications in one call.
fn twice() -> String {
    let show = "(drop (call $host (call $copy (i32.const 0) (i32.const 16))))";
    module(
        r#"(import "loqa:host/v1" "notify" (func $host (param i64) (result i64)))"#,
        r#"(data (i32.const 0) "{\"text\":\"hello\"}")"#,
        &format!("{show} {show}"),
    )
}

/// Shows a notification, then publishes.
fn notify_then_publish() -> String {
    module(
        r#"(import "loqa:host/v1" "notify" (func $notify (param i64) (result i64)))
           (import "loqa:host/v1" "publish" (func $publish (param i64) (result i64)))"#,
        r#"(data (i32.const 0) "{\"text\":\"hello\"}") (data (i32.const 100) "{\"topic\":\"a\",\"data\":1}")"#,
        "(drop (call $notify (call $copy (i32.const 0) (i32.const 16))))
         (drop (call $publish (call $copy (i32.const 100) (i32.const 22))))",
    )
}

#[test]
fn a_revocation_reaches_the_next_host_call_of_a_running_call() {
    let bench = Bench::new();
    let permissions = [
        "{ use: notify:show, reason: for tests }".to_owned(),
        "{ use: bus:publish, topics: [a], reason: for tests }".to_owned(),
    ];
    let folder = bench.write_skill(&manifest(&permissions), &notify_then_publish());
    bench.host.load(&folder).unwrap();
    let host = Arc::clone(&bench.host);
    // Granted again at once: what was taken away is gone for the rest of this call.
    bench.effects.interrupt_with(move || {
        host.revoke("test", Permission::BusPublish);
        host.grant("test", Permission::BusPublish, Scope::default());
    });
    bench.call("test.run", json!({})).unwrap();
    assert_eq!(bench.decisions.take(), ["notify notify:show granted", "publish bus:publish not_granted"]);
    assert_eq!(bench.effects.take(), ["test notifies hello"]);
    bench.call("test.run", json!({})).unwrap();
    assert_eq!(bench.decisions.take(), ["notify notify:show granted", "publish bus:publish granted"]);
}

#[test]
fn a_revocation_ends_a_call_that_is_using_the_permission() {
    let bench = Bench::new();
    let permissions = ["{ use: notify:show, reason: for tests }".to_owned()];
    bench.host.load(&bench.write_skill(&manifest(&permissions), &twice())).unwrap();
    let host = Arc::clone(&bench.host);
    bench.effects.interrupt_with(move || host.revoke("test", Permission::NotifyShow));
    let failure = bench.call("test.run", json!({})).unwrap_err();
    assert_eq!(failure.code, ErrorCode::PermissionDenied, "{failure}");
    assert_eq!(bench.effects.take(), ["test notifies hello"], "what had begun is all that happened");
}

#[test]
fn what_was_revoked_stays_revoked_when_the_same_code_is_loaded_again() {
    let bench = Bench::new();
    let permissions = ["{ use: notify:show, reason: for tests }".to_owned()];
    let folder = bench.write_skill(&manifest(&permissions), &twice());
    bench.host.load(&folder).unwrap();
    bench.host.revoke("test", Permission::NotifyShow);
    bench.host.load(&folder).unwrap();
    bench.call("test.run", json!({})).unwrap();
    assert_eq!(bench.decisions.take()[0], "notify notify:show not_granted");
    // A bundled skill's next version is other code; what the person took away stays away.
    let folder = bench.write_skill(&manifest(&permissions).replace("1.0.0", "1.0.1"), &twice());
    bench.host.load(&folder).unwrap();
    bench.call("test.run", json!({})).unwrap();
    assert_eq!(bench.decisions.take()[0], "notify notify:show not_granted");
}

#[test]
fn a_rate_holds_within_one_call() {
    let bench = Bench::new();
    let permissions = ["{ use: notify:show, per_minute: 1, reason: for tests }".to_owned()];
    bench.host.load(&bench.write_skill(&manifest(&permissions), &twice())).unwrap();
    bench.call("test.run", json!({})).unwrap();
    assert_eq!(bench.decisions.take(), ["notify notify:show granted", "notify notify:show rate_exceeded"]);
    assert_eq!(bench.effects.take(), ["test notifies hello"]);
}

#[test]
fn what_a_failed_call_wrote_is_not_kept() {
    let bench = Bench::new();
    let arguments = r#"{"id":"t","due_in_ms":5,"data":null}"#;
    let (imports, data, call) = (
        r#"(import "loqa:host/v1" "timer_set" (func $host (param i64) (result i64)))"#,
        format!(r#"(data (i32.const 0) "{}")"#, escaped(arguments)),
        format!("(drop (call $host (call $copy (i32.const 0) (i32.const {}))))", arguments.len()),
    );
    let permissions = ["{ use: timer:set, reason: for tests }".to_owned()];
    bench
        .host
        .load(&bench.write_skill(&manifest(&permissions), &module(imports, &data, &format!("{call} unreachable"))))
        .unwrap();
    bench.call("test.run", json!({})).unwrap_err();
    assert_eq!(bench.host.next_timer(), None, "half a call must not leave a timer behind");
    bench.host.load(&bench.write_skill(&manifest(&permissions), &module(imports, &data, &call))).unwrap();
    bench.call("test.run", json!({})).unwrap();
    assert!(bench.host.next_timer().is_some());
}
