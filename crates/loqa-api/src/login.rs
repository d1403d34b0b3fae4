//! How a browser gets in: whoever holds the token makes a code that works once and for a
//! minute; the page hands it in and gets a cookie that scripts cannot read and that other
//! sites cannot send.
//!
//! The cookie counts only together with what the browser itself says about the page that
//! asks: its `Origin`, or `Sec-Fetch-Site: same-origin`. Deliberately absent: passwords,
//! and logins that outlive the hub.

use crate::extract::ApiJson;
use crate::guard::only;
use crate::problem::{ApiResult, Problem};
use crate::state::AppState;
use crate::token::Token;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use loqa_protocol::ErrorCode;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Where a code is handed in.
pub const PATH: &str = "/v1/login";
/// Name of the cookie.
const COOKIE: &str = "loqa_login";
/// How long a code works. Chosen: the time that a browser takes to open.
const CODE_LIFE: Duration = Duration::from_mins(1);
/// How long a login works. Chosen: a day at the machine.
pub(crate) const LIFE: Duration = Duration::from_hours(12);
/// How long that of a window in the desktop app works, which ends with the app. Chosen: longer
/// than an app runs.
pub(crate) const LIFE_IN_APP: Duration = Duration::from_hours(24 * 365);
/// Codes and logins that are kept; the oldest goes. Chosen.
const MAX_KEPT: usize = 16;

/// Codes that wait and logins that work.
#[derive(Debug, Default)]
pub struct Logins {
    kept: Mutex<Kept>,
    pub(crate) enabled: bool,
}

#[derive(Debug, Default)]
struct Kept {
    codes: Vec<Code>,
    logins: Vec<Login>,
}

#[derive(Debug)]
struct Code {
    token: Token,
    until: Instant,
    /// How long the login works that it makes.
    life: Duration,
}

#[derive(Debug)]
struct Login {
    cookie: Token,
    origin: String,
    until: Instant,
}

impl Logins {
    /// None yet; `enabled` says whether there will be any.
    #[must_use]
    pub fn new(enabled: bool) -> Self {
        Self { enabled, ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A code for a login of this length.
    pub(crate) fn make_code(&self, life: Duration, now: Instant) -> String {
        let (token, text) = Token::generate();
        let mut kept = self.lock();
        kept.codes.retain(|code| code.until > now);
        kept.codes.push(Code { token, until: now + CODE_LIFE, life });
        let surplus = kept.codes.len().saturating_sub(MAX_KEPT);
        kept.codes.drain(..surplus);
        text
    }

    /// The cookie's text and how long it works, or `None` for a code that does not work.
    fn exchange(&self, code: &str, origin: &str, now: Instant) -> Option<(String, Duration)> {
        let mut kept = self.lock();
        kept.codes.retain(|code| code.until > now);
        let idx = kept.codes.iter().position(|known| known.token.is(code))?;
        // A code works once.
        let Code { life, .. } = kept.codes.remove(idx);
        let (cookie, text) = Token::generate();
        kept.logins.retain(|login| login.until > now);
        kept.logins.push(Login { cookie, origin: origin.to_owned(), until: now + life });
        let surplus = kept.logins.len().saturating_sub(MAX_KEPT);
        kept.logins.drain(..surplus);
        Some((text, life))
    }

    fn end(&self, headers: &HeaderMap) {
        if let Some(text) = cookie(headers) {
            self.lock().logins.retain(|login| !login.cookie.is(text));
        }
    }

    /// Why a request without a token may not ask; `None` when its login says that it may.
    #[must_use]
    pub fn refusal(&self, method: &Method, headers: &HeaderMap) -> Option<&'static str> {
        if !self.enabled {
            return Some("no_token");
        }
        let Some(text) = cookie(headers) else { return Some("no_token") };
        let now = Instant::now();
        let kept = self.lock();
        let Some(login) = kept.logins.iter().find(|login| login.until > now && login.cookie.is(text)) else {
            return Some("wrong_cookie");
        };
        let is_ours = match only(headers, &header::ORIGIN) {
            Some(origin) => origin == login.origin,
            // A browser leaves the origin out only where it reads from its own page.
            None => {
                let same = only(headers, &HeaderName::from_static("sec-fetch-site")) == Some("same-origin");
                same && matches!(*method, Method::GET | Method::HEAD) && !headers.contains_key(header::UPGRADE)
            }
        };
        (!is_ours).then_some("cookie_elsewhere")
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = only(headers, &header::COOKIE)?;
    let mut ours = cookies.split(';').filter_map(|one| one.trim().split_once('=')).filter(|(name, _)| *name == COOKIE);
    let (_, value) = ours.next()?;
    ours.next().is_none().then_some(value)
}

/// A code for a browser.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LoginCode {
    /// Hand it to the browser behind a `#`, which no server sees and no log keeps.
    pub code: String,
    /// Milliseconds until it works no longer.
    pub expires_ms: u64,
}

/// A code that is handed in.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// The code.
    #[schema(min_length = 1, max_length = 128)]
    pub code: String,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new().routes(routes!(make_code)).routes(routes!(log_in, log_out))
}

/// Make a code with which a browser logs in
///
/// It works once, within a minute.
#[utoipa::path(post, path = "/v1/login/codes", tag = "login",
    responses((status = 201, body = LoginCode), (status = 409, description = "`api.ui` is off", body = Problem,
        content_type = "application/problem+json")))]
async fn make_code(State(state): State<Arc<AppState>>) -> ApiResult<(StatusCode, Json<LoginCode>)> {
    if !state.logins.enabled {
        return Err(Problem::new(ErrorCode::Conflict, "logins are off, set `api.ui` to true"));
    }
    let code = state.logins.make_code(LIFE, Instant::now());
    let expires_ms = u64::try_from(CODE_LIFE.as_millis()).unwrap_or(u64::MAX);
    Ok((StatusCode::CREATED, Json(LoginCode { code, expires_ms })))
}

/// Log in with a code
///
/// Needs no token, but the `Origin` of our own page. The answer sets the cookie.
#[utoipa::path(post, path = "/v1/login", tag = "login", request_body = LoginRequest, security(()),
    responses((status = 204), (status = 403, body = Problem, content_type = "application/problem+json")))]
async fn log_in(
    State(state): State<Arc<AppState>>,
    headers: HeaderMap,
    ApiJson(request): ApiJson<LoginRequest>,
) -> ApiResult<Response> {
    let origin = only(&headers, &header::ORIGIN)
        .ok_or_else(|| Problem::new(ErrorCode::Forbidden, "only a page of this server logs in"))?;
    let (text, life) = state
        .logins
        .exchange(&request.code, origin, Instant::now())
        .ok_or_else(|| Problem::new(ErrorCode::Forbidden, "the code was used, or is too old, or never was"))?;
    let age = life.as_secs();
    set_cookie(&format!("{COOKIE}={text}; Path=/v1; HttpOnly; SameSite=Strict; Max-Age={age}"))
}

/// Log out
#[utoipa::path(delete, path = "/v1/login", tag = "login", security(()), responses((status = 204)))]
async fn log_out(State(state): State<Arc<AppState>>, headers: HeaderMap) -> ApiResult<Response> {
    state.logins.end(&headers);
    set_cookie(&format!("{COOKIE}=; Path=/v1; HttpOnly; SameSite=Strict; Max-Age=0"))
}

fn set_cookie(text: &str) -> ApiResult<Response> {
    let value = HeaderValue::from_str(text).map_err(|e| Problem::new(ErrorCode::HubFault, e.to_string()))?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, value)]).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "http://127.0.0.1:4711";

    fn headers(cookie: &str, more: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, format!("a=b; {COOKIE}={cookie}").parse().unwrap());
        for (name, value) in more {
            headers.insert(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_code_works_once_and_not_for_long() {
        let logins = Logins::new(true);
        let now = Instant::now();
        let code = logins.make_code(LIFE, now);
        assert_eq!(logins.exchange("guess", OURS, now), None);
        assert!(logins.exchange(&code, OURS, now).is_some());
        assert_eq!(logins.exchange(&code, OURS, now), None, "once");
        let late = logins.make_code(LIFE, now);
        assert_eq!(logins.exchange(&late, OURS, now + CODE_LIFE + Duration::from_secs(1)), None, "too late");
    }

    #[test]
    fn a_cookie_counts_only_from_its_own_page() {
        let logins = Logins::new(true);
        let code = logins.make_code(LIFE, Instant::now());
        let (text, _) = logins.exchange(&code, OURS, Instant::now()).unwrap();
        let refusal = |method: Method, more: &[(&'static str, &str)]| logins.refusal(&method, &headers(&text, more));
        assert_eq!(refusal(Method::POST, &[("origin", OURS)]), None);
        assert_eq!(refusal(Method::GET, &[("sec-fetch-site", "same-origin")]), None);
        assert_eq!(refusal(Method::POST, &[("origin", "http://localhost:4711")]), Some("cookie_elsewhere"));
        assert_eq!(refusal(Method::POST, &[("sec-fetch-site", "same-origin")]), Some("cookie_elsewhere"));
        assert_eq!(refusal(Method::GET, &[]), Some("cookie_elsewhere"));
        assert_eq!(refusal(Method::GET, &[("sec-fetch-site", "none")]), Some("cookie_elsewhere"));
        let socket = [("sec-fetch-site", "same-origin"), ("upgrade", "websocket")];
        assert_eq!(refusal(Method::GET, &socket), Some("cookie_elsewhere"), "a WebSocket names its origin");
        assert_eq!(logins.refusal(&Method::GET, &headers("guess", &[("origin", OURS)])), Some("wrong_cookie"));
        logins.end(&headers(&text, &[]));
        assert_eq!(refusal(Method::POST, &[("origin", OURS)]), Some("wrong_cookie"), "logged out");
    }

    #[test]
    fn a_login_works_as_long_as_its_code_says() {
        let logins = Logins::new(true);
        let now = Instant::now();
        for life in [LIFE, LIFE_IN_APP] {
            let code = logins.make_code(life, now);
            assert_eq!(logins.exchange(&code, OURS, now).unwrap().1, life);
            assert_eq!(logins.lock().logins.last().unwrap().until, now + life);
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let logins = Logins::new(true);
        for _ in 0..MAX_KEPT * 3 {
            let code = logins.make_code(LIFE, Instant::now());
            logins.exchange(&code, OURS, Instant::now());
            logins.make_code(LIFE, Instant::now());
        }
        let kept = logins.lock();
        assert!(kept.codes.len() <= MAX_KEPT && kept.logins.len() <= MAX_KEPT);
    }
}
