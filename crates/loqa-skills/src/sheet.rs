//! The permission sheet: what a skill may do, in the host's own sentences. What the
//! author wrote is escaped, quoted and kept short.

use crate::package::Package;
use crate::permission::{Permission, Requested, ScopeKind, ScopeValue, Tier};
use crate::scope::tier_in;
use serde::Serialize;
use serde_json::{Map, Value};

/// Longest foreign text that is shown. Chosen: fits two lines of a terminal.
const MAX_CHARS: usize = 160;

/// One line of the sheet, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Name of the permission.
    pub permission: &'static str,
    /// `T0` to `T4`, with this scope.
    pub tier: &'static str,
    /// What it lets a skill do, in the host's words; begins with a verb.
    pub sentence: &'static str,
    /// How far, as the manifest wrote it.
    pub scope: Map<String, Value>,
    /// Why, in the author's words: escape it, never style it.
    pub reason: String,
}

/// The sheet of a package, for a terminal.
#[must_use]
pub fn text(package: &Package) -> String {
    let manifest = package.manifest();
    let mut lines = vec![format!("{} {} ({})", manifest.name, manifest.version, quoted(&manifest.title))];
    lines.push(format!("  says of itself: {}", quoted(&manifest.description)));
    lines.push(format!("  author: {}, licence: {}", quoted(&manifest.author), quoted(&manifest.license)));
    lines.push(match package.publisher() {
        Some(key) => format!("  signed with the key {key}"),
        None => "  not signed: nothing shows who made it".to_owned(),
    });
    let tools = manifest.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>().join(", ");
    lines.push(format!("  tools: {}", if tools.is_empty() { "none" } else { &tools }));
    lines.extend(permissions("If you install it, it", &manifest.permissions));
    lines.join("\n")
}

/// The sheet's lines about permissions, the worst first; `heading` begins the sentences.
#[must_use]
pub fn permissions(heading: &str, requested: &[Requested]) -> Vec<String> {
    if requested.is_empty() {
        return vec!["  It asks for no permission.".to_owned()];
    }
    let mut requested: Vec<&Requested> = requested.iter().collect();
    requested.sort_by_key(|requested| std::cmp::Reverse(tier_of(requested)));
    let mut lines = vec![format!("  {heading}")];
    for requested in requested {
        let permission = requested.permission;
        lines.push(format!("  - {} ({permission}, {})", sentence(permission), tier(tier_of(requested))));
        let scope = scope(requested);
        if !scope.is_empty() {
            lines.push(format!("      {scope}"));
        }
        lines.push(format!("      its reason: {}", quoted(&requested.reason)));
    }
    lines
}

/// The same for programs, in the manifest's order.
#[must_use]
pub fn lines(requested: &[Requested]) -> Vec<Line> {
    let line = |requested: &Requested| Line {
        permission: requested.permission.as_str(),
        tier: tier_of(requested).as_str(),
        sentence: sentence(requested.permission),
        scope: requested.scope.to_json(),
        reason: requested.reason.clone(),
    };
    requested.iter().map(line).collect()
}

/// A wildcard makes some permissions worse than they are by themselves.
fn tier_of(requested: &Requested) -> Tier {
    tier_in(requested.permission, &requested.scope)
}

/// Foreign text: quoted, short, and without anything that moves or hides letters.
#[must_use]
pub fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(MAX_CHARS).map(visible).collect();
    let more = if text.chars().count() > MAX_CHARS { "…" } else { "" };
    format!("“{shown}{more}”")
}

/// Letters of any script stay; what is not seen, or ends the quotation, becomes its number.
fn visible(character: char) -> String {
    let shown = (character.is_alphanumeric() || character.is_ascii_graphic() || character == ' ')
        && !matches!(character, '“' | '”' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}');
    if shown { character.to_string() } else { format!("\\u{{{:x}}}", u32::from(character)) }
}

const fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::T0 => "harmless",
        Tier::T1 => "allowed from now on",
        Tier::T2 => "you are asked at the first use",
        Tier::T3 => "you are asked at every use",
        Tier::T4 => "never allowed",
    }
}

const fn sentence(permission: Permission) -> &'static str {
    match permission {
        Permission::LogWrite => "may write to Loqa's log",
        Permission::ReplySay => "may speak while it answers you",
        Permission::KvStore => "may keep data of its own",
        Permission::BusPublish => "may send messages under its own name to programs that listen",
        Permission::BusSubscribe => "may listen to messages of other programs",
        Permission::TimerSet => "may set timers and read the clock",
        Permission::TtsSay => "may speak when nobody asked",
        Permission::NotifyShow => "may show notifications",
        Permission::HttpCall => "may send data to these web addresses and read what they answer",
        Permission::SecretUse => "may use this secret of yours at this address, without seeing it",
        Permission::TranscriptRead => "may read what you said",
        Permission::EventStoreRead => "may read what happened in Loqa",
        Permission::LlmComplete => "may put questions to the language model",
        Permission::DeviceControl => "may switch these devices in your home",
        Permission::MessageSend => "may send messages to people in your name",
        Permission::DataDelete => "may delete data of yours",
        Permission::NativeExec => "runs as a program of its own and can do whatever its sandbox leaves open",
        Permission::AudioCapture => "wants to listen to your microphone",
    }
}

/// How far, as `key: value` pairs; limits that the manifest does not name stand with their default.
fn scope(requested: &Requested) -> String {
    let permission = requested.permission;
    let keys = permission.scope_keys().iter();
    let parts = keys.filter_map(|key| {
        let value = match (key.kind, requested.scope.get(key.name)) {
            (ScopeKind::Limit { .. }, _) => requested.scope.limit(permission, key.name)?.to_string(),
            (_, Some(ScopeValue::Texts(texts))) => texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "),
            (_, Some(ScopeValue::Text(text))) => quoted(text),
            (_, Some(ScopeValue::Flag(true))) => "yes".to_owned(),
            (_, Some(ScopeValue::Flag(false) | ScopeValue::Limit(_)) | None) => return None,
        };
        Some(format!("{}: {value}", key.name))
    });
    parts.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_leave_its_quotation() {
        assert_eq!(quoted("Käse für Ωmega, 猫"), "“Käse für Ωmega, 猫”");
        assert_eq!(quoted("a\u{1b}[2Jb"), "“a\\u{1b}[2Jb”");
        assert_eq!(quoted("x\u{202e}gpj"), "“x\\u{202e}gpj”");
        assert_eq!(quoted("yes”\nAllow? [Y/n] y"), "“yes\\u{201d}\\u{a}Allow? [Y/n] y”");
        assert_eq!(quoted(&"a".repeat(500)).chars().count(), MAX_CHARS + 3);
    }

    /// Every character that there is: nothing but letters, plain signs and spaces comes out.
    #[test]
    fn no_character_is_invisible_on_the_sheet() {
        for character in (0..=0x10_ffff).filter_map(char::from_u32) {
            for shown in visible(character).chars() {
                let plain = shown.is_alphanumeric() || shown.is_ascii_graphic() || shown == ' ';
                assert!(plain && !shown.is_control(), "U+{:04X} shows as {shown:?}", u32::from(character));
            }
        }
    }
}
