//! `loqa skill new NAME`: a skill that builds, validates and passes its own test, in a
//! folder that needs nothing of this repository: the SDK lies in it, as this program
//! carries it.

use super::check::schema_text;
use crate::{BadArguments, Session};
use anyhow::Context as _;
use clap::Args;
use loqa_skills::manifest::is_skill_name;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `loqa skill new`.
#[derive(Debug, Args)]
pub struct New {
    /// Name of the skill: 2 to 40 of a-z, 0-9 and -.
    name: String,
    /// Folder to make; by default the name, in the current folder.
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
    /// Who writes it.
    #[arg(long, default_value = "Me")]
    author: String,
}

/// The SDK's sources by their place in its folder.
const SDK: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));
const SDK_MANIFEST: &str = include_str!(concat!(env!("OUT_DIR"), "/sdk.toml"));
/// The versions that the bundled skills are built with; cargo drops what is not needed.
const LOCK: &str = include_str!(concat!(env!("OUT_DIR"), "/sdk.lock"));
const SDK_FOLDER: &str = "vendor/loqa-skill-sdk";

const TEMPLATE: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("template/Cargo.toml.txt")),
    ("skill.yaml", include_str!("template/skill.yaml.txt")),
    ("src/lib.rs", include_str!("template/lib.rs.txt")),
    ("README.md", include_str!("template/README.md.txt")),
    (".gitignore", "target/\ndist/\n*.loqaskill\n"),
];

impl New {
    /// Runs the command.
    pub fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let Self { name, path, author } = self;
        if !is_skill_name(&name) || name.starts_with(|first: char| first.is_ascii_digit()) {
            let what = format!("`{name}` cannot be the name: use 2 to 40 of a-z, 0-9 and -, beginning with a letter");
            return Err(BadArguments(what).into());
        }
        let folder = path.unwrap_or_else(|| PathBuf::from(&name));
        std::fs::create_dir(&folder)
            .with_context(|| format!("make the folder `{}`, which must not exist", folder.display()))?;
        let title = title(&name);
        // Quoted as JSON, which YAML reads as a text whatever it holds.
        let author = serde_json::to_string(&author).context("write the author")?;
        let mut files = Vec::new();
        let mut add = |path: String, text: &str| -> anyhow::Result<()> {
            write(&folder.join(&path), text)?;
            files.push(path);
            Ok(())
        };
        for (path, text) in TEMPLATE {
            let text = text.replace("{{name}}", &name).replace("{{title}}", &title).replace("{{author}}", &author);
            add((*path).to_owned(), &text)?;
        }
        add("skill.schema.json".to_owned(), &schema_text())?;
        add("Cargo.lock".to_owned(), LOCK)?;
        add(format!("{SDK_FOLDER}/Cargo.toml"), SDK_MANIFEST)?;
        for (path, text) in SDK {
            add(format!("{SDK_FOLDER}/{path}"), text)?;
        }
        if session.json {
            println!("{}", serde_json::json!({ "name": name, "folder": folder, "files": files }));
        } else {
            println!("made `{}`; next: edit src/lib.rs and skill.yaml, then `loqa skill build`", folder.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("make `{}`", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("write `{}`", path.display()))
}

/// `tea-time` → `Tea time`.
fn title(name: &str) -> String {
    let words = name.replace('-', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
