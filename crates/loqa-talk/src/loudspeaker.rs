//! The one speaker: answers of turns, and announcements of the hub when nobody talks.
//!
//! It is open before it is needed. An answer comes before an announcement, which is said
//! again from its beginning when somebody talked over it: a timer that rang is not lost.
//! A device that goes away is opened again, and what is left of the answer goes there.
//! Deliberately absent: mixing, volume, captions.

use crate::aside::Aside;
use crate::event::DeviceFault;
use crate::talk::TalkError;
use loqa_audio::{AudioError, Output, OutputEvent};
use loqa_hub::SinkFactory;
use loqa_hub::sink::{AudioSink, SinkCommand, SinkDriver, SinkEvent};
use loqa_protocol::audio::OUTPUT_SAMPLE_RATE;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// How often a speaker that is not there is looked for. Chosen.
const LOOK: Duration = Duration::from_secs(1);
/// Orders that may wait. Chosen: a handful per turn; an announcement beyond it fails.
const ORDERS: usize = 64;
/// Announcements that may wait. Chosen; more than that fail.
const WAITING: usize = 16;
/// How often an answer goes on after its device went away. Chosen: a sound server of a machine
/// under load takes a stream away every few seconds, and gives the next one at once.
const LOSSES: u32 = 5;
/// Longest wait for the end. Chosen: above that for a device to open or close.
const CLOSING: Duration = Duration::from_secs(12);

/// A handle to the speaker; cheap to clone. It works from its start on, also before there
/// is a [`crate::Talk`], so that a hub can be given its [`Loudspeaker::factory`].
#[derive(Debug, Clone)]
pub struct Loudspeaker {
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<SpeakerState>,
    sound: Arc<Mutex<Sound>>,
}

/// How the speaker is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SpeakerState {
    /// The chosen device; `None` is the system's default.
    pub chosen: Option<String>,
    /// What is wrong with it.
    pub fault: Option<DeviceFault>,
}

/// Whether something is heard, and until when it was.
#[derive(Debug, Default)]
struct Sound {
    is_on: bool,
    until: Option<Instant>,
}

type Heard = Box<dyn FnOnce() + Send>;
type Open = dyn Fn(Option<&str>, mpsc::Sender<OutputEvent>) -> Result<Output, AudioError> + Send + Sync;

enum Order {
    Play(Job),
    HoldBack(bool),
    Choose(Option<String>),
    Stop(oneshot::Sender<()>),
}

impl Loudspeaker {
    /// Opens the system's default speaker, or the one with this id, in the background. Call
    /// from within a tokio runtime.
    ///
    /// # Errors
    /// [`TalkError::NoRuntime`]. A speaker that is not there is no error: it is looked for.
    pub fn start(device: Option<String>) -> Result<Self, TalkError> {
        Self::start_on(device, |device, events| {
            // An answer brings three events at most; the device's thread must not wait in any case.
            Output::speaker(device, move |event| drop(events.try_send(event)))
        })
    }

    fn start_on(
        device: Option<String>,
        open: impl Fn(Option<&str>, mpsc::Sender<OutputEvent>) -> Result<Output, AudioError> + Send + Sync + 'static,
    ) -> Result<Self, TalkError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| TalkError::NoRuntime)?;
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (state, watched) = watch::channel(SpeakerState { chosen: device, fault: None });
        let sound = Arc::new(Mutex::new(Sound::default()));
        let (_, events) = mpsc::channel(1);
        let player = Player {
            open: Arc::new(open),
            state,
            sound: Arc::clone(&sound),
            output: Aside::none(),
            opening: None,
            events,
            job: None,
            waiting: VecDeque::new(),
            is_held_back: false,
        };
        runtime.spawn(player.run(inbox));
        Ok(Self { orders, state: watched, sound })
    }

    /// Outputs for a hub: for announcements, and for answers that clients want spoken.
    #[must_use]
    pub fn factory(&self) -> SinkFactory {
        let orders = self.orders.clone();
        Arc::new(move || {
            let (sink, driver) = AudioSink::pair();
            // Refused when too much waits; the hub sees that its output is gone.
            let _full = orders.try_send(Order::Play(Job::new(driver, Kind::Announcement, None)));
            sink
        })
    }

    /// An output for the answer of a turn; `heard` is called with its first sample.
    pub(crate) fn answer(&self, heard: impl FnOnce() + Send + 'static) -> AudioSink {
        let (sink, driver) = AudioSink::pair();
        let _full = self.orders.try_send(Order::Play(Job::new(driver, Kind::Answer, Some(Box::new(heard)))));
        sink
    }

    /// Announcements wait while somebody talks or is answered.
    pub(crate) fn hold_back(&self, on: bool) {
        let _full = self.orders.try_send(Order::HoldBack(on));
    }

    /// Another speaker; takes effect at once.
    pub(crate) fn choose(&self, device: Option<String>) {
        let _full = self.orders.try_send(Order::Choose(device));
    }

    /// How it is, from here on.
    pub(crate) fn watch(&self) -> watch::Receiver<SpeakerState> {
        self.state.clone()
    }

    /// The last moment at which something was heard: `now` while it is.
    pub(crate) fn heard_until(&self, now: Instant) -> Option<Instant> {
        let sound = self.sound.lock().unwrap_or_else(PoisonError::into_inner);
        if sound.is_on { Some(now) } else { sound.until }
    }

    /// Closes the device; returns when it is closed.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.orders.send(Order::Stop(done)).await.is_ok() {
            let _late = tokio::time::timeout(CLOSING, stopped).await;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Answer,
    Announcement,
}

/// What is to be played.
struct Job {
    driver: SinkDriver,
    kind: Kind,
    heard: Option<Heard>,
    /// All of its sound so far: an announcement may have to be said again, and the device may
    /// go away. Bounded by the longest answer that an output takes.
    kept: Vec<i16>,
    is_complete: bool,
    is_playing: bool,
    /// When its first sample was played, for the first time.
    first: Option<Instant>,
    /// How often its device went away; [`LOSSES`] end it.
    losses: u32,
}

impl Job {
    fn new(driver: SinkDriver, kind: Kind, heard: Option<Heard>) -> Self {
        Self { driver, kind, heard, kept: Vec::new(), is_complete: false, is_playing: false, first: None, losses: 0 }
    }

    fn tell(&self, event: SinkEvent) {
        // At most a handful of these in a turn; the channel holds them.
        let _full = self.driver.events.try_send(event);
    }

    /// Leaves the hub its channel until it closes it: a channel that is gone would be a fault.
    fn let_go(mut self) {
        tokio::spawn(async move { while self.driver.commands.recv().await.is_some() {} });
    }
}

struct Player {
    open: Arc<Open>,
    state: watch::Sender<SpeakerState>,
    sound: Arc<Mutex<Sound>>,
    output: Aside<Output>,
    opening: Option<JoinHandle<Result<Output, AudioError>>>,
    /// Of the output that is open, or is being opened.
    events: mpsc::Receiver<OutputEvent>,
    job: Option<Job>,
    waiting: VecDeque<Job>,
    is_held_back: bool,
}

/// Everything that can wake the speaker.
enum Wake {
    Order(Option<Order>),
    Command(Option<SinkCommand>),
    Event(OutputEvent),
    Opened(Result<Output, AudioError>),
    Look,
}

impl Player {
    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        self.begin_opening();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            match self.wait(&mut inbox, &mut look).await {
                Wake::Order(None) => return self.close().await,
                Wake::Order(Some(Order::Stop(done))) => {
                    self.close().await;
                    let _ = done.send(());
                    return;
                }
                Wake::Order(Some(Order::Play(job))) => self.take(job),
                Wake::Order(Some(Order::HoldBack(on))) => {
                    self.is_held_back = on;
                    if on {
                        self.interrupt_announcement();
                    }
                }
                Wake::Order(Some(Order::Choose(device))) => self.choose(device),
                Wake::Command(command) => self.follow(command),
                Wake::Event(event) => self.notice(event),
                Wake::Opened(opened) => self.opened(opened),
                Wake::Look => self.look(),
            }
            self.next();
        }
    }

    async fn wait(&mut self, inbox: &mut mpsc::Receiver<Order>, look: &mut tokio::time::Interval) -> Wake {
        let Self { job, opening, events, .. } = self;
        let command = async {
            match job {
                Some(job) => job.driver.commands.recv().await,
                None => std::future::pending().await,
            }
        };
        let opened = async {
            match opening {
                Some(opening) => opening.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = inbox.recv() => Wake::Order(order),
            command = command => Wake::Command(command),
            Some(event) = events.recv() => Wake::Event(event),
            opened = opened => {
                self.opening = None;
                Wake::Opened(opened.unwrap_or_else(|error| Err(AudioError::Device {
                    direction: "speaker",
                    name: "default".to_owned(),
                    reason: error.to_string(),
                })))
            }
            _ = look.tick() => Wake::Look,
        }
    }

    /// A device may take seconds to open: not on an async thread, and nothing waits for it.
    fn begin_opening(&mut self) {
        if let Some(earlier) = self.opening.take() {
            // What it opens closes by itself.
            drop(earlier);
        }
        let (sender, events) = mpsc::channel(16);
        self.events = events;
        let (open, device) = (Arc::clone(&self.open), self.state.borrow().chosen.clone());
        self.opening = Some(tokio::task::spawn_blocking(move || open(device.as_deref(), sender)));
    }

    fn opened(&mut self, opened: Result<Output, AudioError>) {
        match opened {
            Ok(output) => {
                self.output = Aside::new(output);
                self.set_fault(None);
            }
            Err(error) => {
                if self.set_fault(Some(DeviceFault::of(&error))) {
                    tracing::warn!(%error, "speaker");
                }
                // Text is what remains of them.
                for job in self.job.take().into_iter().chain(self.waiting.drain(..)) {
                    job.tell(SinkEvent::Failed(error.to_string()));
                    job.let_go();
                }
            }
        }
    }

    /// Whether the fault is another one than before.
    fn set_fault(&self, fault: Option<DeviceFault>) -> bool {
        self.state.send_if_modified(|state| {
            let is_new = state.fault != fault;
            state.fault = fault;
            is_new
        })
    }

    fn look(&mut self) {
        if self.output.as_ref().is_some_and(|output| !output.is_open()) {
            self.lost();
        }
        if self.output.is_none() && self.opening.is_none() {
            self.begin_opening();
        }
    }

    /// The device went away: what is left of the answer goes to it when it is back. Most are
    /// back at once (a sound server that fell behind), so a fault is told when they are not.
    fn lost(&mut self) {
        self.silent();
        self.close_output();
        if let Some(job) = &mut self.job {
            job.is_playing = false;
        }
        self.begin_opening();
    }

    fn choose(&mut self, device: Option<String>) {
        self.state.send_if_modified(|state| {
            let is_new = state.chosen != device;
            state.chosen = device;
            is_new
        });
        self.silent();
        self.close_output();
        if let Some(job) = &mut self.job {
            job.is_playing = false;
        }
        self.begin_opening();
    }

    fn close_output(&mut self) {
        self.output = Aside::none();
    }

    fn take(&mut self, job: Job) {
        match job.kind {
            Kind::Answer => {
                self.interrupt_announcement();
                // One turn at a time; an answer that is there still has been stopped.
                if let Some(earlier) = self.job.replace(job) {
                    self.fall_silent();
                    earlier.tell(SinkEvent::Drained);
                    earlier.let_go();
                }
            }
            Kind::Announcement if self.waiting.len() < WAITING => self.waiting.push_back(job),
            Kind::Announcement => {
                job.tell(SinkEvent::Failed("too many announcements wait".to_owned()));
                job.let_go();
            }
        }
    }

    /// Somebody talks: the announcement is said again later.
    fn interrupt_announcement(&mut self) {
        if self.job.as_ref().is_some_and(|job| job.kind == Kind::Announcement)
            && let Some(mut job) = self.job.take()
        {
            self.fall_silent();
            job.is_playing = false;
            self.waiting.push_front(job);
        }
    }

    /// Takes up what is to be played next.
    fn next(&mut self) {
        if self.job.is_none() && !self.is_held_back {
            self.job = self.waiting.pop_front();
        }
        if let (Some(job), Some(output)) = (&mut self.job, &mut *self.output)
            && !job.is_playing
        {
            job.is_playing = true;
            output.start();
            let heard = match job.kind {
                Kind::Answer => job.first.map_or(0, |first| samples_in(first.elapsed())),
                Kind::Announcement => 0,
            };
            output.push(&job.kept[heard.min(job.kept.len())..]);
            if job.is_complete {
                output.finish();
            }
        }
    }

    fn follow(&mut self, command: Option<SinkCommand>) {
        let Some(job) = &mut self.job else { return };
        let output = self.output.as_mut().filter(|_| job.is_playing);
        match command {
            Some(SinkCommand::Chunk(samples)) => {
                if let Some(output) = output {
                    output.push(&samples);
                }
                job.kept.extend(samples);
            }
            Some(SinkCommand::Finish) => {
                job.is_complete = true;
                if let Some(output) = output {
                    output.finish();
                }
            }
            Some(SinkCommand::Stop) => self.end_job(SinkEvent::Drained),
            None => self.end_job(SinkEvent::Drained),
        }
    }

    fn notice(&mut self, event: OutputEvent) {
        let Some(job) = self.job.as_mut().filter(|job| job.is_playing) else { return };
        match event {
            OutputEvent::FirstSample { at, latency } => {
                self.sound.lock().unwrap_or_else(PoisonError::into_inner).is_on = true;
                if job.first.is_none() {
                    job.first = Some(at);
                    job.tell(SinkEvent::FirstSample { at, device_latency: latency });
                    if let Some(heard) = job.heard.take() {
                        heard();
                    }
                }
            }
            OutputEvent::Drained => self.end_job(SinkEvent::Drained),
            OutputEvent::Failed { error } if job.losses >= LOSSES => self.end_job(SinkEvent::Failed(error.to_string())),
            OutputEvent::Failed { error } => {
                tracing::warn!(%error, "speaker");
                job.losses += 1;
                self.lost();
            }
        }
    }

    fn end_job(&mut self, event: SinkEvent) {
        let Some(job) = self.job.take() else { return };
        self.fall_silent();
        job.tell(event);
        job.let_go();
    }

    fn fall_silent(&mut self) {
        if let Some(output) = &mut *self.output {
            output.stop();
        }
        // After `stop` none of the old answer comes; what came before it is not the next one's.
        while self.events.try_recv().is_ok() {}
        self.silent();
    }

    fn silent(&self) {
        let mut sound = self.sound.lock().unwrap_or_else(PoisonError::into_inner);
        if sound.is_on {
            *sound = Sound { is_on: false, until: Some(Instant::now()) };
        }
    }

    async fn close(mut self) {
        for job in self.job.take().into_iter().chain(self.waiting.drain(..)) {
            job.tell(SinkEvent::Drained);
            job.let_go();
        }
        if let Some(opening) = self.opening.take()
            && let Ok(Ok(output)) = opening.await
        {
            self.output = Aside::new(output);
        }
        self.output.close().await;
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a length of sound, rounded")]
fn samples_in(time: Duration) -> usize {
    (time.as_secs_f64() * f64::from(OUTPUT_SAMPLE_RATE)) as usize
}

#[cfg(test)]
mod tests;
