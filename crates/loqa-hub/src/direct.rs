//! Asking one engine without a turn: a transcript of a recording, a plan for a
//! sentence, the speech of a text. For measuring models, and for programs that want
//! an engine and not an assistant.
//!
//! Deliberately absent: intents, skills, sessions and the record; nothing here acts.

use crate::Hub;
use crate::session::VoiceInput;
use crate::session::hops::{HopEvent, Running};
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

/// Speech that is being made; dropping it stops the engine.
pub struct Speech {
    answers: mpsc::Receiver<(u32, HopEvent)>,
    /// `None` once there is nothing left to cancel.
    running: Option<Running>,
    /// Clauses whose end has not come.
    left: usize,
}

/// What comes next of a [`Speech`].
#[derive(Debug, Clone, PartialEq)]
pub enum SpeechPiece {
    /// Sound, at [`loqa_protocol::audio::OUTPUT_SAMPLE_RATE`], mono.
    Sound(Vec<i16>),
    /// A clause is complete.
    ClauseDone(TtsDone),
    /// All clauses are; asking again gives the same.
    End,
}

impl Speech {
    /// Waits for the next piece.
    ///
    /// # Errors
    /// Why the text cannot be spoken; nothing follows.
    pub async fn next(&mut self) -> Result<SpeechPiece, Failure> {
        if self.left == 0 {
            self.finish();
            return Ok(SpeechPiece::End);
        }
        loop {
            match next(Hop::Tts, &mut self.answers).await? {
                HopEvent::Chunk { samples, .. } => return Ok(SpeechPiece::Sound(samples)),
                HopEvent::ClauseDone { done, .. } => {
                    self.left -= 1;
                    if self.left == 0 {
                        self.finish();
                    }
                    return Ok(SpeechPiece::ClauseDone(done));
                }
                HopEvent::Failed(failure) => {
                    self.left = 0;
                    self.finish();
                    return Err(failure);
                }
                _ => {}
            }
        }
    }

    fn finish(&mut self) {
        if let Some(running) = self.running.take() {
            running.finished();
        }
    }
}

impl Hub {
    /// The transcript of an utterance, whose frames have [`loqa_protocol::audio::INPUT_FRAME_SAMPLES`].
    ///
    /// # Errors
    /// No recogniser is configured, or what it refused the audio for.
    pub async fn transcribe(&self, audio: mpsc::Receiver<VoiceInput>, language: &str) -> Result<SttFinal, Failure> {
        self.transcribe_expecting(audio, language, "").await
    }

    /// As [`Hub::transcribe`], with words to expect: a bias, not a constraint, and one that not
    /// every model takes.
    ///
    /// # Errors
    /// As [`Hub::transcribe`].
    pub async fn transcribe_expecting(
        &self,
        audio: mpsc::Receiver<VoiceInput>,
        language: &str,
        hint: &str,
    ) -> Result<SttFinal, Failure> {
        let capability = self.capability_of(Hop::Stt, "stt.")?;
        let request = SttRequest {
            work: WorkId::from_bits(rand::random()),
            turn: TurnId::from_bits(rand::random()),
            session: SessionId::from_bits(rand::random()),
            language: Some(language.to_owned()),
            hint: hint.to_owned(),
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
        let mut speech = self.speech(vec![text.to_owned()], voice, speed)?;
        let mut samples = Vec::new();
        loop {
            match speech.next().await? {
                SpeechPiece::Sound(chunk) => samples.extend(chunk),
                SpeechPiece::ClauseDone(done) => return Ok(Spoken { samples, done }),
                SpeechPiece::End => {
                    return Err(Failure::new(Hop::Tts, ErrorCode::EngineLost, "the speaking task ended"));
                }
            }
        }
    }

    /// The speech of clauses, one after the other, as it comes; each clause is at most 2,000
    /// characters long.
    ///
    /// # Errors
    /// No voice is configured.
    pub fn speech(&self, clauses: Vec<String>, voice: Option<&str>, speed: f32) -> Result<Speech, Failure> {
        let capability = self.capability_of(Hop::Tts, "tts.")?;
        let (sender, queue) = mpsc::channel(clauses.len().max(1));
        let (turn, session) = (TurnId::from_bits(rand::random()), SessionId::from_bits(rand::random()));
        let left = clauses.len();
        for (number, text) in (0..).zip(clauses) {
            let request = TtsRequest {
                work: WorkId::from_bits(rand::random()),
                turn: turn.clone(),
                session: session.clone(),
                text,
                voice: voice.map(str::to_owned),
                speed,
                deadline_ms: millis(PATIENCE),
            };
            if sender.try_send((number, request)).is_err() {
                return Err(Failure::new(Hop::Tts, ErrorCode::EngineLost, "the clauses have no room"));
            }
        }
        let (events, answers) = mpsc::channel(QUEUE);
        let running = self.fresh_reach().speak(capability, queue, events, 0);
        Ok(Speech { answers, running: Some(running), left })
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
