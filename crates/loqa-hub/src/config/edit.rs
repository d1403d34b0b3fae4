//! Writing one value back into the configuration file, with what people wrote around it
//! left as it is.
//!
//! Deliberately absent: when a changed value takes effect, see `hub::settings`.

use super::{Config, ConfigError, Key, Origin, bad, check, find_key, unknown};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item, Table};

impl Config {
    /// The file that [`Config::load`] was given; it need not exist.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The key of that name and the value in its canonical form.
    ///
    /// # Errors
    /// There is no such key, or the value does not fit it.
    pub fn fitting(name: &str, value: &Value) -> Result<(&'static Key, Value), ConfigError> {
        let key = find_key(name).ok_or_else(|| unknown(&Origin::Client, name))?;
        let value = check(key, value).map_err(|found| bad(&Origin::Client, key, found))?;
        Ok((key, value))
    }

    /// The configuration with this key set in its file, or removed from it, and the file's
    /// text. Nothing is written yet. Variables and flags go on winning over the file.
    ///
    /// # Errors
    /// The value does not fit, or the file is not what it was when it was read.
    pub fn edited(&self, name: &str, value: Option<&Value>) -> Result<(Self, String), ConfigError> {
        let path = self.file().ok_or(ConfigError::NoFile)?;
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(unwritable(path, &e)),
        };
        // What stands in the file is checked as a whole before and after.
        let mut config = Self { file: self.file.clone(), ..Self::default() };
        config.apply_file(path, &text)?;
        let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| ConfigError::Syntax {
            path: path.to_owned(),
            line: e.span().map_or(1, |span| super::line_of(&text, span.start)),
            reason: e.message().trim().to_owned(),
        })?;
        let (table_name, last) = name.rsplit_once('.').unwrap_or(("", name));
        match value {
            Some(value) => {
                let (key, value) = Self::fitting(name, value)?;
                let found = || bad(&Origin::Client, key, value.to_string());
                let item = to_toml(&value).ok_or_else(found)?;
                let mut table = document.as_table_mut() as &mut dyn toml_edit::TableLike;
                for part in table_name.split('.').filter(|part| !part.is_empty()) {
                    let next = table.entry(part).or_insert(Item::Table(Table::new()));
                    table = next.as_table_like_mut().ok_or_else(found)?;
                }
                // A value that is replaced keeps the comment behind it.
                match (table.get_mut(last).and_then(Item::as_value_mut), item) {
                    (Some(old), Item::Value(mut new)) => {
                        *new.decor_mut() = old.decor().clone();
                        *old = new;
                    }
                    (_, item) => {
                        table.insert(last, item);
                    }
                }
            }
            None => {
                find_key(name).ok_or_else(|| unknown(&Origin::Client, name))?;
                let mut table = Some(document.as_table_mut() as &mut dyn toml_edit::TableLike);
                for part in table_name.split('.').filter(|part| !part.is_empty()) {
                    table = table.and_then(|table| table.get_mut(part)).and_then(Item::as_table_like_mut);
                }
                if let Some(table) = table {
                    table.remove(last);
                }
            }
        }
        let text = document.to_string();
        let mut config = Self { file: self.file.clone(), ..Self::default() };
        config.apply_file(path, &text)?;
        for (name, (value, origin)) in &self.values {
            if matches!(origin, Origin::Environment(_) | Origin::Flag) {
                config.values.insert(name, (value.clone(), origin.clone()));
            }
        }
        Ok((config, text))
    }

    /// Replaces the file by `text` as a whole.
    ///
    /// # Errors
    /// The disk refuses; the file is as it was.
    pub fn write_file(&self, text: &str) -> Result<(), ConfigError> {
        let path = self.file().ok_or(ConfigError::NoFile)?;
        // A link stays a link, to the new contents.
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        replace(&target, text).map_err(|e| unwritable(path, &e))
    }

    /// Takes over one value of another configuration.
    pub fn take(&mut self, name: &str, from: &Self) {
        if let Some((key, value)) = from.values.get_key_value(name) {
            self.values.insert(key, value.clone());
        }
    }
}

fn replace(target: &Path, text: &str) -> std::io::Result<()> {
    let folder = target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut next = target.as_os_str().to_owned();
    next.push(format!(".{:08x}.next", rand::random::<u32>()));
    let next = PathBuf::from(next);
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
        if let Ok(old) = std::fs::metadata(target) {
            file.set_permissions(old.permissions())?;
        }
        file.sync_all()?;
        std::fs::rename(&next, target)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&next);
    }
    written
}

fn to_toml(value: &Value) -> Option<Item> {
    Some(toml_edit::value(match value {
        Value::String(text) => toml_edit::Value::from(text.as_str()),
        Value::Bool(flag) => toml_edit::Value::from(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => toml_edit::Value::from(whole),
            None => toml_edit::Value::from(number.as_f64()?),
        },
        Value::Array(items) => {
            let texts = items.iter().map(|item| item.as_str()).collect::<Option<Vec<_>>>()?;
            toml_edit::Value::Array(texts.into_iter().collect())
        }
        Value::Null | Value::Object(_) => return None,
    }))
}

fn unwritable(path: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError::Unwritable { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(text: &str, flags: &[(&str, &str)]) -> (tempfile::TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loqa.toml");
        if !text.is_empty() {
            std::fs::write(&path, text).unwrap();
        }
        let flags: Vec<_> = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let config = Config::load(Some((&path, false)), [], &flags).unwrap();
        (folder, config)
    }

    #[test]
    fn a_value_is_written_and_all_else_stays() {
        let text = "# mine\n[stt] # hears\nthreads = 2 # few\n\n[llm]\nmodels = [\"reflex\"]\n";
        let (folder, config) = config(text, &[]);
        let (next, text) = config.edited("stt.threads", Some(&json!(4))).unwrap();
        assert_eq!(text, "# mine\n[stt] # hears\nthreads = 4 # few\n\n[llm]\nmodels = [\"reflex\"]\n");
        assert_eq!((config.integer("stt.threads"), next.integer("stt.threads")), (2, 4));
        let (next, text) = config.edited("tts.speed", Some(&json!(1.5))).unwrap();
        assert!(text.ends_with("[tts]\nspeed = 1.5\n"), "{text}");
        assert!((next.number("tts.speed") - 1.5).abs() < f64::EPSILON);
        let (next, text) = config.edited("stt.threads", None).unwrap();
        assert!(!text.contains("threads"), "{text}");
        assert_eq!(next.integer("stt.threads"), 0);

        config.write_file(&text).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("loqa.toml")).unwrap(), text);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_file_that_was_not_there_is_made() {
        let (folder, config) = config("", &[]);
        let (next, text) = config.edited("llm.models", Some(&json!(["a", "b"]))).unwrap();
        next.write_file(&text).unwrap();
        let again = Config::load(Some((&folder.path().join("loqa.toml"), true)), [], &[]).unwrap();
        assert_eq!(again.list("llm.models"), ["a", "b"]);
    }

    #[test]
    fn flags_go_on_winning() {
        let (_folder, config) = config("", &[("tts.speed", "0.8")]);
        let (next, _) = config.edited("tts.speed", Some(&json!(1.5))).unwrap();
        assert!((next.number("tts.speed") - 0.8).abs() < f64::EPSILON);
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let (folder, config) = config("[stt]\nthreads = 2\n", &[]);
        for (name, value) in [
            ("stt.threads", json!("two")),
            ("stt.threads", json!(65)),
            ("stt.thread", json!(1)),
            ("stt", json!({})),
            ("tts.speed", json!(null)),
            ("llm.models", json!([1])),
            ("", json!(1)),
        ] {
            assert!(config.edited(name, Some(&value)).is_err(), "{name} {value}");
        }
        assert!(config.edited("no.key", None).is_err());
        // Somebody broke the file meanwhile.
        std::fs::write(folder.path().join("loqa.toml"), "[stt\n").unwrap();
        assert!(matches!(config.edited("stt.threads", Some(&json!(4))), Err(ConfigError::Syntax { .. })));
        assert!(matches!(Config::default().edited("stt.threads", None), Err(ConfigError::NoFile)));
    }
}
