//! `loqa config show`: the configuration that is in force, and where it comes from.

use crate::Session;
use clap::Subcommand;
use loqa_hub::config::KEYS;
use std::process::ExitCode;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Print every key with its value.
    Show {
        /// Also say where each value comes from.
        #[arg(long)]
        origin: bool,
    },
}

/// Runs the command.
pub fn run(session: &Session, action: &Action) -> anyhow::Result<ExitCode> {
    let Action::Show { origin } = action;
    if session.json {
        println!("{}", session.config.to_json(*origin));
        return Ok(ExitCode::SUCCESS);
    }
    for (name, value, from) in session.config.entries() {
        if *origin {
            println!("{name} = {value}  # {from}");
        } else {
            let doc = KEYS.iter().find(|key| key.name == name).map_or("", |key| key.doc);
            println!("{name} = {value}  # {doc}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
