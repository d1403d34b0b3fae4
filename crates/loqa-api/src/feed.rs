//! What happens, as live messages: one subscription to the bus for all WebSockets.
//!
//! Bounded on every side: the bus drops what this falls behind on, a socket that falls
//! behind misses messages, and both are counted and told. Nothing waits for a listener.

use anyhow::Context as _;
use loqa_bus::{Bus, Message, Subscription};
use loqa_protocol::grant::{Prompt, PromptEvent};
use loqa_protocol::skill::SkillNotification;
use loqa_protocol::{PromptId, TimedEvent};
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
    /// Listens on this connection until it is closed. The task ends with `bus`.
    ///
    /// # Errors
    /// The bus refuses.
    pub async fn start(bus: Bus) -> anyhow::Result<(Self, tokio::task::JoinHandle<()>)> {
        let subscribe = async |subject: &str| {
            bus.subscribe(subject, None, QUEUE).await.with_context(|| format!("listen to `{subject}`"))
        };
        let events = subscribe("loqa.event.*").await?;
        let prompts = subscribe("loqa.prompt.*").await?;
        let notices = subscribe("loqa.notice.*").await?;
        bus.flush().await.context("listen to the bus")?;
        let (sender, _) = broadcast::channel(BEHIND);
        let feed = Self { sender: sender.clone() };
        let task = tokio::spawn(pass_on(bus, events, prompts, notices, sender));
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
    mut events: Subscription,
    mut prompts: Subscription,
    mut notices: Subscription,
    sender: broadcast::Sender<Live>,
) {
    let mut known = 0;
    loop {
        let live = tokio::select! {
            Some(message) = events.next() => event(&message),
            Some(message) = prompts.next() => prompt(&message),
            Some(message) = notices.next() => notice(&message),
            else => return,
        };
        let dropped = events.dropped() + prompts.dropped() + notices.dropped();
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

fn event(message: &Message) -> Option<Live> {
    Some(Live::Turn { event: message.json().ok()? })
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
