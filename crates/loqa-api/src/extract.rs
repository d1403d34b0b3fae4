//! Reading requests and writing answers the same way everywhere: what cannot be read is a
//! [`Problem`], a body is JSON and says so, and an answer that seldom changes has an `ETag`.

use crate::limits::{BODY_TIME, MAX_BODY};
use crate::problem::{ApiResult, Problem};
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, RequestExt as _};
use loqa_protocol::ErrorCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

/// A JSON body.
#[derive(Debug)]
pub struct ApiJson<T>(pub T);

impl<T: DeserializeOwned + 'static, S: Send + Sync> FromRequest<S> for ApiJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        match tokio::time::timeout(BODY_TIME, request.extract::<Json<T>, _>()).await {
            Ok(Ok(Json(value))) => Ok(Self(value)),
            Ok(Err(rejection)) => Err(of_json(&rejection)),
            Err(_) => {
                let detail = format!("the body was not there within {} s", BODY_TIME.as_secs());
                Err(Problem::with_status(StatusCode::REQUEST_TIMEOUT, ErrorCode::DeadlineExceeded, detail))
            }
        }
    }
}

fn of_json(rejection: &JsonRejection) -> Problem {
    let status = rejection.status();
    let code = if status == StatusCode::PAYLOAD_TOO_LARGE { ErrorCode::TooLarge } else { ErrorCode::BadRequest };
    let detail = match rejection {
        JsonRejection::MissingJsonContentType(_) => "send the body with `Content-Type: application/json`".to_owned(),
        _ if code == ErrorCode::TooLarge => format!("the body has more than {MAX_BODY} bytes"),
        // What serde says names the field and the place, not the text that stands there.
        JsonRejection::JsonDataError(_) | JsonRejection::JsonSyntaxError(_) => plain(&rejection.body_text()),
        _ => "the body cannot be read".to_owned(),
    };
    // One status for a body that is no JSON and for one that does not fit.
    let status = if status == StatusCode::UNPROCESSABLE_ENTITY { StatusCode::BAD_REQUEST } else { status };
    Problem::with_status(status, code, detail)
}

/// Parameters behind the `?`.
#[derive(Debug)]
pub struct ApiQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        query.map(|Query(value)| Self(value)).map_err(|rejection| Problem::bad_request(plain(&rejection.body_text())))
    }
}

/// Parameters in the path. One that cannot be read names nothing that is there.
#[derive(Debug)]
pub struct ApiPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ApiPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value)).map_err(|rejection| Problem::bad_request(plain(&rejection.body_text())))
    }
}

/// Text that names what a client sent: short, on one line, without anything that moves a cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

/// An answer with an `ETag`; `304` when the client has it already.
///
/// # Errors
/// It cannot be written as JSON, which no shape here makes happen.
pub fn tagged<T: Serialize>(headers: &HeaderMap, value: &T) -> ApiResult<Response> {
    let body = serde_json::to_vec(value).map_err(|e| Problem::new(ErrorCode::HubFault, e.to_string()))?;
    Ok(tagged_bytes(headers, body, "application/json"))
}

/// The same for bytes.
#[must_use]
pub fn tagged_bytes(headers: &HeaderMap, body: Vec<u8>, media_type: &'static str) -> Response {
    let digest = Sha256::digest(&body);
    let etag = format!("\"{}\"", hex::encode(digest.get(..16).unwrap_or_default()));
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim() == "*" || tag.trim().trim_start_matches("W/") == etag);
    let tag = HeaderValue::from_str(&etag).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
    let caching = HeaderValue::from_static("private, no-cache");
    let fields = [(header::ETAG, tag), (header::CACHE_CONTROL, caching)];
    if known {
        return (StatusCode::NOT_MODIFIED, fields).into_response();
    }
    (StatusCode::OK, fields, [(header::CONTENT_TYPE, media_type)], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_not_sent_again() {
        let first = tagged(&HeaderMap::new(), &["a"]).unwrap();
        assert_eq!(first.status(), 200);
        let tag = first.headers()[header::ETAG].clone();
        for (known, status) in [(tag.to_str().unwrap(), 304), ("\"other\"", 200), ("W/\"x\", *", 304)] {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, known.parse().unwrap())]);
            assert_eq!(tagged(&headers, &["a"]).unwrap().status(), status, "{known}");
        }
        let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)]);
        assert_eq!(tagged(&headers, &["b"]).unwrap().status(), 200, "another answer has another tag");
    }

    #[test]
    fn an_error_cannot_draw() {
        assert_eq!(plain("a\u{1b}[2J\nb"), "a [2J b");
        assert_eq!(plain(&"x".repeat(1_000)).len(), 300);
    }
}
