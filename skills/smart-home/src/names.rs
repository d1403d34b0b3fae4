//! From what was said to what is meant: "kitchen light", "all lights in the living
//! room", "reading lamp". Several that fit are not guessed about but asked back.

use crate::home::{Domain, Entity, Home};
use std::collections::BTreeSet;

/// What a name means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Meaning {
    /// These, by id. Never empty.
    Found(Vec<String>),
    /// One of these was meant, by the names to say.
    Ambiguous(Vec<String>),
    /// Nothing fits.
    Nothing,
}

/// Most that an ambiguous name is answered with.
const MAX_CHOICES: usize = 4;

/// Words that say nothing about which one.
const FILLER: &[&str] = &["the", "a", "an", "my", "our", "in", "on", "at", "of", "please", "room's"];
/// Words that mean more than one.
const ALL: &[&str] = &["all", "every", "everything", "both"];

/// What a spoken name comes down to.
struct Asked {
    words: Vec<String>,
    /// Domain that a word named, and whether in the plural.
    kind: Option<Domain>,
    is_many: bool,
    /// Whether nothing but "all" and a kind was said.
    has_name: bool,
}

/// Finds what `said` means among entities of these domains.
pub(crate) fn find(home: &Home, said: &str, domains: &[Domain]) -> Meaning {
    let asked = Asked::of(said);
    let of_domain = |entity: &&Entity| domains.contains(&entity.domain);
    let candidates: Vec<&Entity> = home.entities().filter(of_domain).collect();

    // A whole name, as it was given by a person, wins over everything else.
    let plain_words = all_words(said);
    let exact: Vec<&Entity> = candidates
        .iter()
        .copied()
        .filter(|entity| names(entity).any(|name| all_words(name) == plain_words || all_words(name) == asked.words))
        .collect();
    if !exact.is_empty() {
        return settle(exact, asked.is_many, &asked);
    }
    let of_kind = |entity: &&Entity| asked.kind.is_none_or(|kind| entity.domain == kind);
    // Nothing but a kind: "all lights", or "the thermostat" where there is one.
    if !asked.has_name {
        if asked.kind.is_none() && !asked.is_many {
            return Meaning::Nothing;
        }
        return settle(candidates.into_iter().filter(of_kind).collect(), asked.is_many, &asked);
    }
    // A room, with or without a kind.
    let named = asked.without_kind();
    let in_area: Vec<&Entity> = candidates
        .iter()
        .copied()
        .filter(|entity| entity.area.as_deref().is_some_and(|area| all_words(area) == named))
        .collect();
    if !in_area.is_empty() {
        let of_kind: Vec<&Entity> = in_area.iter().copied().filter(of_kind).collect();
        if !of_kind.is_empty() {
            // "The kitchen" means its lights where it has some.
            let lights: Vec<&Entity> = of_kind.iter().copied().filter(|it| it.domain == Domain::Light).collect();
            return match asked.kind {
                None if !lights.is_empty() => settle(lights, true, &asked),
                None => settle(of_kind, true, &asked),
                Some(_) => settle(of_kind, asked.is_many, &asked),
            };
        }
    }
    // Every word has to be found somewhere: in a name, in the room, in the kind.
    let partial: Vec<&Entity> = candidates.into_iter().filter(|entity| contains(entity, &asked)).collect();
    settle(partial, asked.is_many, &asked)
}

fn settle(found: Vec<&Entity>, is_many: bool, asked: &Asked) -> Meaning {
    match found.as_slice() {
        [] => Meaning::Nothing,
        [one] => Meaning::Found(vec![one.id.clone()]),
        several if is_many => Meaning::Found(several.iter().map(|entity| entity.id.clone()).collect()),
        several => Meaning::Ambiguous(choices(several, asked)),
    }
}

/// Names that tell them apart: with the room where the name alone does not.
fn choices(several: &[&Entity], asked: &Asked) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let is_unique = several.iter().all(|entity| seen.insert(all_words(&entity.name)));
    several
        .iter()
        .take(MAX_CHOICES)
        .map(|entity| match &entity.area {
            Some(area) if !is_unique || all_words(&entity.name) == asked.words => {
                format!("{} in the {area}", entity.name)
            }
            _ => entity.name.clone(),
        })
        .collect()
}

fn contains(entity: &Entity, asked: &Asked) -> bool {
    if asked.kind.is_some_and(|kind| kind != entity.domain) {
        return false;
    }
    let area = entity.area.as_deref().unwrap_or_default();
    names(entity).any(|name| {
        let known: BTreeSet<String> = all_words(name).into_iter().chain(all_words(area)).collect();
        asked
            .words
            .iter()
            .all(|word| known.contains(word) || kind_of(word).is_some_and(|(kind, _)| kind == entity.domain))
    })
}

fn names(entity: &Entity) -> impl Iterator<Item = &str> {
    std::iter::once(entity.name.as_str()).chain(entity.aliases.iter().map(String::as_str))
}

impl Asked {
    fn of(said: &str) -> Self {
        let spoken: Vec<String> = split(said).collect();
        let is_all = spoken.iter().any(|word| ALL.contains(&word.as_str()));
        let kinds: Vec<(Domain, bool)> = spoken.iter().filter_map(|word| kind_of(word)).collect();
        let words: Vec<String> = spoken
            .iter()
            .filter(|word| !FILLER.contains(&word.as_str()) && !ALL.contains(&word.as_str()))
            .map(|word| singular(word))
            .collect();
        let has_name = words.iter().any(|word| kind_of(word).is_none());
        Self {
            kind: kinds.last().map(|(kind, _)| *kind),
            is_many: is_all || kinds.last().is_some_and(|(_, is_plural)| *is_plural),
            words,
            has_name,
        }
    }

    fn without_kind(&self) -> Vec<String> {
        self.words.iter().filter(|word| kind_of(word).is_none()).cloned().collect()
    }
}

/// The words of a name, in the form in which they are compared.
fn all_words(name: &str) -> Vec<String> {
    split(name).filter(|word| !FILLER.contains(&word.as_str())).map(|word| singular(&word)).collect()
}

fn split(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty()).map(str::to_lowercase)
}

fn singular(word: &str) -> String {
    match word {
        "switches" => "switch".to_owned(),
        _ if word.len() > 3 && word.ends_with('s') && !word.ends_with("ss") => word[..word.len() - 1].to_owned(),
        _ => word.to_owned(),
    }
}

/// The domain that a word names, and whether in the plural.
fn kind_of(word: &str) -> Option<(Domain, bool)> {
    let single = singular(word);
    let domain = match single.as_str() {
        "light" | "lamp" => Domain::Light,
        "switch" | "plug" | "socket" | "outlet" => Domain::Switch,
        "thermostat" | "heating" | "heater" | "climate" | "radiator" => Domain::Climate,
        "blind" | "shade" | "shutter" | "curtain" | "cover" => Domain::Cover,
        "lock" => Domain::Lock,
        "scene" => Domain::Scene,
        _ => return None,
    };
    Some((domain, single != word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Source;

    fn home() -> Home {
        let mut home = Home::default();
        for (id, name, area, aliases) in [
            ("light.kitchen", "Kitchen light", "Kitchen", &["cooking light"][..]),
            ("light.sofa", "Sofa", "Living Room", &[]),
            ("light.shelf", "Shelf", "Living Room", &[]),
            ("light.desk", "Lamp", "Study", &[]),
            ("light.bed", "Lamp", "Bedroom", &[]),
            ("switch.kettle", "Kettle", "Kitchen", &[]),
            ("cover.garage", "Garage door", "Garage", &[]),
            ("cover.left", "Left blind", "Bedroom", &[]),
            ("lock.front", "Front door", "Hall", &[]),
            ("climate.living", "Living room thermostat", "Living Room", &[]),
        ] {
            let mut entity = Entity::new(id, Source::HomeAssistant).unwrap();
            entity.name = name.into();
            home.put(entity);
            home.take_entry(id, Some(area), aliases);
        }
        home
    }

    fn found(said: &str, domains: &[Domain]) -> Vec<String> {
        match find(&home(), said, domains) {
            Meaning::Found(ids) => ids,
            other => panic!("`{said}` should be found: {other:?}"),
        }
    }

    #[test]
    fn names_rooms_aliases_and_plurals_are_understood() {
        let on_off = &[Domain::Light, Domain::Switch];
        for (said, ids) in [
            ("kitchen light", &["light.kitchen"][..]),
            ("the kitchen light", &["light.kitchen"]),
            ("Kitchen lights", &["light.kitchen"]),
            ("light in the kitchen", &["light.kitchen"]),
            ("cooking light", &["light.kitchen"]),
            ("kitchen", &["light.kitchen"]),
            ("kettle", &["switch.kettle"]),
            ("the sofa", &["light.sofa"]),
            ("sofa lamp", &["light.sofa"]),
            ("living room lights", &["light.shelf", "light.sofa"]),
            ("all lights in the living room", &["light.shelf", "light.sofa"]),
            ("all the lights", &["light.bed", "light.desk", "light.kitchen", "light.shelf", "light.sofa"]),
            ("study lamp", &["light.desk"]),
            ("the lamp in the bedroom", &["light.bed"]),
        ] {
            assert_eq!(found(said, on_off), ids, "{said}");
        }
        assert_eq!(found("thermostat", &[Domain::Climate]), ["climate.living"]);
        assert_eq!(found("front door", &[Domain::Lock]), ["lock.front"]);
        assert_eq!(found("garage", &[Domain::Cover]), ["cover.garage"]);
        assert_eq!(found("bedroom blinds", &[Domain::Cover]), ["cover.left"]);
    }

    #[test]
    fn what_could_be_several_is_asked_back_with_names_that_differ() {
        assert_eq!(
            find(&home(), "lamp", &[Domain::Light]),
            Meaning::Ambiguous(vec!["Lamp in the Bedroom".into(), "Lamp in the Study".into()])
        );
        assert_eq!(
            find(&home(), "living room light", &[Domain::Light]),
            Meaning::Ambiguous(vec!["Shelf".into(), "Sofa".into()])
        );
    }

    #[test]
    fn what_is_not_there_is_not_guessed() {
        for said in ["cellar light", "dishwasher", "", "kitchen lock", "the", "sofa kettle"] {
            assert_eq!(find(&home(), said, &[Domain::Light, Domain::Switch]), Meaning::Nothing, "{said}");
        }
        assert_eq!(find(&home(), "kitchen light", &[Domain::Lock]), Meaning::Nothing, "another kind of thing");
    }
}
