//! Dry runs of real skills: everything is listed, nothing is done.

use crate::support::{TestClock, escaped, manifest, module, timer_folder};
use loqa_protocol::ToolCall;
use loqa_skills::dry_run::{DryRun, GrantState, Input, Outside};
use loqa_skills::{Clock, HostFunction};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn clock() -> Arc<dyn Clock> {
    TestClock::at(1_767_268_800_000)
}

fn write(folder: &Path, permissions: &[String], text: &str) -> PathBuf {
    std::fs::write(folder.join("skill.yaml"), manifest(permissions)).unwrap();
    std::fs::write(folder.join("test.wasm"), wat::parse_str(text).unwrap()).unwrap();
    folder.to_owned()
}

fn caller(function: &str, arguments: &str) -> String {
    module(
        &format!(r#"(import "loqa:host/v1" "{function}" (func $host (param i64) (result i64)))"#),
        &format!(r#"(data (i32.const 0) "{}")"#, escaped(arguments)),
        &format!("(drop (call $host (call $copy (i32.const 0) (i32.const {}))))", arguments.len()),
    )
}

fn run() -> Input {
    Input::Tool(ToolCall { name: "test.run".to_owned(), arguments: Default::default() })
}

#[test]
fn the_steps_of_a_timer_are_listed_and_no_timer_is_set() {
    let data = tempfile::tempdir().unwrap();
    let dry_run = DryRun::open(&timer_folder(), Some(data.path()), clock(), Outside::Refused).unwrap();
    let report = dry_run.run(&Input::Text("set a tea timer for five minutes".to_owned()));
    assert_eq!(report.trigger, "timer.start");
    assert_eq!(report.failure, None);
    assert_eq!(report.outcome.unwrap().say, "Tea timer set for 5 minutes.");
    let set = report.steps.iter().find(|step| step.function == "timer_set").unwrap();
    assert_eq!((set.permission, set.tier, set.decision), ("timer:set", "T1", "granted"));
    assert_eq!((set.grant, set.outside), (GrantState::AskedAtInstallation, false));
    assert!(set.what.contains("300000 ms"), "{}", set.what);
    let report = dry_run.run(&Input::Text("how much time is left".to_owned()));
    assert!(report.outcome.unwrap().say.starts_with("Your tea timer has 5 minutes"), "a conversation goes on");
    drop(dry_run);
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "nothing is left where the data are");
    let report = DryRun::open(&timer_folder(), None, clock(), Outside::Refused).unwrap();
    let report = report.run(&Input::Text("open the pod bay doors".to_owned()));
    assert!(report.failure.unwrap().message.contains("a language model would be asked"));
}

#[test]
fn what_reaches_outside_is_refused_or_simulated_and_says_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let light = caller("device", r#"{"operation":"turn_on","entity":"light.kitchen"}"#);
    let permission = "{ use: device:control, domains: [light], entities: [light.kitchen], reason: r }".to_owned();
    let skill = write(folder.path(), &[permission], &light);
    for outside in [Outside::Refused, Outside::Simulated] {
        let report = DryRun::open(&skill, None, clock(), outside).unwrap().run(&run());
        let step = &report.steps[0];
        assert_eq!((step.function.as_str(), step.tier, step.decision), ("device", "T2", "granted"));
        assert_eq!((step.grant, step.outside), (GrantState::AskedAtFirstUse, true));
        assert_eq!(step.what, "turn_on light.kitchen");
    }
    let skill = write(folder.path(), &[], &light);
    let report = DryRun::open(&skill, None, clock(), Outside::Simulated).unwrap().run(&run());
    assert_eq!((report.steps[0].grant, report.steps[0].decision), (GrantState::NotDeclared, "not_declared"));
}

#[test]
fn a_request_names_its_secrets_and_gets_the_recorded_answer() {
    let folder = tempfile::tempdir().unwrap();
    let request = r#"{"method":"GET","url":"https://a.test/x","secrets":[{"name":"key","header":"x-api-key"}]}"#;
    let permissions = [
        r#"{ use: http:call, urls: ["https://a.test/x"], methods: [GET], reason: r }"#,
        r#"{ use: secret:use, name: key, origin: "https://a.test", reason: r }"#,
    ];
    let skill = write(folder.path(), &permissions.map(str::to_owned), &caller("http", request));
    let dry_run = DryRun::open(&skill, None, clock(), Outside::Simulated).unwrap();
    dry_run.answer(HostFunction::Http, json!({ "status": 404, "headers": {}, "body": "", "url": "" }));
    let report = dry_run.run(&run());
    let steps = report.steps.iter().map(|step| (step.function.as_str(), step.permission)).collect::<Vec<_>>();
    assert_eq!(steps, [("http", "http:call"), ("http.secret", "secret:use")]);
    assert_eq!(report.failure, None);
}
