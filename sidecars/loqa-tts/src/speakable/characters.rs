//! The first pass: any Unicode text becomes printable ASCII plus the few signs that the
//! second pass reads (`° € £ ¥ … —`). Control characters, emoji and scripts without an
//! English reading are dropped.

/// Folds, names or drops each character. A line break after unpunctuated text becomes a
/// full stop so that lists are not run together.
pub(super) fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split(['\n', '\r', '\u{2028}', '\u{2029}', '\u{b}', '\u{c}']) {
        let mut folded = String::with_capacity(line.len());
        let mut chars = strip_list_marker(line).chars().peekable();
        while let Some(c) = chars.next() {
            let after_digit = folded.ends_with(|c: char| c.is_ascii_digit());
            let before_digit = chars.peek().is_some_and(char::is_ascii_digit);
            match c {
                // "10 000" with a space that does not break is one number.
                '\u{a0}' | '\u{2009}' | '\u{202f}' if after_digit && before_digit => {}
                // Arithmetic, not markup.
                '*' | '^' if after_digit && before_digit => folded.push(c),
                _ => fold_char(c, &mut folded),
            }
        }
        let folded = folded.trim();
        if folded.is_empty() {
            continue;
        }
        if !out.is_empty() {
            let is_finished = out.ends_with(['.', ',', ';', ':', '!', '?', '…', '—', '-']);
            out.push_str(if is_finished { " " } else { ". " });
        }
        out.push_str(folded);
    }
    out
}

/// Bullets and headings of Markdown at the start of a line.
fn strip_list_marker(line: &str) -> &str {
    let line = line.trim_start();
    let heading = line.trim_start_matches(['#', '>']);
    let rest = if heading.starts_with(' ') { heading.trim_start() } else { line };
    ["- ", "* ", "+ ", "• ", "– "].iter().find_map(|marker| rest.strip_prefix(marker)).unwrap_or(rest)
}

fn fold_char(c: char, out: &mut String) {
    match c {
        // These are markup far more often than speech.
        '*' | '~' | '`' | '^' | '|' | '\\' | '{' | '}' | '[' | ']' => out.push(' '),
        ' '..='~' => out.push(c),
        '\t' | '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => out.push(' '),
        '\u{ff01}'..='\u{ff5e}' => {
            let ascii = char::from_u32(c as u32 - 0xff01 + 0x21).unwrap_or(' ');
            fold_char(ascii, out);
        }
        '‘' | '’' | 'ʼ' | '′' => out.push('\''),
        '“' | '”' | '„' | '«' | '»' | '″' => out.push('"'),
        '‐' | '‑' | '‒' | '–' | '−' => out.push('-'),
        '—' | '―' => out.push('—'),
        '…' => out.push('…'),
        '°' | 'º' => out.push('°'),
        '€' | '£' | '¥' | '₹' => out.push(c),
        '¿' | '¡' => {}
        '、' => out.push(','),
        '。' => out.push('.'),
        '½' => out.push_str(" 1/2"),
        '¼' => out.push_str(" 1/4"),
        '¾' => out.push_str(" 3/4"),
        '⅓' => out.push_str(" 1/3"),
        '⅔' => out.push_str(" 2/3"),
        '⅛' => out.push_str(" 1/8"),
        '²' => out.push_str(" squared"),
        '³' => out.push_str(" cubed"),
        '×' => out.push_str(" times "),
        '÷' => out.push_str(" divided by "),
        '±' => out.push_str(" plus or minus "),
        '≈' => out.push_str(" about "),
        '≤' => out.push_str(" at most "),
        '≥' => out.push_str(" at least "),
        '≠' => out.push_str(" is not "),
        '→' => out.push_str(" to "),
        '∞' => out.push_str(" infinity "),
        '√' => out.push_str(" root "),
        '§' => out.push_str(" section "),
        '№' => out.push_str(" number "),
        'µ' | 'μ' => out.push('u'),
        'Ω' => out.push_str(" ohms "),
        'π' => out.push_str(" pi "),
        'α' => out.push_str(" alpha "),
        'β' => out.push_str(" beta "),
        'γ' => out.push_str(" gamma "),
        'δ' | 'Δ' => out.push_str(" delta "),
        // Joiners and marks that belong to the letter before them.
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{300}'..='\u{36f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' => {}
        _ => match fold_letter(c) {
            Some(letters) => out.push_str(letters),
            None => out.push(' '),
        },
    }
}

/// Latin letters without their diacritics: English dictionaries have `Zurich`, not `Zuerich`.
const LATIN: &[(&str, &str)] = &[
    ("ÀÁÂÃĀĂĄǍȀȂẠẢẤẦẨẪẬẮẰẲẴẶ", "A"),
    ("àáâãāăąǎȁȃạảấầẩẫậắằẳẵặ", "a"),
    ("Ä", "A"),
    ("ä", "a"),
    ("Å", "A"),
    ("å", "a"),
    ("Æ", "Ae"),
    ("æ", "ae"),
    ("ÇĆĈĊČ", "C"),
    ("çćĉċč", "c"),
    ("ĎĐÐ", "D"),
    ("ďđð", "d"),
    ("ÈÉÊËĒĔĖĘĚẸẺẼẾỀỂỄỆ", "E"),
    ("èéêëēĕėęěẹẻẽếềểễệ", "e"),
    ("ĜĞĠĢ", "G"),
    ("ĝğġģ", "g"),
    ("ĤĦ", "H"),
    ("ĥħ", "h"),
    ("ÌÍÎÏĨĪĬĮİỈỊ", "I"),
    ("ìíîïĩīĭįıỉị", "i"),
    ("Ĵ", "J"),
    ("ĵ", "j"),
    ("Ķ", "K"),
    ("ķ", "k"),
    ("ĹĻĽŁ", "L"),
    ("ĺļľł", "l"),
    ("ÑŃŅŇ", "N"),
    ("ñńņň", "n"),
    ("ÒÓÔÕŌŎŐƠỌỎỐỒỔỖỘỚỜỞỠỢ", "O"),
    ("òóôõōŏőơọỏốồổỗộớờởỡợ", "o"),
    ("Ö", "O"),
    ("ö", "o"),
    ("Ø", "O"),
    ("ø", "o"),
    ("Œ", "Oe"),
    ("œ", "oe"),
    ("ŔŖŘ", "R"),
    ("ŕŗř", "r"),
    ("ŚŜŞŠȘ", "S"),
    ("śŝşšș", "s"),
    ("ẞß", "ss"),
    ("ŢŤŦȚ", "T"),
    ("ţťŧț", "t"),
    ("Þ", "Th"),
    ("þ", "th"),
    ("ÙÚÛŨŪŬŮŰŲƯỤỦỨỪỬỮỰ", "U"),
    ("ùúûũūŭůűųưụủứừửữự", "u"),
    ("Ü", "U"),
    ("ü", "u"),
    ("Ŵ", "W"),
    ("ŵ", "w"),
    ("ÝŶŸỲỴỶỸ", "Y"),
    ("ýÿŷỳỵỷỹ", "y"),
    ("ŹŻŽ", "Z"),
    ("źżž", "z"),
    ("ﬁ", "fi"),
    ("ﬂ", "fl"),
];

fn fold_letter(c: char) -> Option<&'static str> {
    // All of them lie in these blocks; emoji and other scripts skip the search.
    let may_be_latin = matches!(c, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{fb00}'..='\u{fb06}');
    may_be_latin.then(|| LATIN.iter().find(|(from, _)| from.contains(c)).map(|(_, to)| *to))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, folded: &str) {
        assert_eq!(fold(text).split_whitespace().collect::<Vec<_>>().join(" "), folded, "{text:?}");
    }

    #[test]
    fn accents_quotes_and_wide_forms_become_plain_letters() {
        check("Café “Zürich” — naïve", "Cafe \"Zurich\" — naive");
        check("Ｈｅｌｌｏ，　it’s", "Hello, it's");
        check("e\u{301}clair", "eclair");
    }

    #[test]
    fn emoji_controls_and_other_scripts_are_dropped() {
        check("Done 👍🏽 \u{7}\u{0}now\u{200b}!", "Done now!");
        check("👩‍👩‍👧 🇩🇪", "");
        check("你好", "");
    }

    #[test]
    fn markdown_and_lines_become_sentences() {
        check("## Shopping\n- milk\n- **eggs**\n\n* bread.", "Shopping. milk. eggs. bread.");
        check("one\ntwo", "one. two");
    }
}
