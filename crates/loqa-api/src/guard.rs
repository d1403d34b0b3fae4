//! What every request passes before a handler sees it: the name it gives this machine, the
//! page it comes from, the token; then the limits; and the headers that go out with every answer.
//!
//! A web page in the user's browser can send requests to loopback. It cannot choose the
//! `Host` and `Origin` that the browser writes, cannot read the token's file, and gets no
//! CORS header; each of the three alone holds it off.

use crate::limits::Deadline;
use crate::login;
use crate::problem::Problem;
use crate::state::AppState;
use crate::window;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use loqa_audit::{Actor, ActorKind, Context, Decision, Effect, Entry, Journal as _, Kind};
use loqa_protocol::ErrorCode;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One thing that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// `Host`, and the authority of an absolute request target, name this machine by loopback.
    Host,
    /// `Origin` is absent or ours, and the browser says that no other site asks.
    Origin,
    /// The token, or the cookie of a login.
    Token,
}

/// What to check. Anything but all of it is for the controls of the tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks(BTreeSet<Check>);

impl Default for Checks {
    fn default() -> Self {
        Self([Check::Host, Check::Origin, Check::Token].into())
    }
}

impl Checks {
    /// All but one.
    #[must_use]
    pub fn without(mut self, check: Check) -> Self {
        self.0.remove(&check);
        self
    }

    fn has(&self, check: Check) -> bool {
        self.0.contains(&check)
    }
}

/// Where requests to one port may come from.
#[derive(Debug, Clone)]
pub struct Border {
    /// `127.0.0.1:<port>` and the other loopback names.
    hosts: Vec<String>,
    checks: Checks,
}

impl Border {
    /// That of a server on this port.
    #[must_use]
    pub fn new(port: u16, checks: Checks) -> Self {
        let names = ["127.0.0.1", "localhost", "[::1]"];
        let mut hosts: Vec<String> = names.iter().map(|name| format!("{name}:{port}")).collect();
        if port == 80 {
            hosts.extend(names.map(str::to_owned));
        }
        Self { hosts, checks }
    }

    /// Why a request may not come in, as a word for the record; `None` when it may.
    #[must_use]
    pub fn refusal(&self, uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
        if self.checks.has(Check::Host) && !self.is_addressed(uri, headers) {
            return Some("host");
        }
        (self.checks.has(Check::Origin) && !self.is_from_here(headers)).then_some("origin")
    }

    fn is_addressed(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let Some(host) = only(headers, &header::HOST) else { return false };
        let plain = uri.scheme_str().is_none_or(|scheme| scheme == "http");
        self.is_ours(host) && plain && uri.authority().is_none_or(|authority| self.is_ours(authority.as_str()))
    }

    fn is_ours(&self, host: &str) -> bool {
        self.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host))
    }

    fn is_from_here(&self, headers: &HeaderMap) -> bool {
        let origin = match headers.get_all(header::ORIGIN).iter().count() {
            0 => true,
            _ => only(headers, &header::ORIGIN)
                .and_then(|origin| origin.strip_prefix("http://"))
                .is_some_and(|host| self.is_ours(host)),
        };
        let site = match headers.get_all(SEC_FETCH_SITE).iter().count() {
            0 => true,
            _ => matches!(only(headers, &HeaderName::from_static(SEC_FETCH_SITE)), Some("same-origin" | "none")),
        };
        origin && site
    }
}

/// A browser's own word on who asks (Fetch Metadata).
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The value of a header that stands there exactly once.
#[must_use]
pub fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The token in `Authorization: Bearer …`.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = only(headers, &header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Lets only requests through that may come in at this border.
pub async fn border(State(border): State<Border>, request: Request, next: Next) -> Response {
    match border.refusal(request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(_) => Problem::new(ErrorCode::Forbidden, FOREIGN).into_response(),
    }
}

const FOREIGN: &str = "only programs on this machine may ask, by the address that `loqa api url` tells, \
and web pages only when they come from there";

/// Paths that hold nothing of the user's.
const PUBLIC: &[&str] = &["/health", "/", "/page/app.js", "/page/style.css", "/openapi.json", login::PATH];
/// Whether a path holds nothing of the user's: those above, and the files of the window.
fn is_public(path: &str) -> bool {
    PUBLIC.contains(&path) || window::is_ours(path)
}

/// Paths that answer however busy the hub is.
const UNLIMITED: &[&str] = &["/health"];

/// The guard of the API's own port.
pub async fn guard(State(state): State<Arc<AppState>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if let Some(reason) = state.border.refusal(request.uri(), request.headers()) {
        return refuse(&state, reason, Problem::new(ErrorCode::Forbidden, FOREIGN));
    }
    if state.border.checks.has(Check::Token) && !is_public(path) {
        let headers = request.headers();
        let reason = match bearer(headers) {
            Some(token) if state.token.is(token) => None,
            Some(_) => Some("wrong_token"),
            None => state.logins.refusal(request.method(), headers),
        };
        if let Some(reason) = reason {
            let detail = "send the token of this start as `Authorization: Bearer …`; \
                          `loqa api url` tells the file that it is in";
            return refuse(&state, reason, Problem::new(ErrorCode::Unauthorized, detail));
        }
    }
    if UNLIMITED.contains(&path) {
        return next.run(request).await;
    }
    let permit = match state.limits.admit().await {
        Ok(permit) => permit,
        Err(problem) => return problem.into_response(),
    };
    // An operation that takes longer says so itself, see `limits::Within`.
    let deadline = Deadline::default();
    request.extensions_mut().insert(deadline.clone());
    let response = tokio::select! {
        response = next.run(request) => Ok(response),
        limit = deadline.passed() => Err(limit),
    };
    drop(permit);
    response.unwrap_or_else(|limit| {
        let detail = format!("the request was not done within {} s", limit.as_secs());
        Problem::new(ErrorCode::DeadlineExceeded, detail).into_response()
    })
}

fn refuse(state: &AppState, reason: &'static str, problem: Problem) -> Response {
    if !state.limits.failed() {
        return Problem::new(ErrorCode::RateLimited, "too many requests without the right to ask")
            .retry_after(1)
            .into_response();
    }
    if let Some(more) = state.limits.failure_row() {
        let mut entry = Entry::new(Kind::ApiAuthFail, Actor::named(ActorKind::Client, "api"), Context::default());
        entry.decision = Some(Decision::Deny);
        entry.reason = Some(reason.into());
        entry.effect = Some(Effect { operation: "api.request".into(), target: None, bytes_out: None });
        if more > 0 {
            entry.scope = Some(format!("{more} more before"));
        }
        state.hub.audit().append_later(entry);
    }
    tracing::debug!(reason, "a request without the right to ask");
    problem.into_response()
}

/// Lets a page of ours load and ask what is ours, and nothing else; nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The same for the window inside of the desktop app, which may also call the app; what of it
/// is decided there, by window and origin.
pub(crate) const POLICY_IN_APP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
img-src 'self' data:; connect-src 'self' ipc: http://ipc.localhost; base-uri 'none'; form-action 'none'; \
frame-ancestors 'none'";

/// What goes out with every answer: the policy, unless the page has its own, and that nobody
/// may read it from another origin.
pub async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    harden(&mut response);
    response
}

fn harden(response: &mut Response<Body>) {
    const FIXED: &[(&str, &str)] = &[
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in FIXED {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(target: &str, fields: &[(&str, &str)]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        Border::new(4711, Checks::default()).refusal(&target.parse().unwrap(), &headers)
    }

    #[test]
    fn only_loopback_names_with_our_port_are_ours() {
        for host in ["127.0.0.1:4711", "localhost:4711", "LocalHost:4711", "[::1]:4711"] {
            assert_eq!(refusal("/v1/nodes", &[("host", host)]), None, "{host}");
        }
        for host in [
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1:4712",
            "127.0.0.1:04711",
            "127.1:4711",
            "127.0.0.2:4711",
            "0.0.0.0:4711",
            "[::]:4711",
            "[::ffff:127.0.0.1]:4711",
            "2130706433:4711",
            "0x7f000001:4711",
            "evil.example:4711",
            "localhost.evil.example:4711",
            "evil.example",
            "localhost:4711.evil.example",
            "user@127.0.0.1:4711",
            "127.0.0.1.:4711",
            "127.0.0.1:4711, evil.example",
            "",
        ] {
            assert_eq!(refusal("/v1/nodes", &[("host", host)]), Some("host"), "{host}");
        }
        assert_eq!(refusal("/v1/nodes", &[]), Some("host"), "no host at all");
        let twice = [("host", "127.0.0.1:4711"), ("host", "127.0.0.1:4711")];
        assert_eq!(refusal("/v1/nodes", &twice), Some("host"), "twice");
        let host = ("host", "127.0.0.1:4711");
        assert_eq!(refusal("http://evil.example/v1/nodes", &[host]), Some("host"));
        assert_eq!(refusal("https://127.0.0.1:4711/v1/nodes", &[host]), Some("host"));
        assert_eq!(refusal("http://127.0.0.1:4711/v1/nodes", &[host]), None, "the absolute form is a form");
    }

    #[test]
    fn other_pages_are_held_off() {
        let host = ("host", "127.0.0.1:4711");
        for origin in ["http://127.0.0.1:4711", "http://localhost:4711", "http://[::1]:4711"] {
            assert_eq!(refusal("/", &[host, ("origin", origin)]), None, "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://evil.example",
            "https://127.0.0.1:4711",
            "http://127.0.0.1:3000",
            "http://127.0.0.1",
            "http://127.0.0.1:4711/",
            "http://127.0.0.1:4711.evil.example",
            "file://",
            "chrome-extension://abc",
        ] {
            assert_eq!(refusal("/", &[host, ("origin", origin)]), Some("origin"), "{origin}");
        }
        let ours = ("origin", "http://127.0.0.1:4711");
        assert_eq!(refusal("/", &[host, ours, ours]), Some("origin"), "twice");
        for (site, expected) in
            [("same-origin", None), ("none", None), ("same-site", Some("origin")), ("cross-site", Some("origin"))]
        {
            assert_eq!(refusal("/", &[host, ("sec-fetch-site", site)]), expected, "{site}");
        }
    }

    #[test]
    fn the_window_in_the_app_may_call_the_app_and_nothing_else_more() {
        let more = POLICY_IN_APP.replace(" ipc: http://ipc.localhost", "");
        assert_eq!(more, POLICY);
        assert!(!POLICY_IN_APP.contains("unsafe-") && !POLICY_IN_APP.contains('*'));
    }

    #[test]
    fn a_check_that_is_left_out_lets_everything_through() {
        let border = Border::new(1, Checks::default().without(Check::Host).without(Check::Origin));
        let mut headers = HeaderMap::new();
        headers.insert("host", "evil.example".parse().unwrap());
        headers.insert("origin", "http://evil.example".parse().unwrap());
        assert_eq!(border.refusal(&"/".parse().unwrap(), &headers), None);
    }

    #[test]
    fn the_token_stands_in_one_header() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(of("bearer abc").as_deref(), Some("abc"));
        for other in ["abc", "Basic abc", "Bearer", ""] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
