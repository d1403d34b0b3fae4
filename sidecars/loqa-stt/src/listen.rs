//! Decides, frame by frame, when a decoding pass is worth its time. Pure: it
//! counts samples, reads no clock and starts nothing.
//!
//! Two kinds of pass run before the end of the audio. A *partial* one shows the
//! user what was heard so far. A *speculative* one begins in a pause after speech
//! and bets that the user has finished: when only silence follows, its transcript
//! is the final one and the tail of the utterance costs next to nothing; when the
//! user goes on, it is abandoned.

use std::time::Duration;

const SAMPLES_PER_SECOND: u64 = loqa_protocol::audio::INPUT_SAMPLE_RATE as u64;

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// A pause of this length after speech starts the speculative pass.
    pub pause: Duration,
    /// A partial pass is due after this much new audio.
    pub partial_every: Duration,
}

/// Less voiced audio than this is a click and not speech. Chosen: three frames.
const SHORTEST_SPEECH: Duration = Duration::from_millis(60);
/// Audio kept before the first voiced frame: detectors miss soft beginnings. Chosen.
const LEAD_IN: Duration = Duration::from_millis(300);
/// Detectors drop out in a final "s". A frame without voice is no silence when it is
/// louder than this part of the loudest voiced frame (-22 dB; sibilants lie 10 to 20 dB
/// below vowels) and clearly louder than the background. Chosen.
const SIBILANT: f32 = 0.08;
/// How much louder than the quietest frame, which stands for the background. Chosen:
/// frames of steady noise differ by less.
const ABOVE_BACKGROUND: f32 = 3.0;
/// Sound without voice voids a bet when it lasts this long; the click of the key that
/// is released does not. Chosen.
const LONGER_THAN_A_CLICK: Duration = Duration::from_millis(40);

/// What a frame calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Wait,
    /// A partial pass is due; tell [`Listener::partial_began`] when it began.
    Partial,
    /// The user pauses: begin the speculative pass.
    Speculate,
    /// The user goes on: the speculative pass is void.
    Abandon,
}

/// What is known about one utterance.
#[derive(Debug)]
pub struct Listener {
    pacing: Pacing,
    samples: u64,
    voiced: u64,
    first_voiced: Option<u64>,
    /// Samples since the last frame that was voiced or sounded like more than background.
    pause: u64,
    /// Samples since the last frame that was neither.
    sound: u64,
    loudest_voiced: f32,
    quietest: f32,
    /// Samples at the beginning of the last partial or speculative pass.
    last_pass: u64,
    speculating: bool,
}

impl Listener {
    /// Begins an utterance.
    #[must_use]
    pub fn new(pacing: Pacing) -> Self {
        Self {
            pacing,
            samples: 0,
            voiced: 0,
            first_voiced: None,
            pause: 0,
            sound: 0,
            loudest_voiced: 0.0,
            quietest: f32::INFINITY,
            last_pass: 0,
            speculating: false,
        }
    }

    /// Takes note of one frame.
    pub fn frame(&mut self, samples: &[i16], voiced: bool) -> Step {
        let n_samples = samples.len() as u64;
        let loudness = loudness(samples);
        self.quietest = self.quietest.min(loudness);
        if voiced {
            self.first_voiced.get_or_insert(self.samples);
            self.voiced += n_samples;
            self.loudest_voiced = self.loudest_voiced.max(loudness);
        }
        self.samples += n_samples;

        let background = (self.quietest * ABOVE_BACKGROUND).max(self.loudest_voiced * SIBILANT);
        if voiced || (self.heard_speech() && loudness > background) {
            self.pause = 0;
            self.sound += n_samples;
        } else {
            self.pause += n_samples;
            self.sound = 0;
        }

        if self.speculating && (voiced || self.sound >= in_samples(LONGER_THAN_A_CLICK)) {
            self.speculating = false;
            return Step::Abandon;
        }
        if self.voiced < in_samples(SHORTEST_SPEECH) || self.speculating {
            return Step::Wait;
        }
        if self.pause >= in_samples(self.pacing.pause) {
            self.speculating = true;
            self.last_pass = self.samples;
            return Step::Speculate;
        }
        // In a beginning pause the speculative pass is about to want the machine.
        if voiced && self.samples - self.last_pass >= in_samples(self.pacing.partial_every) {
            return Step::Partial;
        }
        Step::Wait
    }

    /// A partial pass began with the audio so far.
    pub fn partial_began(&mut self) {
        self.last_pass = self.samples;
    }

    /// Audio that came after the last partial or speculative pass began.
    #[must_use]
    pub fn since_last_pass(&self) -> Duration {
        Duration::from_millis((self.samples - self.last_pass) * 1_000 / SAMPLES_PER_SECOND)
    }

    /// Whether only silence came since the speculative pass began.
    #[must_use]
    pub fn is_speculating(&self) -> bool {
        self.speculating
    }

    /// Whether any frame was voiced.
    #[must_use]
    pub fn heard_speech(&self) -> bool {
        self.first_voiced.is_some()
    }

    /// The sample at which a pass should begin: what lies further before the first
    /// voiced frame costs time and invites invented words.
    #[must_use]
    pub fn first_sample(&self) -> usize {
        let first = self.first_voiced.unwrap_or(0).saturating_sub(in_samples(LEAD_IN));
        usize::try_from(first).unwrap_or(0)
    }
}

/// Root mean square, 0 to 1.
fn loudness(samples: &[i16]) -> f32 {
    let power: f64 = samples.iter().map(|sample| f64::from(*sample) * f64::from(*sample)).sum();
    ((power / samples.len().max(1) as f64).sqrt() / 32_768.0) as f32
}

fn in_samples(duration: Duration) -> u64 {
    duration.as_millis() as u64 * SAMPLES_PER_SECOND / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One character for each frame of 20 ms: `v` voiced, `s` a sibilant or another
    /// sound without voice, `.` background; answers in the same way: `P`artial,
    /// `S`peculate, `A`bandon.
    fn check(frames: &str, expected: &str) {
        let pacing = Pacing { pause: Duration::from_millis(60), partial_every: Duration::from_millis(200) };
        let mut listener = Listener::new(pacing);
        let steps: String = frames
            .chars()
            .map(|frame| {
                let amplitude = match frame {
                    'v' => 8_000,
                    's' => 1_500,
                    _ => 30,
                };
                match listener.frame(&[amplitude; 320], frame == 'v') {
                    Step::Wait => '.',
                    Step::Partial => {
                        listener.partial_began();
                        'P'
                    }
                    Step::Speculate => 'S',
                    Step::Abandon => 'A',
                }
            })
            .collect();
        assert_eq!(steps, expected, "for {frames}");
    }

    #[test]
    fn a_pause_after_speech_starts_one_speculative_pass() {
        check("....vvvv.....", "..........S..");
        check("..vv........", "............");
    }

    #[test]
    fn speech_after_the_pause_voids_it_and_the_next_pause_starts_another() {
        check("vvvv....vv....", "......S.A...S.");
    }

    #[test]
    fn short_gaps_do_not_count_as_a_pause() {
        check("vvv..vvv..v...", "..........P..S");
    }

    #[test]
    fn a_final_sibilant_is_no_pause() {
        check("..vvvvssssss....", "..............S.");
        check("vvvv....ssss", "......S..A..");
        check("vvvv....s...", "......S.....");
    }

    #[test]
    fn steady_noise_is_no_sibilant() {
        // As loud as the sibilants above, but there is nothing quieter.
        check("ssssvvvvssss", "..........S.");
    }

    #[test]
    fn partial_passes_are_due_while_the_user_speaks() {
        check("vvvvvvvvvvvvvvvvvvvvvvvv", ".........P.........P....");
    }

    #[test]
    fn silence_asks_for_nothing() {
        check("..............................", "..............................");
    }

    #[test]
    fn a_pass_begins_shortly_before_the_first_voiced_frame() {
        let mut listener = Listener::new(Pacing { pause: Duration::ZERO, partial_every: Duration::ZERO });
        assert_eq!((listener.first_sample(), listener.heard_speech()), (0, false));
        listener.frame(&[0; 8_000], false);
        assert_eq!(listener.first_sample(), 0, "nothing voiced yet: everything counts");
        listener.frame(&[9_000; 320], true);
        assert_eq!((listener.first_sample(), listener.heard_speech()), (8_000 - 4_800, true));
    }
}
