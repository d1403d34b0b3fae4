//! How long a call waits for its row, alone and among others.

use crate::support::{full, intent, open};
use loqa_audit::{Journal as _, Outcome, Status};
use std::time::{Duration, Instant};

/// Waits of each append, sorted, and the rows per second of all threads together.
fn measure(threads: usize, appends: usize) -> (Vec<Duration>, f64) {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    let began = Instant::now();
    let mut waits: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    (0..appends as u64)
                        .map(|n| {
                            let began = Instant::now();
                            let seq = audit.append(intent(n)).unwrap();
                            let wait = began.elapsed();
                            audit.finish(seq, Outcome::of(Status::Ok));
                            wait
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    audit.flush().unwrap();
    // Each call is two rows.
    let rate = (2 * waits.len()) as f64 / began.elapsed().as_secs_f64();
    waits.sort_unstable();
    (waits, rate)
}

/// `LOQA_TEST_AUDIT_APPENDS=2000` for the figures; they depend on the disk under the temporary folder.
#[test]
fn a_call_waits_milliseconds_for_its_row() {
    let appends = full("LOQA_TEST_AUDIT_APPENDS", 200);
    for threads in [1, 8] {
        let (waits, rate) = measure(threads, appends);
        let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
        let (p50, p99) = (at(0.5), at(0.99));
        eprintln!("append, {threads} threads: p50 {p50:?}, p99 {p99:?}, {rate:.0} rows/s");
        // Far above what any disk needs: a lost wake-up would cost the whole patience of a call.
        assert!(p99 < Duration::from_secs(2), "{threads} threads: {p99:?}");
    }
}
