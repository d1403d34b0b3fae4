//! Taking away: what is older than the limits, a session, everything. What is deleted
//! is overwritten in the file, and the write-ahead file is emptied.

use crate::open::{beside, leftovers};
use crate::row::{Counts, Erased};
use crate::{Fault, StoreError, audio, read, schema};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use sha2::{Digest as _, Sha256};
use std::path::Path;

/// Turns of one transaction, so that events do not wait long behind it. Chosen.
const STEP: i64 = 250;
const DAY_MS: i64 = 86_400_000;

/// How long turns of persistent sessions are kept. A turn goes when it is beyond one of
/// the limits; nothing that is within both goes, whatever else its session holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Turns that ended so many days ago go; 0 is no limit.
    pub keep_days: u32,
    /// So many of the newest turns stay; 0 is no limit.
    pub keep_turns: u64,
}

impl Retention {
    /// Turns whose last event is before this go.
    fn cutoff_ms(self, now_ms: i64) -> i64 {
        match self.keep_days {
            0 => i64::MIN,
            days => now_ms.saturating_sub(i64::from(days).saturating_mul(DAY_MS)),
        }
    }
}

/// Removes turns beyond the limits; says how many.
pub(crate) fn prune(
    connection: &mut Connection,
    retention: Retention,
    now_ms: i64,
    fault: Option<Fault>,
) -> Result<u64, StoreError> {
    let cutoff = retention.cutoff_ms(now_ms);
    let mut removed = 0;
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // The newest turn that is one too many.
        let beyond: Option<i64> = match i64::try_from(retention.keep_turns) {
            Ok(0) | Err(_) => None,
            Ok(keep) => transaction
                .query_row(
                    "SELECT id FROM turns WHERE scope = 'persistent' ORDER BY id DESC LIMIT 1 OFFSET ?1",
                    [keep],
                    |row| row.get(0),
                )
                .optional()?,
        };
        let gone = if fault == Some(Fault::PruneBySession) {
            transaction.execute("DELETE FROM sessions WHERE started_ms < ?1", [cutoff])?;
            0
        } else {
            transaction.execute(
                "DELETE FROM turns WHERE id IN (
                     SELECT id FROM turns WHERE scope = 'persistent' AND (last_ms < ?1 OR id <= ?2) ORDER BY id LIMIT ?3)",
                params![cutoff, beyond.unwrap_or(i64::MIN), STEP],
            )?
        };
        transaction.execute("DELETE FROM sessions WHERE turns = 0", [])?;
        transaction.commit()?;
        removed += gone as u64;
        if (gone as i64) < STEP {
            break;
        }
    }
    if removed > 0 {
        empty_wal(connection)?;
    }
    Ok(removed)
}

/// Removes the turns that were kept for their session only: of one session, or of all.
pub(crate) fn end_session_scopes(connection: &mut Connection, session: Option<&str>) -> rusqlite::Result<u64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let removed = transaction.execute(
        "DELETE FROM turns WHERE scope = 'session'
         AND (?1 IS NULL OR session_id = (SELECT id FROM sessions WHERE session = ?1))",
        [session],
    )?;
    transaction.execute("DELETE FROM sessions WHERE turns = 0", [])?;
    transaction.commit()?;
    Ok(removed as u64)
}

/// A session has ended: what was kept for it only goes, the rest is marked.
pub(crate) fn end_session(connection: &mut Connection, session: &str, now_ms: i64) -> Result<u64, StoreError> {
    let removed = end_session_scopes(connection, Some(session))?;
    connection
        .execute("UPDATE sessions SET ended_ms = max(last_ms, ?2) WHERE session = ?1", params![session, now_ms])?;
    if removed > 0 {
        empty_wal(connection)?;
    }
    Ok(removed)
}

/// Removes a session with all that hangs on it. Backups of migrations go too: they may
/// hold it.
pub(crate) fn delete_session(
    connection: &mut Connection,
    path: Option<&Path>,
    session: &str,
) -> Result<Erased, StoreError> {
    let before = read::counts(connection, path)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let turns_sha256 = digest_of_turns(&transaction, Some(session))?;
    let gone = transaction.execute("DELETE FROM sessions WHERE session = ?1", [session])?;
    if gone == 0 {
        return Err(StoreError::not_found("session", session));
    }
    transaction.commit()?;
    empty_wal(connection)?;
    let files = path.map(|path| remove_files(&leftovers(path, false))).unwrap_or_default();
    finished(connection, path, before, turns_sha256, files)
}

/// Removes everything: all rows, backups of migrations, files that were put aside, the
/// key of recordings.
pub(crate) fn wipe(connection: &mut Connection, path: Option<&Path>) -> Result<Erased, StoreError> {
    let before = read::counts(connection, path)?;
    let turns_sha256 = digest_of_turns(connection, None)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Faster than row by row, and the index of the search is made anew.
    for table in
        ["transcripts_fts", "recordings", "latency", "events", "transcripts", "turns", "sessions", "nodes", "settings"]
    {
        transaction.execute_batch(&format!("DROP TABLE {table}"))?;
    }
    for sql in schema::MIGRATIONS {
        transaction.execute_batch(sql)?;
    }
    transaction.commit()?;
    connection.execute_batch("VACUUM")?;
    empty_wal(connection)?;
    let files = path.map(|path| {
        let mut files = leftovers(path, true);
        files.push(beside(path, audio::KEY_END));
        remove_files(&files)
    });
    finished(connection, path, before, turns_sha256, files.unwrap_or_default())
}

fn finished(
    connection: &Connection,
    path: Option<&Path>,
    before: Counts,
    turns_sha256: String,
    files: Vec<String>,
) -> Result<Erased, StoreError> {
    let after = read::counts(connection, path)?;
    let file_sha256 = path.and_then(file_digest);
    Ok(Erased { before, after, turns_sha256, file_sha256, files })
}

/// Copies the write-ahead file back and empties it, if nobody reads; else the next one does.
pub(crate) fn empty_wal(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Over the ids of turns in the order of their text, each followed by a line feed.
fn digest_of_turns(connection: &Connection, session: Option<&str>) -> Result<String, StoreError> {
    let mut digest = Sha256::new();
    let mut turns = connection.prepare(
        "SELECT turn FROM turns WHERE ?1 IS NULL OR session_id = (SELECT id FROM sessions WHERE session = ?1) ORDER BY turn",
    )?;
    let mut rows = turns.query([session])?;
    while let Some(row) = rows.next()? {
        let turn: String = row.get(0)?;
        digest.update(turn.as_bytes());
        digest.update(b"\n");
    }
    Ok(hex::encode(digest.finalize()))
}

fn file_digest(path: &Path) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let mut digest = Sha256::new();
    std::io::copy(&mut file, &mut digest).ok()?;
    Some(hex::encode(digest.finalize()))
}

/// Overwrites and removes files; names those that went.
fn remove_files(files: &[std::path::PathBuf]) -> Vec<String> {
    let mut removed = Vec::new();
    for file in files.iter().filter(|file| file.exists()) {
        overwrite(file);
        match std::fs::remove_file(file) {
            Ok(()) => removed.extend(file.file_name().map(|name| name.to_string_lossy().into_owned())),
            Err(error) => tracing::error!(file = %file.display(), %error, "a file that holds old rows stays"),
        }
    }
    removed
}

/// What a file system or a solid-state disk keeps of old blocks is beyond a program's reach.
fn overwrite(file: &Path) {
    use std::io::Write as _;
    let Ok(length) = std::fs::metadata(file).map(|it| it.len()) else { return };
    let Ok(mut file) = std::fs::OpenOptions::new().write(true).open(file) else { return };
    let zeros = vec![0u8; 64 * 1024];
    let mut left = length;
    while left > 0 {
        let n = left.min(zeros.len() as u64);
        if file.write_all(&zeros[..n as usize]).is_err() {
            return;
        }
        left -= n;
    }
    let _ = file.sync_all();
}
