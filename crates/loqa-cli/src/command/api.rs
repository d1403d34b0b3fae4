//! `loqa api url`: where the HTTP API of the running hub is. The token itself is never
//! printed; programs read it from its file.

use crate::Session;
use anyhow::Context as _;
use clap::Subcommand;
use loqa_hub::paths::running_hub;
use std::process::ExitCode;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Print the address of the running hub's API, and the file that holds its token.
    Url,
}

/// Runs the command.
pub fn run(session: &Session, action: &Action) -> anyhow::Result<ExitCode> {
    let Action::Url = action;
    let hub = running_hub(&session.paths.data).context("no hub is running, start one with `loqa serve`")?;
    let api = hub.api.context("the running hub has no HTTP API: set `api.enabled` to true and start it again")?;
    if session.json {
        println!("{}", serde_json::json!({ "url": api.url, "token_file": api.token_file }));
    } else {
        println!("{}", api.url);
        println!("the token is in {}", api.token_file.display());
    }
    Ok(ExitCode::SUCCESS)
}
