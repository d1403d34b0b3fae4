//! The timer skill against a test host: what a person would say and hear.

use super::*;
use loqa_skill_sdk::testing::TestHost;
use serde_json::Value;

/// 2026-01-01, any moment will do.
const NOON_MS: i64 = 1_767_268_800_000;

/// Plays a conversation. A line is `tool arguments`, `+seconds` to let time pass or
/// `late+seconds` to let it pass without anybody listening; the answers come back, one per line.
fn check(conversation: &[(&str, &str)]) {
    let mut host = TestHost::at(NOON_MS);
    for (number, (line, expected)) in conversation.iter().enumerate() {
        let said = play(&mut host, line);
        assert_eq!(said, *expected, "line {}: {line}", number + 1);
    }
}

fn play(host: &mut TestHost, line: &str) -> String {
    if let Some(seconds) = line.strip_prefix("late+") {
        let due_before = host.timers.clone();
        host.now_ms += seconds.parse::<i64>().expect("a number of seconds") * 1_000;
        assert!(!due_before.is_empty(), "nothing can be late without a timer");
        return host.advance(0).map_or_else(|| "-".to_owned(), |event| deliver(host, event));
    }
    if let Some(seconds) = line.strip_prefix('+') {
        let end = host.now_ms + seconds.parse::<i64>().expect("a number of seconds") * 1_000;
        let mut said = Vec::new();
        while let Some(event) = host.advance(end - host.now_ms) {
            said.push(deliver(host, event));
        }
        return if said.is_empty() { "-".to_owned() } else { said.join(" ") };
    }
    let (tool, arguments) = line.split_once(' ').unwrap_or((line, "{}"));
    let arguments = serde_json::from_str(arguments).expect("arguments are JSON");
    SKILL.call(host, &format!("timer.{tool}"), arguments).expect("the call succeeds").say
}

fn deliver(host: &mut TestHost, event: Value) -> String {
    SKILL.deliver(host, "timer.elapsed", event).expect("the event is taken").expect("there is something to say").say
}

#[test]
fn one_timer_from_start_to_end() {
    check(&[
        ("left", "You have no timers."),
        (r#"start {"duration_s": 300}"#, "Timer set for 5 minutes."),
        ("left", "Your timer has 5 minutes left."),
        ("+170", "-"),
        ("left", "Your timer has 2 minutes and 10 seconds left."),
        ("pause", "Timer paused. 2 minutes and 10 seconds left."),
        ("+1000", "-"),
        ("left", "Your timer is paused. It has 2 minutes and 10 seconds left."),
        ("pause", "Your timer is already paused."),
        ("resume", "Timer resumed. 2 minutes and 10 seconds left."),
        ("resume", "Your timer is already running."),
        ("+129", "-"),
        ("left", "Your timer has 1 second left."),
        ("+1", "Your 5 minute timer is done."),
        ("list", "You have no timers."),
        ("cancel", "You have no timers."),
    ]);
}

#[test]
fn several_timers_are_told_apart() {
    check(&[
        (r#"start {"duration_s": 180, "label": "tea"}"#, "Tea timer set for 3 minutes."),
        (r#"start {"duration_s": 420, "label": "the Eggs timer"}"#, "Eggs timer set for 7 minutes."),
        ("cancel", "Which timer, tea or eggs?"),
        ("pause", "Which timer, tea or eggs?"),
        (r#"left {"label": "egg"}"#, "Your eggs timer has 7 minutes left."),
        (r#"left {"label": "pasta"}"#, "You have no pasta timer."),
        ("left", "You have 2 timers: tea with 3 minutes left and eggs with 7 minutes left."),
        (r#"pause {"label": "eggs"}"#, "Eggs timer paused. 7 minutes left."),
        ("list", "You have 2 timers: tea with 3 minutes left and eggs paused with 7 minutes left."),
        (r#"pause {"label": "eggs"}"#, "Your eggs timer is already paused."),
        (r#"resume {"label": "tea"}"#, "Your tea timer is already running."),
        ("+180", "Your tea timer is done."),
        ("resume", "Eggs timer resumed. 7 minutes left."),
        ("+420", "Your eggs timer is done."),
    ]);
}

#[test]
fn timers_without_a_label_go_by_their_length() {
    check(&[
        (r#"start {"duration_s": 300}"#, "Timer set for 5 minutes."),
        (r#"start {"duration_s": 5400}"#, "Timer set for 1 hour and 30 minutes."),
        ("cancel", "Which timer, 5 minute or 1 hour 30 minute?"),
        (r#"cancel {"label": "5 minute"}"#, "Timer cancelled."),
        ("left", "Your timer has 1 hour and 30 minutes left."),
    ]);
}

#[test]
fn a_second_timer_of_the_same_name_gets_a_name_of_its_own() {
    check(&[
        (r#"start {"duration_s": 60, "label": "tea"}"#, "Tea timer set for 1 minute."),
        (r#"start {"duration_s": 90, "label": "tea"}"#, "Second tea timer set for 1 minute and 30 seconds."),
        (r#"start {"duration_s": 90, "label": "tea"}"#, "Third tea timer set for 1 minute and 30 seconds."),
        (r#"cancel {"label": "tea"}"#, "Tea timer cancelled."),
        (r#"cancel {"label": "tea"}"#, "Which timer, second tea or third tea?"),
        (r#"cancel {"label": "third tea"}"#, "Third tea timer cancelled."),
        (r#"cancel {"label": "tea"}"#, "Second tea timer cancelled."),
    ]);
}

#[test]
fn all_means_all() {
    check(&[
        (r#"start {"duration_s": 60, "label": "tea"}"#, "Tea timer set for 1 minute."),
        (r#"start {"duration_s": 70}"#, "Timer set for 1 minute and 10 seconds."),
        (r#"pause {"label": "all"}"#, "Both timers paused."),
        ("+500", "-"),
        (r#"start {"duration_s": 3600}"#, "Timer set for 1 hour."),
        (r#"resume {"label": "all"}"#, "Both timers resumed."),
        (
            r#"left {"label": "all"}"#,
            "You have 3 timers: tea with 1 minute left, 1 minute 10 second with 1 minute and 10 seconds left and 1 hour with 1 hour left.",
        ),
        (r#"cancel {"all": true}"#, "All 3 timers cancelled."),
        (r#"cancel {"all": true}"#, "You have no timers."),
    ]);
}

#[test]
fn an_announcement_that_comes_late_says_so() {
    check(&[
        (r#"start {"duration_s": 60, "label": "tea"}"#, "Tea timer set for 1 minute."),
        ("late+65", "Your tea timer is done."),
        (r#"start {"duration_s": 60, "label": "tea"}"#, "Tea timer set for 1 minute."),
        ("late+7300", "Your tea timer ended 2 hours ago."),
    ]);
}

#[test]
fn timers_that_end_together_are_all_announced() {
    check(&[
        (r#"start {"duration_s": 60, "label": "tea"}"#, "Tea timer set for 1 minute."),
        (r#"start {"duration_s": 60, "label": "eggs"}"#, "Eggs timer set for 1 minute."),
        ("+60", "Your tea timer is done. Your eggs timer is done."),
    ]);
}

#[test]
fn without_permission_the_call_fails_and_says_which() {
    let mut host = TestHost::default();
    host.deny("timer_set");
    let error = SKILL.call(&mut host, "timer.start", json!({ "duration_s": 5 })).expect_err("timers are denied");
    assert!(matches!(&error, SkillError::Host(error) if error.is_denied()), "{error}");
}

#[test]
fn durations_are_spoken_as_people_do() {
    for (seconds, spoken, adjective) in [
        (0, "0 seconds", ""),
        (1, "1 second", "1 second"),
        (60, "1 minute", "1 minute"),
        (61, "1 minute and 1 second", "1 minute 1 second"),
        (3_600, "1 hour", "1 hour"),
        (3_605, "1 hour and 5 seconds", "1 hour 5 second"),
        (5_430, "1 hour and 30 minutes", "1 hour 30 minute"),
        (86_400, "24 hours", "24 hour"),
    ] {
        assert_eq!(spoken_duration(seconds * 1_000), spoken);
        assert_eq!(speech::adjective(seconds * 1_000), adjective);
    }
    assert_eq!(spoken_duration(4_001), "5 seconds", "a begun second counts whole");
}
