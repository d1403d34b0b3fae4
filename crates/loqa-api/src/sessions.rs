//! What was said and done: sessions, their turns, the events of a turn, and a search.
//! How long any of it is kept is decided elsewhere; what is not kept is not found.

use crate::extract::{ApiPath, ApiQuery};
use crate::problem::{ApiResult, Problem, blocking};
use crate::state::AppState;
use crate::stream;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use loqa_hub::privacy;
use loqa_protocol::{ErrorCode, SessionId, TurnId};
use loqa_store::{Erased, EventRow, ExportForm, Hit, Page, Paged, SessionRow, StoreError, TurnRow};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Which part of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Most rows; 50 when it is left out.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next` of the page before; the first page when it is left out.
    #[param(pattern = "^[0-9a-f]{2,200}$")]
    pub after: Option<String>,
}

impl PageQuery {
    /// The page, or what is wrong with it.
    ///
    /// # Errors
    /// The number of rows is out of bounds.
    pub fn page(self) -> ApiResult<Page> {
        check_limit(self.limit)?;
        Ok(Page { limit: self.limit, after: self.after })
    }
}

/// Holds a number of rows to its bounds.
pub(crate) fn check_limit(limit: Option<u32>) -> ApiResult<()> {
    let most = loqa_store::MAX_LIMIT;
    match limit {
        Some(limit) if limit == 0 || limit > most => Err(Problem::bad_request(format!("`limit` must be 1 to {most}"))),
        _ => Ok(()),
    }
}

/// What to look for, and which part of what is found.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// Words that must all stand in what was said or answered. Case and accents do not count.
    #[param(min_length = 1, max_length = 200)]
    pub q: String,
    /// Most rows; 50 when it is left out.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next` of the page before; the first page when it is left out.
    #[param(pattern = "^[0-9a-f]{2,200}$")]
    pub after: Option<String>,
}

/// What an export holds.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SessionExportQuery {
    /// Add every event; true when it is left out.
    pub events: Option<bool>,
    /// Add the recordings, decrypted, in hexadecimal digits.
    #[serde(default)]
    #[param(default = false)]
    pub audio: bool,
}

/// The events of a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// In their order.
    pub events: Vec<EventRow>,
}

pub(crate) fn problem_of(error: StoreError) -> Problem {
    let code = match &error {
        StoreError::BadCursor | StoreError::NotFound { .. } | StoreError::Missing { .. } => ErrorCode::NotFound,
        _ => ErrorCode::StorageFault,
    };
    Problem::new(code, error.to_string())
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one, delete))
        .routes(routes!(turns))
        .routes(routes!(export))
        .routes(routes!(turn))
        .routes(routes!(events))
        .routes(routes!(search))
}

/// List the sessions that are kept, the newest first
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions", params(PageQuery),
    responses((status = 200, body = Paged<SessionRow>)))]
async fn list(
    State(state): State<Arc<AppState>>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<Paged<SessionRow>>> {
    let page = query.page()?;
    blocking(move || state.hub.store().sessions(&page).map(Json).map_err(problem_of)).await
}

/// Show one session
#[utoipa::path(get, path = "/v1/sessions/{session}", tag = "sessions", params(("session" = SessionId, Path)),
    responses((status = 200, body = SessionRow)))]
async fn one(State(state): State<Arc<AppState>>, ApiPath(session): ApiPath<SessionId>) -> ApiResult<Json<SessionRow>> {
    blocking(move || state.hub.store().session(&session).map(Json).map_err(problem_of)).await
}

/// Delete a session with everything that was said in it
#[utoipa::path(delete, path = "/v1/sessions/{session}", tag = "sessions", params(("session" = SessionId, Path)),
    responses((status = 200, body = Erased)))]
async fn delete(State(state): State<Arc<AppState>>, ApiPath(session): ApiPath<SessionId>) -> ApiResult<Json<Erased>> {
    blocking(move || {
        state.hub.recorder().measures().forget(Some(&session));
        let deleted = privacy::delete_session(state.hub.store(), state.hub.audit(), &session);
        deleted.map(Json).map_err(|error| match error.downcast::<StoreError>() {
            Ok(error) => problem_of(error),
            Err(error) => Problem::storage(format!("{error:#}")),
        })
    })
    .await
}

/// List the turns of a session, the oldest first
#[utoipa::path(get, path = "/v1/sessions/{session}/turns", tag = "sessions",
    params(("session" = SessionId, Path), PageQuery), responses((status = 200, body = Paged<TurnRow>)))]
async fn turns(
    State(state): State<Arc<AppState>>,
    ApiPath(session): ApiPath<SessionId>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<Paged<TurnRow>>> {
    let page = query.page()?;
    blocking(move || state.hub.store().turns(&session, &page).map(Json).map_err(problem_of)).await
}

/// Export a session as JSON lines: the session, its turns and their events
///
/// `loqa replay --suite` reads them.
#[utoipa::path(get, path = "/v1/sessions/{session}/export", tag = "sessions",
    params(("session" = SessionId, Path), SessionExportQuery),
    responses((status = 200, content((String = "application/x-ndjson")))))]
async fn export(
    State(state): State<Arc<AppState>>,
    ApiPath(session): ApiPath<SessionId>,
    ApiQuery(SessionExportQuery { events, audio }): ApiQuery<SessionExportQuery>,
) -> ApiResult<Response> {
    let place = state.limits.heavy().await?;
    let (asked, wanted) = (Arc::clone(&state), session.clone());
    blocking(move || asked.hub.store().session(&wanted).map_err(problem_of)).await?;
    let form = ExportForm { events: events.unwrap_or(true), audio };
    Ok(stream::answer("application/x-ndjson", &format!("{session}.jsonl"), move |pieces| {
        let _place = place;
        let end = pieces.clone();
        let written = loqa_store::export(state.hub.store(), &[session], form, &mut pieces.writer());
        if let Err(error) = written {
            end.break_off(error.to_string());
        }
    }))
}

/// Show one turn
#[utoipa::path(get, path = "/v1/turns/{turn}", tag = "turns", params(("turn" = TurnId, Path)),
    responses((status = 200, body = TurnRow)))]
async fn turn(State(state): State<Arc<AppState>>, ApiPath(turn): ApiPath<TurnId>) -> ApiResult<Json<TurnRow>> {
    blocking(move || state.hub.store().turn(&turn).map(Json).map_err(problem_of)).await
}

/// List the events of a turn, in their order
#[utoipa::path(get, path = "/v1/turns/{turn}/events", tag = "turns", params(("turn" = TurnId, Path)),
    responses((status = 200, body = Events)))]
async fn events(State(state): State<Arc<AppState>>, ApiPath(turn): ApiPath<TurnId>) -> ApiResult<Json<Events>> {
    blocking(move || state.hub.store().events(&turn).map(|events| Json(Events { events })).map_err(problem_of)).await
}

/// Find turns by what was said or answered
#[utoipa::path(get, path = "/v1/search", tag = "sessions", params(SearchQuery),
    responses((status = 200, body = Paged<Hit>)))]
async fn search(
    State(state): State<Arc<AppState>>,
    ApiQuery(SearchQuery { q, limit, after }): ApiQuery<SearchQuery>,
) -> ApiResult<Json<Paged<Hit>>> {
    let page = PageQuery { limit, after }.page()?;
    if !(1..=200).contains(&q.chars().count()) {
        return Err(Problem::bad_request("`q` must have 1 to 200 characters"));
    }
    blocking(move || state.hub.store().search(&q, &page).map(Json).map_err(problem_of)).await
}
