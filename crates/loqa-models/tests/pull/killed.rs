//! A program that is killed in the middle of a pull, again and again.

use super::*;
use server::{Behaviour, Server};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

/// Folder that [`a_pull_in_a_program_of_its_own`] is to work in, when it is a child.
pub const HOME: &str = "LOQA_TEST_PULL_HOME";
/// And its server.
pub const URL: &str = "LOQA_TEST_PULL_URL";

const SIZE: usize = 2 << 20;

/// One pull; in a child of another test, with the folder and the server of that one.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_in_a_program_of_its_own() {
    let bytes = model_bytes(SIZE, 50);
    if let (Ok(home), Ok(url)) = (std::env::var(HOME), std::env::var(URL)) {
        let catalog = Catalog::load(&Path::new(&home).join("models")).unwrap();
        let mut catalog = catalog.with_downloads(&Path::new(&home).join("data"));
        catalog.models[0].files[0].urls = vec![url];
        puller(None).pull(&catalog, &request(), &|_| {}).await.unwrap();
        return;
    }
    let server = Server::start(bytes.clone(), Behaviour::Good).await;
    let home = Home::new(bytes, &[&server.url]);
    assert_eq!(home.pull().await.unwrap().fetched, SIZE as u64);
    assert!(home.is_pulled());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_time_leaves_the_pinned_file_or_a_part_to_go_on_with() {
    let bytes = model_bytes(SIZE, 51);
    // 128 blocks: a pull takes long enough to be killed in.
    let server = Server::slow(bytes.clone(), Behaviour::Good, Duration::from_millis(1)).await;
    let mut home = Home::new(bytes.clone(), &[&server.url]);
    let (mut resumed, mut whole, mut last_part) = (0, 0, 0);
    for round in 0..rounds(3) * 4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["killed::a_pull_in_a_program_of_its_own", "--exact"])
            .env(HOME, home.folder.path())
            .env(URL, &server.url)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From before its first request to after its end; no two the same.
        let begun = server.requests.load(Ordering::Relaxed);
        let wait = Duration::from_millis(((round * 37) % 230) as u64);
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while server.requests.load(Ordering::Relaxed) == begun && child.try_wait().unwrap().is_none() {
            assert!(std::time::Instant::now() < until, "the child asks the server");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(wait).await;
        let _ = child.kill();
        let _ = child.wait();
        if home.is_pulled() {
            whole += 1;
            home = Home::new(bytes.clone(), &[&server.url]);
            last_part = 0;
            continue;
        }
        let part = std::fs::metadata(home.part()).map_or(0, |meta| meta.len());
        assert!(part >= last_part, "a resumed part never shrinks here: {part} after {last_part}");
        resumed += usize::from(part > last_part && last_part > 0);
        last_part = part;
        if part > 0 {
            let kept = std::fs::read(home.part()).unwrap();
            assert_eq!(kept, bytes[..kept.len()], "a part is the beginning of the file");
        }
    }
    home.pull().await.unwrap();
    assert!(home.is_pulled(), "what was left is gone on with");
    eprintln!("kills: {}, resumed further: {resumed}, whole files: {whole}", rounds(3) * 4);
    assert!(resumed + whole > 0, "some of the kills came in the middle");
}
