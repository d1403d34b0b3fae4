//! Whether one scope lies within another, key by key.
//!
//! Where a key's meaning leaves room, the answer is the narrow one: a question too many
//! does no harm. A key that is not known here is covered only by the same value.

use crate::permission::{Permission, Scope, ScopeKey, ScopeKind, ScopeValue};
use url::Url;

/// Whether whatever `wanted` allows under `key` is allowed by `held` too.
#[must_use]
pub fn covers(permission: Permission, key: &ScopeKey, held: &Scope, wanted: &Scope) -> bool {
    match key.kind {
        ScopeKind::Limit { .. } => match (held.limit(permission, key.name), wanted.limit(permission, key.name)) {
            (Some(held), Some(wanted)) => wanted <= held,
            (None, Some(_)) | (_, None) => false,
        },
        ScopeKind::Flag => is_set(held, key.name) || !is_set(wanted, key.name),
        ScopeKind::Text => {
            let (held, wanted) = (text(held, key.name), text(wanted, key.name));
            held == wanted || is_lower_level(permission, held, wanted)
        }
        // An absent list allows nothing, so it is covered by any.
        ScopeKind::Texts => wanted.texts(key.name).iter().all(|wanted| {
            held.texts(key.name).iter().any(|held| held == wanted || text_covers(permission, key.name, held, wanted))
        }),
    }
}

fn text<'a>(scope: &'a Scope, key: &str) -> Option<&'a str> {
    match scope.get(key) {
        Some(ScopeValue::Text(text)) => Some(text),
        _ => None,
    }
}

fn is_set(scope: &Scope, key: &str) -> bool {
    matches!(scope.get(key), Some(ScopeValue::Flag(true)))
}

/// A permission without a level has the lowest one.
fn is_lower_level(permission: Permission, held: Option<&str>, wanted: Option<&str>) -> bool {
    let rank = |text: Option<&str>| match permission {
        Permission::TranscriptRead => match text {
            None | Some("args") => Some(0),
            Some("utterance") => Some(1),
            Some(text) => {
                let n_turns = text.strip_prefix("history:")?;
                let plain = (1..=3).contains(&n_turns.len()) && n_turns.bytes().all(|byte| byte.is_ascii_digit());
                let n_turns = plain.then(|| n_turns.parse::<u32>().ok()).flatten()?;
                (n_turns > 0).then_some(n_turns + 1)
            }
        },
        Permission::EventStoreRead => match text {
            None | Some("own") => Some(0),
            Some("session") => Some(1),
            Some("all") => Some(2),
            Some(_) => None,
        },
        _ => None,
    };
    matches!((rank(held), rank(wanted)), (Some(held), Some(wanted)) if wanted <= held)
}

fn text_covers(permission: Permission, key: &str, held: &str, wanted: &str) -> bool {
    match (permission, key) {
        (Permission::HttpCall, "urls") => url_covers(held, wanted),
        (Permission::DeviceControl, "entities") => entity_covers(held, wanted),
        (Permission::MessageSend | Permission::DataDelete, "recipients") => held == "*",
        _ => false,
    }
}

/// Same scheme and port, a host that is the same or below the held `*.`, and a path
/// below the held one, which must end with `/` to stand for more than itself.
fn url_covers(held: &str, wanted: &str) -> bool {
    let (Ok(held), Ok(wanted)) = (Url::parse(held), Url::parse(wanted)) else { return false };
    let plain = |url: &Url| {
        url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && !url.cannot_be_a_base()
            // What is escaped may be read as another path by the server.
            && !url.path().contains(['%', '\\', '*'])
    };
    if !plain(&held) || !plain(&wanted) || held.scheme() != wanted.scheme() {
        return false;
    }
    if held.port_or_known_default() != wanted.port_or_known_default() {
        return false;
    }
    let (Some(held_host), Some(wanted_host)) = (held.host_str(), wanted.host_str()) else { return false };
    let (held_path, wanted_path) = (held.path(), wanted.path());
    let is_below = held_path == wanted_path || (held_path.ends_with('/') && wanted_path.starts_with(held_path));
    host_covers(held_host, wanted_host) && is_below
}

/// `*` holds every host, `*.a.org` all names below `a.org`.
fn host_covers(held: &str, wanted: &str) -> bool {
    if held == wanted || held == "*" {
        return true;
    }
    let Some(parent) = held.strip_prefix("*.").filter(|parent| !parent.contains('*')) else { return false };
    let literal = wanted.strip_prefix("*.").unwrap_or(wanted);
    // `*.b.a.org` lies below `*.a.org`; `*.a.org` itself was compared before.
    !literal.contains('*')
        && literal.strip_suffix(parent).and_then(|above| above.strip_suffix('.')).is_some_and(|above| !above.is_empty())
}

/// `*` holds all, `light.*` holds what has the domain `light`.
fn entity_covers(held: &str, wanted: &str) -> bool {
    if held == "*" {
        return true;
    }
    let Some(domain) = held.strip_suffix(".*").filter(|domain| !domain.contains(['*', '.'])) else { return false };
    let name = wanted.strip_prefix(domain).and_then(|rest| rest.strip_prefix('.'));
    name.is_some_and(|name| !name.is_empty() && !name.contains(['*', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_holds_what_lies_below_it() {
        for (held, wanted, expected) in [
            ("https://a.org/v1/", "https://a.org/v1/", true),
            ("https://a.org/v1/", "https://a.org/v1/x", true),
            ("https://a.org", "https://a.org:443/x", true),
            ("https://*.a.org/", "https://b.a.org/x", true),
            ("https://*.a.org/", "https://c.b.a.org/", true),
            ("https://*.a.org/", "https://*.b.a.org/", true),
            ("https://*/", "https://a.org/", true),
            ("https://*.b.a.org/", "https://*.a.org/", false),
            ("https://a.org/", "https://*/", false),
            ("https://a.org/v1", "https://a.org/v1x", false),
            ("https://a.org/v1", "https://a.org/v1/x", false),
            ("https://a.org/v1/", "https://a.org/", false),
            ("https://a.org/v1/", "https://a.org/v1/../", false),
            ("https://a.org/v1/", "https://a.org/v1/%2e%2e/", false),
            ("https://a.org/v1/", "https://a.org/v1/..%2f", false),
            ("https://a.org/", "http://a.org/", false),
            ("https://a.org/", "https://a.org:8443/", false),
            ("https://a.org/", "https://b.a.org/", false),
            ("https://a.org/", "https://a.org.evil.net/", false),
            ("https://a.org/", "https://a.org@evil.net/", false),
            ("https://*.a.org/", "https://a.org/", false),
            ("https://b.a.org/", "https://*.a.org/", false),
            ("https://*.a.org/", "https://evila.org/", false),
            ("https://a.org/v1/*", "https://a.org/v1/x", false),
        ] {
            assert_eq!(url_covers(held, wanted), expected, "{held} holds {wanted}");
        }
    }

    #[test]
    fn entities_hold_what_their_wildcards_say() {
        for (held, wanted, expected) in [
            ("*", "lock.front", true),
            ("light.*", "light.hall", true),
            ("light.*", "light.*", false),
            ("light.*", "lights.hall", false),
            ("light.*", "*", false),
            ("light.hall", "light.*", false),
        ] {
            assert_eq!(entity_covers(held, wanted), expected, "{held} holds {wanted}; the same text is held before");
        }
    }
}
