//! Contents beside the chain: encrypted with a key of their own each, so that deleting
//! the key erases them while the chain still verifies.
//!
//! The record holds a commitment to the contents with a random salt. The salt goes with
//! the key: without it nobody can test guesses at a short text against the commitment.

use crate::body::canonical;
use chacha20poly1305::aead::{Aead as _, Payload as Sealed};
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit as _, Nonce};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Separates commitments and encryption from every other use.
const DOMAIN: &[u8] = b"loqa.audit.payload.v1\0";
/// Longest contents in bytes of canonical JSON. Chosen: twice what a host call may carry, and room.
pub(crate) const MAX_PAYLOAD: usize = 256 * 1024;

/// Contents that are ready to be written beside row `seq`.
pub(crate) struct Payload {
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) key: [u8; 32],
    pub(crate) salt: [u8; 32],
    /// For the record, in hex.
    pub(crate) commitment: String,
}

/// Encrypts contents for row `seq`; `None` when they are too long.
pub(crate) fn seal(seq: u64, contents: &Value) -> Option<Payload> {
    let plaintext = canonical(contents);
    if plaintext.len() > MAX_PAYLOAD {
        return None;
    }
    let (key, salt): ([u8; 32], [u8; 32]) = (rand::random(), rand::random());
    let sealed = Sealed { msg: plaintext.as_bytes(), aad: &associated(seq) };
    // A key encrypts once, so the nonce may be fixed.
    let ciphertext = ChaCha20Poly1305::new(Key::from_slice(&key)).encrypt(&Nonce::default(), sealed).ok()?;
    Some(Payload { ciphertext, key, salt, commitment: commitment(&salt, plaintext.as_bytes()) })
}

/// Decrypts the contents of row `seq` and compares them with the row's commitment.
pub(crate) fn open(
    seq: u64,
    ciphertext: &[u8],
    key: &[u8],
    salt: &[u8],
    committed: &str,
) -> Result<Value, &'static str> {
    if key.len() != 32 {
        return Err("the key of the contents has a wrong length");
    }
    let sealed = Sealed { msg: ciphertext, aad: &associated(seq) };
    let plaintext = ChaCha20Poly1305::new(Key::from_slice(key))
        .decrypt(&Nonce::default(), sealed)
        .map_err(|_| "the contents were changed")?;
    if commitment(salt, &plaintext) != committed {
        return Err("the contents are not those that the record commits to");
    }
    serde_json::from_slice(&plaintext).map_err(|_| "the contents are not JSON")
}

fn associated(seq: u64) -> Vec<u8> {
    [DOMAIN, &seq.to_be_bytes()].concat()
}

fn commitment(salt: &[u8], plaintext: &[u8]) -> String {
    hex::encode(Sha256::new().chain_update(DOMAIN).chain_update(salt).chain_update(plaintext).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn contents_open_only_unchanged_and_in_their_own_row() {
        let contents = json!({ "text": "four digits: 4711", "ratio": 0.5 });
        let Payload { mut ciphertext, key, salt, commitment } = seal(7, &contents).unwrap();
        assert_eq!(open(7, &ciphertext, &key, &salt, &commitment).unwrap(), contents);
        assert!(open(8, &ciphertext, &key, &salt, &commitment).is_err(), "another row");
        assert!(open(7, &ciphertext, &key, &[0; 32], &commitment).is_err(), "another salt");
        assert!(open(7, &ciphertext, &key[1..], &salt, &commitment).is_err(), "half a key");
        ciphertext[3] ^= 1;
        assert!(open(7, &ciphertext, &key, &salt, &commitment).is_err(), "a changed byte");
        assert!(seal(7, &json!("x".repeat(MAX_PAYLOAD))).is_none(), "too long");
    }

    #[test]
    fn equal_contents_have_different_commitments() {
        let [a, b] = [seal(1, &json!("yes")).unwrap(), seal(1, &json!("yes")).unwrap()];
        assert_ne!(a.commitment, b.commitment, "a short answer cannot be guessed from its commitment");
        assert_ne!(a.ciphertext, b.ciphertext);
    }
}
