//! Deleting a session, and everything: no byte of it is left in the folder.

use crate::support::{file, files_with, open, session, turn, turn_events};
use loqa_store::{Counts, FILE_NAME, Page, StoreError, restore};
use serde_json::json;
use sha2::{Digest as _, Sha256};

const CANARY: &str = "quetzalcoatlus";

#[test]
fn a_deleted_session_leaves_no_byte_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.append_all(turn_events(1, 1, &format!("the word is {CANARY}"), CANARY, 1)).unwrap();
    store.append_all(turn_events(1, 2, &format!("again {CANARY}"), "yes", 2)).unwrap();
    store.append_all(turn_events(2, 3, "another session", "yes", 3)).unwrap();
    store.flush().unwrap();
    assert!(!files_with(folder.path(), CANARY).is_empty(), "the test sees the word while it is kept");
    let erased = store.delete_session(&session(1)).unwrap();
    assert_eq!((erased.before.turns, erased.after.turns, erased.after.events), (3, 1, 10));
    let ids = format!("{}\n{}\n", turn(1), turn(2));
    assert_eq!(erased.turns_sha256, hex::encode(Sha256::digest(ids)), "which turns went");
    assert_eq!(store.delete_session(&session(1)).unwrap_err(), StoreError::not_kept("session", session(1)));
    assert_eq!(store.search(CANARY, &Page::default()).unwrap().items.len(), 0);
    assert_eq!(store.search("another", &Page::default()).unwrap().items.len(), 1);
    drop(store);
    assert_eq!(files_with(folder.path(), CANARY), [""; 0]);
}

#[test]
fn a_wipe_leaves_nothing_and_can_be_proved() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for n in 0..300 {
        store.append_all(turn_events(n, n, &format!("{CANARY} {n}"), "yes", n as i64)).unwrap();
    }
    store.keep_recording(&turn(1), vec![7; 16_000]).unwrap();
    store.set_setting("voice", &json!(CANARY)).unwrap();
    for left_over in ["loqa.db.v1-backup-5", "loqa.db.corrupt-7", "loqa.db.corrupt-7-wal"] {
        std::fs::write(folder.path().join(left_over), CANARY).unwrap();
    }
    let erased = store.wipe().unwrap();
    assert_eq!((erased.before.turns, erased.before.recordings, erased.before.settings), (300, 1, 1));
    assert_eq!(Counts { bytes: 0, ..erased.after }, Counts::default());
    assert_eq!(
        erased.files,
        ["loqa.db.corrupt-7", "loqa.db.corrupt-7-wal", "loqa.db.v1-backup-5", "loqa.db.key"],
        "backups, damaged files and the key of recordings go too"
    );
    assert_eq!(files_with(folder.path(), CANARY), [""; 0], "while it is open");
    let digest = hex::encode(Sha256::digest(std::fs::read(file(folder.path())).unwrap()));
    assert_eq!(erased.file_sha256, Some(digest), "of the file that is left");
    store.append_all(turn_events(1, 1, "a new start", "yes", 1)).unwrap();
    assert_eq!(store.search("start", &Page::default()).unwrap().items.len(), 1);
    drop(store);
    assert_eq!(files_with(folder.path(), CANARY), [""; 0]);
}

#[test]
fn a_backup_made_beside_the_writer_comes_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.append_all(turn_events(1, 1, "in the backup", "yes", 1)).unwrap();
    store.keep_recording(&turn(1), vec![1, -2, 3]).unwrap();
    let backup = folder.path().join("mine.db");
    assert!(store.backup(&backup).unwrap(), "with the key of recordings");
    assert!(store.backup(&backup).is_err(), "a file that is there is not overwritten");
    store.append_all(turn_events(1, 2, "after the backup", "yes", 2)).unwrap();
    drop(store);
    let replaced = restore(&backup, &file(folder.path()), 9).unwrap().unwrap();
    assert!(replaced.ends_with("loqa.db.v2-backup-9") && replaced.is_file());
    let store = open(folder.path());
    assert_eq!(store.turn(&turn(1)).unwrap().transcript, "in the backup");
    assert_eq!(store.recording(&turn(1)).unwrap(), [1, -2, 3]);
    assert!(store.turn(&turn(2)).is_err());
    drop(store);

    let other = tempfile::tempdir().unwrap();
    let target = other.path().join(FILE_NAME);
    for bad in ["not a database", ""] {
        let path = other.path().join("bad.db");
        std::fs::write(&path, bad).unwrap();
        assert!(restore(&path, &target, 1).is_err(), "{bad:?} is no backup");
        assert!(!target.exists(), "nothing is put in place");
    }
    assert_eq!(restore(&backup, &target, 1).unwrap(), None);
    assert_eq!(open(other.path()).turn(&turn(1)).unwrap().transcript, "in the backup");
}

#[cfg(unix)]
#[test]
fn only_the_user_can_read_what_is_kept() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let store = open(&data);
    store.append_all(turn_events(1, 1, "private", "yes", 1)).unwrap();
    store.keep_recording(&turn(1), vec![1]).unwrap();
    store.backup(&data.join("copy.db")).unwrap();
    for entry in std::fs::read_dir(&data).unwrap().flatten() {
        if entry.file_name() == "loqa.db.open" {
            continue;
        }
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}
