//! Where things lie: data, models, skills, programs; and the lock that lets one
//! hub own a data folder.

use crate::config::Config;
use anyhow::{Context as _, bail};
use etcetera::BaseStrategy as _;
use loqa_models::Catalog;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Free space that a start needs, in bytes: the bus configuration, the databases and
/// their logs. Chosen, several times what an empty data folder takes.
const ROOM_TO_START: usize = 1 << 20;

/// Resolved folders and programs.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Databases and the run folder; 0700.
    pub data: PathBuf,
    /// `catalog.toml` and the model files.
    pub models: PathBuf,
    /// Data folder in whose `models` downloads lie. A hub with a data folder of its own for
    /// a moment (a replay, a demo) uses what was fetched for the user's.
    pub downloads: PathBuf,
    /// Skill folders to load.
    pub skills: Vec<PathBuf>,
    /// Engine programs.
    pub programs: PathBuf,
    /// The nats-server program.
    pub nats_server: PathBuf,
    /// The ONNX Runtime library.
    pub onnxruntime: PathBuf,
}

/// Skills that come with Loqa, by the names of their folders.
pub const BUNDLED_SKILLS: &[&str] = &["timer", "shopping-list", "weather"];

impl Paths {
    /// Resolves what the configuration leaves open: first beside this program (an
    /// installed Loqa), then in the source tree around the working folder.
    pub fn resolve(config: &Config) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let beside = program.parent().unwrap_or(Path::new(".")).to_owned();
        let tree = source_tree();
        let tools =
            std::env::var_os("LOQA_TOOLS").map(PathBuf::from).or_else(|| tree.as_ref().map(|tree| tree.join(".tools")));
        let installed = installed(&beside);
        let first_of = |candidates: Vec<PathBuf>| {
            candidates.iter().find(|path| path.exists()).or(candidates.first()).cloned().unwrap_or_default()
        };

        let data = match config.path("paths.data") {
            Some(path) => path,
            None => etcetera::choose_base_strategy().context("find the user's home folder")?.data_dir().join("loqa"),
        };
        let models = config.path("paths.models").unwrap_or_else(|| {
            let mut candidates: Vec<_> = installed.iter().map(|folder| folder.join("models")).collect();
            candidates.extend(tree.iter().map(|tree| tree.join("models")));
            first_of(candidates)
        });
        let mut skills: Vec<PathBuf> = config.list("paths.skills").into_iter().map(PathBuf::from).collect();
        if skills.is_empty() {
            for name in BUNDLED_SKILLS {
                let mut candidates: Vec<_> = installed.iter().map(|folder| folder.join("skills").join(name)).collect();
                candidates.extend(tree.iter().map(|tree| tree.join("skills").join(name).join("dist")));
                skills.push(first_of(candidates));
            }
        }
        let programs = config.path("paths.programs").unwrap_or_else(|| {
            // A test runs one folder deeper than the programs it needs.
            first_of(vec![beside.join(exe("loqa-stt")), beside.join("..").join(exe("loqa-stt"))])
                .parent()
                .map(Path::to_owned)
                .unwrap_or_default()
        });
        let nats_server = config.path("bus.nats_server").unwrap_or_else(|| {
            let mut candidates = vec![beside.join(exe("loqa-nats"))];
            candidates.extend(tools.iter().map(|tools| tools.join("nats").join(exe("nats-server"))));
            first_of(candidates)
        });
        let onnxruntime = config.path("tts.onnxruntime").unwrap_or_else(|| {
            let library = if cfg!(windows) {
                "onnxruntime.dll"
            } else if cfg!(target_os = "macos") {
                "libonnxruntime.dylib"
            } else {
                "libonnxruntime.so.1"
            };
            let mut candidates = vec![beside.join(library), beside.join("../Frameworks").join(library)];
            candidates.extend(installed.iter().map(|folder| folder.join(library)));
            candidates.extend(tools.iter().map(|tools| tools.join("onnxruntime").join(library)));
            first_of(candidates)
        });
        let downloads = data.clone();
        Ok(Self { data, models, downloads, skills, programs, nats_server, onnxruntime })
    }

    /// Folder of the smart-home skill's manifest: beside this program, or in the source tree.
    #[must_use]
    pub fn home_skill(&self) -> PathBuf {
        let mut candidates: Vec<PathBuf> =
            installed(&self.programs).iter().map(|folder| folder.join("skills/smart-home")).collect();
        candidates.extend(source_tree().map(|tree| tree.join("skills/smart-home")));
        candidates.iter().find(|path| path.exists()).or(candidates.first()).cloned().unwrap_or_default()
    }

    /// Folder of the window's files: beside this program, or as the source tree builds them.
    #[must_use]
    pub fn window(&self) -> PathBuf {
        let mut candidates: Vec<PathBuf> = installed(&self.programs).iter().map(|folder| folder.join("ui")).collect();
        candidates.extend(source_tree().map(|tree| tree.join("ui").join("dist")));
        candidates.iter().find(|path| path.exists()).or(candidates.last()).cloned().unwrap_or_default()
    }

    /// The catalog of models, with what was fetched of it.
    ///
    /// # Errors
    /// It is missing or wrong.
    pub fn catalog(&self) -> anyhow::Result<Catalog> {
        Ok(Catalog::load(&self.models)?.with_downloads(&self.downloads))
    }

    /// An engine program by name.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(exe(name))
    }

    /// Folder for what lives as long as one run of the hub.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.data.join("run")
    }

    /// Makes the folders, for this user only.
    pub fn prepare(&self) -> anyhow::Result<()> {
        for folder in [&self.data, &self.run()] {
            std::fs::create_dir_all(folder).with_context(|| {
                format!("make the data folder `{}`: set `paths.data` to a folder that can be written", folder.display())
            })?;
            private(folder, 0o700)?;
        }
        // A full disk shows itself here, with its name, and not later as a bus or a
        // database that does not start.
        let probe = self.data.join(".write-probe");
        let written = std::fs::write(&probe, vec![0u8; ROOM_TO_START]);
        let removed = std::fs::remove_file(&probe);
        written.and(removed).with_context(|| {
            format!(
                "write to the data folder `{}`: free some space or set `paths.data` to another folder",
                self.data.display()
            )
        })
    }
}

/// `loqa.toml` in the user's configuration folder; it need not exist.
#[must_use]
pub fn default_config_file() -> Option<PathBuf> {
    Some(etcetera::choose_base_strategy().ok()?.config_dir().join("loqa").join("loqa.toml"))
}

/// Where an installed Loqa keeps what is no program, seen from the folder of its programs:
/// Windows, Linux (a package, an AppImage or an unpacked archive), macOS.
fn installed(programs: &Path) -> [PathBuf; 3] {
    let above = programs.parent().unwrap_or(programs);
    [programs.join("resources"), above.join("lib/Loqa"), above.join("Resources")]
}

fn exe(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

/// The source tree this runs in, if it does: the working folder or one above it.
fn source_tree() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let marker = |folder: &&Path| folder.join("models/catalog.toml").is_file() && folder.join("crates").is_dir();
    here.ancestors().find(marker).map(Path::to_owned)
}

#[cfg(unix)]
fn private(path: &Path, mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .with_context(|| format!("make `{}` private", path.display()))
}

#[cfg(not(unix))]
fn private(_path: &Path, _mode: u32) -> anyhow::Result<()> {
    // The user's profile folder is private by its inherited access list.
    Ok(())
}

/// How a client of the same user reaches the running hub. Holds the operator's
/// credentials, hence 0600.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubFile {
    /// The hub's process.
    pub pid: u32,
    /// Bus address.
    pub url: String,
    /// Bus identity.
    pub identity: String,
    /// nkey seed of that identity.
    pub seed: String,
    /// The HTTP API, where it runs.
    #[serde(default)]
    pub api: Option<ApiAddress>,
}

/// How a client of the same user reaches the HTTP API. The token itself stands in its own file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiAddress {
    /// `http://127.0.0.1:<port>`.
    pub url: String,
    /// File that holds the token, 0600.
    pub token_file: PathBuf,
}

/// Exclusive hold of a data folder; released when dropped or when the process dies.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
    hub_file: PathBuf,
}

impl DataLock {
    /// Takes the folder, or says who holds it.
    pub fn take(data: &Path) -> anyhow::Result<Self> {
        let path = data.join("hub.lock");
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("open `{}`", path.display()))?;
        let holder = data.join("hub.pid");
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                let pid = std::fs::read_to_string(&holder).unwrap_or_default();
                let who = if pid.trim().is_empty() {
                    "another hub".to_owned()
                } else {
                    format!("the hub with process id {}", pid.trim())
                };
                bail!(
                    "the data folder `{}` is held by {who}: use `loqa ask` to talk to it, stop it, or set `paths.data` to another folder",
                    data.display()
                );
            }
            Err(std::fs::TryLockError::Error(e)) => {
                return Err(e).with_context(|| format!("lock `{}`", path.display()));
            }
        }
        file.flush().ok();
        std::fs::write(&holder, std::process::id().to_string())
            .with_context(|| format!("write `{}`", holder.display()))?;
        Ok(Self { _file: file, hub_file: hub_file(data) })
    }

    /// Writes how clients reach this hub.
    pub fn publish(&self, hub: &HubFile) -> anyhow::Result<()> {
        let text = serde_json::to_vec(hub).context("write the hub file")?;
        let next = self.hub_file.with_extension("next");
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let mut file = options.open(&next).with_context(|| format!("write `{}`", next.display()))?;
        file.write_all(&text).with_context(|| format!("write `{}`", next.display()))?;
        std::fs::rename(&next, &self.hub_file)
            .with_context(|| format!("rename `{}` to `{}`", next.display(), self.hub_file.display()))
    }
}

impl Drop for DataLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.hub_file);
    }
}

fn hub_file(data: &Path) -> PathBuf {
    data.join("run").join("hub.json")
}

/// How to reach the hub that holds `data`; `None` when none runs.
#[must_use]
pub fn running_hub(data: &Path) -> Option<HubFile> {
    let lock = OpenOptions::new().read(true).write(true).open(data.join("hub.lock")).ok()?;
    // A hub that died left its file behind, but not its lock.
    if lock.try_lock().is_ok() {
        return None;
    }
    serde_json::from_slice(&std::fs::read(hub_file(data)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_hub_is_told_who_holds_the_folder() {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join("run")).unwrap();
        let lock = DataLock::take(data.path()).unwrap();
        let hub = HubFile { pid: 1, url: "u".into(), identity: "operator".into(), seed: "s".into(), api: None };
        lock.publish(&hub).unwrap();
        assert_eq!(running_hub(data.path()).map(|hub| hub.url).as_deref(), Some("u"));
        let error = DataLock::take(data.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process id {}", std::process::id())), "{error}");
        drop(lock);
        assert!(running_hub(data.path()).is_none(), "nobody holds it any more");
        DataLock::take(data.path()).unwrap();
    }

    #[test]
    fn an_installed_loqa_finds_its_files_wherever_it_was_unpacked() {
        let root = tempfile::tempdir().unwrap();
        for (programs, files) in
            [("usr/bin", "usr/lib/Loqa"), ("C/Loqa", "C/Loqa/resources"), ("M/MacOS", "M/Resources")]
        {
            let [programs, files] = [programs, files].map(|folder| root.path().join(folder));
            for folder in [&programs, &files.join("ui"), &files.join("skills/smart-home")] {
                std::fs::create_dir_all(folder).unwrap();
            }
            let nowhere = PathBuf::new();
            let paths = Paths {
                data: nowhere.clone(),
                models: nowhere.clone(),
                downloads: nowhere.clone(),
                skills: Vec::new(),
                programs,
                nats_server: nowhere.clone(),
                onnxruntime: nowhere,
            };
            assert_eq!(paths.window(), files.join("ui"));
            assert_eq!(paths.home_skill(), files.join("skills/smart-home"));
        }
    }
}
