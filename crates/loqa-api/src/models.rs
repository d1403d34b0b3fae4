//! The models of the catalog, and which of them lie on this machine.

use crate::extract::{ApiJson, ApiPath, tagged};
use crate::problem::{ApiResult, Problem, blocking};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use loqa_hub::models::{Catalog, Presence};
use loqa_protocol::engine::EngineKind;
use loqa_protocol::models::ModelInUse;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
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
    /// Size of its files, in bytes.
    pub bytes: u64,
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
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(put_to_use))
}

/// List the models of the catalog
#[utoipa::path(get, path = "/v1/models", tag = "models",
    responses((status = 200, body = Models, headers(("ETag" = String))), (status = 304)))]
async fn list(State(state): State<Arc<AppState>>, headers: HeaderMap) -> ApiResult<Response> {
    let models = blocking(move || {
        let paths = state.hub.paths();
        let catalog = Catalog::load(&paths.models).map_err(|e| Problem::storage(format!("{e:#}")))?;
        let catalog = catalog.with_downloads(&paths.data);
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
            bytes: model.files.iter().map(|file| file.size).sum(),
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
    State(state): State<Arc<AppState>>,
    ApiPath(name): ApiPath<String>,
    ApiJson(ModelUse { tier }): ApiJson<ModelUse>,
) -> ApiResult<Json<ModelsInUse>> {
    let (paths, wanted) = (state.hub.paths().clone(), name.clone());
    let kind = blocking(move || {
        let catalog = Catalog::load(&paths.models).map_err(|e| Problem::storage(format!("{e:#}")))?;
        let found = catalog.models.iter().find(|model| model.name == wanted).map(|model| model.kind);
        found.ok_or_else(|| Problem::not_found("there is no such model; `/v1/models` lists all"))
    });
    let models = state.hub.use_model(kind.await?, tier, &name).await?;
    Ok(Json(ModelsInUse { models }))
}
