//! Spoken durations: "five minutes", "an hour and a half", "two minutes thirty",
//! "90 seconds", "three quarters of an hour", "1h30m", "2:30" (minutes and seconds).

use super::number::{Number, text, unsigned_numbers};
use super::words::Word;

/// A duration that begins at a certain word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Duration {
    /// Index behind its last word.
    pub end: usize,
    pub seconds: u64,
}

/// Longest duration that is read: ten years. Beyond it a count is a slip of the recogniser.
const MAX_SECONDS: f64 = 10.0 * 366.0 * DAY;

const MINUTE: f64 = 60.0;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;

/// All durations that begin at `at`, the farthest end first.
pub(super) fn durations(words: &[Word], at: usize) -> Vec<Duration> {
    let mut found = Vec::new();
    sequence(words, at, f64::INFINITY, 0.0, &mut found);
    if let Some(clock) = clock_figure(words, at) {
        found.push(clock);
    }
    let mut durations: Vec<Duration> = found
        .into_iter()
        .filter(|n| n.value <= MAX_SECONDS)
        .map(|n| Duration { end: n.end, seconds: whole_seconds(n.value) })
        .collect();
    durations.sort_by_key(|d| std::cmp::Reverse(d.end));
    durations.dedup_by_key(|d| d.end);
    durations
}

/// Parts in falling units, joined by "and" or by nothing: "one hour and five minutes".
fn sequence(words: &[Word], at: usize, above: f64, before: f64, found: &mut Vec<Number>) {
    for part in parts(words, at) {
        if part.unit >= above {
            continue;
        }
        let total = before + part.seconds;
        found.push(Number { end: part.end, value: total });
        let next = if text(words, part.end) == "and" { part.end + 1 } else { part.end };
        sequence(words, next, part.unit, total, found);
        // "two minutes thirty": the unit below goes without saying.
        if let Some(rest) = bare_rest(words, part.end, part.unit) {
            found.push(Number { end: rest.end, value: total + rest.value });
        }
    }
}

struct Part {
    end: usize,
    seconds: f64,
    unit: f64,
}

/// One count with its unit: "five minutes", "half an hour", "an hour and a half".
fn parts(words: &[Word], at: usize) -> Vec<Part> {
    let mut found = Vec::new();
    let mut push = |count: f64, unit_at: usize| {
        let Some(unit) = unit_seconds(text(words, unit_at)) else {
            return;
        };
        found.push(Part { end: unit_at + 1, seconds: count * unit, unit });
        if count.fract() == 0.0 && text(words, unit_at + 1) == "and" {
            for fraction in unsigned_numbers(words, unit_at + 2) {
                let is_count = unit_seconds(text(words, fraction.end)).is_some();
                if fraction.value > 0.0 && fraction.value < 1.0 && !is_count {
                    found.push(Part { end: fraction.end, seconds: (count + fraction.value) * unit, unit });
                }
            }
        }
    };
    for number in unsigned_numbers(words, at) {
        push(number.value, number.end);
        if number.value < 1.0 {
            let article_at = if text(words, number.end) == "of" { number.end + 1 } else { number.end };
            if matches!(text(words, article_at), "a" | "an" | "one") {
                push(number.value, article_at + 1);
            }
        }
    }
    if matches!(text(words, at), "a" | "an") {
        push(1.0, at + 1);
    }
    found
}

fn unit_seconds(word: &str) -> Option<f64> {
    match word {
        "s" | "sec" | "secs" | "second" | "seconds" => Some(1.0),
        "m" | "min" | "mins" | "minute" | "minutes" | "minute's" => Some(MINUTE),
        "h" | "hr" | "hrs" | "hour" | "hours" | "hour's" => Some(HOUR),
        "d" | "day" | "days" => Some(DAY),
        "week" | "weeks" => Some(7.0 * DAY),
        _ => None,
    }
}

fn bare_rest(words: &[Word], at: usize, unit: f64) -> Option<Number> {
    let below = if unit == HOUR {
        MINUTE
    } else if unit == MINUTE {
        1.0
    } else {
        return None;
    };
    let rest = unsigned_numbers(words, at).into_iter().next()?;
    let fits = rest.value.fract() == 0.0 && (1.0..60.0).contains(&rest.value);
    let has_unit = unit_seconds(text(words, rest.end)).is_some();
    (fits && !has_unit).then_some(Number { end: rest.end, value: rest.value * below })
}

/// `2:30` is minutes and seconds, as on a kitchen timer, unless hours are named;
/// `1:30:00` is hours, minutes, seconds.
fn clock_figure(words: &[Word], at: usize) -> Option<Number> {
    let fields: Vec<f64> =
        text(words, at).split(':').map(|field| field.parse::<u32>().map(f64::from)).collect::<Result<_, _>>().ok()?;
    let unit = unit_seconds(text(words, at + 1));
    let end = if unit.is_some_and(|u| u == MINUTE || u == HOUR) { at + 2 } else { at + 1 };
    let value = match fields[..] {
        [first, second] if second < 60.0 && unit == Some(HOUR) => first * HOUR + second * MINUTE,
        [first, second] if second < 60.0 => first * MINUTE + second,
        [hours, minutes, seconds] if minutes < 60.0 && seconds < 60.0 => hours * HOUR + minutes * MINUTE + seconds,
        _ => return None,
    };
    Some(Number { end, value })
}

/// Rounded; the caller has bounded the value.
fn whole_seconds(seconds: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and MAX_SECONDS, see the filter before the call"
    )]
    let whole = seconds.round() as u64;
    whole
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
            let found: Vec<String> = durations(&words, 0).iter().map(|d| format!("{} @{}", d.seconds, d.end)).collect();
            lines.push_str(&format!("{case}: {}\n", found.join(", ")));
        }
        expected.assert_eq(&lines);
    }

    #[test]
    fn one_unit() {
        check(
            &[
                "5 minutes",
                "five minutes",
                "Five-minute",
                "twenty-five minutes",
                "25 min",
                "90 seconds",
                "90s",
                "an hour",
                "a minute",
                "one hour",
                "2 days",
                "a week",
                "a couple of minutes",
                "a hundred minutes",
                "a dozen minutes",
                "1,000 seconds",
                "0 minutes",
                "2.5 minutes",
                "one point five hours",
            ],
            expect![[r#"
                5 minutes: 300 @2
                five minutes: 300 @2
                Five-minute: 300 @2
                twenty-five minutes: 1500 @3
                25 min: 1500 @2
                90 seconds: 90 @2
                90s: 90 @2
                an hour: 3600 @2
                a minute: 60 @2
                one hour: 3600 @2
                2 days: 172800 @2
                a week: 604800 @2
                a couple of minutes: 120 @4
                a hundred minutes: 6000 @3
                a dozen minutes: 720 @3
                1,000 seconds: 1000 @2
                0 minutes: 0 @2
                2.5 minutes: 150 @2
                one point five hours: 5400 @4
            "#]],
        );
    }

    #[test]
    fn halves_and_quarters() {
        check(
            &[
                "half an hour",
                "half a minute",
                "half hour",
                "a half hour",
                "one half hour",
                "a quarter of an hour",
                "quarter of an hour",
                "a quarter hour",
                "three quarters of an hour",
                "an hour and a half",
                "1 and a half hours",
                "one and a half hours",
                "1 1/2 hours",
                "1½ hours",
                "two hours and a half",
                "two and a quarter hours",
                "an hour and a quarter",
                "a minute and a half",
                "two thirds of an hour",
                "an hour and a half minute",
            ],
            expect![[r#"
                half an hour: 1800 @3
                half a minute: 30 @3
                half hour: 1800 @2
                a half hour: 1800 @3
                one half hour: 1800 @3
                a quarter of an hour: 900 @5
                quarter of an hour: 900 @4
                a quarter hour: 900 @3
                three quarters of an hour: 2700 @5
                an hour and a half: 5400 @5, 3600 @2
                1 and a half hours: 5400 @5
                one and a half hours: 5400 @5
                1 1/2 hours: 5400 @3
                1½ hours: 5400 @3
                two hours and a half: 9000 @5, 7200 @2
                two and a quarter hours: 8100 @5
                an hour and a quarter: 4500 @5, 3600 @2
                a minute and a half: 90 @5, 60 @2
                two thirds of an hour: 2400 @5
                an hour and a half minute: 3630 @6, 3600 @2
            "#]],
        );
    }

    #[test]
    fn several_units() {
        check(
            &[
                "2 minutes and 30 seconds",
                "two minutes thirty seconds",
                "two minutes thirty",
                "one hour thirty",
                "1h30m",
                "1 hour, 5 minutes and 10 seconds",
                "an hour and five minutes",
                "2:30",
                "1:30:00",
                "1:30 hours",
                "2:30 minutes",
                "a day and a half",
                "1 week 2 days",
            ],
            expect![[r#"
                2 minutes and 30 seconds: 150 @5, 120 @2
                two minutes thirty seconds: 150 @4, 120 @2
                two minutes thirty: 150 @3, 120 @2
                one hour thirty: 5400 @3, 3600 @2
                1h30m: 5400 @4, 3600 @2
                1 hour, 5 minutes and 10 seconds: 3910 @7, 3900 @4, 3600 @2
                an hour and five minutes: 3900 @5, 3600 @2
                2:30: 150 @1
                1:30:00: 5400 @1
                1:30 hours: 5400 @2
                2:30 minutes: 150 @2
                a day and a half: 129600 @5, 86400 @2
                1 week 2 days: 777600 @4, 604800 @2
            "#]],
        );
    }

    #[test]
    fn what_is_no_duration() {
        check(
            &[
                "",
                "five",
                "minutes",
                "a",
                "half",
                "one and a half",
                "five and minutes",
                "2:99",
                "7:30:99",
                "minus five minutes",
                "5 minutes 5 minutes",
                "99999999999 weeks",
                "5 minutes 70",
                "hour",
            ],
            expect![[r#"
                : 
                five: 
                minutes: 
                a: 
                half: 
                one and a half: 
                five and minutes: 
                2:99: 
                7:30:99: 
                minus five minutes: 
                5 minutes 5 minutes: 300 @2
                99999999999 weeks: 
                5 minutes 70: 300 @2
                hour: 
            "#]],
        );
    }
}
