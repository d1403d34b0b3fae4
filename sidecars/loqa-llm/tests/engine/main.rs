//! Tests of the language model engine with real models, a real HTTP server and the real bus.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod bus;
mod chat;
mod general;
mod grammar;
mod kit;
mod offered;
mod reflex;
mod server;
