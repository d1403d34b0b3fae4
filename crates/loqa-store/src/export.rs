//! Sessions as JSON lines: each session, its turns and their events. `loqa replay --suite`
//! reads them back.

use crate::{MAX_LIMIT, Page, Reader, SessionRow, StoreError};
use loqa_protocol::SessionId;
use serde::Serialize;
use serde_json::{Value, json};
use std::io::Write;

/// What an export holds beside sessions and turns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportForm {
    /// Every event.
    pub events: bool,
    /// The recordings, decrypted, in hexadecimal digits.
    pub audio: bool,
}

/// How much was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// Sessions.
    pub sessions: u64,
    /// Turns.
    pub turns: u64,
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whoever takes the lines refuses, or is gone.
    #[error("write the export: {0}")]
    Write(#[from] std::io::Error),
    /// A row does not fit into JSON, which no row makes happen.
    #[error("write a row: {0}")]
    Row(#[from] serde_json::Error),
}

/// Writes these sessions, or all of them where none is named.
///
/// # Errors
/// See [`ExportError`]; what was written stays written.
pub fn export(
    reader: &Reader,
    which: &[SessionId],
    form: ExportForm,
    out: &mut dyn Write,
) -> Result<Exported, ExportError> {
    let mut exported = Exported::default();
    if which.is_empty() {
        let mut page = Some(Page::first(MAX_LIMIT));
        while let Some(wanted) = page {
            let paged = reader.sessions(&wanted)?;
            for row in &paged.items {
                one(reader, row, form, out, &mut exported)?;
            }
            page = wanted.following(&paged);
        }
    }
    for session in which {
        one(reader, &reader.session(session)?, form, out, &mut exported)?;
    }
    out.flush()?;
    Ok(exported)
}

fn one(
    reader: &Reader,
    row: &SessionRow,
    form: ExportForm,
    out: &mut dyn Write,
    exported: &mut Exported,
) -> Result<(), ExportError> {
    writeln!(out, "{}", tagged("session", row)?)?;
    exported.sessions += 1;
    let mut page = Some(Page::first(MAX_LIMIT));
    while let Some(wanted) = page {
        let paged = reader.turns(&row.session, &wanted)?;
        for turn in &paged.items {
            let mut value = tagged("turn", turn)?;
            if form.audio && turn.recording {
                let samples = reader.recording(&turn.turn)?;
                let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
                value["pcm_hex"] = Value::from(hex::encode(bytes));
            }
            writeln!(out, "{value}")?;
            exported.turns += 1;
            if form.events {
                for event in reader.events(&turn.turn)? {
                    writeln!(out, "{}", tagged("event", &event)?)?;
                }
            }
        }
        page = wanted.following(&paged);
    }
    Ok(())
}

fn tagged(kind: &str, row: &impl Serialize) -> Result<Value, serde_json::Error> {
    let mut line = json!({ "type": kind });
    if let (Some(line), Value::Object(fields)) = (line.as_object_mut(), serde_json::to_value(row)?) {
        line.extend(fields);
    }
    Ok(line)
}
