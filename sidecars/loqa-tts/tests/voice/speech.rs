//! What comes out of the speaker.

use crate::support::{clause, ort_dylib, seconds, settings, speak, speaker, starter_model};
use loqa_engine::CancelFlag;
use loqa_tts::interrupt::Interrupter;
use loqa_tts::model::Model;
use loqa_tts::pcm::{CHUNK, FIRST_CHUNK};
use loqa_tts::phonemes::{Accent, Phonemiser};
use loqa_tts::{Clause, Speaker, TtsError, pieces, runtime, speakable, vocab};
use ort::session::RunOptions;
use std::sync::Arc;
use std::time::Instant;

const REPLIES: &[&str] = &[
    "Okay.",
    "The light is off.",
    "Timer set for five minutes.",
    "Your pasta timer has 3 minutes and 20 seconds left.",
    "It is 7:30 in the morning.",
    "It is 21°C outside, with a 40% chance of rain.",
    "That costs $5.50.",
    "Sorry, I can't answer that yet.",
    "Loqa met Xanthippe's Qwghlm on the 3rd of May 2026.",
    "Which one did you mean: the kitchen light, or the living room light?",
];

fn rms(samples: &[i16]) -> f64 {
    let power: f64 = samples.iter().map(|s| f64::from(*s).powi(2)).sum();
    (power / samples.len().max(1) as f64).sqrt()
}

#[test]
fn replies_have_a_plausible_length_and_loudness() {
    let mut speaker = speaker();
    for reply in REPLIES {
        let (chunks, spoken) = speak(&mut speaker, clause(reply)).unwrap();
        let samples = chunks.concat();
        let words = speakable::speakable(reply);
        let per_letter = seconds(&chunks) / words.len() as f64;
        assert!((0.03..0.2).contains(&per_letter), "{reply}: {per_letter:.3} s per letter");
        let loudness = rms(&samples);
        assert!((300.0..15_000.0).contains(&loudness), "{reply}: rms {loudness:.0}");
        assert!(samples.iter().all(|s| s.unsigned_abs() < 32_500), "{reply} clips");
        assert_eq!(spoken.samples as usize, samples.len());
        assert_eq!(spoken.chunks as usize, chunks.len());
        assert!(!spoken.cached);
    }
}

#[test]
fn speech_begins_at_once_and_in_a_short_chunk() {
    let mut speaker = speaker();
    for reply in REPLIES {
        let (chunks, _) = speak(&mut speaker, clause(reply)).unwrap();
        assert_eq!(chunks[0].len(), FIRST_CHUNK, "{reply}");
        assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK), "{reply}");
        // The model's own lead-in is 40 to 75 ms; 10 ms after the start there is sound.
        assert!(rms(&chunks[0][240..480]) > 20.0, "{reply} begins with silence");
    }
}

#[test]
fn a_sentence_ends_in_a_pause_and_an_open_clause_does_not() {
    let mut speaker = speaker();
    for (text, silence_ms) in [("The light is off.", 250), ("The light is off,", 120), ("The light is off", 30)] {
        let samples = speak(&mut speaker, clause(text)).unwrap().0.concat();
        let silent = samples.iter().rev().take_while(|s| s.unsigned_abs() < 100).count() / 24;
        assert!(silent.abs_diff(silence_ms) < 60, "{text}: {silent} ms of silence at the end");
    }
}

#[test]
fn speed_changes_the_length() {
    let mut speaker = speaker();
    let mut length = |speed| {
        let clause = Clause { speed, ..clause("The kitchen light is on, and the timer has five minutes left") };
        seconds(&speak(&mut speaker, clause).unwrap().0)
    };
    let (slow, normal, fast) = (length(0.5), length(1.0), length(2.0));
    assert!((1.7..2.3).contains(&(slow / normal)), "{slow} to {normal}");
    assert!((0.4..0.6).contains(&(fast / normal)), "{fast} to {normal}");
}

#[test]
fn voices_sound_different_and_the_default_is_the_first() {
    let mut speaker = speaker();
    assert_eq!(speaker.voices().names(), ["mid", "rms", "slt"]);
    let mut length = |voice| speak(&mut speaker, Clause { voice, ..clause("Timer set for five minutes.") }).unwrap().0;
    let (default, mid) = (length(None), length(Some("mid")));
    let (slt, rms) = (length(Some("slt")), length(Some("rms")));
    assert!((seconds(&default) - seconds(&mid)).abs() < 0.05);
    assert!((seconds(&slt) - seconds(&rms)).abs() > 0.05, "rms is slower");
}

#[test]
fn an_unknown_voice_is_refused_with_the_list() {
    let error = speak(&mut speaker(), Clause { voice: Some("nobody"), ..clause("Hi.") }).unwrap_err();
    assert_eq!(error.to_string(), "unknown voice `nobody`; available: mid, rms, slt");
}

#[test]
fn nothing_to_speak_is_no_error() {
    let mut speaker = speaker();
    for text in ["", "  \n", "👍🏽", "\u{0}\u{7}\u{1b}", "...", "你好", "***", "❓"] {
        let (chunks, spoken) = speak(&mut speaker, clause(text)).unwrap();
        assert_eq!((chunks.len(), spoken.samples), (0, 0), "{text:?}");
    }
}

#[test]
fn too_long_a_text_and_impossible_speeds_are_refused() {
    let mut speaker = speaker();
    let long = "a ".repeat(1_001);
    assert!(matches!(
        speak(&mut speaker, clause(&long)),
        Err(TtsError::TextTooLong { characters: 2_002, limit: 2_000 })
    ));
    for speed in [0.0, -1.0, 0.4, 2.1, f32::NAN, f32::INFINITY] {
        let error = speak(&mut speaker, Clause { speed, ..clause("Hi.") }).unwrap_err();
        assert!(error.to_string().contains("is not in 0.5 to 2"), "{error}");
    }
}

#[test]
fn a_long_text_is_spoken_whole_and_heard_before_it_is_done() {
    let mut speaker = speaker();
    let text = "The kitchen light is on, the living room is warm, and the timer has five minutes left. ".repeat(20);
    let text = &text[..1_700];
    let started = Instant::now();
    let mut first = None;
    let mut samples = 0;
    speaker
        .speak(clause(text), &CancelFlag::new(), |chunk| {
            first.get_or_insert_with(|| started.elapsed());
            samples += chunk.len();
            Ok::<(), ()>(())
        })
        .unwrap();
    let (first, whole) = (first.unwrap(), started.elapsed());
    assert!(first * 4 < whole, "first chunk after {first:?} of {whole:?}");
    let seconds = samples as f64 / 24_000.0;
    assert!((60.0..200.0).contains(&seconds), "{seconds} s");
}

#[test]
fn words_without_any_space_are_spoken_too() {
    let (chunks, _) = speak(&mut speaker(), clause(&"ba".repeat(1_000))).unwrap();
    assert!(seconds(&chunks) > 20.0);
}

#[test]
fn a_set_cancel_flag_stops_before_and_between_chunks() {
    let mut speaker = speaker();
    let cancel = CancelFlag::new();
    cancel.cancel();
    let outcome = speaker.speak(clause("The light is off."), &cancel, |_| Ok::<(), ()>(()));
    assert!(matches!(outcome, Err(TtsError::Cancelled)));

    let cancel = CancelFlag::new();
    let mut chunks = 0;
    let outcome = speaker.speak(clause("The light is off."), &cancel, |_| {
        chunks += 1;
        cancel.cancel();
        Ok::<(), ()>(())
    });
    assert!(matches!(outcome, Err(TtsError::Cancelled)));
    assert_eq!(chunks, 1, "nothing after the cancel");
    assert!(!speak(&mut speaker, clause("Okay.")).unwrap().0.is_empty(), "the next clause is not affected");
}

#[test]
fn a_running_inference_is_interrupted() {
    let environment = runtime::load(&ort_dylib()).unwrap();
    let mut model = Model::load(&environment, &starter_model(), None).unwrap();
    let interrupter = Interrupter::start().unwrap();
    // Half a minute of speech: a quarter of a second or more in one inference.
    let mut ids = vec![vocab::id('a').unwrap(); 512];
    (ids[0], ids[511]) = (vocab::PAD, vocab::PAD);
    let mut run = |cancel: &CancelFlag| {
        let options = Arc::new(RunOptions::new().unwrap());
        let _watch = interrupter.watch(Arc::clone(&options), cancel.clone());
        model.run(&ids, &[0.0; 256], 0.5, &options)
    };
    let cancel = CancelFlag::new();
    assert!(run(&cancel).is_ok());
    cancel.cancel();
    assert!(matches!(run(&cancel), Err(TtsError::Inference(_))), "stopped by the watching thread alone");
    assert!(run(&CancelFlag::new()).is_ok(), "the next run is not affected");
}

#[test]
fn a_listener_that_is_gone_ends_the_speech() {
    let outcome = speaker().speak(clause("The light is off."), &CancelFlag::new(), |_| Err(()));
    assert!(matches!(outcome, Err(TtsError::Cancelled)));
}

#[test]
fn a_phrase_is_kept_until_voice_speed_or_text_differ() {
    let mut speaker = Speaker::load(&starter_model(), &settings(1 << 20)).unwrap();
    assert!(speaker.measured_speed() > 1.0, "faster than real time");
    let (first, spoken) = speak(&mut speaker, clause("Timer set.")).unwrap();
    assert!(!spoken.cached);
    let (again, spoken) = speak(&mut speaker, clause("  Timer   set. ")).unwrap();
    assert!(spoken.cached, "white space makes no difference");
    assert_eq!(first, again);
    for other in [
        Clause { voice: Some("rms"), ..clause("Timer set.") },
        Clause { speed: 1.5, ..clause("Timer set.") },
        clause("Timer sat."),
    ] {
        assert!(!speak(&mut speaker, other).unwrap().1.cached, "{other:?}");
    }
    assert!(
        speak(&mut speaker, Clause { voice: Some("mid"), ..clause("Timer set.") }).unwrap().1.cached,
        "the default by its name"
    );
}

/// Text of any kind: words, digits, marks, emoji, other scripts, control characters.
fn random_texts(n: usize) -> impl Iterator<Item = String> {
    let mut state = 11_u64;
    let mut next = move |below: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as u32) % below
    };
    (0..n).map(move |_| {
        let len = next(40);
        (0..len)
            .filter_map(|_| match next(8) {
                0 => char::from_u32(next(0x11_0000)),
                1 => char::from_u32(0x1f300 + next(0x400)),
                2 => char::from_digit(next(10), 10),
                3 => Some(".,:;!?-/%$@#&+='\"’ °€[]()*_—…".chars().nth(next(30) as usize).unwrap_or(' ')),
                4 => char::from_u32(0xc0 + next(0x180)),
                5 => Some(' '),
                _ => char::from_u32(if next(4) == 0 { 65 } else { 97 } + next(26)),
            })
            .collect()
    })
}

#[test]
fn random_text_never_panics_and_gives_only_tokens() {
    for accent in [Accent::American, Accent::British] {
        let phonemiser = Phonemiser::load(accent);
        for text in random_texts(500) {
            let words = speakable::speakable(&text);
            for sentence in speakable::sentences(&words) {
                let phonemes = phonemiser.phonemes(sentence);
                assert!(phonemes.chars().all(|c| vocab::id(c).is_some()), "{text:?} became {phonemes:?}");
                for piece in pieces::pieces(&phonemes, true) {
                    assert!(vocab::ids(piece).len() <= pieces::MAX_PIECE + 2, "{text:?}");
                }
            }
        }
    }
    let mut speaker = speaker();
    for text in random_texts(60) {
        speak(&mut speaker, clause(&text)).unwrap();
    }
}
