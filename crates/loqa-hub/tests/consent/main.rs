//! Sessions, skills and the gate together, over the real bus: what the person is asked,
//! what a turn does meanwhile, and what injected text can achieve.

#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, reason = "figures, seen with --nocapture")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod asking;
mod bridge;
mod injection;
mod stage;
mod wat_skill;
