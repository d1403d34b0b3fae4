//! Answers clients of the bus that hold the operator's credentials.

use super::{Inner, TurnOptions};
use crate::audit;
use loqa_bus::Bus;
use loqa_protocol::client::{AskReply, AskRequest, AuditReply, AuditRequest};
use loqa_protocol::{ErrorCode, Failure, Hop, subject};
use std::sync::Arc;
use std::time::Instant;

/// Serves until the bus is closed.
pub(super) async fn serve(inner: Arc<Inner>, bus: Bus) {
    let subscriptions = async {
        let asks = bus.subscribe(subject::HUB_ASK, None, 32).await?;
        let nodes = bus.subscribe(subject::HUB_NODES, None, 32).await?;
        let audits = bus.subscribe(subject::HUB_AUDIT, None, 8).await?;
        bus.flush().await?;
        Ok::<_, loqa_bus::BusError>((asks, nodes, audits))
    };
    let (mut asks, mut nodes, mut audits) = match subscriptions.await {
        Ok(subscriptions) => subscriptions,
        Err(e) => {
            tracing::error!(error = %e, "clients cannot be served");
            return;
        }
    };
    loop {
        tokio::select! {
            Some(message) = asks.next() => {
                let (inner, bus) = (inner.clone(), bus.clone());
                tokio::spawn(async move {
                    let reply = match message.json::<AskRequest>() {
                        Ok(ask) => {
                            let options =
                                TurnOptions { session: ask.session, guest: ask.guest, keep_audio: None };
                            let turn = super::ask(&inner, options, ask.text, ask.speak).await;
                            match turn.report().await {
                                Ok(report) => AskReply::Turn(report),
                                Err(e) => AskReply::Refused {
                                    failure: Failure::new(Hop::Hub, ErrorCode::ShuttingDown, format!("{e:#}")),
                                },
                            }
                        }
                        Err(e) => AskReply::Refused {
                            failure: Failure::new(Hop::Hub, ErrorCode::BadRequest, e.to_string()),
                        },
                    };
                    if let Some(to) = &message.reply
                        && let Err(e) = bus.respond(to, &reply).await
                    {
                        tracing::debug!(error = %e, "answer to a client did not leave");
                    }
                });
            }
            Some(message) = audits.next() => {
                let (audit, bus) = (inner.audit.clone(), bus.clone());
                tokio::spawn(async move {
                    let refused = |code, message: String| AuditReply::Refused { failure: Failure::new(Hop::Hub, code, message) };
                    let reply = match message.json::<AuditRequest>() {
                        Ok(request) => tokio::task::spawn_blocking(move || audit::answer(&audit, request))
                            .await
                            .unwrap_or_else(|e| refused(ErrorCode::StorageFault, e.to_string())),
                        Err(e) => refused(ErrorCode::BadRequest, e.to_string()),
                    };
                    if let Some(to) = &message.reply
                        && let Err(e) = bus.respond(to, &reply).await
                    {
                        tracing::debug!(error = %e, "answer to a client did not leave");
                    }
                });
            }
            Some(message) = nodes.next() => {
                let rows = inner.context.reach.registry.list(Instant::now());
                if let Some(to) = &message.reply
                    && let Err(e) = bus.respond(to, &rows).await
                {
                    tracing::debug!(error = %e, "answer to a client did not leave");
                }
            }
            else => return,
        }
    }
}
