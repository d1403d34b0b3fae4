//! The engine-specific settings of the boot message. Keys that belong to other
//! engines are left alone; a value of a wrong kind is refused by name.

use crate::listen::Pacing;
use crate::model_file::ModelHeader;
use loqa_protocol::{ErrorCode, Failure, Hop};
use serde_json::{Map, Value};
use std::time::Duration;

/// How to run the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `threads`: threads of one pass.
    pub threads: usize,
    /// `workers`: utterances at the same time, each with a state of its own.
    pub workers: usize,
    /// `pause_ms` and `partial_ms`.
    pub pacing: Pacing,
    /// `audio_ctx_floor` and `audio_ctx_margin`.
    pub audio_ctx: AudioCtx,
}

/// How much room the encoder gets: whisper.cpp's default is always 30 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioCtx {
    /// Never fewer positions.
    pub floor: usize,
    /// Positions more than the audio fills.
    pub margin: usize,
    /// Never more positions: what the model was built with.
    pub ceiling: usize,
}

impl AudioCtx {
    /// Positions for so many mel frames; one position covers two frames.
    #[must_use]
    pub fn for_frames(&self, n_frames: usize) -> usize {
        (n_frames.div_ceil(2) + self.margin).max(self.floor).min(self.ceiling)
    }
}

impl Settings {
    /// Takes the settings of the boot message; defaults depend on the model and the machine.
    ///
    /// # Errors
    /// A failure with [`ErrorCode::BadRequest`] that names the key and what is allowed.
    pub fn read(settings: &Map<String, Value>, header: &ModelHeader, n_cores: usize) -> Result<Self, Failure> {
        let number = |key: &str, default: usize, allowed: std::ops::RangeInclusive<usize>| match settings.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value
                .as_u64()
                .and_then(|value| usize::try_from(value).ok())
                .filter(|value| allowed.contains(value))
                .ok_or_else(|| {
                    let (least, most) = (allowed.start(), allowed.end());
                    let message = format!(
                        "setting `{key}` of the speech engine must be a number from {least} to {most}: {value}"
                    );
                    Failure::new(Hop::Stt, ErrorCode::BadRequest, message)
                }),
        };
        // The starter model is so small that a second thread spends its time in ggml's
        // spinning barriers; measured on two busy cores: 2.4 to 40 times slower.
        let threads = if header.is_starter_class() { 1 } else { n_cores.clamp(1, 4) };
        // Starter: measured, see docs/stt.md. Published models were trained on 30 s windows
        // only and repeat themselves in small ones; 384 and 64 are the community's figures.
        let (floor, margin) = if header.is_starter_class() { (32, 8) } else { (384, 64) };
        let ceiling = header.audio_ctx as usize;
        Ok(Self {
            threads: number("threads", threads, 1..=64)?,
            workers: number("workers", 2, 1..=8)?,
            pacing: Pacing {
                // One frame: the hub's detector says "no voice" 96 ms after the last sound.
                pause: Duration::from_millis(number("pause_ms", 20, 20..=2_000)? as u64),
                partial_every: Duration::from_millis(number("partial_ms", 500, 100..=10_000)? as u64),
            },
            audio_ctx: AudioCtx {
                floor: number("audio_ctx_floor", floor.min(ceiling), 8..=ceiling)?,
                margin: number("audio_ctx_margin", margin, 0..=ceiling)?,
                ceiling,
            },
        })
    }
}
