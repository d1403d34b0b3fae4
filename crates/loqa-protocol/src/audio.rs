//! The audio formats that travel on the bus. Conversion happens at the edges
//! (`loqa-audio`, the engines); nothing in between resamples.

/// Speech to an STT engine: 16 kHz, mono, signed 16-bit little-endian.
pub const INPUT_SAMPLE_RATE: u32 = 16_000;

/// Speech from a TTS engine: 24 kHz, mono, signed 16-bit little-endian (Kokoro's rate).
pub const OUTPUT_SAMPLE_RATE: u32 = 24_000;

/// Samples in one input frame: 20 ms at 16 kHz.
pub const INPUT_FRAME_SAMPLES: usize = 320;

/// Longest utterance that a turn accepts, in seconds. Chosen: Whisper's window is 30 s.
pub const MAX_UTTERANCE_SECONDS: u32 = 30;

/// Encodes samples as little-endian bytes, two per sample.
#[must_use]
pub fn pcm_to_bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|s| s.to_le_bytes()).collect()
}

/// Decodes little-endian bytes; `None` when the length is odd.
#[must_use]
pub fn pcm_from_bytes(bytes: &[u8]) -> Option<Vec<i16>> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pcm_survives_the_round_trip_and_an_odd_length_is_refused() {
        let samples = [0, 1, -1, i16::MAX, i16::MIN];
        assert_eq!(pcm_from_bytes(&pcm_to_bytes(&samples)).as_deref(), Some(&samples[..]));
        assert_eq!(pcm_from_bytes(&[1, 2, 3]), None, "half a sample is not audio");
    }
}
