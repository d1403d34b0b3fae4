//! What is beyond the limits goes; nothing that is within them does.

use crate::support::{DAY, Random, entries, file, files_with, number, open, session, turn, turn_events, with_scope};
use loqa_protocol::event::TurnSource;
use loqa_protocol::{PrivacyScope, TurnEvent};
use loqa_store::{Fault, Page, Retention, Store, StoreOptions};
use std::collections::BTreeSet;

const NOW: i64 = 1_000 * DAY;

/// A history: for each turn its session and the age of its only event, in the order of recording.
fn history(random: &mut Random) -> Vec<(u64, i64)> {
    let n = 1 + random.next() % 40;
    (0..n).map(|_| (random.next() % 5, NOW - (random.next() % 100) as i64 * DAY - (random.next() % 3) as i64)).collect()
}

fn fill(store: &Store, history: &[(u64, i64)]) {
    let all = (0..).zip(history).flat_map(|(n, (of, at))| {
        entries(*of, n, *at, PrivacyScope::Persistent, [TurnEvent::TurnStarted { source: TurnSource::Text }])
    });
    store.append_all(all.collect()).unwrap();
}

/// What should be left, worked out without the store.
fn expected(history: &[(u64, i64)], retention: Retention) -> BTreeSet<u64> {
    let n = history.len() as u64;
    let newest = if retention.keep_turns == 0 { 0 } else { n.saturating_sub(retention.keep_turns) };
    let cutoff = if retention.keep_days == 0 { i64::MIN } else { NOW - i64::from(retention.keep_days) * DAY };
    (0..n).filter(|turn| *turn >= newest && history[*turn as usize].1 >= cutoff).collect()
}

fn left(store: &Store, history: &[(u64, i64)]) -> BTreeSet<u64> {
    (0..history.len() as u64).filter(|n| store.turn(&turn(*n)).is_ok()).collect()
}

/// How many of these histories come out otherwise than expected, and how many turns were removed.
fn wrong(histories: u64, fault: Option<Fault>) -> (u64, u64) {
    let mut random = Random(0xABCD_EF01);
    let (mut wrong, mut removed) = (0, 0);
    for _ in 0..histories {
        let store = Store::open(StoreOptions { path: None, fault }).unwrap();
        let history = history(&mut random);
        fill(&store, &history);
        let retention = Retention { keep_days: (random.next() % 3 * 30) as u32, keep_turns: random.next() % 3 * 10 };
        let said = store.prune(retention, NOW).unwrap();
        let (left, expected) = (left(&store, &history), expected(&history, retention));
        let gone = history.len() as u64 - left.len() as u64;
        removed += gone;
        let sessions = store.sessions(&Page::first(500)).unwrap().items;
        let kept: u64 = sessions.iter().map(|row| row.turns).sum();
        let is_right =
            left == expected && said == gone && kept == left.len() as u64 && sessions.iter().all(|row| row.turns > 0);
        wrong += u64::from(!is_right);
    }
    (wrong, removed)
}

/// `LOQA_TEST_N=10000` for the full figure.
#[test]
fn nothing_within_the_limits_is_ever_removed() {
    let histories = number("LOQA_TEST_N", 150);
    let (n_wrong, removed) = wrong(histories, None);
    eprintln!("histories: {histories}, turns removed: {removed}, wrong: {n_wrong}");
    assert_eq!(n_wrong, 0);
    assert!(removed > histories, "there was something to remove");
    // Control: when the age of a session decides, turns within the limits go with it.
    let (n_wrong, _) = wrong(40, Some(Fault::PruneBySession));
    assert!(n_wrong > 0, "the test sees turns that should have stayed");
}

#[test]
fn many_turns_go_step_by_step() {
    let store = Store::open(StoreOptions::memory()).unwrap();
    for n in 0..700 {
        store.append_all(turn_events(1, n, "old words", "yes", NOW - 50 * DAY + n as i64)).unwrap();
    }
    store.append_all(turn_events(1, 900, "new words", "yes", NOW - DAY)).unwrap();
    assert_eq!(store.prune(Retention { keep_days: 30, keep_turns: 0 }, NOW).unwrap(), 700);
    assert_eq!(store.counts().unwrap().turns, 1);
    assert_eq!(store.search("old", &Page::default()).unwrap().items.len(), 0);
    assert_eq!(store.search("new", &Page::default()).unwrap().items.len(), 1);
    assert_eq!(store.session(&session(1)).unwrap().title, "new words", "the title went with its turn");
}

#[test]
fn an_ephemeral_turn_is_never_written() {
    const CANARY: &str = "xanthophyll-7731";
    let say = |scope, fault| {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions { fault, ..StoreOptions::file(file(folder.path())) }).unwrap();
        let said = with_scope(turn_events(1, 1, &format!("remember {CANARY}"), CANARY, 1), scope);
        for entry in said.clone() {
            store.append(entry).unwrap();
        }
        let kept = store.append_all(said).unwrap();
        store.flush().unwrap();
        let while_open = files_with(folder.path(), CANARY).len();
        let seen = (kept, store.counts().unwrap().turns, while_open > 0);
        drop(store);
        (seen, files_with(folder.path(), CANARY).len())
    };
    assert_eq!(say(PrivacyScope::Ephemeral, None), ((0, 0, false), 0));
    let (seen, after) = say(PrivacyScope::Session, None);
    assert_eq!(seen, (10, 1, true), "while the session lasts it is there");
    assert_eq!(after, 0, "and nothing of it afterwards");
    // Controls: the canary is found where it may be, and a store that ignores the scope is seen.
    assert!(say(PrivacyScope::Persistent, None).1 > 0);
    // A fold cannot name an ephemeral scope in its row, so such a store fails or keeps it.
    let folder = tempfile::tempdir().unwrap();
    let fault = Some(Fault::IgnoreScope);
    let store = Store::open(StoreOptions { fault, ..StoreOptions::file(file(folder.path())) }).unwrap();
    let said = with_scope(turn_events(1, 1, CANARY, CANARY, 1), PrivacyScope::Ephemeral);
    assert!(store.append_all(said).is_err(), "the tables themselves have no place for an ephemeral turn");
}

#[test]
fn what_is_kept_for_a_session_goes_with_it_and_the_rest_stays() {
    const CANARY: &str = "zeppelin-5542";
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.append_all(turn_events(1, 1, "kept words", "yes", 1)).unwrap();
    store.append_all(with_scope(turn_events(1, 2, CANARY, "yes", 2), PrivacyScope::Session)).unwrap();
    store.append_all(with_scope(turn_events(2, 3, CANARY, "yes", 3), PrivacyScope::Session)).unwrap();
    assert_eq!(store.end_session(&session(1)).unwrap(), 1);
    let row = store.session(&session(1)).unwrap();
    assert_eq!((row.turns, row.scope), (1, PrivacyScope::Persistent));
    assert!(row.ended_ms.is_some());
    assert_eq!(store.session(&session(2)).unwrap().scope, PrivacyScope::Session);
    // The hub dies: the marker stays, and the next start takes away what should not be there.
    let image = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap().flatten() {
        std::fs::copy(entry.path(), image.path().join(entry.file_name())).unwrap();
    }
    drop(store);
    let store = open(image.path());
    assert!(store.session(&session(2)).is_err());
    assert_eq!(store.counts().unwrap().turns, 1);
    drop(store);
}
