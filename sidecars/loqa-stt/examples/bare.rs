//! The engine's decoding pass beside the bare library call on the same input: the
//! time of `whisper-rs`' `full` divided by ours. Above 1 the engine is faster.
//!
//! Twice: with whisper.cpp's audio context cut as the engine cuts it, and with its
//! default of 30 s. The fastest of each clip counts, since other programs can only
//! slow a pass down.
//!
//! ```console
//! $ cargo run -p loqa-stt --example bare
//! ```
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "an example prints and stops at what it cannot do")]

#[path = "../tests/stt/clips.rs"]
mod clips;

use loqa_stt::decode::{self, Pass};
use loqa_stt::mel::MelStream;
use loqa_stt::settings::Settings;
use loqa_stt::whisper::{Model, State};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use whisper_rs::{FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().map_or_else(clips::starter_model, std::path::PathBuf::from);
    let repetitions: usize = arguments.next().map_or(15, |n| n.parse().unwrap());
    let model = Model::load(&path).unwrap();
    let settings = Settings::read(&serde_json::Map::new(), &model.header, 2).unwrap();
    let mut state = State::new(model.clone(), settings.threads).unwrap();
    let mut bare =
        WhisperContext::new_with_params(&path, WhisperContextParameters::default()).unwrap().create_state().unwrap();
    whisper_rs::install_logging_hooks();

    println!("{:<16} {:>9} {:>9} {:>7} {:>12}  same text", "clip", "ours ms", "bare ms", "ratio", "bare 30 s ms");
    for clip in clips::clips() {
        let floats: Vec<f32> = clip.samples.iter().map(|sample| f32::from(*sample) / 32_768.0).collect();
        let mut mel = MelStream::new(model.header.filters.clone());
        mel.push(&clip.samples);
        let audio_ctx = settings.audio_ctx.for_frames(mel.n_frames());
        let mut full = |audio_ctx: usize| {
            let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
            params.set_n_threads(i32::try_from(settings.threads).unwrap());
            params.set_audio_ctx(i32::try_from(audio_ctx).unwrap());
            params.set_single_segment(true);
            params.set_no_context(true);
            params.set_no_timestamps(true);
            params.set_temperature_inc(0.0);
            params.set_print_progress(false);
            bare.full(params, &floats).unwrap();
            bare.as_iter().map(|segment| segment.to_str_lossy().unwrap().trim().to_owned()).collect::<String>()
        };
        let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
        let (mut our_text, mut their_text) = (String::new(), String::new());
        // In turns, so that both see the same machine.
        for _ in 0..repetitions {
            let began = Instant::now();
            let pass = Pass {
                mel: mel.window(0, 2 * audio_ctx),
                language: None,
                hint: Vec::new(),
                max_tokens: 100,
                no_speech_limit: 1.0,
            };
            our_text = decode::decode(&mut state, &pass, &AtomicBool::new(false)).unwrap().text;
            ours = ours.min(began.elapsed());
            let began = Instant::now();
            their_text = full(audio_ctx);
            theirs = theirs.min(began.elapsed());
        }
        let began = Instant::now();
        full(0);
        let default = began.elapsed();
        println!(
            "{:<16} {:>9.1} {:>9.1} {:>7.2} {:>12.0}  {}",
            clip.name,
            ours.as_secs_f64() * 1e3,
            theirs.as_secs_f64() * 1e3,
            theirs.as_secs_f64() / ours.as_secs_f64(),
            default.as_secs_f64() * 1e3,
            our_text == their_text,
        );
    }
}
