//! `loqa skill validate PATH`: every fault at once, with its place, rule and remedy;
//! and the schema for editors.

use crate::{BadArguments, Session};
use anyhow::Context as _;
use loqa_skills::manifest::{self, ManifestFaults};
use loqa_skills::package::{EXTENSION, Package, PackageError};
use loqa_skills::{Manifest, SkillError};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Runs the command.
pub fn run(session: &Session, path: &Path) -> anyhow::Result<ExitCode> {
    let faults = if path.extension().is_some_and(|extension| extension == EXTENSION) {
        match Package::open(path) {
            Ok(package) => package.check_code().err().map(|error| vec![of_code(path, &error)]).unwrap_or_default(),
            Err(PackageError::Manifest(faults)) => of_manifest(&faults),
            Err(PackageError::Refused { rule, message }) => vec![serde_json::json!({
                "file": path, "line": null, "column": null, "rule": rule.as_str(), "message": message, "remedy": null
            })],
            Err(error @ PackageError::Io { .. }) => return Err(BadArguments(error.to_string()).into()),
        }
    } else {
        let file = if path.is_dir() { path.join(manifest::FILE_NAME) } else { path.to_owned() };
        let bytes = read(&file).map_err(|error| BadArguments(format!("{error:#}")))?;
        match Manifest::parse(&file, &bytes) {
            Ok(_) => Vec::new(),
            Err(faults) => of_manifest(&faults),
        }
    };
    if session.json {
        println!("{}", serde_json::json!({ "ok": faults.is_empty(), "faults": faults }));
    } else if faults.is_empty() {
        println!("`{}` has no fault", path.display());
    } else {
        for fault in &faults {
            println!("{}", line(fault));
        }
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The schema as it stands in `docs/skill.schema.json`.
pub fn schema_text() -> String {
    format!("{:#}\n", manifest::json_schema())
}

/// Prints the schema.
pub fn print_schema() -> anyhow::Result<ExitCode> {
    print!("{}", schema_text());
    Ok(ExitCode::SUCCESS)
}

fn of_manifest(faults: &ManifestFaults) -> Vec<serde_json::Value> {
    faults
        .faults
        .iter()
        .map(|fault| {
            serde_json::json!({
                "file": faults.file, "line": fault.place.line, "column": fault.place.column,
                "rule": fault.rule.as_str(), "message": fault.message, "remedy": fault.remedy,
            })
        })
        .collect()
}

fn of_code(path: &Path, error: &SkillError) -> serde_json::Value {
    serde_json::json!({
        "file": path, "line": null, "column": null, "rule": "module", "message": error.to_string(), "remedy": null
    })
}

fn line(fault: &serde_json::Value) -> String {
    let text = |key: &str| fault[key].as_str().unwrap_or_default().to_owned();
    let place = match (fault["line"].as_u64(), fault["column"].as_u64()) {
        (Some(line), Some(column)) => format!(":{line}:{column}"),
        _ => String::new(),
    };
    let remedy = match text("remedy") {
        remedy if remedy.is_empty() => String::new(),
        remedy => format!("; {remedy}"),
    };
    format!("{}{place}: {}: {}{remedy}", text("file"), text("rule"), text("message"))
}

/// A manifest is small; more is not read.
fn read(file: &PathBuf) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|open| open.take(manifest::MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("read `{}`", file.display()))?;
    Ok(bytes)
}
