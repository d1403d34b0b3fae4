//! Why a decision fell as it did.

use std::fmt;

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
    /// The user never wants to grant this permission.
    Never => "never",
    /// The user granted this permission to other code of this skill.
    OtherCode => "other_code",
    /// The user said no.
    Denied => "denied",
    /// The user was asked and did not answer.
    Unanswered => "unanswered",
    /// The user would have to be asked, and was asked too often.
    TooManyQuestions => "too_many_questions",
    /// The caller stopped the call while the user was asked.
    Cancelled => "cancelled",
    /// The grant cannot be read or written, so nothing may happen.
    StoreFailed => "store_failed",
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
