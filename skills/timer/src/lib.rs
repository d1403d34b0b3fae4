//! Countdown timers: several at once, with names, that announce themselves.
//!
//! The host keeps the running timers and their due times; this skill keeps the paused
//! ones and finds the words. It never reads a clock of its own.

mod speech;
#[cfg(test)]
mod tests;

use loqa_skill_sdk::{Loqa, Reply, SkillError, TimerElapsed, skill};
use serde::{Deserialize, Serialize};
use serde_json::json;
use speech::{join, spoken_duration};
use std::time::Duration;

skill! {
    tools {
        "timer.start" => start,
        "timer.cancel" => cancel,
        "timer.pause" => pause,
        "timer.resume" => resume,
        "timer.list" => list,
        "timer.left" => left,
    }
    events {
        "timer.elapsed" => elapsed,
    }
}

/// Key under which the paused timers are kept.
const PAUSED: &str = "paused";
/// An announcement that comes later than this says so; before, the machine was merely busy.
const LATE_MS: i64 = 60_000;

/// What the host keeps with a timer and gives back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Details {
    /// In the words of the user, lower case.
    label: Option<String>,
    /// As it was set.
    duration_ms: i64,
}

/// A timer that does not run, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Paused {
    id: String,
    left_ms: i64,
    details: Details,
}

/// A timer of either kind.
#[derive(Debug, Clone)]
struct Timer {
    id: String,
    left_ms: i64,
    details: Details,
    is_paused: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    duration_s: i64,
    label: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    label: Option<String>,
    #[serde(default)]
    all: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn start(loqa: &mut Loqa<'_>, Start { duration_s, label }: Start) -> Result<Reply, SkillError> {
    let timers = all(loqa)?;
    let duration_ms = duration_s * 1_000;
    let label = label.as_deref().and_then(clean_label).map(|label| free_label(label, &timers));
    let mut number = loqa.now_ms()?;
    // Ids are moments, so that a timer that is being announced keeps its own.
    while timers.iter().any(|timer| timer.id == format!("t{number}")) {
        number += 1;
    }
    let details = Details { label, duration_ms };
    let n_paused = timers.iter().filter(|timer| timer.is_paused).count();
    match loqa.set_timer(&format!("t{number}"), milliseconds(duration_ms), &details) {
        Ok(()) => {}
        Err(error) if error.is_out_of_scope() => {
            let n_timers = timers.len() - n_paused;
            return Ok(Reply::say(format!("Sorry, no more than {n_timers} timers can run at once.")));
        }
        Err(error) => return Err(error.into()),
    }
    let timer = match &details.label {
        Some(label) => format!("{} timer", capitalized(label)),
        None => "Timer".to_owned(),
    };
    let data = json!({ "label": details.label, "duration_s": duration_s });
    Ok(Reply::say(format!("{timer} set for {}.", spoken_duration(duration_ms))).with_data(data))
}

fn cancel(loqa: &mut Loqa<'_>, which: Which) -> Result<Reply, SkillError> {
    let timers = all(loqa)?;
    let chosen = match choose(&timers, &which, "timers") {
        Ok(chosen) => chosen,
        Err(reply) => return Ok(reply),
    };
    let mut paused = read_paused(loqa)?;
    for timer in &chosen {
        if timer.is_paused {
            paused.retain(|paused| paused.id != timer.id);
        } else {
            loqa.cancel_timer(&timer.id)?;
        }
    }
    write_paused(loqa, &paused)?;
    let say = match chosen.as_slice() {
        [timer] => format!("{} cancelled.", title(timer)),
        [_, _] => "Both timers cancelled.".to_owned(),
        several => format!("All {} timers cancelled.", several.len()),
    };
    Ok(Reply::say(say).with_data(data_of(&chosen)))
}

fn pause(loqa: &mut Loqa<'_>, which: Which) -> Result<Reply, SkillError> {
    let timers = all(loqa)?;
    let running = timers.iter().filter(|timer| !timer.is_paused).cloned().collect::<Vec<_>>();
    if let Some(reply) = already(&timers, &running, &which, "paused") {
        return Ok(reply);
    }
    let chosen = match choose(&running, &which, "running timers") {
        Ok(chosen) => chosen,
        Err(reply) => return Ok(reply),
    };
    let mut paused = read_paused(loqa)?;
    for timer in &chosen {
        loqa.cancel_timer(&timer.id)?;
        // A timer that is due this very moment still has to end.
        let left_ms = timer.left_ms.max(1);
        paused.push(Paused { id: timer.id.clone(), left_ms, details: timer.details.clone() });
    }
    write_paused(loqa, &paused)?;
    let say = match chosen.as_slice() {
        [timer] => format!("{} paused. {} left.", title(timer), capitalized(&spoken_duration(timer.left_ms))),
        [_, _] => "Both timers paused.".to_owned(),
        several => format!("All {} timers paused.", several.len()),
    };
    Ok(Reply::say(say).with_data(data_of(&chosen)))
}

fn resume(loqa: &mut Loqa<'_>, which: Which) -> Result<Reply, SkillError> {
    let timers = all(loqa)?;
    let stopped = timers.iter().filter(|timer| timer.is_paused).cloned().collect::<Vec<_>>();
    if let Some(reply) = already(&timers, &stopped, &which, "running") {
        return Ok(reply);
    }
    let chosen = match choose(&stopped, &which, "paused timers") {
        Ok(chosen) => chosen,
        Err(reply) => return Ok(reply),
    };
    let mut paused = read_paused(loqa)?;
    for timer in &chosen {
        match loqa.set_timer(&timer.id, milliseconds(timer.left_ms), &timer.details) {
            Ok(()) => paused.retain(|paused| paused.id != timer.id),
            Err(error) if error.is_out_of_scope() => {
                return Ok(Reply::say("Sorry, too many timers are running already."));
            }
            Err(error) => return Err(error.into()),
        }
    }
    write_paused(loqa, &paused)?;
    let say = match chosen.as_slice() {
        [timer] => format!("{} resumed. {} left.", title(timer), capitalized(&spoken_duration(timer.left_ms))),
        [_, _] => "Both timers resumed.".to_owned(),
        several => format!("All {} timers resumed.", several.len()),
    };
    Ok(Reply::say(say).with_data(data_of(&chosen)))
}

fn list(loqa: &mut Loqa<'_>, Nothing {}: Nothing) -> Result<Reply, SkillError> {
    let timers = all(loqa)?;
    Ok(Reply::say(describe_all(&timers)).with_data(data_of(&timers)))
}

fn left(loqa: &mut Loqa<'_>, which: Which) -> Result<Reply, SkillError> {
    let timers = all(loqa)?;
    let named = which.label.as_deref().and_then(clean_label).filter(|label| !means_all(label));
    if named.is_none() {
        return Ok(Reply::say(describe_all(&timers)).with_data(data_of(&timers)));
    }
    Ok(match choose(&timers, &which, "timers") {
        Ok(chosen) => Reply::say(describe_all(&chosen)).with_data(data_of(&chosen)),
        Err(reply) => reply,
    })
}

fn elapsed(_loqa: &mut Loqa<'_>, event: TimerElapsed<Details>) -> Result<Option<Reply>, SkillError> {
    let name = name(&event.data);
    let say = if event.late_ms > LATE_MS {
        // Seconds do not matter any more.
        let late_ms = event.late_ms / 60_000 * 60_000;
        format!("Your {name} ended {} ago.", spoken_duration(late_ms))
    } else {
        format!("Your {name} is done.")
    };
    Ok(Some(Reply::say(say).with_data(json!({ "label": event.data.label, "late_ms": event.late_ms }))))
}

/// Every timer, the one that ends first first, paused ones after the running ones.
fn all(loqa: &mut Loqa<'_>) -> Result<Vec<Timer>, SkillError> {
    let running = loqa.timers::<Details>()?;
    let mut timers = running
        .into_iter()
        .map(|timer| Timer { id: timer.id, left_ms: timer.due_in_ms.max(0), details: timer.data, is_paused: false })
        .collect::<Vec<_>>();
    timers.extend(read_paused(loqa)?.into_iter().map(|paused| Timer {
        id: paused.id,
        left_ms: paused.left_ms,
        details: paused.details,
        is_paused: true,
    }));
    Ok(timers)
}

fn read_paused(loqa: &mut Loqa<'_>) -> Result<Vec<Paused>, SkillError> {
    Ok(loqa.value(PAUSED)?.unwrap_or_default())
}

fn write_paused(loqa: &mut Loqa<'_>, paused: &[Paused]) -> Result<(), SkillError> {
    if paused.is_empty() {
        loqa.delete_value(PAUSED)?;
    } else {
        loqa.set_value(PAUSED, paused)?;
    }
    Ok(())
}

/// The timers that were meant, or what to say when that is not clear.
fn choose(timers: &[Timer], which: &Which, what: &str) -> Result<Vec<Timer>, Reply> {
    if timers.is_empty() {
        return Err(Reply::say(format!("You have no {what}.")));
    }
    let label = which.label.as_deref().and_then(clean_label);
    if which.all || label.as_deref().is_some_and(means_all) {
        return Ok(timers.to_vec());
    }
    let Some(label) = label else {
        return if let [timer] = timers { Ok(vec![timer.clone()]) } else { Err(ask(timers)) };
    };
    let exact = timers.iter().filter(|timer| plain_name(&timer.details) == label).cloned().collect::<Vec<_>>();
    let matching = if exact.is_empty() {
        timers.iter().filter(|timer| is_close(&plain_name(&timer.details), &label)).cloned().collect()
    } else {
        exact
    };
    match matching.as_slice() {
        [] => Err(Reply::say(format!("You have no {label} timer."))),
        [_] => Ok(matching),
        several => Err(ask(several)),
    }
}

fn means_all(label: &str) -> bool {
    matches!(label, "all" | "every" | "both")
}

/// When what was asked for is so already.
fn already(timers: &[Timer], candidates: &[Timer], which: &Which, state: &str) -> Option<Reply> {
    if choose(candidates, which, "").is_ok() {
        return None;
    }
    match choose(timers, which, "").ok()?.as_slice() {
        [timer] => Some(Reply::say(format!("Your {} is already {state}.", spoken_name(timer, timers)))),
        _ => None,
    }
}

fn ask(timers: &[Timer]) -> Reply {
    let names = timers.iter().map(|timer| plain_name(&timer.details)).collect::<Vec<_>>();
    Reply::say(format!("Which timer, {}?", join(&names, "or"))).with_data(data_of(timers))
}

/// "egg" means the timer "eggs", and "tea" means "green tea".
fn is_close(name: &str, asked: &str) -> bool {
    let stem = |word: &str| word.strip_suffix('s').filter(|stem| stem.len() > 2).unwrap_or(word).to_owned();
    let words = name.split(' ').map(stem).collect::<Vec<_>>();
    asked.split(' ').map(stem).all(|word| words.contains(&word))
}

/// One sentence for all of them.
fn describe_all(timers: &[Timer]) -> String {
    match timers {
        [] => "You have no timers.".to_owned(),
        [timer] => {
            let name = spoken_name(timer, timers);
            let left = spoken_duration(timer.left_ms);
            if timer.is_paused {
                format!("Your {name} is paused. It has {left} left.")
            } else {
                format!("Your {name} has {left} left.")
            }
        }
        several => {
            let parts = several
                .iter()
                .map(|timer| {
                    let paused = if timer.is_paused { "paused " } else { "" };
                    format!("{} {paused}with {} left", plain_name(&timer.details), spoken_duration(timer.left_ms))
                })
                .collect::<Vec<_>>();
            format!("You have {} timers: {}.", several.len(), join(&parts, "and"))
        }
    }
}

/// "tea timer" or "5 minute timer".
fn name(details: &Details) -> String {
    format!("{} timer", plain_name(details))
}

/// "tea" or "5 minute".
fn plain_name(details: &Details) -> String {
    details.label.clone().unwrap_or_else(|| speech::adjective(details.duration_ms))
}

/// A timer that is alone and has no label is "timer", because there is no doubt.
fn spoken_name(timer: &Timer, timers: &[Timer]) -> String {
    if timers.len() == 1 && timer.details.label.is_none() { "timer".to_owned() } else { name(&timer.details) }
}

/// At the beginning of a sentence: "Tea timer", or "Timer" without a label.
fn title(timer: &Timer) -> String {
    match &timer.details.label {
        Some(label) => format!("{} timer", capitalized(label)),
        None => "Timer".to_owned(),
    }
}

fn data_of(timers: &[Timer]) -> serde_json::Value {
    let timers = timers
        .iter()
        .map(|timer| {
            json!({
                "label": timer.details.label,
                "duration_s": timer.details.duration_ms / 1_000,
                "left_s": speech::whole_seconds(timer.left_ms),
                "paused": timer.is_paused,
            })
        })
        .collect::<Vec<_>>();
    json!({ "timers": timers })
}

/// Lower case, without articles and the word "timer"; `None` when nothing is left.
fn clean_label(label: &str) -> Option<String> {
    let label = label.to_lowercase();
    let mut words = label
        .split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '-'))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>();
    while words.first().is_some_and(|word| ["a", "an", "the", "my", "our", "some", "for"].contains(word)) {
        words.remove(0);
    }
    while words.last().is_some_and(|word| ["timer", "timers"].contains(word)) {
        words.pop();
    }
    (!words.is_empty()).then(|| words.join(" "))
}

/// A label that no timer has yet: "tea", "second tea", …
fn free_label(label: String, timers: &[Timer]) -> String {
    const ORDINALS: [&str; 9] = ["second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];
    let is_taken = |label: &str| timers.iter().any(|timer| timer.details.label.as_deref() == Some(label));
    if !is_taken(&label) {
        return label;
    }
    ORDINALS.iter().map(|ordinal| format!("{ordinal} {label}")).find(|label| !is_taken(label)).unwrap_or(label)
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

fn milliseconds(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}
