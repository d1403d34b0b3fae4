//! Where a server may be: on this machine or in its network, unless the user allowed
//! more. Names are resolved here, on every connection, so that a name cannot point
//! outside later.

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A checked base address.
#[derive(Debug, Clone)]
pub struct Endpoint {
    url: Url,
}

/// Why an address is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the endpoint `{endpoint}` {problem}")]
pub struct EndpointError {
    endpoint: String,
    problem: String,
}

impl Endpoint {
    /// Reads `http://host:port/path`; without a path it is Ollama's `/v1`.
    pub fn parse(text: &str, allow_remote: bool) -> Result<Self, EndpointError> {
        // The text may hold a password: only what comes after an `@` is repeated.
        let shown = text.rsplit('@').next().unwrap_or(text).to_owned();
        let refuse = |problem: &str| EndpointError { endpoint: shown.clone(), problem: problem.to_owned() };
        let mut url =
            Url::parse(text).map_err(|_| refuse("is no web address; it looks like `http://127.0.0.1:11434/v1`"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("must begin with `http://` or `https://`"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("must not hold a password; use the setting `api_key`"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("must end with its path, without `?` or `#`"));
        }
        let host = url.host_str().ok_or_else(|| refuse("names no host"))?;
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if let Ok(address) = literal
            && !allow_remote
            && !is_near(address)
        {
            return Err(refuse(
                "is outside this machine and its network; set `allow_remote` to send what is said there",
            ));
        }
        if url.path() == "/" {
            url.set_path("/v1/");
        } else if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Self { url })
    }

    /// The address of one call.
    #[must_use]
    pub fn join(&self, path: &str) -> Url {
        self.url.join(path).unwrap_or_else(|_| self.url.clone())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

/// This machine, private ranges, link-local, and the shared range that home VPNs use.
#[must_use]
pub fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let shared = u32::from(v4) & 0xffc0_0000 == u32::from(Ipv4Addr::new(100, 64, 0, 0));
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Resolves names with the system and refuses addresses that are too far.
#[derive(Debug, Clone, Copy)]
pub struct LanResolver {
    /// Whether any address will do.
    pub allow_remote: bool,
}

impl Resolve for LanResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_remote = self.allow_remote;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if !allow_remote && found.iter().any(|address| !is_near(address.ip())) {
                let text = format!("`{}` is outside this machine and its network, see `allow_remote`", name.as_str());
                return Err(text.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_base_addresses() {
        for (text, expected) in [
            ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1/models"),
            ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1/models"),
            ("http://[::1]:8080/api/v1/", "http://[::1]:8080/api/v1/models"),
            ("https://box.local/v1", "https://box.local/v1/models"),
        ] {
            let endpoint = Endpoint::parse(text, false).expect("near");
            assert_eq!(endpoint.join("models").as_str(), expected);
        }
    }

    #[test]
    fn what_cannot_be_an_endpoint_is_refused_without_its_secrets() {
        for (text, word) in [
            ("127.0.0.1:11434", "no web address"),
            ("ftp://127.0.0.1", "must begin with"),
            ("http://me:secret@127.0.0.1/v1", "password"),
            ("http://127.0.0.1/v1?key=1", "without `?`"),
            ("http://8.8.8.8/v1", "outside this machine"),
            ("http://[2001:4860::8888]/v1", "outside this machine"),
            ("http://0x08080808/v1", "outside this machine"),
        ] {
            let text = Endpoint::parse(text, false).expect_err("refused").to_string();
            assert!(text.contains(word) && !text.contains("secret"), "{text}");
        }
        assert!(Endpoint::parse("https://8.8.8.8/v1", true).is_ok(), "allowed by the user");
    }

    #[test]
    fn near_is_this_machine_and_its_network() {
        for near in [
            "127.0.0.1",
            "::1",
            "192.168.1.5",
            "10.0.0.1",
            "172.16.0.1",
            "169.254.1.1",
            "fe80::1",
            "fd00::1",
            "100.64.0.1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_near(near.parse().expect("an address")), "{near}");
        }
        for far in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "::ffff:8.8.8.8", "0.0.0.0"] {
            assert!(!is_near(far.parse().expect("an address")), "{far}");
        }
    }
}
