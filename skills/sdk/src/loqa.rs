//! The host as a skill sees it: typed wrappers over the host functions.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Something that performs host functions: the real host, or a stand-in for tests.
pub trait Host {
    /// Performs one host function; arguments and result as documented in `docs/skills.md`.
    fn call(&mut self, function: &str, arguments: Value) -> Result<Value, HostError>;
}

/// Why the host did not do it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HostError {
    /// `bad_arguments`, `storage`, one of [`EFFECT_CODES`], or why it was denied, for example
    /// `not_granted` or `out_of_scope`; `docs/permissions.md` lists the reasons.
    pub code: String,
    /// For the log.
    pub message: String,
}

/// Codes of what was allowed and did not work: nothing can do it, nobody answers, the
/// address may not be called, the answer is too large, the call was cancelled, it broke.
pub const EFFECT_CODES: &[&str] =
    &["unavailable", "unreachable", "forbidden_address", "timeout", "too_large", "cancelled", "failed"];

impl HostError {
    /// Whether a permission is missing or too narrow.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        let code = self.code.as_str();
        !matches!(code, "bad_arguments" | "storage" | "dry_run") && !EFFECT_CODES.contains(&code)
    }

    /// Whether the other side could not be reached, or was too slow.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        matches!(self.code.as_str(), "unreachable" | "timeout")
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

/// Data of an event `bus.<skill>.<topic>`: what another skill published.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Published<T> {
    /// The skill that published it.
    pub from: String,
    /// Its topic, below its own prefix.
    pub topic: String,
    /// As it was published.
    pub data: T,
}

/// A request to a web server, for [`Loqa::http`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpRequest {
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    secrets: Vec<SecretHeader>,
    redirects: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct SecretHeader {
    name: String,
    header: String,
    prefix: String,
}

impl HttpRequest {
    /// Reads an address.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// Sends text to an address.
    pub fn post(url: impl Into<String>, body: impl Into<String>) -> Self {
        Self { body: Some(body.into()), ..Self::new("POST", url) }
    }

    /// Any method of GET, HEAD, POST, PUT, PATCH and DELETE, without a body.
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            url: url.into(),
            headers: BTreeMap::new(),
            body: None,
            secrets: Vec::new(),
            redirects: 0,
        }
    }

    /// Adds a header, one of those that the host lets through, for example `accept`.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Has the host put a secret into a header, after `prefix`: for example the secret
    /// `key` into `authorization` after `Bearer `. It needs `secret:use` for that name and origin.
    #[must_use]
    pub fn secret(mut self, name: &str, header: &str, prefix: &str) -> Self {
        let [name, header, prefix] = [name, header, prefix].map(str::to_owned);
        self.secrets.push(SecretHeader { name, header, prefix });
        self
    }

    /// Follows up to that many redirects, each within the skill's own addresses.
    #[must_use]
    pub fn redirects(self, redirects: u32) -> Self {
        Self { redirects, ..self }
    }
}

/// What a web server answered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HttpAnswer {
    /// Status code; 404 and 500 are answers too.
    pub status: u16,
    /// Some of the headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The text.
    pub body: String,
    /// The address that answered, after redirects.
    pub url: String,
}

impl HttpAnswer {
    /// Whether the status says that it went well.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// The text as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, HostError> {
        serde_json::from_str(&self.body)
            .map_err(|error| HostError { code: "failed".to_owned(), message: format!("the answer: {error}") })
    }
}

/// One message of what was said before.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Message {
    /// `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub text: String,
}

/// What a language model answered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Completion {
    /// The text.
    pub text: String,
    /// Tokens of prompt and answer.
    pub tokens: u64,
}

/// The host. Each method names the permission that it needs.
pub struct Loqa<'h> {
    host: &'h mut dyn Host,
    urls: Vec<String>,
}

impl<'h> Loqa<'h> {
    /// Speaks to that host.
    pub fn new(host: &'h mut dyn Host) -> Self {
        Self { host, urls: Vec::new() }
    }

    /// The same, for a skill whose manifest names these addresses.
    pub fn with_urls(host: &'h mut dyn Host, urls: Vec<String>) -> Self {
        Self { host, urls }
    }

    /// The addresses that the manifest names under `http:call`.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.urls
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

    /// Makes a request to a web server (`http:call`). A status that is no success is an answer.
    pub fn http(&mut self, request: &HttpRequest) -> Result<HttpAnswer, HostError> {
        from_json(self.host.call("http", to_json(request)?)?)
    }

    /// Whether the user has set a secret (`secret:use`). Its text never reaches the skill.
    pub fn has_secret(&mut self, name: &str, origin: &str) -> Result<bool, HostError> {
        from_json(self.host.call("secret", json!({ "name": name, "origin": origin }))?)
    }

    /// What was said in this turn, word by word (`transcript:read` with `level: utterance`).
    pub fn utterance(&mut self) -> Result<String, HostError> {
        from_json(self.host.call("transcript", json!({ "level": "utterance" }))?)
    }

    /// The last `n` messages before this turn, oldest first (`transcript:read` with `level: history:n`).
    pub fn history(&mut self, n: u32) -> Result<Vec<Message>, HostError> {
        from_json(self.host.call("transcript", json!({ "level": format!("history:{n}") }))?)
    }

    /// Recorded events, newest first: `own`, `session` or `all` (`event_store:read` of that level).
    pub fn recorded_events(&mut self, level: &str, limit: u32) -> Result<Vec<Value>, HostError> {
        from_json(self.host.call("event_store", json!({ "level": level, "limit": limit }))?)
    }

    /// Asks the language model (`llm:complete`). Takes a second or more.
    pub fn complete(&mut self, system: &str, prompt: &str, max_tokens: u32) -> Result<Completion, HostError> {
        let arguments = json!({ "system": system, "prompt": prompt, "max_tokens": max_tokens });
        from_json(self.host.call("llm", arguments)?)
    }

    /// Has a device do something (`device:control`), for example `turn_on` `light.kitchen`.
    pub fn control(&mut self, operation: &str, entity: &str, data: impl Serialize) -> Result<Value, HostError> {
        let data = to_json(data)?;
        self.host.call("device", json!({ "operation": operation, "entity": entity, "data": data }))
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
