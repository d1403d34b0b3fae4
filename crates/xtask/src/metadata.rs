//! The part of `cargo metadata` that the checks need.

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

/// All packages of a workspace, its own and foreign ones.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// Every package that any feature or target can bring in.
    pub packages: Vec<Package>,
}

/// One package.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Where it comes from; `None` for our own.
    pub source: Option<String>,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
}

/// One entry of a package's dependency tables.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// Name of the other package.
    pub name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    pub kind: Option<String>,
}

/// Reads the metadata of the workspace in `folder`; needs no network once its
/// crates are downloaded.
///
/// # Errors
/// Cargo cannot be run or refuses the workspace.
pub fn read(folder: &Path) -> anyhow::Result<Metadata> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .output()
        .context("run `cargo metadata`")?;
    ensure!(output.status.success(), "`cargo metadata` says: {}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).context("read what `cargo metadata` wrote")
}
