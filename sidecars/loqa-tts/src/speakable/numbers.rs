//! Numbers in words, American style ("two hundred five").

const ONES: [&str; 20] = [
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
const SCALES: [(u64, &str); 5] = [
    (1_000_000_000_000_000, "quadrillion"),
    (1_000_000_000_000, "trillion"),
    (1_000_000_000, "billion"),
    (1_000_000, "million"),
    (1_000, "thousand"),
];
/// More digits than this are read one by one; nobody follows a longer number.
const MAX_DIGITS: usize = 15;

/// `42` as "forty two".
pub(super) fn cardinal(n: u64) -> String {
    let mut words = Vec::new();
    push_cardinal(n, &mut words);
    words.join(" ")
}

fn push_cardinal(n: u64, words: &mut Vec<&'static str>) {
    for (scale, name) in SCALES {
        if n >= scale {
            push_cardinal(n / scale, words);
            words.push(name);
            if !n.is_multiple_of(scale) {
                push_cardinal(n % scale, words);
            }
            return;
        }
    }
    if n >= 100 {
        push_cardinal(n / 100, words);
        words.push("hundred");
        if !n.is_multiple_of(100) {
            push_cardinal(n % 100, words);
        }
    } else if n >= 20 {
        words.push(TENS[(n / 10) as usize]);
        if !n.is_multiple_of(10) {
            words.push(ONES[(n % 10) as usize]);
        }
    } else {
        words.push(ONES[n as usize]);
    }
}

/// `21` as "twenty first".
pub(super) fn ordinal(n: u64) -> String {
    let words = cardinal(n);
    let (head, last) = words.rsplit_once(' ').map_or(("", words.as_str()), |(head, last)| (head, last));
    let last = match last {
        "one" => "first".to_owned(),
        "two" => "second".to_owned(),
        "three" => "third".to_owned(),
        "five" => "fifth".to_owned(),
        "eight" => "eighth".to_owned(),
        "nine" => "ninth".to_owned(),
        "twelve" => "twelfth".to_owned(),
        word => match word.strip_suffix('y') {
            Some(stem) => format!("{stem}ieth"),
            None => format!("{word}th"),
        },
    };
    if head.is_empty() { last } else { format!("{head} {last}") }
}

/// `1984` as "nineteen eighty four", `2005` as "two thousand five".
pub(super) fn year(n: u64) -> String {
    let (century, rest) = (n / 100, n % 100);
    if !(1100..=2099).contains(&n) || (n % 1000) < 10 {
        cardinal(n)
    } else if rest == 0 {
        format!("{} hundred", cardinal(century))
    } else if rest < 10 {
        format!("{} oh {}", cardinal(century), cardinal(rest))
    } else {
        format!("{} {}", cardinal(century), cardinal(rest))
    }
}

/// `007` as "zero zero seven". Other characters are skipped.
pub(super) fn digits(text: &str) -> String {
    let names = text.chars().filter_map(|c| c.to_digit(10)).map(|d| ONES[d as usize]);
    names.collect::<Vec<_>>().join(" ")
}

/// Digits without sign, separator or point: a cardinal, or digit by digit when there are
/// leading zeros or too many of them.
pub(super) fn integer(text: &str) -> String {
    let leading_zero = text.len() > 1 && text.starts_with('0');
    match text.parse() {
        Ok(n) if !leading_zero && text.len() <= MAX_DIGITS => cardinal(n),
        _ => digits(text),
    }
}

/// `3.50` as "three point five zero".
pub(super) fn decimal(whole: &str, fraction: &str) -> String {
    let whole = if whole.is_empty() { String::new() } else { format!("{} ", integer(whole)) };
    format!("{whole}point {}", digits(fraction))
}

/// The plural of a number word: "eighties", "sixes", "tens".
pub(super) fn plural(words: &str) -> String {
    if let Some(stem) = words.strip_suffix('y') {
        format!("{stem}ies")
    } else if words.ends_with('x') {
        format!("{words}es")
    } else {
        format!("{words}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cardinals() {
        for (n, words) in [
            (0, "zero"),
            (13, "thirteen"),
            (40, "forty"),
            (99, "ninety nine"),
            (100, "one hundred"),
            (205, "two hundred five"),
            (1_000, "one thousand"),
            (12_345, "twelve thousand three hundred forty five"),
            (1_000_001, "one million one"),
        ] {
            assert_eq!(cardinal(n), words);
        }
        assert!(cardinal(u64::MAX).starts_with("eighteen thousand four hundred forty six quadrillion"));
    }

    #[test]
    fn ordinals() {
        for (n, words) in [
            (1, "first"),
            (12, "twelfth"),
            (20, "twentieth"),
            (22, "twenty second"),
            (103, "one hundred third"),
            (1_000, "one thousandth"),
        ] {
            assert_eq!(ordinal(n), words);
        }
    }

    #[test]
    fn years() {
        for (n, words) in [
            (1066, "one thousand sixty six"),
            (1905, "nineteen oh five"),
            (1984, "nineteen eighty four"),
            (2000, "two thousand"),
            (2007, "two thousand seven"),
            (2026, "twenty twenty six"),
            (1500, "fifteen hundred"),
        ] {
            assert_eq!(year(n), words);
        }
    }

    #[test]
    fn long_numbers_and_leading_zeros_are_read_digit_by_digit() {
        assert_eq!(integer("007"), "zero zero seven");
        assert_eq!(
            integer("1234567890123456"),
            "one two three four five six seven eight nine zero one two three four five six"
        );
        assert_eq!(decimal("", "5"), "point five");
    }
}
