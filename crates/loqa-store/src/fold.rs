//! What a turn amounts to, folded from its events one by one, and the statements that
//! write it. The writer keeps the folds of turns that run; one that it does not have
//! is made again from the events that are kept.

use loqa_protocol::{LatencySplit, PrivacyScope, SessionId, TurnEvent, TurnId};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use serde_json::Value;

/// A turn that runs.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    /// Row of the turn.
    pub(crate) id: i64,
    pub(crate) session_id: i64,
    last_ms: i64,
    ended_ms: Option<i64>,
    source: Option<String>,
    ending: Option<String>,
    class: Option<String>,
    confidence: Option<f64>,
    capability: Option<String>,
    tool: Option<String>,
    failure: Option<String>,
    said: String,
    reply: String,
    latency: Option<LatencySplit>,
    /// The texts are not those that are written.
    texts_changed: bool,
    /// Something is not written.
    pub(crate) changed: bool,
}

impl Fold {
    /// The turn's row, made if it is not there.
    pub(crate) fn of_turn(
        connection: &Connection,
        session: &SessionId,
        turn: &TurnId,
        scope: PrivacyScope,
        wall_ms: i64,
    ) -> rusqlite::Result<Self> {
        let mut find = connection.prepare_cached("SELECT id, session_id FROM turns WHERE turn = ?1")?;
        let found = find
            .query_row([turn.as_str()], |row| Ok(Self { id: row.get(0)?, session_id: row.get(1)?, ..Self::default() }))
            .optional()?;
        if let Some(mut fold) = found {
            fold.replay(connection)?;
            return Ok(fold);
        }
        let mut upsert = connection.prepare_cached(
            "INSERT INTO sessions (session, scope, started_ms, last_ms) VALUES (?1, ?2, ?3, ?3)
             ON CONFLICT (session) DO UPDATE SET ended_ms = NULL,
                 scope = CASE excluded.scope WHEN 'persistent' THEN 'persistent' ELSE scope END
             RETURNING id",
        )?;
        let session_id: i64 = upsert.query_row(params![session.as_str(), scope.as_str(), wall_ms], |row| row.get(0))?;
        connection
            .prepare_cached(
                "INSERT INTO turns (session_id, turn, scope, started_ms, last_ms) VALUES (?1, ?2, ?3, ?4, ?4)",
            )?
            .execute(params![session_id, turn.as_str(), scope.as_str(), wall_ms])?;
        let id = connection.last_insert_rowid();
        Ok(Self { id, session_id, last_ms: wall_ms, ..Self::default() })
    }

    /// Takes the events in that are kept already.
    fn replay(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut read =
            connection.prepare_cached("SELECT wall_ms, event FROM events WHERE turn_id = ?1 ORDER BY seq")?;
        let mut rows = read.query([self.id])?;
        while let Some(row) = rows.next()? {
            let text: String = row.get(1)?;
            if let Ok(event) = serde_json::from_str::<TurnEvent>(&text) {
                self.apply(&event, row.get(0)?);
            }
        }
        (self.changed, self.texts_changed) = (false, false);
        Ok(())
    }

    /// Takes one event in.
    pub(crate) fn apply(&mut self, event: &TurnEvent, wall_ms: i64) {
        self.changed = true;
        self.last_ms = self.last_ms.max(wall_ms);
        match event {
            TurnEvent::TurnStarted { source } => self.source = word(source),
            TurnEvent::TranscriptFinal { text, confidence } => {
                self.said.clone_from(text);
                self.confidence = Some(f64::from(*confidence));
                self.texts_changed = true;
            }
            TurnEvent::ReplyStarted { capability, .. } => self.capability = Some(capability.clone()),
            TurnEvent::ToolCalled { call, .. } => self.tool = serde_json::to_string(call).ok(),
            TurnEvent::SpeakingStarted { text } => {
                if !self.reply.is_empty() {
                    self.reply.push(' ');
                }
                self.reply.push_str(text.trim());
                self.texts_changed = true;
            }
            TurnEvent::TurnFailed { failure } => self.failure = serde_json::to_string(failure).ok(),
            TurnEvent::TurnEnded { end, class, latency_ms } => {
                (self.ending, self.class) = (word(end), Some(class.as_str().to_owned()));
                self.latency = *latency_ms;
                self.ended_ms = Some(wall_ms);
            }
            TurnEvent::SpeechStarted
            | TurnEvent::SpeechEnded { .. }
            | TurnEvent::TranscriptPartial { .. }
            | TurnEvent::IntentMatched { .. }
            | TurnEvent::ReplyDelta { .. }
            | TurnEvent::ToolReturned { .. }
            | TurnEvent::ToolDenied { .. }
            | TurnEvent::FirstSound
            | TurnEvent::SpeakingFinished
            | TurnEvent::Degraded { .. } => {}
        }
    }

    /// Whether its last event came.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended_ms.is_some()
    }

    /// Writes what changed since the last time.
    pub(crate) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "UPDATE turns SET last_ms = max(last_ms, ?2), ended_ms = ?3, source = ?4, ending = ?5, class = ?6,
                     confidence = ?7, capability = ?8, tool = ?9, failure = ?10 WHERE id = ?1",
            )?
            .execute(params![
                self.id,
                self.last_ms,
                self.ended_ms,
                self.source,
                self.ending,
                self.class,
                self.confidence,
                self.capability,
                self.tool,
                self.failure
            ])?;
        connection
            .prepare_cached("UPDATE sessions SET last_ms = max(last_ms, ?2) WHERE id = ?1")?
            .execute(params![self.session_id, self.last_ms])?;
        if self.texts_changed {
            connection
                .prepare_cached(
                    "INSERT INTO transcripts (turn_id, said, reply) VALUES (?1, ?2, ?3)
                     ON CONFLICT (turn_id) DO UPDATE SET said = excluded.said, reply = excluded.reply",
                )?
                .execute(params![self.id, self.said, self.reply])?;
        }
        if let (Some(split), Some(at_ms)) = (&self.latency, self.ended_ms) {
            let [endpoint, stt_tail, plan, skill, llm_first_token, first_clause, tts_first_chunk, bus, output] =
                split.parts();
            connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO latency VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                )?
                .execute(params![
                    self.id,
                    at_ms,
                    self.class,
                    split.total,
                    endpoint,
                    stt_tail,
                    plan,
                    skill,
                    llm_first_token,
                    first_clause,
                    tts_first_chunk,
                    bus,
                    output
                ])?;
        }
        (self.changed, self.texts_changed) = (false, false);
        Ok(())
    }
}

/// The text form of a unit variant.
pub(crate) fn word<T: Serialize>(value: &T) -> Option<String> {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => Some(word),
        _ => None,
    }
}
