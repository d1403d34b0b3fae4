//! What a running call shares with those who may end it: its deadline, its caller's
//! wish to stop, and the end of a permission that it is using.
//!
//! While the person is asked something, the call's clock stands still, so that a slow
//! answer does not cost the skill its budget. A host function that blocks waits no
//! longer than [`CallControl::left`] and looks at [`CallControl::stopped`] meanwhile.

use crate::permission::Permission;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Why a call has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The budget is used up.
    Deadline,
    /// The caller does not want the result any more.
    Cancelled,
    /// A permission was taken away while the call was using it.
    Revoked(Permission),
}

/// One call, as those see it who may end it. Clones share it.
#[derive(Clone)]
pub struct CallControl(Arc<Inner>);

struct Inner {
    cancel: Arc<AtomicBool>,
    state: Mutex<State>,
    n_prompts: AtomicUsize,
}

#[derive(Debug)]
struct State {
    deadline: Instant,
    /// Since when the clock stands still.
    still_since: Option<Instant>,
    revoked: Option<Permission>,
    /// What the person allowed for this call.
    allowed: BTreeSet<Permission>,
}

impl CallControl {
    /// A call that ends at `deadline`, or when `cancel` is set.
    #[must_use]
    pub fn new(deadline: Instant, cancel: Arc<AtomicBool>) -> Self {
        let state = Mutex::new(State { deadline, still_since: None, revoked: None, allowed: BTreeSet::new() });
        Self(Arc::new(Inner { cancel, state, n_prompts: AtomicUsize::new(0) }))
    }

    /// A call that only its own code ends, within `budget`.
    #[must_use]
    pub fn lasting(budget: Duration) -> Self {
        Self::new(Instant::now() + budget, Arc::default())
    }

    /// Why the call has to end, if it has to.
    #[must_use]
    pub fn stopped(&self) -> Option<Stopped> {
        if self.0.cancel.load(Ordering::Relaxed) {
            return Some(Stopped::Cancelled);
        }
        let state = self.lock();
        if let Some(permission) = state.revoked {
            return Some(Stopped::Revoked(permission));
        }
        (state.left(Instant::now()).is_zero()).then_some(Stopped::Deadline)
    }

    /// What is left of the budget; it does not shrink while the clock stands still.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.lock().left(Instant::now())
    }

    /// When the budget is over, if the clock runs from here on.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let now = Instant::now();
        now + self.lock().left(now)
    }

    /// Whether the person is being asked.
    #[must_use]
    pub fn stands_still(&self) -> bool {
        self.lock().still_since.is_some()
    }

    /// Stops the call's clock until the guard is dropped.
    pub(crate) fn stand_still(&self) -> Still<'_> {
        self.lock().still_since.get_or_insert_with(Instant::now);
        Still(self)
    }

    /// Ends the call, because it was using a permission that was taken away.
    pub(crate) fn revoke(&self, permission: Permission) {
        self.lock().revoked.get_or_insert(permission);
    }

    /// The person allowed the permission for this call.
    pub(crate) fn allow(&self, permission: Permission) {
        self.lock().allowed.insert(permission);
    }

    /// Whether the person allowed the permission for this call.
    pub(crate) fn is_allowed(&self, permission: Permission) -> bool {
        self.lock().allowed.contains(&permission)
    }

    /// Counts the questions of this call.
    pub(crate) fn count_prompt(&self) -> usize {
        self.0.n_prompts.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn left(&self, now: Instant) -> Duration {
        self.deadline.saturating_duration_since(self.still_since.unwrap_or(now))
    }
}

impl fmt::Debug for CallControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallControl").field("left", &self.left()).field("stopped", &self.stopped()).finish()
    }
}

/// The clock stands still while this lives.
pub(crate) struct Still<'a>(&'a CallControl);

impl Drop for Still<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if let Some(since) = state.still_since.take() {
            state.deadline += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stands_still_and_then_goes_on() {
        let control = CallControl::lasting(Duration::from_millis(200));
        let still = control.stand_still();
        let left = control.left();
        std::thread::sleep(Duration::from_millis(250));
        assert_eq!(control.left(), left, "nothing is used up");
        assert_eq!(control.stopped(), None);
        drop(still);
        assert!(control.left() <= left && !control.left().is_zero());
        std::thread::sleep(Duration::from_millis(250));
        assert_eq!(control.stopped(), Some(Stopped::Deadline));
    }

    #[test]
    fn a_cancel_and_a_revocation_end_a_call_whose_clock_stands_still() {
        let cancel = Arc::new(AtomicBool::new(false));
        let control = CallControl::new(Instant::now() + Duration::from_secs(60), Arc::clone(&cancel));
        let _still = control.stand_still();
        control.revoke(Permission::HttpCall);
        assert_eq!(control.stopped(), Some(Stopped::Revoked(Permission::HttpCall)));
        cancel.store(true, Ordering::Relaxed);
        assert_eq!(control.stopped(), Some(Stopped::Cancelled));
    }
}
