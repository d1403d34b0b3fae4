//! Figure R21: the bytes that run are those that were approved, however the files change
//! meanwhile. 1,000 races with `LOQA_TEST_N=1000`.

use crate::archive::{module, n_cases};
use crate::installed::{Bench, package};
use loqa_skills::SkillError;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Swaps the module for another valid one and back until it is told to stop.
fn while_swapped<T>(folder: &Path, races: impl FnOnce() -> T) -> T {
    let (approved, other) = (folder.join("approved"), folder.join("other"));
    std::fs::copy(folder.join("test.wasm"), &approved).unwrap();
    std::fs::write(&other, module("evil")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let next = folder.join("next");
            while !stop.load(Ordering::Relaxed) {
                for from in [&other, &approved] {
                    std::fs::hard_link(from, &next).unwrap();
                    std::fs::rename(&next, folder.join("test.wasm")).unwrap();
                }
            }
        });
        let result = races();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

#[test]
fn what_runs_is_what_was_approved() {
    let bench = Bench::new();
    bench.installed.install(&package("kettle", "1.0.0", "", None), 1).unwrap();
    let index = bench.installed.index().unwrap();
    let version = &index.skills["kettle"].current;
    let folder = bench.installed.folder("kettle", version);
    let n = n_cases(100);
    let (n_loaded, n_refused) = while_swapped(&folder, || {
        let (mut n_loaded, mut n_refused) = (0, 0);
        for race in 0..n {
            match bench.host.load_installed(&folder, &version.consent()) {
                Ok(info) => {
                    assert_eq!(info.module_sha256, version.module_sha256, "race {race}");
                    assert_eq!(bench.call("kettle.run").unwrap(), "1.0.0", "race {race}: other bytes run");
                    n_loaded += 1;
                }
                Err(SkillError::Changed { .. }) => {
                    n_refused += 1;
                    // A refusal is quick; the other thread shall come to its turn before the next race.
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err(other) => panic!("race {race}: {other}"),
            }
        }
        (n_loaded, n_refused)
    });
    println!("{n} races: {n_loaded} ran the approved bytes, {n_refused} were refused, 0 ran others");
    assert!(n_loaded > 0 && n_refused > 0, "{n_loaded} and {n_refused}: both sides of the race must occur");
}

/// The control: a loader that looks at the digest and then opens the file again. The swap
/// comes between the two, as it may at any time, and what runs then is told apart.
#[test]
fn a_loader_that_opens_the_file_twice_is_caught() {
    let bench = Bench::new();
    bench.installed.install(&package("kettle", "1.0.0", "", None), 1).unwrap();
    let index = bench.installed.index().unwrap();
    let version = &index.skills["kettle"].current;
    let folder = bench.installed.folder("kettle", version);
    let seen = hex::encode(Sha256::digest(std::fs::read(folder.join("test.wasm")).unwrap()));
    assert_eq!(seen, version.module_sha256, "the careless loader is content with what it sees");
    std::fs::write(folder.join("next"), module("evil")).unwrap();
    std::fs::rename(folder.join("next"), folder.join("test.wasm")).unwrap();
    bench.host.load(&folder).unwrap();
    assert_eq!(bench.call("kettle.run").unwrap(), "evil", "what it runs was never approved");
    let refused = bench.host.load_installed(&folder, &version.consent());
    assert!(matches!(refused, Err(SkillError::Changed { .. })), "the loader of installed skills looks at what it runs");
}
