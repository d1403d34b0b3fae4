//! Servers that lie, break and stall.

use super::*;
use server::{Behaviour, Server};
use std::sync::atomic::Ordering;

const SIZE: usize = 192 << 10;

/// How much is there already when a pull begins, in eighths.
const HAVE: [usize; 3] = [0, 3, 7];

/// What came of one pull from a bad server.
async fn one(behaviour: Behaviour, round: usize, fault: Option<Fault>) -> (bool, String) {
    let bytes = model_bytes(SIZE + round * 7, round as u64 + 1);
    let server = Server::start(bytes.clone(), behaviour).await;
    let home = Home::new(bytes, &[&server.url]);
    let have = HAVE[round % HAVE.len()] * SIZE / 8;
    if have > 0 {
        home.leave_part(have, round.is_multiple_of(2).then_some(&server.url));
    }
    let result = home.pull_with(&puller(fault)).await;
    let pulled = home.is_pulled();
    assert_eq!(pulled, result.is_ok(), "{behaviour:?}: what is said is what is: {result:?}");
    (pulled, result.err().map(|e| e.to_string()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_server_does_the_final_name_holds_the_pinned_bytes_or_nothing() {
    for behaviour in Behaviour::BAD {
        for round in 0..rounds(3) {
            let (pulled, said) = one(*behaviour, round, None).await;
            // Those that give the right bytes when all of them are asked for are of use.
            let recovers = matches!(
                behaviour,
                Behaviour::IgnoresRange
                    | Behaviour::WrongOffset
                    | Behaviour::LyingOffset
                    | Behaviour::NoRange
                    | Behaviour::MultipartRanges
            );
            assert_eq!(pulled, recovers, "{behaviour:?}, round {round}: {said}");
            assert!(!said.contains("signature=secret"), "the query of an address is not shown: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appending_a_whole_answer_is_seen_here() {
    // The control: a puller with the classic fault puts wrong bytes in place, and the check above sees it.
    let bytes = model_bytes(SIZE, 9);
    let server = Server::start(bytes.clone(), Behaviour::IgnoresRange).await;
    let home = Home::new(bytes, &[&server.url]);
    home.leave_part(SIZE / 2, None);
    let _ = home.pull_with(&puller(Some(Fault::AppendOn200))).await;
    let found = std::fs::read(home.place()).unwrap();
    assert_ne!(digest(&found), digest(&home.bytes), "the fault had no effect");
    let seen = std::panic::catch_unwind(|| home.is_pulled());
    assert!(seen.is_err(), "the check does not see wrong bytes under the final name");
}

#[tokio::test(flavor = "multi_thread")]
async fn trusting_the_bytes_is_seen_here() {
    let bytes = model_bytes(SIZE, 10);
    let server = Server::start(bytes.clone(), Behaviour::FlipsABit).await;
    let home = Home::new(bytes, &[&server.url]);
    let _ = home.pull_with(&puller(Some(Fault::TrustTheBytes))).await;
    assert!(std::panic::catch_unwind(|| home.is_pulled()).is_err(), "the check does not see a flipped bit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_source_is_told_and_the_next_one_is_asked() {
    for behaviour in Behaviour::BAD {
        let bytes = model_bytes(SIZE, 11);
        let bad = Server::start(bytes.clone(), *behaviour).await;
        let good = Server::start(bytes.clone(), Behaviour::Good).await;
        let home = Home::new(bytes, &[&bad.url, &good.url]);
        let told = Mutex::new(Vec::new());
        puller(None).pull(&home.catalog, &request(), &collect(&told)).await.unwrap();
        assert!(home.is_pulled(), "{behaviour:?}");
        let told = told.into_inner().unwrap();
        let failed = told.iter().filter(|p| matches!(p, Progress::SourceFailed { .. })).count();
        let asked = good.requests.load(Ordering::Relaxed);
        assert_eq!(failed as u64, asked.min(1), "{behaviour:?}: the second is asked when the first failed: {told:?}");
        assert!(matches!(told.last(), Some(Progress::Ready { .. })), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_valid_resume_saves_what_is_there() {
    let size = 4 << 20;
    for round in 0..rounds(3) {
        let bytes = model_bytes(size, round as u64 + 20);
        let server = Server::start(bytes.clone(), Behaviour::Good).await;
        let home = Home::new(bytes, &[&server.url]);
        let have = size * 95 / 100 + round;
        // With a tag of the same server, of another one, and with none at all.
        home.leave_part(have, [Some(&*server.url), Some("https://other.example/"), None][round % 3]);
        let pulled = home.pull().await.unwrap();
        assert!(home.is_pulled());
        let sent = server.sent.load(Ordering::Relaxed);
        assert_eq!(sent, (size - have) as u64, "only the rest is sent");
        assert!(sent * 10 <= size as u64, "nine of ten bytes are saved");
        assert_eq!((pulled.fetched, pulled.resumed), (sent, have as u64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_was_damaged_costs_one_more_download_and_no_more() {
    let bytes = model_bytes(SIZE, 30);
    let server = Server::start(bytes.clone(), Behaviour::Good).await;
    let home = Home::new(bytes, &[&server.url]);
    home.leave_part(SIZE / 2, Some(&server.url));
    let mut damaged = home.bytes[..SIZE / 2].to_vec();
    damaged[100] ^= 4;
    std::fs::write(home.part(), damaged).unwrap();
    home.pull().await.unwrap();
    assert!(home.is_pulled());
    assert_eq!(server.requests.load(Ordering::Relaxed), 2, "the rest, then all of it");
    assert!(!home.part().exists() && !home.part().with_extension("part.json").exists(), "nothing is left over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_is_said_and_what_came_is_kept() {
    let bytes = model_bytes(4 << 20, 40);
    let server = Server::start(bytes.clone(), Behaviour::Good).await;
    let home = Home::new(bytes, &[&server.url]);

    // First by asking: nothing is sent.
    let vast = {
        let mut catalog = home.catalog.clone();
        catalog.models[0].files[0].size = 1 << 50;
        catalog
    };
    let error = puller(None).pull(&vast, &request(), &|_| {}).await.unwrap_err();
    assert!(matches!(error, PullError::NoSpace { .. }), "{error}");
    assert!(error.to_string().contains("free some space"), "{error}");
    assert_eq!(server.requests.load(Ordering::Relaxed), 0);

    // Then by a disk that has room when asked and is full when written to.
    let Some(small) = SmallDisk::mount(&home.folder.path().join("data"), 1) else {
        // Where no file system may be mounted, a limit on the size of files stands in.
        return full_by_limit(&home);
    };
    let error = home.pull_with(&puller(Some(Fault::IgnoreSpace))).await.unwrap_err();
    assert!(matches!(error, PullError::Disk { .. }), "{error}");
    assert!(!home.is_pulled());
    let kept = std::fs::read(home.part()).unwrap();
    assert!(!kept.is_empty() && kept == home.bytes[..kept.len()], "what came stays for the next time");
    drop(small);
    assert!(home.pull().await.is_ok() && home.is_pulled(), "with room it works");
}

/// Without the right to mount: the next pull still works, and nothing is under the final name.
fn full_by_limit(home: &Home) {
    // A child whose files may not grow beyond one megabyte.
    let url = &home.catalog.models[0].files[0].urls[0];
    let status = std::process::Command::new("sh")
        .args(["-c", "ulimit -f 1024; trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["killed::a_pull_in_a_program_of_its_own", "--exact"])
        .env(killed::HOME, home.folder.path())
        .env(killed::URL, url)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success(), "the file cannot grow, so the pull fails");
    assert!(!home.is_pulled());
    let kept = std::fs::metadata(home.part()).unwrap().len();
    assert!(kept > 0 && kept <= 1 << 20, "what came is kept: {kept}");
}

/// A file system in memory over a folder, unmounted with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount(folder: &Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(folder)
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}
