//! `loqa serve`: the hub without a window, until it is interrupted.

use crate::{Session, sound};
use clap::Args;
use loqa_hub::Hub;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Arguments of `loqa serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Do not open a sound device for announcements.
    #[arg(long)]
    silent: bool,
    /// Load a skill from the folder in which it is being written, and again whenever its
    /// files change; it gets what its manifest asks for. May be repeated.
    #[arg(long = "dev-skill", value_name = "DIR")]
    dev_skill: Vec<std::path::PathBuf>,
}

impl Serve {
    /// Runs the command.
    pub async fn run(self, mut session: Session) -> anyhow::Result<ExitCode> {
        let began = Instant::now();
        if !self.dev_skill.is_empty() {
            let mut folders = session.config.list("skills.dev");
            folders.extend(self.dev_skill.iter().map(|folder| folder.to_string_lossy().into_owned()));
            session.config.set("skills.dev", &folders.join(","))?;
        }
        for folder in session.config.list("skills.dev") {
            eprintln!("loqa: DEVELOPMENT MODE: the skill in `{folder}` is loaded anew whenever its files change");
        }
        let announce_to: Option<loqa_hub::SinkFactory> =
            (!self.silent).then(|| -> loqa_hub::SinkFactory { Arc::new(sound::speaker_or_memory) });
        let hub = Hub::start(&session.config, &session.paths, announce_to).await?;
        let missing = hub.wait_ready(Duration::from_secs(60)).await;
        let ready_ms = began.elapsed().as_millis();
        for (capability, reason) in &missing {
            eprintln!("loqa: {capability} is not available: {reason}");
        }
        if session.json {
            println!(
                "{}",
                serde_json::json!({
                    "ready_ms": ready_ms,
                    "pid": std::process::id(),
                    "data": session.paths.data,
                    "nats_server_pid": hub.bus_pid(),
                    "engines": hub.engine_pids().into_iter().map(|(capability, pid)| serde_json::json!({
                        "capability": capability, "pid": pid
                    })).collect::<Vec<_>>(),
                    "missing": missing.iter().map(|(capability, _)| capability).collect::<Vec<_>>(),
                })
            );
        } else {
            println!("loqa is ready after {ready_ms} ms; `loqa ask` talks to it, Ctrl-C ends it");
        }
        interrupted().await;
        hub.stop().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// Ends at Ctrl-C, and at SIGTERM where there is one.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
