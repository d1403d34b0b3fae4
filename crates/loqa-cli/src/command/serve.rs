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
}

impl Serve {
    /// Runs the command.
    pub async fn run(self, session: Session) -> anyhow::Result<ExitCode> {
        let began = Instant::now();
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
