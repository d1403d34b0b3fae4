//! One decoding pass: spectrogram in, text out.
//!
//! Greedy, one segment, no timestamps, no text carried over, temperature 0 and no
//! second try at a higher one: a second try doubles the latency of exactly those
//! utterances that are uncertain, and the hub has its own way with low confidence.
//! A pass looks at its stop flag between the encoder and each token.
//!
//! Deliberately absent: when to run a pass, see [`crate::listen`].

use crate::mel::MelWindow;
use crate::whisper::{ComputeError, Model, State, Token};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What is asked of one pass.
#[derive(Debug, Clone)]
pub struct Pass {
    /// What to listen to.
    pub mel: MelWindow,
    /// The token of the language, `None` to let the model decide (or for English models).
    pub language: Option<Token>,
    /// Words to expect, already cut into tokens; may be empty.
    pub hint: Vec<Token>,
    /// Longest transcript in tokens.
    pub max_tokens: usize,
    /// Above this probability of no speech the pass ends without text.
    pub no_speech_limit: f32,
}

/// What a pass found.
#[derive(Debug, Clone, PartialEq)]
pub struct Transcript {
    /// As the model wrote it, trimmed.
    pub text: String,
    /// Mean probability of the text tokens; 0 when there are none.
    pub confidence: f32,
    /// Mean logarithm of the probability of the text tokens; 0 when there are none.
    pub average_log_probability: f32,
    /// Probability that there was no speech at all.
    pub no_speech: f32,
    /// The model repeated itself until it was stopped; one repetition is kept.
    pub looped: bool,
    /// Text tokens.
    pub n_tokens: usize,
    /// Time that the pass took.
    pub compute: Duration,
}

/// Why a pass gave no transcript.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The stop flag was set.
    #[error("the decoding pass was stopped")]
    Stopped,
    /// whisper.cpp gave up.
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

/// Runs one pass.
///
/// # Errors
/// [`DecodeError::Stopped`] soon after `stop` was set (after the encoder at the
/// latest, which cannot be interrupted); [`DecodeError::Compute`] when whisper.cpp fails.
pub fn decode(state: &mut State, pass: &Pass, stop: &AtomicBool) -> Result<Transcript, DecodeError> {
    let began = Instant::now();
    let go_on = || if stop.load(Ordering::Acquire) { Err(DecodeError::Stopped) } else { Ok(()) };
    let model = state.model().clone();
    let special = model.special;

    go_on()?;
    state.encode(&pass.mel)?;
    go_on()?;

    // The start token goes alone: the logits after it tell about speech and language.
    let mut n_past = 0;
    if !pass.hint.is_empty() {
        let mut hint = vec![special.previous];
        hint.extend(&pass.hint);
        state.decode(&hint, n_past)?;
        n_past += hint.len();
        go_on()?;
    }
    let logits = state.decode(&[special.start], n_past)?;
    n_past += 1;
    let no_speech = softmax_at(logits, special.no_speech);
    let mut transcript = Transcript {
        text: String::new(),
        confidence: 0.0,
        average_log_probability: 0.0,
        no_speech,
        looped: false,
        n_tokens: 0,
        compute: Duration::ZERO,
    };
    if no_speech > pass.no_speech_limit {
        transcript.compute = began.elapsed();
        return Ok(transcript);
    }
    let mut prompt = Vec::with_capacity(3);
    if model.header.is_multilingual() {
        prompt.push(pass.language.unwrap_or_else(|| likeliest_language(&model, logits)));
        prompt.push(special.transcribe);
    }
    prompt.push(special.no_timestamps);

    let room = (model.header.text_ctx as usize).saturating_sub(n_past + prompt.len());
    let mut tokens: Vec<Token> = Vec::new();
    let mut probabilities: Vec<f32> = Vec::new();
    let mut next = prompt;
    while tokens.len() < pass.max_tokens.min(room) {
        go_on()?;
        let logits = state.decode(&next, n_past)?;
        n_past += next.len();
        let (token, probability) = likeliest_text(logits, special.end, tokens.is_empty().then_some(BLANK));
        if token == special.end {
            break;
        }
        tokens.push(token);
        probabilities.push(probability);
        if let Some(kept) = repetition(&tokens) {
            tokens.truncate(kept);
            probabilities.truncate(kept);
            transcript.looped = true;
            break;
        }
        next = vec![token];
    }

    let bytes: Vec<u8> = tokens.iter().flat_map(|token| model.token_bytes(*token)).copied().collect();
    String::from_utf8_lossy(&bytes).trim().clone_into(&mut transcript.text);
    transcript.n_tokens = tokens.len();
    if !probabilities.is_empty() {
        let n = probabilities.len() as f32;
        transcript.confidence = probabilities.iter().sum::<f32>() / n;
        transcript.average_log_probability = probabilities.iter().map(|p| p.max(1e-10).ln()).sum::<f32>() / n;
    }
    transcript.compute = began.elapsed();
    Ok(transcript)
}

/// Longest transcript that `audio` can hold, in tokens: fast English speech has
/// about 6 tokens a second, and what is above that is a loop.
#[must_use]
pub fn max_tokens(audio: Duration) -> usize {
    16 + (audio.as_secs_f64() * 10.0).ceil() as usize
}

/// The single space of GPT-2's vocabulary. A transcript must not begin with it or be
/// empty: Whisper's `suppress_blank`.
const BLANK: Token = 220;

/// The best token among text and end, and its probability among them. With
/// `suppressed`, neither that token nor the end is taken.
fn likeliest_text(logits: &[f32], end: Token, suppressed: Option<Token>) -> (Token, f32) {
    let end = end as usize;
    let candidates = &logits[..=end.min(logits.len() - 1)];
    let allowed = |token: usize| suppressed.is_none_or(|blank| token != end && token != blank as usize);
    let (mut best, mut best_logit) = (end, f32::NEG_INFINITY);
    for (token, logit) in candidates.iter().enumerate() {
        if *logit > best_logit && allowed(token) {
            (best, best_logit) = (token, *logit);
        }
    }
    (best as Token, 1.0 / sum_of_exponentials(candidates, best_logit))
}

fn likeliest_language(model: &Model, logits: &[f32]) -> Token {
    let languages = model.languages();
    languages
        .iter()
        .filter_map(|language| model.language_token(language))
        .max_by(|a, b| logits[*a as usize].total_cmp(&logits[*b as usize]))
        .unwrap_or(model.special.start + 1)
}

fn softmax_at(logits: &[f32], token: Token) -> f32 {
    let loudest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.get(token as usize).map_or(0.0, |logit| (logit - loudest).exp() / sum_of_exponentials(logits, loudest))
}

/// What lies 18 below the best adds at most 51,864 e^-18 = 0.0008 to the sum and
/// is nearly all of the vocabulary: leaving it out saves most of the time.
fn sum_of_exponentials(logits: &[f32], best: f32) -> f32 {
    let floor = best - 18.0;
    logits.iter().filter(|logit| **logit > floor).map(|logit| (logit - best).exp()).sum::<f32>().max(1.0)
}

/// How many tokens to keep when the end of `tokens` is one phrase over and over;
/// `None` when it is not. People do say a word four times, and digits more often.
fn repetition(tokens: &[Token]) -> Option<usize> {
    (1..=10).find_map(|length| {
        let times = if length == 1 { 8 } else { 4 };
        let tail = tokens.len().checked_sub(length * times).map(|start| &tokens[start..])?;
        let phrase = &tail[..length];
        tail.chunks_exact(length).all(|chunk| chunk == phrase).then(|| tokens.len() - length * (times - 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_that_does_not_stop_is_found_and_kept_once() {
        assert_eq!(repetition(&[1, 2, 3, 4]), None);
        assert_eq!(repetition(&[5; 7]), None, "a number read out digit by digit");
        assert_eq!(repetition(&[5; 8]), Some(1));
        assert_eq!(repetition(&[9, 1, 2, 1, 2, 1, 2]), None, "three times may be said");
        assert_eq!(repetition(&[9, 1, 2, 1, 2, 1, 2, 1, 2]), Some(3));
    }

    #[test]
    fn best_token_skips_the_blank_and_the_special_tokens() {
        let mut logits = vec![0.0; 300];
        logits[250] = 9.0;
        logits[BLANK as usize] = 8.0;
        logits[240] = 7.0;
        logits[7] = 6.0;
        let end = 240;
        assert_eq!(likeliest_text(&logits, end, None).0, BLANK, "250 is special");
        assert_eq!(likeliest_text(&logits, end, Some(BLANK)).0, 7, "neither blank nor end come first");
        let (_, probability) = likeliest_text(&logits, end, None);
        assert!((0.5..0.9).contains(&probability), "among text and end only: {probability}");
    }

    #[test]
    fn probabilities_agree_with_a_full_softmax() {
        let logits: Vec<f32> = (0..51_864).map(|n| ((n * 7_919) % 1_000) as f32 / 1_000.0 * 30.0 - 20.0).collect();
        let exact: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        let token = 1_234;
        let expected = f64::from(logits[token]).exp() / exact;
        let found = f64::from(softmax_at(&logits, token as Token));
        assert!((found - expected).abs() < 1e-3 * expected.max(1e-4), "{found} and {expected}");
    }
}
