//! Where in a text durations, numbers and times of day stand, for callers that let a
//! model choose among them instead of letting it compute them.

use super::MAX_UTTERANCE_BYTES;
use super::duration::durations;
use super::matcher::{MAX_WORDS, number_value};
use super::number::numbers;
use super::time::times;
use super::words::{self, Word};
use serde_json::Value;
use std::ops::Range;

/// What words may mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpokenKind {
    /// Seconds.
    Duration,
    /// A number, with sign and fraction.
    Number,
    /// A time of day, `HH:MM`.
    Time,
}

/// Words that mean a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Spoken {
    /// Where they stand, in bytes of the text.
    pub at: Range<usize>,
    /// What they mean.
    pub value: Value,
}

/// Every way to read a part of `text` as such a value, in order of their beginnings,
/// the longest first. Nothing for a text that is longer than an utterance may be.
#[must_use]
pub fn spoken(text: &str, kind: SpokenKind) -> Vec<Spoken> {
    if text.len() > MAX_UTTERANCE_BYTES {
        return Vec::new();
    }
    let words = words::split(text, MAX_WORDS);
    (0..words.len())
        .flat_map(|from| read(&words, from, kind).into_iter().map(move |(to, value)| (from, to, value)))
        .map(|(from, to, value)| Spoken { at: words[from].start..words[to - 1].end, value })
        .collect()
}

/// The ends and meanings of such values that begin at the word `at`.
pub(super) fn read(words: &[Word], at: usize, kind: SpokenKind) -> Vec<(usize, Value)> {
    match kind {
        SpokenKind::Duration => durations(words, at).into_iter().map(|d| (d.end, Value::from(d.seconds))).collect(),
        SpokenKind::Number => numbers(words, at).into_iter().map(|n| (n.end, number_value(n.value))).collect(),
        SpokenKind::Time => times(words, at).into_iter().map(|t| (t.end, Value::from(t.text()))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, kind: SpokenKind) -> Vec<String> {
        spoken(text, kind).into_iter().map(|s| format!("{} = {}", &text[s.at], s.value)).collect()
    }

    #[test]
    fn values_are_found_where_they_stand() {
        assert_eq!(
            found("tea timer an hour and a half please", SpokenKind::Duration),
            ["an hour and a half = 5400", "an hour = 3600"]
        );
        assert_eq!(found("a 45-minute nap", SpokenKind::Duration), ["45-minute = 2700"]);
        assert_eq!(found("dim it to thirty percent", SpokenKind::Number), ["thirty = 30"]);
        assert_eq!(found("wake me at quarter to eight", SpokenKind::Time)[0], "quarter to eight = \"07:45\"");
        assert!(found("turn the lamp on", SpokenKind::Number).is_empty());
    }

    #[test]
    fn a_text_that_is_no_utterance_has_none() {
        assert!(spoken(&"one ".repeat(MAX_UTTERANCE_BYTES), SpokenKind::Number).is_empty());
        assert!(spoken("", SpokenKind::Time).is_empty());
    }
}
