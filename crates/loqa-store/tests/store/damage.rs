//! Damaged files, full disks, folders that cannot be written.

use crate::support::{Random, file, number, open, session, turn, turn_events};
use loqa_store::{Page, Store, StoreError, StoreOptions};
use std::path::Path;

fn aside(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap().flatten();
    names.filter(|entry| entry.file_name().to_string_lossy().starts_with("loqa.db.corrupt-")).count()
}

/// A folder with some turns, closed well, and with the marker of an unclean end.
fn unclean(folder: &Path) {
    let store = open(folder);
    for n in 0..200 {
        store.append_all(turn_events(n / 20, n, &format!("the words of turn {n}"), "yes", n as i64)).unwrap();
    }
    drop(store);
    std::fs::write(folder.join("loqa.db.open"), "").unwrap();
}

#[test]
fn a_damaged_file_is_put_aside_and_a_new_one_begins() {
    let folder = tempfile::tempdir().unwrap();
    unclean(folder.path());
    let mut bytes = std::fs::read(file(folder.path())).unwrap();
    for at in (4096..bytes.len()).step_by(4096) {
        bytes[at..at + 64].fill(0xA5);
    }
    std::fs::write(file(folder.path()), bytes).unwrap();
    let store = open(folder.path());
    let notice = store.health().notices.join("\n");
    assert!(notice.contains("was damaged and is put aside as") && notice.contains("a new one begins"), "{notice}");
    assert_eq!((aside(folder.path()), store.counts().unwrap().turns), (1, 0));
    store.append_all(turn_events(1, 1, "life goes on", "yes", 1)).unwrap();
    drop(store);
    assert_eq!(open(folder.path()).turn(&turn(1)).unwrap().transcript, "life goes on");
}

#[test]
fn a_sound_file_is_not_put_aside_after_an_unclean_end() {
    let folder = tempfile::tempdir().unwrap();
    unclean(folder.path());
    let store = open(folder.path());
    assert_eq!((store.health().notices.len(), aside(folder.path())), (0, 0));
    assert_eq!(store.counts().unwrap().turns, 200);
}

/// `LOQA_TEST_N=2000` for the full figure.
#[test]
fn whatever_is_damaged_the_store_opens_and_writes() {
    let template = tempfile::tempdir().unwrap();
    unclean(template.path());
    let bytes = std::fs::read(file(template.path())).unwrap();
    let mut random = Random(0x1234_5678);
    let n = number("LOQA_TEST_N", 60);
    let mut n_aside = 0;
    for damage in 0..n {
        let folder = tempfile::tempdir().unwrap();
        let mut damaged = bytes.clone();
        let at = (random.next() as usize) % damaged.len();
        match damage % 4 {
            0 => damaged[at] ^= 1 << (random.next() % 8),
            1 => {
                let end = (at + 512).min(damaged.len());
                damaged[at..end].fill(random.next() as u8);
            }
            2 => damaged.truncate(at),
            _ => damaged[..100].fill(random.next() as u8),
        }
        std::fs::write(file(folder.path()), damaged).unwrap();
        std::fs::write(folder.path().join("loqa.db.open"), "").unwrap();
        let store = open(folder.path());
        n_aside += aside(folder.path());
        // A byte within a text changes no structure: such a file goes on.
        match store.append_all(turn_events(77, 7_777, "still writing", "yes", 1)) {
            Ok(_) => assert_eq!(store.turn(&turn(7_777)).unwrap().transcript, "still writing", "damage {damage}"),
            Err(error) => assert!(matches!(error, StoreError::Damaged { .. } | StoreError::Sqlite(_)), "{error}"),
        }
        let _ = (store.sessions(&Page::default()), store.search("turn", &Page::default()), store.session(&session(1)));
    }
    eprintln!("damages: {n}, put aside: {n_aside}");
    assert!(n_aside > 0, "the damages are such that some are seen");
}

#[test]
fn a_full_disk_is_said_and_over_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.append_all(turn_events(1, 1, "before", "yes", 1)).unwrap();
    store.limit_pages(1).unwrap();
    let long = "word ".repeat(10_000);
    let error = store.append_all(turn_events(1, 2, &long, "yes", 2)).unwrap_err();
    assert_eq!(error, StoreError::Full);
    assert!(error.to_string().contains("free some space"), "{error}");
    let health = store.health();
    assert_eq!((health.failing, health.lost), (Some(error.to_string()), 10));
    assert_eq!(store.turn(&turn(1)).unwrap().transcript, "before", "reading goes on");
    store.limit_pages(1 << 30).unwrap();
    store.append_all(turn_events(1, 3, "after", "yes", 3)).unwrap();
    assert_eq!(store.health().failing, None);
    assert!(store.turn(&turn(2)).is_err(), "nothing of what failed is kept by halves");
    assert_eq!(store.turn(&turn(3)).unwrap().transcript, "after");
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    // A file where the folder should be, and a folder where the file should be.
    for path in [blocked.join("loqa.db"), folder.path().to_owned()] {
        let error = Store::open(StoreOptions::file(&path)).err().unwrap().to_string();
        assert!(error.contains(&*path.to_string_lossy()) && error.contains("writable"), "{error}");
    }
}
