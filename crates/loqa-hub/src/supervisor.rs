//! Keeps programs running, engines and native skills alike: starts each one with its
//! boot line on standard input, notices its end, starts it again with back-off, and
//! gives up with a reason when it dies too often.
//!
//! An engine ends by itself when its standard input closes, so no engine survives
//! a killed hub on any platform. Native skills are not trusted to, see [`crate::native`].

mod engine;

pub use engine::{EngineSpec, Supervised};

use anyhow::Context as _;
use process_wrap::tokio::ChildWrapper;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::watch;

/// State of one supervised program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineState {
    /// The process is being started or loads its model.
    Starting,
    /// The process runs.
    Running {
        /// Process id.
        pid: u32,
    },
    /// It died and will be started again.
    Backoff {
        /// Starts in the last minute.
        starts: usize,
        /// Why it died.
        reason: String,
    },
    /// It died too often; nobody starts it again before the hub restarts.
    Broken {
        /// Why it died the last time.
        reason: String,
    },
    /// Stopped on purpose.
    Stopped,
}

/// More starts than this within [`BREAKER_WINDOW`] mean that the program is broken (reliability.md, R7).
const BREAKER_STARTS: usize = 5;
const BREAKER_WINDOW: Duration = Duration::from_mins(1);
/// Lines of standard error that are kept as the reason of a death.
const LAST_WORDS: usize = 12;
/// How long they may take to arrive after the death.
const WORDS_PATIENCE: Duration = Duration::from_millis(100);
/// Longest line of them, in bytes: a program may write without end.
const MAX_LINE: u64 = 4 * 1024;

/// A program that is kept running: how each life of it begins, and what follows its end.
pub(crate) trait Charge: Send + Sync + 'static {
    /// `engine` or `skill`, for people.
    const KIND: &'static str;
    /// How long it may take to end after its standard input closed.
    const STOP_PATIENCE: Duration;

    /// For the log.
    fn name(&self) -> &str;
    /// Name of the bus identity of the next life.
    fn next_identity(&self) -> String;
    /// Makes the identity and starts the program.
    fn begin(&self, identity: &str) -> impl Future<Output = anyhow::Result<Begun>> + Send;
    /// Keeps on record that it `died` or was given up (`gave_up`), and why.
    fn record(&self, operation: &'static str, reason: &str);
    /// Clears up after a life, also after one that did not begin.
    fn ended(&self, identity: &str) -> impl Future<Output = ()> + Send;
}

/// A started program.
pub(crate) struct Begun {
    /// With piped standard input and error.
    pub(crate) child: Box<dyn ChildWrapper>,
    /// What is written to its standard input, without the line feed. Holds secrets.
    pub(crate) boot: Vec<u8>,
}

/// How a program is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Not at all.
    No,
    /// It was told to end by itself; once it has, it is not started again.
    NotAgain,
    /// Its standard input closes, and it gets some time.
    Politely,
    /// It is killed.
    AtOnce,
}

/// Handle on one program that is kept running.
pub(crate) struct Kept {
    state: watch::Receiver<EngineState>,
    stop: watch::Sender<Stop>,
    task: tokio::task::JoinHandle<()>,
}

impl Kept {
    /// Starts the program and keeps it running.
    pub(crate) fn start(charge: impl Charge) -> Self {
        Self::start_after(None, charge)
    }

    /// The same, once another one has ended and cleared up: both use the same identity.
    pub(crate) fn start_after(previous: Option<Self>, charge: impl Charge) -> Self {
        let (state_sender, state) = watch::channel(EngineState::Starting);
        let (stop, stopped) = watch::channel(Stop::No);
        let task = tokio::spawn(async move {
            if let Some(previous) = previous {
                let _ = previous.task.await;
            }
            keep_running(charge, state_sender, stopped).await;
        });
        Self { state, stop, task }
    }

    /// Its state, to look at or to wait on.
    pub(crate) fn state(&self) -> watch::Receiver<EngineState> {
        self.state.clone()
    }

    /// Process id while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &*self.state.borrow() {
            EngineState::Running { pid } => Some(*pid),
            EngineState::Starting | EngineState::Backoff { .. } | EngineState::Broken { .. } | EngineState::Stopped => {
                None
            }
        }
    }

    /// Has it stopped, without waiting for that.
    pub(crate) fn order_stop(&self, stop: Stop) {
        self.stop.send_replace(stop);
    }

    /// Ends the program and waits until it is gone.
    pub(crate) async fn stop(self, stop: Stop) {
        self.order_stop(stop);
        if let Err(e) = self.task.await {
            tracing::warn!(error = %e, "supervision ended badly");
        }
    }
}

async fn keep_running<C: Charge>(charge: C, state: watch::Sender<EngineState>, mut stop: watch::Receiver<Stop>) {
    let mut starts: VecDeque<Instant> = VecDeque::new();
    loop {
        let now = Instant::now();
        starts.retain(|at| now.duration_since(*at) < BREAKER_WINDOW);
        starts.push_back(now);
        state.send_replace(EngineState::Starting);
        let identity = charge.next_identity();
        let ended = run_once(&charge, &identity, &state, &mut stop).await;
        charge.ended(&identity).await;
        let reason = match ended {
            Ok(End::Asked) => {
                state.send_replace(EngineState::Stopped);
                return;
            }
            Ok(End::Died(_)) if *stop.borrow() == Stop::NotAgain => {
                state.send_replace(EngineState::Stopped);
                return;
            }
            Ok(End::Died(reason)) => reason,
            Err(e) => format!("{e:#}"),
        };
        if starts.len() >= BREAKER_STARTS {
            tracing::error!(name = charge.name(), reason, "{} died too often, not started again", C::KIND);
            charge.record("gave_up", &reason);
            state.send_replace(EngineState::Broken { reason });
            // The task stays, so that `stop` finds it, but does nothing more.
            asked(&mut stop).await;
            state.send_replace(EngineState::Stopped);
            return;
        }
        tracing::warn!(name = charge.name(), reason, "{} ended, starting it again", C::KIND);
        charge.record("died", &reason);
        state.send_replace(EngineState::Backoff { starts: starts.len(), reason });
        // The first restart is immediate: a crash in mid-turn must cost little.
        let pause = if starts.len() <= 1 {
            Duration::ZERO
        } else {
            Duration::from_millis(250) * 2u32.pow(u32::try_from(starts.len() - 2).unwrap_or(0))
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = asked(&mut stop) => {
                state.send_replace(EngineState::Stopped);
                return;
            }
        }
    }
}

enum End {
    Asked,
    Died(String),
}

async fn run_once<C: Charge>(
    charge: &C,
    identity: &str,
    state: &watch::Sender<EngineState>,
    stop: &mut watch::Receiver<Stop>,
) -> anyhow::Result<End> {
    if !matches!(*stop.borrow(), Stop::No) {
        return Ok(End::Asked);
    }
    let Begun { mut child, boot: mut line } = charge.begin(identity).await?;
    let pid = child.id().unwrap_or(0);
    let last_words = Arc::new(Mutex::new(VecDeque::with_capacity(LAST_WORDS)));
    let listener = child
        .stderr()
        .take()
        .map(|stderr| tokio::spawn(keep_last_words(stderr, last_words.clone(), charge.name().to_owned())));
    let mut stdin = child.stdin().take().with_context(|| format!("the {} has no standard input", C::KIND))?;
    line.push(b'\n');
    let feeding = async {
        // A program that dies before it reads the line is noticed by `wait` below; one
        // that does not read it is noticed because it does not come up.
        let _ = stdin.write_all(&line).await;
        let _ = stdin.flush().await;
        state.send_replace(EngineState::Running { pid });
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        status = child.wait() => Ok(status.with_context(|| format!("wait for the {}", C::KIND))?),
        how = asked(stop) => Err(how),
        () = feeding => Err(Stop::AtOnce),
    };
    drop(stdin);
    let status = match outcome {
        Ok(status) => status,
        Err(Stop::No | Stop::NotAgain | Stop::Politely) => {
            stop_child(child.as_mut(), C::STOP_PATIENCE, C::KIND).await;
            return Ok(End::Asked);
        }
        Err(Stop::AtOnce) => {
            let _ = child.start_kill();
            // The server closes the connection meanwhile, in case the system is slow to kill.
            let (_, _) = tokio::join!(child.wait(), charge.ended(identity));
            return Ok(End::Asked);
        }
    };
    // What it wrote last may still be in the pipe, and a child of its own may hold the pipe open.
    if let Some(listener) = listener {
        let _ = tokio::time::timeout(WORDS_PATIENCE, listener).await;
    }
    let words = last_words.lock().unwrap_or_else(PoisonError::into_inner);
    let said: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(End::Died(if said.is_empty() {
        format!("{status}")
    } else {
        format!("{status}; it said: {}", said.join(" | "))
    }))
}

/// Ends when somebody asks for the stop, or can no longer ask.
async fn asked(stop: &mut watch::Receiver<Stop>) -> Stop {
    stop.wait_for(|stop| !matches!(stop, Stop::No | Stop::NotAgain)).await.map_or(Stop::Politely, |stop| *stop)
}

async fn stop_child(child: &mut dyn ChildWrapper, patience: Duration, kind: &str) {
    if tokio::time::timeout(patience, child.wait()).await.is_err() {
        tracing::warn!("{kind} does not end, killing it");
        let _ = child.start_kill();
        let _ = child.wait().await;
    }
}

async fn keep_last_words(stderr: tokio::process::ChildStderr, words: Arc<Mutex<VecDeque<String>>>, name: String) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line that is longer is cut into several.
        match tokio::io::AsyncReadExt::take(&mut reader, MAX_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        tracing::debug!(%name, "{}", text.escape_debug());
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() == LAST_WORDS {
            words.pop_front();
        }
        words.push_back(text);
    }
}
