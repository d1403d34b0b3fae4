//! The engine beside the bare library: whisper-rs, which computes the spectrogram
//! itself and samples itself.

use crate::clips;
use loqa_stt::decode::{self, Pass};
use loqa_stt::mel::MelStream;
use loqa_stt::whisper::{Model, State};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use whisper_rs::{FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState};

fn bare_state() -> WhisperState {
    let path = clips::starter_model();
    WhisperContext::new_with_params(path, WhisperContextParameters::default()).unwrap().create_state().unwrap()
}

fn bare_full(state: &mut WhisperState, samples: &[i16], audio_ctx: usize) -> String {
    let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
    params.set_n_threads(1);
    params.set_audio_ctx(i32::try_from(audio_ctx).unwrap());
    params.set_single_segment(true);
    params.set_no_context(true);
    params.set_no_timestamps(true);
    params.set_temperature_inc(0.0);
    params.set_print_progress(false);
    state.full(params, &floats(samples)).unwrap();
    state.as_iter().map(|segment| segment.to_str_lossy().unwrap().into_owned()).collect::<String>().trim().to_owned()
}

fn floats(samples: &[i16]) -> Vec<f32> {
    samples.iter().map(|sample| f32::from(*sample) / 32_768.0).collect()
}

fn stream(model: &Arc<Model>, samples: &[i16]) -> MelStream {
    let mut mel = MelStream::new(model.header.filters.clone());
    samples.chunks(320).for_each(|frame| mel.push(frame));
    mel
}

#[test]
fn transcripts_equal_those_of_the_bare_library() {
    let model = clips::model();
    let mut state = State::new(Arc::clone(&model), 1).unwrap();
    let mut bare = bare_state();
    for clip in clips::clips() {
        let mut mel = stream(&model, &clip.samples);
        let audio_ctx = mel.n_frames().div_ceil(2) + 8;
        let pass = Pass {
            mel: mel.window(0, 2 * audio_ctx),
            language: None,
            hint: Vec::new(),
            max_tokens: 100,
            no_speech_limit: 1.0,
        };
        let ours = decode::decode(&mut state, &pass, &AtomicBool::new(false)).unwrap();
        assert_eq!(ours.text, bare_full(&mut bare, &clip.samples, audio_ctx), "{}", clip.name);
    }
}

/// whisper.cpp does not show its spectrogram, but what encoder and decoder make of it.
#[test]
fn own_spectrogram_leads_to_the_logits_of_whispers_own() {
    let model = clips::model();
    let mut state = State::new(Arc::clone(&model), 1).unwrap();
    let mut bare = bare_state();
    let start = model.special.start;
    for clip in clips::clips() {
        let mut mel = stream(&model, &clip.samples);
        let audio_ctx = mel.n_frames().div_ceil(2) + 8;
        state.encode(&mel.window(0, 2 * audio_ctx)).unwrap();
        let ours = state.decode(&[start], 0).unwrap();

        // Leaves its audio context behind in the state.
        bare_full(&mut bare, &clip.samples, audio_ctx);
        bare.pcm_to_mel(&floats(&clip.samples), 1).unwrap();
        bare.encode(0, 1).unwrap();
        bare.decode(&[start], 0, 1).unwrap();
        let theirs = bare.get_logits().unwrap();

        let spread = theirs.iter().copied().fold(f32::MIN, f32::max) - theirs.iter().copied().fold(f32::MAX, f32::min);
        let difference = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference < 0.01 * spread, "{}: logits differ by {difference} of {spread}", clip.name);
    }
}

#[test]
fn audio_context_is_taken_up_without_a_full_run() {
    let model = clips::model();
    let mut state = State::new(Arc::clone(&model), 1).unwrap();
    let mut mel = stream(&model, &clips::clip("timer").samples);
    let mut logits = |audio_ctx: usize| {
        state.encode(&mel.window(0, 2 * audio_ctx)).unwrap();
        state.decode(&[model.special.start], 0).unwrap().to_vec()
    };
    let small = logits(110);
    let large = logits(400);
    assert_ne!(small, large, "another context, another result");
    assert_eq!(small, logits(110), "nothing is left of the passes before");
}
