//! How small may the audio context be? Word errors, loops and time of a folder of
//! clips (`clips.tsv`: file, tab, what was said) for several margins and floors.
//! The table of `docs/stt.md` comes from here; run it again for new weights.
//!
//! ```console
//! $ cargo run -p loqa-stt --example context -- models/starter/stt/starter-q8_0.bin models/starter/speech
//! ```
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "an example prints and stops at what it cannot do")]

#[path = "../tests/stt/clips.rs"]
mod clips;

use clips::Clip;
use loqa_stt::decode::{self, Pass, max_tokens};
use loqa_stt::mel::MelStream;
use loqa_stt::whisper::{Model, State};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().map_or_else(clips::starter_model, PathBuf::from);
    let folder = arguments.next().map_or_else(clips::speech_folder, PathBuf::from);
    let model = Model::load(&path).unwrap();
    let mut state = State::new(model.clone(), 1).unwrap();
    let clips = clips::clips_in(&folder);
    let ceiling = i64::from(model.header.audio_ctx);

    println!("{} clips, positions fitted to the clip plus a margin", clips.len());
    for margin in [-24, -12, -6, 0, 4, 8, 16, 32, 64, 128] {
        let context = |filled: i64| (filled + margin).clamp(8, ceiling);
        println!("margin {margin:>5}  {}", measure(&mut state, &clips, context));
    }
    println!("positions fixed");
    for fixed in [24, 32, 48, 64, 128, 256, 400] {
        println!("fixed  {fixed:>5}  {}", measure(&mut state, &clips, |_| fixed));
    }
}

fn measure(state: &mut State, clips: &[Clip], context: impl Fn(i64) -> i64) -> String {
    let (mut errors, mut n_words, mut exact, mut loops) = (0, 0, 0, 0);
    let mut times = Vec::new();
    for clip in clips {
        let mut mel = MelStream::new(state.model().header.filters.clone());
        mel.push(&clip.samples);
        let filled = i64::try_from(mel.n_frames().div_ceil(2)).unwrap();
        let pass = Pass {
            mel: mel.window(0, 2 * usize::try_from(context(filled)).unwrap()),
            language: None,
            hint: Vec::new(),
            max_tokens: max_tokens(Duration::from_millis(clip.samples.len() as u64 / 16)),
            no_speech_limit: 1.0,
        };
        let transcript = decode::decode(state, &pass, &AtomicBool::new(false)).unwrap();
        let (said, heard) = (words(&clip.text), words(&transcript.text));
        errors += distance(&said, &heard);
        n_words += said.len();
        exact += usize::from(said == heard);
        loops += usize::from(transcript.looped || heard.len() > 2 * said.len() + 3);
        times.push(transcript.compute.as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    format!(
        "word errors {:>5.1} %  exact {:>5.1} %  loops {loops}  ms p50 {:>5.1}  p95 {:>5.1}",
        100.0 * errors as f64 / n_words as f64,
        100.0 * exact as f64 / clips.len() as f64,
        times[times.len() / 2],
        times[times.len() * 95 / 100],
    )
}

fn words(text: &str) -> Vec<String> {
    let kept: String = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '%' | ':')).collect();
    kept.to_lowercase().split_whitespace().map(str::to_owned).collect()
}

/// Words to insert, delete or change.
fn distance(said: &[String], heard: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, said) in said.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, heard) in heard.iter().enumerate() {
            let change = diagonal + usize::from(said != heard);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[heard.len()]
}
