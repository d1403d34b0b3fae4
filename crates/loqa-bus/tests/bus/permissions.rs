//! What the server itself lets an identity do: the verdict comes from nats-server,
//! the expectation from the protocol's own subjects and an independent matcher.

use crate::support::{LIMIT, TestServer, Wire};
use loqa_bus::{Bus, BusError, Credentials, Permissions};
use loqa_protocol::InstanceId;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Tokens that generated subjects are made of: all words of the protocol, two
/// instances, and what an attacker would try.
const TOKENS: &[&str] = &[
    "loqa",
    "engine",
    "hello",
    "announce",
    "heartbeat",
    "control",
    "work",
    "stt",
    "whisper",
    "llm",
    "tts",
    "kokoro",
    "reflex",
    "audio",
    "event",
    "hub",
    "ask",
    "nodes",
    "nonce",
    "e-1",
    "e-2",
    "w-1",
    "s-1",
    "_INBOX",
    "operator",
    "flush",
    "supervisor",
    "x",
    "LOQA",
    "$SYS",
    "$JS",
    "API",
    "REQ",
];

/// Subjects that are worth more than chance, as whole patterns.
const ESCAPES: &[&str] = &[
    ">",
    "*",
    "*.>",
    "loqa.>",
    "loqa.*",
    "loqa.*.*",
    "loqa.engine.>",
    "loqa.engine.*",
    "loqa.engine.control.>",
    "loqa.engine.control.*",
    "loqa.engine.control.e-2",
    "loqa.audio.>",
    "loqa.audio.*.*",
    "loqa.audio.e-2.*",
    "loqa.audio.e-2.w-1",
    "loqa.work.>",
    "loqa.work.*.*",
    "loqa.work.stt.*",
    "loqa.work.tts.kokoro",
    "loqa.work.stt.whisper",
    "loqa.event.>",
    "loqa.event.*",
    "loqa.hub.>",
    "loqa.hub.*",
    "loqa.hub.ask",
    "loqa.hub.nodes",
    "loqa.hub.nonce",
    "_INBOX.>",
    "_INBOX.*",
    "_INBOX.*.>",
    "_INBOX.hub.>",
    "_INBOX.hub.x",
    "_INBOX.e-2.>",
    "_INBOX.e-2.x",
    "_INBOX.operator.>",
    "_INBOX.supervisor.>",
    "_INBOX.e-1",
    "_INBOX.e-1x.>",
    "$SYS.>",
    "$SYS.REQ.SERVER.PING",
    "$SYS.ACCOUNT.>",
    "$JS.API.>",
    "$JS.API.INFO",
    "$KV.>",
    "$MQTT.>",
    "LOQA.>",
    "Loqa.hub.ask",
    "loqa.HUB.ask",
    "loqa",
    "loqa.hub",
    "loqa..hub",
    "loqa.hub.ask.x",
    "loqa.engine.hello.x",
    "loqa.engine.heartbeat.>",
    "*.engine.hello",
    "loqa.*.hello",
    "*.*.*",
    "loqa.audio.e-1.*.x",
    "loqa.audio.e-1.>",
    "loqa.engine.control.e-1.>",
    "loqa.work.stt.whisper.x",
];

struct Profile {
    name: &'static str,
    credentials: Credentials,
    publish: Vec<&'static str>,
    /// Pattern and, where only members may hear, the queue group.
    subscribe: Vec<(&'static str, Option<&'static str>)>,
}

async fn profiles(test: &TestServer) -> Vec<Profile> {
    let instance = InstanceId::new("e-1").unwrap();
    let add = async |name: &str, permissions| test.server.add_identity(name, permissions).await.unwrap();
    vec![
        Profile {
            name: "engine",
            credentials: add("e-1", Permissions::engine(&instance, "stt.whisper")).await,
            publish: vec![
                "loqa.engine.hello",
                "loqa.engine.announce",
                "loqa.engine.heartbeat",
                "_INBOX.e-1.flush.*",
                "_INBOX.*.engine.control.e-1.*",
                "_INBOX.*.audio.e-1.*.*",
                "_INBOX.*.work.stt.whisper.*",
                "_INBOX.*.work.stt.whisper.e-1.*",
            ],
            subscribe: vec![
                ("loqa.engine.control.e-1", None),
                ("loqa.audio.e-1.*", None),
                ("loqa.work.stt.whisper", Some("workers")),
                ("loqa.work.stt.whisper.e-1", None),
                ("_INBOX.e-1.>", None),
            ],
        },
        Profile {
            name: "operator",
            credentials: add("operator", Permissions::operator()).await,
            publish: vec!["loqa.hub.ask", "loqa.hub.nodes", "_INBOX.operator.flush.*"],
            subscribe: vec![("loqa.event.*", None), ("_INBOX.operator.>", None)],
        },
        Profile {
            name: "hub",
            credentials: add("hub", Permissions::hub()).await,
            publish: vec![
                "loqa.engine.control.*",
                "loqa.work.*.*",
                "loqa.work.*.*.*",
                "loqa.audio.*.*",
                "loqa.event.*",
                "loqa.skill.*.call",
                "loqa.hub.nonce",
                "_INBOX.hub.flush.*",
                "_INBOX.*.skill.*.host.*",
                "_INBOX.*.engine.hello.*",
                "_INBOX.*.engine.announce.*",
                "_INBOX.*.engine.heartbeat.*",
                "_INBOX.*.hub.ask.*",
                "_INBOX.*.hub.nodes.*",
                "_INBOX.*.hub.nonce.*",
                "_INBOX.*.event.*.*",
            ],
            subscribe: vec![
                ("loqa.engine.hello", None),
                ("loqa.engine.announce", None),
                ("loqa.engine.heartbeat", None),
                ("loqa.skill.*.host", None),
                ("loqa.hub.ask", None),
                ("loqa.hub.nodes", None),
                ("loqa.hub.nonce", None),
                ("loqa.event.*", None),
                ("_INBOX.hub.>", None),
            ],
        },
    ]
}

#[tokio::test]
async fn the_server_refuses_everything_that_the_protocol_does_not_give() {
    const GENERATED: usize = 2_000;
    let test = TestServer::start().await;
    let mut random = StdRng::seed_from_u64(0x10_9a);
    let mut refused = 0;
    let mut allowed = 0;
    for profile in profiles(&test).await {
        let mut wire = Wire::login(&profile.credentials).unwrap();
        let escapes = ESCAPES.iter().map(|pattern| (*pattern).to_owned());
        let generated: Vec<_> = (0..GENERATED).map(|_| generate(&mut random)).collect();
        let own = profile.publish.iter().chain(profile.subscribe.iter().map(|(pattern, _)| pattern));
        let own: Vec<_> = own.map(|pattern| pattern.replace('>', "a.b").replace('*', "w-1")).collect();
        for subject in escapes.chain(generated).chain(own) {
            // The server takes wildcards in a PUB for literal tokens, which no
            // subscription to a literal subject hears; only literal subjects matter.
            if !subject.contains(['*', '>']) && is_literal(&subject) {
                let expected = profile.publish.iter().any(|pattern| covers(pattern, &subject));
                let verdict = wire.may_publish(&subject);
                assert_eq!(verdict, expected, "{} publishing to `{subject}`", profile.name);
                *(if verdict { &mut allowed } else { &mut refused }) += 1;
            }
            if !is_pattern(&subject) {
                continue;
            }
            for queue in [None, Some("workers"), Some("others")] {
                let expected = profile
                    .subscribe
                    .iter()
                    .any(|(pattern, group)| covers(pattern, &subject) && (group.is_none() || *group == queue));
                let verdict = wire.may_subscribe(&subject, queue);
                assert_eq!(verdict, expected, "{} subscribing to `{subject}` in {queue:?}", profile.name);
                *(if verdict { &mut allowed } else { &mut refused }) += 1;
            }
        }
    }
    assert!(refused > 5_000 && allowed > 50, "the test decides both ways: {allowed} of {refused}");
}

#[tokio::test]
async fn without_a_known_key_nobody_gets_in() {
    let test = TestServer::start().await;
    let known = test.server.add_identity("operator", Permissions::operator()).await.unwrap();
    let strange = Credentials { seed: nkeys::KeyPair::new_user().seed().unwrap(), ..known.clone() };
    assert!(Wire::login(&strange).is_none(), "a key that the server does not know");
    let error = Bus::connect(&strange).await.err().unwrap();
    assert!(matches!(error, BusError::Unauthorized { .. }), "{error}");

    let mut anonymous = Wire::open(&known.url);
    assert!(anonymous.line().contains("\"auth_required\":true"));
    anonymous.send("CONNECT {\"verbose\":false}\r\n");
    assert!(!anonymous.verdict(), "nobody is let in without a key");
}

#[tokio::test]
async fn adding_an_identity_disturbs_no_stream_that_is_under_way() {
    let test = TestServer::start().await;
    let hub = test.join("hub", Permissions::hub()).await;
    let engine = test.join("e-1", Permissions::engine(&InstanceId::new("e-1").unwrap(), "tts.kokoro")).await;
    let mut work = engine.subscribe("loqa.work.tts.kokoro", Some("workers"), 8).await.unwrap();
    engine.flush().await.unwrap();
    let mut stream = hub.open_stream("loqa.work.tts.kokoro", &()).await.unwrap();
    let reply = work.next().await.unwrap().reply.unwrap();
    for n in 0..5 {
        engine.respond(&reply, &n).await.unwrap();
        assert_eq!(stream.next(LIMIT).await.unwrap().json::<i32>().unwrap(), n);
        let name = format!("e-1{n}");
        let other = InstanceId::new(name.clone()).unwrap();
        test.server.add_identity(&name, Permissions::engine(&other, "llm.reflex")).await.unwrap();
        test.server.remove_identity(&name).await.unwrap();
    }
    for bus in [&hub, &engine] {
        assert_eq!(bus.connection().borrow().epoch, 0, "no connection broke");
        assert_eq!(bus.refusals(), 0);
    }
}

#[tokio::test]
async fn a_removed_identity_is_out_at_once() {
    let test = TestServer::start().await;
    let credentials = test.server.add_identity("operator", Permissions::operator()).await.unwrap();
    let mut wire = Wire::login(&credentials).unwrap();
    test.server.remove_identity("operator").await.unwrap();
    assert!(!wire.verdict(), "its connection is closed");
    assert!(Wire::login(&credentials).is_none(), "and it does not come back");
    test.server.remove_identity("operator").await.unwrap();
}

#[tokio::test]
async fn names_and_lists_that_widen_or_break_the_configuration_are_refused() {
    let test = TestServer::start().await;
    test.server.add_identity("operator", Permissions::operator()).await.unwrap();
    let wide = Permissions { publish: vec!["loqa.>".to_owned()], ..Permissions::operator() };
    let cases = [
        ("operator", Permissions::operator()),
        ("supervisor", Permissions::operator()),
        ("a.b", Permissions::operator()),
        ("x\" } ] }", Permissions::operator()),
        ("wide", wide),
    ];
    for (name, permissions) in cases {
        let error = test.server.add_identity(name, permissions).await.unwrap_err();
        assert!(matches!(error, BusError::InvalidIdentity { .. }), "{name}: {error}");
    }
    assert!(test.server.remove_identity("supervisor").await.is_err());
    test.server.add_identity("after", Permissions::operator()).await.unwrap();
}

fn generate(random: &mut StdRng) -> String {
    let length = random.random_range(1..=6);
    let mut tokens: Vec<&str> = (0..length)
        .map(|_| match random.random_range(0..10) {
            0 => "*",
            _ => TOKENS[random.random_range(0..TOKENS.len())],
        })
        .collect();
    // Most chance subjects would die at the first token.
    match random.random_range(0..10) {
        0..=5 => tokens[0] = "loqa",
        6..=8 => tokens[0] = "_INBOX",
        _ => {}
    }
    if random.random_range(0..6) == 0 {
        tokens.push(">");
    }
    tokens.join(".")
}

fn is_literal(subject: &str) -> bool {
    subject.split('.').all(|token| !token.is_empty())
}

fn is_pattern(subject: &str) -> bool {
    let tokens: Vec<_> = subject.split('.').collect();
    let last = tokens.len() - 1;
    tokens.iter().enumerate().all(|(n, token)| !token.is_empty() && (*token != ">" || n == last))
}

/// Whether everything that `subject` (a pattern or a literal) can match is matched by
/// `pattern`. Written from the NATS rules, apart from the product's code.
fn covers(pattern: &str, subject: &str) -> bool {
    let mut wide = pattern.split('.');
    let mut narrow = subject.split('.');
    loop {
        match (wide.next(), narrow.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) => return true,
            // The server compares a subscription's `>` like any token, so a last `*`
            // lets `>` through. What it opens lies below the same literal prefix.
            (Some("*"), Some(_)) => {}
            (Some(own), Some(token)) if own == token => {}
            _ => return false,
        }
    }
}
