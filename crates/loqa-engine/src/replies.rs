//! The way back from a worker to the hub.

use loqa_protocol::{llm::LlmReply, stt::SttReply, tts::TtsReply};

/// Why an answer was not sent. There is nothing to do but to return from the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The job was cancelled, failed or has already sent its last message.
    #[error("the job has ended")]
    Ended,
    /// The connection to the bus is down; nobody hears the answer.
    #[error("the bus is gone")]
    BusGone,
    /// The answer is larger than a message may be.
    #[error("the answer is too large for one message")]
    TooLarge,
}

/// Sends the answers of one job, in order. Cheap to clone, usable from any thread,
/// also from inside an async runtime; never waits longer than the bus client's
/// queue is full.
#[derive(Clone)]
pub struct Replies {}

impl Replies {
    /// Sends one message of an STT job; `Final` and `Failed` end it.
    pub fn send_stt(&self, _reply: &SttReply) -> Result<(), ReplyError> {
        Err(ReplyError::BusGone)
    }

    /// Sends one message of an LLM job; `Done` and `Failed` end it.
    pub fn send_llm(&self, _reply: &LlmReply) -> Result<(), ReplyError> {
        Err(ReplyError::BusGone)
    }

    /// Sends one JSON message of a TTS job; `Done` and `Failed` end it.
    pub fn send_tts(&self, _reply: &TtsReply) -> Result<(), ReplyError> {
        Err(ReplyError::BusGone)
    }

    /// Sends one chunk of speech, 24 kHz mono, numbered by the runtime. Chunks that
    /// are larger than a message may be are cut.
    pub fn send_pcm(&self, _samples: &[i16]) -> Result<(), ReplyError> {
        Err(ReplyError::BusGone)
    }
}
