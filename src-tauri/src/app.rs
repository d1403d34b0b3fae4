//! Puts the app together: plugins, commands, windows, tray, hotkey, hub; and says what its
//! events mean.
//!
//! Deliberately absent: everything that one of those decides for itself.

use crate::arguments::Arguments;
use crate::shell::Shell;
use crate::{commands, hotkey, hub, quit, tray, windows};
use anyhow::Context as _;
use std::sync::atomic::Ordering;
use tauri::{AppHandle, Manager as _, RunEvent, Runtime};

/// What the build knows of the app: configuration, pages, icons, permissions.
#[must_use]
pub fn context<R: Runtime>() -> tauri::Context<R> {
    tauri::generate_context!()
}

/// Runs the app until it ends; returns its exit code.
///
/// # Errors
/// The system gives no windows.
pub fn run(arguments: Arguments, shell: Shell) -> anyhow::Result<i32> {
    let is_hidden = arguments.hidden;
    let app = tauri::Builder::<tauri::Wry>::default()
        // First: a second start must end before it does anything else.
        .plugin(tauri_plugin_single_instance::init(|app, _arguments, _folder| windows::show_main(app, None)))
        .plugin(tauri_plugin_autostart::Builder::new().arg("--hidden").build())
        .plugin(tauri_plugin_dialog::init())
        .plugin(tauri_plugin_opener::Builder::new().open_js_links_on_click(false).build())
        .plugin(tauri_plugin_updater::Builder::new().build())
        .plugin(
            tauri_plugin_window_state::Builder::default()
                .with_filter(|label| label == windows::MAIN)
                .with_state_flags(windows::REMEMBERED)
                // An absolute path: all that is kept lies in one folder.
                .with_filename(shell.data.join(windows::STATE_FILE).to_string_lossy())
                .build(),
        )
        .manage(shell)
        .invoke_handler(commands::handler())
        .on_window_event(windows::on_event)
        .setup(move |app| {
            set_up(app.handle(), is_hidden)?;
            Ok(())
        })
        .build(context())
        .context("open a window")?;
    Ok(app.run_return(on_event))
}

fn set_up<R: Runtime>(app: &AppHandle<R>, is_hidden: bool) -> tauri::Result<()> {
    quit::on_signals(app);
    windows::open_main(app, is_hidden)?;
    tray::open(app);
    if !hotkey::is_wayland() {
        let grabbing = app.plugin(tauri_plugin_global_shortcut::Builder::new().build());
        if let Err(error) = grabbing {
            tracing::warn!(%error, "this system gives programs no global keys");
        }
    }
    hotkey::start(app);
    hub::begin(app);
    Ok(())
}

fn on_event<R: Runtime>(app: &AppHandle<R>, event: RunEvent) {
    let is_stopped = app.state::<Shell>().is_stopped.load(Ordering::SeqCst);
    match event {
        RunEvent::ExitRequested { api, code, .. } if !is_stopped => {
            api.prevent_exit();
            // Without a code the last window has gone, and in the tray the app goes on.
            if code.is_some() {
                quit::begin(app);
            }
        }
        // Some systems end an app without asking.
        RunEvent::Exit if !is_stopped => tauri::async_runtime::block_on(quit::stop(app)),
        #[cfg(target_os = "macos")]
        RunEvent::Reopen { has_visible_windows: false, .. } => windows::show_main(app, None),
        _ => {}
    }
}
