//! What the bridge says. Plain sentences; names from the home stand in them as they are.

use crate::home::{Domain, Entity};
use serde_json::Value;

/// "The kitchen light", "Sofa".
pub(crate) fn the(entity: &Entity) -> String {
    let first = entity.name.chars().next();
    // A name that begins with a word like "Sofa" or "Kitchen light" takes the article.
    match first {
        Some(_) if entity.name.to_lowercase().starts_with("the ") => entity.name.clone(),
        Some(first) if first.is_uppercase() && !entity.name.chars().nth(1).is_some_and(char::is_uppercase) => {
            let rest: String = entity.name.chars().skip(1).collect();
            format!("the {}{rest}", first.to_lowercase())
        }
        _ => format!("the {}", entity.name),
    }
}

/// The entities as a subject: "The kitchen light", "2 lights".
pub(crate) fn subject(entities: &[Entity]) -> String {
    match entities {
        [one] => capital(&the(one)),
        several => {
            let same = several.windows(2).all(|pair| pair[0].domain == pair[1].domain);
            let kind = match (same, several.first().map(|entity| entity.domain)) {
                (true, Some(Domain::Light)) => "lights",
                (true, Some(Domain::Switch)) => "switches",
                (true, Some(Domain::Cover)) => "covers",
                (true, Some(Domain::Lock)) => "locks",
                (true, Some(Domain::Climate)) => "thermostats",
                (true, Some(Domain::Scene)) => "scenes",
                (false, _) | (true, None) => "devices",
            };
            let area = several.first().and_then(|entity| entity.area.clone());
            match area.filter(|area| several.iter().all(|entity| entity.area.as_ref() == Some(area))) {
                Some(area) => format!("{} {kind} in the {}", several.len(), area.to_lowercase()),
                None => format!("{} {kind}", several.len()),
            }
        }
    }
}

/// "is" or "are".
pub(crate) fn verb(entities: &[Entity]) -> &'static str {
    if entities.len() == 1 { "is" } else { "are" }
}

/// `a`, `a or b`, `a, b or c`.
pub(crate) fn alternatives(names: &[String]) -> String {
    join(names, "or")
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list(names: &[String]) -> String {
    join(names, "and")
}

fn join(names: &[String], word: &str) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} {word} {last}", first.join(", ")),
    }
}

/// A number as it is spoken: `21`, `21.5`.
pub(crate) fn number(value: &Value) -> Option<String> {
    let value = value.as_f64().filter(|value| value.is_finite())?;
    let rounded = (value * 10.0).round() / 10.0;
    Some(format!("{rounded}"))
}

pub(crate) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Source;
    use serde_json::json;

    fn light(name: &str, area: Option<&str>) -> Entity {
        let mut entity =
            Entity::new(&format!("light.{}", name.to_lowercase().replace(' ', "_")), Source::HomeAssistant).unwrap();
        entity.name = name.into();
        entity.area = area.map(str::to_owned);
        entity
    }

    #[test]
    fn devices_are_named_as_people_do() {
        assert_eq!(subject(&[light("Kitchen light", None)]), "The kitchen light");
        assert_eq!(subject(&[light("TV", None)]), "The TV");
        assert_eq!(subject(&[light("a", Some("Study")), light("b", Some("Study"))]), "2 lights in the study");
        assert_eq!(subject(&[light("a", Some("Study")), light("b", None)]), "2 lights");
        assert_eq!(alternatives(&["a".into(), "b".into(), "c".into()]), "a, b or c");
        assert_eq!(number(&json!(21.0)).as_deref(), Some("21"));
        assert_eq!(number(&json!(21.54)).as_deref(), Some("21.5"));
        assert_eq!(number(&json!("x")), None);
    }
}
