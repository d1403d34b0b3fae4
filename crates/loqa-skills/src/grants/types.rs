//! What a grant is, and why one cannot be given.

use crate::manifest::Manifest;
use crate::permission::{Permission, Scope};
use crate::store::StoreError;
use loqa_audit::JournalError;
use loqa_protocol::SessionId;

/// How long a grant lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifetime {
    /// For one use.
    Once,
    /// As long as this session.
    Session(SessionId),
    /// Until it is revoked, or unused for 90 days.
    Always,
    /// Not a grant: the skill is denied, and the person is not asked.
    Never,
}

impl Lifetime {
    /// `once`, `session`, `always` or `never`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Session(_) => "session",
            Self::Always => "always",
            Self::Never => "never",
        }
    }

    pub(crate) const fn session(&self) -> Option<&SessionId> {
        match self {
            Self::Session(session) => Some(session),
            Self::Once | Self::Always | Self::Never => None,
        }
    }
}

macro_rules! words {
    ($(#[doc = $what:literal])+ $type:ident { $($(#[doc = $doc:literal])+ $name:ident => $text:literal,)+ }) => {
        $(#[doc = $what])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[doc = $doc])+ $name,)+
        }

        impl $type {
            /// The stable text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The one of that text form.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

words! {
    /// Who gave a grant, or took it away.
    Grantor {
        /// The person, when the skill was installed.
        Install => "install",
        /// The person who installed Loqa, for a skill that comes with it.
        Bundled => "bundled",
        /// The upgrade rule, from an earlier version of the skill.
        Upgrade => "upgrade",
        /// The person, when asked.
        Prompt => "prompt",
        /// The person, on the command line or in a window.
        Operator => "operator",
        /// The hub by itself.
        Hub => "hub",
    }
}

words! {
    /// How a grant ended.
    Ended {
        /// It was taken away.
        Revoked => "revoked",
        /// It was not used for 90 days.
        Expired => "expired",
        /// It was for one use.
        Used => "used",
        /// Its session ended.
        Session => "session",
        /// Another one took its place.
        Replaced => "replaced",
    }
}

/// One grant, in force or over.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// Its name in the audit.
    pub id: String,
    /// Name of the skill.
    pub skill: String,
    /// The code that it is for, see [`super::code_digest`]. A `never` holds for any code of the skill.
    pub digest: String,
    /// Public key of the publisher, in hex.
    pub publisher: Option<String>,
    /// What it allows.
    pub permission: Permission,
    /// How far.
    pub scope: Scope,
    /// How long.
    pub lifetime: Lifetime,
    /// When it was given, in milliseconds since the Unix epoch.
    pub granted_at_ms: i64,
    /// When it was last used, on the clock of the grants; when it was given, if never.
    pub last_used_ms: i64,
    /// By whom.
    pub granted_by: Grantor,
    /// How it ended; `None` while it is in force.
    pub ended: Option<Ended>,
}

/// A grant to be given.
#[derive(Debug, Clone)]
pub struct NewGrant {
    /// Name of the skill.
    pub skill: String,
    /// See [`Grant::digest`].
    pub digest: String,
    /// See [`Grant::publisher`].
    pub publisher: Option<String>,
    /// What it allows.
    pub permission: Permission,
    /// How far; give [`Scope::resolved`].
    pub scope: Scope,
    /// How long.
    pub lifetime: Lifetime,
    /// By whom.
    pub granted_by: Grantor,
}

impl NewGrant {
    /// A grant to a skill by its manifest: `narrower` replaces what it names of the scope.
    pub fn by_manifest(
        manifest: &Manifest,
        digest: &str,
        permission: Permission,
        narrower: &Scope,
        lifetime: Lifetime,
        granted_by: Grantor,
    ) -> Result<Self, GrantError> {
        let skill = manifest.name.clone();
        let Some(requested) = manifest.requested(permission) else {
            return Err(GrantError::NotAsked { skill, permission });
        };
        let scope = requested.scope.clone().narrowed(narrower).resolved(permission);
        Ok(Self { skill, digest: digest.to_owned(), publisher: None, permission, scope, lifetime, granted_by })
    }
}

/// Why a grant cannot be given or taken away. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is not recorded is not granted.
    #[error(transparent)]
    Audit(#[from] JournalError),
    /// This permission is never granted in advance.
    #[error("`{permission}` {why}")]
    Policy {
        /// Which.
        permission: Permission,
        /// What to do instead.
        why: &'static str,
    },
    /// There is no such skill.
    #[error("no skill `{skill}` is there; `loqa skill list` lists what is")]
    Unknown {
        /// Name of the skill.
        skill: String,
    },
    /// A grant reaches no further than the manifest.
    #[error("skill `{skill}` does not ask for `{permission}`, so it cannot be granted")]
    NotAsked {
        /// Name of the skill.
        skill: String,
        /// Which permission.
        permission: Permission,
    },
}
