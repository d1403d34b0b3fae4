//! Who is there: the engines that said hello, what they can do and whether they live.
//!
//! The registry only remembers and tells; starting engines is the supervisor's
//! business, choosing one for a request is done by NATS queue groups.

use loqa_bus::{Bus, BusError};
use loqa_protocol::client::{NodeInfo, NodeState};
use loqa_protocol::engine::{
    Capability, DEAD_AFTER_MS, EngineAnnounce, EngineHello, HEARTBEAT_MS, Heartbeat, HubAnswer,
};
use loqa_protocol::{ErrorCode, Failure, Hop, InstanceId, PROTOCOL_VERSION, subject};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

struct Node {
    hello: EngineHello,
    state: NodeState,
    capabilities: Vec<Capability>,
    busy: u32,
    rss_bytes: u64,
    last_seen: Instant,
}

/// Shared by the supervisor, the session drivers and the API.
#[derive(Clone)]
pub struct Registry {
    nodes: Arc<Mutex<BTreeMap<InstanceId, Node>>>,
    /// Counts changes; whoever waits for an engine to come or go watches it.
    changes: Arc<watch::Sender<u64>>,
    /// Dead rows are kept this long for `loqa nodes`. Chosen: long enough to be read.
    keep_dead: Duration,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self { nodes: Arc::default(), changes: Arc::new(watch::channel(0).0), keep_dead: Duration::from_mins(1) }
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Node>> {
        // A panic elsewhere cannot leave a half-written row: rows are replaced whole.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Takes a hello; refuses another protocol version.
    pub fn hello(&self, hello: EngineHello, now: Instant) -> HubAnswer {
        if hello.protocol != PROTOCOL_VERSION {
            return HubAnswer::Refused {
                failure: Failure::new(
                    Hop::Hub,
                    ErrorCode::ProtocolMismatch,
                    format!(
                        "{} {} speaks protocol {}, this hub speaks {PROTOCOL_VERSION}: install the same version of both",
                        hello.program, hello.version, hello.protocol
                    ),
                ),
            };
        }
        let mut nodes = self.nodes();
        // An engine says hello again after the bus came back; what it announced stands
        // until it announces anew.
        let (state, capabilities) = nodes
            .remove(&hello.instance)
            .filter(|node| node.state == NodeState::Ready)
            .map_or((NodeState::Starting, Vec::new()), |node| (node.state, node.capabilities));
        nodes
            .insert(hello.instance.clone(), Node { hello, state, capabilities, busy: 0, rss_bytes: 0, last_seen: now });
        drop(nodes);
        self.changed();
        welcome()
    }

    /// Takes an announce; an engine that never said hello is refused.
    pub fn announce(&self, announce: EngineAnnounce, now: Instant) -> HubAnswer {
        let mut nodes = self.nodes();
        let Some(node) = nodes.get_mut(&announce.instance) else {
            return HubAnswer::Refused {
                failure: Failure::new(Hop::Hub, ErrorCode::BadRequest, "announce before hello"),
            };
        };
        node.capabilities = announce.capabilities;
        node.state = NodeState::Ready;
        node.last_seen = now;
        drop(nodes);
        self.changed();
        welcome()
    }

    /// Takes a sign of life; one of an unknown engine is ignored.
    pub fn heartbeat(&self, beat: &Heartbeat, now: Instant) {
        if let Some(node) = self.nodes().get_mut(&beat.instance) {
            node.last_seen = now;
            node.busy = beat.busy;
            node.rss_bytes = beat.rss_bytes;
        }
    }

    /// The engine is gone, whoever noticed.
    pub fn mark_dead(&self, instance: &InstanceId) {
        let mut nodes = self.nodes();
        let Some(node) = nodes.get_mut(instance) else { return };
        if node.state == NodeState::Dead {
            return;
        }
        node.state = NodeState::Dead;
        drop(nodes);
        self.changed();
    }

    /// Declares dead who was silent for [`DEAD_AFTER_MS`] and forgets old dead rows.
    pub fn sweep(&self, now: Instant) {
        let silent: Vec<InstanceId> = {
            let mut nodes = self.nodes();
            nodes
                .retain(|_, node| node.state != NodeState::Dead || now.duration_since(node.last_seen) < self.keep_dead);
            nodes
                .iter()
                .filter(|(_, node)| {
                    node.state != NodeState::Dead
                        && now.duration_since(node.last_seen) > Duration::from_millis(DEAD_AFTER_MS)
                })
                .map(|(instance, _)| instance.clone())
                .collect()
        };
        for instance in silent {
            tracing::warn!(%instance, "engine is silent, declared dead");
            self.mark_dead(&instance);
        }
    }

    /// Whether a living engine offers `capability`.
    #[must_use]
    pub fn offers(&self, capability: &str) -> bool {
        self.nodes()
            .values()
            .any(|node| node.state == NodeState::Ready && node.capabilities.iter().any(|c| c.name == capability))
    }

    /// Whether a living engine that offers `capability` has this voice, or says nothing about voices.
    #[must_use]
    pub fn has_voice(&self, capability: &str, voice: &str) -> bool {
        let nodes = self.nodes();
        let mut offers = nodes
            .values()
            .filter(|node| node.state == NodeState::Ready)
            .flat_map(|node| node.capabilities.iter().filter(|c| c.name == capability))
            .peekable();
        offers.peek().is_none() || offers.any(|c| c.voices.is_empty() || c.voices.iter().any(|name| name == voice))
    }

    /// Whether this engine is known and not dead.
    #[must_use]
    pub fn lives(&self, instance: &InstanceId) -> bool {
        self.nodes().get(instance).is_some_and(|node| node.state != NodeState::Dead)
    }

    /// Waits until `capability` is offered; `false` when `limit` passed first.
    pub async fn wait_for(&self, capability: &str, limit: Duration) -> bool {
        self.wait_until(limit, || self.offers(capability)).await
    }

    /// Waits until this engine is gone; never returns while it lives.
    pub async fn lost(&self, instance: &InstanceId) {
        let mut changes = self.changes.subscribe();
        while self.lives(instance) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    async fn wait_until(&self, limit: Duration, reached: impl Fn() -> bool) -> bool {
        let mut changes = self.changes.subscribe();
        let waiting = async {
            while !reached() {
                if changes.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(limit, waiting).await.unwrap_or(false)
    }

    /// Rows of `loqa nodes`.
    #[must_use]
    pub fn list(&self, now: Instant) -> Vec<NodeInfo> {
        self.nodes()
            .values()
            .map(|node| NodeInfo {
                instance: node.hello.instance.clone(),
                kind: node.hello.kind,
                program: format!("{} {}", node.hello.program, node.hello.version),
                node: node.hello.node.clone(),
                pid: node.hello.pid,
                state: node.state,
                capabilities: node.capabilities.clone(),
                busy: node.busy,
                rss_bytes: node.rss_bytes,
                last_seen_ms: u64::try_from(now.duration_since(node.last_seen).as_millis()).unwrap_or(u64::MAX),
            })
            .collect()
    }

    /// Serves hello, announce and heartbeat on the bus until the bus closes.
    pub async fn serve(self, bus: Bus) -> Result<(), BusError> {
        let mut hellos = bus.subscribe(subject::ENGINE_HELLO, None, 64).await?;
        let mut announces = bus.subscribe(subject::ENGINE_ANNOUNCE, None, 64).await?;
        let mut beats = bus.subscribe(subject::ENGINE_HEARTBEAT, None, 256).await?;
        bus.flush().await?;
        tokio::spawn(async move {
            let mut sweep = tokio::time::interval(Duration::from_millis(HEARTBEAT_MS / 2));
            sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                let (message, answer) = tokio::select! {
                    Some(message) = hellos.next() => {
                        let answer = message.json::<EngineHello>().map(|hello| self.hello(hello, Instant::now()));
                        (message, answer)
                    }
                    Some(message) = announces.next() => {
                        let answer = message.json::<EngineAnnounce>().map(|a| self.announce(a, Instant::now()));
                        (message, answer)
                    }
                    Some(message) = beats.next() => {
                        match message.json::<Heartbeat>() {
                            Ok(beat) => self.heartbeat(&beat, Instant::now()),
                            Err(e) => tracing::debug!(error = %e, "unreadable heartbeat"),
                        }
                        continue;
                    }
                    _ = sweep.tick() => {
                        self.sweep(Instant::now());
                        continue;
                    }
                    else => return,
                };
                let answer = answer.unwrap_or_else(|e| HubAnswer::Refused {
                    failure: Failure::new(Hop::Hub, ErrorCode::BadRequest, e.to_string()),
                });
                if let Some(reply) = &message.reply
                    && let Err(e) = bus.respond(reply, &answer).await
                {
                    tracing::debug!(error = %e, "answer to an engine did not leave");
                }
            }
        });
        Ok(())
    }
}

fn welcome() -> HubAnswer {
    HubAnswer::Welcome { heartbeat_ms: HEARTBEAT_MS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loqa_protocol::engine::EngineKind;

    fn hello(instance: &str, protocol: u32) -> EngineHello {
        EngineHello {
            protocol,
            instance: InstanceId::new(instance).unwrap(),
            kind: EngineKind::Stt,
            program: "loqa-stt".into(),
            version: "0".into(),
            pid: 1,
            node: "here".into(),
        }
    }

    fn announce(instance: &str) -> EngineAnnounce {
        EngineAnnounce {
            instance: InstanceId::new(instance).unwrap(),
            capabilities: vec![Capability {
                name: "stt.whisper".into(),
                model: "m".into(),
                quantisation: "q8_0".into(),
                languages: vec![],
                sample_rate: None,
                voices: vec![],
                measured_speed: 1.0,
            }],
            slots: 1,
            ready_ms: 1,
        }
    }

    #[test]
    fn an_engine_is_offered_between_announce_and_silence() {
        let registry = Registry::new();
        let start = Instant::now();
        assert!(matches!(registry.announce(announce("a"), start), HubAnswer::Refused { .. }), "hello comes first");
        registry.hello(hello("a", PROTOCOL_VERSION), start);
        assert!(!registry.offers("stt.whisper"), "it has no model yet");
        registry.announce(announce("a"), start);
        assert!(registry.offers("stt.whisper"));
        registry.sweep(start + Duration::from_millis(DEAD_AFTER_MS));
        assert!(registry.offers("stt.whisper"), "three heartbeats have not been missed yet");
        registry.sweep(start + Duration::from_millis(DEAD_AFTER_MS + 1));
        assert!(!registry.offers("stt.whisper"), "silence is death");
    }

    #[test]
    fn another_protocol_version_is_refused() {
        let answer = Registry::new().hello(hello("a", PROTOCOL_VERSION + 1), Instant::now());
        assert!(
            matches!(answer, HubAnswer::Refused { failure } if failure.code == ErrorCode::ProtocolMismatch),
            "an older peer could misread messages"
        );
    }

    #[tokio::test]
    async fn waiting_ends_when_the_engine_comes_and_when_it_goes() {
        let registry = Registry::new();
        let waiting = tokio::spawn({
            let registry = registry.clone();
            async move { registry.wait_for("stt.whisper", Duration::from_secs(10)).await }
        });
        registry.hello(hello("a", PROTOCOL_VERSION), Instant::now());
        registry.announce(announce("a"), Instant::now());
        assert!(waiting.await.unwrap());
        let instance = InstanceId::new("a").unwrap();
        let lost = tokio::spawn({
            let (registry, instance) = (registry.clone(), instance.clone());
            async move { registry.lost(&instance).await }
        });
        registry.mark_dead(&instance);
        tokio::time::timeout(Duration::from_secs(10), lost).await.unwrap().unwrap();
    }
}
