//! How much at a time: requests, connections, sockets, work that takes long.
//!
//! Every client is on this machine and most are this user's, so nothing is counted per
//! address. The limits keep one program that runs wild from taking the hub's time away
//! from the voice.

use crate::problem::{ApiResult, Problem};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use loqa_protocol::ErrorCode;
use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Connections at a time; the next one is closed at once. Chosen: several windows, and
/// room for a hundred that send nothing.
pub const MAX_CONNECTIONS: usize = 512;
/// Requests at a time; the next one waits for [`ADMISSION`]. Chosen.
const MAX_IN_FLIGHT: usize = 64;
/// Work at a time that reads much or runs a skill. Chosen: one core of the smallest machine stays free.
const MAX_HEAVY: usize = 2;
/// WebSockets at a time. Chosen.
pub const MAX_SOCKETS: usize = 32;
/// Requests per second, and how many may come at once. Chosen: ten times what a busy window asks.
const REQUESTS: (u32, u32) = (500, 1_000);
/// Requests with a wrong or no token per second, and at once. Chosen: guessing 256 bits is
/// hopeless at any rate; this keeps the log and the processor free.
const FAILURES: (u32, u32) = (100, 300);
/// Rows of the record about them: at once, and then one in [`FAILURE_ROW_EVERY`].
const FAILURE_ROWS: u32 = 10;
const FAILURE_ROW_EVERY: Duration = Duration::from_secs(10);

/// Longest wait for a turn among the requests. Chosen.
pub const ADMISSION: Duration = Duration::from_secs(5);
/// Longest time for the head of a request, also the first one of a connection. Chosen.
pub const HEADER_TIME: Duration = Duration::from_secs(10);
/// Longest time for a JSON body. Chosen.
pub const BODY_TIME: Duration = Duration::from_secs(10);
/// Longest time for an ordinary request, its body included. Chosen.
pub const REQUEST_TIME: Duration = Duration::from_secs(30);
/// The same, in minutes, for requests that run a turn, read the whole record, or carry a
/// package. Chosen: above `turn.total_ms` with the time for questions to the person.
pub const LONG: u64 = 5;
/// The same, in minutes, for running all turns of a session again. Chosen.
pub const LONGEST: u64 = 30;
/// Largest body of an ordinary request, in bytes. Chosen: a text of a turn is 2,000 characters.
pub const MAX_BODY: usize = 256 * 1024;
/// Largest head of a request, in bytes. Chosen.
pub const MAX_HEAD: usize = 16 * 1024;
/// Most header fields of a request. Chosen.
pub const MAX_HEADERS: usize = 64;

/// The counters of one server.
#[derive(Debug)]
pub struct Limits {
    in_flight: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
    sockets: Arc<Semaphore>,
    requests: DefaultDirectRateLimiter,
    failures: DefaultDirectRateLimiter,
    failure_rows: DefaultDirectRateLimiter,
    /// Failures that have no row of their own.
    suppressed: AtomicU64,
}

impl Default for Limits {
    fn default() -> Self {
        let rows = Quota::with_period(FAILURE_ROW_EVERY).unwrap_or(Quota::per_minute(positive(6)));
        Self {
            in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            heavy: Arc::new(Semaphore::new(MAX_HEAVY)),
            sockets: Arc::new(Semaphore::new(MAX_SOCKETS)),
            requests: limiter(REQUESTS),
            failures: limiter(FAILURES),
            failure_rows: RateLimiter::direct(rows.allow_burst(positive(FAILURE_ROWS))),
            suppressed: AtomicU64::new(0),
        }
    }
}

/// How long the request under way may take; an operation may lengthen it.
#[derive(Debug, Clone)]
pub struct Deadline {
    began: Instant,
    limit: Arc<watch::Sender<Duration>>,
}

impl Default for Deadline {
    fn default() -> Self {
        Self { began: Instant::now(), limit: Arc::new(watch::Sender::new(REQUEST_TIME)) }
    }
}

impl Deadline {
    /// Waits until the time is over, and says how long it was.
    pub async fn passed(&self) -> Duration {
        let mut limit = self.limit.subscribe();
        loop {
            let now = *limit.borrow_and_update();
            if tokio::time::timeout_at((self.began + now).into(), limit.changed()).await.is_err() {
                return now;
            }
        }
    }
}

/// As the first parameter of an operation: it may take so many minutes.
#[derive(Debug, Clone, Copy)]
pub struct Within<const MINUTES: u64>;

impl<const MINUTES: u64, S: Send + Sync> FromRequestParts<S> for Within<MINUTES> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        if let Some(deadline) = parts.extensions.get::<Deadline>() {
            deadline.limit.send_replace(Duration::from_secs(MINUTES * 60));
        }
        Ok(Self)
    }
}

impl Limits {
    /// A place among the requests; held until the answer begins.
    ///
    /// # Errors
    /// Too many requests a second, or too many at a time.
    pub async fn admit(&self) -> ApiResult<OwnedSemaphorePermit> {
        if self.requests.check().is_err() {
            return Err(slower("too many requests a second"));
        }
        match tokio::time::timeout(ADMISSION, Arc::clone(&self.in_flight).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(slower("too many requests at a time")),
        }
    }

    /// A place among the work that takes long.
    ///
    /// # Errors
    /// Others are at it.
    pub async fn heavy(&self) -> ApiResult<OwnedSemaphorePermit> {
        match tokio::time::timeout(ADMISSION, Arc::clone(&self.heavy).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(slower("work of this kind is under way, try again when it is done")),
        }
    }

    /// A place for a WebSocket.
    ///
    /// # Errors
    /// All are taken.
    pub fn socket(&self) -> ApiResult<OwnedSemaphorePermit> {
        Arc::clone(&self.sockets)
            .try_acquire_owned()
            .map_err(|_| slower(format!("{MAX_SOCKETS} WebSockets are open, which is the most")))
    }

    /// Waits until every WebSocket is gone.
    pub async fn sockets_gone(&self) {
        let all = u32::try_from(MAX_SOCKETS).unwrap_or(u32::MAX);
        let _gone = self.sockets.acquire_many(all).await;
    }

    /// Counts a request that came without the right to ask; `false` when there were too many.
    pub fn failed(&self) -> bool {
        self.failures.check().is_ok()
    }

    /// Whether such a request gets a row of its own; then also how many before it had none.
    pub fn failure_row(&self) -> Option<u64> {
        if self.failure_rows.check().is_ok() {
            Some(self.suppressed.swap(0, Ordering::Relaxed))
        } else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

fn slower(detail: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::RateLimited, detail).retry_after(1)
}

fn limiter((per_second, burst): (u32, u32)) -> DefaultDirectRateLimiter {
    RateLimiter::direct(Quota::per_second(positive(per_second)).allow_burst(positive(burst)))
}

fn positive(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_too_much_is_told_to_wait() {
        let limits = Limits::default();
        let mut refused = None;
        for _ in 0..REQUESTS.1 * 2 {
            if let Err(problem) = limits.admit().await {
                refused = Some(problem);
                break;
            }
        }
        let problem = refused.expect("a burst has an end");
        assert_eq!((problem.status, problem.retry_after), (429, Some(1)));

        let permits: Vec<_> = (0..MAX_SOCKETS).map(|_| limits.socket().unwrap()).collect();
        assert_eq!(limits.socket().unwrap_err().status, 429);
        drop(permits);
        tokio::time::timeout(Duration::from_secs(30), limits.sockets_gone()).await.expect("all are given back");
    }

    #[tokio::test]
    async fn an_operation_may_lengthen_its_time() {
        // A request that began so long ago that its time is over.
        let began = Instant::now().checked_sub(REQUEST_TIME).unwrap();
        let short = Deadline { began, ..Deadline::default() };
        assert_eq!(short.passed().await, REQUEST_TIME);

        let long = Deadline { began, ..Deadline::default() };
        let mut parts = axum::http::Request::new(()).into_parts().0;
        parts.extensions.insert(long.clone());
        let Ok(_time) = Within::<LONG>::from_request_parts(&mut parts, &()).await;
        assert_eq!(*long.limit.borrow(), Duration::from_mins(LONG));
        let over = tokio::time::timeout(Duration::from_millis(50), long.passed()).await;
        assert!(over.is_err(), "it has minutes left");
    }

    #[test]
    fn a_flood_of_failures_has_few_rows() {
        let limits = Limits::default();
        let rows = (0..200).filter(|_| limits.failure_row().is_some()).count();
        assert!((10..=12).contains(&rows), "{rows} rows");
        assert!(limits.suppressed.load(Ordering::Relaxed) >= 188);
    }
}
