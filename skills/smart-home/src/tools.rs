//! The tools: find what is meant, ask whether it may be done, do it, say what became of it.

use crate::act::{Done, Ways, group};
use crate::bridge::Shared;
use crate::home::{Domain, Entity};
use crate::hub::{Call, Refusal};
use crate::names::{Meaning, find};
use crate::say;
use loqa_protocol::{ErrorCode, ToolOutcome};
use serde_json::{Map, Value, json};

/// Most entities of one order. Chosen: all lights of a large house; each is asked about.
const MAX_AT_ONCE: usize = 40;
/// Most names in one answer.
const MAX_NAMED: usize = 8;

/// A tool that did not run, for the hub.
pub(crate) type Fault = (ErrorCode, String);

/// What is to be done to a device.
struct Wish {
    /// As it is asked about and carried out.
    service: fn(&Entity) -> &'static str,
    data: Map<String, Value>,
    /// "on", "set to 21 degrees": completes "The kitchen light is …".
    result: String,
    /// "turn on": completes "I told the kitchen light to …".
    order: &'static str,
    /// Whether it may open the house.
    opens: bool,
}

/// Runs one tool.
pub(crate) async fn run(
    shared: &Shared,
    call: &Call,
    tool: &str,
    arguments: &Map<String, Value>,
) -> Result<ToolOutcome, Fault> {
    let text = |key: &str| arguments.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| arguments.get(key).and_then(Value::as_f64);
    let verb = tool.split_once('.').map_or(tool, |(_, verb)| verb);
    let data = |pairs: &[(&str, Value)]| -> Map<String, Value> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    };
    let switched = &[Domain::Light, Domain::Switch, Domain::Climate];
    let (domains, wish): (&[Domain], Wish) = match verb {
        "turn_on" => (switched, Wish::plain(|_| "turn_on", "on", "turn on")),
        "turn_off" => (switched, Wish::plain(|_| "turn_off", "off", "turn off")),
        "set_brightness" => {
            let percent = number("percent").unwrap_or_default().clamp(0.0, 100.0);
            let wish = Wish::plain(|_| "turn_on", &format!("at {percent} percent"), "change its brightness");
            (&[Domain::Light], Wish { data: data(&[("brightness_pct", json!(percent))]), ..wish })
        }
        "set_color" => {
            let color = text("color");
            let wish = Wish::plain(|_| "turn_on", color, "change its colour");
            (&[Domain::Light], Wish { data: data(&[("color_name", json!(color.replace(' ', "")))]), ..wish })
        }
        "set_temperature" => {
            let degrees = number("degrees").unwrap_or_default();
            let wish =
                Wish::plain(|_| "set_temperature", &format!("set to {degrees} degrees"), "change its temperature");
            (&[Domain::Climate], Wish { data: data(&[("temperature", json!(degrees))]), ..wish })
        }
        "open" => (&[Domain::Cover], Wish { opens: true, ..Wish::plain(|_| "open_cover", "opening", "open") }),
        "close" => (&[Domain::Cover], Wish::plain(|_| "close_cover", "closing", "close")),
        "set_position" => {
            let percent = number("percent").unwrap_or_default().clamp(0.0, 100.0);
            let wish = Wish::plain(|_| "set_cover_position", &format!("moving to {percent} percent"), "move");
            (&[Domain::Cover], Wish { data: data(&[("position", json!(percent))]), opens: true, ..wish })
        }
        "lock" => (&[Domain::Lock], Wish::plain(|_| "lock", "locking", "lock")),
        "unlock" => (&[Domain::Lock], Wish { opens: true, ..Wish::plain(|_| "unlock", "unlocking", "unlock") }),
        "scene" => (&[Domain::Scene], Wish::plain(|_| "turn_on", "on", "start")),
        "get_temperature" => return Ok(temperature(shared, text("name"))),
        "state" => return Ok(state(shared, text("name"))),
        "what_is_on" => return Ok(what_is_on(shared, text("area"))),
        _ => return Err((ErrorCode::SkillFault, format!("no tool `{verb}`"))),
    };
    let said = match (text("name"), verb) {
        ("", "set_temperature") => "thermostat",
        (name, _) => name,
    };
    let entities = match choose(shared, said, domains) {
        Ok(entities) => entities,
        Err(question) => return Ok(spoken(question)),
    };
    change(shared, call, &wish, entities).await
}

impl Wish {
    fn plain(service: fn(&Entity) -> &'static str, result: &str, order: &'static str) -> Self {
        Self { service, data: Map::new(), result: result.to_owned(), order, opens: false }
    }
}

/// The entities that are meant, or what to say instead.
fn choose(shared: &Shared, said: &str, domains: &[Domain]) -> Result<Vec<Entity>, String> {
    if let Some(trouble) = shared.trouble() {
        // What is known may be old, and nothing could be done anyway.
        return Err(trouble);
    }
    let home = shared.home();
    match find(&home, said, domains) {
        Meaning::Found(ids) if ids.len() > MAX_AT_ONCE => {
            Err(format!("That would be {} devices, more than {MAX_AT_ONCE} at once.", ids.len()))
        }
        Meaning::Found(ids) => Ok(ids.iter().filter_map(|id| home.get(id).cloned()).collect()),
        Meaning::Ambiguous(names) => Err(format!("Which one: {}?", say::alternatives(&names))),
        Meaning::Nothing => Err("I do not know that device.".to_owned()),
    }
}

async fn change(shared: &Shared, call: &Call, wish: &Wish, entities: Vec<Entity>) -> Result<ToolOutcome, Fault> {
    let (gone, entities): (Vec<_>, Vec<_>) = entities.into_iter().partition(Entity::is_unavailable);
    if entities.is_empty() {
        return Ok(spoken(format!("{} {} not reachable.", say::subject(&gone), say::verb(&gone))));
    }
    let data = Value::Object(wish.data.clone());
    for entity in &entities {
        let is_critical = wish.opens && entity.is_door();
        match call.may((wish.service)(entity), &entity.id, &data, is_critical).await {
            Ok(()) => {}
            Err(Refusal::Denied(reason)) => return Err((ErrorCode::PermissionDenied, reason)),
            Err(Refusal::Failed(reason)) => return Err((ErrorCode::SkillFault, reason)),
        }
    }
    let ways: &Ways = &shared.ways;
    let orders = group(&entities, wish.service, &wish.data);
    let outcomes = futures_util::future::join_all(
        orders.into_iter().map(|(source, order)| ways.carry_out(source, order, call.deadline())),
    )
    .await;
    let worst = outcomes.into_iter().max_by_key(|done| match done {
        Done::Yes => 0,
        Done::Unconfirmed => 1,
        Done::Refused(_) => 2,
        Done::Unreachable => 3,
    });
    let subject = say::subject(&entities);
    let say = match worst {
        Some(Done::Yes) => format!("{subject} {} {}.", say::verb(&entities), wish.result),
        Some(Done::Unconfirmed) => {
            format!("I told {} to {}, but that is not confirmed yet.", lower(&subject), wish.order)
        }
        Some(Done::Refused(words)) => {
            tracing::warn!(words = %words.escape_debug(), "the home refused an order");
            format!("The home refused to {} {}.", wish.order, lower(&subject))
        }
        Some(Done::Unreachable) | None => shared.trouble().unwrap_or_else(|| "I cannot reach your home.".to_owned()),
    };
    let ids: Vec<&str> = entities.iter().map(|entity| entity.id.as_str()).collect();
    Ok(ToolOutcome { say, data: json!({ "entities": ids }) })
}

fn temperature(shared: &Shared, said: &str) -> ToolOutcome {
    let said = if said.is_empty() { "thermostat" } else { said };
    let entity = match choose(shared, said, &[Domain::Climate]) {
        Ok(entities) => entities.into_iter().next(),
        Err(question) => return spoken(question),
    };
    let Some(entity) = entity else { return spoken("I do not know that device.".to_owned()) };
    let value = |key: &str| entity.attributes.get(key).and_then(say::number);
    let say = match (value("current_temperature"), value("temperature")) {
        (Some(now), Some(target)) => format!("It is {now} degrees, {} is set to {target}.", say::the(&entity)),
        (Some(now), None) => format!("It is {now} degrees."),
        (None, Some(target)) => format!("{} is set to {target} degrees.", say::capital(&say::the(&entity))),
        (None, None) => format!("{} does not tell a temperature.", say::capital(&say::the(&entity))),
    };
    ToolOutcome { say, data: json!({ "entity": entity.id, "attributes": entity.attributes }) }
}

fn state(shared: &Shared, said: &str) -> ToolOutcome {
    match choose(shared, said, Domain::ALL) {
        Err(question) => spoken(question),
        Ok(entities) => {
            let sentences: Vec<String> = entities
                .iter()
                .take(MAX_NAMED)
                .map(|entity| format!("{} is {}.", say::capital(&say::the(entity)), entity.state.replace('_', " ")))
                .collect();
            spoken(sentences.join(" "))
        }
    }
}

fn what_is_on(shared: &Shared, area: &str) -> ToolOutcome {
    if let Some(trouble) = shared.trouble() {
        return spoken(trouble);
    }
    let home = shared.home();
    let wanted = crate::home::plain(area).to_lowercase();
    let wanted = wanted.strip_prefix("the ").unwrap_or(&wanted).to_owned();
    let is_wanted = |entity: &&Entity| {
        wanted.is_empty() || entity.area.as_deref().is_some_and(|known| known.to_lowercase() == wanted)
    };
    let on: Vec<&Entity> = home
        .entities()
        .filter(|entity| matches!(entity.domain, Domain::Light | Domain::Switch) && entity.state == "on")
        .filter(is_wanted)
        .collect();
    let place = if wanted.is_empty() { String::new() } else { format!(" in the {wanted}") };
    let names: Vec<String> = on.iter().take(MAX_NAMED).map(|entity| say::the(entity)).collect();
    let say = match on.len() {
        0 => format!("Nothing is on{place}."),
        1 => format!("{} is on{place}.", say::capital(&say::list(&names))),
        n if n > MAX_NAMED => format!("{n} things are on{place}, among them {}.", say::list(&names)),
        _ => format!("{} are on{place}.", say::capital(&say::list(&names))),
    };
    let ids: Vec<&str> = on.iter().map(|entity| entity.id.as_str()).collect();
    ToolOutcome { say, data: json!({ "on": ids }) }
}

fn spoken(say: String) -> ToolOutcome {
    ToolOutcome { say, data: Value::Null }
}

fn lower(subject: &str) -> String {
    subject.strip_prefix("The ").map_or_else(|| subject.to_owned(), |rest| format!("the {rest}"))
}
