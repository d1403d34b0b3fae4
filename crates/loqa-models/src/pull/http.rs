//! One request for the rest of a file, and judging what comes back.
//!
//! Every redirect is followed by hand: only to `https`, only to addresses that the
//! caller allows, and the connection goes to exactly the addresses that were judged.
//! No proxy is used, because it would look names up again and go where it likes.

use super::part::{Origin, Part};
use super::{Fault, Left, MayReach, PullError, PullOptions};
use futures_util::StreamExt as _;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_RANGE, LOCATION, RANGE,
};
use reqwest::{Client, Response, StatusCode};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use url::{Host, Url};

/// What Loqa calls itself. Nothing about machine or user.
const USER_AGENT: &str = concat!("Loqa/", env!("CARGO_PKG_VERSION"));
/// Most redirects. Chosen: hosts of models use one or two.
const MAX_REDIRECTS: usize = 5;
/// Less than this in [`super::Patience::stall`] is a stall. Chosen.
const STALL_BYTES: u64 = 16 << 10;
/// A broken try that brought this much counts as headway. Chosen.
pub(super) const HEADWAY_BYTES: u64 = 1 << 20;

/// Why a try did not bring the rest of the file.
pub(super) enum Attempt {
    /// The same source may give the rest.
    Lost(String),
    /// What is there does not fit the source: all of it again.
    FromTheStart(String),
    /// This source will not do.
    Useless(String),
    /// No source would do.
    Fatal(PullError),
}

/// Makes the requests.
#[derive(Clone)]
pub(super) struct Fetcher {
    client: Client,
}

/// Looks names up and refuses those of which one address may not be reached: a name that
/// leads into this network among others is a trick or a mistake.
struct Judged(MayReach);

impl Resolve for Judged {
    fn resolve(&self, name: Name) -> Resolving {
        let may_reach = Arc::clone(&self.0);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            match found.iter().find(|address| !may_reach(address.ip())) {
                Some(address) => {
                    tracing::warn!(%address, "a download is refused because of its address");
                    Err(Box::<dyn std::error::Error + Send + Sync>::from("it leads to an address that is not public"))
                }
                None => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

impl Fetcher {
    pub(super) fn new(options: &PullOptions) -> Result<Self, reqwest::Error> {
        // Another part of the program may have installed it first; either is ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(options.patience.connect)
            .dns_resolver(Arc::new(Judged(Arc::clone(&options.may_reach))))
            .build()?;
        Ok(Self { client })
    }

    /// Asks for what is missing of `part` and adds it. `Ok` when all bytes are there.
    pub(super) async fn attempt(
        &self,
        options: &PullOptions,
        model: &str,
        address: &str,
        part: &mut Part,
        report: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), Attempt> {
        let mut url = Url::parse(address).map_err(|e| Attempt::Useless(format!("not an address: {e}")))?;
        for _redirect in 0..=MAX_REDIRECTS {
            permitted(&url, options).map_err(Attempt::Useless)?;
            let target = without_query(url.as_str());
            let number = recorded(options, model, &target).await?;
            let before = part.received();
            let result = self.request(options, address, &url, part, report).await;
            let left = Left {
                ok: result.is_ok(),
                bytes_out: (url.as_str().len() + USER_AGENT.len()) as u64,
                bytes_in: part.received() - before,
            };
            let ledger = Arc::clone(&options.ledger);
            let _ = tokio::task::spawn_blocking(move || ledger.ended(number, left)).await;
            // Also what a broken try brought is kept.
            part.write().await.map_err(Attempt::Fatal)?;
            match result? {
                Answer::Whole => return Ok(()),
                Answer::Elsewhere(next) => url = next,
            }
        }
        Err(Attempt::Useless(format!("it redirects more than {MAX_REDIRECTS} times")))
    }

    async fn request(
        &self,
        options: &PullOptions,
        address: &str,
        url: &Url,
        part: &mut Part,
        report: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Answer, Attempt> {
        let offset = part.len();
        let noted = (offset > 0).then(|| part.etag_of(address)).flatten();
        let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
        }
        if let Some(etag) = &noted {
            request = request.header(IF_RANGE, etag);
        }
        let response = tokio::time::timeout(options.patience.answer, request.send())
            .await
            .map_err(|_| Attempt::Lost("no answer in time".to_owned()))?
            .map_err(|error| broken(&error))?;
        if response.status().is_redirection() {
            return elsewhere(url, &response).map(Answer::Elsewhere).map_err(Attempt::Useless);
        }
        let etag = strong_etag(response.headers());
        let begins_at = begins_at(&response, part, noted.as_deref(), etag.as_deref())?;
        if begins_at == 0 && offset > 0 && options.fault != Some(Fault::AppendOn200) {
            part.clear().await.map_err(Attempt::Fatal)?;
        }
        if begins_at == 0 {
            let origin = etag.map(|etag| Origin { url: address.to_owned(), etag });
            part.note_origin(origin.as_ref());
        }
        receive(options, response, part, report).await?;
        Ok(Answer::Whole)
    }
}

enum Answer {
    Whole,
    Elsewhere(Url),
}

/// Where the body of the answer begins in the file.
fn begins_at(response: &Response, part: &Part, noted: Option<&str>, etag: Option<&str>) -> Result<u64, Attempt> {
    let (status, headers, offset, size) = (response.status(), response.headers(), part.len(), part.size());
    match status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
        StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => {
            return Err(Attempt::FromTheStart("it does not have the rest of the file".to_owned()));
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            return Err(Attempt::Lost(format!("it answers {status}")));
        }
        _ if status.is_server_error() => return Err(Attempt::Lost(format!("it answers {status}"))),
        _ => return Err(Attempt::Useless(format!("it answers {status}"))),
    }
    let encoding = text(headers, CONTENT_ENCODING).unwrap_or("identity");
    if !encoding.eq_ignore_ascii_case("identity") {
        return Err(Attempt::Useless(format!("it sends the file packed: `{}`", encoding.escape_debug())));
    }
    let begins_at = if status == StatusCode::OK {
        0
    } else {
        // A server that does not know `If-Range` sends a piece of whatever it has.
        if noted.is_some() && etag.is_some() && noted != etag {
            return Err(Attempt::FromTheStart("its file has changed".to_owned()));
        }
        if text(headers, CONTENT_RANGE).and_then(content_range) != Some((offset, size)) || offset == 0 {
            return Err(Attempt::FromTheStart("it sends another piece than was asked for".to_owned()));
        }
        offset
    };
    match response.content_length() {
        Some(length) if length != size - begins_at => {
            Err(Attempt::Useless(format!("it sends {length} bytes, {} are expected", size - begins_at)))
        }
        _ => Ok(begins_at),
    }
}

/// Beginning and total of `bytes 5-9/10`, when it goes to the end.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total): (u64, u64, u64) = (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (last.checked_add(1)? == total).then_some((first, total))
}

/// Adds the body to the part.
async fn receive(
    options: &PullOptions,
    response: Response,
    part: &mut Part,
    report: &mut (dyn FnMut(u64) + Send),
) -> Result<(), Attempt> {
    let mut chunks = response.bytes_stream();
    let mut until = Instant::now() + options.patience.stall;
    let mut counted = part.reached();
    loop {
        let chunk = tokio::time::timeout_at(until.into(), chunks.next())
            .await
            .map_err(|_| Attempt::Lost("it stopped sending".to_owned()))?;
        let chunk = match chunk {
            Some(chunk) => chunk.map_err(|error| broken(&error))?,
            None if part.reached() == part.size() || options.fault == Some(Fault::AppendOn200) => break,
            None => {
                return Err(Attempt::Lost(format!("it sent {} of {} bytes", part.reached(), part.size())));
            }
        };
        if part.reached() + chunk.len() as u64 > part.size() && options.fault != Some(Fault::AppendOn200) {
            part.clear().await.map_err(Attempt::Fatal)?;
            return Err(Attempt::Useless(format!("it sends more than the {} bytes of the file", part.size())));
        }
        part.add(&chunk).await.map_err(Attempt::Fatal)?;
        if part.reached() >= counted + STALL_BYTES {
            counted = part.reached();
            until = Instant::now() + options.patience.stall;
        }
        report(part.reached());
    }
    part.write().await.map_err(Attempt::Fatal)
}

fn elsewhere(from: &Url, response: &Response) -> Result<Url, String> {
    let location = text(response.headers(), LOCATION).ok_or("it redirects to nowhere")?;
    from.join(location).map_err(|e| format!("it redirects to what is not an address: {e}"))
}

/// Whether a request may go there at all; names are judged when they are looked up.
fn permitted(url: &Url, options: &PullOptions) -> Result<(), String> {
    let shown = without_query(url.as_str());
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(_)) => None,
        None => return Err(format!("`{shown}` names no host")),
    };
    let plain = options.plain_loopback && url.scheme() == "http" && address.is_some_and(|ip| ip.is_loopback());
    if url.scheme() != "https" && !plain {
        return Err(format!("models are fetched by https only: `{shown}`"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("an address with a password is not used: `{shown}`"));
    }
    match address {
        Some(address) if !(options.may_reach)(address) => {
            Err(format!("`{shown}` leads to an address that is not public"))
        }
        _ => Ok(()),
    }
}

async fn recorded(options: &PullOptions, model: &str, target: &str) -> Result<u64, Attempt> {
    let (ledger, model, target) = (Arc::clone(&options.ledger), model.to_owned(), target.to_owned());
    tokio::task::spawn_blocking(move || ledger.leaving(&model, &target))
        .await
        .map_err(|e| e.to_string())
        .and_then(|number| number)
        .map_err(|reason| Attempt::Fatal(PullError::Ledger(reason)))
}

/// Short, and without the address, whose query may be a secret.
fn broken(error: &reqwest::Error) -> Attempt {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    let what = if error.is_connect() { "it cannot be reached" } else { "the connection broke" };
    let reason = if text.is_empty() { what.to_owned() } else { format!("{what}: {text}") };
    // A name that may not be followed will not be allowed the next time either.
    if text.contains("not public") { Attempt::Useless(reason) } else { Attempt::Lost(reason) }
}

/// An address without query and fragment: signed addresses carry secrets there.
pub(super) fn without_query(address: &str) -> String {
    address.split(['?', '#']).next().unwrap_or_default().to_owned()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// A weak one does not promise the same bytes.
fn strong_etag(headers: &HeaderMap) -> Option<String> {
    text(headers, ETAG).filter(|etag| etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_counts_only_when_it_goes_to_the_end() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 10)));
        for other in ["bytes 5-8/10", "bytes 5-9/*", "bytes */10", "5-9/10", "bytes 5-18446744073709551615/10", ""] {
            assert_eq!(content_range(other), None, "{other}");
        }
    }

    #[test]
    fn only_a_strong_tag_counts() {
        let of = |tag: &'static str| {
            strong_etag(&HeaderMap::from_iter([(ETAG, reqwest::header::HeaderValue::from_static(tag))]))
        };
        assert_eq!(of("\"a\"").as_deref(), Some("\"a\""));
        for weak in ["W/\"a\"", "a", "\"\"", "\""] {
            assert_eq!(of(weak), None, "{weak}");
        }
    }
}
