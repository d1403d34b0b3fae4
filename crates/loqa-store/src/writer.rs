//! The one thread that writes. What waits for it is bounded; many events share a commit.
//!
//! A write that fails is said and counted, and the next one is tried again: voice goes
//! on without its record, and the record goes on when there is room.

use crate::fold::Fold;
use crate::{Entry, Fault, Health, StoreError, erase, open};
use loqa_protocol::TurnId;
use rusqlite::{Connection, TransactionBehavior, params};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Jobs that may wait, some hundred turns' worth. Chosen.
pub(crate) const QUEUE: usize = 4_096;
/// Most events of one commit. Chosen: a transaction of some ten milliseconds.
const BATCH: usize = 2_048;
/// Turns whose folds are kept; one that is not is read again. Chosen: more than run at once.
const MAX_FOLDS: usize = 256;

/// The connection that writes. In memory readers share it.
pub(crate) type Shared = Arc<Mutex<Connection>>;

/// Work on the whole database, in the order of the calls.
pub(crate) type Order = Box<dyn FnOnce(&mut Connection) + Send>;

/// Work for the writer.
pub(crate) enum Job {
    /// Nobody waits for it.
    Event(Box<Entry>),
    /// Told when they are on the disk.
    Events(Vec<Entry>, SyncSender<Result<u64, StoreError>>),
    Order(Order),
}

pub(crate) struct Writer {
    pub(crate) connection: Shared,
    pub(crate) path: Option<PathBuf>,
    pub(crate) health: Arc<Mutex<Health>>,
    pub(crate) fault: Option<Fault>,
    folds: HashMap<TurnId, Fold>,
    /// Pages are damaged: the file is looked at and put aside at the next start.
    damaged: bool,
}

/// Who waits for which of a batch.
type Waiting = Vec<(u64, SyncSender<Result<u64, StoreError>>)>;

impl Writer {
    pub(crate) fn new(
        connection: Shared,
        path: Option<PathBuf>,
        health: Arc<Mutex<Health>>,
        fault: Option<Fault>,
    ) -> Self {
        Self { connection, path, health, fault, folds: HashMap::new(), damaged: false }
    }

    /// Works until nobody can give it work any more.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            let (mut entries, mut waiting) = (Vec::new(), Waiting::new());
            let mut next = Some(job);
            let mut order = None;
            while let Some(job) = next.take() {
                match job {
                    Job::Event(entry) => entries.push(*entry),
                    Job::Events(more, done) => {
                        waiting.push((more.len() as u64, done));
                        entries.extend(more);
                    }
                    Job::Order(work) => order = Some(work),
                }
                // What was handed over before an order is written before it.
                if order.is_none() && entries.len() < BATCH {
                    next = jobs.try_recv().ok();
                }
            }
            if !entries.is_empty() {
                self.write(&entries, waiting);
            } else {
                for (_, done) in waiting {
                    let _ = done.send(Ok(0));
                }
            }
            if let Some(order) = order {
                // It may take rows away that folds refer to.
                self.folds.clear();
                order(&mut lock(&self.connection));
            }
        }
        self.end();
    }

    fn write(&mut self, entries: &[Entry], mut waiting: Waiting) {
        if self.fault == Some(Fault::AcknowledgeBeforeCommit) {
            for (n, done) in waiting.drain(..) {
                let _ = done.send(Ok(n));
            }
            // Time to die in.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let connection = Arc::clone(&self.connection);
        let result = commit(&mut lock(&connection), &mut self.folds, entries);
        if result.is_err() {
            // They may speak of rows that were rolled back.
            self.folds.clear();
        }
        self.folds.retain(|_, fold| !fold.has_ended());
        if self.folds.len() > MAX_FOLDS {
            self.folds.clear();
        }
        {
            let mut health = lock(&self.health);
            match &result {
                Ok(()) => {
                    if health.failing.take().is_some() {
                        tracing::info!("the event store can be written again");
                    }
                }
                Err(error) => {
                    health.lost += entries.len() as u64;
                    let reason = error.to_string();
                    if health.failing.as_ref() != Some(&reason) {
                        tracing::error!(lost = health.lost, "{reason}");
                    }
                    health.failing = Some(reason);
                    self.damaged |= matches!(error, StoreError::Damaged { .. });
                }
            }
        }
        for (n, done) in waiting {
            let _ = done.send(result.clone().map(|()| n));
        }
    }

    fn end(self) {
        let mut connection = lock(&self.connection);
        let ended = erase::end_session_scopes(&mut connection, None).map(|_| ());
        let ended = ended.and_then(|()| erase::empty_wal(&connection));
        if let Err(error) = &ended {
            tracing::warn!(%error, "the event store ended badly and will be checked at the next start");
        }
        drop(connection);
        if let Some(path) = &self.path
            && ended.is_ok()
            && !self.damaged
        {
            open::ended_well(path);
        }
    }
}

/// Writes a batch in one transaction.
fn commit(connection: &mut Connection, folds: &mut HashMap<TurnId, Fold>, entries: &[Entry]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for Entry { event: timed, scope, wall_ms } in entries {
        let fold = match folds.entry(timed.turn.clone()) {
            std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::hash_map::Entry::Vacant(empty) => {
                empty.insert(Fold::of_turn(&transaction, &timed.session, &timed.turn, *scope, *wall_ms)?)
            }
        };
        let json = serde_json::to_string(&timed.event).map_err(|e| StoreError::Sqlite(e.to_string()))?;
        let added = transaction
            .prepare_cached(
                "INSERT OR IGNORE INTO events (turn_id, seq, at_us, wall_ms, name, event) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                fold.id,
                timed.seq,
                i64::try_from(timed.at_us).unwrap_or(i64::MAX),
                wall_ms,
                timed.event.name(),
                json
            ])?;
        // An event that comes twice counts once.
        if added > 0 {
            fold.apply(&timed.event, *wall_ms);
        }
    }
    for fold in folds.values_mut().filter(|fold| fold.changed) {
        fold.write(&transaction)?;
    }
    transaction.commit()?;
    Ok(())
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
