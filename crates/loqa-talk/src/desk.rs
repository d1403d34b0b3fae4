//! Where everything comes together: one loop, one `enum` of everything that can wake it. The
//! key decides, the ear cuts, and this does what they say. Deliberately absent: decisions.

use crate::ear::{Ear, Heard};
use crate::event::{HubMessage, TalkEvent, TalkFault};
use crate::figures::TalkFigures;
use crate::key::{Action, Input, Key};
use crate::loudspeaker::{Loudspeaker, SpeakerState};
use crate::microphone::{News, Wish};
use crate::talk::Shared;
use loqa_audio::level::Level;
use loqa_hub::hub::TurnOptions;
use loqa_hub::session::VoiceInput;
use loqa_hub::session::driver::{TurnInput, TurnOrder};
use loqa_hub::{Hub, RunningTurn};
use loqa_protocol::client::TurnReport;
use loqa_protocol::event::TurnSource;
use loqa_protocol::talk::{KeyReply, KeyRequest, TalkPhase};
use loqa_protocol::{ErrorCode, Failure, Hop, SessionId, TimedEvent, TurnEvent, TurnId};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Inputs of a turn that may wait: 40 seconds of frames, more than a turn accepts.
const FRAMES: usize = 2_000;
/// Longest wait for the last event of a turn that has ended. Chosen.
const LAST_EVENT: Duration = Duration::from_secs(2);
/// A turn that was stopped and does not end in this time is left to itself. Chosen: above
/// every deadline of a call that cannot be interrupted.
const GIVE_UP: Duration = Duration::from_secs(15);
/// Longest wait for the engines; who presses the key after that is told what fails. Chosen.
const READY: Duration = Duration::from_mins(1);
/// Notes of turns that may wait. Chosen: two per turn.
const NOTES: usize = 16;
/// What a speaker is tried with, by the language that is spoken.
const TRIALS: &[(&str, &str)] = &[("de", "Hallo, hier ist Loqa."), ("", "Hello, this is Loqa.")];
/// Longest wait for an announcement to be taken. Chosen.
const ANNOUNCING: Duration = Duration::from_secs(1);

/// What is asked of the desk.
pub(crate) enum Order {
    /// The key, when it happened, and who wants to know what came of it.
    Key {
        request: KeyRequest,
        at: Instant,
        answer: Option<oneshot::Sender<KeyReply>>,
    },
    Mute(bool),
    Text {
        text: String,
        speak: bool,
    },
    Fresh,
    ListenLevels(bool),
    SpeakAnswers(bool),
    TrySpeaker,
    Stop,
}

/// What turns tell the desk.
enum Note {
    /// The first sample of this turn's answer was played.
    Heard(u64),
    Ended(u64, Option<Box<TurnReport>>),
}

/// Everything that can wake the desk.
enum Wake {
    Order(Option<Order>),
    Microphone(Option<News>),
    Note(Note),
    Event(Result<TimedEvent, RecvError>),
    Speaker(SpeakerState),
    Ready,
    Deadline,
}

/// The turn that runs.
struct Running {
    number: u64,
    turn: TurnId,
    orders: mpsc::Sender<TurnOrder>,
    /// Open while somebody is listened to.
    feed: Option<mpsc::Sender<VoiceInput>>,
    /// Listening was told of, and not its end.
    is_held: bool,
    is_playing: bool,
    /// Its last event was passed on.
    is_told: bool,
    report: Option<TurnReport>,
    /// When it is over at the latest: its last event does not come, or it does not stop.
    due: Option<Instant>,
    figures: Option<TalkFigures>,
}

pub(crate) struct Desk {
    hub: Arc<Hub>,
    loudspeaker: Loudspeaker,
    wish: Weak<watch::Sender<Wish>>,
    shared: Arc<Shared>,
    news: mpsc::Receiver<News>,
    inbox: mpsc::Receiver<Order>,
    notes: mpsc::Receiver<Note>,
    note_sender: mpsc::Sender<Note>,
    key: Key,
    ear: Ear,
    level: Level,
    wants_levels: bool,
    speaks_answers: bool,
    running: Option<Running>,
    session: Option<SessionId>,
    /// What the handling of an input brought about, with its time.
    pending: VecDeque<(Input, Instant)>,
    /// Why the last input was refused.
    refusal: Option<TalkFault>,
    pressed: Instant,
    is_held_back: bool,
    is_stopping: bool,
}

impl Desk {
    pub fn new(
        hub: Arc<Hub>,
        loudspeaker: Loudspeaker,
        wish: Weak<watch::Sender<Wish>>,
        shared: Arc<Shared>,
        news: mpsc::Receiver<News>,
        inbox: mpsc::Receiver<Order>,
    ) -> Self {
        let (note_sender, notes) = mpsc::channel(NOTES);
        Self {
            hub,
            loudspeaker,
            wish,
            shared,
            news,
            inbox,
            notes,
            note_sender,
            key: Key::default(),
            ear: Ear::default(),
            level: Level::default(),
            wants_levels: false,
            speaks_answers: true,
            running: None,
            session: None,
            pending: VecDeque::new(),
            refusal: None,
            pressed: Instant::now(),
            is_held_back: false,
            is_stopping: false,
        }
    }

    /// Runs until it is told to stop, nobody holds a handle, or the hub ends.
    pub async fn run(mut self) {
        let mut events = self.hub.recorder().subscribe();
        let mut speaker = self.loudspeaker.watch();
        let mut ready = Some(wait_ready(Arc::clone(&self.hub)));
        loop {
            let deadline = self.next_deadline();
            let is_stopping = self.is_stopping;
            let wake = tokio::select! {
                biased;
                order = self.inbox.recv(), if !is_stopping => Wake::Order(order),
                Some(note) = self.notes.recv() => Wake::Note(note),
                event = events.recv() => Wake::Event(event.map(|entry| entry.event)),
                news = self.news.recv(), if !is_stopping => Wake::Microphone(news),
                Ok(()) = speaker.changed() => Wake::Speaker(speaker.borrow_and_update().clone()),
                () = finished(&mut ready), if !is_stopping => Wake::Ready,
                () = sleep_until(deadline) => Wake::Deadline,
            };
            match wake {
                Wake::Order(Some(Order::Stop) | None)
                | Wake::Microphone(None)
                | Wake::Event(Err(RecvError::Closed)) => {
                    self.is_stopping = true;
                    self.act(Input::Online(false), Instant::now()).await;
                }
                Wake::Order(Some(order)) => self.follow(order).await,
                Wake::Microphone(Some(news)) => self.take_news(news).await,
                Wake::Note(Note::Heard(number)) => self.first_sound(number).await,
                Wake::Note(Note::Ended(number, report)) => self.ended(number, report).await,
                Wake::Event(Ok(event)) => self.pass_on(event).await,
                Wake::Event(Err(RecvError::Lagged(missed))) => tracing::debug!(missed, "talking is behind"),
                Wake::Speaker(state) => {
                    self.shared.snapshot().speaker = state.fault;
                    self.shared.tell(TalkEvent::Speaker { fault: state.fault });
                }
                Wake::Ready => {
                    self.act(Input::Online(true), Instant::now()).await;
                    self.shared.tell(TalkEvent::Opened);
                }
                Wake::Deadline => self.deadline().await,
            }
            if self.is_stopping && self.running.is_none() {
                break;
            }
        }
        if let Some(ready) = ready {
            ready.abort();
            let _aborted = ready.await;
        }
        self.loudspeaker.hold_back(false);
        self.shared.tell(TalkEvent::Closed);
    }

    async fn follow(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Key { request, at, answer } => {
                let heard_until = self.loudspeaker.heard_until(at);
                self.refusal = None;
                match request {
                    KeyRequest::Press => {
                        self.pressed = at;
                        self.act(Input::Press { heard_until }, at).await;
                    }
                    KeyRequest::Release => self.act(Input::Release, at).await,
                    KeyRequest::Tap => {
                        self.pressed = at;
                        self.act(Input::Press { heard_until }, at).await;
                        self.act(Input::Release, at).await;
                    }
                    KeyRequest::Cancel => self.act(Input::Cancel, at).await,
                    KeyRequest::Status => {}
                }
                if let Some(answer) = answer {
                    let _gone = answer.send(self.answer());
                }
            }
            Order::Mute(on) => {
                if let Some(wish) = self.wish.upgrade() {
                    wish.send_if_modified(|wish| std::mem::replace(&mut wish.is_closed, on) != on);
                }
                self.act(Input::Mute(on), now).await;
                self.ear.forget();
                self.shared.tell(TalkEvent::Muted { on });
            }
            Order::Text { text, speak } => self.act(Input::Text { text, speak }, now).await,
            Order::Fresh => {
                self.session = None;
                self.show();
                self.shared.tell(TalkEvent::Fresh);
            }
            Order::ListenLevels(on) => {
                self.wants_levels = on;
                if !on {
                    self.shared.tell(TalkEvent::Level { level: 0.0 });
                }
            }
            Order::SpeakAnswers(on) => self.speaks_answers = on,
            Order::TrySpeaker => {
                let config = self.hub.config();
                let language = config.text("stt.language");
                let trial =
                    TRIALS.iter().find(|(prefix, _)| language.starts_with(prefix)).map_or("", |(_, trial)| trial);
                if tokio::time::timeout(ANNOUNCING, self.hub.announce(trial)).await.is_err() {
                    tracing::warn!("the speaker is not tried: too many announcements wait");
                }
            }
            // Handled by the loop.
            Order::Stop => {}
        }
    }

    fn answer(&self) -> KeyReply {
        match self.refusal {
            Some(fault) => KeyReply::Refused { failure: Failure::new(Hop::Input, fault.code(), fault.message()) },
            None => KeyReply::State { phase: self.key.phase(), muted: self.key.is_muted() },
        }
    }

    async fn take_news(&mut self, news: News) {
        match news {
            News::Heard(_) if self.key.is_muted() => {}
            News::Heard(heard) => self.hear(heard).await,
            News::Changed(fault) => {
                self.act(Input::Microphone(fault), Instant::now()).await;
                if fault.is_some() {
                    self.ear.forget();
                }
                self.shared.snapshot().microphone = fault;
                self.shared.tell(TalkEvent::Microphone { fault });
            }
        }
    }

    async fn hear(&mut self, heard: Heard) {
        let level = self.level.push(&heard.samples);
        if let Some(level) = level.filter(|_| self.wants_levels || self.key.phase() == TalkPhase::Listening) {
            self.shared.tell(TalkEvent::Level { level });
        }
        let captured = heard.captured;
        let said = self.ear.hear(heard, self.key.wants_sound_from());
        self.feed(said.feed);
        for voice in said.voices {
            self.act(Input::Voice(voice), captured).await;
        }
    }

    /// Gives sound to the turn; a turn that listens no more is no fault.
    fn feed(&mut self, inputs: Vec<VoiceInput>) {
        let Some(running) = &mut self.running else { return };
        for input in inputs {
            let is_end = matches!(input, VoiceInput::End { .. });
            if let Some(Err(mpsc::error::TrySendError::Full(_))) =
                running.feed.as_ref().map(|feed| feed.try_send(input))
            {
                tracing::warn!("the turn takes no more sound");
            }
            if is_end {
                running.feed = None;
            }
        }
    }

    async fn first_sound(&mut self, number: u64) {
        let is_awaited = |running: &&mut Running| running.number == number && running.due.is_none();
        if let Some(running) = self.running.as_mut().filter(is_awaited) {
            running.is_playing = true;
            self.act(Input::Sounding(number), Instant::now()).await;
            self.shared.tell(TalkEvent::Playing { on: true });
        }
    }

    async fn pass_on(&mut self, event: TimedEvent) {
        let Some(running) = self.running.as_mut().filter(|running| running.turn == event.turn) else { return };
        let is_last = matches!(event.event, TurnEvent::TurnEnded { .. });
        running.is_told |= is_last;
        self.shared.tell(TalkEvent::Hub { message: HubMessage::Event { event } });
        if is_last {
            self.close_turn().await;
        }
    }

    /// The turn has ended; its last events may still be on their way.
    async fn ended(&mut self, number: u64, report: Option<Box<TurnReport>>) {
        let Some(running) = self.running.as_mut().filter(|running| running.number == number) else { return };
        let Some(report) = report else {
            // The hub is stopping.
            running.due = Some(Instant::now());
            return;
        };
        let has_events = !report.failure.as_ref().is_some_and(|failure| {
            failure.hop == Hop::Input && matches!(failure.code, ErrorCode::NotUnderstood | ErrorCode::TextTooLong)
        });
        running.report = Some(*report);
        running.due = Some(Instant::now() + if has_events { LAST_EVENT } else { Duration::ZERO });
        self.close_turn().await;
    }

    /// Ends the turn where it has ended and all of it was told.
    async fn close_turn(&mut self) {
        if self.running.as_ref().is_some_and(|running| running.is_told && running.report.is_some()) {
            self.drop_turn().await;
        }
    }

    async fn drop_turn(&mut self) {
        let Some(running) = self.running.take() else { return };
        // Whoever looks because of what is told here sees how things stand after it; what
        // begins then is told after it.
        let actions = self.key.handle(Input::Over(running.number), Instant::now());
        self.show();
        if running.is_held {
            self.shared.tell(TalkEvent::LetGo);
        }
        if running.is_playing {
            self.shared.tell(TalkEvent::Playing { on: false });
        }
        if let Some(figures) = running.figures {
            let latency_ms = running.report.as_ref().and_then(|report| report.latency_ms);
            self.shared.keep_figures(TalkFigures { latency_ms, ..figures });
        }
        self.shared.tell(match running.report {
            Some(report) => TalkEvent::Hub { message: HubMessage::Report { report } },
            None => TalkEvent::Ended,
        });
        for action in actions {
            self.perform(action).await;
        }
        self.settle().await;
    }

    fn next_deadline(&self) -> Option<Instant> {
        let of_turn = self.running.as_ref().and_then(|running| running.due);
        [self.key.next_deadline(), self.ear.next_deadline(), of_turn].into_iter().flatten().min()
    }

    async fn deadline(&mut self) {
        let now = Instant::now();
        let rest = self.ear.tick(now);
        self.feed(rest);
        self.act(Input::Tick, now).await;
        if let Some(running) = self.running.as_ref().filter(|running| running.due.is_some_and(|due| due <= now)) {
            if running.report.is_none() {
                tracing::error!(turn = %running.turn, "a turn did not end in time");
            }
            self.drop_turn().await;
        }
    }

    /// Tells the key and does what it says.
    async fn act(&mut self, input: Input, now: Instant) {
        self.pending.push_back((input, now));
        self.settle().await;
    }

    async fn settle(&mut self) {
        while let Some((input, now)) = self.pending.pop_front() {
            let actions = self.key.handle(input, now);
            self.show();
            for action in actions {
                self.perform(action).await;
            }
        }
    }

    /// What whoever looks sees.
    fn show(&mut self) {
        let phase = self.key.phase();
        {
            let mut snapshot = self.shared.snapshot();
            snapshot.phase = phase;
            snapshot.is_muted = self.key.is_muted();
            snapshot.is_held = phase == TalkPhase::Listening;
            snapshot.session.clone_from(&self.session);
        }
        let is_busy = matches!(phase, TalkPhase::Listening | TalkPhase::Thinking | TalkPhase::Speaking);
        if self.is_held_back != is_busy {
            self.is_held_back = is_busy;
            self.loudspeaker.hold_back(is_busy);
        }
    }

    async fn perform(&mut self, action: Action) {
        match action {
            Action::Begin { turn, from, until } => self.begin(turn, from, until).await,
            Action::BeginText { turn, text, speak } => {
                self.shared.tell(TalkEvent::Typed { text: text.clone() });
                self.begin_turn(turn, TurnInput::Text(text), speak).await;
            }
            Action::End { turn, at } => {
                let rest = self.ear.end(at);
                self.feed(rest);
                self.let_go(turn);
            }
            Action::Stop { turn, is_interruption } => {
                self.ear.drop_utterance();
                if let Some(running) = self.running.as_mut().filter(|running| running.number == turn) {
                    let order = if is_interruption { TurnOrder::BargeIn } else { TurnOrder::Cancel };
                    // Before its sound ends, which would be taken for the end of speech. Too late is no fault.
                    let _late = running.orders.try_send(order);
                    running.feed = None;
                    running.due.get_or_insert(Instant::now() + GIVE_UP);
                    if std::mem::take(&mut running.is_playing) {
                        self.shared.tell(TalkEvent::Playing { on: false });
                    }
                }
                self.let_go(turn);
            }
            Action::Drop { turn } => {
                self.ear.drop_utterance();
                self.let_go(turn);
            }
            Action::Refuse(fault) => {
                self.refusal = Some(fault);
                self.shared.tell(TalkEvent::Refused { fault });
            }
        }
    }

    /// Listening is over.
    fn let_go(&mut self, turn: u64) {
        if let Some(running) = self.running.as_mut().filter(|running| running.number == turn)
            && std::mem::take(&mut running.is_held)
        {
            self.shared.tell(TalkEvent::LetGo);
            self.shared.tell(TalkEvent::Level { level: 0.0 });
        }
    }

    async fn begin(&mut self, turn: u64, from: Instant, until: Option<Instant>) {
        let (feed, audio) = mpsc::channel(FRAMES);
        let said = self.ear.begin(from, until);
        let pre_roll: usize = said
            .feed
            .iter()
            .map(|input| match input {
                VoiceInput::Frame { samples, .. } => samples.len(),
                VoiceInput::End { .. } => 0,
            })
            .sum();
        for input in said.feed {
            // Less than a turn accepts.
            let _full = feed.try_send(input);
        }
        self.shared.tell(TalkEvent::Held);
        let input = TurnInput::Voice { source: TurnSource::PushToTalk, audio };
        self.begin_turn(turn, input, self.speaks_answers).await;
        let taken = self.pressed.elapsed();
        if let Some(running) = &mut self.running {
            running.is_held = true;
            running.feed = until.is_none().then_some(feed);
            running.figures = Some(TalkFigures {
                turn: running.turn.clone(),
                press_to_first_sample_ms: taken.as_secs_f64() * 1e3,
                pre_roll_ms: pre_roll as f64 * 1e3 / f64::from(loqa_protocol::audio::INPUT_SAMPLE_RATE),
                latency_ms: None,
            });
        }
        if until.is_some() {
            self.let_go(turn);
        }
        for voice in said.voices {
            self.pending.push_back((Input::Voice(voice), Instant::now()));
        }
    }

    async fn begin_turn(&mut self, number: u64, input: TurnInput, speak: bool) {
        let session = self.session.get_or_insert_with(|| SessionId::from_bits(rand::random())).clone();
        let options = TurnOptions { session: Some(session.clone()), ..TurnOptions::default() };
        let is_heard = speak && self.loudspeaker.watch().borrow().fault.is_none();
        let running: RunningTurn = if is_heard {
            let notes = self.note_sender.clone();
            let sink = self.loudspeaker.answer(move || drop(notes.try_send(Note::Heard(number))));
            self.hub.begin_with(options, input, sink).await
        } else {
            self.hub.begin_silent(options, input).await
        };
        let turn = running.turn.clone();
        self.running = Some(Running {
            number,
            turn: turn.clone(),
            orders: running.orders(),
            feed: None,
            is_held: false,
            is_playing: false,
            is_told: false,
            report: None,
            due: None,
            figures: None,
        });
        let notes = self.note_sender.clone();
        tokio::spawn(async move {
            // The desk may be gone.
            let _gone = notes.send(Note::Ended(number, running.report().await.ok().map(Box::new))).await;
        });
        self.show();
        self.shared.tell(TalkEvent::Hub { message: HubMessage::Started { session, turn } });
    }
}

/// One can talk when those who listen and speak are there; a text can wait for its own.
fn wait_ready(hub: Arc<Hub>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let talks = |capability: &str| capability.starts_with("stt.") || capability.starts_with("tts.");
        for (capability, reason) in hub.wait_ready_for(READY, talks).await {
            tracing::warn!(capability, reason, "is not available");
        }
    })
}

/// Waits for a task, once.
async fn finished(task: &mut Option<JoinHandle<()>>) {
    match task {
        Some(running) => {
            let _ended = running.await;
            *task = None;
        }
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
