//! The record as a stream: rows leave as they are read, and only as fast as they are taken.

use super::{AuditQuery, problem_of, reader};
use crate::extract::ApiQuery;
use crate::problem::{ApiResult, Problem};
use crate::state::AppState;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use loqa_audit::{Filter, Format};
use loqa_protocol::client::AuditRequest;
use serde::{Deserialize, Serialize};
use std::io::{BufWriter, Error, ErrorKind, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};

/// Bytes of one piece. Chosen.
const PIECE: usize = 64 * 1024;
/// Pieces that may wait for a client. Chosen.
const PIECES: usize = 4;
/// Longest wait for a client that takes nothing. Chosen.
const TAKE_TIME: Duration = Duration::from_secs(30);

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
    /// The session.
    pub session: Option<String>,
    /// Not older, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Older, in milliseconds since the Unix epoch.
    pub until_ms: Option<i64>,
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
    let ExportQuery { format, contents, actor, kind, session, since_ms, until_ms } = query;
    let format = format.unwrap_or_default();
    if contents && format == ExportFormat::Csv {
        return Err(Problem::bad_request("`contents` goes with `format=jsonl` only"));
    }
    let query = AuditQuery { actor, kind, session, since_ms, until_ms, ..AuditQuery::default() };
    let filter = query.filter()?;
    let place = state.limits.heavy().await?;
    let (pieces, waiting) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let _place = place;
        write(&state, &filter, format, contents, pieces);
    });
    let media_type = match format {
        ExportFormat::Jsonl => "application/x-ndjson",
        ExportFormat::Csv => "text/csv; charset=utf-8",
    };
    let stream = futures_util::stream::unfold(waiting, async |mut waiting| Some((waiting.recv().await?, waiting)));
    let name = "attachment; filename=\"loqa-audit\"";
    let fields = [(header::CONTENT_TYPE, media_type), (header::CONTENT_DISPOSITION, name)];
    Ok((fields, Body::from_stream(stream)).into_response())
}

fn write(state: &AppState, filter: &Filter, format: ExportFormat, contents: bool, pieces: Pieces) {
    let (form, name) = match format {
        ExportFormat::Jsonl => (Format::Jsonl, "jsonl"),
        ExportFormat::Csv => (Format::Csv, "csv"),
    };
    let end = pieces.clone();
    let mut counted = Counted { to: BufWriter::with_capacity(PIECE, PieceWriter(pieces)), lines: 0 };
    let exported =
        reader(state).and_then(|reader| reader.export(filter, form, contents, &mut counted).map_err(problem_of));
    let header = u64::from(form == Format::Csv);
    // What went out is noted also when the client left in the middle.
    let rows = counted.lines.saturating_sub(header);
    let request = AuditRequest::Exported { rows, format: name.to_owned() };
    loqa_hub::audit::answer(state.hub.audit(), request);
    if let Err(problem) = exported {
        // The client sees that the answer broke off, not that it was short.
        let _gone = end.blocking_send(Err(Error::other(problem.detail)));
    }
}

type Pieces = mpsc::Sender<Result<Bytes, Error>>;

/// Hands pieces over to the connection; waits for a slow client, but not for ever.
struct PieceWriter(Pieces);

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let end = Instant::now() + TAKE_TIME;
        let mut piece = Ok(Bytes::copy_from_slice(bytes));
        loop {
            match self.0.try_send(piece) {
                Ok(()) => return Ok(bytes.len()),
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(ErrorKind::BrokenPipe.into()),
                Err(mpsc::error::TrySendError::Full(_)) if Instant::now() > end => {
                    return Err(ErrorKind::TimedOut.into());
                }
                Err(mpsc::error::TrySendError::Full(again)) => piece = again,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
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
