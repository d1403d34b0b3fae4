//! The writer dies: what was acknowledged is there, what was begun gets an outcome.

use crate::support::{Random, full, intent, open, rows, verified};
use loqa_audit::{Audit, Fault, Filter, Journal as _, Kind, Options, Outcome, Reader, Status};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CHILD: &str = "LOQA_TEST_AUDIT_CHILD";
const CHILD_FAULT: &str = "LOQA_TEST_AUDIT_CHILD_FAULT";

/// Appends from four threads and tells each row on standard error once it is acknowledged.
fn append_until_killed(dir: &Path) {
    let fault = std::env::var_os(CHILD_FAULT).map(|_| Fault::AcknowledgeBeforeCommit);
    let audit = Audit::open(dir, Options { fault, ..Options::default() }).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let audit = &audit;
            scope.spawn(move || {
                let base = (u64::from(std::process::id()) * 4 + thread) * 1_000_000;
                for n in base.. {
                    let seq = audit.append(intent(n)).unwrap();
                    eprintln!("ack {seq} {n}");
                    audit.finish(seq, Outcome::of(Status::Ok));
                    if Instant::now() > end {
                        return;
                    }
                }
            });
        }
    });
}

/// Runs a child, kills it, and says which rows it had been told are safe.
fn kill_one(dir: &Path, random: &mut Random, fault: bool) -> BTreeMap<u64, u64> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::a_kill_loses_no_acknowledged_row", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    if fault {
        command.env(CHILD_FAULT, "1");
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut acknowledged = BTreeMap::new();
    let mut take = |line: &str| {
        let mut words = line.strip_suffix('\n')?.strip_prefix("ack ")?.split(' ').map(str::parse::<u64>);
        acknowledged.insert(words.next()?.ok()?, words.next()?.ok()?);
        Some(())
    };
    let mut line = String::new();
    while take(&line).is_none() {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the child ended by itself");
    }
    let killer = std::thread::spawn({
        let pause = Duration::from_micros(random.next() % 30_000);
        move || {
            std::thread::sleep(pause);
            child.kill().unwrap();
            child.wait().unwrap();
        }
    });
    loop {
        line.clear();
        if lines.read_line(&mut line).unwrap() == 0 {
            break;
        }
        take(&line);
    }
    killer.join().unwrap();
    acknowledged
}

/// Acknowledged rows that are not there.
fn lost(dir: &Path, acknowledged: &BTreeMap<u64, u64>) -> usize {
    let present: BTreeMap<u64, u64> =
        rows(dir).iter().filter_map(|row| Some((row.seq, row.number("invocation")?))).collect();
    acknowledged.iter().filter(|(seq, n)| present.get(seq) != Some(n)).count()
}

/// `LOQA_TEST_AUDIT_KILLS=1000` for the full figure.
#[test]
fn a_kill_loses_no_acknowledged_row() {
    if let Some(dir) = std::env::var_os(CHILD) {
        append_until_killed(Path::new(&dir));
        return;
    }
    let kills = full("LOQA_TEST_AUDIT_KILLS", 15);
    let mut random = Random(1);
    let (mut n_acknowledged, mut n_unknown, mut dir) = (0, 0, tempfile::tempdir().unwrap());
    for kill in 0..kills {
        if kill % 20 == 19 {
            dir = tempfile::tempdir().unwrap();
        }
        let acknowledged = kill_one(dir.path(), &mut random, false);
        n_acknowledged += acknowledged.len();
        let before = rows(dir.path()).len();
        drop(open(dir.path()));
        assert_eq!(lost(dir.path(), &acknowledged), 0, "after kill {kill}");
        let report = verified(dir.path(), &[]);
        assert_eq!((report.bad, report.open), (None, vec![]), "after kill {kill}: chain, outcomes and pages are sound");
        n_unknown += rows(dir.path()).len() - before;
        let aside = std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().contains("corrupt"));
        assert_eq!(aside.count(), 0, "no file was put aside");
    }
    eprintln!("kills: {kills}, acknowledged: {n_acknowledged}, lost: 0, rows added at the next start: {n_unknown}");
    assert!(n_acknowledged >= kills, "each child acknowledged something");

    // Control: whoever acknowledges before the commit loses rows.
    let dir = tempfile::tempdir().unwrap();
    let mut n_lost = 0;
    for _ in 0..8 {
        let acknowledged = kill_one(dir.path(), &mut random, true);
        n_lost += lost(dir.path(), &acknowledged);
    }
    eprintln!("control: lost {n_lost}");
    assert!(n_lost > 0, "the test sees lost rows");
}

#[test]
fn what_was_begun_and_not_ended_is_unknown_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    let (ended, open_one) = (audit.append(intent(1)).unwrap(), audit.append(intent(2)).unwrap());
    audit.finish(ended, Outcome::of(Status::Ok));
    audit.close();
    assert_eq!(verified(dir.path(), &[]).open, [open_one], "a call that runs is no fault");
    drop(open(dir.path()));
    drop(open(dir.path()));
    let report = verified(dir.path(), &[]);
    assert_eq!((report.bad, report.open), (None, vec![]));
    let outcomes =
        Reader::open(dir.path()).unwrap().list(&Filter { kind: Some(Kind::CallOutcome), ..Filter::default() }).unwrap();
    let told: Vec<_> = outcomes
        .iter()
        .map(|row| {
            (row.number("intent").unwrap(), row.record["outcome"]["status"].as_str().unwrap(), row.actor().unwrap())
        })
        .collect();
    assert_eq!(told, [(open_one, "unknown", "weather"), (ended, "ok", "smart-home")], "once each, with who it was");
}

#[test]
fn only_one_process_writes() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    let error = Audit::open(dir.path(), Options::default()).unwrap_err().to_string();
    assert!(error.contains("being written by another process"), "{error}");
    drop(audit);
    drop(open(dir.path()));
}
