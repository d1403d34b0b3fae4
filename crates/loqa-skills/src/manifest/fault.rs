//! What is wrong with a manifest, where, and what to write instead.

use std::fmt;

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal,)+) => {
        /// The rule that a manifest broke; the text form is stable and documented in `docs/skills.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Rule {
            /// Every rule, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

rules! {
    /// The file is larger than a manifest may be.
    FileSize => "file-size",
    /// The file is not YAML.
    Syntax => "yaml-syntax",
    /// The file is not UTF-8, or holds characters that no one can see.
    Characters => "characters",
    /// Anchors and aliases are not allowed.
    Alias => "yaml-alias",
    /// YAML tags are not allowed.
    Tag => "yaml-tag",
    /// Nesting is too deep, or there are too many values.
    Depth => "yaml-depth",
    /// More than one document, or none.
    Documents => "yaml-documents",
    /// A key stands twice in one mapping.
    DuplicateKey => "duplicate-key",
    /// A key that the schema does not know.
    UnknownKey => "unknown-key",
    /// A key that must be there is missing.
    MissingKey => "missing-key",
    /// The value has another type than the schema wants.
    Type => "type",
    /// The value is outside of what is allowed.
    Value => "value",
    /// A name does not have the allowed shape.
    Name => "name",
    /// Two things have the same name.
    DuplicateName => "duplicate-name",
    /// The path leaves the skill's folder.
    Path => "path",
    /// The permission does not exist.
    UnknownPermission => "unknown-permission",
    /// The permission can never be granted to this kind of skill.
    ForbiddenPermission => "forbidden-permission",
    /// The manifest refers to something that it does not declare.
    Reference => "reference",
    /// The parameters use a JSON Schema keyword that the host does not check.
    SchemaKeyword => "schema-keyword",
    /// The utterance template cannot be compiled.
    Template => "template",
    /// This version of the host does not offer it.
    Unsupported => "unsupported",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place in a manifest; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Place {
    /// The first character of the file.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// Which rule.
    pub rule: Rule,
    /// What is wrong, naming the thing.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, rule, message, remedy } = self;
        write!(f, "{}:{}: {rule}: {message}; {remedy}", place.line, place.column)
    }
}

/// Collects faults, so that one reading finds them all.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, place: Place, rule: Rule, message: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Fault { place, rule, message: message.into(), remedy: remedy.into() });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of the file.
    pub(crate) fn into_sorted(mut self) -> Vec<Fault> {
        self.0.sort_by_key(|fault| (fault.place, fault.rule));
        self.0.dedup();
        self.0
    }
}
