//! Who made a package: an Ed25519 signature over the digest of its contents, in the file
//! `signature.json` at its top.
//!
//! A key says that two packages come from the same hands, and nothing about whose hands
//! those are. There is no list of trusted publishers.

use super::{PackageError, PackageRule, refused};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The signature's file at the top of a package.
pub const SIGNATURE_FILE: &str = "signature.json";
/// Version of the signature's and the key's file.
const SCHEMA: u32 = 1;
const ALGORITHM: &str = "ed25519";
/// Put in front of the digest, so that the key cannot be used to sign something else.
const DOMAIN: &[u8] = b"loqa.skill.signature.v1\0";
/// A signature's file is shorter; a longer one is none.
const MAX_BYTES: usize = 4 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureFile {
    schema: u32,
    algorithm: String,
    key: String,
    digest: String,
    signature: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    schema: u32,
    algorithm: String,
    public: String,
    secret: String,
}

/// The secret with which a publisher signs.
pub struct PublisherKey(SigningKey);

/// Why a key cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read, or it exists already; choose another one.
    #[error("{operation} `{path}`: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a key; make one with `loqa skill key new`.
    #[error("`{path}` is not a publisher's key; make one with `loqa skill key new FILE`")]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
}

impl PublisherKey {
    /// A new key from the system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        Self(SigningKey::from_bytes(&rand::random()))
    }

    /// The public half, in hex: what an installation remembers.
    #[must_use]
    pub fn public(&self) -> String {
        hex::encode(self.0.verifying_key().as_bytes())
    }

    /// Reads a key's file.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let not_a_key = || KeyError::NotAKey { path: path.to_owned() };
        let text = std::fs::read(path).map_err(|source| KeyError::Io {
            operation: "read the key",
            path: path.to_owned(),
            source,
        })?;
        let file: KeyFile = serde_json::from_slice(&text).map_err(|_| not_a_key())?;
        let mut secret = [0_u8; 32];
        hex::decode_to_slice(&file.secret, &mut secret).map_err(|_| not_a_key())?;
        let key = Self(SigningKey::from_bytes(&secret));
        let fits = file.schema == SCHEMA && file.algorithm == ALGORITHM && key.public() == file.public;
        if fits { Ok(key) } else { Err(not_a_key()) }
    }

    /// Writes a new file that only this user can read; an existing one is never replaced.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let failed = |source| KeyError::Io { operation: "write the key", path: path.to_owned(), source };
        let file = KeyFile {
            schema: SCHEMA,
            algorithm: ALGORITHM.to_owned(),
            public: self.public(),
            secret: hex::encode(self.0.to_bytes()),
        };
        let text = serde_json::to_string_pretty(&file).map_err(|error| failed(std::io::Error::other(error)))?;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let mut file = options.open(path).map_err(failed)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.sync_all())
            .map_err(failed)
    }

    /// The signature's file for contents of that digest.
    pub(super) fn sign(&self, digest: &str) -> Vec<u8> {
        let file = SignatureFile {
            schema: SCHEMA,
            algorithm: ALGORITHM.to_owned(),
            key: self.public(),
            digest: digest.to_owned(),
            signature: hex::encode(self.0.sign(&message(digest)).to_bytes()),
        };
        serde_json::to_vec_pretty(&file).unwrap_or_default()
    }
}

impl std::fmt::Debug for PublisherKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PublisherKey").field(&self.public()).finish()
    }
}

/// The public key that signed contents of that digest, in hex.
pub(super) fn verify(file: &[u8], digest: &str) -> Result<String, PackageError> {
    let wrong =
        |what: &str| refused(PackageRule::Signature, format!("`{SIGNATURE_FILE}` {what}; get the package again"));
    if file.len() > MAX_BYTES {
        return Err(wrong("is too long"));
    }
    let file: SignatureFile = serde_json::from_slice(file).map_err(|_| wrong("cannot be read"))?;
    if file.schema != SCHEMA || file.algorithm != ALGORITHM {
        return Err(wrong("is of a kind that this version does not know"));
    }
    if file.digest != digest {
        return Err(wrong("is for other contents"));
    }
    let (mut key, mut signature) = ([0_u8; 32], [0_u8; 64]);
    // One spelling per key: what is remembered is compared as text.
    let lower = |text: &str| !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if !lower(&file.key)
        || hex::decode_to_slice(&file.key, &mut key).is_err()
        || hex::decode_to_slice(&file.signature, &mut signature).is_err()
    {
        return Err(wrong("holds no key or no signature"));
    }
    let verified = VerifyingKey::from_bytes(&key)
        .and_then(|key| key.verify_strict(&message(digest), &Signature::from_bytes(&signature)));
    verified.map(|()| file.key).map_err(|_| wrong("was not made by the key that it names"))
}

fn message(digest: &str) -> Vec<u8> {
    [DOMAIN, digest.as_bytes()].concat()
}
