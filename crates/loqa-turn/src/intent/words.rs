//! Splits text into comparable words: lower case, no punctuation, numbers apart from
//! their units. Templates and utterances pass through the same function.

/// One word and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Lower case; figures keep their inner `.`, `:` and `/`, not their thousands comma.
    pub text: String,
    /// Byte offset of its first character in the original text.
    pub start: usize,
    /// Byte offset behind its last character.
    pub end: usize,
}

/// The first `limit` words of the text.
pub(super) fn split(text: &str, limit: usize) -> Vec<Word> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if words.len() == limit {
            break;
        }
        let rest = &text[at..];
        let (word, length) = if c.is_ascii_digit() {
            let length = figure_length(rest);
            (Some(rest[..length].replace(',', "")), length)
        } else if matches!(c, '½' | '¼' | '¾') {
            (Some(c.to_string()), c.len_utf8())
        } else if let Some((meridiem, length)) = dotted_meridiem(rest) {
            (Some(meridiem.to_owned()), length)
        } else if is_letter(c) {
            let length = letters_length(rest);
            (Some(lower(&rest[..length])), length)
        } else {
            let word = match c {
                '%' => Some("percent"),
                '&' => Some("and"),
                '-' | '−' if is_sign(text, at, c) => Some("minus"),
                _ => None,
            };
            (word.map(str::to_owned), c.len_utf8())
        };
        if let Some(word) = word {
            words.push(Word { text: word, start: at, end: at + length });
        }
        at += length;
    }
    words
}

/// Letters, marks that belong to the letter before them, and figures that are no digits.
fn is_letter(c: char) -> bool {
    (c.is_alphanumeric() && !c.is_ascii_digit()) || ('\u{300}'..='\u{36f}').contains(&c)
}

fn lower(text: &str) -> String {
    text.chars().map(|c| if c == '’' { '\'' } else { c }).flat_map(char::to_lowercase).collect()
}

/// Length of a run of letters with apostrophes inside ("don't", "o'clock").
fn letters_length(text: &str) -> usize {
    let mut chars = text.char_indices().peekable();
    let mut length = 0;
    while let Some((at, c)) = chars.next() {
        let belongs =
            is_letter(c) || (matches!(c, '\'' | '’') && chars.peek().is_some_and(|(_, next)| is_letter(*next)));
        if !belongs {
            break;
        }
        length = at + c.len_utf8();
    }
    length
}

/// Length of a figure: `25`, `1,000`, `1.5`, `7:30`, `1:30:00`, `1/2`.
fn figure_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits_at = |at: usize| bytes[at.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut at = digits_at(0);
    while bytes.get(at) == Some(&b',') && digits_at(at + 1) == 3 {
        at += 4;
    }
    match bytes.get(at) {
        Some(b'.' | b'/') if digits_at(at + 1) > 0 => at += 1 + digits_at(at + 1),
        Some(b':') => {
            for _ in 0..2 {
                if bytes.get(at) == Some(&b':') && digits_at(at + 1) > 0 {
                    at += 1 + digits_at(at + 1);
                }
            }
        }
        _ => {}
    }
    at
}

/// `a.m.` and `p.m.`, which would otherwise fall apart.
fn dotted_meridiem(text: &str) -> Option<(&'static str, usize)> {
    let bytes = text.as_bytes();
    let meridiem = match bytes.first()?.to_ascii_lowercase() {
        b'a' => "am",
        b'p' => "pm",
        _ => return None,
    };
    let is_dotted = bytes.get(1) == Some(&b'.') && bytes.get(2).is_some_and(|b| b.eq_ignore_ascii_case(&b'm'));
    let ends = !text.get(3..).and_then(|rest| rest.chars().next()).is_some_and(char::is_alphanumeric);
    (is_dotted && ends).then_some((meridiem, 3))
}

/// A hyphen is a sign when a digit follows and no word stands before it.
fn is_sign(text: &str, at: usize, hyphen: char) -> bool {
    let before = text[..at].chars().next_back();
    let after = text[at + hyphen.len_utf8()..].chars().next();
    after.is_some_and(|c| c.is_ascii_digit()) && before.is_none_or(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let words: Vec<String> = split(text, 100).into_iter().map(|w| w.text).collect();
        assert_eq!(words.join(" "), expected, "words of {text:?}");
    }

    #[test]
    fn words_are_lower_case_and_without_punctuation() {
        check("Set a timer, please!", "set a timer please");
        check("Don’t — what's “this”?", "don't what's this");
        check("twenty-five 'quoted' words", "twenty five quoted words");
        check("ÄPFEL café", "äpfel café");
        check("🙂 \u{0} \u{1b}[31m", "31 m");
        check("", "");
    }

    #[test]
    fn figures_stay_whole_and_part_from_their_units() {
        check("1,000 12,34 1.5 5. 7:30 1:30:00 1/2", "1000 12 34 1.5 5 7:30 1:30:00 1/2");
        check("90s 1h30m 5min 7pm 30%", "90 s 1 h 30 m 5 min 7 pm 30 percent");
        check("1½ ¼", "1 ½ ¼");
        check("-5 and 5-minute", "minus 5 and 5 minute");
        check("1. 2.", "1 2");
    }

    #[test]
    fn dotted_meridiems_are_one_word() {
        check("7 a.m. or 7 P.M.", "7 am or 7 pm");
        check("a.mat", "a mat");
    }

    #[test]
    fn offsets_point_into_the_original() {
        let text = "Größe: 1,000 m";
        let spans: Vec<&str> = split(text, 10).iter().map(|w| &text[w.start..w.end]).collect();
        assert_eq!(spans, ["Größe", "1,000", "m"], "slots keep the user's own spelling");
    }
}
