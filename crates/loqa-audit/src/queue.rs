//! What waits for the writer: bounded, in the order of the calls, each row stamped as
//! it takes its place.

use crate::body::Draft;
use crate::record::{JournalError, Outcome};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Rows that may wait: some seconds of a busy hub, a few MiB. Outcomes come on top,
/// at most one for each call that runs. Chosen.
pub(crate) const CAPACITY: usize = 4_096;
/// A row that nobody waits for is written after this at the latest. Chosen: many share a commit.
pub(crate) const LINGER: Duration = Duration::from_millis(20);
/// Most jobs that are taken at once. Chosen: a transaction of a few milliseconds.
const MAX_TAKEN: usize = 1_024;

/// Milliseconds since the Unix epoch; tests bring their own.
pub(crate) type WallClock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Work for the writer.
pub(crate) enum Job {
    Row { draft: Draft, ticket: Option<Arc<Ticket<u64>>>, wall_ms: i64, mono_us: u64 },
    Finish { intent: u64, outcome: Outcome, wall_ms: i64, mono_us: u64 },
    Order(Order),
}

/// Something other than a row.
pub(crate) enum Order {
    /// Sign a checkpoint if rows are not covered yet.
    Checkpoint(Arc<Ticket<()>>),
    /// Remove rows that are older, some at a time; says how many.
    Prune { cutoff_ms: i64, done: Arc<Ticket<u64>> },
    /// Make contents unreadable; says how many.
    Erase { what: crate::Erase, done: Arc<Ticket<u64>> },
    /// Everything before this is written.
    Flush(Arc<Ticket<()>>),
}

impl Order {
    pub(crate) fn refuse(self, reason: &str) {
        let reason = reason.to_owned();
        match self {
            Self::Checkpoint(done) | Self::Flush(done) => {
                done.deliver(Err(reason));
            }
            Self::Prune { done, .. } | Self::Erase { done, .. } => {
                done.deliver(Err(reason));
            }
        }
    }
}

/// Where somebody waits for the writer.
pub(crate) struct Ticket<T> {
    state: Mutex<TicketState<T>>,
    done: Condvar,
}

enum TicketState<T> {
    Waiting,
    Done(Result<T, String>),
    /// Whoever waited has gone.
    Left,
}

impl<T> Ticket<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(TicketState::Waiting), done: Condvar::new() })
    }

    /// Tells the result; `false` when nobody waits for it any more.
    pub(crate) fn deliver(&self, result: Result<T, String>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, TicketState::Left) {
            return false;
        }
        *state = TicketState::Done(result);
        self.done.notify_all();
        true
    }

    pub(crate) fn wait(&self, patience: Duration) -> Result<T, JournalError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut state, _) = self
            .done
            .wait_timeout_while(state, patience, |state| matches!(state, TicketState::Waiting))
            .unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, TicketState::Left) {
            TicketState::Done(result) => result.map_err(JournalError),
            TicketState::Waiting | TicketState::Left => {
                Err(JournalError(format!("the disk did not answer within {} s", patience.as_secs_f32())))
            }
        }
    }
}

/// How the record is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why rows cannot be written, while they cannot.
    pub failing: Option<String>,
    /// Rows that wait to be written.
    pub waiting: usize,
    /// Rows that were dropped because too many waited; none is a row that somebody waited for.
    pub lost: u64,
}

struct State {
    jobs: VecDeque<Job>,
    /// Rows here and with the writer.
    depth: usize,
    /// Somebody waits for a job in here.
    urgent: bool,
    oldest: Option<Instant>,
    closed: bool,
    failing: Option<String>,
    lost: u64,
    /// Lost rows that no row speaks of yet.
    unreported: u64,
    mono_us: u64,
}

/// The queue.
pub(crate) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    room: Condvar,
    clock: WallClock,
    began: Instant,
    /// The file may grow to so many pages: SQLite itself then says that the disk is full.
    #[cfg(test)]
    pub(crate) pages: std::sync::atomic::AtomicI64,
}

/// What the writer got.
pub(crate) enum Taken {
    /// Jobs, or the time was over.
    Jobs,
    /// The queue is closed and empty.
    Closed,
}

impl Queue {
    pub(crate) fn new(clock: WallClock) -> Self {
        Self {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                depth: 0,
                urgent: false,
                oldest: None,
                closed: false,
                failing: None,
                lost: 0,
                unreported: 0,
                mono_us: 0,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            clock,
            began: Instant::now(),
            #[cfg(test)]
            pages: (1 << 30).into(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wall_ms(&self) -> i64 {
        (self.clock)()
    }

    /// The times of a row that takes its place.
    fn stamp(&self, state: &mut State) -> (i64, u64) {
        let since = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        state.mono_us = state.mono_us.max(since);
        ((self.clock)(), state.mono_us)
    }

    /// Adds a row that somebody waits for; waits for room.
    pub(crate) fn push_waited(
        &self,
        draft: Draft,
        ticket: Arc<Ticket<u64>>,
        patience: Duration,
    ) -> Result<(), JournalError> {
        let end = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if state.closed {
                return Err(JournalError("the audit is closed".to_owned()));
            }
            if state.depth < CAPACITY {
                break;
            }
            if let Some(reason) = &state.failing {
                return Err(JournalError(reason.clone()));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(JournalError(format!("{CAPACITY} rows wait already")));
            }
            (state, _) = self.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        let (wall_ms, mono_us) = self.stamp(&mut state);
        state.jobs.push_back(Job::Row { draft, ticket: Some(ticket), wall_ms, mono_us });
        state.depth += 1;
        state.urgent = true;
        self.work.notify_one();
        Ok(())
    }

    /// Adds a row that nobody waits for; without room it is counted as lost.
    pub(crate) fn push_later(&self, draft: Draft) {
        let mut state = self.lock();
        if state.closed || state.depth >= CAPACITY {
            state.lost += 1;
            state.unreported += 1;
            let lost = state.lost;
            drop(state);
            tracing::error!(lost, kind = draft.kind.as_str(), "the audit is behind, a row is lost");
            return;
        }
        let (wall_ms, mono_us) = self.stamp(&mut state);
        state.jobs.push_back(Job::Row { draft, ticket: None, wall_ms, mono_us });
        state.depth += 1;
        self.wake_for_later(&mut state);
    }

    /// Adds an outcome. There is always room: calls that run are few.
    pub(crate) fn push_finish(&self, intent: u64, outcome: Outcome) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            tracing::error!(intent, "the audit is closed, the outcome will be `unknown`");
            return;
        }
        let (wall_ms, mono_us) = self.stamp(&mut state);
        state.jobs.push_back(Job::Finish { intent, outcome, wall_ms, mono_us });
        state.depth += 1;
        self.wake_for_later(&mut state);
    }

    fn wake_for_later(&self, state: &mut State) {
        if state.oldest.is_none() {
            state.oldest = Some(Instant::now());
            self.work.notify_one();
        }
    }

    pub(crate) fn push_order(&self, order: Order) -> Result<(), JournalError> {
        let mut state = self.lock();
        if state.closed {
            return Err(JournalError("the audit is closed".to_owned()));
        }
        state.jobs.push_back(Job::Order(order));
        state.urgent = true;
        self.work.notify_one();
        Ok(())
    }

    /// Nothing is taken in any more; what waits is still written.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    /// Takes what waits: at once when somebody waits for it, else when its time has
    /// come; with nothing to do, returns at `wake`.
    pub(crate) fn take(&self, wake: Option<Instant>, held: &mut VecDeque<Job>) -> Taken {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let due = state.oldest.is_some_and(|oldest| now >= oldest + LINGER);
            if !state.jobs.is_empty() && (state.urgent || due || state.closed) {
                let n = state.jobs.len().min(MAX_TAKEN);
                held.extend(state.jobs.drain(..n));
                if state.jobs.is_empty() {
                    (state.urgent, state.oldest) = (false, None);
                }
                return Taken::Jobs;
            }
            if state.closed {
                return Taken::Closed;
            }
            if wake.is_some_and(|wake| now >= wake) {
                return Taken::Jobs;
            }
            let end = match (state.oldest.map(|oldest| oldest + LINGER), wake) {
                (Some(due), Some(wake)) => Some(due.min(wake)),
                (due, wake) => due.or(wake),
            };
            state = match end {
                Some(end) => {
                    self.work
                        .wait_timeout(state, end.saturating_duration_since(now))
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// So many rows are written or given up.
    pub(crate) fn left(&self, rows: usize) {
        if rows > 0 {
            self.lock().depth -= rows;
            self.room.notify_all();
        }
    }

    /// Says whether rows can be written.
    pub(crate) fn set_failing(&self, failing: Option<String>) {
        let mut state = self.lock();
        if state.failing.is_some() != failing.is_some() {
            self.room.notify_all();
        }
        state.failing = failing;
    }

    /// Lost rows that no row speaks of yet.
    pub(crate) fn unreported(&self) -> u64 {
        self.lock().unreported
    }

    /// A row speaks of so many lost ones.
    pub(crate) fn reported(&self, lost: u64) {
        self.lock().unreported -= lost;
    }

    pub(crate) fn health(&self) -> Health {
        let state = self.lock();
        Health { failing: state.failing.clone(), waiting: state.depth, lost: state.lost }
    }
}
