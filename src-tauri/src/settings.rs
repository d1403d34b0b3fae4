//! What the person chose for this app: `desktop.json` in the data folder. The port of the
//! hub changes with each start, so the pages cannot keep it themselves.
//!
//! A file that cannot be read is put aside and said, never overwritten; keys that this
//! version does not know stay. Deliberately absent: the hub's configuration.

use crate::refusal::Refusal;
use loqa_protocol::ErrorCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Name of the file.
pub const FILE_NAME: &str = "desktop.json";
/// The key that is taken until the person chooses another. Chosen: free on the desktops that
/// Loqa is made for, and reachable with one hand.
pub const DEFAULT_HOTKEY: &str = "CommandOrControl+Alt+Space";
/// Longest preferences of the window, in bytes of JSON. Chosen: some hundred choices.
pub const MAX_PREFERENCES: usize = 16 * 1024;
/// Longest file that is read, in bytes. Chosen: many times what is written.
const MAX_FILE: u64 = 1 << 20;

/// What is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Whether the first run was seen through or left.
    #[serde(default)]
    pub first_run_done: bool,
    /// Accelerator of the hotkey; `null` is none.
    #[serde(default = "default_hotkey")]
    pub hotkey: Option<String>,
    /// Id of the microphone; `null` is the system's default.
    #[serde(default)]
    pub microphone: Option<String>,
    /// Id of the speaker; `null` is the system's default.
    #[serde(default)]
    pub speaker: Option<String>,
    /// How the window looks and speaks, as the pages gave it.
    #[serde(default)]
    pub preferences: Map<String, Value>,
    /// What another version keeps here.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

fn default_hotkey() -> Option<String> {
    Some(DEFAULT_HOTKEY.to_owned())
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            first_run_done: false,
            hotkey: default_hotkey(),
            microphone: None,
            speaker: None,
            preferences: Map::new(),
            rest: Map::new(),
        }
    }
}

impl Settings {
    /// Whether the person wants answers spoken; the pages call it `speak`.
    #[must_use]
    pub fn speaks_answers(&self) -> bool {
        self.preferences.get("speak").and_then(Value::as_bool).unwrap_or(true)
    }
}

/// The file, and what it holds.
#[derive(Debug)]
pub struct SettingsFile {
    path: PathBuf,
    held: Mutex<Settings>,
    problem: Option<String>,
}

impl SettingsFile {
    /// Reads the file of a data folder; a missing one holds the defaults.
    #[must_use]
    pub fn open(data: &Path) -> Self {
        let path = data.join(FILE_NAME);
        let (settings, problem) = match read(&path) {
            Ok(settings) => (settings, None),
            Err(reason) => (Settings::default(), Some(put_aside(&path, &reason))),
        };
        if let Some(problem) = &problem {
            tracing::warn!(problem, "the app begins with its default settings");
        }
        Self { path, held: Mutex::new(settings), problem }
    }

    /// What became of a file that could not be read, as a sentence for the person.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// What is kept.
    #[must_use]
    pub fn get(&self) -> Settings {
        self.lock().clone()
    }

    /// Changes what is kept, on the disk first. Blocks for a file.
    ///
    /// # Errors
    /// The file cannot be written; nothing has changed then.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) -> Result<Settings, Refusal> {
        let mut held = self.lock();
        let mut next = held.clone();
        change(&mut next);
        if next != *held {
            write(&self.path, &next).map_err(|error| {
                let path = self.path.display();
                let way_out = "free some space, or let this user write to the folder";
                Refusal::new(ErrorCode::StorageFault, format!("`{path}` cannot be written, {error}: {way_out}"))
            })?;
            *held = next;
        }
        Ok(held.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Settings> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error is why the file cannot be used.
fn read(path: &Path) -> Result<Settings, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Settings::default()),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_FILE {
        return Err(format!("it is longer than {MAX_FILE} bytes"));
    }
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

/// Keeps what cannot be read beside the place where the next file will be; says what was done.
fn put_aside(path: &Path, reason: &str) -> String {
    let aside = path.with_extension("json.broken");
    match std::fs::rename(path, &aside) {
        Ok(()) => format!(
            "the settings of the app could not be read, {reason}: they lie in `{}`, and the app begins anew",
            aside.display()
        ),
        Err(error) => format!(
            "the settings of the app could not be read, {reason}, nor put aside, {error}: look at `{}`",
            path.display()
        ),
    }
}

/// The old file or the new one is there at any time.
fn write(path: &Path, settings: &Settings) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(settings)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let next = path.with_extension("json.next");
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(&next)?;
    file.write_all(&text)?;
    file.sync_all()?;
    std::fs::rename(&next, path)
}

#[cfg(test)]
mod tests;
