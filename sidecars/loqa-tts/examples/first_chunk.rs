//! Measures how soon a clause can be heard: dictionaries, inference, first chunk; and the
//! inference beside a bare call of ONNX Runtime on the same ids.
//!
//! ```console
//! $ cargo run -p loqa-tts --example first_chunk
//! ```
//!
//! Optional arguments: the number of runs, then the path of a model whose voices lie beside it.
#![expect(clippy::print_stdout, reason = "an example prints its figures")]

use anyhow::Context;
use loqa_engine::CancelFlag;
use loqa_tts::pcm::{self, FIRST_CHUNK};
use loqa_tts::phonemes::{Accent, Phonemiser};
use loqa_tts::settings::Settings;
use loqa_tts::voices::Voices;
use loqa_tts::{Clause, Speaker, runtime, speakable, vocab};
use ort::session::Session;
use ort::value::TensorRef;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const CLAUSES: &[&str] = &[
    "Okay.",
    "The light is off.",
    "Timer set for five minutes.",
    "I set a timer for ten minutes, and the kitchen light is on.",
];

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let runs: usize = arguments.next().map_or(Ok(40), |n| n.parse()).context("the number of runs")?;
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let model = arguments.next().map_or_else(|| repository.join("models/starter/tts/starter-tts.onnx"), PathBuf::from);
    let tools = std::env::var_os("LOQA_TOOLS").map_or_else(|| repository.join(".tools"), PathBuf::from);
    let dylib = tools.join("onnxruntime").join(runtime::DYLIB_NAME);
    let dylib = dylib.canonicalize().with_context(|| format!("{}: run `npm run setup`", dylib.display()))?;

    let mut settings = Settings::read(&serde_json::Map::new(), &model)?;
    settings.ort_dylib = Some(dylib.clone());
    settings.cache_bytes = 0;
    let started = Instant::now();
    let mut speaker = Speaker::load(&model, &settings)?;
    println!(
        "ready after {:.0} ms; {:.0} s of speech per second; {}",
        ms(started.elapsed()),
        speaker.measured_speed(),
        speaker.model().contract()
    );

    let mut bare = Session::builder(&runtime::load(&dylib)?)?
        .with_intra_threads(1)
        .map_err(|error| anyhow::anyhow!("{error}"))?
        .commit_from_file(&model)?;
    let phonemiser = Phonemiser::load(Accent::American);
    let mut voices = Voices::open(&settings.voices_dir, speaker.model().contract().style_width, None)?;
    let table = voices.table(None)?;
    println!("medians of {runs} runs, in ms, first chunk also p95; ratio = best bare run / best of ours");
    println!(
        "{:<62}{:>8}{:>10}{:>12}{:>8}{:>8}{:>7}",
        "clause", "words", "inference", "first chunk", "p95", "bare", "ratio"
    );
    for text in CLAUSES {
        let ids = vocab::ids(&phonemiser.phonemes(&speakable::speakable(text)));
        let style = table.style(ids.len() - 2);
        let (mut words, mut inference, mut first, mut plain) = (vec![], vec![], vec![], vec![]);
        for _ in 0..runs {
            let started = Instant::now();
            let mut first_chunk = None;
            let spoken = speaker.speak(Clause { text, voice: None, speed: 1.0 }, &CancelFlag::new(), |_| {
                first_chunk.get_or_insert_with(|| started.elapsed());
                Ok::<(), ()>(())
            })?;
            words.push(spoken.phonemes_took);
            inference.push(spoken.inference_took);
            first.push(first_chunk.context("no sound")?);

            let started = Instant::now();
            let outputs = bare.run(ort::inputs![
                TensorRef::from_array_view(([1, ids.len()], ids.as_slice()))?,
                TensorRef::from_array_view(([1, style.len()], style))?,
                TensorRef::from_array_view(([1_usize], [1.0_f32].as_slice()))?,
            ])?;
            let (_, samples) = outputs[0].try_extract_tensor::<f32>()?;
            anyhow::ensure!(samples.len() > FIRST_CHUNK, "the bare call gives speech too");
            plain.push(started.elapsed());
        }
        println!(
            "{text:<62}{:>8.1}{:>10.1}{:>12.1}{:>8.1}{:>8.1}{:>7.2}",
            median(&mut words),
            median(&mut inference),
            median(&mut first),
            percentile(&mut first, 95),
            median(&mut plain),
            // The best runs are those that other programs disturbed least.
            percentile(&mut plain, 0) / percentile(&mut inference, 0)
        );
    }

    let ids = vocab::ids(&phonemiser.phonemes("The light is off."));
    let outputs = bare.run(ort::inputs![
        TensorRef::from_array_view(([1, ids.len()], ids.as_slice()))?,
        TensorRef::from_array_view(([1, table.style(0).len()], table.style(ids.len() - 2)))?,
        TensorRef::from_array_view(([1_usize], [1.0_f32].as_slice()))?,
    ])?;
    let (_, samples) = outputs[0].try_extract_tensor::<f32>()?;
    let silence = pcm::leading_silence(samples) as f64 / 24.0;
    println!("silence that is cut at the start of \"The light is off.\": {silence:.1} ms");
    Ok(())
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median(durations: &mut [Duration]) -> f64 {
    percentile(durations, 50)
}

fn percentile(durations: &mut [Duration], percent: usize) -> f64 {
    durations.sort();
    ms(durations[(durations.len() - 1) * percent / 100])
}
