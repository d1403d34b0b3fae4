//! Speech from another program, on its way to a recogniser: any PCM becomes 16 kHz mono
//! frames, each marked by the voice activity detector, at most as long as a turn accepts.

use loqa_audio::{AudioError, Vad, resample::Resampler, wav};
use loqa_hub::session::VoiceInput;
use loqa_protocol::audio::{INPUT_FRAME_SAMPLES, INPUT_SAMPLE_RATE, MAX_UTTERANCE_SECONDS};
use loqa_protocol::{ErrorCode, Failure, Hop};
use std::time::Instant;
use tokio::sync::mpsc;

/// Most samples of an utterance.
const MAX_SAMPLES: usize = (MAX_UTTERANCE_SECONDS * INPUT_SAMPLE_RATE) as usize;
/// A whole utterance fits, so that who sends never waits for the recogniser: its frames, a
/// shorter last one and the end.
const CAPACITY: usize = MAX_SAMPLES / INPUT_FRAME_SAMPLES + 2;

/// An utterance that is being fed.
pub(crate) struct Utterance {
    vad: Vad,
    pending: Vec<i16>,
    n_samples: usize,
    to_recogniser: mpsc::Sender<VoiceInput>,
}

impl Utterance {
    /// An empty one, and what the recogniser reads.
    pub(crate) fn new() -> (Self, mpsc::Receiver<VoiceInput>) {
        let (to_recogniser, audio) = mpsc::channel(CAPACITY);
        (Self { vad: Vad::default(), pending: Vec::new(), n_samples: 0, to_recogniser }, audio)
    }

    /// Takes 16 kHz mono samples.
    pub(crate) fn push(&mut self, samples: &[i16]) -> Result<(), Failure> {
        self.n_samples += samples.len();
        if self.n_samples > MAX_SAMPLES {
            let message = format!("an utterance may last {MAX_UTTERANCE_SECONDS} s at most: cut the recording");
            return Err(Failure::new(Hop::Input, ErrorCode::AudioTooLong, message));
        }
        self.pending.extend_from_slice(samples);
        let whole = self.pending.len() - self.pending.len() % INPUT_FRAME_SAMPLES;
        let rest = self.pending.split_off(whole);
        let frames = std::mem::replace(&mut self.pending, rest);
        for frame in frames.chunks(INPUT_FRAME_SAMPLES) {
            self.send(frame);
        }
        Ok(())
    }

    /// No more comes.
    pub(crate) fn end(mut self) {
        let rest = std::mem::take(&mut self.pending);
        if !rest.is_empty() {
            self.send(&rest);
        }
        self.give(VoiceInput::End { at: Instant::now() });
    }

    fn send(&mut self, frame: &[i16]) {
        let voiced = self.vad.is_voiced(frame);
        self.give(VoiceInput::Frame { samples: frame.to_vec(), voiced });
    }

    /// There is room for a whole utterance; a closed channel means that the recogniser has
    /// failed, and says so to who waits for the transcript.
    fn give(&self, input: VoiceInput) {
        if self.to_recogniser.try_send(input).is_err() {
            tracing::debug!("the recogniser takes no more of an utterance");
        }
    }
}

/// How raw sound is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PcmFormat {
    /// Samples per second.
    pub(crate) rate: u32,
    /// Bytes per sample, 1 (unsigned) to 4.
    pub(crate) width: usize,
    /// Channels, mixed to one.
    pub(crate) channels: usize,
}

impl PcmFormat {
    /// The format, if it is one that is read.
    pub(crate) fn new(rate: u64, width: u64, channels: u64) -> Result<Self, Failure> {
        let fits = (8_000..=192_000).contains(&rate) && (1..=4).contains(&width) && (1..=32).contains(&channels);
        if !fits {
            let message = format!(
                "sound of {rate} Hz, {width} bytes and {channels} channels is not read: give 8,000 to 192,000 Hz, 1 to 4 bytes, 1 to 32 channels"
            );
            return Err(Failure::new(Hop::Input, ErrorCode::BadAudio, message));
        }
        // In range, so the casts keep the value.
        Ok(Self { rate: rate as u32, width: width as usize, channels: channels as usize })
    }
}

/// Turns a stream of raw sound into 16 kHz mono.
pub(crate) struct PcmReader {
    format: PcmFormat,
    resampler: Resampler,
    /// Bytes of a sample that is not complete.
    rest: Vec<u8>,
}

impl PcmReader {
    pub(crate) fn new(format: PcmFormat) -> Result<Self, Failure> {
        let resampler = Resampler::new(format.rate, INPUT_SAMPLE_RATE).map_err(|error| failure(&error))?;
        Ok(Self { format, resampler, rest: Vec::new() })
    }

    pub(crate) const fn format(&self) -> PcmFormat {
        self.format
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<i16> {
        self.rest.extend_from_slice(bytes);
        let frame = self.format.width * self.format.channels;
        let whole = self.rest.len() - self.rest.len() % frame;
        let mono: Vec<f32> = self.rest[..whole].chunks_exact(frame).map(|frame| self.mono(frame)).collect();
        self.rest.drain(..whole);
        wav::to_i16(&self.resampler.push(&mono))
    }

    pub(crate) fn finish(mut self) -> Vec<i16> {
        wav::to_i16(&self.resampler.finish())
    }

    fn mono(&self, frame: &[u8]) -> f32 {
        let sum: f32 = frame.chunks_exact(self.format.width).map(sample).sum();
        sum / self.format.channels as f32
    }
}

/// One little-endian sample, from -1 to 1.
fn sample(bytes: &[u8]) -> f32 {
    match *bytes {
        [a] => (f32::from(a) - 128.0) / 128.0,
        [a, b] => f32::from(i16::from_le_bytes([a, b])) / 32_768.0,
        [a, b, c] => i32::from_le_bytes([0, a, b, c]) as f32 / 2_147_483_648.0,
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]) as f32 / 2_147_483_648.0,
        _ => 0.0,
    }
}

/// What the user is told about sound that cannot be read.
pub(crate) fn failure(error: &AudioError) -> Failure {
    Failure::new(Hop::Input, error.code(), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: PcmFormat, bytes: &[u8], piece: usize) -> Vec<i16> {
        let mut reader = PcmReader::new(format).unwrap();
        let mut samples: Vec<i16> = bytes.chunks(piece).flat_map(|piece| reader.push(piece)).collect();
        samples.extend(reader.finish());
        samples
    }

    #[test]
    fn every_width_gives_the_same_sound_in_whatever_pieces_it_comes() {
        let sine: Vec<f32> = (0..1_600).map(|i| (i as f32 * 0.1).sin() * 0.5).collect();
        let expected = wav::to_i16(&sine);
        let encode = |width: usize| -> Vec<u8> {
            let one = |s: &f32| ((f64::from(*s) * 2_147_483_648.0) as i32).to_le_bytes();
            let wide = sine.iter().flat_map(|s| one(s)[4 - width..].to_vec());
            // Eight bits are unsigned.
            wide.map(|byte| if width == 1 { byte ^ 0x80 } else { byte }).collect()
        };
        for width in 1..=4 {
            let format = PcmFormat::new(16_000, width as u64, 1).unwrap();
            let samples = read(format, &encode(width), 7);
            let tolerance = if width == 1 { 256 } else { 2 };
            assert_eq!(samples.len(), expected.len());
            assert!(samples.iter().zip(&expected).all(|(a, b)| a.abs_diff(*b) <= tolerance), "width {width}");
        }
    }

    #[test]
    fn other_rates_and_channels_keep_the_length() {
        let format = PcmFormat::new(44_100, 2, 2).unwrap();
        let samples = read(format, &vec![1; 44_100 * 4], 4_096);
        assert_eq!(samples.len(), 16_000);
    }

    #[test]
    fn impossible_formats_are_refused() {
        for (rate, width, channels) in [(0, 2, 1), (16_000, 0, 1), (16_000, 2, 0), (16_000, 8, 1), (u64::MAX, 2, 1)] {
            assert_eq!(PcmFormat::new(rate, width, channels).unwrap_err().code, ErrorCode::BadAudio);
        }
    }

    #[test]
    fn an_utterance_of_the_greatest_length_fits_and_a_longer_one_is_refused() {
        let (mut utterance, mut audio) = Utterance::new();
        utterance.push(&vec![0; MAX_SAMPLES - 1]).unwrap();
        utterance.push(&[0]).unwrap();
        utterance.end();
        let mut n_samples = 0;
        let ended = loop {
            match audio.try_recv() {
                Ok(VoiceInput::Frame { samples, .. }) => n_samples += samples.len(),
                Ok(VoiceInput::End { .. }) => break true,
                Err(_) => break false,
            }
        };
        assert!(ended, "the end has room too");
        assert_eq!(n_samples, MAX_SAMPLES);
        let (mut utterance, _audio) = Utterance::new();
        assert_eq!(utterance.push(&vec![0; MAX_SAMPLES + 1]).unwrap_err().code, ErrorCode::AudioTooLong);
    }
}
