//! Where an utterance begins and ends: by a key, or by the voice itself.
//!
//! Lengths are counted in samples of sound. The sound just before the beginning
//! ([`SegmenterSettings::pre_roll`]) belongs to the utterance: people begin to speak
//! before the key is down, and a detector needs a moment to believe that they do.

use crate::ring::History;
use loqa_protocol::audio::{INPUT_SAMPLE_RATE, MAX_UTTERANCE_SECONDS};

/// Samples per millisecond of speech.
const PER_MS: usize = INPUT_SAMPLE_RATE as usize / 1_000;

/// What counts as an utterance. Lengths are in samples at 16 kHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmenterSettings {
    /// Sound before the beginning that belongs to the utterance.
    pub pre_roll: usize,
    /// Hands-free: this much silence ends the utterance.
    pub end_silence: usize,
    /// Hands-free: less speech than this was a cough or a door.
    pub min_speech: usize,
    /// Longest utterance; it ends there whatever happens.
    pub max_length: usize,
    /// How long the detector says "voiced" after the last sound
    /// ([`crate::VadSettings::hangover`]); it counts as silence in [`Segment::Ended`].
    pub hangover: usize,
}

impl Default for SegmenterSettings {
    /// Pre-roll 300 ms; silence 600 ms, chosen between cutting people off and making
    /// them wait; speech at least 100 ms, chosen: "yes" has about 200 ms.
    fn default() -> Self {
        Self {
            pre_roll: 300 * PER_MS,
            end_silence: 600 * PER_MS,
            min_speech: 100 * PER_MS,
            max_length: MAX_UTTERANCE_SECONDS as usize * 1_000 * PER_MS,
            hangover: crate::VadSettings::default().hangover,
        }
    }
}

/// Why an utterance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentEnd {
    /// The key was released.
    Released,
    /// The speaker fell silent.
    Silence,
    /// It was too short to be speech: drop the turn.
    TooShort,
    /// It reached the longest length.
    TooLong,
}

/// What happens to the utterance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// An utterance began; the sound before it is the first of it.
    Started {
        /// The pre-roll and the present frame.
        samples: Vec<i16>,
    },
    /// More of it.
    Continued {
        /// One frame.
        samples: Vec<i16>,
        /// As the detector said.
        voiced: bool,
    },
    /// It is over.
    Ended {
        /// Why.
        reason: SegmentEnd,
        /// Length of everything that was given, pre-roll included.
        samples: usize,
        /// How much of its end is silence: the last sound of speech is this long ago. 0
        /// when the detector heard a voice to the end.
        silence: usize,
    },
}

/// Who says when somebody speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    PushToTalk { pressed: bool },
    HandsFree,
}

/// Cuts a stream of frames into utterances.
#[derive(Debug)]
pub struct Segmenter {
    settings: SegmenterSettings,
    mode: Mode,
    before: History,
    open: Option<Open>,
    /// Hands-free, after an utterance that was too long: wait for silence first.
    wait_for_silence: bool,
}

#[derive(Debug, Default)]
struct Open {
    length: usize,
    silence: usize,
    speech: usize,
}

impl Segmenter {
    /// Utterances begin and end with the voice.
    #[must_use]
    pub fn hands_free(settings: SegmenterSettings) -> Self {
        Self::new(settings, Mode::HandsFree)
    }

    /// Utterances begin with [`Self::press`] and end with [`Self::release`].
    #[must_use]
    pub fn push_to_talk(settings: SegmenterSettings) -> Self {
        Self::new(settings, Mode::PushToTalk { pressed: false })
    }

    fn new(settings: SegmenterSettings, mode: Mode) -> Self {
        let before = History::new(settings.pre_roll);
        Self { settings, mode, before, open: None, wait_for_silence: false }
    }

    /// The key goes down; the utterance begins with the next frame.
    pub fn press(&mut self) {
        if let Mode::PushToTalk { pressed } = &mut self.mode {
            *pressed = true;
        }
    }

    /// The key goes up; `None` when no utterance was open.
    pub fn release(&mut self) -> Option<Segment> {
        if let Mode::PushToTalk { pressed } = &mut self.mode {
            *pressed = false;
            return self.open.take().map(|open| open.end(SegmentEnd::Released, self.settings.hangover));
        }
        None
    }

    /// Whether an utterance is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes a frame and what the detector says of it; gives what follows for the
    /// utterance, nothing while there is none.
    pub fn push(&mut self, frame: &[i16], voiced: bool) -> Vec<Segment> {
        self.wait_for_silence &= voiced;
        let Some(open) = &mut self.open else { return self.begin(frame, voiced) };
        open.length += frame.len();
        if voiced {
            open.silence = 0;
            open.speech += frame.len();
        } else {
            open.silence += frame.len();
        }
        let mut segments = vec![Segment::Continued { samples: frame.to_vec(), voiced }];
        let reason = if open.length >= self.settings.max_length {
            // A held key or endless speech must not begin the next one at once.
            self.wait_for_silence = true;
            if let Mode::PushToTalk { pressed } = &mut self.mode {
                *pressed = false;
            }
            Some(SegmentEnd::TooLong)
        } else if self.mode == Mode::HandsFree && open.silence >= self.settings.end_silence {
            let is_short = open.speech < self.settings.min_speech;
            Some(if is_short { SegmentEnd::TooShort } else { SegmentEnd::Silence })
        } else {
            None
        };
        if let Some(reason) = reason {
            segments.extend(self.open.take().map(|open| open.end(reason, self.settings.hangover)));
        }
        segments
    }

    fn begin(&mut self, frame: &[i16], voiced: bool) -> Vec<Segment> {
        let begins = match self.mode {
            Mode::PushToTalk { pressed } => pressed,
            Mode::HandsFree => voiced && !self.wait_for_silence,
        };
        if !begins {
            self.before.push(frame);
            return Vec::new();
        }
        let mut samples = self.before.take();
        samples.extend_from_slice(frame);
        let (silence, speech) = if voiced { (0, frame.len()) } else { (samples.len(), 0) };
        self.open = Some(Open { length: samples.len(), silence, speech });
        vec![Segment::Started { samples }]
    }
}

impl Open {
    fn end(self, reason: SegmentEnd, hangover: usize) -> Segment {
        let silence = if self.silence == 0 { 0 } else { (self.silence + hangover).min(self.length) };
        Segment::Ended { reason, samples: self.length, silence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// One character is one frame of 20 ms: `x` voiced, `.` not, `P` and `R` press and
    /// release the key.
    fn check(mut segmenter: Segmenter, script: &str, expected: Expect) {
        let mut log = Vec::new();
        let mut frame_no = 0;
        for c in script.chars() {
            let segments = match c {
                'P' => {
                    segmenter.press();
                    continue;
                }
                'R' => segmenter.release().into_iter().collect(),
                _ => {
                    frame_no += 1;
                    segmenter.push(&[frame_no; 320], c == 'x')
                }
            };
            for segment in segments {
                match segment {
                    Segment::Started { samples } => {
                        log.push(format!("start at frame {} with {} ms", samples[0], samples.len() / PER_MS));
                    }
                    Segment::Continued { .. } => {}
                    Segment::Ended { reason, samples, silence } => {
                        log.push(format!(
                            "{reason:?} after {} ms, silent for {} ms",
                            samples / PER_MS,
                            silence / PER_MS
                        ));
                    }
                }
            }
        }
        expected.assert_eq(&log.join("\n"));
    }

    fn hands_free() -> Segmenter {
        Segmenter::hands_free(SegmenterSettings::default())
    }

    fn push_to_talk() -> Segmenter {
        Segmenter::push_to_talk(SegmenterSettings::default())
    }

    #[test]
    fn hands_free_begins_with_the_voice_and_ends_with_silence() {
        let silence = ".".repeat(30);
        check(
            hands_free(),
            &format!("{silence}{}{silence}{silence}", "x".repeat(20)),
            expect![[r#"
                start at frame 16 with 320 ms
                Silence after 1300 ms, silent for 696 ms"#]],
        );
        check(
            hands_free(),
            &format!("x{}xx....xxxxx{silence}", "x".repeat(20)),
            expect![[r#"
                start at frame 1 with 20 ms
                Silence after 1240 ms, silent for 696 ms"#]],
        );
        check(
            hands_free(),
            &format!("{}{silence}{silence}", "xxxxxxxx..........".repeat(3)),
            expect![[r#"
                start at frame 1 with 20 ms
                Silence after 1480 ms, silent for 696 ms"#]],
        );
    }

    #[test]
    fn a_door_is_not_an_utterance() {
        let silence = ".".repeat(40);
        check(
            hands_free(),
            &format!("{silence}xxx{silence}{}{silence}", "x".repeat(10)),
            expect![[r#"
                start at frame 26 with 320 ms
                TooShort after 960 ms, silent for 696 ms
                start at frame 74 with 220 ms
                Silence after 1000 ms, silent for 696 ms"#]],
        );
    }

    #[test]
    fn the_key_decides_whatever_the_voice_does() {
        check(
            push_to_talk(),
            &format!("{}P{}R.....", "x".repeat(30), ".".repeat(50)),
            expect![[r#"
            start at frame 16 with 320 ms
            Released after 1300 ms, silent for 1300 ms"#]],
        );
        check(
            push_to_talk(),
            "...Pxxx..R..RPxxxxR",
            expect![[r#"
                start at frame 1 with 80 ms
                Released after 160 ms, silent for 136 ms
                start at frame 9 with 60 ms
                Released after 120 ms, silent for 0 ms"#]],
        );
        check(push_to_talk(), "PR..", expect![[""]]);
    }

    #[test]
    fn an_endless_utterance_is_ended_and_not_begun_anew() {
        check(
            hands_free(),
            &format!("{}.{}{}", "x".repeat(3_000), "x".repeat(10), ".".repeat(30)),
            expect![[r#"
                start at frame 1 with 20 ms
                TooLong after 30000 ms, silent for 0 ms
                start at frame 2987 with 320 ms
                Silence after 1100 ms, silent for 696 ms"#]],
        );
        check(
            push_to_talk(),
            &format!("P{}RPxxR", "x".repeat(3_000)),
            expect![[r#"
            start at frame 1 with 20 ms
            TooLong after 30000 ms, silent for 0 ms
            start at frame 2986 with 320 ms
            Released after 340 ms, silent for 0 ms"#]],
        );
    }

    #[test]
    fn no_sound_of_an_utterance_is_lost_or_doubled() {
        let mut segmenter = hands_free();
        let mut heard = Vec::new();
        for i in 0..200_i16 {
            for segment in segmenter.push(&[i; 320], (50..100).contains(&i)) {
                match segment {
                    Segment::Started { samples } | Segment::Continued { samples, .. } => heard.extend(samples),
                    Segment::Ended { samples, .. } => assert_eq!(samples, heard.len()),
                }
            }
        }
        let frames: Vec<i16> = heard.chunks(320).map(|frame| frame[0]).collect();
        assert_eq!(frames, (35..130).collect::<Vec<i16>>(), "15 frames before, 30 after");
    }
}
