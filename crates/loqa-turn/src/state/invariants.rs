//! What must hold for every turn, checked on a recorded timeline, on random scripts
//! and on timelines that were broken on purpose.

use super::*;
use crate::intent::IntentDecl;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Scripts in one run of the test; together they take about a second.
const SCRIPTS: u64 = 100_000;

/// One call of the machine.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    /// Since the start of the turn.
    at: Duration,
    /// `None` for the start.
    input: Option<Input>,
    actions: Vec<Action>,
}

#[derive(Debug, Clone, PartialEq)]
struct Timeline {
    settings: TurnSettings,
    steps: Vec<Step>,
}

#[test]
fn every_random_script_keeps_the_invariants() {
    let intents = Arc::new(timer_intent());
    for seed in 0..SCRIPTS {
        let timeline = random_timeline(seed, &intents);
        if let Err(broken) = check_invariants(&timeline) {
            panic!("seed {seed}: {broken}\n{timeline:#?}");
        }
    }
}

#[test]
fn a_seed_replays_the_same_turn() {
    let intents = Arc::new(timer_intent());
    for seed in 0..100 {
        assert_eq!(random_timeline(seed, &intents), random_timeline(seed, &intents), "seed {seed}");
    }
}

/// The control: each of these faults in the machine would be found.
#[test]
fn planted_faults_are_found() {
    let intents = Arc::new(timer_intent());
    for (name, plant) in PLANTED_FAULTS {
        let found = (0..5_000).find(|&seed| {
            let mut timeline = random_timeline(seed, &intents);
            plant(&mut timeline) && check_invariants(&timeline).is_err()
        });
        assert!(found.is_some(), "the checker does not see this fault: {name}");
    }
}

/// Changes a good timeline as a faulty machine would; false when it does not apply.
type Plant = fn(&mut Timeline) -> bool;

const PLANTED_FAULTS: &[(&str, Plant)] = &[
    ("the turn never ends", |t| remove(t, |a| matches!(a, Action::Emit(TurnEvent::TurnEnded { .. })))),
    ("the turn ends twice", |t| repeat(t, |a| matches!(a, Action::Emit(TurnEvent::TurnEnded { .. })))),
    ("the turn starts twice", |t| repeat(t, |a| matches!(a, Action::Emit(TurnEvent::TurnStarted { .. })))),
    ("the failure is not told", |t| remove(t, |a| matches!(a, Action::Emit(TurnEvent::TurnFailed { .. })))),
    ("the failure is told twice", |t| repeat(t, |a| matches!(a, Action::Emit(TurnEvent::TurnFailed { .. })))),
    ("speech recognition is not cancelled", |t| remove(t, |a| *a == Action::Cancel { hop: Hop::Stt })),
    ("the model is not cancelled", |t| remove(t, |a| *a == Action::Cancel { hop: Hop::Llm })),
    ("the tool is not cancelled", |t| remove(t, |a| *a == Action::Cancel { hop: Hop::Skill })),
    ("speech is not cancelled", |t| remove(t, |a| *a == Action::Cancel { hop: Hop::Tts })),
    ("what does not run is cancelled", |t| repeat(t, |a| *a == Action::Cancel { hop: Hop::Llm })),
    ("a tool is called twice", |t| repeat(t, |a| matches!(a, Action::CallTool { .. }))),
    ("a tool call is not told", |t| remove(t, |a| matches!(a, Action::Emit(TurnEvent::ToolCalled { .. })))),
    ("a clause is left out", |t| remove(t, |a| matches!(a, Action::Speak { clause: 0, .. }))),
    ("a clause is spoken twice", |t| repeat(t, |a| matches!(a, Action::Speak { .. }))),
    ("the end of speech is not told", |t| remove(t, |a| *a == Action::SpeechComplete)),
    ("the assistant goes on speaking", |t| remove(t, |a| *a == Action::StopSpeaking)),
    ("the next model begins unasked", |t| remove(t, |a| matches!(a, Action::Emit(TurnEvent::Degraded { .. })))),
    ("the audio ends twice", |t| repeat(t, |a| *a == Action::EndAudio)),
    ("the first sound is told twice", |t| repeat(t, |a| *a == Action::Emit(TurnEvent::FirstSound))),
    ("a tool runs after a cancel", |t| {
        let call = ToolCall { name: "timer.start".to_owned(), arguments: serde_json::Map::new() };
        let Some(step) = t.steps.iter_mut().find(|s| matches!(s.input, Some(Input::Cancel))) else { return false };
        step.actions.insert(0, Action::CallTool { call });
        true
    }),
    ("a question is cut off", |t| {
        let asked = t.steps.iter().position(|s| {
            s.input == Some(Input::ConsentPending)
                && s.actions.iter().any(|a| matches!(a, Action::Speak { text, .. } if text == ASK_SENTENCE))
        });
        let Some(asked) = asked else { return false };
        let at = t.steps[asked].at;
        let tick = Step { at, input: Some(Input::Tick), actions: vec![Action::Cancel { hop: Hop::Skill }] };
        t.steps.insert(asked + 1, tick);
        t.settings.deadlines.consent > Duration::ZERO
    }),
    ("the turn lasts too long", |t| {
        let Some(last) = t.steps.last_mut() else { return false };
        last.at += Duration::from_secs(100_000);
        true
    }),
];

fn remove(timeline: &mut Timeline, which: fn(&Action) -> bool) -> bool {
    change(timeline, which, |actions, at| {
        actions.remove(at);
    })
}

fn repeat(timeline: &mut Timeline, which: fn(&Action) -> bool) -> bool {
    change(timeline, which, |actions, at| actions.insert(at, actions[at].clone()))
}

fn change(timeline: &mut Timeline, which: fn(&Action) -> bool, how: fn(&mut Vec<Action>, usize)) -> bool {
    for step in &mut timeline.steps {
        if let Some(at) = step.actions.iter().position(which) {
            how(&mut step.actions, at);
            return true;
        }
    }
    false
}

// The invariants.

fn check_invariants(timeline: &Timeline) -> Result<(), String> {
    let mut observed = Observed::default();
    for step in &timeline.steps {
        observed.now = step.at;
        if let Some(input) = &step.input {
            observed.take_input(input);
        }
        for action in &step.actions {
            observed.take_action(action, timeline).map_err(|e| format!("at {:?}, {:?}: {e}", step.at, step.input))?;
        }
        if observed.cancelled && !observed.ended {
            return Err("a cancelled turn goes on".to_owned());
        }
    }
    let last = timeline.steps.last().map_or(Duration::ZERO, |step| step.at);
    observed.take_end(last, &timeline.settings)
}

/// What an outside observer knows of a turn.
#[derive(Debug, Default)]
struct Observed {
    started: bool,
    ended: bool,
    failed: bool,
    cancelled: bool,
    stt: bool,
    audio_ended: bool,
    llm: bool,
    skill: bool,
    n_tool_calls: u32,
    clauses: u32,
    clauses_spoken: u32,
    chars: usize,
    tts_cancelled: bool,
    speech_complete: bool,
    silenced: bool,
    finished: bool,
    first_sound: bool,
    last: Option<Action>,
    input_before: Option<Input>,
    now: Duration,
    /// Since when the person is asked.
    asked_at: Option<Duration>,
    /// How long earlier questions took.
    asked_before: Duration,
}

impl Observed {
    fn take_input(&mut self, input: &Input) {
        match input {
            Input::TranscriptFinal { .. } => self.stt = false,
            Input::ReplyDone => self.llm = false,
            Input::ToolReturned { .. } | Input::ToolDenied { .. } => self.skill = false,
            Input::Failed { failure } => match failure.hop {
                Hop::Stt => self.stt = false,
                Hop::Llm => self.llm = false,
                Hop::Skill => self.skill = false,
                Hop::Input | Hop::Plan | Hop::Tts | Hop::Output | Hop::Hub => {}
            },
            Input::ClauseSpoken { clause } if *clause < self.clauses => {
                self.clauses_spoken = self.clauses_spoken.max(clause + 1);
            }
            Input::Cancel | Input::BargeIn => self.cancelled = true,
            Input::ConsentPending if self.skill => {
                self.asked_at.get_or_insert(self.now);
            }
            Input::ConsentOver => self.consent_over(),
            _ => {}
        }
        if !self.skill {
            self.consent_over();
        }
        self.input_before = Some(input.clone());
    }

    fn consent_over(&mut self) {
        if let Some(asked_at) = self.asked_at.take() {
            self.asked_before += (self.now - asked_at).max(Duration::from_millis(1));
        }
    }

    fn take_action(&mut self, action: &Action, timeline: &Timeline) -> Result<(), String> {
        let need = |holds: bool, why: &str| if holds { Ok(()) } else { Err(format!("{why}: {action:?}")) };
        need(!self.ended, "an action after the end")?;
        let is_start = matches!(action, Action::Emit(TurnEvent::TurnStarted { .. }));
        need(self.started != is_start, "TurnStarted is the first action and comes once")?;
        let is_last = matches!(action, Action::Emit(TurnEvent::TurnEnded { .. }));
        need(!self.failed || is_last, "TurnEnded directly follows TurnFailed")?;
        let begins_work = matches!(
            action,
            Action::OpenStt | Action::CallTool { .. } | Action::StartReply { .. } | Action::Speak { .. }
        );
        need(!(self.cancelled && begins_work), "work begins after a cancel")?;
        match action {
            Action::OpenStt => {
                need(!self.stt && !self.audio_ended, "speech recognition is opened once")?;
                self.stt = true;
            }
            Action::EndAudio => {
                need(self.stt && !self.audio_ended, "the audio ends once, while it is listened to")?;
                self.audio_ended = true;
            }
            Action::CallTool { call } => {
                let told = matches!(&self.last, Some(Action::Emit(TurnEvent::ToolCalled { call: c, .. })) if c == call);
                need(told, "a tool call is told before")?;
                need(!self.skill && !self.stt, "one hop at a time decides")?;
                if let Some(Input::ModelToolCall { confidence, .. }) = &self.input_before {
                    need(*confidence >= timeline.settings.min_tool_confidence, "a doubtful call is not made")?;
                }
                self.skill = true;
                self.n_tool_calls += 1;
                need(self.n_tool_calls <= MAX_TOOL_CALLS, "tool calls are bounded")?;
            }
            Action::StartReply { capability, .. } => {
                need(!self.llm && !self.skill && !self.stt, "one hop at a time answers")?;
                need(timeline.settings.llm_tiers.contains(capability), "only a configured model is asked")?;
                let told = matches!(&self.last, Some(Action::Emit(TurnEvent::ReplyStarted { .. })));
                need(told, "a request is told before")?;
                self.llm = true;
            }
            Action::Speak { clause, text } => {
                need(*clause == self.clauses, "clauses count up from 0")?;
                need(!self.speech_complete && !self.tts_cancelled && !self.silenced, "no clause after the last")?;
                need(text.chars().any(char::is_alphanumeric), "a clause can be spoken")?;
                self.clauses += 1;
                self.chars += text.chars().count();
            }
            Action::SpeechComplete => {
                need(self.clauses > 0 && !self.speech_complete && !self.silenced, "speech completes once")?;
                self.speech_complete = true;
            }
            Action::Cancel { hop } => {
                if *hop == Hop::Skill
                    && self.input_before == Some(Input::Tick)
                    && let Some(asked_at) = self.asked_at
                {
                    let asked = self.asked_before + (self.now - asked_at);
                    let limit = timeline.settings.deadlines.consent;
                    need(asked >= limit, "no deadline of the tool or the turn ends a question")?;
                }
                let running = match hop {
                    Hop::Stt => std::mem::take(&mut self.stt),
                    Hop::Llm => std::mem::take(&mut self.llm),
                    Hop::Skill => std::mem::take(&mut self.skill),
                    Hop::Tts => self.clauses > 0 && !std::mem::replace(&mut self.tts_cancelled, true),
                    Hop::Input | Hop::Plan | Hop::Output | Hop::Hub => false,
                };
                need(running, "only what runs is cancelled")?;
            }
            Action::StopSpeaking => {
                need(self.clauses > 0 && !self.silenced, "only speech is stopped, once")?;
                self.silenced = true;
            }
            Action::Emit(event) => self.take_event(event, &need)?,
        }
        self.last = Some(action.clone());
        Ok(())
    }

    fn take_event(
        &mut self,
        event: &TurnEvent,
        need: &impl Fn(bool, &str) -> Result<(), String>,
    ) -> Result<(), String> {
        match event {
            TurnEvent::TurnStarted { .. } => self.started = true,
            TurnEvent::TurnFailed { .. } => self.failed = true,
            TurnEvent::TurnEnded { end, latency_ms, .. } => {
                need((*end == TurnEnd::Failed) == self.failed, "a failed turn says why, no other does")?;
                need((*end == TurnEnd::Cancelled) == self.cancelled, "a cancelled turn says so")?;
                need(latency_ms.is_none(), "the driver measures")?;
                self.ended = true;
            }
            TurnEvent::ReplyStarted { degraded, .. } => {
                let told = matches!(&self.last, Some(Action::Emit(TurnEvent::Degraded { .. })));
                need(*degraded == told, "a lower tier answers only after the one above failed")?;
            }
            TurnEvent::FirstSound => {
                need(!self.first_sound && self.clauses > 0, "the first sound comes once")?;
                self.first_sound = true;
            }
            TurnEvent::SpeakingFinished => {
                need(self.speech_complete && !self.finished && !self.silenced, "speech finishes once")?;
                self.finished = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn take_end(&self, last: Duration, settings: &TurnSettings) -> Result<(), String> {
        let need = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
        need(self.ended, "the turn never ends")?;
        need(!self.stt, "speech recognition is left running")?;
        need(!self.llm, "the model is left running")?;
        need(!self.skill, "the tool is left running")?;
        let is_silent = self.clauses == 0 || self.finished || self.silenced;
        need(is_silent, "speech is left playing")?;
        let is_synthesised = self.clauses_spoken == self.clauses || self.tts_cancelled;
        need(is_synthesised, "synthesis is left running")?;
        let deadlines = settings.deadlines;
        let chars = u32::try_from(self.chars).unwrap_or(u32::MAX);
        let playback = (deadlines.playback_gap + SPEECH_PER_CHAR * chars) * (self.clauses + 3);
        let limit = LISTEN_LIMIT + deadlines.turn + deadlines.consent + deadlines.tts_first + playback;
        need(last <= limit, "the turn ends within its deadlines")
    }
}

// Random scripts.

fn timer_intent() -> IntentIndex {
    IntentIndex::compile(&[IntentDecl {
        tool: "timer.start".to_owned(),
        say: vec!["set a timer for {duration_s:duration}".to_owned()],
    }])
    .unwrap()
}

/// Plays a random script: a driver that mostly behaves, with faults, late messages,
/// nonsense and random time; at the end only the clock goes on.
fn random_timeline(seed: u64, intents: &Arc<IntentIndex>) -> Timeline {
    let mut rng = StdRng::seed_from_u64(seed);
    let settings = random_settings(&mut rng);
    let start = if rng.random_bool(0.7) {
        let source = if rng.random() { TurnSource::PushToTalk } else { TurnSource::HandsFree };
        Start::Voice { source }
    } else {
        Start::Text { text: random_text(&mut rng) }
    };
    // A fixed point would need a clock; only differences are looked at.
    let origin = Instant::now();
    let (mut turn, actions) = Turn::new(start, Arc::new(settings.clone()), Arc::clone(intents), origin);
    let mut driver = RandomDriver::default();
    driver.perform(&actions);
    let mut steps = vec![Step { at: Duration::ZERO, input: None, actions }];
    let mut now = origin;
    let n_inputs = rng.random_range(0..60);
    let is_wild = rng.random_bool(0.3);
    for _ in 0..n_inputs {
        if rng.random_bool(0.8) {
            now += Duration::from_millis(rng.random_range(0..400));
        } else {
            now += Duration::from_millis(rng.random_range(0..20_000));
        }
        // The driver ticks when a deadline passes.
        let input = match turn.next_deadline() {
            Some(due) if due <= now => {
                now = due.max(origin + steps.last().map_or(Duration::ZERO, |s| s.at));
                Input::Tick
            }
            _ if is_wild => random_input(&mut rng),
            _ => driver.likely_input(&mut rng),
        };
        step(&mut turn, input, now, origin, &mut driver, &mut steps);
    }
    for _ in 0..1_000 {
        let Some(due) = turn.next_deadline() else { break };
        now = now.max(due);
        step(&mut turn, Input::Tick, now, origin, &mut driver, &mut steps);
    }
    let after_the_end = turn.handle(random_input(&mut rng), now);
    assert!(after_the_end.is_empty(), "seed {seed}: an ended turn does nothing");
    Timeline { settings, steps }
}

fn step(
    turn: &mut Turn,
    input: Input,
    now: Instant,
    origin: Instant,
    driver: &mut RandomDriver,
    steps: &mut Vec<Step>,
) {
    let was_ended = turn.is_ended();
    let actions = turn.handle(input.clone(), now);
    assert_eq!(turn.is_ended(), turn.next_deadline().is_none(), "a turn that goes on has a deadline");
    assert!(turn.next_deadline().is_none_or(|due| due > now), "what is overdue has been dealt with");
    driver.perform(&actions);
    if !was_ended {
        steps.push(Step { at: now - origin, input: Some(input), actions });
    }
}

fn random_settings(rng: &mut StdRng) -> TurnSettings {
    let mut any = |max: u64| Duration::from_millis(rng.random_range(0..=max));
    let deadlines = Deadlines {
        stt_final: any(6_000),
        llm_first: any(8_000),
        llm_total: any(30_000),
        skill: any(2_000),
        consent: any(40_000),
        tts_first: any(5_000),
        playback_gap: any(5_000),
        turn: any(45_000),
    };
    let all = ["llm.big", "llm.small", "llm.reflex"];
    let n_tiers = rng.random_range(0..=all.len());
    TurnSettings {
        deadlines: if rng.random_bool(0.7) { Deadlines::default() } else { deadlines },
        llm_tiers: all[..n_tiers].iter().map(|&t| t.to_owned()).collect(),
        ..TurnSettings::default()
    }
}

/// What was asked for and can be answered.
#[derive(Debug, Default)]
struct RandomDriver {
    stt: bool,
    audio_open: bool,
    llm: bool,
    skill: bool,
    asking: bool,
    clauses: u32,
    clauses_spoken: u32,
    complete: bool,
}

impl RandomDriver {
    fn perform(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::OpenStt => (self.stt, self.audio_open) = (true, true),
                Action::EndAudio => self.audio_open = false,
                Action::CallTool { .. } => (self.skill, self.asking) = (true, false),
                Action::StartReply { .. } => self.llm = true,
                Action::Speak { clause, .. } => self.clauses = clause + 1,
                Action::SpeechComplete => self.complete = true,
                Action::Cancel { hop: Hop::Stt } => (self.stt, self.audio_open) = (false, false),
                Action::Cancel { hop: Hop::Llm } => self.llm = false,
                Action::Cancel { hop: Hop::Skill } => self.skill = false,
                Action::Cancel { hop: Hop::Tts } => self.clauses_spoken = self.clauses,
                Action::Cancel { .. } | Action::StopSpeaking | Action::Emit(_) => {}
            }
        }
    }

    fn likely_input(&mut self, rng: &mut StdRng) -> Input {
        if rng.random_bool(0.04) {
            return random_input(rng);
        }
        let mut inputs = vec![Input::Tick];
        if self.audio_open {
            inputs.push(Input::SpeechStarted);
            inputs.push(Input::SpeechEnded { audio_ms: 1_200 });
            inputs.push(Input::TranscriptPartial { text: "set a".to_owned() });
        } else if self.stt {
            inputs.push(random_transcript(rng));
        }
        if self.llm {
            inputs.push(Input::ReplyDelta { text: random_text(rng) });
            inputs.push(Input::ReplyDone);
            inputs.push(random_call(rng));
        }
        if self.skill && self.asking {
            inputs.push(Input::ConsentOver);
        } else if self.skill {
            inputs.push(random_return(rng));
            inputs.push(Input::ConsentPending);
        }
        if self.clauses_spoken < self.clauses {
            inputs.push(Input::ClauseSpoken { clause: self.clauses_spoken });
            inputs.push(Input::FirstSound);
        } else if self.complete {
            inputs.push(Input::PlaybackFinished);
        }
        let input = inputs.choose(rng).cloned().unwrap_or(Input::Tick);
        match &input {
            Input::TranscriptFinal { .. } => self.stt = false,
            Input::ReplyDone => self.llm = false,
            Input::ToolReturned { .. } | Input::ToolDenied { .. } => (self.skill, self.asking) = (false, false),
            Input::ConsentPending => self.asking = true,
            Input::ConsentOver => self.asking = false,
            Input::ClauseSpoken { .. } => self.clauses_spoken += 1,
            _ => {}
        }
        input
    }
}

fn random_input(rng: &mut StdRng) -> Input {
    match rng.random_range(0..18) {
        0 => Input::SpeechStarted,
        1 => Input::SpeechEnded { audio_ms: rng.random_range(0..3) * 700 },
        2 => Input::TranscriptPartial { text: random_text(rng) },
        3 => random_transcript(rng),
        4 => Input::ReplyDelta { text: random_text(rng) },
        5 => random_call(rng),
        6 => Input::ReplyDone,
        7 => random_return(rng),
        8 => Input::ToolDenied { failure: random_failure(rng, Hop::Skill) },
        9 => Input::ClauseSpoken { clause: rng.random_range(0..4) },
        10 => Input::FirstSound,
        11 => Input::PlaybackFinished,
        12 | 13 => {
            let hop = *Hop::ALL.choose(rng).unwrap_or(&Hop::Hub);
            Input::Failed { failure: random_failure(rng, hop) }
        }
        16 => Input::ConsentPending,
        17 => Input::ConsentOver,
        14 => [Input::Cancel, Input::BargeIn].choose(rng).cloned().unwrap_or(Input::Cancel),
        _ => Input::Tick,
    }
}

fn random_failure(rng: &mut StdRng, hop: Hop) -> Failure {
    let code = *ErrorCode::ALL.choose(rng).unwrap_or(&ErrorCode::EngineLost);
    Failure::new(hop, code, "planted")
}

fn random_transcript(rng: &mut StdRng) -> Input {
    let confidence = *[0.0, 0.2, 0.5, 0.99, f32::NAN].choose(rng).unwrap_or(&1.0);
    // NaN is not equal to itself, which a replay test could not bear.
    let confidence = if confidence.is_nan() { -1.0 } else { confidence };
    Input::TranscriptFinal { text: random_text(rng), confidence }
}

fn random_call(rng: &mut StdRng) -> Input {
    let call = ToolCall { name: "timer.list".to_owned(), arguments: serde_json::Map::new() };
    Input::ModelToolCall { call, confidence: if rng.random() { 0.95 } else { 0.3 } }
}

fn random_return(rng: &mut StdRng) -> Input {
    let say = if rng.random() { random_text(rng) } else { String::new() };
    Input::ToolReturned { outcome: ToolOutcome { say, data: serde_json::Value::Null } }
}

fn random_text(rng: &mut StdRng) -> String {
    let texts = [
        "Set a timer for five minutes.",
        "what is the meaning of life",
        " the answer, as far as I know, is forty-two. But",
        "",
        "🙂",
        "\u{0}\u{1b}",
        "Timer set. It rings at noon, when the pasta is done.",
        " word",
    ];
    (*texts.choose(rng).unwrap_or(&"")).to_owned()
}
