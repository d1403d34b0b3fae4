//! `loqa skill install FILE`: shows the permission sheet, asks, installs.

use super::{bundled_names, finish, installed, is_agreed, now_ms, open_package};
use crate::{BadArguments, Session};
use anyhow::bail;
use clap::Args;
use loqa_skills::sheet;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `loqa skill install`.
#[derive(Debug, Args)]
pub struct Install {
    /// The package.
    file: PathBuf,
    /// Agree to the permission sheet without being asked.
    #[arg(long)]
    yes: bool,
}

impl Install {
    /// Runs the command.
    pub async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let package = open_package(&self.file)?;
        let manifest = package.manifest();
        if bundled_names(session).contains(&manifest.name) {
            bail!("`{}` is the name of a bundled skill; the package needs another name", manifest.name);
        }
        let store = installed(session);
        if store.index()?.skills.contains_key(&manifest.name) {
            bail!("skill `{0}` is installed already; use `loqa skill upgrade {1}`", manifest.name, self.file.display());
        }
        if !session.json {
            println!("{}", sheet::text(&package));
        }
        if !self.yes && !is_agreed("Install it?")? {
            return Err(BadArguments("not installed; `--yes` agrees to the permission sheet".to_owned()).into());
        }
        store.install(&package, now_ms())?;
        let result = serde_json::json!({
            "name": manifest.name, "version": manifest.version.to_string(), "digest": package.digest(),
            "publisher": package.publisher(), "permissions": sheet::lines(&manifest.permissions),
        });
        finish(session, result, &format!("installed `{}` {}", manifest.name, manifest.version)).await
    }
}
