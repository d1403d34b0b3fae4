//! Loqa's speech-to-text engine: whisper.cpp behind the engine protocol.
//!
//! Reading order: [`worker`] (one utterance from frames to text), [`listen`] (when
//! a pass runs), [`decode`] (one pass), [`verdict`] (silence or speech),
//! [`whisper`] (the C library). Figures and their measurements stand in `docs/stt.md`.
//!
//! Deliberately absent: resampling, voice activity detection (the hub's `loqa-audio`
//! does both) and everything about the bus (`loqa-engine`).
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on stops"))]

pub mod decode;
pub mod listen;
pub mod mel;
pub mod model_file;
pub mod recognizer;
pub mod settings;
pub mod verdict;
pub mod whisper;
pub mod worker;

use crate::settings::Settings;
use crate::whisper::{LoadError, Model};
use crate::worker::SttWorker;
use loqa_engine::{Capability, EngineBoot, Loaded, Worker};
use loqa_protocol::audio::INPUT_SAMPLE_RATE;
use loqa_protocol::{ErrorCode, Failure, Hop};
use std::path::Path;
use std::sync::Arc;

/// Loads the model of the boot message, one worker for each slot, and measures it.
///
/// # Errors
/// A failure with [`ErrorCode::ModelInvalid`] that names the file, what is wrong
/// with it and the way out; [`ErrorCode::BadRequest`] for a setting out of range.
pub fn load(boot: &EngineBoot) -> Result<Loaded, Failure> {
    let model = Model::load(Path::new(&boot.model_path)).map_err(|error| refused(&error))?;
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    let settings = Settings::read(&boot.settings, &model.header, n_cores)?;

    let mut workers: Vec<Box<dyn Worker>> = Vec::with_capacity(settings.workers);
    let mut fastest = std::time::Duration::MAX;
    for _ in 0..settings.workers {
        let mut worker = SttWorker::new(Arc::clone(&model), settings).map_err(|error| refused(&error))?;
        // The first pass brings pages in, the second one shows the speed.
        for _ in 0..2 {
            fastest = fastest.min(worker.warm_up()?);
        }
        workers.push(Box::new(worker));
    }

    let capability = Capability {
        name: boot.capability.clone(),
        model: boot.model.clone(),
        quantisation: model.header.quantisation.to_owned(),
        languages: model.languages().into_iter().map(str::to_owned).collect(),
        sample_rate: Some(INPUT_SAMPLE_RATE),
        voices: Vec::new(),
        // The warm-up decodes one second of audio.
        measured_speed: 1.0 / fastest.as_secs_f64().max(1e-6),
    };
    tracing::info!(
        model = capability.model,
        quantisation = capability.quantisation,
        threads = settings.threads,
        workers = settings.workers,
        speed = capability.measured_speed,
        "speech model ready"
    );
    Ok(Loaded { workers, capabilities: vec![capability] })
}

fn refused(error: &LoadError) -> Failure {
    Failure::new(Hop::Stt, ErrorCode::ModelInvalid, error.to_string())
}
