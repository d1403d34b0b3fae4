//! The icon in the tray: what Loqa does at the moment by its shape, and a menu. On Linux an
//! icon without a menu is not shown and clicks are not told, so everything is in the menu.
//!
//! A system without a tray, or without the library for it, is no fault: the window, the
//! hotkey and a second start of the app reach all of it. Deliberately absent: notifications.

mod picture;

use crate::language::Language;
use crate::shell::{Shell, blocking};
use crate::{quit, windows};
use loqa_talk::TalkPhase;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tauri::image::Image;
use tauri::menu::{CheckMenuItem, Menu, MenuEvent, MenuItem, PredefinedMenuItem};
use tauri::tray::{MouseButton, MouseButtonState, TrayIcon, TrayIconBuilder, TrayIconEvent};
use tauri::{AppHandle, Manager as _, Runtime};

/// The icon with what of its menu changes; managed by the app where there is one.
struct Tray<R: Runtime> {
    icon: TrayIcon<R>,
    state: MenuItem<R>,
    show: MenuItem<R>,
    talk: MenuItem<R>,
    mute: CheckMenuItem<R>,
    guest: CheckMenuItem<R>,
    quit: MenuItem<R>,
    shown: Mutex<Shown>,
    is_guest: AtomicBool,
}

/// What the icon shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    phase: TalkPhase,
    is_muted: bool,
    language: Language,
}

/// Makes the icon. Call it on the main thread.
pub fn open<R: Runtime>(app: &AppHandle<R>) {
    // The library for the tray is looked for when the first icon is made, and its binding
    // panics where the system has none.
    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| make(app)));
    match made {
        Ok(Ok(tray)) => {
            app.manage(tray);
        }
        Ok(Err(error)) => tracing::warn!(%error, "there is no icon in the tray"),
        Err(_) => tracing::warn!("there is no icon in the tray: install libayatana-appindicator3-1 to have one"),
    }
}

fn make<R: Runtime>(app: &AppHandle<R>) -> tauri::Result<Tray<R>> {
    let shell = app.state::<Shell>();
    let language = Language::chosen(&shell.settings.get().preferences);
    let texts = language.menu();
    let shown = Shown { phase: TalkPhase::Offline, is_muted: false, language };
    let state = MenuItem::with_id(app, "state", language.phase(shown.phase), false, None::<&str>)?;
    let show = MenuItem::with_id(app, "show", texts.show, true, None::<&str>)?;
    let talk = MenuItem::with_id(app, "talk", texts.talk, true, None::<&str>)?;
    let mute = CheckMenuItem::with_id(app, "mute", texts.mute, true, false, None::<&str>)?;
    let guest = CheckMenuItem::with_id(app, "guest", texts.guest, true, false, None::<&str>)?;
    let quit = MenuItem::with_id(app, "quit", texts.quit, true, None::<&str>)?;
    let line = || PredefinedMenuItem::separator(app);
    let menu = Menu::with_items(app, &[&state, &line()?, &show, &talk, &mute, &guest, &line()?, &quit])?;
    let icon = TrayIconBuilder::with_id("loqa")
        .icon(image(shown.phase))
        .tooltip(language.phase(shown.phase))
        .menu(&menu)
        .show_menu_on_left_click(false)
        // Not in a folder of all users.
        .temp_dir_path(shell.data.join("tray"))
        .on_menu_event(|app, event| chosen(app, &event))
        .on_tray_icon_event(|icon, event| {
            let is_click = matches!(
                event,
                TrayIconEvent::Click { button: MouseButton::Left, button_state: MouseButtonState::Up, .. }
            );
            if is_click {
                windows::show_main(icon.app_handle(), None);
            }
        })
        .build(app)?;
    let is_guest = AtomicBool::new(false);
    Ok(Tray { icon, state, show, talk, mute, guest, quit, shown: Mutex::new(shown), is_guest })
}

fn image(phase: TalkPhase) -> Image<'static> {
    Image::new_owned(picture::draw(phase), picture::SIZE, picture::SIZE)
}

/// A line of the menu was chosen.
fn chosen<R: Runtime>(app: &AppHandle<R>, event: &MenuEvent) {
    let shell = app.state::<Shell>();
    match event.id().as_ref() {
        "show" => windows::show_main(app, None),
        "quit" => quit::begin(app),
        "talk" => {
            if let Ok(talk) = shell.talk() {
                // It listens until one is silent.
                talk.tap();
            }
        }
        "mute" => {
            if let Ok(talk) = shell.talk() {
                talk.mute(!talk.snapshot().is_muted);
            }
        }
        "guest" => {
            if let Some(privacy) = shell.privacy() {
                let changed = app.clone();
                tauri::async_runtime::spawn(async move {
                    let on = !privacy.guest();
                    let kept = blocking(move || {
                        // It is in force even when it cannot be kept for the next start.
                        if let Err(error) = privacy.set_guest(on) {
                            tracing::warn!(%error, "guest mode is not kept for the next start");
                        }
                        Ok(())
                    });
                    let _done = kept.await;
                    show_guest(&changed, on);
                });
            }
        }
        _ => {}
    }
}

/// Shows a state; cheap when it is shown already.
pub fn show_phase<R: Runtime>(app: &AppHandle<R>, phase: TalkPhase, is_muted: bool) {
    change(app, |shown| Shown { phase, is_muted, ..shown });
}

/// Speaks the language that the person chose.
pub fn relabel<R: Runtime>(app: &AppHandle<R>) {
    let language = Language::chosen(&app.state::<Shell>().settings.get().preferences);
    change(app, |shown| Shown { language, ..shown });
}

/// Shows whether guest mode is on; cheap when it is shown already.
pub fn show_guest<R: Runtime>(app: &AppHandle<R>, on: bool) {
    let Some(tray) = app.try_state::<Tray<R>>() else { return };
    if tray.is_guest.swap(on, Ordering::SeqCst) != on {
        on_main(app, move |tray| tray.guest.set_checked(on));
    }
}

fn change<R: Runtime>(app: &AppHandle<R>, change: impl FnOnce(Shown) -> Shown) {
    let Some(tray) = app.try_state::<Tray<R>>() else { return };
    let (before, after) = {
        let mut shown = tray.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *shown;
        *shown = change(before);
        (before, *shown)
    };
    if before == after {
        return;
    }
    on_main(app, move |tray| {
        if before.phase != after.phase {
            tray.icon.set_icon(Some(image(after.phase)))?;
        }
        let words = after.language.phase(after.phase);
        tray.icon.set_tooltip(Some(words))?;
        tray.state.set_text(words)?;
        tray.mute.set_checked(after.is_muted)?;
        if before.language != after.language {
            let texts = after.language.menu();
            tray.show.set_text(texts.show)?;
            tray.talk.set_text(texts.talk)?;
            tray.mute.set_text(texts.mute)?;
            tray.guest.set_text(texts.guest)?;
            tray.quit.set_text(texts.quit)?;
        }
        Ok(())
    });
}

/// Menus and icons are the main thread's; nobody waits for it.
fn on_main<R: Runtime>(app: &AppHandle<R>, act: impl FnOnce(&Tray<R>) -> tauri::Result<()> + Send + 'static) {
    let handle = app.clone();
    let asked = app.run_on_main_thread(move || {
        if let Some(tray) = handle.try_state::<Tray<R>>()
            && let Err(error) = act(&tray)
        {
            tracing::debug!(%error, "the icon in the tray was not changed");
        }
    });
    if let Err(error) = asked {
        tracing::debug!(%error, "the icon in the tray was not changed");
    }
}

/// Whether something shows the icon: without a host for it, as on a bare desktop or on GNOME
/// without its extension, closing the window hides it with no icon left.
pub async fn is_shown<R: Runtime>(app: &AppHandle<R>) -> bool {
    let is_made = app.try_state::<Tray<R>>().is_some();
    is_made && has_host().await
}

#[cfg(target_os = "linux")]
async fn has_host() -> bool {
    use ashpd::zbus;
    /// Longest wait for the session bus. Chosen: it answers within milliseconds.
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
    let asked = async {
        let bus = zbus::Connection::session().await?;
        // Nothing is kept of it: a bus without a watcher would be complained about in the log.
        let watcher: zbus::Proxy<'_> = zbus::proxy::Builder::new(&bus)
            .destination("org.kde.StatusNotifierWatcher")?
            .path("/StatusNotifierWatcher")?
            .interface("org.kde.StatusNotifierWatcher")?
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await?;
        watcher.get_property::<bool>("IsStatusNotifierHostRegistered").await
    };
    matches!(tokio::time::timeout(PATIENCE, asked).await, Ok(Ok(true)))
}

#[cfg(not(target_os = "linux"))]
async fn has_host() -> bool {
    true
}
