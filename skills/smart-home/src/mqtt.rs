//! MQTT devices: those that announce themselves the way Home Assistant's do, and plain
//! topics from the settings. The broker may be a foreign one or the bundled server's
//! own gateway. There is no TLS: use it on this machine or on a network that you trust.

mod discovery;
mod packet;

use crate::act::{Done, Sent};
use crate::bridge::{Link, Shared};
use crate::home::Source;
use crate::hub::{Hub, Refusal};
use crate::settings::{Mqtt, PlainTopic};
use discovery::Device;
use packet::{Incoming, MAX_PACKET};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long connecting, logging in and sending may take each.
const STEP_LIMIT: Duration = Duration::from_secs(10);
/// A broker drops a client that is silent for one and a half times this.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Most devices that announce themselves; a home has some hundreds.
const MAX_DEVICES: usize = 2_000;

/// Keeps the connection for ever.
pub(crate) async fn keep(
    shared: Arc<Shared>,
    hub: Hub,
    settings: Mqtt,
    plain: Vec<PlainTopic>,
    mut orders: mpsc::Receiver<Sent>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let reason = match live(&shared, &hub, &settings, &plain, &mut orders).await {
            Ok(never) => match never {},
            Err(reason) => reason,
        };
        if began.elapsed() > MAX_PAUSE {
            pause = FIRST_PAUSE;
        }
        tracing::warn!(reason, "no connection to the MQTT broker");
        shared.set_mqtt(Link::Down("I cannot reach the MQTT broker of your home.".to_owned()));
        let ends = tokio::time::Instant::now() + pause;
        pause = (pause * 2).min(MAX_PAUSE);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(ends) => break,
                sent = orders.recv() => match sent {
                    Some(Sent { answer, .. }) => { let _ = answer.send(Done::Unreachable); }
                    None => return,
                },
            }
        }
    }
}

/// There is no value of it.
enum Never {}

async fn live(
    shared: &Shared,
    hub: &Hub,
    settings: &Mqtt,
    plain: &[PlainTopic],
    orders: &mut mpsc::Receiver<Sent>,
) -> Result<Never, String> {
    let mut broker = Broker::open(hub, settings).await?;
    let prefix = &settings.discovery;
    broker.subscribe(&[format!("{prefix}/+/+/config"), format!("{prefix}/+/+/+/config")]).await?;
    shared.home().forget(Source::Mqtt);
    let mut devices: BTreeMap<String, Device> = BTreeMap::new();
    for device in plain.iter().filter_map(Device::plain) {
        broker.add(shared, &mut devices, device).await?;
    }
    shared.set_mqtt(Link::Up);
    tracing::info!("the MQTT broker is connected");
    let mut waiting: HashMap<u16, oneshot::Sender<Done>> = HashMap::new();
    let mut heard = Instant::now();
    let mut is_pinged = false;
    loop {
        while let Some(incoming) = packet::take(&mut broker.buffer).map_err(|bad| bad.0.to_owned())? {
            heard = Instant::now();
            is_pinged = false;
            match incoming {
                Incoming::Publish { topic, payload, id } => {
                    if let Some(id) = id {
                        broker.send(&packet::puback(id)).await?;
                    }
                    broker.take_message(shared, &mut devices, prefix, &topic, &payload).await?;
                }
                Incoming::PubAck { id } => {
                    if let Some(answer) = waiting.remove(&id) {
                        let _ = answer.send(Done::Yes);
                    }
                }
                Incoming::ConnAck { .. } | Incoming::SubAck | Incoming::PingResp | Incoming::Other => {}
            }
        }
        let quiet = if is_pinged { STEP_LIMIT } else { KEEP_ALIVE / 2 };
        tokio::select! {
            read = broker.stream.read_buf(&mut broker.buffer) => match read {
                Ok(0) => return Err("it closed the connection".to_owned()),
                Ok(_) if broker.buffer.len() > MAX_PACKET + 8 => return Err("it sends too much".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            },
            sent = orders.recv() => {
                let Some(Sent { order, answer }) = sent else { return Err("the bridge ends".to_owned()) };
                waiting.retain(|_, answer| !answer.is_closed());
                let messages: Option<Vec<_>> = order
                    .entities
                    .iter()
                    .map(|entity| devices.get(entity).and_then(|device| device.order(&order)))
                    .collect();
                let Some(messages) = messages.map(|lists| lists.into_iter().flatten().collect::<Vec<_>>()) else {
                    let _ = answer.send(Done::Refused("a device cannot do that".to_owned()));
                    continue;
                };
                // The last one tells: a broker confirms in the order in which it was told.
                let mut last = 0;
                for (topic, payload) in &messages {
                    last = broker.take_id();
                    broker.send(&packet::publish(last, topic, payload.as_bytes())).await?;
                }
                waiting.insert(last, answer);
            }
            () = tokio::time::sleep_until((heard + quiet).into()) => {
                if is_pinged {
                    return Err("it does not answer".to_owned());
                }
                is_pinged = true;
                heard = Instant::now();
                broker.send(&packet::ping()).await?;
            }
        }
    }
}

struct Broker {
    stream: TcpStream,
    buffer: Vec<u8>,
    next_id: u16,
}

impl Broker {
    async fn open(hub: &Hub, settings: &Mqtt) -> Result<Self, String> {
        if settings.address.scheme() != "mqtt" {
            return Err(format!("`{}` is no scheme of a broker, write mqtt", settings.address.scheme()));
        }
        let host = settings.address.host_str().ok_or("the address names no host")?;
        let port = settings.address.port().unwrap_or(1883);
        let addresses = match hub.resolve(host).await {
            Ok(addresses) => addresses,
            Err(Refusal::Denied(reason) | Refusal::Failed(reason)) => return Err(reason),
        };
        let mut last = "its name leads nowhere".to_owned();
        for address in addresses {
            match timeout(STEP_LIMIT, TcpStream::connect(SocketAddr::new(address, port))).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    let mut broker = Self { stream, buffer: Vec::new(), next_id: 0 };
                    broker.log_in(settings).await?;
                    return Ok(broker);
                }
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = "no answer to the connection".to_owned(),
            }
        }
        Err(last)
    }

    async fn log_in(&mut self, settings: &Mqtt) -> Result<(), String> {
        let keep_alive = u16::try_from(KEEP_ALIVE.as_secs()).unwrap_or(30);
        let client = format!("loqa-{}", std::process::id());
        self.send(&packet::connect(&client, &settings.user, &settings.password, keep_alive)).await?;
        let answer = async {
            loop {
                if let Some(incoming) = packet::take(&mut self.buffer).map_err(|bad| bad.0.to_owned())? {
                    return Ok::<_, String>(incoming);
                }
                match self.stream.read_buf(&mut self.buffer).await {
                    Ok(0) => return Err("it closed the connection".to_owned()),
                    Ok(_) => {}
                    Err(error) => return Err(error.to_string()),
                }
            }
        };
        match timeout(STEP_LIMIT, answer).await.map_err(|_| "no answer to the login".to_owned())?? {
            Incoming::ConnAck { code: 0 } => Ok(()),
            Incoming::ConnAck { code: 4 | 5 } => Err("it does not accept the name or the password".to_owned()),
            Incoming::ConnAck { code } => Err(format!("it refuses the login with code {code}")),
            _ => Err("it answers the login with something else".to_owned()),
        }
    }

    async fn send(&mut self, packet: &[u8]) -> Result<(), String> {
        match timeout(STEP_LIMIT, self.stream.write_all(packet)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it does not read".to_owned()),
        }
    }

    async fn subscribe(&mut self, topics: &[String]) -> Result<(), String> {
        if topics.is_empty() {
            return Ok(());
        }
        let id = self.take_id();
        self.send(&packet::subscribe(id, topics)).await
    }

    /// 1 to 65,535; 0 is not allowed.
    fn take_id(&mut self) -> u16 {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        self.next_id
    }

    async fn add(
        &mut self,
        shared: &Shared,
        devices: &mut BTreeMap<String, Device>,
        device: Device,
    ) -> Result<(), String> {
        let id = device.entity.id.clone();
        if devices.len() >= MAX_DEVICES && !devices.contains_key(&id) {
            return Ok(());
        }
        if shared.home().get(&id).is_some_and(|known| known.source != Source::Mqtt) {
            // Home Assistant has it too, with what it knows about rooms.
            return Ok(());
        }
        shared.home().put(device.entity.clone());
        let topics = device.topics();
        devices.insert(id, device);
        self.subscribe(&topics).await
    }

    async fn take_message(
        &mut self,
        shared: &Shared,
        devices: &mut BTreeMap<String, Device>,
        prefix: &str,
        topic: &str,
        payload: &[u8],
    ) -> Result<(), String> {
        if let Some((kind, object)) = discovery::parts(topic, prefix) {
            let id = format!("{kind}.{object}");
            if payload.is_empty() {
                if devices.remove(&id).is_some() {
                    shared.home().remove(&id);
                }
            } else if let Some(device) = Device::discovered(topic, prefix, payload) {
                self.add(shared, devices, device).await?;
            }
            return Ok(());
        }
        let mut home = shared.home();
        for (id, device) in devices.iter().filter(|(_, device)| device.topics().iter().any(|known| known == topic)) {
            if let Some(entity) = home.get_mut(id) {
                device.heard(topic, payload, entity);
            }
        }
        Ok(())
    }
}
