//! A server that speaks OpenAI's HTTP interface, so that programs made for it can use this
//! hub's ears, voice and skills: `/v1/audio/transcriptions`, `/v1/audio/speech`,
//! `/v1/chat/completions`, `/v1/models`.
//!
//! It has a port and a key of its own: the API's token opens nothing here, and this key
//! opens nothing there. What it does not do stands in `docs/openai.md`; it is refused by
//! name, never ignored, where the answer would be another one without it.
//!
//! Deliberately absent: decisions. A chat message is a turn like any other, through the
//! same permission gate, and counts as another program's words.

mod body;
mod chat;
mod error;
mod key;
mod models;
mod speech;
mod transcriptions;

pub use key::KeyFile;

use crate::guard::{self, Border, Checks};
use crate::server::{self, Listening};
use crate::token::Token;
use anyhow::Context as _;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use error::OpenAiError;
use loqa_bus::Bus;
use loqa_hub::Hub;
use loqa_hub::config::Config;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Requests at a time. Chosen: an engine has one slot, the others wait for it.
const MAX_REQUESTS: usize = 4;
/// What the words of a request are labelled with.
const PROGRAM: &str = "openai";

/// How to start a server.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenAiOptions {
    /// TCP port; 0 takes a free one.
    pub port: u16,
}

impl OpenAiOptions {
    /// As the configuration says; `None` where it is off.
    #[must_use]
    pub fn from_config(config: &Config) -> Option<Self> {
        let port = u16::try_from(config.integer("openai.port")).unwrap_or(0);
        config.bool("openai.enabled").then_some(Self { port })
    }
}

/// A running server.
pub struct OpenAiServer {
    listening: Listening,
    key_path: PathBuf,
}

impl OpenAiServer {
    /// Starts it; makes the key if there is none.
    ///
    /// # Errors
    /// The port is taken, or the key's file cannot be used.
    pub async fn start(hub: Arc<Hub>, options: OpenAiOptions) -> anyhow::Result<Self> {
        let key = KeyFile::in_folder(&hub.paths().data);
        let made = key.clone();
        tokio::task::spawn_blocking(move || made.ensure()).await.context("make the key")??;
        let sockets = server::bind(options.port, "openai.port").await?;
        let bus = hub.observe().await.context("listen to the hub's events")?;
        let key_path = key.path().to_owned();
        let shared = Arc::new(Shared {
            hub,
            key,
            bus,
            border: Border::new(sockets.port, Checks::default()),
            places: Arc::new(Semaphore::new(MAX_REQUESTS)),
        });
        let router = server::finished(router(shared));
        let listening = Listening::serve(sockets, router, watch::Sender::new(false));
        Ok(Self { listening, key_path })
    }

    /// The IPv4 address; the IPv6 one has the same port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// What clients call their base URL.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address())
    }

    /// File that holds the key.
    #[must_use]
    pub fn key_path(&self) -> &Path {
        &self.key_path
    }

    /// Takes no new requests; those under way have a moment to end.
    pub async fn stop(self) {
        self.listening.stop().await;
    }
}

/// What handlers share.
struct Shared {
    hub: Arc<Hub>,
    key: KeyFile,
    /// Hears the events of turns, for answers that are streamed.
    bus: Bus,
    border: Border,
    places: Arc<Semaphore>,
}

/// A place among the requests; whoever streams an answer keeps a share of it to the end.
#[derive(Clone)]
struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::retrieve))
        .route("/v1/audio/transcriptions", post(transcriptions::create))
        .route("/v1/audio/speech", post(speech::create))
        .route("/v1/chat/completions", post(chat::create))
        .fallback(async || OpenAiError::unknown_path())
        .method_not_allowed_fallback(async || OpenAiError::unknown_method())
        // Bodies are limited where they are read.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), admit))
        .with_state(shared)
}

/// What every request passes: where it comes from, the key, a place among the others.
async fn admit(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    if shared.border.refusal(request.uri(), request.headers()).is_some() {
        return OpenAiError::foreign().into_response();
    }
    let key = shared.key.clone();
    let kept = match tokio::task::spawn_blocking(move || key.read()).await {
        Ok(Ok(kept)) => Token::of(&kept),
        Ok(Err(error)) => {
            tracing::warn!(error = format!("{error:#}"), "no request is answered");
            return OpenAiError::no_key().into_response();
        }
        Err(_) => return OpenAiError::no_key().into_response(),
    };
    if !guard::bearer(request.headers()).is_some_and(|guess| kept.is(guess)) {
        return OpenAiError::wrong_key().into_response();
    }
    let Ok(permit) = Arc::clone(&shared.places).try_acquire_owned() else {
        return OpenAiError::busy(MAX_REQUESTS).into_response();
    };
    let place = Place { _permit: Arc::new(permit) };
    request.extensions_mut().insert(place.clone());
    let response = next.run(request).await;
    drop(place);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::StatusCode;
    use tower::ServiceExt as _;

    #[tokio::test]
    async fn a_handler_that_panics_would_be_seen_by_the_fuzz_test() {
        async fn panics() {
            panic!("put in on purpose, so that the status that the fuzz test forbids is seen to come");
        }
        let router = server::finished(Router::new().route("/", get(panics)));
        let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
