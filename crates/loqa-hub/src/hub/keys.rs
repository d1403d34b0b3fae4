//! The key to talk, as clients of the bus press it. Deliberately absent: what it means, which
//! is the business of whoever holds the microphone.

use super::Hub;
use loqa_bus::{Bus, BusError, Subscription};
use loqa_protocol::talk::{KeyReply, KeyRequest};
use loqa_protocol::{ErrorCode, Failure, Hop, subject};

/// Requests that may wait; more are dropped, and whoever asked is not answered. Chosen.
const QUEUE: usize = 32;

/// What clients do with the key. While this exists they are told that somebody listens.
pub struct KeyRequests {
    requests: Subscription,
    bus: Bus,
}

/// Where an answer goes.
pub struct KeyAnswer {
    bus: Bus,
    to: Option<String>,
}

impl Hub {
    /// Takes the key from clients of the bus; without it they are told that nobody listens.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn keys(&self) -> Result<KeyRequests, BusError> {
        let bus = self.inner.context.reach.bus.clone();
        let requests = bus.subscribe(subject::HUB_KEY, None, QUEUE).await?;
        bus.flush().await?;
        Ok(KeyRequests { requests, bus })
    }
}

impl KeyRequests {
    /// The next one; `None` when the bus is closed. What cannot be read is answered here.
    pub async fn next(&mut self) -> Option<(KeyRequest, KeyAnswer)> {
        loop {
            let message = self.requests.next().await?;
            let request = message.json();
            let answer = KeyAnswer { bus: self.bus.clone(), to: message.reply };
            match request {
                Ok(request) => return Some((request, answer)),
                Err(error) => {
                    let failure = Failure::new(Hop::Hub, ErrorCode::BadRequest, error.to_string());
                    answer.give(&KeyReply::Refused { failure }).await;
                }
            }
        }
    }
}

impl KeyAnswer {
    /// Answers.
    pub async fn give(self, reply: &KeyReply) {
        if let Some(to) = &self.to
            && let Err(error) = self.bus.respond(to, reply).await
        {
            tracing::debug!(%error, "answer to a client did not leave");
        }
    }
}
