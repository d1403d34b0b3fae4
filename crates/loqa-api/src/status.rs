//! Whether the hub lives, for everybody; and how it does, for who holds the token.

use crate::problem::{ApiResult, blocking};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Up; a hub that is down does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Whether it is up.
    pub up: bool,
}

/// How the hub does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of Loqa.
    pub version: String,
    /// Process id of the hub.
    pub pid: u32,
    /// Milliseconds since this API started.
    pub uptime_ms: u64,
    /// Capabilities that are configured, in the order of the engines.
    pub capabilities: Vec<String>,
    /// Those that an engine offers at the moment.
    pub ready: Vec<String>,
    /// Names of the skills that are loaded.
    pub skills: Vec<String>,
    /// Questions to the person that are open.
    pub open_prompts: usize,
    /// How the audit does.
    pub audit: AuditHealth,
}

/// Whether the audit can be written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditHealth {
    /// Why rows cannot be written, `null` while they can. Nothing that needs the record is done meanwhile.
    pub failing: Option<String>,
    /// Rows that wait to be written.
    pub waiting: usize,
    /// Rows that were dropped because too many waited; none is a row that somebody waited for.
    pub lost: u64,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(status))
}

/// Whether the hub is up
///
/// Needs no token and tells nothing else.
#[utoipa::path(get, path = "/health", tag = "status", security(()), responses((status = 200, body = Health)))]
async fn health() -> Json<Health> {
    Json(Health { up: true })
}

/// How the hub does
#[utoipa::path(get, path = "/v1/status", tag = "status", responses((status = 200, body = Status)))]
async fn status(State(state): State<Arc<AppState>>) -> ApiResult<Json<Status>> {
    blocking(move || {
        let hub = &state.hub;
        let nodes = hub.nodes();
        let loqa_audit::Health { failing, waiting, lost } = hub.audit().health();
        let offered = |name: &String| {
            let ready = nodes.iter().filter(|node| node.state == loqa_protocol::client::NodeState::Ready);
            ready.flat_map(|node| &node.capabilities).any(|capability| capability.name == *name)
        };
        Ok(Json(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: u64::try_from(state.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            capabilities: hub.capabilities(),
            ready: hub.capabilities().iter().filter(|name| offered(name)).cloned().collect(),
            skills: hub.skills().host().skills().into_iter().map(|skill| skill.name).collect(),
            open_prompts: hub.prompts().list().len(),
            audit: AuditHealth { failing, waiting, lost },
        }))
    })
    .await
}
