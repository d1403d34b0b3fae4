//! Folders by path, for systems without `openat`. The folder was made by this process a
//! moment ago inside the user's own data folder, and every file in it is new, so there is
//! no link to follow unless the user's own account puts one there.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes a folder that must not exist.
    pub(super) fn make(path: &Path) -> io::Result<Self> {
        fs::create_dir(path)?;
        Ok(Self(path.to_owned()))
    }

    /// Goes to a folder below this one, making what is missing; a link is refused.
    pub(super) fn descend<'a>(&self, parts: impl Iterator<Item = &'a str>) -> io::Result<Self> {
        let mut path = self.0.clone();
        for part in parts {
            path.push(part);
            match fs::create_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            if !fs::symlink_metadata(&path)?.is_dir() {
                return Err(io::Error::other("not a folder"));
            }
        }
        Ok(Self(path))
    }

    /// Writes a new file in this folder; it is safe on the disk afterwards.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(self.0.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Folders cannot be flushed by name here; the file system's journal keeps their order.
    pub(super) fn sync_all(&self, _folders: &[String]) -> io::Result<()> {
        Ok(())
    }
}
