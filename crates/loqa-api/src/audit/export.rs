//! The record as a stream, with the filters of the list.

use super::{AuditQuery, problem_of, reader};
use crate::extract::ApiQuery;
use crate::problem::{ApiResult, Problem};
use crate::state::AppState;
use crate::stream::{self, Pieces};
use axum::extract::State;
use axum::response::Response;
use loqa_audit::{Filter, Format};
use loqa_protocol::client::AuditRequest;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Form of the export.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// JSON lines, from which the chain can be verified, or a table.
    #[param(inline)]
    pub format: Option<ExportFormat>,
    /// Add the decrypted contents; JSON lines only.
    #[serde(default)]
    #[param(default = false)]
    pub contents: bool,
    /// Name of the skill, engine or other actor.
    pub actor: Option<String>,
    /// What the row is about.
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
}

/// Form of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// One JSON object in each line.
    #[default]
    Jsonl,
    /// A table.
    Csv,
}

/// Export rows, the oldest first
///
/// The export is a row of the record itself.
#[utoipa::path(get, path = "/v1/audit/export", tag = "audit", params(ExportQuery),
    responses((status = 200, content((String = "application/x-ndjson"), (String = "text/csv")))))]
pub(super) async fn export(
    State(state): State<Arc<AppState>>,
    ApiQuery(query): ApiQuery<ExportQuery>,
) -> ApiResult<Response> {
    let ExportQuery { format, contents, actor, kind, permission, decision, session, since_ms, until_ms, text } = query;
    let format = format.unwrap_or_default();
    if contents && format == ExportFormat::Csv {
        return Err(Problem::bad_request("`contents` goes with `format=jsonl` only"));
    }
    let query =
        AuditQuery { actor, kind, permission, decision, session, since_ms, until_ms, text, ..AuditQuery::default() };
    let filter = query.filter()?;
    let place = state.limits.heavy().await?;
    let media_type = match format {
        ExportFormat::Jsonl => "application/x-ndjson",
        ExportFormat::Csv => "text/csv; charset=utf-8",
    };
    Ok(stream::answer(media_type, "loqa-audit", move |pieces| {
        let _place = place;
        write(&state, &filter, format, contents, pieces);
    }))
}

fn write(state: &AppState, filter: &Filter, format: ExportFormat, contents: bool, pieces: Pieces) {
    let (form, name) = match format {
        ExportFormat::Jsonl => (Format::Jsonl, "jsonl"),
        ExportFormat::Csv => (Format::Csv, "csv"),
    };
    let end = pieces.clone();
    let mut counted = Counted { to: pieces.writer(), lines: 0 };
    let exported =
        reader(state).and_then(|reader| reader.export(filter, form, contents, &mut counted).map_err(problem_of));
    let header = u64::from(form == Format::Csv);
    // What went out is noted also when the client left in the middle.
    let rows = counted.lines.saturating_sub(header);
    let request = AuditRequest::Exported { rows, format: name.to_owned() };
    loqa_hub::audit::answer(state.hub.audit(), request);
    if let Err(problem) = exported {
        // The client sees that the answer broke off, not that it was short.
        end.break_off(problem.detail);
    }
}

/// Counts lines, which are rows.
struct Counted<W> {
    to: W,
    lines: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n_bytes = self.to.write(bytes)?;
        let taken = bytes.get(..n_bytes).unwrap_or_default();
        self.lines += taken.iter().filter(|byte| **byte == b'\n').count() as u64;
        Ok(n_bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}
