//! `skills.db`: what skills keep, and their timers.
//!
//! A call reads through to the database and collects its writes in a [`Draft`];
//! they are committed together when the call has succeeded. A call that fails has
//! changed nothing, and a call costs one commit at most.

use crate::taint::{Label, Taint};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Name of the file in the data folder.
pub const FILE_NAME: &str = "skills.db";
/// Waiting for another process that holds the file, as on the voice path. Chosen: below the budget of a call.
const BUSY: Duration = Duration::from_millis(200);
/// How often a timer's event is offered to a skill that fails. Chosen.
pub(crate) const MAX_ATTEMPTS: i64 = 3;

/// Each entry brings the file from its index to the next version, in one transaction.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE kv (
        skill TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (skill, key)
    ) STRICT, WITHOUT ROWID;
    -- due_ms is wall-clock time, so that a timer survives a restart of the machine.
    -- firing: its event is being delivered; attempts: how often that failed.
    CREATE TABLE timer (
        skill TEXT NOT NULL,
        id TEXT NOT NULL,
        due_ms INTEGER NOT NULL,
        data TEXT NOT NULL,
        firing INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (skill, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX timer_due ON timer (due_ms) WHERE firing = 0;
",
    crate::grants::store::MIGRATION,
    "
    -- Tokens of the language model that a skill has used, by day since the Unix epoch.
    CREATE TABLE llm_use (
        skill TEXT NOT NULL,
        day INTEGER NOT NULL,
        tokens INTEGER NOT NULL,
        PRIMARY KEY (skill, day)
    ) STRICT, WITHOUT ROWID;
",
];

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or file cannot be made or opened; check its permissions and the disk.
    #[error("open `{path}`: {source}")]
    Open {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// SQLite refused; the disk may be full or the file damaged.
    #[error("skill store: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was written by a newer version; update Loqa.
    #[error("`skills.db` has version {found}, this program knows up to {known}; update Loqa")]
    Newer {
        /// Version of the file.
        found: i64,
        /// Newest version that is known.
        known: i64,
    },
}

/// A timer of a skill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimerRow {
    pub(crate) due_ms: i64,
    /// JSON, as the skill gave it.
    pub(crate) data: String,
}

/// A timer that has run out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DueRow {
    pub(crate) skill: String,
    pub(crate) id: String,
    pub(crate) due_ms: i64,
    pub(crate) data: String,
}

/// The open file.
pub(crate) struct Store {
    connection: Mutex<Connection>,
}

impl Store {
    pub(crate) fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let connection = open_connection(data_dir)?;
        // What was being delivered when the program ended is offered again.
        connection.execute("UPDATE timer SET firing = 0 WHERE firing = 1", [])?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// A store in memory, for what may not be written.
    pub(crate) fn in_memory() -> Result<Self, StoreError> {
        let mut connection = Connection::open_in_memory()?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        migrate(&mut connection)?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// Whether this timer was taken by [`Self::claim_due`] and is not done yet.
    pub(crate) fn is_firing(&self, skill: &str, id: &str, due_ms: i64) -> Result<bool, StoreError> {
        let connection = self.lock();
        let mut statement = connection
            .prepare_cached("SELECT 1 FROM timer WHERE skill = ?1 AND id = ?2 AND due_ms = ?3 AND firing = 1")?;
        Ok(statement.exists(params![skill, id, due_ms])?)
    }

    /// Copies the store of one data folder to another one, which is empty.
    pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
        let file = from.join(FILE_NAME);
        if !file.is_file() {
            return Ok(());
        }
        let from = Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut to = open_connection(to)?;
        rusqlite::backup::Backup::new(&from, &mut to)?.run_to_completion(1_000, Duration::ZERO, None)?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the next timer is due; those being delivered do not count.
    pub(crate) fn next_due(&self) -> Result<Option<i64>, StoreError> {
        Ok(self
            .lock()
            .prepare_cached("SELECT min(due_ms) FROM timer WHERE firing = 0")?
            .query_row([], |row| row.get(0))?)
    }

    /// Takes the timers that are due, earliest first; each is given out once until [`Self::retry`] or a restart.
    pub(crate) fn claim_due(&self, now_ms: i64) -> Result<Vec<DueRow>, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "UPDATE timer SET firing = 1 WHERE firing = 0 AND due_ms <= ?1 RETURNING skill, id, due_ms, data",
        )?;
        let rows = statement.query_map([now_ms], |row| {
            Ok(DueRow { skill: row.get(0)?, id: row.get(1)?, due_ms: row.get(2)?, data: row.get(3)? })
        })?;
        let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
        rows.sort_by(|a, b| (a.due_ms, &a.skill, &a.id).cmp(&(b.due_ms, &b.skill, &b.id)));
        Ok(rows)
    }

    /// Puts back a timer whose event was not accepted, or drops it after [`MAX_ATTEMPTS`]. Says whether it was kept.
    pub(crate) fn retry(&self, skill: &str, id: &str, due_ms: i64) -> Result<bool, StoreError> {
        let connection = self.lock();
        connection.execute(
            "DELETE FROM timer WHERE skill = ?1 AND id = ?2 AND firing = 1 AND attempts + 1 >= ?3",
            params![skill, id, MAX_ATTEMPTS],
        )?;
        let kept = connection.execute(
            "UPDATE timer SET firing = 0, attempts = attempts + 1, due_ms = ?3 WHERE skill = ?1 AND id = ?2 AND firing = 1",
            params![skill, id, due_ms],
        )?;
        Ok(kept > 0)
    }

    /// Moves every waiting timer, after the wall clock jumped.
    pub(crate) fn shift_timers(&self, by_ms: i64) -> Result<(), StoreError> {
        self.lock().execute("UPDATE timer SET due_ms = due_ms + ?1 WHERE firing = 0", [by_ms])?;
        Ok(())
    }

    /// Where what the skill keeps comes from. By skill and not by value: a skill that keeps
    /// something foreign can write it under another name whenever it runs.
    pub(crate) fn stored_taint(&self, skill: &str) -> Result<Taint, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached("SELECT label FROM stored_taint WHERE skill = ?1")?;
        let labels = statement.query_map([skill], |row| row.get::<_, String>(0))?;
        labels.map(|label| Ok(Label::from_text(&label?))).collect()
    }

    /// Erases everything that one skill has kept.
    pub(crate) fn forget(&self, skill: &str) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM kv WHERE skill = ?1", [skill])?;
        transaction.execute("DELETE FROM timer WHERE skill = ?1", [skill])?;
        transaction.execute("DELETE FROM stored_taint WHERE skill = ?1", [skill])?;
        transaction.execute("DELETE FROM llm_use WHERE skill = ?1", [skill])?;
        Ok(transaction.commit()?)
    }

    /// Tokens of the language model that a skill has used on that day.
    pub(crate) fn tokens_of_day(&self, skill: &str, day: i64) -> Result<u64, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached("SELECT tokens FROM llm_use WHERE skill = ?1 AND day = ?2")?;
        let tokens = statement.query_row(params![skill, day], |row| row.get::<_, i64>(0)).optional()?;
        Ok(u64::try_from(tokens.unwrap_or(0)).unwrap_or(0))
    }

    /// Adds to what a skill has used on that day, or gives back. Not part of a call's draft: what was
    /// used was used, also when the call fails.
    pub(crate) fn count_tokens(&self, skill: &str, day: i64, tokens: i64) -> Result<(), StoreError> {
        let connection = self.lock();
        connection.execute(
            "INSERT INTO llm_use (skill, day, tokens) VALUES (?1, ?2, max(0, ?3))
             ON CONFLICT DO UPDATE SET tokens = max(0, tokens + ?3)",
            params![skill, day, tokens],
        )?;
        // A month is enough to look back on.
        connection.execute("DELETE FROM llm_use WHERE day < ?1", [day - 31])?;
        Ok(())
    }

    /// Writes everything that a call collected; `fired` is the timer whose event it handled.
    pub(crate) fn commit(&self, skill: &str, draft: &Draft, fired: Option<&str>) -> Result<(), StoreError> {
        if draft.is_empty() && fired.is_none() {
            return Ok(());
        }
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(id) = fired {
            transaction.execute("DELETE FROM timer WHERE skill = ?1 AND id = ?2 AND firing = 1", [skill, id])?;
        }
        for (key, value) in &draft.kv {
            match value {
                Some(value) => transaction
                    .prepare_cached("INSERT INTO kv (skill, key, value) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = excluded.value")?
                    .execute([skill, key, value])?,
                None => transaction.prepare_cached("DELETE FROM kv WHERE skill = ?1 AND key = ?2")?.execute([skill, key])?,
            };
        }
        for label in draft.foreign.iter() {
            transaction
                .prepare_cached("INSERT OR IGNORE INTO stored_taint (skill, label) VALUES (?1, ?2)")?
                .execute([skill, label])?;
        }
        for (id, timer) in &draft.timers {
            match timer {
                Some(TimerRow { due_ms, data }) => transaction
                    .prepare_cached("INSERT OR REPLACE INTO timer (skill, id, due_ms, data) VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![skill, id, due_ms, data])?,
                None => transaction
                    .prepare_cached("DELETE FROM timer WHERE skill = ?1 AND id = ?2 AND firing = 0")?
                    .execute([skill, id])?,
            };
        }
        transaction.commit()?;
        Ok(())
    }
}

/// What one call has written so far; reads go through it.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// `None` deletes.
    kv: BTreeMap<String, Option<String>>,
    timers: BTreeMap<String, Option<TimerRow>>,
    /// Labels of what is written, besides the person and the model.
    foreign: Vec<String>,
}

impl Draft {
    /// Says where everything that was written comes from.
    pub(crate) fn set_taint(&mut self, taint: &Taint) {
        self.foreign = if self.is_empty() { Vec::new() } else { taint.foreign().map(Label::to_string).collect() };
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kv.is_empty() && self.timers.is_empty()
    }

    pub(crate) fn value(&self, store: &Store, skill: &str, key: &str) -> Result<Option<String>, StoreError> {
        if let Some(value) = self.kv.get(key) {
            return Ok(value.clone());
        }
        let connection = store.lock();
        let mut statement = connection.prepare_cached("SELECT value FROM kv WHERE skill = ?1 AND key = ?2")?;
        Ok(statement.query_row([skill, key], |row| row.get(0)).optional()?)
    }

    /// Keys that begin with `prefix`, sorted.
    pub(crate) fn keys(&self, store: &Store, skill: &str, prefix: &str) -> Result<Vec<String>, StoreError> {
        let mut keys = sizes(store, skill)?;
        self.apply_sizes(&mut keys);
        Ok(keys.into_keys().filter(|key| key.starts_with(prefix)).collect())
    }

    /// Bytes of all keys and values once `key` has `value_bytes`.
    pub(crate) fn bytes_with(
        &self,
        store: &Store,
        skill: &str,
        key: &str,
        value_bytes: u64,
    ) -> Result<u64, StoreError> {
        let mut keys = sizes(store, skill)?;
        self.apply_sizes(&mut keys);
        keys.insert(key.to_owned(), value_bytes);
        Ok(keys.iter().map(|(key, bytes)| key.len() as u64 + bytes).sum())
    }

    fn apply_sizes(&self, keys: &mut BTreeMap<String, u64>) {
        for (key, value) in &self.kv {
            match value {
                Some(value) => keys.insert(key.clone(), value.len() as u64),
                None => keys.remove(key),
            };
        }
    }

    pub(crate) fn set_value(&mut self, key: String, value: Option<String>) {
        self.kv.insert(key, value);
    }

    /// The skill's timers, by id; those being delivered are over.
    pub(crate) fn timers(&self, store: &Store, skill: &str) -> Result<BTreeMap<String, TimerRow>, StoreError> {
        let mut timers = {
            let connection = store.lock();
            let mut statement =
                connection.prepare_cached("SELECT id, due_ms, data FROM timer WHERE skill = ?1 AND firing = 0")?;
            let rows = statement
                .query_map([skill], |row| Ok((row.get(0)?, TimerRow { due_ms: row.get(1)?, data: row.get(2)? })))?;
            rows.collect::<Result<BTreeMap<String, TimerRow>, _>>()?
        };
        for (id, timer) in &self.timers {
            match timer {
                Some(timer) => timers.insert(id.clone(), timer.clone()),
                None => timers.remove(id),
            };
        }
        Ok(timers)
    }

    pub(crate) fn set_timer(&mut self, id: String, timer: Option<TimerRow>) {
        self.timers.insert(id, timer);
    }
}

fn sizes(store: &Store, skill: &str) -> Result<BTreeMap<String, u64>, StoreError> {
    let connection = store.lock();
    let mut statement = connection.prepare_cached("SELECT key, octet_length(value) FROM kv WHERE skill = ?1")?;
    let rows = statement.query_map([skill], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Opens the file, made or brought to the newest version if need be.
pub(crate) fn open_connection(data_dir: &Path) -> Result<Connection, StoreError> {
    let path = data_dir.join(FILE_NAME);
    create_private(data_dir, &path).map_err(|source| StoreError::Open { path: path.display().to_string(), source })?;
    let mut connection = Connection::open(&path)?;
    connection.busy_timeout(BUSY)?;
    // The mode comes back as a row.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    migrate(&mut connection)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let known = MIGRATIONS.len() as i64;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if !(0..=known).contains(&found) {
        return Err(StoreError::Newer { found, known });
    }
    for (idx, migration) in MIGRATIONS.iter().enumerate().skip(usize::try_from(found).unwrap_or_default()) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", idx as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Makes folder and file so that only the user can read them; SQLite gives its side files the same mode.
#[cfg(unix)]
fn create_private(data_dir: &Path, file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
    let file = std::fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
}

/// The user's profile folder is private by inheritance.
#[cfg(not(unix))]
fn create_private(data_dir: &Path, file: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(data_dir)?;
    std::fs::OpenOptions::new().read(true).append(true).create(true).open(file).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_of_a_call_are_seen_by_the_call_and_kept_only_by_a_commit() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut draft = Draft::default();
        draft.set_value("a".into(), Some("1".into()));
        draft.set_value("b".into(), Some("22".into()));
        draft.set_timer("t".into(), Some(TimerRow { due_ms: 5, data: "{}".into() }));
        assert_eq!(draft.value(&store, "s", "a").unwrap().as_deref(), Some("1"));
        assert_eq!(draft.bytes_with(&store, "s", "c", 7).unwrap(), 2 + 3 + 8);
        assert_eq!(Draft::default().value(&store, "s", "a").unwrap(), None, "nothing is written yet");
        store.commit("s", &draft, None).unwrap();

        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(Draft::default().keys(&store, "s", "").unwrap(), ["a", "b"]);
        assert_eq!(Draft::default().keys(&store, "other", "").unwrap(), [""; 0], "names are apart");
        assert_eq!(store.next_due().unwrap(), Some(5));
        let mut draft = Draft::default();
        draft.set_value("a".into(), None);
        assert_eq!(draft.keys(&store, "s", "").unwrap(), ["b"]);
    }

    #[test]
    fn tokens_are_counted_by_skill_and_day_and_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.count_tokens("s", 100, 700).unwrap();
        store.count_tokens("s", 100, -200).unwrap();
        store.count_tokens("s", 101, 5).unwrap();
        store.count_tokens("s", 101, -50).unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!([100, 101, 102].map(|day| store.tokens_of_day("s", day).unwrap()), [500, 0, 0]);
        assert_eq!(store.tokens_of_day("other", 100).unwrap(), 0);
        store.count_tokens("s", 140, 1).unwrap();
        assert_eq!(store.tokens_of_day("s", 100).unwrap(), 0, "old days are forgotten");
    }

    #[test]
    fn a_due_timer_is_given_out_once_and_offered_again_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut draft = Draft::default();
        for (id, due_ms) in [("late", 30), ("soon", 10), ("next", 20)] {
            draft.set_timer(id.into(), Some(TimerRow { due_ms, data: "{}".into() }));
        }
        store.commit("s", &draft, None).unwrap();
        let ids = |rows: Vec<DueRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
        assert_eq!(ids(store.claim_due(20).unwrap()), ["soon", "next"]);
        assert_eq!(ids(store.claim_due(20).unwrap()), [""; 0], "each is given out once");
        store.commit("s", &Draft::default(), Some("soon")).unwrap();

        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(ids(store.claim_due(20).unwrap()), ["next"], "the one without a handler's success is still owed");
        assert!(store.retry("s", "next", 40).unwrap());
        assert_eq!(ids(store.claim_due(100).unwrap()), ["late", "next"]);
        assert!(store.retry("s", "next", 40).unwrap());
        store.claim_due(100).unwrap();
        assert!(!store.retry("s", "next", 40).unwrap(), "a skill that always fails must not fail for ever");
        assert_eq!(store.next_due().unwrap(), None);
    }

    #[test]
    fn a_file_from_the_future_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        Connection::open(dir.path().join(FILE_NAME)).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let Err(error) = Store::open(dir.path()) else { panic!("version 99 must be refused") };
        assert_eq!(error.to_string(), "`skills.db` has version 99, this program knows up to 3; update Loqa");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_user_can_read_the_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("data")).unwrap();
        let mut draft = Draft::default();
        draft.set_value("a".into(), Some("1".into()));
        store.commit("s", &draft, None).unwrap();
        for entry in std::fs::read_dir(dir.path().join("data")).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?} holds what skills keep", entry.file_name());
        }
    }
}
