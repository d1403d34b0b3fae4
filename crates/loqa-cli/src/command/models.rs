//! `loqa models list|verify`: the catalog and whether the files are what it says.

use crate::Session;
use clap::Subcommand;
use loqa_hub::models::{Catalog, Presence};
use std::process::ExitCode;

/// What to do with the models.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List the catalog.
    List,
    /// Check size, digest and header of every file.
    Verify {
        /// Names; all installed models by default.
        names: Vec<String>,
    },
}

/// Runs the command.
pub fn run(session: &Session, action: &Action) -> anyhow::Result<ExitCode> {
    let catalog = Catalog::load(&session.paths.models)?.with_downloads(&session.paths.data);
    match action {
        Action::List => {
            list(session, &catalog);
            Ok(ExitCode::SUCCESS)
        }
        Action::Verify { names } => verify(session, &catalog, names),
    }
}

fn list(session: &Session, catalog: &Catalog) {
    if session.json {
        let rows: Vec<_> = catalog
            .models
            .iter()
            .map(|model| {
                serde_json::json!({
                    "name": model.name, "title": model.title, "kind": model.kind,
                    "capability": model.capability, "quantisation": model.quantisation,
                    "languages": model.languages, "ram_mb": model.ram_mb, "licence": model.licence,
                    "bundled": model.bundled, "state": catalog.presence(model),
                    "bytes": model.files.iter().map(|file| file.size).sum::<u64>(),
                })
            })
            .collect();
        println!("{}", serde_json::json!({ "models": rows }));
        return;
    }
    println!("{:<16} {:<4} {:<10} {:>9} {:>8}  {:<24} title", "name", "kind", "state", "size", "memory", "licence");
    for model in &catalog.models {
        let state = match catalog.presence(model) {
            Presence::Installed => "installed",
            Presence::Absent => "absent",
            Presence::Incomplete => "incomplete",
            Presence::Unpinned => "unpinned",
        };
        let bytes: u64 = model.files.iter().map(|file| file.size).sum();
        println!(
            "{:<16} {:<4} {state:<10} {:>6} MB {:>5} MB  {:<24} {}",
            model.name,
            model.kind.as_str(),
            bytes.div_ceil(1_000_000),
            model.ram_mb,
            model.licence,
            model.title
        );
    }
}

fn verify(session: &Session, catalog: &Catalog, names: &[String]) -> anyhow::Result<ExitCode> {
    let chosen = if names.is_empty() {
        catalog
            .models
            .iter()
            .filter(|model| {
                model.bundled || matches!(catalog.presence(model), Presence::Installed | Presence::Incomplete)
            })
            .collect::<Vec<_>>()
    } else {
        names.iter().map(|name| catalog.find(name, None)).collect::<anyhow::Result<_>>()?
    };
    let mut rows = Vec::new();
    let mut faults = 0;
    for model in chosen {
        let fault = catalog.verify(model).err().map(|e| format!("{e:#}"));
        faults += usize::from(fault.is_some());
        if !session.json {
            println!("{:<16} {}", model.name, fault.as_deref().unwrap_or("ok"));
        }
        rows.push(serde_json::json!({ "name": model.name, "ok": fault.is_none(), "fault": fault }));
    }
    if session.json {
        println!("{}", serde_json::json!({ "models": rows }));
    }
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
