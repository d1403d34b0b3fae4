//! Sessions and turns: the driver that feeds the state machine, and the tasks
//! that carry each hop to its engine.

pub mod driver;
pub mod hops;
pub mod stopwatch;

use loqa_protocol::llm::{ChatMessage, Role};
use loqa_protocol::{InstanceId, SessionId};
use loqa_skills::{Label, Taint};
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
    pub history: Vec<Remembered>,
    /// Earlier turns of which nothing is kept, while such turns follow each other.
    guest: Vec<Remembered>,
    /// The workers that serve it.
    pub pins: Pins,
    /// Whether recordings of it are kept; `None` where nobody said.
    pub keep_audio: Option<bool>,
}

/// A message of an earlier turn.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// The message.
    pub message: ChatMessage,
    /// Where it comes from. A model that reads it may do what it says.
    pub taint: Taint,
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
        Self { id, history: Vec::new(), guest: Vec::new(), pins: Pins::default(), keep_audio: None }
    }

    /// Begins or ends a turn of which nothing is kept: it has a history of its own.
    pub fn swap_histories(&mut self) {
        std::mem::swap(&mut self.history, &mut self.guest);
    }

    /// A turn that is kept begins: those before it that are not are over.
    pub fn forget_guest(&mut self) {
        self.guest.clear();
    }

    /// Remembers one exchange and forgets the oldest beyond the limit.
    pub fn remember(&mut self, user: (&str, &Taint), assistant: (&str, &Taint)) {
        for (role, (content, taint)) in [(Role::User, user), (Role::Assistant, assistant)] {
            if !content.is_empty() {
                let message = ChatMessage { role, content: content.to_owned() };
                self.history.push(Remembered { message, taint: taint.clone() });
            }
        }
        let surplus = self.history.len().saturating_sub(HISTORY_MESSAGES);
        self.history.drain(..surplus);
    }
}

/// Where the values of one turn come from.
#[derive(Debug, Clone)]
pub struct TurnTaint {
    /// What was said or typed.
    said: Taint,
    /// What the model was shown, once it was asked.
    context: Option<Taint>,
    /// What tools have brought.
    brought: Taint,
}

impl TurnTaint {
    /// A turn whose words come from there: [`Taint::user`] for the person at this machine,
    /// a node's label for what another machine heard.
    #[must_use]
    pub fn new(said: Taint) -> Self {
        Self { said, context: None, brought: Taint::default() }
    }

    /// What was said or typed.
    #[must_use]
    pub const fn said(&self) -> &Taint {
        &self.said
    }

    /// The model is shown the session's history, what was said, and what tools have brought.
    pub fn model_is_asked(&mut self, history: &[Remembered]) {
        let mut context = self.with_history(history).with(Label::Llm);
        context.absorb(&self.brought);
        self.context = Some(context);
    }

    /// Where what was said in this turn and before it comes from.
    #[must_use]
    pub fn with_history(&self, history: &[Remembered]) -> Taint {
        let mut taint = self.said.clone();
        for remembered in history {
            taint.absorb(&remembered.taint);
        }
        taint
    }

    /// Where a tool call comes from: from what was said, unless a model has planned it.
    #[must_use]
    pub fn of_call(&self) -> &Taint {
        self.context.as_ref().unwrap_or(&self.said)
    }

    /// A tool has answered.
    pub fn tool_has_brought(&mut self, taint: &Taint) {
        self.brought.absorb(taint);
    }

    /// Where the answer comes from.
    #[must_use]
    pub fn of_reply(&self) -> Taint {
        let mut reply = self.of_call().clone();
        reply.absorb(&self.brought);
        reply
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

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(label: Label) -> Remembered {
        let message = ChatMessage { role: Role::Assistant, content: "x".into() };
        Remembered { message, taint: Taint::user().with(label) }
    }

    #[test]
    fn what_the_model_was_shown_is_where_its_calls_come_from() {
        let web = Label::Web("https://a:443".into());
        let mut taint = TurnTaint::new(Taint::user());
        assert_eq!(*taint.of_call(), Taint::user(), "an utterance that fits a template needs no model");
        taint.model_is_asked(&[remembered(web.clone())]);
        assert_eq!(*taint.of_call(), Taint::user().with(Label::Llm).with(web.clone()));
        assert!(taint.of_reply().is_foreign());

        let mut taint = TurnTaint::new(Taint::user());
        taint.tool_has_brought(&Taint::user().with(web));
        assert!(!taint.of_call().is_foreign(), "the result is not in anybody's context yet");
        assert!(taint.of_reply().is_foreign());
        taint.model_is_asked(&[]);
        assert!(taint.of_call().is_foreign(), "the model words the result and may call again");
    }

    #[test]
    fn a_forgotten_message_takes_its_labels_with_it() {
        let mut session = Session::new(SessionId::from_bits(1));
        let foreign = Taint::user().with(Label::File);
        session.remember(("a", &Taint::user()), ("b", &foreign));
        for _ in 0..HISTORY_MESSAGES / 2 {
            assert!(session.history.iter().any(|message| message.taint.is_foreign()));
            session.remember(("a", &Taint::user()), ("b", &Taint::user()));
        }
        assert!(!session.history.iter().any(|message| message.taint.is_foreign()));
    }
}
