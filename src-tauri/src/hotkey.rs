//! The global key. On X11, Windows and macOS it is grabbed, with press and release; on
//! Wayland, where no program may listen to keys, the desktop's portal binds it.
//!
//! A key that cannot be had is a problem that is told, never the end of the app: the window,
//! the tray and `loqa ptt` remain. Deliberately absent: what a press means, see `loqa-talk`.

mod accelerator;
#[cfg(target_os = "linux")]
mod portal;

use crate::refusal::Refusal;
use crate::shell::{Shell, blocking};
use serde::Serialize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tauri::{AppHandle, Manager as _, Runtime};
use tauri_plugin_global_shortcut::{GlobalShortcutExt as _, ShortcutState};

/// How the hotkey stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HotkeyState {
    /// The key; on Wayland in the desktop's own words. `None` is no key.
    pub accelerator: Option<String>,
    /// Whether a press is heard.
    pub is_active: bool,
    /// Whether the desktop binds it, and so decides which key it is.
    pub is_portal: bool,
    /// Why it is not as it was wanted, with the way out.
    pub problem: Option<String>,
}

/// The one hotkey of the app.
#[derive(Default)]
pub struct Hotkey {
    state: Mutex<HotkeyState>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
    #[cfg(target_os = "linux")]
    bound: Mutex<Option<portal::Bound>>,
}

/// What to do where the desktop binds no keys for programs.
#[cfg(target_os = "linux")]
const BIND_YOURSELF: &str =
    "bind a key to `loqa ptt press` and its release to `loqa ptt release` in the settings of the desktop";

impl Hotkey {
    /// How it stands.
    #[must_use]
    pub fn state(&self) -> HotkeyState {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HotkeyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: HotkeyState) -> HotkeyState {
        if let Some(problem) = &state.problem {
            tracing::warn!(problem, "the hotkey is not as it was wanted");
        }
        *self.lock() = state.clone();
        state
    }
}

/// Whether windows and keys are a Wayland compositor's.
#[must_use]
pub fn is_wayland() -> bool {
    cfg!(target_os = "linux") && speaks_wayland(|name| std::env::var(name).ok())
}

fn speaks_wayland(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    match set("XDG_SESSION_TYPE").as_deref() {
        Some("wayland") => true,
        Some("x11") => false,
        // Started from elsewhere: what is there to speak to.
        _ => set("WAYLAND_DISPLAY").is_some(),
    }
}

/// Begins to listen for the key of the settings. Call it once the app is set up; a portal may
/// ask the person first, which is waited for in the background.
pub fn start<R: Runtime>(app: &AppHandle<R>) {
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        let wanted = app.state::<Shell>().settings.get().hotkey;
        let shell = app.state::<Shell>();
        let _one = shell.hotkey.changing.lock().await;
        let state = if is_wayland() { bind(&app, wanted).await } else { grab(&app, None, wanted).await };
        shell.hotkey.set(state);
    });
}

/// Takes another key, or none.
///
/// # Errors
/// It is no key, or the choice cannot be kept.
pub async fn choose<R: Runtime>(app: &AppHandle<R>, wanted: Option<String>) -> Result<HotkeyState, Refusal> {
    if let Some(accelerator) = &wanted {
        accelerator::check(accelerator)?;
    }
    let shell = app.state::<Shell>();
    let _one = shell.hotkey.changing.lock().await;
    let before = shell.hotkey.state();
    let state = if is_wayland() {
        bind(app, wanted.clone()).await
    } else {
        let held = before.accelerator.filter(|_| before.is_active);
        grab(app, held, wanted.clone()).await
    };
    // Where the desktop decides, what was wanted is proposed again at the next start.
    let kept = if state.is_portal { wanted } else { state.accelerator.clone() };
    let state = shell.hotkey.set(state);
    let changed = app.clone();
    blocking(move || changed.state::<Shell>().settings.change(|settings| settings.hotkey = kept)).await?;
    Ok(state)
}

/// The key went down or up.
fn key<R: Runtime>(app: &AppHandle<R>, is_down: bool) {
    match app.state::<Shell>().talk() {
        Ok(talk) if is_down => talk.press(),
        Ok(talk) => talk.release(),
        Err(refusal) => tracing::debug!(%refusal, "the hotkey did nothing"),
    }
}

/// Lets go of the key that is held and takes the wanted one; a key that cannot be had leaves
/// the former.
async fn grab<R: Runtime>(app: &AppHandle<R>, held: Option<String>, wanted: Option<String>) -> HotkeyState {
    let grabbing = app.clone();
    let done = blocking(move || Ok(grab_now(&grabbing, held, wanted))).await;
    done.unwrap_or_else(|refusal| HotkeyState { problem: Some(refusal.message), ..HotkeyState::default() })
}

fn grab_now<R: Runtime>(app: &AppHandle<R>, held: Option<String>, wanted: Option<String>) -> HotkeyState {
    if held == wanted {
        let is_active = held.is_some();
        return HotkeyState { accelerator: held, is_active, ..HotkeyState::default() };
    }
    if let Some(wanted) = &wanted
        && let Err(problem) = register(app, wanted)
    {
        // The former key was not touched yet.
        let is_active = held.is_some();
        let accelerator = held.or_else(|| Some(wanted.clone()));
        return HotkeyState { accelerator, is_active, is_portal: false, problem: Some(problem) };
    }
    if let Some(held) = held
        && let Err(error) = app.global_shortcut().unregister(held.as_str())
    {
        tracing::warn!(%error, "the former hotkey was not let go");
    }
    let is_active = wanted.is_some();
    HotkeyState { accelerator: wanted, is_active, ..HotkeyState::default() }
}

fn register<R: Runtime>(app: &AppHandle<R>, accelerator: &str) -> Result<(), String> {
    // Not there: it found no keyboard to listen to when the app started.
    if app.try_state::<tauri_plugin_global_shortcut::GlobalShortcut<R>>().is_none() {
        return Err("this system gives programs no global keys: use the window or the tray".to_owned());
    }
    let registered = app.global_shortcut().on_shortcut(accelerator, |app, _, event| match event.state {
        ShortcutState::Pressed => key(app, true),
        ShortcutState::Released => key(app, false),
    });
    registered.map_err(|error| {
        tracing::debug!(%error, "the hotkey was not registered");
        format!("the key {accelerator} cannot be had, another program may hold it: choose another one")
    })
}

/// Has the desktop bind the key.
#[cfg(target_os = "linux")]
async fn bind<R: Runtime>(app: &AppHandle<R>, wanted: Option<String>) -> HotkeyState {
    let shell = app.state::<Shell>();
    let take = || shell.hotkey.bound.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(bound) = take() {
        bound.end().await;
    }
    let Some(wanted) = wanted else { return HotkeyState { is_portal: true, ..HotkeyState::default() } };
    let waiting = "the desktop asks whether Loqa may have a key: look for its window";
    shell.hotkey.set(HotkeyState { is_portal: true, problem: Some(waiting.to_owned()), ..HotkeyState::default() });
    let language = crate::language::Language::chosen(&shell.settings.get().preferences);
    let (pressed, ended) = (app.clone(), app.clone());
    let bound = portal::bind(
        portal::Wanted { description: language.hotkey().to_owned(), trigger: accelerator::trigger(&wanted) },
        move |is_down| key(&pressed, is_down),
        move || {
            let problem = format!("the desktop has ended its binding of the key: choose it anew, or {BIND_YOURSELF}");
            let hotkey = &ended.state::<Shell>().hotkey;
            hotkey.set(HotkeyState { is_active: false, problem: Some(problem), ..hotkey.state() });
        },
    );
    match bound.await {
        Ok(bound) => {
            let accelerator = Some(bound.trigger().to_owned());
            *shell.hotkey.bound.lock().unwrap_or_else(PoisonError::into_inner) = Some(bound);
            HotkeyState { accelerator, is_active: true, is_portal: true, problem: None }
        }
        Err(error) => {
            let problem = format!("the desktop binds no key for Loqa, {error}: {BIND_YOURSELF}");
            HotkeyState { accelerator: Some(wanted), is_active: false, is_portal: true, problem: Some(problem) }
        }
    }
}

#[cfg(not(target_os = "linux"))]
async fn bind<R: Runtime>(app: &AppHandle<R>, wanted: Option<String>) -> HotkeyState {
    grab(app, None, wanted).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_says_whether_it_is_wayland() {
        let of = |set: &[(&str, &str)]| {
            speaks_wayland(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
        };
        assert!(of(&[("XDG_SESSION_TYPE", "wayland"), ("DISPLAY", ":0")]), "X programs run there, too");
        assert!(!of(&[("XDG_SESSION_TYPE", "x11"), ("WAYLAND_DISPLAY", "wayland-0")]));
        assert!(of(&[("XDG_SESSION_TYPE", "tty"), ("WAYLAND_DISPLAY", "wayland-0")]));
        assert!(!of(&[("XDG_SESSION_TYPE", ""), ("WAYLAND_DISPLAY", "")]) && !of(&[]));
    }
}
