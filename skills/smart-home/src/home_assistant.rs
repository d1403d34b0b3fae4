//! Home Assistant's WebSocket API: log in, read areas, entities and states, follow
//! their changes, call services, and do all of it again when the connection breaks.
//!
//! What comes from the other side is bounded in size and in time, and nothing of it is
//! believed further than the shape that is expected.
//! <https://developers.home-assistant.io/docs/api/websocket>

use crate::act::{Done, Order, Sent};
use crate::bridge::{Link, Shared};
use crate::home::{Domain, Source};
use crate::hub::{Hub, Refusal};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

/// Name of the secret that holds the long-lived access token.
const SECRET: &str = "home-assistant";
/// Largest message. All states of a home with some thousand entities take a few MiB.
const MAX_MESSAGE: usize = 32 * 1024 * 1024;
/// How long connecting and each step of logging in may take. Chosen.
const STEP_LIMIT: Duration = Duration::from_secs(10);
/// How long a list may take at the start. Chosen: a small machine needs seconds for many states.
const LIST_LIMIT: Duration = Duration::from_secs(30);
/// How long sending may take: the other side does not read.
const SEND_LIMIT: Duration = Duration::from_secs(5);
/// How often a quiet connection is tried out.
const PING: Duration = Duration::from_secs(20);
/// How long it may be silent after that.
const PONG_LIMIT: Duration = Duration::from_secs(10);
/// First pause before another attempt; it doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Pause after the token was refused: Home Assistant bans addresses that try too often.
const REFUSED_PAUSE: Duration = Duration::from_secs(120);
/// Orders whose outcome is awaited at the same time.
const MAX_WAITING: usize = 64;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Lost {
    /// No token is set, or it may not be used.
    #[error("no access token: {0}")]
    NoToken(String),
    /// The token is not accepted.
    #[error("the access token is refused")]
    Refused,
    /// Everything else.
    #[error("{0}")]
    Broken(String),
}

/// Keeps the connection for ever.
pub(crate) async fn keep(shared: Arc<Shared>, hub: Hub, url: url::Url, mut orders: mpsc::Receiver<Sent>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let lost = match live(&shared, &hub, &url, &mut orders).await {
            Ok(never) => match never {},
            Err(lost) => lost,
        };
        if began.elapsed() > MAX_PAUSE {
            pause = FIRST_PAUSE;
        }
        let words = match &lost {
            Lost::NoToken(_) => "Home Assistant is not set up: its access token is missing.",
            Lost::Refused => "Home Assistant does not accept the access token.",
            Lost::Broken(_) => "I cannot reach Home Assistant.",
        };
        tracing::warn!(reason = %lost, "no connection to Home Assistant");
        shared.set_home_assistant(Link::Down(words.to_owned()));
        let wait = match lost {
            Lost::Refused => REFUSED_PAUSE,
            Lost::NoToken(_) | Lost::Broken(_) => pause,
        };
        pause = (pause * 2).min(MAX_PAUSE);
        let ends = tokio::time::Instant::now() + wait;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(ends) => break,
                sent = orders.recv() => match sent {
                    // Nobody is asked to wait for a home that is not there.
                    Some(Sent { answer, .. }) => { let _ = answer.send(Done::Unreachable); }
                    None => return,
                },
            }
        }
    }
}

/// There is no value of it: the connection ends with an error or not at all.
enum Never {}

async fn live(shared: &Shared, hub: &Hub, url: &url::Url, orders: &mut mpsc::Receiver<Sent>) -> Result<Never, Lost> {
    let token = token(hub, url).await?;
    let mut connection = Connection::open(hub, url).await?;
    connection.log_in(&token).await?;
    let areas = connection.ask(json!({ "type": "config/area_registry/list" })).await?;
    let devices = connection.ask(json!({ "type": "config/device_registry/list" })).await?;
    let entries = connection.ask(json!({ "type": "config/entity_registry/list" })).await?;
    // Before the states, so that no change falls in between.
    connection.ask(json!({ "type": "subscribe_events", "event_type": "state_changed" })).await?;
    for registry in ["area_registry_updated", "device_registry_updated", "entity_registry_updated"] {
        connection.ask(json!({ "type": "subscribe_events", "event_type": registry })).await?;
    }
    let states = connection.ask(json!({ "type": "get_states" })).await?;
    fill(shared, &areas, &devices, &entries, &states);
    for event in std::mem::take(&mut connection.early) {
        take_event(shared, &event);
    }
    shared.set_home_assistant(Link::Up);
    tracing::info!(entities = shared.home().entities().count(), "Home Assistant is connected");
    connection.serve(shared, orders).await
}

async fn token(hub: &Hub, url: &url::Url) -> Result<String, Lost> {
    let origin = url.origin().ascii_serialization();
    match hub.secret(SECRET, &origin).await {
        Ok(Some(token)) if !token.trim().is_empty() => Ok(token.trim().to_owned()),
        Ok(_) => Err(Lost::NoToken("it is not set".to_owned())),
        Err(Refusal::Denied(reason)) => Err(Lost::NoToken(reason)),
        Err(Refusal::Failed(reason)) => Err(Lost::Broken(reason)),
    }
}

/// Takes everything that the registries and the states say.
fn fill(shared: &Shared, areas: &Value, devices: &Value, entries: &Value, states: &Value) {
    let rows = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let text = |row: &Value, key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
    let names: BTreeMap<String, String> =
        rows(areas).iter().filter_map(|area| Some((text(area, "area_id")?, text(area, "name")?))).collect();
    let area_of_device: BTreeMap<String, String> =
        rows(devices).iter().filter_map(|device| Some((text(device, "id")?, text(device, "area_id")?))).collect();
    let mut home = shared.home();
    home.forget(Source::HomeAssistant);
    for state in rows(states) {
        if let Some(id) = text(&state, "entity_id") {
            home.take_state(&id, &state);
        }
    }
    for entry in rows(entries) {
        let Some(id) = text(&entry, "entity_id") else { continue };
        if Domain::of(&id).is_none() {
            continue;
        }
        let is_out = |key: &str| entry.get(key).is_some_and(|value| !value.is_null());
        if is_out("disabled_by") || is_out("hidden_by") || text(&entry, "entity_category").is_some() {
            home.remove(&id);
            continue;
        }
        let area = text(&entry, "area_id")
            .or_else(|| area_of_device.get(&text(&entry, "device_id")?).cloned())
            .and_then(|area| names.get(&area).cloned());
        let aliases = entry.get("aliases").and_then(Value::as_array).cloned().unwrap_or_default();
        let aliases: Vec<&str> = aliases.iter().filter_map(Value::as_str).collect();
        home.take_entry(&id, area.as_deref(), &aliases);
    }
}

/// Takes one event. `true`: a registry changed, everything has to be read anew.
fn take_event(shared: &Shared, event: &Value) -> bool {
    let kind = event.get("event_type").and_then(Value::as_str).unwrap_or_default();
    if kind != "state_changed" {
        return kind.ends_with("_registry_updated");
    }
    let Some(data) = event.get("data") else { return false };
    let Some(id) = data.get("entity_id").and_then(Value::as_str) else { return false };
    match data.get("new_state") {
        Some(Value::Null) => shared.home().remove(id),
        Some(state) => shared.home().take_state(id, state),
        None => {}
    }
    false
}

struct Connection {
    socket: Socket,
    next_id: u64,
    /// Events that came while lists were read.
    early: Vec<Value>,
}

/// Events kept while lists are read; more means that something is wrong.
const MAX_EARLY: usize = 10_000;

impl Connection {
    async fn open(hub: &Hub, url: &url::Url) -> Result<Self, Lost> {
        let broken = |what: &str| Lost::Broken(what.to_owned());
        let host = url.host_str().ok_or_else(|| broken("the address names no host"))?;
        let (scheme, default) = match url.scheme() {
            "http" | "ws" => ("ws", 80),
            "https" | "wss" => ("wss", 443),
            other => {
                return Err(Lost::Broken(format!("`{other}` is no scheme of Home Assistant, write http or https")));
            }
        };
        let port = url.port().unwrap_or(default);
        let addresses = match hub.resolve(host).await {
            Ok(addresses) if addresses.is_empty() => return Err(broken("its name leads nowhere")),
            Ok(addresses) => addresses,
            Err(Refusal::Denied(reason) | Refusal::Failed(reason)) => return Err(Lost::Broken(reason)),
        };
        let mut last = broken("no address");
        for address in addresses {
            match timeout(STEP_LIMIT, TcpStream::connect(SocketAddr::new(address, port))).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    let target = format!("{scheme}://{host}:{port}{}/api/websocket", url.path().trim_end_matches('/'));
                    let config = WebSocketConfig::default()
                        .max_message_size(Some(MAX_MESSAGE))
                        .max_frame_size(Some(MAX_MESSAGE));
                    let shaking = client_async_tls_with_config(target, stream, Some(config), None);
                    let (socket, _) = timeout(STEP_LIMIT, shaking)
                        .await
                        .map_err(|_| broken("no answer to the handshake"))?
                        .map_err(|error| Lost::Broken(format!("handshake: {error}")))?;
                    return Ok(Self { socket, next_id: 1, early: Vec::new() });
                }
                Ok(Err(error)) => last = Lost::Broken(error.to_string()),
                Err(_) => last = broken("no answer to the connection"),
            }
        }
        Err(last)
    }

    async fn log_in(&mut self, token: &str) -> Result<(), Lost> {
        let is = |message: &Value, kind: &str| message.get("type").and_then(Value::as_str) == Some(kind);
        let hello = self.next(STEP_LIMIT).await?;
        if !is(&hello, "auth_required") {
            return Err(Lost::Broken("it does not begin as Home Assistant does".to_owned()));
        }
        self.send(&json!({ "type": "auth", "access_token": token })).await?;
        let verdict = self.next(STEP_LIMIT).await?;
        match verdict.get("type").and_then(Value::as_str) {
            Some("auth_ok") => Ok(()),
            Some("auth_invalid") => Err(Lost::Refused),
            _ => Err(Lost::Broken("it answers the login with something else".to_owned())),
        }
    }

    /// Asks for one thing and waits for its result; a refusal counts as an empty one.
    async fn ask(&mut self, mut command: Value) -> Result<Value, Lost> {
        let id = self.take_id();
        command["id"] = Value::from(id);
        self.send(&command).await?;
        let ends = Instant::now() + LIST_LIMIT;
        loop {
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Lost::Broken("a list did not come in time".to_owned()));
            }
            let message = self.next(left).await?;
            match message.get("type").and_then(Value::as_str) {
                Some("result") if message.get("id").and_then(Value::as_u64) == Some(id) => {
                    if message.get("success") != Some(&Value::Bool(true)) {
                        tracing::warn!(what = %command["type"], "Home Assistant refuses a list");
                        return Ok(Value::Null);
                    }
                    return Ok(message.get("result").cloned().unwrap_or_default());
                }
                Some("event") if self.early.len() < MAX_EARLY => self.early.extend(message.get("event").cloned()),
                _ => {}
            }
        }
    }

    /// Carries orders and takes events until the connection breaks.
    async fn serve(&mut self, shared: &Shared, orders: &mut mpsc::Receiver<Sent>) -> Result<Never, Lost> {
        let mut waiting: HashMap<u64, oneshot::Sender<Done>> = HashMap::new();
        let mut heard = Instant::now();
        let mut is_pinged = false;
        loop {
            let quiet = if is_pinged { PONG_LIMIT } else { PING };
            tokio::select! {
                message = self.socket.next() => {
                    let Some(message) = read(message)? else { continue };
                    heard = Instant::now();
                    is_pinged = false;
                    match message.get("type").and_then(Value::as_str) {
                        Some("event") => {
                            if message.get("event").is_some_and(|event| take_event(shared, event)) {
                                // Rare, and simpler than patching what is known.
                                return Err(Lost::Broken("rooms or names changed, everything is read anew".to_owned()));
                            }
                        }
                        Some("result") => {
                            let id = message.get("id").and_then(Value::as_u64).unwrap_or_default();
                            if let Some(answer) = waiting.remove(&id) {
                                let _ = answer.send(outcome(&message));
                            }
                        }
                        _ => {}
                    }
                }
                sent = orders.recv() => {
                    let Some(Sent { order, answer }) = sent else {
                        return Err(Lost::Broken("the bridge ends".to_owned()));
                    };
                    waiting.retain(|_, answer| !answer.is_closed());
                    if waiting.len() >= MAX_WAITING {
                        let _ = answer.send(Done::Unreachable);
                        continue;
                    }
                    let id = self.take_id();
                    waiting.insert(id, answer);
                    self.send(&service_call(id, &order)).await?;
                }
                () = tokio::time::sleep_until((heard + quiet).into()) => {
                    if is_pinged {
                        return Err(Lost::Broken("it does not answer".to_owned()));
                    }
                    is_pinged = true;
                    heard = Instant::now();
                    let id = self.take_id();
                    self.send(&json!({ "id": id, "type": "ping" })).await?;
                }
            }
        }
    }

    fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    async fn send(&mut self, message: &Value) -> Result<(), Lost> {
        match timeout(SEND_LIMIT, self.socket.send(Message::text(message.to_string()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Lost::Broken(error.to_string())),
            Err(_) => Err(Lost::Broken("it does not read".to_owned())),
        }
    }

    async fn next(&mut self, limit: Duration) -> Result<Value, Lost> {
        let reading = async {
            loop {
                if let Some(message) = read(self.socket.next().await)? {
                    return Ok(message);
                }
            }
        };
        timeout(limit, reading).await.map_err(|_| Lost::Broken("no answer in time".to_owned()))?
    }
}

/// One message as JSON; `None` for what has no meaning of its own.
fn read(message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>) -> Result<Option<Value>, Lost> {
    match message {
        Some(Ok(Message::Text(text))) => serde_json::from_str(text.as_str())
            .map(Some)
            .map_err(|_| Lost::Broken("it sends something else than JSON".to_owned())),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
        Some(Ok(Message::Binary(_))) => Err(Lost::Broken("it sends something else than text".to_owned())),
        Some(Ok(Message::Close(_))) | None => Err(Lost::Broken("it closed the connection".to_owned())),
        Some(Err(error)) => Err(Lost::Broken(error.to_string())),
    }
}

fn service_call(id: u64, order: &Order) -> Value {
    let domain = order.entities.first().and_then(|id| id.split_once('.')).map_or("homeassistant", |(domain, _)| domain);
    let mut message = Map::new();
    message.insert("id".to_owned(), Value::from(id));
    message.insert("type".to_owned(), Value::from("call_service"));
    message.insert("domain".to_owned(), Value::from(domain));
    message.insert("service".to_owned(), Value::from(order.service));
    if !order.data.is_empty() {
        message.insert("service_data".to_owned(), Value::Object(order.data.clone()));
    }
    message.insert("target".to_owned(), json!({ "entity_id": order.entities }));
    Value::Object(message)
}

fn outcome(result: &Value) -> Done {
    if result.get("success") == Some(&Value::Bool(true)) {
        return Done::Yes;
    }
    let words = result.pointer("/error/message").and_then(Value::as_str).unwrap_or("no reason given");
    Done::Refused(crate::home::plain(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_call_has_the_documented_shape() {
        let order = Order {
            service: "turn_on",
            entities: vec!["light.kitchen".into(), "light.sofa".into()],
            data: [("brightness_pct".to_owned(), json!(40))].into_iter().collect(),
        };
        assert_eq!(
            service_call(24, &order),
            json!({
                "id": 24, "type": "call_service", "domain": "light", "service": "turn_on",
                "service_data": { "brightness_pct": 40 }, "target": { "entity_id": ["light.kitchen", "light.sofa"] },
            })
        );
    }

    #[test]
    fn a_result_is_a_yes_or_a_refusal() {
        assert_eq!(outcome(&json!({ "type": "result", "success": true, "result": {} })), Done::Yes);
        let refused = json!({ "success": false, "error": { "code": "not_found", "message": "Service\nnot found" } });
        assert_eq!(outcome(&refused), Done::Refused("Service not found".into()));
        assert!(matches!(outcome(&json!({})), Done::Refused(_)), "what does not say yes is none");
    }
}
