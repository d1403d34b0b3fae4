//! `loqa replay`: runs kept sessions again, through other models or skills, on a hub of
//! its own that acts on nothing and keeps nothing.

use super::store::reader;
use crate::{BadArguments, Session};
use anyhow::{Context as _, bail};
use clap::Args;
use loqa_hub::replay::{self, Difference, Recorded, ReplayError, Replayed, Through};
use loqa_protocol::SessionId;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `loqa replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// The kept session to run again.
    #[arg(required_unless_present = "suite")]
    session: Option<SessionId>,
    /// Run all sessions of all `*.jsonl` files of a folder, as `loqa sessions export` writes them.
    #[arg(long, value_name = "DIR", conflicts_with = "session")]
    suite: Option<PathBuf>,
    /// Catalog name of the speech recognition model, for turns that have a recording.
    #[arg(long, value_name = "MODEL")]
    stt: Option<String>,
    /// Catalog name of a language model; may be repeated, best first.
    #[arg(long, value_name = "MODEL")]
    llm: Vec<String>,
    /// Use only that of the language models which offers this capability, for example `llm.reflex`.
    #[arg(long, value_name = "CAPABILITY")]
    tier: Option<String>,
    /// Load the skill in this folder, in place of a bundled one of the same folder name; may be repeated.
    #[arg(long, value_name = "DIR")]
    skill: Vec<PathBuf>,
    /// The reply must have the same words too.
    #[arg(long)]
    strict: bool,
}

impl Replay {
    /// Runs the command.
    pub async fn run(self, session: Session) -> anyhow::Result<ExitCode> {
        let recorded = match (&self.session, &self.suite) {
            (Some(of), _) => vec![(of.to_string(), replay::from_store(&reader(&session)?, of)?)],
            (None, Some(folder)) => suite(folder)?,
            (None, None) => bail!(BadArguments("give a session or --suite DIR".to_owned())),
        };
        let through =
            Through { stt: self.stt, llm: self.llm, tier: self.tier, skills: self.skill, strict: self.strict };
        let (json, strict) = (session.json, self.strict);
        let tell = |replayed: &Replayed| {
            if !json {
                println!("{}", replayed.name);
                replayed.turns.iter().for_each(|difference| show(difference, strict));
            }
        };
        // Control-C ends this program, and with it all that it started.
        let never = std::future::pending();
        let report = replay::run(session.config, session.paths, &recorded, &through, never, tell).await;
        let report = report.map_err(|error| match error {
            ReplayError::Unfit(message) => anyhow::Error::from(BadArguments(message)),
            other => other.into(),
        })?;
        for (capability, reason) in &report.missing {
            eprintln!("loqa: {capability} is not available: {reason}");
        }
        if json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            println!("{} of {} turns came out differently", report.different, report.turns);
        }
        Ok(if report.different == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

/// The sessions of all files of a folder, in the order of the files' names.
fn suite(folder: &Path) -> anyhow::Result<Vec<(String, Recorded)>> {
    let entries = std::fs::read_dir(folder)
        .map_err(|e| BadArguments(format!("--suite: read folder `{}`: {e}", folder.display())))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .collect();
    files.sort();
    let mut recorded = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).with_context(|| format!("read `{}`", file.display()))?;
        let sessions = replay::from_lines(&text).map_err(|e| BadArguments(format!("{}: {e}", file.display())))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        recorded.extend(sessions.into_iter().map(|one| (format!("{name} {}", one.session), one)));
    }
    if recorded.is_empty() {
        bail!(BadArguments(format!(
            "--suite: no sessions in `{}`: `loqa sessions export` writes them",
            folder.display()
        )));
    }
    Ok(recorded)
}

fn show(difference: &Difference, strict: bool) {
    let mark = if difference.is_same(strict) { "same     " } else { "DIFFERENT" };
    let latency = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
    let times = &difference.latency_ms;
    println!(
        "  {mark} {}  {}, took {:.0} ms, first sound {} → {}",
        difference.turn,
        if difference.spoken { "heard again" } else { "typed again" },
        difference.took_ms,
        latency(times.before),
        latency(times.after)
    );
    let line = |what: &str, same: bool, before: &str, after: &str| {
        if !same {
            println!("    {what:<11} - {}", before.escape_debug());
            println!("    {:<11} + {}", "", after.escape_debug());
        }
    };
    let call = |call: &Option<loqa_protocol::ToolCall>| serde_json::to_string(call).unwrap_or_default();
    let failure = |it: &Option<loqa_protocol::Failure>| it.as_ref().map_or_else(String::new, ToString::to_string);
    line("transcript", difference.transcript.same, &difference.transcript.before, &difference.transcript.after);
    line("tool", difference.tool.same, &call(&difference.tool.before), &call(&difference.tool.after));
    line("reply", difference.reply.same, &difference.reply.before, &difference.reply.after);
    line("failure", difference.failure.same, &failure(&difference.failure.before), &failure(&difference.failure.after));
}
