//! Digests of model files that were taken before, so that a start does not read
//! gigabytes again.
//!
//! A stamp says: this path had this size, these times and this inode when its bytes had
//! this digest. It is trusted only while all of them are the same, and only if the last
//! change was clearly before the reading. It spares work and proves nothing: whoever may
//! write the models folder may write the stamps as well. A download is always hashed as
//! it comes, and `loqa models verify` reads every byte.

use crate::catalog::ModelFile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The file in the folder of downloads.
pub const FILE_NAME: &str = ".digests.json";
/// A file that changed less than this before it was read may change again without a new
/// time stamp. Chosen: twice the coarsest clock in use, FAT's two seconds.
const SETTLED: Duration = Duration::from_secs(4);
/// A larger file of stamps is not ours. Chosen: some thousand entries.
const MAX_BYTES: u64 = 1 << 20;

/// What the file system says about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    size: u64,
    /// Nanoseconds since the Unix epoch, of the last change of the contents.
    modified_ns: u64,
    /// The same of the last change of anything, where the system knows it. Unlike the
    /// time above it cannot be set by a program.
    changed_ns: u64,
    /// Device and inode, where there are any.
    inode: (u64, u64),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stamp {
    look: Look,
    sha256: String,
}

/// The stamps of one folder of downloads.
#[derive(Debug)]
pub struct Stamps {
    path: PathBuf,
    known: BTreeMap<String, Stamp>,
    changed: bool,
}

impl Stamps {
    /// Reads them; none when the file is missing or damaged.
    #[must_use]
    pub fn open(folder: &Path) -> Self {
        let path = folder.join(FILE_NAME);
        let small = std::fs::metadata(&path).is_ok_and(|meta| meta.len() <= MAX_BYTES);
        let known = small
            .then(|| std::fs::read(&path).ok())
            .flatten()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self { path, known, changed: false }
    }

    /// What the file system says now; `None` for a file that changed a moment ago.
    #[must_use]
    pub fn look(path: &Path) -> Option<Look> {
        let look = Look::of(&std::fs::metadata(path).ok()?)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let last = Duration::from_nanos(look.modified_ns.max(look.changed_ns));
        (now.checked_sub(last)? >= SETTLED).then_some(look)
    }

    /// Whether the file was seen with the pinned digest and is unchanged since.
    #[must_use]
    pub fn holds(&self, path: &Path, file: &ModelFile) -> bool {
        self.known.get(&*path.to_string_lossy()).is_some_and(|stamp| {
            stamp.sha256.eq_ignore_ascii_case(&file.sha256)
                && stamp.look.size == file.size
                && std::fs::metadata(path).ok().and_then(|meta| Look::of(&meta)).as_ref() == Some(&stamp.look)
        })
    }

    /// The file has the pinned digest; `before` is what the system said before it was read.
    pub fn set(&mut self, path: &Path, file: &ModelFile, before: Option<Look>) {
        let Some(look) = before.filter(|look| Self::look(path).as_ref() == Some(look)) else { return };
        let stamp = Stamp { look, sha256: file.sha256.to_lowercase() };
        self.known.insert(path.to_string_lossy().into_owned(), stamp);
        self.changed = true;
    }

    /// The file has to be read again.
    pub fn forget(&mut self, path: &Path) {
        self.changed |= self.known.remove(&*path.to_string_lossy()).is_some();
    }

    /// Writes them where something changed. A file that cannot be written costs a longer
    /// next start and nothing else.
    pub fn keep(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        if let Err(error) = self.write() {
            tracing::debug!(%error, path = %self.path.display(), "digests of models are taken again next time");
        }
    }

    fn write(&self) -> std::io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let next = folder.join(format!("{FILE_NAME}.{}", std::process::id()));
        let mut file = std::fs::File::create(&next)?;
        file.write_all(&serde_json::to_vec(&self.known)?)?;
        std::fs::rename(&next, &self.path)
    }
}

impl Look {
    fn of(meta: &Metadata) -> Option<Self> {
        let modified = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        let modified_ns = u64::try_from(modified.as_nanos()).ok()?;
        #[cfg(unix)]
        let (changed_ns, inode) = {
            use std::os::unix::fs::MetadataExt as _;
            let seconds = u64::try_from(meta.ctime()).ok()?;
            let nanos = u64::try_from(meta.ctime_nsec()).ok()?;
            (seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?, (meta.dev(), meta.ino()))
        };
        #[cfg(not(unix))]
        let (changed_ns, inode) = (modified_ns, (0, 0));
        Some(Self { size: meta.len(), modified_ns, changed_ns, inode })
    }
}
