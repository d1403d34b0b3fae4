//! The vocabulary of the record, and the trait through which the rest of Loqa writes it.

use loqa_protocol::{SessionId, TurnId};
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

macro_rules! words {
    ($(#[doc = $what:literal])+ $type:ident { $($(#[doc = $doc:literal])+ $name:ident => $text:literal,)+ }) => {
        $(#[doc = $what])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type {
            $($(#[doc = $doc])+ $name,)+
        }

        impl $type {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The one of that text form.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == name)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a row is about.
    Kind {
        /// Something is about to happen; committed before it does.
        CallIntent => "call.intent",
        /// How it ended; refers to its intent.
        CallOutcome => "call.outcome",
        /// Something was asked for and not done.
        CallDenied => "call.denied",
        /// The user was asked.
        PromptShown => "prompt.shown",
        /// What the user answered.
        PromptAnswered => "prompt.answered",
        /// A permission was granted.
        GrantAdd => "grant.add",
        /// A permission was taken away.
        GrantRevoke => "grant.revoke",
        /// A permission ran out.
        GrantExpire => "grant.expire",
        /// A skill was installed.
        SkillInstall => "skill.install",
        /// A skill was removed.
        SkillRemove => "skill.remove",
        /// A skill was loaded.
        SkillLoad => "skill.load",
        /// A skill was replaced by another version.
        SkillUpgrade => "skill.upgrade",
        /// The bytes of a skill are not those that the user agreed to.
        SkillChanged => "skill.changed",
        /// A skill failed too often.
        SkillSuspend => "skill.suspend",
        /// Bytes left the machine.
        Egress => "egress",
        /// A session began.
        SessionStart => "session.start",
        /// A session ended.
        SessionEnd => "session.end",
        /// What may be kept was changed.
        PrivacyMode => "privacy.mode",
        /// Somebody without the right credentials asked.
        ApiAuthFail => "api.auth_fail",
        /// An engine was started again.
        EngineRestart => "engine.restart",
        /// The configuration was changed.
        ConfigChange => "config.change",
        /// A chain of rows began: the first start, or a new segment after a damage.
        AuditStart => "audit.start",
        /// A checkpoint was signed.
        AuditCheckpoint => "audit.checkpoint",
        /// Old rows were removed.
        AuditPrune => "audit.prune",
        /// Contents were made unreadable; their rows stay.
        AuditErase => "audit.erase",
        /// Rows that need no confirmation could not be written; says how many.
        AuditGap => "audit.gap",
        /// The record was exported.
        AuditExport => "audit.export",
        /// A session was removed from the event store; says how much of it there was.
        StoreDelete => "store.delete",
        /// Everything was removed from the event store; says how much there was.
        StoreWipe => "store.wipe",
    }
}

words! {
    /// What acts.
    ActorKind {
        /// A skill.
        Skill => "skill",
        /// The hub itself.
        Hub => "hub",
        /// The person at the machine.
        User => "user",
        /// An engine.
        Engine => "engine",
        /// A program that talks to the hub.
        Client => "client",
    }
}

words! {
    /// What was decided.
    Decision {
        /// It may happen.
        Allow => "allow",
        /// It may not.
        Deny => "deny",
    }
}

words! {
    /// How something ended.
    Status {
        /// As intended.
        Ok => "ok",
        /// With an error that it reported itself.
        Error => "error",
        /// Its time was over.
        Timeout => "timeout",
        /// The sandbox ended it.
        Trap => "trap",
        /// Its caller ended it.
        Cancelled => "cancelled",
        /// Nobody knows: the hub died meanwhile.
        Unknown => "unknown",
    }
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// What it is.
    pub kind: ActorKind,
    /// Its name: of the skill, the engine's capability, `operator`.
    pub id: String,
    /// Version of a skill.
    pub version: Option<String>,
    /// SHA-256 of the code that runs, in hex.
    pub digest: Option<String>,
    /// Public key of the publisher, in hex.
    pub publisher: Option<String>,
}

impl Actor {
    /// An actor that is known by its name alone.
    #[must_use]
    pub fn named(kind: ActorKind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into(), version: None, digest: None, publisher: None }
    }
}

/// On whose behalf, and on what grounds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// Number of the invocation within this run of the hub.
    pub invocation: Option<u64>,
    /// The session.
    pub session: Option<SessionId>,
    /// The turn.
    pub turn: Option<TurnId>,
    /// What led to it, for example `tool:timer.start` or `event:timer.elapsed`.
    pub trigger: Option<String>,
    /// Where the values come from, by their labels.
    pub taint: Vec<String>,
}

/// What is done to the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The host function, or the host's own operation.
    pub operation: Cow<'static, str>,
    /// What it is done to, as a template without contents: `https://host:443/path`, `light.kitchen`.
    pub target: Option<String>,
    /// Bytes that leave the machine by it.
    pub bytes_out: Option<u64>,
}

/// One row, before it has a number, a time and a hash.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What the row is about.
    pub kind: Kind,
    /// Who.
    pub actor: Actor,
    /// Why.
    pub context: Context,
    /// Name of the permission.
    pub permission: Option<Cow<'static, str>>,
    /// How far it was asked to reach.
    pub scope: Option<String>,
    /// The grant that it rests on.
    pub grant: Option<String>,
    /// What was decided.
    pub decision: Option<Decision>,
    /// Why; a word of a closed list.
    pub reason: Option<Cow<'static, str>>,
    /// What is done.
    pub effect: Option<Effect>,
    /// Contents: arguments, texts. The row holds a commitment to them; they can be erased.
    pub payload: Option<Value>,
}

impl Entry {
    /// An entry that says only who and what about.
    #[must_use]
    pub const fn new(kind: Kind, actor: Actor, context: Context) -> Self {
        Self {
            kind,
            actor,
            context,
            permission: None,
            scope: None,
            grant: None,
            decision: None,
            reason: None,
            effect: None,
            payload: None,
        }
    }
}

/// How an intent ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// `None` is never written: an outcome that nobody reported is [`Status::Unknown`].
    pub status: Option<Status>,
    /// Bytes that left the machine.
    pub bytes_out: Option<u64>,
    /// Bytes that came back.
    pub bytes_in: Option<u64>,
    /// Uses that have no row of their own, by host function.
    pub uses: BTreeMap<Cow<'static, str>, u64>,
    /// Contents: the answer, the error. Erasable.
    pub payload: Option<Value>,
}

impl Outcome {
    /// An outcome that says only how.
    #[must_use]
    pub fn of(status: Status) -> Self {
        Self { status: Some(status), ..Self::default() }
    }
}

/// The record cannot be written, so what was to be recorded may not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit cannot be written: {0}")]
pub struct JournalError(pub String);

/// Where rows go. Called from any thread; must not call back.
pub trait Journal: Send + Sync {
    /// Writes a row and returns its number once it is safe on the disk.
    fn append(&self, entry: Entry) -> Result<u64, JournalError>;

    /// Hands a row over: it keeps its place in the order, and is on the disk soon.
    fn append_later(&self, entry: Entry);

    /// Says how the intent of that number ended; written soon. Without it the intent
    /// ends as [`Status::Unknown`] at the next start.
    fn finish(&self, intent: u64, outcome: Outcome);
}

/// Writes to the log only, without contents: for tools that act on nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogOnly;

impl Journal for LogOnly {
    fn append(&self, entry: Entry) -> Result<u64, JournalError> {
        self.append_later(entry);
        Ok(0)
    }

    fn append_later(&self, entry: Entry) {
        tracing::debug!(
            target: "loqa_audit",
            kind = entry.kind.as_str(),
            actor = entry.actor.id,
            invocation = entry.context.invocation,
            turn = entry.context.turn.as_ref().map(TurnId::as_str),
            operation = entry.effect.as_ref().map(|effect| effect.operation.as_ref()),
            permission = entry.permission.as_deref(),
            decision = entry.decision.map(Decision::as_str),
            reason = entry.reason.as_deref(),
            "audit"
        );
    }

    fn finish(&self, _intent: u64, _outcome: Outcome) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_and_are_distinct() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.as_str()), Some(*kind));
        }
        for status in Status::ALL {
            assert_eq!(Status::from_name(status.as_str()), Some(*status));
        }
        assert_eq!(Kind::from_name("call"), None);
    }
}
