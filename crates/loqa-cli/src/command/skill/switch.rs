//! `loqa skill enable|disable|remove|rollback NAME`.

use super::{finish, installed, now_ms};
use crate::Session;
use loqa_skills::installed::Switch;
use std::process::ExitCode;

/// What to do with an installed skill.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// Have it loaded.
    Enable,
    /// Do not load it.
    Disable,
    /// Remove it.
    Remove,
    /// Return to the version before.
    Rollback,
}

/// Runs the command.
pub async fn run(session: &Session, change: Change, name: &str) -> anyhow::Result<ExitCode> {
    let store = installed(session);
    let (outcome, text) = match change {
        Change::Enable => {
            store.switch(name, Switch::Enabled, now_ms())?;
            ("enabled".to_owned(), format!("`{name}` is enabled"))
        }
        Change::Disable => {
            store.switch(name, Switch::Disabled, now_ms())?;
            ("disabled".to_owned(), format!("`{name}` is disabled"))
        }
        Change::Remove => {
            store.remove(name, now_ms())?;
            ("removed".to_owned(), format!("`{name}` is removed"))
        }
        Change::Rollback => {
            let version = store.roll_back(name, now_ms())?.version;
            (format!("rolled_back to {version}"), format!("`{name}` is back at {version}"))
        }
    };
    finish(session, serde_json::json!({ "name": name, "outcome": outcome }), &text).await
}
