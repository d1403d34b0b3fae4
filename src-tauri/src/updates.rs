//! Whether there is a newer version. Nothing is asked unless a person asks for it, and only
//! in builds whose release set the place and the key: `plugins.updater` of
//! `tauri.conf.json`, see `docs/desktop.md`.
//!
//! What is fetched counts only with the signature of that key. Deliberately absent: fetching
//! and installing, which the systems' own packages do.

use serde::Serialize;
use std::time::Duration;
use tauri::{AppHandle, Config, Runtime};
use tauri_plugin_updater::UpdaterExt as _;

/// Longest wait for the answer. Chosen.
const PATIENCE: Duration = Duration::from_secs(15);

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpdateAnswer {
    /// A version that is newer than this one.
    version: Option<String>,
    /// Why it is not known, with the way out.
    problem: Option<String>,
}

impl UpdateAnswer {
    fn problem(text: impl Into<String>) -> Self {
        Self { version: None, problem: Some(text.into()) }
    }
}

/// Whether this build knows where updates are and how they are signed.
#[must_use]
pub fn are_configured(config: &Config) -> bool {
    let updater = config.plugins.0.get("updater");
    let key = updater.and_then(|updater| updater["pubkey"].as_str()).unwrap_or_default();
    let places = updater.and_then(|updater| updater["endpoints"].as_array()).map_or(0, Vec::len);
    !key.is_empty() && places > 0
}

/// Asks the places that the build knows.
pub async fn check<R: Runtime>(app: &AppHandle<R>) -> UpdateAnswer {
    if !are_configured(app.config()) {
        return UpdateAnswer::problem(
            "this build does not know where updates are: look for a new version where you got this one",
        );
    }
    let updater = match app.updater_builder().timeout(PATIENCE).build() {
        Ok(updater) => updater,
        Err(error) => return UpdateAnswer::problem(format!("updates are set up wrongly in this build, {error}")),
    };
    match tokio::time::timeout(PATIENCE, updater.check()).await {
        Ok(Ok(update)) => UpdateAnswer { version: update.map(|update| update.version), problem: None },
        Ok(Err(error)) => {
            UpdateAnswer::problem(format!("the place of the updates cannot be asked, {error}: try later"))
        }
        Err(_) => UpdateAnswer::problem("the place of the updates does not answer: try later"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(updater: &str) -> bool {
        let config = format!(r#"{{"identifier": "x", "plugins": {{"updater": {updater}}}}}"#);
        are_configured(&serde_json::from_str(&config).unwrap())
    }

    #[test]
    fn a_build_without_place_or_key_asks_nobody() {
        assert!(!configured(r#"{"pubkey": "", "endpoints": ["https://x.example"]}"#));
        assert!(!configured(r#"{"pubkey": "key", "endpoints": []}"#));
        assert!(!configured("{}"));
        assert!(configured(r#"{"pubkey": "key", "endpoints": ["https://x.example"]}"#));
    }
}
