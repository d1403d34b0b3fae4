//! HTTP requests of skills: where a name leads is looked up once, every address is
//! checked, and the connection goes to exactly those addresses.
//!
//! One request, no redirect, no proxy, no cookie, nothing shared between requests.
//! Deliberately absent: permissions. The gate has decided before an order comes here.

pub mod address;
#[cfg(test)]
mod tests;

use address::{Place, place};
use futures_util::StreamExt as _;
use loqa_skills::{EffectCode, EffectFault, HttpAnswer, HttpOrder};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Host;

/// What the hub calls itself. Nothing about machine, user or skill.
const USER_AGENT: &str = concat!("Loqa/", env!("CARGO_PKG_VERSION"));
/// Most headers' bytes that an answer's are counted to. Chosen.
const MAX_ANSWER_HEADERS: usize = 64;

/// Looks names up. The system's, outside of tests.
pub trait Resolver: Send + Sync {
    /// Addresses of a name.
    fn lookup<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send + 'a>>;
}

/// The system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn lookup<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send + 'a>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Makes requests.
#[derive(Clone)]
pub struct Outbound {
    resolver: Arc<dyn Resolver>,
    /// A fault put in by a test: the connection looks the name up again.
    #[cfg(test)]
    resolves_twice: bool,
}

impl Default for Outbound {
    fn default() -> Self {
        Self::with(Arc::new(SystemResolver))
    }
}

/// Gives the addresses that were checked, whatever name is asked for.
struct Pinned(Vec<SocketAddr>);

impl Resolve for Pinned {
    fn resolve(&self, _name: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

impl Outbound {
    /// With another resolver.
    #[must_use]
    pub fn with(resolver: Arc<dyn Resolver>) -> Self {
        Self {
            resolver,
            #[cfg(test)]
            resolves_twice: false,
        }
    }

    /// Makes one request; what is not done by `deadline` is given up.
    pub async fn request(&self, order: HttpOrder, deadline: Instant) -> Result<HttpAnswer, EffectFault> {
        tokio::time::timeout_at(deadline.into(), self.send(order))
            .await
            .unwrap_or_else(|_| Err(EffectFault::new(EffectCode::Timeout, "no answer in the time that was left")))
    }

    async fn send(&self, order: HttpOrder) -> Result<HttpAnswer, EffectFault> {
        let pinned = self.addresses(&order).await?;
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // A proxy would look the name up again, and go where it likes.
            .no_proxy()
            .pool_max_idle_per_host(0)
            .dns_resolver(self.pinned_resolver(pinned))
            .build()
            .map_err(|error| EffectFault::new(EffectCode::Failed, format!("prepare the request: {error}")))?;
        let method = reqwest::Method::from_bytes(order.method.as_bytes())
            .map_err(|_| EffectFault::new(EffectCode::Failed, "no such method"))?;
        let mut bytes_out = (order.method.len() + order.url.as_str().len() + order.body.len()) as u64;
        let mut request = client.request(method, order.url.clone());
        for (name, value) in &order.headers {
            bytes_out += (name.len() + value.len()) as u64;
            let mut value = reqwest::header::HeaderValue::from_str(value)
                .map_err(|_| EffectFault::new(EffectCode::Failed, "a header cannot be sent"))?;
            // It may be a secret: kept out of debug output and of compression tables.
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        if !order.body.is_empty() {
            request = request.body(order.body);
        }
        let response = request.send().await.map_err(|error| unreachable_fault(&error))?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .take(MAX_ANSWER_HEADERS)
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        let too_large = || EffectFault::new(EffectCode::TooLarge, format!("more than {} bytes", order.max_bytes));
        if response.content_length().is_some_and(|length| length > order.max_bytes as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| unreachable_fault(&error))?;
            if body.len() + chunk.len() > order.max_bytes {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpAnswer { status, headers, body, bytes_out })
    }

    /// Where the request goes. All addresses of the name have to be allowed: a name that
    /// leads to this machine among others is a trick or a mistake.
    async fn addresses(&self, order: &HttpOrder) -> Result<Vec<SocketAddr>, EffectFault> {
        let port = order.url.port_or_known_default().unwrap_or(0);
        let found = match order.url.host() {
            Some(Host::Ipv4(address)) => vec![IpAddr::V4(address)],
            Some(Host::Ipv6(address)) => vec![IpAddr::V6(address)],
            Some(Host::Domain(name)) => self.resolver.lookup(name).await.map_err(|error| {
                EffectFault::new(EffectCode::Unreachable, format!("the name cannot be looked up: {error}"))
            })?,
            None => Vec::new(),
        };
        if found.is_empty() {
            return Err(EffectFault::new(EffectCode::Unreachable, "the name has no address"));
        }
        for address in &found {
            let reason = match place(*address) {
                Place::Public => continue,
                Place::Lan if order.lan => continue,
                Place::Lan => "it leads to this machine or its network; the permission needs `lan: true`",
                Place::Nowhere => "it leads to an address that no skill may call",
            };
            tracing::warn!(skill = order.skill, %address, "a request of a skill is refused because of its address");
            return Err(EffectFault::new(EffectCode::ForbiddenAddress, reason));
        }
        Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    fn pinned_resolver(&self, pinned: Vec<SocketAddr>) -> Arc<dyn Resolve> {
        #[cfg(test)]
        if self.resolves_twice {
            return Arc::new(tests::Again(Arc::clone(&self.resolver)));
        }
        Arc::new(Pinned(pinned))
    }
}

/// The text stays short and names no header.
fn unreachable_fault(error: &reqwest::Error) -> EffectFault {
    if error.is_timeout() {
        return EffectFault::new(EffectCode::Timeout, "the server did not answer in time");
    }
    let what = if error.is_connect() { "the server cannot be reached" } else { "the connection broke" };
    tracing::debug!(error = %error.to_string().split(" for url").next().unwrap_or_default(), "a skill's request failed");
    EffectFault::new(EffectCode::Unreachable, what)
}

/// How often a running request looks whether it is still wanted. Chosen.
pub(crate) const GLANCE: Duration = Duration::from_millis(20);
