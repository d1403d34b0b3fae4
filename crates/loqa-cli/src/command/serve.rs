//! `loqa serve`: the hub without a window, until it is interrupted.

use crate::{Session, sound};
use anyhow::Context as _;
use clap::Args;
use loqa_api::{ApiOptions, ApiServer, Compat};
use loqa_hub::Hub;
use loqa_hub::config::Config;
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
        let hub = Arc::new(Hub::start(&session.config, &session.paths, announce_to).await?);
        let servers = match Servers::start(&hub, &session.config).await {
            Ok(servers) => servers,
            Err(error) => {
                Hub::stop_shared(hub).await;
                return Err(error);
            }
        };
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
                    "api": servers.api.as_ref().map(|api| serde_json::json!({
                        "url": api.url(), "token_file": api.token_path()
                    })),
                    "openai": servers.compat.openai.as_ref().map(|server| format!("http://{}/v1", server.address())),
                    "wyoming": servers.compat.wyoming.as_ref().map(|server| format!("tcp://{}", server.address())),
                    "missing": missing.iter().map(|(capability, _)| capability).collect::<Vec<_>>(),
                })
            );
        } else {
            println!("loqa is ready after {ready_ms} ms; `loqa ask` talks to it, Ctrl-C ends it");
            if let Some(api) = &servers.api {
                println!("its API is at {}, the token in {}", api.url(), api.token_path().display());
            }
            if let Some(openai) = &servers.compat.openai {
                println!("programs made for OpenAI's interface: http://{}/v1", openai.address());
            }
            if let Some(wyoming) = &servers.compat.wyoming {
                println!("Home Assistant, by the Wyoming protocol: tcp://{}", wyoming.address());
            }
        }
        interrupted().await;
        servers.stop().await;
        Hub::stop_shared(hub).await;
        Ok(ExitCode::SUCCESS)
    }
}

/// The servers through which other programs reach the hub, those that are switched on.
struct Servers {
    api: Option<ApiServer>,
    compat: Compat,
}

impl Servers {
    async fn start(hub: &Arc<Hub>, config: &Config) -> anyhow::Result<Self> {
        let api = if config.bool("api.enabled") {
            let api = ApiServer::start(Arc::clone(hub), ApiOptions::from_config(config)).await;
            Some(api.context("start the HTTP API")?)
        } else {
            None
        };
        match Compat::start(hub, config).await {
            Ok(compat) => Ok(Self { api, compat }),
            Err(error) => {
                if let Some(api) = api {
                    api.stop().await;
                }
                Err(error)
            }
        }
    }

    async fn stop(self) {
        self.compat.stop().await;
        if let Some(api) = self.api {
            api.stop().await;
        }
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
