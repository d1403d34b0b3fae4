//! What the key means: a pure state machine that is told what happens, with the time, and
//! says what is to be done. Deliberately absent: clocks, sound, the hub.
//!
//! Held for [`TAP`] or longer and let go, the utterance ends at that moment. Let go sooner
//! it was a tap: the utterance ends with the voice, or is dropped when nobody speaks. A
//! second press cancels, and over an answer it interrupts and listens anew. One turn at a
//! time: another one begins when the one that was stopped is over.

use crate::event::{DeviceFault, TalkFault};
use loqa_protocol::audio::MAX_UTTERANCE_SECONDS;
use loqa_protocol::talk::TalkPhase;
use std::time::{Duration, Instant};

/// Shorter than this the key was tapped. Chosen: a deliberate hold takes longer, a tap about 100 ms.
pub const TAP: Duration = Duration::from_millis(300);
/// Sound from before the key that belongs to the utterance: people begin to speak before it is down.
pub const PRE_ROLL: Duration = Duration::from_millis(300);
/// After a tap, this long without a voice drops the utterance. Chosen.
pub const NOBODY_SPEAKS: Duration = Duration::from_secs(8);
/// A press this soon after another one, with no release between, is the keyboard's
/// repetition. Chosen: X11 repeats after 660 ms at first.
pub const REPETITION: Duration = Duration::from_secs(1);
/// Longest utterance: what an engine takes, less the pre-roll and a frame.
pub const LONGEST: Duration = Duration::from_millis(MAX_UTTERANCE_SECONDS as u64 * 1_000 - 400);

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// One can talk, or cannot any more.
    Online(bool),
    /// The microphone works, or does not.
    Microphone(Option<DeviceFault>),
    /// The key goes down.
    Press {
        /// When the speaker was heard last; its sound is not taken for speech.
        heard_until: Option<Instant>,
    },
    /// The key goes up.
    Release,
    /// Whatever goes on is to end.
    Cancel,
    /// The person closes the microphone, or opens it.
    Mute(bool),
    /// Something was typed.
    Text {
        /// What.
        text: String,
        /// Whether the answer is spoken.
        speak: bool,
    },
    /// What the voice detector hears in the open utterance.
    Voice(Voice),
    /// The answer of this turn is heard.
    Sounding(u64),
    /// This turn has ended.
    Over(u64),
    /// A deadline has come.
    Tick,
}

/// What the voice detector hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// Somebody begins to speak.
    Began,
    /// It was a door.
    WasNone,
    /// Whoever spoke is silent.
    Ended {
        /// Since when.
        at: Instant,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A spoken turn begins.
    Begin {
        /// Its number.
        turn: u64,
        /// Sound counts from here on, which lies before the press.
        from: Instant,
        /// The utterance is over already, and ends here.
        until: Option<Instant>,
    },
    /// A typed turn begins.
    BeginText {
        /// Its number.
        turn: u64,
        /// What was typed.
        text: String,
        /// Whether the answer is spoken.
        speak: bool,
    },
    /// The utterance of the turn ends.
    End {
        /// Which turn.
        turn: u64,
        /// When all was said.
        at: Instant,
    },
    /// The turn is to stop, and its utterance is dropped if it is open.
    Stop {
        /// Which turn.
        turn: u64,
        /// Whether that is because somebody speaks over its answer.
        is_interruption: bool,
    },
    /// The utterance is dropped: its turn is over.
    Drop {
        /// Which turn.
        turn: u64,
    },
    /// Nothing begins.
    Refuse(TalkFault),
}

/// The state of the key.
#[derive(Debug)]
pub struct Key {
    is_online: bool,
    is_muted: bool,
    microphone: Option<DeviceFault>,
    /// The last press, until the release.
    down: Option<Instant>,
    doing: Doing,
    turns: u64,
}

#[derive(Debug)]
enum Doing {
    Nothing,
    Listening { turn: u64, listening: Listening },
    Answering { turn: u64, is_heard: bool },
    Stopping { turn: u64, next: Option<Next> },
}

/// What begins when the turn that stops is over.
#[derive(Debug)]
enum Next {
    Voice { listening: Listening, until: Option<Instant> },
    Text { text: String, speak: bool },
}

#[derive(Debug, Clone, Copy)]
struct Listening {
    pressed: Instant,
    from: Instant,
    /// Until when somebody has to speak, after a tap; `None` while the key is held.
    tapped: Option<Instant>,
    has_voice: bool,
}

impl Default for Key {
    fn default() -> Self {
        Self { is_online: false, is_muted: false, microphone: None, down: None, doing: Doing::Nothing, turns: 0 }
    }
}

impl Key {
    /// The one word for what goes on.
    #[must_use]
    pub const fn phase(&self) -> TalkPhase {
        if !self.is_online {
            return TalkPhase::Offline;
        }
        match &self.doing {
            Doing::Listening { .. } | Doing::Stopping { next: Some(Next::Voice { until: None, .. }), .. } => {
                TalkPhase::Listening
            }
            Doing::Answering { is_heard: true, .. } => TalkPhase::Speaking,
            Doing::Answering { .. } | Doing::Stopping { next: Some(_), .. } => TalkPhase::Thinking,
            Doing::Nothing | Doing::Stopping { next: None, .. } if self.is_muted => TalkPhase::Muted,
            Doing::Nothing | Doing::Stopping { next: None, .. } => TalkPhase::Idle,
        }
    }

    /// Whether the person has closed the microphone.
    #[must_use]
    pub const fn is_muted(&self) -> bool {
        self.is_muted
    }

    /// Sound from here on will be wanted, although its turn has not begun.
    #[must_use]
    pub const fn wants_sound_from(&self) -> Option<Instant> {
        match &self.doing {
            Doing::Stopping { next: Some(Next::Voice { listening, .. }), .. } => Some(listening.from),
            _ => None,
        }
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.doing {
            Doing::Listening { listening, .. }
            | Doing::Stopping { next: Some(Next::Voice { listening, until: None }), .. } => {
                let longest = listening.pressed + LONGEST;
                let nobody = listening.tapped.filter(|_| !listening.has_voice);
                Some(nobody.map_or(longest, |nobody| nobody.min(longest)))
            }
            _ => None,
        }
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Action> {
        match input {
            Input::Online(is_online) => self.online(is_online),
            Input::Microphone(fault) => self.microphone(fault),
            Input::Press { heard_until } => self.press(heard_until, now),
            Input::Release => self.release(now),
            Input::Cancel => self.stop(false, None),
            Input::Mute(is_muted) => {
                self.is_muted = is_muted;
                if is_muted { self.drop_utterance(None) } else { Vec::new() }
            }
            Input::Text { text, speak } => self.text(text, speak),
            Input::Voice(voice) => self.voice(voice, now),
            Input::Sounding(sounding) => {
                if let Doing::Answering { turn, is_heard } = &mut self.doing
                    && *turn == sounding
                {
                    *is_heard = true;
                }
                Vec::new()
            }
            Input::Over(over) => self.over(over),
            Input::Tick => self.tick(now),
        }
    }

    fn online(&mut self, is_online: bool) -> Vec<Action> {
        self.is_online = is_online;
        if is_online { Vec::new() } else { self.stop(false, None) }
    }

    /// What was said into a microphone that broke is not the whole sentence: it is dropped.
    fn microphone(&mut self, fault: Option<DeviceFault>) -> Vec<Action> {
        self.microphone = fault;
        fault.map_or_else(Vec::new, |fault| self.drop_utterance(Some(fault.of_microphone())))
    }

    fn press(&mut self, heard_until: Option<Instant>, now: Instant) -> Vec<Action> {
        let before = self.down.replace(now);
        if before.is_some_and(|before| now.saturating_duration_since(before) < REPETITION) {
            return Vec::new();
        }
        match &self.doing {
            // A release was lost; the next one ends the utterance.
            Doing::Listening { listening: Listening { tapped: None, .. }, .. } => Vec::new(),
            Doing::Nothing | Doing::Stopping { next: None, .. } => {
                let floor = now.checked_sub(PRE_ROLL).unwrap_or(now);
                self.listen(heard_until.map_or(floor, |until| until.clamp(floor, now)), now)
            }
            // Nothing from before the press: it is the answer that was heard then.
            Doing::Answering { is_heard: true, .. } => {
                let mut actions = self.stop(true, None);
                actions.extend(self.listen(now, now));
                actions
            }
            Doing::Listening { .. } | Doing::Answering { .. } | Doing::Stopping { .. } => self.stop(false, None),
        }
    }

    fn listen(&mut self, from: Instant, now: Instant) -> Vec<Action> {
        let fault = if !self.is_online {
            Some(TalkFault::Offline)
        } else if self.is_muted {
            Some(TalkFault::Muted)
        } else {
            self.microphone.map(DeviceFault::of_microphone)
        };
        if let Some(fault) = fault {
            return vec![Action::Refuse(fault)];
        }
        let listening = Listening { pressed: now, from, tapped: None, has_voice: false };
        self.begin(Next::Voice { listening, until: None })
    }

    fn release(&mut self, now: Instant) -> Vec<Action> {
        self.down = None;
        match &mut self.doing {
            Doing::Listening { turn, listening } => {
                let turn = *turn;
                if listening.let_go(now) { self.end(turn, now) } else { Vec::new() }
            }
            Doing::Stopping { next: Some(Next::Voice { listening, until }), .. } => {
                if until.is_none() && listening.let_go(now) {
                    *until = Some(now);
                }
                Vec::new()
            }
            Doing::Nothing | Doing::Answering { .. } | Doing::Stopping { .. } => Vec::new(),
        }
    }

    fn text(&mut self, text: String, speak: bool) -> Vec<Action> {
        match &self.doing {
            _ if !self.is_online => vec![Action::Refuse(TalkFault::Offline)],
            Doing::Nothing | Doing::Stopping { next: None, .. } => self.begin(Next::Text { text, speak }),
            Doing::Answering { is_heard: true, .. } => {
                let mut actions = self.stop(true, None);
                actions.extend(self.begin(Next::Text { text, speak }));
                actions
            }
            Doing::Listening { .. } | Doing::Answering { .. } | Doing::Stopping { .. } => {
                vec![Action::Refuse(TalkFault::Conflict)]
            }
        }
    }

    fn voice(&mut self, voice: Voice, now: Instant) -> Vec<Action> {
        let Doing::Listening { turn, listening } = &mut self.doing else { return Vec::new() };
        match voice {
            Voice::Began => listening.has_voice = true,
            Voice::WasNone => {
                listening.has_voice = false;
                if let Some(nobody) = &mut listening.tapped {
                    *nobody = now + NOBODY_SPEAKS;
                }
            }
            Voice::Ended { at } if listening.tapped.is_some() => {
                let turn = *turn;
                return self.end(turn, at);
            }
            // The key is held: a pause is no end. What follows it is heard as a new beginning.
            Voice::Ended { .. } => listening.has_voice = false,
        }
        Vec::new()
    }

    fn tick(&mut self, now: Instant) -> Vec<Action> {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        match &mut self.doing {
            Doing::Listening { turn, listening } if now >= listening.pressed + LONGEST => {
                let turn = *turn;
                self.end(turn, now)
            }
            Doing::Stopping { next: Some(Next::Voice { until, .. }), .. } => {
                *until = Some(now);
                Vec::new()
            }
            _ => self.drop_utterance(Some(TalkFault::NoSpeech)),
        }
    }

    /// A turn that is over makes room for what waits.
    fn over(&mut self, over: u64) -> Vec<Action> {
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Listening { turn, .. } if turn == over => vec![Action::Drop { turn }],
            Doing::Answering { turn, .. } if turn == over => Vec::new(),
            Doing::Stopping { turn, next } if turn == over => next.map_or_else(Vec::new, |next| self.begin(next)),
            other => {
                self.doing = other;
                Vec::new()
            }
        }
    }

    /// Begins a turn, at once or when the one that stops is over.
    fn begin(&mut self, what: Next) -> Vec<Action> {
        if let Doing::Stopping { next, .. } = &mut self.doing {
            *next = Some(what);
            return Vec::new();
        }
        self.turns += 1;
        let turn = self.turns;
        match what {
            Next::Voice { listening, until } => {
                self.doing = match until {
                    Some(_) => Doing::Answering { turn, is_heard: false },
                    None => Doing::Listening { turn, listening },
                };
                vec![Action::Begin { turn, from: listening.from, until }]
            }
            Next::Text { text, speak } => {
                self.doing = Doing::Answering { turn, is_heard: false };
                vec![Action::BeginText { turn, text, speak }]
            }
        }
    }

    fn end(&mut self, turn: u64, at: Instant) -> Vec<Action> {
        self.doing = Doing::Answering { turn, is_heard: false };
        vec![Action::End { turn, at }]
    }

    /// Stops the turn that runs and forgets the one that waits.
    fn stop(&mut self, is_interruption: bool, refusal: Option<TalkFault>) -> Vec<Action> {
        let mut actions = Vec::new();
        match &mut self.doing {
            Doing::Nothing => return actions,
            Doing::Stopping { next, .. } => *next = None,
            Doing::Listening { turn, .. } | Doing::Answering { turn, .. } => {
                let turn = *turn;
                actions.push(Action::Stop { turn, is_interruption });
                self.doing = Doing::Stopping { turn, next: None };
            }
        }
        actions.extend(refusal.map(Action::Refuse));
        actions
    }

    /// Ends listening, whatever else goes on.
    fn drop_utterance(&mut self, refusal: Option<TalkFault>) -> Vec<Action> {
        match &self.doing {
            Doing::Listening { .. } | Doing::Stopping { next: Some(Next::Voice { .. }), .. } => {
                self.stop(false, refusal)
            }
            _ => Vec::new(),
        }
    }
}

impl Listening {
    /// Takes note of the key that goes up, and says whether that ends the utterance: after a
    /// tap it goes on.
    fn let_go(&mut self, now: Instant) -> bool {
        if self.tapped.is_some() {
            return false;
        }
        let is_tap = now.saturating_duration_since(self.pressed) < TAP;
        self.tapped = is_tap.then(|| now + NOBODY_SPEAKS);
        !is_tap
    }
}

#[cfg(test)]
mod tests;
