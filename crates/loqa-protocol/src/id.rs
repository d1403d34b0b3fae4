//! Ids are newtypes over one subject token, so that an id can stand in a bus
//! subject without escaping and one kind cannot be passed for another.

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// Longest subject token, in bytes.
pub const MAX_TOKEN_LEN: usize = 64;

/// The shape of a subject token as a regular expression, for descriptions of the HTTP API.
#[cfg(feature = "openapi")]
pub const TOKEN_PATTERN: &str = "^[a-z0-9_-]{1,64}$";

/// Whether `token` is `[a-z0-9_-]{1,64}`, the only shape allowed in a subject.
#[must_use]
pub fn is_token(token: &str) -> bool {
    (1..=MAX_TOKEN_LEN).contains(&token.len())
        && token.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// A string that cannot be a subject token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a subject token, [a-z0-9_-]{{1,64}} is allowed: `{0}`")]
pub struct InvalidToken(pub String);

macro_rules! id {
    ($(#[doc = $what:literal])+ $name:ident) => {
        $(#[doc = $what])+
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes a token; anything else is an error that names it.
            pub fn new(token: impl Into<String>) -> Result<Self, InvalidToken> {
                let token = token.into();
                if is_token(&token) { Ok(Self(token)) } else { Err(InvalidToken(token)) }
            }

            /// An id made from 64 random bits that the caller supplies: a prefix and 16 hex digits.
            #[must_use]
            pub fn from_bits(bits: u64) -> Self {
                Self(format!("{}{bits:016x}", Self::PREFIX))
            }

            /// The token itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidToken;
            fn from_str(s: &str) -> Result<Self, InvalidToken> {
                Self::new(s)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some(TOKEN_PATTERN))
                    .description(Some(concat!($($what),+).trim()))
                    .into()
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    };
}

id!(
    /// One conversation: turns that share history.
    SessionId
);
id!(
    /// One utterance and everything that answers it.
    TurnId
);
id!(
    /// One piece of work that the hub gave to an engine.
    WorkId
);
id!(
    /// One running engine process.
    InstanceId
);

id!(
    /// One question to the person.
    PromptId
);

impl PromptId {
    const PREFIX: &str = "p-";
}

id!(
    /// One call of a native skill.
    CallId
);

impl SessionId {
    const PREFIX: &str = "s-";
}
impl TurnId {
    const PREFIX: &str = "t-";
}
impl WorkId {
    const PREFIX: &str = "w-";
}
impl InstanceId {
    const PREFIX: &str = "e-";
}
impl CallId {
    const PREFIX: &str = "c-";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lower_case_tokens_become_ids() {
        for good in ["a", "s-00ff", "stt_1"] {
            assert!(SessionId::new(good).is_ok(), "{good} is a token");
        }
        let too_long = "x".repeat(65);
        for bad in ["", "A", "a.b", "a b", ">", "*", "ä", &too_long] {
            assert!(SessionId::new(bad).is_err(), "{bad} must not reach a subject");
        }
        assert!(serde_json::from_str::<TurnId>("\"a.b\"").is_err(), "messages are held to the same rule");
    }

    #[test]
    fn ids_from_bits_are_tokens() {
        assert_eq!(WorkId::from_bits(255).as_str(), "w-00000000000000ff");
        assert!(is_token(InstanceId::from_bits(u64::MAX).as_str()));
    }
}
