//! Sessions and turns: the driver that feeds the state machine, and the tasks
//! that carry each hop to its engine.

pub mod driver;
pub mod hops;
pub mod stopwatch;

use loqa_protocol::llm::{ChatMessage, Role};
use loqa_protocol::{InstanceId, SessionId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Messages of earlier turns that a language model sees. Chosen: six exchanges.
const HISTORY_MESSAGES: usize = 12;

/// One conversation.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Earlier turns, oldest first.
    pub history: Vec<ChatMessage>,
    /// The workers that serve it.
    pub pins: Pins,
}

/// Which worker serves a session, by capability. Shared with the hops of its turns.
#[derive(Debug, Clone, Default)]
pub struct Pins(Arc<Mutex<HashMap<String, InstanceId>>>);

impl Pins {
    /// The worker that took the session's last request for this capability.
    #[must_use]
    pub fn get(&self, capability: &str) -> Option<InstanceId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(capability).cloned()
    }

    /// Remembers who took a request; `None` forgets.
    pub fn set(&self, capability: &str, instance: Option<InstanceId>) {
        let mut pins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match instance {
            Some(instance) => pins.insert(capability.to_owned(), instance),
            None => pins.remove(capability),
        };
    }
}

impl Session {
    /// A new conversation.
    #[must_use]
    pub fn new(id: SessionId) -> Self {
        Self { id, history: Vec::new(), pins: Pins::default() }
    }

    /// Remembers one exchange and forgets the oldest beyond the limit.
    pub fn remember(&mut self, user: &str, assistant: &str) {
        for (role, content) in [(Role::User, user), (Role::Assistant, assistant)] {
            if !content.is_empty() {
                self.history.push(ChatMessage { role, content: content.to_owned() });
            }
        }
        let surplus = self.history.len().saturating_sub(HISTORY_MESSAGES);
        self.history.drain(..surplus);
    }
}

/// What the input side sends during a spoken turn.
#[derive(Debug)]
pub enum VoiceInput {
    /// 16 kHz mono samples, 20 ms as a rule.
    Frame {
        /// The samples.
        samples: Vec<i16>,
        /// Whether the voice activity detector hears speech.
        voiced: bool,
    },
    /// The user stopped speaking: `t0`.
    End {
        /// When.
        at: Instant,
    },
}
