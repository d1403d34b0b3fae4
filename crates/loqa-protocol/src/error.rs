//! One list of error codes. Programs branch on the code, people read the message.
//! A code exists only if something branches on it or shows its own text for it.

use crate::latency::Hop;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal,)+) => {
        /// What went wrong, for programs. The text form (`snake_case`) is stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ErrorCode {
            /// Every code, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What the code means, one sentence from its declaration.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

codes! {
    /// The peer speaks another protocol version.
    ProtocolMismatch => "protocol_mismatch",
    /// No engine offers the capability that was asked for.
    EngineMissing => "engine_missing",
    /// The engine that worked on this went away.
    EngineLost => "engine_lost",
    /// The engine has no room for more work.
    EngineBusy => "engine_busy",
    /// The engine reported a fault of its own.
    EngineFault => "engine_fault",
    /// The hop did not answer within its deadline.
    DeadlineExceeded => "deadline_exceeded",
    /// The user or a newer turn cancelled the work.
    Cancelled => "cancelled",
    /// The message could not be read.
    BadRequest => "bad_request",
    /// The audio is not what was announced: a gap, an odd length or a wrong format.
    BadAudio => "bad_audio",
    /// The utterance is longer than a turn accepts.
    AudioTooLong => "audio_too_long",
    /// The text is longer than a turn accepts.
    TextTooLong => "text_too_long",
    /// Nothing was said, or nothing that could be recognised.
    NoSpeech => "no_speech",
    /// Nothing that is installed can answer this.
    NotUnderstood => "not_understood",
    /// The model file is missing, damaged or of another kind.
    ModelInvalid => "model_invalid",
    /// No skill offers this tool.
    ToolUnknown => "tool_unknown",
    /// The arguments do not fit the tool's schema.
    ToolArguments => "tool_arguments",
    /// The user has not granted what the skill asked for.
    PermissionDenied => "permission_denied",
    /// The skill failed or ran out of its budget.
    SkillFault => "skill_fault",
    /// The message bus cannot be reached.
    BusUnavailable => "bus_unavailable",
    /// The disk is full or not writable.
    StorageFault => "storage_fault",
    /// The hub is stopping and takes no new work.
    ShuttingDown => "shutting_down",
    /// The token of the HTTP API is missing or wrong.
    Unauthorized => "unauthorized",
    /// The request comes from a place that may not ask: another host name, another web page.
    Forbidden => "forbidden",
    /// There is no such thing, or not any more.
    NotFound => "not_found",
    /// The thing is in a state in which this cannot be done.
    Conflict => "conflict",
    /// Too many requests; ask again after the time that stands beside it.
    RateLimited => "rate_limited",
    /// The request is larger than what is taken.
    TooLarge => "too_large",
    /// The hub has a fault of its own; its log says more.
    HubFault => "hub_fault",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure as it travels: where, what for programs, what for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{hop}: {message} ({code})")]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The hop that failed.
    pub hop: Hop,
    /// The code to branch on.
    pub code: ErrorCode,
    /// The chain of causes, for people. Never holds what the user said.
    pub message: String,
}

impl Failure {
    /// Puts the three parts together.
    pub fn new(hop: Hop, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { hop, code, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_and_serde_agree() {
        for code in ErrorCode::ALL {
            let json = serde_json::to_string(code).expect("a unit variant serialises");
            assert_eq!(json, format!("\"{code}\""), "one spelling everywhere");
            assert!(code.meaning().trim().ends_with('.'), "each code has a sentence: {code}");
        }
    }
}
