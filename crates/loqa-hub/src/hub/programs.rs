//! Turns that other programs ask for: a chat client, a home automation.
//!
//! Their words pass the same permission gate as everybody's, but they count as another
//! node's, not as the person's: nothing beyond the first two tiers happens because of them
//! without a confirmation.

use super::begin::{Said, begin_said, forget};
use super::{Hub, RunningTurn, TurnOptions};
use crate::session::driver::TurnInput;
use loqa_protocol::SessionId;
use loqa_protocol::llm::ChatMessage;
use loqa_skills::{Label, Taint};
use std::sync::Arc;
use tokio::sync::oneshot;

impl Hub {
    /// Begins a typed turn for the program of this name, in a session that goes on. The
    /// answer is text.
    pub async fn ask_for(&self, program: &str, session: SessionId, text: String) -> RunningTurn {
        let said = Said { taint: of_program(program), earlier: Vec::new() };
        begin_said(&self.inner, in_session(session), TurnInput::Text(text), None, said).await
    }

    /// As [`Hub::ask_for`], in a session that knows these earlier messages and ends with
    /// the turn: for a program that keeps the conversation itself.
    pub async fn ask_once_for(
        &self,
        program: &str,
        session: SessionId,
        earlier: Vec<ChatMessage>,
        text: String,
    ) -> RunningTurn {
        let said = Said { taint: of_program(program), earlier };
        let running = begin_said(&self.inner, in_session(session.clone()), TurnInput::Text(text), None, said).await;
        let (sender, report) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        let ended = running.report;
        tokio::spawn(async move {
            let result = ended.await;
            if inner.sessions.lock().await.remove(&session).is_some() {
                forget(&inner, session, "ended");
            }
            if let Ok(result) = result {
                let _ = sender.send(result);
            }
        });
        RunningTurn { turn: running.turn, orders: running.orders, report }
    }
}

fn in_session(session: SessionId) -> TurnOptions {
    TurnOptions { session: Some(session), ..TurnOptions::default() }
}

fn of_program(program: &str) -> Taint {
    [Label::User, Label::Node(program.to_owned())].into_iter().collect()
}
