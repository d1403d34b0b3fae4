//! Native skills with their real parts: nats-server, the skill host, the sandbox of this
//! kernel, and a program that tries what it must not be able to.
//!
//! `LOQA_TEST_N` sets the number of hostile replies; the closing figures use 10,000.

use loqa_bus::{Bus, BusServer, Credentials, Permissions, ServerOptions};
use loqa_hub::native::{Answering, NativeSkills, NativeSpec, Origins, serve_host_calls, what_holds};
use loqa_hub::supervisor::EngineState;
use loqa_protocol::skill::{SkillAnswer, SkillCall};
use loqa_protocol::{ErrorCode, PrivacyScope, SessionId, ToolCall, TurnId};
use loqa_skills::consent::{Answer, Consent, Question};
use loqa_skills::control::CallControl;
use loqa_skills::grants::Grantor;
use loqa_skills::native::{NativeCode, NativeFault, NativeProgram};
use loqa_skills::{Effects, Invocation, Permission, SkillHost, SkillHostOptions, SystemClock, Taint};
use loqa_tests::{PATIENCE, is_alive, program, wait_gone};
use serde_json::{Map, Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MANIFEST: &str = "\
schema: 1
name: probe
version: 1.0.0
title: Probe
description: Tries things.
author: Tests
license: MIT
runtime: { kind: native, program: loqa-test-skill, host_api: 1, sandbox: network }
tools:
  - name: probe.try
    description: Try something.
    parameters:
      type: object
      properties:
        what: { type: string }
        target: { type: string }
    effect: safe
permissions:
  - { use: native:exec, profile: network, reason: \"to run\" }
  - { use: kv:store, max_bytes: 1000, reason: \"to remember\" }
  - { use: device:control, domains: [light, lock], entities: [\"*\"], reason: \"to switch\" }
  - { use: secret:use, name: token, origin: \"http://127.0.0.1:8123\", reason: \"to log in\" }
";

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_holds_a_program_to_its_own_folders_and_the_ports_it_was_given() {
    let holds = what_holds();
    assert!(holds.files && holds.network && holds.system_calls, "this test needs Landlock 4 and seccomp: {holds:?}");
    let granted = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    for is_sandboxed in [true, false] {
        let mut origins = Origins::default();
        origins.add_text(&format!("http://{}", granted.local_addr().unwrap())).unwrap();
        let rig = Rig::start(origins, Map::new(), is_sandboxed).await;
        let dir = rig.dir.path();
        let sentinel = dir.join("id_ed25519");
        std::fs::write(&sentinel, "secret").unwrap();
        let other = dir.join("data/skills/other");
        std::fs::create_dir_all(&other).unwrap();
        std::fs::write(other.join("own"), "secret").unwrap();
        let socket = dir.join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let mut victim = std::process::Command::new("/bin/sleep").arg("600").spawn().unwrap();
        let text = |path: &Path| path.to_string_lossy().into_owned();

        // What it may do, it may do in the sandbox too.
        for (what, target) in [
            ("read", text(&dir.join("skill/skill.yaml"))),
            ("list", text(&dir.join("skill"))),
            ("write", text(&dir.join("data/skills/probe/note"))),
            ("read", text(&dir.join("data/skills/probe/note"))),
            ("connect", granted.local_addr().unwrap().to_string()),
        ] {
            assert_eq!(rig.attempt(what, &target).await, json!("done"), "{what} {target}, sandbox: {is_sandboxed}");
        }
        for (what, target) in [
            ("read", text(&sentinel)),
            ("list", text(dir)),
            ("list", "/root".to_owned()),
            ("read", "/etc/passwd".to_owned()),
            ("read", text(&other.join("own"))),
            ("read", text(&dir.join("data/skills.db"))),
            ("write", text(&dir.join("skill/skill.yaml"))),
            ("write", text(&dir.join("planted"))),
            ("connect", elsewhere.local_addr().unwrap().to_string()),
            ("listen", "127.0.0.1:0".to_owned()),
            ("udp", udp.local_addr().unwrap().to_string()),
            ("unix", text(&socket)),
            ("run", "/bin/true".to_owned()),
            ("run", text(&program("loqa-test-skill"))),
            ("undying", String::new()),
            ("kill", victim.id().to_string()),
        ] {
            let outcome = rig.attempt(what, &target).await;
            // 1 and 13: not permitted, and permission denied. Anything else would be luck.
            let is_refused = outcome == json!("1") || outcome == json!("13");
            assert_eq!(is_refused, is_sandboxed, "{what} {target}: {outcome}, sandbox: {is_sandboxed}");
        }
        let _ = victim.kill();
        victim.wait().unwrap();
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn host_calls_of_a_program_pass_the_gate() {
    let rig = Rig::start(Origins::default(), Map::new(), true).await;
    let host = async |function: &str, arguments: Value| {
        let mut arguments = arguments.as_object().unwrap().clone();
        arguments.insert("function".into(), json!(function));
        rig.attempt("host", &Value::Object(arguments).to_string()).await
    };
    assert_eq!(host("kv_set", json!({ "key": "a", "value": 7 })).await, json!({ "ok": null }));
    assert_eq!(host("kv_get", json!({ "key": "a" })).await, json!({ "ok": 7 }), "it was kept with the call before");
    let code = |answer: &Value| answer["error"]["code"].as_str().unwrap_or("none").to_owned();
    assert_eq!(code(&host("notify", json!({ "text": "hi" })).await), "not_declared");
    assert_eq!(code(&host("timer_list", json!({})).await), "not_declared");
    assert_eq!(code(&host("no_such", json!({})).await), "bad_arguments");
    assert_eq!(code(&host("resolve", json!({ "host": "localhost" })).await), "out_of_scope");
    let token = json!({ "name": "token", "origin": "http://127.0.0.1:8123" });
    assert_eq!(host("secret", token).await, json!({ "ok": "token of probe" }));
    for (name, origin) in [("token", "http://127.0.0.1:9"), ("other", "http://127.0.0.1:8123")] {
        assert_eq!(
            code(&host("secret", json!({ "name": name, "origin": origin })).await),
            "out_of_scope",
            "{name} {origin}"
        );
    }
    // A light is asked about once, a lock every time.
    rig.consent.answer(Answer::Always);
    let light = json!({ "operation": "turn_on", "entity": "light.kitchen", "data": { "brightness_pct": 40 } });
    let asked = rig.consent.n_asked();
    assert_eq!(host("device", light.clone()).await, json!({ "ok": null }));
    assert_eq!(host("device", light).await, json!({ "ok": null }));
    assert_eq!(rig.consent.n_asked() - asked, 1, "the first use is asked about");
    let lock = json!({ "operation": "unlock", "entity": "lock.front" });
    rig.consent.answer(Answer::Once);
    for _ in 0..2 {
        assert_eq!(host("device", lock.clone()).await, json!({ "ok": null }));
    }
    assert_eq!(rig.consent.n_asked() - asked, 3, "and a lock at every use");
    assert!(rig.consent.last().contains("lock.front"), "{}", rig.consent.last());
    rig.consent.answer(Answer::Deny);
    assert_ne!(code(&host("device", lock).await), "none", "a no is a no");
    assert_eq!(code(&host("device", json!({ "operation": "open", "entity": "cover.x" })).await), "out_of_scope");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_may_run_only_when_the_person_says_so() {
    let rig = Rig::start(Origins::default(), Map::new(), true).await;
    rig.skills.grants().revoke("probe", Some(Permission::NativeExec), Grantor::Operator).unwrap();
    rig.consent.answer(Answer::Deny);
    let asked = rig.consent.n_asked();
    let failure = rig.call("pid", "", Duration::from_secs(10)).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::PermissionDenied, "{failure}");
    assert_eq!(rig.consent.n_asked() - asked, 1);
    assert!(
        rig.consent.last().contains("holds this program back"),
        "the question says what it can do: {}",
        rig.consent.last()
    );
    assert!(rig.natives.pids().is_empty());
    rig.consent.answer(Answer::Always);
    let outcome = rig.call("pid", "", PATIENCE).await;
    assert!(outcome.is_ok(), "it starts with its first call: {outcome:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_program_is_gone_within_a_second() {
    const RUNS: usize = 50;
    // It ignores the end of its standard input, as a hostile one would.
    let rig = Rig::start(Origins::default(), settings(&["outlives"]), true).await;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        // By hand: the gate does not let a skill ask this often.
        rig.skills.grant("probe", Permission::NativeExec, Default::default());
        rig.skills.start_native("probe").unwrap();
        rig.attempt("pid", "").await;
        let pid = rig.pid();
        let began = Instant::now();
        rig.skills.grants().revoke("probe", Some(Permission::NativeExec), Grantor::Operator).unwrap();
        while is_alive(pid) {
            assert!(began.elapsed() < PATIENCE, "the program is still there");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(began.elapsed());
    }
    times.sort();
    eprintln!("ended after {:?} in the median, {:?} at most, of {RUNS}", times[RUNS / 2], times[RUNS - 1]);
    // Ten times the promise of a second, for machines under load.
    assert!(times[RUNS - 1] < Duration::from_secs(10));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_ends_a_call_that_is_running() {
    let rig = Arc::new(Rig::start(Origins::default(), Map::new(), true).await);
    rig.attempt("pid", "").await;
    let calling = tokio::spawn({
        let rig = Arc::clone(&rig);
        async move { rig.call("stall", "", Duration::from_secs(9)).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let began = Instant::now();
    rig.skills.grants().revoke("probe", None, Grantor::Operator).unwrap();
    assert!(calling.await.unwrap().is_err());
    assert!(began.elapsed() < Duration::from_secs(5), "long before its own time is over: {:?}", began.elapsed());
    Arc::try_unwrap(rig).ok().unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_stalls_or_dies_costs_its_own_calls_only() {
    let rig = Rig::start(Origins::default(), Map::new(), true).await;
    rig.attempt("pid", "").await;
    let began = Instant::now();
    let failure = rig.call("stall", "", Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::SkillFault, "{failure}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let pid = rig.pid();
    loqa_tests::kill(pid);
    wait_gone(&[pid]);
    // A call that the dead process had been handed would be lost with it.
    let end = Instant::now() + PATIENCE;
    while rig.natives.pids().first().is_none_or(|(_, now)| *now == pid) {
        assert!(Instant::now() < end, "it is started again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(rig.attempt("pid", "").await, json!("done"), "it works again");
    assert_ne!(rig.pid(), pid);
    // A program that dies at every start is given up, with its own words.
    let dying = Rig::start(Origins::default(), settings(&["dies_at_once"]), true).await;
    let failure = dying.call("pid", "", Duration::from_secs(9)).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::SkillFault, "{failure}");
    let mut state = dying.natives.state("probe").unwrap();
    let is_given_up = state.wait_for(|state| matches!(state, EngineState::Broken { .. }));
    let state = format!("{:?}", *tokio::time::timeout(PATIENCE, is_given_up).await.unwrap().unwrap());
    assert!(state.contains("I was told to die"), "{state}");
    for rig in [rig, dying] {
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reply_subject_makes_the_hub_publish_outside_of_the_askers_inbox() {
    let n: usize = std::env::var("LOQA_TEST_N").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    for (answering, is_safe) in [(Answering::OwnInbox, true), (Answering::WhereTold, false)] {
        let n = if is_safe { n } else { 200 };
        let open = OpenServer::start();
        let dir = tempfile::tempdir().unwrap();
        let skills = host(dir.path());
        let folder = write_manifest(dir.path());
        let code = NativeCode::read_from(&folder, program("loqa-test-skill").parent()).unwrap();
        skills.add_native(&code, Arc::new(Nobody), Some(Grantor::Bundled)).unwrap();
        let bus = Bus::connect(&open.credentials("hub")).await.unwrap();
        let serving = serve_host_calls(bus, Arc::clone(&skills), answering).await.unwrap();
        let mut observer = open.login("observer");
        observer.send("SUB > 1\r\nPING\r\n");
        observer.wait_for("PONG");
        let mut attacker = open.login("attacker");
        let own = "_INBOX.skill-probe.skill.probe.host.";
        let mut outside = Vec::new();
        let mut look = |subject: &str| {
            let is_asked = subject == "loqa.skill.probe.host";
            if !(is_asked || subject.starts_with(own) || subject.starts_with("_INBOX.hub.flush.")) {
                outside.push(subject.to_owned());
            }
        };
        let replies: Vec<String> = hostile_replies(n).collect();
        // Fewer at once than the hub lets wait: one that is dropped unread would prove nothing.
        for (batch, replies) in replies.chunks(100).enumerate() {
            for reply in replies {
                let payload = r#"{"call":null,"function":"kv_get","arguments":{"key":"a"}}"#;
                // No trace header: it makes the server publish, not the hub, and only where the sender may.
                let headers = "NATS/1.0\r\nReply-To: loqa.hub.ask\r\nNats-Expected-Stream: x\r\nLoqa-Kind: pcm\r\n\r\n";
                attacker.send(&format!(
                    "HPUB loqa.skill.probe.host {reply} {} {}\r\n{headers}{payload}\r\n",
                    headers.len(),
                    headers.len() + payload.len()
                ));
            }
            // Calls are looked at in their order, so the answer to this one says that the others were.
            let honest = format!("{own}0000last{batch}");
            attacker.send(&format!("PUB loqa.skill.probe.host {honest} 2\r\n{{}}\r\nPING\r\n"));
            attacker.wait_for("PONG");
            let is_answered = observer.watch(PATIENCE, |subject| {
                look(subject);
                subject == honest
            });
            assert!(is_answered, "an honest host call is answered");
        }
        observer.watch(Duration::from_secs(1), |subject| {
            look(subject);
            false
        });
        serving.abort();
        if is_safe {
            eprintln!("{n} hostile replies, {} publications outside", outside.len());
            assert_eq!(outside, Vec::<String>::new());
        } else {
            assert!(!outside.is_empty(), "a hub that answers where it is told is seen to do so");
        }
    }
}

fn hostile_replies(n: usize) -> impl Iterator<Item = String> {
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom as _;
    use rand::{Rng as _, SeedableRng as _};
    let mut random = StdRng::seed_from_u64(0x18);
    let tokens = [
        "loqa",
        "hub",
        "ask",
        "skill",
        "probe",
        "other",
        "host",
        "call",
        "in",
        "out",
        "engine",
        "hello",
        "control",
        "_INBOX",
        "skill-probe",
        "skill-other",
        "operator",
        "flush",
        "x",
        "$SYS",
        "$JS",
        "API",
        "e-1",
        "A",
        "0123",
    ];
    let curated = [
        "loqa.hub.ask",
        "loqa.skill.other.call",
        "loqa.skill.probe.host",
        "loqa.event.s-1",
        "_INBOX.hub.x",
        "_INBOX.hub.hub.ask.x",
        "_INBOX.operator.hub.ask.0123",
        "_INBOX.skill-other.skill.other.host.0123",
        "_INBOX.skill-probe.skill.other.host.0123",
        "_INBOX.skill-probe.x",
        "_INBOX.skill-probe.skill.probe.host.a.b",
        "_INBOX.skill-probe.skill.probe.host.A",
        "_INBOX.skill-probe.skill.probe.call.0123",
        "$SYS.REQ.SERVER.PING",
        "_INBOX.x.y",
    ];
    (0..n).map(move |i| {
        if i < curated.len() {
            return curated[i].to_owned();
        }
        let mut reply: Vec<&str> =
            (0..random.random_range(1..7)).map(|_| *tokens.choose(&mut random).unwrap()).collect();
        if random.random_bool(0.5) {
            reply.insert(0, "_INBOX");
        }
        reply.join(".")
    })
}

/// A skill host, its programs and their bus, in a folder of their own.
struct Rig {
    dir: tempfile::TempDir,
    server: Arc<BusServer>,
    skills: Arc<SkillHost>,
    natives: NativeSkills,
    consent: Arc<Person>,
}

impl Rig {
    async fn start(origins: Origins, settings: Map<String, Value>, is_sandboxed: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = ServerOptions { binary: nats_server(), run_dir: dir.path().join("run") };
        let server = Arc::new(BusServer::start(options).await.unwrap());
        let credentials = server.add_identity("hub", Permissions::hub()).await.unwrap();
        let bus = Bus::connect(&credentials).await.unwrap();
        let skills = host(&dir.path().join("data"));
        let consent = Arc::new(Person::default());
        skills.set_consent(Arc::clone(&consent) as _, Duration::from_secs(5));
        let secrets = Arc::new(|skill: &str, name: &str| Some(format!("{name} of {skill}")));
        let natives = NativeSkills::open(Arc::clone(&server), bus, Arc::clone(&skills), secrets).await.unwrap();
        let folder = write_manifest(dir.path());
        let code = NativeCode::read_from(&folder, program("loqa-test-skill").parent()).unwrap();
        let data_dir = dir.path().join("data/skills/probe");
        natives.add(NativeSpec { code, settings, origins, data_dir, is_sandboxed }).unwrap();
        Self { dir, server, skills, natives, consent }
    }

    async fn call(&self, what: &str, target: &str, budget: Duration) -> Result<Value, loqa_protocol::Failure> {
        let arguments = json!({ "what": what, "target": target }).as_object().unwrap().clone();
        let invocation = Invocation {
            session: SessionId::from_bits(1),
            // A no holds for the rest of its turn.
            turn: TurnId::from_bits(rand::random()),
            scope: PrivacyScope::Persistent,
            call: ToolCall { name: "probe.try".into(), arguments },
            said: loqa_skills::Said::default(),
            taint: Taint::user(),
            budget,
            cancel: Arc::new(AtomicBool::new(false)),
        };
        let skills = Arc::clone(&self.skills);
        tokio::task::spawn_blocking(move || skills.call(&invocation)).await.unwrap().map(|outcome| outcome.data)
    }

    /// What the program says about an attempt.
    async fn attempt(&self, what: &str, target: &str) -> Value {
        self.call(what, target, Duration::from_secs(10)).await.unwrap()
    }

    fn pid(&self) -> u32 {
        self.natives.pids().first().unwrap().1
    }

    async fn stop(self) {
        let pids: Vec<u32> = self.natives.pids().into_iter().map(|(_, pid)| pid).collect();
        self.natives.stop().await;
        wait_gone(&pids);
        Arc::try_unwrap(self.server).ok().map(|server| tokio::spawn(server.stop()));
    }
}

/// Answers every question in the same way, and keeps them.
struct Person(Mutex<(Answer, Vec<String>)>);

impl Default for Person {
    fn default() -> Self {
        Self(Mutex::new((Answer::Always, Vec::new())))
    }
}

impl Person {
    fn answer(&self, answer: Answer) {
        self.0.lock().unwrap().0 = answer;
    }

    fn n_asked(&self) -> usize {
        self.0.lock().unwrap().1.len()
    }

    fn last(&self) -> String {
        self.0.lock().unwrap().1.last().cloned().unwrap_or_default()
    }
}

impl Consent for Person {
    fn ask(&self, question: &Question, _: Duration, _: &CallControl) -> Answer {
        let mut state = self.0.lock().unwrap();
        state.1.push(format!("{} {}", question.operation, question.target));
        state.0
    }
}

struct Silent;

impl Effects for Silent {
    fn say(&self, _: &str, _: &str) {}
    fn notify(&self, _: &str, _: &str) {}
    fn publish(&self, _: &str, _: &str, _: &Value) {}
}

/// A program that is never there.
struct Nobody;

impl NativeProgram for Nobody {
    fn ask(&self, _: &SkillCall, _: &CallControl) -> Result<SkillAnswer, NativeFault> {
        Err(NativeFault::Gone)
    }
    fn tell(&self, _: &SkillCall) {}
    fn secret(&self, _: &str, _: &str) -> Option<String> {
        None
    }
    fn resolve(&self, _: &str, _: Duration) -> Option<Vec<IpAddr>> {
        None
    }
    fn sandbox(&self) -> String {
        String::new()
    }
    fn start(&self) {}
    fn is_started(&self) -> bool {
        true
    }
    fn end(&self) {}
}

fn host(data: &Path) -> Arc<SkillHost> {
    std::fs::create_dir_all(data).unwrap();
    let options = SkillHostOptions { data_dir: data.to_owned(), clock: Arc::new(SystemClock) };
    Arc::new(SkillHost::open(options, Arc::new(Silent)).unwrap())
}

fn write_manifest(dir: &Path) -> PathBuf {
    let folder = dir.join("skill");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("skill.yaml"), MANIFEST).unwrap();
    folder
}

fn settings(keys: &[&str]) -> Map<String, Value> {
    keys.iter().map(|key| ((*key).to_owned(), json!(true))).collect()
}

fn nats_server() -> PathBuf {
    let config = loqa_hub::config::Config::default();
    loqa_hub::paths::Paths::resolve(&config).unwrap().nats_server
}

/// A nats-server whose users may do everything, so that only the hub's own care counts.
struct OpenServer {
    process: std::process::Child,
    port: u16,
    keys: Vec<(&'static str, nkeys::KeyPair)>,
    _dir: tempfile::TempDir,
}

impl OpenServer {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys: Vec<_> =
            ["hub", "observer", "attacker"].into_iter().map(|name| (name, nkeys::KeyPair::new_user())).collect();
        let users: Vec<Value> = keys.iter().map(|(_, key)| json!({ "nkey": key.public_key() })).collect();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!("listen: \"127.0.0.1:{port}\"\nauthorization: {}\n", json!({ "users": users }));
        let path = dir.path().join("open.conf");
        std::fs::write(&path, config).unwrap();
        let process = std::process::Command::new(nats_server())
            .arg("-c")
            .arg(&path)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "the server does not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { process, port, keys, _dir: dir }
    }

    fn key(&self, name: &str) -> &nkeys::KeyPair {
        &self.keys.iter().find(|(known, _)| *known == name).unwrap().1
    }

    fn credentials(&self, name: &str) -> Credentials {
        let url = format!("nats://127.0.0.1:{}", self.port);
        Credentials { url, identity: name.to_owned(), seed: self.key(name).seed().unwrap() }
    }

    fn login(&self, name: &str) -> Wire {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut wire = Wire(BufReader::new(stream));
        let info = wire.line();
        let info: Value = serde_json::from_str(info.strip_prefix("INFO ").unwrap()).unwrap();
        let key = self.key(name);
        let signature = base64_url(&key.sign(info["nonce"].as_str().unwrap().as_bytes()).unwrap());
        let hello = json!({
            "verbose": false, "headers": true, "no_responders": true, "protocol": 1, "lang": "test", "version": "0",
            "nkey": key.public_key(), "sig": signature,
        });
        wire.send(&format!("CONNECT {hello}\r\nPING\r\n"));
        wire.wait_for("PONG");
        wire
    }
}

impl Drop for OpenServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// NATS's own lines.
struct Wire(BufReader<TcpStream>);

impl Wire {
    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).map_or_else(|_| String::new(), |_| line.trim_end().to_owned())
    }

    fn wait_for(&mut self, wanted: &str) {
        loop {
            let line = self.line();
            assert!(!line.is_empty() && !line.starts_with("-ERR"), "the server says: {line}");
            if line == wanted {
                return;
            }
        }
    }

    /// Shows the subject of every message until it is the wanted one (true) or none came for a while.
    fn watch(&mut self, quiet: Duration, mut is_wanted: impl FnMut(&str) -> bool) -> bool {
        self.0.get_ref().set_read_timeout(Some(quiet)).unwrap();
        loop {
            let line = self.line();
            if line.is_empty() && self.0.buffer().is_empty() {
                // Blank lines are part of messages; silence is the end.
                let mut peek = [0; 1];
                match self.0.get_ref().peek(&mut peek) {
                    Ok(n) if n > 0 => continue,
                    _ => return false,
                }
            }
            if line.starts_with("MSG ") || line.starts_with("HMSG ") {
                if is_wanted(line.split(' ').nth(1).unwrap_or_default()) {
                    return true;
                }
            } else if line == "PING" {
                self.send("PONG\r\n");
            }
        }
    }
}

fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bit = |n: usize| bytes.get(n / 8).is_some_and(|byte| byte & (128 >> (n % 8)) != 0);
    (0..(bytes.len() * 8).div_ceil(6))
        .map(|sextet| (0..6).fold(0, |index, n| index * 2 + usize::from(bit(sextet * 6 + n))))
        .map(|index| char::from(ALPHABET[index]))
        .collect()
}
