//! Makes any text speakable: what goes out holds only English words, apostrophes,
//! hyphens and punctuation, so that the dictionaries need to know nothing about
//! digits, symbols, Markdown or emoji.
//!
//! It reads as a person would read to another: `7:30` is "seven thirty", `21 °C`
//! "twenty one degrees Celsius", `$5.50` "five dollars and fifty cents". It does not
//! translate and does not guess at languages other than English.

mod characters;
mod expressions;
mod numbers;

/// Longest word that goes on to the dictionaries. Their tokeniser backtracks, and its
/// iterator never ends once it hits its limit (fancy-regex 0.13), so words are kept far
/// below that; the longest English word in use has 28 letters.
const MAX_WORD: usize = 40;

/// The text in plain words; empty when nothing in it can be spoken.
#[must_use]
pub fn speakable(text: &str) -> String {
    let folded = characters::fold(text);
    let words: Vec<&str> = folded.split_whitespace().collect();
    let mut spoken: Vec<String> = Vec::with_capacity(words.len());
    let mut idx = 0;
    while idx < words.len() {
        let (text, used) = expressions::speak(&words[idx..], idx > 0);
        spoken.push(text);
        idx += used;
    }
    tidy(&spoken.join(" "))
}

/// Longest part that [`sentences`] gives, in characters: the dictionaries take about half a
/// millisecond per word, and a cancel waits for them.
const MAX_SENTENCE: usize = 160;

/// Cuts speakable text after each sentence, and long sentences after a mark or, if there is
/// none, between words. The parts joined with a space are the text.
#[must_use]
pub fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    // `tidy` left marks only at the ends of words, one space between words, and ASCII but
    // for `…` and `—`.
    for (at, _) in text.match_indices(' ') {
        if text[..at].ends_with(['.', '!', '?', '…']) {
            cut_long(&text[start..at], &mut sentences);
            start = at + 1;
        }
    }
    cut_long(&text[start..], &mut sentences);
    sentences
}

fn cut_long<'a>(mut sentence: &'a str, parts: &mut Vec<&'a str>) {
    while sentence.len() > MAX_SENTENCE {
        let spaces = || sentence.match_indices(' ').map(|(at, _)| at).take_while(|at| *at <= MAX_SENTENCE);
        let after_mark = spaces().filter(|at| sentence[..*at].ends_with([',', ';', ':', '—'])).last();
        // A word is never longer than `MAX_WORD`, so there is a space.
        let Some(at) = after_mark.or_else(|| spaces().last()) else { break };
        parts.push(&sentence[..at]);
        sentence = &sentence[at + 1..];
    }
    if !sentence.is_empty() {
        parts.push(sentence);
    }
}

/// One space between words, at most one mark between words (the strongest of a run), no
/// mark without a word before it, no overlong word.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut word_len = 0;
    let mut has_word = false;
    // Marks and spaces since the last word.
    let mut marks = String::new();
    let mut gap = false;
    for c in text.chars() {
        match c {
            'A'..='Z' | 'a'..='z' | '\'' | '-' => {
                let is_letter = c.is_ascii_alphabetic();
                let inner = is_letter || (word_len > 0 && !gap && marks.is_empty());
                if !inner {
                    continue;
                }
                if gap || !marks.is_empty() {
                    flush(&mut out, &mut marks, has_word);
                    word_len = 0;
                }
                gap = false;
                if word_len == MAX_WORD {
                    out.push(' ');
                    word_len = 0;
                }
                out.push(c);
                word_len += 1;
                has_word |= is_letter;
            }
            '.' | ',' | ';' | ':' | '!' | '?' | '…' | '—' | '(' | ')' | '"' => marks.push(c),
            _ => gap = true,
        }
    }
    let end: String = marks.chars().filter(|c| !matches!(c, '(' | '"')).collect();
    if let Some(mark) = strongest(&end).filter(|_| has_word) {
        trim_word_end(&mut out);
        out.push(mark);
    }
    trim_word_end(&mut out);
    out
}

/// Writes what stood between two words: at most one mark, then a space or an opening sign.
fn flush(out: &mut String, marks: &mut String, has_word: bool) {
    if has_word {
        trim_word_end(out);
        // A mark right before a bracket or quote outweighs it; brackets become commas,
        // which is how they sound.
        match strongest(marks) {
            Some(mark) => out.push(mark),
            None if marks.contains(['(', ')']) => out.push(','),
            None => {}
        }
        out.push(' ');
    }
    marks.clear();
}

fn strongest(marks: &str) -> Option<char> {
    ['?', '!', '.', '…', ':', ';', '—', ','].into_iter().find(|mark| marks.contains(*mark))
}

/// Apostrophes and hyphens that ended up at the end of a word are not spoken.
fn trim_word_end(out: &mut String) {
    out.truncate(out.trim_end_matches(['-', ' ']).len());
    if out.ends_with('\'') && !out.ends_with("s'") {
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, spoken: &str) {
        assert_eq!(speakable(text), spoken, "{text:?}");
    }

    #[test]
    fn plain_sentences_stay_as_they_are() {
        check("The light is off.", "The light is off.");
        check("It's five o'clock, isn't it?", "It's five o'clock, isn't it?");
        check("A well-known dogs' home", "A well-known dogs' home");
    }

    #[test]
    fn quotes_and_brackets_become_pauses() {
        check("\"Pasta\" (the second one) is done.", "Pasta, the second one, is done.");
        check("He said: \"Go!\"", "He said: Go!");
        check("Wait... what?!", "Wait. what?");
        check("one -- two - three", "one two three");
    }

    #[test]
    fn numbers_are_read_out() {
        check("You have 3 timers.", "You have three timers.");
        check(
            "It costs 1,234,567 points",
            "It costs one million two hundred thirty four thousand five hundred sixty seven points",
        );
        check("Pi is 3.14.", "Pi is three point one four.");
        check("-5 and +3", "minus five and plus three");
        check("agent 007", "agent zero zero seven");
        check("in 1984, 2026", "in nineteen eighty four, twenty twenty six");
        check("the 1990s and 80s", "the nineteen nineties and eighties");
        check("1st, 22nd and 103rd", "first, twenty second and one hundred third");
        check("version 1.2.3", "version one point two point three");
        check("#1 of 5-10", "number one of five to ten");
        check("1/2 a cup, 3/4, 2 ½ cups", "one half a cup, three quarters, two and one half cups");
        check("2+2=4", "two plus two equals four");
        check("call 555-0123", "call five five five, zero one two three");
        check("room 1001", "room one thousand one");
        check("123-4567", "one two three, four five six seven");
        check(
            "16:9, 10\u{202f}000, 2^8, 5*3",
            "sixteen to nine, ten thousand, two to the power of eight, five times three",
        );
        check("v1.2-beta", "v one point two beta");
    }

    #[test]
    fn times_and_dates_are_read_out() {
        check("at 7:30", "at seven thirty");
        check("at 7:00.", "at seven o'clock.");
        check("at 7:05 pm", "at seven oh five PM");
        check("at 12:00 AM, ok", "at twelve AM, ok");
        check("at 7pm and 19:45", "at seven PM and nineteen forty five");
        check("on 2026-11-22", "on November twenty second, twenty twenty six");
        check("0:30 left", "zero thirty left");
        check("24/7", "twenty four seven");
        check("from 9:00-10:30 pm", "from nine o'clock to ten thirty PM");
        check("at 12:00 noon", "at twelve noon");
        check("2026-01-05T10:30:00Z", "January fifth, twenty twenty six at ten thirty");
    }

    #[test]
    fn units_money_and_percent_are_read_out() {
        check("It is 21°C.", "It is twenty one degrees Celsius.");
        check("1 °F or -3.5 °C", "one degree Fahrenheit or minus three point five degrees Celsius");
        check("50% of 5 km at 70mph", "fifty percent of five kilometers at seventy miles per hour");
        check("$5", "five dollars");
        check("$1.50, €2 and £1.5 million", "one dollar and fifty cents, two euros and one point five million pounds");
        check("5€ or $0.99", "five euros or ninety nine cents");
        check("1 kg, 2 kWh, 16 GB", "one kilogram, two kilowatt hours, sixteen gigabytes");
        check("$20-30", "twenty to thirty dollars");
        check("1/2 tsp of salt", "one half teaspoon of salt");
        check("5 min. left, 2 tsp. left. 5 min. Then", "five minutes left, two teaspoons left. five minutes. Then");
    }

    #[test]
    fn abbreviations_are_spoken_in_full() {
        check("Dr. Smith vs. Mr. Jones, etc.", "Doctor Smith versus Mister Jones, et cetera.");
        check("e.g. tea, i.e. a drink", "for example tea, that is a drink");
        check("J. R. Smith, Ph.D. from Main St.", "J R Smith, P H D from Main Street.");
        check("the U.S. army in the U.S.", "the U S army in the U S.");
        check("7 a.m. and 5 p.m.", "seven AM and five PM.");
        check("Q&A w/ salt and/or pepper", "Q and A with salt and or pepper");
    }

    #[test]
    fn addresses_and_mixed_words_are_taken_apart() {
        check("https://example.com/a_b?x=1", "example dot com slash a b x one");
        check("bob@example.com", "bob at example dot com");
        check("B2B, mp3, x86_64", "B two B, mp three, x eighty six sixty four");
        check("done.Next", "done. Next");
    }

    #[test]
    fn nothing_speakable_is_empty() {
        for text in ["", " \n\t", "👍", "...", "***", "你好", "-'-", "\u{0}\u{7}"] {
            check(text, "");
        }
    }

    #[test]
    fn long_runs_of_letters_are_broken_up() {
        let spoken = speakable(&"a".repeat(1_000));
        assert!(spoken.split(' ').all(|word| word.len() <= MAX_WORD), "{spoken}");
    }

    #[test]
    fn sentences_are_cut_after_their_marks() {
        assert_eq!(sentences("One. Two, three? Four"), ["One.", "Two, three?", "Four"]);
        assert!(sentences("").is_empty());
    }

    #[test]
    fn long_sentences_are_cut_after_marks_or_between_words() {
        let text = format!("{}, {}", "one ".repeat(30).trim(), "two ".repeat(100).trim());
        let parts = sentences(&text);
        assert!(parts[0].ends_with("one,"), "{parts:?}");
        assert!(parts.iter().all(|part| part.len() <= MAX_SENTENCE), "{parts:?}");
        assert_eq!(parts.join(" "), text, "nothing is lost");
    }

    #[test]
    fn only_letters_and_punctuation_come_out_of_any_text() {
        let mut state = 3_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32
        };
        for _ in 0..5_000 {
            let text: String = (0..next() % 60)
                .filter_map(|_| match next() % 4 {
                    0 => char::from_u32(next() % 0x11_0000),
                    1 => char::from_digit(next() % 10, 10),
                    2 => Some(b".,:;!?-/%$@#&+='\" "[(next() % 18) as usize] as char),
                    _ => char::from_u32(32 + next() % 95),
                })
                .collect();
            let spoken = speakable(&text);
            assert!(
                spoken.chars().all(|c| c.is_ascii_alphabetic() || " '-.,;:!?…—".contains(c)),
                "{text:?} became {spoken:?}"
            );
            assert!(!spoken.contains("  "), "{text:?} became {spoken:?}");
        }
    }
}
