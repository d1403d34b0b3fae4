//! What the audit promises, with the real SQLite and real files. Figures that take
//! long run small by default; the variables named at their tests give the full ones.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod behaviour;
mod complete;
mod crash;
mod damage;
mod independent;
mod rate;
mod retention;
mod support;
mod tamper;
