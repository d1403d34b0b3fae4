//! What the bridge asks of the hub: whether it may do something to a device, its token,
//! the address of a host.

use loqa_bus::Bus;
use loqa_protocol::id::CallId;
use loqa_protocol::skill::{HostAnswer, HostCall};
use loqa_protocol::subject;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A person may be asked; the hub ends that by itself.
const PATIENCE: Duration = Duration::from_secs(300);

/// The way to the hub.
#[derive(Clone)]
pub(crate) struct Hub {
    bus: Bus,
    skill: String,
}

/// Why the hub did not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The person or the policy says no.
    Denied(String),
    /// Anything else.
    Failed(String),
}

impl Hub {
    pub(crate) fn new(bus: Bus, skill: &str) -> Self {
        Self { bus, skill: skill.to_owned() }
    }

    async fn ask(&self, call: Option<CallId>, function: &str, arguments: Value) -> Result<Value, Refusal> {
        let host_call = HostCall { call, function: function.to_owned(), arguments };
        match self.bus.request::<_, HostAnswer>(&subject::skill_host(&self.skill), &host_call, PATIENCE).await {
            Ok(HostAnswer::Ok(value)) => Ok(value),
            Ok(HostAnswer::Error { code, message }) => Err(match code.as_str() {
                "bad_arguments" | "failed" | "busy" | "storage" | "no_such_call" => Refusal::Failed(message),
                _ => Refusal::Denied(message),
            }),
            Err(error) => Err(Refusal::Failed(error.to_string())),
        }
    }

    /// The value of a secret, `None` when the user has not set it.
    pub(crate) async fn secret(&self, name: &str, origin: &str) -> Result<Option<String>, Refusal> {
        let value = self.ask(None, "secret", json!({ "name": name, "origin": origin })).await?;
        Ok(value.as_str().map(str::to_owned))
    }

    /// Addresses of a host that the user has named.
    pub(crate) async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Refusal> {
        let value = self.ask(None, "resolve", json!({ "host": host })).await?;
        serde_json::from_value(value).map_err(|error| Refusal::Failed(error.to_string()))
    }
}

/// One call of a tool, while it runs.
pub(crate) struct Call {
    hub: Hub,
    id: CallId,
    ends: Instant,
    /// Microseconds that the hub took for its answers: the call's clock stands still then.
    waited_us: Arc<AtomicU64>,
}

/// Kept back for the way of the answer.
const RESERVE: Duration = Duration::from_millis(40);

impl Call {
    pub(crate) fn new(hub: Hub, id: CallId, budget: Duration) -> Self {
        Self { hub, id, ends: Instant::now() + budget - RESERVE.min(budget / 4), waited_us: Arc::default() }
    }

    /// Until when there is something to say about the outcome.
    pub(crate) fn deadline(&self) -> Instant {
        self.ends + Duration::from_micros(self.waited_us.load(Ordering::Relaxed))
    }

    /// Whether this may be done to that entity; asks the person where that is needed.
    pub(crate) async fn may(
        &self,
        operation: &str,
        entity: &str,
        data: &Value,
        is_critical: bool,
    ) -> Result<(), Refusal> {
        let began = Instant::now();
        let arguments = json!({ "operation": operation, "entity": entity, "data": data, "critical": is_critical });
        let answer = self.hub.ask(Some(self.id.clone()), "device", arguments).await;
        let waited = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited_us.fetch_add(waited, Ordering::Relaxed);
        answer.map(|_| ())
    }
}
