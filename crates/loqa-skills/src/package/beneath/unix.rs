//! Folders as open handles: `openat` without following links, whatever happens to the
//! names above meanwhile.

use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

pub(super) struct Folder(OwnedFd);

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Folder {
    /// Makes a folder that must not exist, and opens it.
    pub(super) fn make(path: &Path) -> io::Result<Self> {
        rustix::fs::mkdir(path, Mode::RWXU)?;
        Ok(Self(rustix::fs::open(path, FOLDER, Mode::empty())?))
    }

    /// Opens a folder below this one, making what is missing.
    pub(super) fn descend<'a>(&self, parts: impl Iterator<Item = &'a str>) -> io::Result<Self> {
        let mut folder = Self(self.0.try_clone()?);
        for part in parts {
            match mkdirat(&folder.0, part, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            folder = Self(openat(&folder.0, part, FOLDER, Mode::empty())?);
        }
        Ok(folder)
    }

    /// Writes a new file in this folder; it is safe on the disk afterwards.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::from(openat(&self.0, name, NEW_FILE, Mode::RUSR.union(Mode::WUSR))?);
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Makes the names in these folders, and in this one, safe on the disk.
    pub(super) fn sync_all(&self, folders: &[String]) -> io::Result<()> {
        for path in folders {
            rustix::fs::fsync(&self.descend(path.split('/'))?.0)?;
        }
        Ok(rustix::fs::fsync(&self.0)?)
    }
}
