//! Models that a window fetches and removes, from a real server on loopback.

use super::server::{Behaviour, Server};
use super::{Api, QUIET};
use crate::api::live::connect;
use futures_util::StreamExt as _;
use loqa_api::feed::Live;
use loqa_api::models::{ModelPull, PullState};
use loqa_hub::Hub;
use loqa_hub::models::ledger;
use loqa_models::{PullOptions, Puller};
use loqa_tests::{PATIENCE, repository, start_in};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Digest as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

/// The starter planner's file, which the hub knows under another name and without it.
fn planner() -> Vec<u8> {
    std::fs::read(repository().join("models/starter/llm/reflex-q8_0.gguf")).unwrap()
}

/// A catalog with the starter models and two that have to be fetched: the planner once more,
/// and one that nobody has.
fn catalog_in(folder: &Path) {
    let models = repository().join("models");
    std::os::unix::fs::symlink(models.join("starter"), folder.join("starter")).unwrap();
    let mut text = std::fs::read_to_string(models.join("catalog.toml")).unwrap();
    let bytes = planner();
    for (name, digest) in [("fetched", hex::encode(sha2::Sha256::digest(&bytes))), ("other", "0".repeat(64))] {
        text.push_str(&format!(
            "\n[[model]]\nname = \"{name}\"\ntitle = \"t\"\nkind = \"llm\"\ncapability = \"llm.{name}\"\nformat = \"gguf\"\n\
             quantisation = \"q8_0\"\nlanguages = [\"en\"]\nram_mb = 20\nclass = \"reflex\"\nlicence = \"MIT\"\n\
             source = \"https://example.org\"\nbundled = false\n\
             [[model.file]]\nrole = \"model\"\npath = \"{name}/model.gguf\"\nsize = {}\nsha256 = \"{digest}\"\n\
             url = \"https://models.example.org/{name}\"\n",
            bytes.len()
        ));
    }
    std::fs::write(folder.join("catalog.toml"), text).unwrap();
}

/// Has pulls come from this server: plain HTTP from this machine, on the hub's own record.
fn fetch_from(hub: &Hub, server: &Server) {
    let mut options = PullOptions::new(Arc::new(|address| address.is_loopback()), ledger(hub.audit().clone()));
    options.plain_loopback = true;
    hub.pull_instead(Puller::new(options).unwrap(), server.url.clone());
}

/// Slow enough that a pull is caught under way: some four seconds for the file.
const PAUSE: Duration = Duration::from_millis(15);

fn place(data: &Path) -> PathBuf {
    data.join("models/fetched/model.gguf")
}

/// What an earlier pull left.
fn part(data: &Path) -> Option<u64> {
    let folder = std::fs::read_dir(data.join("models/fetched")).ok()?;
    let part = folder.flatten().find(|entry| entry.file_name().to_string_lossy().ends_with(".part"))?;
    Some(part.metadata().unwrap().len())
}

async fn row(api: &Api, name: &str) -> Value {
    let list = api.get("/v1/models").await;
    list["models"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone()
}

/// Waits until the pull is as wanted.
async fn until(api: &Api, wanted: impl Fn(&ModelPull) -> bool) -> ModelPull {
    let end = Instant::now() + PATIENCE;
    loop {
        let pulls = api.get("/v1/models/pulls").await;
        let pull = pulls["pulls"].as_array().unwrap().iter().find(|pull| pull["name"] == "fetched");
        if let Some(pull) = pull {
            let pull: ModelPull = serde_json::from_value(pull.clone()).unwrap();
            if wanted(&pull) {
                return pull;
            }
        }
        assert!(Instant::now() < end, "{pulls}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_fetched_with_progress_put_to_use_and_removed() {
    let models = tempfile::tempdir().unwrap();
    catalog_in(models.path());
    let folder = models.path().to_string_lossy().into_owned();
    let api = Api::start(&[&QUIET[..], &[("paths.models", &*folder)]].concat()).await;
    let size = planner().len() as u64;
    let server = Server::slow(planner(), Behaviour::Good, PAUSE).await;
    fetch_from(&api.hub, &server);
    let absent = row(&api, "fetched").await;
    assert_eq!((&absent["state"], &absent["can_pull"]), (&json!("absent"), &json!(true)));
    assert_eq!((&absent["bytes"], &absent["missing_bytes"]), (&json!(size), &json!(size)));

    // Nothing is asked for without the licence, nor for what is not to be fetched.
    let pull = "/v1/models/fetched/pull";
    for (path, body, status) in [
        (pull, json!({}), 400),
        (pull, json!({ "licence": "" }), 409),
        (pull, json!({ "licence": "Apache-2.0" }), 409),
        (pull, json!({ "licence": "MIT", "from": "https://example.org" }), 400),
        ("/v1/models/reflex/pull", json!({ "licence": row(&api, "reflex").await["licence"] }), 409),
        ("/v1/models/none/pull", json!({ "licence": "MIT" }), 404),
    ] {
        let (found, answer) = api.post(path, body.clone()).await;
        assert_eq!(found, status, "{path} {body}: {answer}");
    }
    assert_eq!(server.requests.load(Ordering::Relaxed), 0, "nothing left the machine");
    assert_eq!(api.get("/v1/models/pulls").await["pulls"], json!([]));
    let agreed = async || {
        let rows = api.get("/v1/audit?kind=config.change").await["rows"].as_array().unwrap().clone();
        rows.iter().filter(|row| row["record"]["effect"]["operation"] == "models.pull").cloned().collect::<Vec<_>>()
    };
    assert_eq!(agreed().await.len(), 0);

    let mut socket = connect(&api, "/v1/events").await;
    let began = Instant::now();
    let (status, begun) = api.post(pull, json!({ "licence": "MIT" })).await;
    assert_eq!((status.as_u16(), &begun["state"], &begun["total"]), (202, &json!("running"), &json!(size)), "{begun}");
    let (status, joined) = api.post(pull, json!({ "licence": "MIT" })).await;
    assert_eq!((status.as_u16(), &joined["state"]), (202, &json!("running")), "the same one is joined: {joined}");
    let (status, other) = api.post("/v1/models/other/pull", json!({ "licence": "MIT" })).await;
    assert_eq!((status.as_u16(), &other["code"]), (409, &json!("conflict")), "one at a time: {other}");
    let (status, refused) = api.send(Method::DELETE, "/v1/models/fetched", None).await;
    assert_eq!(status, 409, "not while it is being fetched: {refused}");

    let mut told: Vec<ModelPull> = Vec::new();
    while told.last().is_none_or(|pull| pull.state == PullState::Running) {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("a message comes").unwrap().unwrap();
        let Message::Text(text) = message else { continue };
        if let Live::ModelPull { pull } = serde_json::from_str(text.as_str()).unwrap() {
            told.push(pull);
        }
    }
    let done = told.last().unwrap();
    assert_eq!((done.state, done.bytes, done.total), (PullState::Done, size, size), "{done:?}");
    assert!(told.is_sorted_by_key(|pull| pull.bytes), "bytes only grow: {told:?}");
    assert!(told.iter().any(|pull| (1..size).contains(&pull.bytes)), "it is told how far it is: {told:?}");
    let most = 4.0 * began.elapsed().as_secs_f64() + 3.0;
    assert!((told.len() as f64) < most, "{} messages in {:?}", told.len(), began.elapsed());
    let there = row(&api, "fetched").await;
    assert_eq!((&there["state"], &there["can_pull"]), (&json!("installed"), &json!(false)));
    assert_eq!(there["missing_bytes"], 0);
    assert_eq!(std::fs::read(place(api.data.path())).unwrap(), planner());

    // The agreement is a row before what it led to, and so is the request, without its secret.
    let agreement = agreed().await;
    assert_eq!(agreement.len(), 1, "{agreement:?}");
    assert_eq!(agreement[0]["record"]["effect"]["target"], "fetched under MIT");
    let requests = api.get("/v1/audit?kind=call.intent&text=models.pull").await;
    let request = &requests["rows"][0];
    assert!(request["seq"].as_u64() > agreement[0]["seq"].as_u64(), "{request}");
    assert!(!requests.to_string().contains("secret"), "{requests}");

    let forecast = api.get("/v1/models/fetched/forecast").await;
    assert_eq!((&forecast["unit"], &forecast["download_bytes"]), (&json!("tokens_per_second"), &json!(0)));
    assert!(forecast["speed"].as_f64().unwrap() > 0.0 && forecast["fit"].is_string(), "{forecast}");
    let again = api.get("/v1/models/other/forecast").await;
    assert_eq!(again["machine"]["bytes_per_second"], forecast["machine"]["bytes_per_second"], "measured once");

    // What this engine needs beside its weights.
    let beside = place(api.data.path()).with_file_name("reflex.toml");
    std::fs::copy(repository().join("models/starter/llm/reflex.toml"), &beside).unwrap();
    let (status, used) = api.post("/v1/models/fetched/use", json!({ "tier": 1 })).await;
    assert_eq!(status, 200, "{used}");
    let remove = async || api.send(Method::DELETE, "/v1/models/fetched", None).await;
    let (status, refused) = remove().await;
    assert_eq!((status.as_u16(), &refused["code"]), (409, &json!("conflict")), "it is in use: {refused}");
    let (status, used) = api.post("/v1/models/reflex/use", json!({ "tier": 1 })).await;
    assert_eq!(status, 200, "{used}");
    let (status, removed) = remove().await;
    assert_eq!((status.as_u16(), &removed["removed_bytes"]), (200, &json!(size)), "{removed}");
    assert!(!place(api.data.path()).exists());
    assert_eq!(remove().await.1["removed_bytes"], 0, "nothing is left");
    assert_eq!(api.send(Method::DELETE, "/v1/models/reflex", None).await.0, 409, "that one comes with Loqa");
    assert_eq!(api.send(Method::DELETE, "/v1/models/none", None).await.0, 404);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_is_cancelled_goes_on_later_and_never_ends_in_other_bytes() {
    let models = tempfile::tempdir().unwrap();
    catalog_in(models.path());
    let folder = models.path().to_string_lossy().into_owned();
    let api = Api::start(&[&QUIET[..], &[("paths.models", &*folder)]].concat()).await;
    let size = planner().len() as u64;
    let agreed = json!({ "licence": "MIT" });
    let pull = "/v1/models/fetched/pull";
    assert_eq!(api.send(Method::DELETE, pull, None).await.0, 404, "nothing was begun");

    // Whoever began it is gone: nobody holds a connection.
    let slow = Server::slow(planner(), Behaviour::Good, PAUSE).await;
    fetch_from(&api.hub, &slow);
    let gone = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = gone.post(api.url(pull)).bearer_auth(&api.token).header("content-type", "application/json");
    assert_eq!(request.body(agreed.to_string()).send().await.unwrap().status(), 202);
    drop(gone);
    until(&api, |pull| pull.bytes > size / 4).await;
    let (status, cancelled) = api.send(Method::DELETE, pull, None).await;
    assert_eq!((status.as_u16(), &cancelled["state"]), (200, &json!("cancelled")), "{cancelled}");
    assert_eq!(api.send(Method::DELETE, pull, None).await.1["state"], "cancelled", "once more changes nothing");
    let kept = part(api.data.path()).expect("what arrived is kept");
    assert!(kept > 0 && kept < size && !place(api.data.path()).exists());
    drop(slow);

    // A source that gives other bytes: told, and nothing in place.
    let wrong = Server::start(planner(), Behaviour::FlipsABit).await;
    fetch_from(&api.hub, &wrong);
    // Its beginning is thrown away with what it gave.
    let earlier = std::fs::read_dir(place(api.data.path()).parent().unwrap()).unwrap().flatten();
    let saved: Vec<(PathBuf, Vec<u8>)> =
        earlier.map(|entry| (entry.path(), std::fs::read(entry.path()).unwrap())).collect();
    assert_eq!(api.post(pull, agreed.clone()).await.0, 202);
    let failed = until(&api, |pull| pull.state != PullState::Running).await;
    assert_eq!(failed.state, PullState::Failed, "{failed:?}");
    let problem = failed.problem.unwrap();
    assert!(problem.detail.contains("pinned digest"), "{problem:?}");
    assert!(!place(api.data.path()).exists());
    for (path, bytes) in saved {
        std::fs::write(path, bytes).unwrap();
    }

    let good = Server::start(planner(), Behaviour::Good).await;
    fetch_from(&api.hub, &good);
    assert_eq!(api.post(pull, agreed).await.0, 202);
    let done = until(&api, |pull| pull.state != PullState::Running).await;
    assert_eq!((done.state, done.bytes, done.problem), (PullState::Done, size, None));
    assert_eq!(std::fs::read(place(api.data.path())).unwrap(), planner());
    let sent = good.sent.load(Ordering::Relaxed);
    assert_eq!(sent, size - kept, "only the rest was fetched");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_stops_ends_its_pull_and_the_next_one_goes_on() {
    let (data, models) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    catalog_in(models.path());
    let folder = models.path().to_string_lossy().into_owned();
    let settings = [&QUIET[..], &[("paths.models", &*folder)]].concat();
    let hub = start_in(data.path(), &settings).await.unwrap();
    let slow = Server::slow(planner(), Behaviour::Good, PAUSE).await;
    fetch_from(&hub, &slow);
    hub.pull_model("fetched", "MIT").await.unwrap();
    let end = Instant::now() + PATIENCE;
    while hub.pulls()[0].bytes < 600_000 {
        assert!(Instant::now() < end, "{:?}", hub.pulls());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut told = hub.follow_pulls();
    hub.stop().await;
    let mut last = None;
    while let Ok(pull) = told.recv().await {
        last = Some(pull);
    }
    assert_eq!(last.map(|pull| pull.state), Some(loqa_hub::pulls::PullState::Cancelled), "and says so");
    let kept = part(data.path()).expect("what arrived is kept");
    // The record of the request has its end.
    let reader = loqa_audit::Reader::open(data.path()).unwrap();
    assert!(loqa_audit::verify(&reader, None, &[]).unwrap().bad.is_none());

    let hub = start_in(data.path(), &settings).await.unwrap();
    assert_eq!(hub.pulls(), []);
    let good = Server::start(planner(), Behaviour::Good).await;
    fetch_from(&hub, &good);
    hub.pull_model("fetched", "MIT").await.unwrap();
    let end = Instant::now() + PATIENCE;
    while hub.pulls()[0].state == loqa_hub::pulls::PullState::Running {
        assert!(Instant::now() < end, "{:?}", hub.pulls());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(std::fs::read(place(data.path())).unwrap(), planner());
    assert_eq!(good.sent.load(Ordering::Relaxed), planner().len() as u64 - kept);
    hub.stop().await;
}
