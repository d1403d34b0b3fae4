//! The dialect of the reflex model: a few megabytes that were trained to turn one
//! command into one tool call within 20 ms.
//!
//! Prompt `<s><|tools|> a b c<|user|> set a timer for five minutes<|out|>`, answer
//! `{"tool":" timer.start","args":{"seconds":300}}` or `{"say":" Hello!"}`. Every
//! string carries one leading space, so that copied words are the same tokens as in
//! the prompt. `reflex.toml` beside the model file says which trained tool stands for
//! which tool of an installed skill, and what the model may say.
//!
//! Deliberately absent: history and system messages, which the model never saw, and a
//! second opinion on what it computed: numbers of seconds were learned by heart, so a
//! caller that can parse the duration in the text should trust its own parse.

use crate::decode::{Decoder, failure};
use crate::gbnf::{Grammar, literal};
use crate::schema::{Misfit, Schema};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use loqa_protocol::llm::{LlmRequest, Role};
use loqa_protocol::tool::ToolEffect;
use loqa_protocol::{ErrorCode, Failure, ToolCall, ToolSpec};
use loqa_turn::intent::{IntentDecl, IntentIndex};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The map's file name, in the folder of the model file.
pub const MAP_FILE: &str = "reflex.toml";
/// Version of its format.
const MAP_VERSION: u32 = 1;
/// Markers of the prompt; a model that has all three as single tokens speaks this dialect.
const MARKERS: [&str; 3] = ["<|tools|>", "<|user|>", "<|out|>"];
/// Longest command in bytes. The context holds 512 tokens, and no command is this long.
const MAX_COMMAND: usize = 2_000;

/// `reflex.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReflexMap {
    version: u32,
    replies: Vec<String>,
    not_installed: String,
    abilities: String,
    no_abilities: String,
    skills: BTreeMap<String, SkillWords>,
    tool: Vec<TrainedTool>,
    #[serde(skip)]
    spoken: Spoken,
}

/// Reads times in words with the templates of intents, so that a model that copies
/// "an hour and a half" and a template that hears it mean the same number.
#[derive(Debug, Clone, Default)]
struct Spoken {
    duration: Arc<IntentIndex>,
    time: Arc<IntentIndex>,
}

impl Spoken {
    fn new() -> Result<Self, String> {
        let index = |kind: &str| {
            let decl = IntentDecl { tool: "spoken".into(), say: vec![format!("for {{value:{kind}}}")] };
            IntentIndex::compile(&[decl]).map(Arc::new).map_err(|_| format!("no template for a {kind}"))
        };
        Ok(Self { duration: index("duration")?, time: index("time")? })
    }

    fn value(&self, argument: &TrainedArgument, text: &str) -> Option<Value> {
        if let Some(value) = argument.values.get(text) {
            return Some(value.clone());
        }
        let index = match &argument.kind {
            Kind::Named(NamedKind::Duration) => &self.duration,
            Kind::Named(NamedKind::Time) => &self.time,
            Kind::Named(_) | Kind::Words(_) => return Some(Value::from(text)),
        };
        let found = index.find(&format!("for {text}"))?;
        // Words left over were not understood: better no time than a wrong one.
        if !found.leftover.is_empty() {
            return None;
        }
        found.call.arguments.get("value").cloned()
    }
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
    #[serde(default)]
    values: BTreeMap<String, Value>,
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
    /// `06:30`, without a leading space.
    Clock,
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
        let mut map: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        map.spoken = Spoken::new()?;
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
                    Kind::Named(NamedKind::Text | NamedKind::Clock | NamedKind::Time) | Kind::Words(_) => "string",
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

    /// Holds the answer to a call of an offered tool or a reply that is true.
    #[must_use]
    pub fn grammar(&self) -> String {
        let mut grammar = Grammar::new();
        grammar.rule("txt", "[a-z0-9 '.:%&+-]+");
        grammar.rule("int", r#""-"? ("0" | [1-9] [0-9]{0,8})"#);
        grammar.rule("num", r#""-"? ("0" | [1-9] [0-9]{0,5}) ("." [0-9])?"#);
        grammar.rule("clock", r#""\"" ([0-1] [0-9] | "2" [0-3]) ":" [0-5] [0-9] "\"""#);
        let mut calls = Vec::new();
        for (n, tool) in self.tools.iter().enumerate() {
            let first = arguments(&mut grammar, &format!("t{n}"), &tool.arguments, 0, false);
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
                Value::String(text) => self.map.spoken.value(matched.argument, text.trim()).ok_or_else(|| {
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

/// Rules for the arguments from `at` on; `comma` when one was written before.
fn arguments(grammar: &mut Grammar, prefix: &str, matched: &[Matched<'_>], at: usize, comma: bool) -> String {
    let Some(Matched { argument, required, .. }) = matched.get(at) else { return r#""""#.into() };
    let name = format!("{prefix}{}{at}", if comma { 'c' } else { 'e' });
    let value = match &argument.kind {
        Kind::Named(NamedKind::Text | NamedKind::Duration | NamedKind::Time) => r#""\" " txt "\"""#.into(),
        Kind::Named(NamedKind::Int) => "int".to_owned(),
        Kind::Named(NamedKind::Number) => "num".to_owned(),
        Kind::Named(NamedKind::Clock) => "clock".to_owned(),
        Kind::Words(words) => {
            let words: Vec<String> = words.iter().map(|word| literal(&format!("\" {word}\""))).collect();
            format!("({})", words.join(" | "))
        }
    };
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

/// The prompt's tokens, and how many of them belong to the list of tools.
pub fn prompt(decoder: &Decoder, request: &LlmRequest, offer: &Offer<'_>) -> Result<(Vec<LlamaToken>, usize), Failure> {
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
    Ok((tokens, prefix))
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

    #[test]
    fn copied_times_become_numbers() {
        let spoken = Spoken::new().expect("the templates compile");
        let argument = |kind| TrainedArgument {
            name: "x".into(),
            kind: Kind::Named(kind),
            optional: false,
            becomes: Vec::new(),
            values: BTreeMap::new(),
        };
        for (kind, text, expected) in [
            (NamedKind::Duration, "five minutes", Some(Value::from(300))),
            (NamedKind::Duration, "an hour and a half", Some(Value::from(5_400))),
            (NamedKind::Duration, "45 seconds", Some(Value::from(45))),
            (NamedKind::Duration, "the pasta", None),
            (NamedKind::Time, "quarter to eight", Some(Value::from("07:45"))),
            (NamedKind::Text, "the pasta", Some(Value::from("the pasta"))),
        ] {
            assert_eq!(spoken.value(&argument(kind), text), expected, "{text}");
        }
    }

    #[test]
    fn a_model_that_copies_durations_calls_with_seconds() {
        let bundled = include_str!("../../../models/starter/llm/reflex.toml");
        let copying =
            bundled.replacen("name = \"seconds\", kind = \"int\"", "name = \"duration\", kind = \"duration\"", 1);
        assert_ne!(copying, bundled, "the line this test is about is there");
        let map = ReflexMap::parse(&copying).expect("a map");
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
    fn a_map_with_a_mistake_is_refused_by_name() {
        let bundled = include_str!("../../../models/starter/llm/reflex.toml");
        ReflexMap::parse(bundled).expect("the bundled map");
        let newer = bundled.replacen("version = 1", "version = 2", 1);
        assert!(ReflexMap::parse(&newer).expect_err("newer").contains("version is 2"));
        let twice = format!("{bundled}\n[[tool]]\nname = \"dialog.no\"\nskill = \"dialog\"\nstands_for = []\n");
        assert!(ReflexMap::parse(&twice).expect_err("twice").contains("`dialog.no` occurs twice"));
        let typo = bundled.replacen("\nstands_for", "\nstand_for", 1);
        assert!(ReflexMap::parse(&typo).expect_err("typo").contains("stand_for"));
    }
}
