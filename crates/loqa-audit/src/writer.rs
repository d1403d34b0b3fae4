//! The one thread that writes: takes what waits, writes it in one transaction, tells
//! those who wait once it is on the disk.

use crate::body::{Draft, number};
use crate::checkpoint::{ANCHOR_FILE, Checkpoint, replace};
use crate::queue::{Job, Order, Queue, Taken};
use crate::record::{Kind, Outcome, Status};
use crate::segment::Opened;
use crate::store::{self, Head, Pen, is_systems, own, sql};
use crate::{Fault, prune};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longest time that rows stay without a checkpoint; from the design of the audit.
const SEAL_AFTER: Duration = Duration::from_mins(1);
/// Pause before rows that could not be written are tried again. Chosen.
const RETRY: Duration = Duration::from_millis(250);
/// At the end, rows that cannot be written are tried for this long. Chosen: a hub stops within seconds.
const LAST_TRIES: Duration = Duration::from_secs(1);

pub(crate) struct Writer {
    pub(crate) opened: Opened,
    pub(crate) boot: String,
    pub(crate) path: PathBuf,
    pub(crate) queue: Arc<Queue>,
    pub(crate) keep_payloads: Arc<AtomicBool>,
    pub(crate) fault: Option<Fault>,
    /// Taken and not yet written.
    held: VecDeque<Job>,
    /// Intents without outcome, with what their outcome takes over.
    unfinished: BTreeMap<u64, Map<String, Value>>,
    unsealed_since: Option<Instant>,
    retry_at: Option<Instant>,
    /// Deleted contents are still in the side file, because somebody reads.
    truncate_due: bool,
    /// The connection failed in a way that another one may not.
    reopen: bool,
    n_outcomes: u64,
}

impl Writer {
    pub(crate) fn new(
        opened: Opened,
        boot: String,
        path: PathBuf,
        queue: Arc<Queue>,
        keep_payloads: Arc<AtomicBool>,
        fault: Option<Fault>,
    ) -> Self {
        let mut writer = Self {
            opened,
            boot,
            path,
            queue,
            keep_payloads,
            fault,
            held: VecDeque::new(),
            unfinished: BTreeMap::new(),
            unsealed_since: None,
            retry_at: None,
            truncate_due: false,
            reopen: false,
            n_outcomes: 0,
        };
        if let Some(checkpoint) = writer.opened.sealed.take() {
            writer.keep_anchor(&checkpoint);
        }
        writer.note_unsealed();
        writer
    }

    /// Runs until the queue is closed and written.
    pub(crate) fn run(mut self) {
        loop {
            let taken = self.queue.take(self.wake(), &mut self.held);
            self.work();
            if self.unsealed_since.is_some_and(|since| since.elapsed() >= SEAL_AFTER) && self.held.is_empty() {
                self.seal_now();
            }
            if self.truncate_due && self.held.is_empty() {
                self.truncate();
            }
            if matches!(taken, Taken::Closed) {
                self.end();
                return;
            }
        }
    }

    /// When there is something to do without new jobs.
    fn wake(&self) -> Option<Instant> {
        if !self.held.is_empty() {
            return self.retry_at;
        }
        let seal = self.unsealed_since.map(|since| since + SEAL_AFTER);
        let truncate = self.truncate_due.then(|| Instant::now() + SEAL_AFTER / 10);
        [seal, truncate].into_iter().flatten().min()
    }

    /// Does what is held, in order, until something cannot be written.
    fn work(&mut self) {
        while !self.held.is_empty() {
            let rows = self.held.iter().take_while(|job| !matches!(job, Job::Order(_))).count();
            if rows > 0 {
                if let Err(reason) = self.write(rows) {
                    self.fail(&reason);
                    return;
                }
            } else if let Some(Job::Order(order)) = self.held.pop_front() {
                self.perform(order);
            }
        }
    }

    /// Writes the first rows in one transaction.
    fn write(&mut self, rows: usize) -> Result<(), String> {
        if self.reopen {
            self.connect()?;
        }
        #[cfg(test)]
        {
            let pages = self.queue.pages.load(Ordering::Relaxed);
            self.opened.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        }
        let lost = self.queue.unreported();
        let (keep, wall_ms) = (self.keep_payloads.load(Ordering::Relaxed), self.queue.wall_ms());
        let mut head = self.opened.head.clone();
        let mut finished = Vec::new();
        let mut numbers = VecDeque::with_capacity(rows);
        let Self { opened, boot, held, unfinished, fault, n_outcomes, .. } = self;
        let Opened { connection, key, .. } = opened;
        let mut pen = Pen { key, boot, keep_payloads: keep, sealed: None };
        let result = (|| {
            let transaction = begin(connection, &head)?;
            for job in held.iter().take(rows) {
                match job {
                    Job::Row { draft, wall_ms, mono_us, ticket } => {
                        let seq = pen.add(&transaction, &mut head, draft.clone(), *wall_ms, *mono_us)?;
                        numbers.push_back(seq);
                        if matches!(fault, Some(Fault::AcknowledgeBeforeCommit))
                            && let Some(ticket) = ticket
                        {
                            ticket.deliver(Ok(seq));
                        }
                    }
                    Job::Finish { intent, outcome, wall_ms, mono_us } => {
                        numbers.push_back(0);
                        let Some(fields) = unfinished.get(intent).filter(|_| !finished.contains(intent)) else {
                            tracing::warn!(intent, "an outcome for what was not begun, or has ended already");
                            continue;
                        };
                        finished.push(*intent);
                        *n_outcomes += 1;
                        if let Some(Fault::ForgetEveryOutcome(n)) = fault
                            && n_outcomes.is_multiple_of(*n)
                        {
                            continue;
                        }
                        let left = outcome.bytes_out.filter(|bytes| *bytes > 0);
                        let egress = left.map(|bytes| Draft::egress(*intent, fields, bytes));
                        for draft in
                            [Some(Draft::outcome(*intent, fields, outcome.clone())), egress].into_iter().flatten()
                        {
                            pen.add(&transaction, &mut head, draft, *wall_ms, *mono_us)?;
                        }
                    }
                    Job::Order(_) => {}
                }
            }
            if lost > 0 {
                let mut gap = own(Kind::AuditGap);
                gap.set("lost", number(lost));
                pen.add(&transaction, &mut head, gap, wall_ms, 0)?;
            }
            if matches!(fault, Some(Fault::AcknowledgeBeforeCommit)) {
                // What was handed to the system survives a kill: the fault is in not having done so.
                std::thread::sleep(Duration::from_millis(40));
            }
            transaction.commit()
        })();
        let sealed = pen.sealed;
        result.map_err(|error| self.explain(&error))?;
        self.opened.head = head;
        if lost > 0 {
            self.queue.reported(lost);
        }
        // Before anybody is told, so that whoever was told finds it so.
        self.recovered();
        self.settle(rows, numbers, &finished);
        if let Some(checkpoint) = sealed {
            self.keep_anchor(&checkpoint);
        }
        self.note_unsealed();
        Ok(())
    }

    /// Tells those who wait, and remembers which intents are open.
    fn settle(&mut self, rows: usize, numbers: VecDeque<u64>, finished: &[u64]) {
        for intent in finished {
            self.unfinished.remove(intent);
        }
        let mut abandoned = Vec::new();
        for (job, seq) in self.held.drain(..rows).zip(numbers) {
            let Job::Row { draft, ticket, wall_ms, mono_us } = job else { continue };
            if draft.kind == Kind::CallIntent {
                self.unfinished.insert(seq, draft.fields);
            }
            if let Some(ticket) = ticket
                && !ticket.deliver(Ok(seq))
                && self.unfinished.contains_key(&seq)
            {
                // Whoever asked gave up and does nothing.
                let outcome = Outcome::of(Status::Cancelled);
                abandoned.push(Job::Finish { intent: seq, outcome, wall_ms, mono_us });
            }
        }
        self.queue.left(rows.saturating_sub(abandoned.len()));
        for job in abandoned.into_iter().rev() {
            self.held.push_front(job);
        }
    }

    /// Refuses those who wait; keeps what may be written later.
    fn fail(&mut self, reason: &str) {
        tracing::error!(reason, waiting = self.held.len(), "the audit cannot be written, privileged calls are refused");
        self.queue.set_failing(Some(reason.to_owned()));
        let mut refused = 0;
        for job in std::mem::take(&mut self.held) {
            match job {
                Job::Row { ticket: Some(ticket), .. } => {
                    ticket.deliver(Err(reason.to_owned()));
                    refused += 1;
                }
                Job::Order(order) => order.refuse(reason),
                Job::Row { ticket: None, .. } | Job::Finish { .. } => self.held.push_back(job),
            }
        }
        self.queue.left(refused);
        self.retry_at = Some(Instant::now() + RETRY);
    }

    fn recovered(&mut self) {
        if self.retry_at.take().is_some() {
            tracing::info!("the audit can be written again");
            self.queue.set_failing(None);
        }
    }

    fn explain(&mut self, error: &rusqlite::Error) -> String {
        let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        self.reopen = !full && !matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
        if full {
            return "the disk is full: free some space".to_owned();
        }
        if is_systems(error) {
            return format!("`{}`: {error}", self.path.display());
        }
        format!("`{}` is damaged: {error}; the next start of the hub puts it aside", self.path.display())
    }

    /// Opens the file again and makes sure that it is the one that was written.
    fn connect(&mut self) -> Result<(), String> {
        let path = self.path.display().to_string();
        let connection = store::open(&self.path).map_err(|trouble| format!("`{path}`: {trouble}"))?;
        let last = store::hash_of(&connection, self.opened.head.seq).map_err(|e| format!("`{path}`: {e}"))?;
        let same = last == Some(self.opened.head.hash)
            || (self.opened.head.seq == self.opened.head.base_seq && last.is_none());
        if !same {
            return Err(format!("`{path}` is not the file that was written; restart the hub"));
        }
        self.opened.connection = connection;
        self.reopen = false;
        Ok(())
    }

    fn perform(&mut self, order: Order) {
        match order {
            Order::Checkpoint(done) => {
                let result = self.seal();
                done.deliver(result);
            }
            Order::Flush(done) => {
                done.deliver(Ok(()));
            }
            Order::Prune { cutoff_ms, done } => {
                let unfinished = self.unfinished.keys().next().copied();
                let fault = self.fault;
                let result = self.rewrite(|transaction, pen, head, wall_ms| {
                    prune::prune(transaction, pen, head, wall_ms, cutoff_ms, unfinished, fault)
                });
                done.deliver(result);
            }
            Order::Erase { what, done } => {
                let result = self
                    .rewrite(|transaction, pen, head, wall_ms| prune::erase(transaction, pen, head, wall_ms, &what));
                done.deliver(result);
            }
        }
    }

    /// Runs a change of the file in one transaction, then wipes what it deleted.
    fn rewrite(
        &mut self,
        change: impl FnOnce(&Transaction<'_>, &mut Pen<'_>, &mut Head, i64) -> rusqlite::Result<u64>,
    ) -> Result<u64, String> {
        if self.reopen {
            self.connect()?;
        }
        let wall_ms = self.queue.wall_ms();
        let mut head = self.opened.head.clone();
        let Opened { connection, key, .. } = &mut self.opened;
        let mut pen = Pen { key, boot: &self.boot, keep_payloads: true, sealed: None };
        let result = (|| {
            let transaction = begin(connection, &head)?;
            let changed = change(&transaction, &mut pen, &mut head, wall_ms)?;
            transaction.commit()?;
            Ok(changed)
        })();
        let sealed = pen.sealed;
        let changed = result.map_err(|error: rusqlite::Error| self.explain(&error))?;
        self.opened.head = head;
        if let Some(checkpoint) = sealed {
            self.keep_anchor(&checkpoint);
        }
        self.note_unsealed();
        if changed > 0 {
            self.truncate();
        }
        Ok(changed)
    }

    fn seal(&mut self) -> Result<(), String> {
        if self.opened.head.unsealed == 0 {
            return Ok(());
        }
        self.rewrite(|transaction, pen, head, wall_ms| pen.seal(transaction, head, wall_ms).map(|()| 0)).map(drop)
    }

    fn seal_now(&mut self) {
        if let Err(reason) = self.seal() {
            tracing::error!(reason, "no checkpoint can be written");
            // Not before the next minute, so that a full disk does not fill the log.
            self.unsealed_since = Some(Instant::now());
        }
    }

    /// Copies the side file into the database and empties it, so that deleted keys are gone.
    fn truncate(&mut self) {
        let connection = &self.opened.connection;
        // Calls that wait for a row must not wait for a reader.
        let _ = connection.busy_timeout(Duration::ZERO);
        let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        let _ = connection.busy_timeout(store::BUSY);
        self.truncate_due = busy.unwrap_or(1) != 0;
        if self.truncate_due {
            tracing::info!("somebody reads the audit; erased contents are wiped from its side file later");
        }
    }

    /// The newest checkpoint beside the database: a database that was cut off afterwards shows.
    fn keep_anchor(&self, checkpoint: &Checkpoint) {
        let path = self.path.with_file_name(ANCHOR_FILE);
        let written =
            serde_json::to_vec(checkpoint).map_err(std::io::Error::other).and_then(|json| replace(&path, &json, false));
        if let Err(error) = written {
            tracing::warn!(%error, path = %path.display(), "the newest checkpoint is only in the database");
        }
    }

    fn note_unsealed(&mut self) {
        self.unsealed_since = match self.opened.head.unsealed {
            0 => None,
            _ => self.unsealed_since.or_else(|| Some(Instant::now())),
        };
    }

    /// The orderly end: a last checkpoint, and the mark that nothing needs to be checked.
    fn end(mut self) {
        let end = Instant::now() + LAST_TRIES;
        while !self.held.is_empty() && Instant::now() < end {
            std::thread::sleep(RETRY / 5);
            self.work();
        }
        if !self.held.is_empty() {
            tracing::error!(rows = self.held.len(), "the audit ends and these rows were not written");
        }
        let sealed = self.seal();
        let marked = sealed.and_then(|()| {
            // Calls that still run are ended by the next start, as after a crash.
            let opened = self.unfinished.keys().next().map_or(self.opened.head.seq, |first| first - 1);
            self.opened
                .connection
                .execute("UPDATE meta SET clean = 1, opened = ?1 WHERE id = 1", [sql(opened)])
                .map_err(|e| e.to_string())
        });
        if let Err(reason) = marked {
            tracing::warn!(reason, "the audit ends without its last checkpoint");
        }
    }
}

/// Begins a transaction and makes sure that nobody else added rows.
fn begin<'a>(connection: &'a mut Connection, head: &Head) -> rusqlite::Result<Transaction<'a>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let last: i64 = transaction
        .prepare_cached("SELECT max(coalesce((SELECT max(seq) FROM record), 0), (SELECT seq FROM base))")?
        .query_row([], |row| row.get(0))?;
    if last != sql(head.seq) {
        let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        let message = format!("another program added rows: expected {}, found {last}", head.seq);
        return Err(rusqlite::Error::SqliteFailure(error, Some(message)));
    }
    Ok(transaction)
}
