//! What a client that holds the operator's credentials may ask a running hub:
//! `loqa ask`, `loqa nodes`, `loqa skill`. The HTTP API answers the same shapes.

use crate::engine::{Capability, EngineKind};
use crate::{Failure, InstanceId, LatencySplit, PrivacyScope, SessionId, ToolCall, TurnClass, TurnId};
use serde::{Deserialize, Serialize};

/// One typed turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AskRequest {
    /// What the user typed.
    pub text: String,
    /// Continue this session, or `None` for a new one.
    pub session: Option<SessionId>,
    /// Whether the answer is spoken as well.
    pub speak: bool,
    /// Whether nothing of this turn may be kept, whatever is configured.
    #[serde(default)]
    pub guest: bool,
}

/// How the turn went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "one per turn, and the large variant is the usual one")]
pub enum AskReply {
    /// The turn ended; `failure` says whether well.
    Turn(TurnReport),
    /// The turn could not begin.
    Refused {
        /// Why.
        failure: Failure,
    },
}

/// A whole turn in one object, for people and scripts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TurnReport {
    /// The session.
    pub session: SessionId,
    /// The turn.
    pub turn: TurnId,
    /// What was heard or typed.
    pub transcript: String,
    /// Class for the figures.
    pub class: TurnClass,
    /// The tool that was called, if any.
    pub tool: Option<ToolCall>,
    /// What was answered.
    pub reply: String,
    /// `None` when no sound was made.
    pub latency_ms: Option<LatencySplit>,
    /// Set when the turn failed.
    pub failure: Option<Failure>,
}

/// What the operator asks of the audit that a running hub writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum AuditRequest {
    /// Sign a checkpoint if rows are not covered yet.
    Checkpoint,
    /// Record that rows were exported, then as above.
    Exported {
        /// How many.
        rows: u64,
        /// `jsonl` or `csv`.
        format: String,
    },
    /// Make contents unreadable; those of a session, or those that are older, or all.
    Erase {
        /// Of this session only.
        session: Option<SessionId>,
        /// Older than this only, in milliseconds since the Unix epoch; goes without a session.
        before_ms: Option<i64>,
    },
}

/// How that went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum AuditReply {
    /// The newest checkpoint, as `docs/audit.md` describes it.
    Done {
        /// Statement and signature.
        checkpoint: serde_json::Value,
    },
    /// Contents were made unreadable.
    Erased {
        /// Of how many rows.
        payloads: u64,
    },
    /// It did not work.
    Refused {
        /// Why.
        failure: Failure,
    },
}

/// What the operator asks of the event store that a running hub writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum StoreRequest {
    /// Remove a session with all that hangs on it.
    Delete {
        /// Which.
        session: SessionId,
    },
    /// Remove everything.
    Wipe,
    /// Turn guest mode on or off, or ask whether it is on.
    Guest {
        /// `None` only asks.
        on: Option<bool>,
    },
}

/// How that went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum StoreReply {
    /// Rows were removed.
    Erased {
        /// How many, as `docs/store.md` describes it.
        erased: serde_json::Value,
    },
    /// Whether guest mode is on.
    Guest {
        /// It is.
        on: bool,
        /// How long a turn that begins may be remembered.
        scope: PrivacyScope,
    },
    /// It did not work.
    Refused {
        /// Why.
        failure: Failure,
    },
}

/// State of one engine, as the registry sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Said hello, loads its model.
    Starting,
    /// Announced and alive.
    Ready,
    /// Takes no new work.
    Draining,
    /// Silent for too long, or exited.
    Dead,
}

/// One row of `loqa nodes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NodeInfo {
    /// Which engine.
    pub instance: InstanceId,
    /// What kind.
    pub kind: EngineKind,
    /// Program and version.
    pub program: String,
    /// Machine.
    pub node: String,
    /// Process id on that machine.
    pub pid: u32,
    /// State.
    pub state: NodeState,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// Work in progress at the last heartbeat.
    pub busy: u32,
    /// Resident memory at the last heartbeat, in bytes.
    pub rss_bytes: u64,
    /// Milliseconds since the last sign of life.
    pub last_seen_ms: u64,
}

/// What the operator wants of the skills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum SkillsRequest {
    /// Which are loaded.
    List,
    /// The installed skills were changed: load what is new, drop what is gone.
    Reload,
}

/// The hub's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum SkillsReply {
    /// What is loaded, after the request.
    Skills {
        /// By name.
        skills: Vec<SkillRow>,
        /// Installed and enabled skills that could not be loaded.
        not_loaded: Vec<SkillFault>,
    },
    /// Nothing was done.
    Refused {
        /// Why.
        failure: Failure,
    },
}

/// A skill that is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SkillRow {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it takes calls.
    pub state: SkillRunState,
    /// SHA-256 of the code that runs, in hex.
    pub module_sha256: String,
    /// Names of its tools.
    pub tools: Vec<String>,
    /// Whether it is loaded from the folder in which it is being written.
    pub dev: bool,
}

/// Whether a loaded skill takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SkillRunState {
    /// It does.
    Enabled,
    /// It failed too often and does not.
    Suspended,
}

/// A skill that could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SkillFault {
    /// Its name.
    pub name: String,
    /// Why, and what helps.
    pub reason: String,
}
