//! Questions to the person, and what is granted to skills: what a client that holds the
//! operator's credentials may ask a running hub, and what observers are told.

use crate::{Failure, PromptId, SessionId, TurnId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A question that is open. Texts of the skill's author are foreign: escape them, never style them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// Its id.
    pub id: PromptId,
    /// Name of the skill.
    pub skill: String,
    /// Its title, in the author's words.
    pub title: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of manifest and module, in hex.
    pub digest: String,
    /// The permission.
    pub permission: String,
    /// `T1`, `T2` or `T3`.
    pub tier: String,
    /// `first_use`, `every_use` or `foreign`.
    pub occasion: String,
    /// The host function or operation.
    pub operation: String,
    /// What exactly would be done to what.
    pub target: String,
    /// Why, in the author's words.
    pub reason: String,
    /// How far a lasting answer would reach.
    pub scope: Map<String, Value>,
    /// Where the values come from, by their labels.
    pub taint: Vec<String>,
    /// The session on whose behalf; `null` for an event.
    pub session: Option<SessionId>,
    /// The turn on whose behalf; `null` for an event.
    pub turn: Option<TurnId>,
    /// The answers that are taken.
    pub answers: Vec<String>,
    /// Milliseconds until no answer counts as a no.
    pub expires_ms: u64,
}

/// What observers of `loqa.prompt.<id>` are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum PromptEvent {
    /// It is open.
    Shown {
        /// The question.
        prompt: Box<Prompt>,
    },
    /// It is over.
    Over {
        /// `once`, `session`, `always`, `deny`, `never`, or `unanswered`.
        answer: String,
    },
}

/// Operator → hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum PromptRequest {
    /// Which questions are open?
    List,
    /// The person's answer.
    Answer {
        /// To which question.
        prompt: PromptId,
        /// One of [`Prompt::answers`].
        answer: String,
    },
}

/// Hub → operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum PromptReply {
    /// Those that are open, oldest first.
    Open {
        /// The questions.
        prompts: Vec<Prompt>,
    },
    /// The answer was taken.
    Taken,
    /// It was not.
    Refused {
        /// Why.
        failure: Failure,
    },
}

/// One grant, in force or over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GrantInfo {
    /// Its name in the audit.
    pub id: String,
    /// Name of the skill.
    pub skill: String,
    /// SHA-256 of manifest and module that it is for, in hex.
    pub digest: String,
    /// Public key of the publisher, in hex.
    pub publisher: Option<String>,
    /// What it allows.
    pub permission: String,
    /// `T0` to `T4`, with this scope.
    pub tier: String,
    /// How far.
    pub scope: Map<String, Value>,
    /// `once`, `session`, `always` or `never`.
    pub lifetime: String,
    /// The session, for that lifetime.
    pub session: Option<SessionId>,
    /// When it was given, in milliseconds since the Unix epoch.
    pub granted_at_ms: i64,
    /// When it was last used, to the day; when it was given, if never.
    pub last_used_ms: i64,
    /// `install`, `bundled`, `upgrade`, `prompt` or `operator`.
    pub granted_by: String,
    /// `revoked`, `expired`, `used`, `session` or `replaced`; `null` while it is in force.
    pub ended: Option<String>,
}

/// Operator → hub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum GrantRequest {
    /// What is granted?
    List {
        /// To this skill, or to all.
        skill: Option<String>,
    },
    /// Grant this.
    Grant {
        /// To which skill.
        skill: String,
        /// What.
        permission: String,
        /// Narrower than the manifest; what is not named is as there.
        scope: Map<String, Value>,
        /// `once`, `session`, `always` or `never`.
        lifetime: String,
        /// The session, for that lifetime.
        session: Option<SessionId>,
    },
    /// Take this away, also from what is running.
    Revoke {
        /// From which skill.
        skill: String,
        /// What, or everything.
        permission: Option<String>,
    },
}

/// Hub → operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum GrantReply {
    /// Those that were asked for, given or taken away.
    Grants {
        /// The grants.
        grants: Vec<GrantInfo>,
    },
    /// Nothing was changed.
    Refused {
        /// Why.
        failure: Failure,
    },
}
