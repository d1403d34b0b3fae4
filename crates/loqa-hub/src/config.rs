//! Configuration: defaults < file < `LOQA_*` < flags, each value with its origin.
//!
//! One table, [`KEYS`], declares every key with its type, its limits and its
//! meaning; the parser, `loqa config show --origin` and `docs/config.md` read it.
//! Deliberately absent: secrets. They never stand in a configuration file.

mod edit;

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a key may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A path; a relative one counts from the folder of the file that names it.
    Path,
    /// A whole number within the limits.
    Integer(i64, i64),
    /// A number within the limits.
    Number(f64, f64),
    /// `true` or `false`.
    Bool,
    /// A list of texts; in `LOQA_*` and flags separated by commas.
    TextList,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("a text"),
            Self::Path => f.write_str("a path"),
            Self::Integer(low, high) => write!(f, "a whole number from {low} to {high}"),
            Self::Number(low, high) => write!(f, "a number from {low} to {high}"),
            Self::Bool => f.write_str("true or false"),
            Self::TextList => f.write_str("a list of texts"),
            Self::Choice(words) => write!(f, "one of: {}", words.join(", ")),
        }
    }
}

/// One key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.name`.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// Default in the syntax of a flag; empty means unset.
    pub default: &'static str,
    /// What it does, one sentence.
    pub doc: &'static str,
}

/// Every key.
pub const KEYS: &[Key] = &[
    Key {
        name: "paths.data",
        kind: Kind::Path,
        default: "",
        doc: "Folder for the databases; unset means the user's data folder.",
    },
    Key {
        name: "paths.models",
        kind: Kind::Path,
        default: "",
        doc: "Folder of `catalog.toml` and the model files; unset means the bundled one.",
    },
    Key {
        name: "paths.skills",
        kind: Kind::TextList,
        default: "",
        doc: "Folders of skills to load; unset means the bundled ones.",
    },
    Key {
        name: "paths.programs",
        kind: Kind::Path,
        default: "",
        doc: "Folder of the engine programs; unset means the folder of this program.",
    },
    Key {
        name: "bus.nats_server",
        kind: Kind::Path,
        default: "",
        doc: "The nats-server program; unset means the bundled one.",
    },
    Key {
        name: "bus.mqtt_listen",
        kind: Kind::Text,
        default: "",
        doc: "Address on which the bundled nats-server takes MQTT devices, for example 127.0.0.1:1883; unset means no.",
    },
    Key { name: "home.enabled", kind: Kind::Bool, default: "false", doc: "Whether to run the smart-home bridge." },
    Key {
        name: "home.url",
        kind: Kind::Text,
        default: "",
        doc: "Address of Home Assistant, for example http://homeassistant.local:8123.",
    },
    Key {
        name: "home.mqtt",
        kind: Kind::Text,
        default: "",
        doc: "MQTT broker, for example mqtt://192.168.1.10:1883, or `bundled` for the one at `bus.mqtt_listen`.",
    },
    Key {
        name: "home.devices",
        kind: Kind::Path,
        default: "",
        doc: "TOML file with further names of devices and plain MQTT topics.",
    },
    Key { name: "stt.enabled", kind: Kind::Bool, default: "true", doc: "Whether to run a speech recogniser." },
    Key {
        name: "stt.model",
        kind: Kind::Text,
        default: "starter-stt",
        doc: "Catalog name of the speech recognition model.",
    },
    Key {
        name: "stt.threads",
        kind: Kind::Integer(0, 64),
        default: "0",
        doc: "Threads of the recogniser; 0 lets it choose.",
    },
    Key { name: "stt.language", kind: Kind::Text, default: "en", doc: "BCP 47 language that is spoken." },
    Key {
        name: "stt.min_confidence",
        kind: Kind::Number(0.0, 1.0),
        default: "0.35",
        doc: "Below this a transcript that fits no intent is not acted upon.",
    },
    Key {
        name: "llm.models",
        kind: Kind::TextList,
        default: "reflex",
        doc: "Catalog names of language models, best first; the next one takes over when one fails.",
    },
    Key {
        name: "llm.threads",
        kind: Kind::Integer(0, 64),
        default: "0",
        doc: "Threads of a language model; 0 lets it choose.",
    },
    Key {
        name: "llm.endpoint",
        kind: Kind::Text,
        default: "",
        doc: "Base URL of an OpenAI-compatible server (Ollama: http://127.0.0.1:11434/v1), tried before the local models.",
    },
    Key { name: "llm.endpoint_model", kind: Kind::Text, default: "", doc: "Name of the model at `llm.endpoint`." },
    Key {
        name: "llm.min_tool_confidence",
        kind: Kind::Number(0.0, 1.0),
        default: "0.7",
        doc: "Below this a tool call of a model is not carried out.",
    },
    Key { name: "tts.enabled", kind: Kind::Bool, default: "true", doc: "Whether to run speech synthesis." },
    Key { name: "tts.model", kind: Kind::Text, default: "starter-tts", doc: "Catalog name of the voice model." },
    Key { name: "tts.voice", kind: Kind::Text, default: "", doc: "Name of the voice; unset means the model's first." },
    Key { name: "tts.speed", kind: Kind::Number(0.5, 2.0), default: "1.0", doc: "Speaking rate." },
    Key {
        name: "tts.threads",
        kind: Kind::Integer(0, 64),
        default: "0",
        doc: "Threads of the synthesis; 0 lets it choose.",
    },
    Key {
        name: "tts.cache_bytes",
        kind: Kind::Integer(0, 1 << 30),
        default: "8388608",
        doc: "Memory for phrases that were spoken before; 0 turns the cache off.",
    },
    Key {
        name: "tts.onnxruntime",
        kind: Kind::Path,
        default: "",
        doc: "The ONNX Runtime library; unset means the bundled one.",
    },
    Key {
        name: "turn.stt_final_ms",
        kind: Kind::Integer(50, 600_000),
        default: "4000",
        doc: "Longest wait for the transcript after the end of speech.",
    },
    Key {
        name: "turn.llm_first_ms",
        kind: Kind::Integer(50, 600_000),
        default: "8000",
        doc: "Longest wait for the first word of a language model.",
    },
    Key {
        name: "turn.llm_total_ms",
        kind: Kind::Integer(50, 600_000),
        default: "30000",
        doc: "Longest time for a whole reply of a language model.",
    },
    Key {
        name: "turn.skill_ms",
        kind: Kind::Integer(10, 600_000),
        default: "250",
        doc: "Longest time for one tool call.",
    },
    Key {
        name: "turn.tts_first_ms",
        kind: Kind::Integer(50, 600_000),
        default: "4000",
        doc: "Longest wait for the first sound of a clause.",
    },
    Key {
        name: "turn.total_ms",
        kind: Kind::Integer(500, 600_000),
        default: "60000",
        doc: "Longest time from the end of speech to the end of the answer's making.",
    },
    Key {
        name: "skills.prompt_ms",
        kind: Kind::Integer(1_000, 600_000),
        default: "30000",
        doc: "Longest wait for an answer when a skill needs the person's consent; no answer is a no.",
    },
    Key {
        name: "skills.dev",
        kind: Kind::TextList,
        default: "",
        doc: "Folders of skills that are being written: loaded anew whenever their files change, with all that they ask for.",
    },
    Key {
        name: "privacy.keep",
        kind: Kind::Choice(&["ephemeral", "session", "persistent", "none", "turns"]),
        default: "persistent",
        doc: "How long turns are kept: in memory only, until their session or the hub ends, or within the limits below; `none` means ephemeral, `turns` means persistent.",
    },
    Key {
        name: "privacy.keep_days",
        kind: Kind::Integer(0, 36_500),
        default: "0",
        doc: "Persistent turns that ended so many days ago are removed; 0 keeps them for ever.",
    },
    Key {
        name: "privacy.keep_turns",
        kind: Kind::Integer(0, 1_000_000_000),
        default: "0",
        doc: "So many of the newest persistent turns stay, older ones are removed; 0 is no limit.",
    },
    Key {
        name: "privacy.keep_audio",
        kind: Kind::Bool,
        default: "false",
        doc: "Whether what is said is kept as a recording too, encrypted; never in ephemeral sessions.",
    },
    Key {
        name: "audit.keep_days",
        kind: Kind::Integer(0, 36_500),
        default: "365",
        doc: "Rows of the audit that are older than this many days are removed; 0 keeps them for ever.",
    },
    Key {
        name: "api.enabled",
        kind: Kind::Bool,
        default: "true",
        doc: "Whether `loqa serve` answers HTTP and WebSocket requests on this machine.",
    },
    Key {
        name: "api.port",
        kind: Kind::Integer(0, 65_535),
        default: "0",
        doc: "TCP port of the HTTP API on 127.0.0.1 and ::1; 0 takes a free one, which `loqa api url` tells.",
    },
    Key {
        name: "api.ui",
        kind: Kind::Bool,
        default: "true",
        doc: "Whether the HTTP API serves its own page and lets a browser log in with a one-time code.",
    },
    Key {
        name: "openai.enabled",
        kind: Kind::Bool,
        default: "false",
        doc: "Whether programs made for OpenAI's interface may use this hub, with the key that `loqa openai key` tells.",
    },
    Key {
        name: "openai.port",
        kind: Kind::Integer(0, 65_535),
        default: "11480",
        doc: "TCP port on loopback for them; 0 takes a free one.",
    },
    Key {
        name: "wyoming.enabled",
        kind: Kind::Bool,
        default: "false",
        doc: "Whether Home Assistant and other programs may use this hub by the Wyoming protocol, which knows no keys.",
    },
    Key {
        name: "wyoming.port",
        kind: Kind::Integer(0, 65_535),
        default: "10300",
        doc: "TCP port on loopback for them; 0 takes a free one.",
    },
    Key {
        name: "metrics.enabled",
        kind: Kind::Bool,
        default: "true",
        doc: "Whether the HTTP API gives figures at `/metrics`, for Prometheus; they need its token.",
    },
    Key {
        name: "telemetry.log",
        kind: Kind::Text,
        default: "warn",
        doc: "Log filter, for example `info` or `loqa_hub=debug`.",
    },
    Key { name: "telemetry.json", kind: Kind::Bool, default: "false", doc: "Logs as JSON lines." },
    Key {
        name: "telemetry.otlp_endpoint",
        kind: Kind::Text,
        default: "",
        doc: "OpenTelemetry collector (OTLP over HTTP); unset sends nothing.",
    },
];

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A line of a file.
    File { path: PathBuf, line: usize },
    /// An environment variable.
    Environment(String),
    /// A `--set` flag.
    Flag,
    /// A request of a client, which is written to the file.
    Client,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag => f.write_str("--set"),
            Self::Client => f.write_str("request"),
        }
    }
}

/// A configuration that cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration file `{path}`: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    /// The file cannot be written.
    #[error("write configuration file `{path}`: {reason}")]
    Unwritable { path: PathBuf, reason: String },
    /// There is no file to write to.
    #[error("this hub was started without a configuration file")]
    NoFile,
    /// The file is not TOML, or a key stands there twice.
    #[error("{path}:{line}: {reason}")]
    Syntax { path: PathBuf, line: usize, reason: String },
    /// No such key.
    #[error("{origin}: unknown key `{key}`{hint}")]
    UnknownKey { origin: String, key: String, hint: String },
    /// The value does not fit.
    #[error("{origin}: `{key}` must be {allowed}, found: {found}")]
    BadValue { origin: String, key: String, allowed: String, found: String },
}

/// All values with their origins.
#[derive(Debug, Clone)]
pub struct Config {
    values: BTreeMap<&'static str, (Value, Origin)>,
    file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        let values = KEYS
            .iter()
            .map(|key| {
                let value = parse_text(key, key.default)
                    .expect("every default fits its own key, see the test `defaults_fit_their_keys`");
                (key.name, (value, Origin::Default))
            })
            .collect();
        Self { values, file: None }
    }
}

impl Config {
    /// Defaults, then the file (a missing one is an error only if `required`), then
    /// `LOQA_*` variables of `environment`, then `--set key=value` flags.
    pub fn load(
        file: Option<(&Path, bool)>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        if let Some((path, required)) = file {
            config.file = Some(path.to_owned());
            match std::fs::read_to_string(path) {
                Ok(text) => config.apply_file(path, &text)?,
                Err(e)
                    if !required
                        && matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {}
                Err(e) => {
                    return Err(ConfigError::Unreadable { path: path.to_owned(), reason: e.to_string() });
                }
            }
        }
        config.apply_environment(environment)?;
        for (name, text) in flags {
            let key = find_key(name).ok_or_else(|| unknown(&Origin::Flag, name))?;
            config.set_text(key, text, Origin::Flag)?;
        }
        Ok(config)
    }

    fn apply_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let document = toml_edit::Document::parse(text).map_err(|e| ConfigError::Syntax {
            path: path.to_owned(),
            line: e.span().map_or(1, |span| line_of(text, span.start)),
            reason: e.message().trim().to_owned(),
        })?;
        let mut leaves = Vec::new();
        collect_leaves(document.as_table(), "", &mut leaves);
        for (name, span, value) in leaves {
            let origin = Origin::File { path: path.to_owned(), line: line_of(text, span) };
            let key = find_key(&name).ok_or_else(|| unknown(&origin, &name))?;
            let value = value.ok_or_else(|| bad(&origin, key, "a table".to_owned()))?;
            let mut checked = check(key, &value).map_err(|found| bad(&origin, key, found))?;
            if key.kind == Kind::Path
                && let Some(text) = checked.as_str()
                && !text.is_empty()
            {
                let base = path.parent().unwrap_or(Path::new(""));
                checked = Value::String(base.join(text).to_string_lossy().into_owned());
            }
            self.values.insert(key.name, (checked, origin));
        }
        Ok(())
    }

    /// Variables that other parts of Loqa read for themselves.
    const FOREIGN_VARIABLES: &[&str] = &[
        "LOQA_CONFIG",
        "LOQA_LOG",
        "LOQA_LOG_FORMAT",
        "LOQA_MIRROR",
        "LOQA_NO_KERNELS",
        "LOQA_ORT_DYLIB",
        "LOQA_OTLP_ENDPOINT",
        "LOQA_TOOLS",
    ];

    fn apply_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        for (variable, text) in environment {
            if variable == "LOQA_OTLP_ENDPOINT" {
                self.values.insert("telemetry.otlp_endpoint", (Value::String(text), Origin::Environment(variable)));
                continue;
            }
            if !variable.starts_with("LOQA_")
                || Self::FOREIGN_VARIABLES.contains(&variable.as_str())
                || variable.starts_with("LOQA_TEST_")
                || variable.starts_with(loqa_skills::secrets::VARIABLE_PREFIX)
            {
                continue;
            }
            let origin = Origin::Environment(variable.clone());
            let key = KEYS.iter().find(|key| variable_of(key.name) == variable);
            match key {
                Some(key) => self.set_text(key, &text, origin)?,
                None => return Err(unknown(&origin, &variable)),
            }
        }
        Ok(())
    }

    /// Sets one key from text, as a flag does.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let key = find_key(name).ok_or_else(|| unknown(&Origin::Flag, name))?;
        self.set_text(key, text, Origin::Flag)
    }

    fn set_text(&mut self, key: &'static Key, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let value = parse_text(key, text).map_err(|found| bad(&origin, key, found))?;
        self.values.insert(key.name, (value, origin));
        Ok(())
    }

    /// Every key with its value and origin, in the order of the key names.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, &Value, &Origin)> {
        self.values.iter().map(|(name, (value, origin))| (*name, value, origin))
    }

    fn value(&self, name: &str) -> &Value {
        &self.values.get(name).unwrap_or_else(|| unreachable!("`{name}` is not in KEYS")).0
    }

    /// A text; empty when unset.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.value(name).as_str().unwrap_or_default()
    }

    /// A text, or `None` when unset.
    #[must_use]
    pub fn text_if_set(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// A path, or `None` when unset.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.text_if_set(name).map(PathBuf::from)
    }

    /// A whole number.
    #[must_use]
    pub fn integer(&self, name: &str) -> i64 {
        self.value(name).as_i64().unwrap_or_default()
    }

    /// A number.
    #[must_use]
    pub fn number(&self, name: &str) -> f64 {
        self.value(name).as_f64().unwrap_or_default()
    }

    /// A switch.
    #[must_use]
    pub fn bool(&self, name: &str) -> bool {
        self.value(name).as_bool().unwrap_or_default()
    }

    /// A list.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        self.value(name)
            .as_array()
            .map(|items| items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect())
            .unwrap_or_default()
    }

    /// Milliseconds as a duration.
    #[must_use]
    pub fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.integer(name).unsigned_abs())
    }

    /// As nested JSON, with origins when asked for.
    #[must_use]
    pub fn to_json(&self, with_origin: bool) -> Value {
        let mut all = Map::new();
        for (name, value, origin) in self.entries() {
            let shown = if with_origin {
                serde_json::json!({ "value": value, "origin": origin.to_string() })
            } else {
                value.clone()
            };
            all.insert(name.to_owned(), shown);
        }
        Value::Object(all)
    }
}

/// `stt.min_confidence` → `LOQA_STT_MIN_CONFIDENCE`.
#[must_use]
pub fn variable_of(key: &str) -> String {
    format!("LOQA_{}", key.replace('.', "_").to_uppercase())
}

/// The table of `docs/config.md`: one row per key.
#[must_use]
pub fn markdown_table() -> String {
    let mut table = String::from("| key | variable | value | default | meaning |\n|---|---|---|---|---|\n");
    for key in KEYS {
        let default = if key.default.is_empty() { "unset".to_owned() } else { format!("`{}`", key.default) };
        table.push_str(&format!(
            "| `{}` | `{}` | {} | {default} | {} |\n",
            key.name,
            variable_of(key.name),
            key.kind,
            key.doc
        ));
    }
    table
}

fn find_key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

fn unknown(origin: &Origin, name: &str) -> ConfigError {
    let wanted =
        name.strip_prefix("LOQA_").map_or_else(|| name.to_owned(), |rest| rest.to_lowercase().replace('_', "."));
    let nearest = KEYS
        .iter()
        .map(|key| (edit_distance(&wanted, key.name), key.name))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, name)| format!(", did you mean `{name}`?"))
        .unwrap_or_else(|| "; `loqa config show` lists all keys".to_owned());
    ConfigError::UnknownKey { origin: origin.to_string(), key: name.to_owned(), hint: nearest }
}

fn bad(origin: &Origin, key: &Key, found: String) -> ConfigError {
    ConfigError::BadValue { origin: origin.to_string(), key: key.name.to_owned(), allowed: key.kind.to_string(), found }
}

fn parse_text(key: &Key, text: &str) -> Result<Value, String> {
    let value = match key.kind {
        Kind::Text | Kind::Path | Kind::Choice(_) => Value::String(text.to_owned()),
        Kind::Integer(..) => Value::from(text.trim().parse::<i64>().map_err(|_| format!("`{text}`"))?),
        Kind::Number(..) => Value::from(text.trim().parse::<f64>().map_err(|_| format!("`{text}`"))?),
        Kind::Bool => Value::Bool(match text.trim() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => return Err(format!("`{text}`")),
        }),
        Kind::TextList => Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Value::from(item.to_owned()))
                .collect(),
        ),
    };
    check(key, &value)
}

/// The value in its canonical form, or what was found instead.
fn check(key: &Key, value: &Value) -> Result<Value, String> {
    let fits = match key.kind {
        Kind::Text | Kind::Path => value.as_str().is_some_and(|text| !text.contains('\0')),
        Kind::Integer(low, high) => value.as_i64().is_some_and(|n| (low..=high).contains(&n)),
        Kind::Number(low, high) => value.as_f64().is_some_and(|n| (low..=high).contains(&n)),
        Kind::Bool => value.is_boolean(),
        Kind::TextList => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
        Kind::Choice(words) => value.as_str().is_some_and(|word| words.contains(&word)),
    };
    if fits { Ok(value.clone()) } else { Err(value.to_string()) }
}

fn collect_leaves(table: &dyn toml_edit::TableLike, prefix: &str, leaves: &mut Vec<(String, usize, Option<Value>)>) {
    for (name, item) in table.iter() {
        let full = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        let at = table.key(name).and_then(toml_edit::Key::span).or(item.span()).map_or(0, |span| span.start);
        match item {
            toml_edit::Item::Table(inner) => collect_leaves(inner, &full, leaves),
            toml_edit::Item::Value(toml_edit::Value::InlineTable(inner)) => collect_leaves(inner, &full, leaves),
            toml_edit::Item::Value(value) => leaves.push((full, at, to_json(value))),
            toml_edit::Item::ArrayOfTables(_) | toml_edit::Item::None => leaves.push((full, at, None)),
        }
    }
}

fn to_json(value: &toml_edit::Value) -> Option<Value> {
    match value {
        toml_edit::Value::String(text) => Some(Value::from(text.value().clone())),
        toml_edit::Value::Integer(n) => Some(Value::from(*n.value())),
        toml_edit::Value::Float(n) => Some(Value::from(*n.value())),
        toml_edit::Value::Boolean(b) => Some(Value::from(*b.value())),
        toml_edit::Value::Array(items) => items.iter().map(to_json).collect::<Option<Vec<_>>>().map(Value::Array),
        toml_edit::Value::Datetime(time) => Some(Value::from(time.value().to_string())),
        toml_edit::Value::InlineTable(_) => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let kept = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = kept.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loqa.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some((&path, true)), [], &[])
            .map_err(|e| e.to_string().replace(&*folder.path().to_string_lossy(), "DIR"))
    }

    #[test]
    fn the_documented_table_is_the_one_in_the_code() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.md");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&markdown_table()), "put this table into docs/config.md:\n{}", markdown_table());
    }

    #[test]
    fn defaults_fit_their_keys() {
        for key in KEYS {
            assert!(parse_text(key, key.default).is_ok(), "default of {}", key.name);
        }
    }

    #[test]
    fn later_sources_win_and_say_where_they_stand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loqa.toml");
        std::fs::write(&path, "[stt]\nthreads = 2\nlanguage = \"de\"\n").unwrap();
        let environment = [("LOQA_STT_THREADS".to_owned(), "3".to_owned()), ("PATH".to_owned(), "/bin".to_owned())];
        let flags = [("tts.speed".to_owned(), "1.5".to_owned())];
        let config = Config::load(Some((&path, true)), environment, &flags).unwrap();
        assert_eq!(config.integer("stt.threads"), 3);
        assert_eq!(config.text("stt.language"), "de");
        assert!((config.number("tts.speed") - 1.5).abs() < f64::EPSILON);
        let origins: BTreeMap<_, _> = config.entries().map(|(name, _, origin)| (name, origin.to_string())).collect();
        assert_eq!(origins["stt.threads"], "LOQA_STT_THREADS");
        assert_eq!(origins["stt.language"], format!("{}:3", path.display()));
        assert_eq!(origins["tts.speed"], "--set");
        assert_eq!(origins["tts.voice"], "default");
    }

    #[test]
    fn faults_name_file_line_key_and_what_is_allowed() {
        let cases = [
            ("[stt]\nthread = 2\n", "DIR/loqa.toml:2: unknown key `stt.thread`, did you mean `stt.threads`?"),
            (
                "[stt]\nthreads = \"two\"\n",
                "DIR/loqa.toml:2: `stt.threads` must be a whole number from 0 to 64, found: \"two\"",
            ),
            (
                "[stt]\n\nthreads = 99\n",
                "DIR/loqa.toml:3: `stt.threads` must be a whole number from 0 to 64, found: 99",
            ),
            (
                "[privacy]\nkeep = \"all\"\n",
                "DIR/loqa.toml:2: `privacy.keep` must be one of: ephemeral, session, persistent, none, turns, found: \"all\"",
            ),
            ("stt = 3\n", "DIR/loqa.toml:1: unknown key `stt`; `loqa config show` lists all keys"),
            ("[stt.threads]\nx = 1\n", "DIR/loqa.toml:2: unknown key `stt.threads.x`, did you mean `stt.threads`?"),
        ];
        for (text, expected) in cases {
            assert_eq!(load(text).unwrap_err(), expected);
        }
        let twice = load("[stt]\nthreads = 1\nthreads = 2\n").unwrap_err();
        assert!(twice.starts_with("DIR/loqa.toml:3: duplicate key"), "{twice}");
        let broken = load("[stt\n").unwrap_err();
        assert!(broken.starts_with("DIR/loqa.toml:1: "), "{broken}");
    }

    #[test]
    fn an_unknown_variable_is_refused_like_an_unknown_key() {
        let environment = [("LOQA_STT_THREDS".to_owned(), "3".to_owned())];
        let error = Config::load(None, environment, &[]).unwrap_err().to_string();
        assert_eq!(error, "LOQA_STT_THREDS: unknown key `LOQA_STT_THREDS`, did you mean `stt.threads`?");
    }

    #[test]
    fn a_relative_path_counts_from_the_file() {
        let config = load("[paths]\ndata = \"here\"\n").unwrap();
        assert!(config.path("paths.data").unwrap().is_absolute(), "the file's folder is absolute in this test");
    }
}
