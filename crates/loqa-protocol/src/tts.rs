//! Text to speech: one clause in, PCM chunks out. Chunks are raw bytes with
//! [`crate::header::KIND`] `pcm`; everything else on the reply stream is [`TtsReply`].

use crate::{Failure, InstanceId, SessionId, TurnId, WorkId};
use serde::{Deserialize, Serialize};

/// Asks for the speech of one clause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TtsRequest {
    /// Names the work in cancel messages.
    pub work: WorkId,
    /// The turn it belongs to.
    pub turn: TurnId,
    /// The session it belongs to.
    pub session: SessionId,
    /// Plain text, at most 2,000 characters.
    pub text: String,
    /// Name of a voice, or `None` for the engine's first.
    pub voice: Option<String>,
    /// 1 is normal; 0.5 to 2.
    pub speed: f32,
    /// The engine has this long for the whole clause.
    pub deadline_ms: u64,
}

/// One JSON message of the reply stream; PCM chunks come between `Accepted` and `Done`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TtsReply {
    /// A worker took the work.
    Accepted {
        /// Who took it.
        instance: InstanceId,
    },
    /// The clause is complete; ends the stream.
    Done(TtsDone),
    /// Ends the stream without a complete clause.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// Figures of one clause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TtsDone {
    /// Samples sent, at [`crate::audio::OUTPUT_SAMPLE_RATE`].
    pub samples: u64,
    /// Chunks sent.
    pub chunks: u64,
    /// From arrival of the request to the first chunk, in microseconds.
    pub first_chunk_us: u64,
    /// From arrival of the request to this message, in microseconds.
    pub total_us: u64,
    /// Whether the sound was kept from an earlier request.
    pub cached: bool,
}
