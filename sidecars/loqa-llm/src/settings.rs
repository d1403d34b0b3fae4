//! What the hub's boot message may set, with its limits.

use crate::decode::failure;
use loqa_protocol::engine::EngineBoot;
use loqa_protocol::{ErrorCode, Failure};
use serde_json::Value;

/// Where the answers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// llama.cpp in this process.
    Llama,
    /// A server that speaks OpenAI's chat completions, for example Ollama.
    OpenAi,
}

/// The settings of one start, checked. Debug output leaves the key out.
#[derive(Clone)]
pub struct Settings {
    /// `backend`: `llama` (default), `openai` or `ollama`.
    pub backend: Backend,
    /// `threads`: 1 to 256.
    pub threads: Option<u32>,
    /// `context`: tokens, 64 to 1,048,576.
    pub context: Option<u32>,
    /// `languages`: BCP 47; `None`: what the model file says.
    pub languages: Option<Vec<String>>,
    /// `endpoint`: base address of the server, for example `http://127.0.0.1:11434/v1`.
    pub endpoint: Option<String>,
    /// `remote_model`: the model's name on the server; default: the boot message's.
    pub remote_model: Option<String>,
    /// `api_key`: sent as a bearer token.
    pub api_key: Option<String>,
    /// `allow_remote`: also servers outside this machine and its local network.
    pub allow_remote: bool,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("backend", &self.backend)
            .field("threads", &self.threads)
            .field("context", &self.context)
            .field("endpoint", &self.endpoint)
            .field("api_key", &self.api_key.as_ref().map(|_| "[redacted]"))
            .field("allow_remote", &self.allow_remote)
            .finish_non_exhaustive()
    }
}

/// Ollama's address when nothing else is set.
const OLLAMA: &str = "http://127.0.0.1:11434/v1";

impl Settings {
    /// Reads the settings; a value of the wrong kind is named with what is allowed.
    pub fn of(boot: &EngineBoot) -> Result<Self, Failure> {
        let settings = &boot.settings;
        for key in settings.keys() {
            if !KNOWN.contains(&key.as_str()) {
                tracing::warn!(setting = %key, "unknown setting, ignored");
            }
        }
        let ollama = text(settings.get("backend"), "backend")?.as_deref() == Some("ollama");
        Ok(Self {
            backend: match text(settings.get("backend"), "backend")?.as_deref() {
                None | Some("llama") => Backend::Llama,
                Some("openai" | "ollama") => Backend::OpenAi,
                Some(other) => return Err(bad("backend", &format!("`llama`, `openai` or `ollama`, not `{other}`"))),
            },
            threads: number(settings.get("threads"), "threads", 1, 256)?,
            context: number(settings.get("context"), "context", 64, 1 << 20)?,
            languages: match settings.get("languages") {
                None | Some(Value::Null) => None,
                Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
                    Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                }
                Some(_) => return Err(bad("languages", "a list of language tags")),
            },
            endpoint: text(settings.get("endpoint"), "endpoint")?.or_else(|| ollama.then(|| OLLAMA.to_owned())),
            remote_model: text(settings.get("remote_model"), "remote_model")?,
            api_key: text(settings.get("api_key"), "api_key")?,
            allow_remote: match settings.get("allow_remote") {
                None | Some(Value::Null) => false,
                Some(Value::Bool(allow)) => *allow,
                Some(_) => return Err(bad("allow_remote", "true or false")),
            },
        })
    }
}

const KNOWN: [&str; 8] =
    ["backend", "threads", "context", "languages", "endpoint", "remote_model", "api_key", "allow_remote"];

fn text(value: Option<&Value>, key: &str) -> Result<Option<String>, Failure> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim().to_owned())),
        Some(_) => Err(bad(key, "text")),
    }
}

fn number(value: Option<&Value>, key: &str, min: u32, max: u32) -> Result<Option<u32>, Failure> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| (min..=max).contains(n))
            .map(Some)
            .ok_or_else(|| bad(key, &format!("a whole number from {min} to {max}"))),
    }
}

fn bad(key: &str, allowed: &str) -> Failure {
    failure(ErrorCode::BadRequest, format!("the setting `{key}` must be {allowed}"))
}
