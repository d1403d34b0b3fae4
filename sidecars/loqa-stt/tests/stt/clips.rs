//! The bundled clips and a worker to speak them to; shared by tests and examples.
#![allow(dead_code, reason = "each user of this module needs another part of it")]

use loqa_protocol::stt::SttRequest;
use loqa_protocol::{SessionId, TurnId, WorkId};
use loqa_stt::settings::Settings;
use loqa_stt::whisper::Model;
use loqa_stt::worker::SttWorker;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// One recording and the transcript that the starter model gives.
#[derive(Clone)]
pub struct Clip {
    pub name: String,
    pub text: String,
    pub samples: Vec<i16>,
}

impl Clip {
    /// Frames of 20 ms. A frame is voiced when it is louder than -45 dBFS: these
    /// clips have clean pauses, so that the hub's detector is not needed.
    pub fn frames(&self) -> Vec<(Vec<i16>, bool)> {
        self.samples.chunks(320).map(|frame| (frame.to_vec(), is_loud(frame))).collect()
    }

    /// The clip as if the key had been released with the last sound.
    pub fn cut_after_speech(&self) -> Self {
        let frames = self.frames();
        let last = frames.iter().rposition(|(_, voiced)| *voiced).map_or(0, |last| last + 1);
        let samples = frames.into_iter().take(last).flat_map(|(samples, _)| samples).collect();
        Self { samples, ..self.clone() }
    }
}

fn is_loud(frame: &[i16]) -> bool {
    let power: f64 = frame.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / frame.len() as f64;
    power.sqrt() / 32_768.0 > 0.0056
}

fn starter() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/starter")
}

pub fn starter_model() -> PathBuf {
    starter().join("stt/starter-q8_0.bin")
}

pub fn speech_folder() -> PathBuf {
    starter().join("speech")
}

/// The clips of `clips.tsv`; at least one.
pub fn clips_in(folder: &Path) -> Vec<Clip> {
    let list = std::fs::read_to_string(folder.join("clips.tsv")).expect("the speech folder has a clips.tsv");
    let clips: Vec<Clip> = list
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(file, text)| Clip {
            name: file.trim_end_matches(".wav").to_owned(),
            text: text.trim().to_owned(),
            samples: read(&folder.join(file)),
        })
        .collect();
    assert!(!clips.is_empty(), "clips.tsv lists no clip");
    clips
}

pub fn clips() -> Vec<Clip> {
    clips_in(&speech_folder())
}

pub fn clip(name: &str) -> Clip {
    clips().into_iter().find(|clip| clip.name == name).expect("a bundled clip of this name")
}

pub fn read(path: &Path) -> Vec<i16> {
    let mut reader = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!((reader.spec().sample_rate, reader.spec().channels), (16_000, 1), "{}", path.display());
    reader.samples::<i16>().map(|sample| sample.expect("a whole sample")).collect()
}

pub fn model() -> std::sync::Arc<Model> {
    Model::load(&starter_model()).expect("the starter model loads")
}

pub fn worker(path: &Path) -> SttWorker {
    worker_with(path, &Map::new())
}

pub fn worker_with(path: &Path, settings: &Map<String, Value>) -> SttWorker {
    let model = Model::load(path).expect("the model loads");
    let settings = Settings::read(settings, &model.header, 2).expect("the settings are in range");
    SttWorker::new(model, settings).expect("there is memory for a state")
}

pub fn request(partials: bool) -> SttRequest {
    SttRequest {
        work: WorkId::from_bits(1),
        turn: TurnId::from_bits(2),
        session: SessionId::from_bits(3),
        language: Some("en".to_owned()),
        hint: String::new(),
        partials,
        deadline_ms: 30_000,
    }
}
