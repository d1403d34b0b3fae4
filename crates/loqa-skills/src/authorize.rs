//! The gate. Every effect of a skill passes [`Gate::authorize`]: declared in the
//! manifest ∩ granted by the user ∩ allowed by the host's policy, denied otherwise.
//!
//! The answer is an [`Authorized`] token that only this module can make, and the
//! code that performs effects takes it as an argument: an effect without a decision
//! does not compile. What reaches outside goes to the [`Journal`] before it happens.

use crate::control::CallControl;
use crate::permission::{Permission, Requested, Scope, ScopeValue, Tier};
use crate::taint::{Label, Taint};
use loqa_audit::{ActorKind, Context, Decision, Effect, Entry, Journal, Kind, Outcome, Status};
use loqa_protocol::{SessionId, TurnId};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Who wants to do something, and on whose behalf.
#[derive(Debug, Clone)]
pub struct Actor {
    /// Name of the skill.
    pub skill: String,
    /// Version of the skill.
    pub version: String,
    /// Title of the skill, from the manifest.
    pub title: String,
    /// SHA-256 of the module that runs, in hex.
    pub module: String,
    /// What its grants bind to, see [`crate::grants::code_digest`].
    pub digest: String,
    /// Counts up with every call into a skill since the host was opened.
    pub invocation: u64,
    /// The session and turn that called it; `None` for an event.
    pub turn: Option<(SessionId, TurnId)>,
    /// [`Gate::revocations`] when the call began: what is taken away after it is denied
    /// to the rest of the call without a question.
    pub since: u64,
    /// Ends the call, and stops its clock while the person is asked.
    pub control: CallControl,
}

/// What one host call would use of its permission. A permission whose scope names
/// something (an address, an entity, a recipient) is denied to a use that does not say which.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage<'a> {
    /// Bytes written or sent by this call, or stored in all after it (`kv:store`).
    pub bytes: u64,
    /// Characters spoken or shown.
    pub chars: u64,
    /// How many there are after the call, for counted things.
    pub count: u64,
    /// Tokens that the model would be allowed to make, the prompt included (`llm:complete`).
    pub tokens: u64,
    /// Topic below the skill's prefix (`bus:publish`), or the port that is listened to (`bus:subscribe`).
    pub topic: Option<&'a str>,
    /// HTTP method (`http:call`).
    pub method: Option<&'a str>,
    /// Address (`http:call`); each redirect is a use of its own.
    pub url: Option<&'a str>,
    /// Name of the secret (`secret:use`).
    pub secret: Option<&'a str>,
    /// Where the secret would go (`secret:use`), `scheme://host:port` or a whole address.
    pub origin: Option<&'a str>,
    /// `args`, `utterance` or `history:N` (`transcript:read`); `own`, `session` or `all` (`event_store:read`).
    pub level: Option<&'a str>,
    /// `domain.name` (`device:control`).
    pub entity: Option<&'a str>,
    /// Whether what is done may open a house or silence an alarm. The domains of locks and alarms
    /// count without it; a cover's domain does not tell whether it is a blind or a garage door.
    pub is_critical: bool,
    /// To whom (`message:send`), or whose data (`data:delete`).
    pub recipients: &'a [String],
    /// Sandbox profile (`native:exec`).
    pub profile: Option<&'a str>,
    /// The actual arguments, as the person is shown them when asked: `turn_on brightness=40`.
    pub arguments: Option<&'a str>,
    /// Whether the call makes sense only while a turn runs.
    pub in_turn: bool,
    /// Whether the call counts against a rate.
    pub rated: bool,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal,)+) => {
        /// Why a decision fell as it did. Closed: the audit stores the text form.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// The stable text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// One sentence from the declaration.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

reasons! {
    /// Declared, granted and within the scope.
    Granted => "granted",
    /// The manifest does not ask for this permission.
    NotDeclared => "not_declared",
    /// The user has not granted this permission.
    NotGranted => "not_granted",
    /// The host's policy never allows this permission to such a skill.
    Policy => "policy",
    /// The call goes beyond the scope of the permission.
    OutOfScope => "out_of_scope",
    /// The call is allowed, but not so often.
    RateExceeded => "rate_exceeded",
    /// The call is allowed only while a turn runs.
    NoTurn => "no_turn",
    /// The audit could not be written, so nothing may happen.
    AuditFailed => "audit_failed",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an operation does to the world, and so what the audit holds of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// It stays within the invocation: reads, drafts that are kept if the call succeeds,
    /// the log. The call's own rows cover it; a denial has a row.
    Inside,
    /// Somebody or something outside notices. An intent is safe on the disk before it
    /// happens, and an outcome follows.
    Outside,
}

/// One use that is to be decided.
#[derive(Debug)]
pub struct Request<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// What its manifest asks for.
    pub declared: &'a [Requested],
    /// The host function, or the host's own operation.
    pub operation: &'static str,
    /// Which permission.
    pub permission: Permission,
    /// How much of it.
    pub usage: Usage<'a>,
    /// How far the operation reaches.
    pub reach: Reach,
    /// Where the values come from that decide what happens.
    pub taint: &'a Taint,
    /// Wall clock.
    pub now_ms: i64,
}

/// Proof that a decision was made and recorded. Only [`Gate::authorize`] makes one.
/// Dropped without [`Authorized::finish`], the outcome is an error.
#[must_use = "an effect that was authorized is performed and its outcome reported"]
pub struct Authorized {
    intent: Option<(Arc<dyn Journal>, u64)>,
}

impl Authorized {
    /// Reports how the effect ended.
    pub fn finish(mut self, outcome: Outcome) {
        if let Some((journal, intent)) = self.intent.take() {
            journal.finish(intent, outcome);
        }
    }
}

impl Drop for Authorized {
    fn drop(&mut self) {
        if let Some((journal, intent)) = self.intent.take() {
            journal.finish(intent, Outcome::of(Status::Error));
        }
    }
}

impl fmt::Debug for Authorized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorized").field("intent", &self.intent.as_ref().map(|(_, intent)| intent)).finish()
    }
}

/// Holds what is granted and decides.
pub struct Gate {
    /// By skill; read at every decision, so that a revocation stops a running call.
    grants: RwLock<BTreeMap<String, BTreeMap<Permission, Scope>>>,
    /// Wall times of recent rated uses.
    recent: Mutex<BTreeMap<(String, Permission), VecDeque<i64>>>,
    revocations: AtomicU64,
    journal: Arc<dyn Journal>,
}

/// Window of the `per_minute` limits.
const RATE_WINDOW_MS: i64 = 60_000;

impl Gate {
    /// A gate that grants nothing yet.
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self { grants: RwLock::default(), recent: Mutex::default(), revocations: AtomicU64::new(0), journal }
    }

    /// Where decisions are recorded.
    #[must_use]
    pub const fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// Decides one use. Default deny; the decision is recorded before this returns.
    pub fn authorize(&self, request: &Request<'_>) -> Result<Authorized, Reason> {
        let reason = self.decide(request.actor, request.declared, request.permission, request.usage, request.now_ms);
        if reason != Reason::Granted {
            self.journal.append_later(entry(request, Kind::CallDenied, reason));
            return Err(reason);
        }
        if request.reach == Reach::Inside {
            return Ok(Authorized { intent: None });
        }
        match self.journal.append(entry(request, Kind::CallIntent, reason)) {
            Ok(intent) => Ok(Authorized { intent: Some((Arc::clone(&self.journal), intent)) }),
            Err(error) => {
                tracing::error!(skill = request.actor.skill, %error, "the audit refuses records, so the call is denied");
                Err(Reason::AuditFailed)
            }
        }
    }

    /// Grants a permission to a skill, replacing an earlier grant. It takes effect at
    /// the next host call, and only as far as the manifest asks for it.
    pub fn grant(&self, skill: &str, permission: Permission, scope: Scope) {
        let mut grants = self.grants.write().unwrap_or_else(PoisonError::into_inner);
        grants.entry(skill.to_owned()).or_default().insert(permission, scope);
    }

    /// Takes a permission away; a call that is running feels it at its next host call.
    pub fn revoke(&self, skill: &str, permission: Permission) {
        let mut grants = self.grants.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(granted) = grants.get_mut(skill) {
            granted.remove(&permission);
        }
    }

    /// How often something was taken away since the gate was made.
    #[must_use]
    pub fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::SeqCst)
    }

    /// Takes everything away.
    pub fn revoke_all(&self, skill: &str) {
        self.grants.write().unwrap_or_else(PoisonError::into_inner).remove(skill);
    }

    fn decide(
        &self,
        actor: &Actor,
        declared: &[Requested],
        permission: Permission,
        usage: Usage<'_>,
        now_ms: i64,
    ) -> Reason {
        let Some(declared) = declared.iter().find(|requested| requested.permission == permission) else {
            return Reason::NotDeclared;
        };
        if permission.tier() == Tier::T4 || !permission.is_offered() {
            return Reason::Policy;
        }
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        let Some(granted) = grants.get(&actor.skill).and_then(|granted| granted.get(&permission)) else {
            return Reason::NotGranted;
        };
        if usage.in_turn && actor.turn.is_none() {
            return Reason::NoTurn;
        }
        if !(is_within(&declared.scope, permission, usage) && is_within(granted, permission, usage)) {
            return Reason::OutOfScope;
        }
        if usage.rated {
            let limit =
                [&declared.scope, granted].into_iter().filter_map(|scope| scope.limit(permission, "per_minute")).min();
            if let Some(limit) = limit
                && !self.count_use(&actor.skill, permission, limit, now_ms)
            {
                return Reason::RateExceeded;
            }
        }
        Reason::Granted
    }

    /// Whether one more use fits into the window; if so it is counted.
    fn count_use(&self, skill: &str, permission: Permission, limit: u64, now_ms: i64) -> bool {
        let mut recent: MutexGuard<'_, _> = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let uses = recent.entry((skill.to_owned(), permission)).or_default();
        // A use in the future means that the clock was set back; it must not block for ever.
        uses.retain(|at| (now_ms - RATE_WINDOW_MS..=now_ms).contains(at));
        if uses.len() as u64 >= limit {
            return false;
        }
        uses.push_back(now_ms);
        true
    }
}

fn entry(request: &Request<'_>, kind: Kind, reason: Reason) -> Entry {
    let actor = request.actor;
    let (session, turn) = actor.turn.clone().unzip();
    Entry {
        permission: Some(Cow::Borrowed(request.permission.as_str())),
        decision: Some(if reason == Reason::Granted { Decision::Allow } else { Decision::Deny }),
        reason: Some(Cow::Borrowed(reason.as_str())),
        effect: Some(Effect {
            operation: Cow::Borrowed(request.operation),
            target: request.usage.topic.map(str::to_owned),
            bytes_out: None,
        }),
        ..Entry::new(
            kind,
            loqa_audit::Actor {
                kind: ActorKind::Skill,
                id: actor.skill.clone(),
                version: Some(actor.version.clone()),
                digest: Some(actor.module.clone()),
                publisher: None,
            },
            Context {
                invocation: Some(actor.invocation),
                session,
                turn,
                trigger: None,
                taint: request.taint.labels().map(Label::to_string).collect(),
            },
        )
    }
}

fn is_within(scope: &Scope, permission: Permission, usage: Usage<'_>) -> bool {
    let below = |key, used: u64| scope.limit(permission, key).is_none_or(|limit| used <= limit);
    let topic_named = usage.topic.is_none_or(|topic| match scope.get("topics") {
        Some(ScopeValue::Texts(topics)) => topics.iter().any(|named| named == topic),
        _ => false,
    });
    below("max_bytes", usage.bytes) && below("max_chars", usage.chars) && below("max", usage.count) && topic_named
}

#[cfg(test)]
mod tests {
    use super::*;
    use loqa_audit::{JournalError, LogOnly};

    fn actor(turn: bool) -> Actor {
        Actor {
            skill: "test".into(),
            version: "1.0.0".into(),
            title: String::new(),
            module: String::new(),
            digest: String::new(),
            invocation: 1,
            turn: turn.then(|| (SessionId::from_bits(1), TurnId::from_bits(1))),
            since: 0,
            control: CallControl::lasting(std::time::Duration::from_secs(60)),
        }
    }

    fn requested(permission: Permission, scope: Scope) -> Vec<Requested> {
        vec![Requested { permission, scope, reason: String::new() }]
    }

    fn decide_as(
        gate: &Gate,
        actor: &Actor,
        declared: &[Requested],
        permission: Permission,
        usage: Usage<'_>,
        now_ms: i64,
    ) -> Reason {
        let taint = &Taint::user();
        let reach = Reach::Outside;
        gate.authorize(&Request { actor, declared, operation: "test", permission, usage, reach, taint, now_ms })
            .map_or_else(|reason| reason, |_| Reason::Granted)
    }

    fn decide(gate: &Gate, declared: &[Requested], permission: Permission, usage: Usage<'_>, now_ms: i64) -> Reason {
        decide_as(gate, &actor(true), declared, permission, usage, now_ms)
    }

    #[test]
    fn nothing_is_allowed_that_is_not_declared_granted_and_offered() {
        for permission in Permission::ALL.iter().copied() {
            let mut scope = Scope::default();
            for key in permission.scope_keys().iter().filter(|key| key.required) {
                scope = scope.with(key.name, ScopeValue::Texts(vec!["a".into()]));
            }
            let gate = Gate::new(Arc::new(LogOnly));
            let declared = requested(permission, scope.clone());
            let usage = Usage::default();
            let offered = permission.is_offered() && permission.tier() != Tier::T4;

            assert_eq!(decide(&gate, &[], permission, usage, 0), Reason::NotDeclared, "{permission}");
            let ungranted = if offered { Reason::NotGranted } else { Reason::Policy };
            assert_eq!(decide(&gate, &declared, permission, usage, 0), ungranted, "{permission}");
            gate.grant("other", permission, scope.clone());
            assert_eq!(
                decide(&gate, &declared, permission, usage, 0),
                ungranted,
                "another skill's grant of {permission}"
            );
            gate.grant("test", permission, scope);
            assert_eq!(
                decide(&gate, &[], permission, usage, 0),
                Reason::NotDeclared,
                "a grant does not declare {permission}"
            );
            let granted = if offered { Reason::Granted } else { Reason::Policy };
            assert_eq!(decide(&gate, &declared, permission, usage, 0), granted, "{permission}");
            gate.revoke("test", permission);
            assert_eq!(decide(&gate, &declared, permission, usage, 0), ungranted, "{permission} was revoked");
        }
    }

    #[test]
    fn the_narrower_of_manifest_and_grant_counts() {
        let gate = Gate::new(Arc::new(LogOnly));
        let limit = |n| Scope::default().with("max", ScopeValue::Limit(n));
        let uses = |count| Usage { count, ..Usage::default() };
        gate.grant("test", Permission::TimerSet, limit(3));
        let declared = requested(Permission::TimerSet, limit(10));
        assert_eq!(decide(&gate, &declared, Permission::TimerSet, uses(3), 0), Reason::Granted);
        assert_eq!(decide(&gate, &declared, Permission::TimerSet, uses(4), 0), Reason::OutOfScope);
        gate.grant("test", Permission::TimerSet, limit(50));
        assert_eq!(
            decide(&gate, &declared, Permission::TimerSet, uses(11), 0),
            Reason::OutOfScope,
            "the manifest asked for ten"
        );
    }

    #[test]
    fn topics_must_be_named_in_both() {
        let gate = Gate::new(Arc::new(LogOnly));
        let topics = |names: &[&str]| {
            Scope::default().with("topics", ScopeValue::Texts(names.iter().map(|n| (*n).to_owned()).collect()))
        };
        gate.grant("test", Permission::BusPublish, topics(&["a", "b"]));
        let declared = requested(Permission::BusPublish, topics(&["b", "c"]));
        let on = |topic| Usage { topic: Some(topic), ..Usage::default() };
        assert_eq!(decide(&gate, &declared, Permission::BusPublish, on("b"), 0), Reason::Granted);
        for topic in ["a", "c", "d", "", "*", ">", "b.c"] {
            assert_eq!(decide(&gate, &declared, Permission::BusPublish, on(topic), 0), Reason::OutOfScope, "{topic}");
        }
    }

    #[test]
    fn a_rate_is_kept_and_recovers() {
        let gate = Gate::new(Arc::new(LogOnly));
        let scope = Scope::default().with("per_minute", ScopeValue::Limit(2));
        gate.grant("test", Permission::TtsSay, scope.clone());
        let declared = requested(Permission::TtsSay, scope);
        let once = Usage { rated: true, ..Usage::default() };
        let at = |now_ms| decide(&gate, &declared, Permission::TtsSay, once, now_ms);
        assert_eq!([at(100_000), at(100_001), at(100_002)], [Reason::Granted, Reason::Granted, Reason::RateExceeded]);
        assert_eq!(at(160_002), Reason::Granted, "a minute later there is room");
        assert_eq!(at(0), Reason::Granted, "a clock that was set back must not block");
    }

    #[test]
    fn what_belongs_to_a_turn_is_denied_outside_of_one() {
        let gate = Gate::new(Arc::new(LogOnly));
        gate.grant("test", Permission::ReplySay, Scope::default());
        let declared = requested(Permission::ReplySay, Scope::default());
        let usage = Usage { in_turn: true, ..Usage::default() };
        assert_eq!(decide_as(&gate, &actor(false), &declared, Permission::ReplySay, usage, 0), Reason::NoTurn);
    }

    #[test]
    fn the_audit_comes_first_and_its_failure_denies() {
        struct Broken(Mutex<Vec<Kind>>);
        impl Journal for Broken {
            fn append(&self, entry: Entry) -> Result<u64, JournalError> {
                self.append_later(entry);
                Err(JournalError("disk full".into()))
            }
            fn append_later(&self, entry: Entry) {
                self.0.lock().unwrap().push(entry.kind);
            }
            fn finish(&self, _intent: u64, _outcome: Outcome) {
                unreachable!("nothing was begun");
            }
        }
        let seen = Arc::new(Broken(Mutex::default()));
        let gate = Gate::new(seen.clone());
        gate.grant("test", Permission::LogWrite, Scope::default());
        let declared = requested(Permission::LogWrite, Scope::default());
        assert_eq!(decide(&gate, &declared, Permission::LogWrite, Usage::default(), 0), Reason::AuditFailed);
        assert_eq!(*seen.0.lock().unwrap(), [Kind::CallIntent], "the intent was offered first");
    }
}
