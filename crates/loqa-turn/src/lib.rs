//! The turn as pure code: what was said becomes what to do.
//!
//! [`state`] decides step by step, [`intent`] finds declared utterances without a
//! language model, [`clause`] cuts streamed text into pieces that can be spoken.
//!
//! Deliberately absent: async, clocks, randomness, the bus. Time comes in as
//! `now: Instant`; what has to happen goes out as [`state::Action`].

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test"))]

pub mod clause;
pub mod intent;
pub mod state;
