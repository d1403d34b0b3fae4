//! `loqa skill …`: skills and what they may do.

mod grants;

use crate::Session;
use clap::Subcommand;
use std::process::ExitCode;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    #[command(flatten)]
    Grants(grants::Action),
}

/// Runs the command.
pub async fn run(session: &Session, action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Grants(action) => grants::run(session, action).await,
    }
}
