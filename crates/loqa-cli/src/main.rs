//! `loqa`: the hub without a window, and the tool for scripts.
//!
//! Every command takes `--json`; its shapes stand in `docs/cli.md`. Exit codes:
//! 0 done, 1 it went wrong and the message says how, 2 the arguments are wrong.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on stops"))]
#![expect(clippy::print_stdout, reason = "a command line program speaks on standard output")]

mod command;
mod sound;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use loqa_hub::config::Config;
use loqa_hub::paths::Paths;
use std::path::PathBuf;
use std::process::ExitCode;

/// A voice assistant on your own machine.
#[derive(Debug, Parser)]
#[command(name = "loqa", version, about, propagate_version = true)]
struct Arguments {
    /// Answer in JSON; the last line of standard output is one object.
    #[arg(long, global = true)]
    json: bool,
    /// Configuration file; `loqa.toml` in the user's configuration folder by default.
    #[arg(long, global = true, value_name = "FILE", env = "LOQA_CONFIG")]
    config: Option<PathBuf>,
    /// Set one configuration key, for example `--set stt.threads=2`; may be repeated.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Log filter, for example `info` or `loqa_hub=debug`.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one spoken turn with the bundled models and show where the time went.
    Demo(command::demo::Demo),
    /// Ask something in text: the running hub, or one started for it.
    Ask(command::ask::Ask),
    /// Run the hub until it is interrupted.
    Serve(command::serve::Serve),
    /// Where the HTTP API of the running hub is.
    Api {
        #[command(subcommand)]
        action: command::api::Action,
    },
    /// The key to talk to the running app, for desktops without global hotkeys.
    Ptt {
        /// What happens to the key.
        key: command::ptt::Key,
    },
    /// Show the engines of the running hub.
    Nodes,
    /// Show, fetch, check and choose models.
    Models {
        #[command(subcommand)]
        action: command::models::Action,
    },
    /// Make, check, install and look after skills, and what they may do.
    Skill {
        #[command(subcommand)]
        action: command::skill::Action,
    },
    /// Show and check the record of who did what, and of every byte that left.
    Audit {
        #[command(subcommand)]
        action: command::audit::Action,
    },
    /// Show, search, export and delete what was said and answered.
    Sessions {
        #[command(subcommand)]
        action: command::sessions::Action,
    },
    /// Run kept sessions again through other models or skills, acting on nothing, and show what differs.
    Replay(command::replay::Replay),
    /// Check, back up, restore and wipe the file in which sessions are kept.
    Store {
        #[command(subcommand)]
        action: command::store::Action,
    },
    /// Keep nothing while somebody else speaks.
    Guest {
        /// `on`, `off` or `status`.
        action: command::store::Guest,
    },
    /// The key of the OpenAI-compatible server.
    Openai {
        #[command(subcommand)]
        action: command::openai::Action,
    },
    /// Show the configuration.
    Config {
        #[command(subcommand)]
        action: command::config::Action,
    },
    /// Check every part of the installation and say what to do.
    Doctor,
    /// Measure how well a model hears, plans or speaks, on your own examples.
    Eval(command::eval::Eval),
    /// Measure.
    Bench {
        #[command(subcommand)]
        what: command::bench::What,
    },
}

/// What every command needs.
pub struct Session {
    /// The configuration.
    pub config: Config,
    /// Resolved folders.
    pub paths: Paths,
    /// Whether to answer in JSON.
    pub json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.json;
    match run(arguments) {
        Ok(code) => code,
        Err(e) => {
            let text = format!("{e:#}");
            if json {
                println!("{}", serde_json::json!({ "error": text }));
            }
            eprintln!("loqa: {text}");
            ExitCode::from(if e.downcast_ref::<BadArguments>().is_some() { 2 } else { 1 })
        }
    }
}

/// Marks an error as the user's own: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadArguments(pub String);

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // reqwest has no cryptography of its own in this build; telemetry and remote models need one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = load_config(&arguments)?;
    let filter = arguments.log.clone().unwrap_or_else(|| config.text("telemetry.log").to_owned());
    let telemetry = loqa_telemetry::Options {
        json: config.bool("telemetry.json"),
        filter: Some(filter),
        otlp_endpoint: config.text_if_set("telemetry.otlp_endpoint").map(str::to_owned),
    };
    let paths = Paths::resolve(&config)?;
    let session = Session { config, paths, json: arguments.json };
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    let code = runtime.block_on(async {
        // The exporters need the runtime.
        let _telemetry = loqa_telemetry::init("loqa", &telemetry)?;
        match arguments.command {
            Command::Demo(demo) => demo.run(session).await,
            Command::Ask(ask) => ask.run(session).await,
            Command::Serve(serve) => serve.run(session).await,
            Command::Api { action } => command::api::run(&session, &action),
            Command::Ptt { key } => command::ptt::run(&session, key).await,
            Command::Nodes => command::nodes::run(&session).await,
            Command::Models { action } => command::models::run(&session, action).await,
            Command::Skill { action } => command::skill::run(&session, action).await,
            Command::Audit { action } => command::audit::run(&session, action).await,
            Command::Sessions { action } => command::sessions::run(&session, action).await,
            Command::Replay(replay) => replay.run(session).await,
            Command::Store { action } => command::store::run(&session, action).await,
            Command::Guest { action } => command::store::guest(&session, action).await,
            Command::Openai { action } => command::openai::run(&session, &action),
            Command::Config { action } => command::config::run(&session, &action),
            Command::Doctor => command::doctor::run(&session).await,
            Command::Eval(eval) => eval.run(session).await,
            Command::Bench { what } => command::bench::run(session, what).await,
        }
    });
    // A blocking call that hangs must not keep the program.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    code
}

fn load_config(arguments: &Arguments) -> anyhow::Result<Config> {
    let default = loqa_hub::paths::default_config_file();
    let file = match (&arguments.config, &default) {
        (Some(path), _) => Some((path.as_path(), true)),
        (None, Some(path)) => Some((path.as_path(), false)),
        (None, None) => None,
    };
    Ok(Config::load(file, std::env::vars(), &arguments.set).map_err(|e| BadArguments(e.to_string()))?)
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
        .ok_or_else(|| "expected KEY=VALUE".to_owned())
}
