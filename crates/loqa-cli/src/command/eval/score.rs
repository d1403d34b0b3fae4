//! How many words are right: the edit distance between two sentences after what
//! makes no difference to a listener is taken away.
//!
//! Normalisation: lower case, no punctuation, `%` as "percent", numbers below a
//! hundred in words. Not done: spelling variants and larger numbers.

/// One sentence against what was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// Words of the reference that were understood.
    pub right: usize,
    /// Words that became others.
    pub substituted: usize,
    /// Words that are missing.
    pub deleted: usize,
    /// Words that nobody said.
    pub inserted: usize,
    /// Words of the reference.
    pub of: usize,
}

impl Words {
    /// Levenshtein's alignment, with the fewest errors.
    pub fn compare(reference: &str, heard: &str) -> Self {
        let (reference, heard) = (normal_words(reference), normal_words(heard));
        // Per cell: errors, then (right, substituted, deleted, inserted) on the way there.
        let mut row: Vec<Self> = (0..=heard.len())
            .map(|inserted| Self { right: 0, substituted: 0, deleted: 0, inserted, of: reference.len() })
            .collect();
        for said in &reference {
            let mut diagonal = row[0];
            row[0].deleted += 1;
            for (column, word) in heard.iter().enumerate() {
                let above = row[column + 1];
                let left = row[column];
                let same = said == word;
                let mut next = diagonal;
                if same {
                    next.right += 1;
                } else {
                    next.substituted += 1;
                }
                let deleted = Self { deleted: above.deleted + 1, ..above };
                let inserted = Self { inserted: left.inserted + 1, ..left };
                for other in [deleted, inserted] {
                    if other.errors() < next.errors() {
                        next = other;
                    }
                }
                diagonal = above;
                row[column + 1] = next;
            }
        }
        row[heard.len()]
    }

    /// All that is wrong; over `of` it is the word error rate, which can exceed 1.
    pub fn errors(&self) -> usize {
        self.substituted + self.deleted + self.inserted
    }
}

const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

fn normal_words(text: &str) -> Vec<String> {
    let spaced: String = text
        .replace('%', " percent ")
        .replace(['’', '\''], "")
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .collect();
    let lower = spaced.to_lowercase();
    lower.split_whitespace().flat_map(in_words).collect()
}

/// A number below a hundred in words, anything else as it is.
fn in_words(word: &str) -> Vec<String> {
    match word.parse::<usize>() {
        Ok(number) if number < 20 => vec![SMALL[number].to_owned()],
        Ok(number) if number < 100 => {
            let mut words = vec![TENS[number / 10].to_owned()];
            if number % 10 > 0 {
                words.push(SMALL[number % 10].to_owned());
            }
            words
        }
        _ => vec![word.to_owned()],
    }
}

/// The value below which this share of the values lies; `null` in JSON when there are none.
pub fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = ((sorted.len() as f64 * share).ceil() as usize).max(1) - 1;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(reference: &str, heard: &str) -> (usize, usize, usize, usize) {
        let words = Words::compare(reference, heard);
        assert_eq!(
            words.right + words.substituted + words.deleted,
            words.of,
            "every word of the reference counts once"
        );
        (words.right, words.substituted, words.deleted, words.inserted)
    }

    #[test]
    fn what_makes_no_difference_is_no_error() {
        assert_eq!(errors("Set a timer for 5 minutes.", "set a timer for five minutes"), (6, 0, 0, 0));
        assert_eq!(errors("Dim it to 43%", "dim it to forty-three percent"), (6, 0, 0, 0));
        assert_eq!(errors("What's the time?", "whats the time"), (3, 0, 0, 0));
    }

    #[test]
    fn each_kind_of_error_is_counted() {
        assert_eq!(errors("turn on the light", "turn off the light"), (3, 1, 0, 0));
        assert_eq!(errors("turn on the light", "turn on light"), (3, 0, 1, 0));
        assert_eq!(errors("turn on the light", "please turn on the light"), (4, 0, 0, 1));
        assert_eq!(errors("", "thank you"), (0, 0, 0, 2));
        assert_eq!(errors("stop", ""), (0, 0, 1, 0));
    }

    #[test]
    fn percentiles_of_few_values() {
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 1.0), Some(3.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
