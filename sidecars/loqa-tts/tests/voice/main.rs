//! The voice with its real parts: the starter model, ONNX Runtime, nats-server and the
//! engine program itself.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bus;
mod refusals;
mod speech;
mod support;
