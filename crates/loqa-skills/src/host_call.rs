//! The functions that a skill can call, and the one way through which every call
//! goes: count it, work out what it would use, authorize it, then perform it.
//!
//! [`HostFunction`] is the complete list. A function cannot be registered without
//! its row there, and cannot act without the [`Authorized`] that the gate returned.
//! What a call asks for is read in [`understand`], what it does is in [`perform`]
//! and, for HTTP, in [`http`].

mod http;
mod perform;
#[cfg(test)]
mod tests;
mod understand;

pub use http::{SAFE_REQUEST_HEADERS, SECRET_HEADERS};

use crate::Shared;
use crate::authorize::{Actor, Authorized, Reach, Reason, Request, Usage};
use crate::blocks::Blocks;
use crate::control::Stopped;
use crate::host::Said;
use crate::host::effects::EffectFault;
use crate::host::intent::Intent;
use crate::manifest::Manifest;
use crate::permission::Permission;
use crate::store::{Draft, StoreError};
use crate::taint::{Label, Taint};
use loqa_audit::{Outcome, Status};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
pub(crate) use understand::Call;

/// Module name under which the functions are imported; the version is that of `host_api`.
pub const NAMESPACE: &str = "loqa:host/v1";
/// Host calls of one invocation.
pub const MAX_HOST_CALLS: u32 = 64;
/// Most bytes of one host call's arguments or result, and of an invocation's input and output.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Most bytes that one host call brings back. Chosen: a body of 1 MiB and what JSON adds to most texts.
const MAX_REPLY_BYTES: usize = 1536 * 1024;
/// HTTP requests of one invocation, redirects included.
pub const MAX_HTTP_CALLS: u32 = 5;
/// Kept back from a slow effect, so that the skill can still say that it took too long. Chosen.
const RESERVE: Duration = Duration::from_millis(100);

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
    /// `{method, url, headers, body, secrets, redirects}` → `{status, headers, body, url}`.
    Http => "http", HttpCall, Outside;
    /// `{name, origin}` → whether the user has set the secret; its value never reaches the skill.
    Secret => "secret", SecretUse, Inside;
    /// `{level}` → what was said: a text for `utterance`, a list of `{role, text}` for `history:N`.
    Transcript => "transcript", TranscriptRead, Inside;
    /// `{level, limit}` → list of recorded events, newest first.
    EventStore => "event_store", EventStoreRead, Inside;
    /// `{system, prompt, max_tokens}` → `{text, tokens}`.
    Llm => "llm", LlmComplete, Outside;
    /// `{operation, entity, data}` → what the device says.
    Device => "device", DeviceControl, Outside;
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
    /// What was said in this turn and before.
    pub(crate) said: Said,
    /// How many publications led to this call, one by the other.
    pub(crate) depth: u32,
    /// Wall clock at the start; all host calls of an invocation see the same time.
    pub(crate) now_ms: i64,
    /// The row of this invocation; nothing reaches outside before it is on the disk.
    pub(crate) intent: Option<Intent>,
    pub(crate) draft: Draft,
    pub(crate) blocks: Blocks,
    pub(crate) n_calls: u32,
    pub(crate) n_http: u32,
    pub(crate) log_bytes: u64,
    /// Whether a host call was denied.
    pub(crate) was_denied: bool,
    /// Allowed uses that have no row of their own.
    pub(crate) uses: BTreeMap<Cow<'static, str>, u64>,
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
    Effect(EffectFault),
    /// A dry run does not do it.
    Rehearsed,
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Storage(error)
    }
}

impl From<EffectFault> for Refusal {
    fn from(fault: EffectFault) -> Self {
        Self::Effect(fault)
    }
}

/// What a performed call brings, and how many bytes it moved.
struct Performed {
    value: Value,
    bytes_out: Option<u64>,
    bytes_in: Option<u64>,
}

impl From<Value> for Performed {
    fn from(value: Value) -> Self {
        Self { value, bytes_out: None, bytes_in: None }
    }
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
        let most = if function == HostFunction::Http { MAX_REPLY_BYTES } else { MAX_MESSAGE_BYTES };
        if reply.len() > most {
            return Err(self.abort(format!("asked `{}` for more than {most} bytes", function.name())));
        }
        self.blocks.alloc(reply).map_err(|fault| self.abort(fault))
    }

    /// Authorize first, then act.
    pub(crate) fn answer(&mut self, function: HostFunction, input: &[u8]) -> Vec<u8> {
        let call = self.understand(function, input);
        // A denied skill learns that first, and nothing about its arguments.
        let usage = call.as_ref().map(Call::usage).unwrap_or_default();
        let decision = self.authorize(function.name(), function.permission(), usage, function.reach());
        let rehearsal = self.shared.rehearsal.clone();
        if let Some(rehearsal) = &rehearsal {
            rehearsal.note(self, function, input, call.as_ref().ok(), decision.as_ref().err().copied());
        }
        let result = match (decision, call) {
            (Ok(authorized), Ok(call)) => {
                let result = self.carry_out(function, authorized, call);
                self.absorb_stored(function);
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
        if matches!(function, HostFunction::KvGet | HostFunction::KvList | HostFunction::TimerList) {
            // A store that cannot be read has given nothing, or something that nobody can vouch for.
            let stored = self.shared.store_of(self.actor.scope).stored_taint(&self.actor.skill);
            self.taint.absorb(&stored.unwrap_or_else(|_| Taint::default().with(Label::File)));
        }
    }

    /// Asks the gate; what reaches outside waits for the invocation's own row first.
    pub(crate) fn authorize(
        &self,
        operation: &'static str,
        permission: Permission,
        usage: Usage<'_>,
        reach: Reach,
    ) -> Result<Authorized, Reason> {
        if reach == Reach::Outside
            && let Some(intent) = &self.intent
            && intent.wait(self.actor.control.deadline()).is_err()
        {
            return Err(Reason::AuditFailed);
        }
        self.shared.gate.authorize(&Request {
            actor: &self.actor,
            declared: &self.manifest.permissions,
            operation,
            permission,
            usage,
            reach,
            taint: &self.taint,
            now_ms: self.now_ms,
        })
    }

    fn carry_out(&mut self, function: HostFunction, authorized: Authorized, call: Call) -> Result<Value, Refusal> {
        if function.reach() == Reach::Inside {
            *self.uses.entry(Cow::Borrowed(function.name())).or_default() += 1;
        } else if let Some(rehearsal) = self.shared.rehearsal.clone() {
            authorized.finish(Outcome::of(Status::Ok));
            return rehearsal.stand_in(function, &call).ok_or(Refusal::Rehearsed);
        }
        let call = match call {
            // Every hop has rows of its own.
            Call::Http(request) => return self.http(authorized, request),
            call => call,
        };
        let result = self.perform(&authorized, call);
        let (status, bytes_out, bytes_in) = match &result {
            Ok(done) => (Status::Ok, done.bytes_out, done.bytes_in),
            Err(refusal) => (refusal.status(), None, None),
        };
        authorized.finish(Outcome { bytes_out, bytes_in, ..Outcome::of(status) });
        result.map(|done| done.value)
    }

    /// Until when an effect may take: the skill keeps a little for its own words.
    fn patience(&self) -> Instant {
        let left = self.actor.control.left();
        Instant::now() + (left - RESERVE.min(left / 5))
    }

    /// Whether somebody still wants the result of this invocation, and it may still go on.
    fn is_wanted(&self) -> bool {
        !matches!(self.actor.control.stopped(), Some(Stopped::Cancelled | Stopped::Revoked(_)))
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
            Refusal::Effect(fault) => {
                json!({ "code": fault.code.as_str(), "message": format!("`{name}`: {}", fault.message) })
            }
            Refusal::Rehearsed => {
                json!({ "code": "dry_run", "message": format!("`{name}`: a dry run does nothing outside") })
            }
        }
    }
}

impl Refusal {
    const fn status(&self) -> Status {
        match self {
            Self::Effect(fault) => match fault.code {
                crate::host::effects::EffectCode::Timeout => Status::Timeout,
                crate::host::effects::EffectCode::Cancelled => Status::Cancelled,
                _ => Status::Error,
            },
            Self::Denied(_) | Self::BadArguments(_) | Self::Storage(_) | Self::Rehearsed => Status::Error,
        }
    }
}

/// What a skill logs may repeat what the user said, so it never shows above DEBUG.
fn log(skill: &str, level: understand::LogLevel, text: &str) {
    tracing::debug!(target: "loqa_skills::skill", skill, level = level.as_str(), text = %text.escape_debug(), "skill log");
}
