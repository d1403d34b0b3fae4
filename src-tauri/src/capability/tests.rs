//! Who may call what: every command from every window and every origin, through the app's own
//! permissions; and the files themselves, for a person to review.

use super::*;
use crate::app::context;
use crate::commands::names::COMMANDS;
use crate::windows::{MAIN, OVERLAY, PROMPT};
use expect_test::expect_file;
use std::collections::BTreeSet;
use tauri::ipc::{CallbackFn, InvokeBody};
use tauri::test::{INVOKE_KEY, MockRuntime, get_ipc_response, mock_builder};
use tauri::webview::InvokeRequest;
use tauri::{App, WebviewWindow, WebviewWindowBuilder};

const HUB: &str = "http://127.0.0.1:4711";
const START: &str = if cfg!(windows) { "http://tauri.localhost" } else { "tauri://localhost" };
/// Origins that no window ever shows; should one do so, it gets nothing.
const FOREIGN: &[&str] = &[
    "http://127.0.0.1:4712",
    "http://127.0.0.1",
    "http://localhost:4711",
    "http://[::1]:4711",
    "https://127.0.0.1:4711",
    "http://127.0.0.1.evil.example:4711",
    "http://evil.example",
    "https://evil.example:4711",
    "http://ipc.localhost",
    "data:text/html,x",
    "about:blank",
];
/// Windows of which two do not exist: a name that is not listed gets nothing.
const WINDOWS: &[&str] = &[MAIN, OVERLAY, PROMPT, "main2", "other"];

/// As `docs/desktop.md` says.
fn allowed(window: &str, origin: &str) -> BTreeSet<&'static str> {
    let list: &[&'static str] = match (window, origin) {
        (MAIN, START) => &["start_read", "start_again", "quit"],
        (MAIN, HUB) => &[
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
            "overlay_hide",
            "quit",
            "update_check",
            "open_link",
            "plugin:event|listen",
            "plugin:event|unlisten",
        ],
        (OVERLAY, HUB) => &[
            "app_info",
            "talk_press",
            "talk_release",
            "talk_cancel",
            "talk_text",
            "talk_snapshot",
            "preferences_read",
            "open_main",
            "overlay_hide",
            "plugin:event|listen",
            "plugin:event|unlisten",
        ],
        (PROMPT, HUB) => &["app_info", "preferences_read", "plugin:event|listen", "plugin:event|unlisten"],
        _ => &[],
    };
    list.iter().copied().collect()
}

/// Commands of others that would do harm, and names that nobody has.
const OTHERS: &[&str] = &[
    "plugin:event|listen",
    "plugin:event|unlisten",
    "plugin:event|emit",
    "plugin:event|emit_to",
    "plugin:webview|create_webview_window",
    "plugin:webview|internal_toggle_devtools",
    "plugin:window|close",
    "plugin:window|set_size",
    "plugin:app|version",
    "plugin:path|resolve_directory",
    "plugin:resources|close",
    "plugin:menu|new",
    "plugin:tray|new",
    "plugin:image|from_path",
    "plugin:dialog|save",
    "plugin:opener|open_url",
    "plugin:opener|open_path",
    "plugin:updater|check",
    "plugin:updater|download_and_install",
    "plugin:autostart|enable",
    "plugin:global-shortcut|register",
    "plugin:window-state|save_window_state",
    "plugin:shell|execute",
    "plugin:fs|read_file",
    "no_such_command",
];

/// The app's permissions, with commands that only say that they were reached.
fn app() -> App<MockRuntime> {
    let builder = mock_builder().invoke_handler(|invoke| {
        invoke.resolver.resolve("reached");
        true
    });
    let app = builder.build(context()).unwrap();
    for label in WINDOWS {
        WebviewWindowBuilder::new(&app, *label, tauri::WebviewUrl::default()).build().unwrap();
    }
    app
}

fn request(command: &str, origin: &str) -> InvokeRequest {
    InvokeRequest {
        cmd: command.to_owned(),
        callback: CallbackFn(0),
        error: CallbackFn(1),
        url: format!("{origin}{}", if origin.contains("//") { "/ui/" } else { "" }).parse().unwrap(),
        body: InvokeBody::Json(serde_json::json!({})),
        headers: Default::default(),
        invoke_key: INVOKE_KEY.to_owned(),
    }
}

/// Whether a call comes through; what becomes of it then is another matter.
fn comes_through(window: &WebviewWindow<MockRuntime>, command: &str, origin: &str) -> bool {
    match get_ipc_response(window, request(command, origin)) {
        Ok(_) => true,
        Err(reason) => {
            let reason = reason.as_str().unwrap_or_default().to_owned();
            // What the permissions say; a plugin that is reached complains about its arguments.
            !reason.contains("not allowed") && !reason.contains("not found")
        }
    }
}

/// Every pair that comes through though it should not, or the other way round.
fn differences(app: &App<MockRuntime>) -> Vec<String> {
    let mut differences = Vec::new();
    for label in WINDOWS {
        let window = app.get_webview_window(label).unwrap();
        for origin in FOREIGN.iter().copied().chain([HUB, START]) {
            let allowed = allowed(label, origin);
            for command in COMMANDS.iter().chain(OTHERS) {
                let comes = comes_through(&window, command, origin);
                if comes != allowed.contains(command) {
                    differences.push(format!("{command} from {label} at {origin}: {comes}"));
                }
            }
        }
    }
    differences
}

fn hub() -> url::Origin {
    url::Url::parse(HUB).unwrap().origin()
}

#[test]
fn only_the_listed_pairs_come_through() {
    let app = app();
    grant(app.handle(), &hub());
    assert_eq!(differences(&app), Vec::<String>::new());
}

#[test]
fn without_a_hub_its_pages_get_nothing() {
    let app = app();
    for label in WINDOWS {
        let window = app.get_webview_window(label).unwrap();
        for command in COMMANDS.iter().chain(OTHERS) {
            assert!(!comes_through(&window, command, HUB), "{command} from {label}");
        }
    }
}

/// The control: one grant more than what is listed is noticed, whichever it is.
#[test]
fn a_grant_too_many_is_noticed() {
    let too_many = [
        ("the prompt may talk", PROMPT, "allow-talk-press", HUB),
        ("any window", "*", "allow-app-info", HUB),
        ("the overlay may end the app", OVERLAY, "allow-quit", HUB),
        ("windows may be made", MAIN, "core:webview:allow-create-webview-window", HUB),
        ("another page of this machine", MAIN, "allow-app-info", "http://127.0.0.1:*"),
        ("any page", MAIN, "allow-quit", "http://*"),
    ];
    for (what, window, permission, origin) in too_many {
        let app = app();
        grant(app.handle(), &hub());
        let more = json!({
            "identifier": "more",
            "local": false,
            "remote": { "urls": [origin] },
            "windows": [window],
            "permissions": [permission],
        });
        app.add_capability(more.to_string()).unwrap();
        assert_ne!(differences(&app), Vec::<String>::new(), "{what}");
    }
}

/// A capability with an address or a wildcard in it is a decision that a person makes, with
/// this snapshot in the same change.
#[test]
fn the_files_are_as_they_were_reviewed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("capabilities");
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["main.json", "overlay.json", "prompt.json", "start.json"]);
    let start = include_str!("../../capabilities/start.json");
    let mut reviewed = String::new();
    for file in [start].iter().chain(FILES) {
        let capability: Value = serde_json::from_str(file).unwrap();
        let text = |key: &str| capability[key].to_string();
        reviewed.push_str(&format!("{} for {} local {}\n", text("identifier"), text("windows"), text("local")));
        assert_eq!(capability.get("remote"), None, "the app adds the exact address");
        for permission in capability["permissions"].as_array().unwrap() {
            reviewed.push_str(&format!("  {}\n", permission.as_str().unwrap()));
        }
    }
    expect_file!["./reviewed.txt"].assert_eq(&reviewed);
}

/// Every command that is carried out is listed: one that is missing in the list would be
/// denied to all windows without a word.
#[test]
fn the_list_of_commands_is_that_of_the_app() {
    let handled: BTreeSet<_> = include_str!("../commands.rs")
        .lines()
        .filter_map(|line| line.trim().strip_suffix(',')?.split_once("::"))
        .map(|(_, name)| name)
        .collect();
    assert_eq!(handled, COMMANDS.iter().copied().collect());
}

#[test]
fn the_policy_of_the_start_page_allows_no_script_but_ours() {
    let context = context::<MockRuntime>();
    let security = &context.config().app.security;
    let policy = security.csp.as_ref().unwrap().to_string();
    let directive = |name: &str| {
        let found = policy.split(';').map(str::trim).find_map(|part| part.strip_prefix(name));
        found.map(|sources| sources.trim().to_owned())
    };
    assert_eq!(directive("script-src").as_deref(), Some("'self'"));
    assert_eq!(directive("object-src").as_deref(), Some("'none'"));
    assert_eq!(directive("base-uri").as_deref(), Some("'none'"));
    assert_eq!(directive("connect-src").as_deref(), Some("ipc: http://ipc.localhost"));
    for forbidden in ["unsafe-", "http://*", "https:", "blob:"] {
        assert!(!policy.contains(forbidden), "{forbidden}");
    }
    assert!(security.freeze_prototype && !context.config().app.with_global_tauri);
    assert_eq!(
        security.dangerous_disable_asset_csp_modification,
        tauri::utils::config::DisabledCspModificationKind::Flag(false)
    );
    let page = include_str!("../../start/index.html");
    for inline in ["<script>", "<style", " style=", " onclick=", "javascript:"] {
        assert!(!page.contains(inline), "{inline}");
    }
}
