//! `.loqaskill`: a skill in one file that a stranger may have made.
//!
//! A package is a ZIP archive of a strict kind, see [`container`]. It is read whole into
//! memory and checked whole before anything of it touches the disk; what is written then
//! goes to names that were checked, beneath an open folder, without following links.
//!
//! Deliberately absent: deciding whether a skill is wanted ([`crate::upgrade`]), and
//! where installed skills lie ([`crate::installed`]).

mod beneath;
mod container;
mod path;
mod signature;
mod writing;

pub use path::check_path;
pub use signature::{KeyError, PublisherKey, SIGNATURE_FILE};
pub use writing::pack;

use crate::SkillError;
use crate::grants::code_digest;
use crate::manifest::{self, Manifest, ManifestFaults};
use crate::{module, skill};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Ending of a package's file name.
pub const EXTENSION: &str = "loqaskill";
/// Most bytes of a package, packed and unpacked alike; from the design of packages.
pub const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Most files and folders.
pub const MAX_ENTRIES: usize = 2_000;
/// Most bytes that one packed byte may become.
pub const MAX_RATIO: u64 = 100;
/// Entries up to this size may have any ratio: an empty table packs well. Chosen.
const RATIO_FREE_BYTES: u64 = 64 * 1024;
/// Deepest path, in parts.
pub const MAX_DEPTH: usize = 8;
/// Longest path in bytes.
pub const MAX_PATH_BYTES: usize = 200;

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal,)+) => {
        /// The rule that a package broke; the text form is stable and documented in `docs/skills.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum PackageRule {
            $($(#[doc = $doc])+ $name,)+
        }

        impl PackageRule {
            /// Every rule, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

rules! {
    /// Not a ZIP archive of the plain kind that `loqa skill pack` makes.
    Container => "container",
    /// An entry is encrypted.
    Encrypted => "encrypted",
    /// An entry is neither stored nor deflated.
    Compression => "compression",
    /// An entry is a link, a device or anything else than a file or a folder.
    EntryType => "entry-type",
    /// A path leads out of the package, or may on some system.
    Path => "path",
    /// A name has characters that not every system takes for the same.
    Name => "name",
    /// A name that Windows keeps for itself.
    ReservedName => "reserved-name",
    /// A path stands twice.
    Duplicate => "duplicate",
    /// Two paths differ in case only, or a file has the name of a folder.
    Collision => "collision",
    /// The package, or what is in it, has too many bytes.
    Size => "size",
    /// There are too many entries.
    Entries => "entries",
    /// An entry unpacks to too many times its size.
    Ratio => "ratio",
    /// Folders lie too deep in each other.
    Depth => "depth",
    /// A path is too long.
    PathLength => "path-length",
    /// The bytes of an entry are not what the directory says.
    Damaged => "damaged",
    /// A file that a skill needs is missing, or one is there that it may not have.
    Content => "content",
    /// The signature does not fit.
    Signature => "signature",
}

impl fmt::Display for PackageRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a package is not accepted, or cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The package breaks a rule; nothing of it was written.
    #[error("package is refused: {rule}: {message}")]
    Refused {
        /// Which rule.
        rule: PackageRule,
        /// What is wrong, with the entry's name escaped, and what helps.
        message: String,
    },
    /// The manifest in it has faults; each says what to write instead.
    #[error("skill manifest is refused:\n{0}")]
    Manifest(#[from] ManifestFaults),
    /// A file or folder of this machine cannot be used.
    #[error("{operation} `{path}`: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A package that passed every check, in memory.
#[derive(Debug, Clone)]
pub struct Package {
    manifest: Manifest,
    /// By path; the signature is not among them.
    files: BTreeMap<String, Vec<u8>>,
    /// Paths of folders that are there without a file in them.
    folders: Vec<String>,
    digest: String,
    publisher: Option<String>,
}

/// The bytes that a consent is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// SHA-256 of `skill.yaml`, in hex.
    pub manifest_sha256: String,
    /// SHA-256 of the module or program, in hex.
    pub module_sha256: String,
}

impl Package {
    /// Reads and checks a package.
    pub fn read(bytes: &[u8]) -> Result<Self, PackageError> {
        let container::Contents { mut files, folders } = container::unpack(bytes)?;
        let signature = files.remove(SIGNATURE_FILE);
        let digest = content_digest(&files);
        let publisher = signature.map(|signature| signature::verify(&signature, &digest)).transpose()?;
        let manifest_bytes = files.get(manifest::FILE_NAME).ok_or_else(|| {
            refused(
                PackageRule::Content,
                format!("there is no `{}` at its top; pack the skill with `loqa skill pack`", manifest::FILE_NAME),
            )
        })?;
        let manifest = Manifest::parse(Path::new(manifest::FILE_NAME), manifest_bytes)?;
        if !files.contains_key(&manifest.module) {
            return Err(refused(
                PackageRule::Content,
                format!("`{}` is not in it; build the skill before it is packed", manifest.module),
            ));
        }
        Ok(Self { manifest, files, folders, digest, publisher })
    }

    /// Reads a package from a file, which is read once.
    pub fn open(path: &Path) -> Result<Self, PackageError> {
        Self::read(&read_bounded(path, MAX_BYTES)?)
    }

    /// What the skill is and asks for.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 over all paths and contents, in hex; the same for the same content, however it was packed.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Public key of who signed it, in hex.
    #[must_use]
    pub fn publisher(&self) -> Option<&str> {
        self.publisher.as_deref()
    }

    /// What a consent to this package is bound to.
    #[must_use]
    pub fn pin(&self) -> Pin {
        let sha256 = |path: &str| hex::encode(Sha256::digest(self.file(path).unwrap_or_default()));
        Pin { manifest_sha256: sha256(manifest::FILE_NAME), module_sha256: sha256(&self.manifest.module) }
    }

    /// What grants to this package's code bind to.
    #[must_use]
    pub fn code_digest(&self) -> String {
        let bytes = |path: &str| self.file(path).unwrap_or_default();
        code_digest(bytes(manifest::FILE_NAME), bytes(&self.manifest.module))
    }

    /// Bytes of a file in it.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// Paths and sizes of its files, sorted.
    pub fn files(&self) -> impl Iterator<Item = (&str, usize)> {
        self.files.iter().map(|(path, bytes)| (path.as_str(), bytes.len()))
    }

    /// Whether the host can load its code, as far as that shows without running it.
    pub fn check_code(&self) -> Result<(), SkillError> {
        check_code(&self.manifest, self.file(&self.manifest.module).unwrap_or_default())
    }

    /// Writes everything below `folder`, which is made and must not exist yet. Files are
    /// safe on the disk when this returns; after an error the folder may hold a part.
    pub fn unpack_into(&self, folder: &Path) -> Result<(), PackageError> {
        beneath::write_all(folder, &self.folders, &self.files)
    }
}

/// Whether the host can load a module under that manifest, as far as that shows without running it.
pub fn check_code(manifest: &Manifest, module: &[u8]) -> Result<(), SkillError> {
    let refused =
        |reason| SkillError::Module { skill: manifest.name.clone(), path: PathBuf::from(&manifest.module), reason };
    module::check(module, &skill::exports(manifest)).map(drop).map_err(refused)
}

/// SHA-256 over the sorted list of paths, lengths and contents.
fn content_digest(files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    hash.update(b"loqa.package.v1\0");
    for (path, bytes) in files {
        hash.update((path.len() as u64).to_le_bytes());
        hash.update(path.as_bytes());
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(Sha256::digest(bytes));
    }
    hex::encode(hash.finalize())
}

/// Reads a regular file of at most `max_bytes`.
fn read_bounded(path: &Path, max_bytes: u64) -> Result<Vec<u8>, PackageError> {
    let failed = |source| PackageError::Io { operation: "read", path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("not a regular file")));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there is more.
    file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max_bytes {
        return Err(refused(PackageRule::Size, format!("`{}` has more than {max_bytes} bytes", path.display())));
    }
    Ok(bytes)
}

fn refused(rule: PackageRule, message: impl Into<String>) -> PackageError {
    PackageError::Refused { rule, message: message.into() }
}

/// A name from outside for a message: short, and nothing in it can move the terminal's cursor.
fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
    if text.chars().count() > 80 { shown + "…" } else { shown }
}
