//! Reads the pieces of a streamed chat completion. Pure: bytes in, text and call out.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Longest line of the stream and longest arguments of a call, in bytes.
const MAX_LINE: usize = 1 << 20;
const MAX_ARGUMENTS: usize = 64 << 10;

/// Cuts a byte stream into the data of server-sent events.
#[derive(Debug, Default)]
pub struct SseLines {
    pending: Vec<u8>,
}

impl SseLines {
    /// Takes bytes as they come; gives each complete `data:` line.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.pending.extend_from_slice(bytes);
        let mut data = Vec::new();
        let mut start = 0;
        while let Some(end) = self.pending[start..].iter().position(|b| *b == b'\n') {
            let line = String::from_utf8_lossy(&self.pending[start..start + end]);
            let line = line.trim_end_matches('\r');
            // Comments, event names and ids carry nothing here.
            if let Some(text) = line.strip_prefix("data:") {
                data.push(text.strip_prefix(' ').unwrap_or(text).to_owned());
            }
            start += end + 1;
        }
        self.pending.drain(..start);
        if self.pending.len() > MAX_LINE {
            // Give up the line; what cannot be parsed is reported by the completion.
            self.pending.clear();
            data.push("{".into());
        }
        data
    }
}

/// A completion while it grows.
#[derive(Debug, Default)]
pub struct Completion {
    /// `stop`, `length`, `tool_calls`; `None` while more comes.
    pub finish: Option<String>,
    /// Whether the end marker came.
    pub done: bool,
    /// From the usage figures, where the server tells them.
    pub prompt_tokens: u32,
    /// Prompt tokens that the server had kept.
    pub cached_tokens: u32,
    /// Generated tokens.
    pub output_tokens: u32,
    name: String,
    arguments: String,
    called: bool,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    message: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Deserialize)]
struct CallDelta {
    #[serde(default)]
    index: Option<u32>,
    #[serde(default)]
    function: Option<FunctionDelta>,
}

#[derive(Deserialize)]
struct FunctionDelta {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<Value>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: Option<u32>,
    #[serde(default)]
    completion_tokens: Option<u32>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u32>,
}

impl Completion {
    /// Takes one event; gives its text, if it has any.
    pub fn push(&mut self, event: &str) -> Result<Option<String>, &'static str> {
        let chunk: Chunk = serde_json::from_str(event).map_err(|_| "sent broken JSON")?;
        if chunk.error.is_some() {
            return Err("reported an error in the middle of its answer");
        }
        if let Some(usage) = chunk.usage {
            self.prompt_tokens = usage.prompt_tokens.unwrap_or(self.prompt_tokens);
            self.output_tokens = usage.completion_tokens.unwrap_or(self.output_tokens);
            self.cached_tokens =
                usage.prompt_tokens_details.and_then(|d| d.cached_tokens).unwrap_or(self.cached_tokens);
        }
        let Some(choice) = chunk.choices.into_iter().next() else { return Ok(None) };
        if choice.finish_reason.is_some() {
            self.finish = choice.finish_reason;
        }
        let Some(delta) = choice.delta.or(choice.message) else { return Ok(None) };
        for call in delta.tool_calls.into_iter().flatten() {
            // One call per reply: the turn decides anew after its result.
            if call.index.unwrap_or(0) != 0 {
                continue;
            }
            self.called = true;
            let Some(function) = call.function else { continue };
            if let Some(name) = function.name {
                self.name.push_str(&name);
            }
            match function.arguments {
                Some(Value::String(piece)) => self.arguments.push_str(&piece),
                // Some servers send the object itself.
                Some(whole @ Value::Object(_)) => self.arguments = whole.to_string(),
                _ => {}
            }
            if self.arguments.len() > MAX_ARGUMENTS {
                return Err("sent arguments without end");
            }
        }
        Ok(delta.content.filter(|text| !text.is_empty()))
    }

    /// Takes an answer that was not streamed.
    pub fn push_whole(&mut self, text: &str) -> Result<Option<String>, &'static str> {
        let text = self.push(text)?;
        self.done = true;
        if self.finish.is_none() && text.is_none() && !self.called {
            return Err("answered with JSON that is no chat completion");
        }
        Ok(text)
    }

    /// The tool call, if there was one.
    pub fn call(&mut self) -> Result<Option<RemoteCall>, &'static str> {
        if !self.called {
            return Ok(None);
        }
        if self.finish.as_deref() == Some("length") {
            return Err("was cut off at `max_tokens` in the middle of a tool call");
        }
        let arguments = match self.arguments.trim() {
            "" => Map::new(),
            text => serde_json::from_str(text).map_err(|_| "sent a tool call with broken arguments")?,
        };
        Ok(Some(RemoteCall { name: std::mem::take(&mut self.name), arguments }))
    }
}

/// A call as the server names it.
#[derive(Debug, PartialEq)]
pub struct RemoteCall {
    /// Name in the server's alphabet.
    pub name: String,
    /// Arguments, unchecked.
    pub arguments: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_any_cut() {
        let stream = ": hi\r\nevent: x\r\ndata: {\"a\":\"ä\"}\r\n\r\ndata:b\n\ndata: [DONE]\n\n".as_bytes();
        for size in 1..stream.len() {
            let mut lines = SseLines::default();
            let got: Vec<String> = stream.chunks(size).flat_map(|chunk| lines.push(chunk)).collect();
            assert_eq!(got, ["{\"a\":\"ä\"}", "b", "[DONE]"], "cut every {size} bytes");
        }
    }

    #[test]
    fn a_call_in_pieces_is_put_together() {
        let mut completion = Completion::default();
        for event in [
            r#"{"choices":[{"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"timer_start","arguments":""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"n\":"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"5}"}},{"index":1,"function":{"name":"other"}}]},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":3}}}"#,
        ] {
            assert_eq!(completion.push(event), Ok(None));
        }
        let call = completion.call().expect("whole").expect("a call");
        assert_eq!(
            (call.name.as_str(), Value::Object(call.arguments).to_string()),
            ("timer_start", "{\"n\":5}".into())
        );
        assert_eq!((completion.prompt_tokens, completion.cached_tokens, completion.output_tokens), (9, 3, 4));
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut lines = SseLines::default();
        let got = lines.push(&vec![b'x'; MAX_LINE + 1]);
        assert_eq!(got, ["{"]);
        assert!(Completion::default().push(&got[0]).is_err());
    }
}
