//! Cuts streamed text into pieces that can be spoken one after the other.
//!
//! The first piece is cut early, because its length is what the user waits for; later
//! ones are whole sentences, because they are spoken better and the wait is covered by
//! the speech before them. Numbers ("3.5"), abbreviations ("Dr.", "e.g.") and list
//! markers ("1.") are not taken for the end of a sentence.
//!
//! Text is cut character by character, so it does not matter in what pieces it arrives.
//! Nothing is rewritten: the clauses are the text without the space between them, less
//! what cannot be spoken at all (a clause of emoji).

/// Fewest words of a first clause that ends at a comma.
const FIRST_WORDS_AT_COMMA: usize = 2;
/// Fewest words of a first clause that ends before a conjunction.
const FIRST_WORDS_AT_CONJUNCTION: usize = 4;
/// A first clause without any mark is cut here, between two words. Chosen: about three
/// seconds of speech, and one second of a slow model's output.
const FIRST_WORDS_AT_MOST: usize = 12;
/// Later clauses are cut at a comma beyond this many words …
const LATER_WORDS_AT_COMMA: usize = 20;
/// … and anywhere beyond this many.
const LATER_WORDS_AT_MOST: usize = 40;
/// Longest clause in characters, for text without spaces; engines take 2,000.
const CHARS_AT_MOST: usize = 400;

/// Before these a pause is natural.
const CONJUNCTIONS: &[&str] = &[
    "and", "but", "or", "so", "because", "which", "while", "when", "if", "although", "since", "unless", "until",
    "where", "who", "then", "that",
];

/// Their full stop does not end a sentence.
const ABBREVIATIONS: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "st", "vs", "approx", "no", "jr", "sr", "inc", "ltd", "dept", "est", "fig", "vol",
    "mt", "ft", "e.g", "i.e", "etc", "cf", "al", "a.m", "p.m", "u.s", "u.k",
];

/// Of these abbreviations the full stop may end a sentence too: a capital letter decides.
const AMBIGUOUS: &[&str] = &["etc", "a.m", "p.m", "u.s", "u.k", "inc", "ltd", "jr", "sr", "no", "al"];

/// Takes text as it is generated and gives clauses as soon as they are complete.
#[derive(Debug, Default)]
pub struct ClauseCutter {
    pending: String,
    /// Characters in `pending`.
    n_chars: usize,
    /// Whether a clause was given.
    is_under_way: bool,
    /// The text so far may be a sentence; the next character decides.
    undecided: bool,
}

impl ClauseCutter {
    /// Takes more text; gives the clauses that it completes.
    pub fn push(&mut self, delta: &str) -> Vec<String> {
        delta.chars().filter_map(|c| self.take(c)).collect()
    }

    /// The rest, when no more text comes. The cutter is then as new.
    pub fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(self).pending;
        is_speakable(&rest).then(|| rest.trim().to_owned())
    }

    fn take(&mut self, c: char) -> Option<String> {
        if self.undecided && !c.is_whitespace() {
            self.undecided = false;
            if c.is_uppercase() {
                let clause = self.cut(self.pending.len());
                self.add(c);
                return clause;
            }
        }
        let cut_at = if c.is_whitespace() { self.boundary_before_space(c) } else { None };
        let clause = cut_at.and_then(|at| self.cut(at));
        self.add(c);
        if clause.is_some() {
            return clause;
        }
        let ends_here = matches!(c, '。' | '！' | '？') || self.n_chars >= CHARS_AT_MOST;
        ends_here.then(|| self.cut(self.pending.len())).flatten()
    }

    fn add(&mut self, c: char) {
        if !(self.pending.is_empty() && c.is_whitespace()) {
            self.pending.push(c);
            self.n_chars += 1;
        }
    }

    /// Where to cut, in bytes of `pending`, now that a space follows it.
    fn boundary_before_space(&mut self, space: char) -> Option<usize> {
        let end = self.pending.len();
        if self.pending.ends_with(char::is_whitespace) {
            // An empty line; the first space was looked at already.
            return (space == '\n').then_some(end);
        }
        if space == '\n' {
            return Some(end);
        }
        let body = self.pending.trim_end_matches(['"', '\'', '”', '’', ')', ']', '*', '_']);
        let n_words = self.pending.split_whitespace().count();
        let last_word = self.pending.split_whitespace().next_back().unwrap_or("");
        let first = !self.is_under_way;
        match body.chars().next_back() {
            Some('!' | '?' | '…') => return Some(end),
            Some('.') => match full_stop(body, n_words) {
                FullStop::Ends => return Some(end),
                FullStop::Undecided => {
                    self.undecided = true;
                    return None;
                }
                FullStop::Inside => {}
            },
            Some(',' | ';' | ':' | '–' | '—') => {
                let enough = if first { FIRST_WORDS_AT_COMMA } else { LATER_WORDS_AT_COMMA };
                if n_words >= enough {
                    return Some(end);
                }
            }
            _ => {}
        }
        let is_conjunction = CONJUNCTIONS.iter().any(|c| last_word.eq_ignore_ascii_case(c));
        if first && is_conjunction && n_words > FIRST_WORDS_AT_CONJUNCTION {
            return Some(end - last_word.len());
        }
        let at_most = if first { FIRST_WORDS_AT_MOST } else { LATER_WORDS_AT_MOST };
        (n_words >= at_most).then_some(end)
    }

    /// Gives the text up to `at`, if it can be spoken; else it stays with what follows.
    fn cut(&mut self, at: usize) -> Option<String> {
        if !is_speakable(&self.pending[..at]) {
            if self.n_chars >= CHARS_AT_MOST {
                // Endless symbols must not grow without bound.
                self.pending.clear();
                self.n_chars = 0;
            }
            return None;
        }
        let rest = self.pending.split_off(at);
        let clause = std::mem::replace(&mut self.pending, rest.trim_start().to_owned());
        self.n_chars = self.pending.chars().count();
        self.is_under_way = true;
        Some(clause.trim().to_owned())
    }
}

enum FullStop {
    Ends,
    Inside,
    Undecided,
}

/// What the full stop at the end of `body` means.
fn full_stop(body: &str, n_words: usize) -> FullStop {
    let word = body.split_whitespace().next_back().unwrap_or("");
    let word = word.trim_start_matches(|c: char| !c.is_alphanumeric());
    let stem = word.strip_suffix('.').unwrap_or(word).to_lowercase();
    let is_initial = stem.chars().count() == 1 && stem.chars().all(char::is_alphabetic) && stem != "i";
    if n_words == 1 && stem.len() <= 3 && stem.bytes().all(|b| b.is_ascii_digit()) {
        // The number of a list entry.
        FullStop::Inside
    } else if AMBIGUOUS.contains(&stem.as_str()) {
        FullStop::Undecided
    } else if is_initial || ABBREVIATIONS.contains(&stem.as_str()) {
        FullStop::Inside
    } else {
        FullStop::Ends
    }
}

/// Whether there is anything to pronounce.
fn is_speakable(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn cut_at_once(text: &str) -> Vec<String> {
        let mut cutter = ClauseCutter::default();
        let mut clauses = cutter.push(text);
        clauses.extend(cutter.finish());
        clauses
    }

    fn check(text: &str, expected: Expect) {
        expected.assert_eq(&cut_at_once(text).join(" | "));
    }

    #[test]
    fn the_first_clause_is_cut_early() {
        check(
            "Your timer is set, and it rings at noon. Enjoy, my friend, the tea.",
            expect!["Your timer is set, | and it rings at noon. | Enjoy, my friend, the tea."],
        );
        check(
            "I found three timers and one of them is called pasta.",
            expect!["I found three timers | and one of them is called pasta."],
        );
        check("Sure, I set a timer for ten minutes.", expect!["Sure, I set a timer for ten minutes."]);
        check("Timer set for 5 minutes.", expect!["Timer set for 5 minutes."]);
        check(
            "the sky looks blue in daylight from nearly everywhere on this planet of ours",
            expect!["the sky looks blue in daylight from nearly everywhere on this planet | of ours"],
        );
    }

    #[test]
    fn later_clauses_are_sentences() {
        check(
            "Hello there. This one, with commas, and more, stays whole. Done!",
            expect!["Hello there. | This one, with commas, and more, stays whole. | Done!"],
        );
        check("One? Two! Three… \"Four.\" Five", expect![[r#"One? | Two! | Three… | "Four." | Five"#]]);
        check("First line\nSecond line\n\n- a point\n", expect!["First line | Second line | - a point"]);
    }

    #[test]
    fn full_stops_inside_of_words_do_not_cut() {
        check(
            "It is 3.5 degrees, and Dr. Smith is out. J. Doe came e.g. at 5 p.m. today.",
            expect!["It is 3.5 degrees, | and Dr. Smith is out. | J. Doe came e.g. at 5 p.m. today."],
        );
        check("It rings at 5 p.m. The pasta is done.", expect!["It rings at 5 p.m. | The pasta is done."]);
        check("1. Boil water. 2. Add salt.", expect!["1. Boil water. | 2. Add salt."]);
        check("The answer is 42. I checked it.", expect!["The answer is 42. | I checked it."]);
        check(
            "Version 1.2.3 is out. See example.com for more.",
            expect!["Version 1.2.3 is out. | See example.com for more."],
        );
    }

    #[test]
    fn what_cannot_be_spoken_is_not_a_clause() {
        check("", expect![[""]]);
        check("  \n ", expect![[""]]);
        check("🙂 … !", expect![[""]]);
        check("🙂! Hello there.", expect!["🙂! Hello there."]);
        check("你好。再见！", expect!["你好。 | 再见！"]);
    }

    #[test]
    fn text_without_spaces_or_marks_is_bounded() {
        for text in ["x".repeat(5_000), "🙂".repeat(5_000), "word ".repeat(2_000), ". ".repeat(5_000)] {
            for clause in cut_at_once(&text) {
                assert!(clause.chars().count() <= CHARS_AT_MOST, "an engine must get a bounded clause");
            }
        }
    }

    proptest! {
        #[test]
        fn the_pieces_in_which_text_arrives_do_not_matter(
            text in "([A-Za-z]{1,8}|[0-9.,:]{1,5}|Dr\\.|p\\.m\\.|and|[.!?,;:…\"'\n🙂])( ?([A-Za-z]{1,8}|[0-9.,:]{1,5}|Dr\\.|p\\.m\\.|and|[.!?,;:…\"'\n🙂])){0,60}",
            sizes in prop::collection::vec(1_usize..7, 1..40),
        ) {
            let mut cutter = ClauseCutter::default();
            let mut streamed = Vec::new();
            let chars: Vec<char> = text.chars().collect();
            let mut at = 0;
            for size in sizes.iter().cycle() {
                if at >= chars.len() { break; }
                let end = (at + size).min(chars.len());
                let piece: String = chars[at..end].iter().collect();
                streamed.extend(cutter.push(&piece));
                at = end;
            }
            streamed.extend(cutter.finish());
            prop_assert_eq!(&streamed, &cut_at_once(&text));
            // Every letter is spoken, in order.
            let letters = |s: &str| s.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(letters(&streamed.join(" ")), letters(&text));
        }
    }
}
