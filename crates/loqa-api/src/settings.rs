//! The configuration: what is in force and where it comes from, and changes to it. Each
//! change is a row of the audit, written before the file is.

use crate::extract::{ApiJson, ApiPath};
use crate::problem::{ApiResult, Problem, blocking};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use loqa_hub::config::{Config, ConfigError, KEYS, Origin};
use loqa_hub::hub::{Applies, SettingError, applies};
use loqa_protocol::ErrorCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Every key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// By the names of the keys.
    pub settings: Vec<Setting>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    /// Its name, `section.name`.
    pub key: String,
    /// The value in force.
    pub value: Value,
    /// Where that comes from: `default`, a file and line, a variable, `--set`.
    pub origin: String,
    /// The value of the next start, where it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Value>,
    /// What it may hold.
    pub allowed: String,
    /// What it does.
    pub meaning: String,
    /// When a change takes effect.
    pub applies: WhenApplied,
    /// What wins over the file, so that a change of the file changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overridden_by: Option<String>,
}

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenApplied {
    /// For the turns that begin from then on.
    Now,
    /// At the next start of the hub.
    Restart,
    /// Not through the API: it names programs, folders or addresses that are trusted.
    FileOnly,
}

impl From<Applies> for WhenApplied {
    fn from(applies: Applies) -> Self {
        match applies {
            Applies::Now => Self::Now,
            Applies::Restart => Self::Restart,
            Applies::FileOnly => Self::FileOnly,
        }
    }
}

/// A new value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingChange {
    /// A text, a number, true or false, or a list of texts, as `allowed` says.
    pub value: Value,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(one, change, reset))
}

fn rows(state: &AppState) -> Vec<Setting> {
    let (config, saved) = (state.hub.config(), state.hub.saved_config());
    let next = |name: &str| saved.entries().find(|(key, ..)| *key == name).map(|(_, value, _)| value.clone());
    config
        .entries()
        .map(|(name, value, origin)| {
            let key = KEYS.iter().find(|key| key.name == name);
            let overridden_by = matches!(origin, Origin::Environment(_) | Origin::Flag).then(|| origin.to_string());
            Setting {
                key: name.to_owned(),
                value: value.clone(),
                origin: origin.to_string(),
                next: next(name).filter(|next| next != value),
                allowed: key.map(|key| key.kind.to_string()).unwrap_or_default(),
                meaning: key.map(|key| key.doc.to_owned()).unwrap_or_default(),
                applies: applies(name).into(),
                overridden_by,
            }
        })
        .collect()
}

fn row(state: &AppState, key: &str) -> ApiResult<Setting> {
    let found = rows(state).into_iter().find(|row| row.key == key);
    found.ok_or_else(|| Problem::not_found("there is no such key; `/v1/settings` lists all"))
}

fn problem_of(error: SettingError) -> Problem {
    match error {
        SettingError::Config(error) => {
            let code = match &error {
                ConfigError::UnknownKey { .. } => ErrorCode::NotFound,
                ConfigError::BadValue { .. } => ErrorCode::BadRequest,
                ConfigError::NoFile | ConfigError::Syntax { .. } => ErrorCode::Conflict,
                ConfigError::Unreadable { .. } | ConfigError::Unwritable { .. } => ErrorCode::StorageFault,
            };
            Problem::new(code, error.to_string())
        }
        SettingError::FileOnly(_) => Problem::new(ErrorCode::Forbidden, error.to_string()),
        SettingError::Audit(error) => Problem::storage(error),
    }
}

/// List the configuration
#[utoipa::path(get, path = "/v1/settings", tag = "settings", responses((status = 200, body = Settings)))]
async fn list(State(state): State<Arc<AppState>>) -> ApiResult<Json<Settings>> {
    // A change that is being written holds the lock.
    blocking(move || Ok(Json(Settings { settings: rows(&state) }))).await
}

/// Show one key of the configuration
#[utoipa::path(get, path = "/v1/settings/{key}", tag = "settings", params(("key" = String, Path)),
    responses((status = 200, body = Setting)))]
async fn one(State(state): State<Arc<AppState>>, ApiPath(key): ApiPath<String>) -> ApiResult<Json<Setting>> {
    blocking(move || row(&state, &key).map(Json)).await
}

/// Set a key in the configuration file
#[utoipa::path(put, path = "/v1/settings/{key}", tag = "settings", params(("key" = String, Path)),
    request_body = SettingChange, responses((status = 200, body = Setting)))]
async fn change(
    State(state): State<Arc<AppState>>,
    ApiPath(key): ApiPath<String>,
    ApiJson(SettingChange { value }): ApiJson<SettingChange>,
) -> ApiResult<Json<Setting>> {
    blocking(move || {
        // An unknown key is told before a missing file is.
        Config::fitting(&key, &value).map_err(|error| problem_of(error.into()))?;
        state.hub.change_setting(&key, Some(&value)).map_err(problem_of)?;
        row(&state, &key).map(Json)
    })
    .await
}

/// Remove a key from the configuration file
#[utoipa::path(delete, path = "/v1/settings/{key}", tag = "settings", params(("key" = String, Path)),
    responses((status = 200, body = Setting)))]
async fn reset(State(state): State<Arc<AppState>>, ApiPath(key): ApiPath<String>) -> ApiResult<Json<Setting>> {
    blocking(move || {
        row(&state, &key)?;
        state.hub.change_setting(&key, None).map_err(problem_of)?;
        row(&state, &key).map(Json)
    })
    .await
}
