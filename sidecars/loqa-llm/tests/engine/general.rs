//! Any other model: a base model without a template, on the general path.

use crate::kit::{answer, answer_with, quiet, request, stories_path, tool};
use loqa_engine::CancelFlag;
use loqa_llm::decode::LoadOptions;
use loqa_llm::local::LocalModel;
use loqa_protocol::ErrorCode;
use loqa_protocol::llm::Role;
use serde_json::json;
use std::time::{Duration, Instant};

fn stories(context: Option<u32>) -> LocalModel {
    LocalModel::load(&stories_path(), LoadOptions { threads: None, context }).unwrap()
}

#[test]
fn a_base_model_continues_the_text() {
    let mut model = stories(None);
    assert!(!model.is_reflex());
    let outcome = answer(&mut model, &request(&[(Role::User, "Once upon a time, there was a little")], &[])).unwrap();
    assert!(outcome.deltas > 20, "{outcome:?}");
    assert!(outcome.text.contains("girl") || outcome.text.contains("boy"), "{}", outcome.text);
    let done = outcome.done.unwrap();
    assert_eq!((done.output_tokens, done.truncated), (80, true));
}

#[test]
fn the_same_work_gives_the_same_words_also_at_a_temperature() {
    let mut warm = request(&[(Role::User, "One day, Tom and his dog")], &[]);
    warm.temperature = 1.0;
    let mut model = stories(None);
    let first = answer(&mut model, &warm).unwrap().text;
    let again = answer(&mut model, &warm).unwrap().text;
    warm.work = loqa_protocol::WorkId::from_bits(77);
    let other = answer(&mut model, &warm).unwrap().text;
    assert_eq!(first, again);
    assert_ne!(first, other, "another work id rolls other dice");
}

#[test]
fn a_longer_chat_computes_only_what_is_new() {
    let mut model = stories(None);
    let story = "Once upon a time, there was a little girl named Lily. She loved to play in the park.";
    let first = answer(&mut model, &request(&[(Role::User, story)], &[])).unwrap();
    let next = answer(
        &mut model,
        &request(&[(Role::User, story), (Role::Assistant, "She saw a bird."), (Role::User, "It was red.")], &[]),
    )
    .unwrap();
    let (first, next) = (first.done.unwrap(), next.done.unwrap());
    assert_eq!(first.cached_tokens, 0);
    assert!(next.cached_tokens + 1 >= first.prompt_tokens, "{next:?} after {first:?}");
}

#[test]
fn the_oldest_messages_go_when_the_chat_is_too_long() {
    let mut model = stories(Some(128));
    let sentence = "The cat sat on the mat and looked at the big red ball. ";
    let mut messages = vec![(Role::System, "A story.")];
    messages.extend(std::iter::repeat_n((Role::User, sentence), 60));
    messages.push((Role::User, "Then the dog"));
    let done = answer(&mut model, &request(&messages, &[])).unwrap().done.unwrap();
    assert!(done.prompt_tokens <= 96, "{done:?}");

    let long = sentence.repeat(60);
    let failure = answer(&mut model, &request(&[(Role::User, &long)], &[])).expect_err("one message cannot be dropped");
    assert_eq!(failure.code, ErrorCode::BadRequest);
    assert!(failure.message.contains("96 fit"), "{failure}");
}

#[test]
fn a_reply_ends_where_the_context_ends() {
    let mut model = stories(Some(64));
    let mut long = request(&[(Role::User, "Once upon a time")], &[]);
    long.max_tokens = 10_000;
    let done = answer(&mut model, &long).unwrap().done.unwrap();
    assert!(done.truncated && done.prompt_tokens + done.output_tokens == 64, "{done:?}");
}

#[test]
fn offering_tools_to_any_model_gives_text_or_a_fitting_call() {
    let mut model = stories(None);
    let tools =
        [tool("lamp.set", json!({"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}))];
    for round in 0..10 {
        let mut asked = request(&[(Role::User, "Once upon a time")], &tools);
        asked.work = loqa_protocol::WorkId::from_bits(round);
        asked.temperature = 2.0;
        let outcome = answer(&mut model, &asked).unwrap();
        match &outcome.call {
            Some((call, _)) => assert!(call.name == "lamp.set" && call.arguments["on"].is_boolean()),
            None => assert!(outcome.deltas > 10 && !outcome.text.contains('<'), "{}", outcome.text),
        }
    }
}

#[test]
fn control_tokens_in_a_message_are_only_text() {
    let mut model = stories(None);
    let plain = answer(&mut model, &request(&[(Role::User, "Once </s><s> upon")], &[])).unwrap();
    assert!(plain.done.unwrap().prompt_tokens > 6, "markers were read as letters");
}

#[test]
fn a_cancelled_prompt_stops_between_its_steps() {
    let _quiet = quiet();
    let mut model = stories(None);
    let long = "the big red ball and ".repeat(80);
    let cancel = CancelFlag::new();
    cancel.cancel();
    let begun = Instant::now();
    let failure =
        answer_with(&mut model, &request(&[(Role::User, &long)], &[]), &cancel, |_| {}).expect_err("cancelled");
    assert_eq!(failure.code, ErrorCode::Cancelled);
    assert!(begun.elapsed() < Duration::from_millis(500));
    assert!(model.decoder().stops_within_steps(), "llama.cpp's abort callback is connected");
}

#[test]
fn a_deadline_in_the_middle_of_a_reply_is_one() {
    let mut model = stories(None);
    let mut slow = request(&[(Role::User, "Once upon a time")], &[]);
    slow.deadline_ms = 20;
    slow.max_tokens = 100_000;
    let failure = answer_with(&mut model, &slow, &CancelFlag::new(), |_| {
        std::thread::sleep(Duration::from_millis(1));
    })
    .expect_err("20 ms are not enough");
    assert_eq!(failure.code, ErrorCode::DeadlineExceeded);
}

#[test]
fn a_damaged_model_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let whole = std::fs::read(stories_path()).unwrap();
    for (bytes, word) in [(&whole[..whole.len() / 2], "ends too early"), (&b"lmgg"[..], "Whisper"), (&b""[..], "empty")]
    {
        std::fs::write(&path, bytes).unwrap();
        let failure = LocalModel::load(&path, LoadOptions::default()).err().expect("refused");
        assert_eq!(failure.code, ErrorCode::ModelInvalid);
        assert!(failure.message.contains(word) && failure.message.contains("model.gguf"), "{failure}");
    }
    let failure = LocalModel::load(&folder.path().join("none.gguf"), LoadOptions::default()).err().expect("missing");
    assert!(failure.message.contains("cannot read"), "{failure}");
}

/// The pre-check passes, llama.cpp does not: its own reason reaches the user.
#[test]
fn what_only_llama_cpp_can_see_is_reported_in_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut bytes = std::fs::read(stories_path()).unwrap();
    let at = bytes.windows(5).position(|window| window == b"llama").expect("the architecture");
    bytes[at..at + 5].copy_from_slice(b"lxama");
    std::fs::write(&path, bytes).unwrap();
    let failure = LocalModel::load(&path, LoadOptions::default()).err().expect("unknown architecture");
    assert_eq!(failure.code, ErrorCode::ModelInvalid);
    assert!(failure.message.contains("lxama"), "{failure}");
}
