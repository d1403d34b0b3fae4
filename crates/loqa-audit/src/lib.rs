//! The audit: a record of who did what with which permission, and of every byte that
//! left the machine, that shows when somebody changed it.
//!
//! [`Audit`] writes it, [`Reader`] reads it beside the writer, [`verify`] checks it.
//! The format is described byte by byte in `docs/audit.md`.
//!
//! Deliberately absent: deciding. Who may do what is `loqa-skills`' business; this
//! crate only writes down what was decided, before it happens.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test"))]

mod body;
mod checkpoint;
mod payload;
mod prune;
mod queue;
mod read;
mod record;
mod row;
mod segment;
mod store;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub use body::{GENESIS, Hash, canonical, link};
pub use checkpoint::{ANCHOR_FILE, AnchorError, Checkpoint, KEY_FILE, Statement};
pub use queue::Health;
pub use read::{Contents, EgressSum, Filter, Format, ReadError, Reader, Shown, origin};
pub use record::{
    Actor, ActorKind, Context, Decision, Effect, Entry, Journal, JournalError, Kind, LogOnly, Outcome, Status,
};
pub use row::Row;
pub use store::ROWS_PER_CHECKPOINT;
pub use verify::{Bad, Check, Checks, Report, verify, verify_with};

use body::Draft;
use loqa_protocol::SessionId;
use queue::{Order, Queue, Ticket, WallClock};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use writer::Writer;

/// Name of the database in the data folder.
pub const FILE_NAME: &str = "audit.db";
/// Longest wait for a row to be on the disk; a call that is not recorded by then does
/// not happen. Chosen: a thousand times what a disk needs.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for work on the whole file.
const LONG_PATIENCE: Duration = Duration::from_mins(2);

/// How to keep the record.
#[derive(Clone, Default)]
pub struct Options {
    /// Keep no contents; rows stay.
    pub ephemeral: bool,
    /// Milliseconds since the Unix epoch; `None` is the system's clock.
    pub clock: Option<Arc<dyn Fn() -> i64 + Send + Sync>>,
    /// A fault put in on purpose, to show that the tests see it. Never set otherwise.
    #[doc(hidden)]
    pub fault: Option<Fault>,
}

/// Faults for the controls of the tests.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Tell that a row is safe before it is.
    AcknowledgeBeforeCommit,
    /// Leave out every so-manieth outcome.
    ForgetEveryOutcome(u64),
    /// Let the age of the oldest row decide about rows after it.
    PruneByTheOldestRow,
}

/// Why the record cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The system refuses; check permissions and space.
    #[error("open the audit `{path}`: {reason}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Another process writes it; talk to that one, or stop it.
    #[error("the audit in `{dir}` is being written by another process: stop the hub first")]
    Held {
        /// The data folder.
        dir: PathBuf,
    },
    /// A newer Loqa wrote it; update.
    #[error("the audit `{path}` has version {found}, this program knows {known}: update Loqa")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest one that is known.
        known: i64,
    },
}

/// Which contents to make unreadable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erase {
    /// Those of these rows, both ends included.
    Rows(u64, u64),
    /// Those of a session.
    Session(SessionId),
    /// Those that are older, in milliseconds since the Unix epoch.
    Before(i64),
    /// All of them.
    All,
}

/// The record, open for writing. Methods may be called from any thread and block for
/// as long as a commit takes, a few milliseconds; [`Journal::append_later`] and
/// [`Journal::finish`] do not block. Dropping it writes what waits and a checkpoint.
pub struct Audit {
    dir: PathBuf,
    queue: Arc<Queue>,
    keep_payloads: Arc<AtomicBool>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Audit {
    /// Opens or makes the record of a data folder. A file that is damaged is put aside
    /// as `audit.db.corrupt-<time>`, and a new chain begins with a row that says so.
    pub fn open(dir: &Path, options: Options) -> Result<Self, AuditError> {
        let clock: WallClock = options.clock.unwrap_or_else(|| Arc::new(wall_ms));
        let boot = hex::encode(rand::random::<[u8; 8]>());
        let opened = segment::open(dir, &boot, clock())?;
        let queue = Arc::new(Queue::new(clock));
        let keep_payloads = Arc::new(AtomicBool::new(!options.ephemeral));
        let path = dir.join(FILE_NAME);
        let writer =
            Writer::new(opened, boot, path.clone(), Arc::clone(&queue), Arc::clone(&keep_payloads), options.fault);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run())
            .map_err(|e| AuditError::Open { path, reason: e.to_string() })?;
        Ok(Self { dir: dir.to_owned(), queue, keep_payloads, writer: Mutex::new(Some(thread)) })
    }

    /// Signs a checkpoint if rows are not covered yet, and gives the newest one.
    pub fn checkpoint(&self) -> Result<Checkpoint, JournalError> {
        let done = Ticket::new();
        self.queue.push_order(Order::Checkpoint(Arc::clone(&done)))?;
        done.wait(LONG_PATIENCE)?;
        let reader = Reader::open(&self.dir).map_err(|e| JournalError(e.to_string()))?;
        let newest = reader.newest_checkpoint().map_err(|e| JournalError(e.to_string()))?;
        newest.ok_or_else(|| JournalError("the record holds no checkpoint".to_owned()))
    }

    /// Removes rows that are older than `cutoff_ms` (milliseconds since the Unix epoch),
    /// from the front; says how many. What stays still verifies.
    pub fn prune(&self, cutoff_ms: i64) -> Result<u64, JournalError> {
        let mut removed = 0;
        loop {
            let done = Ticket::new();
            self.queue.push_order(Order::Prune { cutoff_ms, done: Arc::clone(&done) })?;
            match done.wait(LONG_PATIENCE)? {
                0 => return Ok(removed),
                n => removed += n,
            }
            // A step of less than a whole one was the last; the next would find its own row only.
            if removed % prune::STEP.unsigned_abs() != 0 {
                return Ok(removed);
            }
        }
    }

    /// Makes contents unreadable by deleting their keys; says how many. Rows stay.
    pub fn erase(&self, what: Erase) -> Result<u64, JournalError> {
        let done = Ticket::new();
        self.queue.push_order(Order::Erase { what, done: Arc::clone(&done) })?;
        done.wait(LONG_PATIENCE)
    }

    /// Whether contents of coming rows are kept.
    pub fn set_ephemeral(&self, ephemeral: bool) {
        self.keep_payloads.store(!ephemeral, Ordering::Relaxed);
    }

    /// Waits until everything that was handed over so far is on the disk.
    pub fn flush(&self) -> Result<(), JournalError> {
        let done = Ticket::new();
        self.queue.push_order(Order::Flush(Arc::clone(&done)))?;
        done.wait(PATIENCE)
    }

    /// Whether rows can be written, and what waits.
    #[must_use]
    pub fn health(&self) -> Health {
        self.queue.health()
    }

    /// The data folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes what waits and a last checkpoint; whatever comes afterwards is refused.
    pub fn close(&self) {
        self.queue.close();
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer of the audit ended badly");
        }
    }

    #[cfg(test)]
    fn limit_pages(&self, pages: i64) {
        self.queue.pages.store(pages, Ordering::Relaxed);
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").field("dir", &self.dir).field("health", &self.health()).finish_non_exhaustive()
    }
}

impl Journal for Audit {
    fn append(&self, entry: Entry) -> Result<u64, JournalError> {
        let ticket = Ticket::new();
        self.queue.push_waited(Draft::of(entry), Arc::clone(&ticket), PATIENCE)?;
        ticket.wait(PATIENCE)
    }

    fn append_later(&self, entry: Entry) {
        self.queue.push_later(Draft::of(entry));
    }

    fn finish(&self, intent: u64, outcome: Outcome) {
        self.queue.push_finish(intent, outcome);
    }
}

fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
