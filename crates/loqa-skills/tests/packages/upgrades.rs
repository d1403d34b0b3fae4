//! Figure R22: 100,000 pairs of versions, no silent widening. `LOQA_TEST_N` gives the number.
//!
//! The oracle knows nothing of scopes: it has a list of concrete deeds and asks of both
//! versions, by rules written anew here, which of them each may do. A version that may do
//! one deed more than the old one and still replaces it silently is a failure, and so is a
//! question about a version that was made narrower step by step.

use crate::archive::{Numbers, n_cases};
use loqa_protocol::tool::ToolEffect;
use loqa_skills::permission::{Permission, Requested, Scope, ScopeKind, ScopeValue};
use loqa_skills::upgrade::{Decision, Edition, Refusal, decide};
use std::collections::BTreeMap;

const URLS: &[&str] = &[
    "https://a.org/",
    "https://a.org/v1/",
    "https://a.org/v1",
    "https://a.org/v1/x",
    "https://a.org:8443/",
    "http://a.org/",
    "https://*.a.org/",
    "https://b.a.org/",
    "https://c.b.a.org/",
    "https://*.b.a.org/",
    "https://*/",
    "https://evila.org/",
    "https://a.org.evil.net/",
    "https://b.a.org/v1/",
];
/// Concrete addresses, none of them a pattern.
const CALLS: &[&str] = &[
    "https://a.org:443/",
    "https://a.org:443/v1",
    "https://a.org:443/v1/",
    "https://a.org:443/v1/x",
    "https://a.org:443/v1/x/y",
    "https://a.org:443/v1x",
    "https://a.org:8443/x",
    "http://a.org:80/x",
    "https://b.a.org:443/",
    "https://b.a.org:443/v1/z",
    "https://c.b.a.org:443/",
    "https://evila.org:443/",
    "https://a.org.evil.net:443/",
    "https://other.net:443/",
    "https://d.c.b.a.org:443/q",
];
const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE"];
const WORDS: &[&str] = &["a", "b", "status", "a.b", "state.kitchen"];
const ENTITIES: &[&str] = &["light.hall", "light.*", "switch.fan", "lock.front", "*", "lights.x", "lock.*"];
const DEVICES: &[&str] =
    &["light.hall", "light.attic", "switch.fan", "lock.front", "lock.back", "lights.x", "cover.roof"];
const LEVELS: &[&str] = &["args", "utterance", "history:1", "history:5", "history:20", "own", "session", "all"];
const TEXTS: &[&str] = &["key", "other", "https://a.org", "https://b.org", "offline", "network", "light", "lock"];

/// What a list of a permission may hold.
fn list_of(permission: Permission, key: &str) -> &'static [&'static str] {
    match (permission, key) {
        (_, "urls") => URLS,
        (_, "methods") => METHODS,
        (_, "entities") => ENTITIES,
        (_, "recipients") => &["ada", "bob", "*"],
        (_, "domains") => &["light", "switch", "lock", "lights"],
        _ => WORDS,
    }
}

fn any_text(numbers: &mut Numbers, key: &str) -> String {
    let of = if key == "level" { LEVELS } else { TEXTS };
    (*numbers.pick(of)).to_owned()
}

fn any_scope(numbers: &mut Numbers, permission: Permission) -> Scope {
    let mut scope = Scope::default();
    for key in permission.scope_keys() {
        if !key.required && numbers.one_in(3) {
            continue;
        }
        let value = match key.kind {
            ScopeKind::Limit { ceiling, .. } => ScopeValue::Limit(1 + numbers.next() % ceiling),
            ScopeKind::Flag => ScopeValue::Flag(numbers.one_in(2)),
            ScopeKind::Text => ScopeValue::Text(any_text(numbers, key.name)),
            ScopeKind::Texts => {
                let of = list_of(permission, key.name);
                ScopeValue::Texts((0..=numbers.below(3)).map(|_| (*numbers.pick(of)).to_owned()).collect())
            }
        };
        scope = scope.with(key.name, value);
    }
    scope
}

fn any_permissions(numbers: &mut Numbers) -> Vec<Requested> {
    let mut permissions = Vec::new();
    for permission in Permission::ALL.iter().copied() {
        if numbers.one_in(4) {
            permissions.push(Requested { permission, scope: any_scope(numbers, permission), reason: "why".into() });
        }
    }
    permissions
}

/// Something close to the old one: wider, narrower or beside it.
fn neighbour(numbers: &mut Numbers, old: &[Requested]) -> Vec<Requested> {
    let mut new = old.to_vec();
    for _ in 0..=numbers.below(2) {
        if new.is_empty() || numbers.one_in(6) {
            return any_permissions(numbers);
        }
        let idx = numbers.below(new.len());
        if numbers.one_in(5) {
            new.remove(idx);
            continue;
        }
        let requested = &mut new[idx];
        let keys = requested.permission.scope_keys();
        if keys.is_empty() {
            continue;
        }
        let key = &keys[numbers.below(keys.len())];
        let other = any_scope(numbers, requested.permission);
        if let Some(value) = other.get(key.name) {
            requested.scope = requested.scope.clone().with(key.name, value.clone());
        }
    }
    new
}

/// Narrower by construction: entries of lists and permissions are left out, numbers are lowered.
fn narrower(numbers: &mut Numbers, old: &[Requested]) -> Vec<Requested> {
    let mut new: Vec<Requested> = old.iter().filter(|_| !numbers.one_in(5)).cloned().collect();
    for requested in &mut new {
        for key in requested.permission.scope_keys() {
            let value = match (key.kind, requested.scope.get(key.name)) {
                (ScopeKind::Limit { .. }, _) => {
                    let limit = requested.scope.limit(requested.permission, key.name).unwrap();
                    ScopeValue::Limit(1 + numbers.next() % limit)
                }
                (_, Some(ScopeValue::Texts(texts))) => {
                    ScopeValue::Texts(texts[..1 + numbers.below(texts.len())].iter().rev().cloned().collect())
                }
                (_, Some(ScopeValue::Flag(flag))) => ScopeValue::Flag(*flag && numbers.one_in(2)),
                _ => continue,
            };
            requested.scope = requested.scope.clone().with(key.name, value);
        }
    }
    new
}

/// Every deed that a list of permissions allows, as words.
fn deeds(permissions: &[Requested]) -> Vec<String> {
    let mut deeds = Vec::new();
    for Requested { permission, scope, .. } in permissions {
        let list = |key: &str| scope.texts(key).to_vec();
        let word = |key: &str| match scope.get(key) {
            Some(ScopeValue::Text(text)) => text.clone(),
            _ => String::new(),
        };
        deeds.push(format!("{permission}"));
        for key in permission.scope_keys() {
            if let ScopeKind::Limit { default, ceiling } = key.kind {
                let limit = match scope.get(key.name) {
                    Some(ScopeValue::Limit(limit)) => (*limit).min(ceiling),
                    _ => default,
                };
                // A number as the deeds below it: every power of two and the limit itself.
                let steps =
                    (0..63).map(|bit| 1_u64 << bit).chain((0..=64).map(|part| ceiling * part / 64)).chain([default]);
                deeds.extend(
                    steps
                        .filter(|step| (1..=limit).contains(step))
                        .map(|step| format!("{permission} {} {step}", key.name)),
                );
                deeds.push(format!("{permission} {} limit {}", key.name, usize::from(limit > 0)));
            }
        }
        match permission {
            Permission::HttpCall => {
                for call in CALLS {
                    for method in list("methods") {
                        if list("urls").iter().any(|pattern| reaches(pattern, call)) {
                            deeds.push(format!("{method} {call}"));
                            if matches!(scope.get("lan"), Some(ScopeValue::Flag(true))) {
                                deeds.push(format!("{method} {call} at home"));
                            }
                        }
                    }
                }
            }
            Permission::DeviceControl => {
                for device in DEVICES {
                    let domain = device.split('.').next().unwrap();
                    let named = list("entities")
                        .iter()
                        .any(|entity| entity == "*" || entity == device || *entity == format!("{domain}.*"));
                    // The domain is one text or a list of them, depending on the permission's table.
                    let in_domain = list("domains").iter().any(|listed| listed == domain) || word("domain") == domain;
                    let has_domain_key = permission.scope_keys().iter().any(|key| key.name.starts_with("domain"));
                    if named && (in_domain || !has_domain_key) {
                        deeds.push(format!("switch {device}"));
                    }
                }
            }
            Permission::MessageSend | Permission::DataDelete => {
                for who in ["ada", "bob", "eve"] {
                    if list("recipients").iter().any(|listed| listed == who || listed == "*") {
                        deeds.push(format!("{permission} {who}"));
                    }
                }
            }
            Permission::TranscriptRead => {
                let level = word("level");
                let n_turns = level.strip_prefix("history:").and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
                if level == "utterance" || n_turns > 0 {
                    deeds.push("hear the utterance".into());
                }
                deeds.extend((1..=n_turns).map(|n| format!("hear {n} turns back")));
            }
            Permission::EventStoreRead => {
                let level = word("level");
                if level == "session" || level == "all" {
                    deeds.push("see the session".into());
                }
                if level == "all" {
                    deeds.push("see all".into());
                }
            }
            Permission::SecretUse => deeds.push(format!("use {} at {}", word("name"), word("origin"))),
            Permission::NativeExec => deeds.push(format!("run as {}", word("profile"))),
            Permission::BusPublish | Permission::BusSubscribe => {
                deeds.extend(list("topics").iter().map(|topic| format!("{permission} {topic}")));
            }
            _ => {}
        }
    }
    deeds
}

/// Whether a pattern reaches an address, both taken apart by hand.
fn reaches(pattern: &str, call: &str) -> bool {
    let parts = |text: &str| {
        let (scheme, rest) = text.split_once("://").unwrap();
        let (authority, path) = rest.split_once('/').unwrap();
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host.to_owned(), port.to_owned()),
            None => (authority.to_owned(), if scheme == "https" { "443" } else { "80" }.to_owned()),
        };
        (scheme.to_owned(), host, port, format!("/{path}"))
    };
    let (scheme, host, port, path) = parts(pattern);
    let (call_scheme, call_host, call_port, call_path) = parts(call);
    let host_fits = host == "*"
        || host == call_host
        || (host.starts_with("*.") && call_host.len() > host.len() - 1 && call_host.ends_with(&host[1..]));
    let path_fits = path == call_path || (path.ends_with('/') && call_path.starts_with(&path));
    scheme == call_scheme && port == call_port && host_fits && path_fits
}

/// One pair. `publisher` and `version` fit, so that the permissions alone decide.
fn is_silent(old: &[Requested], new: &[Requested]) -> bool {
    let (one, two) = (semver::Version::new(1, 0, 0), semver::Version::new(1, 1, 0));
    let (key, tools) = ("00".repeat(32), BTreeMap::new());
    let old =
        Edition { name: "test", version: &one, digest: "old", publisher: Some(&key), permissions: old, tools: &tools };
    let new = Edition { version: &two, digest: "new", permissions: new, ..old };
    decide(&old, &new) == Decision::Replace
}

/// The fault of the control: lists and texts compared as texts, one contained in the other.
fn is_silent_by_text(old: &[Requested], new: &[Requested]) -> bool {
    new.iter().all(|new| {
        old.iter().any(|old| {
            old.permission == new.permission
                && new.permission.scope_keys().iter().all(|key| {
                    let text = |requested: &Requested| format!("{:?}", requested.scope.get(key.name));
                    text(old).starts_with(text(new).trim_end_matches(['"', ']', ')']))
                })
        })
    })
}

struct Tally {
    n_silent: u64,
    n_widenings: u64,
    first: Option<String>,
}

fn run(n: u64, is_silent: fn(&[Requested], &[Requested]) -> bool) -> Tally {
    let mut numbers = Numbers(22);
    let mut tally = Tally { n_silent: 0, n_widenings: 0, first: None };
    for pair in 0..n {
        let old = any_permissions(&mut numbers);
        let new = neighbour(&mut numbers, &old);
        if !is_silent(&old, &new) {
            continue;
        }
        tally.n_silent += 1;
        let may = deeds(&old);
        if let Some(deed) = deeds(&new).into_iter().find(|deed| !may.contains(deed)) {
            tally.n_widenings += 1;
            tally.first.get_or_insert(format!("pair {pair}: `{deed}` is new\nold {old:?}\nnew {new:?}"));
        }
    }
    tally
}

#[test]
fn no_version_that_may_do_more_replaces_another_silently() {
    let n = n_cases(5_000);
    let Tally { n_silent, n_widenings, first } = run(n, is_silent);
    println!("{n} pairs: {n_silent} silent, {n_widenings} silent widenings");
    assert_eq!(n_widenings, 0, "{}", first.unwrap_or_default());
    assert!(n_silent * 20 > n, "only {n_silent} of {n} were silent, so the other side is hardly tried");
}

#[test]
fn comparing_scopes_as_texts_is_caught() {
    let Tally { n_widenings, .. } = run(5_000, is_silent_by_text);
    assert!(n_widenings > 0, "the oracle misses what a comparison of texts lets through");
}

#[test]
fn a_narrower_version_needs_no_question() {
    let mut numbers = Numbers(23);
    for pair in 0..n_cases(5_000) {
        let old = any_permissions(&mut numbers);
        let new = narrower(&mut numbers, &old);
        assert!(is_silent(&old, &new), "pair {pair}\nold {old:?}\nnew {new:?}");
    }
}

#[test]
fn a_tool_that_says_it_does_less_harm_is_shown() {
    let (one, two) = (semver::Version::new(1, 0, 0), semver::Version::new(1, 1, 0));
    let tools = |effect| BTreeMap::from([("test.run".to_owned(), effect)]);
    let (sensitive, safe) = (tools(ToolEffect::Sensitive), tools(ToolEffect::Safe));
    let old = Edition {
        name: "test",
        version: &one,
        digest: "old",
        publisher: Some("k"),
        permissions: &[],
        tools: &sensitive,
    };
    let new = Edition { version: &two, digest: "new", tools: &safe, ..old };
    assert!(matches!(decide(&old, &new), Decision::Ask(differences) if differences.len() == 1));
    assert_eq!(decide(&Edition { tools: &safe, ..old }, &Edition { tools: &sensitive, ..new }), Decision::Replace);
    assert_eq!(decide(&old, &Edition { name: "rest", ..new }), Decision::Refuse(Refusal::OtherSkill));
}
