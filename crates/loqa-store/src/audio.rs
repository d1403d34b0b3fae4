//! Recordings of what was said, kept only where somebody asked for it, encrypted with
//! a key that lies in a file of its own: deleting that file erases them all.
//!
//! Deliberately absent: deciding for which sessions that is.

use crate::StoreError;
use crate::open::beside;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit as _, Nonce};
use loqa_protocol::TurnId;
use rusqlite::{Connection, OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// Separates keys and encryption from every other use.
const DOMAIN: &[u8] = b"loqa.store.recording.v1\0";
/// `loqa.db.key` beside `loqa.db`: 64 hexadecimal digits.
pub(crate) const KEY_END: &str = ".key";
/// The key beside a backup.
pub(crate) const KEY_OF_BACKUP: &str = ".key";

/// Where the key of recordings comes from.
#[derive(Clone)]
pub(crate) enum KeySource {
    /// A file beside the database, made when the first recording is kept.
    File(std::path::PathBuf),
    /// Memory only.
    Memory([u8; 32]),
}

impl KeySource {
    pub(crate) fn of(path: Option<&Path>) -> Self {
        path.map_or_else(|| Self::Memory(rand::random()), |path| Self::File(beside(path, KEY_END)))
    }

    fn key(&self, make: bool) -> Result<[u8; 32], String> {
        let file = match self {
            Self::Memory(key) => return Ok(*key),
            Self::File(file) => file,
        };
        match std::fs::read_to_string(file) {
            Ok(text) => {
                let bytes = hex::decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
                bytes.ok_or_else(|| format!("`{}` is no key: 64 hexadecimal digits are expected", file.display()))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && make => {
                let key: [u8; 32] = rand::random();
                write_private(file, &format!("{}\n", hex::encode(key)))
                    .map_err(|e| format!("write `{}`: {e}", file.display()))?;
                Ok(key)
            }
            Err(e) => Err(format!("read its key `{}`: {e}", file.display())),
        }
    }
}

/// Keeps the recording of a turn that is kept.
pub(crate) fn keep(
    connection: &Connection,
    source: &KeySource,
    turn: &TurnId,
    samples: &[i16],
) -> Result<(), StoreError> {
    let fault = |reason: String| StoreError::Audio { turn: turn.to_string(), reason };
    let found: Option<(i64, i64)> = connection
        .query_row("SELECT id, session_id FROM turns WHERE turn = ?1", [turn.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((id, session_id)) = found else { return Err(StoreError::not_found("turn", turn)) };
    let salt: [u8; 32] = rand::random();
    let key = derived(&source.key(true).map_err(fault)?, &salt);
    let plaintext: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let sealed = Payload { msg: &plaintext, aad: turn.as_str().as_bytes() };
    // A key encrypts once, so the nonce may be fixed.
    let ciphertext = ChaCha20Poly1305::new(Key::from_slice(&key))
        .encrypt(&Nonce::default(), sealed)
        .map_err(|_| fault("it is too long to be encrypted".to_owned()))?;
    connection.execute(
        "INSERT OR REPLACE INTO recordings (turn_id, session_id, samples, salt, ciphertext) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![id, session_id, i64::try_from(samples.len()).unwrap_or(i64::MAX), salt, ciphertext],
    )?;
    Ok(())
}

/// The samples of a turn's recording.
pub(crate) fn read(connection: &Connection, source: &KeySource, turn: &TurnId) -> Result<Vec<i16>, StoreError> {
    let fault = |reason: String| StoreError::Audio { turn: turn.to_string(), reason };
    let sealed: Option<(Vec<u8>, Vec<u8>)> = connection
        .query_row(
            "SELECT salt, ciphertext FROM recordings JOIN turns ON turns.id = turn_id WHERE turn = ?1",
            [turn.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((salt, ciphertext)) = sealed else { return Err(StoreError::not_found("recording", turn)) };
    let key = derived(&source.key(false).map_err(fault)?, &salt);
    let payload = Payload { msg: &ciphertext, aad: turn.as_str().as_bytes() };
    let plaintext = ChaCha20Poly1305::new(Key::from_slice(&key))
        .decrypt(&Nonce::default(), payload)
        .map_err(|_| fault("it was changed, or its key is another one".to_owned()))?;
    Ok(plaintext.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect())
}

/// Copies the key beside a backup, if there is one.
pub(crate) fn back_up_key(path: &Path, backup: &Path) -> Result<bool, StoreError> {
    let from = beside(path, KEY_END);
    match std::fs::read_to_string(&from) {
        Ok(text) => {
            let to = beside(backup, KEY_OF_BACKUP);
            write_private(&to, &text).map_err(|e| StoreError::open(&to, e))?;
            Ok(true)
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(StoreError::open(&from, e)),
    }
}

/// Puts the key of a backup in place.
pub(crate) fn restore_key(from: &Path, path: &Path) -> Result<(), StoreError> {
    let text = std::fs::read_to_string(from).map_err(|e| StoreError::open(from, e))?;
    let to = beside(path, KEY_END);
    write_private(&to, &text).map_err(|e| StoreError::open(&to, e))
}

fn derived(master: &[u8; 32], salt: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(DOMAIN).chain_update(master).chain_update(salt).finalize().into()
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
