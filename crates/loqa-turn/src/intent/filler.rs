//! Words that may be left over: politeness, hesitation and the assistant's name.
//!
//! The lists are short on purpose. A word that can change what is meant ("not", "if",
//! "after", "how") must never be in them.

use super::number::text;
use super::words::Word;

/// Before the template: addressing, asking kindly.
const LEADING: &[&str] = &[
    "hey",
    "hi",
    "hello",
    "ok",
    "okay",
    "alright",
    "all right",
    "right",
    "so",
    "well",
    "now",
    "then",
    "yes",
    "yeah",
    "could you",
    "can you",
    "would you",
    "will you",
    "i want you to",
    "i'd like you to",
    "i would like you to",
    "i need you to",
    "i want to",
    "i'd like to",
    "i would like to",
    "i need to",
    "let's",
    "go ahead and",
];

/// Behind the template.
const TRAILING: &[&str] = &[
    "thanks",
    "thank you",
    "thank you very much",
    "for me",
    "now",
    "right now",
    "right away",
    "straight away",
    "then",
    "ok",
    "okay",
    "alright",
    "all right",
    "if you can",
    "if you could",
    "could you",
    "can you",
    "would you",
    "will you",
];

/// Between any two parts of a template.
const ANYWHERE: &[&str] =
    &["please", "kindly", "just", "quickly", "um", "uhm", "uh", "er", "erm", "hmm", "loqa", "assistant"];

/// What never begins or ends free text, as it is said to the assistant.
const NOT_IN_TEXT: &[&str] = &["please", "kindly", "thanks", "thank you", "um", "uhm", "uh", "er", "erm", "loqa"];

/// Words that turn a sentence into something else than the template says. Free text
/// between other parts of a template must not hold them.
const REFRAMING: &[&str] = &[
    "no",
    "not",
    "never",
    "none",
    "don't",
    "dont",
    "do",
    "does",
    "did",
    "doesn't",
    "didn't",
    "can't",
    "cannot",
    "won't",
    "wouldn't",
    "shouldn't",
    "isn't",
    "aren't",
    "wasn't",
    "is",
    "are",
    "was",
    "were",
    "how",
    "what",
    "what's",
    "why",
    "when",
    "where",
    "who",
    "which",
    "if",
    "whether",
    "should",
    "because",
    "without",
    "except",
    "instead",
    "unless",
    "until",
    "it's",
    "that's",
];

/// Articles and the like say nothing when they stand alone.
const DETERMINERS: &[&str] = &["a", "an", "the", "my", "this", "that", "our", "your"];

/// "… no wait": the speaker takes it back.
const RETRACTIONS: &[&str] = &[
    "never mind",
    "nevermind",
    "no wait",
    "scratch that",
    "forget it",
    "forget that",
    "cancel that",
    "don't",
    "do not",
    "no don't",
    "i changed my mind",
];

/// Where a filler may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Leading,
    Inside,
    Trailing,
}

/// Lengths in words of the fillers that begin at `at`.
pub(super) fn fillers_at(words: &[Word], at: usize, place: Place) -> impl Iterator<Item = usize> {
    let more: &[&str] = match place {
        Place::Leading => LEADING,
        Place::Inside => &[],
        Place::Trailing => TRAILING,
    };
    ANYWHERE.iter().chain(more).filter_map(move |phrase| phrase_at(words, at, phrase))
}

/// Whether the words may be free text. `inner` says that a template goes on behind it.
pub(super) fn may_be_text(words: &[Word], inner: bool) -> bool {
    let begins = NOT_IN_TEXT.iter().any(|phrase| phrase_at(words, 0, phrase).is_some());
    let ends_with = |phrase: &&str| {
        let length = phrase.split(' ').count();
        words.len() >= length && phrase_at(words, words.len() - length, phrase).is_some()
    };
    if begins || NOT_IN_TEXT.iter().any(&ends_with) || RETRACTIONS.iter().any(ends_with) {
        return false;
    }
    let is_in = |list: &[&str], word: &Word| list.contains(&word.text.as_str());
    if words.iter().all(|word| is_in(DETERMINERS, word)) {
        return false;
    }
    !(inner && words.iter().any(|word| is_in(REFRAMING, word)))
}

/// The length of the phrase in words, if it stands at `at`.
fn phrase_at(words: &[Word], at: usize, phrase: &str) -> Option<usize> {
    let mut length = 0;
    for expected in phrase.split(' ') {
        if text(words, at + length) != expected {
            return None;
        }
        length += 1;
    }
    Some(length)
}
