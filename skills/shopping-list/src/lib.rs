//! A shopping list: one value that is kept, and the words around it.
//!
//! The smallest skill that remembers something; it asks for one permission.

#[cfg(test)]
mod tests;

use loqa_skill_sdk::{Loqa, Reply, SkillError, skill};
use serde::Deserialize;
use serde_json::json;

skill! {
    tools {
        "shopping-list.add" => add,
        "shopping-list.remove" => remove,
        "shopping-list.list" => list,
        "shopping-list.clear" => clear,
    }
    events {}
}

/// Key under which the list is kept, as a list of texts in the order in which they were added.
const LIST: &str = "list";
/// Most things on the list. Chosen: more than one trip, and read aloud in two minutes.
const MAX_ITEMS: usize = 100;
/// Words that people put before a thing and that are not part of it.
const ARTICLES: &[&str] = &["a", "an", "the", "some", "more", "my", "our", "also", "please"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Items {
    items: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn add(loqa: &mut Loqa<'_>, Items { items }: Items) -> Result<Reply, SkillError> {
    let wanted = split(&items);
    if wanted.is_empty() {
        return Ok(Reply::say("What should I put on the list?"));
    }
    let mut list = read(loqa)?;
    let (known, new): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|item| position(&list, item).is_some());
    if list.len() + new.len() > MAX_ITEMS {
        return Ok(Reply::say(format!("The list is full, it holds {MAX_ITEMS} things.")));
    }
    if new.is_empty() {
        let is = if known.len() == 1 { "is" } else { "are" };
        return Ok(Reply::say(format!("{} {is} on the list already.", capitalized(&join(&known)))));
    }
    list.extend(new.iter().cloned());
    match loqa.set_value(LIST, &list) {
        Ok(()) => {}
        Err(error) if error.is_out_of_scope() => return Ok(Reply::say("The list is full.")),
        Err(error) => return Err(error.into()),
    }
    Ok(Reply::say(format!("Added {}.", join(&new))).with_data(json!({ "list": list })))
}

fn remove(loqa: &mut Loqa<'_>, Items { items }: Items) -> Result<Reply, SkillError> {
    let unwanted = split(&items);
    let mut list = read(loqa)?;
    let mut removed = Vec::new();
    for item in &unwanted {
        if let Some(position) = position(&list, item) {
            removed.push(list.remove(position));
        }
    }
    if removed.is_empty() {
        let is = if unwanted.len() == 1 { "is" } else { "are" };
        let what = if unwanted.is_empty() { "That".to_owned() } else { capitalized(&join(&unwanted)) };
        return Ok(Reply::say(format!("{what} {is} not on the list.")));
    }
    write(loqa, &list)?;
    Ok(Reply::say(format!("Took {} off the list.", join(&removed))).with_data(json!({ "list": list })))
}

fn list(loqa: &mut Loqa<'_>, Nothing {}: Nothing) -> Result<Reply, SkillError> {
    let list = read(loqa)?;
    let said = match list.as_slice() {
        [] => "The shopping list is empty.".to_owned(),
        [one] => format!("There is one thing on the list: {one}."),
        several => format!("There are {} things on the list: {}.", several.len(), join(several)),
    };
    Ok(Reply::say(said).with_data(json!({ "list": list })))
}

fn clear(loqa: &mut Loqa<'_>, Nothing {}: Nothing) -> Result<Reply, SkillError> {
    let n_items = read(loqa)?.len();
    write(loqa, &[])?;
    Ok(Reply::say(match n_items {
        0 => "The shopping list was empty already.".to_owned(),
        1 => "Took one thing off. The list is empty.".to_owned(),
        n => format!("Took {n} things off. The list is empty."),
    }))
}

fn read(loqa: &mut Loqa<'_>) -> Result<Vec<String>, SkillError> {
    Ok(loqa.value(LIST)?.unwrap_or_default())
}

fn write(loqa: &mut Loqa<'_>, list: &[String]) -> Result<(), SkillError> {
    if list.is_empty() {
        loqa.delete_value(LIST)?;
    } else {
        loqa.set_value(LIST, list)?;
    }
    Ok(())
}

/// "milk, eggs and some bread" is milk, eggs and bread. What is one thing with "and" in
/// it, as fish and chips, becomes two; a comma-free list cannot tell.
fn split(items: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for part in items.to_lowercase().split([',', ';']).flat_map(|part| part.split(" and ")) {
        let mut words = part
            .split_whitespace()
            .map(|word| word.trim_matches(|c: char| !(c.is_alphanumeric() || c == '%')))
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>();
        while words.first().is_some_and(|word| ARTICLES.contains(word) || *word == "and") {
            words.remove(0);
        }
        let item = words.join(" ");
        if !item.is_empty() && !found.contains(&item) {
            found.push(item);
        }
    }
    found
}

/// Where a thing is on the list; "egg" is found as "eggs".
fn position(list: &[String], item: &str) -> Option<usize> {
    let stem = |text: &str| text.strip_suffix('s').filter(|stem| stem.len() > 2).unwrap_or(text).to_owned();
    list.iter().position(|listed| listed == item).or_else(|| list.iter().position(|listed| stem(listed) == stem(item)))
}

/// "a", "a and b", "a, b and c".
fn join(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}
