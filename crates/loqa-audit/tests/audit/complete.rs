//! Each effect has exactly one intent, which is on the disk before it, and exactly one outcome.

use crate::support::{full, intent, verified};
use loqa_audit::{Audit, FILE_NAME, Fault, Journal as _, Options, Outcome, Status};
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Performs effects from eight threads; says how many found their own intent on the disk.
fn perform(dir: &Path, effects: u64, fault: Option<Fault>) -> u64 {
    let audit = Audit::open(dir, Options { fault, ..Options::default() }).unwrap();
    let (next, seen) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let file = dir.join(FILE_NAME);
                let other = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
                let mut look = other.prepare("SELECT body ->> '$.invocation' FROM record WHERE seq = ?1").unwrap();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= effects {
                        return;
                    }
                    let seq = audit.append(intent(n)).unwrap();
                    // This is where the effect takes place: another connection sees what was committed.
                    let found = look.query_row([i64::try_from(seq).unwrap()], |row| row.get::<_, i64>(0));
                    seen.fetch_add(u64::from(found == Ok(i64::try_from(n).unwrap())), Ordering::Relaxed);
                    audit.finish(seq, Outcome::of(Status::Ok));
                }
            });
        }
    });
    audit.close();
    seen.load(Ordering::Relaxed)
}

/// Effects that do not have exactly one intent and one outcome after it, counted from the bare rows.
fn incomplete(dir: &Path, effects: u64) -> Vec<u64> {
    let connection = Connection::open(dir.join(FILE_NAME)).unwrap();
    let mut statement = connection
        .prepare("SELECT seq, body ->> '$.kind', body ->> '$.invocation', body ->> '$.intent' FROM record ORDER BY seq")
        .unwrap();
    // By effect: its intents; by intent: its outcomes.
    let mut intents: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let mut outcomes: BTreeMap<i64, usize> = BTreeMap::new();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (seq, kind): (i64, String) = (row.get(0).unwrap(), row.get(1).unwrap());
        match kind.as_str() {
            "call.intent" => intents.entry(row.get(2).unwrap()).or_default().push(seq),
            "call.outcome" => {
                let intent: i64 = row.get(3).unwrap();
                // One that stands before its intent does not count.
                *outcomes.entry(intent).or_default() += usize::from(intent < seq);
            }
            _ => {}
        }
    }
    let complete = |n: u64| match intents.get(&i64::try_from(n).unwrap()).map(Vec::as_slice) {
        Some([intent]) => outcomes.get(intent) == Some(&1),
        _ => false,
    };
    (0..effects).filter(|n| !complete(*n)).collect()
}

/// `LOQA_TEST_AUDIT_EFFECTS=100000` for the full figure.
#[test]
fn every_effect_has_one_intent_before_it_and_one_outcome() {
    let effects = full("LOQA_TEST_AUDIT_EFFECTS", 1_500) as u64;
    let dir = tempfile::tempdir().unwrap();
    let seen = perform(dir.path(), effects, None);
    assert_eq!(seen, effects, "the intent of each effect was on the disk before it");
    assert_eq!(incomplete(dir.path(), effects), Vec::<u64>::new());
    let report = verified(dir.path(), &[]);
    assert_eq!((report.bad, report.open), (None, vec![]));
    eprintln!("effects: {effects}, incomplete: 0");

    // Controls: outcomes that are left out, and intents that are not on the disk in time.
    let dir = tempfile::tempdir().unwrap();
    perform(dir.path(), 400, Some(Fault::ForgetEveryOutcome(100)));
    assert_eq!(incomplete(dir.path(), 400).len(), 4, "the count sees a forgotten outcome");
    drop(crate::support::open(dir.path()));
    let dir = tempfile::tempdir().unwrap();
    let seen = perform(dir.path(), 100, Some(Fault::AcknowledgeBeforeCommit));
    assert!(seen < 100, "an intent that is acknowledged too early is seen to be missing");
}

#[test]
fn a_second_outcome_and_one_for_nothing_are_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let audit = crate::support::open(dir.path());
    let seq = audit.append(intent(0)).unwrap();
    for status in [Status::Ok, Status::Error, Status::Ok] {
        audit.finish(seq, Outcome::of(status));
    }
    audit.finish(4711, Outcome::of(Status::Ok));
    audit.flush().unwrap();
    audit.finish(seq, Outcome::of(Status::Error));
    audit.close();
    assert_eq!(incomplete(dir.path(), 1), Vec::<u64>::new());
    assert_eq!(verified(dir.path(), &[]).bad, None);
}
