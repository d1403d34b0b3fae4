//! The dialect of general chat models: the prompt from the model file's template,
//! the reply either plain text or one tool call.
//!
//! Tool calls are written in the way the template teaches (`<tool_call>` as Qwen and
//! Hermes do, bare JSON as Llama 3 does). A template that knows no tools, or another
//! way, gets the `<tool_call>` way explained in the system message.
//!
//! A model file without a template is a base model. It continues plain text: the
//! contents of the messages, separated by empty lines, without role names.

use crate::decode::{Decoder, common, failure};
use crate::gbnf::{Grammar, literal};
use crate::schema::Schema;
use crate::template::{ChatTemplate, TemplateMessage};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token_type::LlamaTokenAttr;
use loqa_protocol::llm::{ChatMessage, LlmRequest, Role};
use loqa_protocol::{ErrorCode, Failure, ToolCall, ToolSpec};
use serde_json::{Map, Value, json};

/// How a model writes a tool call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStyle {
    /// `<tool_call>{"name": …, "arguments": …}</tool_call>`
    Tagged,
    /// `{"name": …, "parameters": …}`
    Bare,
}

impl CallStyle {
    const fn arguments_key(self) -> &'static str {
        match self {
            Self::Tagged => "arguments",
            Self::Bare => "parameters",
        }
    }

    /// A reply that begins with this is a call.
    const fn first(self) -> char {
        match self {
            Self::Tagged => '<',
            Self::Bare => '{',
        }
    }
}

/// What is known about the chat format of a loaded model.
pub struct ChatDialect {
    template: Option<ChatTemplate>,
    style: CallStyle,
    /// Whether the template itself shows the tools to the model.
    template_shows_tools: bool,
    bos: Option<LlamaToken>,
    /// Texts of control tokens, which nobody but the template may write.
    control_texts: Vec<String>,
    /// The last system and tools part, and its tokens up to the first user word.
    prefix: Option<(String, Vec<LlamaToken>)>,
}

/// A prompt that is ready to be computed.
pub struct Prompt {
    /// All tokens.
    pub tokens: Vec<LlamaToken>,
    /// How many of them will come again with the next request.
    pub prefix: usize,
}

impl ChatDialect {
    /// Reads template and special tokens of a model.
    pub fn of(model: &LlamaModel) -> Result<Self, Failure> {
        let vocab = model.vocab();
        let text = |token: LlamaToken| {
            let known = token.0 >= 0 && token.0 < vocab.n_tokens();
            known.then(|| vocab.text(token).map(|t| t.to_string_lossy().into_owned())).flatten().unwrap_or_default()
        };
        let source = model.chat_template(None).ok().and_then(|t| t.to_string().ok()).filter(|t| !t.trim().is_empty());
        let (bos, eos) = (text(vocab.bos()), text(vocab.eos()));
        let template = source.map(|source| ChatTemplate::compile(&source, bos, eos)).transpose().map_err(|e| {
            failure(ErrorCode::ModelInvalid, format!("the chat template of the model cannot be read: {e}"))
        })?;
        let source = template.as_ref().map_or("", ChatTemplate::source);
        let (style, template_shows_tools) = if source.contains("tools") && source.contains("<tool_call>") {
            (CallStyle::Tagged, true)
        } else if source.contains("tools") && source.contains("<|python_tag|>") && source.contains("\"parameters\"") {
            (CallStyle::Bare, true)
        } else {
            (CallStyle::Tagged, false)
        };
        let control_texts = vocab
            .tokens()
            .filter(|token| vocab.attr(*token).contains(LlamaTokenAttr::Control))
            .map(text)
            .filter(|text| text.len() > 2)
            .chain(["<tool_call>".to_owned(), "</tool_call>".to_owned()])
            .collect();
        let bos = (vocab.should_add_bos() && vocab.bos().0 >= 0).then(|| vocab.bos());
        Ok(Self { template, style, template_shows_tools, bos, control_texts, prefix: None })
    }

    /// Whether the model file brings a chat template.
    #[must_use]
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// How tool calls are written.
    #[must_use]
    pub fn style(&self) -> CallStyle {
        self.style
    }

    /// Builds the prompt; drops the oldest messages of the history where it would not fit.
    pub fn prompt(&mut self, decoder: &Decoder, request: &LlmRequest) -> Result<Prompt, Failure> {
        let messages = self.messages(request);
        let system = usize::from(messages.first().is_some_and(|m| m.role == "system"));
        let Some(droppable) = messages.len().checked_sub(system + 1) else {
            return Err(failure(ErrorCode::BadRequest, "the chat has no message to answer"));
        };
        let room = decoder.n_ctx() - (request.max_tokens as usize).min(decoder.n_ctx() / 4).max(1);
        let without = |dropped: usize| -> Vec<TemplateMessage> {
            messages.iter().take(system).chain(messages.iter().skip(system + dropped)).cloned().collect()
        };
        let vocab = decoder.model();
        let mut tokens = self.tokens(vocab, &without(0), &request.tools)?;
        if tokens.len() > room && droppable > 0 {
            // The fewest dropped messages that make it fit, by bisection: rendering is not free.
            let (mut too_few, mut enough) = (0, droppable);
            let mut fitting = self.tokens(vocab, &without(enough), &request.tools)?;
            while enough - too_few > 1 {
                let middle = too_few.midpoint(enough);
                let tried = self.tokens(vocab, &without(middle), &request.tools)?;
                if tried.len() <= room {
                    (enough, fitting) = (middle, tried);
                } else {
                    too_few = middle;
                }
            }
            tracing::debug!(dropped = enough, "the history does not fit the context");
            tokens = fitting;
        }
        if tokens.len() > room {
            return Err(too_long(tokens.len(), room));
        }
        let prefix = self.prefix_of(vocab, &messages[..system], &request.tools, &tokens)?;
        Ok(Prompt { tokens, prefix })
    }

    /// The grammar that holds a reply to text or one call; `None` without tools.
    pub fn grammar(&self, tools: &[(&ToolSpec, Schema)]) -> Option<String> {
        if tools.is_empty() {
            return None;
        }
        let mut grammar = Grammar::new();
        let ws = grammar.space();
        let key = literal(&format!("\"{}\"", self.style.arguments_key()));
        let mut ways = Vec::new();
        for (n, (tool, schema)) in tools.iter().enumerate() {
            let arguments = grammar.value(schema);
            let name = literal(&Value::from(tool.name.as_str()).to_string());
            let rule = format!("tool{n}");
            grammar.rule(&rule, &format!(r#"{name} {ws} "," {ws} {key} {ws} ":" {ws} {arguments}"#));
            ways.push(rule);
        }
        let call = format!(r#""{{" {ws} "\"name\"" {ws} ":" {ws} ({}) {ws} "}}""#, ways.join(" | "));
        match self.style {
            CallStyle::Tagged => {
                grammar.rule("call", &format!(r#""<tool_call>" "\n"? {call} "\n"? "</tool_call>""#));
                // Spoken text needs no `<`, and without it a call cannot hide in the text.
                grammar.rule("text", "[^<]+");
            }
            CallStyle::Bare => {
                grammar.rule("call", &call);
                grammar.rule("text", "[^{<] [^<]*");
            }
        }
        grammar.rule("root", "call | text");
        Some(grammar.finish())
    }

    fn messages(&self, request: &LlmRequest) -> Vec<TemplateMessage> {
        let mut messages: Vec<TemplateMessage> = request
            .messages
            .iter()
            .map(|message| TemplateMessage { role: role(message), content: self.defuse(&message.content) })
            .collect();
        if !request.tools.is_empty() && !self.template_shows_tools {
            let explanation = explain_tools(&request.tools);
            match messages.first_mut().filter(|first| first.role == "system") {
                Some(system) => {
                    system.content.push_str("\n\n");
                    system.content.push_str(&explanation);
                }
                None => messages.insert(0, TemplateMessage { role: "system", content: explanation }),
            }
        }
        messages
    }

    /// Breaks up control tokens in text from outside, so that a user or a web page
    /// cannot end the turn and speak as somebody else.
    fn defuse(&self, text: &str) -> String {
        let mut text = text.replace('\0', " ");
        for control in &self.control_texts {
            if text.contains(control.as_str()) {
                let mut chars = control.chars();
                let first: String = chars.by_ref().take(1).collect();
                text = text.replace(control.as_str(), &format!("{first} {}", chars.as_str()));
            }
        }
        text
    }

    fn tokens(
        &self,
        model: &LlamaModel,
        messages: &[TemplateMessage],
        tools: &[ToolSpec],
    ) -> Result<Vec<LlamaToken>, Failure> {
        let text = self.render(messages, tools)?;
        let vocab = model.vocab();
        let mut tokens = vocab.tokenize(text.as_bytes(), false, self.template.is_some());
        if let Some(bos) = self.bos.filter(|bos| tokens.first() != Some(bos)) {
            tokens.insert(0, bos);
        }
        if tokens.is_empty() {
            return Err(failure(ErrorCode::BadRequest, "the chat is empty"));
        }
        Ok(tokens)
    }

    fn render(&self, messages: &[TemplateMessage], tools: &[ToolSpec]) -> Result<String, Failure> {
        let Some(template) = &self.template else {
            let contents: Vec<&str> = messages.iter().map(|m| m.content.as_str()).collect();
            return Ok(contents.join("\n\n"));
        };
        let tools: Vec<Value> =
            if self.template_shows_tools { tools.iter().map(tool_json).collect() } else { Vec::new() };
        template.render(messages, &tools).or_else(|first| {
            // Some templates know no system or tool role and insist on alternating roles.
            template.render(&plain_roles(messages), &tools).map_err(|_| {
                failure(ErrorCode::EngineFault, format!("the model's chat template refuses this chat: {first}"))
            })
        })
    }

    /// How far the prompt is fixed by system message and tools.
    fn prefix_of(
        &mut self,
        model: &LlamaModel,
        system: &[TemplateMessage],
        tools: &[ToolSpec],
        prompt: &[LlamaToken],
    ) -> Result<usize, Failure> {
        let mut key = String::new();
        for message in system {
            key.push_str(&message.content);
        }
        for tool in tools {
            key.push('\n');
            key.push_str(&tool_json(tool).to_string());
        }
        if self.prefix.as_ref().is_none_or(|(known, _)| *known != key) {
            // A chat that says something else: what both begin with is the fixed part.
            let mut other = system.to_vec();
            other.push(TemplateMessage { role: "user", content: "~".into() });
            let probe = self.tokens(model, &other, tools)?;
            self.prefix = Some((key, probe));
        }
        Ok(self.prefix.as_ref().map_or(0, |(_, probe)| common(probe, prompt)))
    }
}

/// Sorts a growing reply into text and call.
#[derive(Debug)]
pub struct ChatReader {
    style: CallStyle,
    tools_offered: bool,
    call: Option<String>,
    begun: bool,
}

impl ChatReader {
    /// For one reply.
    #[must_use]
    pub fn new(style: CallStyle, tools_offered: bool) -> Self {
        Self { style, tools_offered, call: None, begun: false }
    }

    /// Takes what was generated; returns what may be shown.
    pub fn push(&mut self, piece: &str) -> String {
        if let Some(call) = &mut self.call {
            call.push_str(piece);
            return String::new();
        }
        if !self.begun && !piece.is_empty() {
            self.begun = true;
            if self.tools_offered && piece.starts_with(self.style.first()) {
                self.call = Some(piece.to_owned());
                return String::new();
            }
        }
        piece.to_owned()
    }

    /// Whether a call is being written.
    #[must_use]
    pub fn in_call(&self) -> bool {
        self.call.is_some()
    }

    /// The call, once it is complete.
    #[must_use]
    pub fn call(&self) -> Option<ToolCall> {
        let text = self.call.as_deref()?;
        let json = match self.style {
            CallStyle::Tagged => text.strip_prefix("<tool_call>")?.trim_end().strip_suffix("</tool_call>")?,
            CallStyle::Bare => text,
        };
        // Parsing is tried only where an object may have ended.
        let json = json.trim();
        if !json.ends_with('}') {
            return None;
        }
        let mut value: Map<String, Value> = serde_json::from_str(json).ok()?;
        let Value::String(name) = value.remove("name")? else { return None };
        let Value::Object(arguments) = value.remove(self.style.arguments_key())? else { return None };
        Some(ToolCall { name, arguments })
    }
}

pub(crate) fn too_long(tokens: usize, room: usize) -> Failure {
    failure(
        ErrorCode::BadRequest,
        format!("the prompt is {tokens} tokens long, {room} fit; shorten the text or offer fewer tools"),
    )
}

const fn role(message: &ChatMessage) -> &'static str {
    match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    }
}

/// The same chat with user and assistant only, in turn.
fn plain_roles(messages: &[TemplateMessage]) -> Vec<TemplateMessage> {
    let mut plain: Vec<TemplateMessage> = Vec::new();
    for message in messages {
        let (role, content) = match message.role {
            "assistant" => ("assistant", message.content.clone()),
            "tool" => ("user", format!("The tool answered: {}", message.content)),
            _ => ("user", message.content.clone()),
        };
        match plain.last_mut().filter(|last| last.role == role) {
            Some(last) => {
                last.content.push_str("\n\n");
                last.content.push_str(&content);
            }
            None => plain.push(TemplateMessage { role, content }),
        }
    }
    plain
}

fn tool_json(tool: &ToolSpec) -> Value {
    json!({
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
    })
}

fn explain_tools(tools: &[ToolSpec]) -> String {
    let mut text = String::from(
        "You can call one of these functions when it does what the user asks for. \
         To call it, answer with nothing but\n\
         <tool_call>\n{\"name\": \"the function\", \"arguments\": {}}\n</tool_call>\n\
         Otherwise answer in a sentence or two. The functions:",
    );
    for tool in tools {
        text.push('\n');
        text.push_str(&tool_json(tool)["function"].to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(style: CallStyle, pieces: &[&str]) -> (String, Option<ToolCall>) {
        let mut reader = ChatReader::new(style, true);
        let shown = pieces.iter().map(|piece| reader.push(piece)).collect();
        (shown, reader.call())
    }

    #[test]
    fn calls_are_told_from_text_by_how_they_begin() {
        let (shown, call) = read(
            CallStyle::Tagged,
            &["<tool_call>", "\n{\"name\": \"a.b\", \"arg", "uments\": {\"n\": 1}}\n", "</tool_call>"],
        );
        let call = call.expect("a call");
        assert_eq!((shown.as_str(), call.name.as_str(), call.arguments["n"].as_i64()), ("", "a.b", Some(1)));

        let (shown, call) = read(CallStyle::Bare, &["{", "\"name\": \"a\", \"parameters\": {}}"]);
        assert_eq!((shown.as_str(), call.expect("a call").name.as_str()), ("", "a"));

        let (shown, call) = read(CallStyle::Bare, &["It is", " {five}"]);
        assert_eq!((shown.as_str(), call), ("It is {five}", None));
    }

    #[test]
    fn a_call_is_none_until_it_is_whole() {
        let whole = "<tool_call>{\"name\": \"a\", \"arguments\": {\"s\": \"}</tool_call>\"}}</tool_call>";
        for end in 1..whole.len() {
            assert_eq!(read(CallStyle::Tagged, &[&whole[..end]]).1, None, "{}", &whole[..end]);
        }
        assert_eq!(read(CallStyle::Tagged, &[whole]).1.expect("whole").arguments["s"], "}</tool_call>");
        let bare = "{\"name\": \"a\", \"parameters\": {\"o\": {\"p\": {}}}}";
        for end in 1..bare.len() {
            assert_eq!(read(CallStyle::Bare, &[&bare[..end]]).1, None, "{}", &bare[..end]);
        }
    }

    #[test]
    fn roles_that_a_template_refuses_are_folded_into_the_two_it_knows() {
        let message = |role, content: &str| TemplateMessage { role, content: content.into() };
        let plain = plain_roles(&[
            message("system", "s"),
            message("user", "u"),
            message("assistant", "a"),
            message("tool", "t"),
            message("user", "v"),
        ]);
        let shown: Vec<String> = plain.iter().map(|m| format!("{}:{}", m.role, m.content)).collect();
        assert_eq!(shown, ["user:s\n\nu", "assistant:a", "user:The tool answered: t\n\nv"]);
    }
}
