//! How long answers took: percentiles by class and part, and the last turns one by one.
//! Classes are never mixed.

use crate::extract::ApiQuery;
use crate::problem::{ApiResult, blocking};
use crate::sessions::{check_limit, problem_of};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use loqa_protocol::TurnClass;
use loqa_store::{LatencyRow, Window};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Which turns.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WindowQuery {
    /// Turns that did not end earlier, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Turns that ended earlier, in milliseconds since the Unix epoch.
    pub until_ms: Option<i64>,
}

impl WindowQuery {
    fn window(&self) -> Option<Window> {
        let all = Window::default();
        (self.since_ms.is_some() || self.until_ms.is_some()).then(|| Window {
            since_ms: self.since_ms.unwrap_or(all.since_ms),
            until_ms: self.until_ms.unwrap_or(all.until_ms),
        })
    }
}

/// Which turns, and how many.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TurnsQuery {
    /// Turns that did not end earlier, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Turns that ended earlier, in milliseconds since the Unix epoch.
    pub until_ms: Option<i64>,
    /// Most turns; 50 when it is left out.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
}

/// Figures for each class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Latency {
    /// The machine that the figures hold for, for example `x86_64-8c-avx2`.
    pub hardware: String,
    /// `run`: since the hub started. `window`: turns that are kept and ended in the window.
    pub over: LatencyOver,
    /// Classes that had a turn.
    pub classes: Vec<ClassFigures>,
}

/// Which turns the figures are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LatencyOver {
    /// All since the hub started.
    Run,
    /// Those that are kept and ended in the window.
    Window,
}

/// The figures of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClassFigures {
    /// How the turns were answered.
    pub class: TurnClass,
    /// `total` first, then the nine parts.
    pub parts: Vec<PartFigures>,
}

/// Percentiles of one part, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PartFigures {
    /// `total`, or a part of the split.
    pub part: String,
    /// How many turns.
    pub turns: u64,
    /// Half of the turns were not slower.
    pub p50: f64,
    /// 95 of 100.
    pub p95: f64,
    /// 99 of 100.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// The last turns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LatencyTurns {
    /// The newest first.
    pub turns: Vec<LatencyRow>,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new().routes(routes!(figures)).routes(routes!(turns))
}

/// Percentiles of the latency by class and part
///
/// Of all turns since the hub started, or, with a window, of those that are kept.
#[utoipa::path(get, path = "/v1/latency", tag = "latency", params(WindowQuery),
    responses((status = 200, body = Latency)))]
async fn figures(
    State(state): State<Arc<AppState>>,
    ApiQuery(query): ApiQuery<WindowQuery>,
) -> ApiResult<Json<Latency>> {
    blocking(move || {
        let hardware = loqa_telemetry::hardware_class();
        let Some(window) = query.window() else {
            let classes = state.hub.recorder().latency().snapshot().into_iter().map(of_run).collect();
            return Ok(Json(Latency { hardware, over: LatencyOver::Run, classes }));
        };
        let mut classes: Vec<ClassFigures> = Vec::new();
        for row in state.hub.store().percentiles(&window).map_err(problem_of)? {
            let loqa_store::Percentiles { class, part, turns, p50, p95, p99, max } = row;
            let figures = PartFigures { part, turns, p50, p95, p99, max };
            match classes.iter_mut().find(|known| known.class == class) {
                Some(known) => known.parts.push(figures),
                None => classes.push(ClassFigures { class, parts: vec![figures] }),
            }
        }
        Ok(Json(Latency { hardware, over: LatencyOver::Window, classes }))
    })
    .await
}

fn of_run(class: loqa_telemetry::ClassLatency) -> ClassFigures {
    let parts = class.parts.into_iter().map(|part| PartFigures {
        part: part.part.to_owned(),
        turns: part.count,
        p50: part.p50,
        p95: part.p95,
        p99: part.p99,
        max: part.max,
    });
    ClassFigures { class: class.class, parts: parts.collect() }
}

/// The last turns with the parts of each, for a waterfall
#[utoipa::path(get, path = "/v1/latency/turns", tag = "latency", params(TurnsQuery),
    responses((status = 200, body = LatencyTurns)))]
async fn turns(
    State(state): State<Arc<AppState>>,
    ApiQuery(TurnsQuery { since_ms, until_ms, limit }): ApiQuery<TurnsQuery>,
) -> ApiResult<Json<LatencyTurns>> {
    check_limit(limit)?;
    blocking(move || {
        let window = WindowQuery { since_ms, until_ms }.window().unwrap_or_default();
        let mut turns = state.hub.store().latency(&window).map_err(problem_of)?;
        turns.truncate(limit.unwrap_or(loqa_store::DEFAULT_LIMIT) as usize);
        Ok(Json(LatencyTurns { turns }))
    })
    .await
}
