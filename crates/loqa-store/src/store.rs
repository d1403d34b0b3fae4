//! The store as the hub holds it: a bounded queue to the one writer, and readers.

use crate::audio::{self, KeySource};
use crate::erase::{self, Retention};
use crate::read::Reader;
use crate::row::{Erased, Health, NodeRow};
use crate::writer::{Job, QUEUE, Shared, Writer, lock};
use crate::{StoreError, open, schema};
use loqa_protocol::{PrivacyScope, SessionId, TimedEvent, TurnId};
use rusqlite::{Connection, params};
use serde_json::Value;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest wait for events to be on the disk. Chosen: a thousand times what a disk needs.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for work on the whole file.
const LONG_PATIENCE: Duration = Duration::from_mins(10);

/// How to keep the store.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    /// The file; `None` keeps everything in memory, until the store is closed.
    pub path: Option<PathBuf>,
    /// A fault put in on purpose, to show that the tests see it. Never set otherwise.
    #[doc(hidden)]
    pub fault: Option<Fault>,
}

impl StoreOptions {
    /// In this file.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), fault: None }
    }

    /// In memory.
    #[must_use]
    pub fn memory() -> Self {
        Self::default()
    }
}

/// Faults for the controls of the tests.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Tell that events are safe before they are.
    AcknowledgeBeforeCommit,
    /// Let the age of a session decide about turns in it.
    PruneBySession,
    /// Keep what nobody may keep.
    IgnoreScope,
}

/// An event that is handed over, with how long it may be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What happened.
    pub event: TimedEvent,
    /// How long that may be kept; an ephemeral one is not taken in.
    pub scope: PrivacyScope,
    /// When, in milliseconds since the Unix epoch.
    pub wall_ms: i64,
}

/// What the user lets Loqa remember. Cheap to clone; dropping the last clone writes what
/// waits. It reads through [`Reader`], to which it dereferences.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    reader: Reader,
    queue: Mutex<Option<SyncSender<Job>>>,
    health: Arc<Mutex<Health>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    fault: Option<Fault>,
}

impl Deref for Store {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.inner.reader
    }
}

impl Store {
    /// Opens or makes the store. A damaged file is put aside as `<file>.corrupt-<ms>` and
    /// a new one begins; a file of an older version is backed up and brought up to date.
    /// [`Store::health`] tells of both.
    ///
    /// # Errors
    /// The file is of a newer version, or the system refuses.
    pub fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let StoreOptions { path, fault } = options;
        let mut health = Health::default();
        let connection = match &path {
            Some(path) => {
                let opened = open::open(path, now_ms())?;
                health.notices = opened.notices;
                opened.connection
            }
            None => {
                let mut connection = schema::open_writer(None)?;
                schema::migrate(&mut connection, 0)?;
                connection
            }
        };
        let (shared, health): (Shared, _) = (Arc::new(Mutex::new(connection)), Arc::new(Mutex::new(health)));
        let reader = match &path {
            Some(path) => Reader::of_file(path),
            None => Reader::of_memory(Arc::clone(&shared), KeySource::of(None)),
        };
        let (queue, jobs) = sync_channel(QUEUE);
        let writer = Writer::new(shared, path.clone(), Arc::clone(&health), fault);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(&jobs))
            .map_err(|e| StoreError::open(path.as_deref().unwrap_or(Path::new("")), e))?;
        let inner = Inner { reader, queue: Mutex::new(Some(queue)), health, writer: Mutex::new(Some(thread)), fault };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Hands an event over; never waits. An ephemeral one is not taken in, which is no error.
    ///
    /// # Errors
    /// Too much waits already, then the event is counted as lost; or the store is closed.
    pub fn append(&self, entry: Entry) -> Result<(), StoreError> {
        if !self.may_keep(&entry) {
            return Ok(());
        }
        match self.queue()?.try_send(Job::Event(Box::new(entry))) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                lock(&self.inner.health).lost += 1;
                Err(StoreError::Busy)
            }
            Err(TrySendError::Disconnected(_)) => Err(StoreError::Closed),
        }
    }

    /// Hands events over and waits until they are on the disk; says how many were kept.
    ///
    /// # Errors
    /// They could not be written; none of them is kept then.
    pub fn append_all(&self, mut entries: Vec<Entry>) -> Result<u64, StoreError> {
        entries.retain(|entry| self.may_keep(entry));
        let (done, written) = sync_channel(1);
        self.send(Job::Events(entries, done))?;
        match written.recv_timeout(PATIENCE) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(StoreError::TooSlow { seconds: PATIENCE.as_secs() }),
            Err(RecvTimeoutError::Disconnected) => Err(StoreError::Closed),
        }
    }

    fn may_keep(&self, entry: &Entry) -> bool {
        entry.scope.may_be_kept() || self.inner.fault == Some(Fault::IgnoreScope)
    }

    /// Waits until everything handed over so far is written.
    ///
    /// # Errors
    /// The writer did not answer in time, or the store is closed.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.order(PATIENCE, |_| Ok(()))
    }

    /// Keeps the recording of a turn whose events are kept: 16 kHz mono samples.
    ///
    /// # Errors
    /// The turn is not kept, or the recording cannot be written.
    pub fn keep_recording(&self, turn: &TurnId, samples: Vec<i16>) -> Result<(), StoreError> {
        let (turn, keys) = (turn.clone(), self.keys().clone());
        self.order(PATIENCE, move |connection| audio::keep(connection, &keys, &turn, &samples))
    }

    /// Removes the recordings of a session; says how many. Its texts stay.
    ///
    /// # Errors
    /// They cannot be removed.
    pub fn delete_recordings(&self, session: &SessionId) -> Result<u64, StoreError> {
        let session = session.clone();
        self.order(LONG_PATIENCE, move |connection| {
            let removed = connection.execute(
                "DELETE FROM recordings WHERE session_id = (SELECT id FROM sessions WHERE session = ?1)",
                [session.as_str()],
            )?;
            erase::empty_wal(connection)?;
            Ok(removed as u64)
        })
    }

    /// Notes engine processes that are there.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn note_nodes(&self, nodes: Vec<NodeRow>) -> Result<(), StoreError> {
        self.order(PATIENCE, move |connection| {
            let transaction = connection.transaction()?;
            for node in &nodes {
                let capabilities =
                    serde_json::to_string(&node.capabilities).map_err(|e| StoreError::Sqlite(e.to_string()))?;
                transaction
                    .prepare_cached(
                        "INSERT INTO nodes (instance, kind, node, program, capabilities, first_ms, last_ms)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                         ON CONFLICT (instance) DO UPDATE SET capabilities = excluded.capabilities,
                             last_ms = max(last_ms, excluded.last_ms)",
                    )?
                    .execute(params![
                        node.instance,
                        node.kind,
                        node.node,
                        node.program,
                        capabilities,
                        node.first_ms,
                        node.last_ms
                    ])?;
            }
            // Enough to look back on; each start of an engine adds one.
            transaction.execute(
                "DELETE FROM nodes WHERE instance IN (SELECT instance FROM nodes ORDER BY last_ms DESC LIMIT -1 OFFSET 500)",
                [],
            )?;
            transaction.commit()?;
            Ok(())
        })
    }

    /// Sets a setting; `Null` takes it away.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set_setting(&self, key: &str, value: &Value) -> Result<(), StoreError> {
        let (key, text, is_null) = (key.to_owned(), value.to_string(), value.is_null());
        self.order(PATIENCE, move |connection| {
            if is_null {
                connection.execute("DELETE FROM settings WHERE key = ?1", [key])?;
            } else {
                connection.execute(
                    "INSERT INTO settings (key, value, changed_ms) VALUES (?1, ?2, ?3)
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value, changed_ms = excluded.changed_ms",
                    params![key, text, now_ms()],
                )?;
            }
            Ok(())
        })
    }

    /// Removes turns of persistent sessions that are beyond the limits; says how many.
    ///
    /// # Errors
    /// They cannot be removed.
    pub fn prune(&self, retention: Retention, now_ms: i64) -> Result<u64, StoreError> {
        let fault = self.inner.fault;
        self.order(LONG_PATIENCE, move |connection| erase::prune(connection, retention, now_ms, fault))
    }

    /// A session has ended: what was kept for it only goes; says how many turns.
    ///
    /// # Errors
    /// They cannot be removed.
    pub fn end_session(&self, session: &SessionId) -> Result<u64, StoreError> {
        let session = session.clone();
        self.order(PATIENCE, move |connection| erase::end_session(connection, session.as_str(), now_ms()))
    }

    /// Removes a session with its turns, events, texts and recordings.
    ///
    /// # Errors
    /// It is not kept, or cannot be removed.
    pub fn delete_session(&self, session: &SessionId) -> Result<Erased, StoreError> {
        let (session, path) = (session.clone(), self.path().map(Path::to_owned));
        self.order(LONG_PATIENCE, move |connection| {
            erase::delete_session(connection, path.as_deref(), session.as_str())
        })
    }

    /// Removes everything, with the files beside the database that hold what it once held.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn wipe(&self) -> Result<Erased, StoreError> {
        let path = self.path().map(Path::to_owned);
        self.order(LONG_PATIENCE, move |connection| erase::wipe(connection, path.as_deref()))
    }

    /// Whether events can be written, how many were lost, and what the user should know.
    #[must_use]
    pub fn health(&self) -> Health {
        lock(&self.inner.health).clone()
    }

    /// Adds something that the user should know.
    pub fn add_notice(&self, notice: impl Into<String>) {
        lock(&self.inner.health).notices.push(notice.into());
    }

    /// Writes what waits and closes the file; whatever comes afterwards is refused.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Lets the file grow to so many pages: SQLite itself then says that the disk is full.
    #[doc(hidden)]
    pub fn limit_pages(&self, pages: i64) -> Result<(), StoreError> {
        self.order(PATIENCE, move |connection| {
            connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
            Ok(())
        })
    }

    fn queue(&self) -> Result<SyncSender<Job>, StoreError> {
        lock(&self.inner.queue).clone().ok_or(StoreError::Closed)
    }

    /// Waits for room in the queue.
    fn send(&self, job: Job) -> Result<(), StoreError> {
        self.queue()?.send(job).map_err(|_| StoreError::Closed)
    }

    /// Has the writer do something between two batches.
    fn order<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, result) = sync_channel(1);
        self.send(Job::Order(Box::new(move |connection| {
            // Whoever asked may have gone.
            let _ = done.send(work(connection));
        })))?;
        match result.recv_timeout(patience) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(StoreError::TooSlow { seconds: patience.as_secs() }),
            Err(RecvTimeoutError::Disconnected) => Err(StoreError::Closed),
        }
    }
}

impl Inner {
    fn close(&self) {
        // The writer ends when nobody can give it work any more.
        drop(lock(&self.queue).take());
        let thread = lock(&self.writer).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer of the event store ended badly");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path()).field("health", &self.health()).finish_non_exhaustive()
    }
}

pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
