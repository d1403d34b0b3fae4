//! What the shell itself says, in English and German: the menu of the tray and the states.
//!
//! The pages have catalogues of their own. Deliberately absent: other languages, for which
//! English stands.

use loqa_talk::TalkPhase;
use serde_json::{Map, Value};

/// A language of the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// German.
    German,
}

/// Texts of the tray's menu.
#[derive(Debug)]
pub struct MenuTexts {
    /// Shows the window.
    pub show: &'static str,
    /// Listens until one is silent.
    pub talk: &'static str,
    /// Closes the microphone.
    pub mute: &'static str,
    /// Keeps nothing.
    pub guest: &'static str,
    /// Ends the app.
    pub quit: &'static str,
}

impl Language {
    /// The one that the person chose in the window, else that of the system.
    #[must_use]
    pub fn chosen(preferences: &Map<String, Value>) -> Self {
        match preferences.get("language").and_then(Value::as_str) {
            Some("de") => Self::German,
            Some("en") => Self::English,
            _ => Self::of_system(|name| std::env::var(name).ok()),
        }
    }

    /// POSIX: the first of these that is set counts.
    fn of_system(variable: impl Fn(&str) -> Option<String>) -> Self {
        let locale =
            ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(|name| variable(name).filter(|v| !v.is_empty()));
        if locale.is_some_and(|locale| locale.starts_with("de")) { Self::German } else { Self::English }
    }

    /// The menu of the tray.
    #[must_use]
    pub const fn menu(self) -> MenuTexts {
        match self {
            Self::English => MenuTexts {
                show: "Show Loqa",
                talk: "Push to talk",
                mute: "Mute microphone",
                guest: "Guest mode",
                quit: "Quit",
            },
            Self::German => MenuTexts {
                show: "Loqa zeigen",
                talk: "Sprechen",
                mute: "Mikrofon stumm",
                guest: "Gastmodus",
                quit: "Beenden",
            },
        }
    }

    /// A state in words.
    #[must_use]
    pub const fn phase(self, phase: TalkPhase) -> &'static str {
        match (self, phase) {
            (Self::English, TalkPhase::Offline) => "Loqa: offline",
            (Self::English, TalkPhase::Muted) => "Loqa: muted",
            (Self::English, TalkPhase::Idle) => "Loqa: ready",
            (Self::English, TalkPhase::Listening) => "Loqa: listening",
            (Self::English, TalkPhase::Thinking) => "Loqa: thinking",
            (Self::English, TalkPhase::Speaking) => "Loqa: speaking",
            (Self::German, TalkPhase::Offline) => "Loqa: nicht bereit",
            (Self::German, TalkPhase::Muted) => "Loqa: stumm",
            (Self::German, TalkPhase::Idle) => "Loqa: bereit",
            (Self::German, TalkPhase::Listening) => "Loqa: hört zu",
            (Self::German, TalkPhase::Thinking) => "Loqa: denkt",
            (Self::German, TalkPhase::Speaking) => "Loqa: spricht",
        }
    }

    /// What the hotkey does, for the desktop's own list of shortcuts.
    #[must_use]
    pub const fn hotkey(self) -> &'static str {
        match self {
            Self::English => "Push to talk",
            Self::German => "Sprechen",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_persons_choice_comes_before_the_systems() {
        let chosen = |language: &str| Map::from_iter([("language".to_owned(), Value::from(language))]);
        assert_eq!(Language::chosen(&chosen("de")), Language::German);
        assert_eq!(Language::chosen(&chosen("en")), Language::English);
        let of = |set: &[(&str, &str)]| {
            Language::of_system(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(of(&[("LANG", "de_AT.UTF-8")]), Language::German);
        assert_eq!(of(&[("LC_ALL", "C"), ("LANG", "de_AT.UTF-8")]), Language::English);
        assert_eq!(of(&[("LC_ALL", ""), ("LANG", "de")]), Language::German, "an empty one is not set");
        assert_eq!(of(&[]), Language::English);
    }
}
