//! A host for tests of skills: no WASM, no files, a clock that the test moves.
//!
//! It grants everything except what [`TestHost::deny`] was told, and keeps values and
//! timers like the real one. Sizes, rates and budgets are the real host's business.

use crate::loqa::{Host, HostError};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A stand-in for the host.
#[derive(Debug, Clone, Default)]
pub struct TestHost {
    /// Wall clock in milliseconds; tests move it.
    pub now_ms: i64,
    /// Kept values by key.
    pub values: BTreeMap<String, Value>,
    /// Running timers by id: when due, and their data.
    pub timers: BTreeMap<String, (i64, Value)>,
    /// What was said, announced, shown and published, in order: function and arguments.
    pub effects: Vec<(String, Value)>,
    denied: BTreeSet<String>,
    /// Answers of functions that reach others, in order.
    answers: BTreeMap<String, VecDeque<Result<Value, String>>>,
}

impl TestHost {
    /// A host whose clock shows that many milliseconds since the Unix epoch.
    #[must_use]
    pub fn at(now_ms: i64) -> Self {
        Self { now_ms, ..Self::default() }
    }

    /// Refuses a host function from here on, as if its permission was missing.
    pub fn deny(&mut self, function: &str) {
        self.denied.insert(function.to_owned());
    }

    /// Answers the next call of a function that reaches others: `http`, `secret`, `transcript`,
    /// `event_store`, `llm`, `device`.
    pub fn answer(&mut self, function: &str, value: Value) {
        self.answers.entry(function.to_owned()).or_default().push_back(Ok(value));
    }

    /// Lets the next call of such a function fail with a code, for example `unreachable`.
    pub fn fail(&mut self, function: &str, code: &str) {
        self.answers.entry(function.to_owned()).or_default().push_back(Err(code.to_owned()));
    }

    /// Moves the clock to the earliest timer that is due within `ms` and takes it out; the
    /// value is the data of its `timer.elapsed`. Without one the clock moves by `ms`.
    pub fn advance(&mut self, ms: i64) -> Option<Value> {
        let end = self.now_ms + ms;
        let due = self.timers.iter().map(|(id, (due, _))| (*due, id.clone())).min().filter(|(due, _)| *due <= end);
        let Some((due_ms, id)) = due else {
            self.now_ms = end;
            return None;
        };
        self.now_ms = self.now_ms.max(due_ms);
        let (_, data) = self.timers.remove(&id)?;
        Some(json!({ "id": id, "data": data, "due_ms": due_ms, "late_ms": self.now_ms - due_ms }))
    }
}

impl Host for TestHost {
    fn call(&mut self, function: &str, arguments: Value) -> Result<Value, HostError> {
        if self.denied.contains(function) {
            return Err(HostError {
                code: "not_granted".to_owned(),
                message: format!("`{function}` is denied by the test"),
            });
        }
        let text = |key: &str| arguments[key].as_str().unwrap_or_default().to_owned();
        Ok(match function {
            "log" | "say" | "announce" | "notify" | "publish" => {
                self.effects.push((function.to_owned(), arguments));
                Value::Null
            }
            "kv_get" => self.values.get(&text("key")).cloned().unwrap_or_default(),
            "kv_set" => {
                self.values.insert(text("key"), arguments["value"].clone());
                Value::Null
            }
            "kv_delete" => {
                self.values.remove(&text("key"));
                Value::Null
            }
            "kv_list" => self
                .values
                .keys()
                .filter(|key| key.starts_with(&text("prefix")))
                .map(|key| Value::from(key.as_str()))
                .collect(),
            "now" => Value::from(self.now_ms),
            "timer_set" => {
                let due_ms = self.now_ms + arguments["due_in_ms"].as_i64().unwrap_or_default();
                self.timers.insert(text("id"), (due_ms, arguments["data"].clone()));
                Value::Null
            }
            "timer_cancel" => Value::from(self.timers.remove(&text("id")).is_some()),
            "timer_list" => {
                let mut timers = self.timers.iter().collect::<Vec<_>>();
                timers.sort_by_key(|(_, (due_ms, _))| *due_ms);
                timers
                    .into_iter()
                    .map(|(id, (due_ms, data))| json!({ "id": id, "due_in_ms": due_ms - self.now_ms, "data": data }))
                    .collect()
            }
            "http" | "secret" | "transcript" | "event_store" | "llm" | "device" => {
                self.effects.push((function.to_owned(), arguments));
                let answer = self.answers.get_mut(function).and_then(VecDeque::pop_front);
                // Nobody answers in a test that has not said who does.
                return answer
                    .unwrap_or_else(|| Err("unavailable".to_owned()))
                    .map_err(|code| HostError { message: format!("`{function}` fails in this test"), code });
            }
            other => {
                return Err(HostError {
                    code: "bad_arguments".to_owned(),
                    message: format!("there is no host function `{other}`"),
                });
            }
        })
    }
}
