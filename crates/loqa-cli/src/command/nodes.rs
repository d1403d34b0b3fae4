//! `loqa nodes`: the engines of the running hub.

use crate::Session;
use anyhow::Context as _;
use loqa_bus::{Bus, Credentials};
use loqa_hub::paths::running_hub;
use loqa_protocol::client::NodeInfo;
use loqa_protocol::subject;
use std::process::ExitCode;
use std::time::Duration;

/// Connects to the hub that runs on this data folder; `None` when none does.
pub async fn connect(session: &Session) -> anyhow::Result<Option<Bus>> {
    let Some(hub) = running_hub(&session.paths.data) else { return Ok(None) };
    let credentials = Credentials { url: hub.url, identity: hub.identity, seed: hub.seed };
    let bus = Bus::connect(&credentials).await.with_context(|| format!("reach the hub with process id {}", hub.pid))?;
    Ok(Some(bus))
}

/// Runs the command.
pub async fn run(session: &Session) -> anyhow::Result<ExitCode> {
    let bus = connect(session).await?.context("no hub is running, start one with `loqa serve`")?;
    let nodes: Vec<NodeInfo> =
        bus.request(subject::HUB_NODES, &(), Duration::from_secs(5)).await.context("ask the hub for its engines")?;
    if session.json {
        println!("{}", serde_json::json!({ "nodes": nodes }));
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{:<20} {:<4} {:<9} {:>7} {:>9} {:>9}  capabilities",
        "instance", "kind", "state", "pid", "memory", "seen"
    );
    for node in nodes {
        let state =
            serde_json::to_value(node.state).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        let capabilities: Vec<_> = node
            .capabilities
            .iter()
            .map(|c| format!("{} ({} {}, speed {:.1})", c.name, c.model, c.quantisation, c.measured_speed))
            .collect();
        println!(
            "{:<20} {:<4} {state:<9} {:>7} {:>6} MB {:>6} ms  {}",
            node.instance.as_str(),
            node.kind.as_str(),
            node.pid,
            node.rss_bytes / 1_000_000,
            node.last_seen_ms,
            capabilities.join(", ")
        );
    }
    Ok(ExitCode::SUCCESS)
}
