//! Hands skills to the host: the bundled ones from their folders, the installed ones as
//! far as they are enabled and their bytes are those that the user agreed to.

use super::{Event, Happened, Installed, InstalledError, Switch, Version};
use crate::{SkillError, SkillHost, SkillInfo};
use loqa_audit::{Actor, ActorKind, Context, Decision, Effect, Entry, Kind};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What the host was given.
#[derive(Debug)]
pub struct Shelf {
    installed: Installed,
    /// Names of bundled skills; an installed one of the same name is not loaded.
    bundled: BTreeSet<String>,
    /// Digest by name of installed skills that are loaded.
    loaded: BTreeMap<String, String>,
    /// What was already said about skills that are not loaded, so that a reload does not repeat it.
    told: BTreeSet<(String, String)>,
}

/// An installed skill that is enabled and still not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotLoaded {
    /// Its name.
    pub name: String,
    /// Why, and what helps.
    pub reason: String,
}

impl Shelf {
    /// Nothing is loaded yet.
    #[must_use]
    pub const fn new(installed: Installed) -> Self {
        Self { installed, bundled: BTreeSet::new(), loaded: BTreeMap::new(), told: BTreeSet::new() }
    }

    /// Loads a bundled skill from its folder.
    pub fn load_bundled(&mut self, host: &SkillHost, folder: &Path) -> Result<SkillInfo, SkillError> {
        let info = host.load_bundled(folder)?;
        host.journal().append_later(loaded_entry(&info, None));
        self.bundled.insert(info.name.clone());
        Ok(info)
    }

    /// Brings the host in line with what is installed: loads what is enabled and new,
    /// unloads what is not there any more or disabled, and hands what happened to the audit.
    /// Skills that cannot be loaded are returned; they keep no other from being loaded.
    pub fn sync(&mut self, host: &SkillHost) -> Result<Vec<NotLoaded>, InstalledError> {
        let index = self.installed.index()?;
        self.report(host, &index.unreported)?;
        let wanted: BTreeMap<&str, &Version> = index
            .skills
            .iter()
            .filter(|(_, skill)| skill.state == Switch::Enabled)
            .map(|(name, skill)| (name.as_str(), &skill.current))
            .collect();
        let gone: Vec<String> =
            self.loaded.keys().filter(|name| !wanted.contains_key(name.as_str())).cloned().collect();
        for name in gone {
            host.unload(&name);
            self.loaded.remove(&name);
        }
        let mut not_loaded = Vec::new();
        for (name, version) in wanted {
            if self.loaded.get(name) == Some(&version.digest) {
                continue;
            }
            if let Err(reason) = self.load(host, name, version) {
                if self.told.insert((name.to_owned(), reason.clone())) {
                    tracing::error!(skill = name, reason, "an installed skill is not loaded");
                }
                not_loaded.push(NotLoaded { name: name.to_owned(), reason });
            }
        }
        Ok(not_loaded)
    }

    fn load(&mut self, host: &SkillHost, name: &str, version: &Version) -> Result<(), String> {
        if self.bundled.contains(name) {
            return Err(format!("a bundled skill has its name; remove it with `loqa skill remove {name}`"));
        }
        let folder = self.installed.folder(name, version);
        match host.load_installed(&folder, &version.consent()) {
            Ok(info) => {
                host.journal().append_later(loaded_entry(&info, version.publisher.clone()));
                self.loaded.insert(name.to_owned(), version.digest.clone());
                Ok(())
            }
            Err(error) => {
                // An older version of it must not go on under a newer one's consent.
                host.unload(name);
                self.loaded.remove(name);
                if matches!(error, SkillError::Changed { .. }) {
                    host.journal().append_later(changed_entry(name, version));
                }
                Err(error.to_string())
            }
        }
    }

    /// What a removed skill has kept goes with it, so that a later one of its name cannot read it.
    fn report(&self, host: &SkillHost, events: &[Happened]) -> Result<(), InstalledError> {
        if events.is_empty() {
            return Ok(());
        }
        for event in events {
            if event.event == Event::Remove
                && let Err(error) = host.forget(&event.name)
            {
                tracing::error!(skill = event.name, %error, "what a removed skill has kept cannot be erased");
            }
            host.journal().append_later(happened_entry(event));
        }
        self.installed.reported(events)
    }
}

fn skill(name: &str, version: &str, digest: &str, publisher: Option<String>) -> Actor {
    Actor {
        version: Some(version.to_owned()),
        digest: Some(digest.to_owned()),
        publisher,
        ..Actor::named(ActorKind::Skill, name)
    }
}

fn loaded_entry(info: &SkillInfo, publisher: Option<String>) -> Entry {
    Entry {
        effect: Some(effect("skill.load", &info.name)),
        ..Entry::new(
            Kind::SkillLoad,
            skill(&info.name, &info.version, &info.module_sha256, publisher),
            Context::default(),
        )
    }
}

fn changed_entry(name: &str, version: &Version) -> Entry {
    Entry {
        decision: Some(Decision::Deny),
        reason: Some(Cow::Borrowed("changed")),
        effect: Some(effect("skill.load", name)),
        ..Entry::new(
            Kind::SkillChanged,
            skill(name, &version.version.to_string(), &version.module_sha256, version.publisher.clone()),
            Context::default(),
        )
    }
}

fn happened_entry(event: &Happened) -> Entry {
    let kind = match event.event {
        Event::Install => Kind::SkillInstall,
        Event::Upgrade | Event::Rollback => Kind::SkillUpgrade,
        Event::Remove => Kind::SkillRemove,
        Event::Enable | Event::Disable => Kind::ConfigChange,
    };
    Entry {
        effect: Some(effect(event.event.as_str(), &format!("{} {} {}", event.name, event.version, event.digest))),
        ..Entry::new(kind, Actor::named(ActorKind::User, "operator"), Context::default())
    }
}

fn effect(operation: &'static str, target: &str) -> Effect {
    Effect { operation: Cow::Borrowed(operation), target: Some(target.to_owned()), bytes_out: None }
}
