//! Many turns in a row on the real bus, the real store and the real timer skill, with
//! scripted engines: nothing grows.
//!
//! `LOQA_TEST_N` gives the number of turns (200; 2,000 for the figure in the closing
//! note). The drift of the turns' time is asserted from 2,000 turns on: fewer say more
//! about what else the machine does.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use loqa_hub::Hub;
use loqa_hub::sink::AudioSink;
use loqa_tests::{PATIENCE, program, silence, start_in, voice};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Turns before the first count: caches and pools fill.
const WARM_UP: usize = 60;
/// Growth of the memory that a run of tests on a busy machine may show, in bytes. The
/// full run shows less, see the closing note; a leak of a turn's audio alone is larger.
const MEMORY_SLACK: u64 = 24 << 20;
/// Tasks and subscriptions that may be more by chance: a timer that runs, a request under way.
const SLACK: u64 = 8;
/// Threads and descriptors that may be: the runtime's threads for blocking calls come and
/// go with the load, and each may hold a file open. A leak in every turn is many times that.
const POOL_SLACK: u64 = 32;

#[derive(Debug, Clone, Copy)]
struct Counts {
    tasks: u64,
    threads: u64,
    descriptors: u64,
    subscriptions: u64,
    memory: u64,
}

impl Counts {
    /// What has grown beyond what chance gives.
    fn grown_since(self, before: Self) -> Vec<String> {
        let rows = [
            ("tasks", before.tasks, self.tasks, SLACK),
            ("threads", before.threads, self.threads, POOL_SLACK),
            ("file descriptors", before.descriptors, self.descriptors, POOL_SLACK),
            ("subscriptions", before.subscriptions, self.subscriptions, SLACK),
            ("bytes of memory", before.memory, self.memory, MEMORY_SLACK),
        ];
        let grown = rows.iter().filter(|(_, before, after, slack)| *after > before + slack);
        grown.map(|(what, before, after, _)| format!("{what}: {before} → {after}")).collect()
    }
}

/// A hub with scripted engines, and a server that tells its subscriptions.
struct Stage {
    hub: Hub,
    monitor: u16,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Free a moment ago, and used at once.
        let monitor = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let programs = folder.path().join("programs");
        std::fs::create_dir(&programs).unwrap();
        // An intent, one that a model answers, and the end of the timers.
        let transcripts = ["set a timer for five minutes", "tell me something nice", "cancel all timers"];
        for (kind, script) in [
            ("stt", serde_json::json!({ "transcripts": transcripts, "partials": ["set a"] })),
            ("llm", serde_json::json!({ "replies": [{ "deltas": ["Bees ", "dance. ", "They do."] }] })),
            ("tts", serde_json::json!({ "ms_per_char": 5 })),
        ] {
            let engine = program("loqa-scripted");
            let text = format!("LOQA_TEST_SCRIPT='{script}' exec '{}' \"$@\"\n", engine.display());
            script_file(&programs.join(format!("loqa-{kind}")), &text);
        }
        let tools =
            std::env::var_os("LOQA_TOOLS").map_or_else(|| loqa_tests::repository().join(".tools"), PathBuf::from);
        let server = folder.path().join("nats-server");
        let real = tools.join("nats/nats-server");
        script_file(&server, &format!("exec '{}' \"$@\" -m {monitor}\n", real.display()));
        let settings =
            [("paths.programs", &*programs.to_string_lossy()), ("bus.nats_server", &*server.to_string_lossy())];
        let hub = start_in(&folder.path().join("data"), &settings).await.unwrap();
        let missing = hub.wait_ready(PATIENCE).await;
        assert!(missing.is_empty(), "all engines come up: {missing:?}");
        Self { hub, monitor, _folder: folder }
    }

    /// One spoken turn; how long it took.
    async fn turn(&self) -> Duration {
        let (sink, _recording) = AudioSink::memory();
        let began = Instant::now();
        let turn = self.hub.begin(None, voice(&silence(0.2), Duration::ZERO), sink).await;
        let report = tokio::time::timeout(PATIENCE, turn.report()).await.expect("every turn ends").unwrap();
        assert_eq!(report.failure, None, "{report:?}");
        began.elapsed()
    }

    /// Counts once what the last turns started has ended.
    async fn counts(&self) -> Counts {
        self.hub.recorder().flush().await;
        let mut least = self.count();
        // What is under way ends; what leaks does not.
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let next = self.count();
            least.tasks = least.tasks.min(next.tasks);
            least.threads = least.threads.min(next.threads);
            least.descriptors = least.descriptors.min(next.descriptors);
            least.subscriptions = least.subscriptions.min(next.subscriptions);
            least.memory = least.memory.min(next.memory);
        }
        least
    }

    fn count(&self) -> Counts {
        let entries = |path: &str| std::fs::read_dir(path).unwrap().count() as u64;
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: u64 = resident.trim().trim_end_matches(" kB").trim().parse().unwrap();
        Counts {
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64,
            threads: entries("/proc/self/task"),
            descriptors: entries("/proc/self/fd"),
            subscriptions: self.subscriptions(),
            memory: kilobytes * 1024,
        }
    }

    /// As nats-server counts them.
    fn subscriptions(&self) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.monitor)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /varz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let varz: serde_json::Value = serde_json::from_str(body).unwrap();
        varz["subscriptions"].as_u64().unwrap()
    }
}

fn script_file(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn turns() -> usize {
    std::env::var("LOQA_TEST_N").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}

fn p95(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() * 95 / 100]
}

/// One test, because the counts are those of the process.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_grows_with_the_turns_and_a_leak_would_show() {
    let stage = Stage::start().await;
    for _ in 0..WARM_UP {
        stage.turn().await;
    }
    let before = stage.counts().await;
    let mut times = Vec::new();
    for _ in 0..turns() {
        times.push(stage.turn().await);
    }
    let after = stage.counts().await;
    let third = times.len() / 3;
    let (first, last) = (p95(&times[..third]), p95(&times[times.len() - third..]));
    eprintln!("{} turns: {before:?} → {after:?}; p95 {first:?} → {last:?}", times.len());
    assert!(after.grown_since(before).is_empty(), "something grows: {:?}", after.grown_since(before));
    if times.len() >= 2_000 {
        assert!(last.as_secs_f64() < first.as_secs_f64() * 1.1, "turns get slower: p95 {first:?} → {last:?}");
    }

    // The control: one task and one subscription stay behind with each turn.
    let bus = stage.hub.observe().await.unwrap();
    let before = stage.counts().await;
    let mut leaked = Vec::new();
    for _ in 0..20 {
        stage.turn().await;
        leaked
            .push((tokio::spawn(std::future::pending::<()>()), bus.subscribe("loqa.event.*", None, 1).await.unwrap()));
    }
    bus.flush().await.unwrap();
    let grown = stage.counts().await.grown_since(before).join(", ");
    assert!(grown.contains("tasks") && grown.contains("subscriptions"), "a leak in every turn is not seen: {grown}");
    for (task, _) in &leaked {
        task.abort();
    }
    drop((leaked, bus));
    stage.hub.stop().await;
}
