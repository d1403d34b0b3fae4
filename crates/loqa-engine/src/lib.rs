//! What the engine programs share: boot, hello, announce, heartbeat, the request
//! loop, cancel, drain, and leaving when the hub is gone.
//!
//! An engine program supplies a loader that returns one [`Worker`] per slot and
//! calls [`engine_main`]. A worker is ordinary blocking code on a thread of its
//! own; it never sees the bus. Deliberately absent: anything about models.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on stops"))]

mod boot;
mod host;
mod job;
mod registration;
mod replies;
mod runtime;
pub mod scripted;
mod utterance;
mod worker;

pub use job::{AudioInput, CancelFlag, Job, LlmJob, SttJob, TtsJob};
pub use loqa_protocol::engine::{Capability, EngineBoot, EngineKind};
pub use replies::{Replies, ReplyError, Sent};
pub use runtime::engine_main;

use loqa_protocol::Failure;

/// Does the work of one slot, one job at a time, on a thread of its own.
pub trait Worker: Send {
    /// Does one job and sends its own last message (`Final` or `Done`).
    ///
    /// A returned error is sent as `Failed`; so is a return without a last message.
    /// A panic is caught, sent as `Failed` with `engine_fault`, and ends the process,
    /// because nobody knows what state the model is in.
    ///
    /// When [`Replies`] returns an error, nobody listens any more: return soon.
    /// The cancel flag is to be looked at often enough to return within 50 ms.
    fn run(&mut self, job: Job) -> Result<(), Failure>;
}

/// A loaded model, ready for work.
pub struct Loaded {
    /// One worker per slot; at least one.
    pub workers: Vec<Box<dyn Worker>>,
    /// What to announce; the first must be the capability of the boot message.
    pub capabilities: Vec<Capability>,
}
