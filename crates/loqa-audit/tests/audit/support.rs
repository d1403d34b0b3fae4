//! What the tests share.

use loqa_audit::{
    Actor, ActorKind, Audit, Checkpoint, Context, Decision, Effect, Entry, Journal as _, Kind, Options, Outcome,
    Reader, Report, Row, Status, verify,
};
use loqa_protocol::{SessionId, TurnId};
use serde_json::json;
use std::path::Path;

/// A number from the environment, for the full figures.
pub fn full(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Numbers that look random and are the same in every run (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn one<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// A call of a skill that reaches outside.
pub fn intent(n: u64) -> Entry {
    let actor = Actor {
        version: Some("1.2.0".into()),
        digest: Some("ab".repeat(32)),
        ..Actor::named(ActorKind::Skill, if n.is_multiple_of(2) { "weather" } else { "smart-home" })
    };
    let context = Context {
        invocation: Some(n),
        session: Some(SessionId::from_bits(1 + n % 3)),
        turn: Some(TurnId::from_bits(n)),
        trigger: Some("tool:weather.today".into()),
        taint: vec!["llm".into(), "user".into()],
    };
    Entry {
        permission: Some("http:call".into()),
        scope: Some("GET https://api.example/v1".into()),
        grant: Some("g-1".into()),
        decision: Some(Decision::Allow),
        reason: Some("granted".into()),
        effect: Some(Effect {
            operation: "http".into(),
            target: Some("https://api.example:443/v1".into()),
            bytes_out: None,
        }),
        payload: n.is_multiple_of(3).then(|| json!({ "city": format!("Town {n}") })),
        ..Entry::new(Kind::CallIntent, actor, context)
    }
}

/// A refusal, which nobody waits for.
pub fn denied(n: u64) -> Entry {
    let entry = intent(n);
    Entry { kind: Kind::CallDenied, decision: Some(Decision::Deny), reason: Some("not_granted".into()), ..entry }
}

/// Writes some of everything: `n` calls with their outcomes, refusals, bytes that left.
pub fn write_some(audit: &Audit, n: u64) {
    for i in 0..n {
        let seq = audit.append(intent(i)).unwrap();
        if i % 5 == 0 {
            audit.append_later(denied(i));
        }
        audit.finish(seq, Outcome { bytes_out: (i % 4 == 0).then_some(100 + i), ..Outcome::of(Status::Ok) });
    }
    audit.flush().unwrap();
}

pub fn open(dir: &Path) -> Audit {
    Audit::open(dir, Options::default()).unwrap()
}

/// Verifies a folder with its own key and these anchors.
pub fn verified(dir: &Path, anchors: &[Checkpoint]) -> Report {
    let reader = Reader::open(dir).unwrap();
    verify(&reader, reader.key().as_deref(), anchors).unwrap()
}

/// All rows, oldest first.
pub fn rows(dir: &Path) -> Vec<Row> {
    let mut rows = Reader::open(dir).unwrap().list(&loqa_audit::Filter::default()).unwrap();
    rows.reverse();
    rows
}
