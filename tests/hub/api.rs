//! The HTTP API of a real hub: every operation, what it refuses, what it never does.

mod fetching;
mod fuzz;
mod hostile;
mod live;
mod operations;
mod program;
mod remembered;
#[path = "../../crates/loqa-models/tests/pull/server.rs"]
#[expect(dead_code, reason = "another test uses the rest")]
mod server;

use loqa_api::guard::Checks;
use loqa_api::{ApiOptions, ApiServer};
use loqa_hub::Hub;
use loqa_hub::config::Config;
use loqa_hub::paths::Paths;
use loqa_models::{PullOptions, Puller};
use loqa_tests::{PATIENCE, repository};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

/// Without engines a hub starts in a moment, and most of the API needs none.
pub const QUIET: [(&str, &str); 3] = [("stt.enabled", "false"), ("tts.enabled", "false"), ("llm.models", "")];

/// A hub with its API.
pub struct Api {
    pub hub: Arc<Hub>,
    pub server: ApiServer,
    pub token: String,
    pub client: reqwest::Client,
    pub data: tempfile::TempDir,
}

impl Api {
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_with(settings, Checks::default()).await
    }

    pub async fn start_with(settings: &[(&str, &str)], checks: Checks) -> Self {
        loqa_tests::cryptography();
        let data = tempfile::tempdir().unwrap();
        let flags = [
            ("paths.data", data.path().to_path_buf()),
            ("paths.models", repository().join("models")),
            ("paths.skills", repository().join("skills/timer/dist")),
        ];
        let mut flags: Vec<(String, String)> =
            flags.map(|(key, path)| (key.to_owned(), path.to_string_lossy().into_owned())).to_vec();
        flags.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let file = data.path().join("loqa.toml");
        let config = Config::load(Some((&file, false)), [], &flags).unwrap();
        let paths = Paths::resolve(&config).unwrap();
        let hub = Arc::new(Hub::start(&config, &paths, None).await.unwrap());
        let missing = hub.wait_ready(PATIENCE).await;
        assert!(missing.is_empty(), "all engines come up: {missing:?}");
        let options = ApiOptions { ui: true, checks, ..ApiOptions::default() };
        let server = ApiServer::start(Arc::clone(&hub), options).await.unwrap();
        let token = std::fs::read_to_string(server.token_path()).unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { hub, server, token, client, data }
    }

    pub fn config_file(&self) -> PathBuf {
        self.data.path().join("loqa.toml")
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url())
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.client.request(method, self.url(path)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        read(request.send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Has every pull end at once, without asking anybody.
    pub fn without_downloads(&self) {
        let ledger = loqa_hub::models::ledger(self.hub.audit().clone());
        let puller = Puller::new(PullOptions::new(Arc::new(|_| false), ledger)).unwrap();
        self.hub.pull_instead(puller, "/nonexistent");
    }

    /// One typed turn.
    pub async fn ask(&self, text: &str) -> Value {
        let (status, report) = self.post("/v1/turns", serde_json::json!({ "text": text })).await;
        assert_eq!(status, 200, "{report}");
        report
    }

    pub async fn stop(self) {
        let mut pids: Vec<u32> = self.hub.engine_pids().into_iter().map(|(_, pid)| pid).collect();
        pids.extend(self.hub.bus_pid());
        let token = self.server.token_path().to_owned();
        self.server.stop().await;
        assert!(!token.exists(), "the token goes with its server");
        Hub::stop_shared(self.hub).await;
        loqa_tests::wait_gone(&pids);
    }
}

/// Status and JSON of an answer; a problem is held to its form.
pub async fn read(response: reqwest::Response) -> (StatusCode, Value) {
    let status = response.status();
    let media_type = response.headers().get("content-type").map(|it| it.to_str().unwrap().to_owned());
    for (name, value) in [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY")] {
        assert_eq!(response.headers()[name], value, "with every answer");
    }
    assert!(response.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    if status.is_client_error() || status.is_server_error() {
        assert_eq!(media_type.as_deref(), Some("application/problem+json"), "{status}: {text}");
        assert_eq!(body["status"], status.as_u16(), "{text}");
        assert!(body["code"].is_string() && body["detail"].is_string(), "{text}");
    }
    (status, body)
}
