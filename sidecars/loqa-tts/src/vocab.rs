//! The token table of Kokoro v1.0: one id per phoneme character. The table is
//! data of the model family (see `data/README.md` for its licence); which ids a
//! model file takes is the same for every export of v1.0.

use std::collections::HashMap;
use std::sync::OnceLock;

/// Id that stands at both ends of every token sequence.
pub const PAD: i64 = 0;

/// Longest phoneme sequence that Kokoro takes, pads not counted. From its configuration
/// (`max_position_embeddings` 512 less the two pads).
pub const MAX_TOKENS: usize = 510;

/// Id of a phoneme character; `None` when Kokoro has no token for it.
#[must_use]
pub fn id(phoneme: char) -> Option<i64> {
    table().get(&phoneme).copied().filter(|id| *id != PAD)
}

/// Ids of a phoneme string between two pads. Characters without a token are left out.
#[must_use]
pub fn ids(phonemes: &str) -> Vec<i64> {
    let mut ids = Vec::with_capacity(phonemes.len() + 2);
    ids.push(PAD);
    ids.extend(phonemes.chars().filter_map(id));
    ids.push(PAD);
    ids
}

/// Every phoneme character that has a token.
pub fn characters() -> impl Iterator<Item = char> {
    table().keys().copied()
}

fn table() -> &'static HashMap<char, i64> {
    static TABLE: OnceLock<HashMap<char, i64>> = OnceLock::new();
    TABLE.get_or_init(|| {
        serde_json::from_str(include_str!("../data/kokoro-vocab.json"))
            .expect("the table is part of this crate and checked by its tests")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_kokoro_v1() {
        assert_eq!(characters().count(), 115);
        for (phoneme, expected) in [(';', 1), (' ', 16), ('A', 24), ('ˈ', 156), ('ᵻ', 177)] {
            assert_eq!(id(phoneme), Some(expected), "{phoneme}");
        }
        assert_eq!(id('$'), None, "the pad cannot be spoken");
        assert_eq!(id('❓'), None, "misaki's mark for an unknown word is no token");
    }

    #[test]
    fn sequences_are_padded_at_both_ends() {
        assert_eq!(ids("hˈI"), [0, 50, 156, 25, 0]);
        assert_eq!(ids(""), [0, 0]);
        assert_eq!(ids("❓"), [0, 0]);
    }
}
