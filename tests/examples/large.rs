//! A data folder with a long past: sessions in the store, rows in the audit.
//! `cargo run -p loqa-tests --example large -- FOLDER 10000 100000`
//!
//! `npm run ui:large` opens the window over it. Deliberately absent: assertions.

#![expect(clippy::print_stdout, reason = "an example that says what it made")]

use anyhow::Context as _;
use loqa_audit::{
    Actor, ActorKind, Audit, Context, Decision, Effect, Entry as Row, Journal as _, Kind, Options, Outcome, Status,
};
use loqa_protocol::event::{PlannedBy, TurnEnd, TurnSource};
use loqa_protocol::{LatencySplit, PrivacyScope, SessionId, TimedEvent, ToolCall, TurnClass, TurnEvent, TurnId};
use loqa_store::{Entry, FILE_NAME, Store, StoreOptions};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Words of the texts: each is in many turns.
const WORDS: [&str; 12] =
    ["timer", "kitchen", "light", "weather", "tomorrow", "list", "milk", "music", "minutes", "please", "house", "open"];
/// Turns of a session.
const TURNS: u64 = 3;
/// Sessions that are written at once.
const STEP: u64 = 100;
/// Calls that wait for the disk at once.
const WRITERS: u64 = 16;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().context("give a folder")?);
    let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok());
    let (sessions, rows) = (number().unwrap_or(10_000), number().unwrap_or(100_000));
    std::fs::create_dir_all(&folder).with_context(|| format!("create `{}`", folder.display()))?;
    remember(&folder, sessions)?;
    record(&folder, rows)?;
    println!("{sessions} sessions and {rows} rows are in `{}`", folder.display());
    Ok(())
}

fn remember(folder: &std::path::Path, sessions: u64) -> anyhow::Result<()> {
    let store = Store::open(StoreOptions::file(folder.join(FILE_NAME)))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let newest_ms = i64::try_from(now)?;
    for first in (0..sessions).step_by(usize::try_from(STEP)?) {
        let some = first..(first + STEP).min(sessions);
        // A session each quarter of an hour, up to this one.
        let entries = some.flat_map(|n| session(n, newest_ms - (sessions - n).cast_signed() * 900_000)).collect();
        store.append_all(entries)?;
    }
    Ok(())
}

fn session(n: u64, wall_ms: i64) -> Vec<Entry> {
    (0..TURNS).flat_map(|k| turn(n, n * TURNS + k, wall_ms + k.cast_signed() * 20_000)).collect()
}

fn turn(session: u64, n: u64, wall_ms: i64) -> Vec<Entry> {
    let word = |k: u64| WORDS[(n / (k * k + 1) + k) as usize % WORDS.len()];
    let text = format!("please {} the {} in the {} for item {}", word(1), word(2), word(3), n % 5_000);
    let call = ToolCall { name: "timer.start".to_owned(), arguments: serde_json::Map::new() };
    let split = LatencySplit { total: 100.0 + (n % 90) as f64, ..LatencySplit::default() };
    let events = [
        TurnEvent::TurnStarted { source: TurnSource::Text },
        TurnEvent::TranscriptFinal { text, confidence: 0.9 },
        TurnEvent::ToolCalled { call, planned_by: PlannedBy::Model { capability: "llm.reflex".to_owned() } },
        TurnEvent::ToolReturned { name: "timer.start".to_owned(), say: format!("The {} is set.", word(2)) },
        TurnEvent::FirstSound,
        TurnEvent::TurnEnded { end: TurnEnd::Completed, class: TurnClass::Intent, latency_ms: Some(split) },
    ];
    let (session, turn) = (SessionId::from_bits(session), TurnId::from_bits(n));
    (0..)
        .zip(events)
        .map(|(seq, event)| Entry {
            event: TimedEvent { session: session.clone(), turn: turn.clone(), seq, at_us: 0, event },
            scope: PrivacyScope::Persistent,
            wall_ms,
        })
        .collect()
}

fn record(folder: &std::path::Path, rows: u64) -> anyhow::Result<()> {
    let audit = Audit::open(folder, Options::default())?;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let audit = &audit;
                // Each call is two rows.
                scope.spawn(move || {
                    for n in (writer..rows / 2).step_by(WRITERS as usize) {
                        let seq = audit.append(call(n))?;
                        audit.finish(
                            seq,
                            Outcome { bytes_out: (n % 4 == 0).then_some(100 + n), ..Outcome::of(Status::Ok) },
                        );
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        writers.into_iter().try_for_each(|writer| writer.join().unwrap_or_else(|_| anyhow::bail!("a writer panicked")))
    })?;
    audit.flush()?;
    Ok(())
}

fn call(n: u64) -> Row {
    let skill = ["weather", "smart-home", "shopping-list", "timer"][n as usize % 4];
    let actor = Actor { version: Some("1.2.0".into()), ..Actor::named(ActorKind::Skill, skill) };
    let context = Context {
        invocation: Some(n),
        session: Some(SessionId::from_bits(n / 5)),
        turn: Some(TurnId::from_bits(n)),
        trigger: Some(format!("tool:{skill}.do")),
        taint: vec!["user".into()],
    };
    Row {
        permission: Some("http:call".into()),
        scope: Some("GET https://api.example/v1".into()),
        grant: Some("g-1".into()),
        decision: Some(if n.is_multiple_of(7) { Decision::Deny } else { Decision::Allow }),
        reason: Some("granted".into()),
        effect: Some(Effect {
            operation: "http".into(),
            target: Some(format!("https://api.example:443/v1/{n}")),
            bytes_out: None,
        }),
        payload: None,
        ..Row::new(Kind::CallIntent, actor, context)
    }
}
