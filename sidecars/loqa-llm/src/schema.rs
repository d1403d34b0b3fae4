//! The part of JSON Schema that Loqa's tools may use, read once into a type that
//! both the grammar and the check of a finished call work from.
//!
//! Deliberately absent: references, unions and conditions. A tool that needs them
//! is refused with the keyword's name, because a grammar that silently ignored
//! one would let calls through that the skill did not ask for.

use regex::Regex;
use serde_json::{Map, Value};

/// Limits against schemas that would blow up the grammar. Chosen: far above any real tool.
const MAX_DEPTH: usize = 8;
const MAX_PROPERTIES: usize = 64;
const MAX_CHOICES: usize = 512;

/// What a value may be.
#[derive(Debug, Clone)]
pub enum Schema {
    /// `true` or `false`.
    Boolean,
    /// The JSON `null`.
    Null,
    /// A whole number in an inclusive range.
    Integer {
        /// Smallest value.
        min: Option<i64>,
        /// Largest value.
        max: Option<i64>,
    },
    /// Any number; the bounds are checked after generation.
    Number {
        /// Smallest value, and whether it is itself excluded.
        min: Option<(f64, bool)>,
        /// Largest value, and whether it is itself excluded.
        max: Option<(f64, bool)>,
    },
    /// Text.
    Text {
        /// Fewest characters.
        min: u64,
        /// Most characters.
        max: Option<u64>,
        /// Checked after generation, not part of the grammar.
        pattern: Option<Regex>,
    },
    /// One of these values.
    Choice(Vec<Value>),
    /// A list.
    Array {
        /// What each element is.
        items: Box<Schema>,
        /// Fewest elements.
        min: u64,
        /// Most elements.
        max: Option<u64>,
    },
    /// Named values; names that are not listed are refused.
    Object(Vec<Property>),
    /// Any of several simple types (`"type": ["string", "null"]`).
    Any(Vec<Schema>),
}

/// One named value of an object.
#[derive(Debug, Clone)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// What it may be.
    pub schema: Schema,
    /// Whether it must be there.
    pub required: bool,
}

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schema of `{at}` {problem}")]
pub struct SchemaError {
    /// Dotted path from the tool's name to the place.
    pub at: String,
    /// What is wrong there, naming the keyword.
    pub problem: String,
}

/// Why a value does not fit. Never holds the value itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{at}` {problem}")]
pub struct Misfit {
    /// Dotted path to the place.
    pub at: String,
    /// What was expected.
    pub problem: String,
}

impl Schema {
    /// Reads the parameters of the tool `tool`; they must be an object.
    pub fn of_tool(tool: &str, parameters: &Value) -> Result<Self, SchemaError> {
        match read(tool, parameters, 0)? {
            schema @ Self::Object(_) => Ok(schema),
            _ => Err(error(tool, "must be of `type` `object`")),
        }
    }

    /// The properties when this is an object, otherwise none.
    #[must_use]
    pub fn properties(&self) -> &[Property] {
        match self {
            Self::Object(properties) => properties,
            _ => &[],
        }
    }

    /// Checks a finished value; `at` names it in the answer.
    pub fn check(&self, at: &str, value: &Value) -> Result<(), Misfit> {
        let misfit = |problem: String| Err(Misfit { at: at.to_owned(), problem });
        match self {
            Self::Boolean if value.is_boolean() => Ok(()),
            Self::Boolean => misfit("must be true or false".into()),
            Self::Null if value.is_null() => Ok(()),
            Self::Null => misfit("must be null".into()),
            Self::Integer { min, max } => {
                let Some(number) = value.as_i64().or_else(|| whole(value)) else {
                    return misfit("must be a whole number".into());
                };
                if min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max) {
                    return misfit(format!("must be {}", range(min.as_ref(), max.as_ref())));
                }
                Ok(())
            }
            Self::Number { min, max } => {
                let Some(number) = value.as_f64() else {
                    return misfit("must be a number".into());
                };
                let low = min.is_some_and(|(min, open)| number < min || (open && number <= min));
                let high = max.is_some_and(|(max, open)| number > max || (open && number >= max));
                if low || high {
                    let (min, max) = (min.map(|m| m.0), max.map(|m| m.0));
                    return misfit(format!("must be {}", range(min.as_ref(), max.as_ref())));
                }
                Ok(())
            }
            Self::Text { min, max, pattern } => {
                let Some(text) = value.as_str() else {
                    return misfit("must be text".into());
                };
                let chars = text.chars().count() as u64;
                if chars < *min || max.is_some_and(|max| chars > max) {
                    return misfit(format!("must be {} characters long", range(Some(min), max.as_ref())));
                }
                if let Some(pattern) = pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
                    return misfit(format!("must match the pattern `{pattern}`"));
                }
                Ok(())
            }
            Self::Choice(values) if values.contains(value) => Ok(()),
            Self::Choice(values) => misfit(format!("must be one of {}", Value::Array(values.clone()))),
            Self::Array { items, min, max } => {
                let Some(values) = value.as_array() else {
                    return misfit("must be a list".into());
                };
                let len = values.len() as u64;
                if len < *min || max.is_some_and(|max| len > max) {
                    return misfit(format!("must have {} elements", range(Some(min), max.as_ref())));
                }
                values.iter().enumerate().try_for_each(|(n, value)| items.check(&format!("{at}[{n}]"), value))
            }
            Self::Object(properties) => {
                let Some(object) = value.as_object() else {
                    return misfit("must be an object".into());
                };
                check_object(at, properties, object)
            }
            Self::Any(schemas) => {
                if schemas.iter().any(|schema| schema.check(at, value).is_ok()) {
                    return Ok(());
                }
                misfit("is of none of the allowed types".into())
            }
        }
    }
}

fn check_object(at: &str, properties: &[Property], object: &Map<String, Value>) -> Result<(), Misfit> {
    for property in properties {
        let path = format!("{at}.{}", property.name);
        match object.get(&property.name) {
            Some(value) => property.schema.check(&path, value)?,
            None if property.required => {
                return Err(Misfit { at: path, problem: "is missing".into() });
            }
            None => {}
        }
    }
    match object.keys().find(|key| !properties.iter().any(|property| property.name == **key)) {
        // The unknown name comes from a model and may quote the user: it is not repeated.
        Some(_) => Err(Misfit { at: at.to_owned(), problem: "has an argument that the tool does not take".into() }),
        None => Ok(()),
    }
}

/// Keywords that say nothing about which values fit, or nothing that a model could break.
const ANNOTATIONS: [&str; 12] = [
    "title",
    "description",
    "default",
    "examples",
    "example",
    "format",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$schema",
    "$id",
    "$comment",
];

fn read(at: &str, schema: &Value, depth: usize) -> Result<Schema, SchemaError> {
    if depth > MAX_DEPTH {
        return Err(error(at, format!("is nested deeper than {MAX_DEPTH} levels")));
    }
    let object = match schema {
        Value::Object(object) => object,
        Value::Null if depth == 0 => return Ok(Schema::Object(Vec::new())),
        _ => return Err(error(at, "must be a JSON object")),
    };
    if let Some(value) = object.get("const") {
        only(at, object, &["const", "type"])?;
        return choice(at, vec![value.clone()]);
    }
    if let Some(values) = object.get("enum") {
        only(at, object, &["enum", "type"])?;
        let values = values.as_array().ok_or_else(|| error(at, "has an `enum` that is not a list"))?;
        return choice(at, values.clone());
    }
    match object.get("type") {
        Some(Value::String(kind)) => read_type(at, kind, object, depth),
        Some(Value::Array(kinds)) => {
            let mut schemas = Vec::new();
            for kind in kinds {
                let kind = kind.as_str().ok_or_else(|| error(at, "has a `type` that is not text"))?;
                // Keywords of one type may stand beside those of another.
                let mut own = object.clone();
                own.retain(|key, _| keywords(kind).contains(&key.as_str()) || ANNOTATIONS.contains(&key.as_str()));
                schemas.push(read_type(at, kind, &own, depth)?);
            }
            match schemas.len() {
                0 => Err(error(at, "has an empty `type`")),
                1 => Ok(schemas.remove(0)),
                _ => Ok(Schema::Any(schemas)),
            }
        }
        Some(_) => Err(error(at, "has a `type` that is neither text nor a list")),
        None if object.contains_key("properties") || (depth == 0 && object.is_empty()) => {
            read_type(at, "object", object, depth)
        }
        None => match object.keys().find(|key| !ANNOTATIONS.contains(&key.as_str())) {
            Some(key) => Err(error(at, format!("uses `{key}` without a `type`, which is not supported"))),
            None => Err(error(at, "has no `type`")),
        },
    }
}

/// The keywords that count for a type.
fn keywords(kind: &str) -> &'static [&'static str] {
    match kind {
        "object" => &["type", "properties", "required", "additionalProperties"],
        "array" => &["type", "items", "minItems", "maxItems"],
        "string" => &["type", "minLength", "maxLength", "pattern"],
        "integer" | "number" => &["type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
        _ => &["type"],
    }
}

fn read_type(at: &str, kind: &str, object: &Map<String, Value>, depth: usize) -> Result<Schema, SchemaError> {
    only(at, object, keywords(kind))?;
    match kind {
        "boolean" => Ok(Schema::Boolean),
        "null" => Ok(Schema::Null),
        "integer" => read_integer(at, object),
        "number" => {
            let bound = |closed: &str, open: &str| -> Result<Option<(f64, bool)>, SchemaError> {
                match (number(at, object, closed)?, number(at, object, open)?) {
                    (_, Some(bound)) => Ok(Some((bound, true))),
                    (closed, None) => Ok(closed.map(|bound| (bound, false))),
                }
            };
            Ok(Schema::Number {
                min: bound("minimum", "exclusiveMinimum")?,
                max: bound("maximum", "exclusiveMaximum")?,
            })
        }
        "string" => {
            let (min, max) = lengths(at, object, "minLength", "maxLength")?;
            let pattern = match object.get("pattern") {
                None => None,
                Some(Value::String(pattern)) => Some(
                    Regex::new(pattern)
                        .map_err(|_| error(at, format!("has a `pattern` that cannot be read: `{pattern}`")))?,
                ),
                Some(_) => return Err(error(at, "has a `pattern` that is not text")),
            };
            Ok(Schema::Text { min, max, pattern })
        }
        "array" => {
            let items = object.get("items").ok_or_else(|| error(at, "is an array without `items`"))?;
            let (min, max) = lengths(at, object, "minItems", "maxItems")?;
            Ok(Schema::Array { items: Box::new(read(&format!("{at}[]"), items, depth + 1)?), min, max })
        }
        "object" => read_object(at, object, depth),
        other => Err(error(at, format!("has the unknown `type` `{other}`"))),
    }
}

fn read_integer(at: &str, object: &Map<String, Value>) -> Result<Schema, SchemaError> {
    let min = [
        number(at, object, "minimum")?.map(f64::ceil),
        number(at, object, "exclusiveMinimum")?.map(|n| (n + 1.0).floor()),
    ];
    let max = [
        number(at, object, "maximum")?.map(f64::floor),
        number(at, object, "exclusiveMaximum")?.map(|n| (n - 1.0).ceil()),
    ];
    // The casts saturate, and a bound beyond i64 bounds nothing.
    let (min, max) = (
        min.into_iter().flatten().reduce(f64::max).map(|n| n as i64),
        max.into_iter().flatten().reduce(f64::min).map(|n| n as i64),
    );
    if min.zip(max).is_some_and(|(min, max)| min > max) {
        return Err(error(at, "has a `minimum` above its `maximum`"));
    }
    Ok(Schema::Integer { min, max })
}

fn read_object(at: &str, object: &Map<String, Value>, depth: usize) -> Result<Schema, SchemaError> {
    if let Some(Value::Object(_)) = object.get("additionalProperties") {
        return Err(error(at, "uses `additionalProperties` with a schema, which is not supported"));
    }
    let empty = Map::new();
    let listed = match object.get("properties") {
        Some(Value::Object(listed)) => listed,
        Some(_) => return Err(error(at, "has `properties` that are not an object")),
        None if depth == 0 => &empty,
        None => return Err(error(at, "is an object without `properties`")),
    };
    if listed.len() > MAX_PROPERTIES {
        return Err(error(at, format!("has more than {MAX_PROPERTIES} `properties`")));
    }
    let required: Vec<&str> = match object.get("required") {
        None => Vec::new(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(_) => return Err(error(at, "has a `required` that is not a list")),
    };
    if let Some(name) = required.iter().find(|name| !listed.contains_key(**name)) {
        return Err(error(at, format!("lists `{name}` under `required` but not under `properties`")));
    }
    let mut properties = Vec::with_capacity(listed.len());
    for (name, schema) in listed {
        properties.push(Property {
            schema: read(&format!("{at}.{name}"), schema, depth + 1)?,
            required: required.contains(&name.as_str()),
            name: name.clone(),
        });
    }
    Ok(Schema::Object(properties))
}

fn choice(at: &str, values: Vec<Value>) -> Result<Schema, SchemaError> {
    if values.is_empty() || values.len() > MAX_CHOICES {
        return Err(error(at, format!("has an `enum` with {} values, 1 to {MAX_CHOICES} are allowed", values.len())));
    }
    if values.iter().any(|value| value.is_array() || value.is_object()) {
        return Err(error(at, "has an `enum` of lists or objects, which is not supported"));
    }
    Ok(Schema::Choice(values))
}

/// Refuses any keyword that is neither listed nor a mere annotation.
fn only(at: &str, object: &Map<String, Value>, allowed: &[&str]) -> Result<(), SchemaError> {
    match object.keys().find(|key| !allowed.contains(&key.as_str()) && !ANNOTATIONS.contains(&key.as_str())) {
        Some(key) => Err(error(at, format!("uses `{key}`, which is not supported here"))),
        None => Ok(()),
    }
}

fn number(at: &str, object: &Map<String, Value>, key: &str) -> Result<Option<f64>, SchemaError> {
    match object.get(key) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| error(at, format!("has a `{key}` that is not a number"))),
    }
}

fn lengths(at: &str, object: &Map<String, Value>, min: &str, max: &str) -> Result<(u64, Option<u64>), SchemaError> {
    let read = |key: &str| match object.get(key) {
        None => Ok(None),
        Some(value) => {
            value.as_u64().map(Some).ok_or_else(|| error(at, format!("has a `{key}` that is not a whole number")))
        }
    };
    let (low, high) = (read(min)?.unwrap_or(0), read(max)?);
    if high.is_some_and(|high| low > high) {
        return Err(error(at, format!("has a `{min}` above its `{max}`")));
    }
    Ok((low, high))
}

/// `5.0` is a whole number to JSON Schema.
fn whole(value: &Value) -> Option<i64> {
    let number = value.as_f64()?;
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

fn range<T: std::fmt::Display>(min: Option<&T>, max: Option<&T>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => "in range".into(),
    }
}

fn error(at: &str, problem: impl Into<String>) -> SchemaError {
    SchemaError { at: at.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(properties: Value) -> Value {
        json!({"type": "object", "properties": properties, "required": []})
    }

    #[test]
    fn unsupported_keywords_are_named_with_their_place() {
        for (schema, expected) in [
            (json!({"type": "string"}), "the schema of `t` must be of `type` `object`"),
            (json!([]), "the schema of `t` must be a JSON object"),
            (
                object(json!({"a": {"$ref": "#/x"}})),
                "the schema of `t.a` uses `$ref` without a `type`, which is not supported",
            ),
            (
                object(json!({"a": {"oneOf": []}})),
                "the schema of `t.a` uses `oneOf` without a `type`, which is not supported",
            ),
            (
                object(json!({"a": {"type": "string", "allOf": []}})),
                "the schema of `t.a` uses `allOf`, which is not supported here",
            ),
            (
                object(json!({"a": {"type": "integer", "multipleOf": 2}})),
                "the schema of `t.a` uses `multipleOf`, which is not supported here",
            ),
            (object(json!({"a": {"type": "text"}})), "the schema of `t.a` has the unknown `type` `text`"),
            (object(json!({"a": {"type": "array"}})), "the schema of `t.a` is an array without `items`"),
            (object(json!({"a": {"type": "object"}})), "the schema of `t.a` is an object without `properties`"),
            (
                object(json!({"a": {"type": "string", "pattern": "("}})),
                "the schema of `t.a` has a `pattern` that cannot be read: `(`",
            ),
            (
                object(json!({"a": {"type": "integer", "minimum": 5, "maximum": 4}})),
                "the schema of `t.a` has a `minimum` above its `maximum`",
            ),
            (
                object(json!({"a": {"enum": []}})),
                "the schema of `t.a` has an `enum` with 0 values, 1 to 512 are allowed",
            ),
            (
                json!({"type": "object", "properties": {}, "required": ["b"]}),
                "the schema of `t` lists `b` under `required` but not under `properties`",
            ),
            (
                json!({"type": "object", "patternProperties": {}}),
                "the schema of `t` uses `patternProperties`, which is not supported here",
            ),
        ] {
            let error = Schema::of_tool("t", &schema).expect_err("unsupported");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn values_are_held_to_every_supported_keyword() {
        let schema = Schema::of_tool(
            "t",
            &json!({
                "type": "object", "additionalProperties": false, "required": ["n"],
                "properties": {
                    "n": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10, "description": "x"},
                    "f": {"type": "number", "exclusiveMinimum": 0},
                    "s": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-zä]+$"},
                    "e": {"enum": ["on", "off"]},
                    "b": {"type": "boolean"},
                    "l": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
                    "o": {"type": ["string", "null"], "maxLength": 1},
                },
            }),
        )
        .expect("supported");
        for good in [
            json!({"n": 1}),
            json!({"n": 9.0}),
            json!({"n": 9, "f": 0.1, "s": "äbc", "e": "on", "b": true, "l": ["x"], "o": null}),
            json!({"n": 9, "o": "x"}),
        ] {
            schema.check("t", &good).unwrap_or_else(|e| panic!("{good}: {e}"));
        }
        for (bad, expected) in [
            (json!({}), "`t.n` is missing"),
            (json!({"n": 10}), "`t.n` must be 1 to 9"),
            (json!({"n": 1.5}), "`t.n` must be a whole number"),
            (json!({"n": "1"}), "`t.n` must be a whole number"),
            (json!({"n": 1, "f": 0}), "`t.f` must be at least 0"),
            (json!({"n": 1, "s": "a"}), "`t.s` must be 2 to 4 characters long"),
            (json!({"n": 1, "s": "a1"}), "`t.s` must match the pattern `^[a-zä]+$`"),
            (json!({"n": 1, "e": "dim"}), "`t.e` must be one of [\"on\",\"off\"]"),
            (json!({"n": 1, "b": 0}), "`t.b` must be true or false"),
            (json!({"n": 1, "l": []}), "`t.l` must have 1 to 2 elements"),
            (json!({"n": 1, "l": [1]}), "`t.l[0]` must be text"),
            (json!({"n": 1, "o": "xx"}), "`t.o` is of none of the allowed types"),
            (json!({"n": 1, "my secret": 1}), "`t` has an argument that the tool does not take"),
        ] {
            assert_eq!(schema.check("t", &bad).expect_err("must not fit").to_string(), expected);
        }
    }

    #[test]
    fn a_tool_without_parameters_is_an_empty_object() {
        for empty in [json!({}), json!({"type": "object"}), Value::Null] {
            assert!(Schema::of_tool("t", &empty).expect("empty is fine").properties().is_empty());
        }
    }
}
