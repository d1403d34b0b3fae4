//! The figures of the store: append rate, waits of search and lists, size, memory.
//! `cargo run --release -p loqa-store --example figures -- 1000000`
//!
//! Deliberately absent: assertions; the tests make those, with much room.

#![expect(clippy::print_stdout, reason = "an example that prints figures")]
#![allow(clippy::unwrap_used, reason = "an example that cannot go on stops")]

use loqa_protocol::event::{PlannedBy, TurnEnd, TurnSource};
use loqa_protocol::{LatencySplit, PrivacyScope, SessionId, TimedEvent, ToolCall, TurnClass, TurnEvent, TurnId};
use loqa_store::{Entry, FILE_NAME, Page, Paged, Store, StoreError, StoreOptions, Window};
use std::time::{Duration, Instant};

/// Words of the texts: each is in many turns.
const WORDS: [&str; 12] =
    ["timer", "kitchen", "light", "weather", "tomorrow", "list", "milk", "music", "minutes", "please", "house", "open"];
/// Events of a turn.
const PER_TURN: u64 = 10;

fn turn(n: u64) -> Vec<Entry> {
    let word = |k: u64| WORDS[(n / (k * k + 1) + k) as usize % WORDS.len()];
    let text = format!("please {} the {} in the {} for item{}", word(1), word(2), word(3), n % 5_000);
    let call = ToolCall { name: "timer.start".to_owned(), arguments: serde_json::Map::new() };
    let split = LatencySplit { total: 100.0 + (n % 90) as f64, ..LatencySplit::default() };
    let events = [
        TurnEvent::TurnStarted { source: TurnSource::HandsFree },
        TurnEvent::SpeechStarted,
        TurnEvent::SpeechEnded { audio_ms: 1_500 },
        TurnEvent::TranscriptFinal { text, confidence: 0.9 },
        TurnEvent::ToolCalled { call, planned_by: PlannedBy::Model { capability: "llm.reflex".to_owned() } },
        TurnEvent::ToolReturned { name: "timer.start".to_owned(), say: "Done.".to_owned() },
        TurnEvent::SpeakingStarted { text: format!("That is done, {} of them.", n % 100) },
        TurnEvent::FirstSound,
        TurnEvent::SpeakingFinished,
        TurnEvent::TurnEnded { end: TurnEnd::Completed, class: TurnClass::Intent, latency_ms: Some(split) },
    ];
    let (session, turn) = (SessionId::from_bits(n / 40), TurnId::from_bits(n));
    let wall_ms = i64::try_from(n).unwrap() * 1_000;
    (0..)
        .zip(events)
        .map(|(seq, event)| Entry {
            event: TimedEvent { session: session.clone(), turn: turn.clone(), seq, at_us: 0, event },
            scope: PrivacyScope::Persistent,
            wall_ms,
        })
        .collect()
}

fn percentile(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{name}: p50 {:.2} ms, p95 {:.2} ms, max {:.2} ms ({} times)", at(0.5), at(0.95), at(1.0), times.len());
}

fn timed<T>(n: u64, mut work: impl FnMut(u64) -> Result<T, StoreError>) -> Vec<Duration> {
    (0..n)
        .map(|k| {
            let began = Instant::now();
            work(k).unwrap();
            began.elapsed()
        })
        .collect()
}

/// Resident memory in MiB; 0 where the system does not tell it that way.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Every page of a list, with the wait for each.
fn walk<R>(list: impl Fn(&Page) -> Result<Paged<R>, StoreError>) -> Vec<Duration> {
    let (mut page, mut times) = (Some(Page::first(50)), Vec::new());
    while let Some(wanted) = page {
        let began = Instant::now();
        let paged = list(&wanted).unwrap();
        times.push(began.elapsed());
        page = wanted.following(&paged);
    }
    times
}

fn main() {
    let events: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir_in(".").unwrap();
    let store = Store::open(StoreOptions::file(folder.path().join(FILE_NAME))).unwrap();
    println!("resident before: {} MiB", resident());
    let began = Instant::now();
    let turns = events / PER_TURN;
    for first in (0..turns).step_by(100) {
        store.append_all((first..(first + 100).min(turns)).flat_map(turn).collect()).unwrap();
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "appended {events} events in {took:.1} s: {:.0}/s in batches of 1000, each on the disk",
        events as f64 / took
    );
    percentile("one whole turn appended and waited for", timed(200, |k| store.append_all(turn(turns + k))));
    let counts = store.counts().unwrap();
    println!("file: {} MiB, {} turns, {} sessions", counts.bytes >> 20, counts.turns, counts.sessions);
    let search = |text: String| store.search(&text, &Page::default());
    percentile("search, a rare word", timed(500, |k| search(format!("item{}", k * 7))));
    percentile("search, a common word", timed(500, |k| search(WORDS[k as usize % 12].to_owned())));
    let two = |k: u64| format!("{} {}", WORDS[k as usize % 12], WORDS[(k as usize / 12) % 12]);
    percentile("search, two common words", timed(500, |k| search(two(k))));
    percentile(
        "search, three words, one rare",
        timed(500, |k| search(format!("please {} item{}", WORDS[k as usize % 12], k * 7))),
    );
    percentile("sessions, every page of 50", walk(|page| store.sessions(page)));
    percentile("search, every page of 50 of a common word", walk(|page| store.search("timer", page)));
    let some = |k: u64| SessionId::from_bits(k * 5 % (turns / 40).max(1));
    percentile("turns of a session", timed(500, |k| store.turns(&some(k), &Page::default())));
    percentile("events of a turn", timed(500, |k| store.events(&TurnId::from_bits(k * 199 % turns))));
    let since_ms = (i64::try_from(turns).unwrap() - 10_000) * 1_000;
    let window = Window { since_ms, until_ms: i64::MAX };
    percentile("percentiles of 10,000 turns", timed(20, |_| store.percentiles(&window)));
    let began = Instant::now();
    assert_eq!(store.check(false).unwrap(), None);
    println!("check: {:.1} s", began.elapsed().as_secs_f64());
    println!("resident after: {} MiB", resident());
}
