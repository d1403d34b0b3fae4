//! What skills may do, and the questions they have open: the same answers as over the bus.

use crate::extract::{ApiJson, ApiPath, ApiQuery};
use crate::problem::{ApiResult, Problem, blocking};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use loqa_hub::consent::{NotTaken, about_grants};
use loqa_protocol::grant::{GrantInfo, GrantReply, GrantRequest, Prompt};
use loqa_protocol::{ErrorCode, PromptId, SessionId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Which grants.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GrantsQuery {
    /// Only those of this skill.
    pub skill: Option<String>,
    /// Also those that are over.
    #[serde(default)]
    #[param(default = false)]
    pub all: bool,
}

/// Some grants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GrantList {
    /// The grants.
    pub grants: Vec<GrantInfo>,
}

/// A permission for a skill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGrant {
    /// To which skill.
    pub skill: String,
    /// Which permission; the skill's manifest must ask for it.
    pub permission: String,
    /// Narrower than the manifest; what is not named is as there.
    #[serde(default)]
    pub scope: Map<String, Value>,
    /// How long.
    pub lifetime: GrantLifetime,
    /// The session, for that lifetime.
    #[serde(default)]
    pub session: Option<SessionId>,
}

/// How long a grant lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GrantLifetime {
    /// For one call.
    Once,
    /// For a session.
    Session,
    /// Until it is revoked.
    Always,
    /// A lasting no.
    Never,
}

impl GrantLifetime {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Session => "session",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// What is taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// From which skill.
    pub skill: String,
    /// Which permission; everything when it is left out.
    #[serde(default)]
    pub permission: Option<String>,
}

/// The questions that are open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Prompts {
    /// The oldest first.
    pub prompts: Vec<Prompt>,
}

/// The person's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptAnswer {
    /// One of the question's `answers`.
    pub answer: String,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new()
        .routes(routes!(list, grant))
        .routes(routes!(revoke))
        .routes(routes!(prompts))
        .routes(routes!(answer))
}

async fn ask(state: Arc<AppState>, request: GrantRequest) -> ApiResult<Vec<GrantInfo>> {
    blocking(move || match about_grants(state.hub.skills().host(), request) {
        GrantReply::Grants { grants } => Ok(grants),
        GrantReply::Refused { failure } => Err(Problem::new(failure.code, failure.message)),
    })
    .await
}

/// List what skills may do
#[utoipa::path(get, path = "/v1/grants", tag = "grants", params(GrantsQuery),
    responses((status = 200, body = GrantList)))]
async fn list(
    State(state): State<Arc<AppState>>,
    ApiQuery(GrantsQuery { skill, all }): ApiQuery<GrantsQuery>,
) -> ApiResult<Json<GrantList>> {
    let mut grants = ask(state, GrantRequest::List { skill }).await?;
    grants.retain(|grant| all || grant.ended.is_none());
    Ok(Json(GrantList { grants }))
}

/// Let a skill do something that its manifest asks for
#[utoipa::path(post, path = "/v1/grants", tag = "grants", request_body = NewGrant,
    responses((status = 201, body = GrantList)))]
async fn grant(
    State(state): State<Arc<AppState>>,
    ApiJson(new): ApiJson<NewGrant>,
) -> ApiResult<(StatusCode, Json<GrantList>)> {
    let NewGrant { skill, permission, scope, lifetime, session } = new;
    let lifetime = lifetime.as_str().to_owned();
    let grants = ask(state, GrantRequest::Grant { skill, permission, scope, lifetime, session }).await?;
    Ok((StatusCode::CREATED, Json(GrantList { grants })))
}

/// Take a permission away, also from a call that is running
#[utoipa::path(post, path = "/v1/grants/revoke", tag = "grants", request_body = Revocation,
    responses((status = 200, body = GrantList)))]
async fn revoke(
    State(state): State<Arc<AppState>>,
    ApiJson(Revocation { skill, permission }): ApiJson<Revocation>,
) -> ApiResult<Json<GrantList>> {
    let grants = ask(state, GrantRequest::Revoke { skill, permission }).await?;
    Ok(Json(GrantList { grants }))
}

/// List the questions that skills have open
#[utoipa::path(get, path = "/v1/prompts", tag = "prompts", responses((status = 200, body = Prompts)))]
async fn prompts(State(state): State<Arc<AppState>>) -> Json<Prompts> {
    Json(Prompts { prompts: state.hub.prompts().list() })
}

/// Answer a question
///
/// The first answer counts.
#[utoipa::path(post, path = "/v1/prompts/{prompt}/answer", tag = "prompts", params(("prompt" = PromptId, Path)),
    request_body = PromptAnswer, responses((status = 204)))]
async fn answer(
    State(state): State<Arc<AppState>>,
    ApiPath(prompt): ApiPath<PromptId>,
    ApiJson(PromptAnswer { answer }): ApiJson<PromptAnswer>,
) -> ApiResult<StatusCode> {
    match state.hub.prompts().answer(&prompt, &answer) {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(NotTaken::NotOpen) => {
            Err(Problem::not_found("this question is not open; `/v1/prompts` lists those that are"))
        }
        Err(error @ NotTaken::NoAnswer) => Err(Problem::new(ErrorCode::BadRequest, error.to_string())),
    }
}
