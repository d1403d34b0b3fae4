//! The clock by which grants run out. It never goes back, whatever is done to the
//! clocks of the machine, and never falls behind the wall clock.
//!
//! While the program runs the steady clock counts. Over a restart the wall clock does;
//! when that was set back, what it shows to have passed since counts on from where the
//! clock of the grants stood. A clock that is set far ahead ends grants early, which is
//! the safe side: the person is asked again.

use crate::clock::Clock;
use std::sync::{Arc, Mutex, PoisonError};

/// A reading, as the database keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The clock of the grants.
    pub(crate) now_ms: i64,
    /// The wall clock at the same moment.
    pub(crate) wall_ms: i64,
}

pub(crate) struct GrantClock {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    now_ms: i64,
    steady_ms: i64,
}

impl GrantClock {
    /// Goes on from what was written last.
    pub(crate) fn resume(clock: Arc<dyn Clock>, last: Option<Reading>) -> Self {
        let wall_ms = clock.wall_ms();
        let now_ms = match last {
            None => wall_ms,
            // A clock that has caught up is believed; one that was set back shows at least its own progress.
            Some(last) if wall_ms >= last.now_ms => wall_ms,
            Some(last) => last.now_ms.saturating_add(wall_ms.saturating_sub(last.wall_ms).max(0)),
        };
        let steady_ms = clock.steady_ms();
        Self { clock, state: Mutex::new(State { now_ms, steady_ms }) }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.reading().now_ms
    }

    pub(crate) fn wall_ms(&self) -> i64 {
        self.clock.wall_ms()
    }

    pub(crate) fn reading(&self) -> Reading {
        let (wall_ms, steady_ms) = (self.clock.wall_ms(), self.clock.steady_ms());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = steady_ms.saturating_sub(state.steady_ms).max(0);
        state.steady_ms = steady_ms.max(state.steady_ms);
        state.now_ms = state.now_ms.saturating_add(passed).max(wall_ms);
        Reading { now_ms: state.now_ms, wall_ms }
    }
}
