//! What a Loqa skill is written with.
//!
//! A skill is a set of functions, one per tool and event, put together by [`skill!`]:
//!
//! ```
//! use loqa_skill_sdk::{Loqa, Reply, SkillError, skill};
//!
//! #[derive(serde::Deserialize)]
//! struct Greet {
//!     name: String,
//! }
//!
//! fn greet(_loqa: &mut Loqa<'_>, arguments: Greet) -> Result<Reply, SkillError> {
//!     Ok(Reply::say(format!("Hello, {}.", arguments.name)))
//! }
//!
//! skill! {
//!     tools { "hello.greet" => greet }
//!     events {}
//! }
//!
//! let mut host = loqa_skill_sdk::testing::TestHost::default();
//! let reply = SKILL.call(&mut host, "hello.greet", serde_json::json!({ "name": "Ada" })).expect("greets");
//! assert_eq!(reply.say, "Hello, Ada.");
//! ```
//!
//! Built for `wasm32-unknown-unknown` the same code is a module for Loqa's host; built
//! natively it is tested against [`testing::TestHost`], without WASM.
//!
//! What a call writes (values, timers) is kept only if it returns `Ok`.

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
mod loqa;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use loqa::{
    Completion, EFFECT_CODES, Host, HostError, HttpAnswer, HttpRequest, Level, Loqa, Message, Published, Timer,
    TimerElapsed,
};
#[doc(hidden)]
pub use serde_json;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a tool brings back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// What to say to the user. A short first sentence is heard sooner. Empty: nothing,
    /// or what a language model makes of the data.
    pub say: String,
    /// For a language model or an API client.
    pub data: Value,
}

impl Reply {
    /// A reply that is spoken.
    pub fn say(text: impl Into<String>) -> Self {
        Self { say: text.into(), data: Value::Null }
    }

    /// Adds data; what cannot be written as JSON is left out.
    #[must_use]
    pub fn with_data(self, data: impl Serialize) -> Self {
        Self { data: serde_json::to_value(data).unwrap_or_default(), ..self }
    }
}

/// Why a tool failed. For what the user can do something about, reply with a sentence instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkillError {
    /// The arguments passed the schema and still make no sense.
    BadArguments(String),
    /// The host refused something that the skill cannot do without.
    Host(HostError),
    /// Anything else.
    Failed(String),
}

impl From<HostError> for SkillError {
    fn from(error: HostError) -> Self {
        Self::Host(error)
    }
}

impl std::fmt::Display for SkillError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BadArguments(message) => write!(f, "bad arguments: {message}"),
            Self::Host(error) => write!(f, "{error}"),
            Self::Failed(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for SkillError {}

/// A tool after its arguments were given their type; made by [`skill!`].
pub type ToolFunction = fn(&mut Loqa<'_>, Value) -> Result<Reply, SkillError>;
/// An event's function; made by [`skill!`].
pub type EventFunction = fn(&mut Loqa<'_>, Value) -> Result<Option<Reply>, SkillError>;

/// A skill: its functions by the names of the manifest. Made by [`skill!`].
#[derive(Debug, Clone, Copy)]
pub struct Skill {
    /// Functions by tool.
    pub tools: &'static [(&'static str, ToolFunction)],
    /// Functions by event.
    pub events: &'static [(&'static str, EventFunction)],
}

impl Skill {
    /// Calls a tool.
    pub fn call(&self, host: &mut dyn Host, tool: &str, arguments: Value) -> Result<Reply, SkillError> {
        self.call_with(&mut Loqa::new(host), tool, arguments)
    }

    /// Calls a tool of a skill that is told more about its manifest, see [`Loqa::with_urls`].
    pub fn call_with(&self, loqa: &mut Loqa<'_>, tool: &str, arguments: Value) -> Result<Reply, SkillError> {
        let (_, function) = self
            .tools
            .iter()
            .find(|(name, _)| *name == tool)
            .ok_or_else(|| SkillError::Failed(format!("the manifest offers `{tool}`, the module does not")))?;
        function(loqa, arguments)
    }

    /// Delivers an event.
    pub fn deliver(&self, host: &mut dyn Host, event: &str, data: Value) -> Result<Option<Reply>, SkillError> {
        self.deliver_with(&mut Loqa::new(host), event, data)
    }

    /// The same, see [`Self::call_with`].
    pub fn deliver_with(&self, loqa: &mut Loqa<'_>, event: &str, data: Value) -> Result<Option<Reply>, SkillError> {
        let (_, function) =
            self.events.iter().find(|(name, _)| *name == event).ok_or_else(|| {
                SkillError::Failed(format!("the manifest subscribes to `{event}`, the module does not"))
            })?;
        function(loqa, data)
    }

    /// Answers the host's `{"tool", "arguments"}`.
    #[doc(hidden)]
    pub fn answer_tool(&self, host: &mut dyn Host, input: &[u8]) -> Vec<u8> {
        #[derive(Deserialize)]
        struct Input {
            tool: String,
            arguments: Value,
            #[serde(default)]
            urls: Vec<String>,
        }
        answer(serde_json::from_slice(input).map_err(unreadable).and_then(|Input { tool, arguments, urls }| {
            self.call_with(&mut Loqa::with_urls(host, urls), &tool, arguments)
        }))
    }

    /// Answers the host's `{"event", "data"}`.
    #[doc(hidden)]
    pub fn answer_event(&self, host: &mut dyn Host, input: &[u8]) -> Vec<u8> {
        #[derive(Deserialize)]
        struct Input {
            event: String,
            data: Value,
            #[serde(default)]
            urls: Vec<String>,
        }
        answer(
            serde_json::from_slice(input).map_err(unreadable).and_then(|Input { event, data, urls }| {
                self.deliver_with(&mut Loqa::with_urls(host, urls), &event, data)
            }),
        )
    }
}

/// Gives arguments their type.
#[doc(hidden)]
pub fn typed<T: DeserializeOwned>(arguments: Value) -> Result<T, SkillError> {
    serde_json::from_value(arguments).map_err(|error| SkillError::BadArguments(error.to_string()))
}

fn unreadable(error: serde_json::Error) -> SkillError {
    SkillError::Failed(format!("the host's message cannot be read: {error}"))
}

fn answer(result: Result<impl Serialize, SkillError>) -> Vec<u8> {
    let answer = match result {
        Ok(reply) => json!({ "ok": reply }),
        Err(error) => {
            let code = match &error {
                SkillError::BadArguments(_) => "bad_arguments",
                SkillError::Host(error) if error.is_denied() => "denied",
                SkillError::Host(_) | SkillError::Failed(_) => "failed",
            };
            json!({ "error": { "code": code, "message": error.to_string() } })
        }
    };
    answer.to_string().into_bytes()
}

/// Puts a skill together: `SKILL` for tests, and the module's exports.
///
/// A tool's function takes `&mut Loqa` and any type that can be deserialized from the
/// tool's arguments, and returns `Result<Reply, SkillError>`. An event's function
/// returns `Result<Option<Reply>, SkillError>`; what it replies is spoken unasked and
/// needs `tts:say`.
#[macro_export]
macro_rules! skill {
    (
        tools { $($tool:literal => $tool_function:path),* $(,)? }
        events { $($event:literal => $event_function:path),* $(,)? }
    ) => {
        /// The functions of this skill.
        pub const SKILL: $crate::Skill = $crate::Skill {
            tools: &[$(($tool, |loqa, arguments| $tool_function(loqa, $crate::typed(arguments)?))),*],
            events: &[$(($event, |loqa, data| $event_function(loqa, $crate::typed(data)?))),*],
        };

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[unsafe(no_mangle)]
            extern "C" fn loqa_tool() -> i32 {
                $crate::guest::answer(|host, input| SKILL.answer_tool(host, input))
            }

            #[unsafe(no_mangle)]
            extern "C" fn loqa_event() -> i32 {
                $crate::guest::answer(|host, input| SKILL.answer_event(host, input))
            }
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(_: &mut Loqa<'_>, number: Number) -> Result<Reply, SkillError> {
        Ok(Reply::say(format!("{}", number.value * 2)).with_data(number.value))
    }

    fn where_to(loqa: &mut Loqa<'_>, _: Value) -> Result<Reply, SkillError> {
        let urls = loqa.urls().to_vec();
        let answer = loqa.http(&HttpRequest::get(urls.join("")).header("accept", "text/plain"))?;
        Ok(Reply::say(answer.body))
    }

    fn quiet(_: &mut Loqa<'_>, _: Value) -> Result<Option<Reply>, SkillError> {
        Ok(None)
    }

    #[derive(Deserialize)]
    struct Number {
        value: i64,
    }

    skill! {
        tools { "math.double" => double, "math.where" => where_to }
        events { "test.quiet" => quiet }
    }

    fn tool(input: &str) -> String {
        String::from_utf8(SKILL.answer_tool(&mut testing::TestHost::default(), input.as_bytes()))
            .expect("JSON is UTF-8")
    }

    #[test]
    fn answers_have_the_shape_that_the_host_reads() {
        assert_eq!(tool(r#"{"tool":"math.double","arguments":{"value":4}}"#), r#"{"ok":{"data":4,"say":"8"}}"#);
        assert_eq!(
            tool(r#"{"tool":"math.double","arguments":{}}"#),
            r#"{"error":{"code":"bad_arguments","message":"bad arguments: missing field `value`"}}"#
        );
        assert_eq!(
            tool(r#"{"tool":"math.half","arguments":{}}"#),
            r#"{"error":{"code":"failed","message":"the manifest offers `math.half`, the module does not"}}"#
        );
        assert!(tool("nonsense").starts_with(r#"{"error":{"code":"failed""#));
        let event = SKILL.answer_event(&mut testing::TestHost::default(), br#"{"event":"test.quiet","data":1}"#);
        assert_eq!(event, br#"{"ok":null}"#);
    }

    #[test]
    fn a_skill_calls_the_address_of_its_manifest_and_learns_why_it_cannot() {
        let mut host = testing::TestHost::default();
        host.answer("http", json!({ "status": 200, "headers": {}, "body": "hello", "url": "https://a.test/" }));
        let input = br#"{"tool":"math.where","arguments":{},"urls":["https://a.test/"]}"#;
        let said = |answer: Vec<u8>| String::from_utf8(answer).expect("JSON is UTF-8");
        assert_eq!(said(SKILL.answer_tool(&mut host, input)), r#"{"ok":{"data":null,"say":"hello"}}"#);
        assert_eq!(host.effects[0].1["url"], "https://a.test/");
        assert_eq!(host.effects[0].1["headers"]["accept"], "text/plain");
        host.fail("http", "timeout");
        assert!(said(SKILL.answer_tool(&mut host, input)).starts_with(r#"{"error":{"code":"failed""#));
        host.deny("http");
        assert!(said(SKILL.answer_tool(&mut host, input)).starts_with(r#"{"error":{"code":"denied""#));
    }

    #[test]
    fn codes_tell_denials_from_what_did_not_work() {
        let error = |code: &str| HostError { code: code.to_owned(), message: String::new() };
        for code in ["not_declared", "not_granted", "out_of_scope", "rate_exceeded", "unanswered", "policy"] {
            assert!(error(code).is_denied(), "{code}");
        }
        for code in EFFECT_CODES.iter().chain(&["bad_arguments", "storage", "dry_run"]) {
            assert!(!error(code).is_denied(), "{code}");
        }
        assert!(error("timeout").is_offline() && error("unreachable").is_offline());
        assert!(!error("not_granted").is_offline());
    }
}
