//! The key in stories of one line each, and what holds in every story.

use super::*;
use expect_test::{Expect, expect};
use proptest::prelude::*;

/// One word is one thing that happens; `+500` lets 500 ms pass. Prints what is to be done,
/// with the phase after it.
fn check(story: &str, expected: Expect) {
    let zero = Instant::now();
    let mut now = zero + Duration::from_secs(100);
    let start = now;
    let mut key = Key::default();
    key.handle(Input::Online(true), now);
    let mut log = Vec::new();
    let mut heard_until = None;
    for word in story.split_whitespace() {
        let number = || word[1..].parse::<u64>().unwrap();
        let inputs = match word {
            "press" => vec![Input::Press { heard_until }],
            "release" => vec![Input::Release],
            "cancel" => vec![Input::Cancel],
            "mute" => vec![Input::Mute(true)],
            "unmute" => vec![Input::Mute(false)],
            "offline" => vec![Input::Online(false)],
            "missing" => vec![Input::Microphone(Some(DeviceFault::Missing))],
            "found" => vec![Input::Microphone(None)],
            "text" => vec![Input::Text { text: "hi".to_owned(), speak: true }],
            "voice" => vec![Input::Voice(Voice::Began)],
            "door" => vec![Input::Voice(Voice::WasNone)],
            "silence" => vec![Input::Voice(Voice::Ended { at: now - Duration::from_millis(600) })],
            "rang" => {
                heard_until = Some(now);
                continue;
            }
            _ if word.starts_with('+') => {
                now += Duration::from_millis(number());
                vec![Input::Tick]
            }
            _ if word.starts_with('s') => vec![Input::Sounding(number())],
            _ if word.starts_with('o') => vec![Input::Over(number())],
            _ => panic!("{word}"),
        };
        for input in inputs {
            let before = key.phase();
            let actions = key.handle(input, now);
            let at = |at: Instant| match at.checked_duration_since(start) {
                Some(after) => format!("{}", after.as_millis()),
                None => format!("-{}", start.duration_since(at).as_millis()),
            };
            let done: Vec<String> = actions
                .iter()
                .map(|action| match action {
                    Action::Begin { turn, from, until: None } => format!("begin {turn} from {}", at(*from)),
                    Action::Begin { turn, from, until: Some(until) } => {
                        format!("begin {turn} from {} until {}", at(*from), at(*until))
                    }
                    Action::BeginText { turn, .. } => format!("text {turn}"),
                    Action::End { turn, at: end } => format!("end {turn} at {}", at(*end)),
                    Action::Stop { turn, is_interruption: true } => format!("interrupt {turn}"),
                    Action::Stop { turn, .. } => format!("stop {turn}"),
                    Action::Drop { turn } => format!("drop {turn}"),
                    Action::Refuse(fault) => format!("refuse: {fault:?}"),
                })
                .collect();
            if !done.is_empty() || key.phase() != before {
                log.push(format!("{word}: {} [{}]", done.join(", "), key.phase().as_str()));
            }
        }
    }
    expected.assert_eq(&log.join("\n"));
}

#[test]
fn held_and_let_go_the_utterance_is_what_was_said_meanwhile() {
    check(
        "press +1500 release +200 s1 +2000 o1",
        expect![[r#"
            press: begin 1 from -300 [listening]
            release: end 1 at 1500 [thinking]
            s1:  [speaking]
            o1:  [idle]"#]],
    );
}

#[test]
fn the_limit_between_a_tap_and_a_hold_is_three_hundred_milliseconds() {
    check(
        "press +299 release +1 cancel o1 +2000 press +300 release",
        expect![[r#"
            press: begin 1 from -300 [listening]
            cancel: stop 1 [idle]
            press: begin 2 from 2000 [listening]
            release: end 2 at 2600 [thinking]"#]],
    );
}

#[test]
fn after_a_tap_the_voice_ends_the_utterance() {
    check(
        "press +100 release +500 voice +2000 silence s1 o1",
        expect![[r#"
            press: begin 1 from -300 [listening]
            silence: end 1 at 2000 [thinking]
            s1:  [speaking]
            o1:  [idle]"#]],
    );
}

#[test]
fn a_voice_that_began_while_the_key_was_down_counts_after_the_tap() {
    check(
        "press +50 voice +50 release +9000 silence",
        expect![[r#"
            press: begin 1 from -300 [listening]
            silence: end 1 at 8500 [thinking]"#]],
    );
}

#[test]
fn after_a_tap_nobody_is_waited_for_longer_than_eight_seconds() {
    check(
        "press +100 release +7999 +1 o1",
        expect![[r#"
            press: begin 1 from -300 [listening]
            +1: stop 1, refuse: NoSpeech [idle]"#]],
    );
    check(
        "press +100 release +7000 voice +100 door +7999 +1",
        expect![[r#"
            press: begin 1 from -300 [listening]
            +1: stop 1, refuse: NoSpeech [idle]"#]],
    );
}

#[test]
fn a_pause_while_the_key_is_held_is_no_end() {
    check(
        "press +500 voice +1000 silence +3000 release",
        expect![[r#"
            press: begin 1 from -300 [listening]
            release: end 1 at 4500 [thinking]"#]],
    );
}

#[test]
fn a_second_press_cancels_while_thinking_and_after_a_tap() {
    check(
        "press +400 release +1000 press +400 release o1",
        expect![[r#"
            press: begin 1 from -300 [listening]
            release: end 1 at 400 [thinking]
            press: stop 1 [idle]"#]],
    );
    check(
        "press +100 release +1000 press +100 release o1",
        expect![[r#"
            press: begin 1 from -300 [listening]
            press: stop 1 [idle]"#]],
    );
}

#[test]
fn a_press_over_the_answer_interrupts_and_listens_anew_from_the_press_on() {
    check(
        "press +400 release s1 +1000 press +2 o1 +600 release",
        expect![[r#"
            press: begin 1 from -300 [listening]
            release: end 1 at 400 [thinking]
            s1:  [speaking]
            press: interrupt 1 [listening]
            o1: begin 2 from 1400 [listening]
            release: end 2 at 2002 [thinking]"#]],
    );
}

#[test]
fn what_was_said_while_the_answer_stopped_is_a_whole_utterance() {
    check(
        "press +400 release s1 +1000 press +500 release +100 o1",
        expect![[r#"
            press: begin 1 from -300 [listening]
            release: end 1 at 400 [thinking]
            s1:  [speaking]
            press: interrupt 1 [listening]
            release:  [thinking]
            o1: begin 2 from 1400 until 1900 [thinking]"#]],
    );
}

#[test]
fn a_tap_over_the_answer_listens_until_the_voice_ends() {
    check(
        "press +400 release s1 +1000 press +100 release +5 o1 voice +1000 silence",
        expect![[r#"
            press: begin 1 from -300 [listening]
            release: end 1 at 400 [thinking]
            s1:  [speaking]
            press: interrupt 1 [listening]
            o1: begin 2 from 1400 [listening]
            silence: end 2 at 1905 [thinking]"#]],
    );
}

#[test]
fn cancel_ends_anything() {
    check(
        "cancel press cancel o1 release +2000 press +400 release cancel o2 text s3 cancel o3",
        expect![[r#"
            press: begin 1 from -300 [listening]
            cancel: stop 1 [idle]
            press: begin 2 from 1700 [listening]
            release: end 2 at 2400 [thinking]
            cancel: stop 2 [idle]
            text: text 3 [thinking]
            s3:  [speaking]
            cancel: stop 3 [idle]"#]],
    );
    check(
        "press +400 release s1 press cancel o1",
        expect![[r#"
            press: begin 1 from -300 [listening]
            release: end 1 at 400 [thinking]
            s1:  [speaking]
            press: interrupt 1 [listening]
            cancel:  [idle]"#]],
    );
}

#[test]
fn the_repetition_of_the_keyboard_is_no_second_press() {
    check(
        "press +660 press +30 press +30 press +30 release",
        expect![[r#"
            press: begin 1 from -300 [listening]
            release: end 1 at 750 [thinking]"#]],
    );
    // After Esc the key is still down, and repeats.
    check(
        "press +660 press +30 press cancel +30 press o1 +30 press +30 press +30 release +1 press",
        expect![[r#"
            press: begin 1 from -300 [listening]
            cancel: stop 1 [idle]
            press: begin 2 from 511 [listening]"#]],
    );
}

#[test]
fn a_release_that_was_lost_does_not_hold_the_key_for_ever() {
    check(
        "press +5000 press +500 release o1 press +100 cancel o2 +5000 press",
        expect![[r#"
            press: begin 1 from -300 [listening]
            release: end 1 at 5500 [thinking]
            o1:  [idle]
            press: begin 2 from 5200 [listening]
            cancel: stop 2 [idle]
            press: begin 3 from 10300 [listening]"#]],
    );
}

#[test]
fn an_utterance_does_not_last_longer_than_an_engine_takes() {
    check(
        "press +29599 +1 +400 release",
        expect![[r#"
            press: begin 1 from -300 [listening]
            +1: end 1 at 29600 [thinking]"#]],
    );
}

#[test]
fn muted_nobody_is_listened_to_and_is_told_so() {
    check(
        "mute press release unmute +2000 press mute o1 release",
        expect![[r#"
            mute:  [muted]
            press: refuse: Muted [muted]
            unmute:  [idle]
            press: begin 1 from 1700 [listening]
            mute: stop 1 [muted]"#]],
    );
    check(
        "text s1 mute +2000 press release o1",
        expect![[r#"
            text: text 1 [thinking]
            s1:  [speaking]
            press: interrupt 1, refuse: Muted [muted]"#]],
    );
}

#[test]
fn without_a_microphone_nothing_begins_and_half_a_sentence_is_dropped() {
    check(
        "missing press release found +2000 press +500 missing o1 release text",
        expect![[r#"
            press: refuse: MicrophoneMissing [idle]
            press: begin 1 from 1700 [listening]
            missing: stop 1, refuse: MicrophoneMissing [idle]
            text: text 2 [thinking]"#]],
    );
}

#[test]
fn offline_nothing_begins() {
    check(
        "press offline o1 release +2000 press release text",
        expect![[r#"
            press: begin 1 from -300 [listening]
            offline: stop 1 [offline]
            press: refuse: Offline [offline]
            text: refuse: Offline [offline]"#]],
    );
}

#[test]
fn text_waits_for_no_key_and_interrupts_an_answer() {
    check(
        "text text s1 text o1 o2 press text",
        expect![[r#"
            text: text 1 [thinking]
            text: refuse: Conflict [thinking]
            s1:  [speaking]
            text: interrupt 1 [thinking]
            o1: text 2 [thinking]
            o2:  [idle]
            press: begin 3 from -300 [listening]
            text: refuse: Conflict [listening]"#]],
    );
}

#[test]
fn a_turn_that_fails_while_somebody_speaks_ends_the_listening() {
    check(
        "press +500 o1 +100 release",
        expect![[r#"
            press: begin 1 from -300 [listening]
            o1: drop 1 [idle]"#]],
    );
}

#[test]
fn what_the_speaker_said_is_not_taken_for_speech() {
    check("rang +100 press", expect![[r#"press: begin 1 from 0 [listening]"#]]);
}

/// What can happen, with the time since the thing before.
#[derive(Debug, Clone)]
enum Step {
    Happens(Input),
    /// The turn that runs ends, whatever the key thinks.
    TurnEnds,
    /// News of a turn that is long over.
    Late(u64),
}

fn steps() -> impl Strategy<Value = Vec<(Step, u64)>> {
    let step = prop_oneof![
        8 => Just(Step::Happens(Input::Press { heard_until: None })),
        8 => Just(Step::Happens(Input::Release)),
        2 => Just(Step::Happens(Input::Cancel)),
        1 => any::<bool>().prop_map(|on| Step::Happens(Input::Mute(on))),
        1 => any::<bool>().prop_map(|on| Step::Happens(Input::Online(on))),
        1 => any::<bool>().prop_map(|on| Step::Happens(Input::Microphone(on.then_some(DeviceFault::Failed)))),
        2 => Just(Step::Happens(Input::Text { text: String::new(), speak: true })),
        3 => Just(Step::Happens(Input::Voice(Voice::Began))),
        1 => Just(Step::Happens(Input::Voice(Voice::WasNone))),
        2 => Just(Step::Happens(Input::Tick)),
        3 => Just(Step::Happens(Input::Voice(Voice::Ended { at: Instant::now() }))),
        6 => Just(Step::TurnEnds),
        4 => Just(Step::Happens(Input::Sounding(0))),
        2 => (0_u64..40).prop_map(Step::Late),
    ];
    let pause = prop_oneof![Just(0_u64), 1_u64..400, 400_u64..12_000];
    prop::collection::vec((step, pause), 1..120)
}

/// What the world sees of the key: turns that run, and the utterance that is open.
#[derive(Default)]
struct World {
    running: Option<u64>,
    is_stopped: bool,
    open: Option<u64>,
    begun: u64,
    ended: u64,
}

impl World {
    fn sees(&mut self, key: &Key, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Begin { turn, until, from } => {
                    assert!(self.running.is_none(), "never two turns at once");
                    assert!(!key.is_muted, "muted nobody is listened to");
                    assert!(until.is_none_or(|until| until >= *from));
                    (self.running, self.is_stopped) = (Some(*turn), false);
                    self.begun += 1;
                    if until.is_some() { self.ended += 1 } else { self.open = Some(*turn) }
                }
                Action::BeginText { turn, .. } => {
                    assert!(self.running.is_none(), "never two turns at once");
                    (self.running, self.is_stopped) = (Some(*turn), false);
                }
                Action::End { turn, .. } | Action::Drop { turn } => {
                    assert_eq!(self.open.take(), Some(*turn), "an utterance ends once, and only if it began");
                    self.ended += 1;
                }
                Action::Stop { turn, .. } => {
                    assert_eq!(self.running, Some(*turn), "what is stopped runs");
                    assert!(!self.is_stopped, "it is stopped once");
                    self.is_stopped = true;
                    self.ended += u64::from(self.open.take().is_some());
                }
                Action::Refuse(_) => {}
            }
        }
        if self.open.is_some() {
            assert_eq!(key.phase(), TalkPhase::Listening, "who is listened to sees it");
        }
        assert_eq!(self.ended + u64::from(self.open.is_some()), self.begun, "every utterance ends exactly once");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_every_story_utterances_end_once_turns_follow_each_other_and_cancel_leads_to_idle(story in steps()) {
        let mut now = Instant::now() + Duration::from_secs(100);
        let mut key = Key::default();
        let mut world = World::default();
        let mut turns = 0;
        key.handle(Input::Online(true), now);
        for (step, pause) in story {
            now += Duration::from_millis(pause);
            let input = match step {
                Step::TurnEnds => match world.running.take() {
                    Some(turn) => Input::Over(turn),
                    None => continue,
                },
                // An end that was told already.
                Step::Late(turn) if Some(turn) != world.running && turn <= turns => Input::Over(turn),
                Step::Late(_) => continue,
                Step::Happens(Input::Sounding(_)) => Input::Sounding(world.running.unwrap_or(0)),
                Step::Happens(input) => input,
            };
            // A turn that ended with its utterance open takes the utterance with it.
            let is_cancel = input == Input::Cancel;
            let actions = key.handle(input, now);
            world.sees(&key, &actions);
            turns = key.turns;
            if is_cancel {
                let phase = key.phase();
                prop_assert!(
                    matches!(phase, TalkPhase::Idle | TalkPhase::Muted | TalkPhase::Offline),
                    "cancel leads to {phase:?}"
                );
                let mut later = key.next_deadline();
                prop_assert!(later.take().is_none(), "and nothing is waited for");
            }
        }
        // Let go, and left alone, it comes to rest.
        let actions = key.handle(Input::Release, now);
        world.sees(&key, &actions);
        for _ in 0..4 {
            now += LONGEST;
            let actions = key.handle(Input::Tick, now);
            world.sees(&key, &actions);
            if let Some(turn) = world.running.take() {
                let actions = key.handle(Input::Over(turn), now);
                world.sees(&key, &actions);
            }
        }
        prop_assert!(world.running.is_none() && world.open.is_none());
        prop_assert!(matches!(key.phase(), TalkPhase::Idle | TalkPhase::Muted | TalkPhase::Offline));
    }
}
