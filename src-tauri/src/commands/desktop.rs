//! What belongs to this desktop: windows, hotkey, autostart, files, links, preferences.

use crate::hotkey::{self, HotkeyState};
use crate::refusal::Refusal;
use crate::settings::{MAX_PREFERENCES, Settings};
use crate::shell::{Shell, blocking};
use crate::updates::{self, UpdateAnswer};
use crate::{quit, tray, windows};
use loqa_protocol::ErrorCode;
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::PathBuf;
use tauri::{AppHandle, Emitter as _, Manager as _, Runtime};
use tauri_plugin_autostart::ManagerExt as _;
use tauri_plugin_dialog::DialogExt as _;
use tauri_plugin_opener::OpenerExt as _;
use tokio::sync::oneshot;

/// Longest text that is saved to a file, in bytes. Chosen: above an export of the whole audit.
const MAX_SAVED: usize = 64 << 20;
/// Longest route of the main window, in bytes. Chosen.
const MAX_ROUTE: usize = 512;
/// The places that a page may have opened in the browser, by name: a page cannot choose addresses.
const LINKS: &[(&str, &str)] = &[
    ("home-assistant", "https://www.home-assistant.io/voice_control/"),
    ("ollama", "https://ollama.com/"),
    ("wyoming", "https://github.com/OHF-Voice/wyoming"),
];

/// What the app is and can.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppInfo {
    version: String,
    /// `linux`, `macos` or `windows`.
    platform: &'static str,
    /// Whether the desktop is a Wayland one, where windows cannot place themselves.
    wayland: bool,
    first_run: bool,
    /// Whether this build knows where updates are.
    can_update: bool,
    /// Whether something shows the icon in the tray.
    has_tray: bool,
}

/// What the app is and can.
#[tauri::command]
pub async fn app_info<R: Runtime>(app: AppHandle<R>) -> AppInfo {
    let shell = app.state::<Shell>();
    AppInfo {
        version: app.package_info().version.to_string(),
        platform: std::env::consts::OS,
        wayland: hotkey::is_wayland(),
        first_run: !shell.settings.get().first_run_done,
        can_update: updates::are_configured(app.config()),
        has_tray: tray::is_shown(&app).await,
    }
}

/// How the window looks and speaks; an empty object at first.
#[tauri::command]
pub async fn preferences_read<R: Runtime>(app: AppHandle<R>) -> Map<String, Value> {
    app.state::<Shell>().settings.get().preferences
}

/// Keeps them as they are and tells all windows.
#[tauri::command]
pub async fn preferences_write<R: Runtime>(app: AppHandle<R>, preferences: Map<String, Value>) -> Result<(), Refusal> {
    let length = serde_json::to_string(&preferences).map_or(usize::MAX, |text| text.len());
    if length > MAX_PREFERENCES {
        let message = format!("the preferences are longer than {MAX_PREFERENCES} bytes: keep less in them");
        return Err(Refusal::new(ErrorCode::TooLarge, message));
    }
    let told = preferences.clone();
    let changed = app.clone();
    let change = move |settings: &mut Settings| settings.preferences = preferences;
    let kept = blocking(move || changed.state::<Shell>().settings.change(change)).await?;
    tray::relabel(&app);
    if let Ok(talk) = app.state::<Shell>().talk() {
        talk.speak_answers(kept.speaks_answers());
    }
    if let Err(error) = app.emit("preferences", told) {
        tracing::debug!(%error, "a window was not told of preferences");
    }
    Ok(())
}

/// The hotkey, and whether it works.
#[tauri::command]
pub async fn hotkey_read<R: Runtime>(app: AppHandle<R>) -> HotkeyState {
    app.state::<Shell>().hotkey.state()
}

/// Takes another key; `null` takes none. A key that cannot be had leaves the former one, and
/// the answer says why.
#[tauri::command]
pub async fn hotkey_choose<R: Runtime>(app: AppHandle<R>, accelerator: Option<String>) -> Result<HotkeyState, Refusal> {
    hotkey::choose(&app, accelerator).await
}

/// Whether the app starts with the session.
#[tauri::command]
pub async fn autostart_read<R: Runtime>(app: AppHandle<R>) -> Result<bool, Refusal> {
    blocking(move || app.autolaunch().is_enabled().map_err(|error| autostart_fault(&error))).await
}

/// Has it start with the session, or not.
#[tauri::command]
pub async fn autostart_choose<R: Runtime>(app: AppHandle<R>, on: bool) -> Result<bool, Refusal> {
    blocking(move || {
        let autostart = app.autolaunch();
        let changed = if on { autostart.enable() } else { autostart.disable() };
        changed.and_then(|()| autostart.is_enabled()).map_err(|error| autostart_fault(&error))
    })
    .await
}

fn autostart_fault(error: &tauri_plugin_autostart::Error) -> Refusal {
    Refusal::system("autostart was not changed", error, "set it in the system's own settings")
}

/// The first run was seen through, or left.
#[tauri::command]
pub async fn first_run_done<R: Runtime>(app: AppHandle<R>) -> Result<(), Refusal> {
    blocking(move || app.state::<Shell>().settings.change(|settings| settings.first_run_done = true)).await?;
    Ok(())
}

/// Has the person choose a place and writes a text there; `null` when they chose none.
#[tauri::command]
pub async fn save_file<R: Runtime>(app: AppHandle<R>, name: String, text: String) -> Result<Option<PathBuf>, Refusal> {
    if text.len() > MAX_SAVED {
        let message = format!("the text is longer than {MAX_SAVED} bytes: save less of it, by a filter");
        return Err(Refusal::new(ErrorCode::TooLarge, message));
    }
    let (sender, chosen) = oneshot::channel();
    let mut dialog = app.dialog().file().set_file_name(plain_name(&name));
    if let Some(window) = app.get_webview_window(windows::MAIN) {
        dialog = dialog.set_parent(&window);
    }
    dialog.save_file(move |path| drop(sender.send(path)));
    // No time limit: it ends when the person answers, or with the app.
    let Some(path) = chosen.await.ok().flatten() else { return Ok(None) };
    let path =
        path.into_path().map_err(|error| Refusal::bad_request(format!("this is no place for a file: {error}")))?;
    blocking(move || {
        std::fs::write(&path, text).map_err(|error| {
            let message = format!("`{}` cannot be written, {error}: choose another place", path.display());
            Refusal::new(ErrorCode::StorageFault, message)
        })?;
        Ok(Some(path))
    })
    .await
}

/// A page proposes a name, not a folder.
fn plain_name(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).take(100).collect();
    let plain = plain.trim_matches(['.', ' ']);
    if plain.is_empty() { "loqa.txt".to_owned() } else { plain.to_owned() }
}

/// Shows the main window at a place.
#[tauri::command]
pub async fn open_main<R: Runtime>(app: AppHandle<R>, route: String) -> Result<(), Refusal> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./?=&%~".contains(c);
    if route.len() > MAX_ROUTE || !route.chars().all(is_plain) {
        return Err(Refusal::bad_request("this is no place in the window"));
    }
    windows::show_main(&app, Some(&route));
    Ok(())
}

/// Hides the overlay.
#[tauri::command]
pub async fn overlay_hide<R: Runtime>(app: AppHandle<R>) {
    windows::hide_overlay(&app);
}

/// Ends the app, the hub and all that they started.
#[tauri::command]
pub async fn quit<R: Runtime>(app: AppHandle<R>) {
    quit::begin(&app);
}

/// Asks whether there is a newer version; nothing is fetched but the answer.
#[tauri::command]
pub async fn update_check<R: Runtime>(app: AppHandle<R>) -> UpdateAnswer {
    updates::check(&app).await
}

/// Opens one of the known places in the browser.
#[tauri::command]
pub async fn open_link<R: Runtime>(app: AppHandle<R>, name: String) -> Result<(), Refusal> {
    let (_, url) = LINKS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
        let names: Vec<_> = LINKS.iter().map(|(name, _)| *name).collect();
        Refusal::new(ErrorCode::NotFound, format!("there is no such link, there are: {}", names.join(", ")))
    })?;
    blocking(move || {
        let opened = app.opener().open_url(*url, None::<&str>);
        opened.map_err(|error| Refusal::system("the browser did not open", &error, &format!("open {url} yourself")))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposed_name_is_a_name_and_no_path() {
        for (given, expected) in [
            ("sessions-2026.json", "sessions-2026.json"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("C:\\x\u{0}y", "C__x_y"),
            ("…", "_"),
            ("..", "loqa.txt"),
            ("", "loqa.txt"),
            ("Gespräch.md", "Gespräch.md"),
        ] {
            assert_eq!(plain_name(given), expected, "{given:?}");
        }
        assert_eq!(plain_name(&"x".repeat(1_000)).len(), 100);
    }
}
