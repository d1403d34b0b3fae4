//! The bus against the pinned nats-server.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod client;
mod permissions;
mod support;
mod supervision;
