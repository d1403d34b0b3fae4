//! Spoken numbers: "twenty-five", "a hundred and twenty", "one and a half", "2.5",
//! "two point five", "minus four".
//!
//! Every function gives all places where the number may end, the farthest first: in
//! "seven thirty" both "seven" and nothing else is a number, and only the caller knows
//! whether "two hundred" goes on.

use super::words::Word;

/// A number that begins at a certain word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number {
    /// Index behind its last word.
    pub end: usize,
    pub value: f64,
}

/// All numbers that begin at `at`, with sign and fraction.
pub(super) fn numbers(words: &[Word], at: usize) -> Vec<Number> {
    if matches!(text(words, at), "minus" | "negative") {
        let mut found = unsigned_numbers(words, at + 1);
        for number in &mut found {
            number.value = -number.value;
        }
        return found;
    }
    unsigned_numbers(words, at)
}

/// All numbers without a sign that begin at `at`.
pub(super) fn unsigned_numbers(words: &[Word], at: usize) -> Vec<Number> {
    let wholes = cardinals(words, at);
    let mut found = fractions(words, at);
    for whole in &wholes {
        found.push(*whole);
        if whole.value.fract() == 0.0 {
            found.extend(decimals(words, whole.end, whole.value));
            let fraction_at = if text(words, whole.end) == "and" { whole.end + 1 } else { whole.end };
            for fraction in fractions(words, fraction_at) {
                // "five a half" is not a number, "5 ½" and "5 1/2" are.
                let is_joined = fraction_at > whole.end || is_figure_fraction(text(words, fraction_at));
                if is_joined {
                    found.push(Number { end: fraction.end, value: whole.value + fraction.value });
                }
            }
        }
    }
    if text(words, at) == "point" {
        found.extend(decimals(words, at, 0.0));
    }
    farthest_first(found)
}

/// Whole numbers, and figures with a decimal point, that begin at `at`.
pub(super) fn cardinals(words: &[Word], at: usize) -> Vec<Number> {
    let mut found = Vec::new();
    let mut total = 0.0;
    // The part below a thousand; `None` until a word of it came.
    let mut group: Option<f64> = None;
    let mut next = at;
    if let ("a" | "an", "hundred" | "thousand" | "million" | "dozen" | "couple") =
        (text(words, at), text(words, at + 1))
    {
        next += 1;
        group = Some(1.0);
        if text(words, next) == "couple" {
            let end = if text(words, next + 1) == "of" { next + 2 } else { next + 1 };
            return vec![Number { end, value: 2.0 }];
        }
    }
    // Longest number worth reading: "nine hundred and ninety-nine thousand nine hundred and ninety-nine".
    for _ in 0..16 {
        let word = text(words, next);
        let after_hundred = group.is_some_and(|g| g >= 100.0 && g % 100.0 == 0.0);
        let step = match (word, group) {
            ("hundred", Some(g)) if g > 0.0 && g < 100.0 => Some(g * 100.0),
            ("dozen", Some(g)) if total == 0.0 => {
                found.push(Number { end: next + 1, value: g * 12.0 });
                None
            }
            ("dozen", None) if next == at => {
                found.push(Number { end: next + 1, value: 12.0 });
                None
            }
            ("thousand", Some(g)) if g > 0.0 && (total == 0.0 || total >= 1e6) => {
                total += g * 1e3;
                group = None;
                next += 1;
                found.push(Number { end: next, value: total });
                continue;
            }
            ("million", Some(g)) if g > 0.0 && total == 0.0 => {
                total += g * 1e6;
                group = None;
                next += 1;
                found.push(Number { end: next, value: total });
                continue;
            }
            ("and", g) if total > 0.0 && g.is_none() || word == "and" && after_hundred => {
                // Only a join when a small number follows; else the "and" is not ours.
                if small(text(words, next + 1)).is_none() {
                    break;
                }
                next += 1;
                continue;
            }
            (_, None) => figure(word).or_else(|| small(word)),
            (_, Some(g)) if after_hundred => small(word).filter(|v| *v > 0.0).map(|v| g + v),
            (_, Some(g)) if (20.0..100.0).contains(&(g % 100.0)) && g % 10.0 == 0.0 && !is_figure(words, next - 1) => {
                small(word).filter(|v| (1.0..10.0).contains(v)).map(|v| g + v)
            }
            _ => None,
        };
        let Some(value) = step else { break };
        group = Some(value);
        next += 1;
        found.push(Number { end: next, value: total + value });
    }
    farthest_first(found)
}

/// "half", "a quarter", "three quarters", "two thirds", "½", "1/2".
fn fractions(words: &[Word], at: usize) -> Vec<Number> {
    let part = |word: &str| match word {
        "half" | "halves" => Some(2.0),
        "third" | "thirds" => Some(3.0),
        "quarter" | "quarters" => Some(4.0),
        _ => None,
    };
    let first = text(words, at);
    let simple = match first {
        "½" => Some(0.5),
        "¼" => Some(0.25),
        "¾" => Some(0.75),
        "half" => Some(0.5),
        "quarter" => Some(0.25),
        _ => first.split_once('/').and_then(|(top, bottom)| {
            let (top, bottom) = (top.parse::<f64>().ok()?, bottom.parse::<f64>().ok()?);
            (top < bottom && bottom <= 100.0).then(|| top / bottom)
        }),
    };
    if let Some(value) = simple {
        return vec![Number { end: at + 1, value }];
    }
    let count = match first {
        "a" | "an" | "one" | "1" => 1.0,
        "two" | "2" => 2.0,
        "three" | "3" => 3.0,
        _ => return Vec::new(),
    };
    match part(text(words, at + 1)) {
        Some(parts) if count < parts => vec![Number { end: at + 2, value: count / parts }],
        _ => Vec::new(),
    }
}

/// "point five", "point two five", "point 25" after a whole number.
fn decimals(words: &[Word], at: usize, whole: f64) -> Option<Number> {
    if text(words, at) != "point" {
        return None;
    }
    let mut digits = String::new();
    let mut next = at + 1;
    while digits.len() < 6 {
        let word = text(words, next);
        if !word.is_empty() && word.len() <= 6 && word.bytes().all(|b| b.is_ascii_digit()) {
            digits.push_str(word);
        } else if let Some(digit) = small(word).filter(|v| *v < 10.0) {
            digits.push_str(&format!("{digit:.0}"));
        } else {
            break;
        }
        next += 1;
    }
    let value = format!("0.{digits}").parse::<f64>().ok()?;
    (!digits.is_empty()).then_some(Number { end: next, value: whole + value })
}

/// Numbers of one word below a hundred.
pub(super) fn small(word: &str) -> Option<f64> {
    let value = match word {
        "zero" => 0,
        "one" => 1,
        "two" => 2,
        "three" => 3,
        "four" => 4,
        "five" => 5,
        "six" => 6,
        "seven" => 7,
        "eight" => 8,
        "nine" => 9,
        "ten" => 10,
        "eleven" => 11,
        "twelve" => 12,
        "thirteen" => 13,
        "fourteen" => 14,
        "fifteen" => 15,
        "sixteen" => 16,
        "seventeen" => 17,
        "eighteen" => 18,
        "nineteen" => 19,
        "twenty" => 20,
        "thirty" => 30,
        "forty" | "fourty" => 40,
        "fifty" => 50,
        "sixty" => 60,
        "seventy" => 70,
        "eighty" => 80,
        "ninety" => 90,
        _ => return None,
    };
    Some(f64::from(value))
}

/// `25` and `1.5`; at most 12 characters, so that every whole value is exact.
fn figure(word: &str) -> Option<f64> {
    let is_figure = word.len() <= 12 && word.starts_with(|c: char| c.is_ascii_digit());
    is_figure.then(|| word.parse().ok()).flatten()
}

fn is_figure(words: &[Word], at: usize) -> bool {
    text(words, at).starts_with(|c: char| c.is_ascii_digit())
}

fn is_figure_fraction(word: &str) -> bool {
    matches!(word, "½" | "¼" | "¾") || word.contains('/')
}

/// The word at `at`, or an empty one behind the end.
pub(super) fn text(words: &[Word], at: usize) -> &str {
    words.get(at).map_or("", |word| word.text.as_str())
}

fn farthest_first(mut found: Vec<Number>) -> Vec<Number> {
    found.sort_by_key(|number| std::cmp::Reverse(number.end));
    found.dedup_by_key(|number| number.end);
    found
}

#[cfg(test)]
mod tests {
    use super::super::words::split;
    use super::*;
    use expect_test::{Expect, expect};

    fn check(cases: &[&str], expected: Expect) {
        let mut lines = String::new();
        for case in cases {
            let words = split(case, 50);
            let found: Vec<String> = numbers(&words, 0).iter().map(|n| format!("{} @{}", n.value, n.end)).collect();
            lines.push_str(&format!("{case}: {}\n", found.join(", ")));
        }
        expected.assert_eq(&lines);
    }

    #[test]
    fn numbers_in_words_and_figures() {
        check(
            &[
                "five",
                "25",
                "twenty-five",
                "twenty five",
                "ninety",
                "nineteen",
                "1,000",
                "zero",
                "a hundred",
                "one hundred and twenty",
                "one hundred twenty",
                "two hundred and five minutes",
                "twelve hundred",
                "two thousand and five",
                "nine hundred and ninety nine thousand nine hundred and ninety nine",
                "1.5 million",
                "a dozen",
                "two dozen",
                "a couple of",
                "a couple",
                "three million",
            ],
            expect![[r#"
                five: 5 @1
                25: 25 @1
                twenty-five: 25 @2, 20 @1
                twenty five: 25 @2, 20 @1
                ninety: 90 @1
                nineteen: 19 @1
                1,000: 1000 @1
                zero: 0 @1
                a hundred: 100 @2
                one hundred and twenty: 120 @4, 100 @2, 1 @1
                one hundred twenty: 120 @3, 100 @2, 1 @1
                two hundred and five minutes: 205 @4, 200 @2, 2 @1
                twelve hundred: 1200 @2, 12 @1
                two thousand and five: 2005 @4, 2000 @2, 2 @1
                nine hundred and ninety nine thousand nine hundred and ninety nine: 999999 @11, 999990 @10, 999900 @8, 999009 @7, 999000 @6, 999 @5, 990 @4, 900 @2, 9 @1
                1.5 million: 1500000 @2, 1.5 @1
                a dozen: 12 @2
                two dozen: 24 @2, 2 @1
                a couple of: 2 @3
                a couple: 2 @2
                three million: 3000000 @2, 3 @1
            "#]],
        );
    }

    #[test]
    fn fractions_decimals_and_signs() {
        check(
            &[
                "half",
                "a half",
                "one and a half",
                "1 and a half",
                "two and a quarter",
                "three quarters",
                "2 1/2",
                "1/2",
                "1½",
                "½",
                "two point five",
                "zero point two five",
                "point five",
                "2.5",
                "minus five",
                "-5",
                "negative two point five",
                "two thirds",
                "three and three quarters",
            ],
            expect![[r#"
                half: 0.5 @1
                a half: 0.5 @2
                one and a half: 1.5 @4, 1 @1
                1 and a half: 1.5 @4, 1 @1
                two and a quarter: 2.25 @4, 2 @1
                three quarters: 0.75 @2, 3 @1
                2 1/2: 2.5 @2, 2 @1
                1/2: 0.5 @1
                1½: 1.5 @2, 1 @1
                ½: 0.5 @1
                two point five: 2.5 @3, 2 @1
                zero point two five: 0.25 @4, 0 @1
                point five: 0.5 @2
                2.5: 2.5 @1
                minus five: -5 @2
                -5: -5 @2
                negative two point five: -2.5 @4, -2 @2
                two thirds: 0.6666666666666666 @2, 2 @1
                three and three quarters: 3.75 @4, 3 @1
            "#]],
        );
    }

    #[test]
    fn what_is_no_number() {
        check(
            &[
                "",
                "a",
                "an",
                "and",
                "hundred",
                "point",
                "minus",
                "twenty ten",
                "five and",
                "one hundred and the",
                "four halves",
                "five a half",
                "20 5",
                "thousand",
            ],
            expect![[r#"
                : 
                a: 
                an: 
                and: 
                hundred: 
                point: 
                minus: 
                twenty ten: 20 @1
                five and: 5 @1
                one hundred and the: 100 @2, 1 @1
                four halves: 4 @1
                five a half: 5 @1
                20 5: 20 @1
                thousand: 
            "#]],
        );
    }
}
