//! Native skills: starts their programs inside the sandbox, gives them an identity on
//! the bus, carries calls to them and takes their host calls.
//!
//! Nothing here trusts a program. What it may say and hear is in the server's
//! configuration; what it asks of the hub passes the gate of the skill host; where an
//! answer goes is worked out from the subject and not from what the program wrote.

mod devices;
pub mod home;
mod host_calls;
mod origins;
mod program;
mod sandbox;
mod spawner;

pub use devices::HomeDevices;
pub use host_calls::{Answering, serve_host_calls};
pub use origins::{Origins, resolve};
pub use sandbox::{Holds, what_holds};

use crate::supervisor::EngineState;
use anyhow::Context as _;
use loqa_bus::{Bus, BusServer, Topics};
use loqa_protocol::subject;
use loqa_skills::SkillHost;
use loqa_skills::grants::Grantor;
use loqa_skills::native::NativeCode;
use loqa_skills::permission::Permission;
use program::{Program, Setting};
use serde_json::{Map, Value};
use spawner::Spawner;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Looks up a secret by skill and name.
pub type Secrets = Arc<dyn Fn(&str, &str) -> Option<String> + Send + Sync>;

/// One native skill as it is to run.
pub struct NativeSpec {
    /// Its code.
    pub code: NativeCode,
    /// What the user has set, for its boot line.
    pub settings: Map<String, Value>,
    /// Where the user lets it connect to.
    pub origins: Origins,
    /// Folder that it may write to; made if missing.
    pub data_dir: PathBuf,
    /// Whether the system's sandbox is used; off in tests that show what it is for.
    pub is_sandboxed: bool,
}

/// All native skills of a hub.
pub struct NativeSkills {
    server: Arc<BusServer>,
    bus: Bus,
    skills: Arc<SkillHost>,
    spawner: Arc<Spawner>,
    secrets: Secrets,
    programs: Mutex<BTreeMap<String, Arc<Program>>>,
    answering: tokio::task::JoinHandle<()>,
}

impl NativeSkills {
    /// Takes host calls from here on; no program runs yet.
    ///
    /// # Errors
    /// The bus refuses the subscription, or there is no thread to start programs on.
    pub async fn open(
        server: Arc<BusServer>,
        bus: Bus,
        skills: Arc<SkillHost>,
        secrets: Secrets,
    ) -> anyhow::Result<Self> {
        let answering = serve_host_calls(bus.clone(), Arc::clone(&skills), Answering::OwnInbox)
            .await
            .context("listen for host calls of native skills")?;
        // Weak: the skill host keeps its grants, which keep this.
        let host = Arc::downgrade(&skills);
        skills.grants().on_end(move |skill, permission| {
            if let Some(host) = host.upgrade() {
                host.end_native_without(skill, permission);
            }
        });
        let spawner = Arc::new(Spawner::start().context("make the thread that starts native skills")?);
        Ok(Self { server, bus, skills, spawner, secrets, programs: Mutex::default(), answering })
    }

    /// Adds a skill. Its program is started by [`SkillHost::start_native`], or by its first call.
    ///
    /// # Errors
    /// Its topics are not grantable, its folder cannot be made, or its code cannot be
    /// put where it is run from.
    pub fn add(&self, spec: NativeSpec) -> anyhow::Result<()> {
        let name = spec.code.manifest.name.clone();
        let topics = topics(&spec.code);
        topics.check(&name).with_context(|| format!("what skill `{name}` publishes and hears"))?;
        std::fs::create_dir_all(&spec.data_dir)
            .with_context(|| format!("make the folder `{}` of skill `{name}`", spec.data_dir.display()))?;
        let setting = Setting {
            server: Arc::clone(&self.server),
            bus: self.bus.clone(),
            spawner: Arc::clone(&self.spawner),
            secrets: Arc::clone(&self.secrets),
            runtime: tokio::runtime::Handle::current(),
        };
        let (code, program) =
            Program::new(spec, topics, setting).with_context(|| format!("prepare the program of skill `{name}`"))?;
        let program = Arc::new(program);
        self.skills
            .add_native(&code, Arc::clone(&program) as _, Some(Grantor::Bundled))
            .with_context(|| format!("grant what skill `{name}` asks for"))?;
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).insert(name, program);
        Ok(())
    }

    /// Process ids by skill, of the programs that run.
    #[must_use]
    pub fn pids(&self) -> Vec<(String, u32)> {
        let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        programs.iter().filter_map(|(name, program)| program.pid().map(|pid| (name.clone(), pid))).collect()
    }

    /// The state of a program that was started.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<watch::Receiver<EngineState>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).get(name)?.state()
    }

    /// Ends all programs and waits until they are gone.
    pub async fn stop(self) {
        self.answering.abort();
        let programs = std::mem::take(&mut *self.programs.lock().unwrap_or_else(PoisonError::into_inner));
        let mut stopping = tokio::task::JoinSet::new();
        for program in programs.into_values() {
            stopping.spawn(async move { program.stop().await });
        }
        while stopping.join_next().await.is_some() {}
    }
}

/// What the manifest asks for on the bus. `bus:publish` is T0 and `bus:subscribe` T1, so
/// both are granted with the installation.
fn topics(code: &NativeCode) -> Topics {
    let of = |permission| {
        code.manifest.requested(permission).map(|it| it.scope.texts("topics").to_vec()).unwrap_or_default()
    };
    Topics { publish: of(Permission::BusPublish), subscribe: of(Permission::BusSubscribe) }
}

/// Name of a skill's identity on the bus.
fn identity(skill: &str) -> String {
    subject::skill_identity(skill)
}
