//! Writes files beneath one folder and nowhere else: each part of a path is opened from
//! the folder above it, without following links, and every file is a new one.
//!
//! Modes are fixed: this user reads and writes, nobody runs anything.

#[cfg(not(unix))]
#[path = "beneath/other.rs"]
mod system;
#[cfg(unix)]
#[path = "beneath/unix.rs"]
mod system;

use super::PackageError;
use std::collections::BTreeMap;
use std::path::Path;

/// Makes `root`, which must not exist, and writes everything into it. Paths were checked.
pub(super) fn write_all(
    root: &Path,
    folders: &[String],
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<(), PackageError> {
    let failed = |path: &str, source| PackageError::Io { operation: "write", path: root.join(path), source };
    let folder = system::Folder::make(root).map_err(|source| failed("", source))?;
    for path in folders {
        folder.descend(path.split('/')).map_err(|source| failed(path, source))?;
    }
    for (path, bytes) in files {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let written = match above {
            "" => folder.write(name, bytes),
            above => folder.descend(above.split('/')).and_then(|folder| folder.write(name, bytes)),
        };
        written.map_err(|source| failed(path, source))?;
    }
    folder.sync_all(&folder_paths(folders, files)).map_err(|source| failed("", source))
}

/// Every folder that was made, deepest first.
fn folder_paths(folders: &[String], files: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let mut paths: Vec<String> = folders
        .iter()
        .map(String::as_str)
        .chain(files.keys().filter_map(|path| path.rsplit_once('/')).map(|(above, _)| above))
        .flat_map(|path| {
            path.match_indices('/').map(|(at, _)| path[..at].to_owned()).chain([path.to_owned()]).collect::<Vec<_>>()
        })
        .collect();
    paths.sort();
    paths.dedup();
    paths.reverse();
    paths
}
