//! The skill host: loads skills, calls their tools, delivers their events, keeps their timers.

use crate::authorize::{Actor, Gate, Reach, Request, Usage};
use crate::blocks::Blocks;
use crate::clock::Clock;
use crate::consent::Consent;
use crate::control::CallControl;
use crate::grants::{Grant, GrantError, Grantor, Grants, Lifetime, NewGrant};
use crate::host_call::{MAX_MESSAGE_BYTES, Running};
use crate::manifest::{Manifest, TIMER_ELAPSED};
use crate::native::NativeSkill;
use crate::permission::{Permission, Scope};
use crate::skill::{CallError, DEFAULT_BUDGET, EXPORT_EVENT, EXPORT_TOOL, Skill, SkillInfo};
use crate::store::{Draft, Store};
use crate::taint::{Label, Taint};
use crate::watchdog::Watchdog;
use crate::{Shared, SkillError};
use loqa_audit::{Journal, LogOnly, Outcome, Status};
use loqa_protocol::{ErrorCode, Failure, Hop, SessionId, ToolCall, ToolOutcome, ToolSpec, TurnId};
use loqa_turn::intent::IntentDecl;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Longest budget of a call, whatever the caller says; from the design of skills.
pub(crate) const MAX_BUDGET: Duration = Duration::from_secs(10);
/// Longest reply in characters. Chosen: some four minutes of speech.
pub(crate) const MAX_SAY_CHARS: usize = 4_000;
/// A wall clock that moves this much against the steady one was set. Chosen: far above what NTP slews.
const CLOCK_JUMP_MS: i64 = 2_000;
/// A timer whose event was not accepted is offered again after this. Chosen.
const RETRY_MS: i64 = 5_000;

/// Where the host keeps its data and how it tells the time.
pub struct SkillHostOptions {
    /// Folder of `skills.db`; made if missing.
    pub data_dir: PathBuf,
    /// [`crate::SystemClock`] outside of tests.
    pub clock: Arc<dyn Clock>,
}

/// What skills can do outside of their sandbox. Called after the gate has allowed it; must not block.
pub trait Effects: Send + Sync {
    /// Speaks to the user.
    fn say(&self, skill: &str, text: &str);
    /// Shows a notification.
    fn notify(&self, skill: &str, text: &str);
    /// Publishes `data` on `topic`, which is relative to the skill's own prefix.
    fn publish(&self, skill: &str, topic: &str, data: &Value);
}

/// One call of a tool.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The session that asked.
    pub session: SessionId,
    /// The turn that asked.
    pub turn: TurnId,
    /// Tool and arguments, not yet checked.
    pub call: ToolCall,
    /// Where tool and arguments come from.
    pub taint: Taint,
    /// Wall time for the call, waiting included; at most ten seconds are given.
    pub budget: Duration,
    /// Set by the caller to stop the call.
    pub cancel: Arc<AtomicBool>,
}

/// Something that happened, for a skill that subscribed to it.
#[derive(Debug, Clone, PartialEq)]
pub struct SkillEvent {
    /// For example [`TIMER_ELAPSED`].
    pub name: String,
    /// What the event says; its shape depends on the name.
    pub data: Value,
}

/// A timer that has run out. Deliver its [`DueTimer::event`] to its skill.
#[derive(Debug, Clone, PartialEq)]
pub struct DueTimer {
    /// Whose timer.
    pub skill: String,
    /// Name of the event, [`TIMER_ELAPSED`].
    pub name: String,
    /// `{"id", "data", "due_ms", "late_ms"}`.
    pub data: Value,
}

impl DueTimer {
    /// The event to deliver.
    #[must_use]
    pub fn event(&self) -> SkillEvent {
        SkillEvent { name: self.name.clone(), data: self.data.clone() }
    }
}

/// Runs skills. Cheap to share behind an `Arc`; every method may be called from any thread and blocks.
pub struct SkillHost {
    pub(crate) shared: Arc<Shared>,
    skills: RwLock<BTreeMap<String, Arc<Skill>>>,
    pub(crate) natives: RwLock<BTreeMap<String, Arc<NativeSkill>>>,
    watchdog: Watchdog,
    n_invocations: AtomicU64,
    /// Wall minus steady clock when last looked.
    clock_offset_ms: Mutex<i64>,
}

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

impl SkillHost {
    /// Opens the store and starts without skills. Decisions are recorded in the log.
    pub fn open(options: SkillHostOptions, effects: Arc<dyn Effects>) -> Result<Self, SkillError> {
        Self::open_with_audit(options, effects, Arc::new(LogOnly))
    }

    /// The same with another place for the record of decisions.
    pub fn open_with_audit(
        options: SkillHostOptions,
        effects: Arc<dyn Effects>,
        journal: Arc<dyn Journal>,
    ) -> Result<Self, SkillError> {
        let SkillHostOptions { data_dir, clock } = options;
        let store = Store::open(&data_dir)?;
        let watchdog = Watchdog::start().map_err(SkillError::Watchdog)?;
        let clock_offset_ms = Mutex::new(clock.wall_ms() - clock.steady_ms());
        let grants = Arc::new(Grants::open(&data_dir, Arc::clone(&clock), Arc::clone(&journal))?);
        let shared = Arc::new(Shared { store, gate: Gate::new(grants, journal), effects, clock });
        Ok(Self {
            shared,
            skills: RwLock::default(),
            natives: RwLock::default(),
            watchdog,
            n_invocations: AtomicU64::new(0),
            clock_offset_ms,
        })
    }

    /// Loads the skill in `folder` and enables it, in place of one of the same name.
    /// What it asks for of T0 and T1 counts as granted by whoever installed Loqa, unless
    /// this very code was loaded before: then what was revoked since stays revoked.
    pub fn load(&self, folder: &Path) -> Result<SkillInfo, SkillError> {
        self.load_granting(folder, Some(Grantor::Bundled))
    }

    /// The same with no grants but those that there are: the installer asked the person.
    pub fn load_as_granted(&self, folder: &Path) -> Result<SkillInfo, SkillError> {
        self.load_granting(folder, None)
    }

    fn load_granting(&self, folder: &Path, by: Option<Grantor>) -> Result<SkillInfo, SkillError> {
        let mut skill = Skill::load(folder)?;
        skill.is_bundled = by == Some(Grantor::Bundled);
        let name = skill.manifest.name.clone();
        if let Some(by) = by {
            self.grants().grant_at_install(&skill.manifest, &skill.code_digest, None, &|_| true, by)?;
        }
        let info = skill.info();
        tracing::info!(skill = info.name, version = info.version, module = info.module_sha256, "skill loaded");
        self.skills.write().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::new(skill));
        Ok(info)
    }

    /// The tools of all skills, by name of the skill.
    #[must_use]
    pub fn tools(&self) -> Vec<ToolSpec> {
        self.manifests().iter().flat_map(|manifest| manifest.tools.iter().map(crate::manifest::Tool::spec)).collect()
    }

    /// The manifests of all skills of both kinds, by name within each kind.
    fn manifests(&self) -> Vec<Arc<Manifest>> {
        let wasm = self.all().into_iter().map(|skill| Arc::clone(&skill.manifest));
        wasm.chain(self.all_natives().into_iter().map(|skill| Arc::clone(&skill.manifest))).collect()
    }

    /// The utterances of all skills.
    #[must_use]
    pub fn intents(&self) -> Vec<IntentDecl> {
        self.manifests().iter().flat_map(|manifest| manifest.intents.clone()).collect()
    }

    /// What is loaded.
    #[must_use]
    pub fn skills(&self) -> Vec<SkillInfo> {
        let wasm = self.all().into_iter().map(|skill| skill.info());
        wasm.chain(self.all_natives().into_iter().map(|skill| skill.info())).collect()
    }

    /// What is granted, and where that is changed.
    #[must_use]
    pub fn grants(&self) -> &Arc<Grants> {
        self.shared.gate.grants()
    }

    /// Who puts questions to the person, and how long they may wait for an answer.
    pub fn set_consent(&self, consent: Arc<dyn Consent>, limit: Duration) {
        self.shared.gate.set_consent(consent);
        self.shared.gate.set_prompt_limit(limit);
    }

    /// Grants a permission to a loaded skill, as far as its manifest asks for it; what
    /// `narrower` does not name is as the manifest says.
    pub fn grant_for(
        &self,
        skill: &str,
        permission: Permission,
        narrower: &Scope,
        lifetime: Lifetime,
        by: Grantor,
    ) -> Result<Grant, GrantError> {
        let wasm = self.skill(skill).map(|it| (Arc::clone(&it.manifest), it.code_digest.clone()));
        let native = || self.native(skill).map(|it| (Arc::clone(&it.manifest), it.digest.clone()));
        let (manifest, digest) =
            wasm.or_else(native).ok_or_else(|| GrantError::Unknown { skill: skill.to_owned() })?;
        let new = NewGrant::by_manifest(&manifest, &digest, permission, narrower, lifetime, by)?;
        self.grants().grant(new)
    }

    /// [`Self::grant_for`] until it is revoked; a failure is logged.
    pub fn grant(&self, skill: &str, permission: Permission, scope: Scope) {
        if let Err(error) = self.grant_for(skill, permission, &scope, Lifetime::Always, Grantor::Operator) {
            tracing::error!(skill, %permission, %error, "nothing is granted");
        }
    }

    /// Takes a permission from a skill, also from a call that is running; a failure is logged.
    pub fn revoke(&self, skill: &str, permission: Permission) {
        if let Err(error) = self.grants().revoke(skill, Some(permission), Grantor::Operator) {
            tracing::error!(skill, %permission, %error, "nothing is revoked");
        }
    }

    /// Calls a tool and waits for it. The arguments are checked first; what the skill
    /// writes is kept only if it succeeds.
    pub fn call(&self, invocation: &Invocation) -> Result<ToolOutcome, Failure> {
        self.call_tainted(invocation).0
    }

    /// The same, with where the outcome comes from: the arguments, what the skill read, and
    /// the skill itself unless it comes with Loqa.
    pub fn call_tainted(&self, invocation: &Invocation) -> (Result<ToolOutcome, Failure>, Taint) {
        let mut taint = invocation.taint.clone();
        let result = self.call_noting(invocation, &mut taint);
        (result, taint)
    }

    fn call_noting(&self, invocation: &Invocation, taint: &mut Taint) -> Result<ToolOutcome, Failure> {
        let Invocation { session, turn, call, taint: _, budget, cancel } = invocation;
        let native = self.all_natives().into_iter().find_map(|skill| {
            let tool = skill.manifest.tool(&call.name).cloned()?;
            Some((skill, tool))
        });
        if let Some((skill, tool)) = native {
            check_arguments(&tool, call)?;
            return self.call_native(&skill, invocation, taint);
        }
        let (skill, tool) = self
            .all()
            .into_iter()
            .find_map(|skill| skill.manifest.tool(&call.name).cloned().map(|tool| (skill, tool)))
            .ok_or_else(|| failure(ErrorCode::ToolUnknown, "no skill offers this tool"))?;
        check_arguments(&tool, call)?;
        let input = json!({ "tool": call.name, "arguments": call.arguments });
        let turn = Some((session.clone(), turn.clone()));
        let reply = self.invoke(&skill, EXPORT_TOOL, &input, turn, taint, *budget, cancel, None);
        if !skill.is_bundled {
            taint.absorb(&Taint::default().with(Label::Tool(call.name.clone())));
        }
        Ok(reply?.unwrap_or_default())
    }

    /// Delivers an event and waits for the skill. `None` when the skill has nothing to
    /// say, or did not subscribe. What it wants to say unasked needs `tts:say`; without
    /// it the outcome comes with an empty `say`.
    pub fn deliver(&self, skill: &str, event: &SkillEvent) -> Result<Option<ToolOutcome>, Failure> {
        let timer = if event.name == TIMER_ELAPSED { event.data.get("id").and_then(Value::as_str) } else { None };
        let result = self.deliver_once(skill, event, timer);
        if let (Err(failure), Some(id)) = (&result, timer) {
            let due_ms = self.shared.clock.wall_ms() + RETRY_MS;
            match self.shared.store.retry(skill, id, due_ms) {
                Ok(true) => tracing::warn!(skill, %failure, "a timer's event was not accepted and is offered again"),
                Ok(false) => tracing::error!(skill, %failure, "a timer's event was not accepted and is dropped"),
                Err(error) => {
                    tracing::error!(skill, %failure, %error, "a timer's event was not accepted, nor its retry stored")
                }
            }
        }
        result
    }

    /// When the next timer is due, in milliseconds since the Unix epoch. Ask again after
    /// every call, and at least every few seconds: the user may set the clock.
    #[must_use]
    pub fn next_timer(&self) -> Option<i64> {
        self.follow_clock();
        self.shared.store.next_due().unwrap_or_else(|error| {
            tracing::error!(%error, "the timers cannot be read");
            None
        })
    }

    /// The timers that are due at `now_ms` on the wall clock, earliest first. Each is
    /// given out once; it is done when [`Self::deliver`] has succeeded, and is given out
    /// again after a failure or a restart in between.
    #[must_use]
    pub fn due_timers(&self, now_ms: i64) -> Vec<DueTimer> {
        self.follow_clock();
        let rows = self.shared.store.claim_due(now_ms).unwrap_or_else(|error| {
            tracing::error!(%error, "the timers cannot be read");
            Vec::new()
        });
        rows.into_iter()
            .map(|row| DueTimer {
                skill: row.skill,
                name: TIMER_ELAPSED.to_owned(),
                data: json!({
                    "id": row.id,
                    "data": serde_json::from_str::<Value>(&row.data).unwrap_or(Value::Null),
                    "due_ms": row.due_ms,
                    "late_ms": now_ms - row.due_ms,
                }),
            })
            .collect()
    }

    fn all(&self) -> Vec<Arc<Skill>> {
        self.skills.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }

    fn skill(&self, name: &str) -> Option<Arc<Skill>> {
        self.skills.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    fn deliver_once(
        &self,
        name: &str,
        event: &SkillEvent,
        timer: Option<&str>,
    ) -> Result<Option<ToolOutcome>, Failure> {
        let skill =
            self.skill(name).ok_or_else(|| failure(ErrorCode::ToolUnknown, format!("no skill `{name}` is loaded")))?;
        if !skill.manifest.events.contains(&event.name) {
            // Nobody waits for it, so the timer is done.
            self.shared
                .store
                .commit(name, &Draft::default(), timer)
                .map_err(|error| failure(ErrorCode::StorageFault, error.to_string()))?;
            return Ok(None);
        }
        let input = json!({ "event": event.name, "data": event.data });
        let cancel = Arc::new(AtomicBool::new(false));
        // A timer brings back what the skill gave it.
        let mut taint = self
            .shared
            .store
            .stored_taint(name)
            .map_err(|error| failure(ErrorCode::StorageFault, error.to_string()))?;
        let outcome = self.invoke(&skill, EXPORT_EVENT, &input, None, &mut taint, DEFAULT_BUDGET, &cancel, timer)?;
        Ok(outcome.map(|outcome| self.authorize_announcement(&skill, outcome, &taint)))
    }

    /// What comes back from an event is spoken unasked, which is a permission of its own.
    fn authorize_announcement(&self, skill: &Skill, outcome: ToolOutcome, taint: &Taint) -> ToolOutcome {
        if outcome.say.is_empty() {
            return outcome;
        }
        let actor = self.actor(skill, None, CallControl::lasting(DEFAULT_BUDGET));
        let usage = Usage { chars: outcome.say.chars().count() as u64, rated: true, ..Usage::default() };
        let now_ms = self.shared.clock.wall_ms();
        let decision = self.shared.gate.authorize(&Request {
            actor: &actor,
            declared: &skill.manifest.permissions,
            operation: "event_reply",
            permission: Permission::TtsSay,
            usage,
            reach: Reach::Outside,
            taint,
            now_ms,
        });
        match decision {
            Ok(authorized) => {
                authorized.finish(Outcome::of(Status::Ok));
                outcome
            }
            Err(reason) => {
                tracing::info!(skill = actor.skill, reason = reason.as_str(), "a skill may not speak unasked");
                ToolOutcome { say: String::new(), ..outcome }
            }
        }
    }

    fn actor(&self, skill: &Skill, turn: Option<(SessionId, TurnId)>, control: CallControl) -> Actor {
        Actor {
            skill: skill.manifest.name.clone(),
            version: skill.manifest.version.to_string(),
            title: skill.manifest.title.clone(),
            module: skill.module_sha256.clone(),
            digest: skill.code_digest.clone(),
            invocation: self.next_invocation(),
            turn,
            since: self.shared.gate.revocations(),
            control,
        }
    }

    pub(crate) fn next_invocation(&self) -> u64 {
        self.n_invocations.fetch_add(1, Ordering::Relaxed)
    }

    #[expect(clippy::too_many_arguments, reason = "one private place where a call is put together")]
    fn invoke(
        &self,
        skill: &Skill,
        export: &str,
        input: &Value,
        turn: Option<(SessionId, TurnId)>,
        taint: &mut Taint,
        budget: Duration,
        cancel: &Arc<AtomicBool>,
        fired: Option<&str>,
    ) -> Result<Option<ToolOutcome>, Failure> {
        let name = skill.manifest.name.as_str();
        if skill.is_suspended() {
            return Err(failure(
                ErrorCode::SkillFault,
                format!("skill `{name}` is suspended because it failed too often; load it again after it was repaired"),
            ));
        }
        if cancel.load(Ordering::Relaxed) {
            return Err(failure(ErrorCode::Cancelled, format!("the call of skill `{name}` was cancelled")));
        }
        let input = input.to_string().into_bytes();
        if input.len() > MAX_MESSAGE_BYTES {
            return Err(failure(
                ErrorCode::ToolArguments,
                format!("the arguments have more than {MAX_MESSAGE_BYTES} bytes"),
            ));
        }
        self.follow_clock();
        let budget = budget.min(MAX_BUDGET);
        let running = Running {
            shared: Arc::clone(&self.shared),
            manifest: Arc::clone(&skill.manifest),
            actor: self.actor(skill, turn, CallControl::new(Instant::now() + budget, Arc::clone(cancel))),
            taint: taint.clone(),
            now_ms: self.shared.clock.wall_ms(),
            draft: Draft::default(),
            blocks: Blocks::new(input),
            n_calls: 0,
            log_bytes: 0,
            was_denied: false,
            fault: None,
        };
        let (output, mut running) = skill.call(export, running, budget, &self.watchdog);
        let was_denied = running.as_ref().is_some_and(|running| running.was_denied);
        if let Some(running) = &mut running {
            running.draft.set_taint(&running.taint);
            taint.absorb(&running.taint);
        }
        let reply = output
            .and_then(|output| read_reply(&output).map_err(CallError::Fault))
            .map_err(|error| self.fail(skill, error))?;
        match reply {
            GuestReply::Ok(outcome) => {
                if let Some(running) = running {
                    self.shared
                        .store
                        .commit(name, &running.draft, fired)
                        .map_err(|error| failure(ErrorCode::StorageFault, error.to_string()))?;
                }
                Ok(outcome)
            }
            GuestReply::Error(GuestError { code, message }) => {
                tracing::debug!(skill = name, message = %message.escape_debug(), "skill reports an error");
                Err(match code {
                    GuestErrorCode::BadArguments => {
                        failure(ErrorCode::ToolArguments, format!("skill `{name}` cannot use these arguments"))
                    }
                    // A skill that fails because it was denied something need not say so.
                    GuestErrorCode::Failed if was_denied => {
                        failure(ErrorCode::PermissionDenied, format!("skill `{name}` lacks a permission that it needs"))
                    }
                    GuestErrorCode::Denied => {
                        failure(ErrorCode::PermissionDenied, format!("skill `{name}` lacks a permission that it needs"))
                    }
                    GuestErrorCode::Failed => {
                        failure(ErrorCode::SkillFault, format!("skill `{name}` reports an error"))
                    }
                })
            }
        }
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
            CallError::Fault(reason) => {
                tracing::warn!(skill = name, reason, "skill fault");
                if skill.count_fault(self.shared.clock.steady_ms()) {
                    tracing::error!(skill = name, "skill suspended");
                    let title = &skill.manifest.title;
                    self.shared.effects.notify(
                        name,
                        &format!("The skill “{title}” failed five times within ten minutes and was stopped."),
                    );
                }
                failure(ErrorCode::SkillFault, format!("skill `{name}` {reason}"))
            }
        }
    }

    /// Keeps what is left of every timer when someone sets the wall clock. Only a clock
    /// that was set while the program was not running cannot be told from time that passed.
    fn follow_clock(&self) {
        let mut known = self.clock_offset_ms.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = self.shared.clock.wall_ms() - self.shared.clock.steady_ms();
        let jump = offset - *known;
        if jump.abs() > CLOCK_JUMP_MS {
            match self.shared.store.shift_timers(jump) {
                Ok(()) => tracing::info!(jump_ms = jump, "the clock was set, timers keep their remaining time"),
                // Not taken over, so that the next look tries again.
                Err(error) => return tracing::error!(%error, "the clock was set and timers cannot be moved"),
            }
        }
        *known = offset;
    }
}

fn check_arguments(tool: &crate::manifest::Tool, call: &ToolCall) -> Result<(), Failure> {
    tool.parameters
        .check_arguments(&call.arguments)
        .map_err(|misfit| failure(ErrorCode::ToolArguments, format!("{}: {misfit}", tool.name)))
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

impl std::fmt::Debug for SkillHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SkillHost").field("skills", &self.skills()).finish_non_exhaustive()
    }
}
