//! What may be remembered: the scope that is in force, and guest mode.

use crate::extract::ApiJson;
use crate::problem::{ApiResult, Problem, blocking};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use loqa_hub::privacy;
use loqa_protocol::client::{StoreReply, StoreRequest};
use loqa_protocol::{ErrorCode, PrivacyScope};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What may be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrivacyState {
    /// Whether guest mode is on: nothing is kept.
    pub guest: bool,
    /// How long a turn that begins may be remembered.
    pub scope: PrivacyScope,
}

/// Guest mode, on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestMode {
    /// Whether it is on.
    pub guest: bool,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new().routes(routes!(show, switch))
}

async fn ask(state: Arc<AppState>, on: Option<bool>) -> ApiResult<Json<PrivacyState>> {
    blocking(move || match privacy::answer(state.hub.privacy(), state.hub.audit(), StoreRequest::Guest { on }) {
        StoreReply::Guest { on, scope } => Ok(Json(PrivacyState { guest: on, scope })),
        StoreReply::Refused { failure } => Err(failure.into()),
        StoreReply::Erased { .. } => Err(Problem::new(ErrorCode::HubFault, "an answer to another request")),
    })
    .await
}

/// Show what may be remembered
#[utoipa::path(get, path = "/v1/privacy", tag = "privacy", responses((status = 200, body = PrivacyState)))]
async fn show(State(state): State<Arc<AppState>>) -> ApiResult<Json<PrivacyState>> {
    ask(state, None).await
}

/// Turn guest mode on or off, from the next turn on
#[utoipa::path(put, path = "/v1/privacy", tag = "privacy", request_body = GuestMode,
    responses((status = 200, body = PrivacyState)))]
async fn switch(
    State(state): State<Arc<AppState>>,
    ApiJson(GuestMode { guest }): ApiJson<GuestMode>,
) -> ApiResult<Json<PrivacyState>> {
    ask(state, Some(guest)).await
}
