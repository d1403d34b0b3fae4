//! Stops calls that run too long or that nobody waits for any more.
//!
//! One thread for all skills. It sleeps while no skill runs. Extism's own timeout is
//! fixed at compile time of a module and knows no cancel flag, so it is not used;
//! its cancel handle, which interrupts the module at the next epoch check, is.

use crate::control::{CallControl, Stopped};
use extism::CancelHandle;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often cancel flags are read while a skill runs. Chosen: a fifth of the 50 ms that a cancel may take.
const TICK: Duration = Duration::from_millis(10);
/// A call whose clock stands still just before its end must not keep the thread busy. Chosen.
const SHORTEST: Duration = Duration::from_millis(1);

struct Watched {
    control: CallControl,
    handle: CancelHandle,
    stopped: Option<Stopped>,
}

#[derive(Default)]
struct State {
    calls: BTreeMap<u64, Watched>,
    next_id: u64,
    is_parked: bool,
    is_closing: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watchdog {
    pub(crate) fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("skill-watchdog".into()).spawn(move || watch(&watched))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Watches one call until the guard is asked for its end.
    pub(crate) fn watch(&self, control: CallControl, handle: CancelHandle) -> Watch<'_> {
        let mut state = self.shared.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.calls.insert(id, Watched { control, handle, stopped: None });
        if state.is_parked {
            self.shared.wake.notify_one();
        }
        Watch { shared: &self.shared, id }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.lock().is_closing = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread holds no user data and cannot panic; nothing is left to report.
            let _ = thread.join();
        }
    }
}

/// One call under watch.
pub(crate) struct Watch<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Watch<'_> {
    /// Ends the watch and says whether the call was stopped.
    pub(crate) fn end(self) -> Option<Stopped> {
        self.shared.lock().calls.remove(&self.id).and_then(|watched| watched.stopped)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.shared.lock().calls.remove(&self.id);
    }
}

fn watch(shared: &Shared) {
    let mut state = shared.lock();
    while !state.is_closing {
        if state.calls.is_empty() {
            state.is_parked = true;
            state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.is_parked = false;
            continue;
        }
        let mut pause = TICK;
        for watched in state.calls.values_mut() {
            if watched.stopped.is_none() {
                watched.stopped = watched.control.stopped();
                pause = pause.min(watched.control.left().max(SHORTEST));
            }
            if watched.stopped.is_some() {
                // Repeated every tick: Extism drops a cancel that comes before its own start message.
                if let Err(error) = watched.handle.cancel() {
                    tracing::error!(%error, "a skill cannot be stopped, its fuel will end it");
                }
            }
        }
        let (next, _) = shared.wake.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner);
        state = next;
    }
}
