//! Whether a new version of a skill takes the place of the old one by itself.
//!
//! It does only if it may do nothing that the old one could not, comes from the same
//! publisher's key, and has a higher version. Otherwise the user sees what differs, and
//! the old version keeps running meanwhile.
//!
//! A pure decision: nothing is read, written or asked here.

mod covers;

pub use covers::covers;

use crate::permission::{Permission, Requested};
use loqa_protocol::tool::ToolEffect;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// One version of a skill, as far as the decision needs it.
#[derive(Debug, Clone, Copy)]
pub struct Edition<'a> {
    /// Name of the skill.
    pub name: &'a str,
    /// Its version.
    pub version: &'a semver::Version,
    /// Digest of its contents.
    pub digest: &'a str,
    /// Public key of its publisher; `None` when it is not signed.
    pub publisher: Option<&'a str>,
    /// Of what is installed: what the user agreed to, as far as it was not taken back.
    /// Of what is to take its place: what it asks for.
    pub permissions: &'a [Requested],
    /// Its tools, and what a call of each can do.
    pub tools: &'a BTreeMap<String, ToolEffect>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The same contents are installed already.
    Same,
    /// It takes the old one's place without a question.
    Replace,
    /// It waits until the user has seen these differences and agreed; never empty.
    Ask(Vec<Difference>),
    /// It is not taken at all.
    Refuse(Refusal),
}

/// Something that the user has to agree to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It asks for a permission that the old version does not have.
    NewPermission(Permission),
    /// It asks for more of a permission.
    Wider {
        /// Which permission.
        permission: Permission,
        /// Which key of its scope.
        key: &'static str,
    },
    /// A tool says that it does less harm than the old version's, and so needs fewer confirmations.
    ToolEffect {
        /// Name of the tool.
        tool: String,
    },
    /// Another key signed it.
    PublisherChanged,
    /// The old version was not signed, this one is.
    PublisherNew,
    /// Neither is signed, so nothing shows that both come from the same hands.
    Unsigned,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewPermission(permission) => write!(f, "it asks for `{permission}` in addition"),
            Self::Wider { permission, key } => write!(f, "it asks for more of `{permission}`: `{key}`"),
            Self::ToolEffect { tool } => write!(f, "the tool `{tool}` says that it does less harm than before"),
            Self::PublisherChanged => f.write_str("another publisher's key signed it"),
            Self::PublisherNew => f.write_str("the installed version is not signed, this one is"),
            Self::Unsigned => f.write_str("it is not signed, so it may come from somebody else"),
        }
    }
}

/// Why a version is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It has another name; it is no version of this skill.
    OtherSkill,
    /// It is older than what is installed; what it repaired would be open again.
    Rollback,
    /// It has the version of what is installed and other contents.
    SameVersion,
    /// The installed version is signed and this one is not.
    SignatureMissing,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherSkill => "it is another skill; install it with `loqa skill install`",
            Self::Rollback => {
                "it is older than the installed version; `loqa skill rollback NAME` returns to the previous one"
            }
            Self::SameVersion => {
                "it has the installed version's number and other contents; ask its author for a new number"
            }
            Self::SignatureMissing => {
                "the installed version is signed and it is not; get it from the publisher, or remove the skill first"
            }
        })
    }
}

/// Decides whether `new` takes the place of `old`, which is installed.
#[must_use]
pub fn decide(old: &Edition<'_>, new: &Edition<'_>) -> Decision {
    if new.name != old.name {
        return Decision::Refuse(Refusal::OtherSkill);
    }
    if new.digest == old.digest && new.publisher == old.publisher {
        return Decision::Same;
    }
    // Precedence, not order: build metadata does not make a version newer.
    match new.version.cmp_precedence(old.version) {
        Ordering::Less => return Decision::Refuse(Refusal::Rollback),
        Ordering::Equal => return Decision::Refuse(Refusal::SameVersion),
        Ordering::Greater => {}
    }
    let mut differences = Vec::new();
    match (old.publisher, new.publisher) {
        (Some(_), None) => return Decision::Refuse(Refusal::SignatureMissing),
        (Some(old), Some(new)) if old != new => differences.push(Difference::PublisherChanged),
        (Some(_), Some(_)) => {}
        (None, Some(_)) => differences.push(Difference::PublisherNew),
        (None, None) => differences.push(Difference::Unsigned),
    }
    for wanted in new.permissions {
        differences.extend(widenings(old.permissions, wanted));
    }
    for (tool, effect) in new.tools {
        if old.tools.get(tool).is_some_and(|old| harm(*effect) < harm(*old)) {
            differences.push(Difference::ToolEffect { tool: tool.clone() });
        }
    }
    if differences.is_empty() { Decision::Replace } else { Decision::Ask(differences) }
}

/// In which ways one wish goes beyond what is in force.
fn widenings(effective: &[Requested], wanted: &Requested) -> Vec<Difference> {
    let permission = wanted.permission;
    let Some(held) = effective.iter().find(|held| held.permission == permission) else {
        return vec![Difference::NewPermission(permission)];
    };
    permission
        .scope_keys()
        .iter()
        .filter(|key| !covers(permission, key, &held.scope, &wanted.scope))
        .map(|key| Difference::Wider { permission, key: key.name })
        .collect()
}

const fn harm(effect: ToolEffect) -> u8 {
    match effect {
        ToolEffect::Read => 0,
        ToolEffect::Safe => 1,
        ToolEffect::Sensitive => 2,
    }
}
