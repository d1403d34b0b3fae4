//! The speaker as an engine: loads at boot, announces what it has, does the jobs.

use crate::error::TtsError;
use crate::model::SAMPLE_RATE;
use crate::phonemes::Accent;
use crate::settings::Settings;
use crate::speaker::{Clause, Speaker};
use loqa_engine::{Capability, EngineBoot, Job, Loaded, TtsJob, Worker};
use loqa_protocol::latency::Hop;
use loqa_protocol::tts::{TtsDone, TtsReply};
use loqa_protocol::{ErrorCode, Failure};
use std::path::Path;
use std::time::{Duration, Instant};

/// Loads what the boot message names.
pub fn load(boot: &EngineBoot) -> Result<Loaded, Failure> {
    let model = Path::new(&boot.model_path);
    let settings = Settings::read(&boot.settings, model)?;
    let speaker = Speaker::load(model, &settings)?;
    let capability = Capability {
        name: boot.capability.clone(),
        model: boot.model.clone(),
        quantisation: speaker.model().header().weights.to_owned(),
        languages: speaker.voices().accents().into_iter().map(|accent| Accent::language(accent).to_owned()).collect(),
        sample_rate: Some(SAMPLE_RATE),
        voices: speaker.voices().names(),
        measured_speed: speaker.measured_speed(),
    };
    Ok(Loaded { workers: vec![Box::new(TtsWorker { speaker })], capabilities: vec![capability] })
}

/// Speaks one clause at a time.
#[derive(Debug)]
pub struct TtsWorker {
    speaker: Speaker,
}

impl TtsWorker {
    /// A worker around a loaded speaker.
    #[must_use]
    pub fn new(speaker: Speaker) -> Self {
        Self { speaker }
    }

    fn speak(&mut self, job: &TtsJob) -> Result<(), Failure> {
        let TtsJob { request, received, replies, cancel } = job;
        let deadline = Duration::from_millis(request.deadline_ms);
        let mut first_chunk: Option<Instant> = None;
        let clause = Clause { text: &request.text, voice: request.voice.as_deref(), speed: request.speed };
        let spoken = self.speaker.speak(clause, cancel, |chunk| {
            let sent = replies.send_pcm(chunk);
            first_chunk.get_or_insert_with(Instant::now);
            sent
        });
        let spoken = match spoken {
            // The runtime sets the flag for both; the caller wants to know which it was.
            Err(TtsError::Cancelled) if received.elapsed() >= deadline => {
                return Err(TtsError::DeadlineExceeded(request.deadline_ms).into());
            }
            other => other?,
        };
        let since = |at: Instant| u64::try_from(at.duration_since(*received).as_micros()).unwrap_or(u64::MAX);
        let now = Instant::now();
        let done = TtsDone {
            samples: spoken.samples,
            chunks: spoken.chunks,
            first_chunk_us: since(first_chunk.unwrap_or(now)),
            total_us: since(now),
            cached: spoken.cached,
        };
        tracing::debug!(
            samples = done.samples,
            first_chunk_us = done.first_chunk_us,
            total_us = done.total_us,
            phonemes_us = spoken.phonemes_took.as_micros(),
            inference_us = spoken.inference_took.as_micros(),
            cached = done.cached,
            "clause spoken"
        );
        // An error means that the job was taken back in this very moment, which is no fault.
        let _ = replies.send_tts(&TtsReply::Done(done));
        Ok(())
    }
}

impl Worker for TtsWorker {
    fn run(&mut self, job: Job) -> Result<(), Failure> {
        match job {
            Job::Tts(job) => self.speak(&job),
            Job::Stt(_) | Job::Llm(_) => Err(Failure::new(Hop::Tts, ErrorCode::BadRequest, "this engine only speaks")),
        }
    }
}
