//! Orders to devices that one skill gives and another carries out: `device` of a WASM
//! skill, done by the native skill that speaks to the home.
//!
//! The gate has decided about the skill that orders before anything here is called, and
//! has asked the person where that is needed. So the one that carries out is not asked
//! about again for exactly that order, unless it knows that the device is more
//! critical than its name tells. What the person never lets it do, it does for nobody.

use super::call::{NativeCall, lock};
use crate::control::CallControl;
use crate::grants::{Grants, Lifetime};
use crate::host::SkillHost;
use crate::permission::Permission;
use crate::scope;
use crate::{DeviceOrder, EffectCode, EffectFault};
use loqa_protocol::ErrorCode;
use loqa_protocol::skill::SkillCall;
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex};

/// What is ordered, to compare with what the program asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ordered {
    operation: String,
    entity: String,
    data: Map<String, Value>,
}

impl Ordered {
    /// Whether this was asked about already: the same order, and not one that opens the
    /// house although its domain does not tell.
    pub(super) fn covers(&self, operation: &str, entity: &str, data: &Value, is_critical: bool) -> bool {
        let same_data = data.as_object().map_or(data.is_null() && self.data.is_empty(), |data| *data == self.data);
        let was_critical = scope::is_critical_entity(&self.entity);
        self.operation == operation && self.entity == entity && same_data && (!is_critical || was_critical)
    }
}

/// Whether the person has said that this skill never switches devices.
pub(super) fn is_forbidden(grants: &Grants, skill: &str) -> bool {
    grants
        .list(Some(skill))
        .iter()
        .any(|grant| grant.permission == Permission::DeviceControl && grant.lifetime == Lifetime::Never)
}

impl SkillHost {
    /// Has the native skill `provider` carry out an order that the gate has allowed
    /// another skill. Blocks, at most as long as `control` lets it; what comes back says
    /// what became of it.
    ///
    /// # Errors
    /// No such skill runs, it may not do it, or it failed.
    pub fn carry_out(&self, provider: &str, order: &DeviceOrder, control: &CallControl) -> Result<Value, EffectFault> {
        let Some(skill) = self.native(provider) else {
            return Err(EffectFault::unavailable(
                "no skill provides devices; set `home.enabled` and where the home is",
            ));
        };
        let name = skill.manifest.name.as_str();
        if let Err(reason) = self.start_program(&skill, order.turn.clone(), control.clone()) {
            let meaning = reason.meaning();
            return Err(EffectFault::unavailable(format!("skill `{name}` may not run:{meaning}")));
        }
        let data = order.data.as_object().cloned().unwrap_or_default();
        let ordered = Ordered { operation: order.operation.clone(), entity: order.entity.clone(), data: data.clone() };
        let mut running = self.running_native(&skill, order.turn.clone(), order.taint.clone(), control.clone());
        running.actor.scope = order.scope;
        let call = Arc::new(Mutex::new(NativeCall::of_order(running, ordered)));
        let outcome = self.converse(&skill, &call, control, control.left(), |call, deadline_ms| SkillCall::Device {
            call,
            scope: order.scope,
            operation: order.operation.clone(),
            entity: order.entity.clone(),
            data,
            deadline_ms,
        });
        // Nothing of it is kept: the order is the other skill's.
        drop(lock(&call));
        outcome.map(|outcome| outcome.data).map_err(|failure| {
            let code = match failure.code {
                ErrorCode::DeadlineExceeded => EffectCode::Timeout,
                ErrorCode::Cancelled => EffectCode::Cancelled,
                _ => EffectCode::Failed,
            };
            EffectFault::new(code, failure.message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_very_order_was_asked_about() {
        let order = |entity: &str| Ordered {
            operation: "turn_on".to_owned(),
            entity: entity.to_owned(),
            data: json!({ "brightness_pct": 40 }).as_object().cloned().unwrap(),
        };
        let data = json!({ "brightness_pct": 40 });
        let light = order("light.kitchen");
        assert!(light.covers("turn_on", "light.kitchen", &data, false));
        assert!(!light.covers("turn_off", "light.kitchen", &data, false));
        assert!(!light.covers("turn_on", "light.hall", &data, false));
        assert!(!light.covers("turn_on", "light.kitchen", &json!({ "brightness_pct": 100 }), false));
        assert!(!light.covers("turn_on", "light.kitchen", &Value::Null, false));
        assert!(!order("cover.garage").covers("turn_on", "cover.garage", &data, true), "the gate did not know");
        assert!(order("lock.front").covers("turn_on", "lock.front", &data, true), "the gate asked at this use");
    }
}
