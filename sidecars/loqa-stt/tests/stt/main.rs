//! The speech engine with the bundled model and clips: real weights, real audio,
//! real bus. Nothing is replaced.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod bare;
mod bus;
mod clips;
mod model_file;
mod worker;
