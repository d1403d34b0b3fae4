//! Errors as OpenAI's clients read them: `{"error": {"message", "type", "param", "code"}}`.
//!
//! Deliberately absent: anything that the user said.

use crate::problem::status_of;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use loqa_protocol::{ErrorCode, Failure};
use serde_json::{Value, json};

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenAiError {
    status: StatusCode,
    message: String,
    /// The parameter that is wrong.
    param: Option<&'static str>,
    code: &'static str,
    /// Seconds.
    retry_after: Option<u64>,
}

impl OpenAiError {
    /// The request is wrong at this parameter.
    pub(super) fn parameter(param: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(param), ..Self::new(StatusCode::BAD_REQUEST, "invalid_value", message) }
    }

    /// The request asks for something that there is not.
    pub(super) fn unsupported(param: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(param), ..Self::new(StatusCode::BAD_REQUEST, "unsupported_value", message) }
    }

    /// The request cannot be read.
    pub(super) fn unreadable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let message = format!("the body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub(super) fn too_slow(seconds: u64) -> Self {
        let message = format!("the body did not arrive within {seconds} s");
        Self::new(StatusCode::REQUEST_TIMEOUT, "deadline_exceeded", message)
    }

    pub(super) fn no_such_model(model: &str, there_are: &str) -> Self {
        let shown: String = model.chars().take(64).collect();
        let message = format!("there is no model `{shown}` for this; there are: {there_are}");
        Self { param: Some("model"), ..Self::new(StatusCode::NOT_FOUND, "model_not_found", message) }
    }

    pub(super) fn unknown_path() -> Self {
        let message = "there is nothing here; see `GET /v1/models` and docs/openai.md";
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn unknown_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path has another method")
    }

    pub(super) fn foreign() -> Self {
        let message = "only programs on this machine may ask, by a loopback name, and no web pages of other origins";
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub(super) fn wrong_key() -> Self {
        let message = "send the key as `Authorization: Bearer sk-loqa-…`; `loqa openai key` tells it";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    pub(super) fn no_key() -> Self {
        let message = "the server has no usable key: make one with `loqa openai key --rotate`";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_key", message)
    }

    pub(super) fn busy(limit: usize) -> Self {
        let message = format!("{limit} requests are under way, which is the most");
        Self { retry_after: Some(1), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message) }
    }

    /// The object, for an answer that has begun already.
    pub(super) fn object(&self) -> Value {
        let kind = match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}})
    }

    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code, retry_after: None }
    }
}

impl From<Failure> for OpenAiError {
    fn from(failure: Failure) -> Self {
        let error = Self::new(status_of(failure.code), failure.code.as_str(), failure.message);
        let is_passing =
            matches!(failure.code, ErrorCode::EngineBusy | ErrorCode::EngineLost | ErrorCode::EngineMissing);
        Self { retry_after: is_passing.then_some(1), ..error }
    }
}

impl IntoResponse for OpenAiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.object())).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
