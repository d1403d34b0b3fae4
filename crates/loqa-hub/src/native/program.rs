//! One native skill's program: kept running, called over the bus, ended at once when
//! its permission is gone.

use super::sandbox::{self, Cell, Image};
use super::spawner::Spawner;
use super::{NativeSpec, Origins, Secrets, identity, resolve};
use crate::supervisor::{Begun, Charge, EngineState, Kept, Stop};
use anyhow::Context as _;
use loqa_bus::{Bus, BusError, BusServer, Permissions, Topics};
use loqa_protocol::skill::{SkillAnswer, SkillBoot, SkillCall};
use loqa_protocol::{PROTOCOL_VERSION, subject};
use loqa_skills::control::CallControl;
use loqa_skills::native::{NativeCode, NativeFault, NativeProgram};
use process_wrap::tokio::{CommandWrap, KillOnDrop};
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How often a waiting call looks whether it is still wanted. Chosen: a fifth of the
/// 50 ms that a cancel may take.
const GLANCE: Duration = Duration::from_millis(10);
/// Pause between two attempts to reach a program that is just being started.
const RETRY: Duration = Duration::from_millis(20);
/// Longest exchange, whatever the call's clock says: a person may be asked in between.
const LONGEST: Duration = Duration::from_secs(600);

/// What every program needs of the hub.
pub(super) struct Setting {
    pub(super) server: Arc<BusServer>,
    pub(super) bus: Bus,
    pub(super) spawner: Arc<Spawner>,
    pub(super) secrets: Secrets,
    pub(super) runtime: tokio::runtime::Handle,
}

/// One program.
pub(super) struct Program {
    name: String,
    charge: Arc<Life>,
    setting: Setting,
    kept: Mutex<Option<Kept>>,
    /// What was ended and may not have cleared up yet.
    ending: Mutex<Option<Kept>>,
}

/// What does not change between two lives of the program.
struct Life {
    name: String,
    server: Arc<BusServer>,
    spawner: Arc<Spawner>,
    topics: Topics,
    image: Arc<Image>,
    folder: PathBuf,
    data_dir: PathBuf,
    settings: Map<String, Value>,
    origins: Origins,
    profile: loqa_skills::manifest::SandboxProfile,
    is_sandboxed: bool,
}

impl Program {
    /// Puts the code where it is run from and gives back the rest of it.
    pub(super) fn new(spec: NativeSpec, topics: Topics, setting: Setting) -> anyhow::Result<(NativeCode, Self)> {
        let NativeSpec { mut code, settings, origins, data_dir, is_sandboxed } = spec;
        let name = code.manifest.name.clone();
        let image = Image::new(&code.path, &code.program).context("keep the program in memory")?;
        // It may be large, and is in the image.
        code.program = Vec::new();
        let charge = Arc::new(Life {
            name: name.clone(),
            server: Arc::clone(&setting.server),
            spawner: Arc::clone(&setting.spawner),
            topics,
            image: Arc::new(image),
            folder: code.folder.clone(),
            data_dir,
            settings,
            origins,
            profile: code.sandbox(),
            is_sandboxed,
        });
        Ok((code, Self { name, charge, setting, kept: Mutex::default(), ending: Mutex::default() }))
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.kept().as_ref().and_then(Kept::pid)
    }

    pub(super) fn state(&self) -> Option<watch::Receiver<EngineState>> {
        self.kept().as_ref().map(Kept::state)
    }

    pub(super) async fn stop(&self) {
        let (kept, ending) = (self.kept().take(), self.ending.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(kept) = kept {
            kept.stop(Stop::Politely).await;
        }
        if let Some(ending) = ending {
            ending.stop(Stop::AtOnce).await;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it makes sense to wait for it.
    fn may_come_up(&self) -> bool {
        self.kept().as_ref().is_some_and(|kept| match &*kept.state().borrow() {
            EngineState::Starting | EngineState::Running { .. } | EngineState::Backoff { .. } => true,
            EngineState::Broken { .. } | EngineState::Stopped => false,
        })
    }

    /// Counts its tries, so that a watcher can tell one from the next.
    async fn exchange(&self, payload: Vec<u8>, tries: &AtomicU32) -> Result<SkillAnswer, NativeFault> {
        let to = subject::skill_call(&self.name);
        let payload = bytes::Bytes::from(payload);
        loop {
            tries.fetch_add(1, Ordering::Relaxed);
            match self.setting.bus.request_bytes(&to, &[], payload.clone(), LONGEST).await {
                Ok(message) => return message.json().map_err(|_| NativeFault::Nonsense),
                // It is about to subscribe, or the bus is about to come back.
                Err(BusError::NoResponders { .. }) if self.may_come_up() => {}
                Err(BusError::Disconnected) if !self.setting.bus.is_connected() && self.may_come_up() => {}
                Err(_) => return Err(NativeFault::Gone),
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

impl NativeProgram for Program {
    fn ask(&self, call: &SkillCall, control: &CallControl) -> Result<SkillAnswer, NativeFault> {
        let payload = serde_json::to_vec(call).map_err(|_| NativeFault::Nonsense)?;
        self.setting.runtime.block_on(async {
            let mut glance = tokio::time::interval(GLANCE);
            let tries = AtomicU32::new(0);
            let exchange = self.exchange(payload, &tries);
            tokio::pin!(exchange);
            let mut asked = (0, None);
            loop {
                tokio::select! {
                    biased;
                    answer = &mut exchange => return answer,
                    _ = glance.tick() => {
                        // Nobody answers in the place of a process that is gone. A try that the
                        // server gave back was not with any process.
                        let (try_now, pid) = (tries.load(Ordering::Relaxed), self.pid());
                        let is_same_try = asked.0 == try_now && asked.1.is_some();
                        if !self.is_started() || is_same_try && pid != asked.1 {
                            return Err(NativeFault::Gone);
                        }
                        asked = (try_now, pid);
                        if control.stopped().is_some() {
                            // A program that never came up is not to blame for its slowness.
                            let runs = self.pid().is_some();
                            return Err(if runs { NativeFault::Stopped } else { NativeFault::Gone });
                        }
                    }
                }
            }
        })
    }

    fn tell(&self, call: &SkillCall) {
        let to = subject::skill_call(&self.name);
        if let Ok(payload) = serde_json::to_vec(call)
            && let Err(error) = self.setting.bus.try_publish_bytes(&to, &[], payload.into())
        {
            tracing::debug!(skill = self.name, %error, "a native skill was not told");
        }
    }

    fn secret(&self, name: &str, _origin: &str) -> Option<String> {
        // The gate has compared the origin with what was granted.
        (self.setting.secrets)(&self.name, name)
    }

    fn resolve(&self, host: &str, limit: Duration) -> Option<Vec<IpAddr>> {
        if !self.charge.origins.names(host) {
            return None;
        }
        Some(self.setting.runtime.block_on(resolve(host, limit)))
    }

    fn sandbox(&self) -> String {
        if self.charge.is_sandboxed {
            sandbox::what_holds().sentence(self.charge.profile, &self.charge.origins.ports())
        } else {
            sandbox::Holds::default().sentence(self.charge.profile, &self.charge.origins.ports())
        }
    }

    fn start(&self) {
        let mut kept = self.kept();
        if kept.as_ref().is_none_or(|kept| matches!(&*kept.state().borrow(), EngineState::Stopped)) {
            let _entered = self.setting.runtime.enter();
            let previous = self.ending.lock().unwrap_or_else(PoisonError::into_inner).take().or(kept.take());
            *kept = Some(Kept::start_after(previous, Arc::clone(&self.charge)));
        }
    }

    fn is_started(&self) -> bool {
        self.kept().is_some()
    }

    fn end(&self) {
        // Its supervision goes on by itself until the process is gone.
        if let Some(kept) = self.kept().take() {
            kept.order_stop(Stop::AtOnce);
            *self.ending.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        }
    }
}

impl Charge for Arc<Life> {
    const KIND: &'static str = "skill";
    /// Chosen: it has nothing to give back but connections.
    const STOP_PATIENCE: Duration = Duration::from_secs(1);

    fn name(&self) -> &str {
        &self.name
    }

    fn next_identity(&self) -> String {
        identity(&self.name)
    }

    async fn begin(&self, name: &str) -> anyhow::Result<Begun> {
        let permissions = Permissions::skill(&self.name, &self.topics).context("the skill's bus permissions")?;
        let credentials = self.server.add_identity(name, permissions).await.context("give the skill a bus identity")?;
        let boot = SkillBoot {
            protocol: PROTOCOL_VERSION,
            url: credentials.url.clone(),
            identity: credentials.identity.clone(),
            seed: credentials.seed.clone(),
            skill: self.name.clone(),
            data_dir: self.data_dir.to_string_lossy().into_owned(),
            settings: self.settings.clone(),
        };
        let boot = serde_json::to_vec(&boot).context("write the boot line")?;
        let bus_port = url::Url::parse(&credentials.url).ok().and_then(|url| url.port()).context("the bus's port")?;
        let mut ports = match self.profile {
            loqa_skills::manifest::SandboxProfile::Network => self.origins.ports(),
            loqa_skills::manifest::SandboxProfile::Offline => Default::default(),
        };
        ports.insert(bus_port);
        let cell = self.is_sandboxed.then(|| Cell {
            program_dir: self.folder.clone(),
            data_dir: self.data_dir.clone(),
            connect_to: ports,
        });
        let image = Arc::clone(&self.image);
        let spawn = move || {
            let mut command = CommandWrap::with_new(image.path(), |command| {
                command.env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
            });
            sandbox::confine(command.command_mut(), &image, cell.as_ref())?;
            command.wrap(KillOnDrop);
            #[cfg(unix)]
            command.wrap(process_wrap::tokio::ProcessGroup::leader());
            #[cfg(windows)]
            command.wrap(process_wrap::tokio::JobObject);
            command.spawn()
        };
        let child = self
            .spawner
            .run(spawn)
            .await
            .with_context(|| format!("start the program `{}`", self.image.path().display()))?;
        Ok(Begun { child, boot })
    }

    fn record(&self, operation: &'static str, _reason: &str) {
        loqa_telemetry::engine_died("skill", operation == "gave_up");
        // The rows of its calls say what became of them; the log says why it died.
    }

    async fn ended(&self, name: &str) {
        if let Err(error) = self.server.remove_identity(name).await {
            tracing::debug!(%error, "identity of a native skill stays until the bus restarts");
        }
    }
}
