//! `GET /metrics`: all figures of the hub in Prometheus' text format, for who holds the
//! token.
//!
//! Deliberately absent: counting. The figures are OpenTelemetry's, kept by
//! `loqa-telemetry`; only what has a value at each moment is looked up here.

use crate::problem::{ApiResult, blocking};
use crate::state::AppState;
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use loqa_hub::Hub;
use loqa_protocol::client::NodeState;
use loqa_protocol::engine::EngineKind;
use std::sync::Arc;

/// The path that Prometheus scrapes.
pub const PATH: &str = "/metrics";

/// The route, to be mounted behind the guard; none where `metrics.enabled` is off.
pub fn router(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    let router = Router::new();
    if state.hub.config().bool("metrics.enabled") { router.route(PATH, get(metrics)) } else { router }
}

async fn metrics(State(state): State<Arc<AppState>>) -> ApiResult<Response> {
    blocking(move || {
        look_up(&state.hub);
        Ok(([(header::CONTENT_TYPE, loqa_telemetry::PROMETHEUS_TEXT)], loqa_telemetry::scrape()).into_response())
    })
    .await
}

/// What is not counted as it happens.
fn look_up(hub: &Hub) {
    let nodes = hub.nodes();
    for kind in [EngineKind::Stt, EngineKind::Llm, EngineKind::Tts] {
        let ready: Vec<_> = nodes.iter().filter(|node| node.kind == kind && node.state == NodeState::Ready).collect();
        let memory = ready.iter().map(|node| node.rss_bytes).sum();
        loqa_telemetry::set_engines(kind.as_str(), ready.len() as u64, memory);
    }
    // The file and what was written ahead of it; nothing is there where nothing may be kept.
    let file = hub.paths().data.join("loqa.db");
    let bytes = ["", "-wal"].iter().filter_map(|more| {
        let mut path = file.clone().into_os_string();
        path.push(more);
        std::fs::metadata(path).ok()
    });
    loqa_telemetry::set_store_bytes(bytes.map(|meta| meta.len()).sum());
}
