//! Skills: reading their manifests, deciding what they may do, running them.
//!
//! A skill is a WASM module in an Extism sandbox, or a native program that the hub runs.
//! It reaches the outside through [`HostFunction`]s, and every one of them passes
//! [`authorize::Gate::authorize`].
//! What it keeps and its timers lie in SQLite and survive a restart.
//!
//! Deliberately absent: async (calls block, the hub runs them on a blocking thread),
//! WASI, Extism's HTTP, and any knowledge of turns beyond their ids.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test"))]

pub mod authorize;
mod blocks;
pub mod clock;
pub mod consent;
pub mod control;
mod dev;
pub mod dry_run;
pub mod grants;
mod host;
pub mod host_call;
pub mod installed;
pub mod manifest;
mod module;
pub mod native;
pub mod package;
pub mod permission;
pub mod schema;
pub mod scope;
pub mod secrets;
pub mod sheet;
mod skill;
mod store;
pub mod taint;
pub mod upgrade;
mod watchdog;

pub use clock::{Clock, SystemClock};
pub use control::CallControl;
pub use dev::DevSkill;
pub use host::effects::{
    DeviceOrder, EffectCode, EffectFault, Effects, EventLevel, EventQuery, HttpAnswer, HttpOrder, LlmAnswer, LlmOrder,
    Pending,
};
pub use host::{
    BUS_EVENT_PREFIX, Delivery, DueTimer, Invocation, MAX_BUDGET, Said, SkillEvent, SkillHost, SkillHostOptions,
};
pub use host_call::HostFunction;
pub use installed::{Installed, Shelf};
pub use manifest::{Manifest, ManifestFaults, TIMER_ELAPSED};
pub use package::{Package, Pin};
pub use permission::{Permission, Scope};
pub use skill::{DEFAULT_BUDGET, SkillInfo, SkillState, identify};
pub use store::StoreError;
pub use taint::{Label, Taint};

use authorize::Gate;
use dry_run::Rehearsal;
use host::publications::Publications;
use loqa_protocol::PrivacyScope;
use secrets::Secrets;
use std::path::PathBuf;
use std::sync::Arc;
use store::Store;

/// What all skills of a host share.
struct Shared {
    store: Store,
    /// What is written in turns of which nothing may be kept: in memory, apart from the rest.
    ephemeral: Store,
    gate: Gate,
    effects: Arc<dyn Effects>,
    clock: Arc<dyn Clock>,
    secrets: Secrets,
    publications: Publications,
    /// Set in a dry run.
    rehearsal: Option<Arc<Rehearsal>>,
}

impl Shared {
    /// Where a call in that scope reads and writes what its skill keeps. A turn of which
    /// nothing may be kept sees what other such turns wrote since the start, and nothing else.
    const fn store_of(&self, scope: PrivacyScope) -> &Store {
        if scope.may_be_kept() { &self.store } else { &self.ephemeral }
    }
}

/// Why the host or a skill cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SkillError {
    /// The store cannot be used; nothing was loaded.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The grants cannot be written, so nothing is granted and nothing was loaded.
    #[error(transparent)]
    Grants(#[from] grants::GrantError),
    /// The secrets of a removed skill cannot be erased.
    #[error(transparent)]
    Secrets(#[from] secrets::SecretError),
    /// The threads that stop runaway skills and write their rows cannot be started.
    #[error("start the threads of the skill host: {0}")]
    Threads(std::io::Error),
    /// A file of the skill cannot be read; check the path.
    #[error("read `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The manifest has faults; each says what to write instead.
    #[error("skill manifest is refused:\n{0}")]
    Manifest(#[from] ManifestFaults),
    /// A file is not the one that the user agreed to; install the skill again, or remove it.
    #[error("`{path}` was changed since the user agreed to it; install the skill again or remove it")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The module cannot be used; the text says what helps.
    #[error("skill `{skill}`, module `{path}`: {reason}")]
    Module {
        /// Name of the skill.
        skill: String,
        /// The file.
        path: PathBuf,
        /// What is wrong, and what helps.
        reason: String,
    },
}
