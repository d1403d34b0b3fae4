//! Orders of other skills: one operation on one entity, by its id. The hub's gate has
//! decided about the skill that orders; it is asked once more, because only the bridge
//! knows which cover is a door.

use crate::act::{Done, Order};
use crate::bridge::Shared;
use crate::home::Domain;
use crate::hub::{Call, Refusal};
use crate::tools::Fault;
use loqa_protocol::{ErrorCode, ToolOutcome};
use serde_json::{Map, Value, json};

/// What may be ordered, by domain: services of Home Assistant that change one state. The
/// flag says whether it may open a house.
const OPERATIONS: &[(Domain, &str, bool)] = &[
    (Domain::Light, "turn_on", false),
    (Domain::Light, "turn_off", false),
    (Domain::Switch, "turn_on", false),
    (Domain::Switch, "turn_off", false),
    (Domain::Climate, "turn_on", false),
    (Domain::Climate, "turn_off", false),
    (Domain::Climate, "set_temperature", false),
    (Domain::Cover, "open_cover", true),
    (Domain::Cover, "close_cover", false),
    (Domain::Cover, "set_cover_position", true),
    (Domain::Lock, "lock", false),
    (Domain::Lock, "unlock", true),
    (Domain::Scene, "turn_on", false),
];

/// Carries one order out. What becomes of it stands in the outcome's data.
pub(crate) async fn run(
    shared: &Shared,
    call: &Call,
    operation: &str,
    entity: &str,
    data: Map<String, Value>,
) -> Result<ToolOutcome, Fault> {
    if let Some(trouble) = shared.trouble() {
        return Err((ErrorCode::SkillFault, trouble));
    }
    let Some(known) = shared.home().get(entity).cloned() else {
        return Err((ErrorCode::ToolArguments, format!("the home has no `{entity}`")));
    };
    let (service, opens) = service(known.domain, operation)?;
    let asked = Value::Object(data.clone());
    match call.may(service, entity, &asked, opens && known.is_door()).await {
        Ok(()) => {}
        Err(Refusal::Denied(reason)) => return Err((ErrorCode::PermissionDenied, reason)),
        Err(Refusal::Failed(reason)) => return Err((ErrorCode::SkillFault, reason)),
    }
    let order = Order { service, entities: vec![known.id.clone()], data };
    let became = match shared.ways.carry_out(known.source, order, call.deadline()).await {
        Done::Yes => "done",
        Done::Unconfirmed => "unconfirmed",
        Done::Refused(words) => {
            tracing::warn!(words = %words.escape_debug(), "the home refused an order");
            return Err((ErrorCode::SkillFault, format!("the home refused `{operation}` for `{entity}`")));
        }
        Done::Unreachable => return Err((ErrorCode::SkillFault, "the home cannot be reached".to_owned())),
    };
    Ok(ToolOutcome { say: String::new(), data: json!({ "entity": known.id, "result": became }) })
}

fn service(domain: Domain, operation: &str) -> Result<(&'static str, bool), Fault> {
    let of_domain = || OPERATIONS.iter().filter(|(known, _, _)| *known == domain);
    of_domain().find(|(_, name, _)| *name == operation).map(|(_, name, opens)| (*name, *opens)).ok_or_else(|| {
        let names: Vec<&str> = of_domain().map(|(_, name, _)| *name).collect();
        let message = format!("`{operation}` is not done to a {}; there are: {}", domain.as_str(), names.join(", "));
        (ErrorCode::ToolArguments, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_domain_can_do_is_ordered() {
        assert_eq!(service(Domain::Lock, "unlock"), Ok(("unlock", true)));
        let (code, message) = service(Domain::Light, "unlock").unwrap_err();
        assert_eq!(code, ErrorCode::ToolArguments);
        assert_eq!(message, "`unlock` is not done to a light; there are: turn_on, turn_off");
        assert!(Domain::ALL.iter().all(|domain| OPERATIONS.iter().any(|(known, _, _)| known == domain)));
    }
}
