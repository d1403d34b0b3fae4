//! Loqa's voice: text in, 24 kHz speech out, from any model with Kokoro's tensors.
//!
//! The path of a clause: [`speakable`] makes words of numbers and symbols, [`phonemes`]
//! finds their sounds (unknown words through [`letter_to_sound`]), [`pieces`] cuts what is
//! too long, [`model`] runs it, [`pcm`] trims and chunks it. [`speaker`] is the whole of it,
//! [`worker`] puts it on the bus.
//!
//! Deliberately absent: playback, queueing of clauses, other languages than English, and
//! espeak-ng, whose licence does not fit this project.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a panic is how a test fails"))]

pub mod cache;
pub mod error;
pub mod interrupt;
pub mod letter_to_sound;
pub mod model;
pub mod onnx;
pub mod pcm;
pub mod phonemes;
pub mod pieces;
pub mod runtime;
pub mod settings;
pub mod speakable;
pub mod speaker;
pub mod vocab;
pub mod voices;
pub mod worker;

pub use error::TtsError;
pub use speaker::{Clause, Speaker, Spoken};
