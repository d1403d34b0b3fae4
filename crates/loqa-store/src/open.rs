//! Opening the file: what an unclean end left behind, putting a damaged file aside,
//! a backup before each migration.

use crate::schema::{self, VERSION};
use crate::{StoreError, audio};
use rusqlite::Connection;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A backup that a migration made is removed after this long. Chosen: long enough to
/// notice that something is missing, short enough for what was deleted since.
const BACKUP_DAYS: i64 = 7;
const DAY_MS: i64 = 86_400_000;

/// A file that is ready for the writer.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) notices: Vec<String>,
}

/// Why a file cannot be used as it is.
enum Trouble {
    Damaged(String),
    Refused(StoreError),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        match StoreError::from(error) {
            StoreError::Damaged { reason } => Self::Damaged(reason),
            other => Self::Refused(other),
        }
    }
}

/// Opens or makes the file at `path` and brings it up to date.
pub(crate) fn open(path: &Path, now_ms: i64) -> Result<Opened, StoreError> {
    create_private(path).map_err(|e| {
        StoreError::open(path, format!("{e}; make its folder writable, or set `paths.data` to another one"))
    })?;
    let mut notices = Vec::new();
    let connection = match prepare(path, now_ms, &mut notices) {
        Ok(connection) => connection,
        Err(Trouble::Refused(error)) => return Err(named(path, error)),
        Err(Trouble::Damaged(reason)) => {
            let aside = put_aside(path, now_ms).map_err(|e| {
                StoreError::open(path, format!("it is damaged ({reason}) and cannot be put aside: {e}"))
            })?;
            notices.push(format!(
                "the event store was damaged and is put aside as `{}`: {reason}; a new one begins",
                aside.display()
            ));
            create_private(path).map_err(|e| StoreError::open(path, e))?;
            prepare(path, now_ms, &mut notices).map_err(|trouble| match trouble {
                Trouble::Refused(error) => named(path, error),
                Trouble::Damaged(reason) => StoreError::open(path, reason),
            })?
        }
    };
    File::create(marker(path)).map_err(|e| StoreError::open(path, e))?;
    remove_old_backups(path, now_ms);
    for notice in &notices {
        tracing::warn!("{notice}");
    }
    Ok(Opened { connection, notices })
}

fn prepare(path: &Path, now_ms: i64, notices: &mut Vec<String>) -> Result<Connection, Trouble> {
    let mut connection = schema::open_writer(Some(path))?;
    let found = schema::version(&connection)?;
    if !(0..=VERSION).contains(&found) {
        let path = path.to_owned();
        return Err(Trouble::Refused(StoreError::Newer { path, found, known: VERSION }));
    }
    let is_old = (1..VERSION).contains(&found);
    if (is_old || marker(path).exists())
        && let Some(fault) = schema::fault(&connection, false)?
    {
        return Err(Trouble::Damaged(fault));
    }
    if is_old {
        let backup = beside(path, &format!(".v{found}-backup-{now_ms}"));
        back_up(&connection, &backup).map_err(|error| {
            let _ = std::fs::remove_file(&backup);
            Trouble::Refused(StoreError::open(
                path,
                format!("no backup can be made before it is brought from version {found} to {VERSION} ({error}): free some space"),
            ))
        })?;
        notices.push(format!(
            "the event store was brought from version {found} to {VERSION}; the file as it was is kept for {BACKUP_DAYS} days as `{}`",
            backup.display()
        ));
    }
    schema::migrate(&mut connection, found)?;
    // What a hub that died could not take away itself.
    crate::erase::end_session_scopes(&mut connection, None)?;
    Ok(connection)
}

/// Copies the database to a new file that only the user can read.
pub(crate) fn back_up(connection: &Connection, to: &Path) -> Result<(), StoreError> {
    create_private(to).map_err(|e| StoreError::open(to, e))?;
    Ok(schema::copy_to(connection, to)?)
}

/// The writer has ended well and found no damage.
pub(crate) fn ended_well(path: &Path) {
    if let Err(error) = std::fs::remove_file(marker(path)) {
        tracing::debug!(%error, "the event store will be checked at the next start");
    }
}

/// There while a writer has the file open; still there at the next start when it died.
pub(crate) fn marker(path: &Path) -> PathBuf {
    beside(path, ".open")
}

/// `loqa.db` → `loqa.db<end>`.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Files that hold what the database once held: backups of migrations, and with
/// `damaged` also what was put aside.
pub(crate) fn leftovers(path: &Path, damaged: bool) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let is_one = |file: &str| {
        let Some(end) = file.strip_prefix(name) else { return false };
        (end.starts_with(".v") && end.contains("-backup-")) || (damaged && end.starts_with(".corrupt-"))
    };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_one))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

fn remove_old_backups(path: &Path, now_ms: i64) {
    for file in leftovers(path, false) {
        let name = file.to_string_lossy();
        let made: Option<i64> = name.rsplit('-').next().and_then(|text| text.parse().ok());
        if made.is_some_and(|made| now_ms.saturating_sub(made) > BACKUP_DAYS * DAY_MS)
            && let Err(error) = std::fs::remove_file(&file)
        {
            tracing::warn!(file = %file.display(), %error, "an old backup stays");
        }
    }
}

/// Renames the database and its side files; they still belong together afterwards.
fn put_aside(path: &Path, now_ms: i64) -> std::io::Result<PathBuf> {
    let mut aside = beside(path, &format!(".corrupt-{now_ms}"));
    let mut n = 1;
    while aside.exists() {
        aside = beside(path, &format!(".corrupt-{now_ms}-{n}"));
        n += 1;
    }
    for side in ["-wal", "-shm"] {
        match std::fs::rename(beside(path, side), beside(&aside, side)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
    }
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

/// An error of a file says which.
fn named(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Full => StoreError::open(path, "the disk is full: free some space"),
        StoreError::ReadOnly { reason } => StoreError::open(
            path,
            format!("{reason}: make it and its folder writable, or set `paths.data` to another one"),
        ),
        StoreError::Sqlite(reason) => StoreError::open(path, reason),
        other => other,
    }
}

/// Makes folder and file for the user alone. SQLite gives its side files the same mode.
pub(crate) fn create_private(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut options = File::options();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
        if let Some(folder) = folder {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let file = options.mode(0o600).open(path)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))
    }
    #[cfg(not(unix))]
    {
        // The user's profile folder is private by inheritance.
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder)?;
        }
        options.open(path).map(drop)
    }
}

/// Puts a backup in the place of the store at `path`, after it was checked; the hub
/// must not run. The file that was there is kept beside it, its name is returned.
///
/// # Errors
/// The backup is damaged, of a newer version or no store, or the system refuses.
pub fn restore(backup: &Path, path: &Path, now_ms: i64) -> Result<Option<PathBuf>, StoreError> {
    if !backup.is_file() {
        return Err(StoreError::Missing { path: backup.to_owned() });
    }
    let next = beside(path, ".restoring");
    let _ = std::fs::remove_file(&next);
    {
        let source = schema::open_reader(backup).map_err(|e| StoreError::open(backup, e))?;
        let found = schema::version(&source).map_err(|e| StoreError::open(backup, e))?;
        if found == 0 {
            return Err(StoreError::open(backup, "it is no event store"));
        }
        if !(1..=VERSION).contains(&found) {
            return Err(StoreError::Newer { path: backup.to_owned(), found, known: VERSION });
        }
        if let Some(fault) = schema::fault(&source, true)? {
            return Err(StoreError::open(backup, format!("it is damaged: {fault}")));
        }
        back_up(&source, &next)?;
    }
    let replaced = if path.exists() {
        // The write-ahead file belongs to the old content.
        let old = schema::open_writer(Some(path))
            .and_then(|old| old.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(())));
        if let Err(error) = old {
            tracing::debug!(%error, "the store that is replaced could not be closed well");
        }
        let aside = beside(path, &format!(".v{VERSION}-backup-{now_ms}"));
        for side in ["-wal", "-shm"] {
            let _ = std::fs::rename(beside(path, side), beside(&aside, side));
        }
        std::fs::rename(path, &aside).map_err(|e| StoreError::open(path, e))?;
        Some(aside)
    } else {
        None
    };
    std::fs::rename(&next, path).map_err(|e| StoreError::open(path, e))?;
    let key = beside(backup, audio::KEY_OF_BACKUP);
    if key.is_file() {
        audio::restore_key(&key, path)?;
    }
    Ok(replaced)
}
