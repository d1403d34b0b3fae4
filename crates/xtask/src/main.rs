//! Automation for developers and for set-up that must also run on Windows: builds
//! the WASM skills, holds the repository to its own rules, keeps the model
//! catalogue true. `cargo xtask --help` lists the commands.
//!
//! Deliberately absent: anything a user needs at run time.

#![expect(clippy::print_stdout, reason = "a command-line program")]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on may stop"))]

mod evaluate;
mod metadata;
mod models;
mod skills;
mod tidy;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Automation for developers and for set-up")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the bundled skills to WebAssembly, where their sources are newer than what is built.
    Skills,
    /// Check the rules that neither rustc nor clippy knows.
    Tidy,
    /// Compare the bundled files of models/catalog.toml with their sizes and digests.
    Models {
        /// Write the sizes and digests of the files as they are.
        #[arg(long)]
        update: bool,
    },
    /// Measure the starter models and write models/EVALUATION.md.
    Evaluate,
}

fn main() -> ExitCode {
    let root = workspace_root();
    let result = match Arguments::parse().command {
        Command::Skills => skills::run(&root),
        Command::Tidy => tidy::run(&root),
        Command::Evaluate => evaluate::run(&root),
        Command::Models { update } => models::run(&root, update),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root: two levels above this package.
fn workspace_root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).expect("the package lies in crates/xtask").to_owned()
}
