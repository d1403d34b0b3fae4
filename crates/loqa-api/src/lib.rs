//! The one HTTP and WebSocket API: for the window, a browser, the command line and
//! other programs.
//!
//! A request passes [`guard`] first: it must come from this machine, name it by one of its
//! loopback names, come from no foreign web page, and carry the token of this start. What
//! it may do then is decided by the hub; its shapes stand in `docs/openapi.json`, its rules
//! in `docs/api.md`.
//!
//! Deliberately absent: decisions, TLS, and any address that is not loopback.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on stops"))]

pub mod audit;
pub mod compat;
#[cfg(test)]
mod doc;
pub mod events;
pub mod extract;
pub mod feed;
pub mod grants;
pub mod guard;
pub mod latency;
pub mod limits;
pub mod login;
pub mod metrics;
pub mod models;
pub mod nodes;
pub mod openai;
pub mod openapi;
pub mod packages;
pub mod page;
pub mod privacy;
pub mod problem;
pub mod replay;
pub mod server;
pub mod sessions;
pub mod settings;
pub mod skills;
pub mod state;
pub mod status;
pub mod store;
mod stream;
pub mod talk;
#[cfg(test)]
#[path = "../../../tests/support/mutate.rs"]
mod testing;
pub mod token;
pub mod turns;
mod utterance;
mod voices;
mod window;
pub mod wyoming;

pub use compat::Compat;
pub use problem::{ApiResult, Problem};
pub use server::ApiServer;
pub use state::{ApiOptions, AppState};
