//! Asking the person over the bus. A question is published, listed to whoever holds the
//! operator's credentials, and answered by a request; a window, a command line and a test
//! use the same way.
//!
//! Deliberately absent: any way to answer by voice or through a model. A turn has no
//! access to this module; it only learns that a question is open, so that it waits.

mod serve;

use loqa_bus::Bus;
use loqa_protocol::grant::{Prompt, PromptEvent};
use loqa_protocol::{PromptId, TurnId, subject};
use loqa_skills::CallControl;
use loqa_skills::consent::{Answer, Consent, Question};
use loqa_skills::taint::Label;
pub use serve::{about_grants, grant_info, serve};
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often a waiting question looks whether anybody still wants its answer. Chosen.
const GLANCE: Duration = Duration::from_millis(20);

/// The questions that are open.
pub struct Prompts {
    open: Mutex<Vec<Open>>,
    /// Turns that wait for an answer.
    asking: watch::Sender<BTreeSet<TurnId>>,
    /// How many are open.
    count: watch::Sender<usize>,
    bus: OnceLock<Bus>,
}

struct Open {
    /// Without the time that is left.
    prompt: Prompt,
    due: Instant,
    turn: Option<TurnId>,
    answers: &'static [Answer],
    sender: SyncSender<Answer>,
}

/// Why an answer was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It was answered, ran out, or never was.
    #[error("this question is not open; list the open ones with `loqa skill prompts`")]
    NotOpen,
    /// It is no answer to this question.
    #[error("this is no answer to the question; its `answers` lists what is")]
    NoAnswer,
}

impl Default for Prompts {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
            asking: watch::Sender::default(),
            count: watch::Sender::default(),
            bus: OnceLock::new(),
        }
    }
}

impl Prompts {
    /// Publishes questions on this bus from here on.
    pub fn publish_on(&self, bus: Bus) {
        // Set once, when the hub starts.
        let _ = self.bus.set(bus);
    }

    /// The questions that are open, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Prompt> {
        let now = Instant::now();
        self.lock().iter().map(|open| open.as_of(now)).collect()
    }

    /// Takes the person's answer.
    pub fn answer(&self, prompt: &PromptId, answer: &str) -> Result<(), NotTaken> {
        let mut all = self.lock();
        let idx = all.iter().position(|open| open.prompt.id == *prompt).ok_or(NotTaken::NotOpen)?;
        let answer = Answer::from_name(answer)
            .filter(|answer| all.get(idx).is_some_and(|open| open.answers.contains(answer)))
            .ok_or(NotTaken::NoAnswer)?;
        // The first answer counts: with it the question is no longer open.
        let open = all.remove(idx);
        self.recount(&all);
        open.sender.try_send(answer).map_err(|_| NotTaken::NotOpen)
    }

    /// The turns that wait for an answer, and whenever they change.
    #[must_use]
    pub fn asking(&self) -> watch::Receiver<BTreeSet<TurnId>> {
        self.asking.subscribe()
    }

    /// How many questions are open, and whenever that changes; for whoever shows them.
    #[must_use]
    pub fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    fn recount(&self, open: &[Open]) {
        self.count.send_if_modified(|count| std::mem::replace(count, open.len()) != open.len());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, question: &Question, limit: Duration) -> (PromptId, Receiver<Answer>, Instant) {
        let (sender, receiver) = sync_channel(1);
        let due = Instant::now() + limit;
        let turn = question.turn.as_ref().map(|(_, turn)| turn.clone());
        let open = Open { prompt: prompt_of(question), due, turn: turn.clone(), answers: question.answers(), sender };
        let prompt = open.as_of(Instant::now());
        let id = prompt.id.clone();
        {
            let mut all = self.lock();
            all.push(open);
            self.recount(&all);
        }
        if let Some(turn) = turn {
            self.asking.send_modify(|turns| {
                turns.insert(turn);
            });
        }
        self.publish(&id, &PromptEvent::Shown { prompt: Box::new(prompt) });
        (id, receiver, due)
    }

    fn close(&self, id: &PromptId, question: &Question, answer: Answer) {
        let still = {
            let mut all = self.lock();
            all.retain(|open| open.prompt.id != *id);
            self.recount(&all);
            let turn = question.turn.as_ref().map(|(_, turn)| turn);
            turn.filter(|turn| !all.iter().any(|open| open.turn.as_ref() == Some(turn)))
        };
        if let Some(turn) = still {
            self.asking.send_modify(|turns| {
                turns.remove(turn);
            });
        }
        self.publish(id, &PromptEvent::Over { answer: answer.as_str().to_owned() });
    }

    fn publish(&self, id: &PromptId, event: &PromptEvent) {
        let Some(bus) = self.bus.get() else { return };
        // Whoever missed it lists what is open.
        let sent = serde_json::to_vec(event).is_ok_and(|payload| {
            bus.try_publish_bytes(&subject::prompt(id), &[], payload.into()).is_ok_and(|sent| sent)
        });
        if !sent {
            tracing::warn!(prompt = %id, "observers were not told of a question");
        }
    }
}

impl Consent for Prompts {
    fn ask(&self, question: &Question, limit: Duration, control: &CallControl) -> Answer {
        let (id, receiver, due) = self.open(question, limit);
        let answer = loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() || control.stopped().is_some() {
                break Answer::Unanswered;
            }
            match receiver.recv_timeout(left.min(GLANCE)) {
                Ok(answer) => break answer,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break Answer::Unanswered,
            }
        };
        self.close(&id, question, answer);
        answer
    }
}

impl Open {
    fn as_of(&self, now: Instant) -> Prompt {
        let left = self.due.saturating_duration_since(now);
        Prompt { expires_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX), ..self.prompt.clone() }
    }
}

fn prompt_of(question: &Question) -> Prompt {
    let (session, turn) = question.turn.clone().unzip();
    Prompt {
        id: PromptId::from_bits(rand::random()),
        skill: question.skill.clone(),
        title: question.title.clone(),
        version: question.version.clone(),
        digest: question.digest.clone(),
        permission: question.permission.as_str().to_owned(),
        tier: question.tier.as_str().to_owned(),
        occasion: question.occasion.as_str().to_owned(),
        operation: question.operation.to_owned(),
        target: question.target.clone(),
        reason: question.reason.clone(),
        scope: question.scope.to_json(),
        taint: question.taint.labels().map(Label::to_string).collect(),
        session,
        turn,
        answers: question.answers().iter().map(|answer| answer.as_str().to_owned()).collect(),
        expires_ms: 0,
    }
}

impl std::fmt::Debug for Prompts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prompts").field("open", &self.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
