//! Starts the hub and what stands around it in this process, while the window stands already
//! and says how far it is; then the windows show the hub's own pages.
//!
//! Deliberately absent: the way back, see `quit`.

use crate::shell::{Running, Shell, StartState};
use crate::{capability, relay, windows};
use anyhow::Context as _;
use loqa_api::{ApiOptions, ApiServer, Compat};
use loqa_hub::Hub;
use loqa_hub::config::Config;
use loqa_talk::{Loudspeaker, Talk, TalkOptions};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tauri::{AppHandle, Manager as _, Runtime};

/// Longest wait for the engines before those that are missing are logged. Chosen, as `loqa serve`.
const ENGINES: Duration = Duration::from_secs(60);

/// Starts in the background, or once more after it did not start. Nothing happens while it is
/// starting or runs.
pub fn begin<R: Runtime>(app: &AppHandle<R>) {
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        let shell = app.state::<Shell>();
        if !shell.may_start() {
            return;
        }
        let began = Instant::now();
        if let Err(error) = start(&app).await {
            tracing::error!(error = format!("{error:#}"), "the hub did not start");
            shell.set_start(StartState::Failed { problem: format!("{error:#}") });
            // Whoever started it in the tray must learn of it.
            windows::show_main(&app, None);
        } else {
            tracing::info!(ms = began.elapsed().as_millis(), "one can talk");
        }
    });
}

async fn start<R: Runtime>(app: &AppHandle<R>) -> anyhow::Result<()> {
    let shell = app.state::<Shell>();
    let (config, paths) = shell.arguments.load()?;
    let settings = shell.settings.get();
    let loudspeaker = Loudspeaker::start(settings.speaker).context("open the speaker")?;
    let hub = Hub::start(&config, &paths, Some(loudspeaker.factory())).await?;
    let hub = Arc::new(hub);
    shell.set_start(StartState::Window);
    if let Some(problem) = shell.settings.problem() {
        hub.store().add_notice(problem.to_owned());
    }
    let talk_options = TalkOptions { microphone: settings.microphone, loudspeaker };
    let running = match Around::start(&hub, &config, talk_options).await {
        Ok(around) => around.with(Arc::clone(&hub)),
        Err(error) => {
            Hub::stop_shared(hub).await;
            return Err(error);
        }
    };
    if let Err(running) = show(app, &hub, running) {
        drop(hub);
        running.stop().await;
    }
    Ok(())
}

/// The servers and the talking.
struct Around {
    api: ApiServer,
    compat: Compat,
    talk: Talk,
}

impl Around {
    async fn start(hub: &Arc<Hub>, config: &Config, talk: TalkOptions) -> anyhow::Result<Self> {
        // The windows need it, whatever is configured for others.
        let options = ApiOptions { ui: true, in_app: true, ..ApiOptions::from_config(config) };
        let api = ApiServer::start(Arc::clone(hub), options).await.context("start the HTTP API")?;
        let compat = match Compat::start(hub, config).await {
            Ok(compat) => compat,
            Err(error) => {
                api.stop().await;
                return Err(error);
            }
        };
        match Talk::start(Arc::clone(hub), talk) {
            Ok(talk) => Ok(Self { api, compat, talk }),
            Err(error) => {
                compat.stop().await;
                api.stop().await;
                Err(anyhow::Error::from(error).context("open the microphone"))
            }
        }
    }

    fn with(self, hub: Arc<Hub>) -> Running {
        let Self { api, compat, talk } = self;
        Running { hub, api, compat, talk, tasks: Vec::new() }
    }
}

/// Has the windows show the hub's pages.
fn show<R: Runtime>(app: &AppHandle<R>, hub: &Arc<Hub>, running: Running) -> Result<(), Box<Running>> {
    let shell = app.state::<Shell>();
    let talk = running.talk.clone();
    let events = talk.events();
    talk.speak_answers(shell.settings.get().speaks_answers());
    if let Ok(url) = running.api.url().parse::<url::Url>() {
        let origin = url.origin();
        capability::grant(app, &origin);
        shell.set_origin(origin);
    }
    shell.keep(running)?;
    shell.keep_task(tokio::spawn(relay::talk(app.clone(), talk, events)));
    shell.keep_task(tokio::spawn(relay::prompts(app.clone(), Arc::clone(hub.prompts()))));
    let engines = Arc::clone(hub);
    shell.keep_task(tokio::spawn(async move {
        // The pages show it, too.
        for (capability, reason) in engines.wait_ready(ENGINES).await {
            tracing::warn!(capability, reason, "an engine is not available");
        }
    }));
    shell.set_start(StartState::Ready);
    let navigated = match (app.get_webview_window(windows::MAIN), shell.page_url("")) {
        (Some(window), Some(url)) => window.navigate(url),
        // The app is ending.
        _ => Ok(()),
    };
    if let Err(error) = navigated {
        tracing::error!(%error, "the window did not go to the hub's page");
    }
    if !shell.is_quitting.load(Ordering::SeqCst)
        && let Some(url) = shell.page_url("overlay.html")
        && let Err(error) = windows::open_overlay(app, url)
    {
        tracing::warn!(%error, "there is no overlay");
    }
    Ok(())
}
