//! One turn as a state machine with deadlines per hop.
//!
//! The driver feeds [`Turn::handle`] with what happened and performs the
//! [`Action`]s it returns, in their order; it sleeps until [`Turn::next_deadline`]
//! and then sends [`Input::Tick`]. The machine never waits, never reads a clock and
//! knows neither the bus nor the sound device.
//!
//! What the driver promises in return:
//!
//! - After [`Action::Cancel`] of a hop, nothing of the work that was cancelled is fed in.
//! - [`Input::PlaybackFinished`] is sent once, after [`Action::SpeechComplete`], when
//!   everything that was handed to the output has been played; clauses that were
//!   cancelled or failed are not waited for.
//! - A turn without sound gets `ClauseSpoken`, `FirstSound` and `PlaybackFinished` at once.
//!
//! - Between [`Input::ConsentPending`] and [`Input::ConsentOver`] the person is asked, and
//!   the tool waits.
//!
//! What the machine promises: `TurnStarted` is the first event; `TurnEnded` is the last
//! action and comes exactly once, whatever the inputs; `TurnFailed` comes at most once
//! and directly before it; whatever was started is completed, failed or cancelled.

use crate::clause::ClauseCutter;
use crate::intent::IntentIndex;
use loqa_protocol::audio::MAX_UTTERANCE_SECONDS;
use loqa_protocol::event::{PlannedBy, TurnEnd, TurnSource};
use loqa_protocol::{ErrorCode, Failure, Hop, ToolCall, ToolOutcome, TurnClass, TurnEvent};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(test)]
mod invariants;
#[cfg(test)]
mod tests;

/// How a turn is run: who may answer and how long each hop may take.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnSettings {
    /// How long each hop may take.
    pub deadlines: Deadlines,
    /// Capabilities of the language models, best first; may be empty.
    pub llm_tiers: Vec<String>,
    /// Below this a transcript that fits no declared utterance is not acted upon.
    pub min_confidence: f32,
    /// Below this a model's tool call is not acted upon.
    pub min_tool_confidence: f32,
}

impl Default for TurnSettings {
    /// No language model; both confidences chosen, to be replaced by measured ones.
    fn default() -> Self {
        Self {
            deadlines: Deadlines::default(),
            llm_tiers: Vec::new(),
            min_confidence: 0.4,
            // The starter model is right in 88.7 % of the calls above 0.7 (its README).
            min_tool_confidence: 0.7,
        }
    }
}

/// How long each hop may take. A hop that takes longer is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From the end of speech to the final transcript.
    pub stt_final: Duration,
    /// From the request to the first text or tool call of a language model.
    pub llm_first: Duration,
    /// From the request to the end of a language model's reply.
    pub llm_total: Duration,
    /// One tool call; it stands still while the person is asked.
    pub skill: Duration,
    /// All questions of a turn together, from when each is shown to when it is over.
    pub consent: Duration,
    /// From the first clause to the first sound.
    pub tts_first: Duration,
    /// How long playback may be silent beyond the time that the text needs to be spoken.
    pub playback_gap: Duration,
    /// From the end of speech (or the typed text) until the whole answer is known.
    /// Playback comes on top of it.
    pub turn: Duration,
}

impl Default for Deadlines {
    /// Chosen for a slow two-core machine: several times what a healthy hop takes there.
    fn default() -> Self {
        Self {
            stt_final: Duration::from_secs(6),
            llm_first: Duration::from_secs(8),
            llm_total: Duration::from_secs(30),
            skill: Duration::from_secs(2),
            consent: Duration::from_secs(90),
            tts_first: Duration::from_secs(5),
            playback_gap: Duration::from_secs(5),
            turn: Duration::from_secs(45),
        }
    }
}

/// What begins a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The user speaks; frames go to the STT engine from [`Action::OpenStt`] on.
    Voice {
        /// How the end of speech becomes known.
        source: TurnSource,
    },
    /// The user typed.
    Text {
        /// The text.
        text: String,
    },
}

/// Everything that can happen to a turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The first voiced frame.
    SpeechStarted,
    /// No more audio comes.
    SpeechEnded {
        /// Length of the audio.
        audio_ms: u64,
    },
    /// What was heard so far.
    TranscriptPartial {
        /// Text so far.
        text: String,
    },
    /// What was heard.
    TranscriptFinal {
        /// The text; empty when nothing was said.
        text: String,
        /// 0 to 1.
        confidence: f32,
    },
    /// More of the model's text.
    ReplyDelta {
        /// The piece.
        text: String,
    },
    /// The model wants to call a tool.
    ModelToolCall {
        /// The call.
        call: ToolCall,
        /// 0 to 1.
        confidence: f32,
    },
    /// The model's reply is complete.
    ReplyDone,
    /// The tool answered.
    ToolReturned {
        /// With what.
        outcome: ToolOutcome,
    },
    /// The tool failed or was refused.
    ToolDenied {
        /// Why.
        failure: Failure,
    },
    /// The person is being asked whether the tool may do what it wants to.
    ConsentPending,
    /// The question is over, answered or not; the tool goes on or is refused.
    ConsentOver,
    /// All audio of the clause was handed to the output.
    ClauseSpoken {
        /// Which, as in [`Action::Speak`].
        clause: u32,
    },
    /// The first sample of the answer reached the output.
    FirstSound,
    /// Everything that was handed to the output has been played.
    PlaybackFinished,
    /// A hop failed; [`Failure::hop`] says which.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// The user stops the turn.
    Cancel,
    /// The user speaks over the answer.
    BargeIn,
    /// Time has passed.
    Tick,
}

/// What the driver has to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Open the STT work and send it the audio.
    OpenStt,
    /// Tell the STT engine that the audio ended.
    EndAudio,
    /// Call the tool.
    CallTool {
        /// The call.
        call: ToolCall,
    },
    /// Ask a language model.
    StartReply {
        /// Capability of the engine.
        capability: String,
        /// What the user said.
        prompt_text: String,
        /// True when an earlier tier failed.
        degraded: bool,
        /// What a tool returned that the model has to put into words.
        tool_result: Option<(ToolCall, ToolOutcome)>,
    },
    /// Make speech of one clause and play it after the clauses before it.
    Speak {
        /// Counts up from 0.
        clause: u32,
        /// Text of the clause.
        text: String,
    },
    /// No more clauses come.
    SpeechComplete,
    /// Stop the running work of this hop.
    Cancel {
        /// Which: `Stt`, `Llm`, `Skill` or `Tts`.
        hop: Hop,
    },
    /// Fall silent at once and drop what is queued.
    StopSpeaking,
    /// Record and publish the event.
    Emit(TurnEvent),
}

/// Longest typed text, in bytes. Chosen: far above any request to an assistant, far
/// below what a prompt can hold.
pub const MAX_TEXT_BYTES: usize = 8_000;

/// Most tool calls in one turn. Chosen, bounds a model that keeps calling.
pub const MAX_TOOL_CALLS: u32 = 3;

/// Longest wait for the end of speech: the longest utterance and some slack, so that
/// a lost end marker does not keep the turn open.
const LISTEN_LIMIT: Duration = Duration::from_secs(MAX_UTTERANCE_SECONDS as u64 + 5);

/// Slowest speech that playback allows for. Chosen: people and Kokoro need about 65 ms
/// per character at normal speed, and half speed can be set.
const SPEECH_PER_CHAR: Duration = Duration::from_millis(150);

/// What is said when the person is asked. Kept ready, like the sentences about failures.
const ASK_SENTENCE: &str = "I need your permission for that. Please confirm it on the screen.";

/// Capability of the bundled model, whose figures have a class of their own.
const REFLEX_CAPABILITY: &str = "llm.reflex";

/// One turn, from its start to its end.
#[derive(Debug)]
pub struct Turn {
    settings: Arc<TurnSettings>,
    intents: Arc<IntentIndex>,
    phase: Phase,
    class: TurnClass,
    prompt_text: String,
    /// Index of the language model that answers.
    tier: usize,
    tool_calls: u32,
    speech: Speech,
    /// What the turn will fail with once the user has been told.
    failing: Option<Failure>,
    /// Set from the end of speech until the whole answer is known.
    answer_due: Option<Instant>,
    /// Since when the person is being asked. Meanwhile tool and turn are not timed.
    asked_at: Option<Instant>,
    /// What is left of the time for questions.
    consent_left: Duration,
    actions: Vec<Action>,
}

/// What the turn waits for. Speech has its own state, as it runs beside the reply.
#[derive(Debug)]
enum Phase {
    /// The user speaks.
    Listening { started: bool, due: Instant },
    /// The audio ended, the transcript is not there yet.
    Transcribing { due: Instant },
    /// A language model answers.
    Replying(Reply),
    /// A tool runs.
    CallingTool { call: ToolCall, reply_open: bool, due: Instant },
    /// Nothing but speech is outstanding; also the moment between two hops.
    Answered,
    /// `TurnEnded` was emitted.
    Ended,
}

#[derive(Debug)]
struct Reply {
    cutter: ClauseCutter,
    /// Until the first text or tool call.
    first_due: Option<Instant>,
    total_due: Instant,
    /// Text came that is worth an answer.
    has_text: bool,
    /// A clause of this reply went to speech.
    spoke: bool,
    tool_result: Option<(ToolCall, ToolOutcome)>,
}

#[derive(Debug, Default)]
struct Speech {
    /// Clauses that went to speech.
    clauses: u32,
    /// Clauses whose audio the output has.
    spoken: u32,
    /// Characters of all clauses.
    chars: usize,
    /// Until the first sound.
    first_due: Option<Instant>,
    heard: bool,
    complete: bool,
    finished: bool,
    /// Until playback has finished.
    finish_due: Option<Instant>,
    /// Why the rest of the answer is text only.
    lost: Option<Failure>,
    /// Nothing is being played any more.
    is_silenced: bool,
}

impl Turn {
    /// Begins a turn; the actions are its first.
    #[must_use]
    pub fn new(
        start: Start,
        settings: Arc<TurnSettings>,
        intents: Arc<IntentIndex>,
        now: Instant,
    ) -> (Self, Vec<Action>) {
        let mut turn = Self {
            settings,
            intents,
            phase: Phase::Answered,
            class: TurnClass::None,
            prompt_text: String::new(),
            tier: 0,
            tool_calls: 0,
            speech: Speech::default(),
            failing: None,
            answer_due: None,
            asked_at: None,
            consent_left: Duration::ZERO,
            actions: Vec::new(),
        };
        turn.consent_left = turn.settings.deadlines.consent;
        match start {
            Start::Voice { source } => {
                turn.emit(TurnEvent::TurnStarted { source });
                turn.actions.push(Action::OpenStt);
                turn.phase = Phase::Listening { started: false, due: now + LISTEN_LIMIT };
            }
            Start::Text { text } => {
                turn.emit(TurnEvent::TurnStarted { source: TurnSource::Text });
                turn.answer_due = Some(now + turn.settings.deadlines.turn);
                turn.take_typed_text(&text, now);
            }
        }
        let actions = std::mem::take(&mut turn.actions);
        (turn, actions)
    }

    /// Takes what happened and says what to do. After the end there is nothing to do.
    #[must_use]
    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Action> {
        if !self.is_ended() {
            self.take(input, now);
            // An answer that came late, but before the tick, still counts.
            self.expire(now);
        }
        std::mem::take(&mut self.actions)
    }

    /// The next moment at which [`Input::Tick`] has an effect; `None` after the end.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Listening { due, .. } | Phase::Transcribing { due } | Phase::CallingTool { due, .. } => Some(*due),
            Phase::Replying(reply) => Some(reply.due()),
            Phase::Answered => None,
            Phase::Ended => return None,
        };
        if let Some(asked_at) = self.asked_at {
            let consent = Some(asked_at + self.consent_left);
            return [consent, self.speech.first_due].into_iter().flatten().min();
        }
        [phase, self.answer_due, self.speech.first_due, self.speech.finish_due].into_iter().flatten().min()
    }

    /// Whether `TurnEnded` was emitted.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    fn take(&mut self, input: Input, now: Instant) {
        match input {
            Input::SpeechStarted => {
                if let Phase::Listening { started, .. } = &mut self.phase
                    && !*started
                {
                    *started = true;
                    self.emit(TurnEvent::SpeechStarted);
                }
            }
            Input::SpeechEnded { audio_ms } => self.speech_ended(audio_ms, now),
            Input::TranscriptPartial { text } => {
                if matches!(self.phase, Phase::Listening { .. } | Phase::Transcribing { .. }) {
                    self.emit(TurnEvent::TranscriptPartial { text });
                }
            }
            Input::TranscriptFinal { text, confidence } => self.transcribed(text, confidence, now),
            Input::ReplyDelta { text } => self.reply_continued(text, now),
            Input::ModelToolCall { call, confidence } => self.model_called(call, confidence, now),
            Input::ReplyDone => self.reply_done(now),
            Input::ToolReturned { outcome } => self.tool_returned(outcome, now),
            Input::ToolDenied { failure } => self.tool_denied(failure, now),
            Input::ConsentPending => self.consent_pending(now),
            Input::ConsentOver => self.consent_over(now),
            Input::ClauseSpoken { clause } => {
                if clause < self.speech.clauses {
                    self.speech.spoken = self.speech.spoken.max(clause + 1);
                    self.playback_moved(now);
                }
            }
            Input::FirstSound => {
                if self.speech.clauses > 0 && !self.speech.heard && self.speech.lost.is_none() {
                    self.speech.heard = true;
                    self.speech.first_due = None;
                    self.emit(TurnEvent::FirstSound);
                    self.playback_moved(now);
                }
            }
            Input::PlaybackFinished => {
                if self.speech.complete {
                    self.speech.finished = true;
                    self.playback_moved(now);
                }
            }
            Input::Failed { failure } => self.hop_failed(failure, now),
            Input::Cancel | Input::BargeIn => self.cancelled(),
            Input::Tick => {}
        }
    }

    // Listening and understanding.

    fn take_typed_text(&mut self, text: &str, now: Instant) {
        if text.len() > MAX_TEXT_BYTES {
            let message = format!("the text has {} bytes, at most {MAX_TEXT_BYTES} are taken", text.len());
            self.fail_aloud(Failure::new(Hop::Input, ErrorCode::TextTooLong, message), now);
            return;
        }
        let text = without_control_characters(text);
        if text.is_empty() {
            self.fail_quietly(Failure::new(Hop::Input, ErrorCode::NoSpeech, "the text is empty"));
            return;
        }
        self.emit(TurnEvent::TranscriptFinal { text: text.clone(), confidence: 1.0 });
        self.plan(text, 1.0, now);
    }

    fn speech_ended(&mut self, audio_ms: u64, now: Instant) {
        if !matches!(self.phase, Phase::Listening { .. }) {
            return;
        }
        self.emit(TurnEvent::SpeechEnded { audio_ms });
        self.answer_due = Some(now + self.settings.deadlines.turn);
        if audio_ms == 0 {
            self.fail_quietly(Failure::new(Hop::Input, ErrorCode::NoSpeech, "no audio was recorded"));
            return;
        }
        self.actions.push(Action::EndAudio);
        self.phase = Phase::Transcribing { due: now + self.settings.deadlines.stt_final };
    }

    fn transcribed(&mut self, text: String, confidence: f32, now: Instant) {
        match self.phase {
            Phase::Transcribing { .. } => {}
            Phase::Listening { .. } => {
                // Acting on half an utterance could do the opposite of what is being said.
                let message = "the engine sent a final transcript before the audio ended";
                self.hop_failed(Failure::new(Hop::Stt, ErrorCode::EngineFault, message), now);
                return;
            }
            Phase::Replying(_) | Phase::CallingTool { .. } | Phase::Answered | Phase::Ended => {
                return;
            }
        }
        self.phase = Phase::Answered;
        let text = without_control_characters(&text);
        // NaN is no confidence at all.
        let confidence = if confidence.is_nan() { 0.0 } else { confidence.clamp(0.0, 1.0) };
        self.emit(TurnEvent::TranscriptFinal { text: text.clone(), confidence });
        if text.is_empty() {
            self.fail_quietly(Failure::new(Hop::Stt, ErrorCode::NoSpeech, "nothing was said"));
            return;
        }
        self.plan(text, confidence, now);
    }

    fn plan(&mut self, text: String, confidence: f32, now: Instant) {
        let found = self.intents.find(&text);
        self.prompt_text = text;
        if let Some(found) = found {
            self.class = TurnClass::Intent;
            self.emit(TurnEvent::IntentMatched {
                call: found.call.clone(),
                template: found.template.clone(),
                leftover: found.leftover.clone(),
            });
            let planned_by = PlannedBy::Intent { template: found.template, leftover: found.leftover };
            self.call_tool(found.call, planned_by, false, now);
        } else if confidence < self.settings.min_confidence {
            let message =
                format!("the transcript's confidence is {confidence:.2}, below {:.2}", self.settings.min_confidence);
            self.fail_aloud(Failure::new(Hop::Stt, ErrorCode::NotUnderstood, message), now);
        } else if self.settings.llm_tiers.is_empty() {
            let message = "no declared utterance fits and no language model is installed";
            self.fail_aloud(Failure::new(Hop::Plan, ErrorCode::NotUnderstood, message), now);
        } else {
            self.start_reply(false, None, now);
        }
    }

    // The language model.

    fn start_reply(&mut self, degraded: bool, tool_result: Option<(ToolCall, ToolOutcome)>, now: Instant) {
        let capability = self.settings.llm_tiers[self.tier].clone();
        let deadlines = self.settings.deadlines;
        self.phase = Phase::Replying(Reply {
            cutter: ClauseCutter::default(),
            first_due: Some(now + deadlines.llm_first),
            total_due: now + deadlines.llm_total,
            has_text: false,
            spoke: false,
            tool_result: tool_result.clone(),
        });
        self.emit(TurnEvent::ReplyStarted { capability: capability.clone(), degraded });
        self.actions.push(Action::StartReply {
            capability,
            prompt_text: self.prompt_text.clone(),
            degraded,
            tool_result,
        });
    }

    fn reply_continued(&mut self, text: String, now: Instant) {
        let Phase::Replying(reply) = &mut self.phase else {
            return;
        };
        reply.first_due = None;
        reply.has_text |= text.chars().any(|c| !c.is_whitespace());
        let clauses = reply.cutter.push(&text);
        reply.spoke |= !clauses.is_empty();
        self.emit(TurnEvent::ReplyDelta { text });
        if !clauses.is_empty() {
            self.class = self.class_of_tier();
        }
        for clause in clauses {
            self.speak(clause, now);
        }
    }

    fn model_called(&mut self, call: ToolCall, confidence: f32, now: Instant) {
        let Phase::Replying(reply) = &mut self.phase else {
            return;
        };
        // Words before the call ("Let me see.") are part of the answer.
        let rest = reply.cutter.finish();
        if let Some(rest) = rest {
            self.speak(rest, now);
        }
        self.class = self.class_of_tier();
        let minimum = self.settings.min_tool_confidence;
        // Written this way round so that NaN is not confident.
        let is_confident = confidence >= minimum;
        let refusal = if !is_confident {
            Some(format!("the call of `{}` has confidence {confidence:.2}, below {minimum:.2}", call.name))
        } else if self.tool_calls >= MAX_TOOL_CALLS {
            Some(format!("the model asked for more than {MAX_TOOL_CALLS} tool calls"))
        } else {
            None
        };
        if let Some(message) = refusal {
            self.fail_aloud(Failure::new(Hop::Llm, ErrorCode::NotUnderstood, message), now);
            return;
        }
        let capability = self.settings.llm_tiers[self.tier].clone();
        self.call_tool(call, PlannedBy::Model { capability }, true, now);
    }

    fn reply_done(&mut self, now: Instant) {
        if let Phase::CallingTool { reply_open, .. } = &mut self.phase {
            *reply_open = false;
            return;
        }
        let Phase::Replying(reply) = &mut self.phase else {
            return;
        };
        let rest = reply.cutter.finish();
        let has_text = reply.has_text;
        if !has_text {
            let message = "the model's reply was empty";
            self.hop_failed(Failure::new(Hop::Llm, ErrorCode::EngineFault, message), now);
            return;
        }
        self.phase = Phase::Answered;
        self.class = self.class_of_tier();
        if let Some(rest) = rest {
            self.speak(rest, now);
        }
        self.answer_complete(now);
    }

    /// The model failed and its work no longer runs.
    fn reply_failed(&mut self, failure: Failure, now: Instant) {
        let Phase::Replying(reply) = std::mem::replace(&mut self.phase, Phase::Answered) else {
            return;
        };
        // Another model would begin the answer anew, which must not happen aloud.
        let has_next = self.tier + 1 < self.settings.llm_tiers.len();
        if has_next && !reply.spoke {
            self.tier += 1;
            self.emit(TurnEvent::Degraded { failure });
            self.start_reply(true, reply.tool_result, now);
        } else if reply.tool_result.is_some() && !reply.spoke {
            self.fail_saying(failure, "That is done, but I can't tell you more about it.", now);
        } else if reply.spoke {
            self.fail_saying(failure, "Sorry, I can't finish this answer.", now);
        } else {
            self.fail_aloud(failure, now);
        }
    }

    fn class_of_tier(&self) -> TurnClass {
        match (self.class, self.settings.llm_tiers.get(self.tier)) {
            // An intent's result that a model put into words is no longer an intent turn.
            (_, Some(capability)) if capability == REFLEX_CAPABILITY => TurnClass::Reflex,
            (_, Some(_)) => TurnClass::Llm,
            (class, None) => class,
        }
    }

    // Tools.

    fn call_tool(&mut self, call: ToolCall, planned_by: PlannedBy, asked_by_model: bool, now: Instant) {
        self.tool_calls += 1;
        self.phase = Phase::CallingTool {
            call: call.clone(),
            reply_open: asked_by_model,
            due: now + self.settings.deadlines.skill,
        };
        self.emit(TurnEvent::ToolCalled { call: call.clone(), planned_by });
        self.actions.push(Action::CallTool { call });
    }

    fn tool_returned(&mut self, outcome: ToolOutcome, now: Instant) {
        let Some(call) = self.leave_tool(now) else {
            return;
        };
        self.emit(TurnEvent::ToolReturned { name: call.name.clone(), say: outcome.say.clone() });
        let mut cutter = ClauseCutter::default();
        let mut clauses = cutter.push(&outcome.say);
        clauses.extend(cutter.finish());
        if !clauses.is_empty() {
            for clause in clauses {
                self.speak(clause, now);
            }
            self.answer_complete(now);
        } else if self.settings.llm_tiers.is_empty() {
            // The tool reported success and nothing else: this is all there is to say.
            self.speak("Done.".to_owned(), now);
            self.answer_complete(now);
        } else {
            self.start_reply(false, Some((call, outcome)), now);
        }
    }

    fn consent_pending(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::CallingTool { .. }) || self.asked_at.is_some() {
            return;
        }
        let is_first = self.consent_left == self.settings.deadlines.consent;
        self.asked_at = Some(now);
        if is_first {
            // Who only listens would wait in silence; the answer cannot be given by voice.
            self.speak(ASK_SENTENCE.to_owned(), now);
        }
    }

    /// The clocks of tool and turn go on where they stood.
    fn consent_over(&mut self, now: Instant) {
        let Some(asked_at) = self.asked_at.take() else { return };
        let waited = now.saturating_duration_since(asked_at);
        self.consent_left = self.consent_left.saturating_sub(waited.max(Duration::from_millis(1)));
        if let Phase::CallingTool { due, .. } = &mut self.phase {
            *due += waited;
        }
        if let Some(due) = &mut self.answer_due {
            *due += waited;
        }
    }

    fn tool_denied(&mut self, failure: Failure, now: Instant) {
        let Some(call) = self.leave_tool(now) else {
            return;
        };
        self.emit(TurnEvent::ToolDenied { name: call.name, failure: failure.clone() });
        self.fail_aloud(failure, now);
    }

    /// Leaves the tool, which does not run any more, and the reply that asked for it.
    fn leave_tool(&mut self, now: Instant) -> Option<ToolCall> {
        if !matches!(self.phase, Phase::CallingTool { .. }) {
            return None;
        }
        self.consent_over(now);
        let Phase::CallingTool { call, reply_open, .. } = std::mem::replace(&mut self.phase, Phase::Answered) else {
            return None;
        };
        if reply_open {
            // Nothing after a tool call is used; a late `ReplyDone` would end the next reply.
            self.actions.push(Action::Cancel { hop: Hop::Llm });
        }
        Some(call)
    }

    // Speech.

    fn speak(&mut self, text: String, now: Instant) {
        if self.speech.lost.is_some() {
            return;
        }
        let clause = self.speech.clauses;
        self.speech.clauses += 1;
        self.speech.chars += text.chars().count();
        if clause == 0 {
            self.speech.first_due = Some(now + self.settings.deadlines.tts_first);
        }
        self.emit(TurnEvent::SpeakingStarted { text: text.clone() });
        self.actions.push(Action::Speak { clause, text });
    }

    /// The whole answer is known; what is left is to hear it.
    fn answer_complete(&mut self, now: Instant) {
        self.phase = Phase::Answered;
        self.answer_due = None;
        let nothing_to_hear = self.speech.clauses == 0 || self.speech.is_silenced;
        if nothing_to_hear {
            self.end_as_it_went();
            return;
        }
        if !self.speech.complete {
            self.speech.complete = true;
            self.actions.push(Action::SpeechComplete);
        }
        self.playback_moved(now);
    }

    fn playback_moved(&mut self, now: Instant) {
        if !self.speech.complete || self.is_ended() {
            return;
        }
        let all_handed_over = self.speech.spoken == self.speech.clauses || self.speech.lost.is_some();
        if self.speech.finished && all_handed_over {
            self.emit(TurnEvent::SpeakingFinished);
            self.end_as_it_went();
            return;
        }
        let chars = u32::try_from(self.speech.chars).unwrap_or(u32::MAX);
        self.speech.finish_due =
            Some(now + self.settings.deadlines.playback_gap + SPEECH_PER_CHAR.saturating_mul(chars));
    }

    /// Speech failed: the rest of the answer is given as text.
    fn speech_lost(&mut self, failure: Failure, is_running: bool, now: Instant) {
        if self.speech.lost.is_some() || self.speech.clauses == 0 {
            return;
        }
        if is_running {
            self.actions.push(Action::Cancel { hop: Hop::Tts });
        }
        self.speech.first_due = None;
        let output_is_gone = failure.hop == Hop::Output;
        if output_is_gone || !self.speech.heard {
            self.actions.push(Action::StopSpeaking);
            self.speech.is_silenced = true;
        }
        self.speech.lost = Some(failure);
        if matches!(self.phase, Phase::Answered) {
            self.answer_complete(now);
        }
    }

    // Failure and the end.

    fn hop_failed(&mut self, failure: Failure, now: Instant) {
        match failure.hop {
            Hop::Input | Hop::Stt => {
                if matches!(self.phase, Phase::Listening { .. } | Phase::Transcribing { .. }) {
                    if failure.hop == Hop::Input {
                        self.actions.push(Action::Cancel { hop: Hop::Stt });
                    }
                    self.phase = Phase::Answered;
                    if failure.code == ErrorCode::NoSpeech {
                        self.fail_quietly(failure);
                    } else {
                        self.fail_aloud(failure, now);
                    }
                }
            }
            Hop::Llm => {
                if let Phase::CallingTool { reply_open, .. } = &mut self.phase {
                    // The call is complete; what the model does after it does not matter.
                    *reply_open = false;
                }
                self.reply_failed_if_replying(failure, now);
            }
            Hop::Skill => self.tool_denied(failure, now),
            Hop::Tts | Hop::Output => self.speech_lost(failure, true, now),
            // Without the hub or the bus nothing can be said either.
            Hop::Plan | Hop::Hub => self.fail_quietly(failure),
        }
    }

    fn reply_failed_if_replying(&mut self, failure: Failure, now: Instant) {
        if matches!(self.phase, Phase::Replying(_)) {
            self.reply_failed(failure, now);
        }
    }

    fn expire(&mut self, now: Instant) {
        // Each round ends at least one wait, and a turn has a bounded number of them.
        while self.next_deadline().is_some_and(|due| due <= now) {
            self.expire_one(now);
        }
    }

    fn expire_one(&mut self, now: Instant) {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let deadlines = self.settings.deadlines;
        let late = |hop, what: &str, limit: Duration| {
            let message = format!("{what} took longer than {} ms", limit.as_millis());
            Failure::new(hop, ErrorCode::DeadlineExceeded, message)
        };
        if let Some(asked_at) = self.asked_at {
            if asked_at + self.consent_left <= now {
                self.actions.push(Action::Cancel { hop: Hop::Skill });
                self.tool_denied(late(Hop::Skill, "the answer to a question", deadlines.consent), now);
            } else if is_due(self.speech.first_due) {
                self.first_sound_overdue(now);
            }
            return;
        }
        if is_due(self.answer_due) {
            let hop = match self.phase {
                Phase::Listening { .. } => Hop::Input,
                Phase::Transcribing { .. } => Hop::Stt,
                Phase::Replying(_) => Hop::Llm,
                Phase::CallingTool { .. } => Hop::Skill,
                Phase::Answered | Phase::Ended => Hop::Hub,
            };
            self.answer_due = None;
            self.fail_aloud(late(hop, "the turn", deadlines.turn), now);
            return;
        }
        match &self.phase {
            Phase::Listening { due, .. } if *due <= now => {
                let message = format!("no end of speech within {} s", LISTEN_LIMIT.as_secs());
                self.fail_aloud(Failure::new(Hop::Input, ErrorCode::AudioTooLong, message), now);
                return;
            }
            Phase::Transcribing { due } if *due <= now => {
                self.fail_aloud(late(Hop::Stt, "the final transcript", deadlines.stt_final), now);
                return;
            }
            Phase::Replying(reply) if reply.due() <= now => {
                let failure = if is_due(reply.first_due) {
                    late(Hop::Llm, "the model's first word", deadlines.llm_first)
                } else {
                    late(Hop::Llm, "the model's reply", deadlines.llm_total)
                };
                self.actions.push(Action::Cancel { hop: Hop::Llm });
                self.reply_failed(failure, now);
                return;
            }
            Phase::CallingTool { due, .. } if *due <= now => {
                self.actions.push(Action::Cancel { hop: Hop::Skill });
                self.tool_denied(late(Hop::Skill, "the tool", deadlines.skill), now);
                return;
            }
            Phase::Listening { .. }
            | Phase::Transcribing { .. }
            | Phase::Replying(_)
            | Phase::CallingTool { .. }
            | Phase::Answered
            | Phase::Ended => {}
        }
        if is_due(self.speech.first_due) {
            self.first_sound_overdue(now);
        } else if is_due(self.speech.finish_due) {
            self.playback_overdue(now);
        }
    }

    fn first_sound_overdue(&mut self, now: Instant) {
        // Audio that the output has but does not play is not the engine's fault.
        let hop = if self.speech.spoken > 0 { Hop::Output } else { Hop::Tts };
        let message = format!("the first sound took longer than {} ms", self.settings.deadlines.tts_first.as_millis());
        self.speech_lost(Failure::new(hop, ErrorCode::DeadlineExceeded, message), true, now);
    }

    /// The audio should have been played long ago.
    fn playback_overdue(&mut self, now: Instant) {
        self.speech.finish_due = None;
        let hop = if self.speech.spoken < self.speech.clauses { Hop::Tts } else { Hop::Output };
        let message = "speech did not end in the time that its text needs";
        let failure = Failure::new(hop, ErrorCode::DeadlineExceeded, message);
        if self.speech.lost.is_none() {
            self.actions.push(Action::Cancel { hop: Hop::Tts });
        }
        self.actions.push(Action::StopSpeaking);
        self.speech.is_silenced = true;
        self.speech.lost.get_or_insert(failure);
        self.answer_complete(now);
    }

    /// Tells the user what went wrong, then ends the turn as failed.
    fn fail_aloud(&mut self, failure: Failure, now: Instant) {
        let sentence = sentence_for(&failure);
        self.fail_saying(failure, sentence, now);
    }

    fn fail_saying(&mut self, failure: Failure, sentence: &str, now: Instant) {
        self.cancel_running();
        if self.speech.clauses == 0 {
            self.class = TurnClass::None;
        }
        self.failing.get_or_insert(failure);
        self.speak(sentence.to_owned(), now);
        self.answer_complete(now);
    }

    /// Ends the turn as failed without a word.
    fn fail_quietly(&mut self, failure: Failure) {
        self.cancel_running();
        self.stop_speech();
        self.failing.get_or_insert(failure);
        self.end_as_it_went();
    }

    fn cancelled(&mut self) {
        self.cancel_running();
        self.stop_speech();
        self.end(TurnEnd::Cancelled);
    }

    /// Cancels what runs, except speech.
    fn cancel_running(&mut self) {
        self.asked_at = None;
        match std::mem::replace(&mut self.phase, Phase::Answered) {
            Phase::Listening { .. } | Phase::Transcribing { .. } => {
                self.actions.push(Action::Cancel { hop: Hop::Stt });
            }
            Phase::Replying(_) => self.actions.push(Action::Cancel { hop: Hop::Llm }),
            Phase::CallingTool { reply_open, .. } => {
                self.actions.push(Action::Cancel { hop: Hop::Skill });
                if reply_open {
                    self.actions.push(Action::Cancel { hop: Hop::Llm });
                }
            }
            Phase::Answered => {}
            Phase::Ended => self.phase = Phase::Ended,
        }
    }

    fn stop_speech(&mut self) {
        if self.speech.clauses == 0 || self.speech.is_silenced {
            return;
        }
        if self.speech.spoken < self.speech.clauses && self.speech.lost.is_none() {
            self.actions.push(Action::Cancel { hop: Hop::Tts });
        }
        self.actions.push(Action::StopSpeaking);
    }

    fn end_as_it_went(&mut self) {
        let failure = self.failing.take().or_else(|| self.speech.lost.take());
        if let Some(failure) = failure {
            self.emit(TurnEvent::TurnFailed { failure });
            self.end(TurnEnd::Failed);
        } else {
            self.end(TurnEnd::Completed);
        }
    }

    fn end(&mut self, end: TurnEnd) {
        self.emit(TurnEvent::TurnEnded { end, class: self.class, latency_ms: None });
        self.phase = Phase::Ended;
    }

    fn emit(&mut self, event: TurnEvent) {
        self.actions.push(Action::Emit(event));
    }
}

impl Reply {
    fn due(&self) -> Instant {
        self.first_due.map_or(self.total_due, |first| first.min(self.total_due))
    }
}

/// What the user is told. Fixed sentences, so that their speech can be kept ready.
fn sentence_for(failure: &Failure) -> &'static str {
    match (failure.hop, failure.code) {
        (Hop::Stt, ErrorCode::NotUnderstood) => "Sorry, I didn't catch that.",
        (Hop::Llm, ErrorCode::NotUnderstood) => "Sorry, I'm not sure what you want, so I did nothing.",
        (_, ErrorCode::NotUnderstood) => "Sorry, I can't answer that yet.",
        (_, ErrorCode::AudioTooLong) => "Sorry, that was too long for me.",
        (_, ErrorCode::TextTooLong) => "Sorry, that text is too long for me.",
        (Hop::Input | Hop::Stt, _) => "Sorry, I couldn't listen to that.",
        (Hop::Llm, ErrorCode::DeadlineExceeded) => "Sorry, that took me too long.",
        (Hop::Llm, _) => "Sorry, I can't answer that right now.",
        (Hop::Skill, ErrorCode::PermissionDenied) => "Sorry, I am not allowed to do that.",
        (Hop::Skill, ErrorCode::ToolArguments) => "Sorry, I can't do it like that.",
        // The effect may have happened, and saying otherwise would be a guess.
        (Hop::Skill, ErrorCode::DeadlineExceeded) => "Sorry, I don't know whether that worked.",
        (Hop::Skill, _) => "Sorry, that did not work.",
        (Hop::Plan | Hop::Tts | Hop::Output | Hop::Hub, _) => "Sorry, something went wrong.",
    }
}

/// Control characters become spaces and the ends are trimmed: they say nothing, and
/// they would travel into prompts, terminals and logs.
fn without_control_characters(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.trim().to_owned()
}
