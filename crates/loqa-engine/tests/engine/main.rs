//! Engines as real processes on the real bus. They are killed and signalled as Unix
//! knows it; on Windows the engines are tested through the hub.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod life;
mod support;
mod work;
