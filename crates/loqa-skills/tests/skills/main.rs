//! The skill host as its callers see it: real modules through Extism, a real store.

#![allow(clippy::print_stdout, reason = "figures, seen with --nocapture")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod manifest;
mod matrix;
mod permissions;
mod runaway;
mod sequences;
mod support;
mod timer;
