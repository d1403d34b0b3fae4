//! What may be remembered: the scope that is in force, guest mode, and taking back all of it.

use crate::extract::ApiJson;
use crate::limits::{LONG, Within};
use crate::problem::{ApiResult, Problem, blocking};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use loqa_hub::privacy;
use loqa_protocol::client::{StoreReply, StoreRequest};
use loqa_protocol::{ErrorCode, PrivacyScope};
use loqa_store::Erased;
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

/// That everything is to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WipeRequest {
    /// The word `wipe`, so that no other request does this by mistake.
    #[schema(pattern = "^wipe$")]
    pub confirm: String,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new().routes(routes!(show, switch)).routes(routes!(wipe))
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

/// Remove everything that was said and answered, for good
///
/// As `loqa store wipe`: all sessions with their recordings, and the contents of the audit,
/// where a row `store.wipe` proves it. A turn that runs is a conflict.
#[utoipa::path(post, path = "/v1/privacy/wipe", tag = "privacy", request_body = WipeRequest,
    responses((status = 200, body = Erased)))]
async fn wipe(
    _time: Within<LONG>,
    State(state): State<Arc<AppState>>,
    ApiJson(WipeRequest { confirm }): ApiJson<WipeRequest>,
) -> ApiResult<Json<Erased>> {
    if confirm != "wipe" {
        return Err(Problem::bad_request("`confirm` must be `wipe`"));
    }
    Ok(Json(state.hub.wipe().await?))
}
