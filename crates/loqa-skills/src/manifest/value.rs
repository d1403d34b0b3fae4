//! Single values of a manifest: of the right type, visible, and of a size that fits.

use super::fault::{Faults, Place, Rule};
use super::yaml::{Key, Node, Value};

/// A mapping with helpers that report what does not fit.
pub(super) struct Mapping<'a> {
    place: Place,
    what: &'a str,
    pub(super) entries: &'a [(Key, Node)],
}

impl<'a> Mapping<'a> {
    pub(super) fn of(node: &'a Node, what: &'a str, faults: &mut Faults) -> Option<Self> {
        match &node.value {
            Value::Map(entries) => Some(Self { place: node.place, what, entries }),
            other @ (Value::Scalar { .. } | Value::List(_)) => {
                faults.add(
                    node.place,
                    Rule::Type,
                    format!("{what} is {}", other.kind()),
                    "write a mapping of keys to values",
                );
                None
            }
        }
    }

    pub(super) fn refuse_unknown(&self, known: &[&str], faults: &mut Faults) {
        for (key, _) in self.entries {
            if !known.contains(&key.name.as_str()) {
                faults.add(
                    key.place,
                    Rule::UnknownKey,
                    format!("{} has no key `{}`", self.what, printable(&key.name)),
                    format!("known keys are: {}", known.join(", ")),
                );
            }
        }
    }

    pub(super) fn optional(&self, name: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    pub(super) fn required(&self, name: &str, faults: &mut Faults) -> Option<&'a Node> {
        let node = self.optional(name);
        if node.is_none() {
            faults.add(self.place, Rule::MissingKey, format!("{} has no `{name}`", self.what), format!("add `{name}`"));
        }
        node
    }
}

/// A text; numbers and truth values have to stand in quotes only where YAML reads them as null.
pub(super) fn text<'a>(node: &'a Node, what: &str, faults: &mut Faults) -> Option<&'a str> {
    match &node.value {
        Value::Scalar { text, plain } if !(*plain && matches!(text.as_str(), "" | "~" | "null")) => Some(text),
        Value::Scalar { .. } => {
            faults.add(node.place, Rule::Type, format!("`{what}` is empty"), "write a text");
            None
        }
        other @ (Value::List(_) | Value::Map(_)) => {
            faults.add(node.place, Rule::Type, format!("`{what}` is {}", other.kind()), "write a text");
            None
        }
    }
}

/// A text for people: one line, visible, of one script per word, at most `max` characters.
pub(super) fn line(node: &Node, what: &str, max: usize, faults: &mut Faults) -> Option<String> {
    let words = text(node, what, faults)?;
    if words.trim().is_empty() {
        faults.add(node.place, Rule::Value, format!("`{what}` is empty"), "write a text");
        return None;
    }
    let n_chars = words.chars().count();
    if n_chars > max {
        faults.add(node.place, Rule::Value, format!("`{what}` has {n_chars} characters"), format!("use at most {max}"));
        return None;
    }
    // Escapes in double quotes bring back what the raw text was checked for.
    if let Some(character) = words.chars().find(|c| is_invisible(*c) || *c == '\t') {
        faults.add(
            node.place,
            Rule::Characters,
            format!("`{what}` holds the control character U+{:04X}", u32::from(character)),
            "write plain text on one line",
        );
        return None;
    }
    if has_stacked_marks(words) {
        faults.add(
            node.place,
            Rule::Characters,
            format!("`{what}` stacks marks on one letter"),
            "write plain letters with at most two marks each",
        );
        return None;
    }
    if let Some(word) = words.split_whitespace().find(|word| mixes_scripts(word)) {
        faults.add(
            node.place,
            Rule::Characters,
            format!("`{word}` in `{what}` mixes letters that look alike"),
            "write the word in one script",
        );
        return None;
    }
    Some(words.to_owned())
}

/// Many marks on one letter grow into the lines above and below.
fn has_stacked_marks(text: &str) -> bool {
    const MOST: usize = 2;
    let mut n_marks = 0;
    text.chars().any(|character| {
        let is_mark = matches!(character, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}');
        n_marks = if is_mark { n_marks + 1 } else { 0 };
        n_marks > MOST
    })
}

/// Latin beside Greek or Cyrillic within a word is how one name is made to look like another.
fn mixes_scripts(word: &str) -> bool {
    let latin = word.chars().any(|c| c.is_ascii_alphabetic() || matches!(c, '\u{c0}'..='\u{24f}'));
    let look_alike =
        word.chars().any(|c| matches!(c, '\u{370}'..='\u{52f}' | '\u{13a0}'..='\u{13ff}' | '\u{ff21}'..='\u{ff5a}'));
    latin && look_alike
}

pub(super) fn integer(node: &Node, what: &str, faults: &mut Faults) -> Option<i64> {
    let number = match &node.value {
        Value::Scalar { text, plain: true } => text.parse().ok(),
        Value::Scalar { .. } | Value::List(_) | Value::Map(_) => None,
    };
    if number.is_none() {
        faults.add(node.place, Rule::Type, format!("`{what}` is not a whole number"), "write digits without quotes");
    }
    number
}

pub(super) fn flag(node: &Node, what: &str, faults: &mut Faults) -> Option<bool> {
    match &node.value {
        Value::Scalar { text, plain: true } if text == "true" => Some(true),
        Value::Scalar { text, plain: true } if text == "false" => Some(false),
        Value::Scalar { .. } | Value::List(_) | Value::Map(_) => {
            faults.add(node.place, Rule::Type, format!("`{what}` is neither true nor false"), "write true or false");
            None
        }
    }
}

pub(super) fn list<'a>(node: &'a Node, what: &str, max: usize, faults: &mut Faults) -> &'a [Node] {
    match &node.value {
        Value::List(items) => {
            if items.len() > max {
                faults.add(
                    node.place,
                    Rule::Value,
                    format!("`{what}` has {} entries", items.len()),
                    format!("use at most {max}"),
                );
            }
            items
        }
        other @ (Value::Scalar { .. } | Value::Map(_)) => {
            faults.add(node.place, Rule::Type, format!("`{what}` is {}", other.kind()), "write a list");
            &[]
        }
    }
}

/// Foreign text for a fault: short, and nothing in it can move the terminal's cursor.
pub(super) fn printable(text: &str) -> String {
    let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().count() > 60 { shown + "…" } else { shown }
}

/// A parser's own words without whatever of the file it repeats and nobody sees.
pub(super) fn visible(text: &str) -> String {
    text.chars().filter(|character| !is_invisible(*character)).collect()
}

/// Characters that change how text looks without being seen have no place anywhere in a manifest.
pub(super) fn check_characters(text: &str, faults: &mut Faults) {
    for (line_idx, line) in text.lines().enumerate() {
        for (column_idx, character) in line.chars().enumerate() {
            if is_invisible(character) {
                faults.add(
                    Place { line: line_idx + 1, column: column_idx + 1 },
                    Rule::Characters,
                    format!("invisible character U+{:04X}", u32::from(character)),
                    "remove it",
                );
            }
        }
    }
}

fn is_invisible(character: char) -> bool {
    (character.is_control() && !matches!(character, '\t' | '\r'))
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{17b4}' | '\u{17b5}' | '\u{2028}' | '\u{2029}' | '\u{2800}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{1d173}'..='\u{1d17a}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

pub(super) fn place_at_end(text: &str) -> Place {
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Place { line, column }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_found_and_letters_are_not() {
        for hidden in [
            "\u{0}",
            "\u{1b}",
            "\u{85}",
            "\u{200b}",
            "\u{2028}",
            "\u{202e}",
            "\u{2066}",
            "\u{2800}",
            "\u{feff}",
            "\u{fe0f}",
            "\u{e0041}",
        ] {
            assert!(hidden.chars().all(is_invisible), "{hidden:?}");
        }
        for seen in "Käse für Ωmega, Таймер, 猫, العربية, हिन्दी, ☀ – “quoted”".chars()
        {
            assert!(!is_invisible(seen), "{seen:?}");
        }
    }

    #[test]
    fn marks_do_not_pile_up() {
        assert!(!has_stacked_marks("ka\u{308}se, o\u{302}\u{301}"), "Vietnamese needs two");
        assert!(has_stacked_marks("z\u{300}\u{301}\u{302}"));
    }
}
