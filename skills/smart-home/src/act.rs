//! Orders to devices and the two ways they take: Home Assistant's services and MQTT.

use crate::home::{Entity, Source};
use serde_json::{Map, Value};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// One order, for entities of one domain and one source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    /// `turn_on`, `set_cover_position` and so on, as Home Assistant names its services.
    pub(crate) service: &'static str,
    pub(crate) entities: Vec<String>,
    pub(crate) data: Map<String, Value>,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    /// The other side says that it was done.
    Yes,
    /// It was told, and nothing came back in time.
    Unconfirmed,
    /// The other side refused; its own words, for the log.
    Refused(String),
    /// Nobody is there.
    Unreachable,
}

/// An order on its way, with the place for what becomes of it.
pub(crate) struct Sent {
    pub(crate) order: Order,
    pub(crate) answer: oneshot::Sender<Done>,
}

/// The ways that are configured.
#[derive(Clone, Default)]
pub(crate) struct Ways {
    pub(crate) home_assistant: Option<mpsc::Sender<Sent>>,
    pub(crate) mqtt: Option<mpsc::Sender<Sent>>,
}

impl Ways {
    /// Carries out an order and waits for its outcome, at most until `deadline`.
    pub(crate) async fn carry_out(&self, source: Source, order: Order, deadline: Instant) -> Done {
        let way = match source {
            Source::HomeAssistant => &self.home_assistant,
            Source::Mqtt => &self.mqtt,
        };
        let Some(way) = way else { return Done::Unreachable };
        let (answer, outcome) = oneshot::channel();
        // A full queue means that the other side has stalled.
        if way.try_send(Sent { order, answer }).is_err() {
            return Done::Unreachable;
        }
        match tokio::time::timeout_at(deadline.into(), outcome).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Done::Unreachable,
            Err(_) => Done::Unconfirmed,
        }
    }
}

/// Entities grouped into orders of one domain and one source each.
pub(crate) fn group(
    entities: &[Entity],
    service: impl Fn(&Entity) -> &'static str,
    data: &Map<String, Value>,
) -> Vec<(Source, Order)> {
    let mut groups: Vec<(Source, Order)> = Vec::new();
    for entity in entities {
        let service = service(entity);
        let same = groups.iter_mut().find(|(source, order)| {
            *source == entity.source
                && order.service == service
                && order.entities.first().is_some_and(|first| crate::home::Domain::of(first) == Some(entity.domain))
        });
        match same {
            Some((_, order)) => order.entities.push(entity.id.clone()),
            None => {
                groups.push((entity.source, Order { service, entities: vec![entity.id.clone()], data: data.clone() }))
            }
        }
    }
    groups
}
