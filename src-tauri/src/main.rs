//! The desktop app: the hub, its API, microphone and speaker in one process, with windows
//! that show the hub's own pages.
//!
//! Deliberately absent: decisions of its own. What Loqa does is the hub's; what the windows
//! show is `ui/`, the same as in a browser.

#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on stops"))]

mod app;
mod arguments;
mod capability;
mod commands;
mod hotkey;
mod hub;
mod language;
mod overlay;
mod quit;
mod refusal;
mod relay;
mod settings;
mod shell;
mod tray;
mod updates;
mod windows;

use anyhow::Context as _;
use arguments::Arguments;
use clap::Parser as _;
use loqa_hub::config::Config;
use shell::Shell;
use std::process::ExitCode;
use std::time::Duration;

/// Longest wait for a blocking call that hangs when the app ends. Chosen, as in `loqa`.
const HANGING: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    prepare_web_view();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("loqa-desktop: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// WebKitGTK's own way of drawing leaves windows blank with some drivers
/// (<https://github.com/tauri-apps/tauri/issues/9304>); a person may still choose it.
#[expect(clippy::disallowed_methods, reason = "WebKitGTK takes it from the environment only, and no thread runs yet")]
fn prepare_web_view() {
    const VARIABLE: &str = "WEBKIT_DISABLE_DMABUF_RENDERER";
    if cfg!(target_os = "linux") && std::env::var_os(VARIABLE).is_none() {
        // SAFETY: `main` has started no thread yet, so that nobody reads the environment meanwhile.
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        has_display(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())),
        "there is no display: start it in a desktop session, or use `loqa serve --ui` and a browser"
    );
    // reqwest has no cryptography of its own in this build; downloads and updates need one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A configuration that cannot be read is told in the window, by the start.
    let loaded = arguments.load();
    let (config, data) = match &loaded {
        Ok((config, paths)) => (config.clone(), paths.data.clone()),
        Err(_) => (Config::default(), arguments.fallback_data()),
    };
    let telemetry = loqa_telemetry::Options {
        json: config.bool("telemetry.json"),
        filter: Some(arguments.log.clone().unwrap_or_else(|| config.text("telemetry.log").to_owned())),
        otlp_endpoint: config.text_if_set("telemetry.otlp_endpoint").map(str::to_owned),
    };
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    tauri::async_runtime::set(runtime.handle().clone());
    let code = {
        let _entered = runtime.enter();
        // The exporters need the runtime.
        let _telemetry = loqa_telemetry::init("loqa-desktop", &telemetry)?;
        let shell = Shell::new(arguments.clone(), data);
        app::run(arguments, shell)
    };
    runtime.shutdown_timeout(HANGING);
    Ok(ExitCode::from(u8::try_from(code?).unwrap_or(1)))
}

/// Where windows need a display server, whether there is one.
fn has_display(is_set: impl Fn(&str) -> bool) -> bool {
    !cfg!(target_os = "linux") || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}
