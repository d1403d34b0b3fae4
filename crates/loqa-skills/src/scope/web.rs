//! Web addresses in scopes: an address is brought into one form, in which it is both
//! decided about and called, and compared with the patterns of a scope.
//!
//! A pattern is an origin and a path: `https://api.example.org/v1/`. A path that ends
//! with `/` stands for everything beneath it, any other for itself; the query is free.
//! The host may be `*`, or begin with `*.` for all names beneath.

use crate::permission::Scope;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Url};

/// Longest address. Chosen: what servers commonly take.
pub const MAX_URL_BYTES: usize = 8 * 1024;

/// Why an address is refused. The address itself is not repeated: it may hold contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// It is no absolute address.
    #[error("write an absolute address such as https://example.org/path")]
    NotAbsolute,
    /// Neither http nor https.
    #[error("use http or https")]
    Scheme,
    /// Spaces, control characters or backslashes, which programs read differently.
    #[error("percent-encode spaces, control characters and backslashes")]
    Characters,
    /// `user:password@`.
    #[error("leave the user name and password out, use a secret")]
    UserInfo,
    /// A path whose encoding hides separators or dots.
    #[error("do not encode `/`, `\\`, `%` or dots in the path")]
    Path,
    /// Too long.
    #[error("an address has at most {MAX_URL_BYTES} bytes")]
    TooLong,
}

/// An address in its one form. What was decided about is what [`Target::url`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(Url);

impl Target {
    /// Reads an address: scheme and host in lower case, international names in their ASCII
    /// form, numbers as addresses, no default port, no dot segments, no needless
    /// percent-encoding, no fragment. What could be read in two ways is refused.
    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlFault::TooLong);
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(UrlFault::Characters);
        }
        let mut url = Url::parse(text).map_err(|_| UrlFault::NotAbsolute)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlFault::Scheme);
        }
        // `https:host` and `https:///host` are read as `https://host` by some.
        let (_, rest) = text.split_once("://").ok_or(UrlFault::NotAbsolute)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() {
            return Err(UrlFault::NotAbsolute);
        }
        if authority.contains('@') || !url.username().is_empty() || url.password().is_some() {
            return Err(UrlFault::UserInfo);
        }
        url.set_fragment(None);
        if let Some(host) = url.domain().and_then(|host| host.strip_suffix('.')).map(str::to_owned) {
            url.set_host(Some(&host)).map_err(|_| UrlFault::NotAbsolute)?;
        }
        if url.domain().is_some_and(|host| host.is_empty() || host.ends_with('.') || host.contains('*')) {
            return Err(UrlFault::NotAbsolute);
        }
        let path = plain_path(url.path()).ok_or(UrlFault::Path)?;
        url.set_path(&path);
        let is_stable = url.path() == path && path.split('/').all(|segment| !matches!(segment, "." | ".."));
        if is_stable { Ok(Self(url)) } else { Err(UrlFault::Path) }
    }

    /// The address to call.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.0
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// `scheme://host:port`, the port always named.
    #[must_use]
    pub fn origin(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        format!("{}://{host}:{}", self.0.scheme(), self.0.port_or_known_default().unwrap_or(0))
    }

    /// Origin and path, without the query.
    #[must_use]
    pub fn template(&self) -> String {
        format!("{}{}", self.origin(), self.0.path())
    }

    /// Whether the host is an address or a name of the local network by itself. Other
    /// names may lead there as well, which shows when they are looked up.
    #[must_use]
    pub fn is_lan(&self) -> bool {
        match self.0.host() {
            Some(Host::Ipv4(address)) => is_lan_address(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => is_lan_address(IpAddr::V6(address)),
            Some(Host::Domain(name)) => is_lan_name(name),
            None => true,
        }
    }
}

/// Whether an address belongs to this machine or its network, or is no address of one
/// host at all: everything that is not globally reachable unicast.
#[must_use]
pub fn is_lan_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_lan_v4(address),
        IpAddr::V6(address) => is_lan_v6(address),
    }
}

/// The special-purpose registry of IANA for IPv4 (RFC 6890 and its updates).
fn is_lan_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113)
        || a >= 224
}

/// Only 2000::/3 is global unicast; what embeds an IPv4 address is as global as that.
fn is_lan_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_lan_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // 64:ff9b::/96, NAT64.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        // 2002::/16, 6to4.
        [0x2002, high, low, ..] => embedded(high, low),
        // 2001::/23 holds Teredo and other protocols; 2001:db8::/32 and 3fff::/20 are for documents.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => true,
        [0x3fff, second, ..] if second < 0x1000 => true,
        [first, ..] => first & 0xe000 != 0x2000,
    }
}

/// Names that are meant for a local network (RFC 6761, 6762, 8375, the reserved `internal`),
/// and names without a dot.
fn is_lan_name(name: &str) -> bool {
    const LOCAL: &[&str] = &["localhost", "local", "lan", "internal", "intranet", "home", "corp", "private"];
    let last = name.rsplit('.').next().unwrap_or(name);
    !name.contains('.') || LOCAL.contains(&last) || name.ends_with(".home.arpa")
}

/// The path with unreserved characters as themselves and capital hex digits; `None` when
/// its encoding hides what a server may act on.
fn plain_path(path: &str) -> Option<String> {
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        let digits = rest.get(at + 1..at + 3)?;
        let byte = u8::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        match byte {
            b'/' | b'\\' | b'%' | 0..=0x1f | 0x7f => return None,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => plain.push(char::from(byte)),
            _ => plain.push_str(&format!("%{byte:02X}")),
        }
        rest = &rest[at + 3..];
    }
    plain.push_str(rest);
    // Some servers drop what follows a semicolon, so `..;x` is a dot segment to them.
    let hides_dots = plain.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")));
    (!hides_dots).then_some(plain)
}

/// One entry of `urls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    host: HostPattern,
    /// With the placeholder for a host if that is wild.
    base: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Exact,
    /// Every name beneath.
    Beneath(String),
    Any,
}

/// Stands for a wild host while the rest is read; the name can never be looked up (RFC 6761).
const PLACEHOLDER: &str = "wildcard.invalid";

impl Pattern {
    /// Reads an entry; `None` when it is none: with a query, a fragment, or a `*` elsewhere.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        if rest.contains(['?', '#']) {
            return None;
        }
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if path.contains('*') {
            return None;
        }
        let (host, port) = match authority.strip_prefix('*') {
            None => (HostPattern::Exact, None),
            Some(after) => {
                let (name, port) = after.split_once(':').map_or((after, None), |(name, port)| (name, Some(port)));
                let host = match name.strip_prefix('.') {
                    Some(name) => {
                        let beneath = Target::parse(&format!("{scheme}://{name}/")).ok()?;
                        HostPattern::Beneath(beneath.0.domain().filter(|name| name.contains('.'))?.to_owned())
                    }
                    None if name.is_empty() => HostPattern::Any,
                    None => return None,
                };
                (host, port)
            }
        };
        let base = match (&host, port) {
            (HostPattern::Exact, _) => Target::parse(text).ok()?,
            (_, Some(port)) => Target::parse(&format!("{scheme}://{PLACEHOLDER}:{port}{path}")).ok()?,
            (_, None) => Target::parse(&format!("{scheme}://{PLACEHOLDER}{path}")).ok()?,
        };
        Some(Self { host, base })
    }

    /// Whether the host is not fixed.
    #[must_use]
    pub fn is_wild(&self) -> bool {
        self.host != HostPattern::Exact
    }

    /// Whether `target` is one of those that the entry stands for.
    #[must_use]
    pub fn matches(&self, target: &Target) -> bool {
        let path = self.base.0.path();
        self.matches_origin(target)
            && (target.0.path() == path || (path.ends_with('/') && target.0.path().starts_with(path)))
    }

    fn matches_origin(&self, target: &Target) -> bool {
        let host = match &self.host {
            HostPattern::Exact => self.base.0.host() == target.0.host(),
            HostPattern::Any => target.0.host().is_some(),
            HostPattern::Beneath(name) => target
                .0
                .domain()
                .and_then(|domain| domain.strip_suffix(name.as_str()))
                .is_some_and(|before| before.len() > 1 && before.ends_with('.')),
        };
        host && self.base.0.scheme() == target.0.scheme()
            && self.base.0.port_or_known_default() == target.0.port_or_known_default()
    }

    /// Whether the entry leaves nothing but the query open.
    fn is_fixed(&self) -> bool {
        !self.is_wild() && !self.base.0.path().ends_with('/')
    }
}

/// Whether `scope` of `http:call` holds the address; its method is not looked at.
#[must_use]
pub fn allows(scope: &Scope, target: &Target) -> bool {
    (scope.flag("lan") || !target.is_lan())
        && scope.texts("urls").iter().any(|url| Pattern::parse(url).is_some_and(|pattern| pattern.matches(target)))
}

/// Whether `scope` of `http:call` holds method and address. The address that a name leads
/// to is checked when it is called: see [`is_lan_address`].
#[must_use]
pub fn url_allowed(scope: &Scope, method: &str, target: &Target) -> bool {
    scope.texts("methods").iter().any(|listed| listed == method) && allows(scope, target)
}

/// Whether the manifest names this very address, so that nobody chose it.
pub(crate) fn is_fixed(declared: &Scope, target: &Target) -> bool {
    declared
        .texts("urls")
        .iter()
        .filter_map(|url| Pattern::parse(url))
        .any(|pattern| pattern.is_fixed() && pattern.matches(target))
}

/// Whether `target` has the origin that `text` names; `*` stands for any.
pub(crate) fn is_origin(text: &str, target: &Target) -> bool {
    if text == "*" {
        return true;
    }
    Pattern::parse(text).is_some_and(|pattern| pattern.matches_origin(target))
}
