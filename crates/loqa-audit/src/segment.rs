//! Opening: the lock, the key, what an unclean end left behind, and putting a damaged
//! file aside so that the hub starts in any case.

use crate::body::{Draft, Hash, link, text};
use crate::checkpoint::{ANCHOR_FILE, Checkpoint, KEY_FILE, Key};
use crate::record::{Kind, Outcome, Status};
use crate::row::Row;
use crate::store::{self, Head, Pen, Trouble, own};
use crate::{AuditError, FILE_NAME};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Lets one process write. Apart from the database, so that readers are not kept out.
const LOCK_FILE: &str = "audit.lock";

/// An open file, ready for rows.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) head: Head,
    pub(crate) key: Key,
    /// The newest checkpoint, when opening made one.
    pub(crate) sealed: Option<Checkpoint>,
    pub(crate) _lock: File,
}

/// Why a new chain begins.
struct Fresh {
    reason: &'static str,
    detail: Option<String>,
    /// Name of the file that was put aside.
    aside: Option<String>,
    last_good: Option<(u64, Hash)>,
    anchor: Option<Checkpoint>,
}

/// Opens or makes the audit of a folder.
pub(crate) fn open(dir: &Path, boot: &str, wall_ms: i64) -> Result<Opened, AuditError> {
    let path = dir.join(FILE_NAME);
    let system = |source: std::io::Error| AuditError::Open { path: path.clone(), reason: source.to_string() };
    create_private(dir, &path).map_err(system)?;
    let lock = lock(dir)?;
    let known_key = Key::load(dir).map_err(system)?;
    let anchor = Checkpoint::read(&dir.join(ANCHOR_FILE)).ok();
    let trouble = match store::open(&path).and_then(|connection| check(connection, known_key.as_ref(), anchor.as_ref()))
    {
        Ok(Some((connection, head, unfinished))) => {
            // `check` has found the key.
            let key = known_key.ok_or_else(|| system(std::io::Error::other("the signing key went away")))?;
            return carry_on(connection, head, key, unfinished, boot, wall_ms, lock)
                .map_err(|e| AuditError::Open { path: path.clone(), reason: e.to_string() });
        }
        Ok(None) => None,
        Err(Trouble::Damaged(reason)) => Some(("damaged", reason)),
        Err(Trouble::Newer(found)) => {
            return Err(AuditError::Newer { path, found, known: store::SCHEMA_VERSION });
        }
        Err(Trouble::Sqlite(error)) => return Err(AuditError::Open { path, reason: error.to_string() }),
    };
    let mut fresh = match trouble {
        Some((reason, detail)) => Fresh { reason, detail: Some(detail), aside: None, last_good: None, anchor },
        // The anchor speaks of rows that are not there.
        None if anchor.is_some() => Fresh { reason: "missing", detail: None, aside: None, last_good: None, anchor },
        None => Fresh { reason: "first", detail: None, aside: None, last_good: None, anchor: None },
    };
    if fresh.reason == "damaged" {
        fresh.last_good = last_good(&path);
        let aside = put_aside(&path, wall_ms).map_err(system)?;
        tracing::error!(
            file = %aside.display(),
            detail = fresh.detail,
            "the audit was damaged and is put aside; `loqa audit verify --file` says what is wrong with it"
        );
        fresh.aside = aside.file_name().map(|name| name.to_string_lossy().into_owned());
    }
    // A key that cannot be read is kept for whoever wants to look at it.
    let key = match known_key {
        Some(key) => key,
        None => {
            let old = dir.join(KEY_FILE);
            if old.exists() {
                std::fs::rename(&old, dir.join(format!("{KEY_FILE}.corrupt-{wall_ms}"))).map_err(system)?;
            }
            Key::make(dir).map_err(system)?
        }
    };
    let _ = std::fs::remove_file(dir.join(ANCHOR_FILE));
    create_private(dir, &path).map_err(system)?;
    begin(&path, fresh, key, boot, wall_ms, lock)
        .map_err(|trouble| AuditError::Open { path, reason: trouble.to_string() })
}

type Unfinished = BTreeMap<u64, Map<String, Value>>;

/// Decides whether the chain can be continued; `None` when the file is empty.
fn check(
    connection: Connection,
    key: Option<&Key>,
    anchor: Option<&Checkpoint>,
) -> Result<Option<(Connection, Head, Unfinished)>, Trouble> {
    let Some(examined) = store::examine(&connection)? else { return Ok(None) };
    if !examined.clean
        && let Some(fault) = store::quick_check(&connection)?
    {
        return Err(Trouble::Damaged(fault));
    }
    if key.is_none_or(|key| key.public() != examined.key) {
        return Err(Trouble::Damaged(format!("`{KEY_FILE}` is not the key that signed it")));
    }
    let head = examined.head;
    if let Some(anchor) = anchor
        && store::contradicts(&connection, &head, anchor)?
    {
        return Err(Trouble::Damaged(format!("its rows are not those of the checkpoint in `{ANCHOR_FILE}`")));
    }
    let unfinished = store::unfinished(&connection, examined.opened)?;
    Ok(Some((connection, head, unfinished)))
}

/// Continues a chain: what was begun and not ended gets its outcome first.
fn carry_on(
    mut connection: Connection,
    mut head: Head,
    key: Key,
    unfinished: Unfinished,
    boot: &str,
    wall_ms: i64,
    lock: File,
) -> rusqlite::Result<Opened> {
    let mut pen = Pen { key: &key, boot, keep_payloads: false, sealed: None };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !unfinished.is_empty() {
        tracing::warn!(intents = unfinished.len(), "the last run did not say how these ended");
    }
    for (intent, fields) in &unfinished {
        let outcome = Draft::outcome(*intent, fields, Outcome::of(Status::Unknown));
        pen.add(&transaction, &mut head, outcome, wall_ms, 0)?;
    }
    transaction.execute("UPDATE meta SET clean = 0, opened = ?1 WHERE id = 1", [store::sql(head.seq)])?;
    transaction.commit()?;
    let sealed = pen.sealed;
    Ok(Opened { connection, head, key, sealed, _lock: lock })
}

/// Begins a chain with a row that says why.
fn begin(path: &Path, fresh: Fresh, key: Key, boot: &str, wall_ms: i64, lock: File) -> Result<Opened, Trouble> {
    let mut connection = store::open(path)?;
    let mut head = Head::of_new_chain();
    store::create(&mut connection, &head, &key.public())?;
    let mut segment = json!({ "chain": head.chain, "key": key.public(), "reason": fresh.reason });
    if let Some(fields) = segment.as_object_mut() {
        let last_good = fresh.last_good.map(|(seq, hash)| json!({ "seq": seq, "hash": hex::encode(hash) }));
        let anchor = fresh.anchor.map(|anchor| {
            let statement = anchor.checkpoint;
            json!({ "chain": statement.chain, "seq": statement.seq, "hash": statement.hash })
        });
        for (name, value) in [
            ("detail", fresh.detail.as_deref().map(text)),
            ("old_file", fresh.aside.as_deref().map(text)),
            ("old_last_good", last_good),
            ("old_checkpoint", anchor),
        ] {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        }
    }
    let mut draft = own(Kind::AuditStart);
    draft.set("segment", segment);
    let mut pen = Pen { key: &key, boot, keep_payloads: false, sealed: None };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    pen.add(&transaction, &mut head, draft, wall_ms, 0)?;
    pen.seal(&transaction, &mut head, wall_ms)?;
    transaction.commit()?;
    let sealed = pen.sealed;
    Ok(Opened { connection, head, key, sealed, _lock: lock })
}

/// The last row up to which a damaged file can be followed.
fn last_good(path: &Path) -> Option<(u64, Hash)> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let (base_seq, base_hash): (u64, Hash) = connection
        .query_row("SELECT seq, hash FROM base WHERE id = 1", [], |row| Ok((store::seq_at(row, 0)?, row.get(1)?)))
        .ok()?;
    let mut good = (base_seq, base_hash);
    let mut statement =
        connection.prepare("SELECT seq, prev, hash, body FROM record WHERE seq > ?1 ORDER BY seq").ok()?;
    let mut rows = statement.query([store::sql(base_seq)]).ok()?;
    while let Ok(Some(row)) = rows.next() {
        let Ok(row) = Row::read(row) else { break };
        if row.seq != good.0 + 1 || row.prev != good.1 || link(&row.prev, &row.body) != row.hash {
            break;
        }
        good = (row.seq, row.hash);
    }
    (good.0 > 0).then_some(good)
}

/// Renames the database and its side files; they still belong together afterwards.
fn put_aside(path: &Path, wall_ms: i64) -> std::io::Result<PathBuf> {
    let with = |path: &Path, end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let mut aside = with(path, &format!(".corrupt-{wall_ms}"));
    let mut n = 1;
    while aside.exists() {
        aside = with(path, &format!(".corrupt-{wall_ms}-{n}"));
        n += 1;
    }
    for side in ["-wal", "-shm"] {
        match std::fs::rename(with(path, side), with(&aside, side)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
    }
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

fn lock(dir: &Path) -> Result<File, AuditError> {
    let path = dir.join(LOCK_FILE);
    let open = |source: std::io::Error| AuditError::Open { path: path.clone(), reason: source.to_string() };
    let file = File::options().create(true).append(true).open(&path).map_err(open)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(AuditError::Held { dir: dir.to_owned() }),
        Err(std::fs::TryLockError::Error(e)) => Err(open(e)),
    }
}

/// Makes folder and file for the user alone.
/// SQLite gives its side files the same mode.
fn create_private(dir: &Path, path: &Path) -> std::io::Result<()> {
    let mut options = File::options();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let file = options.mode(0o600).open(path)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))
    }
    #[cfg(not(unix))]
    {
        // The user's profile folder is private by inheritance.
        std::fs::create_dir_all(dir)?;
        options.open(path).map(drop)
    }
}
