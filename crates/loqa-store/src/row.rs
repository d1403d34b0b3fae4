//! What the store gives out. The HTTP API and `loqa sessions` show the same shapes.

use loqa_protocol::event::{TurnEnd, TurnSource};
use loqa_protocol::{Failure, LatencySplit, PrivacyScope, SessionId, ToolCall, TurnClass, TurnEvent, TurnId};
use serde::{Deserialize, Serialize};

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionRow {
    /// Its id.
    pub session: SessionId,
    /// How long it is kept.
    pub scope: PrivacyScope,
    /// First event, milliseconds since the Unix epoch.
    pub started_ms: i64,
    /// Last event, milliseconds since the Unix epoch.
    pub last_ms: i64,
    /// When the hub closed it; absent while it may go on.
    pub ended_ms: Option<i64>,
    /// How many turns are kept.
    pub turns: u64,
    /// How many of them have a recording.
    pub recordings: u64,
    /// What was said first.
    pub title: String,
}

/// A turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TurnRow {
    /// Its id.
    pub turn: TurnId,
    /// Its session.
    pub session: SessionId,
    /// First event, milliseconds since the Unix epoch.
    pub started_ms: i64,
    /// Last event; absent while the turn runs, and when the hub died in its middle.
    pub ended_ms: Option<i64>,
    /// How the user spoke.
    pub source: Option<TurnSource>,
    /// How it ended.
    pub end: Option<TurnEnd>,
    /// How it was answered.
    pub class: Option<TurnClass>,
    /// What was heard or typed.
    pub transcript: String,
    /// 0 to 1; 1 for typed text.
    pub confidence: Option<f64>,
    /// What was answered.
    pub reply: String,
    /// Capability of the language model that was asked last, for example `llm.reflex`.
    pub capability: Option<String>,
    /// The tool that was called.
    pub tool: Option<ToolCall>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The split; absent when no sound was made.
    pub latency_ms: Option<LatencySplit>,
    /// Whether there is a recording.
    pub recording: bool,
}

/// An event of a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventRow {
    /// Its turn.
    pub turn: TurnId,
    /// Counts up from 0 within the turn.
    pub seq: u32,
    /// Microseconds since the turn started.
    pub at_us: u64,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// What happened.
    pub event: TurnEvent,
}

/// An event with its session, newest first; for skills.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecentEvent {
    /// The session.
    pub session: String,
    /// The turn.
    pub turn: String,
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Name of the event.
    #[serde(skip)]
    pub name: String,
    /// What happened.
    pub event: serde_json::Value,
}

/// A turn that a search found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hit {
    /// Its session.
    pub session: SessionId,
    /// The turn.
    pub turn: TurnId,
    /// When it began, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// What was heard or typed.
    pub transcript: String,
    /// What was answered.
    pub reply: String,
    /// The place that fits, with the words that were searched for in `[` and `]`.
    pub snippet: String,
}

/// The latency of one turn that made a sound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LatencyRow {
    /// Its session.
    pub session: SessionId,
    /// The turn.
    pub turn: TurnId,
    /// When it ended, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// How it was answered; figures of classes are never mixed.
    pub class: TurnClass,
    /// The parts in milliseconds.
    pub latency_ms: LatencySplit,
}

/// A span of time, both in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Window {
    /// Not older.
    pub since_ms: i64,
    /// Older than this.
    pub until_ms: i64,
}

impl Default for Window {
    fn default() -> Self {
        Self { since_ms: 0, until_ms: i64::MAX }
    }
}

/// Percentiles of one part of the latency in one class, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Percentiles {
    /// How the turns were answered.
    pub class: TurnClass,
    /// `total`, or a part of the split.
    pub part: String,
    /// How many turns.
    pub turns: u64,
    /// Half of the turns were not slower.
    pub p50: f64,
    /// 95 of 100.
    pub p95: f64,
    /// 99 of 100.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// An engine process that the hub has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeRow {
    /// Its id.
    pub instance: String,
    /// `stt`, `llm` or `tts`.
    pub kind: String,
    /// Machine.
    pub node: String,
    /// Program and version.
    pub program: String,
    /// What it offers.
    pub capabilities: Vec<String>,
    /// When it was seen first, milliseconds since the Unix epoch.
    pub first_ms: i64,
    /// When it was seen last, milliseconds since the Unix epoch.
    pub last_ms: i64,
}

/// How many rows of each table, and the size of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Counts {
    /// Conversations.
    pub sessions: u64,
    /// Turns.
    pub turns: u64,
    /// Events.
    pub events: u64,
    /// Texts that a search looks through.
    pub transcripts: u64,
    /// Recordings.
    pub recordings: u64,
    /// Latency splits.
    pub latency: u64,
    /// Engine processes.
    pub nodes: u64,
    /// Settings.
    pub settings: u64,
    /// Bytes of the database and its write-ahead file; 0 in memory.
    pub bytes: u64,
}

/// How the store is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// Why nothing can be written, while that is so.
    pub failing: Option<String>,
    /// Events that were not kept because writing failed or too many waited.
    pub lost: u64,
    /// What happened at the start that the user should know: a damaged file that was
    /// put aside, a backup before a migration.
    pub notices: Vec<String>,
}

/// What a deletion took away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Erased {
    /// Rows before.
    pub before: Counts,
    /// Rows that are left.
    pub after: Counts,
    /// SHA-256 over the ids of the turns that went, in hex: says which, and nothing that was said.
    pub turns_sha256: String,
    /// SHA-256 of the database file afterwards, in hex; absent in memory.
    pub file_sha256: Option<String>,
    /// Files beside the database that were removed: backups, damaged ones, the key of recordings.
    pub files: Vec<String>,
}
