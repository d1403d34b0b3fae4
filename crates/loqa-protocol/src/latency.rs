//! `loqa.voice_latency_ms`: from the end of the user's speech to the first sound
//! of the answer, split by hop. See `docs/latency.md` for the clock.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A stage of a turn. Deadlines, spans, failures and latency parts are named by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Hop {
    /// Microphone, file or text field.
    Input,
    /// Speech to text.
    Stt,
    /// Intent matching and the choice of who answers.
    Plan,
    /// The language model.
    Llm,
    /// A skill's tool call.
    Skill,
    /// Text to speech.
    Tts,
    /// Playback.
    Output,
    /// The hub itself and the bus.
    Hub,
}

impl Hop {
    /// Every hop, in the order in which a turn passes them.
    pub const ALL: &[Self] =
        &[Self::Input, Self::Stt, Self::Plan, Self::Llm, Self::Skill, Self::Tts, Self::Output, Self::Hub];

    /// The stable text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Stt => "stt",
            Self::Plan => "plan",
            Self::Llm => "llm",
            Self::Skill => "skill",
            Self::Tts => "tts",
            Self::Output => "output",
            Self::Hub => "hub",
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a turn was answered. Figures are never mixed across classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TurnClass {
    /// Matched by a declared utterance, no language model.
    Intent,
    /// Answered by the bundled small model.
    Reflex,
    /// Answered by a downloaded model.
    Llm,
    /// First sound was an earcon or a phrase kept from before.
    Cached,
    /// Ended without an answer.
    None,
}

impl TurnClass {
    /// The stable text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Reflex => "reflex",
            Self::Llm => "llm",
            Self::Cached => "cached",
            Self::None => "none",
        }
    }
}

impl fmt::Display for TurnClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The parts of one turn's latency in milliseconds.
///
/// `total` is measured on its own clock reading (`t1 - t0`); the nine parts are
/// measured one by one, so that a part nobody accounts for shows as a difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LatencySplit {
    /// End of speech to first sample of the answer at the device.
    pub total: f64,
    /// End of speech until the hub knows of it.
    pub endpoint: f64,
    /// End of audio until the final transcript, inside the engine.
    pub stt_tail: f64,
    /// Intent matching and routing.
    pub plan: f64,
    /// Tool calls, all of them that came before the first sound.
    pub skill: f64,
    /// Language model from request to first token or tool call, inside the engine.
    pub llm_first_token: f64,
    /// First token until a speakable clause was complete.
    pub first_clause: f64,
    /// Clause until the first audio chunk, inside the engine.
    pub tts_first_chunk: f64,
    /// Time on the bus: round trips less what the engines report for themselves.
    pub bus: f64,
    /// First chunk until the first sample at the device, its reported latency included.
    pub output: f64,
}

impl LatencySplit {
    /// Names of the parts, in the order of [`Self::parts`].
    pub const PART_NAMES: [&str; 9] = [
        "endpoint",
        "stt_tail",
        "plan",
        "skill",
        "llm_first_token",
        "first_clause",
        "tts_first_chunk",
        "bus",
        "output",
    ];

    /// The nine parts, without `total`.
    #[must_use]
    pub const fn parts(&self) -> [f64; 9] {
        [
            self.endpoint,
            self.stt_tail,
            self.plan,
            self.skill,
            self.llm_first_token,
            self.first_clause,
            self.tts_first_chunk,
            self.bus,
            self.output,
        ]
    }

    /// Sum of the nine parts.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.parts().iter().sum()
    }
}
