//! Sound in and out: WAV files, resampling, voice activity, utterance boundaries, and
//! with the feature `device` the microphone and the speaker.
//!
//! Everything but [`device`] works on arrays and counts samples instead of reading a
//! clock, so it gives the same result on every machine. Inside Loqa speech is 16 kHz
//! mono `i16` on the way in and 24 kHz mono `i16` on the way out
//! ([`loqa_protocol::audio`]); what differs is converted here, at the edge.
//!
//! Deliberately absent: echo cancellation, noise suppression, wake words.

#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test"))]

#[cfg(feature = "device")]
pub mod device;
mod error;
pub mod level;
pub mod output;
pub mod resample;
pub mod ring;
pub mod segment;
pub mod vad;
pub mod wav;

pub use error::AudioError;
pub use output::{Output, OutputEvent, Pace};
pub use segment::{Segment, SegmentEnd, Segmenter, SegmenterSettings};
pub use vad::{Vad, VadSettings};
