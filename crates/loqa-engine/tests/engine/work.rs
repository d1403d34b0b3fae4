//! Jobs: well done, cancelled, late, too many, damaged.

use crate::support::{LIMIT, TestHub, next};
use loqa_protocol::engine::{Control, ControlAnswer};
use loqa_protocol::llm::LlmReply;
use loqa_protocol::stt::SttReply;
use loqa_protocol::tts::TtsReply;
use loqa_protocol::{ErrorCode, Failure, WorkId, audio, header};
use serde_json::json;
use std::time::Instant;

#[tokio::test]
async fn an_utterance_becomes_partials_and_a_transcript() {
    let mut hub = TestHub::start().await;
    let script = json!({
        "transcripts": ["Set a timer for five minutes."], "partials": ["Set a", "Set a timer"], "partial_every_ms": 100
    });
    let engine = hub.engine("stt.whisper", script).await;
    let mut stream = hub.open(&engine, "w-1", json!({})).await;
    let instance = engine.instance.clone();
    assert_eq!(next::<SttReply>(&mut stream).await, SttReply::Accepted { instance });
    for seq in 0..15 {
        hub.frame(&engine, "w-1", seq, 320).await;
    }
    assert_eq!(hub.end_audio(&engine, "w-1", 15 * 320).await, json!({}));
    for text in ["Set a", "Set a timer"] {
        let SttReply::Partial { text: heard, .. } = next(&mut stream).await else { panic!("a partial") };
        assert_eq!(heard, text);
    }
    let SttReply::Final(last) = next(&mut stream).await else { panic!("the final transcript") };
    assert_eq!((last.text.as_str(), last.audio_ms), ("Set a timer for five minutes.", 300));
}

#[tokio::test]
async fn a_chat_becomes_deltas_and_a_tool_call() {
    let mut hub = TestHub::start().await;
    let script = json!({ "replies": [
        { "when": "timer", "tool_call": { "name": "timer.start", "arguments": { "seconds": 300 } }, "confidence": 0.8 },
        { "deltas": ["Hello", " there."] },
    ] });
    let engine = hub.engine("llm.reflex", script).await;
    let mut stream = hub.open(&engine, "w-1", json!({})).await;
    assert!(matches!(next(&mut stream).await, LlmReply::Accepted { .. }));
    for text in ["Hello", " there."] {
        assert_eq!(next::<LlmReply>(&mut stream).await, LlmReply::Delta { text: text.to_owned() });
    }
    assert!(matches!(next(&mut stream).await, LlmReply::Done(_)));

    let ask = json!({ "messages": [{ "role": "user", "content": "Start a TIMER" }] });
    let mut stream = hub.open(&engine, "w-2", ask).await;
    assert!(matches!(next(&mut stream).await, LlmReply::Accepted { .. }));
    let LlmReply::ToolCall { call, confidence } = next(&mut stream).await else { panic!("a tool call") };
    assert_eq!((call.name.as_str(), confidence), ("timer.start", 0.8));
    assert!(matches!(next(&mut stream).await, LlmReply::Done(_)));
}

#[tokio::test]
async fn a_clause_becomes_numbered_chunks_of_sound() {
    let mut hub = TestHub::start().await;
    let engine = hub.engine("tts.kokoro", json!({ "ms_per_char": 50, "chunk_ms": 100 })).await;
    let mut stream = hub.open(&engine, "w-1", json!({ "text": "Hello." })).await;
    assert!(matches!(next(&mut stream).await, TtsReply::Accepted { .. }));
    let mut samples = Vec::new();
    let mut chunks = 0;
    let done = loop {
        let message = stream.next(LIMIT).await.unwrap();
        if message.header(header::KIND) == Some(header::KIND_PCM) {
            assert_eq!(message.header(header::SEQ), Some(&*chunks.to_string()));
            samples.extend(audio::pcm_from_bytes(&message.payload).unwrap());
            chunks += 1;
        } else {
            break message.json::<TtsReply>().unwrap();
        }
    };
    let TtsReply::Done(done) = done else { panic!("the clause is complete") };
    assert_eq!((done.samples, done.chunks), (7_200, chunks), "six characters of 50 ms at 24 kHz");
    assert_eq!(samples.len(), 7_200);
    assert!(samples.iter().any(|sample| *sample > 5_000), "it is a sound and no silence");
}

#[tokio::test]
async fn a_cancel_is_answered_and_in_force_while_the_model_computes_on() {
    let mut hub = TestHub::start().await;
    // Deaf: the worker does not look at its cancel flag for as long as it computes.
    let script = json!({ "deaf": true, "replies": [{ "deltas": ["a", "b", "c", "d"], "delta_ms": 300 }] });
    let engine = hub.engine("llm.reflex", script).await;
    let mut stream = hub.open(&engine, "w-1", json!({})).await;
    assert!(matches!(next(&mut stream).await, LlmReply::Accepted { .. }));
    assert!(matches!(next(&mut stream).await, LlmReply::Delta { .. }));

    let asked = Instant::now();
    let answer = hub.order(&engine, &cancel("w-1")).await;
    let took = asked.elapsed();
    assert_eq!(answer, ControlAnswer::Cancelled);
    assert!(took.as_millis() < 500, "50 ms are promised, a loaded test machine gets ten times as much: {took:?}");
    let mut codes = Vec::new();
    while let Ok(message) = stream.next(std::time::Duration::from_millis(1_500)).await {
        match message.json().unwrap() {
            LlmReply::Failed { failure } => codes.push(failure.code),
            LlmReply::Delta { .. } if codes.is_empty() => {}
            other => panic!("after the end came {other:?}"),
        }
    }
    assert_eq!(codes, [ErrorCode::Cancelled], "one last message, nothing after it");
    assert_eq!(hub.order(&engine, &cancel("w-1")).await, ControlAnswer::NotRunning);
    assert_eq!(hub.order(&engine, &cancel("w-unknown")).await, ControlAnswer::NotRunning);
}

#[tokio::test]
async fn a_job_past_its_deadline_is_ended_by_the_engine() {
    let mut hub = TestHub::start().await;
    let engine = hub.engine("llm.reflex", json!({ "fault": "hang", "fault_once": true })).await;
    let mut stream = hub.open(&engine, "w-1", json!({ "deadline_ms": 100 })).await;
    assert!(matches!(next(&mut stream).await, LlmReply::Accepted { .. }));
    assert_eq!(failed_llm(next(&mut stream).await).code, ErrorCode::DeadlineExceeded);
    let mut stream = hub.open(&engine, "w-2", json!({})).await;
    assert!(matches!(next(&mut stream).await, LlmReply::Accepted { .. }));
    assert!(matches!(next(&mut stream).await, LlmReply::Delta { .. }), "the worker is free again");
}

#[tokio::test]
async fn a_full_queue_says_so_at_once_and_empties_in_order() {
    let mut hub = TestHub::start().await;
    let engine = hub.engine("tts.kokoro", json!({ "delay_ms": 50, "ms_per_char": 1 })).await;
    let mut accepted = Vec::new();
    let mut busy = 0;
    let mut opened = Vec::new();
    for n in 0..14 {
        opened.push(hub.open(&engine, &format!("w-{n}"), json!({})).await);
    }
    for mut stream in opened {
        match next(&mut stream).await {
            TtsReply::Accepted { .. } => accepted.push(stream),
            TtsReply::Failed { failure } => {
                assert_eq!(failure.code, ErrorCode::EngineBusy);
                busy += 1;
            }
            TtsReply::Done(_) => panic!("not accepted first"),
        }
    }
    assert!(busy >= 3 && accepted.len() >= 8, "{busy} were refused, {} accepted", accepted.len());
    for mut stream in accepted {
        loop {
            let message = stream.next(LIMIT).await.unwrap();
            if message.header(header::KIND).is_none() {
                assert!(matches!(message.json().unwrap(), TtsReply::Done(_)));
                break;
            }
        }
    }
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let mut hub = TestHub::start().await;
    let engine = hub.engine("tts.kokoro", json!({ "delay_ms": 500 })).await;
    let subject = "loqa.work.tts.kokoro";
    for nonsense in [json!(null), json!([]), json!({ "work": "w-1" }), json!({ "work": "A.b" })] {
        let mut stream = hub.bus.open_stream(subject, &nonsense).await.unwrap();
        assert_eq!(failed_tts(next(&mut stream).await).code, ErrorCode::BadRequest, "{nonsense}");
    }
    let mut stream = hub.open(&engine, "w-1", json!({ "text": "x".repeat(2_001) })).await;
    assert_eq!(failed_tts(next(&mut stream).await).code, ErrorCode::TextTooLong);

    let mut first = hub.open(&engine, "w-1", json!({})).await;
    assert!(matches!(next(&mut first).await, TtsReply::Accepted { .. }));
    let mut twin = hub.open(&engine, "w-1", json!({})).await;
    assert_eq!(failed_tts(next(&mut twin).await).code, ErrorCode::BadRequest, "one id, one work");
    let pong = hub.order(&engine, &Control::Ping { nonce: "n-1".to_owned() }).await;
    assert_eq!(pong, ControlAnswer::Pong { nonce: "n-1".to_owned() });
    let order: ControlAnswer =
        hub.bus.request(&format!("loqa.engine.control.{}", engine.instance), &"dance", LIMIT).await.unwrap();
    assert!(matches!(order, ControlAnswer::Refused { .. }));
}

#[tokio::test]
async fn audio_with_a_gap_or_a_wrong_total_fails_the_job() {
    let mut hub = TestHub::start().await;
    let engine = hub.engine("stt.whisper", json!({ "transcripts": ["never"] })).await;
    let mut stream = hub.open(&engine, "w-1", json!({})).await;
    assert!(matches!(next(&mut stream).await, SttReply::Accepted { .. }));
    hub.frame(&engine, "w-1", 0, 320).await;
    hub.frame(&engine, "w-1", 2, 320).await;
    let failure = failed_stt(next(&mut stream).await);
    assert_eq!(failure.code, ErrorCode::BadAudio);
    assert!(failure.message.contains("frame 1 is missing"), "{failure}");

    let mut stream = hub.open(&engine, "w-2", json!({})).await;
    assert!(matches!(next(&mut stream).await, SttReply::Accepted { .. }));
    hub.frame(&engine, "w-2", 0, 320).await;
    hub.end_audio(&engine, "w-2", 640).await;
    assert_eq!(failed_stt(next(&mut stream).await).code, ErrorCode::BadAudio);

    let mut stream = hub.open(&engine, "w-3", json!({})).await;
    assert!(matches!(next(&mut stream).await, SttReply::Accepted { .. }));
    for seq in 0..31 {
        hub.frame(&engine, "w-3", seq, 16_000).await;
    }
    assert_eq!(failed_stt(next(&mut stream).await).code, ErrorCode::AudioTooLong);
    assert_eq!(
        hub.end_audio(&engine, "w-3", 0).await,
        json!({ "type": "not_running" }),
        "the end of a job that is over is answered as well"
    );
}

#[tokio::test]
async fn whatever_a_worker_does_wrong_becomes_a_failure_with_a_code() {
    let mut hub = TestHub::start().await;
    for (fault, code) in [
        (json!("silent"), ErrorCode::EngineFault),
        (json!({ "fail": { "code": "no_speech", "message": "nothing" } }), ErrorCode::NoSpeech),
    ] {
        let engine = hub.engine("llm.reflex", json!({ "fault": fault })).await;
        let mut stream = hub.open(&engine, "w-1", json!({})).await;
        assert!(matches!(next(&mut stream).await, LlmReply::Accepted { .. }));
        assert_eq!(failed_llm(next(&mut stream).await).code, code);
    }
}

fn cancel(work: &str) -> Control {
    Control::Cancel { work: WorkId::new(work).unwrap() }
}

fn failed_stt(reply: SttReply) -> Failure {
    match reply {
        SttReply::Failed { failure } => failure,
        other => panic!("no failure: {other:?}"),
    }
}

fn failed_llm(reply: LlmReply) -> Failure {
    match reply {
        LlmReply::Failed { failure } => failure,
        other => panic!("no failure: {other:?}"),
    }
}

fn failed_tts(reply: TtsReply) -> Failure {
    match reply {
        TtsReply::Failed { failure } => failure,
        other => panic!("no failure: {other:?}"),
    }
}
