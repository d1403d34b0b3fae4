//! `index.json`: which versions are installed, and what the user agreed to.

use super::{InstalledError, failed, sync_folder};
use crate::package::{Package, Pin};
use crate::permission::{Permission, Requested, Scope, ScopeKind, ScopeValue};
use loqa_protocol::tool::ToolEffect;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;

const FILE: &str = "index.json";
const NEXT_FILE: &str = ".index.next";
/// Version of the file.
const SCHEMA: u32 = 1;
/// Versions that follow each other without a hub that looks. Chosen.
const MAX_ANCESTORS: usize = 16;
/// Largest index. Chosen: some thousand skills.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    schema: u32,
    /// By name.
    pub skills: BTreeMap<String, InstalledSkill>,
    /// What happened and is not in the audit yet, in its order.
    pub unreported: Vec<Happened>,
}

/// One installed skill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledSkill {
    /// Whether it is loaded.
    pub state: Switch,
    /// The version in use.
    pub current: Version,
    /// The version before, for a rollback.
    pub previous: Option<Version>,
    /// A version that waits for the user's answer.
    pub staged: Option<Version>,
}

/// Whether a skill is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// It is.
    Enabled,
    /// It is not.
    Disabled,
}

/// What the host needs to know of the consent to an installed skill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallConsent {
    /// The bytes that it is bound to.
    pub pin: Pin,
    /// Public key of the publisher, in hex.
    pub publisher: Option<String>,
    /// See [`Version::carried_from`].
    pub carried_from: Vec<String>,
}

/// One version, and the consent that is bound to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Name of the skill.
    pub name: String,
    /// Version.
    pub version: semver::Version,
    /// Digest of all contents, in hex.
    pub digest: String,
    /// SHA-256 of `skill.yaml`, in hex.
    pub manifest_sha256: String,
    /// SHA-256 of the module, in hex.
    pub module_sha256: String,
    /// What grants to its code bind to, in hex.
    pub code_digest: String,
    /// Not empty when it replaced another version without a question: digests of the code
    /// whose grants it takes over, latest first. Otherwise the user saw its permission sheet.
    pub carried_from: Vec<String>,
    /// Public key of the publisher, in hex.
    pub publisher: Option<String>,
    /// When, in milliseconds since the Unix epoch.
    pub installed_at_ms: i64,
    /// What its permission sheet listed.
    pub agreed: Vec<Agreed>,
    /// Its tools, and what a call of each can do.
    pub tools: BTreeMap<String, ToolEffect>,
}

/// One line of the permission sheet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreed {
    /// Name of the permission.
    pub permission: String,
    /// How far, as the manifest wrote it.
    pub scope: BTreeMap<String, AgreedValue>,
    /// Why, in the author's words.
    pub reason: String,
}

/// The value of one scope key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AgreedValue {
    /// A number.
    Limit(u64),
    /// True or false.
    Flag(bool),
    /// A text.
    Text(String),
    /// A list.
    Texts(Vec<String>),
}

/// Something that was done to the installed skills, for the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Happened {
    /// What.
    pub event: Event,
    /// To which skill.
    pub name: String,
    /// To which version.
    pub version: String,
    /// Digest of its contents, in hex.
    pub digest: String,
    /// Its publisher's key, in hex.
    pub publisher: Option<String>,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// What was done to an installed skill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Installed for the first time.
    Install,
    /// Replaced by a newer version.
    Upgrade,
    /// Brought back to the previous version.
    Rollback,
    /// Switched on.
    Enable,
    /// Switched off.
    Disable,
    /// Removed.
    Remove,
}

impl Event {
    /// The name in the audit.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Install => "skill.install",
            Self::Upgrade => "skill.upgrade",
            Self::Rollback => "skill.rollback",
            Self::Enable => "skill.enable",
            Self::Disable => "skill.disable",
            Self::Remove => "skill.remove",
        }
    }
}

impl Default for Index {
    fn default() -> Self {
        Self { schema: SCHEMA, skills: BTreeMap::new(), unreported: Vec::new() }
    }
}

impl Index {
    pub(super) fn report(&mut self, event: Event, name: &str, version: &Version, at_ms: i64) {
        self.unreported.push(Happened {
            event,
            name: name.to_owned(),
            version: version.version.to_string(),
            digest: version.digest.clone(),
            publisher: version.publisher.clone(),
            at_ms,
        });
    }
}

impl InstalledSkill {
    /// Puts a version to use; the one in use becomes the previous one.
    pub(super) fn replace(&mut self, version: Version) {
        self.staged = None;
        if self.current.digest != version.digest {
            self.previous = Some(std::mem::replace(&mut self.current, version));
        } else {
            self.current = version;
        }
    }

    /// Every version whose files are kept.
    pub fn versions(&self) -> impl Iterator<Item = &Version> {
        [Some(&self.current), self.previous.as_ref(), self.staged.as_ref()].into_iter().flatten()
    }
}

impl Version {
    pub(super) fn of(package: &Package, installed_at_ms: i64) -> Self {
        let manifest = package.manifest();
        let Pin { manifest_sha256, module_sha256 } = package.pin();
        Self {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            digest: package.digest().to_owned(),
            manifest_sha256,
            module_sha256,
            code_digest: package.code_digest(),
            carried_from: Vec::new(),
            publisher: package.publisher().map(str::to_owned),
            installed_at_ms,
            agreed: manifest.permissions.iter().map(Agreed::of).collect(),
            tools: manifest.tools.iter().map(|tool| (tool.name.clone(), tool.effect)).collect(),
        }
    }

    /// What the consent is bound to.
    #[must_use]
    pub fn pin(&self) -> Pin {
        Pin { manifest_sha256: self.manifest_sha256.clone(), module_sha256: self.module_sha256.clone() }
    }

    /// What the user agreed to, for the host.
    #[must_use]
    pub fn consent(&self) -> InstallConsent {
        InstallConsent { pin: self.pin(), publisher: self.publisher.clone(), carried_from: self.carried_from.clone() }
    }

    /// What the user agreed to, as permissions.
    #[must_use]
    pub fn requested(&self) -> Vec<Requested> {
        self.agreed.iter().filter_map(Agreed::requested).collect()
    }

    /// Digests of the code whose grants a version after this one takes over. Only those
    /// since the last question: what came before it was agreed to anew.
    pub(super) fn with_ancestors(&self) -> Vec<String> {
        std::iter::once(&self.code_digest).chain(&self.carried_from).take(MAX_ANCESTORS).cloned().collect()
    }

    fn fault(&self, name: &str) -> Option<String> {
        let digests = [&self.digest, &self.manifest_sha256, &self.module_sha256, &self.code_digest];
        let named = self.name == name && crate::manifest::is_skill_name(name);
        if !named {
            return Some("a skill's name".to_owned());
        }
        if !digests.into_iter().chain(&self.publisher).chain(&self.carried_from).all(|digest| is_digest(digest)) {
            return Some(format!("a digest of `{name}`"));
        }
        self.agreed.iter().any(|agreed| agreed.requested().is_none()).then(|| format!("a permission of `{name}`"))
    }
}

impl Agreed {
    fn of(requested: &Requested) -> Self {
        let keys = requested.permission.scope_keys().iter();
        let scope = keys.filter_map(|key| {
            let value = match requested.scope.get(key.name)? {
                ScopeValue::Limit(limit) => AgreedValue::Limit(*limit),
                ScopeValue::Text(text) => AgreedValue::Text(text.clone()),
                ScopeValue::Texts(texts) => AgreedValue::Texts(texts.clone()),
                ScopeValue::Flag(flag) => AgreedValue::Flag(*flag),
            };
            Some((key.name.to_owned(), value))
        });
        Self {
            permission: requested.permission.as_str().to_owned(),
            scope: scope.collect(),
            reason: requested.reason.clone(),
        }
    }

    /// `None` when this version knows no such permission or scope.
    fn requested(&self) -> Option<Requested> {
        let permission = Permission::from_name(&self.permission)?;
        let mut scope = Scope::default();
        for (name, value) in &self.scope {
            let key = permission.scope_keys().iter().find(|key| key.name == name)?;
            let value = match (key.kind, value) {
                (ScopeKind::Limit { .. }, AgreedValue::Limit(limit)) => ScopeValue::Limit(*limit),
                (ScopeKind::Text, AgreedValue::Text(text)) => ScopeValue::Text(text.clone()),
                (ScopeKind::Texts, AgreedValue::Texts(texts)) => ScopeValue::Texts(texts.clone()),
                (ScopeKind::Flag, AgreedValue::Flag(flag)) => ScopeValue::Flag(*flag),
                _ => return None,
            };
            scope = scope.with(key.name, value);
        }
        Some(Requested { permission, scope, reason: self.reason.clone() })
    }
}

/// 64 hex digits, in lower case.
pub(super) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Reads the index; without one nothing is installed.
pub(super) fn read_index(root: &Path) -> Result<Index, InstalledError> {
    let path = root.join(FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Index::default()),
        Err(source) => return Err(failed("read", &path, source)),
    };
    let damaged = |what: String| InstalledError::Damaged { path: path.clone(), what };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|source| failed("read", &path, source))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(damaged(format!("it has more than {MAX_BYTES} bytes")));
    }
    let index: Index = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if index.schema != SCHEMA {
        return Err(damaged(format!("it has version {}, this program knows {SCHEMA}", index.schema)));
    }
    for (name, skill) in &index.skills {
        if let Some(what) = skill.versions().find_map(|version| version.fault(name)) {
            return Err(damaged(what));
        }
    }
    Ok(index)
}

/// Replaces the index so that a reader, and a machine that loses power, sees the old one or the new one.
pub(super) fn write_index(root: &Path, index: &Index) -> Result<(), InstalledError> {
    let (path, next) = (root.join(FILE), root.join(NEXT_FILE));
    let text =
        serde_json::to_vec_pretty(index).map_err(|error| failed("write", &path, std::io::Error::other(error)))?;
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(&next).map_err(|source| failed("write", &next, source))?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(|source| failed("write", &next, source))?;
    fs::rename(&next, &path).map_err(|source| failed("rename", &next, source))?;
    sync_folder(root)
}
