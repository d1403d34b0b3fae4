//! A record as bytes: canonical JSON, the hash that chains it, and how the vocabulary
//! becomes fields. `docs/audit.md` describes the same byte by byte.

use crate::record::{Actor, Context, Effect, Entry, Kind, Outcome, Status};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// SHA-256.
pub type Hash = [u8; 32];

/// What the first row of a chain has as the hash before it.
pub const GENESIS: Hash = [0; 32];
/// Separates the hash of a row from every other use of SHA-256; from the design of the audit.
const ROW: &[u8] = b"loqa.audit.v1\0";
/// Version of the format, in every record.
pub const VERSION: u64 = 1;
/// Longest text of a field in characters; contents belong into the payload. Chosen.
const MAX_TEXT: usize = 1_024;
/// Largest whole number that every JSON reader keeps exactly (RFC 7493).
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// The hash of a row: over the prefix, the hash of the row before it and the record.
#[must_use]
pub fn link(prev: &Hash, body: &str) -> Hash {
    Sha256::new().chain_update(ROW).chain_update(prev).chain_update(body).finalize().into()
}

/// JSON with sorted keys, without spaces, text in UTF-8 with the shortest escapes.
/// For records, which hold no fractions, this is RFC 8785.
#[must_use]
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            // serde_json keeps the order of insertion when any crate of the build asks for it.
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (idx, (name, value)) in sorted.into_iter().enumerate() {
                if idx > 0 {
                    text.push(',');
                }
                write(&Value::String(name.clone()), text);
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (idx, item) in items.iter().enumerate() {
                if idx > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text.push_str(&value.to_string()),
    }
}

/// A record without its number and times, and the contents that go with it.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) kind: Kind,
    pub(crate) fields: Map<String, Value>,
    pub(crate) payload: Option<Value>,
}

/// Number and times of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp<'a> {
    pub(crate) seq: u64,
    pub(crate) wall_ms: i64,
    pub(crate) mono_us: u64,
    pub(crate) boot: &'a str,
}

/// What an outcome takes over from its intent.
const INHERITED: &[&str] = &["actor", "invocation", "session", "turn", "trigger"];

impl Draft {
    pub(crate) fn new(kind: Kind, actor: &Actor) -> Self {
        let mut draft = Self { kind, fields: Map::new(), payload: None };
        draft.set("actor", actor_fields(actor));
        draft
    }

    /// Sets a field; nothing is written for null.
    pub(crate) fn set(&mut self, name: &str, value: Value) {
        if !value.is_null() {
            self.fields.insert(name.to_owned(), value);
        }
    }

    pub(crate) fn of(entry: Entry) -> Self {
        let Entry { kind, actor, context, permission, scope, grant, decision, reason, effect, payload } = entry;
        let mut draft = Self::new(kind, &actor);
        let Context { invocation, session, turn, trigger, taint } = context;
        draft.set("invocation", invocation.map_or(Value::Null, number));
        draft.set("session", session.map_or(Value::Null, |id| text(id.as_str())));
        draft.set("turn", turn.map_or(Value::Null, |id| text(id.as_str())));
        draft.set("trigger", optional(trigger.as_deref()));
        if !taint.is_empty() {
            draft.set("taint", taint.iter().map(|label| text(label)).collect());
        }
        draft.set("permission", optional(permission.as_deref()));
        draft.set("scope", optional(scope.as_deref()));
        draft.set("grant", optional(grant.as_deref()));
        draft.set("decision", decision.map_or(Value::Null, |decision| text(decision.as_str())));
        draft.set("reason", optional(reason.as_deref()));
        draft.set("effect", effect.as_ref().map_or(Value::Null, effect_fields));
        draft.payload = payload;
        draft
    }

    /// The outcome of an intent with these fields.
    pub(crate) fn outcome(intent: u64, of: &Map<String, Value>, outcome: Outcome) -> Self {
        let Outcome { status, bytes_out, bytes_in, uses, payload } = outcome;
        let mut draft = Self::inheriting(Kind::CallOutcome, intent, of);
        let mut fields = Map::new();
        fields.insert("status".to_owned(), text(status.unwrap_or(Status::Unknown).as_str()));
        for (name, bytes) in [("bytes_out", bytes_out), ("bytes_in", bytes_in)] {
            if let Some(bytes) = bytes {
                fields.insert(name.to_owned(), number(bytes));
            }
        }
        if !uses.is_empty() {
            let uses: Map<String, Value> = uses.iter().map(|(name, n)| (clip(name), number(*n))).collect();
            fields.insert("uses".to_owned(), Value::Object(uses));
        }
        draft.set("outcome", Value::Object(fields));
        draft.payload = payload;
        draft
    }

    /// The ledger's row for what left under an intent with these fields.
    pub(crate) fn egress(intent: u64, of: &Map<String, Value>, bytes: u64) -> Self {
        let mut draft = Self::inheriting(Kind::Egress, intent, of);
        let mut effect = match of.get("effect") {
            Some(Value::Object(effect)) => effect.clone(),
            _ => Map::new(),
        };
        effect.insert("bytes_out".to_owned(), number(bytes));
        draft.set("effect", Value::Object(effect));
        draft.set("permission", of.get("permission").cloned().unwrap_or(Value::Null));
        draft
    }

    fn inheriting(kind: Kind, intent: u64, of: &Map<String, Value>) -> Self {
        let mut draft = Self { kind, fields: Map::new(), payload: None };
        for name in INHERITED {
            draft.set(name, of.get(*name).cloned().unwrap_or(Value::Null));
        }
        draft.set("intent", number(intent));
        draft
    }

    /// The canonical record.
    pub(crate) fn body(mut self, stamp: Stamp<'_>) -> String {
        self.set("v", json!(VERSION));
        self.set("seq", json!(stamp.seq));
        self.set("wall_ms", json!(stamp.wall_ms));
        self.set("mono_us", json!(stamp.mono_us));
        self.set("boot", json!(stamp.boot));
        self.set("kind", text(self.kind.as_str()));
        canonical(&Value::Object(self.fields))
    }
}

fn actor_fields(actor: &Actor) -> Value {
    let Actor { kind, id, version, digest, publisher } = actor;
    let mut fields = Map::new();
    fields.insert("kind".to_owned(), text(kind.as_str()));
    fields.insert("id".to_owned(), text(id));
    for (name, value) in [("version", version), ("digest", digest), ("publisher", publisher)] {
        if let Some(value) = value {
            fields.insert(name.to_owned(), text(value));
        }
    }
    Value::Object(fields)
}

fn effect_fields(effect: &Effect) -> Value {
    let Effect { operation, target, bytes_out } = effect;
    let mut fields = Map::new();
    fields.insert("operation".to_owned(), text(operation));
    if let Some(target) = target {
        fields.insert("target".to_owned(), text(target));
    }
    if let Some(bytes) = bytes_out {
        fields.insert("bytes_out".to_owned(), number(*bytes));
    }
    Value::Object(fields)
}

pub(crate) fn number(number: u64) -> Value {
    Value::from(number.min(MAX_NUMBER))
}

pub(crate) fn text(text: &str) -> Value {
    Value::String(clip(text))
}

fn optional(value: Option<&str>) -> Value {
    value.map_or(Value::Null, text)
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ActorKind, Decision};
    use expect_test::expect;

    #[test]
    fn a_record_is_written_in_one_way_only() {
        let actor = Actor { version: Some("1.0.0".into()), ..Actor::named(ActorKind::Skill, "weather") };
        let mut entry = Entry::new(Kind::CallIntent, actor, Context { invocation: Some(7), ..Context::default() });
        entry.decision = Some(Decision::Allow);
        entry.reason = Some("gran\"ted\u{7}\u{1F}é\u{2028}/".into());
        entry.effect = Some(Effect {
            operation: "http".into(),
            target: Some("https://a:443/x".into()),
            bytes_out: Some(u64::MAX),
        });
        let body = Draft::of(entry).body(Stamp { seq: 3, wall_ms: -1, mono_us: 5, boot: "b" });
        expect![[r#"{"actor":{"id":"weather","kind":"skill","version":"1.0.0"},"boot":"b","decision":"allow","effect":{"bytes_out":9007199254740991,"operation":"http","target":"https://a:443/x"},"invocation":7,"kind":"call.intent","mono_us":5,"reason":"gran\"ted\u0007\u001fé¶/","seq":3,"v":1,"wall_ms":-1}"#]]
            .assert_eq(&body.replace('\u{2028}', "¶"));
        assert_eq!(canonical(&serde_json::from_str(&body).unwrap()), body, "reading and writing changes nothing");
        let hash = hex::encode(link(&GENESIS, &body));
        assert_eq!(hash.len(), 64);
        assert_ne!(hash, hex::encode(link(&[1; 32], &body)), "the row before counts");
    }

    #[test]
    fn a_long_text_is_cut_where_a_character_ends() {
        let cut = text(&"é".repeat(MAX_TEXT + 1));
        assert_eq!(cut.as_str().unwrap().chars().count(), MAX_TEXT + 1);
        assert_eq!(text(&"é".repeat(MAX_TEXT)).as_str().unwrap().chars().count(), MAX_TEXT);
    }
}
