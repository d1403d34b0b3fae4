//! The skill host: loads skills, calls their tools, delivers their events, keeps their timers.

pub(crate) mod effects;
pub(crate) mod intent;
mod invoke;
pub(crate) mod publications;

pub(crate) use invoke::{MAX_SAY_CHARS, contents, failure};

use crate::authorize::{Gate, Reach, Request, Usage};
use crate::clock::Clock;
use crate::consent::Consent;
use crate::control::CallControl;
use crate::dry_run::Rehearsal;
use crate::grants::{Grant, GrantError, Grantor, Grants, Lifetime, NewGrant};
use crate::installed::InstallConsent;
use crate::manifest::{Manifest, TIMER_ELAPSED, Tool};
use crate::native::NativeSkill;
use crate::permission::{Permission, Requested, Scope};
use crate::secrets::Secrets;
use crate::skill::{DEFAULT_BUDGET, EXPORT_EVENT, EXPORT_TOOL, Skill, SkillInfo};
use crate::store::{Draft, Store};
use crate::taint::{Label, Taint};
use crate::watchdog::Watchdog;
use crate::{Shared, SkillError};
use effects::Effects;
use intent::IntentWriter;
use invoke::Call;
use loqa_audit::{Journal, LogOnly, Outcome, Status};
use loqa_protocol::llm::ChatMessage;
use loqa_protocol::{ErrorCode, Failure, PrivacyScope, SessionId, ToolCall, ToolOutcome, ToolSpec, TurnId};
use loqa_turn::intent::IntentDecl;
use publications::Publication;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// Longest budget of a call, whatever the caller says, and what skills get that ask a web server
/// or a language model; from the design of skills.
pub const MAX_BUDGET: Duration = Duration::from_secs(10);
/// How the names of events begin that are publications: `bus.<skill>.<topic>`.
pub const BUS_EVENT_PREFIX: &str = "bus.";
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

/// One call of a tool.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The session that asked.
    pub session: SessionId,
    /// The turn that asked.
    pub turn: TurnId,
    /// How long it may be remembered. Of an ephemeral one skills cannot read what was said,
    /// and what they write lives in memory.
    pub scope: PrivacyScope,
    /// Tool and arguments, not yet checked.
    pub call: ToolCall,
    /// Where tool and arguments come from.
    pub taint: Taint,
    /// What was said, for skills that may read it.
    pub said: Said,
    /// Wall time for the call, waiting included; at most ten seconds are given.
    pub budget: Duration,
    /// Set by the caller to stop the call.
    pub cancel: Arc<AtomicBool>,
}

/// What was said, as far as a skill could be allowed to read it.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// In this turn, by the user.
    pub utterance: String,
    /// Before it, oldest first.
    pub history: Vec<ChatMessage>,
    /// Where all of that comes from.
    pub taint: Taint,
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

/// A publication for one skill that subscribed to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Who gets it.
    pub to: String,
    /// `bus.<skill>.<topic>` and `{"from", "topic", "data"}`.
    pub event: SkillEvent,
    /// How long what led to it may be remembered.
    pub scope: PrivacyScope,
    /// Where its data come from.
    pub taint: Taint,
    /// `<skill>.<topic>`, as `bus:subscribe` names it.
    port: String,
    depth: u32,
}

/// Runs skills. Cheap to share behind an `Arc`; every method may be called from any thread and blocks.
pub struct SkillHost {
    pub(crate) shared: Arc<Shared>,
    skills: RwLock<BTreeMap<String, Arc<Skill>>>,
    pub(crate) natives: RwLock<BTreeMap<String, Arc<NativeSkill>>>,
    watchdog: Watchdog,
    intents: IntentWriter,
    n_invocations: AtomicU64,
    /// Wall minus steady clock when last looked.
    clock_offset_ms: Mutex<i64>,
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
        Self::assemble(&data_dir, Secrets::in_folder(&data_dir), clock, effects, journal, None)
    }

    pub(crate) fn assemble(
        data_dir: &Path,
        secrets: Secrets,
        clock: Arc<dyn Clock>,
        effects: Arc<dyn Effects>,
        journal: Arc<dyn Journal>,
        rehearsal: Option<Arc<Rehearsal>>,
    ) -> Result<Self, SkillError> {
        let (store, ephemeral) = (Store::open(data_dir)?, Store::in_memory()?);
        let watchdog = Watchdog::start().map_err(SkillError::Threads)?;
        let intents = IntentWriter::start(Arc::clone(&journal)).map_err(SkillError::Threads)?;
        let clock_offset_ms = Mutex::new(clock.wall_ms() - clock.steady_ms());
        let grants = Arc::new(Grants::open(data_dir, Arc::clone(&clock), Arc::clone(&journal))?);
        let shared = Arc::new(Shared {
            store,
            ephemeral,
            gate: Gate::new(grants, journal),
            effects,
            clock,
            secrets,
            publications: publications::Publications::default(),
            rehearsal,
        });
        Ok(Self {
            shared,
            skills: RwLock::default(),
            natives: RwLock::default(),
            watchdog,
            intents,
            n_invocations: AtomicU64::new(0),
            clock_offset_ms,
        })
    }

    /// Loads the skill in `folder` and enables it, in place of one of the same name.
    /// What it asks for of T0 and T1 counts as granted by whoever installed Loqa, unless
    /// this very code was loaded before: then what was revoked since stays revoked.
    pub fn load(&self, folder: &Path) -> Result<SkillInfo, SkillError> {
        let mut skill = Skill::load(folder, None)?;
        skill.is_bundled = true;
        self.take_in(skill, Some(Grantor::Bundled))
    }

    /// The same for a skill that comes with Loqa: what would leave the machine is not
    /// granted by that, the person has to.
    pub fn load_bundled(&self, folder: &Path) -> Result<SkillInfo, SkillError> {
        let mut skill = Skill::load(folder, None)?;
        skill.is_bundled = true;
        let stays_here =
            |requested: &Requested| !matches!(requested.permission, Permission::HttpCall | Permission::SecretUse);
        self.grants().grant_at_install(&skill.manifest, &skill.code_digest, None, &stays_here, Grantor::Bundled)?;
        self.take_in(skill, None)
    }

    /// The same with no grants but those that there are: the installer asked the person.
    pub fn load_as_granted(&self, folder: &Path) -> Result<SkillInfo, SkillError> {
        self.take_in(Skill::load(folder, None)?, None)
    }

    /// The same for a skill that is being written: it is marked as such wherever it is
    /// listed. [`crate::DevSkill`] says when to load it again.
    pub fn load_dev(&self, folder: &Path) -> Result<SkillInfo, SkillError> {
        let mut skill = Skill::load(folder, None)?;
        skill.is_dev = true;
        tracing::warn!(
            skill = skill.manifest.name,
            folder = %folder.display(),
            "DEVELOPMENT MODE: this skill is loaded anew whenever its files change, and gets what it asks for at once"
        );
        self.take_in(skill, Some(Grantor::Operator))
    }

    /// Loads a skill that the person installed, only if its bytes are still those that
    /// the consent is bound to.
    pub fn load_installed(&self, folder: &Path, consent: &InstallConsent) -> Result<SkillInfo, SkillError> {
        let skill = Skill::load(folder, Some(&consent.pin))?;
        let (manifest, digest, publisher) = (&skill.manifest, &skill.code_digest, consent.publisher.as_deref());
        let grants = self.grants();
        if !grants.is_installed(&manifest.name, digest) {
            let before = consent.carried_from.iter().find(|from| grants.is_installed(&manifest.name, from));
            match before {
                Some(from) => grants.carry_over(manifest, from, digest, publisher)?,
                None => grants.grant_at_install(manifest, digest, publisher, &|_| true, Grantor::Install)?,
            };
        }
        self.take_in(skill, None)
    }

    /// Takes a skill out; a call that is running goes on to its end.
    pub fn unload(&self, name: &str) {
        self.skills.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Erases what a removed skill has kept: values, timers, grants and secrets.
    pub fn forget(&self, name: &str) -> Result<(), SkillError> {
        self.unload(name);
        self.grants().forget(name)?;
        if let Err(error) = self.shared.secrets.forget(name) {
            tracing::error!(skill = name, %error, "the secrets of a removed skill stay");
        }
        self.shared.secrets.forget(name)?;
        self.shared.ephemeral.forget(name)?;
        Ok(self.shared.store.forget(name)?)
    }

    /// Where decisions are recorded.
    #[must_use]
    pub fn journal(&self) -> &Arc<dyn Journal> {
        self.shared.gate.journal()
    }

    fn take_in(&self, skill: Skill, by: Option<Grantor>) -> Result<SkillInfo, SkillError> {
        let name = skill.manifest.name.clone();
        if let Some(by) = by {
            self.grants().grant_at_install(&skill.manifest, &skill.code_digest, None, &|_| true, by)?;
        }
        let info = skill.info();
        tracing::info!(skill = info.name, version = info.version, module = info.module_sha256, "skill loaded");
        self.skills.write().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::new(skill));
        Ok(info)
    }

    /// Grants whatever the manifest asks for, for a dry run: nothing comes of it there.
    pub(crate) fn grant_declared(&self, skill: &str) {
        let Some(skill) = self.skill(skill) else { return };
        for requested in &skill.manifest.permissions {
            self.grant(&skill.manifest.name, requested.permission, requested.scope.clone());
        }
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

    /// The utterances of all skills, those of bundled ones first: of two that fit equally
    /// well the first one counts, and a stranger's skill shall not take a bundled one's words.
    #[must_use]
    pub fn intents(&self) -> Vec<IntentDecl> {
        let (bundled, strangers): (Vec<_>, Vec<_>) = self.all().into_iter().partition(|skill| skill.is_bundled);
        let of =
            |skills: &[Arc<Skill>]| skills.iter().flat_map(|skill| skill.manifest.intents.clone()).collect::<Vec<_>>();
        // Native skills are programs that the user configured by name, no strangers.
        let native = self.all_natives().into_iter().flat_map(|skill| skill.manifest.intents.clone());
        of(&bundled).into_iter().chain(native).chain(of(&strangers)).collect()
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
        let (manifest, digest) = wasm.or_else(native).ok_or_else(|| GrantError::Unknown { skill: skill.to_owned() })?;
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

    /// The wall time that a call of that tool gets: `voice`, or [`MAX_BUDGET`] for a skill
    /// that asks a web server or a language model.
    #[must_use]
    pub fn budget(&self, tool: &str, voice: Duration) -> Duration {
        let manifest = self.manifests().into_iter().find(|manifest| manifest.tool(tool).is_some());
        manifest.map_or(voice, |manifest| crate::skill::budget(&manifest, voice))
    }

    /// Calls a tool and waits for it. The arguments are checked first; what the skill
    /// writes is kept only if it succeeds.
    pub fn call(&self, invocation: &Invocation) -> Result<ToolOutcome, Failure> {
        self.call_tainted(invocation).0
    }

    /// The same, and where what came back comes from: the arguments, and all that the skill read.
    pub fn call_tainted(&self, invocation: &Invocation) -> (Result<ToolOutcome, Failure>, Taint) {
        let Invocation { session, turn, scope, call, taint, said, budget, cancel } = invocation;
        let native = self.all_natives().into_iter().find_map(|skill| {
            let tool = skill.manifest.tool(&call.name).cloned()?;
            Some((skill, tool))
        });
        if let Some((skill, tool)) = native {
            let mut taint = taint.clone();
            let outcome = check_arguments(&tool, call).and_then(|()| self.call_program(&skill, invocation, &mut taint));
            return (outcome, taint);
        }
        let found = self
            .all()
            .into_iter()
            .find_map(|skill| skill.manifest.tool(&call.name).cloned().map(|tool| (skill, tool)))
            .ok_or_else(|| failure(ErrorCode::ToolUnknown, "no skill offers this tool"))
            .and_then(|(skill, tool)| check_arguments(&tool, call).map(|()| skill));
        let skill = match found {
            Ok(skill) => skill,
            Err(failure) => return (Err(failure), taint.clone()),
        };
        let mut input = json!({ "tool": call.name, "arguments": call.arguments });
        // A skill that calls the web learns which addresses its manifest names.
        if let Some(requested) = skill.manifest.requested(Permission::HttpCall) {
            input["urls"] = requested.scope.texts("urls").into();
        }
        let (reply, read) = self.invoke(
            &skill,
            Call {
                export: EXPORT_TOOL,
                trigger: &call.name,
                input: &input,
                turn: Some((session.clone(), turn.clone())),
                scope: *scope,
                taint: taint.clone(),
                // Nothing of an ephemeral turn is given to whoever might keep it.
                said: if scope.may_be_kept() { said.clone() } else { Said::default() },
                budget: *budget,
                cancel: Arc::clone(cancel),
                fired: None,
                depth: 0,
            },
        );
        // The words of a skill that comes with Loqa are as trusted as what they were made of.
        let read = if skill.is_bundled { read } else { read.with(Label::Tool(call.name.clone())) };
        (reply.map(Option::unwrap_or_default), read)
    }

    /// Delivers an event and waits for the skill. `None` when the skill has nothing to
    /// say, or did not subscribe. What it wants to say unasked needs `tts:say`; without
    /// it the outcome comes with an empty `say`.
    pub fn deliver(&self, skill: &str, event: &SkillEvent) -> Result<Option<ToolOutcome>, Failure> {
        let timer = if event.name == TIMER_ELAPSED { event.data.get("id").and_then(Value::as_str) } else { None };
        let result = self.deliver_once(skill, event, timer);
        if let (Err(failure), Some(id)) = (&result, timer) {
            let due_ms = self.shared.clock.wall_ms() + RETRY_MS;
            match self.shared.store_of(self.scope_of_timer(skill, event)).retry(skill, id, due_ms) {
                Ok(true) => tracing::warn!(skill, %failure, "a timer's event was not accepted and is offered again"),
                Ok(false) => tracing::error!(skill, %failure, "a timer's event was not accepted and is dropped"),
                Err(error) => {
                    tracing::error!(skill, %failure, %error, "a timer's event was not accepted, nor its retry stored")
                }
            }
        }
        result
    }

    /// What was published since the last call, for each skill that subscribed to it. Deliver
    /// each with [`Self::deliver_publication`].
    #[must_use]
    pub fn take_publications(&self) -> Vec<Delivery> {
        let published = self.shared.publications.take();
        if published.is_empty() {
            return Vec::new();
        }
        let skills = self.all();
        let deliveries = published.into_iter().flat_map(|Publication { from, topic, data, scope, taint, depth }| {
            let port = format!("{from}.{topic}");
            let name = format!("{BUS_EVENT_PREFIX}{port}");
            let data = json!({ "from": from, "topic": topic, "data": data });
            let event = SkillEvent { name, data };
            let hears = |skill: &&Arc<Skill>| skill.manifest.events.contains(&event.name);
            let deliver = |skill: &Arc<Skill>| Delivery {
                to: skill.manifest.name.clone(),
                event: event.clone(),
                scope,
                taint: taint.clone(),
                port: port.clone(),
                depth,
            };
            skills.iter().filter(hears).map(deliver).collect::<Vec<_>>()
        });
        deliveries.collect()
    }

    /// Delivers a publication, if the skill may hear it; as [`Self::deliver`].
    pub fn deliver_publication(&self, delivery: &Delivery) -> Result<Option<ToolOutcome>, Failure> {
        let Delivery { to, event, scope, taint, port, depth } = delivery;
        let Some(skill) = self.skill(to).filter(|skill| skill.manifest.events.contains(&event.name)) else {
            return Ok(None);
        };
        let actor = self.actor(&skill, None, CallControl::lasting(DEFAULT_BUDGET));
        let decision = self.shared.gate.authorize(&Request {
            actor: &actor,
            declared: &skill.manifest.permissions,
            operation: "subscribe",
            permission: Permission::BusSubscribe,
            usage: Usage { topic: Some(port), ..Usage::default() },
            reach: Reach::Inside,
            taint: &Taint::default(),
            now_ms: self.shared.clock.wall_ms(),
        });
        match decision {
            Ok(authorized) => authorized.finish(Outcome::of(Status::Ok)),
            Err(reason) => {
                tracing::debug!(skill = to, port, reason = reason.as_str(), "a skill may not hear a publication");
                return Ok(None);
            }
        }
        self.send_event(&skill, event, *scope, taint.clone(), None, *depth)
    }

    /// When the next timer is due, in milliseconds since the Unix epoch. Ask again after
    /// every call, and at least every few seconds: the user may set the clock.
    #[must_use]
    pub fn next_timer(&self) -> Option<i64> {
        self.follow_clock();
        let next = [&self.shared.store, &self.shared.ephemeral].into_iter().map(|store| {
            store.next_due().unwrap_or_else(|error| {
                tracing::error!(%error, "the timers cannot be read");
                None
            })
        });
        next.flatten().min()
    }

    /// The timers that are due at `now_ms` on the wall clock, earliest first. Each is
    /// given out once; it is done when [`Self::deliver`] has succeeded, and is given out
    /// again after a failure or a restart in between.
    #[must_use]
    pub fn due_timers(&self, now_ms: i64) -> Vec<DueTimer> {
        self.follow_clock();
        let due = [&self.shared.store, &self.shared.ephemeral].into_iter().map(|store| {
            store.claim_due(now_ms).unwrap_or_else(|error| {
                tracing::error!(%error, "the timers cannot be read");
                Vec::new()
            })
        });
        let mut rows: Vec<_> = due.flatten().collect();
        rows.sort_by_key(|row| row.due_ms);
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

    /// The scope of the turn that set a timer, from where the timer is kept.
    fn scope_of_timer(&self, skill: &str, event: &SkillEvent) -> PrivacyScope {
        let id = event.data.get("id").and_then(Value::as_str);
        let due_ms = event.data.get("due_ms").and_then(Value::as_i64);
        let in_memory = |(id, due_ms)| self.shared.ephemeral.is_firing(skill, id, due_ms).unwrap_or(true);
        if event.name == TIMER_ELAPSED && id.zip(due_ms).is_some_and(in_memory) {
            PrivacyScope::Ephemeral
        } else {
            PrivacyScope::Persistent
        }
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
        let scope = self.scope_of_timer(name, event);
        if !skill.manifest.events.contains(&event.name) {
            // Nobody waits for it, so the timer is done.
            self.shared
                .store_of(scope)
                .commit(name, &Draft::default(), timer)
                .map_err(|error| failure(ErrorCode::StorageFault, error.to_string()))?;
            return Ok(None);
        }
        // A timer brings back what the skill gave it.
        let taint = self
            .shared
            .store_of(scope)
            .stored_taint(name)
            .map_err(|error| failure(ErrorCode::StorageFault, error.to_string()))?;
        self.send_event(&skill, event, scope, taint, timer, 0)
    }

    fn send_event(
        &self,
        skill: &Skill,
        event: &SkillEvent,
        scope: PrivacyScope,
        taint: Taint,
        fired: Option<&str>,
        depth: u32,
    ) -> Result<Option<ToolOutcome>, Failure> {
        let mut input = json!({ "event": event.name, "data": event.data });
        if let Some(requested) = skill.manifest.requested(Permission::HttpCall) {
            input["urls"] = requested.scope.texts("urls").into();
        }
        let (outcome, taint) = self.invoke(
            skill,
            Call {
                export: EXPORT_EVENT,
                trigger: &event.name,
                input: &input,
                turn: None,
                scope,
                taint,
                said: Said::default(),
                budget: crate::skill::budget(&skill.manifest, DEFAULT_BUDGET),
                cancel: Arc::default(),
                fired,
                depth,
            },
        );
        Ok(outcome?.map(|outcome| self.authorize_announcement(skill, outcome, &taint)))
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

    /// Keeps what is left of every timer when someone sets the wall clock. Only a clock
    /// that was set while the program was not running cannot be told from time that passed.
    fn follow_clock(&self) {
        let mut known = self.clock_offset_ms.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = self.shared.clock.wall_ms() - self.shared.clock.steady_ms();
        let jump = offset - *known;
        if jump.abs() > CLOCK_JUMP_MS {
            let moved = self.shared.store.shift_timers(jump);
            match moved.and_then(|()| self.shared.ephemeral.shift_timers(jump)) {
                Ok(()) => tracing::info!(jump_ms = jump, "the clock was set, timers keep their remaining time"),
                // Not taken over, so that the next look tries again.
                Err(error) => return tracing::error!(%error, "the clock was set and timers cannot be moved"),
            }
        }
        *known = offset;
    }
}

fn check_arguments(tool: &Tool, call: &ToolCall) -> Result<(), Failure> {
    tool.parameters
        .check_arguments(&call.arguments)
        .map_err(|misfit| failure(ErrorCode::ToolArguments, format!("{}: {misfit}", tool.name)))
}

impl std::fmt::Debug for SkillHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SkillHost").field("skills", &self.skills()).finish_non_exhaustive()
    }
}
