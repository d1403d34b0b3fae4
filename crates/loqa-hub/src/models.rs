//! The models as the hub uses them: the catalog, and downloads that obey the hub's rules
//! about addresses and are kept in its record.
//!
//! Deliberately absent: the catalog and the downloads themselves, which are
//! `loqa-models`, and running them in the hub, which is [`crate::pulls`].

pub use loqa_models::{Catalog, Model, ModelFile, Presence, Role, VerifiedModel};

use crate::config::Config;
use crate::outbound::address::{Place, place};
use loqa_audit::{Actor, ActorKind, Context, Effect, Entry, Journal, Kind, Outcome, Status};
use loqa_models::pull::{self, Ledger, Left, MayReach};
use loqa_models::{PullError, PullOptions, Puller};
use loqa_protocol::models::ModelInUse;
use std::sync::Arc;

/// A puller that reaches public addresses only and writes each request into the audit.
///
/// # Errors
/// The system has no TLS to offer.
pub fn puller(journal: Arc<dyn Journal>) -> Result<Puller, PullError> {
    Puller::new(PullOptions::new(public_only(), ledger(journal)))
}

/// Writes what a download sends into the audit, before it is sent.
#[must_use]
pub fn ledger(journal: Arc<dyn Journal>) -> Arc<dyn Ledger> {
    Arc::new(Audited(journal))
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

/// The row before the operator changes something about a model: `operation` is
/// `models.use`, `models.pull` or `models.remove`.
#[must_use]
pub fn change(operation: &'static str, target: String) -> Entry {
    let mut entry = Entry::new(Kind::ConfigChange, Actor::named(ActorKind::User, "operator"), Context::default());
    entry.effect = Some(Effect { operation: operation.into(), target: Some(target), bytes_out: None });
    entry
}

/// Why the files of a model have to stay: a hub uses it, or the configuration names it.
#[must_use]
pub fn needed(config: &Config, in_use: &[ModelInUse], name: &str) -> Option<String> {
    if in_use.iter().any(|row| row.model == name) {
        return Some(format!("model `{name}` is in use: put another one to use first"));
    }
    let configured = [config.text("stt.model"), config.text("tts.model")].contains(&name)
        || config.list("llm.models").iter().any(|model| model == name);
    configured
        .then(|| format!("model `{name}` is configured: take it out of `stt.model`, `llm.models` or `tts.model` first"))
}

/// Removes the files of a fetched model that nobody needs, and what is left of pulls; says
/// how many bytes that were.
///
/// # Errors
/// It is needed, comes with Loqa or is being fetched, or the disk refuses.
pub fn remove(catalog: &Catalog, config: &Config, in_use: &[ModelInUse], name: &str) -> Result<u64, PullError> {
    // An unknown name is told as such, whatever else is wrong.
    catalog.find(name, None).map_err(|e| PullError::Unknown(format!("{e:#}")))?;
    match needed(config, in_use, name) {
        Some(reason) => Err(PullError::Refused(reason)),
        None => pull::remove(catalog, name),
    }
}
