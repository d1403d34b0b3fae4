//! Language model work: a chat with tools in, streamed text or a tool call out.

use crate::{Failure, InstanceId, SessionId, ToolCall, ToolSpec, TurnId, WorkId};
use serde::{Deserialize, Serialize};

/// Who said a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions from the product.
    System,
    /// The person.
    User,
    /// The model's earlier reply.
    Assistant,
    /// What a tool returned.
    Tool,
}

/// One message of the chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatMessage {
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub content: String,
}

/// Asks for one reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlmRequest {
    /// Names the work in cancel messages.
    pub work: WorkId,
    /// The turn it belongs to.
    pub turn: TurnId,
    /// The session it belongs to.
    pub session: SessionId,
    /// The chat, oldest first; the system message, where there is one, comes first.
    pub messages: Vec<ChatMessage>,
    /// Tools that may be called; the output is held to a grammar made from them.
    #[serde(default)]
    pub tools: Vec<ToolSpec>,
    /// Most tokens to generate.
    pub max_tokens: u32,
    /// 0 means greedy.
    pub temperature: f32,
    /// The engine has this long for the whole reply.
    pub deadline_ms: u64,
}

/// One message of the reply stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum LlmReply {
    /// A worker took the work.
    Accepted {
        /// Who took it.
        instance: InstanceId,
    },
    /// More text of the reply.
    Delta {
        /// The piece, exactly as generated.
        text: String,
    },
    /// The model calls a tool; [`LlmReply::Done`] follows.
    ToolCall {
        /// The call, already valid against the tool's schema.
        call: ToolCall,
        /// Lowest token probability of the call, 0 to 1. Callers gate on it.
        confidence: f32,
    },
    /// The reply is complete; ends the stream.
    Done(LlmDone),
    /// Ends the stream without a complete reply.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// Figures of one reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlmDone {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// How many of them came from the KV cache.
    pub cached_tokens: u32,
    /// Tokens generated.
    pub output_tokens: u32,
    /// From arrival of the request to the first token (or the complete tool call), in microseconds.
    pub first_token_us: u64,
    /// From arrival of the request to this message, in microseconds.
    pub total_us: u64,
    /// Whether `max_tokens` cut the reply off.
    pub truncated: bool,
}
