//! The handle that windows, hotkeys and the bus share. Every call only leaves a note; what
//! it means is decided at the [`crate::desk`].

use crate::desk::{Desk, Order};
use crate::devices::DeviceList;
use crate::event::{TalkEvent, TalkSnapshot};
use crate::figures::TalkFigures;
use crate::loudspeaker::Loudspeaker;
use crate::microphone::{self, Wish};
use loqa_hub::Hub;
use loqa_hub::hub::KeyRequests;
use loqa_protocol::talk::{KeyReply, KeyRequest, TalkPhase};
use loqa_protocol::{Failure, Hop};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Notes that may wait. Chosen: a key makes a few a second; more than these are dropped and said so.
const ORDERS: usize = 256;
/// Events that a window may be behind, some ten turns' worth. Chosen.
const BEHIND: usize = 1_024;
/// Turns whose figures are kept. Chosen: what a bench asks for.
const FIGURES: usize = 256;
/// Longest wait for an answer to the bus. Chosen: the desk takes a note in well under a millisecond.
const ANSWER: Duration = Duration::from_secs(2);
/// Longest wait for the end. Chosen: above that of a turn that stops and of two devices that close.
const STOPPING: Duration = Duration::from_secs(20);

/// Why talking cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TalkError {
    /// The call came from outside of a tokio runtime; enter one first.
    #[error("talking needs a tokio runtime: call this from within one")]
    NoRuntime,
}

/// What talking needs to know.
#[derive(Debug, Clone)]
pub struct TalkOptions {
    /// The microphone; `None` is the system's default.
    pub microphone: Option<String>,
    /// Where answers are played, and the hub's announcements, whose output it makes.
    pub loudspeaker: Loudspeaker,
}

/// Press to talk. Cheap to clone; when the last one is dropped the talking ends too.
#[derive(Debug, Clone)]
pub struct Talk {
    orders: mpsc::Sender<Order>,
    wish: Arc<watch::Sender<Wish>>,
    loudspeaker: Loudspeaker,
    shared: Arc<Shared>,
    over: watch::Receiver<bool>,
}

/// What the desk leaves for whoever looks.
#[derive(Debug)]
pub(crate) struct Shared {
    pub events: broadcast::Sender<TalkEvent>,
    snapshot: Mutex<TalkSnapshot>,
    figures: Mutex<VecDeque<TalkFigures>>,
}

impl Talk {
    /// Opens the microphone in the background and takes the key, also from the bus. Call from
    /// within a tokio runtime. It holds the hub until [`Talk::stop`] returns.
    ///
    /// # Errors
    /// [`TalkError::NoRuntime`]. Missing devices are a state, not an error.
    pub fn start(hub: Arc<Hub>, options: TalkOptions) -> Result<Self, TalkError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| TalkError::NoRuntime)?;
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (wish, wished) = watch::channel(Wish { device: options.microphone, is_closed: false });
        let (news_sender, news) = mpsc::channel(microphone::FRAMES);
        let (events, _) = broadcast::channel(BEHIND);
        let snapshot = TalkSnapshot {
            phase: TalkPhase::Offline,
            is_muted: false,
            is_held: false,
            session: None,
            microphone: None,
            speaker: options.loudspeaker.watch().borrow().fault,
        };
        let shared = Arc::new(Shared { events, snapshot: Mutex::new(snapshot), figures: Mutex::default() });
        let (ended, over) = watch::channel(false);
        let wish = Arc::new(wish);
        let keeper = runtime.spawn(microphone::keep(wished, news_sender));
        let keys = runtime.spawn(serve_keys(Arc::clone(&hub), orders.downgrade()));
        let desk = Desk::new(hub, options.loudspeaker.clone(), Arc::downgrade(&wish), Arc::clone(&shared), news, inbox);
        runtime.spawn(async move {
            desk.run().await;
            keys.abort();
            let _aborted = keys.await;
            // It ends when nobody wishes, or has nobody to tell any more.
            keeper.abort();
            let _aborted = keeper.await;
            ended.send_replace(true);
        });
        Ok(Self { orders, wish, loudspeaker: options.loudspeaker, shared, over })
    }

    /// The key goes down.
    pub fn press(&self) {
        self.order(Order::Key { request: KeyRequest::Press, at: Instant::now(), answer: None });
    }

    /// The key goes up.
    pub fn release(&self) {
        self.order(Order::Key { request: KeyRequest::Release, at: Instant::now(), answer: None });
    }

    /// The key goes down and up at once.
    pub fn tap(&self) {
        self.order(Order::Key { request: KeyRequest::Tap, at: Instant::now(), answer: None });
    }

    /// Whatever goes on is to end.
    pub fn cancel(&self) {
        self.order(Order::Key { request: KeyRequest::Cancel, at: Instant::now(), answer: None });
    }

    /// Closes the microphone, or opens it.
    pub fn mute(&self, on: bool) {
        self.order(Order::Mute(on));
    }

    /// A typed turn, whose answer is spoken where `speak` says so.
    pub fn text(&self, text: String, speak: bool) {
        self.order(Order::Text { text, speak });
    }

    /// A new conversation begins.
    pub fn fresh(&self) {
        self.order(Order::Fresh);
    }

    /// Whether levels flow although nobody talks, for a test of the microphone.
    pub fn listen_levels(&self, on: bool) {
        self.order(Order::ListenLevels(on));
    }

    /// Whether the answers to what is said are spoken; they are until this says otherwise. A
    /// typed turn says so itself.
    pub fn speak_answers(&self, on: bool) {
        self.order(Order::SpeakAnswers(on));
    }

    /// Says a short sentence through the chosen speaker.
    pub fn try_speaker(&self) {
        self.order(Order::TrySpeaker);
    }

    /// The devices of this machine. Asks the system, which takes up to a second: not for the
    /// thread of a window.
    #[must_use]
    pub fn devices(&self) -> DeviceList {
        let (microphone, speaker) =
            (self.wish.borrow().device.clone(), self.loudspeaker.watch().borrow().chosen.clone());
        DeviceList::read(microphone, speaker)
    }

    /// Other devices, by their ids; `None` is the system's default. Takes effect at once.
    pub fn choose(&self, microphone: Option<String>, speaker: Option<String>) {
        self.wish.send_if_modified(|wish| {
            let is_new = wish.device != microphone;
            wish.device = microphone;
            is_new
        });
        if self.loudspeaker.watch().borrow().chosen != speaker {
            self.loudspeaker.choose(speaker);
        }
    }

    /// How things stand.
    #[must_use]
    pub fn snapshot(&self) -> TalkSnapshot {
        self.shared.snapshot().clone()
    }

    /// What happens from here on. Who falls behind misses events: ask for a snapshot then.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<TalkEvent> {
        self.shared.events.subscribe()
    }

    /// Figures of the last spoken turns, the oldest first.
    #[must_use]
    pub fn figures(&self) -> Vec<TalkFigures> {
        self.shared.figures.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Stops the turn that runs, closes the devices and lets go of the hub; returns when that
    /// is done.
    pub async fn stop(&self) {
        let _gone = self.orders.send(Order::Stop).await;
        let mut over = self.over.clone();
        if tokio::time::timeout(STOPPING, over.wait_for(|over| *over)).await.is_err() {
            tracing::error!("talking did not end in time");
        }
        self.loudspeaker.stop().await;
    }

    fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            tracing::warn!("a key was not taken: talking is over, or too much waits");
        }
    }
}

impl Shared {
    pub fn snapshot(&self) -> MutexGuard<'_, TalkSnapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody listening is no fault.
    pub fn tell(&self, event: TalkEvent) {
        let _nobody = self.events.send(event);
    }

    pub fn keep_figures(&self, figures: TalkFigures) {
        let mut kept = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == FIGURES {
            kept.pop_front();
        }
        kept.push_back(figures);
    }
}

/// Passes on what clients of the bus do with the key.
async fn serve_keys(hub: Arc<Hub>, orders: mpsc::WeakSender<Order>) {
    let mut keys: KeyRequests = match hub.keys().await {
        Ok(keys) => keys,
        Err(error) => {
            tracing::error!(%error, "`loqa ptt` will not be heard");
            return;
        }
    };
    drop(hub);
    while let Some((request, to)) = keys.next().await {
        let Some(orders) = orders.upgrade() else { return };
        let (answer, answered) = oneshot::channel();
        let order = Order::Key { request, at: Instant::now(), answer: Some(answer) };
        let offline = || {
            let fault = crate::TalkFault::Offline;
            KeyReply::Refused { failure: Failure::new(Hop::Input, fault.code(), fault.message()) }
        };
        let reply = match orders.try_send(order) {
            Ok(()) => match tokio::time::timeout(ANSWER, answered).await {
                Ok(Ok(reply)) => reply,
                Ok(Err(_)) | Err(_) => offline(),
            },
            Err(_) => offline(),
        };
        to.give(&reply).await;
    }
}
