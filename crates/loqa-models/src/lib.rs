//! The model catalog, downloads that only ever end in the pinned digest, and what a
//! model would need of this machine.
//!
//! Deliberately absent: loading weights, which engines do; and deciding which addresses
//! may be asked and keeping the record of that, which the caller passes in.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on stops"))]

pub mod catalog;
pub mod forecast;
pub mod pull;
pub mod stamp;

pub use catalog::{Catalog, Format, Model, ModelFile, Presence, Role, VerifiedModel};
pub use forecast::{Forecast, Machine};
pub use pull::{Progress, PullError, PullOptions, PullRequest, Pulled, Puller};
