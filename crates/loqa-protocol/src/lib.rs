//! The words that every Loqa program speaks: bus subjects, messages, ids, the
//! turn's event vocabulary and the error codes.
//!
//! Deliberately absent: IO, clocks, randomness and any knowledge of NATS. The
//! crate builds for `wasm32-unknown-unknown`, so that skills share its types.

pub mod audio;
pub mod client;
pub mod engine;
pub mod error;
pub mod event;
pub mod grant;
pub mod header;
pub mod id;
pub mod latency;
pub mod llm;
pub mod models;
pub mod privacy;
pub mod skill;
pub mod stt;
pub mod subject;
pub mod talk;
pub mod tool;
pub mod tts;

pub use error::{ErrorCode, Failure};
pub use event::{TimedEvent, TurnEvent};
pub use id::{CallId, InstanceId, PromptId, SessionId, TurnId, WorkId};
pub use latency::{Hop, LatencySplit, TurnClass};
pub use privacy::PrivacyScope;
pub use tool::{ToolCall, ToolOutcome, ToolSpec};

/// Version of the bus protocol. Raised when an older peer could misread a message.
/// An engine whose version differs is refused with [`ErrorCode::ProtocolMismatch`].
pub const PROTOCOL_VERSION: u32 = 1;
