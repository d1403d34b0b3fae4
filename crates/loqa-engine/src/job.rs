//! The work as a worker sees it.

use crate::Replies;
use loqa_protocol::{llm::LlmRequest, stt::SttRequest, tts::TtsRequest};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Instant;

/// Set when the work is to stop: cancelled, past its deadline, or nobody listens.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Sets the flag. There is no way back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// For C callbacks that get one pointer. Valid as long as a clone of the flag lives.
    #[must_use]
    pub fn as_ptr(&self) -> *const AtomicBool {
        Arc::as_ptr(&self.0)
    }
}

/// One piece of the audio of an utterance. The runtime has already checked that
/// no frame is missing.
#[derive(Debug, Clone)]
pub enum AudioInput {
    /// More samples, 16 kHz mono.
    Frame {
        /// The samples.
        samples: Vec<i16>,
        /// What the hub's voice activity detector says about them.
        voiced: bool,
    },
    /// The utterance is complete.
    End {
        /// When the end marker arrived: the start of the tail's clock.
        received: Instant,
    },
}

/// One utterance to transcribe.
pub struct SttJob {
    /// The request.
    pub request: SttRequest,
    /// Frames while they arrive, then `End`. A disconnected channel means that the
    /// job was cancelled or failed: return.
    pub audio: mpsc::Receiver<AudioInput>,
    /// Where the answers go.
    pub replies: Replies,
    /// When to stop.
    pub cancel: CancelFlag,
}

/// One chat to continue.
pub struct LlmJob {
    /// The request.
    pub request: LlmRequest,
    /// When it arrived; time in the queue counts.
    pub received: Instant,
    /// Where the answers go.
    pub replies: Replies,
    /// When to stop.
    pub cancel: CancelFlag,
}

/// One clause to speak.
pub struct TtsJob {
    /// The request.
    pub request: TtsRequest,
    /// When it arrived; time in the queue counts.
    pub received: Instant,
    /// Where the answers go.
    pub replies: Replies,
    /// When to stop.
    pub cancel: CancelFlag,
}

/// Work of any kind.
pub enum Job {
    /// Speech to text.
    Stt(SttJob),
    /// Language model.
    Llm(LlmJob),
    /// Text to speech.
    Tts(TtsJob),
}
