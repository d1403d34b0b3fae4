//! Writes grammars in llama.cpp's GBNF from [`Schema`]s, so that a model cannot
//! name a tool that is not offered or leave out a required argument.
//!
//! What a grammar cannot say briefly (patterns, bounds of fractions, very long
//! limits) is left to [`Schema::check`] on the finished call.

use crate::schema::{Property, Schema};
use std::collections::HashSet;
use std::fmt::Write as _;

/// llama.cpp refuses grammars whose repetitions multiply to more than 2,000 rules;
/// longer limits are checked afterwards.
const MAX_REPETITION: u64 = 256;
/// Up to this many arguments any order is allowed: 2^5 small rules. Models often
/// name arguments in another order than the schema, and being steered away from
/// the habitual order spoils both the answer and its confidence.
const MAX_FREE_ORDER: usize = 5;
/// Digits of an unbounded whole number: the largest count that fits into 64 bits and doubles.
const MAX_DIGITS: usize = 15;

/// Collects rules; each name occurs once.
#[derive(Debug, Default)]
pub struct Grammar {
    text: String,
    names: usize,
    defined: HashSet<String>,
    has_text: bool,
    has_space: bool,
}

impl Grammar {
    /// An empty grammar; add a rule named `root`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `name ::= body`.
    pub fn rule(&mut self, name: &str, body: &str) {
        let _ = writeln!(self.text, "{name} ::= {body}");
    }

    /// Adds `name ::= body` unless the name is taken.
    pub fn define(&mut self, name: &str, body: &str) {
        if self.defined.insert(name.to_owned()) {
            self.rule(name, body);
        }
    }

    /// The finished grammar.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }

    /// Optional white space, as models put it between the parts of JSON.
    pub fn space(&mut self) -> &'static str {
        if !self.has_space {
            self.has_space = true;
            self.rule("ws", r#"(" " | "\n" " "{0,8})?"#);
        }
        "ws"
    }

    /// Adds the rules for `schema` and returns the expression that refers to them.
    pub fn value(&mut self, schema: &Schema) -> String {
        match schema {
            Schema::Boolean => r#"("true" | "false")"#.into(),
            Schema::Null => r#""null""#.into(),
            Schema::Integer { min, max } => integer(*min, *max),
            Schema::Number { min, .. } => {
                let sign = if min.is_some_and(|(min, _)| min >= 0.0) { "" } else { r#""-"? "# };
                format!(r#"({sign}("0" | [1-9] [0-9]{{0,14}}) ("." [0-9]{{1,6}})?)"#)
            }
            Schema::Text { min, max, .. } => self.string(*min, *max),
            Schema::Choice(values) => {
                let values: Vec<String> = values.iter().map(|value| literal(&value.to_string())).collect();
                format!("({})", values.join(" | "))
            }
            Schema::Array { items, min, max } => {
                let item = self.value(items);
                let space = self.space();
                let name = self.fresh("list");
                let more = |from: u64| match max {
                    Some(max) if *max <= MAX_REPETITION => format!("{{{from},{}}}", max - 1),
                    _ => format!("{{{},}}", from.min(MAX_REPETITION)),
                };
                let filled = format!(r#"{item} ({space} "," {space} {item}){}"#, more(min.saturating_sub(1)));
                let inner = match (min, max) {
                    (_, Some(0)) => String::new(),
                    (0, _) => format!("({filled})?"),
                    _ => filled,
                };
                self.rule(&name, &format!(r#""[" {space} {inner} {space} "]""#));
                name
            }
            Schema::Object(properties) => self.object(properties),
            Schema::Any(schemas) => {
                let schemas: Vec<String> = schemas.iter().map(|schema| self.value(schema)).collect();
                format!("({})", schemas.join(" | "))
            }
        }
    }

    /// A JSON object with these properties.
    fn object(&mut self, properties: &[Property]) -> String {
        let space = self.space();
        let prefix = self.fresh("obj");
        let members: Vec<String> = properties
            .iter()
            .map(|property| {
                let value = self.value(&property.schema);
                let key = literal(&serde_json::Value::from(property.name.as_str()).to_string());
                format!(r#"{key} {space} ":" {space} {value}"#)
            })
            .collect();
        if properties.len() <= MAX_FREE_ORDER {
            self.members_in_any_order(&prefix, properties, &members);
        } else {
            self.members_in_order(&prefix, properties, &members);
        }
        self.rule(&prefix, &format!(r#""{{" {space} {prefix}-0"#));
        prefix
    }

    /// One rule per set of members that were already written.
    fn members_in_any_order(&mut self, prefix: &str, properties: &[Property], members: &[String]) {
        let space = self.space();
        for written in 0..1_usize << properties.len() {
            let mut ways = Vec::new();
            for (n, member) in members.iter().enumerate() {
                let bit = 1 << n;
                if written & bit == 0 {
                    let comma = if written == 0 { String::new() } else { format!(r#"{space} "," {space} "#) };
                    ways.push(format!("{comma}{member} {prefix}-{}", written | bit));
                }
            }
            if properties.iter().enumerate().all(|(n, property)| !property.required || written & (1 << n) != 0) {
                ways.push(format!(r#"{space} "}}""#));
            }
            self.rule(&format!("{prefix}-{written}"), &ways.join(" | "));
        }
    }

    /// Members in the schema's order, optional ones may be left out. Rule `n` is what
    /// may follow when all before `n` are decided and none was written, `nc` when some were.
    fn members_in_order(&mut self, prefix: &str, properties: &[Property], members: &[String]) {
        let space = self.space();
        for (suffix, comma) in [("", String::new()), ("c", format!(r#"{space} "," {space} "#))] {
            for (n, member) in members.iter().enumerate() {
                let mut body = format!("{comma}{member} {prefix}-{}c", n + 1);
                if !properties[n].required {
                    let _ = write!(body, " | {prefix}-{}{suffix}", n + 1);
                }
                self.rule(&format!("{prefix}-{n}{suffix}"), &body);
            }
            self.rule(&format!("{prefix}-{}{suffix}", members.len()), &format!(r#"{space} "}}""#));
        }
    }

    fn string(&mut self, min: u64, max: Option<u64>) -> String {
        if !self.has_text {
            self.has_text = true;
            // No `\u` escapes: models write UTF-8, and half a surrogate pair is not JSON.
            self.rule("char", r#"[^"\\\x7F\x00-\x1F] | "\\" ["\\/bfnrt]"#);
        }
        let min = min.min(MAX_REPETITION);
        match max {
            Some(max) if max <= MAX_REPETITION => format!(r#""\"" char{{{min},{max}}} "\"""#),
            _ => format!(r#""\"" char{{{min},}} "\"""#),
        }
    }

    fn fresh(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}{}", self.names)
    }
}

/// `text` as a GBNF terminal.
#[must_use]
pub fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\x{:02X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Whole numbers from `min` to `max`, both included, without leading zeros.
#[must_use]
pub fn integer(min: Option<i64>, max: Option<i64>) -> String {
    let limit = 10_u64.pow(15) - 1;
    let clamp = |n: i64| n.unsigned_abs().min(limit);
    let min = min.map_or((true, limit), |n| (n < 0, clamp(n)));
    let max = max.map_or((false, limit), |n| (n < 0, clamp(n)));
    let mut ways = Vec::new();
    if min.0 {
        let smallest = if max.0 { max.1 } else { 1 };
        ways.push(format!(r#""-" ({})"#, magnitudes(smallest, min.1)));
    }
    if !max.0 {
        ways.push(magnitudes(if min.0 { 0 } else { min.1 }, max.1));
    }
    format!("({})", ways.join(" | "))
}

/// Digit patterns for `low..=high`.
fn magnitudes(low: u64, high: u64) -> String {
    let mut ways = Vec::new();
    for digits in 1..=MAX_DIGITS {
        let first = if digits == 1 { 0 } else { 10_u64.pow(u32::try_from(digits - 1).unwrap_or(0)) };
        let last = 10_u64.pow(u32::try_from(digits).unwrap_or(0)) - 1;
        let (from, to) = (low.max(first), high.min(last));
        if from <= to {
            same_length(from.to_string().as_bytes(), to.to_string().as_bytes(), String::new(), &mut ways);
        }
    }
    ways.join(" | ")
}

/// Appends patterns for all digit strings between two of the same length.
fn same_length(low: &[u8], high: &[u8], prefix: String, ways: &mut Vec<String>) {
    let digit = |d: u8| char::from(d);
    let class = |a: u8, b: u8| {
        if a == b { format!("[{}]", digit(a)) } else { format!("[{}-{}]", digit(a), digit(b)) }
    };
    let join = |prefix: &str, part: &str| {
        if prefix.is_empty() { part.to_owned() } else { format!("{prefix} {part}") }
    };
    let (Some((&l, low_rest)), Some((&h, high_rest))) = (low.split_first(), high.split_first()) else {
        ways.push(prefix);
        return;
    };
    let (zeros, nines) = (low_rest.iter().all(|d| *d == b'0'), high_rest.iter().all(|d| *d == b'9'));
    let (mut from, mut to) = (l, h);
    if l == h {
        if !(zeros && nines) {
            return same_length(low_rest, high_rest, join(&prefix, &class(l, l)), ways);
        }
    } else {
        if !zeros {
            same_length(low_rest, &vec![b'9'; low_rest.len()], join(&prefix, &class(l, l)), ways);
            from += 1;
        }
        if !nines {
            same_length(&vec![b'0'; high_rest.len()], high_rest, join(&prefix, &class(h, h)), ways);
            to -= 1;
        }
    }
    if from <= to {
        let tail = match low_rest.len() {
            0 => String::new(),
            n => format!(" [0-9]{{{n}}}"),
        };
        ways.push(format!("{}{tail}", join(&prefix, &class(from, to))));
    }
}
