//! The clock by which grants run out. It never goes back, whatever is done to the
//! clocks of the machine.
//!
//! While the program runs the steady clock counts, and nobody can set that. Over a
//! restart the wall clock does: what it shows to have passed since the last reading that
//! was written, which is written whenever somebody has set it. A machine whose clock is
//! behind after a restart does not know how long it was off; once the clock is right
//! again, that time is counted.

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
    /// As the database has it.
    written: Option<Reading>,
    /// From where time has to be caught up, when the wall clock was behind at the start.
    behind: Option<Reading>,
}

/// A reading is written at least so often. Chosen: what a crash can cost is far below 90 days.
const WRITE_EVERY_MS: i64 = 3_600 * 1_000;
/// A wall clock that moved this much against the steady one was set. Chosen: far above what NTP slews.
const SET_MS: u64 = 2_000;

impl GrantClock {
    /// Goes on from what was written last.
    pub(crate) fn resume(clock: Arc<dyn Clock>, last: Option<Reading>) -> Self {
        let wall_ms = clock.wall_ms();
        let now_ms = last.map_or(wall_ms, |last| last.now_ms.saturating_add(passed_since(last, wall_ms)));
        let behind = last.filter(|last| wall_ms < last.wall_ms);
        let steady_ms = clock.steady_ms();
        Self { clock, state: Mutex::new(State { now_ms, steady_ms, written: last, behind }) }
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
        state.now_ms = state.now_ms.saturating_add(passed);
        if let Some(behind) = state.behind {
            state.now_ms = state.now_ms.max(behind.now_ms.saturating_add(passed_since(behind, wall_ms)));
        }
        Reading { now_ms: state.now_ms, wall_ms }
    }

    /// The reading to write, if it is time or the wall clock was set back: what was written
    /// before would count too little after a restart.
    pub(crate) fn due(&self) -> Option<Reading> {
        let reading = self.reading();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = state.written.is_none_or(|written| {
            let ahead = |reading: Reading| reading.now_ms.saturating_sub(reading.wall_ms);
            reading.now_ms.saturating_sub(written.now_ms) >= WRITE_EVERY_MS
                || ahead(reading).abs_diff(ahead(written)) > SET_MS
        });
        is_due.then_some(reading)
    }

    /// The database has it.
    pub(crate) fn is_written(&self, reading: Reading) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).written = Some(reading);
    }
}

fn passed_since(last: Reading, wall_ms: i64) -> i64 {
    wall_ms.saturating_sub(last.wall_ms).max(0)
}
