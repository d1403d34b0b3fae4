//! The dialect of the reflex model: a few megabytes that were trained to turn one
//! command into one tool call within 20 ms.
//!
//! Prompt `<s><|tools|> a b c<|user|> set a timer for five minutes<|out|>`, answer
//! `{"tool":" timer.start","args":{"seconds":300}}` or `{"say":" Hello!"}`. Every
//! string carries one leading space, so that copied words are the same tokens as in
//! the prompt. `reflex.toml` beside the model file says which trained tool stands for
//! which tool of an installed skill, and what the model may say.
//!
//! The grammar is made for the command: a text is words of the command one after
//! another, a number is one that was said, a duration or time is a part of the command
//! that means one. The model chooses; it cannot misspell, miscount or invent. A tool
//! whose required argument nothing in the command can fill is not there to be chosen.
//!
//! Deliberately absent: history and system messages, which the model never saw.

use crate::decode::{Decoder, failure};
use crate::gbnf::{Grammar, literal};
use crate::schema::{Misfit, Schema};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use loqa_protocol::llm::{LlmRequest, Role};
use loqa_protocol::tool::ToolEffect;
use loqa_protocol::{ErrorCode, Failure, ToolCall, ToolSpec};
use loqa_turn::intent::{Spoken, SpokenKind, spoken};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The map's file name, in the folder of the model file.
pub const MAP_FILE: &str = "reflex.toml";
/// Version of its format.
const MAP_VERSION: u32 = 1;
/// Markers of the prompt; a model that has all three as single tokens speaks this dialect.
const MARKERS: [&str; 3] = ["<|tools|>", "<|user|>", "<|out|>"];
/// Longest command in bytes. The context holds 512 tokens, and no command is this long.
const MAX_COMMAND: usize = 2_000;

/// What a hub does not ask back about: its default for `llm.min_tool_confidence`.
const SURE: f32 = 0.7;
/// Words of a command that may be copied; later ones are not. Chosen: twice the longest command of the training text.
const MAX_COPIED_WORDS: usize = 60;

/// `reflex.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReflexMap {
    version: u32,
    /// Lowest token probability of a call that deserves the confidence [`SURE`], by what
    /// was measured on development sets.
    sure_from: f32,
    replies: Vec<String>,
    not_installed: String,
    abilities: String,
    no_abilities: String,
    skills: BTreeMap<String, SkillWords>,
    tool: Vec<TrainedTool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SkillWords {
    name: String,
    ability: Option<String>,
    #[serde(default)]
    questions: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrainedTool {
    name: String,
    skill: String,
    stands_for: Vec<String>,
    #[serde(default)]
    arguments: Vec<TrainedArgument>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrainedArgument {
    name: String,
    kind: Kind,
    #[serde(default)]
    optional: bool,
    becomes: Vec<String>,
    /// Values that the model was taught to give without hearing them: "brighter" is 20.
    #[serde(default)]
    also: Vec<Value>,
    #[serde(default)]
    values: BTreeMap<String, Value>,
}

impl TrainedArgument {
    /// What copied words become in the call of a tool.
    fn value(&self, text: &str) -> Option<Value> {
        if let Some(value) = self.values.get(text) {
            return Some(value.clone());
        }
        let kind = match self.kind {
            Kind::Named(NamedKind::Duration) => SpokenKind::Duration,
            Kind::Named(NamedKind::Time) => SpokenKind::Time,
            Kind::Named(_) | Kind::Words(_) => return Some(Value::from(text)),
        };
        // Words left over were not understood: better no time than a wrong one.
        spoken(text, kind).into_iter().find(|found| found.at == (0..text.len())).map(|found| found.value)
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Kind {
    Named(NamedKind),
    Words(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum NamedKind {
    Text,
    Int,
    Number,
    /// A span of time in words, copied from the command; becomes seconds.
    Duration,
    /// A time of day in words, copied from the command; becomes `06:30`.
    Time,
}

impl ReflexMap {
    /// Reads the map that lies beside `model`.
    pub fn beside(model: &Path) -> Result<Self, Failure> {
        let path = model.with_file_name(MAP_FILE);
        let invalid = |text: String| failure(ErrorCode::ModelInvalid, text);
        let text = std::fs::read_to_string(&path)
            .map_err(|e| invalid(format!("the reflex model needs `{}` beside it: {e}", path.display())))?;
        Self::parse(&text).map_err(|e| invalid(format!("read `{}`: {e}", path.display())))
    }

    /// Reads the text of a map.
    pub fn parse(text: &str) -> Result<Self, String> {
        let map: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        if !(0.0 < map.sure_from && map.sure_from < 1.0) {
            return Err(format!("`sure_from` is {}, it lies between 0 and 1", map.sure_from));
        }
        if map.version != MAP_VERSION {
            return Err(format!("its version is {}, this program reads {MAP_VERSION}", map.version));
        }
        for (n, tool) in map.tool.iter().enumerate() {
            if map.tool[..n].iter().any(|other| other.name == tool.name) {
                return Err(format!("the tool `{}` occurs twice", tool.name));
            }
        }
        Ok(map)
    }

    /// The confidence to announce for a call whose unlikeliest token had `probability`:
    /// 0.7, the hub's own gate, stands for `sure_from`, and both sides of it are
    /// stretched evenly.
    #[must_use]
    pub fn confidence(&self, probability: f32) -> f32 {
        let from = self.sure_from;
        if probability < from {
            probability / from * SURE
        } else {
            SURE + (probability - from) / (1.0 - from).max(f32::EPSILON) * (1.0 - SURE)
        }
    }

    /// Every trained tool under its own name, with the arguments it was trained on: for
    /// measurements of the model alone.
    #[must_use]
    pub fn as_offered(&self) -> Vec<ToolSpec> {
        let tool = |trained: &TrainedTool| {
            let mut properties = Map::new();
            let mut required = Vec::new();
            for argument in &trained.arguments {
                let name = argument.becomes.first().unwrap_or(&argument.name);
                let kind = match argument.kind {
                    Kind::Named(NamedKind::Int | NamedKind::Duration) => "integer",
                    Kind::Named(NamedKind::Number) => "number",
                    Kind::Named(NamedKind::Text | NamedKind::Time) | Kind::Words(_) => "string",
                };
                properties.insert(name.clone(), json!({"type": kind}));
                if !argument.optional {
                    required.push(name.clone());
                }
            }
            ToolSpec {
                name: trained.stands_for.first().unwrap_or(&trained.name).clone(),
                description: String::new(),
                parameters: json!({"type": "object", "properties": properties, "required": required}),
                effect: ToolEffect::Safe,
            }
        };
        self.tool.iter().map(tool).collect()
    }

    /// The same under the names that the model itself uses.
    #[must_use]
    pub fn as_trained(&self) -> Vec<ToolSpec> {
        let mut tools = self.as_offered();
        for (tool, trained) in tools.iter_mut().zip(&self.tool) {
            tool.name.clone_from(&trained.name);
        }
        tools
    }

    /// The trained tools that stand for something among `tools`.
    #[must_use]
    pub fn matched<'a>(&'a self, tools: &'a [(&'a ToolSpec, Schema)]) -> Offer<'a> {
        let matched = self
            .tool
            .iter()
            .filter_map(|trained| {
                let (spec, schema) = trained
                    .stands_for
                    .iter()
                    .find_map(|name| tools.iter().find(|(spec, _)| spec.name == *name))
                    .map(|(spec, schema)| (*spec, schema))?;
                let arguments: Vec<Matched<'_>> = trained
                    .arguments
                    .iter()
                    .filter_map(|argument| {
                        let offered = argument
                            .becomes
                            .iter()
                            .find_map(|name| schema.properties().iter().find(|property| property.name == *name));
                        match offered {
                            Some(offered) => Some(Some(Matched {
                                argument,
                                offered: &offered.name,
                                required: offered.required || !argument.optional,
                            })),
                            // What the tool cannot take is not generated.
                            None if argument.optional => None,
                            None => Some(None),
                        }
                    })
                    .collect::<Option<_>>()?;
                let covered = schema
                    .properties()
                    .iter()
                    .all(|property| !property.required || arguments.iter().any(|m| m.offered == property.name));
                covered.then_some(MatchedTool { trained, spec, schema, arguments })
            })
            .collect();
        Offer { map: self, tools: matched }
    }
}

/// What the model may do in one request.
pub struct Offer<'a> {
    map: &'a ReflexMap,
    tools: Vec<MatchedTool<'a>>,
}

struct MatchedTool<'a> {
    trained: &'a TrainedTool,
    spec: &'a ToolSpec,
    schema: &'a Schema,
    arguments: Vec<Matched<'a>>,
}

struct Matched<'a> {
    argument: &'a TrainedArgument,
    offered: &'a str,
    required: bool,
}

impl Offer<'_> {
    /// Names as the model knows them, in the order of the map.
    pub fn trained_names(&self) -> impl Iterator<Item = &str> {
        self.tools.iter().map(|tool| tool.trained.name.as_str())
    }

    fn offers(&self, skill: &str) -> bool {
        self.tools.iter().any(|tool| tool.trained.skill == skill)
    }

    /// Holds the answer to `command` ([`normalise`]d) to a call of an offered tool with
    /// what was said, or to a reply that is true.
    #[must_use]
    pub fn grammar(&self, command: &str) -> String {
        let mut grammar = Grammar::new();
        let heard = Heard::new(&mut grammar, command);
        let mut calls = Vec::new();
        for (n, tool) in self.tools.iter().enumerate() {
            let values: Vec<Option<String>> =
                tool.arguments.iter().map(|matched| heard.values(matched.argument)).collect();
            if tool.arguments.iter().zip(&values).any(|(matched, value)| matched.required && value.is_none()) {
                continue;
            }
            let fillable: Vec<(&Matched<'_>, String)> =
                tool.arguments.iter().zip(values).filter_map(|(matched, value)| Some((matched, value?))).collect();
            let first = arguments(&mut grammar, &format!("t{n}"), &fillable, 0, false);
            calls.push(format!("{} {first}", literal(&format!("{}\",\"args\":{{", tool.trained.name))));
        }
        let say = self.replies(&mut grammar);
        grammar.rule("say", &format!(r#""{{\"say\":\" " ({say}) "\"}}""#));
        if calls.is_empty() {
            grammar.rule("root", "say");
        } else {
            grammar.rule("call", &format!(r#""{{\"tool\":\" " ({}) "}}}}""#, calls.join(" | ")));
            grammar.rule("root", "call | say");
        }
        grammar.finish()
    }

    /// Only what is so: a skill is said to be missing only when it is.
    fn replies(&self, grammar: &mut Grammar) -> String {
        let mut ways: Vec<String> = self.map.replies.iter().map(|reply| literal(reply)).collect();
        for (skill, words) in &self.map.skills {
            if self.offers(skill) {
                ways.extend(words.questions.iter().map(|question| literal(question)));
            } else {
                ways.push(literal(&self.map.not_installed.replace("{skill}", &words.name)));
            }
        }
        let abilities: Vec<String> = self
            .map
            .skills
            .iter()
            .filter(|(skill, _)| self.offers(skill))
            .filter_map(|(_, words)| words.ability.as_deref().map(literal))
            .collect();
        if abilities.is_empty() {
            ways.push(literal(&self.map.no_abilities));
        } else if let Some((before, after)) = self.map.abilities.split_once("{abilities}") {
            grammar.rule("able", &abilities.join(" | "));
            ways.push(format!(r#"{} able (", " able)? (" and " able)? {}"#, literal(before), literal(after)));
        }
        ways.join(" | ")
    }

    /// Turns the model's call into a call of the offered tool. Not `None`: an answer
    /// that names no offered tool is an error, whatever let it through.
    pub fn call(&self, answer: &str) -> Result<ToolCall, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            tool: String,
            args: Map<String, Value>,
        }
        let fault = |text: &str| failure(ErrorCode::EngineFault, format!("the reflex model {text}"));
        let answer: Answer = serde_json::from_str(answer).map_err(|_| fault("wrote a broken call"))?;
        let tool = self
            .tools
            .iter()
            .find(|tool| tool.trained.name == answer.tool.trim())
            .ok_or_else(|| fault("named a tool that is not offered"))?;
        let mut given = Map::new();
        for (name, value) in answer.args {
            let matched = tool
                .arguments
                .iter()
                .find(|matched| matched.argument.name == name)
                .ok_or_else(|| fault("named an argument that the tool does not take"))?;
            let value = match value {
                Value::String(text) => matched.argument.value(text.trim()).ok_or_else(|| {
                    failure(
                        ErrorCode::ToolArguments,
                        format!("the model copied something else than a time into `{name}`"),
                    )
                })?,
                other => other,
            };
            given.insert(matched.offered.to_owned(), value);
        }
        let arguments = Value::Object(given);
        tool.schema.check(&tool.spec.name, &arguments).map_err(|Misfit { at, problem }| {
            failure(
                ErrorCode::ToolArguments,
                format!("the model called a tool with arguments that do not fit: `{at}` {problem}"),
            )
        })?;
        let Value::Object(arguments) = arguments else { return Err(fault("wrote a broken call")) };
        Ok(ToolCall { name: tool.spec.name.clone(), arguments })
    }
}

/// What a command offers to be filled into arguments, as expressions of the grammar.
struct Heard {
    text: Option<String>,
    durations: Vec<String>,
    times: Vec<String>,
    numbers: Vec<f64>,
}

impl Heard {
    /// Adds the rules of its words: `w3` is the command from its fourth word on, up to any later one.
    fn new(grammar: &mut Grammar, command: &str) -> Self {
        let words: Vec<&str> = command.split_whitespace().take(MAX_COPIED_WORDS).collect();
        for (n, word) in words.iter().enumerate() {
            let more = if n + 1 < words.len() { format!(r#" (" " w{})?"#, n + 1) } else { String::new() };
            grammar.rule(&format!("w{n}"), &format!("{}{more}", literal(word)));
        }
        let all: Vec<String> = (0..words.len()).map(|n| format!("w{n}")).collect();
        let meaning = |kind| -> Vec<String> {
            let whole = |found: &Spoken| {
                // "45-minute" is one word to the model.
                let ends = |at: usize| command.as_bytes().get(at).is_none_or(|b| b.is_ascii_whitespace());
                ends(found.at.end) && (found.at.start == 0 || ends(found.at.start - 1))
            };
            let texts = spoken(command, kind).into_iter().filter(whole).map(|found| literal(&command[found.at]));
            texts.collect()
        };
        let numbers = spoken(command, SpokenKind::Number).into_iter().filter_map(|found| found.value.as_f64());
        Self {
            text: (!all.is_empty()).then(|| all.join(" | ")),
            durations: meaning(SpokenKind::Duration),
            times: meaning(SpokenKind::Time),
            numbers: numbers.collect(),
        }
    }

    /// The values that `argument` may have; `None` when it can have none.
    fn values(&self, argument: &TrainedArgument) -> Option<String> {
        let taught = |quoted: bool| -> Vec<String> {
            let text = |value: &Value| match value {
                Value::String(text) if quoted => literal(text),
                other => literal(&other.to_string()),
            };
            argument.also.iter().map(text).collect()
        };
        let quoted = |ways: Vec<String>| (!ways.is_empty()).then(|| format!(r#""\" " ({}) "\"""#, ways.join(" | ")));
        match &argument.kind {
            Kind::Named(NamedKind::Text) => quoted(self.text.iter().cloned().chain(taught(true)).collect()),
            Kind::Named(NamedKind::Duration) => quoted(self.durations.clone()),
            Kind::Named(NamedKind::Time) => quoted(self.times.clone()),
            Kind::Words(words) => quoted(words.iter().map(|word| literal(word)).collect()),
            Kind::Named(NamedKind::Int | NamedKind::Number) => {
                let whole_only = matches!(argument.kind, Kind::Named(NamedKind::Int));
                let said = self.numbers.iter().filter(|n| !whole_only || n.fract() == 0.0);
                let mut ways: Vec<String> =
                    said.flat_map(|n| [format!("\"{}\"", n.abs()), format!("\"-{}\"", n.abs())]).collect();
                ways.extend(taught(false));
                (!ways.is_empty()).then(|| format!("({})", ways.join(" | ")))
            }
        }
    }
}

/// Rules for the arguments from `at` on, each with the expression of its values; `comma` when one was written before.
fn arguments(
    grammar: &mut Grammar,
    prefix: &str,
    matched: &[(&Matched<'_>, String)],
    at: usize,
    comma: bool,
) -> String {
    let Some((Matched { argument, required, .. }, value)) = matched.get(at) else { return r#""""#.into() };
    let name = format!("{prefix}{}{at}", if comma { 'c' } else { 'e' });
    let key = literal(&format!("{}\"{}\":", if comma { "," } else { "" }, argument.name));
    let with = arguments(grammar, prefix, matched, at + 1, true);
    let mut body = format!("{key} {value} {with}");
    if !required {
        let without = arguments(grammar, prefix, matched, at + 1, comma);
        body.push_str(&format!(" | {without}"));
    }
    grammar.define(&name, &body);
    name
}

/// Whether the model's vocabulary has the dialect's markers.
#[must_use]
pub fn is_reflex(model: &LlamaModel) -> bool {
    let vocab = model.vocab();
    MARKERS.iter().all(|marker| {
        let tokens = vocab.tokenize(marker.as_bytes(), false, true);
        matches!(tokens[..], [token] if vocab.is_control(token))
    })
}

/// A request as the model reads it.
#[derive(Debug)]
pub struct Prompt {
    /// All of it.
    pub tokens: Vec<LlamaToken>,
    /// How many of the tokens belong to the list of tools.
    pub prefix: usize,
    /// The user's words, for [`Offer::grammar`].
    pub command: String,
}

/// Reads the last thing the user said as a command.
pub fn prompt(decoder: &Decoder, request: &LlmRequest, offer: &Offer<'_>) -> Result<Prompt, Failure> {
    let last = request.messages.last().filter(|message| message.role == Role::User).ok_or_else(|| {
        failure(ErrorCode::NotUnderstood, "the starter model answers commands only, not tool results")
    })?;
    if last.content.len() > MAX_COMMAND {
        return Err(failure(
            ErrorCode::BadRequest,
            format!("the command is {} bytes long, the starter model reads at most {MAX_COMMAND}", last.content.len()),
        ));
    }
    let command = normalise(&last.content);
    if command.is_empty() {
        return Err(failure(ErrorCode::NotUnderstood, "the command has no words"));
    }
    let mut tools = String::from("<s><|tools|>");
    for name in offer.trained_names() {
        tools.push(' ');
        tools.push_str(name);
    }
    let vocab = decoder.model().vocab();
    let mut tokens = vocab.tokenize(tools.as_bytes(), false, true);
    let prefix = tokens.len();
    tokens.extend(vocab.tokenize(b"<|user|>", false, true));
    // The markers are parsed, the user's words never are.
    tokens.extend(vocab.tokenize(format!(" {command}").as_bytes(), false, false));
    tokens.extend(vocab.tokenize(b"<|out|>", false, true));
    let room = decoder.n_ctx() - decoder.n_ctx() / 8;
    if tokens.len() > room {
        return Err(crate::chat::too_long(tokens.len(), room));
    }
    Ok(Prompt { tokens, prefix, command })
}

/// The text as the model was trained on it: lower case, words and numbers only.
#[must_use]
pub fn normalise(text: &str) -> String {
    let chars: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
    let mut out = String::with_capacity(text.len());
    for (n, &c) in chars.iter().enumerate() {
        let before = n.checked_sub(1).map(|n| chars[n]);
        let after = chars.get(n + 1).copied();
        let between = |test: fn(&char) -> bool| before.as_ref().is_some_and(test) && after.as_ref().is_some_and(test);
        let digit: fn(&char) -> bool = char::is_ascii_digit;
        let word: fn(&char) -> bool = |c| c.is_alphanumeric();
        match c {
            'a'..='z' | '0'..='9' | '%' | '&' | '+' => out.push(c),
            '\'' | '’' | '‘' if between(word) => out.push('\''),
            '.' | ':' if between(digit) => out.push(c),
            '-' if between(word) => out.push(c),
            // "a.m." is written without dots in half of the training text; "1,000" without its comma.
            '.' if between(|c| c.is_ascii_alphabetic()) => {}
            ',' if between(digit) => {}
            c if c.is_alphanumeric() => out.push(c),
            _ => out.push(' '),
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Sorts a growing answer into reply and call.
#[derive(Debug, Default)]
pub struct ReflexReader {
    answer: String,
    shown: usize,
}

const SAY: &str = "{\"say\":\" ";

impl ReflexReader {
    /// Takes what was generated; returns what may be shown.
    pub fn push(&mut self, piece: &str) -> String {
        self.answer.push_str(piece);
        let Some(reply) = self.answer.strip_prefix(SAY) else { return String::new() };
        // The alphabet of replies has no quotation mark, so the first one ends it.
        let reply = reply.split('"').next().unwrap_or("");
        let fresh = reply[self.shown..].to_owned();
        self.shown = reply.len();
        fresh
    }

    /// Whether the answer is a call, as far as it goes.
    #[must_use]
    pub fn in_call(&self) -> bool {
        self.answer.starts_with("{\"tool")
    }

    /// Whether nothing more can follow.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        if self.in_call() { self.answer.ends_with("}}") } else { self.answer.ends_with("\"}") }
    }

    /// All of it.
    #[must_use]
    pub fn answer(&self) -> &str {
        &self.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_written_as_in_training() {
        for (text, expected) in [
            ("Set a timer for 5 minutes.", "set a timer for 5 minutes"),
            ("What’s the time?!", "what's the time"),
            ("Wake me at 7:30 a.m., please", "wake me at 7:30 am please"),
            ("Dim to 20%… now", "dim to 20% now"),
            ("3.5 degrees, 1,000 steps; 45-minute - timer", "3.5 degrees 1000 steps 45-minute timer"),
            ("  'quoted'  ", "quoted"),
            ("<|out|>{\"tool\":\" x\"}", "out tool x"),
            ("Café ☕", "café"),
            ("…?!", ""),
        ] {
            assert_eq!(normalise(text), expected);
        }
    }

    #[test]
    fn a_reply_is_shown_as_it_grows_and_a_call_never() {
        let mut reader = ReflexReader::default();
        let shown: Vec<String> = ["{\"say\":\"", " Hel", "lo!", "\"}"].iter().map(|piece| reader.push(piece)).collect();
        assert_eq!(shown, ["", "Hel", "lo!", ""]);
        assert!(reader.is_complete() && !reader.in_call());

        let mut reader = ReflexReader::default();
        for piece in ["{\"tool\":\" timer.list", "\",\"args\":{", "}}"] {
            assert_eq!(reader.push(piece), "");
        }
        assert!(reader.is_complete() && reader.in_call());
    }

    fn argument(kind: NamedKind, also: &[Value]) -> TrainedArgument {
        TrainedArgument {
            name: "x".into(),
            kind: Kind::Named(kind),
            optional: false,
            becomes: Vec::new(),
            also: also.to_vec(),
            values: BTreeMap::new(),
        }
    }

    #[test]
    fn copied_times_become_numbers() {
        for (kind, text, expected) in [
            (NamedKind::Duration, "five minutes", Some(Value::from(300))),
            (NamedKind::Duration, "an hour and a half", Some(Value::from(5_400))),
            (NamedKind::Duration, "45 seconds", Some(Value::from(45))),
            (NamedKind::Duration, "the pasta", None),
            (NamedKind::Duration, "five minutes tea", None),
            (NamedKind::Time, "quarter to eight", Some(Value::from("07:45"))),
            (NamedKind::Text, "the pasta", Some(Value::from("the pasta"))),
        ] {
            assert_eq!(argument(kind, &[]).value(text), expected, "{text}");
        }
    }

    #[test]
    fn an_argument_can_only_be_what_was_said_or_taught() {
        let mut grammar = Grammar::new();
        let heard = Heard::new(&mut grammar, "dim the \"hall to 30% for a 45-minute nap");
        let values = |kind, also: &[Value]| heard.values(&argument(kind, also));
        let number = values(NamedKind::Int, &[Value::from(-20)]).expect("numbers were said");
        for way in ["\"30\"", "\"-30\"", "\"45\"", "\"-20\""] {
            assert!(number.contains(way), "{way}: {number}");
        }
        assert_eq!(values(NamedKind::Duration, &[]).as_deref(), Some(r#""\" " ("45-minute") "\"""#));
        assert!(values(NamedKind::Text, &[Value::from("shopping")]).is_some_and(|text| text.contains("w0 | w1")));
        let rules = grammar.finish();
        assert!(rules.contains(r#"w2 ::= "\"hall" (" " w3)?"#), "what was said cannot end a rule: {rules}");

        let heard = Heard::new(&mut Grammar::new(), "set a timer");
        assert_eq!(heard.values(&argument(NamedKind::Duration, &[])), None);
        assert_eq!(heard.values(&argument(NamedKind::Int, &[])), None);
    }

    #[test]
    fn a_tool_that_nothing_said_can_fill_is_not_offered() {
        let map = ReflexMap::parse(include_str!("../../../models/starter/llm/reflex.toml")).expect("the bundled map");
        let tools = map.as_offered();
        let read = crate::tools::read(&tools).expect("plain schemas");
        let offer = map.matched(&read);
        assert!(offer.grammar("set a timer for five minutes").contains("timer.start"));
        let without = offer.grammar("set a timer for the pasta");
        assert!(!without.contains("timer.start") && without.contains("timer.cancel"), "{without}");
    }

    #[test]
    fn a_copied_duration_becomes_seconds() {
        let map = ReflexMap::parse(include_str!("../../../models/starter/llm/reflex.toml")).expect("the bundled map");
        let tools = map.as_offered();
        let read = crate::tools::read(&tools).expect("plain schemas");
        let offer = map.matched(&read);
        let call = |args: &str| offer.call(&format!("{{\"tool\":\" timer.start\",\"args\":{args}}}"));
        let started = call("{\"duration\":\" an hour and a half\",\"label\":\" tea\"}").expect("a time");
        assert_eq!(Value::Object(started.arguments), json!({"duration_s": 5_400, "label": "tea"}));
        let failure = call("{\"duration\":\" the cat\"}").expect_err("no time");
        assert_eq!(failure.code, ErrorCode::ToolArguments);
        assert!(!failure.message.contains("cat"), "what was said is not in an error: {failure}");
    }

    #[test]
    fn what_it_is_sure_of_passes_the_gate_of_the_hub() {
        let map = ReflexMap::parse(include_str!("../../../models/starter/llm/reflex.toml")).expect("the bundled map");
        let at = |probability| map.confidence(probability);
        assert!((at(map.sure_from) - SURE).abs() < 1e-6 && (at(1.0) - 1.0).abs() < 1e-6 && at(0.0).abs() < 1e-6);
        assert!(at(map.sure_from - 0.01) < SURE && at(map.sure_from * 0.5) < at(map.sure_from * 0.6));
    }

    #[test]
    fn a_map_with_a_mistake_is_refused_by_name() {
        let bundled = include_str!("../../../models/starter/llm/reflex.toml");
        ReflexMap::parse(bundled).expect("the bundled map");
        let newer = bundled.replacen("version = 1", "version = 2", 1);
        assert!(ReflexMap::parse(&newer).expect_err("newer").contains("version is 2"));
        let twice = format!("{bundled}\n[[tool]]\nname = \"dialog.no\"\nskill = \"dialog\"\nstands_for = []\n");
        assert!(ReflexMap::parse(&twice).expect_err("twice").contains("`dialog.no` occurs twice"));
        let sure = bundled.replacen("\nsure_from = ", "\nsure_from = 1", 1);
        assert!(ReflexMap::parse(&sure).expect_err("too sure").contains("`sure_from` is 1"));
        let typo = bundled.replacen("\nstands_for", "\nstand_for", 1);
        assert!(ReflexMap::parse(&typo).expect_err("typo").contains("stand_for"));
    }
}
