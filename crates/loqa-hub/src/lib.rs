//! The product: configuration, models, the supervised bus and engines, the node
//! registry, the session driver and the recorder.
//!
//! Deliberately absent: Tauri, sound devices and model libraries. Sound comes in
//! and goes out through channels; models run in engine processes on the bus.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on stops"))]

pub mod audit;
pub mod config;
pub mod consent;
pub mod direct;
pub mod effects;
pub mod hub;
pub mod models;
pub mod native;
pub mod outbound;
pub mod paths;
pub mod privacy;
pub mod pulls;
pub mod recorder;
pub mod registry;
pub mod replay;
pub mod session;
pub mod sink;
pub mod skills;
pub mod supervisor;

pub use hub::{Hub, RunningTurn, SinkFactory, TurnOptions};
