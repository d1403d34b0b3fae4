//! The bundled skills that reach outside, as built, in the real host with the hub's own
//! effects: real modules, real HTTP on loopback.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use loqa_audit::{Entry, Journal, JournalError, Outcome};
use loqa_hub::effects::HubEffects;
use loqa_protocol::{Failure, PrivacyScope, SessionId, ToolCall, ToolOutcome, TurnId};
use loqa_skills::{Invocation, Permission, Said, Scope, SkillHost, SkillHostOptions, SystemClock, Taint};
use loqa_turn::intent::IntentIndex;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

fn dist(skill: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../skills").join(skill).join("dist");
    assert!(folder.join("skill.yaml").is_file(), "{} is missing: run `npm run setup`", folder.display());
    folder
}

struct Bench {
    host: Arc<SkillHost>,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let (announcements, _) = mpsc::channel(4);
        let options = SkillHostOptions { data_dir: folder.path().join("data"), clock: Arc::new(SystemClock) };
        let host = SkillHost::open(
            options,
            Arc::new(HubEffects::new(
                announcements,
                loqa_store::Store::open(loqa_store::StoreOptions::memory()).unwrap(),
            )),
        )
        .unwrap();
        Self { host: Arc::new(host), folder }
    }

    /// The weather skill with this address in its manifest.
    fn weather(&self, url: &str, lan: bool) {
        let folder = self.folder.path().join("weather");
        std::fs::create_dir_all(&folder).unwrap();
        let manifest = std::fs::read_to_string(dist("weather").join("skill.yaml")).unwrap();
        let changed = manifest
            .replace(r#"urls: ["https://api.open-meteo.com/v1/forecast"]"#, &format!(r#"urls: ["{url}"], lan: {lan}"#));
        assert_ne!(manifest, changed, "the manifest names the service");
        std::fs::write(folder.join("skill.yaml"), changed).unwrap();
        std::fs::copy(dist("weather").join("weather.wasm"), folder.join("weather.wasm")).unwrap();
        self.host.load(&folder).unwrap();
    }

    async fn call(&self, tool: &str, arguments: Value, budget: Duration) -> (Result<ToolOutcome, Failure>, Taint) {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        let invocation = Invocation {
            session: SessionId::from_bits(1),
            turn: TurnId::from_bits(1),
            scope: PrivacyScope::Persistent,
            call: ToolCall { name: tool.to_owned(), arguments },
            taint: Taint::user(),
            said: Said::default(),
            budget,
            cancel: Arc::default(),
        };
        let host = Arc::clone(&self.host);
        tokio::task::spawn_blocking(move || host.call_tainted(&invocation)).await.unwrap()
    }

    async fn say(&self, tool: &str, arguments: Value) -> String {
        self.call(tool, arguments, Duration::from_secs(20)).await.0.unwrap().say
    }
}

/// A server that gives one answer to everybody, or none; it counts and keeps what it hears.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    heard: Arc<Mutex<String>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(answer: Option<String>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, heard) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(String::new())));
        let (count, said) = (Arc::clone(&connections), Arc::clone(&heard));
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                said.lock().unwrap().push_str(&String::from_utf8_lossy(&request[..length]));
                match &answer {
                    Some(answer) => drop(stream.write_all(answer.as_bytes()).await),
                    None => open.push(stream),
                }
            }
        });
        Self { port, connections, heard, task }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1/forecast", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn forecast() -> String {
    let body = json!({
        "current": { "temperature_2m": 3.6, "weather_code": 61 },
        "daily": {
            "weather_code": [63, 3], "temperature_2m_max": [5.2, 7.5], "temperature_2m_min": [-1.4, -0.2],
            "precipitation_probability_max": [85, 5],
        },
    })
    .to_string();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_weather_comes_from_the_one_address_that_the_manifest_names() {
    let (bench, server) = (Bench::new(), Server::start(Some(forecast())).await);
    bench.weather(&server.url(), true);
    let (outcome, taint) = bench.call("weather.today", json!({ "city": "Oslo" }), Duration::from_secs(20)).await;
    assert_eq!(
        outcome.unwrap().say,
        "In Oslo it is 4 degrees, with light rain. Today's high is 5, the low -1. The chance of rain is 85 percent."
    );
    assert!(taint.is_foreign(), "what a server said is foreign");
    let heard = server.heard.lock().unwrap().clone();
    assert!(heard.starts_with("GET /v1/forecast?latitude=59.91&longitude=10.75&"), "{heard}");
    assert!(!heard.to_lowercase().contains("oslo"), "{heard}");
    assert_eq!(
        bench.say("weather.home", json!({ "city": "paris" })).await,
        "From now on the weather is that of Paris."
    );
    assert!(bench.say("weather.tomorrow", json!({})).await.starts_with("Tomorrow in Paris: clouds"));
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_permission_without_network_and_without_lan_nothing_is_called_and_it_says_so() {
    let (bench, server) = (Bench::new(), Server::start(Some(forecast())).await);
    let oslo = || json!({ "city": "Oslo" });
    bench.weather(&server.url(), true);
    bench.host.revoke("weather", Permission::HttpCall);
    assert!(bench.say("weather.today", oslo()).await.starts_with("I may not ask the weather service."));
    bench.host.grant("weather", Permission::HttpCall, Scope::default());
    bench.weather(&server.url(), false);
    assert!(bench.say("weather.today", oslo()).await.starts_with("I may not ask the weather service."));
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
    // A port where nobody listens.
    let gone = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port();
    bench.weather(&format!("http://127.0.0.1:{gone}/v1/forecast"), true);
    assert_eq!(bench.say("weather.today", oslo()).await, "I can't reach the weather service. Is the network there?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_given_up_within_the_calls_time() {
    let (bench, server) = (Bench::new(), Server::start(None).await);
    bench.weather(&server.url(), true);
    let began = Instant::now();
    let (outcome, _) = bench.call("weather.today", json!({ "city": "Oslo" }), Duration::from_millis(1_500)).await;
    let took = began.elapsed();
    assert_eq!(outcome.unwrap().say, "I can't reach the weather service. Is the network there?");
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "it was asked");
    assert!(took < Duration::from_secs(15), "{took:?}");
    eprintln!("a hanging server: told after {took:?} of 1.5 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_with_loqa_does_not_leave_the_machine_unasked() {
    let bench = Bench::new();
    bench.host.load_bundled(&dist("weather")).unwrap();
    let said = bench.say("weather.today", json!({ "city": "Oslo" })).await;
    assert_eq!(said, "I may not ask the weather service. Grant the weather skill its permission first.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shopping_list_is_kept_over_a_restart() {
    let Bench { host, folder } = Bench::new();
    host.load_bundled(&dist("shopping-list")).unwrap();
    let bench = Bench { host, folder };
    assert_eq!(bench.say("shopping-list.add", json!({ "items": "milk and eggs" })).await, "Added milk and eggs.");
    let Bench { host, folder } = bench;
    drop(host);
    let (announcements, _) = mpsc::channel(4);
    let options = SkillHostOptions { data_dir: folder.path().join("data"), clock: Arc::new(SystemClock) };
    let host = SkillHost::open(
        options,
        Arc::new(HubEffects::new(announcements, loqa_store::Store::open(loqa_store::StoreOptions::memory()).unwrap())),
    )
    .unwrap();
    host.load_bundled(&dist("shopping-list")).unwrap();
    let bench = Bench { host: Arc::new(host), folder };
    assert_eq!(bench.say("shopping-list.list", json!({})).await, "There are 2 things on the list: milk and eggs.");
}

/// What people say, and the call that it means.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_say_reaches_the_right_tool() {
    let bench = Bench::new();
    for skill in ["timer", "shopping-list", "weather"] {
        bench.host.load_bundled(&dist(skill)).unwrap();
    }
    let index = IntentIndex::compile(&bench.host.intents()).unwrap();
    let mut wrong = Vec::new();
    for (said, expected) in [
        ("add milk to the shopping list", r#"shopping-list.add {"items":"milk"}"#),
        ("please put eggs and bread on my list", r#"shopping-list.add {"items":"eggs and bread"}"#),
        ("we are out of coffee", r#"shopping-list.add {"items":"coffee"}"#),
        ("remind me to buy stamps", r#"shopping-list.add {"items":"stamps"}"#),
        ("take milk off the shopping list", r#"shopping-list.remove {"items":"milk"}"#),
        ("remove the eggs from my list", r#"shopping-list.remove {"items":"the eggs"}"#),
        ("what's on the shopping list", "shopping-list.list {}"),
        ("what do we need to buy", "shopping-list.list {}"),
        ("clear the shopping list", "shopping-list.clear {}"),
        ("remove everything from the shopping list", "shopping-list.clear {}"),
        ("what's the weather", "weather.today {}"),
        ("how is the weather in New York", r#"weather.today {"city":"new york"}"#),
        ("will it rain today", "weather.today {}"),
        ("how cold is it outside", "weather.today {}"),
        ("what's the weather like tomorrow", "weather.tomorrow {}"),
        ("what will the weather be tomorrow in Berlin", r#"weather.tomorrow {"city":"berlin"}"#),
        ("do I need an umbrella tomorrow", "weather.tomorrow {}"),
        ("set my weather city to Paris", r#"weather.home {"city":"paris"}"#),
        ("set a timer for five minutes", r#"timer.start {"duration_s":300}"#),
        ("cancel the timer", "timer.cancel {}"),
    ] {
        let found = index.find(said).map_or_else(
            || "-".to_owned(),
            |found| format!("{} {}", found.call.name, Value::Object(found.call.arguments.clone())),
        );
        if !found.eq_ignore_ascii_case(expected) {
            wrong.push(format!("{said}\n  wanted {expected}\n  found  {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Keeps every row, with what would be written of its contents.
#[derive(Default)]
struct Rows(Mutex<Vec<Option<Value>>>);

impl Journal for Rows {
    fn append(&self, entry: Entry) -> Result<u64, JournalError> {
        self.append_later(entry);
        Ok(1)
    }

    fn append_later(&self, entry: Entry) {
        self.0.lock().unwrap().push(entry.payload);
    }

    fn finish(&self, _: u64, outcome: Outcome) {
        self.0.lock().unwrap().push(outcome.payload);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_skill_keeps_in_an_ephemeral_turn_lives_in_memory_and_apart() {
    let folder = tempfile::tempdir().unwrap();
    let rows = Arc::new(Rows::default());
    let open = || {
        let (announcements, _) = mpsc::channel(4);
        let options = SkillHostOptions { data_dir: folder.path().join("data"), clock: Arc::new(SystemClock) };
        let store = loqa_store::Store::open(loqa_store::StoreOptions::memory()).unwrap();
        let effects = Arc::new(HubEffects::new(announcements, store));
        let host = SkillHost::open_with_audit(options, effects, Arc::clone(&rows) as Arc<dyn Journal>).unwrap();
        host.load(&dist("shopping-list")).unwrap();
        host.load(&dist("timer")).unwrap();
        Arc::new(host)
    };
    let call = |host: &Arc<SkillHost>, scope: PrivacyScope, tool: &str, arguments: Value| {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        let call = ToolCall { name: tool.to_owned(), arguments };
        let (session, turn) = (SessionId::from_bits(1), TurnId::from_bits(1));
        let (said, budget) = (Said::default(), Duration::from_secs(20));
        let invocation =
            Invocation { session, turn, scope, call, taint: Taint::user(), said, budget, cancel: Arc::default() };
        let host = Arc::clone(host);
        async move { tokio::task::spawn_blocking(move || host.call(&invocation)).await.unwrap().unwrap().say }
    };
    use PrivacyScope::{Ephemeral, Persistent};
    let empty = json!({});
    let host = open();
    call(&host, Persistent, "shopping-list.add", json!({ "items": "milk" })).await;
    assert!(rows.0.lock().unwrap().iter().any(Option::is_some), "contents of a kept turn are handed over");
    let list = |host: &Arc<SkillHost>, scope| call(host, scope, "shopping-list.list", empty.clone());
    assert!(!list(&host, Ephemeral).await.contains("milk"), "a guest does not hear the owner's list");
    call(&host, Ephemeral, "shopping-list.add", json!({ "items": "xanthophyll" })).await;
    call(&host, Ephemeral, "timer.start", json!({ "duration_s": 1, "label": "xanthophyll" })).await;
    assert!(list(&host, Ephemeral).await.contains("xanthophyll"), "while the hub runs it is there");
    let written = || rows.0.lock().unwrap().iter().flatten().any(|it| it.to_string().contains("xanthophyll"));
    assert!(!written(), "and nothing of it goes to the audit");
    assert!(list(&host, Persistent).await.contains("milk"));
    assert!(!list(&host, Persistent).await.contains("xanthophyll"));
    // The timer of that turn runs out in its scope.
    let end = Instant::now() + Duration::from_secs(60);
    let due = loop {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let due = host.due_timers(i64::try_from(now).unwrap());
        if !due.is_empty() {
            break due;
        }
        assert!(Instant::now() < end, "the timer runs out");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let delivering = Arc::clone(&host);
    let said = tokio::task::spawn_blocking(move || delivering.deliver(&due[0].skill, &due[0].event())).await.unwrap();
    assert!(said.unwrap().unwrap().say.contains("xanthophyll"));
    assert_eq!(host.next_timer(), None, "it is done");
    // Waits for the rows that are on their way.
    drop(host);
    assert!(!written(), "its event is not written either");
    let host = open();
    assert!(!list(&host, Ephemeral).await.contains("xanthophyll"), "gone with the hub");
    for entry in std::fs::read_dir(folder.path().join("data")).unwrap().flatten() {
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        assert!(!bytes.windows(11).any(|it| it == b"xanthophyll"), "{:?}", entry.path());
    }
}
