//! Where the user lets a native skill connect to: scheme, host and port. The system
//! can hold a program to ports only, so the list of ports is what the sandbox gets,
//! and the list of hosts is what the program may have resolved.

use anyhow::{Context as _, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// A list of origins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<String, BTreeSet<u16>>);

impl Origins {
    /// Adds the origin of an address.
    ///
    /// # Errors
    /// It names no host or no port.
    pub fn add(&mut self, address: &url::Url) -> anyhow::Result<()> {
        let Some(host) = address.host_str() else { bail!("`{address}` names no host") };
        let port = match (address.port_or_known_default(), address.scheme()) {
            (Some(port), _) => port,
            (None, "mqtt") => 1883,
            (None, scheme) => bail!("`{scheme}` has no port of its own, write one: {scheme}://{host}:1234"),
        };
        self.0.entry(normal(host)).or_default().insert(port);
        Ok(())
    }

    /// Reads an address and adds its origin.
    ///
    /// # Errors
    /// It is no address, see [`Self::add`].
    pub fn add_text(&mut self, address: &str) -> anyhow::Result<url::Url> {
        let address = url::Url::parse(address).with_context(|| format!("`{address}` is no address"))?;
        self.add(&address)?;
        Ok(address)
    }

    /// Whether an origin on that host is in the list.
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        self.0.contains_key(&normal(host))
    }

    /// All ports.
    #[must_use]
    pub fn ports(&self) -> BTreeSet<u16> {
        self.0.values().flatten().copied().collect()
    }
}

/// Addresses of a host, none when it cannot be resolved in time.
pub async fn resolve(host: &str, limit: Duration) -> Vec<IpAddr> {
    let host = normal(host);
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return vec![address];
    }
    match tokio::time::timeout(limit, tokio::net::lookup_host((host.as_str(), 0))).await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            addresses.dedup();
            addresses.truncate(16);
            addresses
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "a host does not resolve");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_host_and_port() {
        let mut origins = Origins::default();
        for address in ["http://Home.local:8123/x", "https://home.local", "ws://10.0.0.1", "mqtt://broker"] {
            origins.add_text(address).unwrap();
        }
        assert_eq!(origins.ports().into_iter().collect::<Vec<_>>(), [80, 443, 1883, 8123]);
        assert!(origins.names("HOME.local.") && origins.names("broker") && !origins.names("local"));
        for bad in ["", "home", "file:///etc", "gopher2://x", "mqtt:"] {
            assert!(origins.add_text(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn an_address_resolves_to_itself_and_nonsense_to_nothing() {
        let limit = Duration::from_secs(10);
        assert_eq!(resolve("127.0.0.1", limit).await, [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!(resolve("[::1]", limit).await.len(), 1);
        assert!(resolve("no such host", limit).await.is_empty());
    }
}
