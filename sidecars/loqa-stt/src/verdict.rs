//! Decides what a transcript is worth: silence and noise become an empty text.
//!
//! Four witnesses: the model's own probability of no speech, its way of writing
//! "[BLANK_AUDIO]" or "(music)", the hub's voice activity detector, and the energy.
//!
//! Deliberately absent: whether the text makes sense; a fluent wrong sentence is
//! for the hub, which knows what it can do and compares the confidence.

use crate::decode::Transcript;
use crate::model_file::ModelHeader;

/// What is known about the sound apart from the transcript.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sound {
    /// Whether the voice activity detector heard speech in any frame.
    pub voiced: bool,
    /// Root mean square of the loudest 100 ms, 0 to 1.
    pub loudest: f32,
}

/// Limits that depend on the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Above this probability of no speech there is no text.
    pub no_speech: f32,
    /// Below this mean logarithm of the probability, `doubtful_no_speech` counts.
    pub log_probability: f32,
    /// Above this probability of no speech, a text in doubt is not believed.
    pub doubtful_no_speech: f32,
    /// Without a voiced frame, a text needs this confidence.
    pub unvoiced_confidence: f32,
}

impl Limits {
    /// Limits for the model of a file.
    #[must_use]
    pub fn of(header: &ModelHeader) -> Self {
        if header.is_starter_class() {
            // Measured with the starter model: at most 0.01 on 240 spoken clips down to
            // 6 dB above pink noise, 0.27 to 0.64 on silence, noise, hum and tones.
            Self { no_speech: 0.2, log_probability: -1.0, doubtful_no_speech: 0.1, unvoiced_confidence: 0.9 }
        } else {
            // OpenAI's own: `no_speech_threshold` 0.6 with `logprob_threshold` -1.
            Self { no_speech: 0.95, log_probability: -1.0, doubtful_no_speech: 0.6, unvoiced_confidence: 0.9 }
        }
    }
}

/// Root mean square below which nothing can have been said: -60 dBFS.
pub const INAUDIBLE: f32 = 0.001;

/// Text and confidence to answer with; an empty text and 0 when nothing was said.
#[must_use]
pub fn weigh(transcript: &Transcript, sound: Sound, limits: &Limits) -> (String, f32) {
    let nothing = (String::new(), 0.0);
    if sound.loudest < INAUDIBLE || transcript.no_speech > limits.no_speech {
        return nothing;
    }
    let doubtful = transcript.average_log_probability < limits.log_probability;
    if doubtful && transcript.no_speech > limits.doubtful_no_speech {
        return nothing;
    }
    let text = without_annotations(&transcript.text);
    if !text.chars().any(char::is_alphanumeric) {
        return nothing;
    }
    if !sound.voiced && (transcript.confidence < limits.unvoiced_confidence || transcript.looped) {
        return nothing;
    }
    // What was cut out of a loop may be anything; nobody should act on it unasked.
    let confidence = if transcript.looped { transcript.confidence.min(0.2) } else { transcript.confidence };
    (text, confidence)
}

/// Removes what Whisper writes about sounds: `[BLANK_AUDIO]`, `(laughs)`, `*sighs*`, `♪`.
fn without_annotations(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut closing: Option<char> = None;
    for character in text.chars() {
        match (closing, character) {
            (Some(expected), _) if character == expected => closing = None,
            (Some(_), _) | (None, '♪' | '♫') => {}
            (None, '[') => closing = Some(']'),
            (None, '(') => closing = Some(')'),
            (None, '*') => closing = Some('*'),
            (None, _) => kept.push(character),
        }
    }
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const VOICE: Sound = Sound { voiced: true, loudest: 0.1 };
    const LIMITS: Limits =
        Limits { no_speech: 0.2, log_probability: -1.0, doubtful_no_speech: 0.1, unvoiced_confidence: 0.9 };

    fn transcript(text: &str) -> Transcript {
        Transcript {
            text: text.to_owned(),
            confidence: 0.8,
            average_log_probability: -0.2,
            no_speech: 0.0,
            looped: false,
            n_tokens: 5,
            compute: Duration::ZERO,
        }
    }

    #[test]
    fn annotations_are_not_speech() {
        for text in ["[BLANK_AUDIO]", "(music)", " *sighs* ", "♪♪♪", "[ Silence", "...", "", "  "] {
            assert_eq!(weigh(&transcript(text), VOICE, &LIMITS), (String::new(), 0.0), "{text:?}");
        }
        assert_eq!(weigh(&transcript("[beep] Turn on  the light."), VOICE, &LIMITS).0, "Turn on the light.");
    }

    #[test]
    fn each_witness_can_silence_the_text() {
        let believed = transcript("Stop.");
        assert_eq!(weigh(&believed, VOICE, &LIMITS), ("Stop.".to_owned(), 0.8));
        let refused = [
            (Transcript { no_speech: 0.3, ..believed.clone() }, VOICE, "the model says that nobody spoke"),
            (
                Transcript { no_speech: 0.15, average_log_probability: -1.5, ..believed.clone() },
                VOICE,
                "the model guesses and thinks that nobody spoke",
            ),
            (believed.clone(), Sound { voiced: false, ..VOICE }, "no frame was voiced and the model is not sure"),
            (believed.clone(), Sound { loudest: 0.0005, ..VOICE }, "nothing was audible"),
        ];
        for (transcript, sound, why) in refused {
            assert_eq!(weigh(&transcript, sound, &LIMITS).0, "", "{why}");
        }
        let sure = Transcript { confidence: 0.97, ..believed };
        assert_eq!(weigh(&sure, Sound { voiced: false, ..VOICE }, &LIMITS).0, "Stop.", "the detector may be deaf");
    }

    #[test]
    fn text_cut_out_of_a_loop_is_not_confident() {
        let looped = Transcript { looped: true, ..transcript("Turn on the light.") };
        assert_eq!(weigh(&looped, VOICE, &LIMITS), ("Turn on the light.".to_owned(), 0.2));
    }
}
