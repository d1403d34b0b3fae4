//! The three windows: what each may show, where it stands, and that closing one hides it.
//!
//! `main` shows the start page, then the hub's pages; `overlay` is small, above others and
//! never takes the focus; `prompt` is there while a skill asks. Deliberately absent: what
//! stands in them, and any address that is not the hub's or the start page's.

use crate::quit;
use crate::shell::Shell;
use loqa_protocol::PromptId;
use std::sync::atomic::Ordering;
use tauri::utils::config::Color;
use tauri::webview::{NewWindowResponse, PermissionResponse};
use tauri::{
    AppHandle, Emitter as _, LogicalSize, Manager as _, PhysicalPosition, Runtime, Url, WebviewUrl, WebviewWindow,
    WebviewWindowBuilder, WindowEvent,
};
use tauri_plugin_window_state::{AppHandleExt as _, StateFlags};

/// Label of the window with everything.
pub const MAIN: &str = "main";
/// Label of the small one that shows how a turn goes.
pub const OVERLAY: &str = "overlay";
/// Label of the one in which skills ask.
pub const PROMPT: &str = "prompt";

/// Pages of the hub by window. A window shows no other page.
pub const PAGES: &[(&str, &str)] = &[(MAIN, ""), (OVERLAY, "overlay.html"), (PROMPT, "prompt.html")];

/// What the main window remembers.
pub const REMEMBERED: StateFlags = StateFlags::SIZE.union(StateFlags::POSITION).union(StateFlags::MAXIMIZED);
/// The file for that, in the data folder.
pub const STATE_FILE: &str = "window.json";

/// Size of the main window at the first start, in logical pixels. Chosen.
const MAIN_SIZE: LogicalSize<f64> = LogicalSize::new(1_120.0, 760.0);
/// Smallest size that the pages are made for, in logical pixels, see `docs/ui.md`.
const MAIN_MIN: LogicalSize<f64> = LogicalSize::new(800.0, 600.0);
/// Size of the overlay, in logical pixels. Chosen: two lines of captions beside a symbol.
const OVERLAY_SIZE: LogicalSize<f64> = LogicalSize::new(480.0, 136.0);
/// Distance of the overlay from the lower edge of the screen, in logical pixels. Chosen.
const OVERLAY_MARGIN: f64 = 24.0;
/// Size of the window for questions, in logical pixels. Chosen: the longest question at 800×600.
const PROMPT_SIZE: LogicalSize<f64> = LogicalSize::new(600.0, 560.0);
/// The grounds of the pages, `--canvas` in `ui/src/styles/tokens.css`, so that no window
/// flashes in the other one before its page is there.
const LIGHT: Color = Color(245, 245, 241, 255);
const DARK: Color = Color(18, 20, 23, 255);

/// With `LANG=C.UTF-8`, usual in containers, WebKitGTK calls the language `C`, which is none
/// and throws in every formatter; such a web view speaks English.
const LANGUAGE: &str = "try { Intl.getCanonicalLocales(navigator.language) } catch {
    Object.defineProperty(navigator, 'language', { value: 'en-US' });
    Object.defineProperty(navigator, 'languages', { value: ['en-US'] });
}";

/// Makes the main window with the start page.
///
/// # Errors
/// The system gives no window.
pub fn open_main<R: Runtime>(app: &AppHandle<R>, is_hidden: bool) -> tauri::Result<WebviewWindow<R>> {
    // Made invisible and then shown: its place is restored in between.
    let window = guarded(app, MAIN, WebviewUrl::App("index.html".into()))
        .title("Loqa")
        .inner_size(MAIN_SIZE.width, MAIN_SIZE.height)
        .min_inner_size(MAIN_MIN.width, MAIN_MIN.height)
        .center()
        .visible(false)
        .build()?;
    if !is_hidden {
        window.show()?;
    }
    Ok(window)
}

/// Makes the overlay, hidden, so that it is there at once when it is needed.
///
/// # Errors
/// The system gives no window.
pub fn open_overlay<R: Runtime>(app: &AppHandle<R>, url: Url) -> tauri::Result<WebviewWindow<R>> {
    guarded(app, OVERLAY, WebviewUrl::External(url))
        .title("Loqa")
        .inner_size(OVERLAY_SIZE.width, OVERLAY_SIZE.height)
        .resizable(false)
        .maximizable(false)
        .minimizable(false)
        .decorations(false)
        .always_on_top(true)
        .skip_taskbar(true)
        .visible_on_all_workspaces(true)
        .focusable(false)
        .focused(false)
        .visible(false)
        .build()
}

/// Makes the window for questions and brings it to the front.
///
/// # Errors
/// The system gives no window.
pub fn open_prompt<R: Runtime>(app: &AppHandle<R>, url: Url) -> tauri::Result<WebviewWindow<R>> {
    guarded(app, PROMPT, WebviewUrl::External(url))
        .title("Loqa")
        .inner_size(PROMPT_SIZE.width, PROMPT_SIZE.height)
        .maximizable(false)
        .minimizable(false)
        .always_on_top(true)
        .center()
        .focused(true)
        .build()
}

/// A window that shows its own page and nothing else: no other addresses, no further windows,
/// no downloads, none of the system's permissions.
fn guarded<'a, R: Runtime>(
    app: &'a AppHandle<R>,
    label: &'static str,
    url: WebviewUrl,
) -> WebviewWindowBuilder<'a, R, AppHandle<R>> {
    let asked = app.clone();
    WebviewWindowBuilder::new(app, label, url)
        .on_navigation(move |url| {
            let shell = asked.state::<Shell>();
            let may = may_show(label, url, shell.is_hub(url));
            if !may {
                // The address may hold what a person said: its host is enough.
                tracing::warn!(window = label, host = url.host_str(), "a page was not shown, it is not Loqa's");
            }
            may
        })
        .on_new_window(|_, _| NewWindowResponse::Deny)
        .on_download(|_, _| false)
        .on_permission_request(|_, _| PermissionResponse::Deny)
        .initialization_script(LANGUAGE)
        .data_directory(app.state::<Shell>().data.join("webview"))
        .background_color(ground(app))
        .disable_drag_drop_handler()
}

fn ground<R: Runtime>(app: &AppHandle<R>) -> Color {
    let preferences = app.state::<Shell>().settings.get().preferences;
    match preferences.get("theme").and_then(serde_json::Value::as_str) {
        Some("dark") => DARK,
        _ => LIGHT,
    }
}

/// Whether a window may show an address; `is_hub` when its origin is that of the running hub.
#[must_use]
pub fn may_show(label: &str, url: &Url, is_hub: bool) -> bool {
    if is_hub {
        let page = url.path().strip_prefix("/ui/");
        return PAGES.iter().any(|(window, file)| *window == label && page == Some(*file));
    }
    // `tauri://localhost`, and what stands for it on Windows.
    let is_start = match url.scheme() {
        "tauri" => url.host_str() == Some("localhost"),
        "http" | "https" => cfg!(windows) && url.host_str() == Some("tauri.localhost") && url.port().is_none(),
        _ => false,
    };
    is_start && label == MAIN
}

/// Shows the main window, at a place of it where one is named.
pub fn show_main<R: Runtime>(app: &AppHandle<R>, route: Option<&str>) {
    let Some(window) = app.get_webview_window(MAIN) else { return };
    let shown = window.show().and_then(|()| window.unminimize()).and_then(|()| window.set_focus());
    if let Err(error) = shown {
        tracing::warn!(%error, "the window was not shown");
    }
    if let Some(route) = route
        && let Err(error) = app.emit_to(MAIN, "navigate", serde_json::json!({ "route": route }))
    {
        tracing::debug!(%error, "the window was not told where to go");
    }
}

/// Whether the person looks at the main window.
#[must_use]
pub fn is_main_focused<R: Runtime>(app: &AppHandle<R>) -> bool {
    let focused =
        |window: WebviewWindow<R>| window.is_visible().unwrap_or(false) && window.is_focused().unwrap_or(false);
    app.get_webview_window(MAIN).is_some_and(focused)
}

/// Shows the overlay at the lower edge of the screen; the focus stays where it is.
pub fn show_overlay<R: Runtime>(app: &AppHandle<R>) {
    let Some(window) = app.get_webview_window(OVERLAY) else { return };
    place_overlay(&window);
    if let Err(error) = window.show() {
        tracing::warn!(%error, "the overlay was not shown");
    }
    // Some window managers place a window when it is shown, whatever was asked before.
    place_overlay(&window);
}

fn place_overlay<R: Runtime>(window: &WebviewWindow<R>) {
    let monitor = window.primary_monitor().ok().flatten().or_else(|| window.current_monitor().ok().flatten());
    let Some(monitor) = monitor else { return };
    let (area, scale) = (monitor.work_area(), monitor.scale_factor());
    let size = OVERLAY_SIZE.to_physical::<i32>(scale);
    let (width, height) = (area.size.width.cast_signed(), area.size.height.cast_signed());
    // On Wayland this asks in vain: there the compositor places windows.
    let _placed = window.set_position(PhysicalPosition {
        x: area.position.x + (width - size.width) / 2,
        y: area.position.y + height - size.height - (OVERLAY_MARGIN * scale) as i32,
    });
}

/// Hides the overlay.
pub fn hide_overlay<R: Runtime>(app: &AppHandle<R>) {
    if let Some(window) = app.get_webview_window(OVERLAY)
        && let Err(error) = window.hide()
    {
        tracing::warn!(%error, "the overlay was not hidden");
    }
}

/// What the app does about the events of its windows: closing hides, in the tray it goes on.
pub fn on_event<R: Runtime>(window: &tauri::Window<R>, event: &WindowEvent) {
    let WindowEvent::CloseRequested { api, .. } = event else { return };
    let app = window.app_handle();
    let shell = app.state::<Shell>();
    if shell.is_quitting.load(Ordering::SeqCst) {
        return;
    }
    match window.label() {
        MAIN => {
            api.prevent_close();
            if matches!(shell.start_state(), crate::shell::StartState::Failed { .. }) {
                // There is nothing that could go on.
                quit::begin(app);
                return;
            }
            if let Err(error) = app.save_window_state(REMEMBERED) {
                tracing::debug!(%error, "the place of the window was not kept");
            }
            let _hidden = window.hide();
        }
        PROMPT => {
            // Closing is a no to what is asked; then nothing is asked, and the window goes.
            api.prevent_close();
            if let Some(prompts) = shell.prompts() {
                let open: Vec<PromptId> = prompts.list().into_iter().map(|prompt| prompt.id).collect();
                for id in open {
                    let _too_late = prompts.answer(&id, "deny");
                }
            }
        }
        _ => {
            api.prevent_close();
            let _hidden = window.hide();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(label: &str, url: &str) -> bool {
        let url: Url = url.parse().unwrap();
        let hub: Url = "http://127.0.0.1:4711/".parse().unwrap();
        may_show(label, &url, url.origin() == hub.origin())
    }

    #[test]
    fn a_window_shows_its_own_page_of_the_hub() {
        for (label, page) in PAGES {
            assert!(may(label, &format!("http://127.0.0.1:4711/ui/{page}#/login/abc")), "{label}");
            assert!(may(label, &format!("http://127.0.0.1:4711/ui/{page}?x=1")), "{label}");
            for (_, other) in PAGES.iter().filter(|(window, _)| window != label) {
                assert!(!may(label, &format!("http://127.0.0.1:4711/ui/{other}")), "{label} shows {other}");
            }
        }
        assert!(may(MAIN, "tauri://localhost/index.html") && !may(OVERLAY, "tauri://localhost/index.html"));
    }

    #[test]
    fn nothing_else_is_shown() {
        for url in [
            "http://127.0.0.1:4712/ui/",
            "http://localhost:4711/ui/",
            "https://127.0.0.1:4711/ui/",
            "http://user@127.0.0.1:4711/v1/status",
            "http://127.0.0.1:4711/",
            "http://127.0.0.1:4711/ui",
            "http://127.0.0.1:4711/ui/assets/x.js",
            "http://127.0.0.1:4711/v1/events",
            "http://127.0.0.1.evil.example:4711/ui/",
            "http://evil.example/ui/",
            "http://tauri.localhost:81/",
            "file:///etc/passwd",
            "data:text/html,x",
            "javascript:alert(1)",
            "about:blank",
            "blob:http://127.0.0.1:4711/ui/x",
            "tauri://evil/index.html",
        ] {
            for (label, _) in PAGES {
                assert!(!may(label, url), "{label} {url}");
            }
        }
    }
}
