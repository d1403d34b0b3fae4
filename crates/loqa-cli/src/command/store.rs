//! `loqa store`: looks after the file in which sessions are kept. `check` and `backup`
//! work beside a running hub, `wipe` through it, `restore` without one.

use super::nodes;
use crate::{BadArguments, Session};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use loqa_audit::{Audit, Options};
use loqa_hub::paths::DataLock;
use loqa_hub::privacy::{self, Privacy};
use loqa_protocol::client::{StoreReply, StoreRequest};
use loqa_protocol::subject;
use loqa_store::{FILE_NAME, Reader, Store, StoreError, StoreOptions};
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What to do with the store.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Check the pages of the file, and say what is in it.
    Check {
        /// Every row and every index; takes longer.
        #[arg(long)]
        thorough: bool,
        /// Another file than the one in use, for example one that was put aside.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Copy everything to a new file that only you can read.
    Backup {
        /// The new file.
        file: PathBuf,
    },
    /// Put a backup in the place of the store; the hub must not run.
    Restore {
        /// The backup.
        file: PathBuf,
    },
    /// Remove everything that was said and answered, for good, with a row in the audit.
    Wipe {
        /// Do it.
        #[arg(long)]
        yes: bool,
    },
}

/// What to do with guest mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Guest {
    /// Keep nothing from the next turn on.
    On,
    /// Keep turns as configured again.
    Off,
    /// Say whether it is on.
    Status,
}

/// Wiping a large file takes a while; this bounds the wait for a hub that hangs.
const PATIENCE: Duration = Duration::from_mins(10);

/// Runs the command.
pub async fn run(session: &Session, action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Check { thorough, file } => check(session, thorough, file),
        Action::Backup { file } => {
            let with_key = reader(session)?.backup(&file)?;
            if session.json {
                println!("{}", json!({ "backup": file, "with_key": with_key }));
            } else {
                println!("everything is in `{}`", file.display());
                if with_key {
                    println!("recordings are readable with `{}.key` only: keep the two together", file.display());
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Action::Restore { file } => restore(session, &file),
        Action::Wipe { yes } => wipe(session, yes).await,
    }
}

/// Runs `loqa guest`.
pub async fn guest(session: &Session, action: Guest) -> anyhow::Result<ExitCode> {
    let on = match action {
        Guest::On => Some(true),
        Guest::Off => Some(false),
        Guest::Status => None,
    };
    let StoreReply::Guest { on, scope } = ask(session, StoreRequest::Guest { on }).await? else {
        bail!("an answer to another request")
    };
    if session.json {
        println!("{}", json!({ "guest": on, "scope": scope }));
    } else if on {
        println!("guest mode is on: nothing is kept of what is said");
    } else {
        println!("guest mode is off: turns are {scope}");
    }
    Ok(ExitCode::SUCCESS)
}

fn check(session: &Session, thorough: bool, file: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let path = file.unwrap_or_else(|| path(session));
    let opened = Reader::open(&path);
    let (fault, counts) = match &opened {
        Ok(reader) => {
            let fault = reader.check(thorough)?;
            (fault, reader.counts().ok())
        }
        Err(StoreError::Damaged { reason } | StoreError::Sqlite(reason)) => (Some(reason.clone()), None),
        Err(error) => return Err(error.clone().into()),
    };
    if session.json {
        println!("{}", json!({ "ok": fault.is_none(), "fault": fault, "file": path, "rows": counts }));
    } else {
        match &fault {
            None => println!("`{}` is sound", path.display()),
            Some(fault) => eprintln!("loqa: `{}` is damaged: {fault}", path.display()),
        }
        if let Some(counts) = &counts {
            println!(
                "{} sessions, {} turns, {} events, {} recordings, {} bytes",
                counts.sessions, counts.turns, counts.events, counts.recordings, counts.bytes
            );
        }
    }
    Ok(if fault.is_none() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn restore(session: &Session, file: &Path) -> anyhow::Result<ExitCode> {
    session.paths.prepare()?;
    let _lock = DataLock::take(&session.paths.data)?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let replaced = loqa_store::restore(file, &path(session), i64::try_from(now_ms).unwrap_or(i64::MAX))?;
    if session.json {
        println!("{}", json!({ "restored": file, "replaced": replaced }));
    } else {
        println!("`{}` is in place", file.display());
        if let Some(replaced) = replaced {
            println!("what was there is in `{}`, for seven days", replaced.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn wipe(session: &Session, yes: bool) -> anyhow::Result<ExitCode> {
    if !yes {
        let counts = reader(session)?.counts()?;
        bail!(BadArguments(format!(
            "this removes {} sessions with {} turns for good: add `--yes` to do it",
            counts.sessions, counts.turns
        )));
    }
    let StoreReply::Erased { erased } = ask(session, StoreRequest::Wipe).await? else {
        bail!("an answer to another request")
    };
    if session.json {
        println!("{}", json!({ "erased": erased }));
    } else {
        println!(
            "{} sessions with {} turns are removed; the audit says so: `loqa audit list --kind store.wipe`",
            erased["before"]["sessions"], erased["before"]["turns"]
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The file of the data folder.
fn path(session: &Session) -> PathBuf {
    session.paths.data.join(FILE_NAME)
}

/// Reads the file of the data folder, beside a hub or without one.
pub(super) fn reader(session: &Session) -> anyhow::Result<Reader> {
    Ok(Reader::open(&path(session))?)
}

/// Asks the running hub, or does it here when none runs: only one process writes.
pub(super) async fn ask(session: &Session, request: StoreRequest) -> anyhow::Result<StoreReply> {
    let reply = match nodes::connect(session).await? {
        Some(bus) => bus.request(subject::HUB_STORE, &request, PATIENCE).await.context("ask the running hub")?,
        None => {
            session.paths.prepare()?;
            let _lock = DataLock::take(&session.paths.data)?;
            let store = Store::open(StoreOptions::file(path(session)))?;
            let privacy = Privacy::new(&session.config, store);
            let audit = Audit::open(&session.paths.data, Options::default())?;
            privacy::answer(&privacy, &audit, request)
        }
    };
    match reply {
        StoreReply::Refused { failure } => bail!("{}", failure.message),
        reply => Ok(reply),
    }
}

/// A new file that only the user can read.
pub(super) fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}
