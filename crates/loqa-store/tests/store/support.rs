//! What the tests share: turns as the hub records them, and a look at every byte.

use loqa_protocol::event::{PlannedBy, TurnEnd, TurnSource};
use loqa_protocol::{LatencySplit, PrivacyScope, SessionId, TimedEvent, ToolCall, TurnClass, TurnEvent, TurnId};
use loqa_store::{Entry, FILE_NAME, Store, StoreOptions};
use std::path::{Path, PathBuf};

/// A day in milliseconds.
pub const DAY: i64 = 86_400_000;

/// A number from the environment, for the full figures; else `usual`.
pub fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The file in a folder.
pub fn file(folder: &Path) -> PathBuf {
    folder.join(FILE_NAME)
}

/// Opens the store of a folder.
pub fn open(folder: &Path) -> Store {
    Store::open(StoreOptions::file(file(folder))).unwrap()
}

pub fn session(n: u64) -> SessionId {
    SessionId::from_bits(n)
}

pub fn turn(n: u64) -> TurnId {
    TurnId::from_bits(n)
}

/// The events of one whole turn: typed, answered by a tool, spoken.
pub fn turn_events(of: u64, n: u64, said: &str, reply: &str, wall_ms: i64) -> Vec<Entry> {
    let call = ToolCall { name: "timer.start".to_owned(), arguments: serde_json::Map::new() };
    let split = LatencySplit { total: (n % 500) as f64, plan: 1.0, ..LatencySplit::default() };
    let events = [
        TurnEvent::TurnStarted { source: TurnSource::Text },
        TurnEvent::TranscriptFinal { text: said.to_owned(), confidence: 1.0 },
        TurnEvent::IntentMatched { call: call.clone(), template: "set a timer".to_owned(), leftover: String::new() },
        TurnEvent::ToolCalled {
            call: call.clone(),
            planned_by: PlannedBy::Intent { template: "set a timer".to_owned(), leftover: String::new() },
        },
        TurnEvent::ToolReturned { name: call.name, say: reply.to_owned() },
        TurnEvent::SpeakingStarted { text: reply.to_owned() },
        TurnEvent::FirstSound,
        TurnEvent::SpeakingFinished,
        TurnEvent::Degraded {
            failure: loqa_protocol::Failure::new(
                loqa_protocol::Hop::Tts,
                loqa_protocol::ErrorCode::EngineLost,
                "again",
            ),
        },
        TurnEvent::TurnEnded { end: TurnEnd::Completed, class: TurnClass::Intent, latency_ms: Some(split) },
    ];
    entries(of, n, wall_ms, PrivacyScope::Persistent, events)
}

/// Events of a turn, one millisecond after the other.
pub fn entries(
    of: u64,
    n: u64,
    wall_ms: i64,
    scope: PrivacyScope,
    events: impl IntoIterator<Item = TurnEvent>,
) -> Vec<Entry> {
    (0..)
        .zip(events)
        .map(|(seq, event)| Entry {
            event: TimedEvent { session: session(of), turn: turn(n), seq, at_us: u64::from(seq) * 1000, event },
            scope,
            wall_ms: wall_ms + i64::from(seq),
        })
        .collect()
}

/// The same with another scope.
pub fn with_scope(mut entries: Vec<Entry>, scope: PrivacyScope) -> Vec<Entry> {
    for entry in &mut entries {
        entry.scope = scope;
    }
    entries
}

/// Files below a folder in which these bytes stand, also as UTF-16.
pub fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        if holds(text.as_bytes()) || holds(&wide) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// xorshift; the same numbers every time.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
