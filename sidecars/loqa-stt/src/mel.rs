//! The log-mel spectrogram that Whisper hears, computed frame by frame while the
//! audio arrives: at the end of an utterance three frames are left to compute
//! instead of the whole clip.
//!
//! Same algorithm as whisper.cpp 1.8.3 (`log_mel_spectrogram`): Hann window of 400
//! samples, hop of 160, the first 200 samples mirrored before the start, zeros
//! after the end, logarithm to base 10, then everything clamped to 8 below the
//! loudest value of the window and scaled. The tests compare it with whisper.cpp.
//!
//! Deliberately absent: resampling and any judgement about the sound.

use std::f64::consts::TAU;
use std::ops::Range;

/// Samples between two frames: 10 ms.
pub const HOP: usize = 160;
/// Samples under one frame's window: 25 ms.
const WINDOW: usize = 400;
/// Samples of a frame that lie before its centre.
const HALF_WINDOW: usize = WINDOW / 2;
/// Bins from 0 Hz to the Nyquist frequency.
const BINS: usize = WINDOW / 2 + 1;
/// `log10` of the smallest power that counts.
const SILENT: f32 = -10.0;

/// The filter bank of a model file: how much each FFT bin weighs in each mel band.
#[derive(Debug, Clone, PartialEq)]
pub struct MelFilters {
    /// One per band: the bins that are not zero, and their weights.
    bands: Vec<(Range<usize>, Vec<f32>)>,
}

impl MelFilters {
    /// Takes `bands` rows of 201 weights each; `None` when the number of weights
    /// differs or one of them is not finite.
    #[must_use]
    pub fn new(bands: usize, weights: Vec<f32>) -> Option<Self> {
        if weights.len() != bands * BINS || weights.iter().any(|weight| !weight.is_finite()) {
            return None;
        }
        let bands = weights
            .chunks_exact(BINS)
            .map(|row| {
                let start = row.iter().position(|weight| *weight != 0.0).unwrap_or(0);
                let end = row.iter().rposition(|weight| *weight != 0.0).map_or(0, |last| last + 1).max(start);
                (start..end, row[start..end].to_vec())
            })
            .collect();
        Some(Self { bands })
    }

    /// Number of mel bands.
    #[must_use]
    pub fn bands(&self) -> usize {
        self.bands.len()
    }
}

/// A spectrogram ready for the encoder: band after band, each `frames` long.
#[derive(Debug, Clone, PartialEq)]
pub struct MelWindow {
    /// `bands * frames` values.
    pub values: Vec<f32>,
    /// Frames per band, the padding included: twice the audio context.
    pub frames: usize,
    /// Frames that come from audio, at most `frames`.
    pub heard_frames: usize,
}

/// Audio of one utterance, and its spectrogram as far as it is known.
#[derive(Debug)]
pub struct MelStream {
    filters: MelFilters,
    fft: Fft,
    samples: Vec<f32>,
    /// Frame after frame, before clamping; only frames that no further sample can change.
    settled: Vec<f32>,
}

impl MelStream {
    /// Begins an utterance.
    #[must_use]
    pub fn new(filters: MelFilters) -> Self {
        Self { filters, fft: Fft::new(), samples: Vec::new(), settled: Vec::new() }
    }

    /// Forgets the audio and begins another utterance.
    pub fn clear(&mut self) {
        self.samples.clear();
        self.settled.clear();
    }

    /// Adds audio and computes the frames that it completes.
    pub fn push(&mut self, pcm: &[i16]) {
        self.samples.extend(pcm.iter().map(|sample| f32::from(*sample) / 32_768.0));
        // The mirrored start needs sample 200 before the first frame is settled.
        if self.samples.len() <= HALF_WINDOW {
            return;
        }
        let mut frame = self.settled.len() / self.filters.bands();
        while frame * HOP + HALF_WINDOW <= self.samples.len() {
            self.append_frame(frame);
            frame += 1;
        }
    }

    /// Samples so far.
    #[must_use]
    pub fn n_samples(&self) -> usize {
        self.samples.len()
    }

    /// Root mean square of the loudest 100 ms, 0 to 1.
    #[must_use]
    pub fn loudest(&self) -> f32 {
        self.samples
            .chunks(1_600)
            .map(|chunk| {
                let power: f64 = chunk.iter().map(|sample| f64::from(*sample) * f64::from(*sample)).sum();
                (power / chunk.len() as f64).sqrt() as f32
            })
            .fold(0.0, f32::max)
    }

    /// Frames that the audio fills so far; the last ones see zeros after the end.
    #[must_use]
    pub fn n_frames(&self) -> usize {
        if self.samples.is_empty() { 0 } else { (self.samples.len() + HALF_WINDOW) / HOP + 1 }
    }

    /// The spectrogram from `first_frame` on, as if the audio ended here, padded
    /// with silence (or cut) to `frames`.
    pub fn window(&mut self, first_frame: usize, frames: usize) -> MelWindow {
        let bands = self.filters.bands();
        let n_settled = self.settled.len();
        for frame in n_settled / bands..self.n_frames() {
            self.append_frame(frame);
        }

        let heard = &self.settled[(first_frame * bands).min(self.settled.len())..];
        let heard = &heard[..heard.len().min(frames * bands)];
        let heard_frames = heard.len() / bands;
        let loudest = heard.iter().copied().fold(SILENT, f32::max);
        let floor = loudest - 8.0;
        let scale = |value: f32| (value.max(floor) + 4.0) / 4.0;

        let mut values = vec![scale(SILENT); bands * frames];
        for (frame, column) in heard.chunks_exact(bands).enumerate() {
            for (band, value) in column.iter().enumerate() {
                values[band * frames + frame] = scale(*value);
            }
        }
        // Later samples change these frames, so they are not settled.
        self.settled.truncate(n_settled);
        MelWindow { values, frames, heard_frames }
    }

    fn append_frame(&mut self, frame: usize) {
        let power = self.fft.power(|offset| {
            // Mirrored before the start.
            let index = HALF_WINDOW.abs_diff(frame * HOP + offset);
            self.samples.get(index).copied().unwrap_or(0.0)
        });
        for (bins, weights) in &self.filters.bands {
            let sum: f64 =
                power[bins.clone()].iter().zip(weights).map(|(power, weight)| f64::from(power * weight)).sum();
            self.settled.push(sum.max(1e-10).log10() as f32);
        }
    }
}

/// A Fourier transform of 400 real samples: four halvings, then 25 by 25.
#[derive(Debug)]
struct Fft {
    hann: Vec<f32>,
    /// `cos` and `sin` of `2π k / 400`.
    turns: Vec<(f32, f32)>,
    spectrum: Vec<(f32, f32)>,
    windowed: Vec<f32>,
    power: Vec<f32>,
}

impl Fft {
    fn new() -> Self {
        let angle = |k: usize| TAU * k as f64 / WINDOW as f64;
        Self {
            hann: (0..WINDOW).map(|k| (0.5 * (1.0 - angle(k).cos())) as f32).collect(),
            turns: (0..WINDOW).map(|k| (angle(k).cos() as f32, angle(k).sin() as f32)).collect(),
            spectrum: vec![(0.0, 0.0); WINDOW],
            windowed: vec![0.0; WINDOW],
            power: vec![0.0; BINS],
        }
    }

    /// Power of each bin of the window that `sample` gives.
    fn power(&mut self, sample: impl Fn(usize) -> f32) -> &[f32] {
        for (offset, (windowed, hann)) in self.windowed.iter_mut().zip(&self.hann).enumerate() {
            *windowed = hann * sample(offset);
        }
        transform(&self.windowed, 1, &mut self.spectrum, &self.turns);
        for (power, (re, im)) in self.power.iter_mut().zip(&self.spectrum) {
            *power = re * re + im * im;
        }
        &self.power
    }
}

/// Transforms every `stride`-th sample of `input` into `output`.
fn transform(input: &[f32], stride: usize, output: &mut [(f32, f32)], turns: &[(f32, f32)]) {
    let length = output.len();
    if length % 2 == 1 {
        return transform_odd(input, stride, output, turns);
    }
    let (even, odd) = output.split_at_mut(length / 2);
    transform(input, stride * 2, even, turns);
    transform(&input[stride..], stride * 2, odd, turns);
    let step = WINDOW / length;
    for ((even, odd), (cos, sin)) in even.iter_mut().zip(odd).zip(turns.iter().step_by(step)) {
        let turned = (cos * odd.0 + sin * odd.1, cos * odd.1 - sin * odd.0);
        *odd = (even.0 - turned.0, even.1 - turned.1);
        *even = (even.0 + turned.0, even.1 + turned.1);
    }
}

/// The definition; real input makes the upper half the mirror of the lower.
fn transform_odd(input: &[f32], stride: usize, output: &mut [(f32, f32)], turns: &[(f32, f32)]) {
    let length = output.len();
    let step = WINDOW / length;
    for bin in 0..=length / 2 {
        let (mut re, mut im) = (0.0, 0.0);
        let mut turn = 0;
        for sample in input.iter().step_by(stride).take(length) {
            let (cos, sin) = turns[turn];
            re += sample * cos;
            im -= sample * sin;
            turn += bin * step;
            if turn >= WINDOW {
                turn -= WINDOW;
            }
        }
        output[bin] = (re, im);
        if bin > 0 {
            output[length - bin] = (re, -im);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat_filters() -> MelFilters {
        let mut weights = vec![0.0; 80 * BINS];
        for band in 0..80 {
            weights[band * BINS + 2 * band] = 1.0;
            weights[band * BINS + 2 * band + 1] = 0.5;
        }
        MelFilters::new(80, weights).unwrap()
    }

    fn chirp(length: usize) -> Vec<i16> {
        (0..length)
            .map(|n| {
                let t = n as f64 / 16_000.0;
                ((TAU * (200.0 + 900.0 * t) * t).sin() * 12_000.0 * (1.0 - t / 8.0)) as i16
            })
            .collect()
    }

    #[test]
    fn transform_agrees_with_the_definition() {
        let mut fft = Fft::new();
        let input: Vec<f32> = (0..WINDOW).map(|n| ((n * n % 97) as f32 - 48.0) / 50.0).collect();
        let power = fft.power(|n| input[n]).to_vec();
        for (bin, power) in power.iter().enumerate() {
            let (mut re, mut im) = (0.0_f64, 0.0_f64);
            for (n, sample) in input.iter().enumerate() {
                let angle = TAU * (bin * n) as f64 / WINDOW as f64;
                let hann = 0.5 * (1.0 - (TAU * n as f64 / WINDOW as f64).cos());
                re += hann * f64::from(*sample) * angle.cos();
                im -= hann * f64::from(*sample) * angle.sin();
            }
            let expected = re * re + im * im;
            assert!(
                (f64::from(*power) - expected).abs() < 1e-3 * (1.0 + expected),
                "bin {bin}: {power} and {expected}"
            );
        }
    }

    #[test]
    fn arrival_in_pieces_gives_the_same_spectrogram() {
        let audio = chirp(16_000);
        let mut whole = MelStream::new(flat_filters());
        whole.push(&audio);
        for piece in [1, 7, 320, 333, 5_000] {
            let mut pieces = MelStream::new(flat_filters());
            for chunk in audio.chunks(piece) {
                pieces.push(chunk);
                if piece > 300 {
                    // Looking at an unfinished utterance must not disturb it.
                    pieces.window(0, 64);
                }
            }
            assert_eq!(pieces.window(0, 120), whole.window(0, 120), "pieces of {piece} samples");
        }
    }

    #[test]
    fn window_is_padded_cut_and_shifted() {
        let mut stream = MelStream::new(flat_filters());
        assert_eq!(stream.window(0, 20).heard_frames, 0, "nothing arrived");
        stream.push(&chirp(100));
        assert_eq!(stream.window(0, 20).heard_frames, stream.n_frames(), "shorter than the mirrored start");
        stream.push(&chirp(16_000));
        let all = stream.window(0, 300);
        assert_eq!((all.frames, all.heard_frames), (300, stream.n_frames()));
        assert_eq!(stream.window(0, 50).heard_frames, 50, "cut");
        assert_eq!(stream.window(90, 50).heard_frames, stream.n_frames() - 90, "shifted");
        assert_eq!(stream.window(5_000, 50).heard_frames, 0, "behind the end");
        let silence = all.values[299];
        assert!(all.values.iter().all(|value| *value >= silence), "padding is the quietest");
    }
}
