//! What can go wrong with the store, and what to do about it.

use std::path::{Path, PathBuf};

/// Why something was not kept or not found. The text names the thing and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The system refuses; check permissions and space.
    #[error("open the event store `{path}`: {reason}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said, and what helps.
        reason: String,
    },
    /// A newer Loqa wrote it; update, or put the file aside.
    #[error(
        "the event store `{path}` has version {found}, this program knows {known}: update Loqa, or rename the file to begin a new one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest one that is known.
        known: i64,
    },
    /// An older Loqa wrote it, and it is opened for reading only; start the hub once.
    #[error(
        "the event store `{path}` has version {found}, not {known}: start the hub once, it brings the file up to date"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest one that is known.
        known: i64,
    },
    /// There is no such file; nothing was kept so far.
    #[error("there is no event store `{path}`: nothing was kept so far")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Pages of the file are damaged; it is put aside at the next start of the hub.
    #[error("the event store is damaged ({reason}): restart the hub, it puts the file aside and begins a new one")]
    Damaged {
        /// What SQLite said.
        reason: String,
    },
    /// No room on the disk; free some space. Works again without a restart.
    #[error("the disk of the event store is full: free some space; until then nothing is kept")]
    Full,
    /// The file or its folder cannot be written; change its permissions.
    #[error("the event store cannot be written ({reason}): make its folder writable; until then nothing is kept")]
    ReadOnly {
        /// What SQLite said.
        reason: String,
    },
    /// SQLite refused for another reason.
    #[error("event store: {0}")]
    Sqlite(String),
    /// Too much waits to be written; the caller drops what it has, or tries later.
    #[error("the event store is behind, too much waits to be written")]
    Busy,
    /// The store was closed.
    #[error("the event store is closed")]
    Closed,
    /// The writer or a search did not answer in time; try again, or ask for less.
    #[error("the event store did not answer within {seconds} s")]
    TooSlow {
        /// How long was waited.
        seconds: u64,
    },
    /// The cursor is not one of this list; begin at the first page.
    #[error("`after` is not a cursor of this list: take `next` of the page before, or leave it out")]
    BadCursor,
    /// Nothing of that name is kept.
    #[error("no {what} `{id}` is kept")]
    NotFound {
        /// `session`, `turn` or `recording`.
        what: &'static str,
        /// What was asked for.
        id: String,
    },
    /// A recording cannot be decrypted; its key file is another one or missing.
    #[error("the recording of turn `{turn}` cannot be read: {reason}")]
    Audio {
        /// The turn.
        turn: String,
        /// What is wrong.
        reason: String,
    },
}

impl StoreError {
    pub(crate) fn open(path: &Path, reason: impl ToString) -> Self {
        Self::Open { path: path.to_owned(), reason: reason.to_string() }
    }

    /// Nothing of that name is kept.
    #[doc(hidden)]
    #[must_use]
    pub fn not_kept(what: &'static str, id: impl ToString) -> Self {
        Self::not_found(what, id)
    }

    pub(crate) fn not_found(what: &'static str, id: impl ToString) -> Self {
        Self::NotFound { what, id: id.to_string() }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let reason = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged { reason },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::ReadOnly { reason }
            }
            Some(ErrorCode::OperationInterrupted) => Self::TooSlow { seconds: crate::read::READ_PATIENCE.as_secs() },
            _ => Self::Sqlite(reason),
        }
    }
}
