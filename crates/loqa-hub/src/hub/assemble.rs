//! Puts the parts of a hub together from its configuration: the engines, what turns keep
//! to, the skills, and what leaves the machine.

use crate::audit::Outside;
use crate::config::Config;
use crate::effects::HubEffects;
use crate::models::Catalog;
use crate::native::{HomeDevices, NativeSkills, home};
use crate::paths::Paths;
use crate::session::driver::VoiceSettings;
use crate::skills::HubSkills;
use crate::supervisor::EngineSpec;
use anyhow::{Context as _, bail};
use loqa_audit::Journal;
use loqa_bus::{Bus, BusServer};
use loqa_protocol::engine::EngineKind;
use loqa_skills::secrets::Secrets;
use loqa_skills::{DevSkill, MAX_BUDGET, SkillHost, SkillHostOptions, SystemClock};
use loqa_turn::state::{Deadlines, TurnSettings};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const SYSTEM_PROMPT: &str = "You are Loqa, a voice assistant on the user's own machine. \
Answer in one or two short spoken sentences. Use a tool when one fits; never pretend to have done something.";

pub(super) fn engine_specs(config: &Config, paths: &Paths, catalog: &Catalog) -> anyhow::Result<Vec<EngineSpec>> {
    let mut specs = Vec::new();
    if config.bool("stt.enabled") {
        specs.push(model_spec(config, paths, catalog, config.text("stt.model"), EngineKind::Stt)?);
    }
    if let Some(endpoint) = config.text_if_set("llm.endpoint") {
        let Some(model) = config.text_if_set("llm.endpoint_model") else {
            bail!("`llm.endpoint` is set, set `llm.endpoint_model` to the name of a model there");
        };
        specs.push(EngineSpec {
            kind: EngineKind::Llm,
            capability: "llm.endpoint".to_owned(),
            model: model.to_owned(),
            model_path: Default::default(),
            program: paths.program("loqa-llm"),
            settings: [("backend", "openai"), ("endpoint", endpoint)]
                .map(|(key, value)| (key.to_owned(), Value::from(value)))
                .into_iter()
                .collect(),
            otlp_endpoint: config.text_if_set("telemetry.otlp_endpoint").map(str::to_owned),
        });
    }
    for name in config.list("llm.models") {
        specs.push(model_spec(config, paths, catalog, &name, EngineKind::Llm)?);
    }
    if config.bool("tts.enabled") {
        specs.push(model_spec(config, paths, catalog, config.text("tts.model"), EngineKind::Tts)?);
    }
    Ok(specs)
}

/// The engine for a model of the catalog, whose files are checked. Reads the disk.
pub(super) fn model_spec(
    config: &Config,
    paths: &Paths,
    catalog: &Catalog,
    name: &str,
    kind: EngineKind,
) -> anyhow::Result<EngineSpec> {
    let model = catalog.verified(name, kind)?;
    let threads = config.integer(&format!("{}.threads", kind.as_str()));
    let mut settings: Map<String, Value> =
        (threads > 0).then(|| ("threads".to_owned(), Value::from(threads))).into_iter().collect();
    if kind == EngineKind::Tts {
        settings.insert("ort_dylib".to_owned(), Value::from(paths.onnxruntime.to_string_lossy().into_owned()));
        settings.insert("cache_bytes".to_owned(), Value::from(config.integer("tts.cache_bytes")));
        if let Some(folder) = &model.voices_dir {
            settings.insert("voices_dir".to_owned(), Value::from(folder.to_string_lossy().into_owned()));
        }
    }
    Ok(EngineSpec {
        kind,
        capability: model.capability,
        model: model.name,
        model_path: model.path,
        program: paths.program(&format!("loqa-{}", kind.as_str())),
        settings,
        otlp_endpoint: config.text_if_set("telemetry.otlp_endpoint").map(str::to_owned),
    })
}

/// What turns are to keep to: a turn takes it as it is when the turn begins.
#[derive(Clone)]
pub(super) struct Tuning {
    /// Deadlines, tiers, limits.
    pub settings: Arc<TurnSettings>,
    /// Which engines listen and speak, and how.
    pub voice: Arc<VoiceSettings>,
}

impl Tuning {
    /// As the configuration says, with these engines.
    pub fn of(config: &Config, specs: &[EngineSpec]) -> Self {
        let capability = |kind| specs.iter().find(|spec| spec.kind == kind).map(|spec| spec.capability.clone());
        let llm_tiers =
            specs.iter().filter(|spec| spec.kind == EngineKind::Llm).map(|spec| spec.capability.clone()).collect();
        Self::with(config, capability(EngineKind::Stt), capability(EngineKind::Tts), llm_tiers)
    }

    /// As another configuration says, with the same engines.
    pub fn again(&self, config: &Config) -> Self {
        let Self { settings, voice } = self;
        Self::with(config, voice.stt.clone(), voice.tts.clone(), settings.llm_tiers.clone())
    }

    fn with(config: &Config, stt: Option<String>, tts: Option<String>, llm_tiers: Vec<String>) -> Self {
        let voice = VoiceSettings {
            stt,
            language: config.text("stt.language").to_owned(),
            tts,
            voice: config.text_if_set("tts.voice").map(str::to_owned),
            speed: config.number("tts.speed") as f32,
            system_prompt: SYSTEM_PROMPT.to_owned(),
            stt_deadline: config.millis("turn.stt_final_ms"),
            llm_deadline: config.millis("turn.llm_total_ms"),
            tts_deadline: config.millis("turn.total_ms"),
            skill_budget: config.millis("turn.skill_ms"),
        };
        let deadlines = Deadlines {
            stt_final: config.millis("turn.stt_final_ms"),
            llm_first: config.millis("turn.llm_first_ms"),
            llm_total: config.millis("turn.llm_total_ms"),
            // The skill host ends a call at its budget, which is longer for skills that ask a server;
            // the machine only catches a host that does not.
            skill: (config.millis("turn.skill_ms") * 2).max(MAX_BUDGET + Duration::from_secs(1)),
            // The gate ends each question in time; this bounds all questions of a turn.
            consent: config.millis("skills.prompt_ms") * 3,
            tts_first: config.millis("turn.tts_first_ms"),
            turn: config.millis("turn.total_ms"),
            ..Deadlines::default()
        };
        let settings = TurnSettings {
            deadlines,
            llm_tiers,
            min_confidence: config.number("stt.min_confidence") as f32,
            min_tool_confidence: config.number("llm.min_tool_confidence") as f32,
        };
        Self { settings: Arc::new(settings), voice: Arc::new(voice) }
    }
}

/// The native skills that are configured. Their programs start in the background,
/// because the person may have to be asked.
pub(super) async fn start_natives(
    config: &Config,
    paths: &Paths,
    mqtt: Option<&home::Gateway>,
    server: &Arc<BusServer>,
    bus: &Bus,
    skills: &Arc<SkillHost>,
    effects: &HubEffects,
) -> anyhow::Result<NativeSkills> {
    let kept = Secrets::in_folder(&paths.data);
    let secrets = Arc::new(move |skill: &str, name: &str| kept.get(skill, name).map(|it| it.expose().to_owned()));
    let natives = NativeSkills::open(Arc::clone(server), bus.clone(), Arc::clone(skills), secrets).await?;
    if let Some(spec) = home::spec(config, paths, mqtt)? {
        natives.add(spec)?;
        effects.set_devices(Some(Arc::new(HomeDevices::new(skills))));
        let skills = Arc::clone(skills);
        tokio::task::spawn_blocking(move || {
            if let Err(reason) = skills.start_native(home::SKILL) {
                tracing::warn!(skill = home::SKILL, reason = reason.as_str(), "the program may not run yet");
            }
        });
    }
    Ok(natives)
}

pub(super) fn open_skills(
    data: &Path,
    folders: &[std::path::PathBuf],
    dev: &[String],
    effects: Arc<HubEffects>,
    journal: Arc<dyn Journal>,
) -> anyhow::Result<(HubSkills, Vec<DevSkill>)> {
    let options = SkillHostOptions { data_dir: data.to_owned(), clock: Arc::new(SystemClock) };
    let host = SkillHost::open_with_audit(options, effects, journal).context("open the skill store")?;
    let skills = HubSkills::load(host, data, folders)?;
    let watched = skills.load_dev(dev)?;
    Ok((skills, watched))
}

/// Which engines ask a server, and where that is.
pub(super) fn outside(config: &Config, journal: Arc<dyn Journal>) -> Outside {
    let endpoint = config.text_if_set("llm.endpoint");
    Outside::new(journal, endpoint.map(|url| ("llm.endpoint".to_owned(), url.to_owned())).into_iter().collect())
}
