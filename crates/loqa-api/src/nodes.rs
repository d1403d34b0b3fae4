//! The engines, as the registry sees them.

use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use loqa_protocol::client::NodeInfo;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Every engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Nodes {
    /// By instance.
    pub nodes: Vec<NodeInfo>,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new().routes(routes!(nodes))
}

/// List the engines
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", responses((status = 200, body = Nodes)))]
async fn nodes(State(state): State<Arc<AppState>>) -> Json<Nodes> {
    Json(Nodes { nodes: state.hub.nodes() })
}
