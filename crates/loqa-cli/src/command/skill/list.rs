//! `loqa skill list` and `loqa skill info NAME`: what is bundled, what is installed, and,
//! where a hub runs, what of it is loaded.

use super::{ask_hub, installed};
use crate::Session;
use anyhow::bail;
use loqa_protocol::client::{SkillFault, SkillRow, SkillsReply, SkillsRequest};
use loqa_skills::Manifest;
use loqa_skills::installed::{Index, InstalledSkill, Switch, Version};
use loqa_skills::sheet::{self, quoted};
use std::process::ExitCode;

/// What a running hub says; without one nothing is known.
struct Hub(Option<(Vec<SkillRow>, Vec<SkillFault>)>);

impl Hub {
    async fn ask(session: &Session) -> anyhow::Result<Self> {
        Ok(Self(match ask_hub(session, &SkillsRequest::List).await? {
            Some(SkillsReply::Skills { skills, not_loaded }) => Some((skills, not_loaded)),
            Some(SkillsReply::Refused { failure }) => bail!("the hub refused: {failure}"),
            None => None,
        }))
    }

    /// Those that are loaded from the folder in which they are being written.
    fn developed(&self) -> impl Iterator<Item = &SkillRow> {
        self.0.iter().flat_map(|(rows, _)| rows).filter(|row| row.dev)
    }

    /// `null` where no hub runs.
    fn state(&self, name: &str) -> serde_json::Value {
        let Some((rows, _)) = &self.0 else { return serde_json::Value::Null };
        match rows.iter().find(|row| row.name == name) {
            Some(row) => serde_json::json!(row.state),
            None => serde_json::json!("not_loaded"),
        }
    }

    /// Why it could not load a skill.
    fn problem(&self, name: &str) -> Option<&str> {
        let (_, faults) = self.0.as_ref()?;
        faults.iter().find(|fault| fault.name == name).map(|fault| fault.reason.as_str())
    }
}

/// Runs `loqa skill list`.
pub async fn run(session: &Session) -> anyhow::Result<ExitCode> {
    let index = installed(session).index()?;
    let hub = Hub::ask(session).await?;
    let rows: Vec<_> = bundled(session)
        .iter()
        .map(|manifest| bundled_json(manifest, &hub))
        .chain(index.skills.iter().map(|(name, skill)| installed_json(name, skill, &hub)))
        .chain(hub.developed().map(|row| {
            serde_json::json!({
                "name": row.name, "version": row.version, "source": "development", "state": "enabled",
                "hub": row.state, "publisher": null, "staged": null,
            })
        }))
        .collect();
    for row in hub.developed().filter(|_| !session.json) {
        println!("DEVELOPMENT MODE: `{}` is loaded anew whenever its files change", row.name);
    }
    if session.json {
        println!("{}", serde_json::json!({ "skills": rows }));
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:<24} {:<12} {:<10} {:<9} {:<11} signed", "name", "version", "source", "state", "hub");
    for row in rows {
        let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
        let staged = row["staged"].as_str().map(|version| format!("  ({version} waits for an answer)"));
        println!(
            "{:<24} {:<12} {:<10} {:<9} {:<11} {}{}",
            text("name"),
            text("version"),
            text("source"),
            text("state"),
            text("hub"),
            if row["publisher"].is_string() { "yes" } else { "no" },
            staged.unwrap_or_default()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `loqa skill info NAME`.
pub async fn info(session: &Session, name: &str) -> anyhow::Result<ExitCode> {
    let Index { skills, .. } = installed(session).index()?;
    let hub = Hub::ask(session).await?;
    let bundled = bundled(session);
    let (mut row, requested, title) = match (skills.get(name), bundled.iter().find(|manifest| manifest.name == name)) {
        (_, Some(manifest)) => (bundled_json(manifest, &hub), manifest.permissions.clone(), manifest.title.clone()),
        (Some(skill), None) => (installed_json(name, skill, &hub), skill.current.requested(), name.to_owned()),
        (None, None) => bail!("no skill `{name}` is there; `loqa skill list` shows what is"),
    };
    if session.json {
        if let Some(object) = row.as_object_mut() {
            object.insert("permissions".to_owned(), serde_json::json!(sheet::lines(&requested)));
        }
        println!("{row}");
        return Ok(ExitCode::SUCCESS);
    }
    println!("{name} ({})", quoted(&title));
    for key in
        ["version", "source", "state", "hub", "publisher", "digest", "module_sha256", "previous", "staged", "problem"]
    {
        if let Some(text) = row[key].as_str() {
            println!("  {key:<14} {text}");
        }
    }
    println!("{}", sheet::permissions("It", &requested).join("\n"));
    Ok(ExitCode::SUCCESS)
}

fn bundled(session: &Session) -> Vec<Manifest> {
    loqa_hub::skills::bundled(&session.paths).into_iter().map(|(manifest, _)| manifest).collect()
}

fn bundled_json(manifest: &Manifest, hub: &Hub) -> serde_json::Value {
    serde_json::json!({
        "name": manifest.name, "version": manifest.version.to_string(), "source": "bundled", "state": "enabled",
        "hub": hub.state(&manifest.name), "publisher": null, "digest": null, "module_sha256": null,
        "installed_at_ms": null, "previous": null, "staged": null, "problem": null,
        "tools": manifest.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(),
    })
}

fn installed_json(name: &str, skill: &InstalledSkill, hub: &Hub) -> serde_json::Value {
    let Version { version, digest, module_sha256, publisher, installed_at_ms, tools, .. } = &skill.current;
    let number = |version: &Option<Version>| version.as_ref().map(|version| version.version.to_string());
    let state = if skill.state == Switch::Enabled { "enabled" } else { "disabled" };
    serde_json::json!({
        "name": name, "version": version.to_string(), "source": "installed", "state": state,
        "hub": hub.state(name), "publisher": publisher, "digest": digest, "module_sha256": module_sha256,
        "installed_at_ms": installed_at_ms, "previous": number(&skill.previous), "staged": number(&skill.staged),
        "problem": hub.problem(name),
        "tools": tools.keys().collect::<Vec<_>>(),
    })
}
