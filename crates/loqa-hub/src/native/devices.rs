//! Orders to devices that WASM skills give, carried out by the smart-home bridge.
//!
//! The gate of the skill host has decided before anything here is called, and the
//! bridge asks it once more for what only the bridge can know.

use super::home;
use crate::effects::Devices;
use loqa_skills::{CallControl, DeviceOrder, EffectCode, EffectFault, Pending, SkillHost};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;

/// How often a running order looks whether somebody still waits for it. Chosen: below
/// the 50 ms that a cancel may take.
const GLANCE: Duration = Duration::from_millis(10);

/// The way to the bridge.
pub struct HomeDevices {
    /// Weak: the skill host keeps its effects, which keep this.
    host: Weak<SkillHost>,
    runtime: Handle,
}

impl HomeDevices {
    /// On this runtime; call from within it.
    #[must_use]
    pub fn new(host: &Arc<SkillHost>) -> Self {
        Self { host: Arc::downgrade(host), runtime: Handle::current() }
    }
}

impl Devices for HomeDevices {
    fn control(&self, order: DeviceOrder, pending: Pending<Value>) {
        let Some(host) = self.host.upgrade() else {
            return pending.answer(Err(EffectFault::unavailable("the hub is about to stop")));
        };
        self.runtime.spawn(async move {
            let is_cancelled = Arc::new(AtomicBool::new(false));
            let control = CallControl::new(pending.deadline(), Arc::clone(&is_cancelled));
            let mut work = tokio::task::spawn_blocking(move || host.carry_out(home::SKILL, &order, &control));
            let answer = loop {
                tokio::select! {
                    done = &mut work => {
                        break done.unwrap_or_else(|_| Err(EffectFault::new(EffectCode::Failed, "the host broke")));
                    }
                    () = tokio::time::sleep(GLANCE) => is_cancelled.store(!pending.is_wanted(), Ordering::Relaxed),
                }
            };
            pending.answer(answer);
        });
    }
}
