//! Bodies of requests: whole, within a size and a time.

use super::error::OpenAiError;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequest as _, Multipart, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Longest time for a body. Chosen: 25 MiB over loopback take a fraction of a second.
const BODY_TIME: Duration = Duration::from_secs(30);
/// Largest JSON body. Chosen: a long conversation.
const MAX_JSON: usize = 1024 * 1024;
/// Largest upload: what OpenAI takes too.
const MAX_UPLOAD: usize = 25 * 1024 * 1024;
/// Most fields of a form. Chosen: the interface has fewer than twenty.
const MAX_FIELDS: usize = 64;
/// Longest value of a field that is not a file. Chosen.
const MAX_FIELD: usize = 16 * 1024;

/// Reads a JSON body.
pub(super) async fn json<T: DeserializeOwned>(request: Request) -> Result<T, OpenAiError> {
    let (_, bytes) = whole(request, MAX_JSON).await?;
    serde_json::from_slice(&bytes).map_err(|e| {
        // serde names the field and the place; it quotes no more of the body than a wrong type's value.
        let reason =
            if e.is_data() { e.to_string() } else { format!("no JSON at line {}, column {}", e.line(), e.column()) };
        OpenAiError::unreadable(format!("the body cannot be read: {}", reason.chars().take(200).collect::<String>()))
    })
}

/// One field of a form.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) file_name: Option<String>,
    pub(super) value: Bytes,
}

impl Field {
    /// The value as text.
    pub(super) fn text(&self) -> Result<String, OpenAiError> {
        if self.value.len() > MAX_FIELD {
            return Err(OpenAiError::unreadable(format!("a field is longer than {MAX_FIELD} bytes")));
        }
        String::from_utf8(self.value.to_vec()).map_err(|_| OpenAiError::unreadable("a field is no UTF-8 text"))
    }
}

/// Reads a `multipart/form-data` body.
pub(super) async fn form(request: Request) -> Result<Vec<Field>, OpenAiError> {
    let (parts, bytes) = whole(request, MAX_UPLOAD).await?;
    let request = Request::from_parts(parts, Body::from(bytes));
    let unreadable = || OpenAiError::unreadable("the body is no `multipart/form-data`");
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| unreadable())?;
    let mut fields = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|_| unreadable())? {
        if fields.len() == MAX_FIELDS {
            return Err(OpenAiError::unreadable(format!("the form has more than {MAX_FIELDS} fields")));
        }
        let name = field.name().ok_or_else(unreadable)?.to_owned();
        let file_name = field.file_name().map(str::to_owned);
        let value = field.bytes().await.map_err(|_| unreadable())?;
        fields.push(Field { name, file_name, value });
    }
    Ok(fields)
}

async fn whole(request: Request, limit: usize) -> Result<(Parts, Bytes), OpenAiError> {
    let (parts, body) = request.into_parts();
    // The announced length is enough to refuse; nothing is waited for.
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(OpenAiError::too_large(limit));
    }
    match tokio::time::timeout(BODY_TIME, axum::body::to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok((parts, bytes)),
        Ok(Err(error)) => {
            use std::error::Error as _;
            // axum does not export the type of this error.
            let is_long = error.source().is_some_and(|source| source.to_string().contains("length limit"));
            Err(if is_long { OpenAiError::too_large(limit) } else { OpenAiError::unreadable("the body is cut off") })
        }
        Err(_) => Err(OpenAiError::too_slow(BODY_TIME.as_secs())),
    }
}
