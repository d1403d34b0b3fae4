//! Requests, streams, bounds, and what a broken connection does to them.

use crate::support::{LIMIT, TestServer, eventually, may};
use bytes::Bytes;
use loqa_bus::{BusError, Permissions};
use loqa_protocol::{ErrorCode, InstanceId, header};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_request_is_answered_with_its_headers() {
    let test = TestServer::start().await;
    let hub = test.join("hub", Permissions::hub()).await;
    let operator = test.join("operator", Permissions::operator()).await;
    let mut asked = hub.subscribe("loqa.hub.ask", None, 8).await.unwrap();
    hub.flush().await.unwrap();
    let serve = tokio::spawn(async move {
        let message = asked.next().await.unwrap();
        assert_eq!(message.header(header::SEQ), Some("7"));
        assert!(message.reply_belongs_to("operator"));
        assert!(!message.reply_belongs_to("oper"), "a prefix of a name is another name");
        let question: Value = message.json().unwrap();
        hub.respond(message.reply.as_deref().unwrap(), &json!({ "answer": question["n"] })).await.unwrap();
        hub.flush().await.unwrap();
    });
    let answer = operator
        .request_bytes("loqa.hub.ask", &[(header::SEQ, "7")], Bytes::from_static(b"{\"n\":42}"), LIMIT)
        .await
        .unwrap();
    assert_eq!(answer.json::<Value>().unwrap(), json!({ "answer": 42 }));
    serve.await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_told_at_once_and_not_by_the_deadline() {
    let test = TestServer::start().await;
    let hub = test.join("hub", Permissions::hub()).await;
    let asked = Instant::now();
    let error = hub.request::<_, Value>("loqa.work.stt.whisper", &json!({}), LIMIT).await.unwrap_err();
    assert!(matches!(error, BusError::NoResponders { .. }), "{error}");
    assert_eq!(error.code(), ErrorCode::EngineMissing);
    let mut stream = hub.open_stream("loqa.work.stt.whisper", &json!({})).await.unwrap();
    assert!(matches!(stream.next(LIMIT).await, Err(BusError::NoResponders { .. })));
    assert!(asked.elapsed() < LIMIT / 4, "took {:?}", asked.elapsed());
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let test = TestServer::start().await;
    let hub = test.join("hub", Permissions::hub()).await;
    let engine = test.join("e-1", may(&[], &["loqa.work.stt.whisper"])).await;
    let _listening = engine.subscribe("loqa.work.stt.whisper", None, 8).await.unwrap();
    engine.flush().await.unwrap();
    let short = Duration::from_millis(50);
    let error = hub.request::<_, Value>("loqa.work.stt.whisper", &json!({}), short).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::DeadlineExceeded, "{error}");
    let mut stream = hub.open_stream("loqa.work.stt.whisper", &json!({})).await.unwrap();
    assert!(matches!(stream.next(short).await, Err(BusError::DeadlineExceeded { .. })));
}

#[tokio::test]
async fn a_stream_arrives_whole_and_in_order() {
    let test = TestServer::start().await;
    let hub = test.join("hub", Permissions::hub()).await;
    let instance = InstanceId::new("e-1").unwrap();
    let engine = test.join("e-1", Permissions::engine(&instance, "tts.kokoro")).await;
    let mut work = engine.subscribe("loqa.work.tts.kokoro", Some("workers"), 8).await.unwrap();
    engine.flush().await.unwrap();
    let serve = tokio::spawn(async move {
        let message = work.next().await.unwrap();
        let reply = message.reply.unwrap();
        for n in 0..500 {
            engine.respond(&reply, &json!(n)).await.unwrap();
        }
        engine.flush().await.unwrap();
        engine
    });
    let mut stream = hub.open_stream("loqa.work.tts.kokoro", &json!({})).await.unwrap();
    for n in 0..500 {
        assert_eq!(stream.next(LIMIT).await.unwrap().json::<i32>().unwrap(), n);
    }
    assert_eq!(serve.await.unwrap().refusals(), 0, "every answer was permitted");
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_about_the_gap() {
    let test = TestServer::start().await;
    let hub = test.join("hub", Permissions::hub()).await;
    let mut events = hub.subscribe("loqa.event.*", None, 10).await.unwrap();
    let instance = InstanceId::new("e-1").unwrap();
    let engine = test.join("e-1", Permissions::engine(&instance, "llm.reflex")).await;
    let mut work = engine.subscribe("loqa.work.llm.reflex", Some("workers"), 8).await.unwrap();
    engine.flush().await.unwrap();
    let mut stream = hub.open_stream("loqa.work.llm.reflex", &json!({})).await.unwrap();
    let reply = work.next().await.unwrap().reply.unwrap();
    for n in 0..3_000 {
        engine.respond(&reply, &json!(n)).await.unwrap();
        hub.publish("loqa.event.s-1", &json!(n)).await.unwrap();
    }
    engine.flush().await.unwrap();
    eventually("the events are counted", || events.dropped() == 2_990).await;
    assert_eq!(events.next().await.unwrap().json::<i32>().unwrap(), 0, "the oldest are kept");
    let error = loop {
        match stream.next(LIMIT).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, BusError::Overflow { .. }), "{error}");
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_sent() {
    let test = TestServer::start().await;
    let hub = test.join("hub", Permissions::hub()).await;
    let huge = Bytes::from(vec![0; 1024 * 1024 + 1]);
    for error in [
        hub.publish_bytes("loqa.event.s-1", &[], huge.clone()).await.unwrap_err(),
        hub.request_bytes("loqa.work.stt.x", &[], huge.clone(), LIMIT).await.unwrap_err(),
        hub.try_publish_bytes("loqa.event.s-1", &[], huge).unwrap_err(),
    ] {
        assert!(matches!(error, BusError::TooLarge { size: 1_048_577, .. }), "{error}");
        assert_eq!(error.code(), ErrorCode::BadRequest);
    }
    assert!(hub.is_connected(), "the connection survives");
}

#[tokio::test]
async fn bad_subjects_headers_and_reply_addresses_never_reach_the_wire() {
    let test = TestServer::start().await;
    let hub = test.join("hub", Permissions::hub()).await;
    for subject in ["", "loqa.event.a b", "loqa.event.\r\nPUB x 0"] {
        let error = hub.publish(subject, &1).await.unwrap_err();
        assert!(matches!(error, BusError::InvalidSubject(_)), "{subject:?}: {error}");
    }
    for reply in [
        "loqa.engine.control.e-1",
        "_INBOX",
        "_INBOX.",
        "_INBOX.x",
        "_INBOX..x",
        "_INBOX.x.>",
        "_INBOX.*.x",
        "_INBOX.x.y z",
        "$SYS.REQ",
        "",
    ] {
        assert!(hub.respond(reply, &1).await.is_err(), "{reply:?} is no inbox");
    }
    for (name, value) in [("Loqa-Seq", "1\r\nX: y"), ("Bad Name", "x"), ("", "x")] {
        let error = hub.publish_bytes("loqa.event.s-1", &[(name, value)], Bytes::new()).await;
        assert!(matches!(error, Err(BusError::Encode { .. })), "{name:?}");
    }
    assert_eq!(hub.refusals(), 0, "the server saw nothing of it");
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_not_quoted() {
    let test = TestServer::start().await;
    let hub = test.join("hub", Permissions::hub()).await;
    let mut events = hub.subscribe("loqa.event.*", None, 10).await.unwrap();
    hub.publish("loqa.event.s-1", &"my secret words").await.unwrap();
    let error = events.next().await.unwrap().json::<u32>().unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    assert_eq!(error.code(), ErrorCode::BadRequest);
}

#[tokio::test]
async fn a_foreign_reply_address_is_dropped_on_arrival() {
    let test = TestServer::start().await;
    let hub = test.join("hub", Permissions::hub()).await;
    let mut hellos = hub.subscribe("loqa.engine.hello", None, 8).await.unwrap();
    hub.flush().await.unwrap();
    let credentials = test
        .server
        .add_identity("e-9", Permissions::engine(&InstanceId::new("e-9").unwrap(), "stt.whisper"))
        .await
        .unwrap();
    let mut wire = crate::support::Wire::login(&credentials).unwrap();
    wire.send("PUB loqa.engine.hello loqa.engine.control.e-1 2\r\n{}\r\n");
    wire.send("PUB loqa.engine.hello _INBOX.e-9.engine.hello.x 2\r\n{}\r\n");
    assert!(wire.verdict());
    assert_eq!(hellos.next().await.unwrap().reply, None, "the hub is nobody's deputy");
    assert!(hellos.next().await.unwrap().reply.is_some());
}
