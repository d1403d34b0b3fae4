//! The skill host as its callers see it: real modules through Extism, a real store.

#![allow(clippy::print_stdout, reason = "figures, seen with --nocapture")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod dry_run;
mod figures;
mod manifest;
mod matrix;
mod permissions;
mod rows;
mod runaway;
mod sequences;
mod support;
mod timer;
