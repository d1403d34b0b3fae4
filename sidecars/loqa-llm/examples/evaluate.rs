//! Asks a model every command of a file and counts the right answers.
//!
//! A line is `command | tool argument=value;argument=value`, further right answers
//! after `||`. A right answer in capitals stands for any reply in words. All tools of
//! `reflex.toml` are offered, or with a third argument those whose names begin with it.
//!
//! ```console
//! $ cargo run -p loqa-llm --example evaluate -- MODEL.gguf COMMANDS.txt [PREFIX]
//! ```
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use loqa_engine::CancelFlag;
use loqa_llm::decode::LoadOptions;
use loqa_llm::local::{Ask, LocalModel};
use loqa_llm::reflex::ReflexMap;
use loqa_protocol::llm::{ChatMessage, LlmReply, LlmRequest, Role};
use loqa_protocol::{SessionId, TurnId, WorkId};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: evaluate MODEL.gguf COMMANDS.txt [PREFIX]";
    let model = arguments.next().ok_or(usage)?;
    let commands = std::fs::read_to_string(arguments.next().ok_or(usage)?)?;
    let prefix = arguments.next().unwrap_or_default();
    let mut tools = ReflexMap::beside(Path::new(&model))?.as_offered();
    tools.retain(|tool| tool.name.starts_with(&prefix));
    let mut model = LocalModel::load(Path::new(&model), LoadOptions::default())?;
    let (mut right, mut asked) = (0_usize, Vec::new());
    for line in commands.lines().filter(|line| line.contains('|')) {
        let Some((text, expected)) = line.split_once('|') else { continue };
        let request = LlmRequest {
            work: WorkId::from_bits(1),
            turn: TurnId::from_bits(1),
            session: SessionId::from_bits(1),
            messages: vec![ChatMessage { role: Role::User, content: text.trim().into() }],
            tools: tools.clone(),
            max_tokens: 80,
            temperature: 0.0,
            deadline_ms: 10_000,
        };
        let (mut said, mut confidence, mut micros) = (String::new(), 1.0, 0);
        let cancel = CancelFlag::new();
        let outcome =
            model.answer(&Ask { request: &request, received: Instant::now(), cancel: &cancel }, &mut |reply| {
                match reply {
                    LlmReply::Delta { text } => said.push_str(&text),
                    LlmReply::ToolCall { call, confidence: c } => {
                        let arguments: Vec<String> = call
                            .arguments
                            .iter()
                            .map(|(name, value)| {
                                format!("{name}={}", value.as_str().map_or(value.to_string(), str::to_owned))
                            })
                            .collect();
                        said = format!("{} {}", call.name, arguments.join(";"));
                        confidence = c;
                    }
                    LlmReply::Done(done) => micros = done.total_us,
                    LlmReply::Accepted { .. } | LlmReply::Failed { .. } => {}
                }
                Ok(())
            });
        if let Err(failure) = outcome {
            said = format!("({failure})");
        }
        let is_call = said.split(' ').next().is_some_and(|name| tools.iter().any(|tool| tool.name == name));
        let hit = expected.split("||").any(|way| {
            let way = way.trim();
            if way.chars().all(|c| c.is_ascii_uppercase()) { !is_call } else { sorted(way) == sorted(&said) }
        });
        right += usize::from(hit);
        asked.push((confidence, hit, micros));
        if !hit {
            println!("{text}: {said} ({confidence:.2}), expected {expected}");
        }
    }
    println!("{right} of {} right", asked.len());
    for gate in [0.5, 0.7, 0.9] {
        let over: Vec<_> = asked.iter().filter(|(confidence, ..)| *confidence >= gate).collect();
        let hits = over.iter().filter(|(_, hit, _)| *hit).count();
        println!("confidence {gate} and above: {} answers, {hits} right", over.len());
    }
    asked.sort_by_key(|(_, _, micros)| *micros);
    let at = |part: usize| asked.get(asked.len() * part / 100).map_or(0, |(_, _, micros)| *micros);
    println!("microseconds: p50 {}, p95 {}, p99 {}", at(50), at(95), at(99));
    Ok(())
}

fn sorted(call: &str) -> (String, Vec<String>) {
    let (name, arguments) = call.trim().split_once(' ').unwrap_or((call.trim(), ""));
    let mut arguments: Vec<String> =
        arguments.split(';').map(|a| a.trim().to_owned()).filter(|a| !a.is_empty()).collect();
    arguments.sort();
    (name.to_owned(), arguments)
}
