//! Reads the arguments of a host call and works out what it would use. Changes nothing.

use super::http::{self, HttpArguments, HttpRequest};
use super::{HostFunction, Refusal, Running};
use crate::authorize::Usage;
use crate::host::effects::EventLevel;
use crate::store::TimerRow;
use loqa_protocol::id::is_token;
use serde::Deserialize;
use serde_json::Value;

/// Longest key and timer id. Chosen.
const MAX_KEY_BYTES: usize = 128;
/// Latest time that a timer can be set for: one year, so that sums cannot overflow.
const MAX_TIMER_MS: i64 = 365 * 24 * 3_600 * 1_000;
/// Most recorded events of one call. Chosen: what fits into a result.
const MAX_EVENTS: u32 = 50;
/// Most messages of the history in one call. Chosen: more than a session keeps.
const MAX_HISTORY: u32 = 64;
/// Most tokens of one answer of the language model. Chosen: about a page.
const MAX_LLM_TOKENS: u32 = 1_024;
/// Bytes of text per token at the least, to count a prompt before it is measured. Chosen: common tokenizers
/// make three to four of English text; three over-counts rather than under-counts.
const BYTES_PER_TOKEN: u64 = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogArguments {
    level: LogLevel,
    text: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextArguments {
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishArguments {
    topic: String,
    data: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyArguments {
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyValueArguments {
    key: String,
    value: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrefixArguments {
    prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoArguments {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimerArguments {
    id: String,
    due_in_ms: i64,
    data: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdArguments {
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretArguments {
    name: String,
    origin: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LevelArguments {
    level: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventArguments {
    level: String,
    #[serde(default)]
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LlmArguments {
    #[serde(default)]
    system: String,
    prompt: String,
    #[serde(default)]
    max_tokens: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceArguments {
    operation: String,
    entity: String,
    #[serde(default)]
    data: Value,
}

/// A host call that was understood, with what it would use.
pub(crate) enum Call {
    Log { level: LogLevel, text: String },
    Say { text: String },
    Announce { text: String },
    Notify { text: String },
    Publish { topic: String, data: Value },
    KvGet { key: String },
    KvSet { key: String, value: String, bytes_after: u64 },
    KvDelete { key: String },
    KvList { prefix: String },
    Now,
    TimerSet { id: String, timer: TimerRow, count_after: u64 },
    TimerCancel { id: String },
    TimerList,
    Http(HttpRequest),
    Secret { name: String, origin: String },
    Transcript { level: String, depth: HistoryDepth },
    EventStore { level: String, reach: EventLevel, limit: u32 },
    Llm { system: String, prompt: String, max_tokens: u32, tokens_asked: u64 },
    Device { operation: String, entity: String, data: Value, words: String },
}

/// How much of what was said is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HistoryDepth {
    /// Nothing beyond the arguments.
    Arguments,
    /// What was said in this turn.
    Utterance,
    /// As many messages before it.
    History(usize),
}

impl Running {
    pub(super) fn understand(&mut self, function: HostFunction, input: &[u8]) -> Result<Call, Refusal> {
        let store = self.shared.store_of(self.actor.scope);
        let skill = &self.actor.skill;
        Ok(match function {
            HostFunction::Log => {
                let LogArguments { level, text } = arguments(input)?;
                Call::Log { level, text }
            }
            HostFunction::Say => Call::Say { text: spoken(arguments::<TextArguments>(input)?.text)? },
            HostFunction::Announce => Call::Announce { text: spoken(arguments::<TextArguments>(input)?.text)? },
            HostFunction::Notify => Call::Notify { text: spoken(arguments::<TextArguments>(input)?.text)? },
            HostFunction::Publish => {
                let PublishArguments { topic, data } = arguments(input)?;
                Call::Publish { topic, data }
            }
            HostFunction::KvGet => Call::KvGet { key: named(arguments::<KeyArguments>(input)?.key)? },
            HostFunction::KvSet => {
                let KeyValueArguments { key, value } = arguments(input)?;
                let (key, value) = (named(key)?, value.to_string());
                let bytes_after = self.draft.bytes_with(store, skill, &key, value.len() as u64)?;
                Call::KvSet { key, value, bytes_after }
            }
            HostFunction::KvDelete => Call::KvDelete { key: named(arguments::<KeyArguments>(input)?.key)? },
            HostFunction::KvList => Call::KvList { prefix: arguments::<PrefixArguments>(input)?.prefix },
            HostFunction::Now => {
                let NoArguments {} = arguments(input)?;
                Call::Now
            }
            HostFunction::TimerSet => {
                let TimerArguments { id, due_in_ms, data } = arguments(input)?;
                let id = named(id)?;
                if !(0..=MAX_TIMER_MS).contains(&due_in_ms) {
                    return Err(bad(format!("`due_in_ms` must be from 0 to {MAX_TIMER_MS}")));
                }
                let data = data.to_string();
                if data.len() > 4 * 1024 {
                    return Err(bad("`data` must be at most 4 KiB"));
                }
                let timers = self.draft.timers(store, skill)?;
                let count_after = timers.len() as u64 + u64::from(!timers.contains_key(&id));
                Call::TimerSet { id, timer: TimerRow { due_ms: self.now_ms + due_in_ms, data }, count_after }
            }
            HostFunction::TimerCancel => Call::TimerCancel { id: named(arguments::<IdArguments>(input)?.id)? },
            HostFunction::TimerList => {
                let NoArguments {} = arguments(input)?;
                Call::TimerList
            }
            HostFunction::Http => Call::Http(HttpRequest::read(arguments::<HttpArguments>(input)?).map_err(bad)?),
            HostFunction::Secret => {
                let SecretArguments { name, origin } = arguments(input)?;
                let origin = http::read_url(&origin).map_err(bad)?.origin().ascii_serialization();
                Call::Secret { name: token(name, "a secret's name")?, origin }
            }
            HostFunction::Transcript => {
                let LevelArguments { level } = arguments(input)?;
                let depth = history_depth(&level)?;
                Call::Transcript { level, depth }
            }
            HostFunction::EventStore => {
                let EventArguments { level, limit } = arguments(input)?;
                let reach = match level.as_str() {
                    "own" => EventLevel::Own,
                    "session" => EventLevel::Session,
                    "all" => EventLevel::All,
                    _ => return Err(bad("`level` is own, session or all")),
                };
                let limit = limit.unwrap_or(MAX_EVENTS);
                if !(1..=MAX_EVENTS).contains(&limit) {
                    return Err(bad(format!("`limit` must be from 1 to {MAX_EVENTS}")));
                }
                Call::EventStore { level, reach, limit }
            }
            HostFunction::Llm => {
                let LlmArguments { system, prompt, max_tokens } = arguments(input)?;
                let max_tokens = max_tokens.unwrap_or(256);
                if prompt.trim().is_empty() || !(1..=MAX_LLM_TOKENS).contains(&max_tokens) {
                    return Err(bad(format!("`prompt` is not empty and `max_tokens` is from 1 to {MAX_LLM_TOKENS}")));
                }
                let read = (system.len() as u64 + prompt.len() as u64).div_ceil(BYTES_PER_TOKEN);
                let tokens_asked = read + u64::from(max_tokens);
                Call::Llm { system, prompt, max_tokens, tokens_asked }
            }
            HostFunction::Device => {
                let DeviceArguments { operation, entity, data } = arguments(input)?;
                let operation = token(operation, "an operation")?;
                if !entity.split_once('.').is_some_and(|(domain, name)| is_token(domain) && is_token(name)) {
                    return Err(bad("`entity` is a domain and a name, for example light.kitchen"));
                }
                if !(data.is_null() || data.is_object()) {
                    return Err(bad("`data` is an object"));
                }
                let words = if data.is_null() { operation.clone() } else { format!("{operation} {data}") };
                Call::Device { operation, entity, data, words }
            }
        })
    }
}

impl Call {
    pub(super) fn usage(&self) -> Usage<'_> {
        let none = Usage::default();
        let chars = |text: &str| text.chars().count() as u64;
        match self {
            Self::Log { text, .. } => Usage { bytes: text.len() as u64, ..none },
            Self::Say { text } => Usage { chars: chars(text), in_turn: true, ..none },
            Self::Announce { text } | Self::Notify { text } => Usage { chars: chars(text), rated: true, ..none },
            Self::Publish { topic, .. } => Usage { topic: Some(topic), rated: true, ..none },
            Self::KvSet { bytes_after, .. } => Usage { bytes: *bytes_after, ..none },
            Self::TimerSet { count_after, .. } => Usage { count: *count_after, ..none },
            Self::Http(request) => request.usage(),
            Self::Secret { name, origin } => Usage { secret: Some(name), origin: Some(origin), ..none },
            Self::Transcript { level, .. } | Self::EventStore { level, .. } => Usage { level: Some(level), ..none },
            Self::Llm { tokens_asked, .. } => Usage { tokens: *tokens_asked, ..none },
            Self::Device { entity, words, .. } => {
                Usage { entity: Some(entity), arguments: Some(words), rated: true, ..none }
            }
            Self::KvGet { .. }
            | Self::KvDelete { .. }
            | Self::KvList { .. }
            | Self::Now
            | Self::TimerCancel { .. }
            | Self::TimerList => none,
        }
    }
}

/// The day that a token budget counts for, in days since the Unix epoch.
pub(super) const fn day(now_ms: i64) -> i64 {
    now_ms.div_euclid(24 * 3_600 * 1_000)
}

fn history_depth(level: &str) -> Result<HistoryDepth, Refusal> {
    match level {
        "args" => Ok(HistoryDepth::Arguments),
        "utterance" => Ok(HistoryDepth::Utterance),
        other => other
            .strip_prefix("history:")
            .and_then(|n| n.parse::<u32>().ok())
            .filter(|n| (1..=MAX_HISTORY).contains(n))
            .map(|n| HistoryDepth::History(n as usize))
            .ok_or_else(|| bad(format!("`level` is args, utterance or history:N with N from 1 to {MAX_HISTORY}"))),
    }
}

pub(super) fn bad(message: impl Into<String>) -> Refusal {
    Refusal::BadArguments(message.into())
}

fn arguments<'a, T: Deserialize<'a>>(input: &'a [u8]) -> Result<T, Refusal> {
    // The text of a serde error may repeat a value; authors see it, the log does not.
    serde_json::from_slice(input).map_err(|error| Refusal::BadArguments(error.to_string()))
}

fn token(text: String, what: &str) -> Result<String, Refusal> {
    if is_token(&text) { Ok(text) } else { Err(bad(format!("{what} has 1 to 64 of a-z, 0-9, _ and -"))) }
}

fn named(key: String) -> Result<String, Refusal> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES || key.chars().any(char::is_control) {
        return Err(bad(format!("a key or id has 1 to {MAX_KEY_BYTES} bytes without control characters")));
    }
    Ok(key)
}

fn spoken(text: String) -> Result<String, Refusal> {
    if text.trim().is_empty() || text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(bad("a text to say or show is not empty and has no control characters"));
    }
    Ok(text)
}
