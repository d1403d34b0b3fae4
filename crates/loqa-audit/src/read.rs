//! Reading beside the writer: list, show, sum, export. Nothing here changes the file.

use crate::FILE_NAME;
use crate::body::Hash;
use crate::checkpoint::{Checkpoint, public_key};
use crate::payload;
use crate::record::{Decision, Kind};
use crate::row::Row;
use crate::store::{checkpoint_of, is_systems, seq_at, sql};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no record yet; it is made by the first start of the hub.
    #[error("there is no audit at `{path}`: start the hub once, or set `paths.data`")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses; check permissions.
    #[error("read the audit `{path}`: {reason}")]
    System {
        /// The file.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// It is not what was written; `loqa audit verify` says where.
    #[error("the audit `{path}` is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The export cannot be written; check space and permissions.
    #[error("write the export: {0}")]
    Write(#[from] std::io::Error),
}

/// Which rows. Every condition that is set must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Name of the skill or other actor.
    pub actor: Option<String>,
    /// What it is about.
    pub kind: Option<Kind>,
    /// Name of the permission.
    pub permission: Option<String>,
    /// What was decided.
    pub decision: Option<Decision>,
    /// The session.
    pub session: Option<String>,
    /// Not older, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Older, in milliseconds since the Unix epoch.
    pub until_ms: Option<i64>,
    /// Stands somewhere in the record or in its contents, in any case.
    pub text: Option<String>,
    /// Rows before this one: the last of the page before.
    pub before: Option<u64>,
    /// Most rows; 0 means all.
    pub limit: usize,
}

/// Contents of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Contents {
    /// The row has none.
    None,
    /// They were not kept, because nothing was to be kept.
    Withheld,
    /// They were longer than the record keeps.
    TooLong,
    /// Their key was deleted.
    Erased,
    /// Here they are, and they are those that the row commits to.
    Kept(Value),
    /// They are not those that the row commits to; says why.
    Changed(String),
}

/// One row with what stands around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The row.
    pub row: Row,
    /// Its contents.
    pub contents: Contents,
    /// The row before it; its hash is this row's `prev`.
    pub before: Option<Row>,
    /// The row after it; its `prev` is this row's hash.
    pub after: Option<Row>,
    /// Of an intent: the row that says how it ended.
    pub outcome: Option<Row>,
    /// The checkpoint that covers it, if there is one yet.
    pub sealed_by: Option<u64>,
}

/// What left the machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EgressSum {
    /// Begin of the span, in milliseconds since the Unix epoch; 0 when not split by time.
    pub from_ms: i64,
    /// Who.
    pub actor: String,
    /// Where to: scheme, host and port of a URL, else the target as it stands.
    pub origin: String,
    /// How often.
    pub times: u64,
    /// How much.
    pub bytes: u64,
}

/// Form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object in each line, from which the chain can be verified.
    Jsonl,
    /// A table for people; the chain cannot be verified from it.
    Csv,
}

/// Ciphertext, key and salt.
pub(crate) type Sealed = (Vec<u8>, Vec<u8>, Vec<u8>);

/// The record, open for reading.
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

impl Reader {
    /// Opens the record of a data folder.
    pub fn open(dir: &Path) -> Result<Self, ReadError> {
        Self::open_file(&dir.join(FILE_NAME))
    }

    /// Opens one file, for example one that was put aside.
    pub fn open_file(path: &Path) -> Result<Self, ReadError> {
        if !path.is_file() {
            return Err(ReadError::Missing { path: path.to_owned() });
        }
        let connection =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .and_then(|connection| {
                    connection.busy_timeout(Duration::from_secs(2))?;
                    connection.pragma_update(None, "trusted_schema", false)?;
                    connection.pragma_update(None, "cell_size_check", true)?;
                    Ok(connection)
                });
        match connection {
            Ok(connection) => Ok(Self { connection, path: path.to_owned() }),
            Err(error) => Err(read_error(path, &error)),
        }
    }

    /// The public key that belongs to the folder of this file, in hex; `None` where its
    /// key file is not.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        public_key(self.path.parent()?)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Rows that fit, newest first.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Row>, ReadError> {
        let mut rows = Vec::new();
        let before = filter.before.map_or(i64::MAX, sql);
        self.select("seq < ?1 ORDER BY seq DESC", before, &mut |row| {
            if let Ok(row) = row
                && self.fits(filter, &row)?
            {
                rows.push(row);
            }
            Ok(filter.limit == 0 || rows.len() < filter.limit)
        })?;
        Ok(rows)
    }

    /// One row with its neighbours and contents.
    pub fn show(&self, seq: u64) -> Result<Option<Shown>, ReadError> {
        let Some(row) = self.row(seq)? else { return Ok(None) };
        let mut outcome = None;
        let mut sealed_by = None;
        self.select("seq > ?1 ORDER BY seq", sql(seq), &mut |later| {
            let Ok(later) = later else { return Ok(true) };
            match later.kind() {
                Some(Kind::AuditCheckpoint) if sealed_by.is_none() => sealed_by = Some(later.seq),
                Some(Kind::CallOutcome) if later.number("intent") == Some(seq) => outcome = Some(later),
                _ => {}
            }
            Ok(sealed_by.is_none() || (row.kind() == Some(Kind::CallIntent) && outcome.is_none()))
        })?;
        let contents = self.contents(&row)?;
        let before = if seq > 1 { self.row(seq - 1)? } else { None };
        let after = self.row(seq + 1)?;
        Ok(Some(Shown { row, contents, before, after, outcome, sealed_by }))
    }

    /// Contents of a row, decrypted and compared with its commitment.
    pub fn contents(&self, row: &Row) -> Result<Contents, ReadError> {
        Ok(match row.text("payload") {
            None => Contents::None,
            Some("kept") => match self.sealed(row.seq)? {
                None => Contents::Erased,
                Some((ciphertext, key, salt)) => {
                    let committed = row.text("commitment").unwrap_or_default();
                    match payload::open(row.seq, &ciphertext, &key, &salt, committed) {
                        Ok(contents) => Contents::Kept(contents),
                        Err(why) => Contents::Changed(why.to_owned()),
                    }
                }
            },
            Some("too_long") => Contents::TooLong,
            Some(_) => Contents::Withheld,
        })
    }

    /// What left the machine, by actor and origin and, with `span_ms`, by spans of that length.
    pub fn egress(
        &self,
        since_ms: Option<i64>,
        until_ms: Option<i64>,
        span_ms: Option<i64>,
    ) -> Result<Vec<EgressSum>, ReadError> {
        let mut sums: BTreeMap<(i64, String, String), (u64, u64)> = BTreeMap::new();
        let filter = Filter { kind: Some(Kind::Egress), since_ms, until_ms, ..Filter::default() };
        self.select("seq > ?1 AND instr(body, '\"kind\":\"egress\"') ORDER BY seq", 0, &mut |row| {
            if let Ok(row) = row
                && self.fits(&filter, &row)?
            {
                let at = row.wall_ms().unwrap_or(0);
                let from = span_ms.filter(|span| *span > 0).map_or(0, |span| at.div_euclid(span) * span);
                let actor = row.actor().unwrap_or_default().to_owned();
                let sum = sums.entry((from, actor, origin(row.effect("target").unwrap_or_default()))).or_default();
                sum.0 += 1;
                sum.1 = sum.1.saturating_add(row.bytes_out().unwrap_or(0));
            }
            Ok(true)
        })?;
        let sum = |((from_ms, actor, origin), (times, bytes))| EgressSum { from_ms, actor, origin, times, bytes };
        Ok(sums.into_iter().map(sum).collect())
    }

    /// Writes rows that fit, oldest first, and says how many. With `contents`, JSON
    /// lines carry the decrypted contents beside the record.
    pub fn export(
        &self,
        filter: &Filter,
        format: Format,
        contents: bool,
        to: &mut dyn Write,
    ) -> Result<u64, ReadError> {
        let mut n_rows = 0u64;
        if format == Format::Csv {
            writeln!(to, "{}", CSV_COLUMNS.join(","))?;
        }
        self.select("seq > ?1 ORDER BY seq", 0, &mut |row| {
            let row = row.map_err(|reason| ReadError::Damaged { path: self.path.clone(), reason })?;
            if !self.fits(filter, &row)? || filter.before.is_some_and(|before| row.seq >= before) {
                return Ok(true);
            }
            match format {
                Format::Csv => writeln!(to, "{}", csv_line(&row))?,
                Format::Jsonl => {
                    let opened = if contents { self.contents(&row)? } else { Contents::None };
                    let more = match opened {
                        Contents::Kept(value) => format!(",\"contents\":{value}"),
                        _ => String::new(),
                    };
                    // The record goes out byte by byte as it was hashed.
                    let (hash, prev) = (hex::encode(row.hash), hex::encode(row.prev));
                    writeln!(to, "{{\"hash\":\"{hash}\",\"prev\":\"{prev}\",\"record\":{}{more}}}", row.body)?;
                }
            }
            n_rows += 1;
            Ok(filter.limit == 0 || n_rows < filter.limit as u64)
        })?;
        to.flush()?;
        Ok(n_rows)
    }

    /// The newest checkpoint among the rows.
    pub fn newest_checkpoint(&self) -> Result<Option<Checkpoint>, ReadError> {
        let mut newest = None;
        self.select("seq <= ?1 ORDER BY seq DESC", i64::MAX, &mut |row| {
            if let Ok(row) = row
                && row.kind() == Some(Kind::AuditCheckpoint)
            {
                newest = checkpoint_of(&row);
            }
            Ok(newest.is_none())
        })?;
        Ok(newest)
    }

    fn row(&self, seq: u64) -> Result<Option<Row>, ReadError> {
        let mut found = None;
        self.select("seq = ?1", sql(seq), &mut |row| {
            found = Some(row.map_err(|reason| ReadError::Damaged { path: self.path.clone(), reason })?);
            Ok(false)
        })?;
        Ok(found)
    }

    fn fits(&self, filter: &Filter, row: &Row) -> Result<bool, ReadError> {
        let Filter { actor, kind, permission, decision, session, since_ms, until_ms, text, before: _, limit: _ } =
            filter;
        let is = |name: &str, wanted: &Option<String>| wanted.as_deref().is_none_or(|w| row.text(name) == Some(w));
        let at = row.wall_ms().unwrap_or(0);
        let plain = actor.as_deref().is_none_or(|actor| row.actor() == Some(actor))
            && kind.is_none_or(|kind| row.kind() == Some(kind))
            && is("permission", permission)
            && decision.is_none_or(|decision| row.text("decision") == Some(decision.as_str()))
            && is("session", session)
            && since_ms.is_none_or(|since| at >= since)
            && until_ms.is_none_or(|until| at < until);
        let Some(text) = text.as_deref().filter(|_| plain) else { return Ok(plain) };
        let text = text.to_lowercase();
        if row.body.to_lowercase().contains(&text) {
            return Ok(true);
        }
        Ok(match self.contents(row)? {
            Contents::Kept(contents) => contents.to_string().to_lowercase().contains(&text),
            _ => false,
        })
    }

    /// All reads until the guard is dropped see one state.
    pub(crate) fn snapshot(&self) -> Result<Transaction<'_>, ReadError> {
        self.connection.unchecked_transaction().map_err(|e| read_error(&self.path, &e))
    }

    pub(crate) fn base(&self) -> Result<(u64, Hash), ReadError> {
        self.connection
            .query_row("SELECT seq, hash FROM base WHERE id = 1", [], |row| Ok((seq_at(row, 0)?, row.get(1)?)))
            .map_err(|e| read_error(&self.path, &e))
    }

    /// Every row after one, in order, until `visit` says `false`.
    pub(crate) fn each(&self, after: u64, mut visit: impl FnMut(Result<Row, String>) -> bool) -> Result<(), ReadError> {
        self.select("seq > ?1 ORDER BY seq", sql(after), &mut |row| Ok(visit(row)))
    }

    /// Ciphertext, key and salt of a row's contents; `None` when one of them is gone.
    pub(crate) fn sealed(&self, seq: u64) -> Result<Option<Sealed>, ReadError> {
        self.connection
            .prepare_cached("SELECT ciphertext, key, salt FROM payload JOIN payload_key USING (seq) WHERE seq = ?1")
            .and_then(|mut statement| {
                statement.query_row([sql(seq)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()
            })
            .map_err(|e| read_error(&self.path, &e))
    }

    /// SQLite's own check; says the first fault.
    pub(crate) fn integrity(&self) -> Result<Option<String>, ReadError> {
        let verdict: String = self
            .connection
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(|e| read_error(&self.path, &e))?;
        Ok((verdict != "ok").then_some(verdict))
    }

    fn select(
        &self,
        condition: &str,
        value: i64,
        visit: &mut dyn FnMut(Result<Row, String>) -> Result<bool, ReadError>,
    ) -> Result<(), ReadError> {
        let error = |e: rusqlite::Error| read_error(&self.path, &e);
        // What pruning left behind is no part of the record.
        let statement =
            format!("SELECT seq, prev, hash, body FROM record WHERE seq > (SELECT seq FROM base) AND {condition}");
        let mut statement = self.connection.prepare_cached(&statement).map_err(error)?;
        let mut rows = statement.query([value]).map_err(error)?;
        while let Some(row) = rows.next().map_err(error)? {
            if !visit(Row::read(row))? {
                break;
            }
        }
        Ok(())
    }
}

fn read_error(path: &Path, error: &rusqlite::Error) -> ReadError {
    let (path, reason) = (path.to_owned(), error.to_string());
    if is_systems(error) { ReadError::System { path, reason } } else { ReadError::Damaged { path, reason } }
}

/// Scheme, host and port of a URL, else the text as it stands.
#[must_use]
pub fn origin(target: &str) -> String {
    match target.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            // What stands before an `@` is a secret.
            format!("{scheme}://{}", host.rsplit('@').next().unwrap_or_default())
        }
        None => target.to_owned(),
    }
}

/// Columns of the table that is exported.
const CSV_COLUMNS: &[&str] = &[
    "seq",
    "wall_ms",
    "kind",
    "actor_kind",
    "actor",
    "version",
    "permission",
    "scope",
    "decision",
    "reason",
    "operation",
    "target",
    "bytes_out",
    "status",
    "intent",
    "session",
    "turn",
    "trigger",
    "taint",
    "hash",
];

fn csv_line(row: &Row) -> String {
    let of = |outer: &str, inner: &str| row.record.get(outer).and_then(|fields| fields.get(inner));
    let cells = CSV_COLUMNS.iter().map(|column| {
        let value = match *column {
            "hash" => return hex::encode(row.hash),
            "actor_kind" => of("actor", "kind"),
            "actor" => of("actor", "id"),
            "version" => of("actor", "version"),
            "operation" => of("effect", "operation"),
            "target" => of("effect", "target"),
            "bytes_out" => of("effect", "bytes_out").or_else(|| of("outcome", "bytes_out")),
            "status" => of("outcome", "status"),
            name => row.record.get(name),
        };
        csv_cell(value)
    });
    cells.collect::<Vec<_>>().join(",")
}

fn csv_cell(value: Option<&Value>) -> String {
    let text = match value {
        None => return String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().unwrap_or_default()).collect::<Vec<_>>().join(" ")
        }
        Some(other) => return other.to_string(),
    };
    // A spreadsheet would run a text that begins like this.
    let text = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_origin_holds_no_path_and_no_secret() {
        assert_eq!(origin("https://api.example:443/v1/x?key=1"), "https://api.example:443");
        assert_eq!(origin("https://user:secret@host/x"), "https://host");
        assert_eq!(origin("light.kitchen"), "light.kitchen");
    }

    #[test]
    fn a_table_runs_nothing_and_keeps_its_columns() {
        assert_eq!(csv_cell(Some(&json!("=cmd|' /C calc'!A0"))), "'=cmd|' /C calc'!A0");
        assert_eq!(csv_cell(Some(&json!("a,\"b\"\nc"))), "\"a,\"\"b\"\"\nc\"");
        assert_eq!(csv_cell(Some(&json!(["user", "llm"]))), "user llm");
        assert_eq!(csv_cell(Some(&json!(3))), "3");
        assert_eq!(csv_cell(None), "");
    }
}
