//! Grants: what the person allowed which code to do, how far and for how long.

use sha2::{Digest as _, Sha256};

/// What grants bind to: SHA-256 over the manifest and the module, in hex. The length
/// keeps a byte from moving from one to the other unnoticed.
#[must_use]
pub fn code_digest(manifest: &[u8], module: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update(b"loqa.skill.v1\0");
    digest.update((manifest.len() as u64).to_le_bytes());
    digest.update(manifest);
    digest.update(module);
    hex::encode(digest.finalize())
}
