//! The keys of a manifest and its limits: what the parser reads with, and what the JSON
//! Schema for editors is made from.

/// A key of a mapping, and whether it must be there.
pub(super) type KnownKey = (&'static str, bool);
/// The keys of a manifest; `json_schema` is made from the same tables.
pub(super) const KEYS: &[KnownKey] = &[
    ("schema", true),
    ("name", true),
    ("version", true),
    ("title", true),
    ("description", true),
    ("author", true),
    ("license", true),
    ("runtime", true),
    ("tools", false),
    ("intents", false),
    ("permissions", false),
    ("events", false),
];
pub(super) const TOOL_KEYS: &[KnownKey] =
    &[("name", true), ("description", true), ("parameters", false), ("effect", true)];
pub(super) const INTENT_KEYS: &[KnownKey] = &[("tool", true), ("say", true)];
pub(super) const PERMISSION_KEYS: &[KnownKey] = &[("use", true), ("reason", true)];
pub(super) const EVENT_KEYS: &[KnownKey] = &[("subscribe", true)];

/// Longest texts in characters, and longest lists. Chosen: what a prompt can show.
pub(super) const MAX_TITLE: usize = 60;
pub(super) const MAX_DESCRIPTION: usize = 400;
pub(super) const MAX_AUTHOR: usize = 120;
pub(super) const MAX_LICENSE: usize = 80;
pub(super) const MAX_TEMPLATE: usize = 300;
pub(super) const MAX_REASON: usize = 120;
pub(super) const MAX_SCOPE_TEXT: usize = 200;
pub(super) const MAX_SCOPE_TEXTS: usize = 64;
/// Most events of one skill. Chosen.
pub(super) const MAX_EVENTS: usize = 64;
/// Most tools of one skill. Chosen: a planner's prompt has to hold them all.
pub(super) const MAX_TOOLS: usize = 64;
/// Most templates of one tool. Chosen.
pub(super) const MAX_TEMPLATES: usize = 256;
