//! The skills that the user installed: where their files lie, which version of each is in
//! use, and what the user agreed to.
//!
//! `skills/index.json` in the data folder is the truth, and is replaced as a whole.
//! The files of a version lie in `skills/<name>/<digest of its contents>/` and are never
//! changed. One process at a time writes; a running hub is told to look again.
//!
//! Deliberately absent: running skills ([`Shelf`] hands them to the host), and asking.

mod index;
mod shelf;

pub use index::{Agreed, AgreedValue, Event, Happened, Index, InstallConsent, InstalledSkill, Switch, Version};
pub use shelf::{NotLoaded, Shelf};

use crate::manifest::is_skill_name;
use crate::package::{Package, PackageError};
use crate::permission::Requested;
use crate::upgrade::{Decision, Difference, Edition, Refusal, decide};
use index::{is_digest, read_index, write_index};
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Folder below the data folder.
const FOLDER: &str = "skills";
/// Where packages are unpacked before they get their name; on the same volume.
const STAGING: &str = ".staging";
const LOCK: &str = ".lock";
/// Longest wait for another process that installs something. Chosen: far above what one takes.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Why the installed skills cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum InstalledError {
    /// The package was not accepted.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A file or folder cannot be used; check the disk and the permissions.
    #[error("{operation} `{path}`: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The index is not one; nothing is loaded until it is repaired.
    #[error("`{path}` is damaged: {what}; restore it from a backup, or remove it and install the skills again")]
    Damaged {
        /// The index.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another process holds the installed skills.
    #[error("another process changes the installed skills; try again when it is done")]
    Busy,
    /// No skill of that name is installed.
    #[error("no skill `{0}` is installed; `loqa skill list` shows what is")]
    NotInstalled(String),
    /// A skill of that name is installed already.
    #[error("skill `{0}` is installed already; use `loqa skill upgrade`")]
    AlreadyInstalled(String),
    /// There is no version to go to.
    #[error("skill `{name}` has no {which} version")]
    NoVersion {
        /// Name of the skill.
        name: String,
        /// `previous` or `staged`.
        which: &'static str,
    },
}

/// What became of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upgraded {
    /// The same contents were installed already.
    Same,
    /// The new version is in use, the old one is kept.
    Replaced,
    /// The old version is in use; the new one waits for an answer to these differences.
    Staged(Vec<Difference>),
    /// Nothing was changed.
    Refused(Refusal),
}

/// The installed skills of one data folder.
#[derive(Debug, Clone)]
pub struct Installed {
    root: PathBuf,
}

impl Installed {
    /// Those of a data folder; nothing is read or made yet.
    #[must_use]
    pub fn in_data(data: &Path) -> Self {
        Self { root: data.join(FOLDER) }
    }

    /// What is installed. Without a folder nothing is.
    pub fn index(&self) -> Result<Index, InstalledError> {
        read_index(&self.root)
    }

    /// Folder of one version's files.
    #[must_use]
    pub fn folder(&self, name: &str, version: &Version) -> PathBuf {
        self.root.join(name).join(&version.digest)
    }

    /// What [`Self::upgrade`] would decide about a package; `None` when no skill of its name is installed.
    pub fn consider(&self, package: &Package) -> Result<Option<Decision>, InstalledError> {
        let index = self.index()?;
        let installed = index.skills.get(&package.manifest().name);
        Ok(installed.map(|installed| judge(&installed.current, &Version::of(package, 0))))
    }

    /// What stands between the staged version of a skill and its use.
    pub fn consider_staged(&self, name: &str) -> Result<(Version, Decision), InstalledError> {
        let mut index = self.index()?;
        let skill = find(&mut index, name)?;
        let staged = skill.staged.take().ok_or_else(|| no_version(name, "staged"))?;
        let decision = judge(&skill.current, &staged);
        Ok((staged, decision))
    }

    /// Installs a skill whose permission sheet the user has agreed to.
    pub fn install(&self, package: &Package, now_ms: i64) -> Result<(), InstalledError> {
        self.change(|index| {
            let name = &package.manifest().name;
            if index.skills.contains_key(name) {
                return Err(InstalledError::AlreadyInstalled(name.clone()));
            }
            let current = Version::of(package, now_ms);
            self.place(package, &current)?;
            index.report(Event::Install, name, &current, now_ms);
            let skill = InstalledSkill { state: Switch::Enabled, current, previous: None, staged: None };
            index.skills.insert(name.clone(), skill);
            Ok(())
        })
    }

    /// Takes a new version as far as [`crate::upgrade::decide`] lets it. `agreed` are the
    /// differences that the user has seen and agreed to; others bring a question again.
    pub fn upgrade(&self, package: &Package, agreed: &[Difference], now_ms: i64) -> Result<Upgraded, InstalledError> {
        self.change(|index| {
            let name = package.manifest().name.clone();
            let skill = index.skills.get_mut(&name).ok_or_else(|| InstalledError::NotInstalled(name.clone()))?;
            let mut version = Version::of(package, now_ms);
            let open = match judge(&skill.current, &version) {
                Decision::Same => return Ok(Upgraded::Same),
                Decision::Refuse(refusal) => return Ok(Upgraded::Refused(refusal)),
                Decision::Ask(differences) if !differences.iter().all(|difference| agreed.contains(difference)) => {
                    Some(differences)
                }
                Decision::Replace => {
                    version.carried_from = skill.current.with_ancestors();
                    None
                }
                Decision::Ask(_) => None,
            };
            self.place(package, &version)?;
            match open {
                Some(differences) => {
                    skill.staged = Some(version);
                    Ok(Upgraded::Staged(differences))
                }
                None => {
                    skill.replace(version.clone());
                    index.report(Event::Upgrade, &name, &version, now_ms);
                    Ok(Upgraded::Replaced)
                }
            }
        })
    }

    /// Puts the staged version of that digest to use: the user has seen its differences and agreed.
    pub fn accept_staged(&self, name: &str, digest: &str, now_ms: i64) -> Result<Version, InstalledError> {
        self.change(|index| {
            let skill = find(index, name)?;
            let staged = skill.staged.take().filter(|staged| staged.digest == digest);
            let staged = staged.ok_or_else(|| no_version(name, "staged"))?;
            skill.replace(staged.clone());
            index.report(Event::Upgrade, name, &staged, now_ms);
            Ok(staged)
        })
    }

    /// Goes back to the previous version, which the user had agreed to.
    pub fn roll_back(&self, name: &str, now_ms: i64) -> Result<Version, InstalledError> {
        self.change(|index| {
            let skill = find(index, name)?;
            let previous = skill.previous.take().ok_or_else(|| no_version(name, "previous"))?;
            skill.replace(previous.clone());
            index.report(Event::Rollback, name, &previous, now_ms);
            Ok(previous)
        })
    }

    /// Switches a skill on or off; `false` when it was so already.
    pub fn switch(&self, name: &str, state: Switch, now_ms: i64) -> Result<bool, InstalledError> {
        self.change(|index| {
            let skill = find(index, name)?;
            if skill.state == state {
                return Ok(false);
            }
            skill.state = state;
            let current = skill.current.clone();
            let event = if state == Switch::Enabled { Event::Enable } else { Event::Disable };
            index.report(event, name, &current, now_ms);
            Ok(true)
        })
    }

    /// Removes a skill and its files; what it has kept is erased when a hub next looks.
    pub fn remove(&self, name: &str, now_ms: i64) -> Result<(), InstalledError> {
        self.change(|index| {
            let skill = index.skills.remove(name).ok_or_else(|| InstalledError::NotInstalled(name.to_owned()))?;
            index.report(Event::Remove, name, &skill.current, now_ms);
            Ok(())
        })
    }

    /// Forgets what was reported; called once it is written down elsewhere.
    fn reported(&self, events: &[Happened]) -> Result<(), InstalledError> {
        self.change(|index| {
            index.unreported.retain(|event| !events.contains(event));
            Ok(())
        })
    }

    /// Runs one change under the lock and writes the index; then removes files that
    /// nothing names any more. A change that fails leaves the index as it was.
    fn change<T>(&self, change: impl FnOnce(&mut Index) -> Result<T, InstalledError>) -> Result<T, InstalledError> {
        private_folder(&self.root)?;
        let _lock = self.lock()?;
        let mut index = read_index(&self.root)?;
        let result = change(&mut index)?;
        write_index(&self.root, &index)?;
        self.sweep(&index);
        Ok(result)
    }

    /// Writes a package's files to where its version belongs: into a folder of another
    /// name first, so that a version is there whole or not at all.
    fn place(&self, package: &Package, version: &Version) -> Result<(), InstalledError> {
        let staging = self.root.join(STAGING);
        private_folder(&staging)?;
        let unpacked = staging.join(format!("{:016x}", rand::random::<u64>()));
        package.unpack_into(&unpacked)?;
        let home = self.root.join(&package.manifest().name);
        private_folder(&home)?;
        let place = home.join(&version.digest);
        if place.exists() {
            // The same contents once more: what lies there may have been changed since.
            let old = staging.join(format!("{:016x}", rand::random::<u64>()));
            fs::rename(&place, &old).map_err(|source| failed("move", &place, source))?;
        }
        fs::rename(&unpacked, &place).map_err(|source| failed("rename", &unpacked, source))?;
        sync_folder(&home)
    }

    /// Removes leftovers. A file that cannot be removed does no harm and goes the next time.
    fn sweep(&self, index: &Index) {
        let _left = fs::remove_dir_all(self.root.join(STAGING));
        let Ok(homes) = fs::read_dir(&self.root) else { return };
        for home in homes.flatten().filter(|home| is_skill_name(&home.file_name().to_string_lossy())) {
            let named: Vec<&str> = index
                .skills
                .get(&*home.file_name().to_string_lossy())
                .map(|skill| skill.versions().map(|version| version.digest.as_str()).collect())
                .unwrap_or_default();
            let Ok(places) = fs::read_dir(home.path()) else { continue };
            for place in places.flatten() {
                let name = place.file_name();
                let name = name.to_string_lossy();
                // What has another kind of name was not made here.
                if is_digest(&name) && !named.contains(&&*name) {
                    let _left = fs::remove_dir_all(place.path());
                }
            }
            // Fails unless it is empty.
            let _left = fs::remove_dir(home.path());
        }
    }

    fn lock(&self) -> Result<File, InstalledError> {
        let path = self.root.join(LOCK);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let file = options.open(&path).map_err(|source| failed("open", &path, source))?;
        let end = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(fs::TryLockError::WouldBlock) => return Err(InstalledError::Busy),
                Err(fs::TryLockError::Error(source)) => return Err(failed("lock", &path, source)),
            }
        }
    }
}

fn judge(old: &Version, new: &Version) -> Decision {
    let (old_permissions, new_permissions) = (old.requested(), new.requested());
    decide(&edition(old, &old_permissions), &edition(new, &new_permissions))
}

fn edition<'a>(version: &'a Version, permissions: &'a [Requested]) -> Edition<'a> {
    Edition {
        name: &version.name,
        version: &version.version,
        digest: &version.digest,
        publisher: version.publisher.as_deref(),
        permissions,
        tools: &version.tools,
    }
}

fn find<'a>(index: &'a mut Index, name: &str) -> Result<&'a mut InstalledSkill, InstalledError> {
    index.skills.get_mut(name).ok_or_else(|| InstalledError::NotInstalled(name.to_owned()))
}

fn no_version(name: &str, which: &'static str) -> InstalledError {
    InstalledError::NoVersion { name: name.to_owned(), which }
}

fn failed(operation: &'static str, path: &Path, source: std::io::Error) -> InstalledError {
    InstalledError::Io { operation, path: path.to_owned(), source }
}

/// Makes a folder that only this user can look into.
fn private_folder(path: &Path) -> Result<(), InstalledError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path).map_err(|source| failed("make", path, source))
}

/// Makes the names in a folder safe on the disk, where the system offers that.
fn sync_folder(path: &Path) -> Result<(), InstalledError> {
    #[cfg(unix)]
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|source| failed("sync", path, source))?;
    let _ = path;
    Ok(())
}
