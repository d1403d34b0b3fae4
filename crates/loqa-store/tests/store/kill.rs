//! The writer dies: what was acknowledged is there, and the file is sound.

use crate::support::{Random, entries, file, number, open, turn, turn_events};
use loqa_protocol::{PrivacyScope, TurnEvent};
use loqa_store::{Fault, Reader, Store, StoreOptions};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CHILD: &str = "LOQA_TEST_STORE_CHILD";
const CHILD_FAULT: &str = "LOQA_TEST_STORE_CHILD_FAULT";

/// Writes turns from two threads and tells each on standard error once it is acknowledged.
fn write_until_killed(folder: &Path) {
    let fault = std::env::var_os(CHILD_FAULT).map(|_| Fault::AcknowledgeBeforeCommit);
    let store = Store::open(StoreOptions { fault, ..StoreOptions::file(file(folder)) }).unwrap();
    let end = Instant::now() + Duration::from_secs(120);
    std::thread::scope(|scope| {
        for thread in 0..2u64 {
            let store = &store;
            scope.spawn(move || {
                let base = (u64::from(std::process::id()) * 2 + thread) << 24;
                for n in base.. {
                    store.append_all(turn_events(base, n, "a word that is kept", "yes", 1)).unwrap();
                    eprintln!("ack {n}");
                    if Instant::now() > end {
                        return;
                    }
                }
            });
        }
    });
}

/// Runs a child, kills it, and says which turns it had been told are safe.
fn kill_one(folder: &Path, random: &mut Random, fault: bool) -> Vec<u64> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kill::a_kill_loses_no_acknowledged_turn", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    if fault {
        command.env(CHILD_FAULT, "1");
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut acknowledged = Vec::new();
    // A line that the kill cut off says nothing.
    let number = |line: &str| line.strip_suffix('\n')?.strip_prefix("ack ")?.parse::<u64>().ok();
    let mut line = String::new();
    while acknowledged.is_empty() {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the child ended by itself");
        acknowledged.extend(number(&line));
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
        acknowledged.extend(number(&line));
    }
    killer.join().unwrap();
    acknowledged
}

/// Acknowledged turns that are not there in full, in each of their tables.
fn lost(folder: &Path, acknowledged: &[u64]) -> usize {
    let reader = Reader::open(&file(folder)).unwrap();
    let whole = |n: u64| {
        reader.events(&turn(n)).is_ok_and(|events| events.len() == 10)
            && reader.turn(&turn(n)).is_ok_and(|row| row.transcript == "a word that is kept" && row.ended_ms.is_some())
    };
    acknowledged.iter().filter(|n| !whole(**n)).count()
}

/// `LOQA_TEST_N=1000` for the full figure.
#[test]
fn a_kill_loses_no_acknowledged_turn() {
    if let Some(folder) = std::env::var_os(CHILD) {
        write_until_killed(Path::new(&folder));
        return;
    }
    let kills = number("LOQA_TEST_N", 30);
    let mut random = Random(0x9E37_79B9);
    let (mut n_acknowledged, mut folder) = (0, tempfile::tempdir().unwrap());
    for kill in 0..kills {
        if kill % 25 == 24 {
            folder = tempfile::tempdir().unwrap();
        }
        let acknowledged = kill_one(folder.path(), &mut random, false);
        n_acknowledged += acknowledged.len();
        // What the hub does at its next start: a check after the unclean end, and on it goes.
        let store = open(folder.path());
        assert_eq!(store.health().notices, [""; 0], "after kill {kill}: nothing is put aside");
        assert_eq!(store.check(true).unwrap(), None, "after kill {kill}: integrity");
        store.close();
        assert_eq!(lost(folder.path(), &acknowledged), 0, "after kill {kill}");
    }
    eprintln!("kills: {kills}, acknowledged turns: {n_acknowledged} of 10 events each, lost: 0");
    assert!(n_acknowledged >= usize::try_from(kills).unwrap(), "each child acknowledged something");

    // Control: whoever acknowledges before the commit loses turns.
    let folder = tempfile::tempdir().unwrap();
    let mut n_lost = 0;
    for _ in 0..60 {
        let acknowledged = kill_one(folder.path(), &mut random, true);
        n_lost += lost(folder.path(), &acknowledged);
        if n_lost > 0 {
            break;
        }
    }
    eprintln!("control: lost {n_lost}");
    assert!(n_lost > 0, "the test sees lost turns");
}

#[test]
fn a_turn_that_was_cut_off_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let all = turn_events(1, 1, "half a turn", "the rest", 5_000);
    let store = open(folder.path());
    store.append_all(all[..6].to_vec()).unwrap();
    let half = store.turn(&turn(1)).unwrap();
    assert_eq!((half.transcript.as_str(), half.reply.as_str(), half.ended_ms), ("half a turn", "the rest", None));
    drop(store);
    let store = open(folder.path());
    // The first ones come once more; they count once.
    store.append_all(all.clone()).unwrap();
    let whole = store.turn(&turn(1)).unwrap();
    assert_eq!((whole.reply.as_str(), whole.ended_ms), ("the rest", Some(5_009)));
    assert_eq!(store.events(&turn(1)).unwrap().len(), all.len());
    // And one more clause of another turn of the session.
    let more = entries(1, 2, 6_000, PrivacyScope::Persistent, [TurnEvent::SpeechStarted]);
    store.append_all(more).unwrap();
    assert_eq!(store.session(&crate::support::session(1)).unwrap().turns, 2);
}
