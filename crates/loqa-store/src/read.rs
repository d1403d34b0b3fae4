//! Reading, beside the writer or without one: lists, turns, events, search, latency.

use crate::audio::{self, KeySource};
use crate::page::{Page, Paged};
use crate::row::{Counts, EventRow, Hit, LatencyRow, NodeRow, Percentiles, RecentEvent, SessionRow, TurnRow, Window};
use crate::schema::{self, VERSION};
use crate::writer::{Shared, lock};
use crate::{StoreError, open};
use loqa_protocol::{LatencySplit, SessionId, ToolCall, TurnClass, TurnEvent, TurnId};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longest time of one read. Chosen: a hundred times what a page of a million events needs.
pub(crate) const READ_PATIENCE: Duration = Duration::from_secs(10);
/// Steps of SQLite's machine between two looks at the clock. Chosen: about a millisecond.
const GLANCE: i32 = 20_000;
/// Connections that wait for the next read. Chosen: more do not read at once for long.
const MAX_IDLE: usize = 4;
/// Longest text of a search in characters, and most of its words. Chosen.
const MAX_SEARCH: usize = 400;
const MAX_WORDS: usize = 16;
/// Most splits that figures are made of; the newest ones are taken. Chosen: a year of heavy use.
const MAX_LATENCY: u32 = 200_000;

/// Reads the store; cheap to clone. Every call blocks for as long as the disk needs.
#[derive(Clone)]
pub struct Reader {
    source: Source,
    keys: KeySource,
}

#[derive(Clone)]
enum Source {
    File { path: PathBuf, idle: Arc<Mutex<Vec<Connection>>> },
    Memory(Shared),
}

impl Reader {
    /// Opens the file that a hub keeps, beside it or without one. Nothing is changed.
    ///
    /// # Errors
    /// There is no such file, it is of another version, or the system refuses.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.is_file() {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        let reader = Self::of_file(path);
        let (path, known) = (path.to_owned(), VERSION);
        match reader.with(|connection| Ok(schema::version(connection)?))? {
            VERSION => Ok(reader),
            0 => Err(StoreError::Missing { path }),
            found if found > VERSION => Err(StoreError::Newer { path, found, known }),
            found => Err(StoreError::Older { path, found, known }),
        }
    }

    pub(crate) fn of_file(path: &Path) -> Self {
        let source = Source::File { path: path.to_owned(), idle: Arc::default() };
        Self { source, keys: KeySource::of(Some(path)) }
    }

    pub(crate) fn of_memory(shared: Shared, keys: KeySource) -> Self {
        Self { source: Source::Memory(shared), keys }
    }

    /// The file; `None` in memory.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::File { path, .. } => Some(path),
            Source::Memory(_) => None,
        }
    }

    pub(crate) const fn keys(&self) -> &KeySource {
        &self.keys
    }

    fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let (path, idle) = match &self.source {
            Source::Memory(shared) => return read(&lock(shared)),
            Source::File { path, idle } => (path, idle),
        };
        let waiting = lock(idle).pop();
        let mut connection = match waiting {
            Some(connection) => connection,
            None => schema::open_reader(path).map_err(|e| StoreError::open(path, e))?,
        };
        let end = Instant::now() + READ_PATIENCE;
        connection.progress_handler(GLANCE, Some(move || Instant::now() > end))?;
        let result = read(&connection);
        let mut idle = lock(idle);
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
        result
    }

    /// Sessions, the one with the newest event first.
    ///
    /// # Errors
    /// The cursor is not one of this list, or the file cannot be read.
    pub fn sessions(&self, page: &Page) -> Result<Paged<SessionRow>, StoreError> {
        let (last_ms, id) = page.key("sessions")?.unwrap_or((i64::MAX, i64::MAX));
        self.with(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "{SESSION} WHERE (last_ms, id) < (?1, ?2) ORDER BY last_ms DESC, id DESC LIMIT ?3"
            ))?;
            let rows = statement.query_map(params![last_ms, id, page.rows() + 1], |row| {
                let session = session_row(row)?;
                let key = (session.last_ms, row.get(0)?);
                Ok((session, key))
            })?;
            Ok(Paged::cut("sessions", page, rows.collect::<Result<_, _>>()?))
        })
    }

    /// One session.
    ///
    /// # Errors
    /// It is not kept, or the file cannot be read.
    pub fn session(&self, session: &SessionId) -> Result<SessionRow, StoreError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(&format!("{SESSION} WHERE session = ?1"))?;
            let found = statement.query_row([session.as_str()], session_row).optional()?;
            found.ok_or_else(|| StoreError::not_found("session", session))
        })
    }

    /// The turns of a session, oldest first.
    ///
    /// # Errors
    /// The session is not kept, the cursor is not one of this list, or the file cannot be read.
    pub fn turns(&self, session: &SessionId, page: &Page) -> Result<Paged<TurnRow>, StoreError> {
        let (_, after) = page.key("turns")?.unwrap_or((0, 0));
        self.with(|connection| {
            let id: Option<i64> = connection
                .prepare_cached("SELECT id FROM sessions WHERE session = ?1")?
                .query_row([session.as_str()], |row| row.get(0))
                .optional()?;
            let Some(id) = id else { return Err(StoreError::not_found("session", session)) };
            let mut statement = connection.prepare_cached(&format!(
                "{TURN} WHERE turns.session_id = ?1 AND turns.id > ?2 ORDER BY turns.id LIMIT ?3"
            ))?;
            let rows = statement
                .query_map(params![id, after, page.rows() + 1], |row| Ok((turn_row(row)?, (0, row.get(0)?))))?;
            Ok(Paged::cut("turns", page, rows.collect::<Result<_, _>>()?))
        })
    }

    /// One turn.
    ///
    /// # Errors
    /// It is not kept, or the file cannot be read.
    pub fn turn(&self, turn: &TurnId) -> Result<TurnRow, StoreError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(&format!("{TURN} WHERE turns.turn = ?1"))?;
            let found = statement.query_row([turn.as_str()], turn_row).optional()?;
            found.ok_or_else(|| StoreError::not_found("turn", turn))
        })
    }

    /// The events of a turn in their order; a turn has some dozens, its length is bounded by its deadlines.
    ///
    /// # Errors
    /// The turn is not kept, or the file cannot be read.
    pub fn events(&self, turn: &TurnId) -> Result<Vec<EventRow>, StoreError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, at_us, events.wall_ms, event FROM turns JOIN events ON turn_id = turns.id
                 WHERE turn = ?1 ORDER BY seq",
            )?;
            let rows = statement.query_map([turn.as_str()], |row| {
                Ok(EventRow {
                    turn: turn.clone(),
                    seq: row.get(0)?,
                    at_us: row.get::<_, i64>(1)?.unsigned_abs(),
                    wall_ms: row.get(2)?,
                    event: json::<TurnEvent>(3, &row.get::<_, String>(3)?)?,
                })
            })?;
            let events = rows.collect::<Result<Vec<_>, _>>()?;
            if events.is_empty() { Err(StoreError::not_found("turn", turn)) } else { Ok(events) }
        })
    }

    /// The newest events, of one session or of all, for skills that may read them; of tool
    /// calls only with `tools`. At most `limit`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn recent_events(
        &self,
        session: Option<&SessionId>,
        tools: bool,
        limit: u32,
    ) -> Result<Vec<RecentEvent>, StoreError> {
        self.with(|connection| {
            // The newest turns first, from the index of their session or from the end of the table.
            let of_session = if session.is_some() { "sessions.session = ?1" } else { "?1 IS NULL" };
            let of_tools = if tools { "AND name IN ('tool_called', 'tool_returned', 'tool_denied')" } else { "" };
            let mut statement = connection.prepare_cached(&format!(
                "SELECT sessions.session, turns.turn, events.wall_ms, name, event
                 FROM turns JOIN sessions ON sessions.id = turns.session_id JOIN events ON events.turn_id = turns.id
                 WHERE {of_session} {of_tools} ORDER BY turns.id DESC, seq DESC LIMIT ?2"
            ))?;
            let rows = statement.query_map(params![session.map(SessionId::as_str), limit], |row| {
                let event: String = row.get(4)?;
                Ok(RecentEvent {
                    session: row.get(0)?,
                    turn: row.get(1)?,
                    at_ms: row.get(2)?,
                    name: row.get(3)?,
                    event: serde_json::from_str(&event).unwrap_or(Value::Null),
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Turns in which all words of `text` stand, in what was said or answered, newest
    /// first. Accents and case do not count. A text without a word finds nothing.
    ///
    /// # Errors
    /// The cursor is not one of this list, or the file cannot be read.
    pub fn search(&self, text: &str, page: &Page) -> Result<Paged<Hit>, StoreError> {
        let (_, before) = page.key("search")?.unwrap_or((0, i64::MAX));
        let query = quoted(text);
        if query.is_empty() {
            return Ok(Paged { items: Vec::new(), next: None });
        }
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT turns.id, sessions.session, turns.turn, turns.started_ms, transcripts.said, transcripts.reply,
                        snippet(transcripts_fts, -1, '[', ']', '…', 16)
                 FROM transcripts_fts
                 CROSS JOIN turns ON turns.id = transcripts_fts.rowid
                 CROSS JOIN transcripts ON transcripts.turn_id = turns.id
                 CROSS JOIN sessions ON sessions.id = turns.session_id
                 WHERE transcripts_fts MATCH ?1 AND transcripts_fts.rowid < ?2
                 ORDER BY transcripts_fts.rowid DESC LIMIT ?3",
            )?;
            let rows = statement.query_map(params![query, before, page.rows() + 1], |row| {
                let hit = Hit {
                    session: id(1, row.get(1)?, SessionId::new)?,
                    turn: id(2, row.get(2)?, TurnId::new)?,
                    at_ms: row.get(3)?,
                    transcript: row.get(4)?,
                    reply: row.get(5)?,
                    snippet: row.get(6)?,
                };
                Ok((hit, (0, row.get(0)?)))
            })?;
            Ok(Paged::cut("search", page, rows.collect::<Result<_, _>>()?))
        })
    }

    /// The latency of turns that ended in this window, newest first; at most 200,000.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn latency(&self, window: &Window) -> Result<Vec<LatencyRow>, StoreError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT sessions.session, turns.turn, at_ms, latency.class, total, endpoint, stt_tail, plan, skill,
                        llm_first_token, first_clause, tts_first_chunk, bus, output
                 FROM latency JOIN turns ON turns.id = turn_id JOIN sessions ON sessions.id = turns.session_id
                 WHERE at_ms >= ?1 AND at_ms < ?2 ORDER BY at_ms DESC, turn_id DESC LIMIT ?3",
            )?;
            let rows = statement.query_map(params![window.since_ms, window.until_ms, MAX_LATENCY], |row| {
                Ok(LatencyRow {
                    session: id(0, row.get(0)?, SessionId::new)?,
                    turn: id(1, row.get(1)?, TurnId::new)?,
                    at_ms: row.get(2)?,
                    class: word(3, row.get(3)?)?,
                    latency_ms: split(row, 4)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Exact percentiles of the turns that ended in this window, by class and part.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn percentiles(&self, window: &Window) -> Result<Vec<Percentiles>, StoreError> {
        let rows = self.latency(window)?;
        let mut found = Vec::new();
        for class in [TurnClass::Intent, TurnClass::Reflex, TurnClass::Llm, TurnClass::Cached, TurnClass::None] {
            let splits: Vec<LatencySplit> =
                rows.iter().filter(|row| row.class == class).map(|row| row.latency_ms).collect();
            if splits.is_empty() {
                continue;
            }
            let mut add = |part: &str, mut values: Vec<f64>| {
                values.sort_by(f64::total_cmp);
                let at = |share: f64| {
                    let rank = (share * values.len() as f64).ceil() as usize;
                    values[rank.clamp(1, values.len()) - 1]
                };
                let (turns, part) = (values.len() as u64, part.to_owned());
                found.push(Percentiles {
                    class,
                    part,
                    turns,
                    p50: at(0.5),
                    p95: at(0.95),
                    p99: at(0.99),
                    max: at(1.0),
                });
            };
            add("total", splits.iter().map(|split| split.total).collect());
            for (n, part) in LatencySplit::PART_NAMES.iter().enumerate() {
                add(part, splits.iter().map(|split| split.parts()[n]).collect());
            }
        }
        Ok(found)
    }

    /// Engine processes that were seen, the newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT instance, kind, node, program, capabilities, first_ms, last_ms FROM nodes
                 ORDER BY last_ms DESC, instance LIMIT 500",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(NodeRow {
                    instance: row.get(0)?,
                    kind: row.get(1)?,
                    node: row.get(2)?,
                    program: row.get(3)?,
                    capabilities: json(4, &row.get::<_, String>(4)?)?,
                    first_ms: row.get(5)?,
                    last_ms: row.get(6)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// A setting; `None` where it was never set.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn setting(&self, key: &str) -> Result<Option<Value>, StoreError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached("SELECT value FROM settings WHERE key = ?1")?;
            let text = statement.query_row([key], |row| row.get::<_, String>(0)).optional()?;
            Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
        })
    }

    /// The recording of a turn: 16 kHz mono samples.
    ///
    /// # Errors
    /// There is none, its key is missing, or the file cannot be read.
    pub fn recording(&self, turn: &TurnId) -> Result<Vec<i16>, StoreError> {
        self.with(|connection| audio::read(connection, &self.keys, turn))
    }

    /// Rows of each table, and the size of the file. Reads every table.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        self.with(|connection| counts(connection, self.path()))
    }

    /// What is wrong with the pages; `None` when they are sound. Reads the whole file, so
    /// there is no limit of time.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn check(&self, thorough: bool) -> Result<Option<String>, StoreError> {
        let result = match &self.source {
            Source::Memory(shared) => schema::fault(&lock(shared), thorough),
            Source::File { path, .. } => schema::open_reader(path).and_then(|it| schema::fault(&it, thorough)),
        };
        match result.map_err(StoreError::from) {
            // A file that cannot even be checked is damaged.
            Err(StoreError::Damaged { reason }) => Ok(Some(reason)),
            other => other,
        }
    }

    /// Copies the database to a new file that only the user can read, beside the writer;
    /// the key of recordings goes beside it. Says whether there was one.
    ///
    /// # Errors
    /// There is such a file already, or it cannot be written.
    pub fn backup(&self, to: &Path) -> Result<bool, StoreError> {
        if to.exists() {
            return Err(StoreError::open(to, "there is such a file already; choose another name"));
        }
        let made = match &self.source {
            Source::Memory(shared) => open::back_up(&lock(shared), to),
            // Without a limit of time: a large file takes long.
            Source::File { path, .. } => schema::open_reader(path)
                .map_err(StoreError::from)
                .and_then(|connection| open::back_up(&connection, to)),
        };
        if made.is_err() {
            let _ = std::fs::remove_file(to);
        }
        made?;
        self.path().map_or(Ok(false), |path| audio::back_up_key(path, to))
    }
}

const SESSION: &str = "SELECT id, session, scope, started_ms, last_ms, ended_ms, turns,
    (SELECT count(*) FROM recordings WHERE recordings.session_id = sessions.id),
    coalesce((SELECT substr(said, 1, 80) FROM turns JOIN transcripts ON turn_id = turns.id
              WHERE turns.session_id = sessions.id AND said <> '' ORDER BY turns.id LIMIT 1), '')
    FROM sessions";

const TURN: &str = "SELECT turns.id, turns.turn, sessions.session, turns.started_ms, turns.ended_ms, source, ending,
    turns.class, coalesce(said, ''), confidence, coalesce(reply, ''), capability, tool, failure,
    EXISTS (SELECT 1 FROM recordings WHERE recordings.turn_id = turns.id),
    total, endpoint, stt_tail, plan, skill, llm_first_token, first_clause, tts_first_chunk, bus, output
    FROM turns JOIN sessions ON sessions.id = turns.session_id
    LEFT JOIN transcripts ON transcripts.turn_id = turns.id LEFT JOIN latency ON latency.turn_id = turns.id";

fn session_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    Ok(SessionRow {
        session: id(1, row.get(1)?, SessionId::new)?,
        scope: word(2, row.get(2)?)?,
        started_ms: row.get(3)?,
        last_ms: row.get(4)?,
        ended_ms: row.get(5)?,
        turns: row.get::<_, i64>(6)?.unsigned_abs(),
        recordings: row.get::<_, i64>(7)?.unsigned_abs(),
        title: row.get(8)?,
    })
}

fn turn_row(row: &Row<'_>) -> rusqlite::Result<TurnRow> {
    let optional = |column: usize| row.get::<_, Option<String>>(column);
    Ok(TurnRow {
        turn: id(1, row.get(1)?, TurnId::new)?,
        session: id(2, row.get(2)?, SessionId::new)?,
        started_ms: row.get(3)?,
        ended_ms: row.get(4)?,
        source: optional(5)?.map(|text| word(5, text)).transpose()?,
        end: optional(6)?.map(|text| word(6, text)).transpose()?,
        class: optional(7)?.map(|text| word(7, text)).transpose()?,
        transcript: row.get(8)?,
        confidence: row.get(9)?,
        reply: row.get(10)?,
        capability: row.get(11)?,
        tool: optional(12)?.map(|text| json::<ToolCall>(12, &text)).transpose()?,
        failure: optional(13)?.map(|text| json(13, &text)).transpose()?,
        recording: row.get(14)?,
        latency_ms: if row.get::<_, Option<f64>>(15)?.is_some() { Some(split(row, 15)?) } else { None },
    })
}

/// Ten columns from this one on.
fn split(row: &Row<'_>, from: usize) -> rusqlite::Result<LatencySplit> {
    Ok(LatencySplit {
        total: row.get(from)?,
        endpoint: row.get(from + 1)?,
        stt_tail: row.get(from + 2)?,
        plan: row.get(from + 3)?,
        skill: row.get(from + 4)?,
        llm_first_token: row.get(from + 5)?,
        first_clause: row.get(from + 6)?,
        tts_first_chunk: row.get(from + 7)?,
        bus: row.get(from + 8)?,
        output: row.get(from + 9)?,
    })
}

fn id<T, E: std::error::Error + Send + Sync + 'static>(
    column: usize,
    text: String,
    new: impl FnOnce(String) -> Result<T, E>,
) -> rusqlite::Result<T> {
    new(text).map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

fn word<T: DeserializeOwned>(column: usize, text: String) -> rusqlite::Result<T> {
    serde_json::from_value(Value::String(text))
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

fn json<T: DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

/// What a person typed as a query that asks for its words and nothing else: each word
/// stands in quotes, so that none is an operator.
fn quoted(text: &str) -> String {
    let text: String = text.chars().filter(|c| *c != '\0').take(MAX_SEARCH).collect();
    text.split_whitespace()
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .take(MAX_WORDS)
        .map(|word| format!("\"{}\"", word.replace('"', "\"\"")))
        .collect::<Vec<_>>()
        .join(" ")
}

pub(crate) fn counts(connection: &Connection, path: Option<&Path>) -> Result<Counts, StoreError> {
    let of = |table: &str| -> Result<u64, StoreError> {
        let n: i64 = connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
        Ok(n.unsigned_abs())
    };
    let size =
        |end: &str| path.and_then(|path| std::fs::metadata(open::beside(path, end)).ok()).map_or(0, |it| it.len());
    Ok(Counts {
        sessions: of("sessions")?,
        turns: of("turns")?,
        events: of("events")?,
        transcripts: of("transcripts")?,
        recordings: of("recordings")?,
        latency: of("latency")?,
        nodes: of("nodes")?,
        settings: of("settings")?,
        bytes: size("") + size("-wal"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_types_is_words_and_no_query() {
        for (text, query) in [
            ("set a timer", "\"set\" \"a\" \"timer\""),
            ("tea OR coffee NOT milk*", "\"tea\" \"OR\" \"coffee\" \"NOT\" \"milk*\""),
            ("said:x \"quoted\" ^a", "\"said:x\" \"\"\"quoted\"\"\" \"^a\""),
            (" ' ( ) - \" * \0", ""),
            ("", ""),
        ] {
            assert_eq!(quoted(text), query, "{text:?}");
        }
        assert_eq!(quoted(&"word ".repeat(100)).split(' ').count(), MAX_WORDS);
    }
}
