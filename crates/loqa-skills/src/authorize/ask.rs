//! Bounds on questions: one open question per skill, a few in all, so many in a minute,
//! and no second question in a turn after a no.

use crate::authorize::Actor;
use crate::permission::Permission;
use loqa_protocol::TurnId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Open questions of all skills together. Chosen: what fits into a window.
pub const MAX_OPEN: usize = 8;
/// Questions of one skill within a minute. Chosen.
pub const MAX_PER_MINUTE: usize = 6;
/// Questions of one call. Chosen.
pub const MAX_PER_CALL: usize = 4;
/// Refusals that are remembered; the oldest are forgotten. Chosen.
const MAX_REFUSALS: usize = 256;
const MINUTE: Duration = Duration::from_secs(60);

/// What a no is remembered for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused {
    skill: String,
    permission: Permission,
    during: During,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum During {
    Turn(TurnId),
    Invocation(u64),
}

impl Refused {
    fn of(actor: &Actor, permission: Permission) -> Self {
        let during = match &actor.turn {
            Some((_, turn)) => During::Turn(turn.clone()),
            None => During::Invocation(actor.invocation),
        };
        Self { skill: actor.skill.clone(), permission, during }
    }
}

#[derive(Default)]
pub(super) struct Asking(Mutex<State>);

#[derive(Default)]
struct State {
    open: BTreeSet<String>,
    recent: BTreeMap<String, VecDeque<Instant>>,
    refused: VecDeque<Refused>,
}

/// The right to ask; given back when dropped.
pub(super) struct MayAsk<'a> {
    asking: &'a Asking,
    skill: &'a str,
}

impl Asking {
    /// `None` when there are too many questions.
    pub(super) fn begin<'a>(&'a self, actor: &'a Actor) -> Option<MayAsk<'a>> {
        let mut state = self.lock();
        if state.open.len() >= MAX_OPEN || state.open.contains(&actor.skill) {
            return None;
        }
        let now = Instant::now();
        let recent = state.recent.entry(actor.skill.clone()).or_default();
        recent.retain(|at| now.duration_since(*at) < MINUTE);
        if recent.len() >= MAX_PER_MINUTE || actor.control.count_prompt() > MAX_PER_CALL {
            return None;
        }
        recent.push_back(now);
        state.open.insert(actor.skill.clone());
        Some(MayAsk { asking: self, skill: &actor.skill })
    }

    /// Whether the person said no to this in this turn, or did not answer.
    pub(super) fn was_refused(&self, actor: &Actor, permission: Permission) -> bool {
        let wanted = Refused::of(actor, permission);
        self.lock().refused.contains(&wanted)
    }

    /// Remembers a no for the rest of the turn.
    pub(super) fn note_refusal(&self, actor: &Actor, permission: Permission) {
        let mut state = self.lock();
        state.refused.push_back(Refused::of(actor, permission));
        if state.refused.len() > MAX_REFUSALS {
            state.refused.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for MayAsk<'_> {
    fn drop(&mut self) {
        self.asking.lock().open.remove(self.skill);
    }
}
