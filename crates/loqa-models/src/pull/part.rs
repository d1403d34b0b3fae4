//! What has arrived of a file, beside its place, and its way into that place.

use super::{PullError, hashed};
use crate::catalog::ModelFile;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// What waits in memory for the disk. Chosen: few calls, and little is lost by a kill.
const BLOCK: usize = 256 << 10;

/// The beginning of a file, on the disk, with the hash of its bytes.
pub(super) struct Part {
    path: PathBuf,
    size: u64,
    sha256: String,
    file: Option<File>,
    hasher: Sha256,
    len: u64,
    block: Vec<u8>,
    received: u64,
}

/// Where the part came from, so that the same source can be asked for the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    pub(super) url: String,
    /// A strong one.
    pub(super) etag: String,
}

impl Part {
    /// Of an earlier pull, or empty.
    pub(super) async fn open(place: &Path, file: &ModelFile) -> Result<Self, PullError> {
        let path = path_of(place, &file.sha256);
        let mut part = Self {
            path,
            size: file.size,
            sha256: file.sha256.to_lowercase(),
            file: None,
            hasher: Sha256::new(),
            len: 0,
            block: Vec::new(),
            received: 0,
        };
        match std::fs::metadata(&part.path).map(|meta| meta.len()) {
            Ok(len) if len <= part.size => {
                part.hasher = hashed(part.path.clone(), len).await.map_err(PullError::disk("read", &part.path))?;
                part.len = len;
            }
            Ok(_) => part.clear().await?,
            Err(_) => {}
        }
        Ok(part)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are there.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Size of the whole.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that were added since it was opened, also those that were thrown away.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    /// Whether it is whole and has the pinned digest.
    pub(super) fn has_digest(&self) -> bool {
        self.len == self.size && self.block.is_empty() && hex::encode(self.hasher.clone().finalize()) == self.sha256
    }

    /// The origin that was noted, if it is this address.
    pub(super) fn etag_of(&self, url: &str) -> Option<String> {
        let bytes = std::fs::read(self.origin_path()).ok()?;
        let origin: Origin = serde_json::from_slice(&bytes).ok()?;
        (origin.url == url).then_some(origin.etag)
    }

    /// Notes where the bytes come from; `None` when that cannot be told later.
    pub(super) fn note_origin(&self, origin: Option<&Origin>) {
        let path = self.origin_path();
        let noted = match origin {
            Some(origin) => self.make_folder().and_then(|()| std::fs::write(&path, serde_json::to_vec(origin)?)),
            None => std::fs::remove_file(&path),
        };
        // Without it the source is asked in a way that costs more when its file changed.
        if let Err(error) = noted
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::debug!(%error, path = %path.display(), "the origin of a part is not kept");
        }
    }

    /// Adds bytes; they reach the disk in blocks.
    pub(super) async fn add(&mut self, bytes: &[u8]) -> Result<(), PullError> {
        self.block.extend_from_slice(bytes);
        self.received += bytes.len() as u64;
        if self.block.len() >= BLOCK { self.write().await } else { Ok(()) }
    }

    /// Bytes that are there, also those that wait for the disk.
    pub(super) fn reached(&self) -> u64 {
        self.len + self.block.len() as u64
    }

    /// Writes what waits.
    pub(super) async fn write(&mut self) -> Result<(), PullError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.writer().map_err(PullError::disk("write", &self.path))?,
        };
        let block = std::mem::take(&mut self.block);
        let mut hasher = std::mem::take(&mut self.hasher);
        let (path, at) = (self.path.clone(), self.len);
        let written = tokio::task::spawn_blocking(move || {
            let result = file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(&block));
            match result {
                Ok(()) => {
                    hasher.update(&block);
                    Ok((file, hasher, block))
                }
                Err(error) => {
                    // A piece of a block would be read as part of the file next time.
                    let _ = file.set_len(at);
                    Err((error, hasher))
                }
            }
        })
        .await
        .map_err(|e| PullError::disk("write", &path)(std::io::Error::other(e)))?;
        match written {
            Ok((file, hasher, mut block)) => {
                self.len += block.len() as u64;
                block.clear();
                (self.file, self.hasher, self.block) = (Some(file), hasher, block);
                Ok(())
            }
            Err((error, hasher)) => {
                self.hasher = hasher;
                Err(PullError::disk("write", &path)(error))
            }
        }
    }

    /// Throws away what is there.
    pub(super) async fn clear(&mut self) -> Result<(), PullError> {
        self.file = None;
        self.block.clear();
        self.hasher = Sha256::new();
        self.len = 0;
        self.note_origin(None);
        match std::fs::remove_file(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(PullError::disk("remove", &self.path)(e)),
            _ => Ok(()),
        }
    }

    /// Copies a file of this machine; the text says what is wrong with it.
    pub(super) async fn copy_from(&mut self, source: &Path) -> Result<(), String> {
        let shown = |error: &dyn std::fmt::Display| error.to_string();
        let mut reader = File::open(source).map_err(|e| shown(&e))?;
        let len = reader.metadata().map_err(|e| shown(&e))?.len();
        if len != self.size {
            return Err(format!("it has {len} bytes, {} are expected", self.size));
        }
        self.clear().await.map_err(|e| shown(&e))?;
        let mut block = vec![0; BLOCK];
        loop {
            let n = reader.read(&mut block).map_err(|e| shown(&e))?;
            if n == 0 {
                break;
            }
            self.add(&block[..n]).await.map_err(|e| shown(&e))?;
        }
        self.write().await.map_err(|e| shown(&e))
    }

    /// Gives the file its name, once its bytes are safe on the disk.
    pub(super) async fn put_in_place(mut self, place: &Path) -> Result<(), PullError> {
        let (path, origin) = (self.path.clone(), self.origin_path());
        let file = self.file.take();
        let place = place.to_owned();
        let failed = path.clone();
        let placing = tokio::task::spawn_blocking(move || {
            match file {
                Some(file) => file.sync_all()?,
                None => File::options().write(true).open(&path)?.sync_all()?,
            }
            std::fs::rename(&path, &place)?;
            sync_folder(&place)?;
            match std::fs::remove_file(&origin) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            }
        });
        let placed = placing.await.map_err(std::io::Error::other).and_then(|placed| placed);
        placed.map_err(PullError::disk("put in place", &failed))
    }

    fn writer(&self) -> std::io::Result<File> {
        self.make_folder()?;
        File::options().create(true).write(true).truncate(false).open(&self.path)
    }

    fn make_folder(&self) -> std::io::Result<()> {
        self.path.parent().map_or(Ok(()), std::fs::create_dir_all)
    }

    fn origin_path(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".json");
        PathBuf::from(path)
    }
}

/// Removes a file, its parts and their notes; says how many bytes of the file and its parts.
pub(super) fn remove_all(place: &Path) -> Result<u64, PullError> {
    let (Some(folder), Some(name)) = (place.parent(), place.file_name()) else { return Ok(0) };
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(0) };
    let (name, ours) = (name.to_string_lossy(), format!(".{}.", name.to_string_lossy()));
    let mut removed = 0;
    for entry in entries.flatten() {
        let found = entry.file_name();
        let found = found.to_string_lossy();
        let is_part = found.starts_with(&ours) && (found.ends_with(".part") || found.ends_with(".part.json"));
        if found == name || is_part {
            removed += entry.metadata().map_or(0, |meta| meta.len());
            std::fs::remove_file(entry.path()).map_err(PullError::disk("remove", &entry.path()))?;
        }
    }
    Ok(removed)
}

/// Beside its place, with the beginning of the digest: another digest is another part.
fn path_of(place: &Path, sha256: &str) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}.{}.part", sha256.get(..16).unwrap_or(sha256).to_lowercase()))
}

/// Makes the name of a new file safe.
#[cfg(unix)]
fn sync_folder(place: &Path) -> std::io::Result<()> {
    File::open(place.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_place: &Path) -> std::io::Result<()> {
    Ok(())
}
