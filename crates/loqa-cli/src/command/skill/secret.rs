//! `loqa skill secret`: the secrets that the host puts into requests of skills. They
//! come in on standard input and are never shown.

use crate::{BadArguments, Session};
use anyhow::Context as _;
use clap::Subcommand;
use loqa_skills::secrets::{MAX_BYTES, SecretError, Secrets};
use serde_json::json;
use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::process::ExitCode;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Keep a secret; it is read from standard input, up to the end of the line.
    Set {
        /// Name of the skill.
        skill: String,
        /// Name of the secret, as in the skill's manifest.
        name: String,
    },
    /// Name the secrets of a skill that are kept; not their texts.
    List {
        /// Name of the skill.
        skill: String,
    },
    /// Forget a secret.
    Remove {
        /// Name of the skill.
        skill: String,
        /// Name of the secret.
        name: String,
    },
}

/// Runs the command.
pub fn run(session: &Session, action: &Action) -> anyhow::Result<ExitCode> {
    let secrets = Secrets::in_folder(&session.paths.data);
    match action {
        Action::Set { skill, name } => {
            if std::io::stdin().is_terminal() {
                eprintln!("type the secret and press Enter; whoever looks at the screen sees it");
            }
            // One byte more than allowed shows that there is more.
            let mut line = String::new();
            let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX) + 3;
            std::io::stdin().lock().take(limit).read_line(&mut line).context("read the secret from standard input")?;
            let value = line.strip_suffix('\n').unwrap_or(&line);
            secrets.set(skill, name, value.strip_suffix('\r').unwrap_or(value)).map_err(|error| match error {
                SecretError::Name(_) | SecretError::Value => BadArguments(error.to_string()).into(),
                SecretError::File { .. } | SecretError::Damaged { .. } => anyhow::Error::from(error),
            })?;
            say(
                session,
                json!({ "skill": skill, "name": name, "set": true }),
                &format!("`{name}` is kept for `{skill}`"),
            );
        }
        Action::List { skill } => {
            let names = secrets.names(skill)?;
            let text = if names.is_empty() { format!("no secrets are kept for `{skill}`") } else { names.join("\n") };
            say(session, json!({ "skill": skill, "names": names }), &text);
        }
        Action::Remove { skill, name } => {
            let removed = secrets.remove(skill, name)?;
            let text =
                if removed { format!("`{name}` of `{skill}` is forgotten") } else { "there was none".to_owned() };
            say(session, json!({ "skill": skill, "name": name, "removed": removed }), &text);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn say(session: &Session, object: serde_json::Value, text: &str) {
    if session.json { println!("{object}") } else { println!("{text}") }
}
