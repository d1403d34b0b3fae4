//! The token of one start: 256 random bits in a file that only this user reads.
//!
//! It travels in the `Authorization` header and nowhere else. Here it is kept as its
//! SHA-256, so that a comparison takes the same time whatever is guessed.

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// File name in the run folder.
const FILE: &str = "api.token";

/// A secret that requests carry, in hex.
#[derive(Clone)]
pub struct Token {
    digest: [u8; 32],
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token([redacted])")
    }
}

impl Token {
    /// A new one and its text form, 64 hex digits.
    #[must_use]
    pub fn generate() -> (Self, String) {
        let bits: [u8; 32] = rand::random();
        let text = hex::encode(bits);
        (Self::of(&text), text)
    }

    /// The one with this text form.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self { digest: Sha256::digest(text.as_bytes()).into() }
    }

    /// Whether this is it. Takes the same time for every guess of the same length.
    #[must_use]
    pub fn is(&self, guess: &str) -> bool {
        let guess: [u8; 32] = Sha256::digest(guess.as_bytes()).into();
        let difference = self.digest.iter().zip(guess).fold(0u8, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

/// Writes a token to `<run>/api.token`, 0600, in place of the one of an earlier start.
///
/// # Errors
/// The disk refuses.
pub fn write(run: &Path, text: &str) -> anyhow::Result<PathBuf> {
    let path = run.join(FILE);
    let next = run.join(format!("{FILE}.next"));
    // What an earlier start left behind may have other rights.
    let _ = std::fs::remove_file(&next);
    let mut options = OpenOptions::new();
    options.create_new(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let written = (|| {
        let mut file = options.open(&next)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&next, &path)
    })();
    written.with_context(|| format!("write the API's token to `{}`", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_the_token() {
        let (token, text) = Token::generate();
        assert_eq!(text.len(), 64, "256 bits");
        assert!(token.is(&text));
        for wrong in ["", &text[..63], &text.to_uppercase(), &format!("{text} "), &format!("{text}0")] {
            // Hex digits may all be decimal, then the upper case is the same text.
            assert!(*wrong == text || !token.is(wrong), "{wrong}");
        }
        assert!(!Token::generate().0.is(&text), "another start has another token");
        assert!(!format!("{token:?}").contains(&text[..8]));
    }

    #[test]
    fn the_file_is_private_also_when_an_old_one_was_not() {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join("api.token"), "old").unwrap();
        std::fs::write(run.path().join("api.token.next"), "half").unwrap();
        let path = write(run.path(), "new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(run.path()).unwrap().count(), 1);
    }
}
