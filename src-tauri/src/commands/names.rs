//! The commands that pages may be allowed to call. `build.rs` reads this list: a command that
//! is missing here has no permission, and is denied to every window.

/// By name, in the order of `docs/desktop.md`.
pub const COMMANDS: &[&str] = &[
    "start_read",
    "start_again",
    "app_info",
    "talk_press",
    "talk_release",
    "talk_cancel",
    "talk_mute",
    "talk_text",
    "talk_fresh",
    "talk_snapshot",
    "devices_list",
    "devices_choose",
    "devices_listen",
    "devices_try_speaker",
    "preferences_read",
    "preferences_write",
    "hotkey_read",
    "hotkey_choose",
    "autostart_read",
    "autostart_choose",
    "first_run_done",
    "save_file",
    "open_main",
    "overlay_hide",
    "quit",
    "update_check",
    "open_link",
];
