//! The home as the bridge knows it: areas, entities, what state they are in. Everything
//! in it comes from elsewhere, so everything has a bound.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Most entities; a home has some hundreds.
const MAX_ENTITIES: usize = 5_000;
/// Longest name in characters.
const MAX_NAME: usize = 80;
/// Most names of one entity.
const MAX_NAMES: usize = 16;

/// What an entity is, of those that the bridge can do something with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Domain {
    Light,
    Switch,
    Climate,
    Cover,
    Lock,
    Scene,
}

impl Domain {
    pub(crate) const ALL: &[Self] = &[Self::Light, Self::Switch, Self::Climate, Self::Cover, Self::Lock, Self::Scene];

    /// As Home Assistant spells it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Switch => "switch",
            Self::Climate => "climate",
            Self::Cover => "cover",
            Self::Lock => "lock",
            Self::Scene => "scene",
        }
    }

    /// The domain of `light.kitchen`.
    pub(crate) fn of(entity_id: &str) -> Option<Self> {
        let (domain, object) = entity_id.split_once('.')?;
        let is_plain = !object.is_empty()
            && object.len() <= 128
            && object.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        Self::ALL.iter().copied().find(|known| known.as_str() == domain && is_plain)
    }
}

/// Who carries out orders for an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    HomeAssistant,
    Mqtt,
}

/// One thing in the home.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entity {
    /// `light.kitchen`.
    pub(crate) id: String,
    pub(crate) domain: Domain,
    /// What to call it when speaking.
    pub(crate) name: String,
    /// What else people call it.
    pub(crate) aliases: Vec<String>,
    /// The room.
    pub(crate) area: Option<String>,
    /// `on`, `off`, `open`, `locked`, `unavailable` and so on.
    pub(crate) state: String,
    /// What else is known: `brightness`, `current_temperature`, `device_class`.
    pub(crate) attributes: Map<String, Value>,
    pub(crate) source: Source,
}

impl Entity {
    /// An entity about which little is known.
    pub(crate) fn new(id: &str, source: Source) -> Option<Self> {
        let domain = Domain::of(id)?;
        let name = id.split_once('.').map(|(_, object)| object.replace('_', " ")).unwrap_or_default();
        Some(Self {
            id: id.to_owned(),
            domain,
            name,
            aliases: Vec::new(),
            area: None,
            state: "unknown".to_owned(),
            attributes: Map::new(),
            source,
        })
    }

    /// Whether moving it opens the house, which its domain alone does not tell.
    pub(crate) fn is_door(&self) -> bool {
        let class = self.attributes.get("device_class").and_then(Value::as_str).unwrap_or_default();
        self.domain == Domain::Cover && matches!(class, "garage" | "gate" | "door")
    }

    /// Whether it does not answer.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.state == "unavailable"
    }

    fn add_alias(&mut self, alias: &str) {
        let alias = plain(alias);
        if !alias.is_empty() && self.aliases.len() < MAX_NAMES && !self.aliases.contains(&alias) {
            self.aliases.push(alias);
        }
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Home {
    entities: BTreeMap<String, Entity>,
    /// Names that the user gave in the settings, by entity.
    own_names: BTreeMap<String, Vec<String>>,
}

impl Home {
    /// A home with the names from the settings.
    pub(crate) fn with_aliases(aliases: &BTreeMap<String, String>) -> Self {
        let mut own_names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, id) in aliases {
            own_names.entry(id.clone()).or_default().push(name.clone());
        }
        Self { entities: BTreeMap::new(), own_names }
    }

    pub(crate) fn entities(&self) -> impl Iterator<Item = &Entity> {
        self.entities.values()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Entity> {
        self.entities.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Entity> {
        self.entities.get_mut(id)
    }

    /// Adds or replaces one.
    pub(crate) fn put(&mut self, mut entity: Entity) {
        if self.entities.len() >= MAX_ENTITIES && !self.entities.contains_key(&entity.id) {
            return;
        }
        for name in self.own_names.get(&entity.id).into_iter().flatten() {
            entity.add_alias(name);
        }
        self.entities.insert(entity.id.clone(), entity);
    }

    pub(crate) fn remove(&mut self, id: &str) {
        self.entities.remove(id);
    }

    /// Forgets everything from one source, before it is read anew.
    pub(crate) fn forget(&mut self, source: Source) {
        self.entities.retain(|_, entity| entity.source != source);
    }

    /// Takes a state of Home Assistant. What it leaves out stays as it is known.
    pub(crate) fn take_state(&mut self, id: &str, state: &Value) {
        let Some(mut entity) = self.entities.get(id).cloned().or_else(|| Entity::new(id, Source::HomeAssistant)) else {
            return;
        };
        if entity.source != Source::HomeAssistant {
            return;
        }
        if let Some(state) = state.get("state").and_then(Value::as_str) {
            entity.state = plain(state);
        }
        if let Some(attributes) = state.get("attributes").and_then(Value::as_object) {
            if let Some(name) = attributes.get("friendly_name").and_then(Value::as_str)
                && !plain(name).is_empty()
            {
                entity.name = plain(name);
            }
            entity.attributes = attributes
                .iter()
                .filter(|(key, _)| KEPT_ATTRIBUTES.contains(&key.as_str()))
                .filter(|(_, value)| value.is_number() || value.as_str().is_some_and(|text| text.len() <= MAX_NAME))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
        }
        self.put(entity);
    }

    /// Takes what the registries say about one entity.
    pub(crate) fn take_entry(&mut self, id: &str, area: Option<&str>, aliases: &[&str]) {
        let Some(entity) = self.entities.get_mut(id) else { return };
        entity.area = area.map(plain).filter(|area| !area.is_empty());
        for alias in aliases {
            entity.add_alias(alias);
        }
    }
}

/// What answers and checks need; the rest of what Home Assistant tells is not kept.
const KEPT_ATTRIBUTES: &[&str] =
    &["brightness", "current_temperature", "temperature", "current_position", "device_class", "unit_of_measurement"];

/// A name that can be spoken and shown: one line, no control characters, not too long.
pub(crate) fn plain(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_NAME).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn states_and_names_are_taken_and_bounded() {
        let mut home = Home::with_aliases(&BTreeMap::from([("reading lamp".into(), "light.sofa".into())]));
        home.take_state(
            "light.sofa",
            &json!({ "state": "on\n", "attributes": { "friendly_name": "Sofa \u{7} light", "brightness": 12, "secret": "x" } }),
        );
        home.take_entry("light.sofa", Some("Living Room"), &["couch"]);
        let sofa = home.get("light.sofa").unwrap();
        assert_eq!((sofa.name.as_str(), sofa.state.as_str()), ("Sofa light", "on"));
        assert_eq!(sofa.aliases, ["reading lamp", "couch"]);
        assert_eq!(sofa.attributes.keys().collect::<Vec<_>>(), ["brightness"]);
        for odd in ["sensor.x", "light.", "light.a b", "light.A", "light", "light.x.y"] {
            home.take_state(odd, &json!({ "state": "on" }));
        }
        assert_eq!(home.entities().count(), 1);
        for n in 0..MAX_ENTITIES + 10 {
            home.take_state(&format!("light.n{n}"), &json!({ "state": "on" }));
        }
        assert_eq!(home.entities().count(), MAX_ENTITIES);
    }
}
