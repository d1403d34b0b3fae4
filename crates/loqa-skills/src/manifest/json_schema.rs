//! The JSON Schema of `skill.yaml`, for editors: made from the tables that the parser
//! reads with. It says less than the parser, which also compiles templates, follows
//! references and looks at single characters; what the parser accepts, it accepts.

use super::tables::{
    EVENT_KEYS, INTENT_KEYS, KEYS, KnownKey, MAX_AUTHOR, MAX_DESCRIPTION, MAX_EVENTS, MAX_LICENSE, MAX_REASON,
    MAX_SCOPE_TEXT, MAX_SCOPE_TEXTS, MAX_TEMPLATE, MAX_TEMPLATES, MAX_TITLE, MAX_TOOLS, PERMISSION_KEYS, TOOL_KEYS,
};
use super::{EVENTS, HOST_API, SCHEMA};
use crate::permission::{Permission, ScopeKey, ScopeKind, Tier};
use crate::schema::{DEFAULT_MAX_ITEMS, DEFAULT_MAX_LENGTH};
use serde_json::{Map, Value, json};

/// The schema, in the draft of 2020-12.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = object(KEYS, |key| match key {
        "schema" => json!({ "const": SCHEMA, "description": "Version of the manifest's shape." }),
        "name" => json!({
            "type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,38}[a-z0-9]$",
            "description": "2 to 40 of a-z, 0-9 and -; also the name under which the skill's data is kept.",
        }),
        "version" => json!({ "type": "string", "description": "Semantic version, for example 0.1.0." }),
        "title" => line(MAX_TITLE, "For people."),
        "description" => line(MAX_DESCRIPTION, "For people."),
        "author" => line(MAX_AUTHOR, "Who wrote it."),
        "license" => line(MAX_LICENSE, "SPDX expression."),
        "runtime" => runtime(),
        "tools" => list(MAX_TOOLS, tool()),
        "intents" => list(MAX_TOOLS, intent()),
        "permissions" => list(Permission::ALL.len(), json!({ "oneOf": permissions() })),
        _ => object(EVENT_KEYS, |_| list(MAX_EVENTS, event())),
    });
    if let Some(map) = schema.as_object_mut() {
        map.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        map.insert("title".to_owned(), json!("Manifest of a Loqa skill"));
        map.insert("$defs".to_owned(), json!({ "parameter": parameter() }));
    }
    schema
}

fn runtime() -> Value {
    let host_api = json!({ "const": HOST_API, "description": "Version of the host functions." });
    let file = |ending: &str, what: &str| {
        json!({
            "type": "string", "maxLength": 100, "pattern": format!("^[A-Za-z0-9_-][A-Za-z0-9._-]*{ending}$"),
            "description": what,
        })
    };
    let either = |kind: &str, more: &[(&str, Value)]| {
        let mut properties = Map::new();
        properties.insert("kind".to_owned(), json!({ "const": kind }));
        properties.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        properties.insert("host_api".to_owned(), host_api.clone());
        let required: Vec<&String> = properties.keys().collect();
        json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
    };
    let sandbox = json!({ "enum": ["offline", "network"], "description": "What the operating system lets it do." });
    json!({ "oneOf": [
        either("wasm", &[("module", file("\\.wasm", "File beside skill.yaml."))]),
        either("native", &[("program", file("", "File beside skill.yaml.")), ("sandbox", sandbox)]),
    ] })
}

fn tool() -> Value {
    object(TOOL_KEYS, |key| match key {
        "name" => json!({
            "type": "string", "pattern": "^[a-z0-9-]{2,40}\\.[a-z0-9_]{1,40}$",
            "description": "The skill's name, a dot and a verb.",
        }),
        "description" => line(MAX_DESCRIPTION, "One sentence for a language model."),
        "parameters" => {
            json!({ "allOf": [{ "$ref": "#/$defs/parameter" }, { "properties": { "type": { "const": "object" } } }] })
        }
        _ => json!({
            "enum": ["read", "safe", "sensitive"],
            "description": "read looks something up, safe changes what is easily undone, sensitive needs a confirmation.",
        }),
    })
}

fn intent() -> Value {
    object(INTENT_KEYS, |key| match key {
        "tool" => json!({ "type": "string", "description": "A tool from `tools`." }),
        _ => {
            json!({ "type": "array", "minItems": 1, "maxItems": MAX_TEMPLATES, "items": line(MAX_TEMPLATE, "What people say.") })
        }
    })
}

/// One schema per permission, so that an editor offers the keys of its scope.
fn permissions() -> Vec<Value> {
    let askable = Permission::ALL.iter().copied().filter(|permission| permission.tier() != Tier::T4);
    askable
        .map(|permission| {
            let mut schema = object(PERMISSION_KEYS, |key| match key {
                "use" => json!({ "const": permission.as_str() }),
                _ => line(MAX_REASON, "Why it is needed, in words for the user."),
            });
            for key in permission.scope_keys() {
                schema["properties"][key.name] = scope(key);
                if key.required
                    && let Some(required) = schema["required"].as_array_mut()
                {
                    required.push(json!(key.name));
                }
            }
            schema
        })
        .collect()
}

fn scope(key: &ScopeKey) -> Value {
    match key.kind {
        ScopeKind::Limit { default, ceiling } => {
            json!({ "type": "integer", "minimum": 1, "maximum": ceiling, "default": default })
        }
        ScopeKind::Text => json!({ "type": "string", "minLength": 1, "maxLength": MAX_SCOPE_TEXT }),
        ScopeKind::Texts => json!({
            "type": "array", "minItems": 1, "maxItems": MAX_SCOPE_TEXTS,
            "items": { "type": "string", "minLength": 1, "maxLength": MAX_SCOPE_TEXT },
        }),
        ScopeKind::Flag => json!({ "type": "boolean", "default": false }),
    }
}

/// The part of JSON Schema that parameters may use, as JSON Schema.
fn parameter() -> Value {
    let of = |name: &str, more: Value| {
        let mut properties = Map::new();
        properties.insert("type".to_owned(), json!({ "const": name }));
        properties.insert("description".to_owned(), line(MAX_DESCRIPTION, "For a language model."));
        properties.extend(more.as_object().cloned().unwrap_or_default());
        let required = if name == "array" { json!(["type", "items"]) } else { json!(["type"]) };
        json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
    };
    let count = |default| json!({ "type": "integer", "minimum": 0, "default": default });
    let itself = || json!({ "$ref": "#/$defs/parameter" });
    let (whole, any) = (json!({ "type": "integer" }), json!({ "type": "number" }));
    json!({ "oneOf": [
        of("object", json!({
            "properties": {
                "type": "object", "propertyNames": { "pattern": "^[a-z][a-z0-9_]{0,39}$" },
                "additionalProperties": itself(),
            },
            "required": { "type": "array", "items": { "type": "string" } },
            "additionalProperties": { "const": false },
        })),
        of("array", json!({ "items": itself(), "maxItems": count(DEFAULT_MAX_ITEMS) })),
        of("string", json!({
            "enum": { "type": "array", "minItems": 1, "maxItems": 100, "items": { "type": "string" } },
            "minLength": count(0), "maxLength": count(DEFAULT_MAX_LENGTH),
        })),
        of("integer", json!({ "minimum": whole, "maximum": whole })),
        of("number", json!({ "minimum": any, "maximum": any })),
        of("boolean", json!({})),
    ] })
}

fn object(keys: &[KnownKey], of: impl Fn(&str) -> Value) -> Value {
    let properties: Map<_, _> = keys.iter().map(|(key, _)| ((*key).to_owned(), of(key))).collect();
    let required: Vec<_> = keys.iter().filter(|(_, required)| *required).map(|(key, _)| key).collect();
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

fn event() -> Value {
    let heard = json!({
        "type": "string", "pattern": r"^bus\.[a-z0-9-]{2,40}\.[a-z0-9_.-]+$",
        "description": "What another skill publishes; `bus:subscribe` names it without `bus.`.",
    });
    json!({ "anyOf": [{ "enum": EVENTS }, heard] })
}

fn list(max: usize, items: Value) -> Value {
    json!({ "type": "array", "maxItems": max, "items": items })
}

fn line(max: usize, what: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": max, "description": what })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_EXPECT=1 cargo test -p loqa-skills` writes it anew.
    #[test]
    fn the_published_schema_is_that_of_the_parser() {
        expect_test::expect_file!["../../../../docs/skill.schema.json"].assert_eq(&format!("{:#}\n", json_schema()));
    }

    #[test]
    fn every_permission_that_can_be_asked_for_is_offered_to_editors() {
        let schema = json_schema();
        let offered = schema["properties"]["permissions"]["items"]["oneOf"].as_array().unwrap();
        let names: Vec<_> = offered.iter().filter_map(|one| one["properties"]["use"]["const"].as_str()).collect();
        for permission in Permission::ALL {
            assert_eq!(names.contains(&permission.as_str()), permission.tier() != Tier::T4, "{permission}");
        }
    }
}
