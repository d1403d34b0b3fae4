//! What pages may ask the app to do: only what a page cannot do itself. Who may ask for what
//! stands in `capabilities/`; everything else of Loqa goes through the hub's API.
//!
//! Deliberately absent: decisions. A command checks its arguments and passes them on.

mod desktop;
#[cfg(test)]
pub mod names;
mod sound;
mod start;
mod talk;

use tauri::Runtime;
use tauri::ipc::Invoke;

/// Carries out a command that the window may call.
pub fn handler<R: Runtime>() -> impl Fn(Invoke<R>) -> bool + Send + Sync + 'static {
    tauri::generate_handler![
        start::start_read,
        start::start_again,
        desktop::app_info,
        talk::talk_press,
        talk::talk_release,
        talk::talk_cancel,
        talk::talk_mute,
        talk::talk_text,
        talk::talk_fresh,
        talk::talk_snapshot,
        sound::devices_list,
        sound::devices_choose,
        sound::devices_listen,
        sound::devices_try_speaker,
        desktop::preferences_read,
        desktop::preferences_write,
        desktop::hotkey_read,
        desktop::hotkey_choose,
        desktop::autostart_read,
        desktop::autostart_choose,
        desktop::first_run_done,
        desktop::save_file,
        desktop::open_main,
        desktop::overlay_hide,
        desktop::quit,
        desktop::update_check,
        desktop::open_link,
    ]
}
