//! From the model's floats to the bus's 16-bit samples: cuts the silence at the edges,
//! which is latency at the start and dead air at the end, fades what was cut, and keeps
//! loud passages from clipping.

use crate::model::SAMPLE_RATE;

const fn ms(milliseconds: usize) -> usize {
    milliseconds * SAMPLE_RATE as usize / 1_000
}

/// Window over which loudness is judged.
const WINDOW: usize = ms(2);
/// A window quieter than this is silence: −54 dBFS. The starter model's lead-in noise lies
/// near −72 dBFS, its quietest onset (an "h") between −56 and −49 (measured).
const SILENCE_RMS: f32 = 0.002;
/// Kept before the first sound, so that soft onsets survive.
const LEAD: usize = ms(5);
/// Length of the fade at a cut edge.
const FADE: usize = ms(3);
/// Loudest sample that is let through; louder clauses are turned down as a whole.
const PEAK: f32 = 0.98;

/// The first chunk is short so that playback can begin.
pub const FIRST_CHUNK: usize = ms(40);
/// All other chunks.
pub const CHUNK: usize = ms(100);

/// Silence after the last sound, by the mark that ends the text. Chosen: what people leave
/// between sentences and between phrases, less what a player adds when the next clause
/// comes late.
#[must_use]
pub fn pause_after(mark: Option<char>) -> usize {
    match mark {
        Some('.' | '!' | '?' | '…') => ms(250),
        Some(';' | ':' | '—') => ms(180),
        Some(',') => ms(120),
        _ => ms(30),
    }
}

/// Cuts, fades and converts one inference, and makes the pause after it `pause` samples
/// long. Silence in, nothing out.
#[must_use]
pub fn finish(samples: &[f32], pause: usize) -> Vec<i16> {
    let Some((start, last)) = audible(samples) else { return Vec::new() };
    let end = (last + pause).min(samples.len());
    let kept = &samples[start..end];
    let peak = kept.iter().filter(|s| s.is_finite()).fold(0.0_f32, |peak, s| peak.max(s.abs()));
    let gain = if peak > PEAK { PEAK / peak } else { 1.0 };
    let fade_in = if start > 0 { FADE } else { 0 };
    let fade_out = if end < samples.len() || pause > 0 { FADE } else { 0 };
    let len = kept.len();
    let convert = |(idx, sample): (usize, &f32)| {
        let mut value = if sample.is_finite() { sample * gain } else { 0.0 };
        if idx < fade_in {
            value *= idx as f32 / FADE as f32;
        }
        let left = len - 1 - idx;
        if left < fade_out {
            value *= left as f32 / FADE as f32;
        }
        (value * f32::from(i16::MAX)).round() as i16
    };
    let mut finished: Vec<i16> = kept.iter().enumerate().map(convert).collect();
    finished.resize(last - start + pause, 0);
    finished
}

/// Samples at the start that [`finish`] cuts away.
#[must_use]
pub fn leading_silence(samples: &[f32]) -> usize {
    audible(samples).map_or(samples.len(), |(start, _)| start)
}

/// Where the sound begins, with a little before it, and where its last window ends.
fn audible(samples: &[f32]) -> Option<(usize, usize)> {
    let is_audible = |window: &[f32]| {
        let power: f32 = window.iter().filter(|s| s.is_finite()).map(|s| s * s).sum();
        power > SILENCE_RMS * SILENCE_RMS * window.len() as f32
    };
    let first = samples.chunks(WINDOW).position(is_audible)? * WINDOW;
    let last = samples.rchunks(WINDOW).position(is_audible)? * WINDOW;
    Some((first.saturating_sub(LEAD), samples.len() - last))
}

/// Cuts a stream into chunks: a short first one, then even ones.
#[derive(Debug, Default)]
pub struct Chunker {
    sent: usize,
}

impl Chunker {
    /// The chunks of one piece of the stream; the last one may be short.
    pub fn cut<'a>(&mut self, mut samples: &'a [i16]) -> Vec<&'a [i16]> {
        let mut chunks = Vec::with_capacity(samples.len() / CHUNK + 2);
        while !samples.is_empty() {
            let want = if self.sent == 0 { FIRST_CHUNK } else { CHUNK };
            let (chunk, rest) = samples.split_at(want.min(samples.len()));
            chunks.push(chunk);
            self.sent += 1;
            samples = rest;
        }
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(lead: usize, len: usize, tail: usize, level: f32) -> Vec<f32> {
        let mut samples = vec![0.000_1; lead];
        samples.extend((0..len).map(|i| level * (i as f32 * 0.2).sin()));
        samples.extend(vec![0.000_1; tail]);
        samples
    }

    #[test]
    fn silence_at_the_edges_is_cut_to_a_few_milliseconds_and_the_pause() {
        let out = finish(&tone(ms(40), ms(100), ms(400), 0.5), pause_after(Some(',')));
        let expected = LEAD + ms(100) + ms(120);
        assert!(out.len().abs_diff(expected) <= WINDOW, "{} is about {expected}", out.len());
        assert_eq!(out[0], 0, "faded in");
        assert_eq!(*out.last().unwrap(), 0, "faded out");
    }

    #[test]
    fn a_pause_that_the_model_did_not_make_is_added() {
        let out = finish(&tone(ms(40), ms(100), ms(20), 0.5), pause_after(Some('.')));
        let expected = LEAD + ms(100) + ms(250);
        assert!(out.len().abs_diff(expected) <= WINDOW, "{} is about {expected}", out.len());
        assert!(out[LEAD + ms(130)..].iter().all(|s| *s == 0));
    }

    #[test]
    fn nothing_audible_gives_nothing() {
        assert!(finish(&[], 0).is_empty());
        assert!(finish(&vec![0.0; 5_000], ms(100)).is_empty());
        assert!(finish(&vec![f32::NAN; 5_000], ms(100)).is_empty());
    }

    #[test]
    fn loud_clauses_are_turned_down_and_broken_samples_silenced() {
        let mut samples = tone(0, ms(50), 0, 3.0);
        samples[100] = f32::INFINITY;
        let out = finish(&samples, 0);
        let peak = out.iter().map(|s| s.unsigned_abs()).max().unwrap();
        assert!((31_000..=32_200).contains(&peak), "{peak}");
        assert_eq!(out[100], 0);
        let clipped = out.windows(3).filter(|w| w[0] == w[1] && w[1] == w[2] && w[0].unsigned_abs() > 30_000).count();
        assert_eq!(clipped, 0, "the wave keeps its shape");
    }

    #[test]
    fn sound_that_begins_at_once_keeps_its_edge() {
        let out = finish(&[0.5; 500], 0);
        assert_eq!(out.len(), 500);
        assert_eq!(out[0], 16_384, "no fade where nothing was cut");
    }

    #[test]
    fn the_first_chunk_is_short() {
        let samples = vec![1; ms(300)];
        let mut chunker = Chunker::default();
        let lens: Vec<usize> = chunker.cut(&samples).iter().map(|c| c.len()).collect();
        assert_eq!(lens, [ms(40), ms(100), ms(100), ms(60)]);
        assert_eq!(chunker.cut(&samples)[0].len(), ms(100), "only the first of the stream");
    }
}
