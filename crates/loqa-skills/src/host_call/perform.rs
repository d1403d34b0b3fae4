//! What a host call does once it is allowed.

use super::understand::{Call, HistoryDepth, bad, day};
use super::{Performed, Refusal, Running, log};
use crate::authorize::{Authorized, Reason};
use crate::host::effects::{DeviceOrder, EffectFault, EventQuery, LlmOrder, Pending, wait_for};
use crate::permission::{Permission, Scope};
use crate::taint::Label;
use serde_json::{Value, json};

/// Log bytes of one invocation.
const MAX_LOG_BYTES: u64 = 8 * 1024;

impl Running {
    pub(super) fn perform(&mut self, _authorized: &Authorized, call: Call) -> Result<Performed, Refusal> {
        let scope = self.actor.scope;
        let store = self.shared.store_of(scope);
        let effects = &self.shared.effects;
        let skill = self.actor.skill.as_str();
        let value = match call {
            Call::Log { level, text } => {
                self.log_bytes += text.len() as u64;
                if self.log_bytes > MAX_LOG_BYTES {
                    return Err(bad(format!("the log takes {MAX_LOG_BYTES} bytes per call of a skill")));
                }
                log(skill, level, &text);
                Value::Null
            }
            Call::Say { text } | Call::Announce { text } => {
                effects.say(skill, &text);
                Value::Null
            }
            Call::Notify { text } => {
                effects.notify(skill, &text);
                Value::Null
            }
            Call::Publish { topic, data } => {
                if !self.shared.publications.admit(skill, self.shared.clock.steady_ms()) {
                    return Err(Refusal::Denied(Reason::RateExceeded));
                }
                // What an ephemeral turn leads to does not go where others can hear it.
                self.shared.publications.push(skill, &topic, data.clone(), scope, &self.taint, self.depth);
                if scope.may_be_kept() {
                    effects.publish(skill, &topic, &data);
                } else {
                    effects.published_within();
                }
                Value::Null
            }
            Call::KvGet { key } => match self.draft.value(store, skill, &key)? {
                Some(value) => serde_json::from_str(&value).unwrap_or(Value::Null),
                None => Value::Null,
            },
            Call::KvSet { key, value, .. } => {
                self.draft.set_value(key, Some(value));
                Value::Null
            }
            Call::KvDelete { key } => {
                self.draft.set_value(key, None);
                Value::Null
            }
            Call::KvList { prefix } => Value::from(self.draft.keys(store, skill, &prefix)?),
            Call::Now => Value::from(self.now_ms),
            Call::TimerSet { id, timer, .. } => {
                self.draft.set_timer(id, Some(timer));
                Value::Null
            }
            Call::TimerCancel { id } => {
                let existed = self.draft.timers(store, skill)?.contains_key(&id);
                if existed {
                    self.draft.set_timer(id, None);
                }
                Value::from(existed)
            }
            Call::TimerList => {
                let mut timers = self.draft.timers(store, skill)?.into_iter().collect::<Vec<_>>();
                timers.sort_by_key(|(_, timer)| timer.due_ms);
                timers
                    .into_iter()
                    .map(|(id, timer)| {
                        let data = serde_json::from_str(&timer.data).unwrap_or(Value::Null);
                        json!({ "id": id, "due_in_ms": timer.due_ms - self.now_ms, "data": data })
                    })
                    .collect()
            }
            Call::Secret { name, .. } => Value::from(self.shared.secrets.get(skill, &name).is_some()),
            Call::Transcript { depth, .. } => self.transcript(depth),
            Call::EventStore { reach, limit, .. } => {
                let session = self.actor.turn.as_ref().map(|(session, _)| session.clone());
                let query = EventQuery { skill: skill.to_owned(), session, level: reach, limit };
                // Who may leave nothing behind learns nothing of what others left.
                let events = match scope.may_be_kept() {
                    true => self.wait(|pending| effects.events(query, pending))?,
                    false => Vec::new(),
                };
                // What was said to or by others may stand in them.
                self.taint = self.taint.clone().with(Label::Tool("event_store".to_owned()));
                Value::Array(events)
            }
            Call::Llm { system, prompt, max_tokens, tokens_asked, .. } => {
                let (skill, today) = (skill.to_owned(), day(self.now_ms));
                // The gate counts since the hub was started, the store over restarts.
                // Limits count over all turns; they say nothing about what was said.
                let store = &self.shared.store;
                let used = store.tokens_of_day(&skill, today)?.saturating_add(tokens_asked);
                if self.scopes(Permission::LlmComplete).any(|scope| {
                    scope.limit(Permission::LlmComplete, "tokens_per_day").is_some_and(|limit| used > limit)
                }) {
                    return Err(Refusal::Denied(Reason::RateExceeded));
                }
                // Counted before it is asked, so that a call that is stopped does not get it for nothing.
                store.count_tokens(&skill, today, i64::try_from(tokens_asked).unwrap_or(i64::MAX))?;
                let order =
                    LlmOrder { skill: skill.clone(), turn: self.actor.turn.clone(), scope, system, prompt, max_tokens };
                let answer = self.wait(|pending| effects.complete(order, pending))?;
                let surplus = i64::try_from(answer.tokens).unwrap_or(i64::MAX).saturating_sub_unsigned(tokens_asked);
                store.count_tokens(&skill, today, surplus)?;
                self.taint = self.taint.clone().with(Label::Llm);
                json!({ "text": answer.text, "tokens": answer.tokens })
            }
            Call::Device { operation, entity, data, .. } => {
                let order = DeviceOrder {
                    skill: skill.to_owned(),
                    turn: self.actor.turn.clone(),
                    scope,
                    operation,
                    entity,
                    data,
                    taint: self.taint.clone(),
                };
                self.wait(|pending| effects.device(order, pending))?
            }
            Call::Http(_) => {
                return Err(EffectFault::unavailable("a request is made by its own function").into());
            }
        };
        Ok(value.into())
    }

    /// Waits for an effect no longer than the call has time, and only while it is wanted.
    pub(super) fn wait<T>(&self, begin: impl FnOnce(Pending<T>)) -> Result<T, EffectFault> {
        wait_for(self.patience(), || self.is_wanted(), begin)
    }

    /// How far a permission reaches: as the manifest says, and as every grant in force does.
    pub(super) fn scopes(&self, permission: Permission) -> impl Iterator<Item = Scope> {
        let grants = self.shared.gate.grants().list(Some(&self.actor.skill));
        let digest = self.actor.digest.clone();
        let granted = grants
            .into_iter()
            .filter(move |grant| grant.permission == permission && grant.ended.is_none() && grant.digest == digest)
            .map(|grant| grant.scope);
        self.manifest.requested(permission).map(|requested| requested.scope.clone()).into_iter().chain(granted)
    }

    fn transcript(&mut self, depth: HistoryDepth) -> Value {
        if depth != HistoryDepth::Arguments {
            self.taint.absorb(&self.said.taint);
        }
        match depth {
            HistoryDepth::Arguments => Value::Null,
            HistoryDepth::Utterance => Value::from(self.said.utterance.as_str()),
            HistoryDepth::History(n) => {
                let history = &self.said.history;
                let skipped = history.len().saturating_sub(n);
                history[skipped..]
                    .iter()
                    .map(|message| json!({ "role": message.role, "text": message.content }))
                    .collect()
            }
        }
    }
}
