//! The routes of the API and their description, which are made of the same functions and so
//! cannot differ. `docs/openapi.json` is this description, committed.

use crate::extract::tagged_bytes;
use crate::limits::MAX_BODY;
use crate::problem::{MEDIA_TYPE, Problem};
use crate::state::AppState;
use crate::{login, metrics, nodes, page, status};
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
    for (name, shape) in shapes {
        components.schemas.insert(name, shape);
    }
    document.security = Some(vec![security("token"), security("login")]);
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().filter_map(Option::as_mut) {
            every_failure(operation);
        }
    }
    document
}

fn security(name: &str) -> SecurityRequirement {
    SecurityRequirement::new(name, Vec::<String>::new())
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
        router = router.merge(page::routes());
    }
    router
        .fallback(nothing_there)
        .method_not_allowed_fallback(not_that_way)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::clone(state))
}
