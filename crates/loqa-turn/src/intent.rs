//! Declared utterances: templates from `skill.yaml`, matched before any model.
//!
//! A template is a line such as
//! `(set|start) [a|an|the] [{label}] timer for {duration_s:duration}`:
//!
//! - words stand for themselves; case and punctuation of what was said do not matter;
//! - `[…]` may be left out, `(…)` may not, `|` separates alternatives in both;
//! - `{name:duration}` gives seconds, `{name:number}` a number, `{name:time}` a time of
//!   day as `HH:MM`, `{name:red|light blue}` one of the choices, `{name}` or
//!   `{name:text}` free text.
//!
//! A match covers the whole utterance. Only polite and empty words ("hey", "could you",
//! "please", "for me", "um") may be left over, and they are reported. Everything else
//! that a template does not cover means that something else was said: "don't set a
//! timer" and "how do I set a timer in python" match nothing. Free text between other
//! parts of a template has at most [`MAX_INNER_TEXT_WORDS`] words and neither negations
//! nor question words, for the same reason.
//!
//! Deliberately absent: spelling correction, synonyms, anything learnt. What does not
//! match goes to a model.

mod duration;
mod filler;
mod matcher;
mod number;
mod spoken;
mod template;
mod time;
mod words;

#[cfg(test)]
mod tests;

use loqa_protocol::ToolCall;
use matcher::{Best, Program, Utterance};
use std::collections::{HashMap, HashSet};

pub use matcher::{MAX_INNER_TEXT_WORDS, MAX_WORDS};
pub use spoken::{Spoken, SpokenKind, spoken};
pub use template::MAX_TEMPLATE_BYTES;

/// Longest utterance that is looked at, in bytes. Chosen: [`MAX_WORDS`] long words.
pub const MAX_UTTERANCE_BYTES: usize = 2_000;

/// The utterances of one tool, as a skill declares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntentDecl {
    /// Name of the tool, for example `timer.start`.
    pub tool: String,
    /// The templates.
    pub say: Vec<String>,
}

/// A fault in one template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{tool}: `{template}`, column {column}: {message}; {remedy}")]
pub struct TemplateError {
    /// The tool whose utterance it is.
    pub tool: String,
    /// Which of the tool's templates, from 0.
    pub index: usize,
    /// The template as written, cut when it is very long.
    pub template: String,
    /// Where in the template, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

/// What was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct IntentMatch {
    /// The tool and its arguments.
    pub call: ToolCall,
    /// The template that fits, as declared.
    pub template: String,
    /// Words that it does not cover, as spoken; empty when it covers all.
    pub leftover: String,
}

/// All templates, compiled.
#[derive(Debug, Default)]
pub struct IntentIndex {
    entries: Vec<Entry>,
    /// Every literal word of every template.
    vocabulary: HashMap<String, u32>,
    /// Templates to try when the word was said.
    by_word: HashMap<u32, Vec<u32>>,
    /// Templates that no single word announces.
    unannounced: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    tool: String,
    template: String,
    program: Program,
}

impl IntentIndex {
    /// Compiles the templates of all tools.
    ///
    /// # Errors
    ///
    /// Every faulty template with its place and what to write instead.
    pub fn compile(decls: &[IntentDecl]) -> Result<Self, Vec<TemplateError>> {
        let mut index = Self::default();
        let mut errors = Vec::new();
        for decl in decls {
            for (position, text) in decl.say.iter().enumerate() {
                match template::parse(text) {
                    Ok(parsed) => {
                        let program = Program::new(&parsed, &mut index.vocabulary);
                        index.entries.push(Entry { tool: decl.tool.clone(), template: text.clone(), program });
                    }
                    Err(fault) => errors.push(TemplateError {
                        tool: decl.tool.clone(),
                        index: position,
                        template: text.chars().take(120).collect(),
                        column: fault.column,
                        message: fault.message,
                        remedy: fault.remedy,
                    }),
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        index.announce();
        Ok(index)
    }

    /// How many templates there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no template.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The template that fits best: with the fewest words left over, then with the
    /// longest literal text, then the one that was declared first.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<IntentMatch> {
        if self.entries.is_empty() || text.len() > MAX_UTTERANCE_BYTES {
            return None;
        }
        let words = words::split(text, MAX_WORDS + 1);
        if words.is_empty() || words.len() > MAX_WORDS {
            return None;
        }
        let mut utterance = Utterance::new(text, words, &self.vocabulary);
        let mut best: Option<(u32, Best)> = None;
        for candidate in self.candidates(&utterance) {
            let program = &self.entries[candidate as usize].program;
            let Some(found) = program.run(&mut utterance) else {
                continue;
            };
            if best.as_ref().is_none_or(|(_, old)| found.score.beats(old.score)) {
                best = Some((candidate, found));
            }
        }
        let (winner, found) = best?;
        let entry = &self.entries[winner as usize];
        Some(IntentMatch {
            call: ToolCall { name: entry.tool.clone(), arguments: found.arguments },
            template: entry.template.clone(),
            leftover: found.leftover,
        })
    }

    /// Templates that may fit, in the order of declaration.
    fn candidates(&self, utterance: &Utterance<'_>) -> Vec<u32> {
        let mut candidates = self.unannounced.clone();
        for id in utterance.known_words() {
            candidates.extend(self.by_word.get(&id).into_iter().flatten());
        }
        candidates.sort_unstable();
        candidates.dedup();
        candidates.retain(|&c| self.entries[c as usize].program.may_fit(utterance));
        candidates
    }

    /// Files each template under its rarest necessary words.
    fn announce(&mut self) {
        let mut frequency: HashMap<u32, u32> = HashMap::new();
        for entry in &self.entries {
            let words: HashSet<u32> = entry.program.necessary.iter().flatten().copied().collect();
            for word in words {
                *frequency.entry(word).or_default() += 1;
            }
        }
        let cost = |set: &Vec<u32>| -> u32 { set.iter().map(|word| frequency.get(word).copied().unwrap_or(0)).sum() };
        for (position, entry) in (0_u32..).zip(&self.entries) {
            match entry.program.necessary.iter().min_by_key(|set| cost(set)) {
                Some(rarest) => {
                    for word in rarest {
                        self.by_word.entry(*word).or_default().push(position);
                    }
                }
                None => self.unannounced.push(position),
            }
        }
    }
}
