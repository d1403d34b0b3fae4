//! What skills can do outside of their sandbox, as the host asks the program around it.
//!
//! An effect that takes time is only begun: it answers through [`Pending`], and the
//! skill's thread waits for the answer no longer than the call has time. So nothing
//! behind [`Effects`] can make a host call outlive its budget.

use crate::taint::Taint;
use loqa_protocol::{PrivacyScope, SessionId, TurnId};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// How often a waiting call looks at its cancel flag. Chosen: a fifth of the 50 ms that a cancel may take.
const GLANCE: Duration = Duration::from_millis(10);

/// What skills can do outside of their sandbox. Called after the gate has allowed it; must not block.
pub trait Effects: Send + Sync {
    /// Speaks to the user.
    fn say(&self, skill: &str, text: &str);
    /// Shows a notification.
    fn notify(&self, skill: &str, text: &str);
    /// Publishes `data` on `topic`, which is relative to the skill's own prefix.
    fn publish(&self, skill: &str, topic: &str, data: &Value);
    /// Something was published that only skills of this host may hear.
    fn published_within(&self) {}

    /// Makes one HTTP request, follows no redirect.
    fn http(&self, order: HttpOrder, pending: Pending<HttpAnswer>) {
        let _ = order;
        pending.answer(Err(EffectFault::unavailable("this host makes no HTTP requests")));
    }

    /// Reads what was recorded.
    fn events(&self, query: EventQuery, pending: Pending<Vec<Value>>) {
        let _ = query;
        pending.answer(Err(EffectFault::unavailable("this host keeps no events")));
    }

    /// Asks a language model.
    fn complete(&self, order: LlmOrder, pending: Pending<LlmAnswer>) {
        let _ = order;
        pending.answer(Err(EffectFault::unavailable("this host has no language model")));
    }

    /// Switches a device.
    fn device(&self, order: DeviceOrder, pending: Pending<Value>) {
        let _ = order;
        pending.answer(Err(EffectFault::unavailable(
            "no skill provides devices; install and enable the smart-home skill",
        )));
    }
}

/// One HTTP request, allowed by the gate.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpOrder {
    /// Whose.
    pub skill: String,
    /// In capitals.
    pub method: String,
    /// Without user name, password and fragment.
    pub url: url::Url,
    /// Names in lower case. May hold secrets: never log them.
    pub headers: Vec<(String, String)>,
    /// The body, empty for none.
    pub body: Vec<u8>,
    /// Whether addresses of the local network and of this machine are allowed.
    pub lan: bool,
    /// Most bytes of the answer's body.
    pub max_bytes: usize,
}

impl fmt::Debug for HttpOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpOrder")
            .field("skill", &self.skill)
            .field("method", &self.method)
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, at most [`HttpOrder::max_bytes`].
    pub body: Vec<u8>,
    /// Bytes of the request: method, address, headers and body.
    pub bytes_out: u64,
}

/// Which recorded events are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    /// Who asks.
    pub skill: String,
    /// The session that runs; `None` in an event.
    pub session: Option<SessionId>,
    /// How far it reaches.
    pub level: EventLevel,
    /// Most events, newest first.
    pub limit: u32,
}

/// How far a skill may look into the recorded events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventLevel {
    /// Calls of its own tools.
    Own,
    /// The session that runs.
    Session,
    /// All of them.
    All,
}

/// One question to the language model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LlmOrder {
    /// Who asks.
    pub skill: String,
    /// The turn that it belongs to; `None` in an event.
    pub turn: Option<(SessionId, TurnId)>,
    /// How long what led to it may be remembered.
    pub scope: PrivacyScope,
    /// Instructions, empty for none.
    pub system: String,
    /// The question.
    pub prompt: String,
    /// Most tokens to make.
    pub max_tokens: u32,
}

/// What the model said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LlmAnswer {
    /// The text.
    pub text: String,
    /// Tokens of prompt and answer together.
    pub tokens: u64,
}

/// One order to a device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceOrder {
    /// Who orders.
    pub skill: String,
    /// The turn that it belongs to; `None` in an event.
    pub turn: Option<(SessionId, TurnId)>,
    /// How long what led to it may be remembered.
    pub scope: PrivacyScope,
    /// `turn_on`, `set_temperature` and the like.
    pub operation: String,
    /// `domain.name`.
    pub entity: String,
    /// Parameters of the operation, an object or null.
    pub data: Value,
    /// Where operation and entity come from.
    pub taint: Taint,
}

/// Why an effect did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EffectFault {
    /// For the skill.
    pub code: EffectCode,
    /// For the author's log; holds no secret.
    pub message: String,
}

impl EffectFault {
    /// Puts one together.
    #[must_use]
    pub fn new(code: EffectCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Nothing on this host can do it.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(EffectCode::Unavailable, message)
    }
}

macro_rules! effect_codes {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal,)+) => {
        /// Why an effect did not happen, for skills to branch on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EffectCode {
            $($(#[doc = $doc])+ $name,)+
        }

        impl EffectCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

effect_codes! {
    /// Nothing on this host can do it.
    Unavailable => "unavailable",
    /// The other side cannot be reached: no network, no such name, connection refused.
    Unreachable => "unreachable",
    /// The name leads to an address that skills may not call.
    ForbiddenAddress => "forbidden_address",
    /// It did not answer in the time that is left.
    Timeout => "timeout",
    /// The answer is larger than allowed.
    TooLarge => "too_large",
    /// The call was cancelled.
    Cancelled => "cancelled",
    /// It answered with nonsense, or broke.
    Failed => "failed",
}

/// The place where an effect puts its answer. Dropping it is an answer too: a fault.
#[derive(Debug)]
pub struct Pending<T> {
    sender: SyncSender<Result<T, EffectFault>>,
    deadline: Instant,
    is_wanted: Arc<AtomicBool>,
}

impl<T> Pending<T> {
    /// Gives the answer. Too late is no fault: nobody hears it.
    pub fn answer(self, answer: Result<T, EffectFault>) {
        // The channel has room for the one answer; an error means that nobody waits.
        let _ = self.sender.try_send(answer);
    }

    /// Nobody waits for the answer after this moment.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether somebody still waits: the call was neither cancelled nor stopped.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }
}

/// Begins an effect and waits for its answer, at most until `deadline`, and only while `goes_on` says so.
pub(crate) fn wait_for<T>(
    deadline: Instant,
    goes_on: impl Fn() -> bool,
    begin: impl FnOnce(Pending<T>),
) -> Result<T, EffectFault> {
    let (sender, answers) = sync_channel(1);
    let is_wanted = Arc::new(AtomicBool::new(true));
    begin(Pending { sender, deadline, is_wanted: Arc::clone(&is_wanted) });
    let fault = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match answers.recv_timeout(left.min(GLANCE)) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Disconnected) => {
                break EffectFault::new(EffectCode::Failed, "ended without an answer");
            }
            Err(RecvTimeoutError::Timeout) if !goes_on() => {
                break EffectFault::new(EffectCode::Cancelled, "the call was cancelled or lost its permission");
            }
            Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                break EffectFault::new(EffectCode::Timeout, "no answer in the time that was left");
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    };
    is_wanted.store(false, Ordering::Relaxed);
    Err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(30)
    }

    #[test]
    fn an_answer_comes_back_and_silence_ends_at_the_deadline() {
        assert_eq!(wait_for(soon(), || true, |pending| pending.answer(Ok(7))), Ok(7));
        let kept = std::cell::RefCell::new(None);
        let began = Instant::now();
        let answer = wait_for::<u8>(soon(), || true, |pending| *kept.borrow_mut() = Some(pending));
        assert_eq!(answer.unwrap_err().code, EffectCode::Timeout);
        assert!(began.elapsed() >= Duration::from_millis(30));
        let pending = kept.into_inner().unwrap();
        assert!(!pending.is_wanted(), "whoever works on it learns that nobody waits");
        pending.answer(Ok(1));
    }

    #[test]
    fn an_effect_that_is_dropped_or_cancelled_is_a_fault() {
        let far = Instant::now() + Duration::from_secs(60);
        assert_eq!(wait_for::<u8>(far, || true, drop).unwrap_err().code, EffectCode::Failed);
        let kept = std::cell::RefCell::new(None);
        let answer = wait_for::<u8>(far, || false, |pending| *kept.borrow_mut() = Some(pending));
        assert_eq!(answer.unwrap_err().code, EffectCode::Cancelled);
    }
}
