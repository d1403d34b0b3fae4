//! Answers clients of the bus that hold the operator's credentials.

use super::{Inner, TurnOptions};
use crate::{audit, models};
use loqa_audit::Journal as _;
use loqa_bus::Bus;
use loqa_models::pull::Left;
use loqa_protocol::client::{AskReply, AskRequest, AuditReply, AuditRequest, StoreReply, StoreRequest};
use loqa_protocol::models::{ModelsReply, ModelsRequest};
use loqa_protocol::{ErrorCode, Failure, Hop, subject};
use std::sync::Arc;
use std::time::Instant;

/// Serves until the bus is closed.
pub(super) async fn serve(inner: Arc<Inner>, bus: Bus) {
    let subscriptions = async {
        let asks = bus.subscribe(subject::HUB_ASK, None, 32).await?;
        let nodes = bus.subscribe(subject::HUB_NODES, None, 32).await?;
        let models = bus.subscribe(subject::HUB_MODELS, None, 8).await?;
        let audits = bus.subscribe(subject::HUB_AUDIT, None, 8).await?;
        let stores = bus.subscribe(subject::HUB_STORE, None, 8).await?;
        bus.flush().await?;
        Ok::<_, loqa_bus::BusError>((asks, nodes, models, audits, stores))
    };
    let (mut asks, mut nodes, mut models, mut audits, mut stores) = match subscriptions.await {
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
                            let turn = super::begin::ask(&inner, options, ask.text, ask.speak).await;
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
            Some(message) = stores.next() => {
                let (inner, bus) = (inner.clone(), bus.clone());
                tokio::spawn(async move {
                    let reply = match message.json::<StoreRequest>() {
                        Ok(request) => inner.about_store(request).await,
                        Err(e) => StoreReply::Refused {
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
            Some(message) = models.next() => {
                let (inner, bus) = (inner.clone(), bus.clone());
                tokio::spawn(async move {
                    let reply = match message.json::<ModelsRequest>() {
                        Ok(request) => about_models(inner, request).await,
                        Err(e) => ModelsReply::Refused {
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

async fn about_models(inner: Arc<Inner>, request: ModelsRequest) -> ModelsReply {
    let done = match request {
        ModelsRequest::List => Ok(ModelsReply::InUse { models: inner.models_in_use() }),
        ModelsRequest::Use { kind, tier, model } => {
            inner.use_model(kind, tier, model).await.map(|models| ModelsReply::InUse { models })
        }
        ModelsRequest::Leaving { model, target } => {
            let recorded = tokio::task::spawn_blocking(move || inner.audit.append(models::leaving(&model, &target)));
            let failed = |message| Failure::new(Hop::Hub, ErrorCode::StorageFault, message);
            match recorded.await {
                Ok(row) => row.map(|row| ModelsReply::Recorded { row }).map_err(|e| failed(e.to_string())),
                Err(e) => Err(failed(e.to_string())),
            }
        }
        ModelsRequest::Left { row, ok, bytes_out, bytes_in } => {
            inner.audit.finish(row, models::outcome(Left { ok, bytes_out, bytes_in }));
            Ok(ModelsReply::Done)
        }
    };
    done.unwrap_or_else(|failure| ModelsReply::Refused { failure })
}
