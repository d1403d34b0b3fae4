//! Whole templates against whole utterances.

use super::*;
use expect_test::{Expect, expect};

fn timer_intents() -> IntentIndex {
    let decl = |tool: &str, say: &[&str]| IntentDecl {
        tool: tool.to_owned(),
        say: say.iter().map(|&s| s.to_owned()).collect(),
    };
    IntentIndex::compile(&[
        decl(
            "timer.start",
            &[
                "(set|start) [a|an|the] [{label}] timer for {duration_s:duration}",
                "(set|start) [a|an|the] {duration_s:duration} [{label}] timer",
                "{duration_s:duration} [{label}] timer",
            ],
        ),
        decl("timer.cancel", &["(cancel|stop) [the|my] [{label}] timer"]),
        decl(
            "timer.list",
            &[
                "(list|show) [me] [all] [my|the] timers",
                "what timers are running",
            ],
        ),
        decl("alarm.set", &["wake me [up] at {at:time}"]),
        decl(
            "light.set",
            &["turn {state:on|off} the {room:living room|kitchen|lamp} [light|lights]"],
        ),
        decl(
            "light.dim",
            &["(set|dim) the lights to {level:number} percent"],
        ),
        decl(
            "list.add",
            &["(add|put) {item} (to|on) [the|my] {list} list"],
        ),
        decl("reminder.add", &["remind me to {what}"]),
    ])
    .unwrap()
}

fn check(utterances: &[&str], expected: Expect) {
    let index = timer_intents();
    let mut lines = String::new();
    for text in utterances {
        let line = match index.find(text) {
            Some(m) => {
                let leftover = if m.leftover.is_empty() {
                    String::new()
                } else {
                    format!(" + `{}`", m.leftover)
                };
                format!(
                    "{text} => {} {}{leftover}\n",
                    m.call.name,
                    serde_json::Value::Object(m.call.arguments)
                )
            }
            None => format!("{text} => nothing\n"),
        };
        lines.push_str(&line);
    }
    expected.assert_eq(&lines);
}

#[test]
fn what_the_recogniser_writes_is_understood() {
    check(
        &[
            "Set a timer for five minutes.",
            "Set a timer for 5 minutes.",
            "set timer for twenty-five minutes",
            "Start the pasta timer for an hour and a half!",
            "set a green tea timer for 2 minutes and 30 seconds",
            "five minute timer",
            "Half an hour timer.",
            "set a ten minute egg timer",
            "a quarter of an hour timer",
            "Cancel the Pasta timer.",
            "stop timer",
            "Show me all my timers",
            "what timers are running?",
            "Wake me up at 7:30 a.m.",
            "wake me at half past six",
            "Turn on the living room lights.",
            "turn off the kitchen light",
            "turn off the lamp",
            "dim the lights to 30%",
            "set the lights to twelve and a half percent",
            "add oat milk to my shopping list",
            "put salt and pepper on the list",
            "remind me to not forget the milk",
        ],
        expect![[r#"
            Set a timer for five minutes. => timer.start {"duration_s":300}
            Set a timer for 5 minutes. => timer.start {"duration_s":300}
            set timer for twenty-five minutes => timer.start {"duration_s":1500}
            Start the pasta timer for an hour and a half! => timer.start {"duration_s":5400,"label":"pasta"}
            set a green tea timer for 2 minutes and 30 seconds => timer.start {"duration_s":150,"label":"green tea"}
            five minute timer => timer.start {"duration_s":300}
            Half an hour timer. => timer.start {"duration_s":1800}
            set a ten minute egg timer => timer.start {"duration_s":600,"label":"egg"}
            a quarter of an hour timer => timer.start {"duration_s":900}
            Cancel the Pasta timer. => timer.cancel {"label":"Pasta"}
            stop timer => timer.cancel {}
            Show me all my timers => timer.list {}
            what timers are running? => timer.list {}
            Wake me up at 7:30 a.m. => alarm.set {"at":"07:30"}
            wake me at half past six => alarm.set {"at":"06:30"}
            Turn on the living room lights. => light.set {"room":"living room","state":"on"}
            turn off the kitchen light => light.set {"room":"kitchen","state":"off"}
            turn off the lamp => light.set {"room":"lamp","state":"off"}
            dim the lights to 30% => light.dim {"level":30}
            set the lights to twelve and a half percent => light.dim {"level":12.5}
            add oat milk to my shopping list => list.add {"item":"oat milk","list":"shopping"}
            put salt and pepper on the list => nothing
            remind me to not forget the milk => reminder.add {"what":"not forget the milk"}
        "#]],
    );
}

#[test]
fn polite_words_are_left_over_and_reported() {
    check(
        &[
            "Hey Loqa, could you please set a timer for five minutes?",
            "okay um set a timer uh for five minutes for me, thank you",
            "please set a timer for ten minutes right now",
            "I'd like you to cancel the timer please",
            "remind me to call mum please",
            "add milk to the shopping list thanks",
            "could you set a timer for five minutes please, would you",
        ],
        expect![[r#"
            Hey Loqa, could you please set a timer for five minutes? => timer.start {"duration_s":300} + `Hey Loqa, could you please`
            okay um set a timer uh for five minutes for me, thank you => timer.start {"duration_s":300} + `okay um uh for me, thank you`
            please set a timer for ten minutes right now => timer.start {"duration_s":600} + `please right now`
            I'd like you to cancel the timer please => timer.cancel {} + `I'd like you to please`
            remind me to call mum please => reminder.add {"what":"call mum"} + `please`
            add milk to the shopping list thanks => list.add {"item":"milk","list":"shopping"} + `thanks`
            could you set a timer for five minutes please, would you => timer.start {"duration_s":300} + `could you please, would you`
        "#]],
    );
}

#[test]
fn other_sentences_match_nothing() {
    check(
        &[
            "don't set a timer for five minutes",
            "Do not set a timer for five minutes.",
            "never set a timer for five minutes",
            "how do I set a timer for five minutes in python",
            "how do I set a timer for five minutes",
            "set a timer for five minutes in python",
            "did you set a timer for five minutes",
            "what happens if I set a timer for five minutes",
            "set no timer for five minutes",
            "five minutes is not enough for a timer",
            "set a timer for five minutes, no wait",
            "set a timer for five minutes after the meeting",
            "set a timer for five um ten minutes",
            "set a timer for",
            "set a timer",
            "set the timer for a long time",
            "cancel",
            "the",
            "cancel the timer that is not running timer",
            "remind me to buy milk, never mind",
            "please",
            "turn on the bathroom lights",
        ],
        expect![[r#"
            don't set a timer for five minutes => nothing
            Do not set a timer for five minutes. => nothing
            never set a timer for five minutes => nothing
            how do I set a timer for five minutes in python => nothing
            how do I set a timer for five minutes => nothing
            set a timer for five minutes in python => nothing
            did you set a timer for five minutes => nothing
            what happens if I set a timer for five minutes => nothing
            set no timer for five minutes => nothing
            five minutes is not enough for a timer => nothing
            set a timer for five minutes, no wait => nothing
            set a timer for five minutes after the meeting => nothing
            set a timer for five um ten minutes => nothing
            set a timer for => nothing
            set a timer => nothing
            set the timer for a long time => nothing
            cancel => nothing
            the => nothing
            cancel the timer that is not running timer => nothing
            remind me to buy milk, never mind => nothing
            please => nothing
            turn on the bathroom lights => nothing
        "#]],
    );
}
