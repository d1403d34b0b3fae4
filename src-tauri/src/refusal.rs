//! Why a command was not carried out: a code for the page, a sentence for the person.
//!
//! Deliberately absent: causes that the person can do nothing about; those are logged.

use loqa_protocol::ErrorCode;
use serde::Serialize;

/// What a command rejects with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// To branch on.
    pub code: ErrorCode,
    /// What is the matter and the way out.
    pub message: String,
}

impl Refusal {
    /// Puts the two together.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The hub does not run yet, or not any more.
    #[must_use]
    pub fn not_running() -> Self {
        Self::new(ErrorCode::Conflict, "Loqa is starting or stopping: try again in a moment")
    }

    /// What the page sent cannot be used.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    /// Something that the system did not do, with what to try.
    pub fn system(what: &str, cause: &dyn std::fmt::Display, way_out: &str) -> Self {
        Self::new(ErrorCode::HubFault, format!("{what}, {cause}: {way_out}"))
    }
}
