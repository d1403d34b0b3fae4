//! Text in, chunks of speech out: the whole path of one request, without the bus.

use crate::cache::{Phrase, PhraseCache};
use crate::error::TtsError;
use crate::interrupt::Interrupter;
use crate::model::{Model, SAMPLE_RATE};
use crate::pcm::{self, Chunker};
use crate::phonemes::{Accent, Phonemiser};
use crate::settings::Settings;
use crate::voices::Voices;
use crate::{pieces, runtime, speakable, vocab};
use loqa_engine::CancelFlag;
use ort::session::RunOptions;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest text of one request, in characters.
pub const MAX_TEXT: usize = 2_000;
/// Slowest and fastest speech.
pub const SPEEDS: std::ops::RangeInclusive<f32> = 0.5..=2.0;
/// Spoken once at start: the first inference allocates, and its speed is announced.
const WARM_UP: &str = "The kitchen light is on, and the timer has five minutes left.";

/// A model, its voices and its dictionaries.
#[derive(Debug)]
pub struct Speaker {
    model: Model,
    voices: Voices,
    phonemisers: Vec<Phonemiser>,
    cache: PhraseCache,
    interrupter: Interrupter,
    measured_speed: f64,
}

/// One clause to speak.
#[derive(Debug, Clone, Copy)]
pub struct Clause<'a> {
    /// Any text.
    pub text: &'a str,
    /// Name of a voice, or the default one.
    pub voice: Option<&'a str>,
    /// 1 is normal; see [`SPEEDS`].
    pub speed: f32,
}

/// What one clause took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spoken {
    /// Samples handed over.
    pub samples: u64,
    /// Chunks handed over.
    pub chunks: u64,
    /// Whether they were kept from an earlier clause.
    pub cached: bool,
    /// Time in the dictionaries and rules.
    pub phonemes_took: Duration,
    /// Time in the model.
    pub inference_took: Duration,
}

impl Speaker {
    /// Loads everything and speaks once. Dictionaries and model load side by side.
    pub fn load(model: &Path, settings: &Settings) -> Result<Self, TtsError> {
        let environment = runtime::load(&runtime::locate(settings.ort_dylib.as_deref())?)?;
        let american = std::thread::Builder::new()
            .name("tts-dictionary".to_owned())
            .spawn(|| Phonemiser::load(Accent::American))
            .map_err(|error| TtsError::Inference(format!("cannot start a thread: {error}")))?;
        let model = Model::load(&environment, model, settings.intra_threads)?;
        tracing::debug!(contract = %model.contract(), "model loaded");
        let voices = Voices::open(&settings.voices_dir, model.contract().style_width, settings.voice.as_deref())?;
        let mut phonemisers = Vec::new();
        if voices.accents().contains(&Accent::British) {
            phonemisers.push(Phonemiser::load(Accent::British));
        }
        let american =
            american.join().map_err(|_| TtsError::Inference("the dictionary cannot be loaded".to_owned()))?;
        if voices.accents().contains(&Accent::American) {
            phonemisers.push(american);
        }
        let interrupter =
            Interrupter::start().map_err(|error| TtsError::Inference(format!("cannot start a thread: {error}")))?;
        let cache = PhraseCache::new(settings.cache_bytes);
        let mut speaker = Self { model, voices, phonemisers, cache, interrupter, measured_speed: 0.0 };
        speaker.warm_up()?;
        Ok(speaker)
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The voices.
    #[must_use]
    pub fn voices(&self) -> &Voices {
        &self.voices
    }

    /// Seconds of speech per second of computing, measured at start.
    #[must_use]
    pub fn measured_speed(&self) -> f64 {
        self.measured_speed
    }

    /// Speaks a clause: hands each chunk to `sink` as soon as it is made. `sink` returns
    /// an error when nobody listens any more. Returns within a few milliseconds once
    /// `cancel` is set. A text without anything to speak gives no chunks and no error.
    pub fn speak<E>(
        &mut self,
        clause: Clause<'_>,
        cancel: &CancelFlag,
        mut sink: impl FnMut(&[i16]) -> Result<(), E>,
    ) -> Result<Spoken, TtsError> {
        let characters = clause.text.chars().count();
        if characters > MAX_TEXT {
            return Err(TtsError::TextTooLong { characters, limit: MAX_TEXT });
        }
        if !SPEEDS.contains(&clause.speed) {
            let reason = format!("speed {} is not in {} to {}", clause.speed, SPEEDS.start(), SPEEDS.end());
            return Err(TtsError::BadRequest(reason));
        }
        let voice = clause.voice.unwrap_or(self.voices.default_name()).to_owned();
        let table = self.voices.table(Some(&voice))?;
        let started = Instant::now();
        let text = speakable::speakable(clause.text);
        let mut spoken = Spoken { phonemes_took: started.elapsed(), ..Spoken::default() };
        let mut chunker = Chunker::default();
        let mut send = |samples: &[i16], spoken: &mut Spoken| {
            for chunk in chunker.cut(samples) {
                if cancel.is_cancelled() {
                    return Err(TtsError::Cancelled);
                }
                sink(chunk).map_err(|_| TtsError::Cancelled)?;
                spoken.chunks += 1;
                spoken.samples += chunk.len() as u64;
            }
            Ok(())
        };

        let phrase = Phrase { voice, speed: clause.speed.to_bits(), text };
        if let Some(kept) = self.cache.get(&phrase) {
            spoken.cached = true;
            send(&kept, &mut spoken)?;
            return Ok(spoken);
        }
        let phonemiser = self
            .phonemisers
            .iter()
            .find(|phonemiser| phonemiser.accent() == table.accent)
            .ok_or_else(|| TtsError::Inference("no dictionary for the voice's accent".to_owned()))?;
        let mut whole = Vec::new();
        for sentence in speakable::sentences(&phrase.text) {
            let started = Instant::now();
            let phonemes = phonemiser.phonemes(sentence);
            spoken.phonemes_took += started.elapsed();
            for piece in pieces::pieces(&phonemes, spoken.chunks == 0) {
                if cancel.is_cancelled() {
                    return Err(TtsError::Cancelled);
                }
                let ids = vocab::ids(piece);
                let options = Arc::new(RunOptions::new().map_err(|error| TtsError::Inference(error.to_string()))?);
                let started = Instant::now();
                let waveform = {
                    let _watch = self.interrupter.watch(Arc::clone(&options), cancel.clone());
                    self.model.run(&ids, table.style(ids.len() - 2), clause.speed, &options)
                };
                spoken.inference_took += started.elapsed();
                if cancel.is_cancelled() {
                    return Err(TtsError::Cancelled);
                }
                let samples = pcm::finish(&waveform?, pcm::pause_after(piece.chars().last()));
                send(&samples, &mut spoken)?;
                whole.extend(samples);
            }
        }
        self.cache.insert(phrase, &whole);
        Ok(spoken)
    }

    fn warm_up(&mut self) -> Result<(), TtsError> {
        // Twice: the first run allocates.
        for _ in 0..2 {
            let mut samples = 0_usize;
            let clause = Clause { text: WARM_UP, voice: None, speed: 1.0 };
            let keep = std::mem::replace(&mut self.cache, PhraseCache::new(0));
            let spoken = self.speak(clause, &CancelFlag::new(), |chunk| {
                samples += chunk.len();
                Ok::<(), TtsError>(())
            });
            self.cache = keep;
            let spoken = spoken?;
            if samples == 0 {
                return Err(TtsError::Inference("the model gives silence for a test sentence".to_owned()));
            }
            let computing = (spoken.phonemes_took + spoken.inference_took).as_secs_f64();
            self.measured_speed = samples as f64 / f64::from(SAMPLE_RATE) / computing.max(1e-9);
        }
        Ok(())
    }
}
