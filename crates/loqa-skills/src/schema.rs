//! The part of JSON Schema that tool parameters may use, and the check of a call's
//! arguments against it. A manifest that uses any other keyword is refused, so
//! nothing that an author wrote is ignored in silence.
//!
//! Arguments that the schema does not name are always refused.

use serde_json::{Map, Value, json};
use std::fmt;

/// Keywords that a schema may use, for fault texts.
pub const KEYWORDS: &[&str] = &[
    "type",
    "description",
    "properties",
    "required",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "items",
    "maxItems",
];

/// Longest string where the schema is silent, in characters. Chosen: a long spoken sentence.
pub const DEFAULT_MAX_LENGTH: u64 = 2_000;
/// Most items where the schema is silent. Chosen.
pub const DEFAULT_MAX_ITEMS: u64 = 100;

/// A schema: what it accepts, and what it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// For a language model.
    pub description: Option<String>,
    /// What is accepted.
    pub shape: Shape,
}

/// What a schema accepts.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// An object with these properties and no others.
    Object {
        /// Name, schema and whether it is required, in the order of the manifest.
        properties: Vec<Property>,
    },
    /// A list.
    Array {
        /// Schema of each item.
        items: Box<Schema>,
        /// Most items.
        max_items: u64,
    },
    /// A text.
    String {
        /// Fewest characters.
        min_length: u64,
        /// Most characters.
        max_length: u64,
        /// The only values, where given.
        one_of: Option<Vec<String>>,
    },
    /// A whole number.
    Integer {
        /// Smallest.
        minimum: Option<i64>,
        /// Largest.
        maximum: Option<i64>,
    },
    /// A number.
    Number {
        /// Smallest.
        minimum: Option<f64>,
        /// Largest.
        maximum: Option<f64>,
    },
    /// `true` or `false`.
    Boolean,
}

/// One property of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// What it accepts.
    pub schema: Schema,
    /// Whether it must be there.
    pub required: bool,
}

/// Why arguments do not fit. Names the argument and the rule, never the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Path of the argument, `label` or `items[2].name`; empty for the whole.
    pub path: String,
    /// What would fit.
    pub rule: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.rule) } else { write!(f, "`{}` {}", self.path, self.rule) }
    }
}

impl Schema {
    /// Checks the arguments of a call; the first misfit ends the check.
    pub fn check_arguments(&self, arguments: &Map<String, Value>) -> Result<(), Misfit> {
        match &self.shape {
            Shape::Object { properties } => check_object(properties, arguments, ""),
            _ => Err(misfit("", "does not describe an object")),
        }
    }

    /// The schema as JSON, for prompts and grammars.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut json = match &self.shape {
            Shape::Object { properties } => json!({
                "type": "object",
                "properties": properties.iter().map(|p| (p.name.clone(), p.schema.to_json())).collect::<Map<_, _>>(),
                "required": properties.iter().filter(|p| p.required).map(|p| p.name.as_str()).collect::<Vec<_>>(),
                "additionalProperties": false,
            }),
            Shape::Array { items, max_items } => {
                json!({ "type": "array", "items": items.to_json(), "maxItems": max_items })
            }
            Shape::String { min_length, max_length, one_of } => match one_of {
                Some(values) => json!({ "type": "string", "enum": values }),
                None if *min_length > 0 => {
                    json!({ "type": "string", "minLength": min_length, "maxLength": max_length })
                }
                None => json!({ "type": "string", "maxLength": max_length }),
            },
            Shape::Integer { minimum, maximum } => {
                bounds(json!({ "type": "integer" }), minimum.map(Value::from), maximum.map(Value::from))
            }
            Shape::Number { minimum, maximum } => {
                bounds(json!({ "type": "number" }), minimum.map(Value::from), maximum.map(Value::from))
            }
            Shape::Boolean => json!({ "type": "boolean" }),
        };
        if let (Some(description), Some(object)) = (&self.description, json.as_object_mut()) {
            object.insert("description".to_owned(), Value::from(description.as_str()));
        }
        json
    }

    fn check(&self, value: &Value, path: &str) -> Result<(), Misfit> {
        match &self.shape {
            Shape::Object { properties } => match value {
                Value::Object(object) => check_object(properties, object, path),
                _ => Err(misfit(path, "must be an object")),
            },
            Shape::Array { items, max_items } => {
                let Value::Array(values) = value else { return Err(misfit(path, "must be a list")) };
                if values.len() as u64 > *max_items {
                    return Err(misfit(path, format!("must have at most {max_items} items")));
                }
                values.iter().enumerate().try_for_each(|(idx, item)| items.check(item, &format!("{path}[{idx}]")))
            }
            Shape::String { min_length, max_length, one_of } => {
                let Value::String(text) = value else { return Err(misfit(path, "must be a text")) };
                let n_chars = text.chars().count() as u64;
                if let Some(values) = one_of {
                    if !values.contains(text) {
                        return Err(misfit(path, format!("must be one of {}", values.join(", "))));
                    }
                } else if n_chars > *max_length {
                    return Err(misfit(path, format!("must have at most {max_length} characters")));
                } else if n_chars < *min_length {
                    return Err(misfit(path, format!("must have at least {min_length} characters")));
                }
                Ok(())
            }
            Shape::Integer { minimum, maximum } => {
                let Some(number) = value.as_i64() else { return Err(misfit(path, "must be a whole number")) };
                check_bounds(number, *minimum, *maximum, path)
            }
            Shape::Number { minimum, maximum } => {
                let Some(number) = value.as_f64() else { return Err(misfit(path, "must be a number")) };
                check_bounds(number, *minimum, *maximum, path)
            }
            Shape::Boolean => match value {
                Value::Bool(_) => Ok(()),
                _ => Err(misfit(path, "must be true or false")),
            },
        }
    }
}

fn check_object(properties: &[Property], object: &Map<String, Value>, path: &str) -> Result<(), Misfit> {
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    if object.keys().any(|name| !properties.iter().any(|property| property.name == *name)) {
        // The name came with the call and may hold what the user said, so it is not repeated.
        let known = properties.iter().map(|property| property.name.as_str()).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        return Err(misfit(path, format!("an argument is not known, known are: {known}")));
    }
    for property in properties {
        match object.get(&property.name) {
            Some(value) => property.schema.check(value, &join(&property.name))?,
            None if property.required => return Err(misfit(&join(&property.name), "is missing")),
            None => {}
        }
    }
    Ok(())
}

fn check_bounds<T: PartialOrd + fmt::Display>(
    number: T,
    minimum: Option<T>,
    maximum: Option<T>,
    path: &str,
) -> Result<(), Misfit> {
    if let Some(minimum) = minimum.filter(|minimum| number < *minimum) {
        return Err(misfit(path, format!("must be at least {minimum}")));
    }
    if let Some(maximum) = maximum.filter(|maximum| number > *maximum) {
        return Err(misfit(path, format!("must be at most {maximum}")));
    }
    Ok(())
}

fn bounds(mut json: Value, minimum: Option<Value>, maximum: Option<Value>) -> Value {
    if let Some(object) = json.as_object_mut() {
        object.extend(minimum.map(|value| ("minimum".to_owned(), value)));
        object.extend(maximum.map(|value| ("maximum".to_owned(), value)));
    }
    json
}

fn misfit(path: &str, rule: impl Into<String>) -> Misfit {
    Misfit { path: path.to_owned(), rule: rule.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        let plain = |shape| Schema { description: None, shape };
        plain(Shape::Object {
            properties: vec![
                Property {
                    name: "duration_s".into(),
                    schema: plain(Shape::Integer { minimum: Some(1), maximum: Some(60) }),
                    required: true,
                },
                Property {
                    name: "label".into(),
                    schema: plain(Shape::String { min_length: 1, max_length: 4, one_of: None }),
                    required: false,
                },
                Property {
                    name: "rooms".into(),
                    schema: plain(Shape::Array {
                        items: Box::new(plain(Shape::String {
                            min_length: 0,
                            max_length: 10,
                            one_of: Some(vec!["hall".into(), "attic".into()]),
                        })),
                        max_items: 2,
                    }),
                    required: false,
                },
                Property { name: "loud".into(), schema: plain(Shape::Boolean), required: false },
                Property {
                    name: "level".into(),
                    schema: plain(Shape::Number { minimum: Some(0.0), maximum: Some(1.0) }),
                    required: false,
                },
            ],
        })
    }

    fn check(arguments: Value) -> String {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        schema().check_arguments(&arguments).map_or_else(|misfit| misfit.to_string(), |()| "fits".to_owned())
    }

    #[test]
    fn arguments_are_held_to_every_keyword() {
        assert_eq!(
            check(json!({"duration_s": 60, "label": "käse", "rooms": ["hall"], "loud": true, "level": 0.5})),
            "fits"
        );
        assert_eq!(check(json!({"duration_s": 1, "level": 1})), "fits");
        assert_eq!(check(json!({})), "`duration_s` is missing");
        assert_eq!(check(json!({"duration_s": 0})), "`duration_s` must be at least 1");
        assert_eq!(check(json!({"duration_s": 61})), "`duration_s` must be at most 60");
        assert_eq!(check(json!({"duration_s": 1.5})), "`duration_s` must be a whole number");
        assert_eq!(check(json!({"duration_s": "5"})), "`duration_s` must be a whole number");
        assert_eq!(check(json!({"duration_s": u64::MAX})), "`duration_s` must be a whole number");
        assert_eq!(check(json!({"duration_s": 5, "label": "kaese"})), "`label` must have at most 4 characters");
        assert_eq!(check(json!({"duration_s": 5, "label": ""})), "`label` must have at least 1 characters");
        assert_eq!(check(json!({"duration_s": 5, "rooms": ["hall", "roof"]})), "`rooms[1]` must be one of hall, attic");
        assert_eq!(
            check(json!({"duration_s": 5, "rooms": ["hall", "hall", "hall"]})),
            "`rooms` must have at most 2 items"
        );
        assert_eq!(check(json!({"duration_s": 5, "loud": "yes"})), "`loud` must be true or false");
        assert_eq!(check(json!({"duration_s": 5, "level": 1.01})), "`level` must be at most 1");
        assert_eq!(
            check(json!({"duration_s": 5, "my secret": 1})),
            "an argument is not known, known are: duration_s, label, rooms, loud, level"
        );
    }

    #[test]
    fn the_json_form_closes_objects() {
        assert_eq!(
            schema().to_json()["additionalProperties"],
            json!(false),
            "a model must see that other arguments are refused"
        );
        assert_eq!(schema().to_json()["required"], json!(["duration_s"]));
    }
}
