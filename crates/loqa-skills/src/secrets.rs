//! Named secrets of skills, as the user has set them.
//!
//! They lie in `secrets.json` in the data folder, readable for the user alone, or in
//! the environment of the hub as `LOQA_SECRET_<SKILL>__<NAME>`. They are read when they
//! are needed and never logged. Deliberately absent: a way for a skill to read one;
//! see [`crate::HostFunction::Http`].

use loqa_protocol::id::is_token;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Name of the file in the data folder.
pub const FILE_NAME: &str = "secrets.json";
/// How the variables with secrets begin.
pub const VARIABLE_PREFIX: &str = "LOQA_SECRET_";
/// Longest secret. Chosen: longer than any key, shorter than a file by accident.
pub const MAX_BYTES: usize = 4 * 1024;
/// Largest file. Chosen: some hundred of the longest secrets.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The text of a secret; it shows itself to nobody by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Why secrets cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Names are tokens: the skill's name, and 1 to 64 of `a-z`, `0-9`, `_`, `-`.
    #[error("`{0}` is no name; use 1 to 64 of a-z, 0-9, _ and -")]
    Name(String),
    /// Empty, too long, or with characters that no header takes.
    #[error("a secret has 1 to {MAX_BYTES} printable ASCII characters")]
    Value,
    /// The file cannot be read or written; check its permissions and the disk.
    #[error("secrets in `{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds something else; move it away and set the secrets again.
    #[error("`{path}` is damaged; move it away and set the secrets again")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// The secrets in one data folder.
#[derive(Debug, Clone)]
pub struct Secrets {
    path: PathBuf,
}

/// By skill, then by name.
type Table = BTreeMap<String, BTreeMap<String, String>>;

impl Secrets {
    /// Those in that data folder.
    #[must_use]
    pub fn in_folder(data_dir: &Path) -> Self {
        Self { path: data_dir.join(FILE_NAME) }
    }

    /// The secret of that name, or `None` where none is set. The environment comes first.
    #[must_use]
    pub fn get(&self, skill: &str, name: &str) -> Option<Secret> {
        let from_environment =
            variable(skill, name).and_then(|name| std::env::var(name).ok()).filter(|value| is_value(value));
        from_environment.map(Secret).or_else(|| match self.read() {
            Ok(table) => table.get(skill)?.get(name).cloned().map(Secret),
            Err(error) => {
                tracing::warn!(%error, "secrets cannot be read");
                None
            }
        })
    }

    /// Names of the secrets that the file holds for a skill.
    pub fn names(&self, skill: &str) -> Result<Vec<String>, SecretError> {
        Ok(self.read()?.remove(skill).unwrap_or_default().into_keys().collect())
    }

    /// Keeps a secret, in place of one of the same name.
    pub fn set(&self, skill: &str, name: &str, value: &str) -> Result<(), SecretError> {
        for part in [skill, name] {
            if !is_token(part) {
                return Err(SecretError::Name(part.to_owned()));
            }
        }
        if !is_value(value) {
            return Err(SecretError::Value);
        }
        let mut table = self.read()?;
        table.entry(skill.to_owned()).or_default().insert(name.to_owned(), value.to_owned());
        self.write(&table)
    }

    /// Forgets a secret and says whether there was one.
    pub fn remove(&self, skill: &str, name: &str) -> Result<bool, SecretError> {
        let mut table = self.read()?;
        let existed = table.get_mut(skill).is_some_and(|names| names.remove(name).is_some());
        if existed {
            table.retain(|_, names| !names.is_empty());
            self.write(&table)?;
        }
        Ok(existed)
    }

    /// Forgets all secrets of a skill, because it was removed.
    pub fn forget(&self, skill: &str) -> Result<(), SecretError> {
        let mut table = self.read()?;
        if table.remove(skill).is_some() {
            self.write(&table)?;
        }
        Ok(())
    }

    fn read(&self) -> Result<Table, SecretError> {
        match std::fs::metadata(&self.path) {
            Ok(found) if found.len() > MAX_FILE_BYTES => return Err(SecretError::Damaged { path: self.path.clone() }),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Table::new()),
            Err(source) => return Err(self.failed(source)),
        }
        let text = std::fs::read(&self.path).map_err(|source| self.failed(source))?;
        // The text of a serde error may repeat a value.
        serde_json::from_slice(&text).map_err(|_| SecretError::Damaged { path: self.path.clone() })
    }

    fn write(&self, table: &Table) -> Result<(), SecretError> {
        let beside = self.path.with_extension("new");
        let written = (|| {
            if let Some(folder) = self.path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let _absent = std::fs::remove_file(&beside);
            let mut file = private_file(&beside)?;
            file.write_all(serde_json::to_string(table).unwrap_or_default().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&beside, &self.path)
        })();
        written.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> SecretError {
        SecretError::File { path: self.path.clone(), source }
    }
}

/// The variable of the hub's environment that holds a secret. `None` for names that could be taken for those of
/// another skill.
#[must_use]
pub fn variable(skill: &str, name: &str) -> Option<String> {
    let [skill, name] = [skill, name].map(|part| part.replace('-', "_").to_ascii_uppercase());
    let is_clear = |part: &str| !part.is_empty() && !part.contains("__") && part.trim_matches('_') == part;
    (is_clear(&skill) && is_clear(&name)).then(|| format!("{VARIABLE_PREFIX}{skill}__{name}"))
}

/// What may go into a header.
fn is_value(value: &str) -> bool {
    (1..=MAX_BYTES).contains(&value.len()) && value.bytes().all(|b| (0x20..0x7f).contains(&b))
}

/// A new file that only the user can read, from the first moment on.
fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_kept_apart_by_skill_and_show_themselves_to_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::in_folder(folder.path());
        assert_eq!(secrets.get("weather", "key"), None);
        secrets.set("weather", "key", "k-1234567").unwrap();
        secrets.set("weather", "key", "k-7654321").unwrap();
        secrets.set("other", "key", "mine").unwrap();
        let found = Secrets::in_folder(folder.path()).get("weather", "key").unwrap();
        assert_eq!(found.expose(), "k-7654321");
        assert_eq!(format!("{found:?}"), "[redacted]");
        assert_eq!(secrets.get("other", "token"), None);
        assert_eq!(secrets.names("weather").unwrap(), ["key"]);
        assert!(secrets.remove("weather", "key").unwrap());
        assert!(!secrets.remove("weather", "key").unwrap());
        assert_eq!(secrets.get("weather", "key"), None);
        secrets.forget("other").unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join(FILE_NAME)).unwrap(), "{}");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_the_users_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        Secrets::in_folder(folder.path()).set("a-skill", "key", "value").unwrap();
        let mode = std::fs::metadata(folder.path().join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_no_header_takes_is_no_secret_and_damage_is_told_without_contents() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::in_folder(folder.path());
        for value in ["", "two\nlines", "\r\nhost: evil", "ä", &"x".repeat(MAX_BYTES + 1)] {
            assert!(matches!(secrets.set("a-skill", "key", value), Err(SecretError::Value)));
        }
        for name in ["", "a.b", "../x", "A"] {
            assert!(matches!(secrets.set("a-skill", name, "value"), Err(SecretError::Name(_))));
        }
        std::fs::write(folder.path().join(FILE_NAME), r#"{"weather":{"key":"hidden""#).unwrap();
        let error = secrets.set("a-skill", "key", "value").unwrap_err().to_string();
        assert!(error.contains("damaged") && !error.contains("hidden"), "{error}");
        assert_eq!(secrets.get("weather", "key"), None);
    }

    #[test]
    fn the_variable_is_spelled_as_shells_take_it() {
        let found = variable("shopping-list", "api-key");
        assert_eq!(found.as_deref(), Some("LOQA_SECRET_SHOPPING_LIST__API_KEY"));
        // `a` with `b__c` would be `a--b` with `c`.
        for (skill, name) in [("a--b", "c"), ("a", "b__c"), ("a", "_c"), ("a", "c-"), ("", "c")] {
            assert_eq!(variable(skill, name), None, "{skill} {name}");
        }
    }
}
