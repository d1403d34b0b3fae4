//! How loud a microphone is, for a meter on the screen. Deliberately absent: loudness as
//! people hear it, and the clock.

use loqa_protocol::audio::INPUT_SAMPLE_RATE;

/// Samples of one reading: 50 ms, so 20 readings a second.
pub const READING: usize = INPUT_SAMPLE_RATE as usize / 20;
/// What counts as silence, in dB below full scale. Chosen: the noise of a quiet room.
const FLOOR_DB: f32 = 60.0;

/// Reads the level of 16 kHz mono sound, whatever the size of its frames.
#[derive(Debug, Default)]
pub struct Level {
    squares: f64,
    samples: usize,
}

impl Level {
    /// Takes sound; gives a reading for every [`READING`] samples, the last one where several
    /// are complete. 0 is -60 dBFS and less, 1 is a square wave of full scale.
    pub fn push(&mut self, samples: &[i16]) -> Option<f32> {
        let mut reading = None;
        for sample in samples {
            self.squares += (f64::from(*sample) / 32_768.0).powi(2);
            self.samples += 1;
            if self.samples == READING {
                reading = Some(of_mean_square(self.squares / READING as f64));
                *self = Self::default();
            }
        }
        reading
    }
}

#[expect(clippy::cast_possible_truncation, reason = "between 0 and 1")]
fn of_mean_square(mean: f64) -> f32 {
    // Silence has no decibels.
    let db = 10.0 * mean.max(1e-10).log10() as f32;
    (1.0 + db / FLOOR_DB).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_scale_is_one_and_silence_is_nothing() {
        assert_eq!(Level::default().push(&[0; READING]), Some(0.0));
        let loud = Level::default().push(&[i16::MIN; READING]).unwrap();
        assert!((loud - 1.0).abs() < 1e-3, "{loud}");
        // A tenth of full scale is -20 dB, two thirds of the way up.
        let tenth = Level::default().push(&[3_277; READING]).unwrap();
        assert!((tenth - 2.0 / 3.0).abs() < 1e-3, "{tenth}");
    }

    #[test]
    fn a_reading_comes_every_fifty_milliseconds_of_sound() {
        let mut level = Level::default();
        let readings = (0..100).filter(|_| level.push(&[100; 320]).is_some()).count();
        assert_eq!(readings, 40, "two seconds in frames of 20 ms");
    }
}
