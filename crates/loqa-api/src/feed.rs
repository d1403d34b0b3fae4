//! What happens, as live messages for all WebSockets: events of turns from the recorder of
//! this process, which also tells of turns that nobody keeps, pulls of models from the hub,
//! the rest from the bus.
//!
//! Bounded on every side: what this falls behind on is dropped, a socket that falls behind
//! misses messages, and both are counted and told. Nothing waits for a listener.

use crate::models::ModelPull;
use anyhow::Context as _;
use loqa_bus::{Bus, Message, Subscription};
use loqa_hub::Hub;
use loqa_hub::pulls::Pull;
use loqa_protocol::grant::{Prompt, PromptEvent};
use loqa_protocol::skill::SkillNotification;
use loqa_protocol::{PromptId, TimedEvent};
use loqa_store::Entry;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use utoipa::ToSchema;

/// Messages that a socket may be behind, some ten turns' worth. Chosen.
const BEHIND: usize = 1_024;
/// Messages of the bus that may wait here. Chosen.
const QUEUE: usize = 1_024;

/// One live message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Live {
    /// Something happened in a turn.
    Turn {
        /// What, and where.
        event: TimedEvent,
    },
    /// A skill asks the person something.
    PromptShown {
        /// The question.
        prompt: Box<Prompt>,
    },
    /// A question is over.
    PromptOver {
        /// Which.
        prompt: PromptId,
        /// `once`, `session`, `always`, `deny`, `never`, or `unanswered`.
        answer: String,
    },
    /// A skill shows a notification.
    Notice {
        /// Name of the skill.
        skill: String,
        /// Its text, in the author's words: escape it, never style it.
        text: String,
    },
    /// The fetching of a model goes on, at most four times a second, or is over.
    ModelPull {
        /// How far it is.
        pull: ModelPull,
    },
    /// Messages were lost, because this client or the hub was too slow to take them.
    Dropped {
        /// How many since the last message.
        count: u64,
    },
}

/// The source of live messages.
#[derive(Debug, Clone)]
pub struct Feed {
    sender: broadcast::Sender<Live>,
}

/// One listener.
#[derive(Debug)]
pub struct Listener {
    receiver: broadcast::Receiver<Live>,
}

impl Feed {
    /// Listens to a hub, and on this connection to it, until both are gone.
    ///
    /// # Errors
    /// The bus refuses.
    pub async fn start(hub: &Hub, bus: Bus) -> anyhow::Result<(Self, tokio::task::JoinHandle<()>)> {
        let subscribe = async |subject: &str| {
            bus.subscribe(subject, None, QUEUE).await.with_context(|| format!("listen to `{subject}`"))
        };
        let events = hub.recorder().subscribe();
        let pulls = hub.follow_pulls();
        let prompts = subscribe("loqa.prompt.*").await?;
        let notices = subscribe("loqa.notice.*").await?;
        bus.flush().await.context("listen to the bus")?;
        let (sender, _) = broadcast::channel(BEHIND);
        let feed = Self { sender: sender.clone() };
        let task = tokio::spawn(pass_on(bus, events, pulls, prompts, notices, sender));
        Ok((feed, task))
    }

    /// What happens from here on.
    #[must_use]
    pub fn listen(&self) -> Listener {
        Listener { receiver: self.sender.subscribe() }
    }
}

impl Listener {
    /// The next message; [`Live::Dropped`] where some were missed, `None` when the hub ends.
    pub async fn next(&mut self) -> Option<Live> {
        match self.receiver.recv().await {
            Ok(live) => Some(live),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Live::Dropped { count }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

async fn pass_on(
    bus: Bus,
    mut events: broadcast::Receiver<Entry>,
    mut pulls: broadcast::Receiver<Pull>,
    mut prompts: Subscription,
    mut notices: Subscription,
    sender: broadcast::Sender<Live>,
) {
    let mut known = 0;
    loop {
        let live = tokio::select! {
            event = events.recv() => match event {
                Ok(entry) => Some(Live::Turn { event: entry.event }),
                Err(broadcast::error::RecvError::Lagged(count)) => Some(Live::Dropped { count }),
                Err(broadcast::error::RecvError::Closed) => return,
            },
            pull = pulls.recv() => match pull {
                Ok(pull) => Some(Live::ModelPull { pull: pull.into() }),
                // The newer ones say all that the older ones said.
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return,
            },
            Some(message) = prompts.next() => prompt(&message),
            Some(message) = notices.next() => notice(&message),
        };
        let dropped = prompts.dropped() + notices.dropped();
        if dropped > known {
            let _nobody = sender.send(Live::Dropped { count: dropped - known });
            known = dropped;
        }
        match live {
            // Nobody listening is no fault.
            Some(live) => drop(sender.send(live)),
            None => tracing::debug!(identity = bus.identity(), "a message of the bus cannot be read"),
        }
    }
}

fn prompt(message: &Message) -> Option<Live> {
    Some(match message.json().ok()? {
        PromptEvent::Shown { prompt } => Live::PromptShown { prompt },
        PromptEvent::Over { answer } => {
            let id = message.subject.rsplit('.').next()?;
            Live::PromptOver { prompt: PromptId::new(id).ok()?, answer }
        }
    })
}

fn notice(message: &Message) -> Option<Live> {
    let SkillNotification { skill, text } = message.json().ok()?;
    Some(Live::Notice { skill, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_that_falls_behind_is_told_how_many_it_missed() {
        let (sender, _) = broadcast::channel(BEHIND);
        let feed = Feed { sender };
        let mut listener = feed.listen();
        let notice = |n: usize| Live::Notice { skill: "timer".to_owned(), text: n.to_string() };
        for n in 0..BEHIND + 10 {
            feed.sender.send(notice(n)).unwrap();
        }
        assert_eq!(listener.next().await, Some(Live::Dropped { count: 10 }));
        assert_eq!(listener.next().await, Some(notice(10)), "and goes on after them");
        drop(feed);
        for _ in 11..BEHIND + 10 {
            assert!(matches!(listener.next().await, Some(Live::Notice { .. })));
        }
        assert_eq!(listener.next().await, None);
    }
}
