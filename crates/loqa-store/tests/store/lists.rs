//! Pages, search, settings, nodes, percentiles.

use crate::support::{entries, open, session, turn, turn_events};
use loqa_protocol::event::TurnSource;
use loqa_protocol::{PrivacyScope, TurnClass, TurnEvent};
use loqa_store::{NodeRow, Page, Paged, Store, StoreError, StoreOptions, Window};
use proptest::prelude::*;
use serde_json::json;

/// All rows, page by page.
fn all<T>(limit: u32, list: impl Fn(&Page) -> Result<Paged<T>, StoreError>) -> Vec<T> {
    let (mut page, mut rows) = (Some(Page::first(limit)), Vec::new());
    while let Some(wanted) = page {
        let paged = list(&wanted).unwrap();
        assert!(paged.items.len() <= limit as usize);
        page = wanted.following(&paged);
        rows.extend(paged.items);
    }
    rows
}

#[test]
fn pages_put_together_are_the_list() {
    let store = Store::open(StoreOptions::memory()).unwrap();
    for n in 0..57 {
        // Several sessions share their last moment.
        store.append_all(turn_events(n % 19, n, &format!("tea number {n}"), "yes", (n / 5) as i64)).unwrap();
    }
    for limit in [1, 7, 19, 500] {
        let sessions = all(limit, |page| store.sessions(page));
        assert_eq!(sessions.len(), 19, "limit {limit}");
        assert!(sessions.is_sorted_by(|a, b| a.last_ms >= b.last_ms), "newest first");
        let turns = all(limit, |page| store.turns(&session(3), page));
        assert_eq!(turns.iter().map(|row| row.turn.clone()).collect::<Vec<_>>(), [turn(3), turn(22), turn(41)]);
        let hits = all(limit, |page| store.search("tea", page));
        let found: Vec<_> = hits.iter().map(|hit| hit.turn.clone()).collect();
        assert_eq!(found, (0..57).rev().map(turn).collect::<Vec<_>>(), "newest first, each once");
    }
    assert!(matches!(store.turns(&session(99), &Page::default()), Err(StoreError::NotFound { .. })));
    let next = store.sessions(&Page::first(1)).unwrap().next;
    let stolen = Page { limit: None, after: next };
    assert_eq!(store.search("tea", &stolen).unwrap_err(), StoreError::BadCursor);
}

#[test]
fn a_page_that_follows_is_not_moved_by_new_rows() {
    let store = Store::open(StoreOptions::memory()).unwrap();
    for n in 0..10 {
        store.append_all(turn_events(n, n, "tea", "yes", n as i64)).unwrap();
    }
    let page = Page::first(4);
    let first = store.search("tea", &page).unwrap();
    for n in 10..20 {
        store.append_all(turn_events(n, n, "tea", "yes", n as i64)).unwrap();
    }
    let second = store.search("tea", &page.following(&first).unwrap()).unwrap();
    assert_eq!(
        second.items.iter().map(|hit| hit.turn.clone()).collect::<Vec<_>>(),
        (2..6).rev().map(turn).collect::<Vec<_>>()
    );
}

#[test]
fn words_are_found_without_accents_and_case_and_operators() {
    let store = Store::open(StoreOptions::memory()).unwrap();
    for (n, said, reply) in [
        (1, "Grüße aus dem Café", "Schön."),
        (2, "set a timer NOT an alarm", "Timer set."),
        (3, "what is \"quoted\" here", "Nothing."),
    ] {
        store.append_all(turn_events(1, n, said, reply, n as i64)).unwrap();
    }
    let found = |text: &str| -> Vec<_> {
        store.search(text, &Page::default()).unwrap().items.into_iter().map(|hit| hit.turn).collect()
    };
    assert_eq!(found("cafe gruße"), [turn(1)]);
    assert_eq!(found("SCHON"), [turn(1)], "also in the reply");
    assert_eq!(found("timer not alarm"), [turn(2)], "an operator is a word");
    assert_eq!(found("timer OR cafe"), [], "both words, and `or`");
    assert_eq!(found("\"quoted\""), [turn(3)]);
    assert_eq!(found("tim*"), []);
    for nothing in ["", "  ", "\"", "*", "( ) -", "\0"] {
        assert_eq!(found(nothing), [], "{nothing:?}");
    }
    let hit = &store.search("cafe", &Page::default()).unwrap().items[0];
    assert_eq!(hit.snippet, "Grüße aus dem [Café]");
}

proptest! {
    #[test]
    fn no_text_breaks_the_search(text in "\\PC{0,60}", cursor in "\\PC{0,30}") {
        let store = Store::open(StoreOptions::memory()).unwrap();
        store.append_all(turn_events(1, 1, &text, "yes", 1)).unwrap();
        prop_assert!(store.search(&text, &Page::default()).is_ok());
        let after = Page { limit: None, after: Some(cursor) };
        prop_assert_eq!(store.search("word", &after).unwrap_err(), StoreError::BadCursor);
    }
}

#[test]
fn recent_events_are_the_newest_first_and_only_those_asked_for() {
    let store = Store::open(StoreOptions::memory()).unwrap();
    for n in 1..4 {
        store.append_all(turn_events(n % 2, n, "hello", "yes", n as i64 * 100)).unwrap();
    }
    let times = |events: Vec<loqa_store::RecentEvent>| events.into_iter().map(|event| event.at_ms).collect::<Vec<_>>();
    assert_eq!(times(store.recent_events(None, false, 3).unwrap()), [309, 308, 307]);
    assert_eq!(times(store.recent_events(Some(&session(0)), true, 50).unwrap()), [204, 203]);
    assert_eq!(store.recent_events(Some(&session(9)), false, 50).unwrap(), []);
}

#[test]
fn settings_and_nodes_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.set_setting("voice", &json!({ "name": "a" })).unwrap();
    store.set_setting("gone", &json!(1)).unwrap();
    store.set_setting("gone", &json!(null)).unwrap();
    let node = |last_ms| NodeRow {
        instance: "e-1".to_owned(),
        kind: "stt".to_owned(),
        node: "here".to_owned(),
        program: "loqa-stt 0.1".to_owned(),
        capabilities: vec!["stt.whisper".to_owned()],
        first_ms: last_ms,
        last_ms,
    };
    store.note_nodes(vec![node(5)]).unwrap();
    store.note_nodes(vec![node(9)]).unwrap();
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.setting("voice").unwrap(), Some(json!({ "name": "a" })));
    assert_eq!(store.setting("gone").unwrap(), None);
    assert_eq!(store.nodes().unwrap(), [NodeRow { first_ms: 5, ..node(9) }]);
}

#[test]
fn percentiles_are_exact_and_of_their_window() {
    let store = Store::open(StoreOptions::memory()).unwrap();
    // Totals 0 to 99 at times 0 to 99, and 400 outside of the window.
    for n in (0..100).chain([400]) {
        store.append_all(turn_events(1, n, "x", "yes", n as i64 * 1_000)).unwrap();
    }
    let window = Window { since_ms: 0, until_ms: 200_000 };
    let rows = store.percentiles(&window).unwrap();
    let total = rows.iter().find(|row| row.part == "total").unwrap();
    assert_eq!((total.class, total.turns), (TurnClass::Intent, 100));
    assert_eq!((total.p50, total.p95, total.p99, total.max), (49.0, 94.0, 98.0, 99.0));
    assert_eq!(rows.len(), 10, "the total and nine parts");
    assert_eq!(store.latency(&window).unwrap()[0].at_ms, 99_009, "newest first");
}

#[test]
fn a_closed_store_refuses_and_a_full_queue_does_not_wait() {
    let store = Store::open(StoreOptions::memory()).unwrap();
    let started = || {
        let events = [TurnEvent::TurnStarted { source: TurnSource::Text }];
        entries(1, 1, 1, PrivacyScope::Persistent, events).remove(0)
    };
    store.append(started()).unwrap();
    store.close();
    assert_eq!(store.append(started()).unwrap_err(), StoreError::Closed);
    assert_eq!(store.flush().unwrap_err(), StoreError::Closed);
}
