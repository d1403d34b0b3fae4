//! How often, and how much of, in a window of time. In memory: a restart of the hub
//! begins anew.

use crate::permission::Permission;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// Most entries of one window. Above every ceiling of a rate; tokens are merged beyond it.
const MAX_ENTRIES: usize = 2_048;

/// Wall times and amounts of recent uses, by skill and permission.
type Recent = BTreeMap<(String, Permission), VecDeque<(i64, u64)>>;

/// How often each skill used what.
#[derive(Default)]
pub(super) struct Rates(Mutex<Recent>);

/// What a use counts against; `None` is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    pub(super) per_minute: Option<u64>,
    pub(super) tokens_per_day: Option<u64>,
}

impl Rates {
    /// Whether the use fits; counts it if `take`.
    pub(super) fn fits(
        &self,
        skill: &str,
        permission: Permission,
        tokens: u64,
        limits: Limits,
        now_ms: i64,
        take: bool,
    ) -> bool {
        let (limit, amount, window) = match limits {
            Limits { tokens_per_day: Some(limit), .. } => (limit, tokens, DAY_MS),
            Limits { per_minute: Some(limit), .. } => (limit, 1, MINUTE_MS),
            Limits { per_minute: None, tokens_per_day: None } => return true,
        };
        let mut recent = self.lock();
        let uses = recent.entry((skill.to_owned(), permission)).or_default();
        // A use in the future means that the clock was set back; it must not block for ever.
        uses.retain(|(at, _)| (now_ms - window..=now_ms).contains(at));
        let used = uses.iter().fold(0u64, |sum, (_, amount)| sum.saturating_add(*amount));
        if used.saturating_add(amount) > limit {
            return false;
        }
        if take {
            if uses.len() >= MAX_ENTRIES
                && let Some((_, last)) = uses.back_mut()
            {
                *last = last.saturating_add(amount);
            } else {
                uses.push_back((now_ms, amount));
            }
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
