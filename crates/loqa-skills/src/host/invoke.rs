//! One call into a skill, from its row in the audit to what is kept of it.

use super::{Invocation, MAX_BUDGET, Said, SkillHost};
use crate::authorize::Actor;
use crate::blocks::Blocks;
use crate::control::CallControl;
use crate::host_call::{MAX_MESSAGE_BYTES, Running};
use crate::manifest::Manifest;
use crate::native::NativeSkill;
use crate::skill::{CallError, EXPORT_TOOL, Skill};
use crate::store::Draft;
use crate::taint::{Label, Taint};
use loqa_audit::{ActorKind, Context, Effect, Entry, Kind, Outcome, Status};
use loqa_protocol::{ErrorCode, Failure, Hop, PrivacyScope, SessionId, ToolOutcome, TurnId};
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longest reply in characters. Chosen: some four minutes of speech.
pub(crate) const MAX_SAY_CHARS: usize = 4_000;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum GuestReply {
    Ok(Option<ToolOutcome>),
    Error(GuestError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GuestError {
    code: GuestErrorCode,
    /// For the log at DEBUG: it may repeat what the user said.
    message: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GuestErrorCode {
    /// The arguments passed the schema, and still make no sense to the skill.
    BadArguments,
    /// The host denied something that the skill cannot do without.
    Denied,
    /// Anything else.
    Failed,
}

/// What is called, and on what grounds.
pub(super) struct Call<'a> {
    pub(super) export: &'static str,
    /// Name of the tool or event.
    pub(super) trigger: &'a str,
    pub(super) input: &'a Value,
    pub(super) turn: Option<(SessionId, TurnId)>,
    /// How long what led to it may be remembered.
    pub(super) scope: PrivacyScope,
    pub(super) taint: Taint,
    pub(super) said: Said,
    pub(super) budget: Duration,
    pub(super) cancel: Arc<AtomicBool>,
    /// Id of the timer whose event this is.
    pub(super) fired: Option<&'a str>,
    pub(super) depth: u32,
}

impl SkillHost {
    /// Calls a tool of a native skill, between its rows in the audit.
    pub(super) fn call_program(
        &self,
        skill: &Arc<NativeSkill>,
        invocation: &Invocation,
        taint: &mut Taint,
    ) -> Result<ToolOutcome, Failure> {
        let Invocation { session, turn, scope, call, budget, .. } = invocation;
        let info = skill.info();
        let actor = loqa_audit::Actor {
            kind: ActorKind::Skill,
            id: info.name,
            version: Some(info.version),
            digest: Some(info.module_sha256),
            publisher: None,
        };
        let context = context(None, Some((session.clone(), turn.clone())), "tool", &call.name, taint);
        let arguments = contents(*scope, Some(Value::Object(call.arguments.clone())));
        let intent = self.intents.begin(call_row(actor, context, "tool", &call.name, arguments));
        let audited = intent.wait(Instant::now() + (*budget).min(MAX_BUDGET));
        let result = match audited {
            Ok(_) => self.call_native(skill, invocation, taint),
            Err(error) => Err(failure(ErrorCode::StorageFault, error.to_string())),
        };
        let status = match &result {
            Ok(_) => Status::Ok,
            Err(failure) if failure.code == ErrorCode::Cancelled => Status::Cancelled,
            Err(failure) if failure.code == ErrorCode::DeadlineExceeded => Status::Timeout,
            Err(_) => Status::Error,
        };
        let payload = contents(*scope, payload(result.as_ref().map(Some)));
        intent.finish(Outcome { payload, ..Outcome::of(status) });
        result
    }

    pub(crate) fn next_invocation(&self) -> u64 {
        self.n_invocations.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn running(
        &self,
        manifest: Arc<Manifest>,
        actor: Actor,
        taint: Taint,
        said: Said,
        input: Vec<u8>,
        depth: u32,
    ) -> Running {
        Running {
            shared: Arc::clone(&self.shared),
            manifest,
            actor,
            taint,
            said,
            depth,
            now_ms: self.shared.clock.wall_ms(),
            intent: None,
            draft: Draft::default(),
            blocks: Blocks::new(input),
            n_calls: 0,
            n_http: 0,
            log_bytes: 0,
            was_denied: false,
            uses: BTreeMap::new(),
            fault: None,
        }
    }

    /// Outside of any turn; what a turn adds is up to the caller.
    pub(super) fn actor(&self, skill: &Skill, turn: Option<(SessionId, TurnId)>, control: CallControl) -> Actor {
        Actor {
            skill: skill.manifest.name.clone(),
            version: skill.manifest.version.to_string(),
            title: skill.manifest.title.clone(),
            module: skill.module_sha256.clone(),
            digest: skill.code_digest.clone(),
            invocation: self.next_invocation(),
            turn,
            scope: PrivacyScope::Persistent,
            since: self.shared.gate.revocations(),
            control,
        }
    }

    /// Runs one export. Brings what came of it, and where that comes from.
    pub(super) fn invoke(&self, skill: &Skill, call: Call<'_>) -> (Result<Option<ToolOutcome>, Failure>, Taint) {
        let name = skill.manifest.name.as_str();
        if skill.is_suspended() {
            let message =
                format!("skill `{name}` is suspended because it failed too often; load it again after it was repaired");
            return (Err(failure(ErrorCode::SkillFault, message)), call.taint);
        }
        if call.cancel.load(Ordering::Relaxed) {
            let message = format!("the call of skill `{name}` was cancelled");
            return (Err(failure(ErrorCode::Cancelled, message)), call.taint);
        }
        let input = call.input.to_string().into_bytes();
        if input.len() > MAX_MESSAGE_BYTES {
            let message = format!("the arguments have more than {MAX_MESSAGE_BYTES} bytes");
            return (Err(failure(ErrorCode::ToolArguments, message)), call.taint);
        }
        self.follow_clock();
        let budget = call.budget.min(MAX_BUDGET);
        let control = CallControl::new(Instant::now() + budget, Arc::clone(&call.cancel));
        let actor = Actor { scope: call.scope, ..self.actor(skill, call.turn.clone(), control) };
        let entry = intent_row(&actor, &call);
        let mut running =
            self.running(Arc::clone(&skill.manifest), actor, call.taint.clone(), call.said, input, call.depth);
        running.intent = Some(self.intents.begin(entry));
        let (output, running) = skill.call(call.export, running, budget, &self.watchdog);
        let Some(mut running) = running else {
            // Only a panic in the middle of a host call loses the invocation.
            return (Err(failure(ErrorCode::SkillFault, format!("skill `{name}` was lost"))), call.taint);
        };
        running.draft.set_taint(&running.taint);
        let status = match &output {
            Ok(_) => Status::Ok,
            Err(error) => error.status(),
        };
        let reply = output.and_then(|output| read_reply(&output).map_err(CallError::Fault));
        let (status, result) = match reply {
            Err(error) => (if status == Status::Ok { Status::Trap } else { status }, Err(self.fail(skill, error))),
            Ok(GuestReply::Ok(outcome)) => match self.keep_writes(name, &running, call.fired) {
                Ok(()) => (Status::Ok, Ok(outcome)),
                Err(failure) => (Status::Error, Err(failure)),
            },
            Ok(GuestReply::Error(GuestError { code, message })) => {
                tracing::debug!(skill = name, message = %message.escape_debug(), "skill reports an error");
                // A skill that fails because it was denied something need not say so.
                let is_denied = running.was_denied && matches!(code, GuestErrorCode::Failed);
                let code = if is_denied { GuestErrorCode::Denied } else { code };
                (Status::Error, Err(reported(name, code)))
            }
        };
        let taint = std::mem::take(&mut running.taint);
        if let Some(intent) = running.intent.take() {
            let payload = contents(call.scope, payload(result.as_ref().map(Option::as_ref)));
            let uses = std::mem::take(&mut running.uses);
            intent.finish(Outcome { uses, payload, ..Outcome::of(status) });
        }
        (result, taint)
    }

    /// Keeps what a call wrote, once its own row is safe. A call that only looked something
    /// up does not wait for the disk: its row is on the way, and nothing hangs on it.
    fn keep_writes(&self, skill: &str, running: &Running, fired: Option<&str>) -> Result<(), Failure> {
        if running.draft.is_empty() && fired.is_none() {
            return Ok(());
        }
        if let Some(intent) = &running.intent {
            intent
                .wait(running.actor.control.deadline())
                .map_err(|error| failure(ErrorCode::StorageFault, error.to_string()))?;
        }
        self.shared
            .store_of(running.actor.scope)
            .commit(skill, &running.draft, fired)
            .map_err(|error| failure(ErrorCode::StorageFault, error.to_string()))
    }

    fn fail(&self, skill: &Skill, error: CallError) -> Failure {
        let name = skill.manifest.name.as_str();
        match error {
            CallError::Busy => {
                failure(ErrorCode::SkillFault, format!("skill `{name}` is busy, too many calls wait for it"))
            }
            CallError::Queued => {
                failure(ErrorCode::DeadlineExceeded, format!("skill `{name}` was busy for the whole time of the call"))
            }
            CallError::Revoked(permission) => failure(
                ErrorCode::PermissionDenied,
                format!("`{permission}` was taken from skill `{name}` while it was using it"),
            ),
            CallError::Cancelled => failure(ErrorCode::Cancelled, format!("the call of skill `{name}` was cancelled")),
            CallError::Overdue(reason) | CallError::Fault(reason) => {
                tracing::warn!(skill = name, reason, "skill fault");
                if skill.count_fault(self.shared.clock.steady_ms()) {
                    self.suspend(skill);
                }
                failure(ErrorCode::SkillFault, format!("skill `{name}` {reason}"))
            }
        }
    }

    fn suspend(&self, skill: &Skill) {
        let Manifest { name, title, .. } = &*skill.manifest;
        tracing::error!(skill = name, "skill suspended");
        let actor = self.actor(skill, None, CallControl::lasting(Duration::ZERO));
        self.shared.gate.journal().append_later(Entry {
            reason: Some(Cow::Borrowed("too_many_faults")),
            ..Entry::new(Kind::SkillSuspend, actor.audited(), Context::default())
        });
        self.shared
            .effects
            .notify(name, &format!("The skill “{title}” failed five times within ten minutes and was stopped."));
    }
}

/// The row that stands before a call.
fn intent_row(actor: &Actor, call: &Call<'_>) -> Entry {
    let is_tool = call.export == EXPORT_TOOL;
    let (what, field) = if is_tool { ("tool", "arguments") } else { ("event", "data") };
    let context = context(Some(actor.invocation), call.turn.clone(), what, call.trigger, &call.taint);
    let payload = contents(call.scope, call.input.get(field).cloned());
    call_row(actor.audited(), context, what, call.trigger, payload)
}

fn call_row(
    actor: loqa_audit::Actor,
    context: Context,
    what: &'static str,
    trigger: &str,
    payload: Option<Value>,
) -> Entry {
    let effect = Effect { operation: Cow::Borrowed(what), target: Some(trigger.to_owned()), bytes_out: None };
    Entry { effect: Some(effect), payload, ..Entry::new(Kind::CallIntent, actor, context) }
}

fn context(
    invocation: Option<u64>,
    turn: Option<(SessionId, TurnId)>,
    what: &str,
    trigger: &str,
    taint: &Taint,
) -> Context {
    let (session, turn) = turn.unzip();
    let taint = taint.labels().map(Label::to_string).collect();
    Context { invocation, session, turn, trigger: Some(format!("{what}:{trigger}")), taint }
}

/// Contents for the audit: of a turn that is not kept for long they are not written.
pub(crate) fn contents(scope: PrivacyScope, payload: Option<Value>) -> Option<Value> {
    payload.filter(|_| scope == PrivacyScope::Persistent)
}

/// What a call brought, to be kept with its outcome as long as the user wants.
fn payload(result: Result<Option<&ToolOutcome>, &Failure>) -> Option<Value> {
    match result {
        Ok(outcome) => outcome.map(|outcome| json!({ "say": outcome.say })),
        Err(failure) => Some(json!({ "failure": failure.message })),
    }
}

fn reported(name: &str, code: GuestErrorCode) -> Failure {
    match code {
        GuestErrorCode::BadArguments => {
            failure(ErrorCode::ToolArguments, format!("skill `{name}` cannot use these arguments"))
        }
        GuestErrorCode::Denied => {
            failure(ErrorCode::PermissionDenied, format!("skill `{name}` lacks a permission that it needs"))
        }
        GuestErrorCode::Failed => failure(ErrorCode::SkillFault, format!("skill `{name}` reports an error")),
    }
}

fn read_reply(output: &[u8]) -> Result<GuestReply, String> {
    // The text of a serde error could repeat what the user said, so it stays here.
    let reply =
        serde_json::from_slice::<GuestReply>(output).map_err(|_| "returned something else than a reply".to_owned())?;
    if let GuestReply::Ok(Some(outcome)) = &reply {
        if outcome.say.chars().count() > MAX_SAY_CHARS {
            return Err(format!("wants to say more than {MAX_SAY_CHARS} characters"));
        }
        if outcome.say.chars().any(|c| c.is_control() && c != '\n') {
            return Err("wants to say control characters".to_owned());
        }
    }
    Ok(reply)
}

pub(crate) fn failure(code: ErrorCode, message: impl Into<String>) -> Failure {
    Failure::new(Hop::Skill, code, message)
}
