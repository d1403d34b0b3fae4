//! How long what is said in a turn may be remembered. The scope travels with every
//! message about the turn; the store, the skill host and the bus hold to it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How long a turn may be remembered, least first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PrivacyScope {
    /// In memory, for this conversation; nothing is written. What is not said to be
    /// more counts as this.
    #[default]
    Ephemeral,
    /// Until the session or the hub ends.
    Session,
    /// As long as the retention limits allow.
    Persistent,
}

impl PrivacyScope {
    /// Every scope, least first.
    pub const ALL: &[Self] = &[Self::Ephemeral, Self::Session, Self::Persistent];

    /// The stable text form, also the value of [`crate::header::PRIVACY`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ephemeral => "ephemeral",
            Self::Session => "session",
            Self::Persistent => "persistent",
        }
    }

    /// The scope of a header's value. Without one, or with one that is not known, the
    /// least is taken: a peer that says nothing has allowed nothing.
    #[must_use]
    pub fn of_header(value: Option<&str>) -> Self {
        Self::ALL.iter().copied().find(|scope| value == Some(scope.as_str())).unwrap_or_default()
    }

    /// Whether anything of the turn may be written.
    #[must_use]
    pub const fn may_be_kept(self) -> bool {
        !matches!(self, Self::Ephemeral)
    }
}

impl fmt::Display for PrivacyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_counts_as_the_least() {
        for scope in PrivacyScope::ALL {
            assert_eq!(PrivacyScope::of_header(Some(scope.as_str())), *scope);
            assert_eq!(serde_json::json!(scope), scope.as_str(), "one spelling everywhere");
        }
        for unclear in [None, Some(""), Some("Persistent"), Some("for ever")] {
            assert_eq!(PrivacyScope::of_header(unclear), PrivacyScope::Ephemeral, "{unclear:?}");
        }
        assert!(PrivacyScope::Ephemeral < PrivacyScope::Session && PrivacyScope::Session < PrivacyScope::Persistent);
    }
}
