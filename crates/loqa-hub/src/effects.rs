//! What skills may do to the world through the hub. The gate has decided before
//! anything here is called.
//!
//! Nothing here blocks: what takes time runs on the hub's runtime and answers later.
//! Before the bus is up, what needs it is only logged.

use crate::outbound::{GLANCE, Outbound};
use crate::registry::Registry;
use crate::session::hops::{HopEvent, Reach};
use loqa_bus::Bus;
use loqa_protocol::llm::{ChatMessage, LlmRequest, Role};
use loqa_protocol::skill::{SkillNotification, SkillPublication};
use loqa_protocol::{SessionId, TurnId, WorkId, subject};
use loqa_skills::{
    DeviceOrder, EffectCode, EffectFault, Effects, EventLevel, EventQuery, HttpAnswer, HttpOrder, LlmAnswer, LlmOrder,
    Pending,
};
use loqa_store::{Reader, Store, StoreError};
use serde_json::{Value, json};
use std::future::Future;
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc};

/// Effects of all skills that may run at the same time; one more is told that the hub is busy. Chosen.
const MAX_RUNNING: usize = 32;
/// Events that are looked through for those of one skill. Chosen: some days of a busy house.
const MAX_SCANNED: u32 = 5_000;

/// Switches devices: a skill that speaks to the home.
pub trait Devices: Send + Sync {
    /// Carries an order out. Must not block.
    fn control(&self, order: DeviceOrder, pending: Pending<Value>);
}

/// The hub, as skills reach it.
pub struct HubEffects {
    runtime: Handle,
    announcements: mpsc::Sender<String>,
    outbound: Outbound,
    running: Arc<Semaphore>,
    /// Where events are kept.
    store: Store,
    /// Wakes whoever passes publications on to skills.
    published: Arc<Notify>,
    engines: OnceLock<Engines>,
    devices: RwLock<Option<Arc<dyn Devices>>>,
}

/// What there is once the bus is up.
struct Engines {
    bus: Bus,
    reach: Reach,
    registry: Registry,
    /// Capabilities of language models, best first.
    models: RwLock<Vec<String>>,
}

impl HubEffects {
    /// On this runtime; call from within it.
    #[must_use]
    pub fn new(announcements: mpsc::Sender<String>, store: Store) -> Self {
        Self {
            runtime: Handle::current(),
            announcements,
            outbound: Outbound::default(),
            running: Arc::new(Semaphore::new(MAX_RUNNING)),
            store,
            published: Arc::default(),
            engines: OnceLock::new(),
            devices: RwLock::default(),
        }
    }

    /// The same with another way to look names up.
    #[must_use]
    pub fn with_outbound(self, outbound: Outbound) -> Self {
        Self { outbound, ..self }
    }

    /// The bus is up.
    pub fn attach(&self, reach: Reach, models: Vec<String>) {
        let engines =
            Engines { bus: reach.bus.clone(), registry: reach.registry.clone(), reach, models: RwLock::new(models) };
        if self.engines.set(engines).is_err() {
            tracing::warn!("skills are attached to the bus already");
        }
    }

    /// Other language models are in use, best first.
    pub fn set_models(&self, models: Vec<String>) {
        if let Some(engines) = self.engines.get() {
            *engines.models.write().unwrap_or_else(std::sync::PoisonError::into_inner) = models;
        }
    }

    /// Who switches devices; `None` when nobody does any more.
    pub fn set_devices(&self, devices: Option<Arc<dyn Devices>>) {
        *self.devices.write().unwrap_or_else(std::sync::PoisonError::into_inner) = devices;
    }

    /// Told after every publication of a skill.
    #[must_use]
    pub fn published(&self) -> Arc<Notify> {
        Arc::clone(&self.published)
    }

    /// Runs an effect beside the call that wants it, until it is done, too late or not wanted any more.
    fn spawn<T: Send + 'static>(
        &self,
        pending: Pending<T>,
        effect: impl Future<Output = Result<T, EffectFault>> + Send + 'static,
    ) {
        let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() else {
            return pending.answer(Err(EffectFault::unavailable("the hub is busy with other skills")));
        };
        self.runtime.spawn(async move {
            let unwanted = async {
                while pending.is_wanted() && Instant::now() < pending.deadline() {
                    tokio::time::sleep(GLANCE).await;
                }
            };
            let answer = tokio::select! {
                answer = effect => answer,
                () = unwanted => Err(EffectFault::new(EffectCode::Timeout, "nobody waits for it any more")),
            };
            pending.answer(answer);
            drop(permit);
        });
    }

    /// Tells observers, if the bus is up. May be lost.
    fn tell<T: serde::Serialize + Send + Sync + 'static>(&self, subject: String, message: T) {
        let Some(Engines { bus, .. }) = self.engines.get() else { return };
        let bus = bus.clone();
        self.runtime.spawn(async move {
            if let Err(error) = bus.publish(&subject, &message).await {
                tracing::debug!(%error, subject, "observers were not told");
            }
        });
    }
}

impl Effects for HubEffects {
    fn say(&self, skill: &str, text: &str) {
        if self.announcements.try_send(text.to_owned()).is_err() {
            tracing::warn!(skill, "too many announcements wait, one is dropped");
        }
    }

    fn notify(&self, skill: &str, text: &str) {
        tracing::debug!(skill, "notification");
        let message = SkillNotification { skill: skill.to_owned(), text: text.to_owned() };
        self.tell(subject::skill_notice(skill), message);
    }

    fn publish(&self, skill: &str, topic: &str, data: &Value) {
        let message = SkillPublication { skill: skill.to_owned(), topic: topic.to_owned(), data: data.clone() };
        self.tell(subject::skill_out(skill, topic), message);
        self.published.notify_one();
    }

    fn published_within(&self) {
        self.published.notify_one();
    }

    fn http(&self, order: HttpOrder, pending: Pending<HttpAnswer>) {
        let (outbound, deadline) = (self.outbound.clone(), pending.deadline());
        self.spawn(pending, async move { outbound.request(order, deadline).await });
    }

    fn events(&self, query: EventQuery, pending: Pending<Vec<Value>>) {
        let store = self.store.clone();
        self.spawn(pending, async move {
            let read = tokio::task::spawn_blocking(move || read_events(&store, &query)).await;
            let failed = |error: String| EffectFault::new(EffectCode::Failed, error);
            read.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
        });
    }

    fn complete(&self, order: LlmOrder, pending: Pending<LlmAnswer>) {
        let Some(engines) = self.engines.get() else {
            return pending.answer(Err(EffectFault::unavailable("the engines are not up yet")));
        };
        let models = engines.models.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let Some(capability) = models.into_iter().find(|name| engines.registry.offers(name)) else {
            return pending.answer(Err(EffectFault::unavailable("no language model is there")));
        };
        let reach = Reach { scope: order.scope, ..engines.reach.clone() };
        let deadline = pending.deadline();
        self.spawn(pending, async move { ask_model(reach, capability, order, deadline).await });
    }

    fn device(&self, order: DeviceOrder, pending: Pending<Value>) {
        let devices = self.devices.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        match devices {
            Some(devices) => devices.control(order, pending),
            None => pending.answer(Err(EffectFault::unavailable(
                "no skill provides devices; install and enable the smart-home skill",
            ))),
        }
    }
}

async fn ask_model(
    reach: Reach,
    capability: String,
    order: LlmOrder,
    deadline: Instant,
) -> Result<LlmAnswer, EffectFault> {
    let (session, turn) =
        order.turn.unwrap_or_else(|| (SessionId::from_bits(rand::random()), TurnId::from_bits(rand::random())));
    let message = |role, content: String| ChatMessage { role, content };
    let system = (!order.system.is_empty()).then(|| message(Role::System, order.system));
    let request = LlmRequest {
        work: WorkId::from_bits(rand::random()),
        turn,
        session,
        messages: system.into_iter().chain([message(Role::User, order.prompt)]).collect(),
        tools: Vec::new(),
        max_tokens: order.max_tokens,
        temperature: 0.0,
        deadline_ms: u64::try_from(deadline.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u64::MAX),
    };
    let (events, mut heard) = mpsc::channel(64);
    // Dropped when this future is, which cancels the work.
    let running = reach.reply(capability, request, events, 0);
    let mut text = String::new();
    while let Some((_, event)) = heard.recv().await {
        match event {
            HopEvent::Delta { text: more, .. } => text.push_str(&more),
            HopEvent::ReplyDone(done) => {
                running.finished();
                let tokens = u64::from(done.prompt_tokens) + u64::from(done.output_tokens);
                return Ok(LlmAnswer { text, tokens });
            }
            HopEvent::Failed(failure) => return Err(EffectFault::new(EffectCode::Failed, failure.message)),
            HopEvent::Partial(_)
            | HopEvent::Heard { .. }
            | HopEvent::ModelToolCall { .. }
            | HopEvent::Chunk { .. }
            | HopEvent::ClauseDone { .. } => {}
        }
    }
    Err(EffectFault::new(EffectCode::Failed, "the language model ended without an answer"))
}

/// What the store kept, newest first. `own` are calls of the skill's own tools.
fn read_events(reader: &Reader, query: &EventQuery) -> Result<Vec<Value>, StoreError> {
    let limit = query.limit as usize;
    let events = match (query.level, &query.session) {
        (EventLevel::Session, None) => return Ok(Vec::new()),
        (EventLevel::Session, Some(session)) => reader.recent_events(Some(session), false, query.limit)?,
        (EventLevel::All, _) => reader.recent_events(None, false, query.limit)?,
        (EventLevel::Own, _) => {
            let prefix = format!("{}.", query.skill);
            let mut events = reader.recent_events(None, true, MAX_SCANNED)?;
            events.retain(|event| {
                let tool = match event.name.as_str() {
                    "tool_called" => event.event["call"]["name"].as_str(),
                    _ => event.event["name"].as_str(),
                };
                tool.is_some_and(|tool| tool.starts_with(&prefix))
            });
            events
        }
    };
    let rows = events.into_iter().take(limit);
    Ok(rows
        .map(|row| json!({ "session": row.session, "turn": row.turn, "at_ms": row.at_ms, "event": row.event }))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use loqa_protocol::event::PlannedBy;
    use loqa_protocol::{PrivacyScope, TimedEvent, ToolCall, TurnEvent};
    use loqa_store::{Entry, Store, StoreOptions};

    #[test]
    fn own_events_are_the_calls_of_the_skills_own_tools() {
        let store = Store::open(StoreOptions::memory()).unwrap();
        let called = |tool: &str| TurnEvent::ToolCalled {
            call: ToolCall { name: tool.to_owned(), arguments: serde_json::Map::new() },
            planned_by: PlannedBy::Model { capability: "llm.reflex".to_owned() },
        };
        let events = [
            (1, TurnEvent::TranscriptFinal { text: "hello".to_owned(), confidence: 1.0 }),
            (1, called("timer.start")),
            (2, called("timers.start")),
            (2, TurnEvent::ToolReturned { name: "timer.start".to_owned(), say: "done".to_owned() }),
        ];
        let entries = (1..).zip(events).map(|(n, (session, event))| Entry {
            event: TimedEvent {
                session: SessionId::from_bits(session),
                turn: TurnId::from_bits(session),
                seq: n,
                at_us: 0,
                event,
            },
            scope: PrivacyScope::Persistent,
            wall_ms: i64::from(n),
        });
        store.append_all(entries.collect()).unwrap();
        let read = |level, session: Option<u64>, limit| {
            let session = session.map(SessionId::from_bits);
            let query = EventQuery { skill: "timer".to_owned(), session, level, limit };
            let events = read_events(&store, &query).unwrap();
            events.iter().map(|event| event["at_ms"].as_i64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(read(EventLevel::Own, None, 50), [4, 2], "another skill's name only begins alike");
        assert_eq!(read(EventLevel::Own, None, 1), [4]);
        assert_eq!(read(EventLevel::All, None, 50), [4, 3, 2, 1]);
        assert_eq!(read(EventLevel::Session, None, 50), [0; 0], "an event belongs to no session");
        assert_eq!(read(EventLevel::Session, Some(1), 50), [2, 1]);
        assert_eq!(read(EventLevel::Session, Some(9), 50), [0; 0]);
    }
}
