//! The message bus: a typed NATS client ([`Bus`]) and the supervised nats-server
//! child that it talks to ([`BusServer`]).
//!
//! Nothing durable rests on the bus. JetStream is off unless the MQTT gateway is on, which
//! keeps retained messages of devices in it, in an account of their own;
//! `publish` returning `Ok` means *queued*, and everything that must arrive is a request with a deadline.
//! Deliberately absent: knowledge of turns, engines and what a message means.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on stops"))]

mod client;
mod error;
mod permissions;
mod server;

pub use client::{Bus, Connection, Message, ReplyStream, Subscription};
pub use error::BusError;
pub use permissions::{Permissions, Topics};
pub use server::{BusServer, MqttGateway, RestartPolicy, ServerOptions, ServerState};

/// What a program needs to join the bus. The seed is a secret: it travels on
/// standard input of a child or in a 0600 file, never in an argument, in the
/// environment or in a log.
#[derive(Clone)]
pub struct Credentials {
    /// `nats://127.0.0.1:<port>`.
    pub url: String,
    /// Name of the identity; its inbox is `_INBOX.<identity>.>`.
    pub identity: String,
    /// nkey seed of the identity.
    pub seed: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("url", &self.url)
            .field("identity", &self.identity)
            .field("seed", &"[redacted]")
            .finish()
    }
}
