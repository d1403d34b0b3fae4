//! A skill that is being written: when to load it again.
//!
//! Polling, because it works on every file system and a person does not notice half a
//! second. A change counts once it has been the same twice, so that a build that is
//! still writing is not loaded.

use crate::manifest;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A folder that is watched.
#[derive(Debug)]
pub struct DevSkill {
    folder: PathBuf,
    loaded: Stamp,
    last: Stamp,
}

/// Names, lengths and times of the files that make up a skill.
type Stamp = Vec<(PathBuf, u64, Option<SystemTime>)>;

impl DevSkill {
    /// How often to ask. Chosen.
    pub const PERIOD: Duration = Duration::from_millis(250);

    /// Watches a folder whose present state is loaded.
    #[must_use]
    pub fn loaded(folder: &Path) -> Self {
        let loaded = stamp(folder);
        Self { folder: folder.to_owned(), last: loaded.clone(), loaded }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether to load it again; says so once per change.
    pub fn has_changed(&mut self) -> bool {
        let now = stamp(&self.folder);
        let is_settled = now == self.last;
        self.last = now;
        if !is_settled || self.last == self.loaded {
            return false;
        }
        self.loaded.clone_from(&self.last);
        true
    }
}

fn stamp(folder: &Path) -> Stamp {
    // A folder that cannot be read has no files; the next load says why.
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files = entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name().is_some_and(|name| name == manifest::FILE_NAME)
                || path.extension().is_some_and(|extension| extension == "wasm")
        })
        .filter_map(|path| {
            let metadata = std::fs::metadata(&path).ok()?;
            Some((path, metadata.len(), metadata.modified().ok()))
        })
        .collect::<Vec<_>>();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_only_when_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("x.wasm");
        std::fs::write(&module, "one").unwrap();
        let mut skill = DevSkill::loaded(folder.path());
        assert!(!skill.has_changed());
        std::fs::write(&module, "two and more").unwrap();
        assert!(!skill.has_changed(), "it may still be written");
        std::fs::write(&module, "two and even more").unwrap();
        assert!(!skill.has_changed(), "it was");
        assert!(skill.has_changed());
        assert!(!skill.has_changed(), "once");
        std::fs::write(folder.path().join("notes.txt"), "words").unwrap();
        assert!(!skill.has_changed() && !skill.has_changed(), "what is not part of the skill does not count");
        std::fs::remove_file(&module).unwrap();
        assert!(!skill.has_changed());
        assert!(skill.has_changed(), "the load will say what is missing");
    }
}
