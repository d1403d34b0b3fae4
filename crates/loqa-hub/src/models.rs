//! The models as the hub uses them: the catalog, and downloads that obey the hub's rules
//! about addresses and are kept in its record.
//!
//! Deliberately absent: the catalog and the downloads themselves, which are
//! `loqa-models`.

pub use loqa_models::{Catalog, Model, ModelFile, Presence, Role, VerifiedModel};

use crate::outbound::address::{Place, place};
use loqa_audit::{Actor, ActorKind, Context, Effect, Entry, Journal, Kind, Outcome, Status};
use loqa_models::pull::{Ledger, Left, MayReach};
use loqa_models::{PullError, PullOptions, Puller};
use std::sync::Arc;

/// A puller that reaches public addresses only and writes each request into the audit.
///
/// # Errors
/// The system has no TLS to offer.
pub fn puller(journal: Arc<dyn Journal>) -> Result<Puller, PullError> {
    Puller::new(PullOptions::new(public_only(), Arc::new(Audited(journal))))
}

/// Where a download may go: public addresses, as for skills without the right to the
/// local network.
#[must_use]
pub fn public_only() -> MayReach {
    Arc::new(|address| place(address) == Place::Public)
}

/// Writes what a download sends into the audit.
struct Audited(Arc<dyn Journal>);

impl Ledger for Audited {
    fn leaving(&self, model: &str, target: &str) -> Result<u64, String> {
        self.0.append(leaving(model, target)).map_err(|error| error.to_string())
    }

    fn ended(&self, number: u64, left: Left) {
        self.0.finish(number, outcome(left));
    }
}

/// The row before a request for a file of `model` goes to `target`.
#[must_use]
pub fn leaving(model: &str, target: &str) -> Entry {
    let context = Context { trigger: Some(format!("models.pull:{model}")), ..Context::default() };
    let mut entry = Entry::new(Kind::CallIntent, Actor::named(ActorKind::User, "operator"), context);
    entry.reason = Some("asked_for".into());
    entry.effect = Some(Effect { operation: "models.pull".into(), target: Some(target.to_owned()), bytes_out: None });
    entry
}

/// How it ended.
#[must_use]
pub fn outcome(left: Left) -> Outcome {
    let status = if left.ok { Status::Ok } else { Status::Error };
    Outcome { bytes_out: Some(left.bytes_out), bytes_in: Some(left.bytes_in), ..Outcome::of(status) }
}
