//! The bundled timer skill, as built, in the real host.

use crate::support::{Bench, timer_folder};
use loqa_protocol::ErrorCode;
use loqa_protocol::tool::ToolEffect;
use loqa_skills::{DueTimer, Permission, SkillEvent};
use loqa_turn::intent::IntentIndex;
use serde_json::{Value, json};

fn bench() -> Bench {
    let bench = Bench::new();
    bench.host.load(&timer_folder()).unwrap();
    bench
}

fn say(bench: &Bench, tool: &str, arguments: Value) -> String {
    bench.call(tool, arguments).unwrap().say
}

/// Delivers what is due and brings what is announced.
fn announce(bench: &Bench) -> Vec<String> {
    use loqa_skills::Clock as _;
    let due = bench.host.due_timers(bench.clock.wall_ms());
    due.iter()
        .filter_map(|due| bench.host.deliver(&due.skill, &due.event()).unwrap())
        .map(|outcome| outcome.say)
        .collect()
}

#[test]
fn a_timer_can_be_started_asked_paused_resumed_listed_and_cancelled() {
    let bench = bench();
    assert_eq!(say(&bench, "timer.left", json!({})), "You have no timers.");
    let outcome = bench.call("timer.start", json!({ "duration_s": 300, "label": "tea" })).unwrap();
    assert_eq!(outcome.say, "Tea timer set for 5 minutes.");
    assert_eq!(outcome.data, json!({ "label": "tea", "duration_s": 300 }));
    bench.clock.pass(170_000);
    assert_eq!(
        say(&bench, "timer.left", json!({ "label": "tea" })),
        "Your tea timer has 2 minutes and 10 seconds left."
    );
    assert_eq!(say(&bench, "timer.start", json!({ "duration_s": 60 })), "Timer set for 1 minute.");
    assert_eq!(
        say(&bench, "timer.pause", json!({ "label": "tea" })),
        "Tea timer paused. 2 minutes and 10 seconds left."
    );
    bench.clock.pass(30_000);
    assert_eq!(
        say(&bench, "timer.list", json!({})),
        "You have 2 timers: 1 minute with 30 seconds left and tea paused with 2 minutes and 10 seconds left."
    );
    assert_eq!(say(&bench, "timer.cancel", json!({})), "Which timer, 1 minute or tea?");
    assert_eq!(say(&bench, "timer.resume", json!({})), "Tea timer resumed. 2 minutes and 10 seconds left.");
    assert_eq!(say(&bench, "timer.cancel", json!({ "label": "1 minute" })), "Timer cancelled.");
    bench.clock.pass(130_000);
    assert_eq!(announce(&bench), ["Your tea timer is done."]);
    assert_eq!(announce(&bench), [""; 0], "once");
    assert_eq!(bench.host.next_timer(), None);
}

#[test]
fn timers_survive_a_restart_of_the_host() {
    let bench = bench();
    say(&bench, "timer.start", json!({ "duration_s": 60, "label": "tea" }));
    say(&bench, "timer.start", json!({ "duration_s": 600, "label": "eggs" }));
    say(&bench, "timer.start", json!({ "duration_s": 90, "label": "rice" }));
    say(&bench, "timer.pause", json!({ "label": "rice" }));
    let due = bench.host.next_timer().unwrap();

    let bench = bench.restart();
    bench.host.load(&timer_folder()).unwrap();
    assert_eq!(bench.host.next_timer(), Some(due));
    bench.clock.pass(60_000);
    assert_eq!(announce(&bench), ["Your tea timer is done."]);
    assert_eq!(
        say(&bench, "timer.list", json!({})),
        "You have 2 timers: eggs with 9 minutes left and rice paused with 1 minute and 30 seconds left."
    );

    // The machine is off while the eggs are ready.
    let bench = bench.restart();
    bench.clock.pass(3 * 3_600_000);
    bench.host.load(&timer_folder()).unwrap();
    assert_eq!(announce(&bench), ["Your eggs timer ended 2 hours and 51 minutes ago."]);
    assert_eq!(announce(&bench), [""; 0]);
}

#[test]
fn an_event_that_was_not_delivered_before_a_crash_is_delivered_after_it() {
    let bench = bench();
    say(&bench, "timer.start", json!({ "duration_s": 5 }));
    bench.clock.pass(5_000);
    use loqa_skills::Clock as _;
    let due = bench.host.due_timers(bench.clock.wall_ms());
    assert_eq!(due.len(), 1, "taken, and the program ends here");
    let bench = bench.restart();
    bench.host.load(&timer_folder()).unwrap();
    assert_eq!(announce(&bench), ["Your 5 second timer is done."]);
    let bench = bench.restart();
    bench.host.load(&timer_folder()).unwrap();
    assert_eq!(announce(&bench), [""; 0], "a timer that was announced is over");
}

#[test]
fn setting_the_clock_neither_rings_nor_delays_a_timer() {
    for jump_ms in [3_600_000, -3_600_000, 365 * 86_400_000] {
        let bench = bench();
        say(&bench, "timer.start", json!({ "duration_s": 60 }));
        bench.clock.pass(20_000);
        bench.clock.set_by(jump_ms);
        assert_eq!(announce(&bench), [""; 0], "a clock set by {jump_ms} ms is not time that passed");
        assert_eq!(say(&bench, "timer.left", json!({})), "Your timer has 40 seconds left.");
        bench.clock.pass(39_000);
        bench.clock.set_by(-jump_ms);
        assert_eq!(announce(&bench), [""; 0]);
        bench.clock.pass(1_000);
        assert_eq!(announce(&bench), ["Your 1 minute timer is done."]);
        assert_eq!(announce(&bench), [""; 0]);
    }
}

#[test]
fn a_clock_that_was_set_while_the_program_was_off_still_rings_once() {
    for jump_ms in [3_600_000, -3_600_000] {
        let bench = bench();
        say(&bench, "timer.start", json!({ "duration_s": 60 }));
        let bench = bench.restart();
        bench.clock.set_by(jump_ms);
        let bench = bench.restart();
        bench.host.load(&timer_folder()).unwrap();
        let mut announced = announce(&bench);
        bench.clock.pass(60_000 + 3_600_000);
        announced.extend(announce(&bench));
        assert_eq!(announced.len(), 1, "{jump_ms}: {announced:?}");
    }
}

#[test]
fn arguments_are_checked_before_the_skill_sees_them() {
    let bench = bench();
    for (arguments, expected) in [
        (json!({}), "timer.start: `duration_s` is missing"),
        (json!({ "duration_s": 0 }), "timer.start: `duration_s` must be at least 1"),
        (json!({ "duration_s": 86_401 }), "timer.start: `duration_s` must be at most 86400"),
        (json!({ "duration_s": 5, "label": "x".repeat(41) }), "timer.start: `label` must have at most 40 characters"),
        (
            json!({ "duration_s": 5, "volume": 3 }),
            "timer.start: an argument is not known, known are: duration_s, label",
        ),
    ] {
        let failure = bench.call("timer.start", arguments).unwrap_err();
        assert_eq!((failure.code, failure.message.as_str()), (ErrorCode::ToolArguments, expected));
    }
    let failure = bench.call("timer.explode", json!({})).unwrap_err();
    assert_eq!(failure.code, ErrorCode::ToolUnknown);
    assert_eq!(bench.decisions.take(), [""; 0], "nothing of this reached the skill");
}

#[test]
fn strange_labels_are_only_labels() {
    let bench = bench();
    for label in ["{}", "\"", "\\", "🍵🍵", "'; DROP TABLE timer; --", "\u{202e}aet", "a\nb", "   ", "timer"] {
        let reply = say(&bench, "timer.start", json!({ "duration_s": 500, "label": label }));
        assert!(reply.ends_with("set for 8 minutes and 20 seconds."), "{reply}");
    }
    assert_eq!(say(&bench, "timer.cancel", json!({ "all": true })), "All 9 timers cancelled.");
}

#[test]
fn there_is_a_limit_to_the_number_of_timers() {
    let bench = bench();
    for _ in 0..20 {
        say(&bench, "timer.start", json!({ "duration_s": 500 }));
    }
    assert_eq!(
        say(&bench, "timer.start", json!({ "duration_s": 500 })),
        "Sorry, no more than 20 timers can run at once."
    );
    assert_eq!(say(&bench, "timer.cancel", json!({ "all": true })), "All 20 timers cancelled.");
}

#[test]
fn without_a_permission_the_call_fails_with_its_code() {
    let bench = bench();
    bench.host.revoke("timer", Permission::TimerSet);
    let failure = bench.call("timer.start", json!({ "duration_s": 5 })).unwrap_err();
    assert_eq!(failure.code, ErrorCode::PermissionDenied, "{failure}");
}

#[test]
fn an_announcement_needs_permission_to_speak_unasked() {
    let bench = bench();
    say(&bench, "timer.start", json!({ "duration_s": 5 }));
    bench.clock.pass(5_000);
    bench.host.revoke("timer", Permission::TtsSay);
    assert_eq!(announce(&bench), [""], "the event is handled and nothing is said");
}

#[test]
fn an_event_that_a_skill_cannot_take_is_offered_three_times() {
    use loqa_skills::Clock as _;
    let bench = bench();
    say(&bench, "timer.start", json!({ "duration_s": 5 }));
    let mut attempts = 0;
    for _ in 0..10 {
        bench.clock.pass(5_000);
        for DueTimer { skill, mut data, name } in bench.host.due_timers(bench.clock.wall_ms()) {
            attempts += 1;
            data["data"] = json!("not what the skill had set");
            bench.host.deliver(&skill, &SkillEvent { name, data }).unwrap_err();
        }
    }
    assert_eq!(attempts, 3);
    assert_eq!(bench.host.next_timer(), None);
}

#[test]
fn the_host_offers_the_tools_of_the_manifest() {
    let bench = bench();
    let tools = bench.host.tools();
    let names = tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>();
    assert_eq!(names, ["timer.start", "timer.cancel", "timer.pause", "timer.resume", "timer.list", "timer.left"]);
    assert_eq!(tools[0].effect, ToolEffect::Safe);
    assert_eq!(
        tools[0].parameters["properties"]["duration_s"],
        json!({ "type": "integer", "minimum": 1, "maximum": 86_400, "description": "length in seconds" })
    );
    assert_eq!(tools[0].parameters["required"], json!(["duration_s"]));
    let info = &bench.host.skills()[0];
    assert_eq!((info.name.as_str(), info.permissions.len(), info.module_sha256.len()), ("timer", 3, 64));
}

/// What people say, and the call that it means; `-` means that no template may take it.
#[test]
fn what_people_say_reaches_the_right_tool() {
    let bench = bench();
    let index = IntentIndex::compile(&bench.host.intents()).unwrap();
    let mut wrong = Vec::new();
    for line in include_str!("utterances.tsv").lines().filter(|line| !line.is_empty()) {
        let (said, expected) = line.split_once('\t').unwrap();
        let found = index.find(said).map_or_else(
            || "-".to_owned(),
            |found| format!("{} {}", found.call.name, Value::Object(found.call.arguments.clone())),
        );
        if found != expected {
            wrong.push(format!("{said}\n  wanted {expected}\n  found  {found}"));
        } else if let Some(found) = index.find(said) {
            let schema = bench.host.tools().into_iter().find(|tool| tool.name == found.call.name).unwrap();
            assert!(schema.parameters["properties"].is_object(), "a match leads to a tool that exists");
        }
    }
    assert!(wrong.is_empty(), "{} utterances go wrong:\n{}", wrong.len(), wrong.join("\n"));
}
