//! `loqa skill …`: making, checking, installing and looking after skills.
//!
//! These commands work on files and on the store of installed skills. A hub that runs on
//! the same data folder is told to look again, and puts what happened into the audit.

mod build;
mod check;
mod dry_run;
mod grants;
mod install;
mod key;
mod list;
mod new;
mod secret;
mod switch;
mod upgrade;

use crate::Session;
use crate::command::nodes;
use anyhow::Context as _;
use clap::Subcommand;
use loqa_protocol::client::{SkillsReply, SkillsRequest};
use loqa_protocol::subject;
use loqa_skills::{Clock as _, Installed, Package, SystemClock};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make a new skill in Rust, in a folder of its name.
    New(new::New),
    /// Report every fault of a skill's manifest, or of a package.
    Validate {
        /// A skill's folder, its skill.yaml, or a package.
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Print the JSON Schema of skill.yaml.
    Schema,
    /// Compile a skill to WebAssembly, into its folder `dist`.
    Build {
        /// The skill's folder.
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Put a built skill into one file.
    Pack(build::Pack),
    /// Make a key to sign packages with.
    Key {
        #[command(subcommand)]
        action: key::Action,
    },
    /// Show what a package may do, ask, and install it.
    Install(install::Install),
    /// Take a newer version of an installed skill, or one that waits for an answer.
    Upgrade(upgrade::Upgrade),
    /// Return to the version before.
    Rollback {
        /// Name of the skill.
        name: String,
    },
    /// List the skills.
    List,
    /// Show one skill, and what it may do.
    Info {
        /// Name of the skill.
        name: String,
    },
    /// Have a skill loaded.
    Enable {
        /// Name of the skill.
        name: String,
    },
    /// Keep a skill, but do not load it.
    Disable {
        /// Name of the skill.
        name: String,
    },
    /// Remove a skill, its files and what it has kept.
    Remove {
        /// Name of the skill.
        name: String,
    },
    /// Run a skill without its acting on anything, and list what it would have done.
    DryRun(dry_run::DryRun),
    /// Keep the secrets that skills use and never see.
    Secret {
        #[command(subcommand)]
        action: secret::Action,
    },
    #[command(flatten)]
    Grants(grants::Action),
}

/// Longest wait for a hub that loads skills; compiling one takes well under a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the command.
pub async fn run(session: &Session, action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::New(new) => new.run(session),
        Action::Validate { path } => check::run(session, &path),
        Action::Schema => check::print_schema(),
        Action::Build { path } => build::run(session, &path),
        Action::Pack(pack) => pack.run(session),
        Action::Key { action } => key::run(session, &action),
        Action::Install(install) => install.run(session).await,
        Action::Upgrade(upgrade) => upgrade.run(session).await,
        Action::List => list::run(session).await,
        Action::Info { name } => list::info(session, &name).await,
        Action::Rollback { name } => switch::run(session, switch::Change::Rollback, &name).await,
        Action::Enable { name } => switch::run(session, switch::Change::Enable, &name).await,
        Action::Disable { name } => switch::run(session, switch::Change::Disable, &name).await,
        Action::DryRun(dry_run) => dry_run.run(session),
        Action::Secret { action } => secret::run(session, &action),
        Action::Grants(action) => grants::run(session, action).await,
        Action::Remove { name } => switch::run(session, switch::Change::Remove, &name).await,
    }
}

fn installed(session: &Session) -> Installed {
    Installed::in_data(&session.paths.data)
}

fn now_ms() -> i64 {
    SystemClock.wall_ms()
}

/// Reads a package; what is wrong with it is the file's fault, exit code 2.
fn open_package(path: &Path) -> anyhow::Result<Package> {
    let package = Package::open(path).map_err(|error| crate::BadArguments(format!("`{}`: {error}", path.display())))?;
    package.check_code().map_err(|error| crate::BadArguments(format!("`{}`: {error}", path.display())))?;
    Ok(package)
}

/// Asks a hub that runs on the data folder; `None` when none does.
async fn ask_hub(session: &Session, request: &SkillsRequest) -> anyhow::Result<Option<SkillsReply>> {
    let Some(bus) = nodes::connect(session).await? else { return Ok(None) };
    let reply = bus.request(subject::HUB_SKILLS, request, PATIENCE).await.context("ask the running hub")?;
    Ok(Some(reply))
}

/// Has a running hub look again, and says how that went. A skill that the hub cannot load
/// is a failure of the command: it is installed and does not run.
async fn tell_hub(session: &Session) -> anyhow::Result<(serde_json::Value, Option<String>)> {
    Ok(match ask_hub(session, &SkillsRequest::Reload).await? {
        None => (serde_json::json!("not_running"), None),
        Some(SkillsReply::Skills { not_loaded, .. }) if not_loaded.is_empty() => (serde_json::json!("reloaded"), None),
        Some(SkillsReply::Skills { not_loaded, .. }) => {
            let told = not_loaded.iter().map(|fault| format!("`{}` is not loaded: {}", fault.name, fault.reason));
            (serde_json::json!("reloaded"), Some(told.collect::<Vec<_>>().join("\n")))
        }
        Some(SkillsReply::Refused { failure }) => (serde_json::json!("refused"), Some(failure.to_string())),
    })
}

/// The end of a command that changed something: tells the hub and prints the result.
async fn finish(session: &Session, mut result: serde_json::Value, text: &str) -> anyhow::Result<ExitCode> {
    let (hub, trouble) = tell_hub(session).await?;
    if let Some(object) = result.as_object_mut() {
        object.insert("hub".to_owned(), hub);
        if let Some(trouble) = &trouble {
            object.insert("trouble".to_owned(), serde_json::json!(trouble));
        }
    }
    if session.json {
        println!("{result}");
    } else {
        println!("{text}");
    }
    if let Some(trouble) = &trouble {
        eprintln!("loqa: {trouble}");
    }
    Ok(if trouble.is_some() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Asks on the terminal; anything but a clear yes is a no, and so is no terminal.
fn is_agreed(question: &str) -> anyhow::Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Ok(false);
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush().context("ask on the terminal")?;
    let mut answer = String::new();
    input.read_line(&mut answer).context("read the answer")?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Names of the bundled skills, which an installed one may not take.
fn bundled_names(session: &Session) -> Vec<String> {
    loqa_hub::skills::bundled(&session.paths).into_iter().map(|(manifest, _)| manifest.name).collect()
}
