//! Recordings: kept where asked for, encrypted, gone with their key.

use crate::support::{files_with, open, session, turn, turn_events};
use loqa_store::StoreError;

fn samples() -> Vec<i16> {
    (0..16_000).map(|n| ((n * 37) % 2_000) as i16 - 1_000).collect()
}

#[test]
fn a_recording_opens_only_with_its_key_and_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    assert!(matches!(store.keep_recording(&turn(1), samples()), Err(StoreError::NotFound { what: "turn", .. })));
    assert!(!folder.path().join("loqa.db.key").exists(), "no key without a recording");
    store.append_all(turn_events(1, 1, "spoken", "yes", 1)).unwrap();
    store.append_all(turn_events(1, 2, "typed", "yes", 2)).unwrap();
    store.keep_recording(&turn(1), samples()).unwrap();
    assert_eq!(store.recording(&turn(1)).unwrap(), samples());
    assert!(matches!(store.recording(&turn(2)), Err(StoreError::NotFound { what: "recording", .. })));
    assert!(store.turn(&turn(1)).unwrap().recording && !store.turn(&turn(2)).unwrap().recording);
    assert_eq!(store.session(&session(1)).unwrap().recordings, 1);
    store.flush().unwrap();
    // A stretch of the samples as they would stand in a file.
    let window: String = samples()[100..108].iter().flat_map(|s| s.to_le_bytes()).map(char::from).collect();
    let raw: Vec<u8> = samples()[100..108].iter().flat_map(|s| s.to_le_bytes()).collect();
    let plain = std::fs::read_dir(folder.path())
        .unwrap()
        .flatten()
        .any(|entry| std::fs::read(entry.path()).unwrap_or_default().windows(raw.len()).any(|bytes| bytes == raw));
    assert!(!plain, "the samples lie nowhere as they are");
    assert_eq!(files_with(folder.path(), &window), [""; 0]);

    // In the place of another turn, changed, or without the key it says nothing.
    let connection = rusqlite::Connection::open(folder.path().join("loqa.db")).unwrap();
    connection.execute("UPDATE recordings SET ciphertext = zeroblob(length(ciphertext))", []).unwrap();
    assert!(matches!(store.recording(&turn(1)), Err(StoreError::Audio { .. })), "changed");
    store.keep_recording(&turn(1), samples()).unwrap();
    connection.execute("UPDATE recordings SET turn_id = 2", []).unwrap();
    assert!(matches!(store.recording(&turn(2)), Err(StoreError::Audio { .. })), "another turn's");
    connection.execute("UPDATE recordings SET turn_id = 1", []).unwrap();
    assert!(store.recording(&turn(1)).is_ok());
    std::fs::remove_file(folder.path().join("loqa.db.key")).unwrap();
    let error = store.recording(&turn(1)).unwrap_err().to_string();
    assert!(error.contains("loqa.db.key"), "{error}");
}

#[test]
fn recordings_go_without_their_texts() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for n in 0..3 {
        store.append_all(turn_events(n / 2, n, "spoken", "yes", 1)).unwrap();
        store.keep_recording(&turn(n), samples()).unwrap();
    }
    assert_eq!(store.delete_recordings(&session(0)).unwrap(), 2);
    assert_eq!((store.counts().unwrap().recordings, store.counts().unwrap().turns), (1, 3));
    assert!(store.recording(&turn(2)).is_ok());
}
