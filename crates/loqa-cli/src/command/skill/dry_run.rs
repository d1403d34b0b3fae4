//! `loqa skill dry-run`: what a skill would do, without its being done.

use super::installed;
use crate::{BadArguments, Session};
use anyhow::Context as _;
use clap::Args;
use loqa_protocol::ToolCall;
use loqa_skills::SystemClock;
use loqa_skills::dry_run::{self, Input, Outside, Recorded, Report};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Arguments of `loqa skill dry-run`.
#[derive(Debug, Args)]
pub struct DryRun {
    /// A skill's folder, or the name of an installed skill.
    skill: String,
    #[command(flatten)]
    input: Given,
    /// Arguments of the tool, a JSON object.
    #[arg(long, value_name = "JSON", requires = "tool")]
    args: Option<String>,
    /// Answer what reaches outside with a stand-in, instead of refusing it.
    #[arg(long)]
    simulate: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Given {
    /// Call this tool.
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// Say this to the skill's own utterances.
    #[arg(long)]
    text: Option<String>,
    /// Give the lines of a file: texts, calls, events, answers, or recorded events of turns.
    #[arg(long, value_name = "FILE")]
    recorded: Option<PathBuf>,
}

impl DryRun {
    /// Runs the command. Exit code 1 when the skill failed.
    pub fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let recorded = self.read_input()?;
        let folder = self.folder(session)?;
        let outside = if self.simulate { Outside::Simulated } else { Outside::Refused };
        let dry_run = dry_run::DryRun::open(&folder, Some(&session.paths.data), Arc::new(SystemClock), outside)?;
        let mut inputs = Vec::new();
        for line in recorded {
            match line {
                Recorded::Input(input) => inputs.push(input),
                Recorded::Answer(function, value) => dry_run.answer(function, value),
            }
        }
        let reports = inputs.iter().map(|input| dry_run.run(input)).collect::<Vec<_>>();
        if session.json {
            println!("{}", json!({ "skill": self.skill, "outside": outside, "runs": reports }));
        } else {
            reports.iter().for_each(print_report);
        }
        let failed = reports.iter().any(|report| report.failure.is_some());
        Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }

    fn read_input(&self) -> anyhow::Result<Vec<Recorded>> {
        let Given { tool, text, recorded } = &self.input;
        if let Some(file) = recorded {
            let lines = std::fs::read_to_string(file).with_context(|| format!("read `{}`", file.display()))?;
            return dry_run::read_recorded(&lines)
                .map_err(|fault| BadArguments(format!("{}: {fault}", file.display())).into());
        }
        let input = match (tool, text) {
            (Some(name), _) => {
                let text = self.args.as_deref().unwrap_or("{}");
                let arguments = serde_json::from_str::<Map<String, Value>>(text)
                    .map_err(|error| BadArguments(format!("--args is no JSON object: {error}")))?;
                Input::Tool(ToolCall { name: name.clone(), arguments })
            }
            (None, Some(text)) => Input::Text(text.clone()),
            (None, None) => return Err(BadArguments("give --tool, --text or --recorded".to_owned()).into()),
        };
        Ok(vec![Recorded::Input(input)])
    }

    fn folder(&self, session: &Session) -> anyhow::Result<PathBuf> {
        let given = Path::new(&self.skill);
        for folder in [given.to_owned(), given.join("dist")] {
            let has_module = std::fs::read_dir(&folder).is_ok_and(|mut entries| {
                entries.any(|entry| entry.is_ok_and(|entry| entry.path().extension().is_some_and(|it| it == "wasm")))
            });
            if folder.join(loqa_skills::manifest::FILE_NAME).is_file() && has_module {
                return Ok(folder);
            }
        }
        let installed = installed(session);
        if let Some(skill) = installed.index()?.skills.get(&self.skill) {
            return Ok(installed.folder(&self.skill, &skill.current));
        }
        let bundled = session
            .paths
            .skills
            .iter()
            .find(|folder| loqa_skills::identify(folder).is_ok_and(|(manifest, _)| manifest.name == self.skill));
        bundled.cloned().ok_or_else(|| {
            BadArguments(format!("`{}` is neither the folder of a built skill nor the name of one", self.skill)).into()
        })
    }
}

fn print_report(report: &Report) {
    println!("{}", report.trigger.escape_debug());
    for (idx, step) in report.steps.iter().enumerate() {
        let grant = serde_json::to_value(step.grant).ok();
        let grant = grant.as_ref().and_then(Value::as_str).unwrap_or_default().replace('_', " ");
        let reach = if step.outside { "outside" } else { "inside" };
        println!("  {:>2}. {}", idx + 1, step.what);
        println!("      {} ({}, {grant}), {reach}: {}", step.permission, step.tier, step.decision);
    }
    if let Some(outcome) = &report.outcome {
        println!("  says: {}", if outcome.say.is_empty() { "(nothing)" } else { &outcome.say });
    }
    if let Some(failure) = &report.failure {
        println!("  failed: {failure}");
    }
}
