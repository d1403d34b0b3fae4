//! A tool's `parameters`: YAML to [`Schema`], refusing every keyword that the host does not check.

use super::fault::{Faults, Rule};
use super::value::{Mapping, flag, integer, line, list, printable, text};
use super::yaml::{Node, Value};
use crate::schema::{DEFAULT_MAX_ITEMS, DEFAULT_MAX_LENGTH, KEYWORDS, Property, Schema, Shape};

/// Reads the parameters of one tool; they describe an object.
pub(super) fn read(node: &Node, faults: &mut Faults) -> Option<Schema> {
    let schema = read_schema(node, faults)?;
    if !matches!(schema.shape, Shape::Object { .. }) {
        faults.add(node.place, Rule::Type, "parameters do not describe an object", "write `type: object`");
        return None;
    }
    Some(schema)
}

fn read_schema(node: &Node, faults: &mut Faults) -> Option<Schema> {
    let map = Mapping::of(node, "a schema", faults)?;
    let type_node = map.required("type", faults)?;
    let type_name = text(type_node, "type", faults)?;
    let own: &[&str] = match type_name {
        "object" => &["properties", "required", "additionalProperties"],
        "array" => &["items", "maxItems"],
        "string" => &["enum", "minLength", "maxLength"],
        "integer" | "number" => &["minimum", "maximum"],
        "boolean" => &[],
        other => {
            faults.add(
                type_node.place,
                Rule::Value,
                format!("type `{}` is not known", printable(other)),
                "use object, array, string, integer, number or boolean",
            );
            return None;
        }
    };
    for (key, _) in map.entries {
        if !["type", "description"].contains(&key.name.as_str()) && !own.contains(&key.name.as_str()) {
            let remedy = if KEYWORDS.contains(&key.name.as_str()) {
                format!(
                    "remove it, `{type_name}` takes: {}",
                    ["type", "description"].iter().chain(own).copied().collect::<Vec<_>>().join(", ")
                )
            } else {
                format!("the host checks only: {}", KEYWORDS.join(", "))
            };
            faults.add(
                key.place,
                Rule::SchemaKeyword,
                format!("`{}` cannot be used for type `{type_name}`", printable(&key.name)),
                remedy,
            );
        }
    }
    let description = map.optional("description").and_then(|node| line(node, "description", 400, faults));
    let shape = match type_name {
        "object" => read_object(&map, faults)?,
        "array" => Shape::Array {
            items: Box::new(read_schema(map.required("items", faults)?, faults)?),
            max_items: size(&map, "maxItems", DEFAULT_MAX_ITEMS, faults),
        },
        "string" => Shape::String {
            min_length: size(&map, "minLength", 0, faults),
            max_length: size(&map, "maxLength", DEFAULT_MAX_LENGTH, faults),
            one_of: map.optional("enum").map(|node| {
                let values = list(node, "enum", 100, faults)
                    .iter()
                    .filter_map(|item| line(item, "enum", 100, faults))
                    .collect::<Vec<_>>();
                if values.is_empty() {
                    faults.add(node.place, Rule::Value, "`enum` is empty", "list the allowed values");
                }
                values
            }),
        },
        "integer" => Shape::Integer {
            minimum: map.optional("minimum").and_then(|node| integer(node, "minimum", faults)),
            maximum: map.optional("maximum").and_then(|node| integer(node, "maximum", faults)),
        },
        "number" => Shape::Number {
            minimum: map.optional("minimum").and_then(|node| number(node, "minimum", faults)),
            maximum: map.optional("maximum").and_then(|node| number(node, "maximum", faults)),
        },
        _ => Shape::Boolean,
    };
    check_order(node, &shape, faults);
    Some(Schema { description, shape })
}

fn read_object(map: &Mapping<'_>, faults: &mut Faults) -> Option<Shape> {
    if let Some(node) = map.optional("additionalProperties")
        && flag(node, "additionalProperties", faults) == Some(true)
    {
        faults.add(
            node.place,
            Rule::SchemaKeyword,
            "other arguments are never accepted",
            "remove `additionalProperties` and name every argument",
        );
    }
    let mut properties: Vec<Property> = Vec::new();
    if let Some(node) = map.optional("properties") {
        let known = Mapping::of(node, "properties", faults)?;
        for (key, node) in known.entries {
            let shaped = (1..=40).contains(&key.name.len())
                && key.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
                && key.name.as_bytes()[0].is_ascii_lowercase();
            if !shaped {
                faults.add(
                    key.place,
                    Rule::Name,
                    format!("`{}` is not a parameter name", printable(&key.name)),
                    "use up to 40 of a-z, 0-9 and _, beginning with a letter",
                );
            }
            if let Some(schema) = read_schema(node, faults) {
                properties.push(Property { name: key.name.clone(), schema, required: false });
            }
        }
    }
    if let Some(node) = map.optional("required") {
        for item in list(node, "required", 64, faults) {
            let Some(name) = text(item, "required", faults) else { continue };
            match properties.iter_mut().find(|property| property.name == name) {
                Some(property) => property.required = true,
                None => faults.add(
                    item.place,
                    Rule::Reference,
                    format!("no valid property `{}` is declared", printable(name)),
                    "name a property from `properties`",
                ),
            }
        }
    }
    Some(Shape::Object { properties })
}

fn size(map: &Mapping<'_>, key: &str, default: u64, faults: &mut Faults) -> u64 {
    let Some(node) = map.optional(key) else { return default };
    let Some(number) = integer(node, key, faults) else { return default };
    u64::try_from(number).unwrap_or_else(|_| {
        faults.add(node.place, Rule::Value, format!("`{key}` is negative"), "write 0 or more");
        default
    })
}

fn number(node: &Node, what: &str, faults: &mut Faults) -> Option<f64> {
    let number = match &node.value {
        Value::Scalar { text, plain: true } => text.parse::<f64>().ok().filter(|number| number.is_finite()),
        Value::Scalar { .. } | Value::List(_) | Value::Map(_) => None,
    };
    if number.is_none() {
        faults.add(node.place, Rule::Type, format!("`{what}` is not a number"), "write a number without quotes");
    }
    number
}

fn check_order(node: &Node, shape: &Shape, faults: &mut Faults) {
    let empty = match shape {
        Shape::Integer { minimum: Some(minimum), maximum: Some(maximum) } => minimum > maximum,
        Shape::Number { minimum: Some(minimum), maximum: Some(maximum) } => minimum > maximum,
        Shape::String { min_length, max_length, .. } => min_length > max_length,
        Shape::Integer { .. } | Shape::Number { .. } | Shape::Object { .. } | Shape::Array { .. } | Shape::Boolean => {
            false
        }
    };
    if empty {
        faults.add(node.place, Rule::Value, "nothing fits: the lower bound is above the upper one", "swap the bounds");
    }
}
