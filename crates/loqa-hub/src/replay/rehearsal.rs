//! A whole replay: a hub with a data folder of its own is started for the recorded turns,
//! with the models and skills that were asked for, and is gone afterwards.
//!
//! Deliberately absent: telling people, which differs between the command and the API.

use super::{Difference, Recorded, rehearsal, replay};
use crate::Hub;
use crate::config::Config;
use crate::models::Presence;
use crate::paths::Paths;
use anyhow::Context as _;
use loqa_protocol::SessionId;
use loqa_protocol::engine::EngineKind;
use serde::Serialize;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest start of the hub. Chosen: gigabytes from a slow disk.
const START_PATIENCE: Duration = Duration::from_mins(3);

/// What recorded turns are run through this time. By default, what is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Through {
    /// Catalog name of the recogniser, for turns that have a recording.
    pub stt: Option<String>,
    /// Catalog names of language models, best first; empty for the configured ones.
    pub llm: Vec<String>,
    /// Only those language models that offer this capability.
    pub tier: Option<String>,
    /// Folders of skills, each in place of a bundled one of the same name.
    pub skills: Vec<PathBuf>,
    /// Whether the reply must have the same words too.
    pub strict: bool,
}

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Turns that were run again.
    pub turns: usize,
    /// Those that were understood differently.
    pub different: usize,
    /// By session.
    pub sessions: Vec<Replayed>,
    /// Capabilities that no engine came up for, with the reason.
    #[serde(skip)]
    pub missing: Vec<(String, String)>,
}

/// A session that was run again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replayed {
    /// What it is called: its id, behind the name of the file where it came from one.
    pub name: String,
    /// Its id.
    pub session: SessionId,
    /// Its turns, in their order.
    pub turns: Vec<Difference>,
}

/// Why recorded turns were not run again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Ask for something else.
    #[error("{0}")]
    Unfit(String),
    /// Fetch the model first.
    #[error("{0}")]
    Absent(String),
    /// The caller stopped it.
    #[error("the replay was stopped")]
    Stopped,
    /// Look at what the hub said.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// Runs recorded sessions again. `tell` hears of each one once it is done; when `stop` is
/// over first, the rest is left out. The hub of the replay is gone when this returns; do not
/// drop it before.
///
/// # Errors
/// What was asked for does not fit, the hub does not start, or a turn did not end.
pub async fn run(
    mut config: Config,
    mut paths: Paths,
    recorded: &[(String, Recorded)],
    through: &Through,
    stop: impl Future<Output = ()>,
    tell: impl FnMut(&Replayed),
) -> Result<Report, ReplayError> {
    configure(&mut config, &mut paths, recorded, through)?;
    let folder = tempfile::Builder::new().prefix("loqa-").tempdir().context("make a folder for this run")?;
    // What was fetched stays in its place: `paths.downloads` is left alone.
    paths.data = folder.path().to_owned();
    let hub = Hub::start(&config, &paths, None).await?;
    let report = tokio::select! {
        report = all(&hub, recorded, through.strict, tell) => report,
        () = stop => Err(ReplayError::Stopped),
    };
    hub.stop().await;
    drop(folder);
    report
}

async fn all(
    hub: &Hub,
    recorded: &[(String, Recorded)],
    strict: bool,
    mut tell: impl FnMut(&Replayed),
) -> Result<Report, ReplayError> {
    let mut report = Report { missing: hub.wait_ready(START_PATIENCE).await, ..Report::default() };
    for (name, recorded) in recorded {
        let turns = replay(hub, recorded).await?;
        report.turns += turns.len();
        report.different += turns.iter().filter(|turn| !turn.is_same(strict)).count();
        let replayed = Replayed { name: name.clone(), session: recorded.session.clone(), turns };
        tell(&replayed);
        report.sessions.push(replayed);
    }
    Ok(report)
}

fn configure(
    config: &mut Config,
    paths: &mut Paths,
    recorded: &[(String, Recorded)],
    through: &Through,
) -> Result<(), ReplayError> {
    let catalog = paths.catalog()?;
    let named = through.stt.iter().map(|name| (name, EngineKind::Stt));
    for (name, kind) in named.chain(through.llm.iter().map(|name| (name, EngineKind::Llm))) {
        let model = catalog.find(name, Some(kind)).map_err(|e| ReplayError::Unfit(format!("{e:#}")))?;
        if catalog.presence(model) != Presence::Installed {
            let message = format!("model `{name}` is not there: fetch it with `loqa models pull {name}`");
            return Err(ReplayError::Absent(message));
        }
    }
    let mut set = |key: &str, value: &str| config.set(key, value).map_err(anyhow::Error::from);
    let turns = || recorded.iter().flat_map(|(_, recorded)| &recorded.turns);
    // What nobody spoke needs no ears, and what made no sound no voice.
    let heard = turns().any(|turn| turn.audio.is_some());
    set("stt.enabled", if heard { "true" } else { "false" })?;
    set("tts.enabled", if turns().any(|turn| turn.row.latency_ms.is_some()) { "true" } else { "false" })?;
    if let Some(model) = &through.stt {
        set("stt.model", model)?;
    }
    if !through.llm.is_empty() {
        set("llm.models", &through.llm.join(","))?;
    }
    rehearsal(config).map_err(anyhow::Error::from)?;
    if let Some(tier) = &through.tier {
        let offers =
            |name: &String| catalog.models.iter().any(|model| model.name == *name && model.capability == *tier);
        let models: Vec<String> = config.list("llm.models").into_iter().filter(offers).collect();
        if models.is_empty() {
            let configured = config.list("llm.models").join(", ");
            let message = format!("--tier: none of the language models ({configured}) offers `{tier}`");
            return Err(ReplayError::Unfit(message));
        }
        config.set("llm.models", &models.join(",")).map_err(anyhow::Error::from)?;
    }
    for folder in &through.skills {
        let manifest = folder.join("skill.yaml");
        if !manifest.is_file() {
            return Err(ReplayError::Unfit(format!("--skill: there is no `{}`", manifest.display())));
        }
        paths.skills.retain(|other| name_of(other) != name_of(folder));
        paths.skills.push(folder.clone());
    }
    Ok(())
}

/// The name of a skill's folder; a built one lies in `dist`.
fn name_of(folder: &Path) -> Option<&OsStr> {
    if folder.ends_with("dist") { folder.parent().and_then(Path::file_name) } else { folder.file_name() }
}
