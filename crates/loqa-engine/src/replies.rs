//! The way back from a worker to the hub.
//!
//! One gate per job: while it is open, answers pass; it closes with the last message,
//! whoever sends it: the worker (`Final`, `Done`), or the runtime because the job was
//! cancelled, ran out of time or failed. So a stream has exactly one last message,
//! and nothing follows the acknowledgement of a cancel.

use crate::CancelFlag;
use bytes::Bytes;
use loqa_bus::{Bus, BusError};
use loqa_protocol::engine::EngineKind;
use loqa_protocol::{ErrorCode, Failure, Hop, InstanceId, audio, header, llm::LlmReply, stt::SttReply, tts::TtsReply};
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// How long an answer waits for room in the bus client's queue. Chosen: the queue
/// holds 2,048 messages, so a longer wait means that the socket is stuck.
const QUEUE_PATIENCE: Duration = Duration::from_secs(2);
/// Samples in one message at most: 512 KiB of PCM, half of what the bus accepts.
const MAX_CHUNK_SAMPLES: usize = 256 * 1024;

/// Why an answer was not sent. There is nothing to do but to return from the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The job was cancelled, failed or has already sent its last message.
    #[error("the job has ended")]
    Ended,
    /// The connection to the bus is down; nobody hears the answer.
    #[error("the bus is gone")]
    BusGone,
    /// The answer is larger than a message may be, or cannot be written as JSON.
    #[error("the answer does not fit into a message")]
    Unsendable,
}

impl From<ReplyError> for Failure {
    /// For `?` in a worker. The runtime sends it only if the gate is still open.
    fn from(error: ReplyError) -> Self {
        let code = match error {
            ReplyError::Ended => ErrorCode::Cancelled,
            ReplyError::BusGone => ErrorCode::BusUnavailable,
            ReplyError::Unsendable => ErrorCode::EngineFault,
        };
        Self::new(Hop::Hub, code, error.to_string())
    }
}

/// Sends the answers of one job, in order. Cheap to clone, usable from any thread,
/// also from inside an async runtime.
#[derive(Clone)]
pub struct Replies {
    shared: Arc<Shared>,
}

/// What a worker sent, as [`Replies::captured`] hands it out.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    /// By `send_stt`.
    Stt(SttReply),
    /// By `send_llm`.
    Llm(LlmReply),
    /// By `send_tts`.
    Tts(TtsReply),
    /// By `send_pcm`.
    Pcm(Vec<i16>),
}

struct Shared {
    way: Way,
    cancel: CancelFlag,
    gate: Mutex<Gate>,
}

enum Way {
    Bus { bus: Bus, reply: String },
    Captured(mpsc::Sender<Sent>),
}

struct Gate {
    open: bool,
    chunks: u64,
}

impl Replies {
    pub(crate) fn new(bus: Bus, reply: String, cancel: CancelFlag) -> Self {
        Self::with(Way::Bus { bus, reply }, cancel)
    }

    /// Answers that go to a channel instead of the bus, to run a worker by itself in
    /// a test or a benchmark.
    #[must_use]
    pub fn captured(cancel: CancelFlag) -> (Self, mpsc::Receiver<Sent>) {
        let (sender, receiver) = mpsc::channel();
        (Self::with(Way::Captured(sender), cancel), receiver)
    }

    fn with(way: Way, cancel: CancelFlag) -> Self {
        let gate = Mutex::new(Gate { open: true, chunks: 0 });
        Self { shared: Arc::new(Shared { way, cancel, gate }) }
    }

    /// Sends one message of an STT job; `Final` and `Failed` end it.
    pub fn send_stt(&self, reply: &SttReply) -> Result<(), ReplyError> {
        let last = matches!(reply, SttReply::Final(_) | SttReply::Failed { .. });
        self.send_json(reply, last, |reply| Sent::Stt(reply.clone()))
    }

    /// Sends one message of an LLM job; `Done` and `Failed` end it.
    pub fn send_llm(&self, reply: &LlmReply) -> Result<(), ReplyError> {
        let last = matches!(reply, LlmReply::Done(_) | LlmReply::Failed { .. });
        self.send_json(reply, last, |reply| Sent::Llm(reply.clone()))
    }

    /// Sends one JSON message of a TTS job; `Done` and `Failed` end it.
    pub fn send_tts(&self, reply: &TtsReply) -> Result<(), ReplyError> {
        let last = matches!(reply, TtsReply::Done(_) | TtsReply::Failed { .. });
        self.send_json(reply, last, |reply| Sent::Tts(reply.clone()))
    }

    /// Sends one chunk of speech, 24 kHz mono, numbered here. A chunk that is larger
    /// than a message may be goes as several.
    pub fn send_pcm(&self, samples: &[i16]) -> Result<(), ReplyError> {
        for chunk in samples.chunks(MAX_CHUNK_SAMPLES) {
            let payload = Bytes::from(audio::pcm_to_bytes(chunk));
            self.send(&payload, true, false, || Sent::Pcm(chunk.to_vec()))?;
        }
        Ok(())
    }

    /// Whether anybody still waits for answers.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.gate().open
    }

    /// Ends the job with a failure, unless it has ended already, and sets the cancel flag.
    pub(crate) fn fail(&self, kind: EngineKind, failure: Failure) {
        let sent = match kind {
            EngineKind::Stt => self.send_stt(&SttReply::Failed { failure }),
            EngineKind::Llm => self.send_llm(&LlmReply::Failed { failure }),
            EngineKind::Tts => self.send_tts(&TtsReply::Failed { failure }),
        };
        // The gate closes even if the message could not be sent: the job is over.
        self.gate().open = false;
        self.shared.cancel.cancel();
        if let Err(error @ (ReplyError::BusGone | ReplyError::Unsendable)) = sent {
            tracing::debug!(%error, "a failure was not sent");
        }
    }

    pub(crate) fn accept(&self, kind: EngineKind, instance: InstanceId) -> Result<(), ReplyError> {
        match kind {
            EngineKind::Stt => self.send_stt(&SttReply::Accepted { instance }),
            EngineKind::Llm => self.send_llm(&LlmReply::Accepted { instance }),
            EngineKind::Tts => self.send_tts(&TtsReply::Accepted { instance }),
        }
    }

    /// Sends bytes as they are, for the scripted engine's bad answers.
    pub(crate) fn send_raw(&self, payload: &'static [u8]) -> Result<(), ReplyError> {
        let bytes = Bytes::from_static(payload);
        self.send(&bytes, false, false, || Sent::Pcm(Vec::new()))
    }

    fn send_json<T: Serialize>(&self, reply: &T, last: bool, captured: impl Fn(&T) -> Sent) -> Result<(), ReplyError> {
        let payload = serde_json::to_vec(reply).map_err(|_| ReplyError::Unsendable)?;
        self.send(&Bytes::from(payload), false, last, || captured(reply))
    }

    fn send(&self, payload: &Bytes, pcm: bool, last: bool, captured: impl Fn() -> Sent) -> Result<(), ReplyError> {
        let started = Instant::now();
        loop {
            // Checking and sending under one lock: a cancel that closes the gate meanwhile
            // is ordered either before or after the answer, and its acknowledgement after both.
            let mut gate = self.gate();
            if !gate.open {
                return Err(ReplyError::Ended);
            }
            let sent = match &self.shared.way {
                Way::Captured(sender) => Ok(sender.send(captured()).is_ok()),
                Way::Bus { bus, reply } => {
                    let number;
                    let headers: &[(&str, &str)] = if pcm {
                        number = gate.chunks.to_string();
                        &[(header::KIND, header::KIND_PCM), (header::SEQ, &number)]
                    } else {
                        &[]
                    };
                    bus.try_publish_bytes(reply, headers, payload.clone())
                }
            };
            match sent {
                Ok(true) => {
                    gate.chunks += u64::from(pcm);
                    gate.open = !last;
                    return Ok(());
                }
                Err(BusError::TooLarge { .. } | BusError::Encode { .. } | BusError::InvalidSubject(_)) => {
                    return Err(ReplyError::Unsendable);
                }
                Ok(false) if started.elapsed() < QUEUE_PATIENCE => {}
                Ok(false) | Err(_) => {
                    gate.open = false;
                    self.shared.cancel.cancel();
                    return Err(ReplyError::BusGone);
                }
            }
            drop(gate);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.shared.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(text: &str) -> LlmReply {
        LlmReply::Delta { text: text.to_owned() }
    }

    #[test]
    fn nothing_passes_after_the_last_message() {
        let (replies, sent) = Replies::captured(CancelFlag::new());
        replies.send_llm(&delta("a")).unwrap();
        let failure = Failure::new(Hop::Llm, ErrorCode::Cancelled, "cancelled");
        replies.fail(EngineKind::Llm, failure.clone());
        assert_eq!(replies.send_llm(&delta("b")), Err(ReplyError::Ended));
        replies.fail(EngineKind::Llm, failure.clone());
        drop(replies);
        let all: Vec<_> = sent.iter().collect();
        assert_eq!(all, [Sent::Llm(delta("a")), Sent::Llm(LlmReply::Failed { failure })]);
    }

    #[test]
    fn a_failure_sets_the_cancel_flag() {
        let cancel = CancelFlag::new();
        let (replies, _sent) = Replies::captured(cancel.clone());
        replies.fail(EngineKind::Tts, Failure::new(Hop::Tts, ErrorCode::DeadlineExceeded, "late"));
        assert!(cancel.is_cancelled(), "the worker must learn that it works for nobody");
    }

    #[test]
    fn a_huge_chunk_is_cut() {
        let (replies, sent) = Replies::captured(CancelFlag::new());
        replies.send_pcm(&vec![7; MAX_CHUNK_SAMPLES + 1]).unwrap();
        drop(replies);
        let lengths: Vec<_> = sent
            .iter()
            .map(|sent| match sent {
                Sent::Pcm(samples) => samples.len(),
                _ => 0,
            })
            .collect();
        assert_eq!(lengths, [MAX_CHUNK_SAMPLES, 1]);
    }
}
