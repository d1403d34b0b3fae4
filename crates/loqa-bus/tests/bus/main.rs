//! The bus against the pinned nats-server. What kills processes and looks into
//! `/proc` is for Linux.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod client;
mod mqtt;
mod permissions;
mod skills;
#[cfg(target_os = "linux")]
mod supervision;
mod support;
