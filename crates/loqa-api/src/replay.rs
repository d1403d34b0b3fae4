//! Kept sessions once more: what comes out differently through another model.
//!
//! The shapes are those of `loqa replay --json`. Deliberately absent: suites of files and
//! skills in folders, which only the command reads.

use crate::extract::{ApiJson, ApiPath};
use crate::limits::{LONGEST, Within};
use crate::problem::ApiResult;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use loqa_hub::replay::{Change, Difference, Replayed, Report, Through};
use loqa_protocol::{Failure, SessionId, ToolCall, TurnId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Through which models; those that are in use where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// The recogniser, for turns that have a recording.
    #[serde(default)]
    pub stt: Option<String>,
    /// The language model.
    #[serde(default)]
    pub llm: Option<String>,
}

/// What came out this time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplayReport {
    /// Turns that were run again.
    pub turns: usize,
    /// Those that were understood differently: another transcript, tool call or failure.
    pub different: usize,
    /// By session.
    pub sessions: Vec<ReplayedSession>,
}

/// A session that was run again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplayedSession {
    /// What it is called.
    pub name: String,
    /// Its id.
    pub session: SessionId,
    /// Its turns, in their order, without those of which nothing was understood at the time.
    pub turns: Vec<ReplayedTurn>,
}

/// A turn that was run again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplayedTurn {
    /// The recorded turn.
    pub turn: TurnId,
    /// Whether it was heard again, or typed.
    pub spoken: bool,
    /// What was heard.
    pub transcript: ChangedText,
    /// What was called.
    pub tool: ChangedCall,
    /// What was answered.
    pub reply: ChangedText,
    /// From the end of speech to the first sound.
    pub latency_ms: ChangedLatency,
    /// Why it failed.
    pub failure: ChangedFailure,
    /// From the input to the end of the turn, in milliseconds.
    pub took_ms: f64,
}

/// A text before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangedText {
    /// As it was recorded.
    pub before: String,
    /// As it came out this time.
    pub after: String,
    /// Whether both have the same words.
    pub same: bool,
}

/// A tool call before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChangedCall {
    /// As it was recorded.
    pub before: Option<ToolCall>,
    /// As it came out this time.
    pub after: Option<ToolCall>,
    /// Whether that is the same.
    pub same: bool,
}

/// A time before and after.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChangedLatency {
    /// As it was recorded, in milliseconds; `null` when it made no sound.
    pub before: Option<f64>,
    /// As it came out this time.
    pub after: Option<f64>,
    /// Whether both made a sound, or none did.
    pub same: bool,
}

/// A failure before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChangedFailure {
    /// As it was recorded.
    pub before: Option<Failure>,
    /// As it came out this time.
    pub after: Option<Failure>,
    /// Whether both have the same code, or none failed.
    pub same: bool,
}

impl From<Change<String>> for ChangedText {
    fn from(Change { before, after, same }: Change<String>) -> Self {
        Self { before, after, same }
    }
}

impl From<Difference> for ReplayedTurn {
    fn from(difference: Difference) -> Self {
        let Difference { turn, spoken, transcript, tool, reply, latency_ms, failure, took_ms } = difference;
        Self {
            turn,
            spoken,
            transcript: transcript.into(),
            tool: ChangedCall { before: tool.before, after: tool.after, same: tool.same },
            reply: reply.into(),
            latency_ms: ChangedLatency { before: latency_ms.before, after: latency_ms.after, same: latency_ms.same },
            failure: ChangedFailure { before: failure.before, after: failure.after, same: failure.same },
            took_ms,
        }
    }
}

impl From<Replayed> for ReplayedSession {
    fn from(Replayed { name, session, turns }: Replayed) -> Self {
        Self { name, session, turns: turns.into_iter().map(ReplayedTurn::from).collect() }
    }
}

impl From<Report> for ReplayReport {
    fn from(Report { turns, different, sessions, missing: _ }: Report) -> Self {
        Self { turns, different, sessions: sessions.into_iter().map(ReplayedSession::from).collect() }
    }
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new().routes(routes!(replay))
}

/// Run a kept session again and say what comes out differently
///
/// On a hub of its own that acts on nothing and keeps nothing, with its models loaded once
/// more. One at a time; closing the connection ends it.
#[utoipa::path(post, path = "/v1/sessions/{session}/replay", tag = "sessions",
    params(("session" = SessionId, Path)), request_body = ReplayRequest,
    responses((status = 200, body = ReplayReport)))]
async fn replay(
    _time: Within<LONGEST>,
    State(state): State<Arc<AppState>>,
    ApiPath(session): ApiPath<SessionId>,
    ApiJson(ReplayRequest { stt, llm }): ApiJson<ReplayRequest>,
) -> ApiResult<Json<ReplayReport>> {
    let through = Through { stt, llm: llm.into_iter().collect(), ..Through::default() };
    Ok(Json(state.hub.replay(&session, through).await?.into()))
}
