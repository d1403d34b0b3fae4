//! Takes the times of one turn and makes the latency split of them.
//!
//! `total` comes from two clock readings of its own; the parts are measured one by
//! one, so that time nobody accounts for shows as a difference.

use loqa_protocol::LatencySplit;
use std::time::{Duration, Instant};

/// Times of one turn on the hub's monotonic clock, and what the engines report.
#[derive(Debug, Default)]
pub struct Stopwatch {
    /// `t0`: end of speech, or the moment a typed text came in.
    pub speech_ended: Option<Instant>,
    /// The hub knew of it and passed the end on.
    pub end_passed_on: Option<Instant>,
    /// The final transcript arrived.
    pub transcript: Option<Instant>,
    /// The engine's own part of that.
    pub stt_engine: Duration,
    /// A tool was called, or a model asked: planning is over.
    pub planned: Option<Instant>,
    /// Sum of all tool calls before the first sound.
    pub skill: Duration,
    /// Sum of all waits for a model before the first sound.
    pub llm_wait: Duration,
    /// The engines' own part of that.
    pub llm_engine: Duration,
    /// The first reply text was known (first token, or the tool's words).
    pub reply_text: Option<Instant>,
    /// The first clause went to speech.
    pub first_clause: Option<Instant>,
    /// The first chunk arrived.
    pub first_chunk: Option<Instant>,
    /// The engine's own part of that.
    pub tts_engine: Duration,
    /// `t1`: the first sample at the device, its latency included.
    pub first_sound: Option<Instant>,
}

impl Stopwatch {
    /// The split, once there was a first sound.
    #[must_use]
    pub fn split(&self) -> Option<LatencySplit> {
        let start = self.speech_ended?;
        let first_sound = self.first_sound?;
        let clause = self.first_clause?;
        let chunk = self.first_chunk?;
        let mut bus = Duration::ZERO;

        let endpoint = self.end_passed_on.map_or(Duration::ZERO, |at| at - start);
        let mut stt_tail = Duration::ZERO;
        let mut heard = self.end_passed_on.unwrap_or(start);
        if let Some(transcript) = self.transcript {
            let waited = transcript - heard;
            stt_tail = self.stt_engine.min(waited);
            bus += waited - stt_tail;
            heard = transcript;
        }
        let plan = self.planned.map_or(Duration::ZERO, |at| at - heard);
        let llm_first_token = self.llm_engine.min(self.llm_wait);
        bus += self.llm_wait - llm_first_token;
        let first_clause = self.reply_text.map_or(Duration::ZERO, |at| clause - at);
        let tts_wait = chunk - clause;
        let tts_first_chunk = self.tts_engine.min(tts_wait);
        bus += tts_wait - tts_first_chunk;

        Some(LatencySplit {
            total: millis(first_sound - start),
            endpoint: millis(endpoint),
            stt_tail: millis(stt_tail),
            plan: millis(plan),
            skill: millis(self.skill),
            llm_first_token: millis(llm_first_token),
            first_clause: millis(first_clause),
            tts_first_chunk: millis(tts_first_chunk),
            bus: millis(bus),
            output: millis(first_sound.saturating_duration_since(chunk)),
        })
    }
}

/// Milliseconds with microsecond resolution.
#[must_use]
pub fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_spoken_intent_turn_add_up_to_the_total() {
        let start = Instant::now();
        let at = |ms| Some(start + Duration::from_millis(ms));
        let split = Stopwatch {
            speech_ended: at(0),
            end_passed_on: at(1),
            transcript: at(41),
            stt_engine: Duration::from_millis(38),
            planned: at(42),
            skill: Duration::from_millis(3),
            reply_text: at(45),
            first_clause: at(45),
            first_chunk: at(65),
            tts_engine: Duration::from_millis(19),
            first_sound: at(75),
            ..Stopwatch::default()
        }
        .split()
        .unwrap();
        assert!((split.total - 75.0).abs() < 1e-6);
        assert!((split.sum() - split.total).abs() < 0.05 * split.total, "{split:?}");
        assert!((split.bus - 3.0).abs() < 1e-6, "2 ms around the recogniser, 1 ms around the voice");
    }

    #[test]
    fn no_sound_means_no_figures() {
        assert_eq!(Stopwatch::default().split(), None);
    }
}
