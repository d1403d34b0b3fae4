//! Typed turns: text in, the whole report out. Spoken ones go through [`crate::talk`].

use crate::extract::ApiJson;
use crate::limits::{LONG, Within};
use crate::problem::{ApiResult, Problem};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use loqa_hub::hub::{MAX_TEXT, TurnOptions};
use loqa_hub::session::driver::TurnOrder;
use loqa_protocol::client::TurnReport;
use loqa_protocol::{ErrorCode, SessionId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::mpsc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// One typed turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TurnRequest {
    /// What is typed.
    #[schema(min_length = 1, max_length = 2000)]
    pub text: String,
    /// Continue this session, or begin a new one.
    #[serde(default)]
    pub session: Option<SessionId>,
    /// Whether the answer is spoken on the hub's own output as well.
    #[serde(default)]
    pub speak: bool,
    /// Whether nothing of it may be kept, whatever is configured.
    #[serde(default)]
    pub guest: bool,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new().routes(routes!(run_turn))
}

/// Cancels a turn whose client went away.
pub(crate) struct CancelOnDrop(pub mpsc::Sender<TurnOrder>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        // A turn that has ended takes no orders, which is what is wanted.
        let _late = self.0.try_send(TurnOrder::Cancel);
    }
}

/// Whether a turn takes this text.
pub(crate) fn check_text(text: &str) -> ApiResult<()> {
    match text.chars().count() {
        0 => Err(Problem::bad_request("`text` is empty")),
        length if length > MAX_TEXT => {
            let detail = format!("`text` has {length} characters, a turn accepts {MAX_TEXT}");
            Err(Problem::new(ErrorCode::TextTooLong, detail))
        }
        _ => Ok(()),
    }
}

/// Run a typed turn
///
/// Answers when the turn has ended. A turn that failed is an answer too, with `failure`.
/// Closing the connection cancels it.
#[utoipa::path(post, path = "/v1/turns", tag = "turns", request_body = TurnRequest,
    responses((status = 200, body = TurnReport)))]
async fn run_turn(
    _time: Within<LONG>,
    State(state): State<Arc<AppState>>,
    ApiJson(request): ApiJson<TurnRequest>,
) -> ApiResult<Json<TurnReport>> {
    check_text(&request.text)?;
    let options = TurnOptions { session: request.session, guest: request.guest, keep_audio: None };
    let turn = state.hub.ask(options, request.text, request.speak).await;
    let cancel = CancelOnDrop(turn.orders());
    let report = turn.report().await.map_err(|e| Problem::new(ErrorCode::ShuttingDown, format!("{e:#}")))?;
    drop(cancel);
    Ok(Json(report))
}
