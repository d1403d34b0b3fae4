//! The audit: a record of who did what with which permission, and of every byte that
//! left the machine, that shows when somebody changed it.
//!
//! Deliberately absent: deciding. Who may do what is `loqa-skills`' business; this
//! crate only writes down what was decided, before it happens.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test"))]

mod record;

pub use record::{
    Actor, ActorKind, Context, Decision, Effect, Entry, Journal, JournalError, Kind, LogOnly, Outcome, Status,
};
