//! What skills publish, on its way to the skills that subscribed.
//!
//! A publication is queued and delivered after the call that made it, by whoever runs
//! the host. The queue is bounded; what does not fit is dropped, counted and logged.

use crate::taint::{Label, Taint};
use loqa_protocol::PrivacyScope;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Publications that may wait. Chosen: several seconds of a skill that publishes as fast as it may.
const MAX_WAITING: usize = 256;
/// Publications of one skill within [`WINDOW_MS`], from the design of skills.
const MAX_PER_WINDOW: usize = 20;
const WINDOW_MS: i64 = 1_000;
/// How far one publication may lead to the next. Chosen: skills that answer each other for ever stop here.
pub(crate) const MAX_DEPTH: u32 = 8;

/// Something that a skill published.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Publication {
    pub(crate) from: String,
    /// Below the skill's own prefix.
    pub(crate) topic: String,
    pub(crate) data: Value,
    pub(crate) scope: PrivacyScope,
    pub(crate) taint: Taint,
    pub(crate) depth: u32,
}

#[derive(Default)]
pub(crate) struct Publications {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Publication>,
    /// Steady times of recent publications, by skill.
    recent: BTreeMap<String, VecDeque<i64>>,
}

impl Publications {
    /// Whether the skill may publish once more; if so it is counted.
    pub(crate) fn admit(&self, skill: &str, steady_ms: i64) -> bool {
        let mut state = self.lock();
        let recent = state.recent.entry(skill.to_owned()).or_default();
        recent.retain(|at| steady_ms - at < WINDOW_MS);
        if recent.len() >= MAX_PER_WINDOW {
            return false;
        }
        recent.push_back(steady_ms);
        true
    }

    pub(crate) fn push(&self, from: &str, topic: &str, data: Value, scope: PrivacyScope, taint: &Taint, depth: u32) {
        let mut state = self.lock();
        if depth >= MAX_DEPTH || state.waiting.len() >= MAX_WAITING {
            drop(state);
            return tracing::warn!(skill = from, topic, depth, "a publication is not passed on to skills");
        }
        // Whoever hears it works with what that skill made.
        let taint = taint.clone().with(Label::Tool(from.to_owned()));
        let (from, topic) = (from.to_owned(), topic.to_owned());
        state.waiting.push_back(Publication { from, topic, data, scope, taint, depth: depth + 1 });
    }

    pub(crate) fn take(&self) -> Vec<Publication> {
        self.lock().waiting.drain(..).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_publications_a_second_and_no_more() {
        let publications = Publications::default();
        let admitted = (0..100).filter(|n| publications.admit("a", n * 5)).count();
        assert_eq!(admitted, MAX_PER_WINDOW);
        assert!(publications.admit("b", 500), "skills are counted apart");
        assert!(publications.admit("a", 1_000), "a second later there is room");
    }

    #[test]
    fn the_queue_and_the_chain_of_publications_end() {
        let publications = Publications::default();
        for depth in 0..=MAX_DEPTH {
            publications.push("a", "t", Value::Null, PrivacyScope::Persistent, &Taint::user(), depth);
        }
        let taken = publications.take();
        assert_eq!(taken.len(), MAX_DEPTH as usize);
        assert!(taken[0].taint.is_foreign(), "what a skill made is foreign to the others");
        for _ in 0..2 * MAX_WAITING {
            publications.push("a", "t", Value::Null, PrivacyScope::Persistent, &Taint::user(), 0);
        }
        assert_eq!(publications.take().len(), MAX_WAITING);
    }
}
