//! The record of who did what: rows, one row, the chain's check, an export, a checkpoint,
//! and what left the machine. Reading only; `docs/audit.md` says what the record proves.

mod export;

use crate::extract::{ApiPath, ApiQuery};
use crate::limits::{LONG, Within};
use crate::problem::{ApiResult, Problem, blocking};
use crate::sessions::check_limit;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use loqa_audit::{Contents, Decision, Filter, Kind, ReadError, Reader, Row, verify};
use loqa_protocol::ErrorCode;
use loqa_protocol::client::{AuditReply, AuditRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Which rows. Every condition that is given must hold.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Name of the skill, engine or other actor.
    pub actor: Option<String>,
    /// What the row is about, for example `call.denied`.
    pub kind: Option<String>,
    /// Name of the permission, for example `http:call`.
    pub permission: Option<String>,
    /// `allow` or `deny`.
    #[param(pattern = "^(allow|deny)$")]
    pub decision: Option<String>,
    /// The session.
    pub session: Option<String>,
    /// Not older, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Older, in milliseconds since the Unix epoch.
    pub until_ms: Option<i64>,
    /// Stands somewhere in the row or in its contents, in any case.
    #[param(max_length = 200)]
    pub text: Option<String>,
    /// Most rows; 50 when it is left out.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next` of the page before; the newest rows when it is left out.
    #[param(pattern = "^r[0-9a-f]{1,16}$")]
    pub after: Option<String>,
}

impl AuditQuery {
    /// The filter of a page, without its number of rows.
    fn filter(self) -> ApiResult<Filter> {
        let unknown = |name: &str, known: Vec<&str>| {
            Problem::not_found(format!("there is no such {name}; use one of: {}", known.join(", ")))
        };
        let kind = match &self.kind {
            Some(name) => Some(
                Kind::from_name(name)
                    .ok_or_else(|| unknown("kind", Kind::ALL.iter().map(|kind| kind.as_str()).collect()))?,
            ),
            None => None,
        };
        let decision = match &self.decision {
            Some(name) => Some(
                Decision::from_name(name).ok_or_else(|| Problem::bad_request("`decision` must be allow or deny"))?,
            ),
            None => None,
        };
        if self.text.as_ref().is_some_and(|text| text.chars().count() > 200) {
            return Err(Problem::bad_request("`text` must have at most 200 characters"));
        }
        check_limit(self.limit)?;
        let before = before(self.after.as_deref())?;
        Ok(Filter {
            actor: self.actor,
            kind,
            permission: self.permission,
            decision,
            session: self.session,
            since_ms: self.since_ms,
            until_ms: self.until_ms,
            text: self.text,
            before,
            limit: 0,
        })
    }
}

fn cursor_of(row: u64) -> String {
    format!("r{row:x}")
}

/// The row before which a page begins.
pub(crate) fn before(after: Option<&str>) -> ApiResult<Option<u64>> {
    let Some(after) = after else { return Ok(None) };
    let lost = || Problem::not_found("`after` is not a cursor of this list: take `next` of the page before");
    row_of(after).map(Some).ok_or_else(lost)
}

fn row_of(cursor: &str) -> Option<u64> {
    let digits = cursor.strip_prefix('r').filter(|digits| (1..=16).contains(&digits.len()))?;
    u64::from_str_radix(digits, 16).ok()
}

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditRow {
    /// Number, from 1, without gaps.
    pub seq: u64,
    /// Hash of the row before it, in hex.
    pub prev: String,
    /// Hash of this row, in hex.
    pub hash: String,
    /// The record, see `docs/audit.md`.
    pub record: Map<String, Value>,
}

impl From<&Row> for AuditRow {
    fn from(row: &Row) -> Self {
        Self { seq: row.seq, prev: hex::encode(row.prev), hash: hex::encode(row.hash), record: row.record.clone() }
    }
}

/// Some rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditRows {
    /// The newest first.
    pub rows: Vec<AuditRow>,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One row with what stands around it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditShown {
    /// The row.
    pub row: AuditRow,
    /// Its contents: arguments, texts.
    pub contents: AuditContents,
    /// The row before it.
    pub before: Option<AuditRow>,
    /// The row after it.
    pub after: Option<AuditRow>,
    /// Of an intent: the row that says how it ended.
    pub outcome: Option<AuditRow>,
    /// The row of the checkpoint that covers it, if there is one yet.
    pub sealed_by: Option<u64>,
}

/// Contents of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditContents {
    /// `none`, `withheld`, `too_long`, `erased`, `kept`, or `changed` when they are not those
    /// that the row commits to.
    pub state: String,
    /// The contents where they are kept, `null` otherwise.
    pub value: Value,
}

impl From<Contents> for AuditContents {
    fn from(contents: Contents) -> Self {
        let (state, value) = match contents {
            Contents::None => ("none", Value::Null),
            Contents::Withheld => ("withheld", Value::Null),
            Contents::TooLong => ("too_long", Value::Null),
            Contents::Erased => ("erased", Value::Null),
            Contents::Kept(value) => ("kept", value),
            Contents::Changed(_) => ("changed", Value::Null),
        };
        Self { state: state.to_owned(), value }
    }
}

/// What a check of the record found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditReport {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// The first thing that is.
    pub bad: Option<AuditFault>,
    /// Rows that were looked at.
    pub rows: u64,
    /// Number of the first row that is kept.
    pub first: u64,
    /// Number of the last row.
    pub last: u64,
    /// The last row that a checkpoint covers.
    pub sealed: u64,
    /// Checkpoints among the rows.
    pub checkpoints: u64,
    /// Intents without outcome.
    pub open: Vec<u64>,
    /// Public key of the checkpoints, in hex.
    pub key: String,
    /// Whether that key came from elsewhere than the file itself.
    pub key_known: bool,
}

/// The first thing that is wrong with the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditFault {
    /// The row.
    pub row: u64,
    /// What was checked.
    pub check: String,
    /// What is wrong.
    pub why: String,
}

/// A signed statement about the record's end, to be kept elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditCheckpoint {
    /// Statement and signature, as `docs/audit.md` describes them.
    pub checkpoint: Value,
}

/// Which time, and in which steps.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EgressQuery {
    /// Not older, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Older, in milliseconds since the Unix epoch.
    pub until_ms: Option<i64>,
    /// One sum for each hour or day (UTC); one for all when it is left out.
    #[param(inline)]
    pub by: Option<EgressSpan>,
}

/// Length of a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EgressSpan {
    /// An hour.
    Hour,
    /// A day.
    Day,
}

/// What left the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Egress {
    /// By span, actor and origin.
    pub egress: Vec<EgressSum>,
    /// All of it.
    pub bytes: u64,
}

/// What one actor sent to one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EgressSum {
    /// Begin of the span, in milliseconds since the Unix epoch; `null` when not split.
    pub from_ms: Option<i64>,
    /// Who.
    pub actor: String,
    /// Where to: scheme, host and port.
    pub origin: String,
    /// How often.
    pub times: u64,
    /// How much.
    pub bytes: u64,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(check))
        .routes(routes!(checkpoint))
        .routes(routes!(egress))
        .routes(routes!(export::export))
}

fn problem_of(error: ReadError) -> Problem {
    let code = if matches!(error, ReadError::Missing { .. }) { ErrorCode::NotFound } else { ErrorCode::StorageFault };
    Problem::new(code, error.to_string())
}

/// Opens the record with everything in it that was handed over so far.
fn reader(state: &AppState) -> ApiResult<Reader> {
    if let Err(error) = state.hub.audit().flush() {
        tracing::warn!(%error, "the newest rows of the audit are not shown");
    }
    Reader::open(&state.hub.paths().data).map_err(problem_of)
}

/// Rows that fit, one page of them.
pub(crate) fn page(state: &AppState, mut filter: Filter, limit: Option<u32>) -> ApiResult<AuditRows> {
    let limit = limit.unwrap_or(loqa_store::DEFAULT_LIMIT) as usize;
    filter.limit = limit + 1;
    let rows = reader(state)?.list(&filter).map_err(problem_of)?;
    let next = (rows.len() > limit).then(|| rows.get(limit - 1).map(|row| cursor_of(row.seq))).flatten();
    Ok(AuditRows { rows: rows.iter().take(limit).map(AuditRow::from).collect(), next })
}

/// List rows of the audit, the newest first
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(AuditQuery),
    responses((status = 200, body = AuditRows)))]
async fn list(State(state): State<Arc<AppState>>, ApiQuery(query): ApiQuery<AuditQuery>) -> ApiResult<Json<AuditRows>> {
    let limit = query.limit;
    let filter = query.filter()?;
    let _turn = state.limits.heavy().await?;
    blocking(move || page(&state, filter, limit).map(Json)).await
}

/// Show one row with its contents, its neighbours and its outcome
#[utoipa::path(get, path = "/v1/audit/rows/{seq}", tag = "audit", params(("seq" = u64, Path, minimum = 1)),
    responses((status = 200, body = AuditShown)))]
async fn show(State(state): State<Arc<AppState>>, ApiPath(seq): ApiPath<u64>) -> ApiResult<Json<AuditShown>> {
    blocking(move || {
        let shown = reader(&state)?.show(seq).map_err(problem_of)?;
        let shown = shown.ok_or_else(|| Problem::not_found("there is no such row, or it was pruned"))?;
        let neighbour = |row: &Option<Row>| row.as_ref().map(AuditRow::from);
        Ok(Json(AuditShown {
            row: AuditRow::from(&shown.row),
            before: neighbour(&shown.before),
            after: neighbour(&shown.after),
            outcome: neighbour(&shown.outcome),
            sealed_by: shown.sealed_by,
            contents: shown.contents.into(),
        }))
    })
    .await
}

/// Check the chain, the signatures and the outcomes
#[utoipa::path(get, path = "/v1/audit/verify", tag = "audit", responses((status = 200, body = AuditReport)))]
async fn check(_time: Within<LONG>, State(state): State<Arc<AppState>>) -> ApiResult<Json<AuditReport>> {
    let _turn = state.limits.heavy().await?;
    blocking(move || {
        let reader = reader(&state)?;
        let report = verify(&reader, reader.key().as_deref(), &[]).map_err(problem_of)?;
        let fault =
            |bad: loqa_audit::Bad| AuditFault { row: bad.seq, check: bad.check.as_str().to_owned(), why: bad.why };
        Ok(Json(AuditReport {
            ok: report.bad.is_none(),
            bad: report.bad.map(fault),
            rows: report.rows,
            first: report.first,
            last: report.last,
            sealed: report.sealed,
            checkpoints: report.checkpoints,
            open: report.open,
            key: report.key,
            key_known: report.key_known,
        }))
    })
    .await
}

/// Sign a checkpoint if rows are not covered yet
#[utoipa::path(post, path = "/v1/audit/checkpoint", tag = "audit", responses((status = 200, body = AuditCheckpoint)))]
async fn checkpoint(State(state): State<Arc<AppState>>) -> ApiResult<Json<AuditCheckpoint>> {
    blocking(move || match loqa_hub::audit::answer(state.hub.audit(), AuditRequest::Checkpoint) {
        AuditReply::Done { checkpoint } => Ok(Json(AuditCheckpoint { checkpoint })),
        AuditReply::Refused { failure } => Err(failure.into()),
        AuditReply::Erased { .. } => Err(Problem::new(ErrorCode::HubFault, "an answer to another request")),
    })
    .await
}

/// Sum up what left the machine
#[utoipa::path(get, path = "/v1/audit/egress", tag = "audit", params(EgressQuery),
    responses((status = 200, body = Egress)))]
async fn egress(
    State(state): State<Arc<AppState>>,
    ApiQuery(EgressQuery { since_ms, until_ms, by }): ApiQuery<EgressQuery>,
) -> ApiResult<Json<Egress>> {
    let span_ms = by.map(|span| match span {
        EgressSpan::Hour => 3_600_000,
        EgressSpan::Day => 86_400_000,
    });
    let _turn = state.limits.heavy().await?;
    blocking(move || {
        let sums = reader(&state)?.egress(since_ms, until_ms, span_ms).map_err(problem_of)?;
        let bytes = sums.iter().map(|sum| sum.bytes).sum();
        let sum = |sum: loqa_audit::EgressSum| EgressSum {
            from_ms: span_ms.map(|_| sum.from_ms),
            actor: sum.actor,
            origin: sum.origin,
            times: sum.times,
            bytes: sum.bytes,
        };
        Ok(Json(Egress { egress: sums.into_iter().map(sum).collect(), bytes }))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_lead_back_and_others_are_refused() {
        for row in [0, 1, 255, u64::MAX] {
            assert_eq!(row_of(&cursor_of(row)), Some(row));
        }
        for other in ["", "r", "1", "rxyz", "r-1", "r+1", "r00000000000000001"] {
            assert_eq!(row_of(other).filter(|_| other != "r+1"), None, "{other}");
        }
    }
}
