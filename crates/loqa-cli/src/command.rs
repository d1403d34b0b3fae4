//! One module per command.

pub mod api;
pub mod ask;
pub mod audit;
pub mod bench;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod eval;
pub mod models;
pub mod nodes;
pub mod openai;
pub mod ptt;
pub mod replay;
pub mod serve;
pub mod sessions;
pub mod skill;
pub mod store;

use loqa_protocol::client::TurnReport;
use std::process::ExitCode;

/// The object that `demo` and `ask` print, as in `docs/cli.md`.
pub fn turn_json(report: &TurnReport, reply_wav: Option<&std::path::Path>) -> serde_json::Value {
    let mut object = serde_json::json!({
        "transcript": report.transcript,
        "class": report.class,
        "tool": report.tool,
        "reply": report.reply,
        "reply_wav": reply_wav.map(|path| path.to_string_lossy()),
        "latency_ms": report.latency_ms,
    });
    if let (Some(failure), Some(map)) = (&report.failure, object.as_object_mut()) {
        map.insert("failure".to_owned(), serde_json::json!(failure));
    }
    object
}

/// Success unless the turn failed.
pub fn turn_code(report: &TurnReport) -> ExitCode {
    if report.failure.is_some() { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

/// Prints a turn for people.
pub fn print_turn(report: &TurnReport) {
    println!("heard:      {}", if report.transcript.is_empty() { "(nothing)" } else { &report.transcript });
    match &report.tool {
        Some(call) => {
            let arguments = serde_json::to_string(&call.arguments).unwrap_or_default();
            println!("understood: {} ({} class)", call.name, report.class);
            println!("tool call:  {} {arguments}", call.name);
        }
        None => println!("understood: no tool ({} class)", report.class),
    }
    println!("reply:      {}", if report.reply.is_empty() { "(none)" } else { &report.reply });
    if let Some(failure) = &report.failure {
        println!("failed:     {failure}");
    }
    if let Some(split) = &report.latency_ms {
        println!("latency:    {:.1} ms from the end of speech to the first sound", split.total);
        for (name, part) in loqa_protocol::LatencySplit::PART_NAMES.iter().zip(split.parts()) {
            println!("            {part:>7.2} ms  {name}");
        }
    }
}
