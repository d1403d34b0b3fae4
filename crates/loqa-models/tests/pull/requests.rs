//! What is asked for, refused and recorded.

use super::*;
use server::{Behaviour, Server};
use std::sync::atomic::Ordering;

const SIZE: usize = 64 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_fetched_is_said_before_anything_is_sent() {
    let bytes = model_bytes(SIZE, 60);
    let server = Server::start(bytes.clone(), Behaviour::Good).await;
    let home = Home::new(bytes, &[&server.url]);
    let said = async |change: &dyn Fn(&mut Catalog), request: PullRequest| {
        let mut catalog = home.catalog.clone();
        change(&mut catalog);
        puller(None).pull(&catalog, &request, &|_| {}).await.unwrap_err().to_string()
    };
    let unknown = said(&|_| {}, PullRequest { name: "n".into(), ..request() }).await;
    assert!(unknown.contains("there are: m"), "{unknown}");
    let unpinned = said(&|catalog| catalog.models[0].files[0].sha256 = "unknown".into(), request()).await;
    assert!(unpinned.contains("digest of model `m` is not known"), "{unpinned}");
    let bundled = said(&|catalog| catalog.models[0].bundled = true, request()).await;
    assert!(bundled.contains("comes with Loqa"), "{bundled}");
    let nowhere = said(&|catalog| catalog.models[0].files[0].urls.clear(), request()).await;
    assert!(nowhere.contains("--from"), "{nowhere}");
    let licence = said(&|catalog| catalog.models[0].accept_licence = true, request()).await;
    assert!(licence.contains("is under MIT") && licence.contains("--accept-licence"), "{licence}");
    for (from, reason) in [
        ("http://models.example.org/m", "by https only"),
        ("ftp://models.example.org/m", "by https only"),
        ("https://user:word@models.example.org/m", "with a password"),
        ("https://10.1.2.3/m", "not public"),
        ("https://[::1]/m", "not public"),
    ] {
        let refused = said(&|_| {}, PullRequest { from: Some(from.into()), ..request() }).await;
        assert!(refused.contains(reason), "{from}: {refused}");
    }
    assert_eq!(server.requests.load(Ordering::Relaxed), 0);
    assert!(!home.is_pulled());

    let mut catalog = home.catalog.clone();
    catalog.models[0].accept_licence = true;
    let agreed = PullRequest { accept_licence: true, ..request() };
    assert_eq!(puller(None).pull(&catalog, &agreed, &|_| {}).await.unwrap().licence, "MIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_into_the_network_is_refused() {
    let bytes = model_bytes(SIZE, 61);
    let home = Home::new(bytes, &["https://localhost/model.gguf"]);
    let mut options = options(None, Arc::new(Rows::default()));
    options.may_reach = Arc::new(|address: IpAddr| !address.is_loopback());
    let error = home.pull_with(&Puller::new(options).unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("not public"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_on_record_before_it_leaves() {
    let bytes = model_bytes(SIZE, 62);
    let server = Server::start(bytes.clone(), Behaviour::Good).await;
    let home = Home::new(bytes, &[&server.url]);
    let refusing = Arc::new(Rows { refuse: true, ..Rows::default() });
    let error = home.pull_with(&Puller::new(options(None, refusing)).unwrap()).await.unwrap_err();
    assert!(matches!(error, PullError::Ledger(_)), "{error}");
    assert_eq!(server.requests.load(Ordering::Relaxed), 0, "without a record nothing leaves");

    let rows = Arc::new(Rows::default());
    home.pull_with(&Puller::new(options(None, rows.clone())).unwrap()).await.unwrap();
    let left = rows.left.lock().unwrap();
    assert_eq!(left.len(), 1);
    assert!(left[0].0.starts_with("m http://127.0.0.1:") && !left[0].0.contains("secret"), "{:?}", left[0]);
    let how = left[0].1.unwrap();
    assert!(how.ok && how.bytes_out > 0 && how.bytes_in == SIZE as u64, "{how:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_fetched_once_at_a_time_and_not_twice() {
    let bytes = model_bytes(SIZE * 8, 63);
    let server = Server::slow(bytes.clone(), Behaviour::Good, Duration::from_millis(5)).await;
    let home = Arc::new(Home::new(bytes, &[&server.url]));
    let first = tokio::spawn({
        let home = Arc::clone(&home);
        async move { home.pull().await }
    });
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while server.requests.load(Ordering::Relaxed) == 0 {
        assert!(std::time::Instant::now() < until, "the first one asks");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let second = home.pull().await.unwrap_err();
    assert!(matches!(second, PullError::Busy(_)), "{second}");
    first.await.unwrap().unwrap();
    let again = home.pull().await.unwrap();
    assert_eq!((again.fetched, again.present), (0, home.bytes.len() as u64));
    assert_eq!(server.requests.load(Ordering::Relaxed), 1);

    // A file in place that is not the pinned one is replaced, whatever a stamp would say.
    let mut other = home.bytes.clone();
    other[7] ^= 1;
    std::fs::write(home.place(), other).unwrap();
    assert_eq!(home.pull().await.unwrap().fetched, home.bytes.len() as u64);
    assert!(home.is_pulled());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_this_machine_is_taken_when_it_is_the_pinned_one() {
    let bytes = model_bytes(SIZE, 64);
    let home = Home::new(bytes.clone(), &[]);
    let file = home.folder.path().join("fetched-by-hand.gguf");
    let from = || PullRequest { from: Some(file.to_string_lossy().into_owned()), ..request() };
    let pull = async || puller(None).pull(&home.catalog, &from(), &|_| {}).await;
    assert!(pull().await.unwrap_err().to_string().contains("No such file"));
    std::fs::write(&file, &bytes[1..]).unwrap();
    assert!(pull().await.unwrap_err().to_string().contains("bytes, "));
    let mut other = bytes.clone();
    other[100] ^= 1;
    std::fs::write(&file, &other).unwrap();
    assert!(pull().await.unwrap_err().to_string().contains("pinned digest"));
    assert!(!home.is_pulled());
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(pull().await.unwrap().fetched, SIZE as u64);
    assert!(home.is_pulled());
    assert!(file.exists(), "the user's file stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_pull_goes_on_later_and_removal_takes_all_of_it() {
    let bytes = model_bytes(SIZE * 16, 65);
    let server = Server::slow(bytes.clone(), Behaviour::Good, Duration::from_millis(3)).await;
    let home = Home::new(bytes, &[&server.url]);
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while std::fs::metadata(home.part()).map_or(0, |meta| meta.len()) == 0 {
        assert!(std::time::Instant::now() < until, "something arrives");
        // Ends in the middle.
        let _ = tokio::time::timeout(Duration::from_millis(120), home.pull()).await;
    }
    let kept = std::fs::metadata(home.part()).unwrap().len();
    assert_eq!(home.pull().await.unwrap().resumed, kept);
    assert!(home.is_pulled());
    assert_eq!(loqa_models::pull::remove(&home.catalog, "m").unwrap(), home.bytes.len() as u64);
    assert!(!home.is_pulled() && !home.place().parent().unwrap().exists());
}
