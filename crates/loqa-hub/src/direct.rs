//! Asking one engine without a turn: a transcript of a recording, a plan for a
//! sentence, the speech of a text. For measuring models, and for programs that want
//! an engine and not an assistant.
//!
//! Deliberately absent: intents, skills, sessions and the record; nothing here acts.

use crate::Hub;
use crate::session::VoiceInput;
use crate::session::hops::HopEvent;
use loqa_protocol::llm::{ChatMessage, LlmDone, LlmRequest, Role};
use loqa_protocol::stt::{SttFinal, SttRequest};
use loqa_protocol::tts::{TtsDone, TtsRequest};
use loqa_protocol::{ErrorCode, Failure, Hop, SessionId, ToolCall, ToolSpec, TurnId, WorkId};
use std::time::Duration;
use tokio::sync::mpsc;

/// Longest answer of one engine. Chosen: a large model on a slow machine, thirty seconds of audio.
const PATIENCE: Duration = Duration::from_mins(2);
/// Most tokens of an answer. Chosen: what the session driver gives to a spoken reply, and some.
const MAX_TOKENS: u32 = 256;
/// Hop events that may wait.
const QUEUE: usize = 256;

/// What a language model made of a sentence.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The tool it calls, with its confidence from 0 to 1.
    pub call: Option<(ToolCall, f32)>,
    /// What it says.
    pub text: String,
    /// Its own figures.
    pub done: LlmDone,
}

/// The speech of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Spoken {
    /// At [`loqa_protocol::audio::OUTPUT_SAMPLE_RATE`], mono.
    pub samples: Vec<i16>,
    /// The engine's own figures.
    pub done: TtsDone,
}

impl Hub {
    /// The transcript of an utterance, whose frames have [`loqa_protocol::audio::INPUT_FRAME_SAMPLES`].
    ///
    /// # Errors
    /// No recogniser is configured, or what it refused the audio for.
    pub async fn transcribe(&self, audio: mpsc::Receiver<VoiceInput>, language: &str) -> Result<SttFinal, Failure> {
        let capability = self.capability_of(Hop::Stt, "stt.")?;
        let request = SttRequest {
            work: WorkId::from_bits(rand::random()),
            turn: TurnId::from_bits(rand::random()),
            session: SessionId::from_bits(rand::random()),
            language: Some(language.to_owned()),
            hint: String::new(),
            partials: false,
            deadline_ms: millis(PATIENCE),
        };
        let (events, mut answers) = mpsc::channel(QUEUE);
        let running = self.fresh_reach().listen(capability, request, audio, events, 0);
        let result = loop {
            match next(Hop::Stt, &mut answers).await? {
                HopEvent::Heard { heard, .. } => break Ok(heard),
                HopEvent::Failed(failure) => break Err(failure),
                _ => {}
            }
        };
        running.finished();
        result
    }

    /// What the first configured language model does with a sentence when these tools
    /// are offered. Nothing is called.
    ///
    /// # Errors
    /// No such model is configured, or why it gave no answer.
    pub async fn plan(&self, text: &str, tools: Vec<ToolSpec>) -> Result<Planned, Failure> {
        let capability = self.capability_of(Hop::Llm, "llm.")?;
        let request = LlmRequest {
            work: WorkId::from_bits(rand::random()),
            turn: TurnId::from_bits(rand::random()),
            session: SessionId::from_bits(rand::random()),
            messages: vec![ChatMessage { role: Role::User, content: text.to_owned() }],
            tools,
            max_tokens: MAX_TOKENS,
            temperature: 0.0,
            deadline_ms: millis(PATIENCE),
        };
        let (events, mut answers) = mpsc::channel(QUEUE);
        let running = self.fresh_reach().reply(capability, request, events, 0);
        let (mut call, mut said) = (None, String::new());
        let result = loop {
            match next(Hop::Llm, &mut answers).await? {
                HopEvent::Delta { text, .. } => said.push_str(&text),
                HopEvent::ModelToolCall { call: made, confidence, .. } => call = Some((made, confidence)),
                HopEvent::ReplyDone(done) => break Ok(Planned { call, text: said, done }),
                HopEvent::Failed(failure) => break Err(failure),
                _ => {}
            }
        };
        running.finished();
        result
    }

    /// The speech of a text, as one clause.
    ///
    /// # Errors
    /// No voice is configured, or why the text cannot be spoken.
    pub async fn synthesize(&self, text: &str, voice: Option<&str>, speed: f32) -> Result<Spoken, Failure> {
        let capability = self.capability_of(Hop::Tts, "tts.")?;
        let request = TtsRequest {
            work: WorkId::from_bits(rand::random()),
            turn: TurnId::from_bits(rand::random()),
            session: SessionId::from_bits(rand::random()),
            text: text.to_owned(),
            voice: voice.map(str::to_owned),
            speed,
            deadline_ms: millis(PATIENCE),
        };
        let (clauses, queue) = mpsc::channel(1);
        let (events, mut answers) = mpsc::channel(QUEUE);
        let running = self.fresh_reach().speak(capability, queue, events, 0);
        if clauses.send((0, request)).await.is_err() {
            return Err(Failure::new(Hop::Tts, ErrorCode::EngineLost, "the speaking task ended"));
        }
        let mut samples = Vec::new();
        let result = loop {
            match next(Hop::Tts, &mut answers).await? {
                HopEvent::Chunk { samples: chunk, .. } => samples.extend(chunk),
                HopEvent::ClauseDone { done, .. } => break Ok(Spoken { samples, done }),
                HopEvent::Failed(failure) => break Err(failure),
                _ => {}
            }
        };
        running.finished();
        result
    }

    fn capability_of(&self, hop: Hop, prefix: &str) -> Result<String, Failure> {
        self.capabilities().iter().find(|name| name.starts_with(prefix)).cloned().ok_or_else(|| {
            let kind = prefix.trim_end_matches('.');
            Failure::new(hop, ErrorCode::EngineMissing, format!("no `{kind}` engine is configured"))
        })
    }
}

async fn next(hop: Hop, answers: &mut mpsc::Receiver<(u32, HopEvent)>) -> Result<HopEvent, Failure> {
    match tokio::time::timeout(PATIENCE, answers.recv()).await {
        Ok(Some((_, event))) => Ok(event),
        Ok(None) => Err(Failure::new(hop, ErrorCode::EngineLost, "the engine's task ended without an answer")),
        Err(_) => Err(Failure::new(hop, ErrorCode::DeadlineExceeded, "the engine did not answer in two minutes")),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
