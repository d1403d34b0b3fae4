//! The supervised nats-server child.
//!
//! One thread owns the process for as long as the [`BusServer`] lives: it starts it,
//! proves that what answers on the port is that process, restarts it on the same
//! port when it dies, and applies changes of the identities. Everybody else talks to
//! that thread.
//!
//! States: starting → ready ⇄ backoff → broken.

mod config;
mod mqtt;
mod probe;
mod process;

use crate::{BusError, Credentials, Permissions};
use config::{Config, Identity};
use loqa_protocol::subject;
pub use mqtt::MqttGateway;
use nkeys::KeyPair;
use probe::{Probe, ProbeError};
use process::Process;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

/// How long a started process may take to prove itself. Chosen: a start takes 10 to
/// 20 ms; the rest is room for a machine under load.
const READY_LIMIT: Duration = Duration::from_secs(5);
/// How long a reload may take until the server acts on it.
const RELOAD_LIMIT: Duration = Duration::from_secs(5);
/// How often a ready server has to answer a ping.
const PULSE: Duration = Duration::from_secs(2);
/// How long it may take for that; then it is taken for hung and killed.
const PULSE_LIMIT: Duration = Duration::from_secs(2);
/// How long the system may take to tell of a death that shows already.
const DEATH_NOTICE: Duration = Duration::from_millis(200);
/// How long a server may take to end by itself.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// A server that was ready for this long before it died did not die of its start.
const STEADY: Duration = Duration::from_secs(1);
/// Pause before the first restart: at once, but not in a tight loop.
const FIRST_RESTART: Duration = Duration::from_millis(10);
/// Pause before the second; it doubles from there, see the reliability rules.
const RESTART_STEP: Duration = Duration::from_millis(250);
/// Longest pause.
const MAX_RESTART_PAUSE: Duration = Duration::from_secs(30);
/// Name of the supervisor's own identity.
const SUPERVISOR: &str = "supervisor";

/// Where things lie.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The nats-server program.
    pub binary: PathBuf,
    /// A folder for the generated configuration; made private to the user.
    /// One hub at a time: whoever starts a server owns the folder.
    pub run_dir: PathBuf,
}

/// How often a server that died is started again.
#[derive(Debug, Clone)]
pub struct RestartPolicy {
    /// More deaths than this within `window` end in [`ServerState::Broken`].
    pub deaths: usize,
    /// The window in which deaths are counted.
    pub window: Duration,
}

impl Default for RestartPolicy {
    /// Five deaths in a minute: chosen, see the reliability rules.
    fn default() -> Self {
        Self { deaths: 5, window: Duration::from_secs(60) }
    }
}

/// How the server is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerState {
    /// The process was started and has not proved itself yet.
    Starting,
    /// It echoed our nonce through our own subscription.
    Ready,
    /// It died and is started again after a pause.
    Backoff {
        /// Counts deaths in a row, from 1. A server that was well for a second
        /// before it died begins a new row, and is back within milliseconds.
        attempt: u32,
    },
    /// It died too often; nothing happens by itself any more.
    Broken {
        /// What to tell the user, with the server's last words.
        reason: String,
    },
    /// It was stopped on purpose.
    Stopped,
}

/// A running, supervised nats-server on a loopback port. Dropping it stops the
/// server too, without waiting for the end.
pub struct BusServer {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<ServerState>,
    port: Arc<AtomicU16>,
    pid: Arc<AtomicU32>,
}

impl BusServer {
    /// Starts the server and returns when it has proved itself. A failure of this
    /// first start is an error at once, with the server's own words.
    pub async fn start(options: ServerOptions) -> Result<Self, BusError> {
        Self::start_with(options, RestartPolicy::default()).await
    }

    /// [`Self::start`] with another restart policy, for tests that kill it often.
    pub async fn start_with(options: ServerOptions, policy: RestartPolicy) -> Result<Self, BusError> {
        Self::start_with_mqtt(options, policy, None).await
    }

    /// The same, and the server also listens for MQTT devices where a gateway is given.
    /// Fails like [`Self::start`], and when the gateway's address cannot be had.
    pub async fn start_with_mqtt(
        options: ServerOptions,
        policy: RestartPolicy,
        mqtt: Option<MqttGateway>,
    ) -> Result<Self, BusError> {
        if let Some(gateway) = &mqtt {
            gateway.check()?;
        }
        if !options.binary.is_file() {
            return Err(BusError::BinaryMissing { path: options.binary });
        }
        let run_dir = private_dir(&options.run_dir)?;
        let (commands, inbox) = mpsc::channel(32);
        let (state_sender, state) = watch::channel(ServerState::Starting);
        let port = Arc::new(AtomicU16::new(0));
        let pid = Arc::new(AtomicU32::new(0));
        let own_key = KeyPair::new_user();
        let supervisor = Supervisor {
            binary: options.binary,
            config_path: run_dir.join("nats.conf"),
            run_dir,
            policy,
            mqtt,
            identities: BTreeMap::from([(
                SUPERVISOR.to_owned(),
                Identity { public_key: own_key.public_key(), permissions: Permissions::supervisor() },
            )]),
            own_key,
            generation: KeyPair::new_user(),
            commands: inbox,
            state: state_sender,
            port: Arc::clone(&port),
            pid: Arc::clone(&pid),
            deaths: VecDeque::new(),
            row: 0,
            ready_since: None,
            waiting: Vec::new(),
        };
        let (started, outcome) = oneshot::channel();
        // The thread must not be one of the runtime's: those end when they are idle,
        // and with the thread that forked the server ends the server.
        std::thread::Builder::new()
            .name("loqa-bus-server".to_owned())
            .spawn(move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(supervisor.run(started)),
                Err(error) => {
                    let reason = format!("no runtime for its supervisor: {error}");
                    let _ = started.send(Err(BusError::Server { reason }));
                }
            })
            .map_err(|error| BusError::Server { reason: format!("no thread for its supervisor: {error}") })?;
        outcome.await.map_err(|_| BusError::Stopped)??;
        Ok(Self { commands, state, port, pid })
    }

    /// Adds an identity and returns its credentials when the server lets it in.
    /// Connections that exist are not disturbed (on Windows the server is restarted).
    pub async fn add_identity(&self, name: &str, permissions: Permissions) -> Result<Credentials, BusError> {
        permissions.check(name)?;
        let name = name.to_owned();
        self.ask(|answer| Command::Add { name, permissions, answer }).await?
    }

    /// Removes an identity; its connections are closed. An unknown name is no error.
    pub async fn remove_identity(&self, name: &str) -> Result<(), BusError> {
        if name == SUPERVISOR {
            return Err(reserved(name));
        }
        let name = name.to_owned();
        self.ask(|answer| Command::Remove { name, answer }).await?
    }

    /// `nats://127.0.0.1:<port>`. The port stays the same for the life of the server.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.port.load(Ordering::Acquire))
    }

    /// The process id, `None` while no process runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match self.pid.load(Ordering::Acquire) {
            0 => None,
            pid => Some(pid),
        }
    }

    /// Follows the state.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ServerState> {
        self.state.clone()
    }

    /// Stops the server, by force after two seconds, and returns when it is gone.
    pub async fn stop(self) {
        // An error means that the supervisor has ended already.
        let _ = self.ask(|answer| Command::Stop { answer }).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, BusError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| BusError::Stopped)?;
        answered.await.map_err(|_| BusError::Stopped)
    }
}

enum Command {
    Add { name: String, permissions: Permissions, answer: oneshot::Sender<Result<Credentials, BusError>> },
    Remove { name: String, answer: oneshot::Sender<Result<(), BusError>> },
    Stop { answer: oneshot::Sender<()> },
}

/// Who waits until a changed configuration is in force.
enum Waiting {
    Added { name: String, key: Box<KeyPair>, answer: oneshot::Sender<Result<Credentials, BusError>> },
    Removed { answer: oneshot::Sender<Result<(), BusError>> },
}

/// How one process ended, or why it is to end.
enum Ended {
    Died { reason: String },
    Restart,
    Stop { answer: Option<oneshot::Sender<()>> },
}

struct Supervisor {
    binary: PathBuf,
    run_dir: PathBuf,
    config_path: PathBuf,
    policy: RestartPolicy,
    mqtt: Option<MqttGateway>,
    identities: BTreeMap<String, Identity>,
    own_key: KeyPair,
    /// Key of the current version of the configuration, see [`Config::generation`].
    generation: KeyPair,
    commands: mpsc::Receiver<Command>,
    state: watch::Sender<ServerState>,
    port: Arc<AtomicU16>,
    pid: Arc<AtomicU32>,
    deaths: VecDeque<Instant>,
    /// Deaths in a row, see [`ServerState::Backoff`].
    row: usize,
    ready_since: Option<Instant>,
    waiting: Vec<Waiting>,
}

impl Supervisor {
    async fn run(mut self, started: oneshot::Sender<Result<(), BusError>>) {
        let mut started = Some(started);
        let answer = loop {
            match self.one_life(&mut started).await {
                Ok(Ended::Stop { answer }) => break answer,
                Ok(Ended::Restart) => {}
                Ok(Ended::Died { reason }) => {
                    if let Some(started) = started.take() {
                        let _ = started.send(Err(BusError::Server { reason }));
                        break None;
                    }
                    if let Some(answer) = self.pause_after_death(&reason).await {
                        break answer;
                    }
                }
                Err(error) => {
                    if let Some(started) = started.take() {
                        let _ = started.send(Err(error));
                        break None;
                    }
                    if let Some(answer) = self.pause_after_death(&error.to_string()).await {
                        break answer;
                    }
                }
            }
        };
        self.waiting.clear();
        self.remove_files();
        self.state.send_replace(ServerState::Stopped);
        if let Some(answer) = answer {
            let _ = answer.send(());
        }
    }

    /// One process, from its start to its end.
    async fn one_life(
        &mut self,
        started: &mut Option<oneshot::Sender<Result<(), BusError>>>,
    ) -> Result<Ended, BusError> {
        self.state.send_replace(ServerState::Starting);
        let server_name = format!("loqa-{}", hex::encode(rand::random::<[u8; 16]>()));
        self.remove_ports_files();
        self.write_config(&server_name)?;
        let mut process = Process::spawn(&self.binary, &self.config_path).map_err(|error| BusError::Server {
            reason: format!("cannot be started: {}: {error}", self.binary.display()),
        })?;
        self.pid.store(process.pid(), Ordering::Release);
        let ended = self.supervise(&mut process, &server_name, started).await;
        match &ended {
            Ended::Stop { .. } => process.stop(STOP_PATIENCE).await,
            Ended::Restart | Ended::Died { .. } => process.kill().await,
        }
        self.pid.store(0, Ordering::Release);
        Ok(ended)
    }

    async fn supervise(
        &mut self,
        process: &mut Process,
        server_name: &str,
        started: &mut Option<oneshot::Sender<Result<(), BusError>>>,
    ) -> Ended {
        let mut pulse_probe = {
            let proof =
                prove(process.pid(), &self.run_dir, self.port.load(Ordering::Acquire), server_name, &self.own_key);
            tokio::select! {
                biased;
                reason = process.wait() => return Ended::Died { reason },
                proof = timeout(READY_LIMIT, proof) => match proof {
                    Ok(Ok((port, probe))) => {
                        self.port.store(port, Ordering::Release);
                        probe
                    }
                    Ok(Err(reason)) => return Ended::Died { reason },
                    Err(_) => {
                        let seconds = READY_LIMIT.as_secs();
                        return Ended::Died { reason: format!("not ready within {seconds} s") };
                    }
                },
            }
        };
        self.ready_since = Some(Instant::now());
        self.state.send_replace(ServerState::Ready);
        tracing::info!(pid = process.pid(), port = self.port.load(Ordering::Acquire), "bus ready");
        if let Some(started) = started.take() {
            let _ = started.send(Ok(()));
        }
        if let Err(error) = self.settle_waiting().await {
            tracing::error!(%error, "the bus does not follow its configuration");
        }

        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                reason = process.wait() => return Ended::Died { reason },
                command = self.commands.recv() => {
                    match command {
                        None => return Ended::Stop { answer: None },
                        Some(Command::Stop { answer }) => return Ended::Stop { answer: Some(answer) },
                        Some(command) => {
                            if !self.note(command) {
                                continue;
                            }
                        }
                    }
                    match self.apply(process, server_name).await {
                        Ok(true) => {}
                        Ok(false) => return Ended::Restart,
                        Err(error) => self.fail_waiting(&error),
                    }
                }
                _ = pulse.tick() => {
                    let Ok(Ok(())) = timeout(PULSE_LIMIT, pulse_probe.ping()).await else {
                        // A broken connection is often the first sign of a death.
                        let reason = timeout(DEATH_NOTICE, process.wait()).await;
                        let reason = reason.unwrap_or_else(|_| "it does not answer".to_owned());
                        return Ended::Died { reason };
                    };
                }
            }
        }
    }

    /// Takes a change of the identities into the books. `false`: there is nothing to apply.
    fn note(&mut self, command: Command) -> bool {
        match command {
            Command::Add { name, permissions, answer } => {
                if self.identities.contains_key(&name) {
                    let reason = "exists already".to_owned();
                    let _ = answer.send(Err(BusError::InvalidIdentity { identity: name, reason }));
                    return false;
                }
                let key = KeyPair::new_user();
                let identity = Identity { public_key: key.public_key(), permissions };
                self.identities.insert(name.clone(), identity);
                self.waiting.push(Waiting::Added { name, key: Box::new(key), answer });
                true
            }
            Command::Remove { name, answer } => {
                if self.identities.remove(&name).is_none() {
                    let _ = answer.send(Ok(()));
                    return false;
                }
                self.waiting.push(Waiting::Removed { answer });
                true
            }
            Command::Stop { .. } => unreachable!("the callers handle it"),
        }
    }

    /// Brings the noted changes into force. `false`: the process must be restarted for it.
    async fn apply(&mut self, process: &Process, server_name: &str) -> Result<bool, BusError> {
        self.generation = KeyPair::new_user();
        self.write_config(server_name)?;
        match process.reload() {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                return Err(BusError::Server { reason: format!("cannot be told to reload: {error}") });
            }
        }
        self.settle_waiting().await.map_err(|error| match process.last_complaint() {
            Some(words) => BusError::Server { reason: format!("{error}: {words}") },
            None => error,
        })?;
        Ok(true)
    }

    /// Waits until the server acts on the current configuration, then answers everybody
    /// who waited for that.
    async fn settle_waiting(&mut self) -> Result<(), BusError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let port = self.port.load(Ordering::Acquire);
        let in_force = async {
            let mut pause = Duration::from_millis(1);
            while Probe::connect(port, &self.generation).await.is_err() {
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(50));
            }
        };
        if timeout(RELOAD_LIMIT, in_force).await.is_err() {
            let reason = "the changed configuration did not come into force".to_owned();
            return Err(BusError::Server { reason });
        }
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Removed { answer } => {
                    let _ = answer.send(Ok(()));
                }
                Waiting::Added { name, key, answer } => {
                    let outcome = match timeout(RELOAD_LIMIT, Probe::connect(port, &key)).await {
                        Ok(Ok(_)) => credentials(port, &name, &key),
                        Ok(Err(error)) => Err(BusError::Server { reason: format!("`{name}` cannot connect: {error}") }),
                        Err(_) => Err(BusError::Server { reason: format!("`{name}` gets no answer") }),
                    };
                    let _ = answer.send(outcome);
                }
            }
        }
        Ok(())
    }

    /// Tells everybody who waits that the change failed, and forgets who was to be added.
    fn fail_waiting(&mut self, error: &BusError) {
        tracing::error!(%error, "a change of the bus identities failed");
        for waiting in std::mem::take(&mut self.waiting) {
            let reason = error.to_string();
            match waiting {
                Waiting::Added { name, answer, .. } => {
                    self.identities.remove(&name);
                    let _ = answer.send(Err(BusError::Server { reason }));
                }
                Waiting::Removed { answer } => {
                    let _ = answer.send(Err(BusError::Server { reason }));
                }
            }
        }
    }

    /// Waits before the next start; changes of the identities are noted meanwhile.
    /// `Some` when the server is to stop for good.
    async fn pause_after_death(&mut self, reason: &str) -> Option<Option<oneshot::Sender<()>>> {
        let now = Instant::now();
        self.deaths.push_back(now);
        while self.deaths.front().is_some_and(|death| now.duration_since(*death) > self.policy.window) {
            self.deaths.pop_front();
        }
        let steady = self.ready_since.take().is_some_and(|since| now.duration_since(since) >= STEADY);
        self.row = if steady { 1 } else { self.row + 1 };
        let deaths = self.deaths.len();
        if deaths > self.policy.deaths {
            let reason = format!(
                "nats-server died {deaths} times within {} s, the last time: {reason}",
                self.policy.window.as_secs()
            );
            tracing::error!(%reason, "the bus is given up");
            self.state.send_replace(ServerState::Broken { reason: reason.clone() });
            self.fail_waiting(&BusError::Server { reason: reason.clone() });
            return Some(self.refuse_until_stopped(&reason).await);
        }
        let attempt = u32::try_from(self.row).unwrap_or(u32::MAX);
        let pause = restart_pause(self.row, rand::random());
        tracing::warn!(%reason, attempt, pause_ms = pause.as_millis(), "nats-server ended, it is started again");
        self.state.send_replace(ServerState::Backoff { attempt });
        let ends = now + pause;
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(ends) => return None,
                command = self.commands.recv() => match command {
                    None => return Some(None),
                    Some(Command::Stop { answer }) => return Some(Some(answer)),
                    Some(command) => {
                        self.note(command);
                    }
                },
            }
        }
    }

    async fn refuse_until_stopped(&mut self, reason: &str) -> Option<oneshot::Sender<()>> {
        loop {
            let broken = || BusError::Server { reason: reason.to_owned() };
            match self.commands.recv().await {
                None => return None,
                Some(Command::Stop { answer }) => return Some(answer),
                Some(Command::Add { answer, .. }) => {
                    let _ = answer.send(Err(broken()));
                }
                Some(Command::Remove { answer, .. }) => {
                    let _ = answer.send(Err(broken()));
                }
            }
        }
    }

    fn write_config(&self, server_name: &str) -> Result<(), BusError> {
        let port = match self.port.load(Ordering::Acquire) {
            0 => None,
            port => Some(port),
        };
        Config {
            server_name,
            port,
            ports_dir: &self.run_dir,
            mqtt: self.mqtt.as_ref(),
            identities: &self.identities,
            generation: &self.generation.public_key(),
        }
        .write(&self.config_path)
    }

    fn remove_ports_files(&self) {
        for path in ports_files(&self.run_dir) {
            let _ = std::fs::remove_file(path);
        }
    }

    fn remove_files(&self) {
        self.remove_ports_files();
        let _ = std::fs::remove_file(&self.config_path);
    }
}

/// Shows that our process answers on the port: the name is the random one of this
/// start, and a nonce comes back through our own subscription. An open port alone
/// shows nothing.
async fn prove(
    pid: u32,
    run_dir: &Path,
    known_port: u16,
    server_name: &str,
    key: &KeyPair,
) -> Result<(u16, Probe), String> {
    loop {
        let port = match known_port {
            0 => announced_port(run_dir, pid),
            port => Some(port),
        };
        if let Some(port) = port {
            match Probe::connect(port, key).await {
                Ok(mut probe) if probe.server_name() == server_name => {
                    let nonce = hex::encode(rand::random::<[u8; 16]>());
                    return match probe.echo(subject::HUB_NONCE, &nonce).await {
                        Ok(()) => Ok((port, probe)),
                        Err(error) => Err(format!("the nonce did not come back: {error}")),
                    };
                }
                // Another program has the port. Ours ends by itself then, with words
                // that say so.
                Ok(_) | Err(ProbeError::Refused | ProbeError::NotNats | ProbeError::Io(_)) => {}
            }
        }
        sleep(Duration::from_millis(2)).await;
    }
}

/// The port that the process has written to its ports file, once it has.
fn announced_port(run_dir: &Path, pid: u32) -> Option<u16> {
    #[derive(serde::Deserialize)]
    struct Ports {
        nats: Vec<String>,
    }
    let suffix = format!("_{pid}.ports");
    let path = ports_files(run_dir)
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&suffix)))?;
    let ports: Ports = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    ports.nats.first()?.rsplit(':').next()?.parse().ok()
}

fn ports_files(run_dir: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(run_dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ports"))
}

/// Makes the folder, closed to other users, and returns its absolute path.
fn private_dir(dir: &Path) -> Result<PathBuf, BusError> {
    let storage = |source| BusError::Storage { path: dir.to_owned(), source };
    std::fs::create_dir_all(dir).map_err(storage)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(storage)?;
    }
    std::path::absolute(dir).map_err(storage)
}

/// The pause before restart number `attempt` (from 1), ± 20 % by `chance`.
fn restart_pause(attempt: usize, chance: u32) -> Duration {
    let base = match attempt {
        0 | 1 => FIRST_RESTART,
        more => {
            let doublings = u32::try_from(more - 2).unwrap_or(u32::MAX).min(16);
            (RESTART_STEP * 2_u32.pow(doublings)).min(MAX_RESTART_PAUSE)
        }
    };
    base.mul_f64(0.8 + 0.4 * f64::from(chance) / f64::from(u32::MAX))
}

fn credentials(port: u16, identity: &str, key: &KeyPair) -> Result<Credentials, BusError> {
    let seed = key.seed().map_err(|error| BusError::Server { reason: format!("no seed for `{identity}`: {error}") })?;
    Ok(Credentials { url: url(port), identity: identity.to_owned(), seed })
}

fn url(port: u16) -> String {
    format!("nats://127.0.0.1:{port}")
}

fn reserved(name: &str) -> BusError {
    BusError::InvalidIdentity { identity: name.to_owned(), reason: "belongs to the supervisor".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_fast_and_later_ones_wait_longer_up_to_a_limit() {
        let ms = |attempt, chance| restart_pause(attempt, chance).as_secs_f64() * 1_000.0;
        assert!(ms(1, u32::MAX) <= 50.0, "the first restart must not be felt");
        for (attempt, least, most) in [(2, 200, 300), (3, 400, 600), (5, 1_600, 2_400), (1_000, 24_000, 36_000)] {
            assert_eq!(ms(attempt, 0).round() as u64, least, "20 % less");
            assert_eq!(ms(attempt, u32::MAX).round() as u64, most, "20 % more");
        }
    }
}
