//! Pruning removes old rows from the front, never a newer one, and leaves a chain that verifies.

use crate::support::{Random, denied, full, intent, rows, verified, write_some};
use loqa_audit::{Audit, FILE_NAME, Fault, Filter, Journal as _, Kind, Options, Outcome, Reader, Row, Status};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

struct Clocked {
    audit: Audit,
    now: Arc<AtomicI64>,
    open: Vec<u64>,
}

fn clocked(dir: &Path, fault: Option<Fault>) -> Clocked {
    let now = Arc::new(AtomicI64::new(1_000_000));
    let clock = now.clone();
    let clock: Arc<dyn Fn() -> i64 + Send + Sync> = Arc::new(move || clock.load(Ordering::Relaxed));
    let audit = Audit::open(dir, Options { ephemeral: false, clock: Some(clock), fault }).unwrap();
    Clocked { audit, now, open: Vec::new() }
}

impl Clocked {
    /// Some rows while the clock runs, stands and jumps.
    fn live(&mut self, random: &mut Random) {
        for _ in 0..random.below(12) {
            let step = match random.below(8) {
                0 => -5_000,
                1 => 20_000,
                2 => 0,
                _ => 100 + random.below(900) as i64,
            };
            self.now.fetch_add(step, Ordering::Relaxed);
            match random.below(4) {
                0 => self.audit.append_later(denied(random.next() % 1_000)),
                1 if !self.open.is_empty() => {
                    let intent = self.open.swap_remove(random.below(self.open.len()));
                    self.audit.finish(intent, Outcome::of(Status::Ok));
                }
                _ => {
                    let seq = self.audit.append(intent(random.next() % 1_000)).unwrap();
                    if random.below(8) == 0 {
                        self.open.push(seq);
                    } else {
                        self.audit.finish(seq, Outcome::of(Status::Ok));
                    }
                }
            }
        }
        self.audit.flush().unwrap();
    }
}

/// What is wrong with a pruning: rows that should have stayed, or could have gone.
fn faults(before: &[Row], after: &[Row], cutoff: i64, running: &[u64]) -> Vec<String> {
    let kept = |seq: u64| after.iter().any(|row| row.seq == seq);
    let mut faults = Vec::new();
    let blocked = |row: &Row| row.wall_ms().unwrap() >= cutoff || running.contains(&row.seq);
    let first_blocked = before.iter().find(|row| blocked(row)).map_or(u64::MAX, |row| row.seq);
    for row in before {
        if !kept(row.seq) && row.wall_ms().unwrap() >= cutoff {
            faults.push(format!("row {} is newer than the cutoff and gone", row.seq));
        } else if !kept(row.seq) && row.seq >= first_blocked {
            faults.push(format!("row {} stands behind one that stays, and is gone", row.seq));
        } else if kept(row.seq) && row.seq < first_blocked {
            faults.push(format!("row {} is older than the cutoff and still there", row.seq));
        }
        if let Some(same) = after.iter().find(|kept| kept.seq == row.seq)
            && same != row
        {
            faults.push(format!("row {} was changed", row.seq));
        }
    }
    faults
}

fn history(clocked: &mut Clocked, dir: &Path, random: &mut Random) -> (Vec<String>, u64) {
    clocked.live(random);
    let before = rows(dir);
    let (oldest, newest) = (before[0].wall_ms().unwrap(), clocked.now.load(Ordering::Relaxed));
    let cutoff = oldest + (newest - oldest) * random.below(120) as i64 / 100;
    let removed = clocked.audit.prune(cutoff).unwrap();
    let after = rows(dir);
    let mut faults = faults(&before, &after, cutoff, &clocked.open);
    if let Some(bad) = verified(dir, &[]).bad {
        faults.push(format!("the rest does not verify: {bad}"));
    }
    let gone = before.iter().filter(|row| !after.iter().any(|kept| kept.seq == row.seq)).count();
    if gone as u64 != removed {
        faults.push(format!("{gone} rows are gone, {removed} were told"));
    }
    (faults, removed)
}

/// `LOQA_TEST_AUDIT_HISTORIES=10000` for the full figure.
#[test]
fn no_row_newer_than_the_cutoff_is_removed() {
    let histories = full("LOQA_TEST_AUDIT_HISTORIES", 150);
    let mut random = Random(2);
    let mut n_removed = 0;
    for folder in 0..histories.div_ceil(25) {
        let dir = tempfile::tempdir().unwrap();
        let mut clocked = clocked(dir.path(), None);
        for n in 0..25.min(histories - folder * 25) {
            let (faults, removed) = history(&mut clocked, dir.path(), &mut random);
            assert_eq!(faults, Vec::<String>::new(), "history {}", folder * 25 + n);
            n_removed += removed;
        }
    }
    eprintln!("histories: {histories}, rows removed: {n_removed}, newer ones among them: 0");
    assert!(n_removed > histories as u64, "histories remove rows");

    // Control: deciding by the oldest row takes newer ones along.
    let dir = tempfile::tempdir().unwrap();
    let mut clocked = clocked(dir.path(), Some(Fault::PruneByTheOldestRow));
    let found: usize = (0..25).map(|_| history(&mut clocked, dir.path(), &mut random).0.len()).sum();
    eprintln!("control: {found} faults found");
    assert!(found > 0, "the test sees a newer row that is gone");
}

#[test]
fn pruning_goes_in_steps_erases_contents_and_says_what_it_did() {
    let dir = tempfile::tempdir().unwrap();
    let Clocked { audit, now, .. } = clocked(dir.path(), None);
    for n in 0..10_500 {
        audit.append_later(denied(n));
        if n % 2_000 == 0 {
            audit.flush().unwrap();
        }
    }
    audit.flush().unwrap();
    now.fetch_add(1_000_000, Ordering::Relaxed);
    let keep = audit.append(intent(3)).unwrap();
    let anchor = audit.checkpoint().unwrap();
    let removed = audit.prune(1_500_000).unwrap();
    assert!(removed > 10_500, "{removed}");
    let left = rows(dir.path());
    assert_eq!(left[0].seq, keep);
    assert_eq!(verified(dir.path(), &[anchor]).bad, None, "an older anchor still holds");
    let told =
        Reader::open(dir.path()).unwrap().list(&Filter { kind: Some(Kind::AuditPrune), ..Filter::default() }).unwrap();
    assert_eq!(told.len(), 2, "one row for each step");
    assert_eq!(told[0].record["base"]["seq"], keep - 1);
    let connection = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
    let payloads: i64 = connection.query_row("SELECT count(*) FROM payload_key", [], |row| row.get(0)).unwrap();
    assert_eq!(payloads, 1, "contents go with their rows");
    drop(connection);
    assert_eq!(audit.prune(1_500_000).unwrap(), 0);
    audit.close();
    let audit = crate::support::open(dir.path());
    write_some(&audit, 3);
    audit.close();
    assert_eq!(verified(dir.path(), &[]).bad, None, "a pruned record is continued after a restart");
}
