//! Keeps the engine programs running: starts each one with its boot line on
//! standard input, notices its end, starts it again with back-off, and gives up
//! with a reason when it dies too often.
//!
//! An engine ends by itself when its standard input closes, so no engine survives
//! a killed hub on any platform.

use crate::audit::engine_restarted;
use crate::registry::Registry;
use anyhow::Context as _;
use loqa_audit::Journal;
use loqa_bus::{BusServer, Permissions};
use loqa_protocol::InstanceId;
use loqa_protocol::engine::{EngineBoot, EngineKind};
use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::watch;

/// One engine to keep running.
#[derive(Debug, Clone)]
pub struct EngineSpec {
    /// What it does.
    pub kind: EngineKind,
    /// `stt.whisper`, `llm.<model>`, `tts.kokoro`.
    pub capability: String,
    /// Catalog name of the model.
    pub model: String,
    /// Verified model file; empty for a remote backend.
    pub model_path: PathBuf,
    /// The program.
    pub program: PathBuf,
    /// Engine-specific settings for the boot line.
    pub settings: Map<String, Value>,
    /// Where its spans go, so that a turn is one trace across processes.
    pub otlp_endpoint: Option<String>,
}

/// State of one supervised engine.
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

/// More starts than this within [`BREAKER_WINDOW`] mean that the engine is broken (reliability.md, R7).
const BREAKER_STARTS: usize = 5;
const BREAKER_WINDOW: Duration = Duration::from_mins(1);
/// An engine gets this long to end after its standard input closed.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// Lines of standard error that are kept as the reason of a death.
const LAST_WORDS: usize = 12;

/// Handle on one supervised engine.
pub struct Supervised {
    /// The engine's spec.
    pub spec: EngineSpec,
    state: watch::Receiver<EngineState>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Supervised {
    /// Starts the engine and keeps it running.
    pub fn start(spec: EngineSpec, server: Arc<BusServer>, registry: Registry, journal: Arc<dyn Journal>) -> Self {
        let (state_sender, state) = watch::channel(EngineState::Starting);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(keep_running(spec.clone(), server, registry, journal, state_sender, stopped));
        Self { spec, state, stop, task }
    }

    /// Its state, to look at or to wait on.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<EngineState> {
        self.state.clone()
    }

    /// Process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &*self.state.borrow() {
            EngineState::Running { pid } => Some(*pid),
            EngineState::Starting | EngineState::Backoff { .. } | EngineState::Broken { .. } | EngineState::Stopped => {
                None
            }
        }
    }

    /// Ends the engine and waits until it is gone.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(e) = self.task.await {
            tracing::warn!(capability = %self.spec.capability, error = %e, "supervision ended badly");
        }
    }
}

async fn keep_running(
    spec: EngineSpec,
    server: Arc<BusServer>,
    registry: Registry,
    journal: Arc<dyn Journal>,
    state: watch::Sender<EngineState>,
    mut stop: watch::Receiver<bool>,
) {
    let mut starts: VecDeque<Instant> = VecDeque::new();
    loop {
        let now = Instant::now();
        starts.retain(|at| now.duration_since(*at) < BREAKER_WINDOW);
        starts.push_back(now);
        state.send_replace(EngineState::Starting);
        let instance = InstanceId::from_bits(rand::random());
        let ended = run_once(&spec, &server, &instance, &state, &mut stop).await;
        registry.mark_dead(&instance);
        if let Err(e) = server.remove_identity(instance.as_str()).await {
            tracing::debug!(error = %e, "identity of a dead engine stays until the bus restarts");
        }
        let reason = match ended {
            Ok(End::Asked) => {
                state.send_replace(EngineState::Stopped);
                return;
            }
            Ok(End::Died(reason)) => reason,
            Err(e) => format!("{e:#}"),
        };
        if starts.len() >= BREAKER_STARTS {
            tracing::error!(capability = %spec.capability, reason, "engine died too often, not started again");
            engine_restarted(&*journal, &spec.capability, "gave_up", &reason);
            state.send_replace(EngineState::Broken { reason });
            // The task stays, so that `stop` finds it, but does nothing more.
            asked(&mut stop).await;
            state.send_replace(EngineState::Stopped);
            return;
        }
        tracing::warn!(capability = %spec.capability, reason, "engine ended, starting it again");
        engine_restarted(&*journal, &spec.capability, "died", &reason);
        state.send_replace(EngineState::Backoff { starts: starts.len(), reason });
        // The first restart is immediate: a crash in mid-turn must cost little.
        let pause = if starts.len() <= 1 {
            Duration::ZERO
        } else {
            Duration::from_millis(250) * 2u32.pow(u32::try_from(starts.len() - 2).unwrap_or(0))
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = asked(&mut stop) => {
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

async fn run_once(
    spec: &EngineSpec,
    server: &BusServer,
    instance: &InstanceId,
    state: &watch::Sender<EngineState>,
    stop: &mut watch::Receiver<bool>,
) -> anyhow::Result<End> {
    if *stop.borrow() {
        return Ok(End::Asked);
    }
    let credentials = server
        .add_identity(instance.as_str(), Permissions::engine(instance, &spec.capability))
        .await
        .context("give the engine a bus identity")?;
    let boot = EngineBoot {
        url: credentials.url.clone(),
        identity: credentials.identity.clone(),
        seed: credentials.seed.clone(),
        instance: instance.clone(),
        capability: spec.capability.clone(),
        model: spec.model.clone(),
        model_path: spec.model_path.to_string_lossy().into_owned(),
        settings: spec.settings.clone(),
    };
    let mut command = CommandWrap::with_new(&spec.program, |command| {
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        if let Some(endpoint) = &spec.otlp_endpoint {
            command.env(loqa_telemetry::OTLP_VARIABLE, endpoint);
        }
    });
    command.wrap(KillOnDrop);
    #[cfg(unix)]
    command.wrap(process_wrap::tokio::ProcessGroup::leader());
    #[cfg(windows)]
    command.wrap(process_wrap::tokio::JobObject);
    let mut child = command.spawn().with_context(|| {
        format!("start engine `{}`: run `npm run setup` or set `paths.programs`", spec.program.display())
    })?;
    let pid = child.id().unwrap_or(0);
    let last_words = Arc::new(Mutex::new(VecDeque::with_capacity(LAST_WORDS)));
    if let Some(stderr) = child.stderr().take() {
        tokio::spawn(keep_last_words(stderr, last_words.clone(), spec.capability.clone()));
    }
    let mut stdin = child.stdin().take().context("the engine has no standard input")?;
    let mut line = serde_json::to_vec(&boot).context("write the boot line")?;
    line.push(b'\n');
    // An engine that dies before it reads the line is noticed by `wait` below.
    let _ = stdin.write_all(&line).await;
    let _ = stdin.flush().await;
    state.send_replace(EngineState::Running { pid });

    let status = tokio::select! {
        status = child.wait() => status.context("wait for the engine")?,
        () = asked(stop) => {
            drop(stdin);
            stop_child(child.as_mut()).await;
            return Ok(End::Asked);
        }
    };
    drop(stdin);
    let words = last_words.lock().unwrap_or_else(PoisonError::into_inner);
    let said: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(End::Died(if said.is_empty() {
        format!("{status}")
    } else {
        format!("{status}; it said: {}", said.join(" | "))
    }))
}

/// Ends when somebody asks for the stop, or can no longer ask.
async fn asked(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn stop_child(child: &mut dyn ChildWrapper) {
    if tokio::time::timeout(STOP_PATIENCE, child.wait()).await.is_err() {
        tracing::warn!("engine does not end, killing it");
        let _ = child.start_kill();
        let _ = child.wait().await;
    }
}

async fn keep_last_words(stderr: tokio::process::ChildStderr, words: Arc<Mutex<VecDeque<String>>>, capability: String) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::debug!(%capability, "{line}");
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() == LAST_WORDS {
            words.pop_front();
        }
        words.push_back(line);
    }
}
