//! Speech to text. The hub asks on `loqa.work.<capability>`; the worker that
//! takes it answers on the request's reply subject with a stream of [`SttReply`],
//! while the hub publishes PCM frames on `loqa.audio.<instance>.<work>`.

use crate::{Failure, InstanceId, SessionId, TurnId, WorkId};
use serde::{Deserialize, Serialize};

/// Opens one utterance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SttRequest {
    /// Names the work in cancel messages and in the audio subject.
    pub work: WorkId,
    /// The turn it belongs to.
    pub turn: TurnId,
    /// The session it belongs to.
    pub session: SessionId,
    /// BCP 47 language, or `None` to let the model decide.
    pub language: Option<String>,
    /// Words to expect (names of rooms and devices); a bias, not a constraint.
    #[serde(default)]
    pub hint: String,
    /// Whether to send [`SttReply::Partial`] while frames arrive.
    pub partials: bool,
    /// After the end of the audio the engine has this long.
    pub deadline_ms: u64,
}

/// One message of the reply stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum SttReply {
    /// A worker took the work; audio goes to this instance.
    Accepted {
        /// Who took it.
        instance: InstanceId,
    },
    /// What was heard so far; may change.
    Partial {
        /// Text so far, trimmed.
        text: String,
        /// How much audio it covers.
        audio_ms: u64,
    },
    /// The last word on this utterance; ends the stream. Silence gives an empty text.
    Final(SttFinal),
    /// Ends the stream without a transcript.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// The final transcript and how it came about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SttFinal {
    /// Trimmed text; empty when nothing was said.
    pub text: String,
    /// Mean probability of the text tokens, 0 to 1.
    pub confidence: f32,
    /// Length of the audio.
    pub audio_ms: u64,
    /// From the arrival of the end marker to this message, inside the engine, in microseconds.
    pub tail_us: u64,
    /// Computing time of the decoding pass that gave the text, in microseconds.
    pub decode_us: u64,
    /// Whether that pass had begun before the end marker arrived.
    pub speculative: bool,
}
