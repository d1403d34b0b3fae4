//! Scopes as JSON: in the database, on the bus and on the command line.

use crate::permission::{Permission, Scope, ScopeKind, ScopeValue};
use serde_json::{Map, Value};

/// Why a text is no scope of a permission; says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScopeFault(String);

/// Most entries of a list, and bytes of a text. Chosen.
const MAX_TEXTS: usize = 100;
const MAX_TEXT_BYTES: usize = 500;

impl Scope {
    /// As JSON, keys in order.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        self.entries()
            .map(|(key, value)| {
                let value = match value {
                    ScopeValue::Limit(limit) => Value::from(*limit),
                    ScopeValue::Text(text) => Value::from(text.as_str()),
                    ScopeValue::Texts(texts) => Value::from(texts.clone()),
                    ScopeValue::Flag(flag) => Value::from(*flag),
                };
                (key.to_owned(), value)
            })
            .collect()
    }

    /// From JSON. Keys may be missing; unknown ones are refused.
    pub fn from_json(permission: Permission, map: &Map<String, Value>) -> Result<Self, ScopeFault> {
        let mut scope = Self::default();
        for (name, value) in map {
            let (key, kind) = key_of(permission, name)?;
            let fits = match (kind, value) {
                (ScopeKind::Limit { .. }, Value::Number(number)) => {
                    number.as_u64().filter(|number| *number > 0).map(ScopeValue::Limit)
                }
                (ScopeKind::Text, Value::String(text)) => plain(text).map(ScopeValue::Text),
                (ScopeKind::Texts, Value::Array(texts)) if (1..=MAX_TEXTS).contains(&texts.len()) => texts
                    .iter()
                    .map(|text| text.as_str().and_then(plain))
                    .collect::<Option<Vec<_>>>()
                    .map(ScopeValue::Texts),
                (ScopeKind::Flag, Value::Bool(flag)) => Some(ScopeValue::Flag(*flag)),
                _ => None,
            };
            scope = scope.with(key, fits.ok_or_else(|| misfit(permission, name, kind))?);
        }
        Ok(scope)
    }

    /// From `key=value` words; a list is written with commas, or by naming its key again.
    pub fn from_words<'a>(
        permission: Permission,
        words: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ScopeFault> {
        let mut map = Map::new();
        for word in words {
            let (name, value) = word
                .split_once('=')
                .ok_or_else(|| ScopeFault(format!("`{}` is no scope; write key=value", word.escape_debug())))?;
            let (_, kind) = key_of(permission, name)?;
            let value = match kind {
                ScopeKind::Limit { .. } => {
                    value.parse::<u64>().map(Value::from).map_err(|_| misfit(permission, name, kind))?
                }
                ScopeKind::Text => Value::from(value),
                ScopeKind::Flag => {
                    value.parse::<bool>().map(Value::from).map_err(|_| misfit(permission, name, kind))?
                }
                ScopeKind::Texts => {
                    let mut texts = match map.remove(name) {
                        Some(Value::Array(texts)) => texts,
                        _ => Vec::new(),
                    };
                    texts.extend(value.split(',').map(|text| Value::from(text.trim())));
                    Value::Array(texts)
                }
            };
            map.insert(name.to_owned(), value);
        }
        Self::from_json(permission, &map)
    }
}

fn key_of(permission: Permission, name: &str) -> Result<(&'static str, ScopeKind), ScopeFault> {
    permission.scope_keys().iter().find(|key| key.name == name).map(|key| (key.name, key.kind)).ok_or_else(|| {
        let known = permission.scope_keys().iter().map(|key| key.name).collect::<Vec<_>>();
        let known = if known.is_empty() { "it has no scope".to_owned() } else { format!("use: {}", known.join(", ")) };
        ScopeFault(format!("`{permission}` has no scope `{}`; {known}", name.escape_debug()))
    })
}

fn misfit(permission: Permission, name: &str, kind: ScopeKind) -> ScopeFault {
    let wanted = match kind {
        ScopeKind::Limit { ceiling, .. } => format!("a number from 1 to {ceiling}"),
        ScopeKind::Text => format!("a text of at most {MAX_TEXT_BYTES} bytes without control characters"),
        ScopeKind::Texts => format!("1 to {MAX_TEXTS} texts of at most {MAX_TEXT_BYTES} bytes"),
        ScopeKind::Flag => "true or false".to_owned(),
    };
    ScopeFault(format!("`{name}` of `{permission}` is {wanted}"))
}

fn plain(text: &str) -> Option<String> {
    let fits = !text.is_empty() && text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}
