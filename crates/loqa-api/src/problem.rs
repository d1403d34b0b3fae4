//! The one form of an error over HTTP: `application/problem+json` (RFC 9457) with our
//! [`ErrorCode`].
//!
//! Deliberately absent: anything that the user said, and anything of a stack.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use loqa_protocol::{ErrorCode, Failure};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Media type of every error.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong, for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Problem {
    /// `urn:loqa:error:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means.
    pub title: String,
    /// The status of the answer once more.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What went wrong here, and what helps.
    pub detail: String,
    /// The code to branch on.
    pub code: ErrorCode,
    /// Seconds after which to ask again, where waiting helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// What handlers return.
pub type ApiResult<T> = Result<T, Problem>;

impl Problem {
    /// A problem with the status that its code has over HTTP.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self::with_status(status_of(code), code, detail)
    }

    /// A problem whose status says more than its code.
    pub fn with_status(status: StatusCode, code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:loqa:error:{code}"),
            title: code.meaning().trim().to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code,
            retry_after: None,
        }
    }

    /// Something was asked for that is not there.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, detail)
    }

    /// The request cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, detail)
    }

    /// The disk or a database refuses.
    pub fn storage(error: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::StorageFault, error.to_string())
    }

    /// Asking again after so many seconds may help.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

/// The status of a code. A failed engine, skill or disk is no fault of the request: 5xx.
#[must_use]
pub const fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadRequest | ErrorCode::BadAudio | ErrorCode::ToolArguments | ErrorCode::TextTooLong => {
            StatusCode::BAD_REQUEST
        }
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden | ErrorCode::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorCode::NotFound | ErrorCode::ToolUnknown => StatusCode::NOT_FOUND,
        ErrorCode::Conflict | ErrorCode::Cancelled | ErrorCode::ModelInvalid | ErrorCode::ProtocolMismatch => {
            StatusCode::CONFLICT
        }
        ErrorCode::TooLarge | ErrorCode::AudioTooLong => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::NoSpeech | ErrorCode::NotUnderstood => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::EngineMissing
        | ErrorCode::EngineLost
        | ErrorCode::EngineBusy
        | ErrorCode::BusUnavailable
        | ErrorCode::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::EngineFault | ErrorCode::SkillFault => StatusCode::BAD_GATEWAY,
        ErrorCode::StorageFault => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::new(failure.code, format!("{}: {}", failure.hop, failure.message))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"loqa\""));
        }
        response
    }
}

/// Runs what blocks (files, SQLite) away from the runtime's threads.
///
/// # Errors
/// What it returns, or that it panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> ApiResult<T> + Send + 'static) -> ApiResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "a request ended badly");
            Err(Problem::new(ErrorCode::HubFault, "the request ended badly, the log says more"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status_of_an_error() {
        for code in ErrorCode::ALL {
            let status = status_of(*code);
            assert!(status.is_client_error() || status.is_server_error(), "{code}");
            let only_faults = [ErrorCode::HubFault];
            assert_eq!(status == StatusCode::INTERNAL_SERVER_ERROR, only_faults.contains(code), "{code}");
        }
    }

    #[test]
    fn a_problem_is_what_the_standard_says() {
        let response = Problem::new(ErrorCode::RateLimited, "slower").retry_after(3).into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "3");
        let problem = Problem::new(ErrorCode::NotFound, "no turn `t-1` is kept");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["type"], "urn:loqa:error:not_found");
        assert_eq!(json["status"], 404);
        assert_eq!(json["code"], "not_found");
        assert!(json.get("retry_after").is_none());
    }
}
