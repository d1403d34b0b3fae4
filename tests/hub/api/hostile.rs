//! Requests that mean no good, written byte by byte: whatever they are, they change nothing
//! and learn nothing.

use super::{Api, QUIET};
use futures_util::StreamExt as _;
use loqa_api::guard::{Check, Checks};
use loqa_tests::PATIENCE;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends bytes and returns what comes back. With `patient`, a second answer is waited for
/// after the first one: a smuggled request would have one.
async fn raw(address: SocketAddr, bytes: &[u8], patient: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may close before everything is sent.
    let _closed = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut piece = [0u8; 16 * 1024];
    loop {
        let quiet = if answer.is_empty() || !patient { PATIENCE } else { Duration::from_millis(300) };
        match tokio::time::timeout(quiet, stream.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) | Err(_) => return answer,
            Ok(Ok(n_bytes)) => answer.extend_from_slice(&piece[..n_bytes]),
        }
        if !patient {
            // Nothing more comes from here, so the server closes.
            let _closed = stream.shutdown().await;
        }
    }
}

/// The status codes in what came back; pipelined requests have several.
fn statuses(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer);
    let codes = text.match_indices("HTTP/1.1 ").map(|(at, found)| &text[at + found.len()..]);
    codes.filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

/// What a request is made of.
struct Attack {
    name: String,
    bytes: Vec<u8>,
}

/// The effect that every attack wants: a turn with a word that nothing else says.
const CANARY: &str = "zanzibar";

fn turn_body() -> String {
    format!("{{\"text\":\"set a {CANARY} timer for nine minutes\"}}")
}

fn request(method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() && !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

/// Every attack on a server at this port, whose token is `token` and whose last one was `old`.
fn attacks(port: u16, token: &str, old: &str) -> Vec<Attack> {
    let mut attacks = Vec::new();
    let host = format!("127.0.0.1:{port}");
    let bearer = format!("Bearer {token}");
    let json = ("Content-Type", "application/json");
    let body = turn_body();
    let mut add = |name: String, bytes: Vec<u8>| attacks.push(Attack { name, bytes });

    // A page that got another name to lead here. Even with the token, which it cannot have.
    let foreign_hosts = [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("127.0.0.1.evil.example:{port}"),
        format!("localhost.evil.example:{port}"),
        "127.0.0.1".to_owned(),
        "127.0.0.1:1".to_owned(),
        "localhost".to_owned(),
        format!("0.0.0.0:{port}"),
        format!("[::]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("[::ffff:7f00:1]:{port}"),
        format!("127.1:{port}"),
        format!("127.0.0.2:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f000001:{port}"),
        format!("0177.0.0.1:{port}"),
        format!("user@127.0.0.1:{port}"),
        format!("127.0.0.1:{port}@evil.example"),
        format!("127.0.0.1:{port}#"),
        format!("127.0.0.1:{port}, evil.example"),
        format!("127.0.0.1.:{port}"),
        format!("127.0.0.1:0{port}"),
        format!("192.168.1.2:{port}"),
        format!("169.254.169.254:{port}"),
        format!("loqa.local:{port}"),
    ];
    for foreign in &foreign_hosts {
        let fields = [("Host", foreign.as_str()), ("Authorization", &bearer), json];
        add(format!("host {foreign}, turn"), request("POST", "/v1/turns", &fields, &body));
        add(format!("host {foreign}, read"), request("GET", "/v1/sessions", &fields[..2], ""));
        let target = format!("http://{foreign}/v1/status");
        let fields = [("Host", host.as_str()), ("Authorization", &bearer)];
        // Behind a `#` stands no part of an address: that one asks for the page at `/`.
        if !target.contains('#') {
            add(format!("target {target}"), request("GET", &target, &fields, ""));
        }
    }
    add("no host".into(), request("GET", "/v1/status", &[("Authorization", &bearer)], ""));
    let twice = [("Host", host.as_str()), ("Host", host.as_str()), ("Authorization", &bearer)];
    add("two hosts".into(), request("GET", "/v1/status", &twice, ""));
    let other = [("Host", host.as_str()), ("Host", "evil.example"), ("Authorization", &bearer)];
    add("two different hosts".into(), request("GET", "/v1/status", &other, ""));
    let fields = [("Host", host.as_str()), ("Authorization", &bearer)];
    add("another scheme".into(), request("GET", &format!("https://{host}/v1/status"), &fields, ""));
    add("no version".into(), format!("GET /v1/status\r\nAuthorization: {bearer}\r\n\r\n").into_bytes());
    add("connect".into(), request("CONNECT", &host, &fields, ""));
    add("connect elsewhere".into(), request("CONNECT", "evil.example:443", &fields, ""));

    // A page of another origin, as a browser would send it.
    for origin in [
        "null",
        "http://evil.example",
        "https://evil.example",
        "http://localhost",
        "http://127.0.0.1",
        "http://127.0.0.1:3000",
        "http://localhost:8080",
        "file://",
        "chrome-extension://abcdefgh",
        "http://127.0.0.1.evil.example",
        "",
    ] {
        let fields = [("Host", host.as_str()), ("Authorization", &bearer), ("Origin", origin), json];
        add(format!("origin `{origin}`, turn"), request("POST", "/v1/turns", &fields, &body));
        add(format!("origin `{origin}`, read"), request("GET", "/v1/audit", &fields[..3], ""));
        let simple = [("Host", host.as_str()), ("Origin", origin), ("Content-Type", "text/plain")];
        add(format!("origin `{origin}`, a form without token"), request("POST", "/v1/turns", &simple, &body));
        let socket = [
            ("Host", host.as_str()),
            ("Authorization", &bearer),
            ("Origin", origin),
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        add(format!("origin `{origin}`, WebSocket"), request("GET", "/v1/talk", &socket, ""));
        let ask = [("Host", host.as_str()), ("Origin", origin), ("Access-Control-Request-Method", "POST")];
        add(format!("origin `{origin}`, preflight"), request("OPTIONS", "/v1/turns", &ask, ""));
    }
    for site in ["cross-site", "same-site", "x"] {
        let fields = [("Host", host.as_str()), ("Authorization", &bearer), ("Sec-Fetch-Site", site), json];
        add(format!("fetch site {site}"), request("POST", "/v1/turns", &fields, &body));
    }

    // Without the token, or with something else in its place.
    let (upper, short) = (token.to_uppercase() + "X", &token[..63]);
    let basic = format!("Basic {token}");
    let (old, upper, short) = (format!("Bearer {old}"), format!("Bearer {upper}"), format!("Bearer {short}"));
    let two = format!("{bearer}, {bearer}");
    for (name, value) in [
        ("none", None),
        ("empty", Some("")),
        ("wrong", Some("Bearer 0000000000000000000000000000000000000000000000000000000000000000")),
        ("of the start before", Some(&*old)),
        ("almost", Some(&*upper)),
        ("cut", Some(&*short)),
        ("without scheme", Some(token)),
        ("basic", Some(&*basic)),
        ("twice in one", Some(&*two)),
        ("a word", Some("Bearer null")),
    ] {
        let mut fields = vec![("Host", host.as_str()), json];
        fields.extend(value.map(|value| ("Authorization", value)));
        add(format!("token {name}, turn"), request("POST", "/v1/turns", &fields, &body));
        add(format!("token {name}, read"), request("GET", "/v1/settings", &fields, ""));
        add(format!("token {name}, delete"), request("DELETE", "/v1/sessions/s-1", &fields, ""));
        let mut socket = fields.clone();
        socket.extend([("Connection", "Upgrade"), ("Upgrade", "websocket")]);
        socket.extend([("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]);
        add(format!("token {name}, WebSocket"), request("GET", "/v1/events", &socket, ""));
    }
    let twice = [("Host", host.as_str()), ("Authorization", &*bearer), ("Authorization", &*bearer)];
    add("two token headers".into(), request("GET", "/v1/status", &twice, ""));
    for target in [
        format!("/v1/status?token={token}"),
        format!("/v1/status?access_token={token}"),
        format!("/v1/status?authorization=Bearer%20{token}"),
        format!("/v1/{token}/status"),
        "/openapi.json/../v1/status".to_owned(),
        "/health/../v1/status".to_owned(),
        "//v1/status".to_owned(),
        "/v1//status".to_owned(),
        "/V1/status".to_owned(),
        "/v1/status;/health".to_owned(),
        "/v1/status%00".to_owned(),
        "/%76%31/status".to_owned(),
        "/page/..%2f..%2fapi.token".to_owned(),
        "/page/../../run/api.token".to_owned(),
        "*".to_owned(),
    ] {
        let place = target.replace(token, "TOKEN");
        add(format!("no token, {place}"), request("GET", &target, &[("Host", &host)], ""));
    }
    let cookie = format!("loqa_login={token}");
    let fields = [("Host", host.as_str()), ("Cookie", &cookie), ("Sec-Fetch-Site", "same-origin")];
    add("the token as a cookie".into(), request("GET", "/v1/status", &fields, ""));

    // Two ways to read where a request ends; the second one comes without a token.
    let inner = format!(
        "POST /v1/turns HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let head = format!("POST /v1/login HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n");
    for (name, framing) in [
        ("CL.TE", format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}", inner.len() + 5)),
        ("TE.CL", format!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{inner}")),
        ("TE twice", format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{inner}")),
        ("TE odd", format!("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{inner}")),
        ("TE with a space", format!("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{inner}")),
        ("TE folded", format!("Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{inner}")),
        ("CL twice", format!("Content-Length: 0\r\nContent-Length: {}\r\n\r\n{inner}", inner.len())),
        ("CL list", format!("Content-Length: 0, {}\r\n\r\n{inner}", inner.len())),
        ("CL signed", format!("Content-Length: +0\r\n\r\n{inner}")),
        ("CL negative", format!("Content-Length: -1\r\n\r\n{inner}")),
        ("CL huge", "Content-Length: 99999999999999999999\r\n\r\n".to_owned()),
        ("chunk size huge", format!("Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{inner}")),
        ("chunk size odd", format!("Transfer-Encoding: chunked\r\n\r\n0x5\r\n{inner}")),
        ("bare line feeds", format!("Content-Length: 0\n\n{inner}")),
        ("a null in a name", "X\0Y: 1\r\n\r\n".to_owned()),
        ("no colon", "X-Odd\r\n\r\n".to_owned()),
    ] {
        add(format!("framing {name}"), format!("{head}{framing}").into_bytes());
    }
    let mut one_zero = request("POST", "/v1/turns", &[("Host", &host), ("Transfer-Encoding", "chunked"), json], "");
    one_zero.extend(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).bytes());
    add("chunks without token".into(), one_zero);

    // With the token, but more than is taken.
    let authorized = [("Host", host.as_str()), ("Authorization", &*bearer), json];
    let large = format!("{{\"text\":\"{} {CANARY}\"}}", "x".repeat(300_000));
    add("large body".into(), request("POST", "/v1/turns", &authorized, &large));
    let long = "x".repeat(100_000);
    let fields = [("Host", host.as_str()), ("Authorization", &*bearer), ("X-Long", long.as_str())];
    add("large head".into(), request("GET", "/v1/status", &fields, ""));
    add("long target".into(), request("GET", &format!("/v1/{long}"), &authorized, ""));
    let many: Vec<(String, String)> = (0..500).map(|n| (format!("X-{n}"), "x".to_owned())).collect();
    let mut fields: Vec<(&str, &str)> = authorized.to_vec();
    fields.extend(many.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    add("many headers".into(), request("GET", "/v1/status", &fields, ""));
    for media_type in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/xml"]
    {
        let fields = [("Host", host.as_str()), ("Authorization", &*bearer), ("Content-Type", media_type)];
        add(format!("media type `{media_type}`"), request("POST", "/v1/turns", &fields, &body));
    }
    for method in ["GET", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "PROPFIND", "get", "POSTT"] {
        add(format!("method {method}"), request(method, "/v1/turns", &authorized, &body));
    }
    let override_ = [authorized[0], authorized[1], ("X-HTTP-Method-Override", "DELETE")];
    add("method override".into(), request("PUT", "/v1/sessions/s-1", &override_, ""));
    attacks
}

/// Attacks that got through: a status that is no refusal, or an effect.
async fn successes(api: &Api, old: &str) -> Vec<String> {
    let address = api.server.address();
    let mut bad = Vec::new();
    let attacks = attacks(address.port(), &api.token, old);
    assert!(attacks.len() >= 150, "{} attacks", attacks.len());
    let mut answers = futures_util::stream::iter(attacks)
        .map(async |Attack { name, bytes }| {
            let answer = raw(address, &bytes, name.starts_with("framing")).await;
            (name, answer)
        })
        .buffer_unordered(8);
    while let Some((name, answer)) = answers.next().await {
        let refused = statuses(&answer).iter().all(|status| (400..500).contains(status));
        let told = String::from_utf8_lossy(&answer).to_lowercase();
        let cors = told.contains("access-control-");
        if !refused || cors || told.contains("set-cookie") {
            bad.push(format!("{name}: {}", told.lines().next().unwrap_or_default()));
        }
    }
    let rows = serde_json::to_string(&api.get(&format!("/v1/search?q={CANARY}")).await).unwrap();
    if rows.contains(CANARY) {
        bad.push("a turn was run".to_owned());
    }
    bad
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_change_nothing_and_learn_nothing() {
    let before = Api::start(&QUIET).await;
    let old = before.token.clone();
    before.stop().await;
    let api = Api::start(&QUIET).await;
    assert_eq!(successes(&api, &old).await, Vec::<String>::new());
    // What is meant well still works, so the refusals meant the attacks.
    assert_eq!(api.ask("set a tea timer for ten minutes").await["failure"], serde_json::Value::Null);
    let failed = api.get("/v1/audit?kind=api.auth_fail&limit=500").await;
    let rows = failed["rows"].as_array().unwrap().len();
    assert!((1..=60).contains(&rows), "a flood of refusals has some rows and no flood of rows: {rows}");
    let row = serde_json::to_string(&failed).unwrap();
    assert!(!row.contains(CANARY) && !row.contains(&old), "and nothing of what was sent");
    api.stop().await;
}

/// The controls: without one check, its attacks get through.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_check_its_attacks_get_through() {
    for (check, word) in [(Check::Host, "host "), (Check::Origin, "origin "), (Check::Token, "token ")] {
        let api = Api::start_with(&QUIET, Checks::default().without(check)).await;
        let bad = successes(&api, &"0".repeat(64)).await;
        assert!(bad.iter().any(|name| name.starts_with(word)), "without {check:?}: {bad:?}");
        assert!(bad.iter().any(|name| name == "a turn was run"), "without {check:?}: {bad:?}");
        api.stop().await;
    }
}

/// A hundred clients that send a byte now and then hold nobody up.
#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_hold_nobody_up_and_are_let_go() {
    let api = Api::start(&QUIET).await;
    let address = api.server.address();
    let mut slow = Vec::new();
    for n in 0..100 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let part: &[u8] = match n % 4 {
            0 => b"",
            1 => b"GET /v1/status HTTP/1.1\r\nHost: 127",
            2 => b"GET /v1/status HTTP/1.1\r\n",
            _ => b"G",
        };
        stream.write_all(part).await.unwrap();
        slow.push(stream);
    }
    let mut times = Vec::new();
    for _ in 0..20 {
        let began = std::time::Instant::now();
        assert_eq!(api.get("/health").await["up"], true);
        assert_eq!(api.client.get(api.url("/health")).send().await.unwrap().status(), 200);
        times.push(began.elapsed());
    }
    times.sort();
    assert!(times[10] < Duration::from_secs(5), "{times:?}");
    // They are let go by the server, byte by byte or not.
    for stream in &mut slow {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a slow client is let go");
        assert!(statuses(&rest).iter().all(|status| *status >= 400), "{}", String::from_utf8_lossy(&rest));
    }
    // A body that does not come ends with the request's time; it holds only itself up.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let host = format!("127.0.0.1:{}", address.port());
    let head = format!(
        "POST /v1/turns HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        api.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(api.ask("list my timers").await["failure"], serde_json::Value::Null);
    drop(stream);
    api.stop().await;
}
