//! The audio of one utterance on its way from the bus to the worker: numbered
//! frames in, checked samples out. Pure: no bus, no clock.

use crate::AudioInput;
use loqa_protocol::audio::{INPUT_SAMPLE_RATE, MAX_UTTERANCE_SECONDS, pcm_from_bytes};
use loqa_protocol::{ErrorCode, Failure, Hop};
use std::sync::mpsc;
use std::time::Instant;

/// Frames of one utterance at most. Chosen: 30 s in frames of 7 ms; the hub sends 20 ms.
const MAX_FRAMES: u64 = 4_096;
/// Samples of one utterance at most, with a quarter of a second for the hub's rounding.
const MAX_SAMPLES: u64 = INPUT_SAMPLE_RATE as u64 * MAX_UTTERANCE_SECONDS as u64 + 4_000;

/// Takes the frames of one utterance.
pub(crate) struct Utterance {
    worker: mpsc::Sender<AudioInput>,
    frames: u64,
    samples: u64,
    ended: bool,
}

impl Utterance {
    pub(crate) fn new() -> (Self, mpsc::Receiver<AudioInput>) {
        // The channel has no bound of its own: MAX_SAMPLES and MAX_FRAMES bound it.
        let (worker, audio) = mpsc::channel();
        (Self { worker, frames: 0, samples: 0, ended: false }, audio)
    }

    /// Takes a frame. The error is the end of the job.
    pub(crate) fn frame(&mut self, seq: Option<&str>, voiced: bool, payload: &[u8]) -> Result<(), Failure> {
        if self.ended {
            return Err(bad_audio("a frame came after the end".to_owned()));
        }
        let expected = self.frames;
        match seq.map(str::parse::<u64>) {
            Some(Ok(seq)) if seq == expected => {}
            Some(Ok(seq)) => {
                return Err(bad_audio(format!("frame {expected} is missing, frame {seq} came")));
            }
            Some(Err(_)) | None => return Err(bad_audio("a frame has no number".to_owned())),
        }
        let samples =
            pcm_from_bytes(payload).ok_or_else(|| bad_audio(format!("frame {expected} ends in half a sample")))?;
        self.frames += 1;
        self.samples += samples.len() as u64;
        if self.samples > MAX_SAMPLES || self.frames > MAX_FRAMES {
            return Err(Failure::new(
                Hop::Stt,
                ErrorCode::AudioTooLong,
                format!("the utterance is longer than {MAX_UTTERANCE_SECONDS} s"),
            ));
        }
        // A worker that has returned already takes nothing more.
        let _ = self.worker.send(AudioInput::Frame { samples, voiced });
        Ok(())
    }

    /// Takes the end marker, which says how many samples were sent in all.
    pub(crate) fn end(&mut self, total: &str, received: Instant) -> Result<(), Failure> {
        if self.ended {
            return Ok(());
        }
        if total.parse::<u64>().ok() != Some(self.samples) {
            let came = self.samples;
            return Err(bad_audio(format!("{total} samples were announced, {came} came")));
        }
        self.ended = true;
        let _ = self.worker.send(AudioInput::End { received });
        Ok(())
    }

    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }
}

fn bad_audio(message: String) -> Failure {
    Failure::new(Hop::Stt, ErrorCode::BadAudio, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<(), Failure>) -> Option<ErrorCode> {
        result.err().map(|failure| failure.code)
    }

    #[test]
    fn frames_in_order_reach_the_worker_and_the_end_after_them() {
        let (mut utterance, audio) = Utterance::new();
        utterance.frame(Some("0"), true, &[1, 0]).unwrap();
        utterance.frame(Some("1"), false, &[2, 0, 3, 0]).unwrap();
        utterance.end("3", Instant::now()).unwrap();
        drop(utterance);
        let heard: Vec<_> = audio
            .iter()
            .map(|input| match input {
                AudioInput::Frame { samples, voiced } => (samples, voiced),
                AudioInput::End { .. } => (vec![], false),
            })
            .collect();
        assert_eq!(heard, [(vec![1], true), (vec![2, 3], false), (vec![], false)]);
    }

    #[test]
    fn gaps_repeats_half_samples_and_missing_numbers_are_bad_audio() {
        for (seq, payload) in [
            (Some("1"), &[0, 0][..]),
            (Some("-1"), &[0, 0]),
            (Some("x"), &[0, 0]),
            (None, &[0, 0]),
            (Some("0"), &[0, 0, 0]),
        ] {
            let (mut utterance, _audio) = Utterance::new();
            let result = utterance.frame(seq, true, payload);
            assert_eq!(code(result), Some(ErrorCode::BadAudio), "{seq:?} {payload:?}");
        }
        let (mut utterance, _audio) = Utterance::new();
        utterance.frame(Some("0"), true, &[0, 0]).unwrap();
        assert_eq!(code(utterance.frame(Some("0"), true, &[0, 0])), Some(ErrorCode::BadAudio));
    }

    #[test]
    fn a_total_that_does_not_fit_is_bad_audio() {
        for total in ["0", "2", "", "one", "-1"] {
            let (mut utterance, _audio) = Utterance::new();
            utterance.frame(Some("0"), true, &[0, 0]).unwrap();
            assert_eq!(code(utterance.end(total, Instant::now())), Some(ErrorCode::BadAudio), "{total}");
        }
    }

    #[test]
    fn an_endless_utterance_is_cut() {
        let second = vec![0_u8; 2 * INPUT_SAMPLE_RATE as usize];
        let (mut utterance, _audio) = Utterance::new();
        for n in 0..30 {
            utterance.frame(Some(&n.to_string()), true, &second).unwrap();
        }
        assert_eq!(code(utterance.frame(Some("30"), true, &second)), Some(ErrorCode::AudioTooLong));

        let (mut utterance, _audio) = Utterance::new();
        let outcome = (0..=MAX_FRAMES).find_map(|n| utterance.frame(Some(&n.to_string()), true, &[0, 0]).err());
        assert_eq!(outcome.unwrap().code, ErrorCode::AudioTooLong, "tiny frames are bounded as well");
    }
}
