//! A page of our own on which every operation can be tried. It is in the program, loads
//! nothing from elsewhere, and has no script or style inside of its HTML, so that the
//! content policy can forbid those.
//!
//! Deliberately absent: data. The page asks for the token, keeps it in memory, and reads
//! everything through the API.

use crate::extract::tagged_bytes;
use crate::state::AppState;
use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use std::sync::Arc;

const HTML: &str = include_str!("../page/index.html");
const SCRIPT: &str = include_str!("../page/app.js");
const STYLE: &str = include_str!("../page/style.css");

pub(crate) fn routes() -> Router<Arc<AppState>> {
    let file = |text: &'static str, media_type: &'static str| {
        get(async move |headers: HeaderMap| tagged_bytes(&headers, text.as_bytes().to_vec(), media_type))
    };
    Router::new()
        .route("/", file(HTML, "text/html; charset=utf-8"))
        .route("/page/app.js", file(SCRIPT, "text/javascript; charset=utf-8"))
        .route("/page/style.css", file(STYLE, "text/css; charset=utf-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The policy forbids them, so the page would not work with them.
    #[test]
    fn nothing_is_inline_or_from_elsewhere() {
        for forbidden in
            ["<script>", "<style", " style=", " onclick=", " onload=", "javascript:", "http://", "https://"]
        {
            assert!(!HTML.contains(forbidden), "{forbidden}");
        }
        for forbidden in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://", "localStorage"]
        {
            assert!(!SCRIPT.contains(forbidden), "{forbidden}");
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }
}
