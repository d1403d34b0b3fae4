//! Another model for a hop while the hub runs: the new engine is started, turns that
//! begin after it is ready use it, and the old one ends when its work is done.
//!
//! No turn fails because of it: a model that does not come up leaves the old one in
//! place, and what still reaches an engine that ends is asked again. Deliberately absent:
//! downloads, and the configuration file; the next start does as that says.

use super::assemble::{self, Tuning};
use super::{Hub, Inner};
use crate::models::{self, Presence};
use crate::supervisor::{EngineSpec, EngineState, Supervised};
use loqa_audit::Journal as _;
use loqa_protocol::client::NodeState;
use loqa_protocol::engine::{Control, ControlAnswer, EngineKind};
use loqa_protocol::models::ModelInUse;
use loqa_protocol::{ErrorCode, Failure, Hop, InstanceId, subject};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Longest loading of a model. Chosen: gigabytes from a slow disk.
const LOAD_PATIENCE: Duration = Duration::from_mins(3);
/// How long an engine that takes no new work may go on with the old. A turn is over
/// earlier by its own deadline; this bounds a broken engine.
const DRAIN_PATIENCE: Duration = Duration::from_mins(2);
/// For an order to an engine.
const ORDER_PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks. Chosen.
const LOOK_EVERY: Duration = Duration::from_millis(25);

impl Hub {
    /// The models that are in use, each kind's best first.
    #[must_use]
    pub fn models_in_use(&self) -> Vec<ModelInUse> {
        self.inner.models_in_use()
    }

    /// Puts a model to use in place of the one at `tier`, which counts from 1. Returns
    /// once turns that begin use it; the old engine may still be at work.
    ///
    /// # Errors
    /// The model is not there, not the pinned one or does not come up, or the place is
    /// none. Then everything is as it was.
    pub async fn use_model(&self, kind: EngineKind, tier: u32, model: &str) -> Result<Vec<ModelInUse>, Failure> {
        self.inner.clone().use_model(kind, tier, model.to_owned()).await
    }
}

impl Inner {
    pub(super) fn models_in_use(&self) -> Vec<ModelInUse> {
        let mut tiers: BTreeMap<&'static str, u32> = BTreeMap::new();
        let engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |engine: &Supervised| {
            let EngineSpec { kind, capability, model, .. } = &engine.spec;
            let tier = tiers.entry(kind.as_str()).or_default();
            *tier += 1;
            ModelInUse { kind: *kind, tier: *tier, capability: capability.clone(), model: model.clone() }
        };
        engines.iter().map(row).collect()
    }

    pub(super) async fn use_model(
        self: Arc<Self>,
        kind: EngineKind,
        tier: u32,
        model: String,
    ) -> Result<Vec<ModelInUse>, Failure> {
        // One change at a time: both would replace the same engine.
        let _one = self.swapping.lock().await;
        let in_use = self.models_in_use();
        let of_kind: Vec<&ModelInUse> = in_use.iter().filter(|row| row.kind == kind).collect();
        let places = u32::try_from(of_kind.len()).unwrap_or(u32::MAX);
        let most = if kind == EngineKind::Llm { places.saturating_add(1) } else { 1 };
        if tier == 0 || tier > most {
            let message = format!("`{}` has the places 1 to {most}, {tier} is none of them", kind.as_str());
            return Err(Failure::new(Hop::Hub, ErrorCode::BadRequest, message));
        }
        let old = of_kind.iter().find(|row| row.tier == tier).map(|row| (*row).clone());
        if old.as_ref().is_some_and(|old| old.model == model) {
            return Ok(in_use);
        }
        let spec = {
            let (inner, model) = (Arc::clone(&self), model.clone());
            // Gigabytes may have to be read.
            tokio::task::spawn_blocking(move || inner.spec_of(kind, &model))
                .await
                .map_err(|e| invalid(e.to_string()))??
        };
        let clash = of_kind.iter().find(|row| row.capability == spec.capability && row.tier != tier);
        if let Some(clash) = clash {
            let message = format!("model `{model}` is in use already, as number {} of its kind", clash.tier);
            return Err(Failure::new(Hop::Hub, ErrorCode::Conflict, message));
        }
        self.on_record(kind, tier, &model)?;
        let new = self.came_up(spec.clone()).await?;
        self.put_in_place(new, old.as_ref());
        Ok(self.models_in_use())
    }

    fn spec_of(&self, kind: EngineKind, model: &str) -> Result<EngineSpec, Failure> {
        let catalog = self.paths.catalog().map_err(|e| invalid(format!("{e:#}")))?;
        let entry = catalog.find(model, Some(kind)).map_err(|e| invalid(format!("{e:#}")))?;
        if catalog.presence(entry) == Presence::Absent {
            return Err(invalid(format!("model `{model}` is not there: fetch it with `loqa models pull {model}`")));
        }
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        assemble::model_spec(&config, &self.paths, &catalog, model, kind).map_err(|e| invalid(format!("{e:#}")))
    }

    fn on_record(&self, kind: EngineKind, tier: u32, model: &str) -> Result<(), Failure> {
        let recorded = self.audit.append(models::change("models.use", format!("{}.{tier}={model}", kind.as_str())));
        recorded.map(drop).map_err(|e| Failure::new(Hop::Hub, ErrorCode::StorageFault, e.to_string()))
    }

    /// Starts an engine and waits until it is ready. One that dies once is given up.
    async fn came_up(&self, spec: EngineSpec) -> Result<Supervised, Failure> {
        let (model, until) = (spec.model.clone(), Instant::now() + LOAD_PATIENCE);
        let registry = &self.context.reach.registry;
        let audit = Arc::clone(&self.audit) as _;
        let Some(server) = self.server.upgrade() else {
            return Err(Failure::new(Hop::Hub, ErrorCode::ShuttingDown, "the hub is stopping"));
        };
        let engine = Supervised::start(spec, server, registry.clone(), audit);
        let reason = loop {
            match &*engine.state().borrow() {
                EngineState::Backoff { reason, .. } | EngineState::Broken { reason } => break reason.clone(),
                EngineState::Stopped => break "it was stopped".to_owned(),
                EngineState::Starting | EngineState::Running { .. } => {}
            }
            if self.instance(&engine).is_some() {
                return Ok(engine);
            }
            if Instant::now() > until {
                break format!("not ready after {} s", LOAD_PATIENCE.as_secs());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        engine.stop().await;
        Err(invalid(format!("model `{model}` does not come up, the old one stays: {reason}")))
    }

    /// The instance that an engine has announced, which is then ready.
    fn instance(&self, engine: &Supervised) -> Option<InstanceId> {
        let pid = engine.pid()?;
        let nodes = self.context.reach.registry.list(Instant::now());
        nodes.into_iter().find(|node| node.pid == pid && node.state == NodeState::Ready).map(|node| node.instance)
    }

    /// From here on turns that begin use the new engine.
    fn put_in_place(self: &Arc<Self>, new: Supervised, old: Option<&ModelInUse>) {
        let (replaced, specs) = {
            let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
            let place = old.and_then(|old| engines.iter().position(|engine| engine.spec.model == old.model));
            let replaced = match place {
                Some(place) => Some(std::mem::replace(&mut engines[place], new)),
                None => {
                    // After the last of its kind.
                    let last = engines.iter().rposition(|engine| engine.spec.kind == new.spec.kind);
                    let place = last.map_or(engines.len(), |last| last + 1);
                    engines.insert(place, new);
                    None
                }
            };
            (replaced, engines.iter().map(|engine| engine.spec.clone()).collect::<Vec<_>>())
        };
        let before = {
            let mut config = self.config.write().unwrap_or_else(PoisonError::into_inner);
            note(&mut config, &specs);
            let next = Tuning::of(&config, &specs);
            self.effects.set_models(next.settings.llm_tiers.clone());
            std::mem::replace(&mut *self.tuning.write().unwrap_or_else(PoisonError::into_inner), next)
        };
        let Some(replaced) = replaced else { return };
        let shares_work = specs.iter().any(|spec| spec.capability == replaced.spec.capability);
        let inner = Arc::clone(self);
        let leaving = tokio::spawn(async move {
            // With another capability the turns under way can ask nobody else. With the same
            // one the new engine does what the old one no longer takes.
            if !shares_work {
                inner.turns_over(before).await;
            }
            inner.drained(replaced).await;
        });
        let mut all = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|task| !task.is_finished());
        all.push(leaving);
    }

    /// Waits until no turn is left that began with this tuning.
    async fn turns_over(&self, tuning: Tuning) {
        let until = Instant::now() + DRAIN_PATIENCE;
        // Our own, and the hub's from its start.
        let ours = 1 + usize::from(Arc::ptr_eq(&tuning.settings, &self.context.settings));
        while Arc::strong_count(&tuning.settings) > ours && Instant::now() < until && !*self.stopping.borrow() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Has an engine end what it does, and waits until it is gone.
    async fn drained(&self, engine: Supervised) {
        let mut state = engine.state();
        if let Some(instance) = self.instance(&engine) {
            engine.let_go();
            let subject = subject::engine_control(&instance);
            let told = self.context.reach.bus.request::<_, ControlAnswer>(&subject, &Control::Drain, ORDER_PATIENCE);
            match told.await {
                Ok(_) => {
                    let mut stopping = self.stopping.subscribe();
                    tokio::select! {
                        _ = state.wait_for(|state| *state == EngineState::Stopped) => {}
                        _ = stopping.wait_for(|stopping| *stopping) => {}
                        () = tokio::time::sleep(DRAIN_PATIENCE) => {
                            tracing::warn!(model = engine.spec.model, "the old engine does not end its work");
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "an engine was not told to end its work"),
            }
        }
        tracing::info!(capability = engine.spec.capability, model = engine.spec.model, "the old engine ends");
        engine.stop().await;
    }
}

/// What the configuration says from now on.
fn note(config: &mut crate::config::Config, specs: &[EngineSpec]) {
    let of = |kind| specs.iter().filter(move |spec| spec.kind == kind && !spec.model_path.as_os_str().is_empty());
    let names = |kind| of(kind).map(|spec| spec.model.as_str()).collect::<Vec<_>>().join(",");
    for (key, kind) in [("stt.model", EngineKind::Stt), ("llm.models", EngineKind::Llm), ("tts.model", EngineKind::Tts)]
    {
        let names = names(kind);
        if (kind == EngineKind::Llm || !names.is_empty())
            && let Err(error) = config.set(key, &names)
        {
            tracing::error!(%error, key, "the configuration does not show the models in use");
        }
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(Hop::Hub, ErrorCode::ModelInvalid, message)
}
