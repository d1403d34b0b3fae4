//! Grants: what the person allowed which code to do, how far and for how long.
//!
//! They are kept in `skills.db` and read from memory, at every decision. A change is
//! made in the database first and then in memory at once, so that what is in force is
//! never more than what is written. Whether a use is allowed is not decided here, see
//! [`crate::authorize`].

mod clock;
mod install;
pub(crate) mod store;
mod types;

use crate::clock::Clock;
use crate::permission::{Permission, Scope, Tier};
use clock::GrantClock;
use loqa_audit::{Actor, ActorKind, Context, Decision, Effect, Entry, Journal, Kind};
use loqa_protocol::SessionId;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use store::GrantStore;
pub use types::{Ended, Grant, GrantError, Grantor, Lifetime, NewGrant};

/// A grant that is not used for so long is over; from the design of skills.
pub const UNUSED_MS: i64 = 90 * 24 * 3_600 * 1_000;
/// A use is written down when the last one written is older than this. Chosen: once a day,
/// so that the voice path hardly ever waits for the disk.
const NOTE_EVERY_MS: i64 = 24 * 3_600 * 1_000;

/// What grants bind to: SHA-256 over the manifest and the module, in hex. The length
/// keeps a byte from moving from one to the other unnoticed.
#[must_use]
pub fn code_digest(manifest: &[u8], module: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update(b"loqa.skill.v1\0");
    digest.update((manifest.len() as u64).to_le_bytes());
    digest.update(manifest);
    digest.update(module);
    hex::encode(digest.finalize())
}

/// What the grants say about a permission of a piece of code.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// This grant covers the use.
    Granted { id: String, scope: Scope, is_once: bool },
    /// There are grants, and the use goes beyond each.
    Beyond,
    /// The person wants neither this nor to be asked.
    Never,
    /// It was granted and has run out.
    Expired,
    /// It is granted to other code of the same skill.
    OtherCode,
    /// It is not granted.
    Nothing,
}

/// What was taken away: of which skill, and which permission; `None` is all.
type Listener = Box<dyn Fn(&str, Option<Permission>) + Send + Sync>;

/// Holds what is granted.
pub struct Grants {
    store: Mutex<GrantStore>,
    memory: RwLock<Memory>,
    clock: GrantClock,
    journal: Arc<dyn Journal>,
    revocations: AtomicU64,
    /// When something was last taken away, in the count of `revocations`; `None` is everything.
    revoked: RwLock<BTreeMap<String, BTreeMap<Option<Permission>, u64>>>,
    listeners: RwLock<Vec<Listener>>,
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// By skill: in force, and the last of each that is over.
    grants: BTreeMap<String, Vec<Grant>>,
    /// Digests of the code that was installed, by skill.
    installs: BTreeMap<String, BTreeSet<String>>,
}

impl Grants {
    /// Opens the grants in the data folder. Sessions end with the program, and so do their grants.
    pub fn open(data_dir: &Path, clock: Arc<dyn Clock>, journal: Arc<dyn Journal>) -> Result<Self, GrantError> {
        let mut store = GrantStore::open(data_dir)?;
        let memory = store.load()?;
        let clock = GrantClock::resume(clock, store.clock()?);
        let grants = Self {
            store: Mutex::new(store),
            memory: RwLock::new(memory),
            clock,
            journal,
            revocations: AtomicU64::new(0),
            revoked: RwLock::default(),
            listeners: RwLock::default(),
        };
        grants.end_where(Ended::Session, Grantor::Hub, |grant| grant.lifetime.session().is_some())?;
        grants.sweep()?;
        Ok(grants)
    }

    /// Calls `listener` whenever something is taken away from a skill. It must not block,
    /// nor change grants.
    pub fn on_end(&self, listener: impl Fn(&str, Option<Permission>) + Send + Sync + 'static) {
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(listener));
    }

    /// How often something was taken away since the program began.
    #[must_use]
    pub fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::SeqCst)
    }

    /// Whether the permission was taken away after [`Self::revocations`] was `since`.
    pub(crate) fn was_revoked_since(&self, skill: &str, permission: Permission, since: u64) -> bool {
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        let of_skill = revoked.get(skill);
        [None, Some(permission)]
            .iter()
            .any(|of| of_skill.and_then(|revoked| revoked.get(of)).is_some_and(|count| *count > since))
    }

    /// Everything of one skill or of all, in force first.
    #[must_use]
    pub fn list(&self, skill: Option<&str>) -> Vec<Grant> {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = memory
            .grants
            .iter()
            .filter(|(name, _)| skill.is_none_or(|skill| skill == name.as_str()))
            .flat_map(|(_, grants)| grants.iter().cloned())
            .collect::<Vec<_>>();
        all.sort_by_key(|grant| (grant.skill.clone(), grant.ended.is_some(), grant.permission, grant.granted_at_ms));
        all
    }

    /// Gives a grant, in place of what the same code has for the same time. A `never`
    /// takes the place of everything, and everything takes the place of a `never`.
    pub fn grant(&self, new: NewGrant) -> Result<Grant, GrantError> {
        may_be_granted(new.permission, &new.lifetime)?;
        let mut store = self.store();
        let grant = self.make(new);
        let ended = self.replaced_by(&grant);
        self.change(&mut store, vec![grant.clone()], &ended, None)?;
        if grant.lifetime == Lifetime::Never {
            self.tell(&grant.skill, Some(grant.permission));
        }
        Ok(grant)
    }

    /// Takes a permission away, or all of them. What is running feels it at once.
    /// Returns what was in force.
    pub fn revoke(&self, skill: &str, permission: Option<Permission>, by: Grantor) -> Result<Vec<Grant>, GrantError> {
        let concerns =
            |grant: &Grant| grant.skill == skill && permission.is_none_or(|permission| permission == grant.permission);
        let ended = self.end_where(Ended::Revoked, by, concerns)?;
        // Also when nothing was in force: somebody may be asking for it this moment.
        self.tell(skill, permission);
        Ok(ended)
    }

    /// Ends the grants of a session.
    pub fn end_session(&self, session: &SessionId) -> Result<(), GrantError> {
        self.end_where(Ended::Session, Grantor::Hub, |grant| grant.lifetime.session() == Some(session))?;
        Ok(())
    }

    /// To be called every minute: keeps the clock of the grants over a restart, and ends
    /// what was not used for 90 days.
    pub fn tick(&self) -> Result<(), GrantError> {
        let Some(reading) = self.clock.due() else { return Ok(()) };
        self.store().keep_clock(reading)?;
        self.clock.is_written(reading);
        self.sweep()?;
        Ok(())
    }

    /// Ends what was not used for 90 days. Returns what ended.
    pub fn sweep(&self) -> Result<Vec<Grant>, GrantError> {
        let now = self.clock.now_ms();
        self.end_where(Ended::Expired, Grantor::Hub, |grant| has_run_out(grant, now))
    }

    /// What is known about this permission for this code; `covers` looks at the scopes.
    pub(crate) fn standing(
        &self,
        skill: &str,
        digest: &str,
        permission: Permission,
        session: Option<&SessionId>,
        covers: impl Fn(&Scope) -> bool,
    ) -> Standing {
        let now = self.clock.now_ms();
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        let (mut standing, mut granted, mut once) = (Standing::Nothing, None, None);
        for grant in memory.grants.get(skill).into_iter().flatten().filter(|grant| grant.permission == permission) {
            let is_live = grant.ended.is_none();
            if is_live && grant.lifetime == Lifetime::Never {
                return Standing::Never;
            }
            if grant.digest != digest {
                if is_live && standing == Standing::Nothing {
                    standing = Standing::OtherCode;
                }
                continue;
            }
            if grant.ended == Some(Ended::Expired) || (is_live && has_run_out(grant, now)) {
                if standing != Standing::Beyond {
                    standing = Standing::Expired;
                }
                continue;
            }
            let is_for_all = grant.lifetime.session().is_none_or(|of| Some(of) == session);
            if !is_live || !is_for_all {
                continue;
            }
            if !covers(&grant.scope) {
                standing = Standing::Beyond;
            } else if grant.lifetime == Lifetime::Once {
                once.get_or_insert(grant);
            } else {
                granted.get_or_insert(grant);
            }
        }
        match granted.or(once) {
            Some(grant) => Standing::Granted {
                id: grant.id.clone(),
                scope: grant.scope.clone(),
                is_once: grant.lifetime == Lifetime::Once,
            },
            None => standing,
        }
    }

    /// Uses up a grant for one use; `false` when somebody else was faster.
    pub(crate) fn take_once(&self, id: &str) -> Result<bool, GrantError> {
        let taken = self.end_where(Ended::Used, Grantor::Hub, |grant| grant.id == id)?;
        Ok(!taken.is_empty())
    }

    /// Notes that a grant is being used.
    pub(crate) fn note_use(&self, id: &str, skill: &str) {
        let now = self.clock.now_ms();
        let is_due = |grant: &Grant| grant.id == id && now - grant.last_used_ms >= NOTE_EVERY_MS;
        {
            let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
            if !memory.grants.get(skill).into_iter().flatten().any(is_due) {
                return;
            }
        }
        let mut store = self.store();
        // Without the note the grant ends earlier than it should, never later.
        if let Err(error) = store.note_use(id, now, self.clock.reading()) {
            tracing::warn!(skill, %error, "the use of a grant is not noted");
            return;
        }
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(grant) = memory.grants.get_mut(skill).and_then(|all| all.iter_mut().find(|grant| grant.id == id)) {
            grant.last_used_ms = grant.last_used_ms.max(now);
        }
    }

    fn store(&self) -> MutexGuard<'_, GrantStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, new: NewGrant) -> Grant {
        let now = self.clock.now_ms();
        Grant {
            id: format!("g-{:016x}", rand::random::<u64>()),
            skill: new.skill,
            digest: new.digest,
            publisher: new.publisher,
            permission: new.permission,
            scope: new.scope,
            lifetime: new.lifetime,
            granted_at_ms: self.clock.wall_ms(),
            last_used_ms: now,
            granted_by: new.granted_by,
            ended: None,
        }
    }

    fn replaced_by(&self, new: &Grant) -> Vec<Grant> {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        let is_replaced = |old: &&Grant| {
            old.ended.is_none()
                && old.permission == new.permission
                && (old.lifetime == Lifetime::Never
                    || new.lifetime == Lifetime::Never
                    || (old.digest == new.digest && old.lifetime == new.lifetime))
        };
        let old = memory.grants.get(&new.skill).into_iter().flatten().filter(is_replaced).cloned();
        old.map(|grant| Grant { ended: Some(Ended::Replaced), ..grant }).collect()
    }

    /// Ends everything in force that `concerns` picks. Ends are recorded after they happened:
    /// a full disk must not keep a permission alive.
    fn end_where(&self, how: Ended, by: Grantor, concerns: impl Fn(&Grant) -> bool) -> Result<Vec<Grant>, GrantError> {
        let mut store = self.store();
        let ended = {
            let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
            let live = memory.grants.values().flatten().filter(|grant| grant.ended.is_none() && concerns(grant));
            live.map(|grant| Grant { ended: Some(how), ..grant.clone() }).collect::<Vec<_>>()
        };
        if ended.is_empty() {
            return Ok(ended);
        }
        self.change(&mut store, Vec::new(), &ended, None)?;
        drop(store);
        for grant in &ended {
            let kind = if how == Ended::Revoked { Kind::GrantRevoke } else { Kind::GrantExpire };
            self.journal.append_later(record(kind, grant, by, how.as_str()));
        }
        Ok(ended)
    }

    /// The one place where anything changes: audit, database, memory, in this order.
    fn change(
        &self,
        store: &mut GrantStore,
        added: Vec<Grant>,
        ended: &[Grant],
        install: Option<(&str, &str)>,
    ) -> Result<(), GrantError> {
        let by = added.first().map_or(Grantor::Hub, |grant| grant.granted_by);
        for grant in &added {
            self.journal.append(record(Kind::GrantAdd, grant, by, grant.lifetime.as_str()))?;
        }
        store.change(&added, ended, install, self.clock.reading())?;
        {
            let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
            memory.end(ended);
            for grant in added {
                memory.grants.entry(grant.skill.clone()).or_default().push(grant);
            }
            if let Some((skill, digest)) = install {
                memory.installs.entry(skill.to_owned()).or_default().insert(digest.to_owned());
            }
        }
        for grant in ended.iter().filter(|grant| grant.ended == Some(Ended::Replaced)) {
            self.journal.append_later(record(Kind::GrantRevoke, grant, by, Ended::Replaced.as_str()));
        }
        Ok(())
    }

    /// Lets those who run the skill know.
    fn tell(&self, skill: &str, permission: Option<Permission>) {
        let count = self.revocations.fetch_add(1, Ordering::SeqCst) + 1;
        {
            let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
            revoked.entry(skill.to_owned()).or_default().insert(permission, count);
        }
        for listener in self.listeners.read().unwrap_or_else(PoisonError::into_inner).iter() {
            listener(skill, permission);
        }
    }
}

impl Memory {
    /// Of those that are over, the last of each permission and code stays.
    fn end(&mut self, ended: &[Grant]) {
        for over in ended {
            let Some(grants) = self.grants.get_mut(&over.skill) else { continue };
            grants.retain(|grant| grant.id != over.id && (grant.ended.is_none() || !store::is_same_place(grant, over)));
            grants.push(over.clone());
        }
    }
}

/// T0 is automatic and does not run out; a `never` is no grant.
fn has_run_out(grant: &Grant, now_ms: i64) -> bool {
    grant.lifetime != Lifetime::Never
        && grant.permission.tier() != Tier::T0
        && now_ms.saturating_sub(grant.last_used_ms) > UNUSED_MS
}

/// What the policy lets be granted ahead of its use.
fn may_be_granted(permission: Permission, lifetime: &Lifetime) -> Result<(), GrantError> {
    let why = match permission.tier() {
        Tier::T4 => "is never granted to a skill",
        Tier::T3 if *lifetime != Lifetime::Never => {
            "is confirmed at every use and cannot be granted ahead; only `never` can be set"
        }
        _ if !permission.is_offered() && *lifetime != Lifetime::Never => "has no function on this host yet",
        _ => return Ok(()),
    };
    Err(GrantError::Policy { permission, why })
}

fn record(kind: Kind, grant: &Grant, by: Grantor, word: &'static str) -> Entry {
    let actor = match by {
        Grantor::Hub | Grantor::Upgrade => Actor::named(ActorKind::Hub, "grants"),
        Grantor::Install | Grantor::Bundled | Grantor::Prompt | Grantor::Operator => {
            Actor::named(ActorKind::User, by.as_str())
        }
    };
    let context = Context { session: grant.lifetime.session().cloned(), ..Context::default() };
    let is_denial = kind != Kind::GrantAdd || grant.lifetime == Lifetime::Never;
    Entry {
        permission: Some(Cow::Borrowed(grant.permission.as_str())),
        scope: Some(serde_json::Value::Object(grant.scope.to_json()).to_string()),
        grant: Some(grant.id.clone()),
        decision: Some(if is_denial { Decision::Deny } else { Decision::Allow }),
        reason: Some(Cow::Borrowed(word)),
        effect: Some(Effect {
            operation: Cow::Borrowed(kind.as_str()),
            target: Some(format!("{}@{}", grant.skill, grant.digest.get(..16).unwrap_or(&grant.digest))),
            bytes_out: None,
        }),
        ..Entry::new(kind, actor, context)
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants").field("grants", &self.list(None).len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
