//! `loqa skill key new FILE`: the key that shows that two versions come from the same hands.

use crate::{BadArguments, Session};
use clap::Subcommand;
use loqa_skills::package::PublisherKey;
use std::path::PathBuf;
use std::process::ExitCode;

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make a new key.
    New {
        /// The file to write; it must not exist.
        file: PathBuf,
    },
    /// Show the public half of a key.
    Show {
        /// The key's file.
        file: PathBuf,
    },
}

/// Runs the command.
pub fn run(session: &Session, action: &Action) -> anyhow::Result<ExitCode> {
    let (file, key) = match action {
        Action::New { file } => {
            let key = PublisherKey::generate();
            key.save(file)?;
            (file, key)
        }
        Action::Show { file } => (file, PublisherKey::load(file).map_err(|e| BadArguments(e.to_string()))?),
    };
    if session.json {
        println!("{}", serde_json::json!({ "key": file, "public": key.public() }));
    } else {
        println!("{} holds the secret half of {}", file.display(), key.public());
        println!("keep it to yourself; without it nobody can publish a version that replaces yours silently");
    }
    Ok(ExitCode::SUCCESS)
}
