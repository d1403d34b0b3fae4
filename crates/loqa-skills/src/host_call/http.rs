//! HTTP for skills: one request, and redirects if the skill wants them, each of them
//! decided anew. Secrets go into headers here; the skill never sees them.
//!
//! Where a name leads, and whether a skill may go there, is decided by whoever
//! performs the request, once per request and for the address that is then used.

use super::understand::bad;
use super::{HostFunction, MAX_HTTP_CALLS, Performed, Refusal, Running};
use crate::authorize::{Authorized, Reach, Reason, Usage};
use crate::host::effects::{EffectCode, EffectFault, HttpAnswer, HttpOrder};
use crate::permission::Permission;
use crate::taint::Label;
use loqa_audit::{Outcome, Status};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use url::Url;

/// Headers that a skill may send. Chosen: what describes a body and a wish; nothing that
/// names another host, holds a credential or changes how the message is framed.
pub const SAFE_REQUEST_HEADERS: &[&str] =
    &["accept", "accept-language", "content-type", "if-match", "if-modified-since", "if-none-match", "prefer"];
/// Headers that a secret may be put into. Chosen: the names that services document for keys.
pub const SECRET_HEADERS: &[&str] = &[
    "authorization",
    "api-key",
    "apikey",
    "private-token",
    "x-access-token",
    "x-api-key",
    "x-auth-token",
    "x-subscription-token",
];
/// Headers of an answer that a skill sees.
const ANSWER_HEADERS: &[&str] =
    &["content-type", "content-language", "date", "etag", "last-modified", "location", "retry-after"];
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// Longest address. Chosen: what servers take at the least.
const MAX_URL_BYTES: usize = 2_048;
/// Longest header value of a skill. Chosen.
const MAX_HEADER_BYTES: usize = 1_024;
/// Largest answer.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Shortest secret that is looked for in answers. Chosen: shorter ones occur by chance.
const MIN_REDACTED: usize = 6;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpArguments {
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    secrets: Vec<SecretHeader>,
    /// How many redirects to follow.
    #[serde(default)]
    redirects: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretHeader {
    name: String,
    header: String,
    #[serde(default)]
    prefix: String,
}

/// A request that was understood.
pub(crate) struct HttpRequest {
    method: String,
    url: Url,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    secrets: Vec<SecretHeader>,
    redirects: u32,
}

/// Reads an address as every part of the host sees it: the reading that is decided about is the one that is used.
pub(super) fn read_url(text: &str) -> Result<Url, String> {
    if text.len() > MAX_URL_BYTES {
        return Err(format!("the address has {} bytes, at most {MAX_URL_BYTES} are allowed", text.len()));
    }
    let mut url = Url::parse(text).map_err(|error| format!("not an address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the address begins with http:// or https://".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the address names no host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address holds no user name and no password; use a secret".to_owned());
    }
    url.set_fragment(None);
    Ok(url)
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

impl HttpRequest {
    pub(super) fn read(arguments: HttpArguments) -> Result<Self, String> {
        let HttpArguments { method, url, headers, body, secrets, redirects } = arguments;
        if !METHODS.contains(&method.as_str()) {
            return Err(format!("`method` is one of {}", METHODS.join(", ")));
        }
        let url = read_url(&url)?;
        let headers = headers
            .into_iter()
            .map(|(name, value)| {
                let name = name.to_ascii_lowercase();
                if !SAFE_REQUEST_HEADERS.contains(&name.as_str()) {
                    return Err(format!("headers that may be sent are {}", SAFE_REQUEST_HEADERS.join(", ")));
                }
                check_value(&value)?;
                Ok((name, value))
            })
            .collect::<Result<Vec<_>, _>>()?;
        for SecretHeader { name, header, prefix } in &secrets {
            if !loqa_protocol::id::is_token(name) {
                return Err("a secret's name has 1 to 64 of a-z, 0-9, _ and -".to_owned());
            }
            if !SECRET_HEADERS.contains(&header.as_str()) {
                return Err(format!("headers that take a secret are {}", SECRET_HEADERS.join(", ")));
            }
            check_value(prefix)?;
        }
        if secrets.len() > 4 {
            return Err("at most four secrets go into one request".to_owned());
        }
        if redirects >= MAX_HTTP_CALLS {
            return Err(format!("`redirects` is at most {}", MAX_HTTP_CALLS - 1));
        }
        Ok(Self { method, url, headers, body: body.unwrap_or_default().into_bytes(), secrets, redirects })
    }

    /// Where it goes, as `scheme://host:port`.
    pub(crate) fn origin(&self) -> String {
        origin(&self.url)
    }

    /// Where it goes in full.
    pub(crate) fn address(&self) -> &str {
        self.url.as_str()
    }

    /// The secrets that it wants in its headers.
    pub(crate) fn secret_names(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().map(|secret| secret.name.as_str())
    }

    pub(super) fn usage(&self) -> Usage<'_> {
        Usage {
            method: Some(&self.method),
            url: Some(self.url.as_str()),
            bytes: self.body.len() as u64,
            rated: true,
            ..Usage::default()
        }
    }
}

fn check_value(value: &str) -> Result<(), String> {
    if value.len() > MAX_HEADER_BYTES || !value.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Err(format!("a header's value has up to {MAX_HEADER_BYTES} printable ASCII characters"));
    }
    Ok(())
}

impl Running {
    /// Makes the request and follows redirects as far as the skill wants and the gate allows.
    pub(super) fn http(&mut self, authorized: Authorized, request: HttpRequest) -> Result<Value, Refusal> {
        let first_origin = origin(&request.url);
        let mut request = request;
        let mut authorized = authorized;
        loop {
            let (answer, secrets) = match self.hop(&request, &first_origin) {
                Ok(answer) => answer,
                Err(refusal) => {
                    authorized.finish(Outcome::of(refusal.status()));
                    return Err(refusal);
                }
            };
            authorized.finish(Outcome {
                bytes_out: Some(answer.bytes_out),
                bytes_in: Some(answer.body.len() as u64),
                ..Outcome::of(Status::Ok)
            });
            // Whatever comes next is made of what that server said.
            self.taint = self.taint.clone().with(Label::Web(origin(&request.url)));
            match next_hop(&request, &answer)? {
                Some(next) => request = next,
                None => return read_answer(&request, answer, &secrets).map(|done| done.value),
            }
            authorized = self
                .authorize(HostFunction::Http.name(), Permission::HttpCall, request.usage(), Reach::Outside)
                .map_err(Refusal::Denied)?;
        }
    }

    fn hop(&mut self, request: &HttpRequest, first_origin: &str) -> Result<(HttpAnswer, Vec<String>), Refusal> {
        self.n_http += 1;
        if self.n_http > MAX_HTTP_CALLS {
            return Err(Refusal::Denied(Reason::RateExceeded));
        }
        let mut headers = request.headers.clone();
        let mut secrets = Vec::new();
        // A redirect to somebody else goes without credentials.
        if origin(&request.url) == first_origin {
            for wanted in &request.secrets {
                let secret = self.secret_for(&wanted.name, first_origin)?;
                headers.push((wanted.header.clone(), format!("{}{secret}", wanted.prefix)));
                secrets.push(secret);
            }
        }
        let order = HttpOrder {
            skill: self.actor.skill.clone(),
            method: request.method.clone(),
            url: request.url.clone(),
            headers,
            body: request.body.clone(),
            lan: self.may_call_lan(),
            max_bytes: MAX_BODY_BYTES,
        };
        let answer = self.wait(|pending| self.shared.effects.http(order, pending))?;
        Ok((answer, secrets))
    }

    /// The value of a secret, if it may go to that origin.
    fn secret_for(&self, name: &str, origin: &str) -> Result<String, Refusal> {
        let usage = Usage { secret: Some(name), origin: Some(origin), ..Usage::default() };
        self.authorize("http.secret", Permission::SecretUse, usage, Reach::Inside)
            .map_err(Refusal::Denied)?
            .finish(Outcome::of(Status::Ok));
        let secret = self.shared.secrets.get(&self.actor.skill, name).ok_or_else(|| {
            let skill = &self.actor.skill;
            EffectFault::unavailable(format!("the secret `{name}` is not set; `loqa skill secret set {skill} {name}`"))
        })?;
        check_value(secret.expose()).map_err(bad)?;
        Ok(secret.expose().to_owned())
    }

    /// The manifest must ask for it, and no grant may leave it out.
    fn may_call_lan(&self) -> bool {
        self.scopes(Permission::HttpCall).all(|scope| scope.flag("lan"))
    }
}

/// The request that a redirect asks for, or `None` when the answer is the answer.
fn next_hop(request: &HttpRequest, answer: &HttpAnswer) -> Result<Option<HttpRequest>, Refusal> {
    let is_redirect = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
    let location = answer.headers.iter().find(|(name, _)| name == "location");
    let (true, Some((_, location)), true) = (is_redirect, location, request.redirects > 0) else { return Ok(None) };
    let nonsense = |_| EffectFault::new(EffectCode::Failed, "redirects to something that is no address");
    let joined = request.url.join(location).map_err(|error| nonsense(error.to_string()))?;
    let url = read_url(joined.as_str()).map_err(nonsense)?;
    // As browsers do: a POST that is moved becomes a GET, 307 and 308 repeat it.
    let keeps_body = matches!(answer.status, 307 | 308) || matches!(request.method.as_str(), "GET" | "HEAD");
    let same_origin = origin(&url) == origin(&request.url);
    Ok(Some(HttpRequest {
        method: if keeps_body { request.method.clone() } else { "GET".to_owned() },
        url,
        headers: request.headers.clone(),
        body: if keeps_body && same_origin { request.body.clone() } else { Vec::new() },
        secrets: request
            .secrets
            .iter()
            .map(|SecretHeader { name, header, prefix }| SecretHeader {
                name: name.clone(),
                header: header.clone(),
                prefix: prefix.clone(),
            })
            .collect(),
        redirects: request.redirects - 1,
    }))
}

fn read_answer(request: &HttpRequest, answer: HttpAnswer, secrets: &[String]) -> Result<Performed, Refusal> {
    let HttpAnswer { status, headers, body, bytes_out: _ } = answer;
    let mut body =
        String::from_utf8(body).map_err(|_| EffectFault::new(EffectCode::Failed, "the answer is not text in UTF-8"))?;
    let mut headers = headers
        .into_iter()
        .filter(|(name, _)| ANSWER_HEADERS.contains(&name.as_str()))
        .collect::<BTreeMap<String, String>>();
    // A server that repeats what it was sent must not tell the skill.
    for secret in secrets.iter().filter(|secret| secret.len() >= MIN_REDACTED) {
        body = body.replace(secret.as_str(), "[secret]");
        for value in headers.values_mut() {
            *value = value.replace(secret.as_str(), "[secret]");
        }
    }
    Ok(json!({ "status": status, "headers": headers, "body": body, "url": request.url.as_str() }).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_reading() {
        for (text, host) in [
            ("http://2130706433/", "127.0.0.1"),
            ("http://0x7f.1/", "127.0.0.1"),
            ("http://0177.0.0.1/", "127.0.0.1"),
            ("http://127.1/", "127.0.0.1"),
            ("http://[::ffff:127.0.0.1]/", "[::ffff:7f00:1]"),
            ("http://EXAMPLE.com./", "example.com."),
            ("http://example.com\\@evil.test/", "example.com"),
            ("https://exa%6Dple.com/#@evil.test", "example.com"),
        ] {
            assert_eq!(read_url(text).unwrap().host_str(), Some(host), "{text}");
        }
        for text in [
            "",
            "example.com",
            "//example.com/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "http://",
            "http:///path",
            "http://user@example.com/",
            "http://user:word@example.com/",
            "http://:word@example.com/",
            "http://exa mple.com/",
            "http://[::1/",
            "http://999.1.1.1/",
            "javascript:alert(1)",
        ] {
            let read = read_url(text);
            // The URL standard reads `http:///path` as the host `path`.
            assert!(read.is_err() || text == "http:///path", "{text}: {read:?}");
        }
        assert!(read_url(&format!("https://a/{}", "x".repeat(MAX_URL_BYTES))).is_err());
    }

    #[test]
    fn headers_that_could_change_the_request_are_refused() {
        let read = |headers: Value, secrets: Value| {
            let arguments =
                json!({ "method": "GET", "url": "https://a.test/", "headers": headers, "secrets": secrets });
            HttpRequest::read(serde_json::from_value(arguments).unwrap()).map(drop)
        };
        assert_eq!(read(json!({ "Accept": "text/plain" }), json!([])), Ok(()));
        assert_eq!(read(json!({}), json!([{ "name": "key", "header": "x-api-key" }])), Ok(()));
        for name in ["host", "Authorization", "cookie", "content-length", "transfer-encoding", "connection", "x-y", ""]
        {
            assert!(read(json!({ name: "1" }), json!([])).is_err(), "{name}");
        }
        for value in ["a\r\nhost: b", "a\n", "\u{0}", "ä", &"x".repeat(2_000)] {
            assert!(read(json!({ "accept": value }), json!([])).is_err(), "{value:?}");
            assert!(
                read(json!({}), json!([{ "name": "key", "header": "authorization", "prefix": value }])).is_err(),
                "{value:?}"
            );
        }
        for header in ["host", "cookie", "accept"] {
            assert!(read(json!({}), json!([{ "name": "key", "header": header }])).is_err(), "{header}");
        }
    }

    #[test]
    fn a_redirect_changes_what_a_browser_would_change() {
        let request = |method: &str| HttpRequest {
            method: method.to_owned(),
            url: read_url("https://a.test/x").unwrap(),
            headers: Vec::new(),
            body: b"body".to_vec(),
            secrets: Vec::new(),
            redirects: 1,
        };
        let moved = |method: &str, status: u16, to: &str| {
            let answer = HttpAnswer { status, headers: vec![("location".into(), to.into())], ..HttpAnswer::default() };
            next_hop(&request(method), &answer)
        };
        let next = moved("POST", 302, "/y").unwrap().unwrap();
        assert_eq!((next.method.as_str(), next.url.as_str(), next.body.len()), ("GET", "https://a.test/y", 0));
        let next = moved("POST", 307, "https://b.test/").unwrap().unwrap();
        assert_eq!((next.method.as_str(), next.body.len()), ("POST", 0), "a body goes to its own origin only");
        assert_eq!(next.redirects, 0);
        assert!(moved("GET", 200, "/y").unwrap().is_none());
        assert!(moved("GET", 302, "http://user:word@b.test/").is_err());
        assert!(moved("GET", 302, "file:///etc/passwd").is_err());
        assert!(
            next_hop(
                &HttpRequest { redirects: 0, ..request("GET") },
                &HttpAnswer { status: 302, headers: vec![("location".into(), "/y".into())], ..HttpAnswer::default() }
            )
            .unwrap()
            .is_none()
        );
    }
}
