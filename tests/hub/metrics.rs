//! `/metrics`: a real Prometheus scrapes a real hub with the rules that Loqa ships.

use loqa_api::{ApiOptions, ApiServer};
use loqa_hub::Hub;
use loqa_hub::session::driver::TurnInput;
use loqa_hub::sink::AudioSink;
use loqa_tests::{PATIENCE, repository, start_in};
use serde_json::Value;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A word that nobody else says.
const CANARY: &str = "glockenspiel";

/// The folder of prometheus and promtool.
fn prometheus() -> PathBuf {
    let folder = std::env::var_os("LOQA_TEST_PROMETHEUS").filter(|path| !path.is_empty()).map(PathBuf::from);
    let tools = std::env::var_os("LOQA_TOOLS").map_or_else(|| repository().join(".tools"), PathBuf::from);
    let folder = folder.unwrap_or_else(|| tools.join("prometheus"));
    let path = folder.join("prometheus");
    assert!(path.is_file(), "`{}` is missing: `npm test` fetches it", path.display());
    folder
}

fn rules() -> PathBuf {
    repository().join("deploy/observability/prometheus")
}

#[test]
fn the_rules_are_right_and_the_alarm_rings_for_slow_answers() {
    let rules = rules();
    let run = |arguments: &[&str], folder: &Path| {
        let output = Command::new(prometheus().join("promtool")).args(arguments).current_dir(folder).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let (ok, said) = run(&["check", "rules", "recording.yml", "alerts.yml"], &rules);
    assert!(ok, "{said}");
    let (ok, said) = run(&["check", "config", "--syntax-only", "prometheus.yml"], &rules);
    assert!(ok, "{said}");
    let (ok, said) = run(&["test", "rules", "latency.test.yml"], &rules.join("tests"));
    assert!(ok, "{said}");

    // The control: with an alarm at 400 ms the same tests fail.
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tests")).unwrap();
    for name in ["recording.yml", "alerts.yml", "tests/latency.test.yml"] {
        let text = std::fs::read_to_string(rules.join(name)).unwrap();
        std::fs::write(folder.path().join(name), text.replace("\"} > 200", "\"} > 400")).unwrap();
    }
    let (ok, said) = run(&["test", "rules", "latency.test.yml"], &folder.path().join("tests"));
    assert!(!ok && said.contains("LoqaSlow"), "a wrong limit is not noticed: {said}");
}

#[test]
fn the_board_asks_for_figures_that_exist() {
    let path = repository().join("deploy/observability/grafana/dashboards/latency.json");
    let board: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let recorded = std::fs::read_to_string(rules().join("recording.yml")).unwrap();
    let described = std::fs::read_to_string(repository().join("docs/telemetry.md")).unwrap();
    let mut n_queries = 0;
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let Some(query) =
                target["expr"].as_str().filter(|query| query.contains("loqa_") || query.contains("loqa:"))
            else {
                continue;
            };
            n_queries += 1;
            let names = query.split(|c: char| !(c.is_alphanumeric() || "_:".contains(c)));
            for name in names.filter(|name| name.starts_with("loqa_") || name.starts_with("loqa:")) {
                let exists =
                    recorded.contains(&format!("record: {name}\n")) || described.contains(&format!("`{name}`"));
                assert!(exists, "`{name}` in `{query}` is neither recorded nor described");
            }
        }
    }
    assert!(n_queries > 10, "{n_queries} queries");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_scrapes_the_hub_with_its_token() {
    let data = tempfile::tempdir().unwrap();
    let hub = Arc::new(start_in(data.path(), &[("stt.enabled", "false")]).await.unwrap());
    assert!(hub.wait_ready(PATIENCE).await.is_empty());
    let server = ApiServer::start(Arc::clone(&hub), ApiOptions::default()).await.unwrap();
    let token = std::fs::read_to_string(server.token_path()).unwrap();

    let (status, _) = get(server.address(), "/metrics", None).await;
    assert_eq!(status, 401, "figures need the token");
    ask(&hub, &format!("set a {CANARY} timer for nine minutes")).await;
    ask(&hub, &format!("{CANARY} {CANARY} what is that")).await;
    let (status, text) = get(server.address(), "/metrics", Some(&token)).await;
    assert_eq!(status, 200);
    for wanted in [
        "loqa_voice_latency_ms_bucket{class=\"intent\"",
        "loqa_turns_total{class=\"intent\",end=\"completed\"}",
        "loqa_skill_calls_total{decision=\"allowed\",skill=\"timer\"}",
        "loqa_engines{kind=\"tts\"} 1",
        "loqa_engines{kind=\"stt\"} 0",
        "loqa_store_bytes ",
    ] {
        assert!(text.contains(wanted), "`{wanted}` is missing:\n{text}");
    }
    assert!(!text.contains(CANARY), "figures hold what was said");

    let watched = Prometheus::start(data.path(), server.address(), server.token_path());
    let end = Instant::now() + PATIENCE * 3;
    // A rate needs two scrapes between which something happened.
    let value = loop {
        assert!(Instant::now() < end, "the recording rule gives a value: {}", watched.log());
        ask(&hub, "cancel all timers").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let query = "loqa:voice_latency_ms:p95_5m{hop=\"total\",class=~\"intent|cached\"}";
        if let Some(value) = watched.query(query).await {
            break value;
        }
    };
    assert!(value > 0.0 && value < 10_000.0, "{value} ms");
    for query in
        ["up{job=\"loqa\"} == 1", "loqa_voice_latency_ms_count{hop=\"total\"}", "loqa:turns:rate_5m{end=\"completed\"}"]
    {
        let end = Instant::now() + PATIENCE;
        while watched.query(query).await.is_none() {
            assert!(Instant::now() < end, "`{query}` has a value: {}", watched.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    drop(watched);
    server.stop().await;
    Hub::stop_shared(hub).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_that_are_turned_off_are_not_there() {
    let settings =
        [("stt.enabled", "false"), ("tts.enabled", "false"), ("llm.models", ""), ("metrics.enabled", "false")];
    let data = tempfile::tempdir().unwrap();
    let hub = Arc::new(start_in(data.path(), &settings).await.unwrap());
    let server = ApiServer::start(Arc::clone(&hub), ApiOptions::default()).await.unwrap();
    let token = std::fs::read_to_string(server.token_path()).unwrap();
    assert_eq!(get(server.address(), "/metrics", Some(&token)).await.0, 404);
    server.stop().await;
    Hub::stop_shared(hub).await;
}

async fn ask(hub: &Hub, text: &str) {
    let (sink, _recording) = AudioSink::memory();
    let turn = hub.begin(None, TurnInput::Text(text.to_owned()), sink).await;
    tokio::time::timeout(PATIENCE, turn.report()).await.expect("every turn ends").unwrap();
}

/// Status and body.
async fn get(address: SocketAddr, path: &str, token: Option<&str>) -> (u16, String) {
    try_get(address, path, token).await.unwrap()
}

async fn try_get(address: SocketAddr, path: &str, token: Option<&str>) -> std::io::Result<(u16, String)> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{authorization}\r\n");
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await??;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, body.to_owned()))
}

/// A running Prometheus with Loqa's rules; ends with the value.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Prometheus {
    fn start(folder: &Path, hub: SocketAddr, token: &Path) -> Self {
        let folder = folder.join("prometheus");
        std::fs::create_dir(&folder).unwrap();
        // As shipped, but for the pace, the address and the token's file.
        let rewrite = |name: &str, from: &[(&str, &str)]| {
            let mut text = std::fs::read_to_string(rules().join(name)).unwrap();
            for (from, to) in from {
                assert!(text.contains(from), "`{name}` has `{from}`");
                text = text.replace(from, to);
            }
            std::fs::write(folder.join(name), text).unwrap();
        };
        let (hub, token) = (hub.to_string(), token.to_string_lossy());
        rewrite("recording.yml", &[("interval: 15s", "interval: 1s")]);
        rewrite("alerts.yml", &[]);
        rewrite(
            "prometheus.yml",
            &[("_interval: 15s", "_interval: 1s"), ("127.0.0.1:9464", &*hub), ("/run/loqa/api.token", &*token)],
        );
        // Free a moment ago, and used at once.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = folder.join("log");
        let child = Command::new(prometheus().join("prometheus"))
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, address, log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The first value of a query, if there is one; none while it starts.
    async fn query(&self, query: &str) -> Option<f64> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let (status, body) = try_get(self.address, &format!("/api/v1/query?query={encoded}"), None).await.ok()?;
        assert!(status == 200 || status == 503, "{query}: {status} {body}");
        let answer: Value = serde_json::from_str(&body).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok().filter(|value: &f64| value.is_finite())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
