//! Pronounces words that no dictionary knows: the NRL letter-to-sound rules, a
//! guess at the stress, and spelling out where a word has no vowel to speak.
//! It always finds phonemes, and only ones that Kokoro has tokens for.
//!
//! It is a fallback for names and coinages. Known words never come here.

mod rules;

use crate::phonemes::Accent;
use std::sync::OnceLock;

/// Phonemes of a word of ASCII letters, apostrophes and hyphens. Everything else is
/// skipped; a word without letters has no phonemes.
#[must_use]
pub fn pronounce(word: &str, accent: Accent) -> String {
    parts(word)
        .iter()
        .map(|part| pronounce_part(part, accent))
        .filter(|phonemes| !phonemes.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Phonemes of the letters' names, the last one stressed: `mqtt` as "em cue tee tee".
#[must_use]
pub fn spell(word: &str, accent: Accent) -> String {
    let letters: Vec<char> = word.chars().filter(char::is_ascii_alphabetic).collect();
    let last = letters.len().saturating_sub(1);
    let names = letters.iter().enumerate().map(|(idx, letter)| {
        let stress = if idx == last { "ˈ" } else { "ˌ" };
        letter_name(*letter, accent).replace('ˈ', stress)
    });
    names.collect()
}

/// Cuts at everything that is neither a letter nor an inner apostrophe, and where lower
/// case turns into upper case (`LoqaHub`).
fn parts(word: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut previous = ' ';
    for c in word.chars() {
        let c = if c == '’' { '\'' } else { c };
        let starts_new =
            !(c.is_ascii_alphabetic() || c == '\'') || (previous.is_ascii_lowercase() && c.is_ascii_uppercase());
        if starts_new {
            parts.push(String::new());
        }
        if (c.is_ascii_alphabetic() || c == '\'')
            && let Some(part) = parts.last_mut()
        {
            part.push(c);
        }
        previous = c;
    }
    for part in &mut parts {
        *part = part.trim_matches('\'').to_owned();
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn pronounce_part(part: &str, accent: Accent) -> String {
    let upper = part.to_ascii_uppercase();
    let (stem, possessive) = match upper.strip_suffix("'S") {
        Some(stem) => (stem, true),
        None => (upper.as_str(), false),
    };
    let mut phonemes = if is_speakable(stem) {
        let mut phones = letters_to_phones(stem);
        mark_stress(&mut phones, stem);
        render(&phones, accent)
    } else {
        String::new()
    };
    if phonemes.is_empty() {
        phonemes = spell(stem, accent);
    }
    if possessive {
        phonemes.push_str(match phonemes.chars().last() {
            Some('p' | 't' | 'k' | 'f' | 'θ') => "s",
            Some('s' | 'z' | 'ʃ' | 'ʒ' | 'ʧ' | 'ʤ') => accent.choose("ᵻz", "ɪz"),
            _ => "z",
        });
    }
    phonemes
}

/// Letters in a row without a vowel that English words do not reach ("lengthscale" has five).
const MAX_CONSONANTS: usize = 5;

fn is_speakable(word: &str) -> bool {
    let mut run = 0;
    for byte in word.bytes() {
        run = if is_vowel_letter(byte) { 0 } else { run + 1 };
        if run > MAX_CONSONANTS {
            return false;
        }
    }
    word.bytes().any(is_vowel_letter)
}

// --- rules -------------------------------------------------------------------

struct Rule {
    left: &'static [u8],
    letters: &'static [u8],
    right: &'static [u8],
    sounds: Vec<&'static str>,
}

/// Rules by the first letter that they match; the last slot is the apostrophe.
fn rules_for(letter: u8) -> &'static [Rule] {
    static RULES: OnceLock<Vec<Vec<Rule>>> = OnceLock::new();
    let slot = |letter: u8| if letter == b'\'' { 26 } else { usize::from(letter - b'A') };
    let rules = RULES.get_or_init(|| {
        let mut by_letter: Vec<Vec<Rule>> = std::iter::repeat_with(Vec::new).take(27).collect();
        for text in rules::RULES {
            let rule = parse_rule(text).expect("the rules are part of this crate and checked by its tests");
            by_letter[slot(rule.letters[0])].push(rule);
        }
        by_letter
    });
    &rules[slot(letter)]
}

fn parse_rule(text: &'static str) -> Option<Rule> {
    let (left, rest) = text.split_once('[')?;
    let (letters, rest) = rest.split_once(']')?;
    let (right, sounds) = rest.rsplit_once('=')?;
    (!letters.is_empty()).then(|| Rule {
        left: left.as_bytes(),
        letters: letters.as_bytes(),
        right: right.as_bytes(),
        sounds: sounds.split_whitespace().collect(),
    })
}

/// A sound of the rules, where it came from, and its stress.
struct Phone {
    sound: &'static str,
    letter_idx: usize,
    stress: Stress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stress {
    None,
    Secondary,
    Primary,
}

impl Phone {
    fn is_vowel(&self) -> bool {
        is_vowel_sound(self.sound)
    }
}

fn letters_to_phones(word: &str) -> Vec<Phone> {
    let word = word.as_bytes();
    let mut phones: Vec<Phone> = Vec::with_capacity(word.len());
    let mut at = 0;
    while at < word.len() {
        let rule = rules_for(word[at]).iter().find(|rule| {
            word[at..].starts_with(rule.letters)
                && fits_left(rule.left, &word[..at])
                && fits_right(rule.right, &word[at + rule.letters.len()..])
        });
        // Each letter ends with a rule without context, so one always fits.
        let Some(rule) = rule else { break };
        for sound in &rule.sounds {
            let doubled = phones.last().is_some_and(|last| last.sound == *sound && !last.is_vowel());
            if !doubled {
                phones.push(Phone { sound, letter_idx: at, stress: Stress::None });
            }
        }
        at += rule.letters.len();
    }
    phones
}

fn fits_left(pattern: &[u8], mut rest: &[u8]) -> bool {
    for sign in pattern.iter().rev() {
        let taken = match sign {
            b' ' => rest.is_empty().then_some(0),
            b'#' => some_unless_zero(count_back(rest, is_vowel_letter)),
            b':' => Some(count_back(rest, is_consonant_letter)),
            b'^' => rest.last().filter(|l| is_consonant_letter(**l)).map(|_| 1),
            b'.' => rest.last().filter(|l| b"BDVGJLMNRWZ".contains(l)).map(|_| 1),
            b'+' => rest.last().filter(|l| b"EIY".contains(l)).map(|_| 1),
            b'&' => longest_suffix(rest, &["CH", "SH", "S", "C", "G", "Z", "X", "J"]),
            b'@' => longest_suffix(rest, &["TH", "CH", "SH", "T", "S", "R", "D", "L", "Z", "N", "J"]),
            letter => rest.last().filter(|l| *l == letter).map(|_| 1),
        };
        let Some(taken) = taken else { return false };
        rest = &rest[..rest.len() - taken];
    }
    true
}

fn fits_right(pattern: &[u8], mut rest: &[u8]) -> bool {
    for sign in pattern {
        let taken = match sign {
            b' ' => rest.is_empty().then_some(0),
            b'#' => some_unless_zero(count(rest, is_vowel_letter)),
            b':' => Some(count(rest, is_consonant_letter)),
            b'^' => rest.first().filter(|l| is_consonant_letter(**l)).map(|_| 1),
            b'.' => rest.first().filter(|l| b"BDVGJLMNRWZ".contains(l)).map(|_| 1),
            b'+' => rest.first().filter(|l| b"EIY".contains(l)).map(|_| 1),
            b'%' => longest_prefix(rest, &["ELY", "ING", "ER", "ES", "ED", "E"]),
            letter => rest.first().filter(|l| *l == letter).map(|_| 1),
        };
        let Some(taken) = taken else { return false };
        rest = &rest[taken..];
    }
    true
}

fn some_unless_zero(n: usize) -> Option<usize> {
    (n > 0).then_some(n)
}

fn count(rest: &[u8], is: fn(u8) -> bool) -> usize {
    rest.iter().take_while(|l| is(**l)).count()
}

fn count_back(rest: &[u8], is: fn(u8) -> bool) -> usize {
    rest.iter().rev().take_while(|l| is(**l)).count()
}

fn longest_suffix(rest: &[u8], choices: &[&str]) -> Option<usize> {
    choices.iter().find(|choice| rest.ends_with(choice.as_bytes())).map(|choice| choice.len())
}

fn longest_prefix(rest: &[u8], choices: &[&str]) -> Option<usize> {
    choices.iter().find(|choice| rest.starts_with(choice.as_bytes())).map(|choice| choice.len())
}

fn is_vowel_letter(letter: u8) -> bool {
    b"AEIOUY".contains(&letter)
}

fn is_consonant_letter(letter: u8) -> bool {
    letter.is_ascii_uppercase() && !is_vowel_letter(letter)
}

// --- stress ------------------------------------------------------------------

/// Endings that put the stress on the syllable before them, and how many letters they have.
const STRESS_BEFORE: &[&str] = &[
    "TIONAL", "TION", "SION", "CIAN", "ICAL", "IC", "ICS", "ITY", "ETY", "IFY", "LOGY", "LOGIST", "GRAPHY", "GRAPHER",
    "NOMY", "METRY", "IAL", "IAN", "IA", "IO", "IUM", "IOUS", "EOUS", "UOUS",
];
/// Endings that carry the stress themselves.
const STRESS_ON: &[&str] = &["EE", "EER", "ESE", "ETTE", "ESQUE", "OON", "AIRE", "ELLE"];

/// The report leaves stress out; Kokoro sounds flat without it. Endings first, then the
/// rule of Latin and of most borrowed names: the last syllable but one if it is heavy,
/// else the one before it.
fn mark_stress(phones: &mut [Phone], word: &str) {
    let vowels: Vec<usize> = (0..phones.len()).filter(|idx| phones[*idx].is_vowel()).collect();
    let n = vowels.len();
    if n == 0 {
        return;
    }
    let suffix = |list: &[&str]| {
        let longest = list.iter().filter(|s| word.len() > s.len() + 1 && word.ends_with(**s)).map(|s| s.len()).max();
        longest.map(|len| word.len() - len)
    };
    let primary = if n == 1 {
        0
    } else if let Some(start) = suffix(STRESS_ON) {
        vowels.iter().position(|v| phones[*v].letter_idx >= start).unwrap_or(n - 1)
    } else if let Some(start) = suffix(STRESS_BEFORE) {
        vowels.iter().rposition(|v| phones[*v].letter_idx < start).unwrap_or(0)
    } else if n == 2 {
        usize::from(phones[vowels[0]].sound == "AX")
    } else {
        let penult = vowels[n - 2];
        let coda = phones[penult + 1..vowels[n - 1]].len();
        let is_heavy = coda >= 2 || matches!(phones[penult].sound, "IY" | "EY" | "OW" | "UW" | "AY" | "AW" | "OY");
        if is_heavy { n - 2 } else { n - 3 }
    };
    phones[vowels[primary]].stress = Stress::Primary;
    if primary >= 2 {
        phones[vowels[0]].stress = Stress::Secondary;
    }
}

// --- phonemes ----------------------------------------------------------------

fn is_vowel_sound(sound: &str) -> bool {
    matches!(
        sound,
        "AA" | "AE" | "AH" | "AO" | "AW" | "AX" | "AY" | "EH" | "ER" | "EY" | "IH" | "IY" | "OW" | "OY" | "UH" | "UW"
    )
}

/// The rules' sounds in misaki's alphabet, stress marks before the vowel as misaki has them.
fn render(phones: &[Phone], accent: Accent) -> String {
    let mut out = String::with_capacity(phones.len() * 3);
    let mut idx = 0;
    while idx < phones.len() {
        let phone = &phones[idx];
        out.push_str(match phone.stress {
            Stress::None => "",
            Stress::Secondary => "ˌ",
            Stress::Primary => "ˈ",
        });
        let stressed = phone.stress != Stress::None;
        let before_r = phones.get(idx + 1).is_some_and(|next| next.sound == "R");
        let before_vowel = phones.get(idx + 1).is_some_and(Phone::is_vowel);
        let r_is_silent = accent == Accent::British && !phones.get(idx + 2).is_some_and(Phone::is_vowel);
        let (phoneme, took_r) = match (phone.sound, before_r) {
            ("IY", true) => (accent.choose("ɪɹ", if r_is_silent { "ɪə" } else { "ɪəɹ" }), true),
            ("EH", true) => (accent.choose("ɛɹ", if r_is_silent { "ɛː" } else { "ɛɹ" }), true),
            ("AA", true) => (accent.choose("ɑɹ", if r_is_silent { "ɑː" } else { "ɑːɹ" }), true),
            ("AO", true) => (accent.choose("ɔɹ", if r_is_silent { "ɔː" } else { "ɔːɹ" }), true),
            ("UH", true) => (accent.choose("ʊɹ", if r_is_silent { "ʊə" } else { "ʊəɹ" }), true),
            ("AX", true) => (accent.choose("əɹ", if r_is_silent { "ə" } else { "əɹ" }), true),
            ("ER", _) if stressed => (accent.choose("ɜɹ", if before_vowel { "ɜːɹ" } else { "ɜː" }), false),
            ("ER", _) => (accent.choose("əɹ", if before_vowel { "əɹ" } else { "ə" }), false),
            ("AH", _) if !stressed => ("ə", false),
            (sound, _) => (plain(sound, accent), false),
        };
        out.push_str(phoneme);
        idx += if took_r { 2 } else { 1 };
    }
    out
}

fn plain(sound: &str, accent: Accent) -> &'static str {
    match sound {
        "AA" => accent.choose("ɑ", "ɒ"),
        "AE" => accent.choose("æ", "a"),
        "AH" => "ʌ",
        "AO" => accent.choose("ɔ", "ɔː"),
        "AW" => "W",
        "AX" => "ə",
        "AY" => "I",
        "EH" => "ɛ",
        "EY" => "A",
        "IH" => "ɪ",
        "IY" => accent.choose("i", "iː"),
        "OW" => accent.choose("O", "Q"),
        "OY" => "Y",
        "UH" => "ʊ",
        "UW" => accent.choose("u", "uː"),
        "B" => "b",
        "CH" => "ʧ",
        "D" => "d",
        "DH" => "ð",
        "F" => "f",
        "G" => "ɡ",
        "HH" => "h",
        "J" => "ʤ",
        "K" => "k",
        "L" => "l",
        "M" => "m",
        "N" => "n",
        "NX" => "ŋ",
        "P" => "p",
        "R" => "ɹ",
        "S" => "s",
        "SH" => "ʃ",
        "T" => "t",
        "TH" => "θ",
        "V" => "v",
        "W" => "w",
        "Y" => "j",
        "Z" => "z",
        "ZH" => "ʒ",
        _ => "",
    }
}

fn letter_name(letter: char, accent: Accent) -> &'static str {
    match letter.to_ascii_uppercase() {
        'A' => "ˈA",
        'B' => accent.choose("bˈi", "bˈiː"),
        'C' => accent.choose("sˈi", "sˈiː"),
        'D' => accent.choose("dˈi", "dˈiː"),
        'E' => accent.choose("ˈi", "ˈiː"),
        'F' => "ˈɛf",
        'G' => accent.choose("ʤˈi", "ʤˈiː"),
        'H' => "ˈAʧ",
        'I' => "ˈI",
        'J' => "ʤˈA",
        'K' => "kˈA",
        'L' => "ˈɛl",
        'M' => "ˈɛm",
        'N' => "ˈɛn",
        'O' => accent.choose("ˈO", "ˈQ"),
        'P' => accent.choose("pˈi", "pˈiː"),
        'Q' => accent.choose("kjˈu", "kjˈuː"),
        'R' => accent.choose("ˈɑɹ", "ˈɑː"),
        'S' => "ˈɛs",
        'T' => accent.choose("tˈi", "tˈiː"),
        'U' => accent.choose("jˈu", "jˈuː"),
        'V' => accent.choose("vˈi", "vˈiː"),
        'W' => accent.choose("dˈʌbᵊlju", "dˈʌbᵊljuː"),
        'X' => "ˈɛks",
        'Y' => "wˈI",
        'Z' => accent.choose("zˈi", "zˈɛd"),
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocab;

    #[track_caller]
    fn check(word: &str, american: &str) {
        assert_eq!(pronounce(word, Accent::American), american, "{word}");
    }

    #[test]
    fn names_and_coinages_get_plausible_phonemes() {
        check("Loqa", "lˈɑkə");
        check("Xanthippe", "zˈænθɪp");
        check("zorbette", "zɔɹbˈɛt");
        check("Kratchin", "kɹˈæʧɪn");
        check("blorptification", "blˌɔɹptɪfɪkˈAʃən");
        check("zorbing", "zˈɔɹbɪŋ");
        check("Grubnard", "ɡɹˈʌbnɑɹd");
    }

    #[test]
    fn words_without_a_vowel_are_spelled() {
        check("mqtt", "ˌɛmkjˌutˌitˈi");
        check("Qwghlm's", "kjˌudˌʌbᵊljuʤˌiˌAʧˌɛlˈɛmz");
        assert_eq!(pronounce("z", Accent::British), "zˈɛd");
    }

    #[test]
    fn possessives_agree_with_the_last_sound() {
        check("Loqa's", "lˈɑkəz");
        check("Grop's", "ɡɹˈɑps");
        check("Zosh's", "zˈɑʃᵻz");
    }

    #[test]
    fn compounds_are_spoken_part_by_part() {
        check("LoqaHub", "lˈɑkə hˈʌb");
        check("zorb-frimble", "zˈɔɹb fɹˈɪmbəl");
        check("--'-", "");
        check("", "");
    }

    #[test]
    fn british_drops_r_and_lengthens() {
        assert_eq!(pronounce("Grubnard", Accent::British), "ɡɹˈʌbnɑːd");
        assert_eq!(pronounce("zorber", Accent::British), "zˈɔːbə");
    }

    #[test]
    fn every_rule_can_be_read_and_every_letter_has_one_without_context() {
        for rule in rules::RULES {
            assert!(parse_rule(rule).is_some(), "{rule}");
        }
        for letter in (b'A'..=b'Z').chain([b'\'']) {
            let last = rules_for(letter).last().expect("each letter has rules");
            assert!(last.left.is_empty() && last.right.is_empty() && last.letters == [letter], "{}", letter as char);
        }
    }

    #[test]
    fn only_tokens_of_the_vocabulary_come_out_whatever_the_letters() {
        let mut state = 7_u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let len = 1 + (state >> 60) as usize;
            let word: String = (0..len).map(|i| char::from(b'a' + ((state >> (i * 3)) % 26) as u8)).collect();
            for accent in [Accent::American, Accent::British] {
                let phonemes = pronounce(&word, accent);
                assert!(!phonemes.is_empty(), "{word} is silent");
                assert!(phonemes.chars().all(|c| vocab::id(c).is_some()), "{word}: {phonemes}");
            }
        }
    }
}
