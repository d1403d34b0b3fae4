//! An engine of any kind whose answers are written in its boot settings: the real
//! process, the real protocol and the real bus, with a script where the model would be.
//! The hub's tests use it through the program `loqa-scripted`.

use crate::{
    AudioInput, CancelFlag, Capability, EngineBoot, EngineKind, Job, LlmJob, Loaded, Replies, SttJob, TtsJob, Worker,
};
use loqa_protocol::audio::{INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE};
use loqa_protocol::llm::{LlmDone, LlmReply, Role};
use loqa_protocol::stt::{SttFinal, SttReply};
use loqa_protocol::tts::{TtsDone, TtsReply};
use loqa_protocol::{ErrorCode, Failure, ToolCall};
use serde::{Deserialize, Serialize};
use std::f32::consts::TAU;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The script: `settings` of the boot line. Everything has a default, so `{}` is an
/// engine that answers at once and well.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// Loading the model takes this long.
    pub load_ms: u64,
    /// Loading fails with this reason.
    pub refuse_model: Option<String>,
    /// Jobs done at the same time.
    pub slots: u32,
    /// Each job takes this long before its first answer.
    pub delay_ms: u64,
    /// What goes wrong, and in which jobs.
    pub fault: Option<Fault>,
    /// The fault strikes in the job with this number, counted from 0, and in all later ones.
    pub fault_after: u32,
    /// The first job only: later jobs are well again. Without effect for faults that
    /// end the process.
    pub fault_once: bool,
    /// The cancel flag is not looked at, like in a library call that cannot be interrupted.
    pub deaf: bool,
    /// STT: final transcripts, one per job, then from the start again. Silence if empty.
    pub transcripts: Vec<String>,
    /// STT: partial transcripts of each job, one for each `partial_every_ms` of audio.
    pub partials: Vec<String>,
    /// STT: audio between two partial transcripts.
    pub partial_every_ms: u64,
    /// STT: confidence of the final transcript.
    pub confidence: f32,
    /// LLM: the answers; see [`ScriptedReply::when`] for the choice.
    pub replies: Vec<ScriptedReply>,
    /// TTS: length of the tone per character of text.
    pub ms_per_char: u64,
    /// TTS: length of one chunk.
    pub chunk_ms: u64,
    /// TTS: computing time of one chunk.
    pub chunk_delay_ms: u64,
}

/// One answer of a scripted language model.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScriptedReply {
    /// Given when the last message of the user holds this text, in any case. Answers
    /// without it are given in turn when no other fits.
    pub when: Option<String>,
    /// Pieces of text, streamed.
    pub deltas: Vec<String>,
    /// Computing time before each piece.
    pub delta_ms: u64,
    /// A tool call, after the text.
    pub tool_call: Option<ToolCall>,
    /// Confidence of the tool call; 0 is taken for 1.
    pub confidence: f32,
}

/// What can go wrong on purpose.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Accepts the work and then says nothing, until cancelled.
    Hang,
    /// The process dies at once, as from a signal.
    Abort,
    /// The worker panics.
    Panic,
    /// The worker returns without a last message.
    Silent,
    /// An answer that is not JSON.
    Garbage,
    /// Breaks off after half of its answers, as if killed in the middle.
    AbortHalfway,
    /// Fails with this code and message.
    Fail {
        /// The code.
        code: ErrorCode,
        /// The message.
        message: String,
    },
}

impl Default for Script {
    fn default() -> Self {
        Self {
            load_ms: 0,
            refuse_model: None,
            slots: 1,
            delay_ms: 0,
            fault: None,
            fault_after: 0,
            fault_once: false,
            deaf: false,
            transcripts: Vec::new(),
            partials: Vec::new(),
            partial_every_ms: 200,
            confidence: 0.9,
            replies: Vec::new(),
            ms_per_char: 60,
            chunk_ms: 100,
            chunk_delay_ms: 0,
        }
    }
}

/// The whole program: an engine of the kind that the boot line asks for.
#[must_use]
pub fn main() -> std::process::ExitCode {
    crate::runtime::run("loqa-scripted", None, load)
}

/// A script in the environment stands for the settings of the boot line: a hub writes
/// those, and knows nothing of scripts.
const SCRIPT: &str = "LOQA_TEST_SCRIPT";

/// Reads the script and makes the workers.
fn load(kind: EngineKind, boot: &EngineBoot) -> Result<Loaded, Failure> {
    let refuse = |text: String| Failure::new(crate::worker::hop(kind), ErrorCode::ModelInvalid, text);
    let script = match std::env::var(SCRIPT) {
        Ok(text) => serde_json::from_str(&text),
        Err(_) => serde_json::from_value(serde_json::Value::Object(boot.settings.clone())),
    };
    let script: Script = script.map_err(|error| refuse(format!("read the script: {error}")))?;
    std::thread::sleep(Duration::from_millis(script.load_ms));
    if let Some(reason) = &script.refuse_model {
        return Err(refuse(reason.clone()));
    }
    let sample_rate = match kind {
        EngineKind::Stt => Some(INPUT_SAMPLE_RATE),
        EngineKind::Llm => None,
        EngineKind::Tts => Some(OUTPUT_SAMPLE_RATE),
    };
    let voices = match kind {
        EngineKind::Tts => vec!["tone".to_owned()],
        EngineKind::Stt | EngineKind::Llm => Vec::new(),
    };
    let capability = Capability {
        name: boot.capability.clone(),
        model: boot.model.clone(),
        quantisation: "scripted".to_owned(),
        languages: vec!["en".to_owned()],
        sample_rate,
        voices,
        measured_speed: 1_000.0,
    };
    let slots = script.slots;
    let script = Arc::new(script);
    let jobs = Arc::new(AtomicU32::new(0));
    let workers = (0..slots)
        .map(|_| Box::new(Actor { script: Arc::clone(&script), jobs: Arc::clone(&jobs) }) as Box<dyn Worker>)
        .collect();
    Ok(Loaded { workers, capabilities: vec![capability] })
}

/// Plays the script.
struct Actor {
    script: Arc<Script>,
    /// Jobs begun by all actors together.
    jobs: Arc<AtomicU32>,
}

impl Worker for Actor {
    fn run(&mut self, job: Job) -> Result<(), Failure> {
        let number = self.jobs.fetch_add(1, Ordering::Relaxed);
        let fault = self.fault_in(number).cloned();
        match job {
            Job::Stt(job) => self.transcribe(number, &job, fault.as_ref()),
            Job::Llm(job) => self.reply(number, &job, fault.as_ref()),
            Job::Tts(job) => self.speak(&job, fault.as_ref()),
        }
    }
}

impl Actor {
    fn fault_in(&self, number: u32) -> Option<&Fault> {
        let after = self.script.fault_after;
        let strikes = if self.script.fault_once { number == after } else { number >= after };
        self.script.fault.as_ref().filter(|_| strikes)
    }

    fn transcribe(&self, number: u32, job: &SttJob, fault: Option<&Fault>) -> Result<(), Failure> {
        let mut partials = self.script.partials.iter();
        let mut samples = 0_u64;
        let ended = loop {
            // An error: cancelled, or the audio was bad and the hub knows already.
            let Ok(input) = job.audio.recv() else { return Ok(()) };
            match input {
                AudioInput::Frame { samples: frame, .. } => {
                    let before = audio_ms(samples);
                    samples += frame.len() as u64;
                    let step = self.script.partial_every_ms.max(1);
                    if job.request.partials
                        && audio_ms(samples) / step > before / step
                        && let Some(text) = partials.next()
                    {
                        let partial = SttReply::Partial { text: text.clone(), audio_ms: audio_ms(samples) };
                        job.replies.send_stt(&partial)?;
                    }
                }
                AudioInput::End { received } => break received,
            }
        };
        self.before_answering(&job.cancel);
        if self.suffer(fault, &job.replies, &job.cancel, true)? {
            return Ok(());
        }
        let texts = &self.script.transcripts;
        let text = match texts.len() {
            0 => String::new(),
            n => texts[number as usize % n].clone(),
        };
        let tail_us = micros(ended.elapsed());
        job.replies.send_stt(&SttReply::Final(SttFinal {
            text,
            confidence: self.script.confidence,
            audio_ms: audio_ms(samples),
            tail_us,
            decode_us: self.script.delay_ms * 1_000,
            speculative: false,
        }))?;
        Ok(())
    }

    fn reply(&self, number: u32, job: &LlmJob, fault: Option<&Fault>) -> Result<(), Failure> {
        self.before_answering(&job.cancel);
        if self.suffer(fault, &job.replies, &job.cancel, false)? {
            return Ok(());
        }
        let reply = self.choose(number, job);
        let first = Instant::now();
        for (index, text) in reply.deltas.iter().enumerate() {
            self.pass_time(reply.delta_ms, &job.cancel);
            if index * 2 >= reply.deltas.len() {
                self.suffer(fault, &job.replies, &job.cancel, true)?;
            }
            job.replies.send_llm(&LlmReply::Delta { text: text.clone() })?;
        }
        if let Some(call) = reply.tool_call {
            let confidence = if reply.confidence == 0.0 { 1.0 } else { reply.confidence };
            job.replies.send_llm(&LlmReply::ToolCall { call, confidence })?;
        }
        job.replies.send_llm(&LlmReply::Done(LlmDone {
            prompt_tokens: u32::try_from(job.request.messages.len()).unwrap_or(u32::MAX),
            cached_tokens: 0,
            output_tokens: u32::try_from(reply.deltas.len()).unwrap_or(u32::MAX),
            first_token_us: micros(first.duration_since(job.received)),
            total_us: micros(job.received.elapsed()),
            truncated: false,
        }))?;
        Ok(())
    }

    fn choose(&self, number: u32, job: &LlmJob) -> ScriptedReply {
        let asked = job
            .request
            .messages
            .iter()
            .rev()
            .find(|message| message.role == Role::User)
            .map(|message| message.content.to_lowercase())
            .unwrap_or_default();
        let replies = &self.script.replies;
        let fitting =
            replies.iter().find(|reply| reply.when.as_ref().is_some_and(|when| asked.contains(&when.to_lowercase())));
        let in_turn: Vec<_> = replies.iter().filter(|reply| reply.when.is_none()).collect();
        match (fitting, in_turn.len()) {
            (Some(reply), _) => reply.clone(),
            (None, 0) => ScriptedReply { deltas: vec!["Well.".to_owned()], ..ScriptedReply::default() },
            (None, n) => in_turn[number as usize % n].clone(),
        }
    }

    fn speak(&self, job: &TtsJob, fault: Option<&Fault>) -> Result<(), Failure> {
        self.before_answering(&job.cancel);
        if self.suffer(fault, &job.replies, &job.cancel, false)? {
            return Ok(());
        }
        let length_ms = job.request.text.chars().count() as u64 * self.script.ms_per_char;
        let tone = tone(length_ms * u64::from(OUTPUT_SAMPLE_RATE) / 1_000);
        let chunk = (self.script.chunk_ms.max(1) * u64::from(OUTPUT_SAMPLE_RATE) / 1_000) as usize;
        let mut first_chunk = None;
        let mut chunks = 0_u64;
        for (index, samples) in tone.chunks(chunk).enumerate() {
            self.pass_time(self.script.chunk_delay_ms, &job.cancel);
            if index * chunk * 2 >= tone.len() {
                self.suffer(fault, &job.replies, &job.cancel, true)?;
            }
            job.replies.send_pcm(samples)?;
            first_chunk.get_or_insert_with(|| job.received.elapsed());
            chunks += 1;
        }
        let total = job.received.elapsed();
        job.replies.send_tts(&TtsReply::Done(TtsDone {
            samples: tone.len() as u64,
            chunks,
            first_chunk_us: micros(first_chunk.unwrap_or(total)),
            total_us: micros(total),
            cached: false,
        }))?;
        Ok(())
    }

    /// Lets the fault happen. `true`: the job is over without a last message.
    fn suffer(
        &self,
        fault: Option<&Fault>,
        replies: &Replies,
        cancel: &CancelFlag,
        halfway: bool,
    ) -> Result<bool, Failure> {
        match fault {
            None => Ok(false),
            Some(Fault::Hang) => {
                while self.script.deaf || !cancel.is_cancelled() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(true)
            }
            Some(Fault::Abort) => std::process::abort(),
            Some(Fault::AbortHalfway) if halfway => std::process::abort(),
            Some(Fault::AbortHalfway) => Ok(false),
            Some(Fault::Panic) => panic!("the script says so"),
            Some(Fault::Silent) => Ok(true),
            Some(Fault::Garbage) => {
                replies.send_raw(b"{\"type\":\"nonsense\"")?;
                Ok(true)
            }
            Some(Fault::Fail { code, message }) => Err(Failure::new(loqa_protocol::Hop::Hub, *code, message.clone())),
        }
    }

    fn before_answering(&self, cancel: &CancelFlag) {
        self.pass_time(self.script.delay_ms, cancel);
    }

    /// Stands for computing: ends early when cancelled, unless the script is deaf.
    fn pass_time(&self, ms: u64, cancel: &CancelFlag) {
        let ends = Instant::now() + Duration::from_millis(ms);
        while (self.script.deaf || !cancel.is_cancelled()) && Instant::now() < ends {
            std::thread::sleep(Duration::from_millis(1).min(ends - Instant::now().min(ends)));
        }
    }
}

/// A tone of 440 Hz at a third of full scale.
fn tone(samples: u64) -> Vec<i16> {
    let step = 440.0 * TAU / OUTPUT_SAMPLE_RATE as f32;
    (0..samples).map(|n| ((n as f32 * step).sin() * 10_000.0) as i16).collect()
}

fn audio_ms(samples: u64) -> u64 {
    samples * 1_000 / u64::from(INPUT_SAMPLE_RATE)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
