//! The key of the OpenAI-compatible server: 256 random bits in a file that only this user
//! reads, kept from start to start. It is read for each request, so that a new one counts
//! at once.

use anyhow::{Context as _, bail};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// File name in the data folder.
const FILE: &str = "openai.key";
/// How every key begins.
const PREFIX: &str = "sk-loqa-";
/// Hex digits after it.
const DIGITS: usize = 64;

/// Where the key lies.
#[derive(Debug, Clone)]
pub struct KeyFile(PathBuf);

impl KeyFile {
    /// That of a data folder.
    #[must_use]
    pub fn in_folder(data: &Path) -> Self {
        Self(data.join(FILE))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The key; made if there is none.
    ///
    /// # Errors
    /// The file cannot be read or written, others can read it, or it holds no key.
    pub fn ensure(&self) -> anyhow::Result<String> {
        match self.0.try_exists() {
            Ok(true) => self.read(),
            Ok(false) => self.rotate(),
            Err(error) => Err(error).with_context(|| format!("look for the key `{}`", self.0.display())),
        }
    }

    /// The key.
    ///
    /// # Errors
    /// There is none, others can read it, or it is damaged.
    pub fn read(&self) -> anyhow::Result<String> {
        let name = self.0.display();
        let text = std::fs::read_to_string(&self.0).with_context(|| format!("read the key `{name}`"))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&self.0).with_context(|| format!("look at `{name}`"))?.permissions().mode();
            if mode & 0o077 != 0 {
                bail!("other users can read `{name}`: make a new key with `loqa openai key --rotate`");
            }
        }
        let key = text.trim();
        let digits = key.strip_prefix(PREFIX).unwrap_or_default();
        if digits.len() != DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            bail!("`{name}` holds no key: make a new one with `loqa openai key --rotate`");
        }
        Ok(key.to_owned())
    }

    /// Makes a new key in place of the one that is there, which opens nothing any more.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn rotate(&self) -> anyhow::Result<String> {
        let bits: [u8; DIGITS / 2] = rand::random();
        let key = format!("{PREFIX}{}", hex::encode(bits));
        let next = self.0.with_extension("key.next");
        // What an earlier try left behind may have other rights.
        let _gone = std::fs::remove_file(&next);
        let mut options = OpenOptions::new();
        options.create_new(true).write(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let written = (|| {
            let mut file = options.open(&next)?;
            file.write_all(format!("{key}\n").as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&next, &self.0)
        })();
        written.with_context(|| format!("write the key `{}`", self.0.display()))?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_kept_and_replaced_on_demand() {
        let data = tempfile::tempdir().unwrap();
        let file = KeyFile::in_folder(data.path());
        assert!(file.read().is_err(), "there is none yet");
        let key = file.ensure().unwrap();
        assert!(key.starts_with("sk-loqa-") && key.len() == 72, "{}", key.len());
        assert_eq!(file.ensure().unwrap(), key);
        let other = file.rotate().unwrap();
        assert_ne!(other, key);
        assert_eq!(file.read().unwrap(), other);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_or_that_is_damaged_opens_nothing() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        let file = KeyFile::in_folder(data.path());
        file.ensure().unwrap();
        let mode = std::fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(file.ensure().unwrap_err().to_string().contains("other users can read"));
        file.rotate().unwrap();
        for damaged in ["", "sk-loqa-", "sk-loqa-zz", &"f".repeat(72)] {
            std::fs::write(file.path(), damaged).unwrap();
            assert!(file.read().unwrap_err().to_string().contains("holds no key"), "{damaged:?}");
        }
    }
}
