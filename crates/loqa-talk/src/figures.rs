//! What was measured of a spoken turn. Deliberately absent: percentiles, which whoever asks
//! makes of them.

use loqa_protocol::{LatencySplit, TurnId};
use serde::Serialize;

/// Times of one spoken turn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TalkFigures {
    /// The turn.
    pub turn: TurnId,
    /// Milliseconds from the call that says that the key is down to the moment at which the
    /// first sample of the utterance was handed to the hub.
    pub press_to_first_sample_ms: f64,
    /// Milliseconds of sound from before the key that the utterance begins with.
    pub pre_roll_ms: f64,
    /// From the release to the first sample at the speaker, as the hub measures it; `None`
    /// when nothing was heard.
    pub latency_ms: Option<LatencySplit>,
}
