//! What is kept of turns, for how long, and what is not: the hub, its bus, its skills and
//! its commands together.

use loqa_hub::TurnOptions;
use loqa_hub::session::driver::TurnInput;
use loqa_hub::sink::AudioSink;
use loqa_protocol::client::TurnReport;
use loqa_protocol::{PrivacyScope, TurnEvent, header};
use loqa_store::{Page, Reader};
use loqa_tests::{PATIENCE, TestHub, kill, last_json, loqa, loqa_command, speech, start_in, voice, wait_gone};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A word that stands nowhere else.
const CANARY: &str = "xanthophyll";
const TYPED: [(&str, &str); 2] = [("stt.enabled", "false"), ("tts.enabled", "false")];

/// Files below these folders in which the bytes stand, as they are or as UTF-16.
fn files_with(folders: &[&Path], needle: &[u8]) -> Vec<String> {
    let wide: Vec<u8> = needle.iter().flat_map(|byte| [*byte, 0]).collect();
    let holds = |bytes: &[u8], needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    let mut found = Vec::new();
    for folder in folders {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                found.extend(files_with(&[&path], needle));
            } else if let Ok(bytes) = std::fs::read(&path)
                && (holds(&bytes, needle) || holds(&bytes, &wide))
            {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// A hub as a program, with its log at DEBUG in a file beside the data.
struct Served {
    child: Child,
    folder: tempfile::TempDir,
}

impl Served {
    fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let ready = std::fs::File::create(folder.path().join("ready")).unwrap();
        let mut command = loqa_command(&folder.path().join("data"));
        command.args(["serve", "--json", "--silent", "--log", "debug", "--set", "stt.enabled=false"]);
        command.args(["--set", "tts.enabled=false"]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let child = command.stdin(Stdio::null()).stdout(ready).stderr(log).spawn().unwrap();
        let served = Self { child, folder };
        let end = Instant::now() + PATIENCE;
        while std::fs::metadata(served.folder.path().join("ready")).unwrap().len() == 0 {
            assert!(Instant::now() < end, "the hub comes up: {}", served.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        served
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn run(&self, arguments: &[&str]) -> serde_json::Value {
        let output = loqa(&self.folder.path().join("data"), arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        last_json(&output)
    }

    fn holding(&self, needle: &str) -> Vec<String> {
        files_with(&[self.folder.path()], needle.as_bytes())
    }

    /// Ends it as Ctrl-C does.
    fn stop(&mut self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            kill(self.child.id());
            let _ = self.child.wait();
        }
    }
}

async fn typed(hub: &TestHub, options: TurnOptions, text: &str) -> TurnReport {
    let (sink, _recording) = AudioSink::memory();
    let turn = hub.hub.begin_with(options, TurnInput::Text(text.to_owned()), sink).await;
    tokio::time::timeout(PATIENCE, turn.report()).await.expect("every turn ends").unwrap()
}

fn guest() -> TurnOptions {
    TurnOptions { guest: true, ..TurnOptions::default() }
}

#[test]
fn a_guest_and_an_ephemeral_hub_leave_no_byte() {
    let order = format!("set a {CANARY} timer for nine minutes");
    // Control: where turns are kept the canary is found, so the search sees it.
    let mut kept = Served::start(&["privacy.keep=persistent"]);
    assert_eq!(kept.run(&["ask", "--json", &order])["tool"]["name"], "timer.start");
    kept.stop();
    assert!(kept.holding(CANARY).iter().any(|file| file.contains("loqa.db")), "{:?}", kept.holding(CANARY));

    let mut ephemeral = Served::start(&["privacy.keep=ephemeral"]);
    assert_eq!(ephemeral.run(&["ask", "--json", &order])["tool"]["name"], "timer.start");
    let left = ephemeral.run(&["ask", "--json", &format!("how long is left on the {CANARY} timer")]);
    assert!(left["reply"].as_str().unwrap().contains("minute"), "the timer runs, in memory: {left}");
    assert_eq!(ephemeral.holding(CANARY), [""; 0], "while it runs");
    ephemeral.stop();
    assert_eq!(ephemeral.holding(CANARY), [""; 0], "afterwards");
    assert!(!ephemeral.folder.path().join("data/loqa.db").exists());

    let mut guests = Served::start(&["privacy.keep=persistent"]);
    assert_eq!(guests.run(&["ask", "--json", "--guest", &order])["tool"]["name"], "timer.start");
    let on = guests.run(&["guest", "on", "--json"]);
    assert_eq!((&on["guest"], &on["scope"]), (&true.into(), &"ephemeral".into()));
    guests.run(&["ask", "--json", &format!("set a second {CANARY} timer for ten minutes")]);
    // What no skill understands goes to the model, which fails or answers.
    let _ = loqa(&guests.folder.path().join("data"), &["ask", "--json", &format!("tell me about {CANARY}")]);
    assert_eq!(guests.run(&["guest", "off", "--json"])["scope"], "persistent");
    let listed = guests.run(&["ask", "--json", "list my timers"]);
    assert!(!listed["reply"].as_str().unwrap().contains(CANARY), "the owner does not hear of it: {listed}");
    assert_eq!(guests.holding(CANARY), [""; 0], "while it runs");
    guests.stop();
    assert_eq!(guests.holding(CANARY), [""; 0], "afterwards");
    let reader = Reader::open(&guests.folder.path().join("data/loqa.db")).unwrap();
    assert_eq!(reader.counts().unwrap().turns, 1, "the owner's own turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_guest_stay_off_the_bus() {
    let hub = TestHub::start(&TYPED).await;
    let observer = hub.hub.observe().await.unwrap();
    let mut heard = observer.subscribe("loqa.event.*", None, 256).await.unwrap();
    observer.flush().await.unwrap();
    let mut inside = hub.hub.recorder().subscribe();
    let secret = typed(&hub, guest(), &format!("set a {CANARY} timer for nine minutes")).await;
    let open = typed(&hub, TurnOptions::default(), "cancel all timers").await;
    // The open turn's last event comes after everything of the guest's.
    loop {
        let message = tokio::time::timeout(PATIENCE, heard.next()).await.expect("the open turn is heard").unwrap();
        assert!(!String::from_utf8_lossy(&message.payload).contains(CANARY));
        assert!(!message.subject.contains(secret.session.as_str()), "not even its name");
        assert_eq!(PrivacyScope::of_header(message.header(header::PRIVACY)), PrivacyScope::Persistent);
        let event: loqa_protocol::TimedEvent = message.json().unwrap();
        if event.turn == open.turn && matches!(event.event, TurnEvent::TurnEnded { .. }) {
            break;
        }
    }
    let mut scopes = Vec::new();
    while let Ok(entry) = inside.try_recv() {
        if matches!(entry.event.event, TurnEvent::TurnEnded { .. }) {
            scopes.push((entry.event.turn, entry.scope));
        }
    }
    let expected = [(secret.turn.clone(), PrivacyScope::Ephemeral), (open.turn.clone(), PrivacyScope::Persistent)];
    assert_eq!(scopes, expected, "within the process both are seen");
    hub.hub.recorder().flush().await;
    assert!(hub.hub.store().turn(&secret.turn).is_err());
    assert_eq!(hub.hub.store().turn(&open.turn).unwrap().transcript, "cancel all timers");
    drop(observer);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_timer_lives_in_memory_and_is_announced() {
    let data = tempfile::tempdir().unwrap();
    let (heard, mut announcements) = tokio::sync::mpsc::unbounded_channel();
    let announce_to: loqa_hub::SinkFactory = Arc::new(move || {
        let (sink, recording) = AudioSink::memory();
        let _ = heard.send(recording);
        sink
    });
    let settings = [("stt.enabled", "false"), ("llm.models", "")];
    let hub = loqa_tests::start_with(data.path(), &settings, Some(announce_to)).await.unwrap();
    assert!(hub.wait_ready(PATIENCE).await.is_empty());
    let (sink, _recording) = AudioSink::memory();
    let order = format!("set a {CANARY} timer for one second");
    let report = hub.begin_with(guest(), TurnInput::Text(order), sink).await.report().await.unwrap();
    assert_eq!(report.tool.map(|call| call.name).as_deref(), Some("timer.start"));
    let recording = tokio::time::timeout(PATIENCE, announcements.recv()).await.expect("the timer ends").unwrap();
    let end = Instant::now() + PATIENCE;
    while recording.duration() < Duration::from_millis(300) {
        assert!(Instant::now() < end, "the announcement is spoken");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    hub.stop().await;
    assert_eq!(files_with(&[data.path()], CANARY.as_bytes()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_for_a_session_is_gone_with_the_hub() {
    let data = tempfile::tempdir().unwrap();
    let settings: Vec<_> = TYPED.into_iter().chain([("privacy.keep", "session")]).collect();
    let hub = start_in(data.path(), &settings).await.unwrap();
    assert!(hub.wait_ready(PATIENCE).await.is_empty());
    let (sink, _recording) = AudioSink::memory();
    let text = TurnInput::Text(format!("what about {CANARY} here"));
    let report = hub.begin(None, text, sink).await.report().await.unwrap();
    hub.recorder().flush().await;
    let row = hub.store().session(&report.session).unwrap();
    assert_eq!((row.turns, row.scope), (1, PrivacyScope::Session));
    assert_eq!(hub.store().search(CANARY, &Page::default()).unwrap().items.len(), 1);
    hub.stop().await;
    assert_eq!(files_with(&[data.path()], CANARY.as_bytes()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_kept_where_it_was_asked_for_and_nowhere_else() {
    let hub = TestHub::start(&[("tts.enabled", "false")]).await;
    let samples = speech("timer.wav");
    let mut kept = Vec::new();
    for (options, wanted) in [
        (TurnOptions::default(), false),
        (TurnOptions { keep_audio: Some(true), ..TurnOptions::default() }, true),
        (TurnOptions { keep_audio: Some(true), ..guest() }, false),
    ] {
        let (sink, _recording) = AudioSink::memory();
        let turn = hub.hub.begin_with(options.clone(), voice(&samples, Duration::ZERO), sink).await;
        let report = tokio::time::timeout(PATIENCE, turn.report()).await.unwrap().unwrap();
        assert_eq!(report.failure, None);
        hub.hub.recorder().flush().await;
        let recording = hub.hub.store().recording(&report.turn);
        assert_eq!(recording.is_ok(), wanted, "{options:?}: {recording:?}");
        if let Ok(recording) = recording {
            assert_eq!(recording.len().abs_diff(samples.len()) / 320, 0, "all of it");
            kept.push(report.session);
        }
    }
    // The next turn of that session is kept as well.
    let (sink, _recording) = AudioSink::memory();
    let options = TurnOptions { session: Some(kept[0].clone()), ..TurnOptions::default() };
    let turn = hub.hub.begin_with(options, voice(&samples, Duration::ZERO), sink).await;
    let report = tokio::time::timeout(PATIENCE, turn.report()).await.unwrap().unwrap();
    hub.hub.recorder().flush().await;
    assert!(hub.hub.store().recording(&report.turn).is_ok());
    // The samples as they are lie nowhere: neither those kept nor those not.
    let window: Vec<u8> = samples[8_000..8_032].iter().flat_map(|sample| sample.to_le_bytes()).collect();
    assert!(window.iter().any(|byte| *byte != 0), "it is speech");
    assert_eq!(files_with(&[hub.data.path()], &window), [""; 0]);
    hub.stop().await;
}

#[test]
fn the_commands_work_beside_a_hub_and_without_one() {
    let mut served = Served::start(&[]);
    let first = served.run(&["ask", "--json", &format!("set a {CANARY} timer for nine minutes")]);
    assert_eq!(first["tool"]["name"], "timer.start");
    served.run(&["ask", "--json", "set a tea timer for one hour"]);
    let end = Instant::now() + PATIENCE;
    let sessions = loop {
        // Events are on the disk a moment after the answer.
        let listed = served.run(&["sessions", "list", "--json"])["sessions"].clone();
        let whole = |row: &serde_json::Value| row["turns"] == 1 && row["title"] != "";
        if listed.as_array().is_some_and(|rows| rows.len() == 2 && rows.iter().all(whole)) {
            break listed;
        }
        assert!(Instant::now() < end, "{listed}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let old = sessions[1]["session"].as_str().unwrap();
    let new = sessions[0]["session"].as_str().unwrap();
    for beside in [true, false] {
        if !beside {
            served.stop();
        }
        let paged = served.run(&["sessions", "list", "--json", "--limit", "1"]);
        assert_eq!(paged["sessions"].as_array().unwrap().len(), 1);
        let after = paged["next"].as_str().unwrap();
        let next = served.run(&["sessions", "list", "--json", "--limit", "1", "--after", after]);
        assert_eq!(next["sessions"][0]["session"], *old, "beside a hub: {beside}");
        let hits = served.run(&["sessions", "search", "--json", "XANTHOPHYLL", "timer"]);
        assert_eq!(hits["hits"][0]["session"], *old);
        assert!(hits["hits"][0]["snippet"].as_str().unwrap().contains(&format!("[{CANARY}]")), "{hits}");
        let shown = served.run(&["sessions", "show", "--json", "--events", old]);
        assert_eq!(shown["turns"][0]["tool"]["name"], "timer.start");
        assert!(shown["turns"][0]["events"].as_array().unwrap().len() > 3, "{shown}");
        let check = served.run(&["store", "check", "--json", "--thorough"]);
        assert_eq!((&check["ok"], &check["rows"]["turns"]), (&true.into(), &2.into()));
        let backup = served.folder.path().join(format!("backup-{beside}.db"));
        served.run(&["store", "backup", "--json", &backup.to_string_lossy()]);
        assert_eq!(Reader::open(&backup).unwrap().counts().unwrap().turns, 2);
        let out = served.folder.path().join("out.jsonl");
        let exported = served.run(&["sessions", "export", "--json", "--all", "--out", &out.to_string_lossy()]);
        assert_eq!((&exported["sessions"], &exported["turns"]), (&2.into(), &2.into()));
        let lines = std::fs::read_to_string(&out).unwrap();
        let kinds = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["type"].clone());
        assert_eq!(kinds.filter(|kind| kind == "turn").count(), 2);
        std::fs::remove_file(out).unwrap();
        assert_eq!(served.run(&["guest", "status", "--json"])["guest"], false);
        let refused = loqa(&served.folder.path().join("data"), &["store", "wipe", "--json"]);
        assert_eq!(refused.status.code(), Some(2), "not without --yes");
    }
    let data = served.folder.path().join("data");
    let gone = loqa(&data, &["sessions", "show", "--json", "s-00000000000000ff"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(last_json(&gone)["error"].as_str().unwrap().contains("no session `s-00000000000000ff` is kept"));

    served.run(&["sessions", "delete", "--json", old]);
    assert_eq!(served.run(&["sessions", "search", "--json", CANARY])["hits"], serde_json::json!([]));
    let rows = served.run(&["audit", "list", "--json", "--kind", "store.delete"])["rows"].clone();
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["record"]["session"]), (1, &old.into()), "{rows}");
    let audits = files_with(&[&data], CANARY.as_bytes());
    let elsewhere: Vec<_> = audits.iter().filter(|file| !file.contains("skills.db")).collect();
    assert!(elsewhere.is_empty(), "what the timer keeps is the timer's: {elsewhere:?}");

    let backup = served.folder.path().join("backup-true.db");
    served.run(&["store", "restore", "--json", &backup.to_string_lossy()]);
    assert_eq!(served.run(&["store", "check", "--json"])["rows"]["turns"], 2);
    let wiped = served.run(&["store", "wipe", "--json", "--yes"]);
    assert_eq!((&wiped["erased"]["before"]["turns"], &wiped["erased"]["after"]["turns"]), (&2.into(), &0.into()));
    assert_eq!(served.run(&["sessions", "list", "--json"])["sessions"], serde_json::json!([]));
    let proof = served.run(&["audit", "list", "--json", "--kind", "store.wipe"])["rows"][0]["record"].clone();
    assert!(proof["scope"].as_str().unwrap().contains("\"turns\":[2,0]"), "{proof}");
    let target = proof["effect"]["target"].as_str().unwrap();
    assert!(target.contains("turns:sha256:") && target.contains("file:sha256:"), "{target}");
    assert_eq!(served.run(&["audit", "verify", "--json"])["ok"], true);
    let words = files_with(&[&data], new.as_bytes());
    assert!(words.iter().all(|file| file.contains("audit.db")), "only the audit knows that it was: {words:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_put_aside_and_voice_goes_on() {
    let hub = TestHub::start(&TYPED).await;
    hub.ask("cancel all timers").await;
    let TestHub { hub, data } = hub;
    let pids: Vec<u32> = hub.engine_pids().into_iter().map(|(_, pid)| pid).chain(hub.bus_pid()).collect();
    hub.stop().await;
    wait_gone(&pids);
    // Not a database any more.
    std::fs::write(data.path().join("loqa.db"), vec![0x5A; 20_000]).unwrap();
    let hub = start_in(data.path(), &TYPED).await.unwrap();
    assert!(hub.wait_ready(PATIENCE).await.is_empty());
    let notices = hub.store().health().notices;
    assert!(notices.len() == 1 && notices[0].contains("put aside"), "{notices:?}");
    let (sink, _recording) = AudioSink::memory();
    let text = TurnInput::Text("cancel all timers".to_owned());
    let report = hub.begin(None, text, sink).await.report().await.unwrap();
    assert_eq!(report.failure, None);
    hub.recorder().flush().await;
    assert_eq!(hub.store().turn(&report.turn).unwrap().transcript, "cancel all timers");
    hub.stop().await;
}
