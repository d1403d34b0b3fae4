//! Uses that are being decided or performed, so that a revocation finds them.

use crate::control::CallControl;
use crate::permission::Permission;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Every use between the beginning of its decision and the end of its effect.
#[derive(Default)]
pub(super) struct InFlight(Mutex<State>);

#[derive(Default)]
struct State {
    next: u64,
    uses: BTreeMap<u64, (String, Permission, CallControl)>,
}

/// One use; it is over when this is dropped.
pub(super) struct Held {
    all: Arc<InFlight>,
    id: u64,
}

impl InFlight {
    pub(super) fn enter(self: &Arc<Self>, skill: &str, permission: Permission, control: &CallControl) -> Held {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.uses.insert(id, (skill.to_owned(), permission, control.clone()));
        Held { all: Arc::clone(self), id }
    }

    /// Ends the calls that are using what was taken away.
    pub(super) fn stop(&self, skill: &str, permission: Option<Permission>) {
        for (user, used, control) in self.lock().uses.values() {
            if user == skill && permission.is_none_or(|permission| permission == *used) {
                control.revoke(*used);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.lock().uses.remove(&self.id);
    }
}
