//! What the tests share: models, tools and requests.

use loqa_engine::CancelFlag;
use loqa_llm::decode::LoadOptions;
use loqa_llm::local::{Ask, LocalModel};
use loqa_protocol::llm::{ChatMessage, LlmDone, LlmReply, LlmRequest, Role};
use loqa_protocol::tool::ToolEffect;
use loqa_protocol::{Failure, SessionId, ToolCall, ToolSpec, TurnId, WorkId};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

pub fn reflex_path() -> PathBuf {
    let path = repository().join("models/starter/llm/reflex-q8_0.gguf");
    assert!(path.exists(), "{} is missing, run `npm run setup`", path.display());
    path
}

pub fn stories_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/stories260K.gguf")
}

pub fn reflex() -> LocalModel {
    LocalModel::load(&reflex_path(), LoadOptions::default()).unwrap()
}

/// Tests that compare times take turns.
pub fn quiet() -> MutexGuard<'static, ()> {
    static QUIET: Mutex<()> = Mutex::new(());
    QUIET.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn tool(name: &str, parameters: Value) -> ToolSpec {
    ToolSpec { name: name.into(), description: format!("The tool {name}."), parameters, effect: ToolEffect::Safe }
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// The tools of the bundled timer skill, as far as the model needs them.
pub fn timer_tools() -> Vec<ToolSpec> {
    let label = json!({"type": "string", "minLength": 1, "maxLength": 40});
    let only_label = || object(json!({"label": label}), &[]);
    vec![
        tool(
            "timer.start",
            object(
                json!({"duration_s": {"type": "integer", "minimum": 1, "maximum": 86_400}, "label": label}),
                &["duration_s"],
            ),
        ),
        tool("timer.cancel", object(json!({"label": label, "all": {"type": "boolean"}}), &[])),
        tool("timer.pause", only_label()),
        tool("timer.resume", only_label()),
        tool("timer.left", only_label()),
        tool("timer.list", object(json!({}), &[])),
    ]
}

/// A whole house: every tool that the reflex model was trained on.
pub fn all_tools() -> Vec<ToolSpec> {
    let text = json!({"type": "string", "maxLength": 80});
    let whole = json!({"type": "integer", "minimum": -100, "maximum": 100});
    let number = json!({"type": "number"});
    let mut tools = timer_tools();
    tools.extend([
        tool("alarm.set", object(json!({"time": text, "day": text}), &["time"])),
        tool("alarm.cancel", object(json!({"time": text}), &[])),
        tool(
            "light.set",
            object(
                json!({"room": text, "state": {"enum": ["on", "off"]}, "level": whole, "change": whole, "color": text}),
                &[],
            ),
        ),
        tool(
            "switch.set",
            object(json!({"device": text, "room": text, "state": {"enum": ["on", "off"]}}), &["device", "state"]),
        ),
        tool("climate.set", object(json!({"room": text, "temp": number, "change": number}), &[])),
        tool(
            "cover.set",
            object(json!({"device": text, "room": text, "state": {"enum": ["open", "closed"]}}), &["device", "state"]),
        ),
        tool("scene.run", object(json!({"scene": text}), &["scene"])),
        tool("clock.time", object(json!({"city": text}), &[])),
        tool("clock.date", object(json!({"day": text}), &[])),
        tool("list.add", object(json!({"item": text, "list": text}), &["item", "list"])),
        tool("list.remove", object(json!({"item": text, "list": text}), &["item", "list"])),
        tool("list.show", object(json!({"list": text}), &["list"])),
        tool("list.clear", object(json!({"list": text}), &["list"])),
        tool(
            "volume.set",
            object(json!({"state": {"enum": ["mute", "unmute"]}, "level": whole, "change": whole}), &[]),
        ),
        tool("media.play", object(json!({"query": text}), &[])),
        tool("media.pause", object(json!({}), &[])),
        tool("media.next", object(json!({}), &[])),
        tool("media.previous", object(json!({}), &[])),
        tool("reminder.add", object(json!({"text": text, "when": text}), &["text"])),
        tool("reminder.list", object(json!({}), &[])),
        tool("weather.get", object(json!({"city": text, "day": text}), &[])),
        tool("dialog.stop", object(json!({}), &[])),
        tool("dialog.yes", object(json!({}), &[])),
        tool("dialog.no", object(json!({}), &[])),
    ]);
    tools
}

pub fn request(messages: &[(Role, &str)], tools: &[ToolSpec]) -> LlmRequest {
    LlmRequest {
        work: WorkId::from_bits(1),
        turn: TurnId::from_bits(1),
        session: SessionId::from_bits(1),
        messages: messages.iter().map(|(role, text)| ChatMessage { role: *role, content: (*text).into() }).collect(),
        tools: tools.to_vec(),
        max_tokens: 80,
        temperature: 0.0,
        deadline_ms: 30_000,
    }
}

/// What came of a request.
#[derive(Debug, Default)]
pub struct Outcome {
    pub text: String,
    pub deltas: usize,
    pub call: Option<(ToolCall, f32)>,
    pub done: Option<LlmDone>,
}

impl Outcome {
    pub fn take(&mut self, reply: LlmReply) {
        assert!(self.done.is_none(), "nothing follows `Done`");
        match reply {
            LlmReply::Accepted { .. } => {}
            LlmReply::Delta { text } => {
                assert!(!text.is_empty(), "an empty piece is no piece");
                self.text.push_str(&text);
                self.deltas += 1;
            }
            LlmReply::ToolCall { call, confidence } => {
                assert!(self.call.is_none(), "one call per reply");
                self.call = Some((call, confidence));
            }
            LlmReply::Done(done) => self.done = Some(done),
            LlmReply::Failed { failure } => panic!("{failure}"),
        }
    }

    /// `tool {arguments}` or the text.
    pub fn shown(&self) -> String {
        match &self.call {
            Some((call, _)) => format!("{} {}", call.name, Value::Object(call.arguments.clone())),
            None => self.text.clone(),
        }
    }
}

pub fn answer(model: &mut LocalModel, request: &LlmRequest) -> Result<Outcome, Failure> {
    answer_with(model, request, &CancelFlag::new(), |_| {})
}

pub fn answer_with(
    model: &mut LocalModel,
    request: &LlmRequest,
    cancel: &CancelFlag,
    mut seen: impl FnMut(&LlmReply),
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    let ask = Ask { request, received: Instant::now(), cancel };
    model.answer(&ask, &mut |reply| {
        seen(&reply);
        outcome.take(reply);
        Ok(())
    })?;
    assert!(outcome.done.is_some(), "a reply that did not fail is done");
    Ok(outcome)
}

/// One command to the reflex model.
pub fn command(model: &mut LocalModel, text: &str, tools: &[ToolSpec]) -> Result<Outcome, Failure> {
    answer(model, &request(&[(Role::User, text)], tools))
}

/// The small general model, with a chat template written into its file.
pub fn stories_with_template(folder: &std::path::Path, template: &str) -> PathBuf {
    let mut bytes = std::fs::read(stories_path()).unwrap();
    let key = b"tokenizer.chat_template";
    // One more metadata entry, of a length that keeps the weights aligned.
    let mut template = template.to_owned();
    while !(8 + key.len() + 4 + 8 + template.len()).is_multiple_of(32) {
        template.push(' ');
    }
    let count = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) + 1;
    bytes[16..24].copy_from_slice(&count.to_le_bytes());
    let mut entry = Vec::new();
    entry.extend((key.len() as u64).to_le_bytes());
    entry.extend(key);
    entry.extend(8_u32.to_le_bytes());
    entry.extend((template.len() as u64).to_le_bytes());
    entry.extend(template.as_bytes());
    bytes.splice(24..24, entry);
    let path = folder.join("chat.gguf");
    std::fs::write(&path, bytes).unwrap();
    path
}
