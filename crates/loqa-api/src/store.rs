//! How much is remembered: rows and bytes of the event store, and how it does.

use crate::problem::{ApiResult, blocking};
use crate::sessions::problem_of;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use loqa_store::Counts;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What is remembered, in figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreState {
    /// The file; `null` while sessions are in memory only.
    pub file: Option<String>,
    /// Rows of each table, and the size of the file.
    pub counts: Counts,
    /// Why nothing can be written, `null` while it can.
    pub failing: Option<String>,
    /// Events that were not kept because writing failed or too many waited.
    pub lost: u64,
    /// What happened at the start that people should know, such as a damaged file that was put aside.
    pub notices: Vec<String>,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new().routes(routes!(figures))
}

/// Show how much is remembered
#[utoipa::path(get, path = "/v1/store", tag = "privacy", responses((status = 200, body = StoreState)))]
async fn figures(State(state): State<Arc<AppState>>) -> ApiResult<Json<StoreState>> {
    let _turn = state.limits.heavy().await?;
    blocking(move || {
        let store = state.hub.store();
        let loqa_store::Health { failing, lost, notices } = store.health();
        let counts = store.counts().map_err(problem_of)?;
        let file = store.path().map(|path| path.display().to_string());
        Ok(Json(StoreState { file, counts, failing, lost, notices }))
    })
    .await
}
