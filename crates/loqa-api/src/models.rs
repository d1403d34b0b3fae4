//! The models of the catalog: which of them lie on this machine, which are used, how fast
//! one would be; fetching and removing them.
//!
//! A pull goes on by itself: the hub runs it, requests only begin, watch and cancel it.

use crate::extract::{ApiJson, ApiPath, tagged};
use crate::limits::{LONG, Within};
use crate::problem::{ApiResult, Problem, blocking};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use loqa_hub::models::{Catalog, Presence};
use loqa_hub::pulls::{self, Pull};
use loqa_models::pull::can_be_pulled;
use loqa_models::{Forecast, Machine};
use loqa_protocol::engine::EngineKind;
use loqa_protocol::models::ModelInUse;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Models {
    /// In the order of the catalog.
    pub models: Vec<Model>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What it does.
    pub kind: EngineKind,
    /// What its engine offers.
    pub capability: String,
    /// Weight format.
    pub quantisation: String,
    /// BCP 47 languages.
    pub languages: Vec<String>,
    /// Memory that it takes, in megabytes.
    pub ram_mb: u64,
    /// Its licence.
    pub licence: String,
    /// What else the licence asks for.
    pub licence_note: String,
    /// Where it comes from.
    pub source: String,
    /// Whether it comes with Loqa.
    pub bundled: bool,
    /// Whether `POST /v1/models/{name}/pull` would have something to fetch.
    pub can_pull: bool,
    /// Size of its files, in bytes.
    pub bytes: u64,
    /// What is missing of that on this machine, in bytes.
    pub missing_bytes: u64,
    /// Whether it is on this machine.
    pub state: ModelState,
    /// Its place among the models of its kind that this hub uses, from 1; `null` when it does not.
    pub tier: Option<u32>,
}

/// Which place a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelUse {
    /// Its place among the models of its kind, from 1, the best first. Only language models
    /// have more than one place; the place after the last adds one.
    #[schema(minimum = 1)]
    pub tier: u32,
}

/// The models that a hub uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelsInUse {
    /// In the order in which they are asked.
    pub models: Vec<ModelInUse>,
}

/// A licence that was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LicenceAgreement {
    /// The licence that the person agrees to: `licence` of the model as it is listed.
    #[schema(min_length = 1, max_length = 200)]
    pub licence: String,
}

/// How far the fetching of a model is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelPull {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: PullState,
    /// Bytes of the model that are on the disk.
    pub bytes: u64,
    /// Bytes of the whole model.
    pub total: u64,
    /// Why it failed; `null` unless it did.
    pub problem: Option<Problem>,
}

/// What became of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PullState {
    /// It is under way.
    Running,
    /// Every file is in place, with its pinned digest.
    Done,
    /// It ended without the model; what arrived is kept for the next one.
    Failed,
    /// It was stopped; what arrived is kept for the next one.
    Cancelled,
}

impl From<Pull> for ModelPull {
    fn from(Pull { name, state, bytes, total, failure }: Pull) -> Self {
        let state = match state {
            pulls::PullState::Running => PullState::Running,
            pulls::PullState::Done => PullState::Done,
            pulls::PullState::Failed => PullState::Failed,
            pulls::PullState::Cancelled => PullState::Cancelled,
        };
        Self { name, state, bytes, total, problem: failure.map(Problem::from) }
    }
}

/// Pulls since the hub started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelPulls {
    /// The last one of each model, the newest last.
    pub pulls: Vec<ModelPull>,
}

/// What the removal of a model freed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelRemoved {
    /// Its name.
    pub name: String,
    /// Bytes of its files and of what was left of pulls; 0 when nothing was there.
    pub removed_bytes: u64,
}

/// What was measured of this machine, and when. It does not change while the hub runs, but
/// other programs may have been in the way.
#[derive(Debug, Default)]
pub(crate) struct Measured(Mutex<Option<(Machine, Instant)>>);

/// How long a measurement counts. Chosen: a person who looks at several models waits once.
const MEASURED_FOR: Duration = Duration::from_mins(10);

impl Measured {
    /// This machine, measured once in a while, with the memory of now. Blocks for half a second.
    fn machine(&self) -> Machine {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((machine, at)) if at.elapsed() < MEASURED_FOR => machine.with_memory_of_now(),
            _ => kept.insert((Machine::measure(), Instant::now())).0.clone(),
        }
    }
}

/// Whether a model is on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelState {
    /// All files are there, with the right sizes.
    Installed,
    /// Not downloaded.
    Absent,
    /// Some files are missing or of another size.
    Incomplete,
    /// Its digest is not known, so it can be neither fetched nor loaded.
    Unpinned,
}

impl From<Presence> for ModelState {
    fn from(presence: Presence) -> Self {
        match presence {
            Presence::Installed => Self::Installed,
            Presence::Absent => Self::Absent,
            Presence::Incomplete => Self::Incomplete,
            Presence::Unpinned => Self::Unpinned,
        }
    }
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(put_to_use))
        .routes(routes!(pull, cancel))
        .routes(routes!(pulls))
        .routes(routes!(forecast))
        .routes(routes!(remove))
}

fn catalog(state: &AppState) -> ApiResult<Catalog> {
    state.hub.paths().catalog().map_err(|e| Problem::storage(format!("{e:#}")))
}

fn found<'a>(catalog: &'a Catalog, name: &str) -> ApiResult<&'a loqa_hub::models::Model> {
    let found = catalog.models.iter().find(|model| model.name == name);
    found.ok_or_else(|| Problem::not_found("there is no such model; `/v1/models` lists all"))
}

/// List the models of the catalog
#[utoipa::path(get, path = "/v1/models", tag = "models",
    responses((status = 200, body = Models, headers(("ETag" = String))), (status = 304)))]
async fn list(State(state): State<Arc<AppState>>, headers: HeaderMap) -> ApiResult<Response> {
    let models = blocking(move || {
        let catalog = catalog(&state)?;
        let used = state.hub.models_in_use();
        let models = catalog.models.iter().map(|model| Model {
            name: model.name.clone(),
            title: model.title.clone(),
            kind: model.kind,
            capability: model.capability.clone(),
            quantisation: model.quantisation.clone(),
            languages: model.languages.clone(),
            ram_mb: model.ram_mb,
            licence: model.licence.clone(),
            licence_note: model.licence_note.clone(),
            source: model.source.clone(),
            bundled: model.bundled,
            can_pull: can_be_pulled(&catalog, model),
            bytes: model.bytes(),
            missing_bytes: catalog.missing_bytes(model),
            state: catalog.presence(model).into(),
            tier: used.iter().find(|used| used.model == model.name).map(|used| used.tier),
        });
        Ok(Models { models: models.collect() })
    });
    tagged(&headers, &models.await?)
}

/// Put a model to use, without a restart
///
/// Answers when its engine is ready; the one before goes on until then.
#[utoipa::path(post, path = "/v1/models/{name}/use", tag = "models", params(("name" = String, Path)),
    request_body = ModelUse, responses((status = 200, body = ModelsInUse)))]
async fn put_to_use(
    _time: Within<LONG>,
    State(state): State<Arc<AppState>>,
    ApiPath(name): ApiPath<String>,
    ApiJson(ModelUse { tier }): ApiJson<ModelUse>,
) -> ApiResult<Json<ModelsInUse>> {
    let (asked, wanted) = (Arc::clone(&state), name.clone());
    let kind = blocking(move || found(&catalog(&asked)?, &wanted).map(|model| model.kind));
    let models = state.hub.use_model(kind.await?, tier, &name).await?;
    Ok(Json(ModelsInUse { models }))
}

/// Fetch a model
///
/// Goes on whoever listens, until it is done, is cancelled, or the hub stops; then the next
/// pull goes on where this one ended. `/v1/events` tells how far it is. One at a time: a pull
/// of another model is a conflict, one of the same model is joined.
#[utoipa::path(post, path = "/v1/models/{name}/pull", tag = "models", params(("name" = String, Path)),
    request_body = LicenceAgreement, responses((status = 202, body = ModelPull)))]
async fn pull(
    State(state): State<Arc<AppState>>,
    ApiPath(name): ApiPath<String>,
    ApiJson(LicenceAgreement { licence }): ApiJson<LicenceAgreement>,
) -> ApiResult<(StatusCode, Json<ModelPull>)> {
    let pull = state.hub.pull_model(&name, &licence).await?;
    Ok((StatusCode::ACCEPTED, Json(pull.into())))
}

/// Stop fetching a model
///
/// Answers when it has stopped. One that is over already is shown as it ended.
#[utoipa::path(delete, path = "/v1/models/{name}/pull", tag = "models", params(("name" = String, Path)),
    responses((status = 200, body = ModelPull)))]
async fn cancel(State(state): State<Arc<AppState>>, ApiPath(name): ApiPath<String>) -> ApiResult<Json<ModelPull>> {
    Ok(Json(state.hub.cancel_pull(&name).await?.into()))
}

/// List the pulls since the hub started
#[utoipa::path(get, path = "/v1/models/pulls", tag = "models", responses((status = 200, body = ModelPulls)))]
async fn pulls(State(state): State<Arc<AppState>>) -> Json<ModelPulls> {
    Json(ModelPulls { pulls: state.hub.pulls().into_iter().map(ModelPull::from).collect() })
}

/// Say how fast a model would be on this machine, and whether it fits
///
/// The first answer in a while takes half a second, in which the machine is measured.
#[utoipa::path(get, path = "/v1/models/{name}/forecast", tag = "models", params(("name" = String, Path)),
    responses((status = 200, body = Forecast)))]
async fn forecast(
    _time: Within<LONG>,
    State(state): State<Arc<AppState>>,
    ApiPath(name): ApiPath<String>,
) -> ApiResult<Json<Forecast>> {
    let _turn = state.limits.heavy().await?;
    blocking(move || {
        let catalog = catalog(&state)?;
        let model = found(&catalog, &name)?;
        Ok(Json(Forecast::of(&catalog, model, &state.measured.machine())))
    })
    .await
}

/// Remove the files of a fetched model, and what is left of pulls
///
/// One that is in use or configured, comes with Loqa, or is being fetched, is a conflict.
#[utoipa::path(delete, path = "/v1/models/{name}", tag = "models", params(("name" = String, Path)),
    responses((status = 200, body = ModelRemoved)))]
async fn remove(State(state): State<Arc<AppState>>, ApiPath(name): ApiPath<String>) -> ApiResult<Json<ModelRemoved>> {
    let removed_bytes = state.hub.remove_model(&name).await?;
    Ok(Json(ModelRemoved { name, removed_bytes }))
}
