//! How fast a model would be on this machine and whether it fits, before anybody
//! downloads it.
//!
//! Two figures of the machine are measured, each in a fraction of a second: how many
//! bytes a second its cores read from memory together, and how many multiplications and
//! additions they do. The rest is arithmetic that `docs/models.md` explains:
//!
//! - A language model reads all its weights for each token it writes, so its speed is
//!   bandwidth over bytes; a prompt is read many tokens at a time, so that is bound by
//!   arithmetic: two operations per weight and token.
//! - Whisper's encoder, half of its weights, works on 50 positions a second of sound;
//!   its decoder, the other half, writes a few tokens a second.
//! - A voice works on frames; how many operations that takes per weight was measured.
//!
//! A forecast is right within a factor of [`ERROR_FACTOR`] and says so. It is no
//! measurement: an engine measures itself when it has its model, and `loqa nodes` shows
//! that. Deliberately absent: graphics cards, which the engines do not use.

mod probe;

pub use probe::Machine;

use crate::catalog::{Catalog, Model, Presence, Role};
use loqa_protocol::engine::EngineKind;
use serde::Serialize;

/// Real speeds lie within the forecast times and over this. Chosen after comparing with
/// the starter models, whose engines reach between a half and twice of what is foretold.
pub const ERROR_FACTOR: f64 = 3.0;
/// Share of the measured arithmetic that the engines' kernels reach. Measured with the
/// starter models.
const ARITHMETIC_SHARE: f64 = 0.5;
/// Share of the measured bandwidth that they reach. Measured with the starter models.
const BANDWIDTH_SHARE: f64 = 0.8;
/// What each token costs beside reading the weights: sampling, the grammar, the cache.
/// Measured with the reflex model, whose weights cost next to nothing.
const TOKEN_OVERHEAD_S: f64 = 250e-6;
/// Encoder positions of a second of sound. From the Whisper paper: 1,500 in 30 s.
const WHISPER_POSITIONS: f64 = 50.0;
/// Tokens of a second of speech. Chosen: English speech at 150 words a minute.
const SPOKEN_TOKENS: f64 = 3.5;
/// What a decoding costs beside the arithmetic, per second of sound. Measured with the
/// starter recogniser.
const WHISPER_OVERHEAD_S: f64 = 20e-3;
/// Operations per weight and second of speech of a Kokoro voice. Measured with the
/// starter voices.
const VOICE_OPERATIONS: f64 = 320.0;
/// What a clause costs beside that, per second of speech. Measured with the starter voices.
const VOICE_OVERHEAD_S: f64 = 5e-3;
/// Memory that has to stay free beside the model. Chosen: a desktop with a browser.
const RAM_RESERVE_MB: u64 = 1_024;

/// Whether a model fits into the memory that is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// With room to spare.
    Fits,
    /// It fits, and little is left for other programs.
    Tight,
    /// It does not fit; the machine would swap, or end the engine.
    TooLarge,
}

/// What a speed counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Tokens that a language model writes.
    TokensPerSecond,
    /// Seconds of sound per second of computing.
    TimesRealTime,
}

/// The forecast for one model on one machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Forecast {
    /// Catalog name.
    pub name: String,
    /// What `speed` counts.
    pub unit: Unit,
    /// How fast it would be.
    pub speed: f64,
    /// It will hardly be slower.
    pub at_least: f64,
    /// Nor faster.
    pub at_most: f64,
    /// Tokens of a prompt that a language model reads in a second; null for others.
    pub prompt_tokens_per_second: Option<f64>,
    /// Memory that the engine would take, in MB.
    pub ram_mb: u64,
    /// Memory that is free, in MB.
    pub ram_free_mb: u64,
    /// Whether that is enough.
    pub fit: Fit,
    /// Bytes that are still to be fetched.
    pub download_bytes: u64,
    /// What was measured.
    pub machine: Machine,
}

impl Forecast {
    /// The forecast for `model` on `machine`.
    #[must_use]
    pub fn of(catalog: &Catalog, model: &Model, machine: &Machine) -> Self {
        let (unit, speed, prompt) = speed(model, machine);
        let fit = if model.ram_mb > machine.ram_free_mb {
            Fit::TooLarge
        } else if model.ram_mb + RAM_RESERVE_MB > machine.ram_free_mb {
            Fit::Tight
        } else {
            Fit::Fits
        };
        let download_bytes = match catalog.presence(model) {
            Presence::Installed => 0,
            Presence::Absent | Presence::Incomplete | Presence::Unpinned => catalog.missing_bytes(model),
        };
        Self {
            name: model.name.clone(),
            unit,
            speed,
            at_least: speed / ERROR_FACTOR,
            at_most: speed * ERROR_FACTOR,
            prompt_tokens_per_second: prompt,
            ram_mb: model.ram_mb,
            ram_free_mb: machine.ram_free_mb,
            fit,
            download_bytes,
            machine: machine.clone(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "estimates")]
fn speed(model: &Model, machine: &Machine) -> (Unit, f64, Option<f64>) {
    let operations = machine.operations_per_second * ARITHMETIC_SHARE;
    let bandwidth = machine.bytes_per_second * BANDWIDTH_SHARE;
    let weights = model.files.iter().filter(|file| file.role == Role::Model).map(|file| file.size).sum::<u64>() as f64;
    let parameters = model.parameters as f64;
    match model.kind {
        EngineKind::Llm => {
            let token_s = weights / bandwidth + TOKEN_OVERHEAD_S;
            let prompt = 1.0 / (2.0 * parameters / operations + TOKEN_OVERHEAD_S / 8.0);
            (Unit::TokensPerSecond, 1.0 / token_s, Some(prompt))
        }
        EngineKind::Stt => {
            let encoder_s = parameters * WHISPER_POSITIONS / operations;
            let decoder_s = SPOKEN_TOKENS * weights / 2.0 / bandwidth;
            (Unit::TimesRealTime, 1.0 / (encoder_s + decoder_s + WHISPER_OVERHEAD_S), None)
        }
        EngineKind::Tts => {
            let voice_s = parameters * VOICE_OPERATIONS / operations;
            (Unit::TimesRealTime, 1.0 / (voice_s + VOICE_OVERHEAD_S), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn machine(ram_free_mb: u64) -> Machine {
        Machine {
            hardware: "x86_64-2c".to_owned(),
            cores: 2,
            bytes_per_second: 10e9,
            operations_per_second: 100e9,
            ram_mb: 8_000,
            ram_free_mb,
        }
    }

    fn forecast(name: &str, machine: &Machine) -> Forecast {
        let catalog = Catalog::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models")).unwrap();
        Forecast::of(&catalog, catalog.find(name, None).unwrap(), machine)
    }

    #[test]
    fn a_large_model_is_slow_and_a_small_one_is_not() {
        let machine = machine(8_000);
        let large = forecast("qwen3-4b", &machine);
        // 2.5 GB a token at 8 GB/s.
        assert!((large.speed - 3.2).abs() < 0.1, "{}", large.speed);
        assert!(forecast("reflex", &machine).speed > 100.0 * large.speed);
        assert!(forecast("qwen2-5-7b", &machine).speed < large.speed);
        assert!(forecast("whisper-small", &machine).speed < forecast("whisper-tiny", &machine).speed / 3.0);
        assert!(large.at_least < large.speed && large.speed < large.at_most);
    }

    #[test]
    fn memory_that_is_not_there_is_said() {
        for (free, fit) in [(8_000, Fit::Fits), (3_500, Fit::Tight), (3_000, Fit::TooLarge)] {
            assert_eq!(forecast("qwen3-4b", &machine(free)).fit, fit, "{free} MB");
        }
    }

    #[test]
    fn a_bundled_model_needs_no_download() {
        assert_eq!(forecast("reflex", &machine(8_000)).download_bytes, 0);
        assert_eq!(forecast("whisper-tiny", &machine(8_000)).download_bytes, 77_691_713);
    }
}
