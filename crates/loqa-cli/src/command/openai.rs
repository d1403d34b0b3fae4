//! `loqa openai key`: the key with which programs use the OpenAI-compatible server.

use crate::Session;
use clap::Subcommand;
use loqa_api::openai::KeyFile;
use std::process::ExitCode;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Print the key; makes one if there is none.
    Key {
        /// Make a new one first; the old one opens nothing any more, also while the hub runs.
        #[arg(long)]
        rotate: bool,
    },
}

/// Runs the command.
pub fn run(session: &Session, action: &Action) -> anyhow::Result<ExitCode> {
    let Action::Key { rotate } = action;
    session.paths.prepare()?;
    let file = KeyFile::in_folder(&session.paths.data);
    let key = if *rotate { file.rotate()? } else { file.ensure()? };
    if session.json {
        println!("{}", serde_json::json!({ "key": key, "file": file.path(), "rotated": rotate }));
    } else {
        println!("{key}");
    }
    Ok(ExitCode::SUCCESS)
}
