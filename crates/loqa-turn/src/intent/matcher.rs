//! A template as a small graph, and the search for the best way through it.
//!
//! For each pair of a node and a word the best rest of the way is found once, so the
//! work is bounded by nodes times words, whatever the template and the utterance.

use super::filler::{Place, fillers_at, may_be_text};
use super::spoken::{SpokenKind, read};
use super::template::{Part, SlotKind};
use super::words::{self, Word};
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::collections::HashMap;

/// Longest utterance that is matched, in words. Chosen: commands have at most twenty.
pub const MAX_WORDS: usize = 60;

/// Most words of free text between other parts of a template. Chosen: names of timers,
/// rooms and list entries; longer text there is usually another sentence.
pub const MAX_INNER_TEXT_WORDS: usize = 6;

/// A word that no template knows.
const UNKNOWN: u32 = u32::MAX;

type NodeId = u32;

/// A compiled template.
#[derive(Debug)]
pub(super) struct Program {
    nodes: Vec<Node>,
    start: NodeId,
    slots: Vec<Slot>,
    /// Sets of words; of each set at least one is in every utterance that fits.
    pub(super) necessary: Vec<Vec<u32>>,
}

#[derive(Debug)]
enum Node {
    Word { id: u32, length: u32, next: NodeId },
    Slot { slot: usize, next: NodeId },
    Split(Vec<NodeId>),
    Done,
}

#[derive(Debug)]
struct Slot {
    name: String,
    kind: CompiledKind,
    /// Free text that the template goes on behind.
    is_inner: bool,
}

#[derive(Debug)]
enum CompiledKind {
    Duration,
    Number,
    Time,
    Text,
    /// Each choice in word ids and as declared.
    Choice(Vec<(Vec<u32>, String)>),
}

/// How good a match is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Score {
    leftover_words: u32,
    literal_chars: u32,
    /// Words in typed slots: "five minutes" is rather a duration than part of a label.
    typed_words: u32,
}

impl Score {
    /// Whether this is strictly the better match.
    pub(super) fn beats(self, other: Self) -> bool {
        let order = other
            .leftover_words
            .cmp(&self.leftover_words)
            .then(self.literal_chars.cmp(&other.literal_chars))
            .then(self.typed_words.cmp(&other.typed_words));
        order == Ordering::Greater
    }
}

/// The best way through one template.
#[derive(Debug)]
pub(super) struct Best {
    pub(super) score: Score,
    pub(super) arguments: Map<String, Value>,
    pub(super) leftover: String,
}

/// What was said, prepared once for all templates.
#[derive(Debug)]
pub(super) struct Utterance<'t> {
    text: &'t str,
    words: Vec<Word>,
    ids: Vec<u32>,
    /// Fewest leftover words when the template begins, or has ended, at the place.
    leading: Vec<Option<u32>>,
    trailing: Vec<Option<u32>>,
    inside: Vec<Vec<usize>>,
    /// Per place: typed values that begin there, found when first asked for.
    typed: [Vec<Option<TypedValues>>; 3],
    memo: Vec<Memo>,
}

/// Ends and values of what begins at one place.
type TypedValues = Vec<(usize, Value)>;

#[derive(Debug, Clone, Copy, Default)]
enum Memo {
    #[default]
    Open,
    NoWay,
    Way(Score, Step),
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// To another node at the same word.
    To(NodeId),
    /// Over this many words of filler.
    Skip(usize),
    /// Over a word or a slot up to this place.
    Until(usize),
    End,
}

impl<'t> Utterance<'t> {
    pub(super) fn new(text: &'t str, words: Vec<Word>, vocabulary: &HashMap<String, u32>) -> Self {
        let n = words.len();
        let ids = words.iter().map(|w| vocabulary.get(&w.text).copied().unwrap_or(UNKNOWN)).collect();
        let mut leading = vec![None; n + 1];
        leading[0] = Some(0);
        for at in 0..n {
            let Some(cost) = leading[at] else { continue };
            for length in fillers_at(&words, at, Place::Leading) {
                let reached = cost + count(length);
                let old = &mut leading[at + length];
                *old = Some(old.map_or(reached, |o: u32| o.min(reached)));
            }
        }
        let mut trailing = vec![None; n + 1];
        trailing[n] = Some(0);
        for at in (0..n).rev() {
            trailing[at] = fillers_at(&words, at, Place::Trailing)
                .filter_map(|length| trailing[at + length].map(|cost| cost + count(length)))
                .min();
        }
        let inside = (0..n).map(|at| fillers_at(&words, at, Place::Inside).collect()).collect();
        let typed = std::array::from_fn(|_| vec![None; n]);
        Self { text, words, ids, leading, trailing, inside, typed, memo: Vec::new() }
    }

    /// Ids of the words that some template knows.
    pub(super) fn known_words(&self) -> impl Iterator<Item = u32> {
        self.ids.iter().copied().filter(|id| *id != UNKNOWN)
    }

    fn typed_values(&mut self, kind: SpokenKind, at: usize) -> &[(usize, Value)] {
        let Some(known) = self.typed[kind as usize].get_mut(at) else {
            return &[];
        };
        let words = &self.words;
        known.get_or_insert_with(|| read(words, at, kind))
    }

    /// The user's own spelling of some words.
    fn span(&self, from: usize, to: usize) -> &'t str {
        &self.text[self.words[from].start..self.words[to - 1].end]
    }
}

impl Program {
    pub(super) fn new(parts: &[Part], vocabulary: &mut HashMap<String, u32>) -> Self {
        let mut program = Self { nodes: vec![Node::Done], start: 0, slots: Vec::new(), necessary: Vec::new() };
        program.start = program.compile(parts, 0, vocabulary);
        program.necessary = necessary_words(parts, vocabulary);
        program
    }

    /// Whether every necessary word was said; cheap, and true for all that fit.
    pub(super) fn may_fit(&self, utterance: &Utterance<'_>) -> bool {
        self.necessary.iter().all(|set| set.iter().any(|word| utterance.ids.contains(word)))
    }

    /// The best match of the whole utterance.
    pub(super) fn run(&self, utterance: &mut Utterance<'_>) -> Option<Best> {
        let n = utterance.words.len();
        utterance.memo.clear();
        utterance.memo.resize(self.nodes.len() * (n + 1), Memo::Open);
        let mut best: Option<(Score, usize)> = None;
        for at in 0..n {
            let Some(leftover_words) = utterance.leading[at] else {
                continue;
            };
            let Some(rest) = self.best_way(utterance, self.start, at) else {
                continue;
            };
            let score = Score { leftover_words: rest.leftover_words + leftover_words, ..rest };
            if best.is_none_or(|(old, _)| score.beats(old)) {
                best = Some((score, at));
            }
        }
        let (score, at) = best?;
        Some(self.walk(utterance, at, score))
    }

    fn best_way(&self, utterance: &mut Utterance<'_>, node: NodeId, at: usize) -> Option<Score> {
        let n = utterance.words.len();
        let key = node as usize * (n + 1) + at;
        match utterance.memo[key] {
            Memo::Way(score, _) => return Some(score),
            Memo::NoWay => return None,
            Memo::Open => {}
        }
        let mut best: Option<(Score, Step)> = None;
        let mut consider = |score: Score, step: Step| {
            if best.is_none_or(|(old, _)| score.beats(old)) {
                best = Some((score, step));
            }
        };
        match &self.nodes[node as usize] {
            Node::Done => {
                if let Some(leftover_words) = utterance.trailing[at] {
                    consider(Score { leftover_words, ..Score::default() }, Step::End);
                }
            }
            Node::Split(branches) => {
                for &branch in branches {
                    if let Some(score) = self.best_way(utterance, branch, at) {
                        consider(score, Step::To(branch));
                    }
                }
            }
            Node::Word { id, length, next } => {
                if utterance.ids.get(at) == Some(id)
                    && let Some(rest) = self.best_way(utterance, *next, at + 1)
                {
                    consider(Score { literal_chars: rest.literal_chars + length, ..rest }, Step::Until(at + 1));
                }
            }
            Node::Slot { slot, next } => {
                for (end, gain) in self.slots[*slot].ends(utterance, at) {
                    if let Some(rest) = self.best_way(utterance, *next, end) {
                        let score = Score {
                            literal_chars: rest.literal_chars + gain.literal_chars,
                            typed_words: rest.typed_words + gain.typed_words,
                            ..rest
                        };
                        consider(score, Step::Until(end));
                    }
                }
            }
        }
        if matches!(self.nodes[node as usize], Node::Word { .. } | Node::Slot { .. }) && at < n {
            for length in utterance.inside[at].clone() {
                if let Some(rest) = self.best_way(utterance, node, at + length) {
                    let leftover_words = rest.leftover_words + count(length);
                    consider(Score { leftover_words, ..rest }, Step::Skip(length));
                }
            }
        }
        utterance.memo[key] = best.map_or(Memo::NoWay, |(score, step)| Memo::Way(score, step));
        best.map(|(score, _)| score)
    }

    /// Follows the best way and collects the slots and what was left over.
    fn walk(&self, utterance: &mut Utterance<'_>, from: usize, score: Score) -> Best {
        let n = utterance.words.len();
        let mut arguments = Map::new();
        let mut left: Vec<(usize, usize)> = (from > 0).then_some((0, from)).into_iter().collect();
        let (mut node, mut at) = (self.start, from);
        while let Memo::Way(_, step) = utterance.memo[node as usize * (n + 1) + at] {
            match step {
                Step::To(branch) => node = branch,
                Step::Skip(length) => {
                    left.push((at, at + length));
                    at += length;
                }
                Step::Until(end) => {
                    match &self.nodes[node as usize] {
                        Node::Word { next, .. } => node = *next,
                        Node::Slot { slot, next } => {
                            let slot = &self.slots[*slot];
                            arguments.insert(slot.name.clone(), slot.value(utterance, at, end));
                            node = *next;
                        }
                        Node::Split(_) | Node::Done => break,
                    }
                    at = end;
                }
                Step::End => {
                    if at < n {
                        left.push((at, n));
                    }
                    break;
                }
            }
        }
        let leftover: Vec<&str> = left.into_iter().map(|(from, to)| utterance.span(from, to)).collect();
        Best { score, arguments, leftover: leftover.join(" ") }
    }

    /// Builds backwards: each part knows the node behind it.
    fn compile(&mut self, parts: &[Part], next: NodeId, vocabulary: &mut HashMap<String, u32>) -> NodeId {
        let mut next = next;
        for part in parts.iter().rev() {
            next = match part {
                Part::Word(word) => {
                    let id = intern(word, vocabulary);
                    self.push(Node::Word { id, length: count(word.chars().count()), next })
                }
                Part::Slot { name, kind } => {
                    let kind = match kind {
                        SlotKind::Duration => CompiledKind::Duration,
                        SlotKind::Number => CompiledKind::Number,
                        SlotKind::Time => CompiledKind::Time,
                        SlotKind::Text => CompiledKind::Text,
                        SlotKind::Choice(choices) => CompiledKind::Choice(
                            choices
                                .iter()
                                .map(|choice| {
                                    let ids = words::split(choice, usize::MAX)
                                        .iter()
                                        .map(|word| intern(&word.text, vocabulary))
                                        .collect();
                                    (ids, choice.clone())
                                })
                                .collect(),
                        ),
                    };
                    let is_inner = !self.may_end_at(next);
                    self.slots.push(Slot { name: name.clone(), kind, is_inner });
                    self.push(Node::Slot { slot: self.slots.len() - 1, next })
                }
                Part::Group { optional, alternatives } => {
                    let mut branches: Vec<NodeId> =
                        alternatives.iter().map(|parts| self.compile(parts, next, vocabulary)).collect();
                    if *optional {
                        branches.push(next);
                    }
                    self.push(Node::Split(branches))
                }
            };
        }
        next
    }

    fn may_end_at(&self, node: NodeId) -> bool {
        match &self.nodes[node as usize] {
            Node::Done => true,
            Node::Split(branches) => branches.iter().any(|&branch| self.may_end_at(branch)),
            Node::Word { .. } | Node::Slot { .. } => false,
        }
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        count(self.nodes.len() - 1)
    }
}

impl Slot {
    /// Where the slot may end when it begins at `at`, and what that is worth.
    fn ends(&self, utterance: &mut Utterance<'_>, at: usize) -> Vec<(usize, Score)> {
        let typed = match &self.kind {
            CompiledKind::Duration => SpokenKind::Duration,
            CompiledKind::Number => SpokenKind::Number,
            CompiledKind::Time => SpokenKind::Time,
            CompiledKind::Text => return self.text_ends(utterance, at),
            CompiledKind::Choice(choices) => {
                let rest = &utterance.ids[at..];
                return choices
                    .iter()
                    .filter(|(ids, _)| rest.starts_with(ids))
                    .map(|(ids, choice)| {
                        let literal_chars = count(choice.chars().count());
                        (at + ids.len(), Score { literal_chars, ..Score::default() })
                    })
                    .collect();
            }
        };
        utterance
            .typed_values(typed, at)
            .iter()
            .map(|(end, _)| (*end, Score { typed_words: count(end - at), ..Score::default() }))
            .collect()
    }

    fn text_ends(&self, utterance: &Utterance<'_>, at: usize) -> Vec<(usize, Score)> {
        let n = utterance.words.len();
        // "could you tea timer": a label that begins the utterance begins behind it.
        let is_addressing =
            utterance.leading[at].is_some() && fillers_at(&utterance.words, at, Place::Leading).next().is_some();
        if is_addressing {
            return Vec::new();
        }
        let last = if self.is_inner { n.min(at + MAX_INNER_TEXT_WORDS) } else { n };
        (at + 1..=last)
            .filter(|&end| may_be_text(&utterance.words[at..end], self.is_inner))
            .map(|end| (end, Score::default()))
            .collect()
    }

    fn value(&self, utterance: &mut Utterance<'_>, at: usize, end: usize) -> Value {
        let typed = match &self.kind {
            CompiledKind::Duration => SpokenKind::Duration,
            CompiledKind::Number => SpokenKind::Number,
            CompiledKind::Time => SpokenKind::Time,
            CompiledKind::Text => return Value::from(utterance.span(at, end)),
            CompiledKind::Choice(choices) => {
                let said = &utterance.ids[at..end];
                let choice = choices.iter().find(|(ids, _)| ids == said);
                return choice.map_or(Value::Null, |(_, choice)| Value::from(choice.as_str()));
            }
        };
        let values = utterance.typed_values(typed, at);
        values.iter().find(|(e, _)| *e == end).map_or(Value::Null, |(_, value)| value.clone())
    }
}

/// Word sets of which every fitting utterance has at least one word.
fn necessary_words(parts: &[Part], vocabulary: &mut HashMap<String, u32>) -> Vec<Vec<u32>> {
    let mut sets = Vec::new();
    for part in parts {
        match part {
            Part::Word(word) => sets.push(vec![intern(word, vocabulary)]),
            Part::Slot { kind: SlotKind::Choice(choices), .. } => sets.push(
                choices
                    .iter()
                    .filter_map(|choice| words::split(choice, 1).pop())
                    .map(|word| intern(&word.text, vocabulary))
                    .collect(),
            ),
            Part::Slot { .. } | Part::Group { optional: true, .. } => {}
            Part::Group { alternatives, .. } => {
                // One word set per alternative, put together, is necessary as a whole.
                let smallest: Option<Vec<Vec<u32>>> = alternatives
                    .iter()
                    .map(|a| necessary_words(a, vocabulary).into_iter().min_by_key(Vec::len))
                    .collect();
                sets.extend(smallest.map(|sets| sets.concat()));
            }
        }
    }
    sets
}

fn intern(word: &str, vocabulary: &mut HashMap<String, u32>) -> u32 {
    let next = count(vocabulary.len());
    *vocabulary.entry(word.to_owned()).or_insert(next)
}

/// Whole numbers stay whole in JSON.
pub(super) fn number_value(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within i64")]
        let whole = value as i64;
        Value::from(whole)
    } else {
        Value::from(value)
    }
}

/// Counts here are bounded by the template's and the utterance's size.
fn count(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
