//! `loqa skill upgrade FILE|NAME`: takes a newer version by itself where it may do no more
//! than the old one, and asks otherwise; a version that was not agreed to waits.

use super::{finish, installed, is_agreed, now_ms, open_package};
use crate::Session;
use anyhow::bail;
use clap::Args;
use loqa_skills::installed::{Upgraded, Version};
use loqa_skills::manifest::is_skill_name;
use loqa_skills::sheet;
use loqa_skills::upgrade::{Decision, Difference};
use std::path::Path;
use std::process::ExitCode;

/// Arguments of `loqa skill upgrade`.
#[derive(Debug, Args)]
pub struct Upgrade {
    /// A package, or the name of a skill whose new version waits for an answer.
    #[arg(value_name = "FILE|NAME")]
    what: String,
    /// Agree to the differences without being asked.
    #[arg(long)]
    yes: bool,
}

impl Upgrade {
    /// Runs the command.
    pub async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        if is_skill_name(&self.what) && !Path::new(&self.what).is_file() {
            return self.accept_staged(session).await;
        }
        let package = open_package(Path::new(&self.what))?;
        let manifest = package.manifest();
        let store = installed(session);
        let agreed = match store.consider(&package)? {
            None => bail!("skill `{}` is not installed; use `loqa skill install {}`", manifest.name, self.what),
            Some(Decision::Ask(differences)) if self.agrees(session, &differences, &manifest.permissions)? => {
                differences
            }
            Some(_) => Vec::new(),
        };
        let (outcome, text) = match store.upgrade(&package, &agreed, now_ms())? {
            Upgraded::Same => ("same", format!("`{}` {} is installed already", manifest.name, manifest.version)),
            Upgraded::Replaced => ("replaced", format!("`{}` is upgraded to {}", manifest.name, manifest.version)),
            Upgraded::Staged(_) => {
                ("staged", format!("the old version goes on; `loqa skill upgrade {}` asks again", manifest.name))
            }
            Upgraded::Refused(refusal) => bail!("`{}` {} is not taken: {refusal}", manifest.name, manifest.version),
        };
        let differences = match store.consider(&package)? {
            Some(Decision::Ask(differences)) => lines(&differences),
            _ => Vec::new(),
        };
        let result = serde_json::json!({
            "name": manifest.name, "version": manifest.version.to_string(), "outcome": outcome,
            "digest": package.digest(), "publisher": package.publisher(), "differences": differences,
        });
        finish(session, result, &text).await
    }

    async fn accept_staged(&self, session: &Session) -> anyhow::Result<ExitCode> {
        let store = installed(session);
        let (staged, decision) = store.consider_staged(&self.what)?;
        let differences = match decision {
            Decision::Ask(differences) => differences,
            Decision::Replace | Decision::Same => Vec::new(),
            Decision::Refuse(refusal) => bail!("`{}` {} is not taken: {refusal}", staged.name, staged.version),
        };
        let Version { name, version, digest, publisher, .. } = &staged;
        let is_taken = self.agrees(session, &differences, &staged.requested())?;
        if is_taken {
            store.accept_staged(name, digest, now_ms())?;
        }
        let (outcome, text) = if is_taken {
            ("replaced", format!("`{name}` is upgraded to {version}"))
        } else {
            ("staged", "the old version goes on".to_owned())
        };
        let result = serde_json::json!({
            "name": name, "version": version.to_string(), "outcome": outcome, "digest": digest,
            "publisher": publisher, "differences": lines(&differences),
        });
        finish(session, result, &text).await
    }

    fn agrees(
        &self,
        session: &Session,
        differences: &[Difference],
        requested: &[loqa_skills::permission::Requested],
    ) -> anyhow::Result<bool> {
        if !session.json {
            println!("This version differs from the one that you agreed to:");
            for line in lines(differences) {
                println!("  - {line}");
            }
            println!("{}", sheet::permissions("With your yes it", requested).join("\n"));
        }
        Ok(self.yes || is_agreed("Use it?")?)
    }
}

fn lines(differences: &[Difference]) -> Vec<String> {
    differences.iter().map(ToString::to_string).collect()
}
