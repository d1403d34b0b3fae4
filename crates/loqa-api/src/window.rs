//! The window for a browser: the files that `npm run ui:build` writes, served at `/ui/`.
//! They hold nothing of the user's; what the window shows it asks the API for.
//!
//! A name is a file of the folder or of `assets/` in it, and nothing else. Deliberately
//! absent: listings, compression, and files in the program itself.

use crate::extract::tagged_bytes;
use crate::guard::POLICY_IN_APP;
use crate::problem::{ApiResult, Problem, blocking};
use crate::state::AppState;
use axum::Router;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Redirect;
use axum::routing::get;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the window is.
pub(crate) const ROOT: &str = "/ui/";
/// Kinds of files that the window is made of, with their media types.
const KINDS: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("svg", "image/svg+xml"),
];

/// Whether a path is the window's.
pub(crate) fn is_ours(path: &str) -> bool {
    path == "/ui" || path.starts_with(ROOT)
}

/// The routes; `in_app` as [`crate::ApiOptions`] says.
pub(crate) fn routes(folder: PathBuf, in_app: bool) -> Router<Arc<AppState>> {
    let folder: Arc<Path> = folder.into();
    let serve = move |headers: HeaderMap, uri: Uri| {
        let folder = Arc::clone(&folder);
        async move {
            let name = uri.path().strip_prefix(ROOT).unwrap_or_default().to_owned();
            let (bytes, media_type) = blocking(move || read(&folder, &name)).await?;
            let mut response = tagged_bytes(&headers, bytes, media_type);
            if in_app {
                let policy = HeaderValue::from_static(POLICY_IN_APP);
                response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            }
            ApiResult::Ok(response)
        }
    };
    Router::new()
        .route("/ui", get(async || Redirect::permanent(ROOT)))
        .route(ROOT, get(serve.clone()))
        .route("/ui/{*name}", get(serve))
}

fn read(folder: &Path, name: &str) -> ApiResult<(Vec<u8>, &'static str)> {
    let name = if name.is_empty() { "index.html" } else { name };
    let (path, media_type) = located(folder, name).ok_or_else(|| Problem::not_found("the window has no such file"))?;
    let bytes = std::fs::read(path).map_err(|_| {
        Problem::not_found("the window's files are not there; `npm run ui:build` makes them in a source tree")
    })?;
    Ok((bytes, media_type))
}

/// The file of a name that the window may have.
fn located(folder: &Path, name: &str) -> Option<(PathBuf, &'static str)> {
    let file = name.strip_prefix("assets/").unwrap_or(name);
    let is_plain = file.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let extension = file.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, extension)| extension)?;
    let (_, media_type) = KINDS.iter().find(|(known, _)| *known == extension)?;
    (is_plain && !file.starts_with('.')).then(|| (folder.join(name), *media_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_window_are_found() {
        let folder = Path::new("/window");
        for (name, expected) in [
            ("index.html", Some("/window/index.html")),
            ("assets/index-DjuTjE5g.js", Some("/window/assets/index-DjuTjE5g.js")),
            ("../api.token", None),
            ("assets/../../api.js", None),
            ("assets/assets/x.js", None),
            ("/etc/x.html", None),
            ("..", None),
            (".html", None),
            ("x", None),
            ("x.map", None),
            ("x%2fy.js", None),
            ("a\\b.js", None),
        ] {
            let found = located(folder, name).map(|(path, _)| path);
            assert_eq!(found.as_deref(), expected.map(Path::new), "{name}");
        }
    }

    #[test]
    fn a_window_that_was_not_built_says_how() {
        let folder = tempfile::tempdir().unwrap();
        let problem = read(folder.path(), "").unwrap_err();
        assert_eq!(problem.status, 404);
        assert!(problem.detail.contains("ui:build"));
        std::fs::write(folder.path().join("index.html"), "<p>").unwrap();
        assert_eq!(read(folder.path(), "").unwrap(), (b"<p>".to_vec(), "text/html; charset=utf-8"));
    }

    #[test]
    fn paths_of_the_window() {
        for (path, expected) in [("/ui", true), ("/ui/", true), ("/ui/x.js", true), ("/uix", false), ("/v1/ui/", false)]
        {
            assert_eq!(is_ours(path), expected, "{path}");
        }
    }
}
