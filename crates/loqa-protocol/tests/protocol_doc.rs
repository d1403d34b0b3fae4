//! Holds `docs/protocol.md` against the code, both ways: subjects, headers, error
//! codes and message variants that stand in only one of them, and examples that
//! are not what they claim to be.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use loqa_protocol::client::{
    AskReply, AskRequest, AuditReply, AuditRequest, NodeInfo, SkillFault, SkillRow, SkillsReply, SkillsRequest,
    StoreReply, StoreRequest,
};
use loqa_protocol::engine::{
    Control, ControlAnswer, DEAD_AFTER_MS, EngineAnnounce, EngineBoot, EngineHello, HEARTBEAT_MS, Heartbeat, HubAnswer,
};
use loqa_protocol::event::PlannedBy;
use loqa_protocol::grant::{GrantInfo, GrantReply, GrantRequest, Prompt, PromptEvent, PromptReply, PromptRequest};
use loqa_protocol::llm::{LlmReply, LlmRequest};
use loqa_protocol::models::{ModelInUse, ModelsReply, ModelsRequest};
use loqa_protocol::skill::{
    HostAnswer, HostCall, SkillAnswer, SkillBoot, SkillCall, SkillNotification, SkillPublication,
};
use loqa_protocol::stt::{SttReply, SttRequest};
use loqa_protocol::talk::{KeyReply, KeyRequest};
use loqa_protocol::tts::{TtsReply, TtsRequest};
use loqa_protocol::{ErrorCode, PROTOCOL_VERSION, TimedEvent, TurnEvent, audio, header, subject};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Reads an example as its type and writes it again; a difference means that the
/// example leaves something out.
type RoundTrip = fn(&Value) -> Result<Value, serde_json::Error>;

fn round_trip<T: DeserializeOwned + Serialize>(example: &Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(example.clone())?)
}

/// Every message type, and the field that tells its variants apart.
fn types() -> BTreeMap<&'static str, (RoundTrip, Option<&'static str>)> {
    macro_rules! types {
        ($($name:ident $(by $tag:literal)?),+ $(,)?) => {
            BTreeMap::from([$((stringify!($name), (round_trip::<$name> as RoundTrip, None::<&str>$(.or(Some($tag)))?))),+])
        };
    }
    types! {
        AskReply by "type", AskRequest, AuditReply by "type", AuditRequest by "type", Control by "type", ControlAnswer by "type", EngineAnnounce, EngineBoot,
        EngineHello, GrantInfo, GrantReply by "type", GrantRequest by "type", Heartbeat, HostAnswer, HostCall,
        HubAnswer by "type", KeyReply by "type", KeyRequest by "type", LlmReply by "type", LlmRequest, ModelInUse, ModelsReply by "type", ModelsRequest by "type", NodeInfo, PlannedBy by "by",
        Prompt, PromptEvent by "type", PromptReply by "type", PromptRequest by "type",
        SkillAnswer by "type", SkillBoot, SkillCall by "type", SkillFault, SkillNotification, SkillPublication,
        SkillRow, SkillsReply by "type", SkillsRequest by "type", StoreReply by "type", StoreRequest by "type", SttReply by "type", SttRequest, TimedEvent,
        TtsReply by "type", TtsRequest, TurnEvent by "type",
    }
}

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
    std::fs::read_to_string(path).expect("docs/protocol.md is in the repository")
}

/// The examples: type and text of every fenced block that begins with "```json Type".
fn examples(document: &str) -> Vec<(&str, Value)> {
    let blocks = document.split("\n```json ").skip(1);
    blocks
        .map(|block| {
            let (name, rest) = block.split_once('\n').unwrap();
            let (text, _) = rest.split_once("\n```").unwrap();
            (
                name.trim(),
                serde_json::from_str(text).unwrap_or_else(|error| panic!("example of {name}: {error}\n{text}")),
            )
        })
        .collect()
}

/// Rows of the table below `heading`, cells trimmed, without backticks.
fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    let section = document.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("`{heading}` is missing")).1;
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()).collect()
}

/// The variants of an enum, as serde lists them when it is given another one.
fn variants(parse: RoundTrip, tag: &str) -> BTreeSet<String> {
    let error = parse(&json!({ tag: "no such variant" })).expect_err("there is no such variant").to_string();
    let list = error.split_once("expected").unwrap_or_else(|| panic!("serde says: {error}")).1;
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn subjects_are_those_of_the_code() {
    let documented: BTreeSet<Vec<String>> = table(&document(), "## Subjects").into_iter().collect();
    let spelled: BTreeSet<Vec<String>> = subject::CATALOG
        .iter()
        .map(|spec| [spec.pattern, spec.direction, spec.payload, spec.delivery.as_str()].map(str::to_owned).to_vec())
        .collect();
    assert_eq!(documented, spelled, "the table of subjects and `subject::CATALOG` differ");
}

#[test]
fn every_payload_type_has_examples() {
    let document = document();
    let with_example: BTreeSet<&str> = examples(&document).into_iter().map(|(name, _)| name).collect();
    let types = types();
    for spec in subject::CATALOG {
        let words = spec.payload.split(|c: char| !c.is_alphanumeric()).filter(|word| *word != "PCM");
        for name in words.filter(|word| word.starts_with(char::is_uppercase)) {
            assert!(types.contains_key(name), "{}: the test does not know the type {name}", spec.pattern);
            assert!(with_example.contains(name), "{}: {name} has no example", spec.pattern);
        }
    }
    for name in types.keys() {
        assert!(with_example.contains(name), "{name} has no example");
    }
}

#[test]
fn every_example_is_a_complete_message_of_its_type() {
    let types = types();
    for (name, example) in examples(&document()) {
        let (parse, _) = types.get(name).unwrap_or_else(|| panic!("an example claims to be a {name}"));
        let again = parse(&example).unwrap_or_else(|error| panic!("example of {name}: {error}\n{example:#}"));
        assert_eq!(again, example, "the example of {name} leaves fields out or writes them differently");
    }
}

#[test]
fn every_variant_has_an_example() {
    let document = document();
    let examples = examples(&document);
    for (name, (parse, tag)) in types() {
        let Some(tag) = tag else { continue };
        let shown: BTreeSet<String> = examples
            .iter()
            .filter(|(of, _)| *of == name)
            .map(|(_, example)| example[tag].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(shown, variants(parse, tag), "examples of {name} and its variants differ");
    }
}

#[test]
fn error_codes_are_those_of_the_code() {
    let documented = table(&document(), "## Error codes");
    let spelled: Vec<Vec<String>> =
        ErrorCode::ALL.iter().map(|code| vec![code.as_str().to_owned(), code.meaning().trim().to_owned()]).collect();
    assert_eq!(documented, spelled, "the table of error codes and `ErrorCode` differ");
}

#[test]
fn headers_are_those_of_the_code() {
    let documented: Vec<String> = table(&document(), "## Headers").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(
        documented,
        [header::KIND, header::SEQ, header::END, header::VOICED, header::TRACEPARENT, header::PRIVACY]
    );
}

#[test]
fn numbers_are_those_of_the_code() {
    let document = document();
    for (text, what) in [
        (format!("Protocol version: `{PROTOCOL_VERSION}`."), "protocol version"),
        (format!("A heartbeat every {} ms", grouped(HEARTBEAT_MS)), "heartbeat"),
        (format!("after {} ms of silence", grouped(DEAD_AFTER_MS)), "death"),
        (format!("{} Hz to an engine", grouped(audio::INPUT_SAMPLE_RATE.into())), "input rate"),
        (format!("{} Hz from one", grouped(audio::OUTPUT_SAMPLE_RATE.into())), "output rate"),
        (format!("frames of {} samples", audio::INPUT_FRAME_SAMPLES), "frame length"),
        (format!("at most {} seconds long", audio::MAX_UTTERANCE_SECONDS), "longest utterance"),
        (format!("queue group `{}`", subject::WORKERS), "queue group"),
    ] {
        assert!(document.contains(&text), "{what}: docs/protocol.md should say `{text}`");
    }
}

/// `24000` as `24,000`.
fn grouped(number: u64) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}
