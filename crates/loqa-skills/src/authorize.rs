//! The gate. Every effect of a skill passes [`Gate::authorize`]: declared in the
//! manifest ∩ granted by the user ∩ allowed by the host's policy, denied otherwise.
//! Where the person has to be asked, it asks, and the call's clock stands still.
//!
//! The answer is an [`Authorized`] token that only this module can make, and the
//! code that performs effects takes it as an argument: an effect without a decision
//! does not compile. What reaches outside goes to the [`Journal`] before it happens.
//!
//! The gate performs nothing and shows nothing to anybody.

pub mod ask;
mod flight;
mod rate;
mod reason;
mod record;

use crate::consent::{Answer, Consent, NobodyThere, Occasion, Question, plain};
use crate::control::{CallControl, Stopped};
use crate::grants::{GrantError, Grantor, Grants, Lifetime, NewGrant, Standing};
use crate::permission::{Permission, Requested, Scope, Tier};
use crate::scope::Considered;
use crate::taint::Taint;
use ask::Asking;
use flight::{Held, InFlight};
use loqa_audit::{Decision, Journal, Kind, Outcome, Status};
use loqa_protocol::{PrivacyScope, SessionId, TurnId};
use rate::{Limits, Rates};
pub use reason::Reason;
use record::{entry, prompt};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Longest wait for an answer, until it is set. Chosen.
pub const DEFAULT_PROMPT_LIMIT: Duration = Duration::from_secs(30);

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
    /// How long what led to it may be remembered.
    pub scope: PrivacyScope,
    /// [`Gate::revocations`] when the call began: what is taken away after it is denied
    /// to the rest of the call without a question.
    pub since: u64,
    /// Ends the call, and stops its clock while the person is asked.
    pub control: CallControl,
}

impl Actor {
    /// The same in the words of the audit.
    pub(crate) fn audited(&self) -> loqa_audit::Actor {
        loqa_audit::Actor {
            kind: loqa_audit::ActorKind::Skill,
            id: self.skill.clone(),
            version: Some(self.version.clone()),
            digest: Some(self.module.clone()),
            publisher: None,
        }
    }
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
/// Dropped without [`Authorized::finish`], the outcome is an error. While it lives, a
/// revocation of the permission ends the call.
#[must_use = "an effect that was authorized is performed and its outcome reported"]
pub struct Authorized {
    intent: Option<(Arc<dyn Journal>, u64)>,
    _held: Held,
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

/// Decides, and asks the person where that is needed.
pub struct Gate {
    grants: Arc<Grants>,
    consent: RwLock<Arc<dyn Consent>>,
    prompt_limit_ms: AtomicU64,
    asking: Asking,
    in_flight: Arc<InFlight>,
    rates: Rates,
    journal: Arc<dyn Journal>,
}

/// What a decision to allow rests on.
struct Ground {
    /// The grant in force, by its name.
    grant: Option<String>,
}

impl Gate {
    /// A gate that decides by these grants. Until [`Self::set_consent`] nobody is there to be asked.
    #[must_use]
    pub fn new(grants: Arc<Grants>, journal: Arc<dyn Journal>) -> Self {
        let in_flight = Arc::new(InFlight::default());
        let affected = Arc::clone(&in_flight);
        grants.on_end(move |skill, permission| affected.stop(skill, permission));
        Self {
            grants,
            consent: RwLock::new(Arc::new(NobodyThere)),
            prompt_limit_ms: AtomicU64::new(u64::try_from(DEFAULT_PROMPT_LIMIT.as_millis()).unwrap_or(u64::MAX)),
            asking: Asking::default(),
            in_flight,
            rates: Rates::default(),
            journal,
        }
    }

    /// Who puts questions to the person.
    pub fn set_consent(&self, consent: Arc<dyn Consent>) {
        *self.consent.write().unwrap_or_else(PoisonError::into_inner) = consent;
    }

    /// Longest wait for an answer; no answer in time is a no.
    pub fn set_prompt_limit(&self, limit: Duration) {
        self.prompt_limit_ms.store(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Where decisions are recorded.
    #[must_use]
    pub const fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// What is granted.
    #[must_use]
    pub const fn grants(&self) -> &Arc<Grants> {
        &self.grants
    }

    /// How often something was taken away, for [`Actor::since`].
    #[must_use]
    pub fn revocations(&self) -> u64 {
        self.grants.revocations()
    }

    /// Decides one use. Default deny; the decision is recorded before this returns. Blocks
    /// while the person is asked.
    pub fn authorize(&self, request: &Request<'_>) -> Result<Authorized, Reason> {
        let considered = Considered::new(request.permission, request.usage);
        // From here on a revocation ends the call, so that nothing slips in between.
        let held = self.in_flight.enter(&request.actor.skill, request.permission, &request.actor.control);
        let ground = match self.decide(request, &considered) {
            Ok(ground) => ground,
            Err(reason) => {
                self.journal.append_later(entry(request, &considered, Kind::CallDenied, reason, None));
                return Err(reason);
            }
        };
        if let Some(id) = &ground.grant {
            self.grants.note_use(id, &request.actor.skill);
        }
        if request.reach == Reach::Inside {
            return Ok(Authorized { intent: None, _held: held });
        }
        match self.journal.append(entry(request, &considered, Kind::CallIntent, Reason::Granted, ground.grant)) {
            Ok(intent) => Ok(Authorized { intent: Some((Arc::clone(&self.journal), intent)), _held: held }),
            Err(error) => {
                tracing::error!(skill = request.actor.skill, %error, "the audit refuses records, so the call is denied");
                Err(Reason::AuditFailed)
            }
        }
    }

    fn decide(&self, request: &Request<'_>, considered: &Considered<'_>) -> Result<Ground, Reason> {
        let (actor, permission) = (request.actor, request.permission);
        let Some(declared) = request.declared.iter().find(|requested| requested.permission == permission) else {
            return Err(Reason::NotDeclared);
        };
        if permission.tier() == Tier::T4 || !permission.is_offered() {
            return Err(Reason::Policy);
        }
        let tier = considered.tier(&declared.scope);
        let standing = self.standing(request, considered)?;
        let is_held = !matches!(standing, Standing::Nothing | Standing::OtherCode);
        if tier <= Tier::T1 && !is_held && !actor.control.is_allowed(permission) {
            let is_other = standing == Standing::OtherCode;
            return Err(if is_other { Reason::OtherCode } else { Reason::NotGranted });
        }
        if request.usage.in_turn && actor.turn.is_none() {
            return Err(Reason::NoTurn);
        }
        if standing == Standing::Beyond || !considered.is_within(&declared.scope) {
            return Err(Reason::OutOfScope);
        }
        let granted_scope = match &standing {
            Standing::Granted { scope, .. } => Some(scope),
            _ => None,
        };
        let limits = limits(request, &declared.scope, granted_scope);
        let fits = |take| self.rates.fits(&actor.skill, permission, request.usage.tokens, limits, request.now_ms, take);
        if !fits(false) {
            return Err(Reason::RateExceeded);
        }
        if let Some(occasion) = self.occasion(request, considered, declared, tier, &standing) {
            self.ask(request, considered, declared, tier, occasion)?;
        }
        if !fits(true) {
            return Err(Reason::RateExceeded);
        }
        match standing {
            Standing::Granted { id, is_once: true, .. } => self.use_up(actor, permission, id),
            Standing::Granted { id, .. } => Ok(Ground { grant: Some(id) }),
            _ => Ok(Ground { grant: None }),
        }
    }

    /// What the grants say, and what was taken away from this very call.
    fn standing(&self, request: &Request<'_>, considered: &Considered<'_>) -> Result<Standing, Reason> {
        let (actor, permission) = (request.actor, request.permission);
        let session = actor.turn.as_ref().map(|(session, _)| session);
        let standing =
            self.grants.standing(&actor.skill, &actor.digest, permission, session, |scope| considered.is_within(scope));
        if standing == Standing::Never {
            return Err(Reason::Never);
        }
        if self.grants.was_revoked_since(&actor.skill, permission, actor.since) {
            return Err(Reason::NotGranted);
        }
        Ok(standing)
    }

    /// Why the person has to be asked, if so.
    fn occasion(
        &self,
        request: &Request<'_>,
        considered: &Considered<'_>,
        declared: &Requested,
        tier: Tier,
        standing: &Standing,
    ) -> Option<Occasion> {
        if tier >= Tier::T3 {
            return Some(Occasion::EveryUse);
        }
        let is_foreign = request.taint.is_foreign();
        if is_foreign && (tier >= Tier::T2 || considered.chooses_destination(&declared.scope)) {
            return Some(Occasion::Foreign);
        }
        let is_granted = matches!(standing, Standing::Granted { .. });
        (!is_granted && !request.actor.control.is_allowed(request.permission)).then_some(Occasion::FirstUse)
    }

    fn ask(
        &self,
        request: &Request<'_>,
        considered: &Considered<'_>,
        declared: &Requested,
        tier: Tier,
        occasion: Occasion,
    ) -> Result<(), Reason> {
        let (actor, permission) = (request.actor, request.permission);
        if self.asking.was_refused(actor, permission) {
            return Err(Reason::Denied);
        }
        let may_ask = self.asking.begin(actor).ok_or(Reason::TooManyQuestions)?;
        let question = Question {
            skill: actor.skill.clone(),
            title: plain(&actor.title),
            version: actor.version.clone(),
            digest: actor.digest.clone(),
            permission,
            tier,
            occasion,
            operation: request.operation,
            target: plain(&considered.shown(request.operation)),
            reason: plain(&declared.reason),
            scope: declared.scope.resolved(permission),
            taint: request.taint.clone(),
            turn: actor.turn.clone(),
        };
        self.journal.append_later(prompt(request, considered, Kind::PromptShown, occasion.as_str(), None));
        let limit = Duration::from_millis(self.prompt_limit_ms.load(Ordering::Relaxed));
        let consent = Arc::clone(&self.consent.read().unwrap_or_else(PoisonError::into_inner));
        let answer = {
            let _still = actor.control.stand_still();
            consent.ask(&question, limit, &actor.control)
        };
        drop(may_ask);
        // A consent that gives an answer which was not offered has given none.
        let answer = if question.answers().contains(&answer) { answer } else { Answer::Unanswered };
        let decision = match answer {
            Answer::Once | Answer::Session | Answer::Always => Decision::Allow,
            Answer::Deny | Answer::Never | Answer::Unanswered => Decision::Deny,
        };
        self.journal.append_later(prompt(request, considered, Kind::PromptAnswered, answer.as_str(), Some(decision)));
        // Whoever revoked or stopped while the question was open has the last word.
        match actor.control.stopped() {
            Some(Stopped::Revoked(_)) => return Err(Reason::NotGranted),
            Some(Stopped::Cancelled) => return Err(Reason::Cancelled),
            Some(Stopped::Deadline) | None => {}
        }
        self.standing(request, considered)?;
        if decision == Decision::Deny {
            self.asking.note_refusal(actor, permission);
        }
        self.keep(request, declared, occasion, answer)
    }

    /// Keeps an answer for as long as it was given.
    fn keep(
        &self,
        request: &Request<'_>,
        declared: &Requested,
        occasion: Occasion,
        answer: Answer,
    ) -> Result<(), Reason> {
        let (actor, permission) = (request.actor, request.permission);
        let lifetime = match (answer, &actor.turn) {
            (Answer::Once, _) => {
                if occasion == Occasion::FirstUse {
                    actor.control.allow(permission);
                }
                return Ok(());
            }
            (Answer::Deny, _) => return Err(Reason::Denied),
            (Answer::Unanswered, _) | (Answer::Session, None) => return Err(Reason::Unanswered),
            (Answer::Session, Some((session, _))) => Lifetime::Session(session.clone()),
            (Answer::Always, _) => Lifetime::Always,
            (Answer::Never, _) => Lifetime::Never,
        };
        let is_never = lifetime == Lifetime::Never;
        let kept = self.grants.grant(NewGrant {
            skill: actor.skill.clone(),
            digest: actor.digest.clone(),
            publisher: None,
            permission,
            scope: declared.scope.resolved(permission),
            lifetime,
            granted_by: Grantor::Prompt,
        });
        match kept {
            Ok(_) if is_never => Err(Reason::Never),
            Ok(_) => Ok(()),
            Err(error) => Err(refused(actor, &error)),
        }
    }

    /// Uses up a grant for one time, which is one call of the skill.
    fn use_up(&self, actor: &Actor, permission: Permission, id: String) -> Result<Ground, Reason> {
        match self.grants.take_once(&id) {
            Ok(true) => {
                actor.control.allow(permission);
                Ok(Ground { grant: Some(id) })
            }
            Ok(false) => Err(Reason::NotGranted),
            Err(error) => Err(refused(actor, &error)),
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("grants", &self.grants).finish_non_exhaustive()
    }
}

fn refused(actor: &Actor, error: &GrantError) -> Reason {
    tracing::error!(skill = actor.skill, %error, "a grant cannot be changed, so the call is denied");
    match error {
        GrantError::Audit(_) => Reason::AuditFailed,
        GrantError::Store(_) | GrantError::Policy { .. } | GrantError::Unknown { .. } | GrantError::NotAsked { .. } => {
            Reason::StoreFailed
        }
    }
}

/// The narrower of manifest and grant.
fn limits(request: &Request<'_>, declared: &Scope, granted: Option<&Scope>) -> Limits {
    let narrowest = |key| {
        [Some(declared), granted].into_iter().flatten().filter_map(|scope| scope.limit(request.permission, key)).min()
    };
    Limits {
        per_minute: request.usage.rated.then(|| narrowest("per_minute")).flatten(),
        tokens_per_day: narrowest("tokens_per_day"),
    }
}

#[cfg(test)]
mod tests;
