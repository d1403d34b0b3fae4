//! Where a value comes from. Every value of a turn carries labels, and what is made
//! of several values carries the labels of all of them.

use std::collections::BTreeSet;
use std::fmt;

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// The person said or typed it to this machine.
    User,
    /// The bundled or configured language model made it.
    Llm,
    /// A page or service on the network, by its origin.
    Web(String),
    /// A tool's answer, by the tool's name.
    Tool(String),
    /// Another node heard or sent it.
    Node(String),
    /// A file.
    File,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("user"),
            Self::Llm => f.write_str("llm"),
            Self::Web(origin) => write!(f, "web:{origin}"),
            Self::Tool(name) => write!(f, "tool:{name}"),
            Self::Node(id) => write!(f, "node:{id}"),
            Self::File => f.write_str("file"),
        }
    }
}

impl Label {
    /// The label of that text form; what is no label counts as a file, which is foreign.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        match (text, text.split_once(':')) {
            ("user", _) => Self::User,
            ("llm", _) => Self::Llm,
            (_, Some(("web", origin))) => Self::Web(origin.to_owned()),
            (_, Some(("tool", name))) => Self::Tool(name.to_owned()),
            (_, Some(("node", id))) => Self::Node(id.to_owned()),
            _ => Self::File,
        }
    }

    /// Whether neither the person nor the model is the source.
    #[must_use]
    pub const fn is_foreign(&self) -> bool {
        !matches!(self, Self::User | Self::Llm)
    }
}

impl FromIterator<Label> for Taint {
    fn from_iter<T: IntoIterator<Item = Label>>(labels: T) -> Self {
        Self(labels.into_iter().collect())
    }
}

/// A set of sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taint(BTreeSet<Label>);

impl Taint {
    /// What the person said or typed.
    #[must_use]
    pub fn user() -> Self {
        Self::default().with(Label::User)
    }

    /// The same with one label more.
    #[must_use]
    pub fn with(mut self, label: Label) -> Self {
        self.0.insert(label);
        self
    }

    /// Takes over the labels of another value.
    pub fn absorb(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }

    /// Whether anyone but the person and the model had a hand in it. Such a turn may
    /// not use a T2 or T3 permission, nor choose a destination, without a confirmation.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.0.iter().any(Label::is_foreign)
    }

    /// The labels that make it foreign.
    pub fn foreign(&self) -> impl Iterator<Item = &Label> {
        self.0.iter().filter(|label| label.is_foreign())
    }

    /// The labels.
    pub fn labels(&self) -> impl Iterator<Item = &Label> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_nobody_knows_is_foreign() {
        assert_eq!([Label::from_text("user"), Label::from_text("llm")], [Label::User, Label::Llm]);
        for unknown in ["", "User", "moon", "moon:x"] {
            assert!(Label::from_text(unknown).is_foreign(), "{unknown}");
        }
    }

    #[test]
    fn foreign_is_whatever_is_neither_user_nor_model() {
        assert!(!Taint::user().with(Label::Llm).is_foreign());
        for label in [Label::Web("https://a".into()), Label::Tool("t.x".into()), Label::Node("n".into()), Label::File] {
            let mut taint = Taint::user();
            taint.absorb(&Taint::default().with(label.clone()));
            assert!(taint.is_foreign(), "{label}");
            assert_eq!(taint.foreign().collect::<Vec<_>>(), [&label]);
            assert_eq!(Label::from_text(&label.to_string()), label, "what is stored comes back");
        }
    }
}
