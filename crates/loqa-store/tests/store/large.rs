//! Many events: rates and waits, asserted with much room. The full figures are those of
//! `cargo run --release -p loqa-store --example figures`.

use crate::support::{number, open, turn_events};
use loqa_store::Page;
use std::time::{Duration, Instant};

/// `LOQA_TEST_N=1000000` for the full number of events.
#[test]
fn a_database_larger_than_the_page_cache_is_listed_and_searched() {
    let events = number("LOQA_TEST_N", 40_000);
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let began = Instant::now();
    let mut n = 0;
    while n * 10 < events {
        let batch: Vec<_> = (n..n + 100)
            .flat_map(|n| {
                let said = format!("please remember item {} of list {} for turn {n}", n % 997, n % 89);
                turn_events(n / 20, n, &said, "That is noted, thank you very much.", n as i64 * 1_000)
            })
            .collect();
        store.append_all(batch).unwrap();
        n += 100;
    }
    let rate = (n * 10) as f64 / began.elapsed().as_secs_f64();
    let counts = store.counts().unwrap();
    assert_eq!(counts.events, n * 10);
    let slowest = (0..50)
        .map(|k| {
            let began = Instant::now();
            assert!(!store.search(&format!("item {}", k * 7), &Page::default()).unwrap().items.is_empty());
            began.elapsed()
        })
        .max()
        .unwrap();
    let began = Instant::now();
    store.sessions(&Page::default()).unwrap();
    let list = began.elapsed();
    eprintln!("{} events, {rate:.0}/s, {} bytes, slowest search {slowest:?}, list {list:?}", n * 10, counts.bytes);
    assert!(counts.bytes > 8 << 20, "it does not fit into the cache: {} bytes", counts.bytes);
    // Ten to a hundred times slower than measured, for a machine that is busy.
    assert!(rate > 500.0, "{rate}/s");
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    assert!(list < Duration::from_secs(3), "{list:?}");
}
