//! Where the skill host gets the time from. Tests bring a clock of their own and never sleep.

/// A wall clock and a steady one.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch, as the user's clock shows it. May jump.
    fn wall_ms(&self) -> i64;
    /// Milliseconds since any fixed moment; never jumps, and goes on while the machine sleeps
    /// where the system can tell.
    fn steady_ms(&self) -> i64;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall_ms(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn steady_ms(&self) -> i64 {
        steady::now_ms()
    }
}

#[cfg(unix)]
mod steady {
    use rustix::time::{ClockId, clock_gettime};

    /// Linux stops its monotonic clock during sleep, Darwin does not.
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;

    pub(super) fn now_ms() -> i64 {
        let now = clock_gettime(CLOCK);
        now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
    }
}

#[cfg(not(unix))]
mod steady {
    use std::sync::LazyLock;
    use std::time::Instant;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);

    pub(super) fn now_ms() -> i64 {
        i64::try_from(START.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}
