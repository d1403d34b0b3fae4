//! The key that one presses to talk, as `loqa ptt` asks for it over the bus, for desktops
//! that give a program no global hotkey.

use crate::Failure;
use serde::{Deserialize, Serialize};

/// What Loqa does at the moment, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TalkPhase {
    /// The engines are not up, or Loqa is stopping.
    Offline,
    /// The microphone is closed by the person.
    Muted,
    /// Nothing.
    Idle,
    /// Somebody is listened to.
    Listening,
    /// What was said is worked on.
    Thinking,
    /// The answer is heard.
    Speaking,
}

impl TalkPhase {
    /// The stable text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Muted => "muted",
            Self::Idle => "idle",
            Self::Listening => "listening",
            Self::Thinking => "thinking",
            Self::Speaking => "speaking",
        }
    }
}

/// What happens to the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum KeyRequest {
    /// It goes down.
    Press,
    /// It goes up.
    Release,
    /// It goes down and up at once.
    Tap,
    /// Whatever goes on is to end.
    Cancel,
    /// Nothing: how do things stand?
    Status,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum KeyReply {
    /// It was taken.
    State {
        /// What goes on after it.
        phase: TalkPhase,
        /// The microphone is closed by the person.
        muted: bool,
    },
    /// It was not taken.
    Refused {
        /// Why.
        failure: Failure,
    },
}
