//! Signed statements about the chain: up to this row, this is the hash. One that is
//! kept elsewhere is an anchor: the rows before it cannot be changed without notice.

use crate::body::{Hash, VERSION};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Separates these signatures from every other use of the key.
const DOMAIN: &[u8] = b"loqa.audit.checkpoint.v1\0";
/// The signing key beside the data: 64 hexadecimal digits of the seed.
pub const KEY_FILE: &str = "audit.key";
/// The newest checkpoint beside the data; tells a truncated file from a short one.
pub const ANCHOR_FILE: &str = "audit.anchor";
/// A checkpoint file is below 1 KiB; nothing longer is read.
const MAX_FILE: u64 = 64 * 1024;

/// What is signed. The fields stand in the order of their names, so that the usual
/// JSON is the canonical one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Hash of the row `base_seq`, in hex; zeros where nothing was pruned.
    pub base_hash: String,
    /// Rows up to this one were pruned; 0 where none was.
    pub base_seq: u64,
    /// Random name of the chain, so that an anchor of another one is told apart.
    pub chain: String,
    /// Hash of the row `seq`, in hex.
    pub hash: String,
    /// Public key, in hex.
    pub key: String,
    /// The last row that this covers.
    pub seq: u64,
    /// Version of the format.
    pub v: u64,
    /// When, in milliseconds since the Unix epoch.
    pub wall_ms: i64,
}

/// A statement and its Ed25519 signature: the content of a checkpoint file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// What is signed.
    pub checkpoint: Statement,
    /// Over `"loqa.audit.checkpoint.v1\0"` and the canonical JSON of the statement, in hex.
    pub signature: String,
}

/// Why a checkpoint file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// It cannot be read; check the path.
    #[error("read checkpoint `{path}`: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It is not a checkpoint, or its signature is not that of the key it names.
    #[error("checkpoint `{path}`: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Checkpoint {
    /// Reads a file as `loqa audit checkpoint` writes it. The signature is checked
    /// against the key that the file names; whether to trust that key is up to the caller.
    pub fn read(path: &Path) -> Result<Self, AnchorError> {
        let read = |reason: String| AnchorError::Read { path: path.to_owned(), reason };
        let length = std::fs::metadata(path).map_err(|e| read(e.to_string()))?.len();
        if length > MAX_FILE {
            return Err(read(format!("it has {length} bytes, a checkpoint has less than {MAX_FILE}")));
        }
        let text = std::fs::read(path).map_err(|e| read(e.to_string()))?;
        let invalid = |reason: String| AnchorError::Invalid { path: path.to_owned(), reason };
        let checkpoint: Self = serde_json::from_slice(&text).map_err(|e| invalid(e.to_string()))?;
        checkpoint.check().map_err(invalid)?;
        Ok(checkpoint)
    }

    /// Whether the signature is that of the key that the statement names.
    pub fn check(&self) -> Result<(), String> {
        if self.checkpoint.v != VERSION {
            return Err(format!("its format has version {}, this program knows {VERSION}", self.checkpoint.v));
        }
        let key: [u8; 32] = from_hex(&self.checkpoint.key).ok_or("its key is not 64 hexadecimal digits")?;
        let signature: [u8; 64] = from_hex(&self.signature).ok_or("its signature is not 128 hexadecimal digits")?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| "its key is not an Ed25519 key")?;
        key.verify_strict(&message(&self.checkpoint), &Signature::from_bytes(&signature))
            .map_err(|_| "its signature does not belong to its statement and key".to_owned())
    }

    /// Hash of the last row that it covers.
    #[must_use]
    pub fn hash(&self) -> Option<Hash> {
        from_hex(&self.checkpoint.hash)
    }
}

fn message(statement: &Statement) -> Vec<u8> {
    let json = serde_json::to_vec(statement).unwrap_or_default();
    [DOMAIN, &json].concat()
}

pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    // One spelling only: a second one would be another file with the same meaning.
    let bytes: [u8; N] = hex::decode(text).ok()?.try_into().ok()?;
    (hex::encode(bytes) == text).then_some(bytes)
}

/// The signing key.
pub(crate) struct Key(SigningKey);

impl Key {
    /// Reads the key of this folder; `None` where there is none or it is no key.
    pub(crate) fn load(dir: &Path) -> std::io::Result<Option<Self>> {
        match std::fs::read_to_string(dir.join(KEY_FILE)) {
            Ok(text) => Ok(from_hex(text.trim()).map(|seed| Self(SigningKey::from_bytes(&seed)))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            // Not text, hence no key.
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes a key and keeps it in this folder, readable by the user alone.
    pub(crate) fn make(dir: &Path) -> std::io::Result<Self> {
        let seed: [u8; 32] = rand::random();
        replace(&dir.join(KEY_FILE), format!("{}\n", hex::encode(seed)).as_bytes(), true)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    pub(crate) fn public(&self) -> String {
        hex::encode(self.0.verifying_key().as_bytes())
    }

    pub(crate) fn sign(&self, statement: Statement) -> Checkpoint {
        let signature = hex::encode(self.0.sign(&message(&statement)).to_bytes());
        Checkpoint { checkpoint: statement, signature }
    }
}

/// The public key of a data folder, in hex.
pub(crate) fn public_key(dir: &Path) -> Option<String> {
    Key::load(dir).ok().flatten().map(|key| key.public())
}

/// Writes a private file so that a reader sees the old or the new content.
pub(crate) fn replace(path: &Path, content: &[u8], durable: bool) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    let next = PathBuf::from(name);
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(&next)?;
    file.write_all(content)?;
    if durable {
        file.sync_all()?;
    }
    drop(file);
    std::fs::rename(&next, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        Statement {
            base_hash: "0".repeat(64),
            base_seq: 0,
            chain: "c".into(),
            hash: "1".repeat(64),
            key: String::new(),
            seq: 5,
            v: VERSION,
            wall_ms: 1,
        }
    }

    #[test]
    fn a_checkpoint_is_read_back_and_every_change_shows() {
        let dir = tempfile::tempdir().unwrap();
        let key = Key::make(dir.path()).unwrap();
        assert_eq!(Key::load(dir.path()).unwrap().unwrap().public(), key.public());
        assert_eq!(public_key(dir.path()), Some(key.public()));
        let good = key.sign(Statement { key: key.public(), ..statement() });
        let path = dir.path().join("anchor");
        std::fs::write(&path, serde_json::to_vec(&good).unwrap()).unwrap();
        assert_eq!(Checkpoint::read(&path).unwrap(), good);

        let text = serde_json::to_string(&good).unwrap();
        let mut refused = 0;
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            refused += usize::from(Checkpoint::read(&path).is_err());
        }
        assert_eq!(refused, text.len(), "a changed byte anywhere is refused");
    }

    #[cfg(unix)]
    #[test]
    fn the_key_is_for_the_user_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        Key::make(dir.path()).unwrap();
        let mode = std::fs::metadata(dir.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(dir.path().join(KEY_FILE), [0xff, 0xfe]).unwrap();
        assert!(Key::load(dir.path()).unwrap().is_none(), "rubbish is no key");
    }
}
