//! Keys as text, `CommandOrControl+Alt+Space`, and as the portal spells them,
//! `CTRL+ALT+space`.
//!
//! Deliberately absent: listening to them.

use crate::refusal::Refusal;
use tauri_plugin_global_shortcut::{Code, Modifiers, Shortcut};

/// Longest text of a key, in bytes. Chosen: all modifiers and the longest name.
const MAX_LENGTH: usize = 80;

/// Refuses what is no key, and keys that would take typing away from every program.
///
/// # Errors
/// Bad request, with what to choose.
pub fn check(text: &str) -> Result<Shortcut, Refusal> {
    let shortcut = parse(text)
        .ok_or_else(|| Refusal::bad_request("this is no key: choose one like CommandOrControl+Alt+Space or F9"))?;
    let chord = Modifiers::CONTROL | Modifiers::ALT | Modifiers::SUPER | Modifiers::META;
    if !shortcut.mods.intersects(chord) && !is_spare(shortcut.key) {
        let message = "this key would be missing for typing: add Control, Alt or Super, or choose F1 to F24";
        return Err(Refusal::bad_request(message));
    }
    Ok(shortcut)
}

fn parse(text: &str) -> Option<Shortcut> {
    let is_plain = text.len() <= MAX_LENGTH && text.bytes().all(|b| b.is_ascii_graphic());
    if is_plain { text.parse().ok() } else { None }
}

/// Keys that nobody types with.
fn is_spare(key: Code) -> bool {
    let name = key.to_string();
    let is_function = name.strip_prefix('F').is_some_and(|number| number.parse::<u8>().is_ok());
    let others = ["Pause", "ScrollLock", "PrintScreen", "MediaPlay", "MediaPause", "MediaStop"];
    is_function || others.contains(&name.as_str())
}

/// The portal's spelling, by the XDG shortcuts specification; `None` for keys whose name there
/// is not known, for which the desktop proposes one itself.
#[must_use]
pub fn trigger(text: &str) -> Option<String> {
    let shortcut = parse(text)?;
    let name = shortcut.key.to_string();
    let key = match name.as_str() {
        "Space" => "space".to_owned(),
        "Enter" => "Return".to_owned(),
        "Tab" | "Escape" | "Home" | "End" | "Insert" | "Delete" | "Pause" => name,
        _ => {
            let letter = name.strip_prefix("Key").map(str::to_lowercase);
            let digit = name.strip_prefix("Digit").map(str::to_owned);
            let function = is_spare(shortcut.key).then(|| name.clone()).filter(|name| name.starts_with('F'));
            letter.or(digit).or(function)?
        }
    };
    let mods = [
        (Modifiers::CONTROL, "CTRL"),
        (Modifiers::ALT, "ALT"),
        (Modifiers::SHIFT, "SHIFT"),
        (Modifiers::SUPER | Modifiers::META, "LOGO"),
    ];
    let held = mods.into_iter().filter(|(modifier, _)| shortcut.mods.intersects(*modifier)).map(|(_, name)| name);
    Some(held.chain([key.as_str()]).collect::<Vec<_>>().join("+"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::DEFAULT_HOTKEY;

    #[test]
    fn the_default_is_a_key_everywhere() {
        check(DEFAULT_HOTKEY).unwrap();
        let expected = if cfg!(target_os = "macos") { "ALT+LOGO+space" } else { "CTRL+ALT+space" };
        assert_eq!(trigger(DEFAULT_HOTKEY).as_deref(), Some(expected));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "+", "Control+", "Hyper+Q+W", "Control+Alt", "ä", "Control+\u{0}", &"A+".repeat(200)] {
            assert!(check(text).is_err(), "{text:?}");
            assert_eq!(trigger(text), None, "{text:?}");
        }
    }

    #[test]
    fn typing_is_left_to_other_programs() {
        for text in ["A", "Shift+A", "Space", "Enter", "Shift+Space", "ArrowUp"] {
            assert!(check(text).unwrap_err().message.contains("typing"), "{text}");
        }
        for text in ["F9", "Shift+F1", "Alt+A", "Super+Space", "Pause", "Control+Shift+K"] {
            check(text).unwrap();
        }
    }

    #[test]
    fn the_portal_has_its_own_spelling() {
        for (text, expected) in [
            ("Control+Shift+K", Some("CTRL+SHIFT+k")),
            ("Super+Digit1", Some("LOGO+1")),
            ("F12", Some("F12")),
            ("Alt+Enter", Some("ALT+Return")),
            ("Alt+BracketLeft", None),
        ] {
            assert_eq!(trigger(text).as_deref(), expected, "{text}");
        }
    }
}
