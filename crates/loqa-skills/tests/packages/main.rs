//! Packages of strangers: nothing is written outside of where it belongs, whatever is in
//! them; and what is installed is what was agreed to, and runs only as long as it is.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::print_stdout, reason = "the figures of a full run")]

mod archive;
mod entries;
mod fuzz;
mod hostile;
mod installed;
mod mutated;
mod races;
mod upgrades;
