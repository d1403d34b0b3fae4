//! A file of every version that was released comes up with its rows.

use crate::support::{files_with, open, session, turn};
use loqa_protocol::event::{TurnEnd, TurnSource};
use loqa_protocol::{PrivacyScope, TurnClass};
use loqa_store::{FILE_NAME, Page, Reader, Store, StoreError, StoreOptions, Window};
use std::path::{Path, PathBuf};

/// The newest version; a new one needs a frozen file.
const NEWEST: i64 = 2;

fn frozen(version: i64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/frozen/v{version}.db"))
}

/// The rows that every frozen file holds: three turns of two sessions.
#[test]
fn every_version_comes_up_with_its_rows() {
    for version in 1..=NEWEST {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        std::fs::copy(frozen(version), &path).unwrap();
        if version < NEWEST {
            let error = Reader::open(&path).err().unwrap();
            assert!(matches!(error, StoreError::Older { .. }), "version {version}: {error}");
        }
        let store = open(folder.path());
        let sessions = store.sessions(&Page::default()).unwrap().items;
        let told: Vec<_> = sessions.iter().map(|row| (row.session.clone(), row.turns, row.title.as_str())).collect();
        assert_eq!(told, [(session(2), 1, "hello"), (session(1), 2, "Grüße vom Café")], "version {version}");
        assert_eq!(
            (sessions[1].started_ms, sessions[1].last_ms, sessions[1].scope),
            (1_000, 2_005, PrivacyScope::Persistent)
        );
        let first = store.turn(&turn(1)).unwrap();
        assert_eq!((first.transcript.as_str(), first.reply.as_str()), ("Grüße vom Café", "Hello. And good day."));
        assert_eq!(
            (first.source, first.end, first.class),
            (Some(TurnSource::Text), Some(TurnEnd::Completed), Some(TurnClass::Intent))
        );
        assert_eq!(first.tool.unwrap().name, "timer.start");
        assert!((first.latency_ms.unwrap().total - 120.5).abs() < 1e-9);
        assert_eq!(first.ended_ms, Some(1_005));
        let second = store.turn(&turn(2)).unwrap();
        assert_eq!((second.capability.as_deref(), second.latency_ms), (Some("llm.reflex"), None));
        assert_eq!(second.failure.unwrap().message, "it broke");
        assert_eq!(store.turn(&turn(3)).unwrap().ended_ms, None, "the hub died in its middle");
        assert_eq!(store.events(&turn(1)).unwrap().len(), 6, "version {version}");
        let hits = store.search("cafe", &Page::default()).unwrap().items;
        assert_eq!(hits.iter().map(|hit| hit.turn.clone()).collect::<Vec<_>>(), [turn(1)], "the index is filled");
        assert_eq!(store.latency(&Window::default()).unwrap().len(), 1);
        assert_eq!(store.check(true).unwrap(), None);
        let notices = store.health().notices;
        let backups =
            files_with(folder.path(), "speaking_started").into_iter().filter(|file| file.contains("-backup-"));
        let wanted = usize::from(version < NEWEST);
        assert_eq!((notices.len(), backups.count()), (wanted, wanted), "a backup before it: {notices:?}");
        drop(store);
        assert_eq!(open(folder.path()).health().notices, [""; 0], "the second start finds it up to date");
    }
}

#[test]
fn a_newer_version_is_refused_with_a_way_out_and_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    drop(open(folder.path()));
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = std::fs::read(&path).unwrap();
    let error = Store::open(StoreOptions::file(&path)).err().unwrap();
    let text = error.to_string();
    assert!(text.contains("has version 99") && text.contains("update Loqa, or rename the file"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert!(matches!(Reader::open(&path).err().unwrap(), StoreError::Newer { found: 99, .. }));
}

/// `LOQA_TEST_FREEZE=1` writes the file of the newest version, once, when it is released.
#[test]
fn the_frozen_file_of_the_newest_version_is_there() {
    if std::env::var_os("LOQA_TEST_FREEZE").is_some() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(frozen(1), folder.path().join(FILE_NAME)).unwrap();
        let to = frozen(NEWEST);
        let _ = std::fs::remove_file(&to);
        open(folder.path()).backup(&to).unwrap();
    }
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(frozen(NEWEST), flags).unwrap();
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, NEWEST);
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let newest = rusqlite::Connection::open(folder.path().join(FILE_NAME)).unwrap();
    let version: i64 = newest.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, NEWEST, "a new version needs a frozen file and its row in these tests");
}
