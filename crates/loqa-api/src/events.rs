//! `/v1/events`: what happens, as it happens, over a WebSocket that only sends.

use crate::extract::ApiQuery;
use crate::feed::{Listener, Live};
use crate::problem::{ApiResult, Problem};
use crate::server::stopped;
use crate::state::AppState;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use loqa_protocol::{ErrorCode, SessionId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use utoipa_axum::router::OpenApiRouter;

/// Longest time for one message to leave; a client that takes longer is let go. Chosen.
pub(crate) const SEND_TIME: Duration = Duration::from_secs(30);
/// Longest message of a client that has nothing to say, in bytes.
const MAX_MESSAGE: usize = 4 * 1024;

/// Which messages.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Only those of this session.
    pub session: Option<SessionId>,
}

impl EventsQuery {
    fn wants(&self, live: &Live) -> bool {
        let Some(session) = &self.session else { return true };
        match live {
            Live::Turn { event } => event.session == *session,
            Live::PromptShown { prompt } => prompt.session.as_ref() == Some(session),
            // Whoever did not see the question ignores its end.
            Live::PromptOver { .. } | Live::Dropped { .. } => true,
            Live::Notice { .. } | Live::ModelPull { .. } => false,
        }
    }
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new().route("/v1/events", get(events))
}

/// Shapes of the messages, for the description.
pub(crate) fn schemas(shapes: &mut Vec<(String, RefOr<Schema>)>) {
    shapes.push((Live::name().into_owned(), <Live as utoipa::PartialSchema>::schema()));
    Live::schemas(shapes);
}

async fn events(
    State(state): State<Arc<AppState>>,
    ApiQuery(query): ApiQuery<EventsQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> ApiResult<Response> {
    let upgrade = upgrade.map_err(|rejection| no_socket(&rejection))?;
    let place = state.limits.socket()?;
    // Before the answer, so that nothing after it is missed.
    let listener = state.feed.listen();
    let upgrade = upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
    Ok(upgrade.on_upgrade(move |socket| pass_on(socket, state, listener, query, place)))
}

/// Why a request does not become a WebSocket.
pub(crate) fn no_socket(rejection: &WebSocketUpgradeRejection) -> Problem {
    let detail = format!("this path is a WebSocket: {}", rejection.body_text());
    Problem::with_status(StatusCode::UPGRADE_REQUIRED, ErrorCode::BadRequest, detail)
}

async fn pass_on(
    mut socket: WebSocket,
    state: Arc<AppState>,
    mut listener: Listener,
    query: EventsQuery,
    place: OwnedSemaphorePermit,
) {
    let mut stopping = state.stopping.clone();
    // The hub ends only when nobody holds it.
    drop(state);
    loop {
        let live = tokio::select! {
            live = listener.next() => match live {
                Some(live) => live,
                None => break,
            },
            message = socket.recv() => match message {
                // Nothing is expected; a ping is answered by reading it.
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => continue,
            },
            () = stopped(&mut stopping) => break,
        };
        if query.wants(&live) && !send(&mut socket, &live).await {
            break;
        }
    }
    close(socket, place).await;
}

/// Sends one message as JSON; `false` when the client is gone or too slow.
pub(crate) async fn send<T: Serialize>(socket: &mut WebSocket, message: &T) -> bool {
    let Ok(text) = serde_json::to_string(message) else { return true };
    send_message(socket, Message::Text(text.into())).await
}

/// As [`send`], for a message that is made.
pub(crate) async fn send_message(socket: &mut WebSocket, message: Message) -> bool {
    matches!(tokio::time::timeout(SEND_TIME, socket.send(message)).await, Ok(Ok(())))
}

/// Says good-bye and gives the place back.
pub(crate) async fn close(mut socket: WebSocket, place: OwnedSemaphorePermit) {
    let frame = CloseFrame { code: close_code::AWAY, reason: "the hub is done".into() };
    let _gone = tokio::time::timeout(Duration::from_secs(1), socket.send(Message::Close(Some(frame)))).await;
    drop(socket);
    drop(place);
}
