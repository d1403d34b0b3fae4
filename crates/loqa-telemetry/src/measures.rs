//! What is counted of turns: latencies, ends, failures, calls of skills, and the last
//! turns as waterfalls. Fed with the events that the recorder writes.
//!
//! Every label comes from a closed set: names of our own enumerations, and names of
//! skills that the hub told to be installed. A tool's name may be a model's invention and
//! hold what the user said, so it is never a label.

use crate::VoiceLatency;
use crate::meters::meter;
use loqa_protocol::event::TurnEnd;
use loqa_protocol::{ErrorCode, LatencySplit, PrivacyScope, SessionId, TimedEvent, TurnClass, TurnEvent, TurnId};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Meter};
use serde::Serialize;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// Turns that are kept as waterfalls. Chosen: a screen or two of a list.
pub const WATERFALLS: usize = 100;
/// Skills that have figures of their own; those beyond count as `other`. Chosen.
const MAX_SKILLS: usize = 64;

/// Where the time of one turn went. Holds nothing that was said.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Waterfall {
    /// The session.
    pub session: SessionId,
    /// The turn.
    pub turn: TurnId,
    /// When it ended, milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// How it was answered.
    pub class: TurnClass,
    /// How it ended.
    pub end: TurnEnd,
    /// The parts; null when no sound was made.
    pub latency_ms: Option<LatencySplit>,
}

/// The figures of a hub.
#[derive(Debug)]
pub struct Measures {
    latency: VoiceLatency,
    turns: Counter<u64>,
    failures: Counter<u64>,
    degraded: Counter<u64>,
    skill_calls: Counter<u64>,
    waterfalls: Mutex<VecDeque<Waterfall>>,
}

impl Default for Measures {
    fn default() -> Self {
        Self::new()
    }
}

impl Measures {
    /// Nothing counted yet. Make it after [`crate::init`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_meter(&meter())
    }

    pub(crate) fn with_meter(meter: &Meter) -> Self {
        let counter = |name, description| meter.u64_counter(name).with_description(description).build();
        Self {
            latency: VoiceLatency::with_meter(meter),
            turns: counter("loqa.turns", "turns that ended, by end and class"),
            failures: counter("loqa.failures", "turns that failed, by hop and code"),
            degraded: counter("loqa.degraded", "hops that failed and whose fallback took over, by hop and code"),
            skill_calls: counter("loqa.skill_calls", "tool calls, by skill and decision"),
            waterfalls: Mutex::default(),
        }
    }

    /// Takes note of an event. Of a turn that nobody may remember only counts stay.
    pub fn observe(&self, timed: &TimedEvent, scope: PrivacyScope) {
        match &timed.event {
            TurnEvent::TurnEnded { end, class, latency_ms } => {
                if let Some(split) = latency_ms {
                    self.latency.record(*class, split);
                }
                self.turns.add(1, &[KeyValue::new("end", end_name(*end)), KeyValue::new("class", class.as_str())]);
                if !scope.may_be_kept() {
                    return;
                }
                self.keep(Waterfall {
                    session: timed.session.clone(),
                    turn: timed.turn.clone(),
                    wall_ms: wall_ms(),
                    class: *class,
                    end: *end,
                    latency_ms: *latency_ms,
                });
            }
            TurnEvent::TurnFailed { failure } => self.failures.add(1, &of_failure(failure)),
            TurnEvent::Degraded { failure } => self.degraded.add(1, &of_failure(failure)),
            TurnEvent::ToolReturned { name, .. } => self.skill_call(name, "allowed"),
            TurnEvent::ToolDenied { name, failure } => {
                let refused = failure.code == ErrorCode::PermissionDenied;
                self.skill_call(name, if refused { "denied" } else { "failed" });
            }
            TurnEvent::TurnStarted { .. }
            | TurnEvent::SpeechStarted
            | TurnEvent::SpeechEnded { .. }
            | TurnEvent::TranscriptPartial { .. }
            | TurnEvent::TranscriptFinal { .. }
            | TurnEvent::IntentMatched { .. }
            | TurnEvent::ReplyStarted { .. }
            | TurnEvent::ReplyDelta { .. }
            | TurnEvent::ToolCalled { .. }
            | TurnEvent::SpeakingStarted { .. }
            | TurnEvent::FirstSound
            | TurnEvent::SpeakingFinished => {}
        }
    }

    /// The latencies.
    #[must_use]
    pub const fn latency(&self) -> &VoiceLatency {
        &self.latency
    }

    /// The last turns, newest first, [`WATERFALLS`] at most.
    #[must_use]
    pub fn waterfalls(&self) -> Vec<Waterfall> {
        self.waterfalls.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }

    /// Forgets the turns of a session, or of all when none is named. Counts stay: they
    /// belong to nobody.
    pub fn forget(&self, session: Option<&SessionId>) {
        let mut kept = self.waterfalls.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|waterfall| session.is_some_and(|session| waterfall.session != *session));
    }

    fn keep(&self, waterfall: Waterfall) {
        let mut kept = self.waterfalls.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == WATERFALLS {
            kept.pop_front();
        }
        kept.push_back(waterfall);
    }

    fn skill_call(&self, tool: &str, decision: &'static str) {
        let skill = known(tool.split('.').next().unwrap_or_default());
        self.skill_calls.add(1, &[KeyValue::new("skill", skill), KeyValue::new("decision", decision)]);
    }
}

/// What is counted outside of turns.
#[derive(Debug)]
struct Others {
    engine_restarts: Counter<u64>,
    drops: Counter<u64>,
    store_bytes: Gauge<u64>,
    engines: Gauge<u64>,
    engine_memory: Gauge<u64>,
}

fn others() -> &'static Others {
    static OTHERS: OnceLock<Others> = OnceLock::new();
    OTHERS.get_or_init(|| {
        let meter = meter();
        let counter = |name, description| meter.u64_counter(name).with_description(description).build();
        let gauge = |name, description| meter.u64_gauge(name).with_description(description).build();
        Others {
            engine_restarts: counter(
                "loqa.engine_restarts",
                "engines that died, by kind and whether they were given up",
            ),
            drops: counter("loqa.queue_drops", "what a full queue lost, by queue"),
            store_bytes: gauge("loqa.store_bytes", "size of the event store"),
            engines: gauge("loqa.engines", "engines that are ready, by kind"),
            engine_memory: gauge("loqa.engine_memory_bytes", "memory of the engines that are ready, by kind"),
        }
    })
}

/// An engine or a native skill died; it is started again unless it was given up.
/// `kind` is `stt`, `llm`, `tts` or `skill`.
pub fn engine_died(kind: &'static str, given_up: bool) {
    let attributes =
        [KeyValue::new("kind", kind), KeyValue::new("outcome", if given_up { "given_up" } else { "restarted" })];
    others().engine_restarts.add(1, &attributes);
}

/// A bounded queue was full and lost `n` things.
pub fn queue_dropped(queue: &'static str, n: u64) {
    others().drops.add(n, &[KeyValue::new("queue", queue)]);
}

/// Size of the event store.
pub fn set_store_bytes(bytes: u64) {
    others().store_bytes.record(bytes, &[]);
}

/// Engines of one kind that are ready, and the memory that they take.
pub fn set_engines(kind: &'static str, ready: u64, memory_bytes: u64) {
    let attributes = [KeyValue::new("kind", kind)];
    others().engines.record(ready, &attributes);
    others().engine_memory.record(memory_bytes, &attributes);
}

static SKILLS: RwLock<BTreeSet<String>> = RwLock::new(BTreeSet::new());

/// The skills whose names may be labels: those that are loaded.
pub fn know_skills(names: impl IntoIterator<Item = String>) {
    let mut known = SKILLS.write().unwrap_or_else(PoisonError::into_inner);
    for name in names {
        // What was a label once stays one, so that the set is bounded for the process.
        if known.len() < MAX_SKILLS && loqa_protocol::id::is_token(&name) {
            known.insert(name);
        }
    }
}

fn known(skill: &str) -> String {
    let known = SKILLS.read().unwrap_or_else(PoisonError::into_inner);
    known.get(skill).cloned().unwrap_or_else(|| "other".to_owned())
}

fn of_failure(failure: &loqa_protocol::Failure) -> [KeyValue; 2] {
    [KeyValue::new("hop", failure.hop.as_str()), KeyValue::new("code", failure.code.as_str())]
}

const fn end_name(end: TurnEnd) -> &'static str {
    match end {
        TurnEnd::Completed => "completed",
        TurnEnd::Cancelled => "cancelled",
        TurnEnd::Failed => "failed",
    }
}

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meters::{Meters, resource};
    use loqa_protocol::{Failure, Hop, ToolCall};
    use opentelemetry::metrics::MeterProvider as _;

    const CANARY: &str = "xylophone";

    fn meters() -> Meters {
        Meters::new(resource("loqa-test"), |builder| builder).unwrap()
    }

    fn timed(turn: u64, event: TurnEvent) -> TimedEvent {
        TimedEvent { session: SessionId::from_bits(1), turn: TurnId::from_bits(turn), seq: 0, at_us: 0, event }
    }

    fn every_event(code: ErrorCode) -> Vec<TurnEvent> {
        let text = || CANARY.to_owned();
        let arguments = serde_json::Map::from_iter([(text(), CANARY.into())]);
        let call = ToolCall { name: format!("{CANARY}.{CANARY}"), arguments };
        let failure = || Failure::new(Hop::Skill, code, CANARY);
        vec![
            TurnEvent::TranscriptPartial { text: text() },
            TurnEvent::TranscriptFinal { text: text(), confidence: 1.0 },
            TurnEvent::IntentMatched { call: call.clone(), template: text(), leftover: text() },
            TurnEvent::ReplyStarted { capability: format!("llm.{CANARY}"), degraded: false },
            TurnEvent::ReplyDelta { text: text() },
            TurnEvent::ToolCalled { call, planned_by: loqa_protocol::event::PlannedBy::Model { capability: text() } },
            TurnEvent::ToolReturned { name: format!("{CANARY}.say"), say: text() },
            TurnEvent::ToolReturned { name: text(), say: text() },
            TurnEvent::ToolDenied { name: format!("{CANARY} said"), failure: failure() },
            TurnEvent::SpeakingStarted { text: text() },
            TurnEvent::Degraded { failure: failure() },
            TurnEvent::TurnFailed { failure: failure() },
            TurnEvent::TurnEnded { end: TurnEnd::Failed, class: TurnClass::None, latency_ms: None },
        ]
    }

    #[test]
    fn labels_are_few_and_hold_nothing_that_was_said() {
        let meters = meters();
        let measures = Measures::with_meter(&meters.provider.meter("loqa"));
        know_skills(["timer".to_owned()]);
        for code in ErrorCode::ALL {
            for event in every_event(*code) {
                measures.observe(&timed(1, event), PrivacyScope::Persistent);
            }
        }
        for class in [TurnClass::Intent, TurnClass::Reflex, TurnClass::Llm, TurnClass::Cached, TurnClass::None] {
            let latency_ms = Some(LatencySplit { total: 80.0, ..LatencySplit::default() });
            measures.observe(
                &timed(2, TurnEvent::TurnEnded { end: TurnEnd::Completed, class, latency_ms }),
                PrivacyScope::Persistent,
            );
        }
        measures.observe(
            &timed(3, TurnEvent::ToolReturned { name: "timer.start".to_owned(), say: String::new() }),
            PrivacyScope::Persistent,
        );
        let text = meters.scrape();
        assert!(!text.contains(CANARY), "{text}");
        assert!(text.contains(r#"loqa_skill_calls_total{decision="allowed",skill="timer"} 1"#), "{text}");
        assert!(text.contains(r#"loqa_skill_calls_total{decision="allowed",skill="other"}"#), "{text}");
        assert!(text.contains(r#"loqa_voice_latency_ms_count{class="intent",hardware=""#), "{text}");
        // 5 classes, 10 parts, 26 limits and 3 sums; 28 codes twice; a handful of others.
        let series = text.lines().filter(|line| !line.starts_with('#')).count();
        assert!((1_000..2_000).contains(&series), "{series} series");

        // The control: a tool's name as a label is seen here.
        let leaky = meters.provider.meter("loqa").u64_counter("loqa.leaky").build();
        leaky.add(1, &[KeyValue::new("tool", format!("{CANARY}.say"))]);
        assert!(meters.scrape().contains(CANARY), "the check above would see a label with the user's words");
    }

    #[test]
    fn the_last_turns_are_kept_and_forgotten() {
        let measures = Measures::with_meter(&meters().provider.meter("loqa"));
        for turn in 0..WATERFALLS as u64 + 5 {
            let event = TurnEvent::TurnEnded { end: TurnEnd::Completed, class: TurnClass::Intent, latency_ms: None };
            measures.observe(&timed(turn, event), PrivacyScope::Persistent);
        }
        let kept = measures.waterfalls();
        assert_eq!(kept.len(), WATERFALLS);
        assert_eq!(kept[0].turn, TurnId::from_bits(WATERFALLS as u64 + 4), "newest first");
        let guest = TurnEvent::TurnEnded { end: TurnEnd::Completed, class: TurnClass::Intent, latency_ms: None };
        measures.observe(&timed(9_999, guest), PrivacyScope::Ephemeral);
        assert_eq!(measures.waterfalls()[0].turn, kept[0].turn, "of a guest's turn nothing is kept");
        measures.forget(Some(&SessionId::from_bits(2)));
        assert_eq!(measures.waterfalls().len(), WATERFALLS, "another session's");
        measures.forget(Some(&SessionId::from_bits(1)));
        assert!(measures.waterfalls().is_empty());
    }
}
