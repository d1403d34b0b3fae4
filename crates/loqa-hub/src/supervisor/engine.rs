//! Engines as the supervisor sees them: their boot line, their identity on the bus and
//! their row in the registry.

use super::{Begun, Charge, EngineState, Kept, Stop};
use crate::audit::engine_restarted;
use crate::registry::Registry;
use anyhow::Context as _;
use loqa_audit::Journal;
use loqa_bus::{BusServer, Permissions};
use loqa_protocol::InstanceId;
use loqa_protocol::engine::{EngineBoot, EngineKind};
use process_wrap::tokio::{CommandWrap, KillOnDrop};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
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

/// Handle on one supervised engine.
pub struct Supervised {
    /// The engine's spec.
    pub spec: EngineSpec,
    kept: Kept,
}

impl Supervised {
    /// Starts the engine and keeps it running.
    pub fn start(spec: EngineSpec, server: Arc<BusServer>, registry: Registry, journal: Arc<dyn Journal>) -> Self {
        let kept = Kept::start(Engine { spec: spec.clone(), server, registry, journal });
        Self { spec, kept }
    }

    /// Its state, to look at or to wait on.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<EngineState> {
        self.kept.state()
    }

    /// Process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.kept.pid()
    }

    /// Does not start the engine again once it has ended, which somebody has told it to.
    pub fn let_go(&self) {
        self.kept.order_stop(Stop::NotAgain);
    }

    /// Ends the engine and waits until it is gone.
    pub async fn stop(self) {
        self.kept.stop(Stop::Politely).await;
    }
}

struct Engine {
    spec: EngineSpec,
    server: Arc<BusServer>,
    registry: Registry,
    journal: Arc<dyn Journal>,
}

impl Charge for Engine {
    const KIND: &'static str = "engine";
    /// Chosen: a model is given back to the system within half a second.
    const STOP_PATIENCE: Duration = Duration::from_secs(2);

    fn name(&self) -> &str {
        &self.spec.capability
    }

    fn next_identity(&self) -> String {
        InstanceId::from_bits(rand::random()).to_string()
    }

    async fn begin(&self, identity: &str) -> anyhow::Result<Begun> {
        let spec = &self.spec;
        let instance = InstanceId::new(identity)?;
        let credentials = self
            .server
            .add_identity(instance.as_str(), Permissions::engine(&instance, &spec.capability))
            .await
            .context("give the engine a bus identity")?;
        let boot = EngineBoot {
            url: credentials.url.clone(),
            identity: credentials.identity.clone(),
            seed: credentials.seed.clone(),
            instance,
            capability: spec.capability.clone(),
            model: spec.model.clone(),
            model_path: spec.model_path.to_string_lossy().into_owned(),
            settings: spec.settings.clone(),
        };
        let boot = serde_json::to_vec(&boot).context("write the boot line")?;
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
        let child = command.spawn().with_context(|| {
            format!("start engine `{}`: run `npm run setup` or set `paths.programs`", spec.program.display())
        })?;
        Ok(Begun { child, boot })
    }

    fn record(&self, operation: &'static str, reason: &str) {
        loqa_telemetry::engine_died(self.spec.kind.as_str(), operation == "gave_up");
        engine_restarted(&*self.journal, &self.spec.capability, operation, reason);
    }

    async fn ended(&self, identity: &str) {
        if let Ok(instance) = InstanceId::new(identity) {
            self.registry.mark_dead(&instance);
        }
        if let Err(e) = self.server.remove_identity(identity).await {
            tracing::debug!(error = %e, "identity of a dead engine stays until the bus restarts");
        }
    }
}
