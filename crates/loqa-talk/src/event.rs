//! What talking tells a window: the actions of `ui/src/talk/state.ts`, the level of the
//! microphone and the state of the devices. Deliberately absent: sound.

use loqa_protocol::client::TurnReport;
use loqa_protocol::talk::TalkPhase;
use loqa_protocol::{ErrorCode, SessionId, TimedEvent, TurnId};
use serde::{Deserialize, Serialize};

/// One thing that happened, in the order in which a window is to take it in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "the large variant is the usual one, and a window takes them at once")]
pub enum TalkEvent {
    /// One can talk: the engines are up.
    Opened,
    /// One cannot talk any more.
    Closed,
    /// Listening begins.
    Held,
    /// Listening is over: what was said is being worked on, or was dropped.
    LetGo,
    /// A typed turn begins.
    Typed {
        /// What was typed.
        text: String,
    },
    /// The microphone was closed or opened by the person.
    Muted {
        /// It is closed.
        on: bool,
    },
    /// The answer is heard, or is over.
    Playing {
        /// It is heard.
        on: bool,
    },
    /// What was tried did not begin, or ended at once.
    Refused {
        /// Why.
        fault: TalkFault,
    },
    /// It ended without anything to say about it.
    Ended,
    /// A new conversation begins.
    Fresh,
    /// What the hub says of the turn.
    Hub {
        /// The message.
        message: HubMessage,
    },
    /// How loud the microphone is; about 20 times a second while somebody wants to know.
    Level {
        /// 0 is -60 dBFS and less, 1 is full scale.
        level: f32,
    },
    /// The microphone works, or does not.
    Microphone {
        /// `None` while it works.
        fault: Option<DeviceFault>,
    },
    /// The speaker works, or does not.
    Speaker {
        /// `None` while it works.
        fault: Option<DeviceFault>,
    },
}

/// What the hub says of a turn; the messages of `/v1/talk` of the same names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HubMessage {
    /// The turn begins.
    Started {
        /// Its session.
        session: SessionId,
        /// The turn.
        turn: TurnId,
    },
    /// Something happened in it.
    Event {
        /// What.
        event: TimedEvent,
    },
    /// The turn has ended.
    Report {
        /// How.
        report: TurnReport,
    },
}

/// Why something did not begin. The text form goes beside those of [`ErrorCode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TalkFault {
    /// The hub is not up, or is stopping.
    Offline,
    /// The person has closed the microphone; open it.
    Muted,
    /// There is no microphone; plug one in or choose another one.
    MicrophoneMissing,
    /// The microphone does not work; choose another one.
    MicrophoneFailed,
    /// Nothing was said.
    NoSpeech,
    /// A turn runs; cancel it or wait for its end.
    Conflict,
}

impl TalkFault {
    /// The code that programs branch on.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Offline => ErrorCode::ShuttingDown,
            Self::Muted | Self::Conflict => ErrorCode::Conflict,
            Self::MicrophoneMissing => ErrorCode::EngineMissing,
            Self::MicrophoneFailed => ErrorCode::EngineFault,
            Self::NoSpeech => ErrorCode::NoSpeech,
        }
    }

    /// A sentence with the way out.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Offline => "Loqa is not ready to listen, try again in a moment",
            Self::Muted => "the microphone is muted, unmute it in the window or the tray",
            Self::MicrophoneMissing => "no microphone was found, plug one in or choose another one in the settings",
            Self::MicrophoneFailed => "the microphone cannot be used, choose another one in the settings",
            Self::NoSpeech => "nothing was said",
            Self::Conflict => "a turn runs, cancel it or wait for its end",
        }
    }
}

/// What is wrong with a sound device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceFault {
    /// It is not there.
    Missing,
    /// It is there and cannot be used.
    Failed,
}

impl DeviceFault {
    /// The fault that the error of a device stands for.
    pub(crate) fn of(error: &loqa_audio::AudioError) -> Self {
        if error.code() == ErrorCode::EngineMissing { Self::Missing } else { Self::Failed }
    }

    /// As the reason why nobody is listened to.
    pub(crate) const fn of_microphone(self) -> TalkFault {
        match self {
            Self::Missing => TalkFault::MicrophoneMissing,
            Self::Failed => TalkFault::MicrophoneFailed,
        }
    }
}

/// How things stand; for a window that opens in the middle, and for the tray.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TalkSnapshot {
    /// The one word for what goes on.
    pub phase: TalkPhase,
    /// The microphone is closed by the person.
    pub is_muted: bool,
    /// Somebody is listened to.
    pub is_held: bool,
    /// The conversation, once it has begun.
    pub session: Option<SessionId>,
    /// What is wrong with the microphone.
    pub microphone: Option<DeviceFault>,
    /// What is wrong with the speaker.
    pub speaker: Option<DeviceFault>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary_is_that_of_the_window() {
        let json = |event: TalkEvent| serde_json::to_string(&event).unwrap();
        assert_eq!(json(TalkEvent::LetGo), r#"{"type":"let_go"}"#);
        assert_eq!(json(TalkEvent::Refused { fault: TalkFault::Muted }), r#"{"type":"refused","fault":"muted"}"#);
        assert_eq!(json(TalkEvent::Microphone { fault: None }), r#"{"type":"microphone","fault":null}"#);
        let message = HubMessage::Started { session: SessionId::from_bits(1), turn: TurnId::from_bits(2) };
        assert_eq!(
            json(TalkEvent::Hub { message }),
            r#"{"type":"hub","message":{"type":"started","session":"s-0000000000000001","turn":"t-0000000000000002"}}"#
        );
        let snapshot = TalkSnapshot {
            phase: TalkPhase::Idle,
            is_muted: false,
            is_held: false,
            session: None,
            microphone: Some(DeviceFault::Missing),
            speaker: None,
        };
        assert_eq!(
            serde_json::to_string(&snapshot).unwrap(),
            r#"{"phase":"idle","isMuted":false,"isHeld":false,"session":null,"microphone":"missing","speaker":null}"#
        );
    }
}
