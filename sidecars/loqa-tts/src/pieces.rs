//! Cuts a phoneme string into pieces that the model speaks well: long inputs drift and
//! speed up, and the first piece should be short because everybody waits for it.

use crate::vocab;

/// Longest piece in tokens. Well below the model's limit of 510; Kokoro starts to rush
/// above about 200.
pub const MAX_PIECE: usize = 200;

/// The first piece of a request ends at a mark within this range, if there is one:
/// short enough to be quick, long enough not to sound chopped.
const FIRST_MIN: usize = 20;
const FIRST_MAX: usize = 60;

/// Pieces of at most [`MAX_PIECE`] tokens, cut after marks where possible, else at spaces.
/// `is_first` is whether nothing of the request was spoken before.
#[must_use]
pub fn pieces(phonemes: &str, is_first: bool) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = phonemes.trim();
    while !rest.is_empty() {
        let cut = if is_first && pieces.is_empty() { first_cut(rest) } else { cut(rest) };
        let (piece, tail) = rest.split_at(cut);
        let piece = piece.trim();
        // Stress marks and spaces alone make no sound.
        if piece.chars().any(char::is_alphabetic) {
            pieces.push(piece);
        }
        rest = tail.trim_start();
    }
    pieces
}

fn first_cut(phonemes: &str) -> usize {
    let n_tokens = count(phonemes);
    if n_tokens <= FIRST_MAX {
        return phonemes.len();
    }
    let marks = ends_after(phonemes, is_mark);
    let early = marks.filter(|end| (FIRST_MIN..=FIRST_MAX).contains(&count(&phonemes[..*end]))).last();
    early.unwrap_or_else(|| cut(phonemes))
}

fn cut(phonemes: &str) -> usize {
    if count(phonemes) <= MAX_PIECE {
        return phonemes.len();
    }
    let fits = |end: &usize| count(&phonemes[..*end]) <= MAX_PIECE;
    // A mark in the second half is better than the last space.
    let mark = ends_after(phonemes, is_mark).take_while(fits).last();
    let mark = mark.filter(|end| count(&phonemes[..*end]) >= MAX_PIECE / 2);
    let space = ends_after(phonemes, |c| c == ' ').take_while(fits).last();
    let hard = || phonemes.char_indices().nth(MAX_PIECE).map_or(phonemes.len(), |(at, _)| at);
    mark.or(space).unwrap_or_else(hard)
}

/// Where the text could be cut behind such a character.
fn ends_after(phonemes: &str, is: fn(char) -> bool) -> impl Iterator<Item = usize> {
    phonemes.char_indices().filter(move |(_, c)| is(*c)).map(|(at, c)| at + c.len_utf8())
}

fn is_mark(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | ';' | ':' | '—' | ',')
}

fn count(phonemes: &str) -> usize {
    phonemes.chars().filter(|c| vocab::id(*c).is_some()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_stays_whole() {
        assert_eq!(pieces("ðə lˈIt ɪz ˈɔf.", true), ["ðə lˈIt ɪz ˈɔf."]);
        assert!(pieces("", true).is_empty());
        assert!(pieces(" ., ", true).is_empty());
    }

    #[test]
    fn the_first_piece_of_a_long_text_ends_at_an_early_mark() {
        let long = format!("{}, {}, {}.", "ba ".repeat(9).trim(), "ma ".repeat(9).trim(), "la ".repeat(30).trim());
        let first = pieces(&long, true);
        assert_eq!(first.len(), 2);
        assert!(first[0].ends_with("ma,"), "the last mark within reach: {}", first[0]);
        assert_eq!(pieces(&long, false).len(), 1);
    }

    #[test]
    fn no_piece_is_too_long_and_nothing_is_lost() {
        for text in ["ba, ".repeat(300), "ba ".repeat(300), "b".repeat(1_000), "bˈa".repeat(333)] {
            let all = pieces(&text, true);
            assert!(all.iter().all(|piece| count(piece) <= MAX_PIECE), "{text}");
            let letters = |s: &str| s.chars().filter(|c| c.is_alphabetic()).count();
            assert_eq!(all.iter().map(|piece| letters(piece)).sum::<usize>(), letters(&text));
        }
    }
}
