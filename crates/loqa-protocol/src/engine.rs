//! What every engine says about itself: hello, announce, heartbeat, control.

use crate::{Failure, InstanceId, WorkId};
use serde::{Deserialize, Serialize};

/// What kind of work an engine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// Speech to text.
    Stt,
    /// Language model.
    Llm,
    /// Text to speech.
    Tts,
}

impl EngineKind {
    /// The stable text form, also the first token of a capability.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stt => "stt",
            Self::Llm => "llm",
            Self::Tts => "tts",
        }
    }
}

/// First message of an engine, before it loads a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EngineHello {
    /// Must equal [`crate::PROTOCOL_VERSION`].
    pub protocol: u32,
    /// Who speaks.
    pub instance: InstanceId,
    /// What kind of engine.
    pub kind: EngineKind,
    /// Program name, for example `loqa-stt`.
    pub program: String,
    /// Program version.
    pub version: String,
    /// Operating system's process id on its node.
    pub pid: u32,
    /// Name of the machine.
    pub node: String,
}

/// The hub's answer to hello, announce and goodbye.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum HubAnswer {
    /// Go on.
    Welcome {
        /// Send a heartbeat this often.
        heartbeat_ms: u64,
    },
    /// Stop; the reason is for the log.
    Refused {
        /// Why.
        failure: Failure,
    },
}

/// One thing an engine can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Capability {
    /// `stt.whisper`, `llm.<model>`, `tts.kokoro`: the tail of the work subject.
    pub name: String,
    /// Model name as in the catalog.
    pub model: String,
    /// Weight format, for example `q8_0`, `f16`, `int8`.
    pub quantisation: String,
    /// BCP 47 languages.
    pub languages: Vec<String>,
    /// Sample rate of the audio it takes or gives; `None` for text only.
    pub sample_rate: Option<u32>,
    /// Voices, for TTS.
    #[serde(default)]
    pub voices: Vec<String>,
    /// Measured at start on this machine: seconds of audio per second of computing
    /// (STT, TTS), or generated tokens per second (LLM).
    pub measured_speed: f64,
}

/// Sent once the model is loaded and measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EngineAnnounce {
    /// Who speaks.
    pub instance: InstanceId,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// Work it accepts at the same time.
    pub slots: u32,
    /// Time from program start to this message, in milliseconds.
    pub ready_ms: u64,
}

/// Sign of life, every [`HEARTBEAT_MS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Who lives.
    pub instance: InstanceId,
    /// Counts up from 0.
    pub seq: u64,
    /// Work in progress.
    pub busy: u32,
    /// Resident memory in bytes; 0 where the platform does not tell.
    pub rss_bytes: u64,
}

/// Milliseconds between heartbeats. Chosen, see `docs/protocol.md`.
pub const HEARTBEAT_MS: u64 = 2_000;
/// An engine that was silent this long is dead: three heartbeats.
pub const DEAD_AFTER_MS: u64 = 6_000;

/// Orders from the hub to one engine; answered with [`ControlAnswer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Control {
    /// Stop this work. Answered at once; the work ends within 50 ms.
    Cancel {
        /// Which.
        work: WorkId,
    },
    /// Take no new work, finish what is running, then exit.
    Drain,
    /// Answer with the nonce.
    Ping {
        /// Any text, at most 64 bytes.
        nonce: String,
    },
}

/// Answer to [`Control`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ControlAnswer {
    /// The work was running and stops.
    Cancelled,
    /// No such work; it may have ended already.
    NotRunning,
    /// Draining has begun.
    Draining,
    /// Answer to `Ping`.
    Pong {
        /// The nonce of the question.
        nonce: String,
    },
    /// The order could not be read.
    Refused {
        /// Why.
        failure: Failure,
    },
}

/// What the hub writes to an engine's standard input, one line of JSON, right
/// after the start. Secrets travel here and nowhere else. End of file on standard
/// input means that the hub is gone: the engine exits.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EngineBoot {
    /// `nats://127.0.0.1:<port>`.
    pub url: String,
    /// Name of the bus identity, for the inbox prefix.
    pub identity: String,
    /// nkey seed of that identity.
    pub seed: String,
    /// The id this process has to use.
    pub instance: InstanceId,
    /// Name of the capability to serve, for example `stt.whisper`.
    pub capability: String,
    /// Model name as in the catalog.
    pub model: String,
    /// Absolute path of the model file, already verified by the hub.
    pub model_path: String,
    /// Engine-specific settings: `threads`, `voices_dir`, `ort_dylib`, `endpoint`, …
    #[serde(default)]
    pub settings: serde_json::Map<String, serde_json::Value>,
}

impl std::fmt::Debug for EngineBoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineBoot")
            .field("url", &self.url)
            .field("identity", &self.identity)
            .field("seed", &"[redacted]")
            .field("instance", &self.instance)
            .field("capability", &self.capability)
            .field("model", &self.model)
            .field("model_path", &self.model_path)
            .finish_non_exhaustive()
    }
}
