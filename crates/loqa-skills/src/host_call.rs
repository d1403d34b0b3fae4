//! The functions that a skill can call, and the one way through which every call
//! goes: count it, work out what it would use, authorize it, then perform it.
//!
//! [`HostFunction`] is the complete list. A function cannot be registered without
//! its row there, and cannot act without the [`Authorized`] that the gate returned.

use crate::Shared;
use crate::authorize::{Actor, Authorized, Reach, Reason, Request, Usage};
use crate::blocks::Blocks;
use crate::control::Stopped;
use crate::manifest::Manifest;
use crate::permission::Permission;
use crate::store::{Draft, StoreError, TimerRow};
use crate::taint::{Label, Taint};
use loqa_audit::{Outcome, Status};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Module name under which the functions are imported; the version is that of `host_api`.
pub const NAMESPACE: &str = "loqa:host/v1";
/// Host calls of one invocation.
pub const MAX_HOST_CALLS: u32 = 64;
/// Most bytes of one host call's arguments or result, and of an invocation's input and output.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Log bytes of one invocation.
const MAX_LOG_BYTES: u64 = 8 * 1024;
/// Longest key and timer id. Chosen.
const MAX_KEY_BYTES: usize = 128;
/// Latest time that a timer can be set for: one year, so that sums cannot overflow.
const MAX_TIMER_MS: i64 = 365 * 24 * 3_600 * 1_000;

macro_rules! host_functions {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal, $permission:ident, $reach:ident;)+) => {
        /// A function that skills can import from [`NAMESPACE`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum HostFunction {
            $($(#[doc = $doc])+ $name,)+
        }

        impl HostFunction {
            /// Every function.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name that modules import.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The permission that every call of it needs.
            #[must_use]
            pub const fn permission(self) -> Permission {
                match self { $(Self::$name => Permission::$permission,)+ }
            }

            /// How far it reaches.
            #[must_use]
            pub const fn reach(self) -> Reach {
                match self { $(Self::$name => Reach::$reach,)+ }
            }
        }
    };
}

host_functions! {
    /// `{level, text}`: writes to the host's log.
    Log => "log", LogWrite, Inside;
    /// `{text}`: says something in the running turn.
    Say => "say", ReplySay, Inside;
    /// `{text}`: says something unasked.
    Announce => "announce", TtsSay, Outside;
    /// `{text}`: shows a notification.
    Notify => "notify", NotifyShow, Outside;
    /// `{topic, data}`: publishes below the skill's prefix.
    Publish => "publish", BusPublish, Outside;
    /// `{key}` → value or null.
    KvGet => "kv_get", KvStore, Inside;
    /// `{key, value}`: keeps any JSON value.
    KvSet => "kv_set", KvStore, Inside;
    /// `{key}`: forgets a value.
    KvDelete => "kv_delete", KvStore, Inside;
    /// `{prefix}` → list of keys.
    KvList => "kv_list", KvStore, Inside;
    /// `{}` → milliseconds since the Unix epoch, constant within a call.
    Now => "now", TimerSet, Inside;
    /// `{id, due_in_ms, data}`: sets or replaces a timer.
    TimerSet => "timer_set", TimerSet, Inside;
    /// `{id}` → whether there was one.
    TimerCancel => "timer_cancel", TimerSet, Inside;
    /// `{}` → list of `{id, due_in_ms, data}`, earliest first.
    TimerList => "timer_list", TimerSet, Inside;
}

impl HostFunction {
    /// The function of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|function| function.name() == name)
    }
}

/// One invocation of a skill while it runs.
pub(crate) struct Running {
    pub(crate) shared: Arc<Shared>,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) actor: Actor,
    /// Where the arguments come from, and what the skill has read since.
    pub(crate) taint: Taint,
    /// Wall clock at the start; all host calls of an invocation see the same time.
    pub(crate) now_ms: i64,
    pub(crate) draft: Draft,
    pub(crate) blocks: Blocks,
    pub(crate) n_calls: u32,
    pub(crate) log_bytes: u64,
    /// Whether a host call was denied.
    pub(crate) was_denied: bool,
    /// Set when a host call ended the invocation, because a trap's text says too little.
    pub(crate) fault: Option<String>,
}

/// The invocation is over; the reason is in [`Running::fault`].
#[derive(Debug)]
pub(crate) struct Abort;

/// Why a host call was not performed, as the skill learns it.
#[derive(Debug)]
enum Refusal {
    Denied(Reason),
    BadArguments(String),
    Storage(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Storage(error)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogArguments {
    level: LogLevel,
    text: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
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

/// A host call that was understood, with what it would use.
enum Call {
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
}

impl Running {
    /// The only way from a module to an effect. Argument and result are addresses of
    /// blocks with JSON.
    pub(crate) fn host_call(&mut self, function: HostFunction, address: u64) -> Result<u64, Abort> {
        self.n_calls += 1;
        if self.n_calls > MAX_HOST_CALLS {
            return Err(self.abort(format!("made more than {MAX_HOST_CALLS} host calls")));
        }
        match self.actor.control.stopped() {
            Some(Stopped::Deadline) => return Err(self.abort("used up its time".to_owned())),
            // The watchdog is about to end the call.
            Some(Stopped::Cancelled | Stopped::Revoked(_)) => return Err(self.abort("was stopped".to_owned())),
            None => {}
        }
        let input = match self.blocks.whole(address) {
            Some(input) if input.len() <= MAX_MESSAGE_BYTES => input.to_vec(),
            Some(_) => {
                return Err(self.abort(format!("passed more than {MAX_MESSAGE_BYTES} bytes to `{}`", function.name())));
            }
            None => return Err(self.abort(format!("passed something else than a block to `{}`", function.name()))),
        };
        let reply = self.answer(function, &input);
        if reply.len() > MAX_MESSAGE_BYTES {
            return Err(self.abort(format!("asked `{}` for more than {MAX_MESSAGE_BYTES} bytes", function.name())));
        }
        self.blocks.alloc(reply).map_err(|fault| self.abort(fault))
    }

    /// Authorize first, then act.
    pub(crate) fn answer(&mut self, function: HostFunction, input: &[u8]) -> Vec<u8> {
        let call = self.understand(function, input);
        // A denied skill learns that first, and nothing about its arguments.
        let usage = call.as_ref().map(Call::usage).unwrap_or_default();
        let decision = self.shared.gate.authorize(&Request {
            actor: &self.actor,
            declared: &self.manifest.permissions,
            operation: function.name(),
            permission: function.permission(),
            usage,
            reach: function.reach(),
            taint: &self.taint,
            now_ms: self.now_ms,
        });
        let result = match (decision, call) {
            (Ok(authorized), Ok(call)) => {
                let result = self.perform(&authorized, call);
                self.absorb_stored(function);
                authorized.finish(Outcome::of(if result.is_ok() { Status::Ok } else { Status::Error }));
                result
            }
            (Err(reason), _) => {
                self.was_denied = true;
                Err(Refusal::Denied(reason))
            }
            (Ok(_), Err(refusal)) => Err(refusal),
        };
        let reply = match result {
            Ok(value) => json!({ "ok": value }),
            Err(refusal) => json!({ "error": self.explain(function, &refusal) }),
        };
        reply.to_string().into_bytes()
    }

    /// What was read from the store has the labels of what was put there.
    fn absorb_stored(&mut self, function: HostFunction) {
        let reads = match function {
            HostFunction::KvGet | HostFunction::KvList | HostFunction::TimerList => true,
            HostFunction::Log
            | HostFunction::Say
            | HostFunction::Announce
            | HostFunction::Notify
            | HostFunction::Publish
            | HostFunction::KvSet
            | HostFunction::KvDelete
            | HostFunction::Now
            | HostFunction::TimerSet
            | HostFunction::TimerCancel => false,
        };
        if reads {
            // A store that cannot be read has given nothing, or something that nobody can vouch for.
            let stored = self.shared.store.stored_taint(&self.actor.skill);
            self.taint.absorb(&stored.unwrap_or_else(|_| Taint::default().with(Label::File)));
        }
    }

    fn abort(&mut self, fault: String) -> Abort {
        self.fault = Some(fault);
        Abort
    }

    fn explain(&self, function: HostFunction, refusal: &Refusal) -> Value {
        let name = function.name();
        match refusal {
            Refusal::Denied(reason) => {
                json!({ "code": reason.as_str(), "message": format!("`{name}` needs `{}`:{}", function.permission(), reason.meaning()) })
            }
            Refusal::BadArguments(message) => {
                json!({ "code": "bad_arguments", "message": format!("`{name}`: {message}") })
            }
            Refusal::Storage(error) => {
                tracing::warn!(skill = self.actor.skill, %error, "the store refuses a skill's call");
                json!({ "code": "storage", "message": "the host's store cannot be used" })
            }
        }
    }

    /// Reads the arguments and what the call would add up to; changes nothing.
    fn understand(&mut self, function: HostFunction, input: &[u8]) -> Result<Call, Refusal> {
        let store = &self.shared.store;
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
                    return Err(Refusal::BadArguments(format!("`due_in_ms` must be from 0 to {MAX_TIMER_MS}")));
                }
                let data = data.to_string();
                if data.len() > 4 * 1024 {
                    return Err(Refusal::BadArguments("`data` must be at most 4 KiB".to_owned()));
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
        })
    }

    fn perform(&mut self, _authorized: &Authorized, call: Call) -> Result<Value, Refusal> {
        let store = &self.shared.store;
        let effects = &self.shared.effects;
        let skill = self.actor.skill.as_str();
        Ok(match call {
            Call::Log { level, text } => {
                self.log_bytes += text.len() as u64;
                if self.log_bytes > MAX_LOG_BYTES {
                    return Err(Refusal::BadArguments(format!(
                        "the log takes {MAX_LOG_BYTES} bytes per call of a skill"
                    )));
                }
                log(skill, level, &text);
                Value::Null
            }
            Call::Say { text } | Call::Announce { text } => {
                effects.say(skill, &text);
                Value::Null
            }
            Call::Notify { text } => {
                effects.notify(skill, &text);
                Value::Null
            }
            Call::Publish { topic, data } => {
                effects.publish(skill, &topic, &data);
                Value::Null
            }
            Call::KvGet { key } => match self.draft.value(store, skill, &key)? {
                Some(value) => serde_json::from_str(&value).unwrap_or(Value::Null),
                None => Value::Null,
            },
            Call::KvSet { key, value, .. } => {
                self.draft.set_value(key, Some(value));
                Value::Null
            }
            Call::KvDelete { key } => {
                self.draft.set_value(key, None);
                Value::Null
            }
            Call::KvList { prefix } => Value::from(self.draft.keys(store, skill, &prefix)?),
            Call::Now => Value::from(self.now_ms),
            Call::TimerSet { id, timer, .. } => {
                self.draft.set_timer(id, Some(timer));
                Value::Null
            }
            Call::TimerCancel { id } => {
                let existed = self.draft.timers(store, skill)?.contains_key(&id);
                if existed {
                    self.draft.set_timer(id, None);
                }
                Value::from(existed)
            }
            Call::TimerList => {
                let mut timers = self.draft.timers(store, skill)?.into_iter().collect::<Vec<_>>();
                timers.sort_by_key(|(_, timer)| timer.due_ms);
                timers
                    .into_iter()
                    .map(|(id, timer)| {
                        let data = serde_json::from_str(&timer.data).unwrap_or(Value::Null);
                        json!({ "id": id, "due_in_ms": timer.due_ms - self.now_ms, "data": data })
                    })
                    .collect()
            }
        })
    }
}

impl Call {
    fn usage(&self) -> Usage<'_> {
        let none = Usage::default();
        let chars = |text: &str| text.chars().count() as u64;
        match self {
            Self::Log { text, .. } => Usage { bytes: text.len() as u64, ..none },
            Self::Say { text } => Usage { chars: chars(text), in_turn: true, ..none },
            Self::Announce { text } | Self::Notify { text } => Usage { chars: chars(text), rated: true, ..none },
            Self::Publish { topic, .. } => Usage { topic: Some(topic), rated: true, ..none },
            Self::KvSet { bytes_after, .. } => Usage { bytes: *bytes_after, ..none },
            Self::TimerSet { count_after, .. } => Usage { count: *count_after, ..none },
            Self::KvGet { .. }
            | Self::KvDelete { .. }
            | Self::KvList { .. }
            | Self::Now
            | Self::TimerCancel { .. }
            | Self::TimerList => none,
        }
    }
}

fn arguments<'a, T: Deserialize<'a>>(input: &'a [u8]) -> Result<T, Refusal> {
    // The text of a serde error may repeat a value; authors see it, the log does not.
    serde_json::from_slice(input).map_err(|error| Refusal::BadArguments(error.to_string()))
}

fn named(key: String) -> Result<String, Refusal> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES || key.chars().any(char::is_control) {
        return Err(Refusal::BadArguments(format!(
            "a key or id has 1 to {MAX_KEY_BYTES} bytes without control characters"
        )));
    }
    Ok(key)
}

fn spoken(text: String) -> Result<String, Refusal> {
    if text.trim().is_empty() || text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(Refusal::BadArguments(
            "a text to say or show is not empty and has no control characters".to_owned(),
        ));
    }
    Ok(text)
}

/// What a skill logs may repeat what the user said, so it never shows above DEBUG.
fn log(skill: &str, level: LogLevel, text: &str) {
    let level = match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    tracing::debug!(target: "loqa_skills::skill", skill, level, text = %text.escape_debug(), "skill log");
}
