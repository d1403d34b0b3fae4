//! The smart home with its real parts: the hub, the bridge's program in its sandbox, and
//! a server that speaks Home Assistant's documented protocol, well or badly.

use crate::wat_skill::{Reply, write_skill};
use futures_util::{SinkExt as _, StreamExt as _};
use loqa_protocol::client::TurnReport;
use loqa_skills::secrets::Secrets;
use loqa_tests::{PATIENCE, TestHub, is_alive, kill, loqa_command, start_in, wait_gone};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

const TOKEN: &str = "a.long-lived.token";

#[tokio::test(flavor = "multi_thread")]
async fn a_spoken_order_becomes_a_service_call_and_a_spoken_answer() {
    let home = StandIn::start(Manner::Honest).await;
    let rig = Rig::start(&home, "always").await;
    rig.until("which lights are on", "The shelf is on.").await;
    let report = rig.ask("turn on the kitchen light").await;
    assert_eq!(report.failure, None, "{report:?}");
    // The first use is asked about, which is said as well.
    assert!(report.reply.ends_with("The kitchen light is on."), "{report:?}");
    assert_eq!(rig.asked("light.kitchen"), 1);
    let call = home.calls().pop().unwrap();
    assert_eq!(call["domain"], "light");
    assert_eq!(call["service"], "turn_on");
    assert_eq!(call["target"]["entity_id"], json!(["light.kitchen"]));

    for (said, reply, service, entities) in [
        (
            "turn off the lights in the living room",
            "2 lights in the living room are off.",
            "turn_off",
            json!(["light.shelf", "light.sofa"]),
        ),
        (
            "dim the kitchen light to 40 percent",
            "The kitchen light is at 40 percent.",
            "turn_on",
            json!(["light.kitchen"]),
        ),
        ("make the kitchen light red", "The kitchen light is red.", "turn_on", json!(["light.kitchen"])),
        (
            "set the temperature to 21 degrees",
            "The thermostat is set to 21 degrees.",
            "set_temperature",
            json!(["climate.living"]),
        ),
        ("open the left blind", "The left blind is opening.", "open_cover", json!(["cover.left"])),
        ("activate the evening scene", "The evening is on.", "turn_on", json!(["scene.evening"])),
        ("turn on the cooking lamp", "The kitchen light is on.", "turn_on", json!(["light.kitchen"])),
    ] {
        let report = rig.ask(said).await;
        assert_eq!(report.reply, reply, "{said}: {report:?}");
        let call = home.calls().pop().unwrap();
        assert_eq!((call["service"].as_str(), &call["target"]["entity_id"]), (Some(service), &entities), "{said}");
    }
    let n_calls = home.calls().len();
    for (said, reply) in [
        ("turn on the lamp", "Which one: Lamp in the Bedroom or Lamp in the Study?"),
        ("turn on the dishwasher", "I do not know that device."),
        ("what is the temperature", "It is 20.5 degrees, the thermostat is set to 21."),
        ("which lights are on", "The shelf is on."),
    ] {
        let report = rig.ask(said).await;
        assert_eq!(report.reply, reply, "{said}: {report:?}");
    }
    assert_eq!(home.calls().len(), n_calls, "nothing is done for a question or a name that is not clear");
    // A change that somebody else made is known at once.
    home.push(state_changed("light.kitchen", "on"));
    rig.until("which lights are on", "The kitchen light and the shelf are on.").await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_confirmed_at_every_use() {
    let home = StandIn::start(Manner::Honest).await;
    let rig = Rig::start(&home, "once").await;
    rig.until("which lights are on", "The shelf is on.").await;
    for round in 1..=2 {
        let report = rig.ask("unlock the front door").await;
        assert!(report.reply.ends_with("The front door is unlocking."), "{report:?}");
        let asked = rig.asked("lock.front");
        assert_eq!(asked, round, "each time anew");
    }
    assert_eq!(home.calls().len(), 2);
    rig.answers("deny");
    let report = rig.ask("unlock the front door").await;
    assert!(!report.reply.contains("is unlocking"), "{report:?}");
    assert_eq!(home.calls().len(), 2, "a no is a no: {report:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_is_away_is_said_to_be_and_comes_back() {
    let home = StandIn::start(Manner::Honest).await;
    let rig = Rig::start(&home, "always").await;
    rig.until("which lights are on", "The shelf is on.").await;
    home.behave(Manner::Closed);
    rig.until("turn on the kitchen light", "I cannot reach Home Assistant.").await;
    home.behave(Manner::Honest);
    rig.until("turn on the kitchen light", "The kitchen light is on.").await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_misbehaves_costs_nothing_but_its_own_answers() {
    for (manner, reply) in [
        (Manner::WrongAuth, "Home Assistant does not accept the access token."),
        (Manner::Garbage, "I cannot reach Home Assistant."),
        (Manner::HugeFrame, "I cannot reach Home Assistant."),
        (Manner::Refuses, "The home refused to turn on the kitchen light."),
        (Manner::StallsInCall, "I told the kitchen light to turn on, but that is not confirmed yet."),
        (Manner::DropsInCall, "I cannot reach Home Assistant."),
    ] {
        let home = StandIn::start(manner).await;
        let rig = Rig::start(&home, "always").await;
        rig.until("turn on the kitchen light", reply).await;
        let report = rig.ask("set a timer for five minutes").await;
        assert_eq!(report.failure, None, "{manner:?}: other skills do not notice");
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_or_a_setting_nothing_is_connected() {
    let home = StandIn::start(Manner::Honest).await;
    let data = tempfile::tempdir().unwrap();
    let hub = start_in(data.path(), &[("stt.enabled", "false"), ("tts.enabled", "false")]).await.unwrap();
    assert!(hub.skill_pids().is_empty(), "off until it is configured");
    hub.stop().await;
    let rig = Rig::start_with(&home, "always", None).await;
    rig.until("turn on the kitchen light", "Home Assistant is not set up: its access token is missing.").await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_skill_switches_a_device_through_the_bridge_where_the_person_lets_it() {
    let home = StandIn::start(Manner::Honest).await;
    let folder = tempfile::tempdir().unwrap();
    let party = |name: &str, entities: &str, entity: &str, operation: &str| {
        let permissions = format!(
            "  - {{ use: device:control, domains: [light, lock, cover], entities: [{entities}], reason: r }}\n\
             intents:\n  - {{ tool: {name}.run, say: [\"{name} please\"] }}\n"
        );
        let order = json!({ "operation": operation, "entity": entity, "data": null }).to_string();
        write_skill(folder.path(), name, &permissions, "device", &order, Reply::IfAllowed).display().to_string()
    };
    let folders = [
        party("party", "light.sofa", "light.sofa", "turn_on"),
        party("thief", "light.sofa", "light.kitchen", "turn_on"),
        party("porter", "lock.front", "lock.front", "unlock"),
        party("breaker", "lock.front", "lock.front", "turn_on"),
    ];
    let data = tempfile::tempdir().unwrap();
    Secrets::in_folder(data.path()).set("smart-home", "home-assistant", TOKEN).unwrap();
    let (url, dev) = (home.url(), folders.join(","));
    let settings = [("home.enabled", "true"), ("home.url", url.as_str()), ("skills.dev", dev.as_str())];
    let rig = Rig::start_in(data, &settings, "always").await;
    rig.until("which lights are on", "The shelf is on.").await;
    let before = home.calls().len();

    let report = rig.ask("party please").await;
    assert!(report.reply.ends_with("Done."), "{report:?}");
    let call = home.calls().pop().unwrap();
    assert_eq!((&call["service"], &call["target"]["entity_id"]), (&json!("turn_on"), &json!(["light.sofa"])));
    assert_eq!(rig.asked("light.sofa"), 1, "the person is asked about the skill that orders, and not twice");

    let report = rig.ask("thief please").await;
    assert!(report.failure.is_some(), "beyond its scope: {report:?}");
    let report = rig.ask("porter please").await;
    assert!(report.reply.ends_with("Done."), "confirmed at this use: {report:?}");
    assert_eq!(rig.asked("lock.front"), 1);
    let report = rig.ask("breaker please").await;
    assert!(report.failure.is_some(), "a lock cannot be turned on: {report:?}");
    let services: Vec<Value> = home.calls()[before..].iter().map(|call| call["service"].clone()).collect();
    assert_eq!(services, [json!("turn_on"), json!("unlock")]);

    // What the person never lets the bridge do, it does for no other skill either.
    let never = ["skill", "grant", "smart-home", "device:control", "--lifetime", "never", "--json"];
    let mut granting = loqa_command(rig.hub.data.path());
    granting.args(never).stdin(Stdio::null()).stdout(Stdio::null());
    assert!(granting.status().unwrap().success());
    let report = rig.ask("party please").await;
    assert!(report.failure.is_some(), "{report:?}");
    assert_eq!(home.calls().len(), before + 2);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_on_the_bundled_gateway_is_found_and_switched() {
    let data = tempfile::tempdir().unwrap();
    // The system chooses a free port; nobody else takes it in this moment.
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let settings = [("home.enabled", "true"), ("home.mqtt", "bundled"), ("bus.mqtt_listen", listen.as_str())];
    let rig = Rig::start_in(data, &settings, "always").await;
    let password = std::fs::read_to_string(rig.hub.data.path().join("mqtt-password")).unwrap();
    let mut lamp = Device::login(&listen, "device", &password);
    lamp.subscribe("desk/set");
    let about = json!({ "name": "Desk lamp", "cmd_t": "desk/set", "stat_t": "desk/state", "dev": { "sa": "Study" } });
    lamp.publish("homeassistant/light/desk/config", about.to_string().as_bytes());
    lamp.publish("desk/state", b"OFF");
    rig.until("turn on the desk lamp", "The desk lamp is on.").await;
    assert_eq!(lamp.next(), ("desk/set".to_owned(), b"ON".to_vec()));
    lamp.publish("desk/state", b"ON");
    rig.until("what is on", "The desk lamp is on.").await;
    rig.stop().await;
}

/// An MQTT device that knows as much of version 3.1.1 as is needed here.
struct Device(std::net::TcpStream);

impl Device {
    fn login(listen: &str, user: &str, password: &str) -> Self {
        let stream = std::net::TcpStream::connect(listen).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2, 0, 60];
        for text in ["lamp", user, password.trim()] {
            body.extend((text.len() as u16).to_be_bytes());
            body.extend(text.bytes());
        }
        let mut device = Self(stream);
        device.send(0x10, &body);
        assert_eq!(device.packet(), (0x20, vec![0, 0]), "the password is taken");
        device
    }

    fn subscribe(&mut self, topic: &str) {
        let mut body = vec![0, 1];
        body.extend((topic.len() as u16).to_be_bytes());
        body.extend(topic.bytes());
        body.push(0);
        self.send(0x82, &body);
        assert_eq!(self.packet().0 >> 4, 9);
    }

    /// Retained, as devices do.
    fn publish(&mut self, topic: &str, payload: &[u8]) {
        let mut body = (topic.len() as u16).to_be_bytes().to_vec();
        body.extend(topic.bytes());
        body.extend(payload);
        self.send(0x31, &body);
    }

    fn next(&mut self) -> (String, Vec<u8>) {
        let (kind, body) = self.packet();
        assert_eq!(kind >> 4, 3);
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        (String::from_utf8(body[2..2 + length].to_vec()).unwrap(), body[2 + length..].to_vec())
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        let mut packet = vec![kind];
        let mut left = body.len();
        while left > 127 {
            packet.push((left & 127) as u8 | 128);
            left >>= 7;
        }
        packet.push(left as u8);
        packet.extend(body);
        std::io::Write::write_all(&mut self.0, &packet).unwrap();
    }

    fn packet(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        std::io::Read::read_exact(&mut self.0, &mut head).unwrap();
        assert!(head[1] < 128, "short packets only");
        let mut body = vec![0; usize::from(head[1])];
        std::io::Read::read_exact(&mut self.0, &mut body).unwrap();
        (head[0], body)
    }
}

#[test]
fn a_hub_that_is_killed_leaves_no_bridge() {
    let data = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut hub = loqa_command(data.path())
        .args(["serve", "--json", "--silent", "--set", "home.enabled=true"])
        .args(["--set", "stt.enabled=false", "--set", "tts.enabled=false", "--set", "llm.models="])
        .args(["--set", &format!("home.url=http://{}", listener.local_addr().unwrap())])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(hub.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // The program waits to be allowed; the answer is a grant.
    let mut granted = loqa_command(data.path());
    granted.args(["skill", "grant", "smart-home", "native:exec", "--json"]);
    granted.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
    let mut asking = loqa_command(data.path());
    asking.args(["ask", "--json", "turn on the kitchen light"]).stdin(Stdio::null()).stdout(Stdio::null());
    asking.status().unwrap();
    let bridges = children_of(hub.id());
    kill(hub.id());
    hub.wait().unwrap();
    assert!(bridges.iter().any(|pid| is_alive(*pid)) || !bridges.is_empty(), "there were children: {bridges:?}");
    wait_gone(&bridges);
}

/// Direct children of a process.
fn children_of(parent: u32) -> Vec<u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok())
        .filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
                stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(&parent.to_string())
            })
        })
        .collect()
}

/// A hub with the bridge, and a person who answers.
struct Rig {
    hub: TestHub,
    answer: Arc<Mutex<String>>,
    questions: Arc<Mutex<Vec<String>>>,
    person: tokio::task::JoinHandle<()>,
}

impl Rig {
    async fn start(home: &StandIn, answer: &str) -> Self {
        Self::start_with(home, answer, Some(TOKEN)).await
    }

    async fn start_with(home: &StandIn, answer: &str, token: Option<&str>) -> Self {
        let data = tempfile::tempdir().unwrap();
        if let Some(token) = token {
            Secrets::in_folder(data.path()).set("smart-home", "home-assistant", token).unwrap();
        }
        Self::start_in(data, &[("home.enabled", "true"), ("home.url", &home.url())], answer).await
    }

    async fn start_in(data: tempfile::TempDir, settings: &[(&str, &str)], answer: &str) -> Self {
        let quiet = [("stt.enabled", "false"), ("tts.enabled", "false"), ("llm.models", ""), ("turn.skill_ms", "2000")];
        let settings: Vec<_> = settings.iter().chain(&quiet).copied().collect();
        let hub = start_in(data.path(), &settings).await.unwrap();
        let hub = TestHub { hub, data };
        let answer = Arc::new(Mutex::new(answer.to_owned()));
        let questions: Arc<Mutex<Vec<String>>> = Arc::default();
        let person =
            tokio::spawn(answer_questions(Arc::clone(hub.hub.prompts()), Arc::clone(&answer), Arc::clone(&questions)));
        Self { hub, answer, questions, person }
    }

    async fn ask(&self, text: &str) -> TurnReport {
        self.hub.ask(text).await
    }

    fn answers(&self, answer: &str) {
        *self.answer.lock().unwrap() = answer.to_owned();
    }

    /// How often a question named this.
    fn asked(&self, what: &str) -> usize {
        self.questions.lock().unwrap().iter().filter(|question| question.contains(what)).count()
    }

    /// Asks until this reply comes.
    async fn until(&self, text: &str, reply: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let report = self.ask(text).await;
            if report.reply == reply {
                return;
            }
            assert!(Instant::now() < end, "`{text}` should be answered with `{reply}`: {report:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn stop(self) {
        let pids: Vec<u32> = self.hub.hub.skill_pids().into_iter().map(|(_, pid)| pid).collect();
        self.hub.stop().await;
        self.person.abort();
        wait_gone(&pids);
    }
}

/// Answers in the same way each time, where that is offered; else only this time.
async fn answer_questions(
    prompts: Arc<loqa_hub::consent::Prompts>,
    answer: Arc<Mutex<String>>,
    questions: Arc<Mutex<Vec<String>>>,
) {
    loop {
        for prompt in prompts.list() {
            let wanted = answer.lock().unwrap().clone();
            // What the program needs to run at all is always allowed here.
            let is_basic = matches!(prompt.permission.as_str(), "native:exec" | "secret:use");
            let wanted = if is_basic { "always".to_owned() } else { wanted };
            let given = if prompt.answers.contains(&wanted) { wanted } else { "once".to_owned() };
            if prompts.answer(&prompt.id, &given).is_ok() {
                questions.lock().unwrap().push(format!("{} {}", prompt.permission, prompt.target));
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Refuses every token.
    WrongAuth,
    /// Says what is no JSON.
    Garbage,
    /// Sends a frame larger than anything that is read.
    HugeFrame,
    /// Refuses every service.
    Refuses,
    /// Never answers a service call.
    StallsInCall,
    /// Ends the connection when a service is called.
    DropsInCall,
    /// Ends every connection.
    Closed,
}

/// Speaks the documented protocol: auth_required, auth, auth_ok, result, event.
struct StandIn {
    port: u16,
    state: Arc<Mutex<State>>,
    serving: tokio::task::JoinHandle<()>,
}

struct State {
    manner: Manner,
    calls: Vec<Value>,
    events: tokio::sync::broadcast::Sender<Value>,
}

impl StandIn {
    async fn start(manner: Manner) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (events, _) = tokio::sync::broadcast::channel(64);
        let state = Arc::new(Mutex::new(State { manner, calls: Vec::new(), events }));
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { port, state, serving }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn calls(&self) -> Vec<Value> {
        self.state.lock().unwrap().calls.clone()
    }

    fn push(&self, event: Value) {
        self.state.lock().unwrap().events.send(event).unwrap();
    }

    fn behave(&self, manner: Manner) {
        let mut state = self.state.lock().unwrap();
        state.manner = manner;
        // Wakes every connection.
        let _ = state.events.send(Value::Null);
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    let manner = || state.lock().unwrap().manner;
    if manner() == Manner::Closed {
        return None;
    }
    let mut socket = accept_async(stream).await.ok()?;
    say(&mut socket, json!({ "type": "auth_required", "ha_version": "2026.4.0" })).await?;
    let auth = hear(&mut socket).await?;
    if auth["type"] != "auth" || auth["access_token"] != TOKEN || manner() == Manner::WrongAuth {
        say(&mut socket, json!({ "type": "auth_invalid", "message": "Invalid access token" })).await?;
        return None;
    }
    match manner() {
        Manner::Garbage => {
            socket.send(Message::text("{\"type\": \"auth_ok\"")).await.ok()?;
            return None;
        }
        Manner::HugeFrame => {
            // Announces 64 GiB and sends what it has.
            let mut raw = socket.into_inner();
            let header = [0x81, 127, 0, 0, 0, 16, 0, 0, 0, 0];
            tokio::io::AsyncWriteExt::write_all(&mut raw, &header).await.ok()?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            return None;
        }
        _ => {}
    }
    say(&mut socket, json!({ "type": "auth_ok", "ha_version": "2026.4.0" })).await?;
    let mut events = state.lock().unwrap().events.subscribe();
    let mut subscription = 0;
    loop {
        let message = tokio::select! {
            message = hear(&mut socket) => message?,
            event = events.recv() => {
                if manner() == Manner::Closed {
                    return None;
                }
                if let Ok(event) = event
                    && !event.is_null()
                {
                    say(&mut socket, json!({ "id": subscription, "type": "event", "event": event })).await?;
                }
                continue;
            }
        };
        let id = message["id"].clone();
        let result = match message["type"].as_str().unwrap_or_default() {
            "ping" => {
                say(&mut socket, json!({ "id": id, "type": "pong" })).await?;
                continue;
            }
            "subscribe_events" => {
                if message["event_type"] == "state_changed" {
                    subscription = id.as_u64().unwrap();
                }
                Value::Null
            }
            "config/area_registry/list" => areas(),
            "config/device_registry/list" => json!([{ "id": "d1", "area_id": "hall" }]),
            "config/entity_registry/list" => entries(),
            "get_states" => states(),
            "call_service" => {
                state.lock().unwrap().calls.push(message.clone());
                match manner() {
                    Manner::StallsInCall => continue,
                    Manner::DropsInCall => return None,
                    Manner::Refuses => {
                        let error = json!({ "code": "service_validation_error", "message": "no" });
                        say(&mut socket, json!({ "id": id, "type": "result", "success": false, "error": error }))
                            .await?;
                        continue;
                    }
                    _ => json!({ "context": { "id": "x" }, "response": null }),
                }
            }
            _ => {
                let error = json!({ "code": "unknown_command", "message": "Unknown command." });
                say(&mut socket, json!({ "id": id, "type": "result", "success": false, "error": error })).await?;
                continue;
            }
        };
        say(&mut socket, json!({ "id": id, "type": "result", "success": true, "result": result })).await?;
    }
}

async fn say(socket: &mut WebSocketStream<TcpStream>, message: Value) -> Option<()> {
    socket.send(Message::text(message.to_string())).await.ok()
}

async fn hear(socket: &mut WebSocketStream<TcpStream>) -> Option<Value> {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => return serde_json::from_str(text.as_str()).ok(),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

const THINGS: &[(&str, &str, &str, &str)] = &[
    ("light.kitchen", "Kitchen light", "kitchen", "off"),
    ("light.sofa", "Sofa", "living", "off"),
    ("light.shelf", "Shelf", "living", "on"),
    ("light.desk", "Lamp", "study", "off"),
    ("light.bed", "Lamp", "bedroom", "off"),
    ("switch.kettle", "Kettle", "kitchen", "off"),
    ("climate.living", "Thermostat", "living", "heat"),
    ("cover.left", "Left blind", "bedroom", "closed"),
    ("lock.front", "Front door", "", "locked"),
    ("scene.evening", "Evening", "", "unknown"),
    ("sensor.odd", "Odd", "", "1"),
];

fn areas() -> Value {
    let rows = [
        ("kitchen", "Kitchen"),
        ("living", "Living Room"),
        ("study", "Study"),
        ("bedroom", "Bedroom"),
        ("hall", "Hall"),
    ];
    rows.iter().map(|(id, name)| json!({ "area_id": id, "name": name, "aliases": [], "picture": null })).collect()
}

fn entries() -> Value {
    THINGS
        .iter()
        .map(|(id, _, area, _)| {
            let aliases: &[&str] = if *id == "light.kitchen" { &["cooking lamp"] } else { &[] };
            let area = if area.is_empty() { Value::Null } else { json!(area) };
            json!({
                "entity_id": id, "area_id": area, "device_id": "d1", "disabled_by": null, "hidden_by": null,
                "entity_category": null, "aliases": aliases, "name": null,
            })
        })
        .collect()
}

fn states() -> Value {
    THINGS.iter().map(|(id, name, _, state)| full_state(id, name, state)).collect()
}

fn full_state(id: &str, name: &str, state: &str) -> Value {
    let mut attributes = json!({ "friendly_name": name, "supported_features": 0 });
    if id.starts_with("climate.") {
        attributes["current_temperature"] = json!(20.5);
        attributes["temperature"] = json!(21.0);
    }
    json!({
        "entity_id": id, "state": state, "attributes": attributes,
        "last_changed": "2026-11-22T08:30:20.722652+00:00", "context": { "id": "x", "parent_id": null, "user_id": null },
    })
}

fn state_changed(id: &str, state: &str) -> Value {
    let name = THINGS.iter().find(|(known, ..)| *known == id).unwrap().1;
    json!({
        "event_type": "state_changed", "origin": "LOCAL", "time_fired": "2026-11-22T08:30:20.722652+00:00",
        "data": { "entity_id": id, "old_state": null, "new_state": full_state(id, name, state) },
    })
}
