//! The whole hub with its real parts, from the input to the sound of the answer.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod api;
mod audit;
mod bad_input;
mod crashes;
mod devices;
mod evaluation;
mod home;
mod installed_skills;
mod metrics;
mod models;
mod native;
mod openai;
mod permissions;
mod remote_model;
mod replay;
mod store;
mod talk;
mod traces;
mod turns;
#[path = "../../crates/loqa-hub/tests/consent/wat_skill.rs"]
#[expect(dead_code, reason = "another test uses the rest")]
mod wat_skill;
mod wyoming;
