//! The tables and how they came to be: ordered SQL files, each applied in one
//! transaction that ends with its number in `user_version`.

use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// Each file brings the database from its index to the next version. A file that was
/// released is never changed; `tests/frozen` holds a database of every version.
pub(crate) const MIGRATIONS: &[&str] = &[include_str!("migrations/0001.sql"), include_str!("migrations/0002.sql")];
/// The newest version.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;
/// Waiting for another connection that holds the file; from the rules for databases of this project.
const BUSY: Duration = Duration::from_secs(2);
/// Page cache of the writer in KiB. Chosen: the hot end of a large database.
const WRITER_CACHE: i64 = 8 * 1024;
/// Page cache of each reader in KiB. Chosen.
const READER_CACHE: i64 = 4 * 1024;
/// All pages of a copy in one step: what is written meanwhile does not begin it anew.
const ALL_PAGES: i32 = i32::MAX;
/// A write-ahead file that has grown is cut back to this, in bytes; from the rules of this project.
const WAL_LIMIT: i64 = 8 << 20;

/// Opens a file for writing, or memory; the tables are not looked at yet.
pub(crate) fn open_writer(path: Option<&Path>) -> rusqlite::Result<Connection> {
    let connection = match path {
        Some(path) => Connection::open(path)?,
        None => Connection::open_in_memory()?,
    };
    harden(&connection, WRITER_CACHE)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // The path of a turn never waits for this file, so every batch can be made durable.
    connection.pragma_update(None, "synchronous", "FULL")?;
    #[cfg(target_os = "macos")]
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What is deleted is overwritten.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_LIMIT, |_| Ok(()))?;
    Ok(connection)
}

/// Opens a file for reading beside its writer.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    harden(&connection, READER_CACHE)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn harden(connection: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    // What is sorted must not lie about in the folder for temporary files.
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// The version of the tables; 0 of an empty file.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        // The first version wrote its number after its table, and could die in between.
        let begun = "SELECT count(*) FROM sqlite_schema WHERE name = 'events'";
        return connection.query_row(begun, [], |row| row.get(0));
    }
    Ok(version)
}

/// Applies what is missing, each file in a transaction of its own.
pub(crate) fn migrate(connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    for (version, sql) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > from) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

/// What SQLite finds wrong with the pages; `None` when they are sound.
pub(crate) fn fault(connection: &Connection, thorough: bool) -> rusqlite::Result<Option<String>> {
    let check = if thorough { "integrity_check" } else { "quick_check" };
    let found: String = connection.pragma_query_value(None, check, |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}

/// Copies the whole database to a file, in one step, beside its writer.
pub(crate) fn copy_to(connection: &Connection, to: &Path) -> rusqlite::Result<()> {
    let mut copy = Connection::open(to)?;
    copy.pragma_update(None, "synchronous", "FULL")?;
    Backup::new(connection, &mut copy)?.run_to_completion(ALL_PAGES, Duration::ZERO, None)?;
    // One file, without side files.
    copy.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
}
