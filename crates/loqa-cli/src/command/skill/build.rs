//! `loqa skill build` and `loqa skill pack`: from sources to a folder, from a folder to a file.

use crate::{BadArguments, Session};
use anyhow::{Context as _, bail};
use clap::Args;
use loqa_skills::manifest::{self, Manifest};
use loqa_skills::package::{EXTENSION, Package, PublisherKey, pack};
use loqa_wasm::{Lock, compile, modules, place};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Folder of a built skill, below its own.
const DIST: &str = "dist";
/// What goes into a package besides manifest and module, where it is there.
const COMPANIONS: &[&str] = &["README.md", "icon.png", "LICENSE", "LICENSE-MIT", "LICENSE-APACHE"];

/// Arguments of `loqa skill pack`.
#[derive(Debug, Args)]
pub struct Pack {
    /// The skill's folder; what is packed is its `dist`, or the folder itself where there is none.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Sign with this key, see `loqa skill key new`.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The package to write; by default NAME-VERSION.loqaskill in the current folder.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs `loqa skill build`.
pub fn run(session: &Session, path: &Path) -> anyhow::Result<ExitCode> {
    let folder = std::fs::canonicalize(path).map_err(|e| BadArguments(format!("find `{}`: {e}", path.display())))?;
    let manifest = read_manifest(&folder)?;
    if !folder.join("Cargo.toml").is_file() {
        bail!("`{}` has no Cargo.toml; build the module yourself and put it beside skill.yaml", folder.display());
    }
    let target_dir = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => std::env::current_dir().context("find the current folder")?.join(dir).join("skills"),
        None => folder.join("target"),
    };
    compile(&folder, &target_dir, Lock::Free)?;
    let crate_file = manifest.module.replace('-', "_");
    let compiled = modules(&target_dir).join(&crate_file);
    if !compiled.is_file() {
        let package = manifest.module.trim_end_matches(".wasm");
        bail!(
            "no `{crate_file}` was built; name the package in Cargo.toml `{package}`, or change `module` in skill.yaml"
        );
    }
    let dist = folder.join(DIST);
    std::fs::create_dir_all(&dist).with_context(|| format!("make `{}`", dist.display()))?;
    place(&compiled, &dist.join(&manifest.module))?;
    place(&folder.join(manifest::FILE_NAME), &dist.join(manifest::FILE_NAME))?;
    for companion in COMPANIONS.iter().filter(|companion| folder.join(companion).is_file()) {
        place(&folder.join(companion), &dist.join(companion))?;
    }
    let module = dist.join(&manifest.module);
    let bytes = std::fs::read(&module).with_context(|| format!("read `{}`", module.display()))?;
    loqa_skills::package::check_code(&manifest, &bytes)?;
    if session.json {
        let sha256 = hex::encode(Sha256::digest(&bytes));
        println!("{}", serde_json::json!({ "module": module, "bytes": bytes.len(), "sha256": sha256 }));
    } else {
        println!("built {} ({} bytes)", module.display(), bytes.len());
    }
    Ok(ExitCode::SUCCESS)
}

impl Pack {
    /// Runs `loqa skill pack`.
    pub fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let built = self.path.join(DIST);
        let folder = if built.join(manifest::FILE_NAME).is_file() { built } else { self.path };
        let key = self.key.as_deref().map(PublisherKey::load).transpose().map_err(|e| BadArguments(e.to_string()))?;
        let bytes = pack(&folder, key.as_ref()).map_err(|e| BadArguments(format!("`{}`: {e}", folder.display())))?;
        let package = Package::read(&bytes)?;
        package.check_code()?;
        let manifest = package.manifest();
        let out =
            self.out.unwrap_or_else(|| PathBuf::from(format!("{}-{}.{EXTENSION}", manifest.name, manifest.version)));
        std::fs::write(&out, &bytes).with_context(|| format!("write `{}`", out.display()))?;
        if session.json {
            let (digest, publisher) = (package.digest(), package.publisher());
            println!(
                "{}",
                serde_json::json!({ "package": out, "bytes": bytes.len(), "digest": digest, "publisher": publisher })
            );
        } else {
            let signed = if package.publisher().is_some() { "signed" } else { "not signed" };
            println!("packed {} ({} bytes, {signed})", out.display(), bytes.len());
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn read_manifest(folder: &Path) -> anyhow::Result<Manifest> {
    let file = folder.join(manifest::FILE_NAME);
    let bytes = std::fs::read(&file).map_err(|e| BadArguments(format!("read `{}`: {e}", file.display())))?;
    Ok(Manifest::parse(&file, &bytes).map_err(|faults| BadArguments(faults.to_string()))?)
}
