//! The one vocabulary of what happens in a turn. It feeds the recorder, the
//! metrics, the API, the UI and the tests.

use crate::{Failure, LatencySplit, SessionId, ToolCall, TurnClass, TurnId};
use serde::{Deserialize, Serialize};

/// How the user spoke to Loqa.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TurnSource {
    /// A key was held or a file was played: the end of speech is told.
    PushToTalk,
    /// The end of speech is found by the voice activity detector.
    HandsFree,
    /// Typed.
    Text,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TurnEnd {
    /// The answer was given in full.
    Completed,
    /// The user stopped it or spoke over it.
    Cancelled,
    /// Something failed; [`TurnEvent::TurnFailed`] came just before.
    Failed,
}

/// Who decided what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum PlannedBy {
    /// A declared utterance of a skill.
    Intent {
        /// The template that matched.
        template: String,
        /// Words that the template did not cover; empty when all were.
        leftover: String,
    },
    /// A language model.
    Model {
        /// Capability of the engine, for example `llm.reflex`.
        capability: String,
    },
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TurnEvent {
    /// First event of every turn.
    TurnStarted {
        /// How the user spoke.
        source: TurnSource,
    },
    /// The user began to speak.
    SpeechStarted,
    /// The user stopped: `t0` of the latency.
    SpeechEnded {
        /// Length of the audio.
        audio_ms: u64,
    },
    /// What was heard so far.
    TranscriptPartial {
        /// Text so far.
        text: String,
    },
    /// What was heard or typed.
    TranscriptFinal {
        /// The text.
        text: String,
        /// 0 to 1; 1 for typed text.
        confidence: f32,
    },
    /// A declared utterance fits.
    IntentMatched {
        /// The tool to call.
        call: ToolCall,
        /// The template that fits.
        template: String,
        /// Words it did not cover.
        leftover: String,
    },
    /// A language model was asked.
    ReplyStarted {
        /// Capability of the engine.
        capability: String,
        /// True when an earlier tier failed or was too slow.
        degraded: bool,
    },
    /// More of the reply's text.
    ReplyDelta {
        /// The piece.
        text: String,
    },
    /// A tool call is about to run.
    ToolCalled {
        /// The call.
        call: ToolCall,
        /// Who decided it.
        planned_by: PlannedBy,
    },
    /// The tool answered.
    ToolReturned {
        /// The tool.
        name: String,
        /// What is said because of it.
        say: String,
    },
    /// The tool failed or was refused.
    ToolDenied {
        /// The tool.
        name: String,
        /// Why.
        failure: Failure,
    },
    /// A clause went to speech.
    SpeakingStarted {
        /// The clause.
        text: String,
    },
    /// First sample of the answer reached the output: `t1` of the latency.
    FirstSound,
    /// The last sample was played.
    SpeakingFinished,
    /// A hop failed and its fallback took over.
    Degraded {
        /// What failed.
        failure: Failure,
    },
    /// The turn failed; `TurnEnded` follows.
    TurnFailed {
        /// Why.
        failure: Failure,
    },
    /// Last event of every turn, exactly once.
    TurnEnded {
        /// How.
        end: TurnEnd,
        /// Class for the figures.
        class: TurnClass,
        /// The split; `None` when no sound was made.
        latency_ms: Option<LatencySplit>,
    },
}

impl TurnEvent {
    /// The stable name of the variant, as in the JSON `type`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TurnStarted { .. } => "turn_started",
            Self::SpeechStarted => "speech_started",
            Self::SpeechEnded { .. } => "speech_ended",
            Self::TranscriptPartial { .. } => "transcript_partial",
            Self::TranscriptFinal { .. } => "transcript_final",
            Self::IntentMatched { .. } => "intent_matched",
            Self::ReplyStarted { .. } => "reply_started",
            Self::ReplyDelta { .. } => "reply_delta",
            Self::ToolCalled { .. } => "tool_called",
            Self::ToolReturned { .. } => "tool_returned",
            Self::ToolDenied { .. } => "tool_denied",
            Self::SpeakingStarted { .. } => "speaking_started",
            Self::FirstSound => "first_sound",
            Self::SpeakingFinished => "speaking_finished",
            Self::Degraded { .. } => "degraded",
            Self::TurnFailed { .. } => "turn_failed",
            Self::TurnEnded { .. } => "turn_ended",
        }
    }
}

/// An event with its place in the session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TimedEvent {
    /// The session.
    pub session: SessionId,
    /// The turn.
    pub turn: TurnId,
    /// Counts up from 0 within the turn.
    pub seq: u32,
    /// Microseconds since the turn started, on the hub's monotonic clock.
    pub at_us: u64,
    /// What happened.
    pub event: TurnEvent,
}
