//! The row that says "this call is about to run", written while the module starts.
//!
//! A row is on the disk after some milliseconds. The module computes meanwhile; what
//! it cannot do before the row is safe is act on the outside or have its writes kept:
//! [`Intent::wait`] stands before both.

use loqa_audit::{Entry, Journal, JournalError, Outcome};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// Threads that write intents. Chosen: calls of several skills at once; the journal may group their commits.
const N_WRITERS: usize = 4;
/// Intents that may wait for a thread; beyond it the caller writes its own. Chosen: one per loaded skill and more.
const QUEUE: usize = 64;

/// Writes intents.
pub(crate) struct IntentWriter {
    journal: Arc<dyn Journal>,
    queue: Option<SyncSender<(Entry, Arc<Slot>)>>,
    writers: Vec<JoinHandle<()>>,
}

/// One intent on its way to the disk.
pub(crate) struct Intent {
    journal: Arc<dyn Journal>,
    slot: Arc<Slot>,
}

#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    written: Option<Result<u64, JournalError>>,
    /// Waits here when the call ended before its intent was written.
    outcome: Option<Outcome>,
}

impl IntentWriter {
    pub(crate) fn start(journal: Arc<dyn Journal>) -> std::io::Result<Self> {
        let (queue, orders) = sync_channel(QUEUE);
        let orders = Arc::new(Mutex::new(orders));
        let writers = (0..N_WRITERS)
            .map(|number| {
                let (journal, orders) = (Arc::clone(&journal), Arc::clone(&orders));
                std::thread::Builder::new()
                    .name(format!("skill-intent-{number}"))
                    .spawn(move || write_orders(&*journal, &orders))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { journal, queue: Some(queue), writers })
    }

    /// Hands a row over and returns at once.
    pub(crate) fn begin(&self, entry: Entry) -> Intent {
        let slot = Arc::new(Slot::default());
        let order = (entry, Arc::clone(&slot));
        let refused = match &self.queue {
            Some(queue) => match queue.try_send(order) {
                Ok(()) => None,
                Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) => Some(order),
            },
            None => Some(order),
        };
        if let Some((entry, slot)) = refused {
            write(&*self.journal, entry, &slot);
        }
        Intent { journal: Arc::clone(&self.journal), slot }
    }
}

impl Drop for IntentWriter {
    fn drop(&mut self) {
        self.queue = None;
        for writer in self.writers.drain(..) {
            // What panicked there was the journal; its rows end as unknown.
            let _ = writer.join();
        }
    }
}

impl Intent {
    /// Waits until the row is on the disk, at most until `deadline`.
    pub(crate) fn wait(&self, deadline: Instant) -> Result<u64, JournalError> {
        let mut state = self.slot.lock();
        loop {
            if let Some(written) = &state.written {
                return written.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(JournalError("the row was not on the disk in time".to_owned()));
            }
            state = self.slot.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Says how the call ended; without it the intent ends as unknown at the next start.
    pub(crate) fn finish(self, outcome: Outcome) {
        let mut state = self.slot.lock();
        match &state.written {
            Some(Ok(intent)) => self.journal.finish(*intent, outcome),
            Some(Err(_)) => {}
            None => state.outcome = Some(outcome),
        }
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_orders(journal: &dyn Journal, orders: &Mutex<Receiver<(Entry, Arc<Slot>)>>) {
    loop {
        // The lock is held while waiting: one thread waits, the others queue up behind it.
        let order = orders.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((entry, slot)) = order else { return };
        write(journal, entry, &slot);
    }
}

fn write(journal: &dyn Journal, entry: Entry, slot: &Slot) {
    let written = journal.append(entry);
    if let Err(error) = &written {
        tracing::error!(%error, "the audit refuses the record of a skill's call");
    }
    let mut state = slot.lock();
    if let (Ok(intent), Some(outcome)) = (&written, state.outcome.take()) {
        journal.finish(*intent, outcome);
    }
    state.written = Some(written);
    drop(state);
    slot.changed.notify_all();
}

#[cfg(test)]
mod tests {
    use super::*;
    use loqa_audit::{Actor, ActorKind, Context, Kind, Status};
    use std::time::Duration;

    /// Every row takes a while, and keeps what became of it.
    #[derive(Default)]
    struct Slow(Mutex<Vec<String>>);

    impl Journal for Slow {
        fn append(&self, _: Entry) -> Result<u64, JournalError> {
            std::thread::sleep(Duration::from_millis(30));
            self.0.lock().unwrap().push("written".to_owned());
            Ok(7)
        }

        fn append_later(&self, _: Entry) {}

        fn finish(&self, intent: u64, outcome: Outcome) {
            self.0.lock().unwrap().push(format!("{intent} {}", outcome.status.unwrap()));
        }
    }

    fn entry() -> Entry {
        Entry::new(Kind::CallIntent, Actor::named(ActorKind::Skill, "test"), Context::default())
    }

    #[test]
    fn a_call_that_ends_before_its_intent_is_written_still_gets_its_outcome() {
        let journal = Arc::new(Slow::default());
        let writer = IntentWriter::start(Arc::clone(&journal) as Arc<dyn Journal>).unwrap();
        writer.begin(entry()).finish(Outcome::of(Status::Timeout));
        let waited = writer.begin(entry());
        assert!(waited.wait(Instant::now()).is_err(), "it cannot be written yet");
        assert_eq!(waited.wait(Instant::now() + Duration::from_secs(30)), Ok(7));
        waited.finish(Outcome::of(Status::Ok));
        drop(writer);
        let mut seen = journal.0.lock().unwrap().clone();
        seen.sort();
        assert_eq!(seen, ["7 ok", "7 timeout", "written", "written"]);
    }

    #[test]
    fn more_intents_than_fit_are_written_by_their_callers() {
        let journal = Arc::new(Slow::default());
        let writer = IntentWriter::start(Arc::clone(&journal) as Arc<dyn Journal>).unwrap();
        let intents = (0..QUEUE + N_WRITERS + 2).map(|_| writer.begin(entry())).collect::<Vec<_>>();
        for intent in intents {
            assert_eq!(intent.wait(Instant::now() + Duration::from_secs(30)), Ok(7));
        }
    }
}
