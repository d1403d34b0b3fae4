//! The skills of a running hub: the bundled ones, the installed ones, what of them turns
//! may use, and the operator's request to look again.
//!
//! Deliberately absent: installing. That is done by whoever holds the data folder's files,
//! see `loqa_skills::installed`.

use crate::paths::Paths;
use anyhow::Context as _;
use loqa_bus::Bus;
use loqa_protocol::client::{SkillFault, SkillRow, SkillRunState, SkillsReply, SkillsRequest};
use loqa_protocol::{ErrorCode, Failure, Hop, ToolSpec, subject};
use loqa_skills::installed::{InstalledError, NotLoaded};
use loqa_skills::manifest::FILE_NAME;
use loqa_skills::{DevSkill, Installed, Manifest, Shelf, SkillHost, SkillState};
use loqa_turn::intent::IntentIndex;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Requests that may wait. Chosen.
const QUEUE: usize = 8;

/// What turns may use of the skills. A turn keeps what it began with.
#[derive(Clone)]
pub struct Offer {
    /// The utterances.
    pub intents: Arc<IntentIndex>,
    /// The tools.
    pub tools: Arc<Vec<ToolSpec>>,
}

/// The skills of one hub. Its methods block, except [`HubSkills::offer`] and [`HubSkills::host`].
pub struct HubSkills {
    host: Arc<SkillHost>,
    shelf: Mutex<Shelf>,
    offer: RwLock<Offer>,
    /// As of the last look.
    not_loaded: RwLock<Vec<NotLoaded>>,
}

impl HubSkills {
    /// Loads the bundled skills from their folders and the installed ones from the data
    /// folder. An installed skill that cannot be loaded is logged and left out; a bundled
    /// one is part of the installation, and without it nothing starts.
    pub fn load(host: SkillHost, data: &Path, folders: &[PathBuf]) -> anyhow::Result<Self> {
        let mut shelf = Shelf::new(Installed::in_data(data));
        for folder in folders {
            shelf.load_bundled(&host, folder).with_context(|| {
                format!("load the skill in `{}`: run `npm run setup` to build the bundled ones", folder.display())
            })?;
        }
        let not_loaded = shelf.sync(&host).unwrap_or_else(|error| {
            // A damaged index must not keep the assistant silent.
            tracing::error!(%error, "the installed skills are not loaded");
            Vec::new()
        });
        let offer = offer_of(&host).context("compile the utterances of the skills")?;
        Ok(Self {
            host: Arc::new(host),
            shelf: Mutex::new(shelf),
            offer: RwLock::new(offer),
            not_loaded: RwLock::new(not_loaded),
        })
    }

    /// Runs them.
    #[must_use]
    pub const fn host(&self) -> &Arc<SkillHost> {
        &self.host
    }

    /// What a turn that begins may use.
    #[must_use]
    pub fn offer(&self) -> Offer {
        self.offer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Offers what the host has loaded to the turns that begin from here on.
    pub fn renew_offer(&self) -> anyhow::Result<()> {
        let offer = offer_of(&self.host).context("compile the utterances of the skills")?;
        *self.offer.write().unwrap_or_else(PoisonError::into_inner) = offer;
        loqa_telemetry::know_skills(self.host.skills().into_iter().map(|skill| skill.name));
        Ok(())
    }

    /// Brings the host in line with what is installed.
    pub fn reload(&self) -> Result<(), InstalledError> {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let not_loaded = shelf.sync(&self.host)?;
        *self.not_loaded.write().unwrap_or_else(PoisonError::into_inner) = not_loaded;
        if let Err(error) = self.renew_offer() {
            tracing::error!(%error, "turns go on with the skills that they had");
        }
        Ok(())
    }

    /// Installed and enabled skills that could not be loaded, as of the last look.
    #[must_use]
    pub fn not_loaded(&self) -> Vec<NotLoaded> {
        self.not_loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loads the skills that are being written, beside or in place of others of their names.
    pub fn load_dev(&self, folders: &[String]) -> anyhow::Result<Vec<DevSkill>> {
        let mut watched = Vec::new();
        for folder in folders.iter().map(Path::new) {
            self.host
                .load_dev(folder)
                .with_context(|| format!("load the development skill in `{}`", folder.display()))?;
            watched.push(DevSkill::loaded(folder));
        }
        if !watched.is_empty() {
            self.renew_offer()?;
        }
        Ok(watched)
    }

    /// Loads those anew whose files have changed. What cannot be loaded is logged, and what ran before goes on.
    fn reload_dev(&self, watched: &mut [DevSkill]) {
        let mut is_changed = false;
        for skill in watched.iter_mut().filter_map(|skill| skill.has_changed().then_some(skill)) {
            match self.host.load_dev(skill.folder()) {
                Ok(_) => is_changed = true,
                Err(error) => tracing::error!(%error, folder = %skill.folder().display(), "not loaded again"),
            }
        }
        if is_changed && let Err(error) = self.renew_offer() {
            tracing::error!(error = format!("{error:#}"), "turns go on with the skills that they had");
        }
    }

    fn answer(&self, request: &SkillsRequest) -> SkillsReply {
        if *request == SkillsRequest::Reload
            && let Err(error) = self.reload()
        {
            return refused(ErrorCode::StorageFault, &error);
        }
        let not_loaded = self.not_loaded().into_iter();
        SkillsReply::Skills {
            skills: self.rows(),
            not_loaded: not_loaded.map(|NotLoaded { name, reason }| SkillFault { name, reason }).collect(),
        }
    }

    /// The skills that are loaded.
    #[must_use]
    pub fn rows(&self) -> Vec<SkillRow> {
        let loaded = self.host.skills().into_iter();
        loaded
            .map(|info| SkillRow {
                name: info.name,
                version: info.version,
                state: match info.state {
                    SkillState::Enabled => SkillRunState::Enabled,
                    SkillState::Suspended => SkillRunState::Suspended,
                },
                module_sha256: info.module_sha256,
                tools: info.tools,
                dev: info.dev,
            })
            .collect()
    }
}

/// The bundled skills and their folders; one whose manifest cannot be read is left out. Blocks.
#[must_use]
pub fn bundled(paths: &Paths) -> Vec<(Manifest, PathBuf)> {
    let read = |folder: &PathBuf| {
        let file = folder.join(FILE_NAME);
        Some((Manifest::parse(&file, &std::fs::read(&file).ok()?).ok()?, folder.clone()))
    };
    paths.skills.iter().filter_map(read).collect()
}

/// Loads skills that are being written anew when their files change; ends at once when there are none.
pub async fn watch_dev(skills: Arc<HubSkills>, mut watched: Vec<DevSkill>) {
    while !watched.is_empty() {
        tokio::time::sleep(DevSkill::PERIOD).await;
        let skills = Arc::clone(&skills);
        let looked = tokio::task::spawn_blocking(move || {
            skills.reload_dev(&mut watched);
            watched
        })
        .await;
        let Ok(looked) = looked else { return tracing::error!("development skills are not watched any more") };
        watched = looked;
    }
}

/// Answers the operator until the bus is closed.
pub async fn serve(skills: Arc<HubSkills>, bus: Bus) {
    let mut requests = match bus.subscribe(subject::HUB_SKILLS, None, QUEUE).await {
        Ok(requests) => requests,
        Err(error) => {
            tracing::error!(%error, "changes of the installed skills are not noticed until the next start");
            return;
        }
    };
    while let Some(message) = requests.next().await {
        let reply = match message.json::<SkillsRequest>() {
            Ok(request) => {
                let skills = Arc::clone(&skills);
                let answered = tokio::task::spawn_blocking(move || skills.answer(&request)).await;
                answered.unwrap_or_else(|error| refused(ErrorCode::StorageFault, &error))
            }
            Err(error) => refused(ErrorCode::BadRequest, &error),
        };
        if let Some(to) = &message.reply
            && let Err(error) = bus.respond(to, &reply).await
        {
            tracing::debug!(%error, "answer to the operator did not leave");
        }
    }
}

fn offer_of(host: &SkillHost) -> anyhow::Result<Offer> {
    let intents = IntentIndex::compile(&host.intents()).map_err(|errors| {
        anyhow::anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })?;
    Ok(Offer { intents: Arc::new(intents), tools: Arc::new(host.tools()) })
}

fn refused(code: ErrorCode, error: &dyn std::fmt::Display) -> SkillsReply {
    SkillsReply::Refused { failure: Failure::new(Hop::Hub, code, error.to_string()) }
}
