//! Changing the configuration while the hub runs: written to the record, then to the
//! file, and put to use for the turns that begin from then on where that is possible.

use super::Hub;
use crate::config::{Config, ConfigError};
use loqa_audit::{Actor, ActorKind, Context, Effect, Entry, Journal as _, JournalError, Kind};
use serde_json::{Value, json};
use std::sync::{Arc, PoisonError};

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// For the turns that begin from then on.
    Now,
    /// At the next start of the hub.
    Restart,
    /// It names programs, folders or servers that are trusted: only who can write the file changes it.
    FileOnly,
}

/// Why a value was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// It does not fit, or the file cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// See [`Applies::FileOnly`].
    #[error("`{0}` can only be changed in the configuration file")]
    FileOnly(String),
    /// What cannot be recorded is not done.
    #[error(transparent)]
    Audit(#[from] JournalError),
}

/// When a change of this key takes effect.
#[must_use]
pub fn applies(key: &str) -> Applies {
    // Whoever changes one of these decides what runs with the user's rights at the next
    // start, or who may listen.
    const FILE_ONLY: &[&str] = &["paths.", "bus.", "skills.dev", "tts.onnxruntime", "home.devices", "api."];
    const NOW: &[&str] = &[
        "stt.language",
        "stt.min_confidence",
        "llm.min_tool_confidence",
        "tts.voice",
        "tts.speed",
        "turn.",
        "skills.prompt_ms",
    ];
    let names =
        |list: &[&str]| list.iter().any(|entry| key == *entry || (entry.ends_with('.') && key.starts_with(entry)));
    match (names(FILE_ONLY), names(NOW)) {
        (true, _) => Applies::FileOnly,
        (false, true) => Applies::Now,
        (false, false) => Applies::Restart,
    }
}

impl Hub {
    /// The configuration that the next start will have, as far as it was changed here.
    #[must_use]
    pub fn saved_config(&self) -> Config {
        self.inner.saved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets a key in the configuration file, or with `None` removes it from there. Blocks.
    ///
    /// # Errors
    /// Nothing was changed; the error says why.
    pub fn change_setting(&self, key: &str, value: Option<&Value>) -> Result<Applies, SettingError> {
        // One change after the other, from the reading of the file to its writing.
        let mut saved = self.inner.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, text) = saved.edited(key, value)?;
        let applies = applies(key);
        if applies == Applies::FileOnly {
            return Err(SettingError::FileOnly(key.to_owned()));
        }
        let mut entry = Entry::new(Kind::ConfigChange, Actor::named(ActorKind::User, "operator"), Context::default());
        let operation = if value.is_some() { "config.set" } else { "config.unset" };
        entry.effect = Some(Effect { operation: operation.into(), target: Some(key.to_owned()), bytes_out: None });
        entry.payload = Some(json!({ "value": value }));
        self.inner.audit.append(entry)?;
        next.write_file(&text)?;
        *saved = next;
        if applies == Applies::Now {
            self.put_to_use(key, &saved);
        }
        Ok(applies)
    }

    fn put_to_use(&self, key: &str, saved: &Config) {
        let mut config = self.inner.config.write().unwrap_or_else(PoisonError::into_inner);
        config.take(key, saved);
        let mut tuning = self.inner.tuning.write().unwrap_or_else(PoisonError::into_inner);
        *tuning = tuning.again(&config);
        let context = &self.inner.context;
        context.skills.set_consent(Arc::clone(&context.prompts) as _, config.millis("skills.prompt_ms"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_decide_what_runs_are_not_for_the_api() {
        for (key, expected) in [
            ("paths.programs", Applies::FileOnly),
            ("bus.nats_server", Applies::FileOnly),
            ("skills.dev", Applies::FileOnly),
            ("api.port", Applies::FileOnly),
            ("turn.total_ms", Applies::Now),
            ("tts.speed", Applies::Now),
            ("stt.model", Applies::Restart),
            ("privacy.keep", Applies::Restart),
        ] {
            assert_eq!(applies(key), expected, "{key}");
        }
    }
}
