//! The file: its tables, the rules that SQLite itself enforces, and adding a row.

use crate::body::{Draft, GENESIS, Hash, Stamp, link, text};
use crate::checkpoint::{Checkpoint, Key, Statement, from_hex};
use crate::payload;
use crate::record::{Actor, ActorKind, Kind};
use crate::row::Row;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, TransactionBehavior, params};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Version of the tables, in `user_version`.
pub(crate) const SCHEMA_VERSION: i64 = 1;
/// "LqAu", so that the file can be told from any other SQLite database.
pub(crate) const APPLICATION_ID: i64 = 0x4c71_4175;
/// Rows after which a checkpoint is signed; from the design of the audit.
pub const ROWS_PER_CHECKPOINT: u64 = 256;
/// Waiting for another process that holds the file. Chosen: a reader never holds it.
pub(crate) const BUSY: Duration = Duration::from_secs(2);
/// Rows that are looked at when the file is opened: one checkpoint is among them.
const TAIL: u64 = ROWS_PER_CHECKPOINT + 2;

/// Rows are only ever added; deleted are only those up to the base, which pruning moves.
const SCHEMA: &str = "
    CREATE TABLE record (
        seq INTEGER PRIMARY KEY,
        prev BLOB NOT NULL CHECK (length(prev) = 32),
        hash BLOB NOT NULL CHECK (length(hash) = 32),
        body TEXT NOT NULL
    ) STRICT;
    CREATE TABLE base (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        seq INTEGER NOT NULL,
        hash BLOB NOT NULL CHECK (length(hash) = 32)
    ) STRICT;
    CREATE TABLE meta (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        chain TEXT NOT NULL,
        key TEXT NOT NULL,
        -- 1 after an orderly end.
        clean INTEGER NOT NULL,
        -- Last row before the run that wrote last: intents up to it have their outcomes.
        opened INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE payload (seq INTEGER PRIMARY KEY, ciphertext BLOB NOT NULL) STRICT;
    CREATE TABLE payload_key (seq INTEGER PRIMARY KEY, key BLOB NOT NULL, salt BLOB NOT NULL) STRICT;
    CREATE TRIGGER record_is_never_changed BEFORE UPDATE ON record
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
    CREATE TRIGGER record_is_only_appended BEFORE INSERT ON record
        WHEN NEW.seq <= max((SELECT coalesce(max(seq), 0) FROM record), (SELECT seq FROM base))
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
    CREATE TRIGGER record_is_deleted_only_by_pruning BEFORE DELETE ON record
        WHEN OLD.seq > (SELECT seq FROM base)
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
    CREATE TRIGGER base_only_moves_on BEFORE UPDATE ON base
        WHEN NEW.seq < OLD.seq
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
    CREATE TRIGGER base_stays BEFORE DELETE ON base
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
    CREATE TRIGGER payload_is_never_changed BEFORE UPDATE ON payload
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
";

/// Why a file cannot be opened.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Its content is not what was written.
    Damaged(String),
    /// A newer Loqa wrote it.
    Newer(i64),
    /// The system refuses; the content may be fine.
    Sqlite(rusqlite::Error),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged(reason) => f.write_str(reason),
            Self::Newer(version) => write!(f, "it has version {version}"),
            Self::Sqlite(error) => error.fmt(f),
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        if is_systems(&error) { Self::Sqlite(error) } else { Self::Damaged(error.to_string()) }
    }
}

/// Whether the system is at fault and not the content of the file.
pub(crate) fn is_systems(error: &rusqlite::Error) -> bool {
    let Some(code) = error.sqlite_error_code() else { return false };
    // A damaged header makes SQLite read beyond the end, or think that it may not write.
    let short_read = matches!(error, rusqlite::Error::SqliteFailure(e, _) if e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ);
    !short_read
        && matches!(
            code,
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::CannotOpen
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
        )
}

/// A row number for SQL.
pub(crate) fn sql(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// A row number from SQL; a negative one is damage.
pub(crate) fn seq_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let seq: i64 = row.get(column)?;
    u64::try_from(seq).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, seq))
}

/// Where the chain stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
    /// Time of the last row of this run on the steady clock.
    pub(crate) mono_us: u64,
    /// Rows after the last checkpoint.
    pub(crate) unsealed: u64,
    pub(crate) base_seq: u64,
    pub(crate) base_hash: Hash,
    pub(crate) chain: String,
}

impl Head {
    pub(crate) fn of_new_chain() -> Self {
        Self {
            seq: 0,
            hash: GENESIS,
            mono_us: 0,
            unsealed: 0,
            base_seq: 0,
            base_hash: GENESIS,
            chain: hex::encode(rand::random::<[u8; 16]>()),
        }
    }
}

/// Opens for writing. The file must exist; an empty one is a new chain.
pub(crate) fn open(path: &Path) -> Result<Connection, Trouble> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    // The mode comes back as a row.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // What is deleted is overwritten: erased keys must not linger in free pages.
    connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    Ok(connection)
}

/// Makes the tables of a new chain.
pub(crate) fn create(connection: &mut Connection, head: &Head, key: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute("INSERT INTO base (id, seq, hash) VALUES (1, 0, ?1)", [GENESIS])?;
    transaction
        .execute("INSERT INTO meta (id, chain, key, clean, opened) VALUES (1, ?1, ?2, 0, 0)", [&head.chain, key])?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

/// What an existing file says about itself.
pub(crate) struct Examined {
    pub(crate) head: Head,
    pub(crate) clean: bool,
    pub(crate) key: String,
    pub(crate) opened: u64,
}

/// Reads where the chain stands and checks its last rows. `None` when the file is empty.
pub(crate) fn examine(connection: &Connection) -> Result<Option<Examined>, Trouble> {
    let damaged = |what: &str| Trouble::Damaged(what.to_owned());
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if version == 0 && tables == 0 {
        return Ok(None);
    }
    let id: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if version != SCHEMA_VERSION {
        // A damaged number is not a newer version.
        let sound = id == APPLICATION_ID && version > SCHEMA_VERSION && quick_check(connection)?.is_none();
        return Err(if sound && version < 1_000 {
            Trouble::Newer(version)
        } else {
            damaged("its version is not known")
        });
    }
    let (base_seq, base_hash) = connection
        .query_row("SELECT seq, hash FROM base WHERE id = 1", [], |row| Ok((seq_at(row, 0)?, row.get(1)?)))?;
    let (chain, key, clean, opened) =
        connection.query_row("SELECT chain, key, clean, opened FROM meta WHERE id = 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, seq_at(row, 3)?))
        })?;
    let mut head = Head { base_seq, base_hash, chain, ..Head::of_new_chain() };
    (head.seq, head.hash) = (base_seq, base_hash);
    let last = connection.query_row("SELECT coalesce(max(seq), 0) FROM record", [], |row| seq_at(row, 0))?;
    let first_looked_at = last.saturating_sub(TAIL).max(base_seq);
    let mut statement = connection.prepare("SELECT seq, prev, hash, body FROM record WHERE seq > ?1 ORDER BY seq")?;
    let mut rows = statement.query([sql(first_looked_at)])?;
    let mut first = true;
    while let Some(row) = rows.next()? {
        let row = Row::read(row).map_err(|reason| Trouble::Damaged(format!("row {}: {reason}", head.seq + 1)))?;
        // The row before the first one that is looked at is taken on trust.
        if first && first_looked_at > base_seq {
            (head.seq, head.hash) = (first_looked_at, row.prev);
        }
        first = false;
        if row.seq != head.seq + 1 || row.prev != head.hash || link(&row.prev, &row.body) != row.hash {
            return Err(Trouble::Damaged(format!("row {} does not continue the chain", head.seq + 1)));
        }
        (head.seq, head.hash) = (row.seq, row.hash);
        head.unsealed = if row.kind() == Some(Kind::AuditCheckpoint) { 0 } else { head.unsealed + 1 };
    }
    if head.seq == 0 {
        return Err(damaged("it holds no row"));
    }
    Ok(Some(Examined { head, clean, key, opened }))
}

/// SQLite's own check of the pages; says the first fault.
pub(crate) fn quick_check(connection: &Connection) -> Result<Option<String>, Trouble> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((verdict != "ok").then_some(verdict))
}

/// The hash of one row.
pub(crate) fn hash_of(connection: &Connection, seq: u64) -> rusqlite::Result<Option<Hash>> {
    connection.query_row("SELECT hash FROM record WHERE seq = ?1", [sql(seq)], |row| row.get(0)).optional()
}

/// Intents after row `after` that have no outcome, with their fields.
pub(crate) fn unfinished(connection: &Connection, after: u64) -> Result<BTreeMap<u64, Map<String, Value>>, Trouble> {
    let mut open = BTreeMap::new();
    let mut statement = connection.prepare(
        "SELECT seq, prev, hash, body FROM record WHERE seq > ?1
         AND (instr(body, '\"kind\":\"call.intent\"') OR instr(body, '\"kind\":\"call.outcome\"')) ORDER BY seq",
    )?;
    let mut rows = statement.query([sql(after)])?;
    while let Some(row) = rows.next()? {
        let Ok(row) = Row::read(row) else { continue };
        match row.kind() {
            Some(Kind::CallIntent) => {
                open.insert(row.seq, row.record);
            }
            Some(Kind::CallOutcome) => {
                open.remove(&row.number("intent").unwrap_or(0));
            }
            _ => {}
        }
    }
    Ok(open)
}

/// What adding rows needs besides the connection.
pub(crate) struct Pen<'a> {
    pub(crate) key: &'a Key,
    pub(crate) boot: &'a str,
    pub(crate) keep_payloads: bool,
    /// The newest checkpoint that was added.
    pub(crate) sealed: Option<Checkpoint>,
}

impl Pen<'_> {
    /// Adds a row, and a checkpoint when one is due; says the row's number.
    pub(crate) fn add(
        &mut self,
        connection: &Connection,
        head: &mut Head,
        draft: Draft,
        wall_ms: i64,
        mono_us: u64,
    ) -> rusqlite::Result<u64> {
        let seq = self.insert(connection, head, draft, wall_ms, mono_us)?;
        head.unsealed += 1;
        if head.unsealed >= ROWS_PER_CHECKPOINT {
            self.seal(connection, head, wall_ms)?;
        }
        Ok(seq)
    }

    /// Signs a checkpoint of the last row and adds it.
    pub(crate) fn seal(&mut self, connection: &Connection, head: &mut Head, wall_ms: i64) -> rusqlite::Result<()> {
        let checkpoint = self.key.sign(Statement {
            base_hash: hex::encode(head.base_hash),
            base_seq: head.base_seq,
            chain: head.chain.clone(),
            hash: hex::encode(head.hash),
            key: self.key.public(),
            seq: head.seq,
            v: crate::body::VERSION,
            wall_ms,
        });
        let mut draft = own(Kind::AuditCheckpoint);
        draft.set("checkpoint", json!(checkpoint.checkpoint));
        draft.set("signature", text(&checkpoint.signature));
        self.insert(connection, head, draft, wall_ms, 0)?;
        head.unsealed = 0;
        self.sealed = Some(checkpoint);
        Ok(())
    }

    fn insert(
        &self,
        connection: &Connection,
        head: &mut Head,
        mut draft: Draft,
        wall_ms: i64,
        mono_us: u64,
    ) -> rusqlite::Result<u64> {
        let seq = head.seq + 1;
        if let Some(contents) = draft.payload.take() {
            let sealed = self.keep_payloads.then(|| payload::seal(seq, &contents));
            match sealed {
                None => draft.set("payload", text("withheld")),
                Some(None) => draft.set("payload", text("too_long")),
                Some(Some(sealed)) => {
                    draft.set("payload", text("kept"));
                    draft.set("commitment", text(&sealed.commitment));
                    connection
                        .prepare_cached("INSERT INTO payload (seq, ciphertext) VALUES (?1, ?2)")?
                        .execute(params![sql(seq), sealed.ciphertext])?;
                    connection
                        .prepare_cached("INSERT INTO payload_key (seq, key, salt) VALUES (?1, ?2, ?3)")?
                        .execute(params![sql(seq), sealed.key, sealed.salt])?;
                }
            }
        }
        // Rows of the audit itself are stamped later than rows that were handed over before.
        let mono_us = mono_us.max(head.mono_us);
        let body = draft.body(Stamp { seq, wall_ms, mono_us, boot: self.boot });
        let hash = link(&head.hash, &body);
        connection
            .prepare_cached("INSERT INTO record (seq, prev, hash, body) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![sql(seq), head.hash, hash, body])?;
        (head.seq, head.hash, head.mono_us) = (seq, hash, mono_us);
        Ok(seq)
    }
}

/// A row that the audit writes about itself.
pub(crate) fn own(kind: Kind) -> Draft {
    Draft::new(kind, &Actor::named(ActorKind::Hub, "audit"))
}

/// The row of that checkpoint, read back.
pub(crate) fn checkpoint_of(row: &Row) -> Option<Checkpoint> {
    let checkpoint = serde_json::from_value(row.record.get("checkpoint")?.clone()).ok()?;
    Some(Checkpoint { checkpoint, signature: row.text("signature")?.to_owned() })
}

/// Whether an anchor speaks of this chain and agrees with its rows.
pub(crate) fn contradicts(connection: &Connection, head: &Head, anchor: &Checkpoint) -> rusqlite::Result<bool> {
    let Statement { chain, seq, hash, .. } = &anchor.checkpoint;
    if *chain != head.chain || *seq > head.seq {
        return Ok(true);
    }
    let Some(hash) = from_hex::<32>(hash) else { return Ok(true) };
    Ok(match seq.cmp(&head.base_seq) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => head.base_hash != hash,
        std::cmp::Ordering::Greater => hash_of(connection, *seq)? != Some(hash),
    })
}
