//! Text to the phonemes that Kokoro was trained on. English only: American for most
//! voices, British for those whose name says so.
//!
//! The dictionary, the tagger and the context rules are misaki's (through `misaki-rs`);
//! what it leaves unknown goes through [`crate::letter_to_sound`]. Numbers, times and
//! symbols must have become words before ([`crate::speakable`]).

use crate::{letter_to_sound, vocab};
use misaki_rs::fallback::FallbackError;
use misaki_rs::lexicon::PhonemeEntry;
use misaki_rs::{Fallback, G2P, Language};

/// Which English a voice speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accent {
    /// General American, `en-US`.
    American,
    /// Southern British, `en-GB`.
    British,
}

impl Accent {
    /// The accent of a voice by Kokoro's naming (`af_…`, `bm_…`: language and sex).
    /// Names without such a prefix are American; `None` for languages that Loqa cannot
    /// pronounce (`ef_…` Spanish, `jf_…` Japanese and so on).
    #[must_use]
    pub fn of_voice(name: &str) -> Option<Self> {
        match name.as_bytes() {
            [b'a', b'f' | b'm', b'_', ..] => Some(Self::American),
            [b'b', b'f' | b'm', b'_', ..] => Some(Self::British),
            [language, b'f' | b'm', b'_', ..] if language.is_ascii_lowercase() => None,
            _ => Some(Self::American),
        }
    }

    /// BCP 47 tag.
    #[must_use]
    pub const fn language(self) -> &'static str {
        match self {
            Self::American => "en-US",
            Self::British => "en-GB",
        }
    }

    pub(crate) const fn choose<'a>(self, american: &'a str, british: &'a str) -> &'a str {
        match self {
            Self::American => american,
            Self::British => british,
        }
    }
}

/// Words that the dictionaries lack and the rules get wrong: word, American, British.
const EXTRA_WORDS: &[(&str, &str, &str)] = &[("loqa", "lˈOkə", "lˈQkə"), ("kokoro", "kˈOkəɹˌO", "kˈQkəɹˌQ")];

/// Turns prepared text into phonemes for one accent.
pub struct Phonemiser {
    accent: Accent,
    g2p: G2P,
}

impl Phonemiser {
    /// Reads the embedded dictionaries: about 0.2 s and 95 MB (measured).
    #[must_use]
    pub fn load(accent: Accent) -> Self {
        let language = match accent {
            Accent::American => Language::EnglishUS,
            Accent::British => Language::EnglishGB,
        };
        let mut g2p = G2P::with_fallback(language, Some(Box::new(Unknown(accent))));
        g2p.unk = String::new();
        for (word, american, british) in EXTRA_WORDS {
            let phonemes = accent.choose(american, british).to_owned();
            g2p.lexicon.golds.entry((*word).to_owned()).or_insert(PhonemeEntry::Simple(phonemes));
        }
        Self { accent, g2p }
    }

    /// The accent it was loaded for.
    #[must_use]
    pub fn accent(&self) -> Accent {
        self.accent
    }

    /// Phonemes of text that went through [`crate::speakable::speakable`]. Every
    /// character of the answer has a token.
    #[must_use]
    pub fn phonemes(&self, text: &str) -> String {
        let text = self.separate_unknown_compounds(text);
        let mut phonemes = String::with_capacity(text.len() * 2);
        match self.g2p.g2p(&text) {
            Ok((_, tokens)) => {
                for token in &tokens {
                    match &token.phonemes {
                        Some(known) => phonemes.push_str(known),
                        None => phonemes.push_str(&letter_to_sound::pronounce(&token.text, self.accent)),
                    }
                    phonemes.push_str(&token.whitespace);
                }
            }
            // Our fallback never fails, so misaki has no way to get here today.
            Err(_) => phonemes = letter_to_sound::pronounce(&text, self.accent),
        }
        keep_tokens(&phonemes)
    }

    /// misaki hands a compound to the fallback whole even when only one part is unknown;
    /// with a space in place of the hyphen the known parts keep their entries.
    fn separate_unknown_compounds(&self, text: &str) -> String {
        let is_known = |part: &str| part.is_empty() || self.g2p.lexicon.get_word(part, "NN", None, None).is_some();
        let words = text.split(' ').map(|word| {
            let compound = word.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
            if compound.contains('-') && !compound.split('-').all(is_known) {
                word.replace('-', " ")
            } else {
                word.to_owned()
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

impl std::fmt::Debug for Phonemiser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Phonemiser").field("accent", &self.accent).finish_non_exhaustive()
    }
}

/// What misaki asks about words that its dictionaries lack.
struct Unknown(Accent);

impl Fallback for Unknown {
    fn phonemize(&self, word: &str) -> Result<String, FallbackError> {
        Ok(letter_to_sound::pronounce(word, self.0))
    }
}

/// Drops what has no token, runs of spaces, and spaces at the ends.
fn keep_tokens(phonemes: &str) -> String {
    let mut kept = String::with_capacity(phonemes.len());
    for c in phonemes.chars() {
        let c = if c.is_whitespace() { ' ' } else { c };
        let doubled_space = c == ' ' && (kept.is_empty() || kept.ends_with(' '));
        if !doubled_space && vocab::id(c).is_some() {
            kept.push(c);
        }
    }
    kept.truncate(kept.trim_end().len());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::OnceLock;

    fn american() -> &'static Phonemiser {
        static SHARED: OnceLock<Phonemiser> = OnceLock::new();
        SHARED.get_or_init(|| Phonemiser::load(Accent::American))
    }

    #[test]
    fn known_words_come_from_the_dictionary() {
        assert_eq!(american().phonemes("The light is off."), "ðə lˈIt ɪz ˈɔf.");
        assert_eq!(american().phonemes("Timer set for five minutes."), "tˈIməɹ sˈɛt fɔɹ fˈIv mˈɪnəts.");
    }

    #[test]
    fn unknown_words_are_pronounced_by_rule_never_marked() {
        let phonemes = american().phonemes("Xanthippe's Qwghlm met Loqa, the frobnicating zorb-light.");
        for part in ["lˈOkə", "kjˌu", "fɹˌɑbnɪkˈAtɪŋ", "zˌɔɹblˈIt"] {
            assert!(phonemes.contains(part), "{part} in {phonemes}");
        }
        assert!(phonemes.chars().all(|c| vocab::id(c).is_some()), "{phonemes}");
    }

    #[test]
    fn the_name_of_the_program_keeps_its_sound_with_endings() {
        assert_eq!(american().phonemes("Loqa's"), "lˈOkəz");
    }

    #[test]
    fn british_voices_get_british_phonemes() {
        let british = Phonemiser::load(Accent::British);
        assert_eq!(british.phonemes("The car is hot."), "ðə kˈɑː ɪz hˈɒt.");
    }

    #[test]
    fn accents_follow_the_names_of_voices() {
        for (voice, accent) in [
            ("af_heart", Some(Accent::American)),
            ("bm_george", Some(Accent::British)),
            ("slt", Some(Accent::American)),
            ("rms_deep", Some(Accent::American)),
            ("jf_alpha", None),
            ("zm_yunxi", None),
        ] {
            assert_eq!(Accent::of_voice(voice), accent, "{voice}");
        }
    }
}
