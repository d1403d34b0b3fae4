//! Sample rate conversion, of whole clips and of streams.
//!
//! The FFT resampler with small blocks delays a stream by 2.7 ms from 48 to 16 kHz and
//! by 2.7 ms from 24 to 48 kHz. The delay is cut off at the beginning, so that input and output begin at
//! the same moment of the sound.

use crate::AudioError;
use audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{Fft, FixedSync, Resampler as _};

/// Rates that can be converted into each other.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;

/// Frames of input per block; a compromise between delay and the width of the filter,
/// recommended by rubato.
const BLOCK: usize = 256;

/// Converts mono samples as they come.
#[derive(Debug)]
pub struct Resampler {
    /// `None` when the rates are equal.
    fft: Option<Fft<f32>>,
    /// Input that does not fill a block yet.
    pending: Vec<f32>,
    /// Frames at the beginning of the output that are nothing but delay.
    to_skip: usize,
    n_in: u64,
    n_out: u64,
    ratio: f64,
}

impl Resampler {
    /// A stream from one rate to another, in Hz.
    ///
    /// # Errors
    ///
    /// [`AudioError::Rate`] for rates outside of 4 to 384 kHz.
    pub fn new(from: u32, to: u32) -> Result<Self, AudioError> {
        let rate_error = || AudioError::Rate { from, to };
        if !RATES.contains(&from) || !RATES.contains(&to) {
            return Err(rate_error());
        }
        let fft = if from == to {
            None
        } else {
            let (from, to) = (from as usize, to as usize);
            Some(Fft::new(from, to, BLOCK, 1, FixedSync::Both).map_err(|_| rate_error())?)
        };
        let to_skip = fft.as_ref().map_or(0, |fft| fft.output_delay());
        let ratio = f64::from(to) / f64::from(from);
        Ok(Self { fft, pending: Vec::new(), to_skip, n_in: 0, n_out: 0, ratio })
    }

    /// Takes more input; gives the output that is complete.
    pub fn push(&mut self, samples: &[f32]) -> Vec<f32> {
        self.n_in += samples.len() as u64;
        if self.fft.is_none() {
            return samples.to_vec();
        }
        self.pending.extend_from_slice(samples);
        self.run()
    }

    /// The rest of the output; its total length is that of the input times the ratio,
    /// rounded. The resampler is then as new.
    pub fn finish(&mut self) -> Vec<f32> {
        let mut rest = Vec::new();
        if let Some(block) = self.fft.as_ref().map(|fft| fft.input_frames_next()) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "lengths of sound in memory are far below 2^53"
            )]
            let wanted = (self.n_in as f64 * self.ratio).round() as u64;
            while self.n_out < wanted {
                self.pending.resize(self.pending.len() + block, 0.0);
                rest.extend(self.run());
            }
            let surplus = usize::try_from(self.n_out - wanted).unwrap_or(usize::MAX);
            rest.truncate(rest.len().saturating_sub(surplus));
        }
        self.reset();
        rest
    }

    /// Forgets the stream.
    pub fn reset(&mut self) {
        if let Some(fft) = &mut self.fft {
            fft.reset();
            self.to_skip = fft.output_delay();
        }
        self.pending.clear();
        (self.n_in, self.n_out) = (0, 0);
    }

    /// Converts the complete blocks.
    fn run(&mut self) -> Vec<f32> {
        let Some(fft) = &mut self.fft else { return Vec::new() };
        let (n_in, n_out) = (fft.input_frames_next(), fft.output_frames_next());
        let mut output = Vec::new();
        let mut input = vec![vec![0.0; n_in]];
        let mut block = vec![vec![0.0; n_out]];
        let mut used = 0;
        while self.pending.len() - used >= n_in {
            input[0].copy_from_slice(&self.pending[used..used + n_in]);
            used += n_in;
            let read = SequentialSliceOfVecs::new(&input, 1, n_in);
            let write = SequentialSliceOfVecs::new_mut(&mut block, 1, n_out);
            let (Ok(read), Ok(mut write)) = (read, write) else { break };
            // Both buffers have the sizes that the resampler asked for.
            let done = fft.process_into_buffer(&read, &mut write, None);
            let written = done.map_or(0, |(_, written)| written);
            let skipped = self.to_skip.min(written);
            self.to_skip -= skipped;
            output.extend_from_slice(&block[0][skipped..written]);
        }
        self.pending.drain(..used);
        self.n_out += output.len() as u64;
        output
    }
}

/// Converts a whole clip.
///
/// # Errors
///
/// [`AudioError::Rate`] for rates outside of 4 to 384 kHz.
pub fn resample(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>, AudioError> {
    let mut resampler = Resampler::new(from, to)?;
    let mut output = resampler.push(samples);
    output.extend(resampler.finish());
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::TAU;

    fn tone(hertz: f32, rate: u32, seconds: f32) -> Vec<f32> {
        let n = (rate as f32 * seconds) as usize;
        (0..n).map(|i| (TAU * hertz * i as f32 / rate as f32).sin() * 0.5).collect()
    }

    /// Largest difference between two clips, their first and last 20 ms aside.
    fn difference(a: &[f32], b: &[f32], rate: u32) -> f32 {
        assert_eq!(a.len(), b.len());
        let edge = rate as usize / 50;
        (edge..a.len() - edge).map(|i| (a[i] - b[i]).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_tone_keeps_its_pitch_its_place_and_its_length() {
        for (from, to) in [
            (8_000, 16_000),
            (11_025, 16_000),
            (22_050, 16_000),
            (24_000, 16_000),
            (44_100, 16_000),
            (48_000, 16_000),
            (96_000, 16_000),
            (192_000, 16_000),
            (24_000, 48_000),
            (24_000, 44_100),
            (16_000, 16_000),
            (47_999, 16_000),
        ] {
            let output = resample(&tone(440.0, from, 1.0), from, to).unwrap();
            assert_eq!(output.len(), to as usize, "{from} to {to}: one second stays one second");
            let off = difference(&output, &tone(440.0, to, 1.0), to);
            // Blocks of odd length are centred half a sample beside the middle.
            let half_a_sample = 0.5 * TAU * 440.0 * 0.5 / from.min(to) as f32;
            assert!(off < 0.01 + half_a_sample, "{from} to {to}: off by {off}");
        }
    }

    #[test]
    fn what_the_new_rate_cannot_hold_is_filtered_out() {
        let output = resample(&tone(12_000.0, 48_000, 1.0), 48_000, 16_000).unwrap();
        let loudest = output[800..15_200].iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        assert!(loudest < 0.01, "12 kHz must not come back as an alias: {loudest}");
    }

    #[test]
    fn a_stream_gives_the_same_as_the_whole_clip() {
        let input = tone(300.0, 44_100, 0.7);
        let whole = resample(&input, 44_100, 16_000).unwrap();
        let mut resampler = Resampler::new(44_100, 16_000).unwrap();
        for _ in 0..2 {
            let mut output = Vec::new();
            for (i, chunk) in input.chunks(37).enumerate() {
                output.extend(resampler.push(if i % 5 == 0 { &[] } else { chunk }));
                if i % 5 == 0 {
                    output.extend(resampler.push(chunk));
                }
            }
            output.extend(resampler.finish());
            assert_eq!(output, whole, "the pieces and an earlier stream do not matter");
        }
    }

    #[test]
    fn a_stream_is_delayed_by_milliseconds() {
        for (from, to) in [(48_000_u32, 16_000), (24_000, 48_000), (44_100, 16_000), (24_000, 44_100)] {
            let mut resampler = Resampler::new(from, to).unwrap();
            let output = resampler.push(&vec![0.1; from as usize]);
            let late = 1.0 - output.len() as f64 / f64::from(to);
            assert!(late < 0.02, "{from} to {to} holds back {late} s");
        }
    }

    #[test]
    fn impossible_rates_are_refused() {
        for (from, to) in [(0, 16_000), (16_000, 0), (1, 16_000), (16_000, 1_000_000)] {
            assert!(Resampler::new(from, to).is_err(), "{from} to {to}");
        }
    }

    #[test]
    fn an_empty_clip_stays_empty() {
        assert!(resample(&[], 48_000, 16_000).unwrap().is_empty());
        assert_eq!(resample(&[0.5], 48_000, 16_000).unwrap().len(), 0);
        assert_eq!(resample(&[0.5], 8_000, 16_000).unwrap().len(), 2);
    }
}
