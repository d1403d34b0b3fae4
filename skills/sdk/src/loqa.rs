//! The host as a skill sees it: typed wrappers over the host functions.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// Something that performs host functions: the real host, or a stand-in for tests.
pub trait Host {
    /// Performs one host function; arguments and result as documented in `docs/skills.md`.
    fn call(&mut self, function: &str, arguments: Value) -> Result<Value, HostError>;
}

/// Why the host did not do it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HostError {
    /// `not_declared`, `not_granted`, `policy`, `out_of_scope`, `rate_exceeded`, `no_turn`,
    /// `audit_failed`, `bad_arguments` or `storage`.
    pub code: String,
    /// For the log.
    pub message: String,
}

impl HostError {
    /// Whether a permission is missing or too narrow.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        !matches!(self.code.as_str(), "bad_arguments" | "storage")
    }

    /// Whether the call went beyond the scope of its permission, for example one timer too many.
    #[must_use]
    pub fn is_out_of_scope(&self) -> bool {
        self.code == "out_of_scope"
    }
}

impl std::fmt::Display for HostError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for HostError {}

/// How much a log line matters to the skill's author. Users see none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Details.
    Debug,
    /// Worth knowing.
    Info,
    /// Odd but working.
    Warn,
    /// Broken.
    Error,
}

/// A timer that is running.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Timer<T> {
    /// As given when it was set.
    pub id: String,
    /// Milliseconds until it is due; negative when it is overdue.
    pub due_in_ms: i64,
    /// As given when it was set.
    pub data: T,
}

/// Data of the event `timer.elapsed`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TimerElapsed<T> {
    /// Of the timer.
    pub id: String,
    /// As given when it was set.
    pub data: T,
    /// When it was due, in milliseconds since the Unix epoch.
    pub due_ms: i64,
    /// How late the event comes, for example because the machine was off.
    pub late_ms: i64,
}

/// The host. Each method names the permission that it needs.
pub struct Loqa<'h> {
    host: &'h mut dyn Host,
}

impl<'h> Loqa<'h> {
    /// Speaks to that host.
    pub fn new(host: &'h mut dyn Host) -> Self {
        Self { host }
    }

    /// Writes to the host's log (`log:write`). Losing a line is never worth an error.
    pub fn log(&mut self, level: Level, text: &str) {
        let _lost = self.host.call("log", json!({ "level": level, "text": text }));
    }

    /// Says something in the running turn, before the reply (`reply:say`).
    pub fn say(&mut self, text: &str) -> Result<(), HostError> {
        self.host.call("say", json!({ "text": text })).map(drop)
    }

    /// Says something unasked (`tts:say`).
    pub fn announce(&mut self, text: &str) -> Result<(), HostError> {
        self.host.call("announce", json!({ "text": text })).map(drop)
    }

    /// Shows a notification (`notify:show`).
    pub fn notify(&mut self, text: &str) -> Result<(), HostError> {
        self.host.call("notify", json!({ "text": text })).map(drop)
    }

    /// Publishes below the skill's own prefix (`bus:publish`).
    pub fn publish(&mut self, topic: &str, data: impl Serialize) -> Result<(), HostError> {
        let data = to_json(data)?;
        self.host.call("publish", json!({ "topic": topic, "data": data })).map(drop)
    }

    /// Reads a value (`kv:store`); `None` when there is none.
    pub fn value<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, HostError> {
        from_json(self.host.call("kv_get", json!({ "key": key }))?)
    }

    /// Keeps a value (`kv:store`).
    pub fn set_value(&mut self, key: &str, value: impl Serialize) -> Result<(), HostError> {
        let value = to_json(value)?;
        self.host.call("kv_set", json!({ "key": key, "value": value })).map(drop)
    }

    /// Forgets a value (`kv:store`).
    pub fn delete_value(&mut self, key: &str) -> Result<(), HostError> {
        self.host.call("kv_delete", json!({ "key": key })).map(drop)
    }

    /// Keys that begin with `prefix`, sorted (`kv:store`).
    pub fn keys(&mut self, prefix: &str) -> Result<Vec<String>, HostError> {
        from_json(self.host.call("kv_list", json!({ "prefix": prefix }))?)
    }

    /// Milliseconds since the Unix epoch, the same throughout a call (`timer:set`).
    pub fn now_ms(&mut self) -> Result<i64, HostError> {
        from_json(self.host.call("now", json!({}))?)
    }

    /// Sets a timer, or moves the one with that id (`timer:set`). `timer.elapsed` brings `data` back.
    pub fn set_timer(&mut self, id: &str, due_in: Duration, data: impl Serialize) -> Result<(), HostError> {
        let due_in_ms = u64::try_from(due_in.as_millis()).unwrap_or(u64::MAX);
        let data = to_json(data)?;
        self.host.call("timer_set", json!({ "id": id, "due_in_ms": due_in_ms, "data": data })).map(drop)
    }

    /// Cancels a timer and says whether there was one (`timer:set`).
    pub fn cancel_timer(&mut self, id: &str) -> Result<bool, HostError> {
        from_json(self.host.call("timer_cancel", json!({ "id": id }))?)
    }

    /// The timers that run, earliest first (`timer:set`).
    pub fn timers<T: DeserializeOwned>(&mut self) -> Result<Vec<Timer<T>>, HostError> {
        from_json(self.host.call("timer_list", json!({}))?)
    }
}

fn to_json(value: impl Serialize) -> Result<Value, HostError> {
    serde_json::to_value(value).map_err(|error| bad(&error))
}

fn from_json<T: DeserializeOwned>(value: Value) -> Result<T, HostError> {
    serde_json::from_value(value).map_err(|error| bad(&error))
}

fn bad(error: &serde_json::Error) -> HostError {
    HostError { code: "bad_arguments".to_owned(), message: error.to_string() }
}
