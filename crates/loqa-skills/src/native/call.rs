//! One call of a native skill: what it may use while it runs, and what of its writes is
//! kept when it ends.

use super::order::{self, Ordered};
use super::{NativeFault, NativeSkill};
use crate::Invocation;
use crate::authorize::{Authorized, Reach, Reason, Request, Usage};
use crate::control::{CallControl, Stopped};
use crate::host::{MAX_BUDGET, MAX_SAY_CHARS, Said, SkillHost, failure};
use crate::host_call::{HostFunction, MAX_HOST_CALLS, MAX_MESSAGE_BYTES, Running};
use crate::permission::Permission;
use crate::skill::DEFAULT_BUDGET;
use crate::taint::{Label, Taint};
use loqa_audit::{Outcome, Status};
use loqa_protocol::id::CallId;
use loqa_protocol::skill::{HostAnswer, HostCall, SkillAnswer, SkillCall};
use loqa_protocol::{ErrorCode, Failure, SessionId, ToolOutcome, TurnId};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Calls of one native skill at the same time; one more is told that it is busy.
const MAX_CALLS: usize = 8;
/// Host calls that a skill makes outside of any call, within [`UNASKED_WINDOW_MS`]. Chosen.
const MAX_UNASKED: usize = 300;
const UNASKED_WINDOW_MS: i64 = 60_000;
/// Faults within [`FAULT_WINDOW_MS`] that suspend a skill; as for WASM skills.
const MAX_FAULTS: usize = 5;
const FAULT_WINDOW_MS: i64 = 10 * 60 * 1_000;
/// Longest list of arguments that a person is shown.
const MAX_SHOWN: usize = 200;
/// How long a name may take to resolve. Chosen: multicast names on a local network take up to a second.
const RESOLVE_LIMIT: Duration = Duration::from_secs(3);

/// A call that runs.
pub(super) struct NativeCall {
    running: Running,
    /// Uses of devices that were allowed; they end as the call does.
    uses: Vec<Authorized>,
    /// What another skill ordered, when the call is for that.
    pub(super) order: Option<Ordered>,
}

impl NativeCall {
    pub(super) const fn of_order(running: Running, order: Ordered) -> Self {
        Self { running, uses: Vec::new(), order: Some(order) }
    }
}

/// Wall times of what a skill asked for outside of any call.
#[derive(Default)]
pub(super) struct Unasked(VecDeque<i64>);

/// Steady times of recent faults.
#[derive(Default)]
pub(super) struct FaultCount(VecDeque<i64>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretArguments {
    name: String,
    origin: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResolveArguments {
    host: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceArguments {
    /// `turn_on` and the like.
    operation: String,
    /// `domain.name`.
    entity: String,
    /// Parameters, shown to the person when asked.
    #[serde(default)]
    data: Value,
    /// Whether it may open a house or silence an alarm although its domain does not tell.
    #[serde(default)]
    critical: bool,
}

impl SkillHost {
    /// Calls a tool of a native skill. The arguments have been checked.
    pub(crate) fn call_native(
        &self,
        skill: &Arc<NativeSkill>,
        invocation: &Invocation,
        taint: &mut Taint,
    ) -> Result<ToolOutcome, Failure> {
        let name = skill.manifest.name.as_str();
        if skill.is_suspended.load(Ordering::Relaxed) {
            return Err(failure(
                ErrorCode::SkillFault,
                format!("skill `{name}` is suspended because it failed too often; load it again after it was repaired"),
            ));
        }
        let budget = invocation.budget.min(MAX_BUDGET);
        let control = CallControl::new(Instant::now() + budget, Arc::clone(&invocation.cancel));
        let turn = Some((invocation.session.clone(), invocation.turn.clone()));
        if let Err(reason) = self.start_program(skill, turn.clone(), control.clone()) {
            return Err(failure(
                ErrorCode::PermissionDenied,
                format!("skill `{name}` may not run: {}", reason.meaning().trim()),
            ));
        }
        let mut running = self.running_native(skill, turn, invocation.taint.clone(), control.clone());
        running.actor.scope = invocation.scope;
        let call = Arc::new(Mutex::new(NativeCall { running, uses: Vec::new(), order: None }));
        let outcome = self.converse(skill, &call, &control, budget, |call, deadline_ms| SkillCall::Tool {
            call,
            scope: invocation.scope,
            tool: invocation.call.name.clone(),
            arguments: invocation.call.arguments.clone(),
            deadline_ms,
        });
        let mut call = lock(&call);
        taint.absorb(&call.running.taint);
        if !skill.is_bundled {
            taint.absorb(&Taint::default().with(Label::Tool(invocation.call.name.clone())));
        }
        if outcome.is_ok() {
            self.keep(name, &mut call.running)?;
        }
        outcome
    }

    /// Asks the program, answers its host calls meanwhile, and judges what comes back.
    /// What it used ends here.
    pub(super) fn converse(
        &self,
        skill: &NativeSkill,
        call: &Arc<Mutex<NativeCall>>,
        control: &CallControl,
        budget: Duration,
        message: impl FnOnce(CallId, u64) -> SkillCall,
    ) -> Result<ToolOutcome, Failure> {
        let id = CallId::from_bits(rand::random());
        {
            let mut calls = skill.calls();
            if calls.len() >= MAX_CALLS {
                let name = &skill.manifest.name;
                return Err(failure(ErrorCode::SkillFault, format!("skill `{name}` is busy, too many calls run")));
            }
            calls.insert(id.clone(), Arc::clone(call));
        }
        let message = message(id.clone(), u64::try_from(budget.as_millis()).unwrap_or(u64::MAX));
        let answer = skill.program.ask(&message, control);
        // From here on no host call finds it.
        skill.calls().remove(&id);
        let outcome = self.judge(skill, answer, control, budget);
        if matches!(control.stopped(), Some(Stopped::Cancelled | Stopped::Revoked(_))) || outcome.is_err() {
            skill.program.tell(&SkillCall::Cancel { call: id });
        }
        let status = match (&outcome, control.stopped()) {
            (Ok(_), _) => Status::Ok,
            (Err(_), Some(Stopped::Deadline)) => Status::Timeout,
            (Err(_), Some(Stopped::Cancelled | Stopped::Revoked(_))) => Status::Cancelled,
            (Err(_), None) => Status::Error,
        };
        // A host call that is under way holds the lock; it ends with the control.
        for used in lock(call).uses.drain(..) {
            used.finish(Outcome::of(status));
        }
        outcome
    }

    /// A host call of a native skill's program. Blocks, at most as long as its call has time.
    pub fn native_host_call(&self, skill: &str, host_call: &HostCall) -> HostAnswer {
        let Some(skill) = self.native(skill) else {
            return refused("not_running", "no such skill is loaded");
        };
        if skill.is_suspended.load(Ordering::Relaxed) {
            return refused("suspended", "the skill failed too often and is suspended");
        }
        let input = host_call.arguments.to_string().into_bytes();
        if input.len() > MAX_MESSAGE_BYTES {
            return refused("bad_arguments", &format!("the arguments have more than {MAX_MESSAGE_BYTES} bytes"));
        }
        match &host_call.call {
            Some(id) => {
                let call = skill.calls().get(id).map(Arc::clone);
                let Some(call) = call else {
                    return refused("no_such_call", "nobody waits for this call any more");
                };
                let mut call = lock(&call);
                call.answer(&skill, &host_call.function, &input)
            }
            None => {
                let now_ms = self.shared.clock.wall_ms();
                if !skill.unasked.lock().unwrap_or_else(PoisonError::into_inner).admit(now_ms) {
                    return refused("rate_exceeded", &format!("at most {MAX_UNASKED} host calls a minute"));
                }
                let control = CallControl::lasting(DEFAULT_BUDGET);
                let running = self.running_native(&skill, None, Taint::default(), control);
                let mut call = NativeCall { running, uses: Vec::new(), order: None };
                let answer = call.answer(&skill, &host_call.function, &input);
                for used in call.uses.drain(..) {
                    used.finish(Outcome::of(Status::Ok));
                }
                match self.keep(&skill.manifest.name, &mut call.running) {
                    Ok(()) => answer,
                    Err(failure) => refused("storage", &failure.message),
                }
            }
        }
    }

    /// One invocation, with nothing in its blocks: arguments travel over the bus.
    pub(super) fn running_native(
        &self,
        skill: &NativeSkill,
        turn: Option<(SessionId, TurnId)>,
        taint: Taint,
        control: CallControl,
    ) -> Running {
        let actor = self.native_actor(skill, turn, control);
        self.running(Arc::clone(&skill.manifest), actor, taint, Said::default(), Vec::new(), 0)
    }

    fn keep(&self, name: &str, running: &mut Running) -> Result<(), Failure> {
        self.shared
            .store_of(running.actor.scope)
            .commit(name, &running.draft, None)
            .map_err(|error| failure(ErrorCode::StorageFault, error.to_string()))
    }

    fn judge(
        &self,
        skill: &NativeSkill,
        answer: Result<SkillAnswer, NativeFault>,
        control: &CallControl,
        budget: Duration,
    ) -> Result<ToolOutcome, Failure> {
        let name = skill.manifest.name.as_str();
        match answer {
            Ok(SkillAnswer::Done { outcome }) => match unspeakable(&outcome) {
                None => Ok(outcome),
                Some(reason) => Err(self.native_fault(skill, reason)),
            },
            Ok(SkillAnswer::Failed { code, message }) => {
                tracing::debug!(skill = name, message = %message.escape_debug(), "skill reports an error");
                Err(match code {
                    ErrorCode::ToolArguments => failure(code, format!("skill `{name}` cannot use these arguments")),
                    ErrorCode::PermissionDenied => {
                        failure(code, format!("skill `{name}` lacks a permission that it needs"))
                    }
                    _ => failure(ErrorCode::SkillFault, format!("skill `{name}` reports an error")),
                })
            }
            Ok(SkillAnswer::Pong) | Err(NativeFault::Nonsense) => {
                Err(self.native_fault(skill, &NativeFault::Nonsense.to_string()))
            }
            Err(NativeFault::Gone) => Err(failure(
                ErrorCode::SkillFault,
                format!("skill `{name}` is not running; `loqa doctor` says what is wrong with it"),
            )),
            Err(NativeFault::Stopped) => Err(match control.stopped() {
                Some(Stopped::Cancelled) => {
                    failure(ErrorCode::Cancelled, format!("the call of skill `{name}` was cancelled"))
                }
                Some(Stopped::Revoked(permission)) => {
                    failure(ErrorCode::PermissionDenied, format!("skill `{name}` lost `{permission}` meanwhile"))
                }
                Some(Stopped::Deadline) | None => {
                    self.native_fault(skill, &format!("did not finish within {} ms", budget.as_millis()))
                }
            }),
        }
    }

    /// Counts a fault; the fifth within ten minutes ends the program and tells the user.
    fn native_fault(&self, skill: &NativeSkill, reason: &str) -> Failure {
        let name = skill.manifest.name.as_str();
        tracing::warn!(skill = name, reason, "skill fault");
        let now_ms = self.shared.clock.steady_ms();
        let is_last = skill.faults.lock().unwrap_or_else(PoisonError::into_inner).is_one_too_many(now_ms);
        if is_last && !skill.is_suspended.swap(true, Ordering::Relaxed) {
            tracing::error!(skill = name, "skill suspended");
            skill.program.end();
            let title = &skill.manifest.title;
            let text = format!("The skill “{title}” failed five times within ten minutes and was stopped.");
            self.shared.effects.notify(name, &text);
        }
        failure(ErrorCode::SkillFault, format!("skill `{name}` {reason}"))
    }
}

impl NativeCall {
    /// One host call: the functions that only programs have, and all the others.
    fn answer(&mut self, skill: &NativeSkill, function: &str, input: &[u8]) -> HostAnswer {
        self.running.n_calls += 1;
        if self.running.n_calls > MAX_HOST_CALLS {
            return refused("rate_exceeded", &format!("a call makes at most {MAX_HOST_CALLS} host calls"));
        }
        if self.running.actor.control.stopped().is_some() {
            return refused("no_such_call", "nobody waits for this call any more");
        }
        match function {
            "secret" => self.secret(skill, input),
            "resolve" => self.resolve(skill, input),
            "device" => self.device(skill, input),
            other => match HostFunction::from_name(other) {
                Some(function) => {
                    let reply = self.running.answer(function, input);
                    serde_json::from_slice(&reply).unwrap_or_else(|_| refused("failed", "the host broke"))
                }
                None => refused("bad_arguments", "there is no such host function"),
            },
        }
    }

    /// A program has to put a secret into its own protocol, so it gets the value; a WASM
    /// module never does.
    fn secret(&mut self, skill: &NativeSkill, input: &[u8]) -> HostAnswer {
        let arguments = serde_json::from_slice::<SecretArguments>(input);
        let usage = match &arguments {
            Ok(SecretArguments { name, origin }) => {
                Usage { secret: Some(name), origin: Some(origin), ..Usage::default() }
            }
            Err(_) => Usage::default(),
        };
        let decision = self.authorize("secret", Permission::SecretUse, usage, Reach::Outside);
        let (authorized, SecretArguments { name, origin }) = match (decision, arguments) {
            (Ok(authorized), Ok(arguments)) => (authorized, arguments),
            (Err(refusal), _) => return refusal,
            (Ok(_), Err(error)) => return refused("bad_arguments", &error.to_string()),
        };
        let secret = skill.program.secret(&name, &origin);
        authorized.finish(Outcome::of(Status::Ok));
        HostAnswer::Ok(json!(secret))
    }

    /// Programs in the sandbox cannot ask a name server; the host does it for origins that
    /// the user has named.
    fn resolve(&mut self, skill: &NativeSkill, input: &[u8]) -> HostAnswer {
        let profile = skill.manifest.requested(Permission::NativeExec).and_then(|it| match it.scope.get("profile") {
            Some(crate::permission::ScopeValue::Text(profile)) => Some(profile.clone()),
            _ => None,
        });
        let usage = Usage { profile: profile.as_deref(), ..Usage::default() };
        let authorized = match self.authorize("resolve", Permission::NativeExec, usage, Reach::Inside) {
            Ok(authorized) => authorized,
            Err(refusal) => return refusal,
        };
        let answer = match serde_json::from_slice::<ResolveArguments>(input) {
            Err(error) => refused("bad_arguments", &error.to_string()),
            Ok(ResolveArguments { host }) => match skill.program.resolve(&host, RESOLVE_LIMIT) {
                Some(addresses) => HostAnswer::Ok(json!(addresses)),
                None => refused("out_of_scope", "the user has not named this host for the skill"),
            },
        };
        authorized.finish(Outcome::of(Status::Ok));
        answer
    }

    /// Whether the program may do this to a device. It does it by itself, after this.
    fn device(&mut self, skill: &NativeSkill, input: &[u8]) -> HostAnswer {
        let arguments = serde_json::from_slice::<DeviceArguments>(input);
        if let (Some(order), Ok(it)) = (&self.order, &arguments)
            && order.covers(&it.operation, &it.entity, &it.data, it.critical)
        {
            let grants = self.running.shared.gate.grants();
            return match order::is_forbidden(grants, &skill.manifest.name) {
                true => refused(Reason::Never.as_str(), "the person never lets this skill switch devices"),
                false => HostAnswer::Ok(Value::Null),
            };
        }
        let shown = arguments.as_ref().ok().map(shown);
        let usage = match &arguments {
            Ok(it) => Usage {
                entity: Some(&it.entity),
                is_critical: it.critical,
                arguments: shown.as_deref(),
                rated: true,
                ..Usage::default()
            },
            Err(_) => Usage::default(),
        };
        match (self.authorize("device", Permission::DeviceControl, usage, Reach::Outside), arguments) {
            (Ok(authorized), Ok(_)) => {
                self.uses.push(authorized);
                HostAnswer::Ok(Value::Null)
            }
            (Err(refusal), _) => refusal,
            (Ok(_), Err(error)) => refused("bad_arguments", &error.to_string()),
        }
    }

    fn authorize(
        &self,
        operation: &'static str,
        permission: Permission,
        usage: Usage<'_>,
        reach: Reach,
    ) -> Result<Authorized, HostAnswer> {
        let running = &self.running;
        let request = Request {
            actor: &running.actor,
            declared: &running.manifest.permissions,
            operation,
            permission,
            usage,
            reach,
            taint: &running.taint,
            now_ms: running.now_ms,
        };
        running.shared.gate.authorize(&request).map_err(|reason| {
            refused(reason.as_str(), &format!("`{operation}` needs `{permission}`:{}", reason.meaning()))
        })
    }
}

/// What a person is asked about: the operation and its parameters, in one line.
fn shown(arguments: &DeviceArguments) -> String {
    let mut text = arguments.operation.clone();
    if let Value::Object(data) = &arguments.data {
        for (key, value) in data {
            text.push_str(&format!(" {key}={value}"));
        }
    }
    text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect()
}

impl Unasked {
    fn admit(&mut self, now_ms: i64) -> bool {
        self.0.retain(|at| (now_ms - UNASKED_WINDOW_MS..=now_ms).contains(at));
        if self.0.len() >= MAX_UNASKED {
            return false;
        }
        self.0.push_back(now_ms);
        true
    }
}

impl FaultCount {
    fn is_one_too_many(&mut self, now_ms: i64) -> bool {
        self.0.retain(|at| now_ms - at < FAULT_WINDOW_MS);
        self.0.push_back(now_ms);
        self.0.len() >= MAX_FAULTS
    }
}

fn unspeakable(outcome: &ToolOutcome) -> Option<&'static str> {
    if outcome.say.chars().count() > MAX_SAY_CHARS {
        return Some("wants to say too much");
    }
    outcome.say.chars().any(|c| c.is_control() && c != '\n').then_some("wants to say control characters")
}

fn refused(code: &str, message: &str) -> HostAnswer {
    HostAnswer::Error { code: code.to_owned(), message: message.to_owned() }
}

pub(super) fn lock(call: &Mutex<NativeCall>) -> MutexGuard<'_, NativeCall> {
    // A panic in a host call leaves a half-done draft, which a failed call does not keep.
    call.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_is_shown_is_one_short_line() {
        let arguments = |data| DeviceArguments {
            operation: "turn_on".into(),
            entity: "light.kitchen".into(),
            data,
            critical: false,
        };
        assert_eq!(shown(&arguments(json!({ "brightness_pct": 40 }))), "turn_on brightness_pct=40");
        assert_eq!(shown(&arguments(json!({ "a": "x\ny" }))), "turn_on a=\"x\\ny\"");
        assert_eq!(shown(&arguments(json!({ "a": "x".repeat(900) }))).chars().count(), MAX_SHOWN);
    }

    #[test]
    fn five_faults_in_ten_minutes_are_too_many_and_older_ones_are_forgotten() {
        let mut faults = FaultCount::default();
        assert!((0..4).all(|n| !faults.is_one_too_many(n)));
        assert!(!faults.is_one_too_many(FAULT_WINDOW_MS + 10), "the first four are old");
        assert!((0..3).all(|n| !faults.is_one_too_many(FAULT_WINDOW_MS + 11 + n)));
        assert!(faults.is_one_too_many(FAULT_WINDOW_MS + 20));
    }

    #[test]
    fn unasked_host_calls_have_a_rate_and_a_clock_that_is_set_back_does_not_block_for_ever() {
        let mut unasked = Unasked::default();
        assert!((0..MAX_UNASKED).all(|_| unasked.admit(1_000_000)));
        assert!(!unasked.admit(1_000_001));
        assert!(unasked.admit(1_000_001 + UNASKED_WINDOW_MS));
        assert!(unasked.admit(5));
    }
}
