//! YAML text to a tree in which every value knows its place.
//!
//! Deliberately small: no aliases, no tags, one document, bounded in size, depth
//! and number of values. What the tree means is decided in [`super`].

use super::fault::{Faults, Place, Rule};
use super::value::{printable, visible};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Largest manifest in bytes, from the design of skills.
pub const MAX_BYTES: usize = 64 * 1024;
/// Deepest nesting. Chosen: the manifest's own shape needs 5, parameters a few more.
pub const MAX_DEPTH: usize = 16;
/// Most values in one file. Chosen: far above any real manifest of 64 KiB.
pub const MAX_VALUES: usize = 10_000;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// `plain` is whether the text stood without quotes, and may so be a number or a truth value.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// Keys in the order of the file, without duplicates.
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) place: Place,
    pub(crate) name: String,
}

impl Value {
    /// The word for a fault's text.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Scalar { .. } => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// What is being built while events come in.
enum Open {
    List(Place, Vec<Node>),
    Map { place: Place, entries: Vec<(Key, Node)>, key: Option<Key> },
}

/// Reads one document. `None` when the text is too broken to go on; the reason is in `faults`.
pub(crate) fn parse(text: &str, faults: &mut Faults) -> Option<Node> {
    let mut stack: Vec<Open> = Vec::new();
    let mut root: Option<Node> = None;
    let mut n_documents = 0_usize;
    let mut n_values = 0_usize;
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let place = Place { line: error.marker().line(), column: error.marker().col() + 1 };
                faults.add(place, Rule::Syntax, format!("not YAML: {}", visible(error.info())), "correct the YAML");
                return None;
            }
        };
        let place = place_of(&span);
        let (anchor, tagged) = match &event {
            Event::Scalar(_, _, anchor, tag) | Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                (*anchor, tag.is_some())
            }
            Event::Alias(_) => (1, false),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => (0, false),
        };
        if anchor != 0 {
            faults.add(place, Rule::Alias, "anchors and aliases are not allowed", "write the value out");
            return None;
        }
        if tagged {
            faults.add(place, Rule::Tag, "YAML tags are not allowed", "remove the tag");
            return None;
        }
        match event {
            Event::DocumentStart(_) => {
                n_documents += 1;
                if n_documents > 1 {
                    faults.add(place, Rule::Documents, "more than one YAML document", "keep one document per file");
                    return None;
                }
            }
            Event::SequenceStart(..) => stack.push(Open::List(place, Vec::new())),
            Event::MappingStart(..) => stack.push(Open::Map { place, entries: Vec::new(), key: None }),
            Event::Scalar(text, style, ..) => {
                n_values += 1;
                let plain = style == ScalarStyle::Plain;
                attach(
                    Node { place, value: Value::Scalar { text: text.into_owned(), plain } },
                    &mut stack,
                    &mut root,
                    faults,
                );
            }
            Event::SequenceEnd | Event::MappingEnd => {
                n_values += 1;
                let node = match stack.pop() {
                    Some(Open::List(place, items)) => Node { place, value: Value::List(items) },
                    Some(Open::Map { place, entries, .. }) => Node { place, value: Value::Map(entries) },
                    None => return None,
                };
                attach(node, &mut stack, &mut root, faults);
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Alias(_) => {}
        }
        if stack.len() > MAX_DEPTH {
            faults.add(place, Rule::Depth, format!("nested deeper than {MAX_DEPTH} levels"), "flatten the structure");
            return None;
        }
        if n_values > MAX_VALUES {
            faults.add(place, Rule::Depth, format!("more than {MAX_VALUES} values"), "shorten the manifest");
            return None;
        }
    }
    if root.is_none() && faults.is_empty() {
        faults.add(Place::START, Rule::Documents, "the file is empty", "write a manifest, see docs/skills.md");
    }
    root
}

fn attach(node: Node, stack: &mut [Open], root: &mut Option<Node>, faults: &mut Faults) {
    match stack.last_mut() {
        None => *root = Some(node),
        Some(Open::List(_, items)) => items.push(node),
        Some(Open::Map { entries, key, .. }) => match key.take() {
            None => match node.value {
                Value::Scalar { text, .. } => *key = Some(Key { place: node.place, name: text }),
                Value::List(_) | Value::Map(_) => {
                    faults.add(node.place, Rule::Type, "a key must be a single word", "use a plain key");
                    // A key is needed so that the value that follows finds its place.
                    *key = Some(Key { place: node.place, name: String::new() });
                }
            },
            Some(key) => {
                if let Some((first, _)) = entries.iter().find(|(existing, _)| existing.name == key.name) {
                    faults.add(
                        key.place,
                        Rule::DuplicateKey,
                        format!("`{}` stands twice, first in line {}", printable(&key.name), first.place.line),
                        "keep one of them",
                    );
                } else {
                    entries.push((key, node));
                }
            }
        },
    }
}

fn place_of(span: &Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}
