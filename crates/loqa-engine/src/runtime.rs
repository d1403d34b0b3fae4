//! The life of an engine process: one loop, one enum of everything that can wake it.

use crate::boot::{self, Begin};
use crate::registration::keep_registered;
use crate::utterance::Utterance;
use crate::worker::{self, Assignment, Report, fault, hop};
use crate::{CancelFlag, EngineBoot, EngineKind, Job, LlmJob, Loaded, Replies, SttJob, TtsJob, host};
use loqa_bus::{Bus, BusError, Connection, Credentials, Message, Subscription};
use loqa_protocol::engine::{Control, ControlAnswer, EngineAnnounce, EngineHello, HEARTBEAT_MS, Heartbeat};
use loqa_protocol::{ErrorCode, Failure, PROTOCOL_VERSION, WorkId, header, subject};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc as async_mpsc, oneshot, watch};

/// Jobs that may wait for a free worker; more are told that the engine is busy.
const MAX_WAITING: usize = 8;
/// Longest text for speech, in characters: part of the protocol.
const MAX_SPOKEN_CHARS: usize = 2_000;
/// An utterance whose audio stops coming ends after this. Chosen: a hub that lives
/// sends a frame every 20 ms.
const AUDIO_SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// A worker that goes on for this long after its job has ended is stuck in its
/// library, and only a new process helps. Chosen: the longest step that cannot be
/// interrupted is one clause of speech, a few seconds on a slow machine.
const STUCK_LIMIT: Duration = Duration::from_secs(30);
/// How long the workers may take to return when the hub is gone.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);
/// How long the bus may take to come up at the start.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a refusal is not believed: while nats-server 2.15.1 takes over a changed
/// configuration, as it does for each engine that starts, it refuses whoever logs in
/// at that moment (seen in 3 of 10 starts of a hub with three engines).
const REFUSAL_LIMIT: Duration = Duration::from_secs(1);

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Done = 0,
    BadBoot = 2,
    ModelRefused = 3,
    Bus = 4,
    WorkerBroken = 5,
}

/// Runs an engine program from its boot line to its end. Call it from `main`, before
/// anything else, and return its result.
///
/// Exit codes: 0 drained, or the hub is gone; 2 no usable boot line; 3 the model was
/// refused; 4 the bus cannot be reached or the hub refused this engine; 5 a worker
/// panicked or is stuck.
pub fn engine_main(
    program: &'static str,
    kind: EngineKind,
    load: impl FnOnce(&EngineBoot) -> Result<Loaded, Failure> + Send + 'static,
) -> ExitCode {
    run(program, Some(kind), move |_, boot| load(boot))
}

/// [`engine_main`] for a program that may play any kind: `None` takes the kind that
/// the boot line asks for.
pub(crate) fn run(
    program: &'static str,
    kind: Option<EngineKind>,
    load: impl FnOnce(EngineKind, &EngineBoot) -> Result<Loaded, Failure> + Send + 'static,
) -> ExitCode {
    let (kind, boot) = match boot::begin(program, kind) {
        Begin::Boot(kind, boot) => (kind, *boot),
        Begin::Answered => return ExitCode::SUCCESS,
        Begin::Refused(reason) => {
            // Before telemetry: there may be nobody but the terminal.
            let _ = writeln!(std::io::stderr(), "{program}: {reason}");
            return ExitCode::from(Exit::BadBoot as u8);
        }
    };
    let mut options = loqa_telemetry::Options::from_env();
    options.filter = Some("info,async_nats=warn".to_owned());
    let _telemetry = match loqa_telemetry::init(program, &options) {
        Ok(guard) => guard,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{program}: {error:#}");
            return ExitCode::from(Exit::BadBoot as u8);
        }
    };
    worker::install_panic_hook();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Two, so that a cancel is heard while the other thread is kept from running
        // by a model that uses every core.
        .worker_threads(2)
        .thread_name("engine")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::from(Exit::Bus as u8);
        }
    };
    let exit = runtime.block_on(live(program, kind, boot, load));
    tracing::debug!(?exit, "end");
    runtime.shutdown_background();
    ExitCode::from(exit as u8)
}

async fn live(
    program: &'static str,
    kind: EngineKind,
    boot: EngineBoot,
    load: impl FnOnce(EngineKind, &EngineBoot) -> Result<Loaded, Failure> + Send + 'static,
) -> Exit {
    let started = Instant::now();
    let mut parent_gone = watch_parent();
    let bus = tokio::select! {
        bus = connect(&boot) => match bus {
            Ok(bus) => bus,
            Err(error) => {
                tracing::error!(%error, "bus not reachable");
                return Exit::Bus;
            }
        },
        _ = &mut parent_gone => return Exit::Done,
    };
    let (announce_sender, announce) = watch::channel(None);
    let hello = EngineHello {
        protocol: PROTOCOL_VERSION,
        instance: boot.instance.clone(),
        kind,
        program: program.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        node: host::node(),
    };
    let (refusal_sender, refused) = async_mpsc::channel(1);
    let registered = keep_registered(bus.clone(), hello, announce);
    tokio::spawn(async move {
        let _ = refusal_sender.send(registered.await).await;
    });
    let mut engine = match Engine::open(kind, bus, &boot, parent_gone, refused).await {
        Ok(engine) => engine,
        Err(error) => {
            tracing::error!(%error, "cannot listen on the bus");
            return Exit::Bus;
        }
    };
    let capability = boot.capability.clone();
    let loaded = match engine.serve_until(load_apart(kind, boot, load)).await {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(failure)) => {
            tracing::error!(%failure, "model refused");
            return Exit::ModelRefused;
        }
        Err(exit) => return engine.leave(exit).await,
    };
    let exit = match engine.take_up_work(&capability, loaded, started, &announce_sender).await {
        Ok(()) => engine.serve().await,
        Err(exit) => exit,
    };
    engine.leave(exit).await
}

/// Connects, patiently: the bus may be in the middle of a restart.
async fn connect(boot: &EngineBoot) -> Result<Bus, BusError> {
    let credentials = Credentials { url: boot.url.clone(), identity: boot.identity.clone(), seed: boot.seed.clone() };
    let started = Instant::now();
    loop {
        match Bus::connect(&credentials).await {
            Err(error) if error.is_transient() && started.elapsed() < CONNECT_LIMIT => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(BusError::Unauthorized { .. }) if started.elapsed() < REFUSAL_LIMIT => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Resolves when standard input ends, which is when the hub is gone, however it went.
fn watch_parent() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    let watch = move || {
        let mut rest = [0_u8; 256];
        // Whatever else the hub may write is of no meaning.
        while matches!(std::io::stdin().lock().read(&mut rest), Ok(n) if n > 0) {}
        let _ = sender.send(());
    };
    // Without the thread the sender is dropped, and the engine ends at once: better
    // than an engine that outlives its hub.
    if let Err(error) = std::thread::Builder::new().name("parent-watch".to_owned()).spawn(watch) {
        tracing::error!(%error, "no thread to watch the hub");
    }
    receiver
}

/// Loads on a thread of its own, because models are loaded by blocking code.
async fn load_apart(
    kind: EngineKind,
    boot: EngineBoot,
    load: impl FnOnce(EngineKind, &EngineBoot) -> Result<Loaded, Failure> + Send + 'static,
) -> Result<Loaded, Failure> {
    let (sender, receiver) = oneshot::channel();
    let thread =
        std::thread::Builder::new().name("loader".to_owned()).stack_size(worker::STACK_SIZE).spawn(move || {
            let loaded = load(kind, &boot);
            // Nobody waits any more when the engine is leaving.
            let _ = sender.send(loaded);
        });
    if let Err(error) = thread {
        return Err(fault(kind, &format!("no thread to load the model on: {error}")));
    }
    receiver.await.unwrap_or_else(|_| Err(fault(kind, "loading the model panicked")))
}

/// The next message of a subscription that may not be open yet.
async fn next_of(subscription: &mut Option<Subscription>) -> Option<Message> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}

/// Everything that can wake the loop.
enum Wake {
    Work(Message),
    Control(Message),
    Audio(Message),
    Report(Report),
    Connection(Connection),
    Heartbeat,
    Deadline,
    ParentGone,
    Terminate,
    Refused(Failure),
    BusClosed,
}

struct Engine {
    kind: EngineKind,
    instance: loqa_protocol::InstanceId,
    bus: Bus,
    work: Option<Subscription>,
    /// Work of sessions that are pinned to this engine.
    pinned: Option<Subscription>,
    control: Subscription,
    audio: Subscription,
    connection: watch::Receiver<Connection>,
    /// The epoch in which the jobs were accepted.
    epoch: u64,
    parent_gone: oneshot::Receiver<()>,
    refused: async_mpsc::Receiver<Failure>,
    terminate: async_mpsc::Receiver<()>,
    heartbeat: tokio::time::Interval,
    beats: u64,
    queue: Option<mpsc::Sender<Assignment>>,
    reports: async_mpsc::UnboundedReceiver<Report>,
    report_sender: async_mpsc::UnboundedSender<Report>,
    threads: Vec<std::thread::JoinHandle<()>>,
    jobs: HashMap<WorkId, Running>,
    draining: bool,
}

/// One accepted job.
struct Running {
    replies: Replies,
    cancel: CancelFlag,
    utterance: Option<Utterance>,
    /// Whether a worker has taken it from the queue.
    started: bool,
    /// When it ends by itself; once it has ended, when its worker counts as stuck.
    deadline: Instant,
    /// How long the tail may take, for an utterance.
    tail: Duration,
}

impl Engine {
    async fn open(
        kind: EngineKind,
        bus: Bus,
        boot: &EngineBoot,
        parent_gone: oneshot::Receiver<()>,
        refused: async_mpsc::Receiver<Failure>,
    ) -> Result<Self, BusError> {
        let control = bus.subscribe(&subject::engine_control(&boot.instance), None, 256).await?;
        // As many frames as an utterance may have; a reader that is slower loses
        // frames, which the numbering shows.
        let audio = bus.subscribe(&subject::audio_all(&boot.instance), None, 4_096).await?;
        let connection = bus.connection();
        let epoch = connection.borrow().epoch;
        let (report_sender, reports) = async_mpsc::unbounded_channel();
        let period = Duration::from_millis(HEARTBEAT_MS);
        // Not at once: the first sign of life is the hello.
        let mut heartbeat = tokio::time::interval_at((Instant::now() + period).into(), period);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Ok(Self {
            kind,
            instance: boot.instance.clone(),
            connection,
            epoch,
            bus,
            work: None,
            pinned: None,
            control,
            audio,
            parent_gone,
            refused,
            terminate: watch_signals(),
            heartbeat,
            beats: 0,
            queue: None,
            reports,
            report_sender,
            threads: Vec::new(),
            jobs: HashMap::new(),
            draining: false,
        })
    }

    /// Opens the doors: workers first, then the work subject, then the announcement.
    async fn take_up_work(
        &mut self,
        capability: &str,
        loaded: Loaded,
        started: Instant,
        announce: &watch::Sender<Option<EngineAnnounce>>,
    ) -> Result<(), Exit> {
        let slots = u32::try_from(loaded.workers.len()).unwrap_or(u32::MAX);
        let Some(work) = subject::work(capability)
            .filter(|_| slots > 0 && loaded.capabilities.iter().any(|offered| offered.name == capability))
        else {
            tracing::error!(%capability, "the loaded model does not offer what the hub asked for");
            return Err(Exit::ModelRefused);
        };
        let (queue, assignments) = mpsc::channel();
        self.threads = worker::start(self.kind, loaded.workers, assignments, &self.report_sender).map_err(|error| {
            tracing::error!(%error, "no threads for the workers");
            Exit::WorkerBroken
        })?;
        self.queue = Some(queue);
        self.work = Some(self.bus.subscribe(&work, Some(subject::WORKERS), 256).await.map_err(|error| {
            tracing::error!(%error, "cannot listen for work");
            Exit::Bus
        })?);
        if let Some(pinned) = subject::work_at(capability, &self.instance) {
            self.pinned = Some(self.bus.subscribe(&pinned, None, 256).await.map_err(|error| {
                tracing::error!(%error, "cannot listen for the work of its sessions");
                Exit::Bus
            })?);
        }
        let ready_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(%capability, slots, ready_ms, "ready");
        announce.send_replace(Some(EngineAnnounce {
            instance: self.instance.clone(),
            capabilities: loaded.capabilities,
            slots,
            ready_ms,
        }));
        Ok(())
    }

    /// Serves until it is time to leave.
    async fn serve(&mut self) -> Exit {
        loop {
            if self.draining && self.jobs.is_empty() {
                return Exit::Done;
            }
            let wake = self.next_wake().await;
            if let Err(exit) = self.handle(wake).await {
                return exit;
            }
        }
    }

    /// Serves while something else is under way.
    async fn serve_until<T>(&mut self, task: impl Future<Output = T>) -> Result<T, Exit> {
        tokio::pin!(task);
        loop {
            if self.draining {
                return Err(Exit::Done);
            }
            tokio::select! {
                biased;
                done = &mut task => return Ok(done),
                wake = self.next_wake() => self.handle(wake).await?,
            }
        }
    }

    async fn next_wake(&mut self) -> Wake {
        let deadline = self.jobs.values().map(|job| job.deadline).min();
        let deadline = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        let work = next_of(&mut self.work);
        let pinned = next_of(&mut self.pinned);
        // Control before everything else: a cancel must not wait behind frames.
        tokio::select! {
            biased;
            message = self.control.next() => message.map_or(Wake::BusClosed, Wake::Control),
            _ = &mut self.parent_gone => Wake::ParentGone,
            Some(()) = self.terminate.recv() => Wake::Terminate,
            Some(failure) = self.refused.recv() => Wake::Refused(failure),
            Some(report) = self.reports.recv() => Wake::Report(report),
            Ok(()) = self.connection.changed() => {
                Wake::Connection(*self.connection.borrow_and_update())
            }
            () = deadline => Wake::Deadline,
            _ = self.heartbeat.tick() => Wake::Heartbeat,
            message = self.audio.next() => message.map_or(Wake::BusClosed, Wake::Audio),
            message = work => message.map_or(Wake::BusClosed, Wake::Work),
            message = pinned => message.map_or(Wake::BusClosed, Wake::Work),
        }
    }

    async fn handle(&mut self, wake: Wake) -> Result<(), Exit> {
        match wake {
            Wake::Work(message) => self.accept(&message),
            Wake::Control(message) => self.obey(&message).await,
            Wake::Audio(message) => self.hear(&message).await,
            Wake::Report(Report::Started(work)) => {
                if let Some(job) = self.jobs.get_mut(&work) {
                    job.started = true;
                }
            }
            Wake::Report(Report::Ended(work)) => {
                self.jobs.remove(&work);
            }
            Wake::Report(Report::Panicked(work)) => {
                tracing::error!(%work, "a worker panicked; the engine ends so that it is started afresh");
                let failure = fault(self.kind, "another worker of this engine panicked");
                self.fail_all(&failure);
                return Err(Exit::WorkerBroken);
            }
            Wake::Connection(connection) => {
                // Compared by epoch: a quick break shows only as a connection that stands.
                if std::mem::replace(&mut self.epoch, connection.epoch) != connection.epoch {
                    // Whoever asked before the break was told so by its own client.
                    // A request that came right after it is told by this.
                    let failure = Failure::new(hop(self.kind), ErrorCode::BusUnavailable, "the bus connection broke");
                    self.fail_all(&failure);
                }
            }
            Wake::Heartbeat => self.send_heartbeat().await,
            Wake::Deadline => self.enforce_deadlines()?,
            Wake::ParentGone => {
                tracing::info!("the hub is gone");
                return Err(Exit::Done);
            }
            Wake::Terminate => self.drain(),
            Wake::Refused(failure) => {
                tracing::error!(%failure, "the hub refused this engine");
                return Err(Exit::Bus);
            }
            Wake::BusClosed => {
                tracing::error!("the bus client ended");
                return Err(Exit::Bus);
            }
        }
        Ok(())
    }

    /// Takes a request for work, or says at once why not.
    fn accept(&mut self, message: &Message) {
        let received = Instant::now();
        let Some(reply) = message.reply.clone() else {
            tracing::warn!("work without a reply subject is ignored");
            return;
        };
        let cancel = CancelFlag::new();
        let replies = Replies::new(self.bus.clone(), reply, cancel.clone());
        let span = tracing::info_span!("engine.work", kind = self.kind.as_str());
        if let Some(traceparent) = message.header(header::TRACEPARENT) {
            loqa_telemetry::set_parent(&span, traceparent);
        }
        match self.prepare(message, &replies, &cancel, received) {
            Ok((work, job, running)) => {
                if replies.accept(self.kind, self.instance.clone()).is_err() {
                    return;
                }
                let assignment = Assignment { work: work.clone(), job, replies, span };
                self.jobs.insert(work, running);
                // The receivers are the worker threads, which live as long as the queue.
                if self.queue.as_ref().is_none_or(|queue| queue.send(assignment).is_err()) {
                    self.fail_all(&fault(self.kind, "no worker is left"));
                }
            }
            Err(failure) => replies.fail(self.kind, failure),
        }
    }

    fn prepare(
        &self,
        message: &Message,
        replies: &Replies,
        cancel: &CancelFlag,
        received: Instant,
    ) -> Result<(WorkId, Job, Running), Failure> {
        let refuse = |code, text: &str| Failure::new(hop(self.kind), code, text);
        if self.draining {
            return Err(refuse(ErrorCode::ShuttingDown, "the engine is stopping"));
        }
        if self.jobs.values().filter(|job| !job.started).count() >= MAX_WAITING {
            return Err(refuse(ErrorCode::EngineBusy, "too many jobs wait already"));
        }
        let mut utterance = None;
        let (work, job, budget) = match self.kind {
            EngineKind::Stt => {
                let request: loqa_protocol::stt::SttRequest = self.read(message)?;
                let (feed, audio) = Utterance::new();
                utterance = Some(feed);
                let (work, tail) = (request.work.clone(), request.deadline_ms);
                let job = SttJob { request, audio, replies: replies.clone(), cancel: cancel.clone() };
                (work, Job::Stt(job), tail)
            }
            EngineKind::Llm => {
                let request: loqa_protocol::llm::LlmRequest = self.read(message)?;
                let (work, budget) = (request.work.clone(), request.deadline_ms);
                let job = LlmJob { request, received, replies: replies.clone(), cancel: cancel.clone() };
                (work, Job::Llm(job), budget)
            }
            EngineKind::Tts => {
                let request: loqa_protocol::tts::TtsRequest = self.read(message)?;
                if request.text.chars().nth(MAX_SPOKEN_CHARS).is_some() {
                    let limit = format!("the clause is longer than {MAX_SPOKEN_CHARS} characters");
                    return Err(refuse(ErrorCode::TextTooLong, &limit));
                }
                let (work, budget) = (request.work.clone(), request.deadline_ms);
                let job = TtsJob { request, received, replies: replies.clone(), cancel: cancel.clone() };
                (work, Job::Tts(job), budget)
            }
        };
        if self.jobs.contains_key(&work) {
            return Err(refuse(ErrorCode::BadRequest, "this work is under way already"));
        }
        // A day at most, so that no sum overflows.
        let budget = Duration::from_millis(budget.min(86_400_000));
        let deadline = received + if utterance.is_some() { AUDIO_SILENCE_LIMIT } else { budget };
        let running = Running {
            replies: replies.clone(),
            cancel: cancel.clone(),
            utterance,
            started: false,
            deadline,
            tail: budget,
        };
        Ok((work, job, running))
    }

    fn read<T: DeserializeOwned>(&self, message: &Message) -> Result<T, Failure> {
        message.json().map_err(|error| Failure::new(hop(self.kind), ErrorCode::BadRequest, error.to_string()))
    }

    /// Carries out an order of the hub and answers it.
    async fn obey(&mut self, message: &Message) {
        let answer = match message.json::<Control>() {
            Ok(Control::Cancel { work }) => match self.jobs.get_mut(&work) {
                Some(job) if job.replies.is_open() => {
                    job.end(self.kind, Failure::new(hop(self.kind), ErrorCode::Cancelled, "cancelled"));
                    ControlAnswer::Cancelled
                }
                Some(_) | None => ControlAnswer::NotRunning,
            },
            Ok(Control::Drain) => {
                self.drain();
                ControlAnswer::Draining
            }
            Ok(Control::Ping { nonce }) if nonce.len() <= 64 => ControlAnswer::Pong { nonce },
            Ok(Control::Ping { .. }) => {
                refused(Failure::new(hop(self.kind), ErrorCode::BadRequest, "the nonce is over 64 bytes"))
            }
            Err(error) => refused(Failure::new(hop(self.kind), ErrorCode::BadRequest, error.to_string())),
        };
        if let Some(reply) = &message.reply
            && let Err(error) = self.bus.respond(reply, &answer).await
        {
            tracing::debug!(%error, "an order was not answered");
        }
    }

    /// Takes a frame or an end marker.
    async fn hear(&mut self, message: &Message) {
        let received = Instant::now();
        let work = message.subject.rsplit('.').next().and_then(|token| WorkId::new(token).ok());
        let job = work.and_then(|work| self.jobs.get_mut(&work)).filter(|job| job.replies.is_open());
        let total = message.header(header::END);
        let known = job.is_some();
        if let Some(job) = job
            && let Some(utterance) = &mut job.utterance
        {
            let outcome = match total {
                Some(total) => utterance.end(total, received),
                None => {
                    let voiced = message.header(header::VOICED) != Some("0");
                    utterance.frame(message.header(header::SEQ), voiced, &message.payload)
                }
            };
            let limit = if utterance.has_ended() { job.tail } else { AUDIO_SILENCE_LIMIT };
            job.deadline = received + limit;
            if let Err(failure) = outcome {
                job.end(self.kind, failure);
            }
        }
        if let (Some(_), Some(reply)) = (total, &message.reply) {
            let answered = if known {
                self.bus.respond(reply, &serde_json::Map::new()).await
            } else {
                self.bus.respond(reply, &ControlAnswer::NotRunning).await
            };
            if let Err(error) = answered {
                tracing::debug!(%error, "an end marker was not answered");
            }
        }
    }

    async fn send_heartbeat(&mut self) {
        let heartbeat = Heartbeat {
            instance: self.instance.clone(),
            seq: self.beats,
            busy: u32::try_from(self.jobs.len()).unwrap_or(u32::MAX),
            rss_bytes: host::rss_bytes(),
        };
        self.beats += 1;
        // Lost heartbeats are what the hub's patience is for.
        if let Err(error) = self.bus.publish(subject::ENGINE_HEARTBEAT, &heartbeat).await {
            tracing::debug!(%error, "no heartbeat");
        }
    }

    fn enforce_deadlines(&mut self) -> Result<(), Exit> {
        let now = Instant::now();
        let kind = self.kind;
        for (work, job) in &mut self.jobs {
            if job.deadline > now {
                continue;
            }
            if !job.replies.is_open() {
                if job.started {
                    tracing::error!(%work, "a worker is stuck; the engine ends so that it is started afresh");
                    return Err(Exit::WorkerBroken);
                }
                // It still stands in the queue behind others; its turn will come.
                job.deadline = now + STUCK_LIMIT;
                continue;
            }
            let failure = match &job.utterance {
                Some(utterance) if !utterance.has_ended() => Failure::new(
                    hop(kind),
                    ErrorCode::BadAudio,
                    format!("no audio for {} s", AUDIO_SILENCE_LIMIT.as_secs()),
                ),
                Some(_) | None => Failure::new(hop(kind), ErrorCode::DeadlineExceeded, "the engine ran out of time"),
            };
            job.end(kind, failure);
        }
        Ok(())
    }

    /// Takes no new work; what waits is refused, what runs may finish.
    fn drain(&mut self) {
        if !self.draining {
            tracing::info!(jobs = self.jobs.len(), "draining");
        }
        self.draining = true;
        let failure = Failure::new(hop(self.kind), ErrorCode::ShuttingDown, "the engine is stopping");
        for job in self.jobs.values_mut().filter(|job| !job.started) {
            job.end(self.kind, failure.clone());
        }
    }

    fn fail_all(&mut self, failure: &Failure) {
        for job in self.jobs.values_mut() {
            job.end(self.kind, failure.clone());
        }
    }

    /// Ends everything that runs, waits for the workers within a limit, and lets the
    /// last messages out.
    async fn leave(mut self, exit: Exit) -> Exit {
        self.fail_all(&Failure::new(hop(self.kind), ErrorCode::ShuttingDown, "the engine is stopping"));
        let flushed = tokio::time::timeout(Duration::from_millis(500), self.bus.flush());
        if let Ok(Err(error)) = flushed.await {
            tracing::debug!(%error, "last messages were not sent");
        }
        drop(self.queue.take());
        let ends = Instant::now() + FAREWELL_LIMIT;
        while self.threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < ends {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        exit
    }
}

impl Running {
    /// Tells whoever waits that it is over.
    fn end(&mut self, kind: EngineKind, failure: Failure) {
        if self.replies.is_open() {
            self.replies.fail(kind, failure);
        }
        self.finish();
    }

    /// Closes the audio, so that the worker sees the end, and starts the clock on it.
    fn finish(&mut self) {
        self.cancel.cancel();
        self.utterance = None;
        self.deadline = Instant::now() + STUCK_LIMIT;
    }
}

fn refused(failure: Failure) -> ControlAnswer {
    ControlAnswer::Refused { failure }
}

/// One message when the process is asked to end.
fn watch_signals() -> async_mpsc::Receiver<()> {
    let (sender, receiver) = async_mpsc::channel(1);
    tokio::spawn(async move {
        if asked_to_end().await {
            let _ = sender.send(()).await;
        } else {
            // Keeps the channel open: no signals is no reason to end.
            sender.closed().await;
        }
    });
    receiver
}

#[cfg(unix)]
async fn asked_to_end() -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be heard");
        return false;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    true
}

#[cfg(not(unix))]
async fn asked_to_end() -> bool {
    tokio::signal::ctrl_c().await.is_ok()
}
