//! The routes of the API and their description, which are made of the same functions and so
//! cannot differ. `docs/openapi.json` is this description, committed.

use crate::extract::tagged_bytes;
use crate::limits::MAX_BODY;
use crate::problem::{MEDIA_TYPE, Problem};
use crate::state::AppState;
use crate::window;
use crate::{audit, events, grants, latency, login, metrics, models, nodes, packages, page, privacy, replay};
use crate::{sessions, settings, skills, status, store, talk, turns};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use loqa_protocol::ErrorCode;
use std::sync::{Arc, LazyLock};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, InfoBuilder, OpenApi, OpenApiBuilder, RefOr, Response as Described};
use utoipa::{PartialSchema as _, ToSchema};
use utoipa_axum::router::OpenApiRouter;

/// What the description begins with.
const DESCRIPTION: &str = "The API of a Loqa hub on this machine. See docs/api.md for tokens, errors, pages and the \
messages of the two WebSockets, `/v1/events` and `/v1/talk`.";

fn described() -> OpenApiRouter<Arc<AppState>> {
    let info = InfoBuilder::new().title("Loqa").version("1").description(Some(DESCRIPTION)).build();
    OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info).build())
        .merge(status::routes())
        .merge(turns::routes())
        .merge(sessions::routes())
        .merge(replay::routes())
        .merge(events::routes())
        .merge(talk::routes())
        .merge(skills::routes())
        .merge(packages::routes())
        .merge(grants::routes())
        .merge(audit::routes())
        .merge(latency::routes())
        .merge(models::routes())
        .merge(settings::routes())
        .merge(privacy::routes())
        .merge(store::routes())
        .merge(nodes::routes())
        .merge(login::routes())
}

/// The description: that of the routes, with what holds for all of them.
#[must_use]
pub fn document() -> OpenApi {
    let mut document = described().into_openapi();
    let components = document.components.get_or_insert_default();
    components
        .security_schemes
        .insert("token".to_owned(), RefOr::T(SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer))));
    let cookie = ApiKey::Cookie(ApiKeyValue::new("loqa_login"));
    components.security_schemes.insert("login".to_owned(), RefOr::T(SecurityScheme::ApiKey(cookie)));
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    let mut shapes = Vec::new();
    Problem::schemas(&mut shapes);
    events::schemas(&mut shapes);
    talk::schemas(&mut shapes);
    for (name, shape) in shapes {
        components.schemas.insert(name, shape);
    }
    document.security = Some(vec![security("token"), security("login")]);
    for (path, item) in &mut document.paths.paths {
        let operations = [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("delete", &mut item.delete),
            ("patch", &mut item.patch),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                operation.operation_id = Some(id_of(method, path));
                every_failure(operation);
                for response in operation.responses.responses.values_mut() {
                    if let RefOr::T(response) = response
                        && response.description.is_empty()
                    {
                        response.description = "Done.".to_owned();
                    }
                }
            }
        }
    }
    document
}

fn security(name: &str) -> SecurityRequirement {
    SecurityRequirement::new(name, Vec::<String>::new())
}

/// `get /v1/skills/{name}/calls` is `get_skills_name_calls`: generated clients need names.
fn id_of(method: &str, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty() && *word != "v1");
    std::iter::once(method).chain(words).collect::<Vec<_>>().join("_")
}

/// Any operation can fail in the form of a problem.
fn every_failure(operation: &mut Operation) {
    let content = Content::new(Some(Problem::schema_reference()));
    let mut described = Described::new("A problem.");
    described.content.insert(MEDIA_TYPE.to_owned(), RefOr::T(content));
    operation.responses.responses.entry("default".to_owned()).or_insert(RefOr::T(described));
}

impl Problem {
    fn schema_reference() -> utoipa::openapi::Ref {
        utoipa::openapi::Ref::from_schema_name(Self::name())
    }
}

/// The description as text, the same at every start.
#[must_use]
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut text = document().to_pretty_json().unwrap_or_default();
        text.push('\n');
        text
    });
    &TEXT
}

async fn serve_document(headers: HeaderMap) -> Response {
    tagged_bytes(&headers, text().as_bytes().to_vec(), "application/json")
}

async fn nothing_there() -> Problem {
    Problem::not_found("there is no such path; `/openapi.json` lists all")
}

async fn not_that_way() -> Problem {
    let detail = "the path takes other methods, which the header `Allow` names";
    Problem::with_status(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::BadRequest, detail)
}

/// Everything that the API's port serves, without the guard.
pub fn router(state: &Arc<AppState>, ui: bool) -> Router {
    let (api, _) = described().split_for_parts();
    let mut router = api.route("/openapi.json", get(serve_document)).merge(metrics::router(state));
    if ui {
        router = router.merge(page::routes()).merge(window::routes(state.hub.paths().window(), state.in_app));
    }
    router
        .fallback(nothing_there)
        .method_not_allowed_fallback(not_that_way)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::clone(state))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `LOQA_TEST_UPDATE=1` writes the file.
    #[test]
    fn the_committed_description_is_that_of_the_code() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        if std::env::var_os("LOQA_TEST_UPDATE").is_some() {
            std::fs::write(&path, text()).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let help = "run `LOQA_TEST_UPDATE=1 cargo test -p loqa-api` and commit docs/openapi.json";
        assert!(committed == text(), "docs/openapi.json differs from the routes: {help}");
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_is_explained() {
        let document: serde_json::Value = serde_json::from_str(text()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut references = Vec::new();
        collect(&document, &mut references);
        for reference in references {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let mut ids = std::collections::BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let name = format!("{method} {path}");
                assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
                assert!(operation["tags"].as_array().is_some_and(|tags| !tags.is_empty()), "{name}");
                assert!(operation["responses"]["default"].is_object(), "{name}");
                assert!(
                    ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
                    "{name} has an id of its own"
                );
            }
        }
    }

    fn collect(value: &serde_json::Value, references: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                references.extend(fields.get("$ref").and_then(|it| it.as_str()).map(str::to_owned));
                fields.values().for_each(|value| collect(value, references));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
            _ => {}
        }
    }
}
