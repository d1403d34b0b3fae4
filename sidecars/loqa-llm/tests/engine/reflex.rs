//! The bundled starter model, as it is shipped.

use crate::kit::{all_tools, answer, answer_with, command, quiet, reflex, request, timer_tools};
use loqa_engine::CancelFlag;
use loqa_protocol::ErrorCode;
use loqa_protocol::llm::Role;
use serde_json::json;
use std::time::Instant;

#[test]
fn a_timer_command_becomes_the_call_of_the_timer_skill() {
    let mut model = reflex();
    let outcome = command(&mut model, "Set a timer for five minutes.", &timer_tools()).unwrap();
    let (call, confidence) = outcome.call.clone().expect("a call, not text");
    assert_eq!((call.name.as_str(), json!(call.arguments)), ("timer.start", json!({"duration_s": 300})));
    assert!(confidence > 0.5, "a plain command is not doubtful: {confidence}");
    assert_eq!(outcome.text, "", "a call is not spoken");
    let done = outcome.done.expect("done");
    assert!(done.output_tokens > 0 && !done.truncated && done.first_token_us <= done.total_us, "{done:?}");
}

/// From the model's hand-written evaluation set, with the arguments under the names of
/// the offered tools.
const COMMANDS: &str = r#"
set a timer for 1 and a half hours => timer.start {"duration_s":5400}
start a ninety second timer => timer.start {"duration_s":90}
timer for tea three minutes => timer.start {"duration_s":180,"label":"tea"}
how much longer on the pizza => timer.left {"label":"pizza"}
what's left on my timer => timer.left {}
pause the laundry timer for me => timer.pause {"label":"laundry"}
unpause my workout timer => timer.resume {"label":"workout"}
do i have timers going => timer.list {}
what timers have i set => timer.list {}
turn on the kitchen lights => light.set {"room":"kitchen","state":"on"}
lights off in the bedroom please => light.set {"room":"bedroom","state":"off"}
switch the hallway light off => light.set {"room":"hallway","state":"off"}
turn all of the lights off => light.set {"state":"off"}
change the nursery light to blue => light.set {"color":"blue","room":"nursery"}
turn the tv off => switch.set {"device":"tv","state":"off"}
set the temperature to 21 degrees => climate.set {"temp":21}
close the curtains => cover.set {"device":"curtains","state":"closed"}
what time is it => clock.time {}
what's today's date => clock.date {}
add milk to my shopping list => list.add {"item":"milk","list":"shopping"}
what's on the shopping list => list.show {"list":"shopping"}
turn it up => volume.set {"change":10}
volume forty percent => volume.set {"level":40}
mute => volume.set {"state":"mute"}
play some jazz => media.play {"query":"some jazz"}
next song => media.next {}
what reminders have i got => reminder.list {}
remind me to buy stamps => reminder.add {"text":"buy stamps"}
what's the weather like today => weather.get {"day":"today"}
never mind then => dialog.stop {}
yes please => dialog.yes {}
no thank you => dialog.no {}
"#;

#[test]
fn hand_written_commands_are_understood() {
    let (mut model, tools) = (reflex(), all_tools());
    let mut wrong = Vec::new();
    let mut right = 0;
    for line in COMMANDS.trim().lines() {
        let (text, expected) = line.split_once(" => ").unwrap();
        let got = command(&mut model, text, &tools).unwrap().shown();
        if got == expected {
            right += 1;
        } else {
            wrong.push(format!("{text}: {got}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{right} right, wrong:\n{}", wrong.join("\n"));
}

#[test]
fn what_it_cannot_do_is_answered_honestly() {
    let (mut model, tools) = (reflex(), all_tools());
    for text in [
        "what is the tallest mountain in the world",
        "write me a poem about spring",
        "explain how a car engine works",
        "translate good night into french",
    ] {
        let outcome = command(&mut model, text, &tools).unwrap();
        assert!(outcome.call.is_none(), "{text} must not call {}", outcome.shown());
        assert!(outcome.text.contains("can't do that") && outcome.deltas > 1, "{text}: {}", outcome.text);
    }
}

#[test]
fn a_skill_that_is_not_offered_is_said_to_be_missing() {
    let mut model = reflex();
    let tools: Vec<_> = all_tools().into_iter().filter(|tool| !tool.name.starts_with("light.")).collect();
    let outcome = command(&mut model, "turn on the kitchen lights", &tools).unwrap();
    assert_eq!(outcome.shown(), "The light skill isn't installed.");
    // The same words would be a lie while the skill is there, and the grammar knows.
    let outcome = command(&mut model, "turn on the kitchen lights", &all_tools()).unwrap();
    assert_eq!(outcome.shown(), r#"light.set {"room":"kitchen","state":"on"}"#);
}

#[test]
fn the_list_of_tools_is_computed_once() {
    let _quiet = quiet();
    let (mut model, tools) = (reflex(), all_tools());
    let first = command(&mut model, "what time is it", &tools).unwrap().done.unwrap();
    let second = command(&mut model, "what's today's date", &tools).unwrap().done.unwrap();
    assert_eq!(first.cached_tokens, 0);
    assert!(second.cached_tokens * 10 > second.prompt_tokens * 8, "the tools are most of the prompt: {second:?}");
    assert!(second.first_token_us < first.first_token_us, "{second:?} is not faster than {first:?}");

    // Other tools in between push the list out of the sequence, not out of the snapshots.
    command(&mut model, "what time is it", &timer_tools()).unwrap();
    let back = command(&mut model, "what time is it", &tools).unwrap();
    let restored = back.done.clone().unwrap();
    assert!(restored.cached_tokens * 10 > restored.prompt_tokens * 8, "{restored:?}");
    assert_eq!(back.shown(), "clock.time {}", "a restored prefix means the same");
}

#[test]
fn a_reply_stops_where_it_is_when_it_is_cancelled() {
    let _quiet = quiet();
    let mut model = reflex();
    let cancel = CancelFlag::new();
    let mut cancelled = None;
    let failure =
        answer_with(&mut model, &request(&[(Role::User, "hello there computer")], &all_tools()), &cancel, |_| {
            cancel.cancel();
            cancelled.get_or_insert_with(Instant::now);
        })
        .expect_err("cancelled at its first word");
    assert_eq!(failure.code, ErrorCode::Cancelled);
    let took = cancelled.expect("it had begun").elapsed();
    // 50 ms are promised, a loaded test machine gets ten times as much.
    assert!(took.as_millis() < 500, "{took:?}");
    // What was computed for the cancelled reply does not leak into the next.
    assert_eq!(command(&mut model, "what time is it", &all_tools()).unwrap().shown(), "clock.time {}");
}

#[test]
fn bad_requests_are_named() {
    let mut model = reflex();
    let user = |text: &str| request(&[(Role::User, text)], &timer_tools());
    for (request, code, word) in [
        (user(&"five ".repeat(20_000)), ErrorCode::BadRequest, "100000 bytes"),
        (user(&"five ".repeat(390)).tap(|r| r.tools = all_tools()), ErrorCode::BadRequest, "tokens long"),
        (user("☂ … \u{7}\u{0} ?!"), ErrorCode::NotUnderstood, "no words"),
        (request(&[(Role::User, "x"), (Role::Tool, "{}")], &[]), ErrorCode::NotUnderstood, "commands only"),
        (request(&[], &[]), ErrorCode::BadRequest, "no messages"),
        (user("hello").tap(|r| r.max_tokens = 0), ErrorCode::BadRequest, "max_tokens"),
        (user("hello").tap(|r| r.deadline_ms = 0), ErrorCode::DeadlineExceeded, "deadline"),
        (user("hello").tap(|r| r.tools.push(r.tools[0].clone())), ErrorCode::BadRequest, "offered twice"),
        (user("hello").tap(|r| r.tools[0].name = "a\"b".into()), ErrorCode::BadRequest, "cannot be the name"),
        (
            user("hello").tap(|r| r.tools[0].parameters = json!({"type": "object", "anyOf": []})),
            ErrorCode::BadRequest,
            "`timer.start` uses `anyOf`",
        ),
    ] {
        let failure = answer(&mut model, &request).expect_err(word);
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.message.contains(word), "{failure}");
    }
}

#[test]
fn a_call_that_the_schema_forbids_is_refused() {
    let mut model = reflex();
    let mut tools = timer_tools();
    tools[0].parameters["properties"]["duration_s"]["maximum"] = json!(60);
    let failure = command(&mut model, "set a timer for five minutes", &tools).expect_err("300 is above 60");
    assert_eq!(failure.code, ErrorCode::ToolArguments);
    assert!(failure.message.contains("`timer.start.duration_s` must be 1 to 60"), "{failure}");
}

trait Tap: Sized {
    fn tap(self, change: impl FnOnce(&mut Self)) -> Self;
}

impl<T> Tap for T {
    fn tap(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}
