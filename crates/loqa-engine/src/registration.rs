//! Keeps the hub informed of who this engine is: hello when the connection stands,
//! announce when the model is loaded, and both again whenever the connection came
//! back, because a hub that lost its bus has forgotten or distrusts everybody.

use loqa_bus::{Bus, BusError, Connection};
use loqa_protocol::engine::{EngineAnnounce, EngineHello, HubAnswer};
use loqa_protocol::{Failure, subject};
use serde::Serialize;
use std::time::Duration;
use tokio::sync::watch;

/// How long the hub may take to answer. Chosen: it answers from memory.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Pause between two attempts while the hub does not answer.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Registers for ever; returns only when the hub refuses this engine.
pub(crate) async fn keep_registered(
    bus: Bus,
    hello: EngineHello,
    mut announce: watch::Receiver<Option<EngineAnnounce>>,
) -> Failure {
    let mut connection = bus.connection();
    loop {
        let Ok(now) = connection.wait_for(|connection| connection.connected).await.map(|now| *now) else {
            // The client is gone, so nobody waits for this future's end either.
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            refusal = register(&bus, &hello, &mut announce) => return refusal,
            () = broken(&mut connection, now) => {
                tracing::info!("the bus connection broke; registering again");
            }
        }
    }
}

/// Hello, then announce whenever there is something new to announce.
async fn register(bus: &Bus, hello: &EngineHello, announce: &mut watch::Receiver<Option<EngineAnnounce>>) -> Failure {
    if let Err(refusal) = tell(bus, subject::ENGINE_HELLO, hello).await {
        return refusal;
    }
    announce.mark_changed();
    loop {
        if announce.changed().await.is_err() {
            return std::future::pending().await;
        }
        let announcement = announce.borrow_and_update().clone();
        if let Some(announcement) = announcement
            && let Err(refusal) = tell(bus, subject::ENGINE_ANNOUNCE, &announcement).await
        {
            return refusal;
        }
    }
}

/// Asks until the hub answers. The error is its refusal.
async fn tell<T: Serialize>(bus: &Bus, subject: &str, message: &T) -> Result<(), Failure> {
    let mut complained = false;
    loop {
        match bus.request::<_, HubAnswer>(subject, message, ANSWER_LIMIT).await {
            Ok(HubAnswer::Welcome { .. }) => return Ok(()),
            Ok(HubAnswer::Refused { failure }) => return Err(failure),
            Err(error) => {
                if !complained && !matches!(error, BusError::NoResponders { .. }) {
                    tracing::warn!(%error, "the hub does not answer; trying on");
                    complained = true;
                }
            }
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

async fn broken(connection: &mut watch::Receiver<Connection>, before: Connection) {
    // An error means that the client is gone, which is as broken as it gets.
    let _ = connection.wait_for(|now| now.epoch != before.epoch).await;
}
