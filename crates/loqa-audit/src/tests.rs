//! Tests that need a view inside: a disk that fills up.

use crate::*;
use serde_json::json;
use std::time::Instant;

fn entry(n: u64) -> Entry {
    let mut entry = Entry::new(Kind::CallIntent, Actor::named(ActorKind::Skill, "s"), Context::default());
    entry.context.invocation = Some(n);
    entry.payload = Some(json!({ "text": "x".repeat(2_000) }));
    entry
}

#[test]
fn a_full_disk_refuses_calls_keeps_what_may_wait_and_recovers_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), Options::default()).unwrap();
    let first = audit.append(entry(0)).unwrap();
    // SQLite itself says that the disk is full, as it does when the system says so.
    audit.limit_pages(1);
    let mut refused = None;
    for n in 1..100 {
        match audit.append(entry(n)) {
            Ok(seq) => audit.finish(seq, Outcome::of(Status::Ok)),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    assert!(refused.unwrap().0.contains("disk is full"), "privileged calls are refused, with the way out");
    assert!(audit.health().failing.is_some());
    audit.finish(first, Outcome::of(Status::Ok));
    for n in 0..10 {
        let mut note = entry(n);
        note.kind = Kind::CallDenied;
        audit.append_later(note);
    }
    assert!(audit.append(entry(0)).is_err(), "still full");
    let waiting = audit.health();
    assert_eq!((waiting.waiting >= 11, waiting.lost), (true, 0), "{waiting:?}");

    audit.limit_pages(1 << 30);
    let began = Instant::now();
    while audit.health().waiting > 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", audit.health());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(audit.health(), Health::default(), "written without a restart, nothing lost");
    let after = audit.append(entry(7)).unwrap();
    audit.finish(after, Outcome::of(Status::Ok));
    audit.close();

    let reader = Reader::open(dir.path()).unwrap();
    let report = verify(&reader, reader.key().as_deref(), &[]).unwrap();
    assert_eq!((report.bad, report.open), (None, vec![]), "the outcome that had to wait is there");
    let denied = reader.list(&Filter { kind: Some(Kind::CallDenied), ..Filter::default() }).unwrap();
    assert_eq!(denied.len(), 10);
}

#[test]
fn rows_that_find_no_room_are_counted_and_the_record_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), Options { ephemeral: true, ..Options::default() }).unwrap();
    audit.limit_pages(1);
    while audit.append(entry(0)).is_ok() {}
    let too_many = queue::CAPACITY as u64 + 50;
    for n in 0..too_many {
        let mut note = entry(n);
        note.kind = Kind::CallDenied;
        audit.append_later(note);
    }
    let lost = audit.health().lost;
    assert_eq!(lost, 50, "the queue is bounded and says what it drops");
    let began = Instant::now();
    assert!(audit.append(entry(0)).is_err());
    assert!(began.elapsed() < PATIENCE, "without room on a full disk the answer comes at once");
    audit.limit_pages(1 << 30);
    while audit.health().waiting > 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", audit.health());
        std::thread::sleep(Duration::from_millis(10));
    }
    audit.close();
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(verify(&reader, reader.key().as_deref(), &[]).unwrap().bad, None);
    let gaps = reader.list(&Filter { kind: Some(Kind::AuditGap), ..Filter::default() }).unwrap();
    let told: u64 = gaps.iter().filter_map(|row| row.number("lost")).sum();
    assert_eq!(told, 50, "the record itself says how many rows are missing");
}
