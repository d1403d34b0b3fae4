//! What a scope covers, and what it does not.

use super::web::{Target, UrlFault, is_lan_address, url_allowed};
use super::*;
use serde_json::json;

fn scope(urls: &[&str], lan: bool) -> Scope {
    let texts = |texts: &[&str]| ScopeValue::Texts(texts.iter().map(|text| (*text).to_owned()).collect());
    Scope::default().with("urls", texts(urls)).with("methods", texts(&["GET"])).with("lan", ScopeValue::Flag(lan))
}

fn allowed(urls: &[&str], lan: bool, url: &str) -> bool {
    Target::parse(url).is_ok_and(|target| url_allowed(&scope(urls, lan), "GET", &target))
}

#[test]
fn an_address_has_one_form() {
    for (text, form) in [
        ("HTTPS://Example.ORG:443/a/./b/../c?q#f", "https://example.org/a/c?q"),
        ("http://example.org:80", "http://example.org/"),
        ("https://example.org./x", "https://example.org/x"),
        ("https://münchen.example/", "https://xn--mnchen-3ya.example/"),
        ("https://example.org/%61%2D%7e%c3%a4", "https://example.org/a-~%C3%A4"),
        ("https://example.org/a/%2e%2e/b", "https://example.org/b"),
        ("https://0x7f.1/", "https://127.0.0.1/"),
        ("https://2130706433/", "https://127.0.0.1/"),
        ("https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/"),
    ] {
        assert_eq!(Target::parse(text).unwrap().as_str(), form, "{text}");
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for (text, fault) in [
        ("example.org/x", UrlFault::NotAbsolute),
        ("https:example.org", UrlFault::NotAbsolute),
        ("https:///example.org", UrlFault::NotAbsolute),
        ("//example.org/", UrlFault::NotAbsolute),
        ("ftp://example.org/", UrlFault::Scheme),
        ("file:///etc/passwd", UrlFault::Scheme),
        ("javascript:alert(1)", UrlFault::Scheme),
        ("https://user@example.org/", UrlFault::UserInfo),
        ("https://user:pass@example.org/", UrlFault::UserInfo),
        ("https://@example.org/", UrlFault::UserInfo),
        ("https://good.example@evil.example/", UrlFault::UserInfo),
        ("https://example.org\\@evil.example/", UrlFault::Characters),
        ("https://exam\tple.org/", UrlFault::Characters),
        (" https://example.org/", UrlFault::Characters),
        ("https://example.org/a b", UrlFault::Characters),
        ("https://example.org/a%2fb", UrlFault::Path),
        ("https://example.org/a%5Cb", UrlFault::Path),
        ("https://example.org/%252e%252e/b", UrlFault::Path),
        ("https://example.org/a/..;/b", UrlFault::Path),
        ("https://example.org/a%00", UrlFault::Path),
        ("https://example.org/a%zz", UrlFault::Path),
        ("https://example.org/a%2", UrlFault::Path),
        ("https://*/", UrlFault::NotAbsolute),
    ] {
        assert_eq!(Target::parse(text), Err(fault), "{text}");
    }
    assert_eq!(Target::parse(&format!("https://a.example/{}", "x".repeat(9_000))), Err(UrlFault::TooLong));
}

#[test]
fn a_pattern_holds_its_origin_and_path() {
    let prefix = ["https://api.example/v1/"];
    for (url, is_allowed) in [
        ("https://api.example/v1/", true),
        ("https://api.example/v1/a/b?c", true),
        ("https://API.example:443/v1/x", true),
        ("https://api.example/%761/x", true),
        ("https://api.example/v1", false),
        ("https://api.example/v10/", false),
        ("https://api.example/v1/../admin", false),
        ("https://api.example/v1/%2e%2e/admin", false),
        ("https://api.example/v1/..%2fadmin", false),
        ("https://api.example/V1/", false),
        ("http://api.example/v1/", false),
        ("https://api.example:8443/v1/", false),
        ("https://api.example.evil.example/v1/", false),
        ("https://evil.example/https://api.example/v1/", false),
        ("https://xapi.example/v1/", false),
    ] {
        assert_eq!(allowed(&prefix, false, url), is_allowed, "{url}");
    }
    let exact = ["https://api.example/v1/forecast"];
    assert!(allowed(&exact, false, "https://api.example/v1/forecast?days=3"));
    assert!(!allowed(&exact, false, "https://api.example/v1/forecast/x"));
    assert!(!allowed(&exact, false, "https://api.example/v1/forecastx"));
    let target = Target::parse("https://api.example/v1/forecast").unwrap();
    assert!(!url_allowed(&scope(&exact, false), "POST", &target), "the method counts");
    for no_pattern in [
        "https://a.example/?q",
        "https://a.example/#f",
        "https://a*.example/",
        "https://a.example/*",
        "*",
        "https://*.com/",
        "",
    ] {
        assert_eq!(Pattern::parse(no_pattern), None, "{no_pattern}");
        assert!(!allowed(&[no_pattern], true, "https://a.example/"), "{no_pattern}");
    }
    assert!(allowed(&["https://*.example.org:8443/a/"], false, "https://x.y.example.org:8443/a/b"));
    assert!(!allowed(&["https://*.example.org/"], false, "https://example.org/"), "only names beneath");
    assert!(!allowed(&["https://*/"], false, "http://a.example/"), "the scheme is fixed");
}

#[test]
fn the_local_network_needs_its_flag() {
    for lan in [
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://192.168.1.1/",
        "https://172.16.0.1/",
        "https://169.254.169.254/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://[::1]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:a00:1::]/",
        "https://224.0.0.1/",
        "https://localhost/",
        "https://a.localhost/",
        "https://router.local/",
        "https://nas.lan/",
        "https://x.home.arpa/",
        "https://server/",
        "https://a.internal/",
        "https://0177.1/",
        "https://255.255.255.255/",
    ] {
        assert!(!allowed(&["https://*/"], false, lan), "{lan}");
        assert!(allowed(&["https://*/"], true, lan), "{lan}");
    }
    for global in ["https://1.1.1.1/", "https://[2606:4700::1111]/", "https://example.org/", "https://172.32.0.1/"] {
        assert!(allowed(&["https://*/"], false, global), "{global}");
    }
    assert!(is_lan_address("::".parse().unwrap()));
}

#[test]
fn levels_entities_and_recipients_are_held_to_their_scope() {
    fn within(permission: Permission, scope: &Scope, usage: Usage<'_>) -> bool {
        Considered::new(permission, usage).is_within(scope)
    }
    let level = |level: &str| Scope::default().with("level", ScopeValue::Text(level.into()));
    let read = |level| Usage { level: Some(level), ..Usage::default() };
    for (allowed, used, is_within) in [
        ("utterance", "args", true),
        ("utterance", "utterance", true),
        ("utterance", "history:1", false),
        ("history:3", "history:3", true),
        ("history:3", "history:4", false),
        ("history:3", "history:03", true),
        ("history:3", "history:-1", false),
        ("history:3", "history:99999999999999999999", false),
        ("history:3", "everything", false),
        ("everything", "args", false),
    ] {
        let found = within(Permission::TranscriptRead, &level(allowed), read(used));
        assert_eq!(found, is_within, "{used} with {allowed}");
    }
    assert!(within(Permission::TranscriptRead, &Scope::default(), read("args")), "silence in a manifest is the least");
    assert!(!within(Permission::TranscriptRead, &Scope::default(), read("utterance")));

    let texts = |texts: &[&str]| ScopeValue::Texts(texts.iter().map(|text| (*text).to_owned()).collect());
    let lights =
        Scope::default().with("domains", texts(&["light", "switch"])).with("entities", texts(&["light.*", "switch.a"]));
    for (entity, is_within) in [
        ("light.kitchen", true),
        ("switch.a", true),
        ("switch.b", false),
        ("lock.front", false),
        ("light.", false),
        (".kitchen", false),
        ("light", false),
        ("light.kitchen.x", false),
        ("light.Kitchen", false),
        ("light.*", false),
        ("*", false),
    ] {
        let usage = Usage { entity: Some(entity), ..Usage::default() };
        assert_eq!(within(Permission::DeviceControl, &lights, usage), is_within, "{entity}");
    }
    let ada = Scope::default().with("recipients", texts(&["ada"]));
    let to = |people: &[&str]| people.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for (people, is_within) in [(to(&["ada"]), true), (to(&["ada", "eve"]), false), (to(&[]), false)] {
        let usage = Usage { recipients: &people, ..Usage::default() };
        assert_eq!(within(Permission::MessageSend, &ada, usage), is_within, "{people:?}");
    }
}

#[test]
fn scopes_come_back_from_json_and_from_words() {
    let map = json!({ "urls": ["https://a.example/"], "methods": ["GET"], "lan": true, "per_minute": 5 });
    let map = map.as_object().unwrap();
    let scope = Scope::from_json(Permission::HttpCall, map).unwrap();
    assert_eq!(scope.to_json(), *map);
    let words = ["urls=https://a.example/", "methods=GET", "lan=true", "per_minute=5"];
    assert_eq!(Scope::from_words(Permission::HttpCall, words).unwrap(), scope);
    let two = Scope::from_words(Permission::BusPublish, ["topics=a,b", "topics=c"]).unwrap();
    assert_eq!(two.texts("topics"), ["a", "b", "c"]);
    for (bad, says) in [
        ("urls", "write key=value"),
        ("max=3", "has no scope `max`; use: urls, methods, lan, per_minute, max_bytes"),
        ("per_minute=0", "is a number from 1 to 600"),
        ("per_minute=many", "is a number from 1 to 600"),
        ("lan=yes", "is true or false"),
        ("urls=", "1 to 100 texts"),
    ] {
        let error = Scope::from_words(Permission::HttpCall, [bad]).unwrap_err().to_string();
        assert!(error.contains(says), "{bad}: {error}");
    }
}
