//! Spoken times of day: "half past seven", "7:30 pm", "ten to six in the evening", "noon".
//!
//! Without "am", "pm" or a part of the day, an hour is taken as on a 24-hour clock:
//! "seven" is 07:00. Which "seven" the user means is for the skill to ask or decide.

use super::number::{Number, cardinals, small, text};
use super::words::Word;

/// A time of day that begins at a certain word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeOfDay {
    /// Index behind its last word.
    pub end: usize,
    pub hour: u32,
    pub minute: u32,
}

impl TimeOfDay {
    /// `HH:MM`.
    pub fn text(self) -> String {
        format!("{:02}:{:02}", self.hour, self.minute)
    }
}

/// All times that begin at `at`, the farthest end first.
pub(super) fn times(words: &[Word], at: usize) -> Vec<TimeOfDay> {
    let mut found = Vec::new();
    for bare in clock_times(words, at).into_iter().chain(relative_times(words, at)) {
        found.push(bare);
        if let Some((part, end)) = part_of_day(words, bare.end) {
            match part.apply(bare.hour) {
                Some(hour) => found.push(TimeOfDay { hour, end, ..bare }),
                // "19 am" is no time at all, not "19" with "am" left over.
                None => found.retain(|time| *time != bare),
            }
        }
    }
    match text(words, at) {
        "noon" | "midday" => found.push(TimeOfDay { end: at + 1, hour: 12, minute: 0 }),
        "midnight" => found.push(TimeOfDay { end: at + 1, hour: 0, minute: 0 }),
        _ => {}
    }
    found.sort_by_key(|time| std::cmp::Reverse(time.end));
    found.dedup_by_key(|time| time.end);
    found
}

/// "7:30", "7.30", "1930", "seven thirty", "seven oh five", "seven o'clock", "seven".
fn clock_times(words: &[Word], at: usize) -> Vec<TimeOfDay> {
    let mut found = Vec::new();
    let mut push = |hour: u32, minute: u32, end: usize| {
        if hour < 24 && minute < 60 {
            found.push(TimeOfDay { end, hour, minute });
        }
    };
    let figure = text(words, at);
    let split = figure.split_once([':', '.']).filter(|(_, minute)| minute.len() == 2);
    let together = (figure.len() == 4).then(|| figure.split_at_checked(2)).flatten();
    if let Some((hour, minute)) = split.or(together)
        && let (Ok(hour), Ok(minute)) = (hour.parse(), minute.parse())
    {
        push(hour, minute, at + 1);
        return found;
    }
    for hour in hours(words, at) {
        match (text(words, hour.end), text(words, hour.end + 1)) {
            ("o'clock" | "oclock", _) => push(whole(hour), 0, hour.end + 1),
            ("o", "clock") => push(whole(hour), 0, hour.end + 2),
            _ => {
                push(whole(hour), 0, hour.end);
                for minute in minutes(words, hour.end) {
                    push(whole(hour), whole(minute), minute.end);
                }
            }
        }
    }
    found
}

/// "half past seven", "half seven", "a quarter to eight", "ten minutes past six".
fn relative_times(words: &[Word], at: usize) -> Vec<TimeOfDay> {
    let start = if text(words, at) == "a" { at + 1 } else { at };
    let offsets = match text(words, start) {
        "half" => vec![Number { end: start + 1, value: 30.0 }],
        "quarter" => vec![Number { end: start + 1, value: 15.0 }],
        _ => cardinals(words, at),
    };
    let mut found = Vec::new();
    for offset in offsets {
        let has_unit = matches!(text(words, offset.end), "minute" | "minutes");
        let side = if has_unit { offset.end + 1 } else { offset.end };
        let is_past = match text(words, side) {
            "past" | "after" => true,
            "to" | "before" | "till" | "until" => false,
            _ => continue,
        };
        let minute = whole(offset);
        // "half to seven" is not said.
        let is_half_to = text(words, start) == "half" && !is_past;
        if offset.value.fract() != 0.0 || !(1..60).contains(&minute) || is_half_to {
            continue;
        }
        let named = match text(words, side + 1) {
            "noon" | "midday" => vec![Number { end: side + 2, value: 12.0 }],
            "midnight" => vec![Number { end: side + 2, value: 0.0 }],
            _ => hours(words, side + 1),
        };
        for hour in named {
            let end = if matches!(text(words, hour.end), "o'clock" | "oclock") { hour.end + 1 } else { hour.end };
            let (hour, minute) = if is_past { (whole(hour), minute) } else { (earlier(whole(hour)), 60 - minute) };
            found.push(TimeOfDay { end, hour, minute });
        }
    }
    // "half seven" is British for half past seven.
    if text(words, at) == "half" {
        found.extend(hours(words, at + 1).into_iter().map(|hour| TimeOfDay {
            end: hour.end,
            hour: whole(hour),
            minute: 30,
        }));
    }
    found
}

/// The hour before; one o'clock on a 12-hour clock comes after twelve.
fn earlier(hour: u32) -> u32 {
    match hour {
        0 => 23,
        1 => 12,
        _ => hour - 1,
    }
}

fn hours(words: &[Word], at: usize) -> Vec<Number> {
    let mut found = cardinals(words, at);
    found.retain(|n| n.value < 24.0 && n.value.fract() == 0.0 && text(words, at) != "a");
    found
}

/// Minutes behind an hour: "thirty", "oh five", "05"; one digit alone is not said.
fn minutes(words: &[Word], at: usize) -> Vec<Number> {
    let first = text(words, at);
    if matches!(first, "oh" | "o" | "zero") {
        let digit = small(text(words, at + 1)).filter(|v| (1.0..10.0).contains(v));
        return digit.map(|value| Number { end: at + 2, value }).into_iter().collect();
    }
    if first.starts_with(|c: char| c.is_ascii_digit()) {
        let value = (first.len() == 2).then(|| first.parse().ok()).flatten();
        return value.map(|value| Number { end: at + 1, value }).into_iter().collect();
    }
    let mut found = cardinals(words, at);
    found.retain(|n| (10.0..60.0).contains(&n.value) && n.value.fract() == 0.0);
    found
}

#[derive(Clone, Copy)]
enum PartOfDay {
    Am,
    Pm,
    Night,
}

impl PartOfDay {
    /// The hour on a 24-hour clock; `None` when the two do not go together.
    fn apply(self, hour: u32) -> Option<u32> {
        match (self, hour) {
            (Self::Am, 0..=11) => Some(hour),
            (Self::Am, 12) => Some(0),
            (Self::Am, _) => None,
            (Self::Pm, 0) => None,
            (Self::Pm, 1..=11) => Some(hour + 12),
            (Self::Pm, _) => Some(hour),
            (Self::Night, 12) => Some(0),
            (Self::Night, 6..=11) => Some(hour + 12),
            (Self::Night, _) => Some(hour),
        }
    }
}

fn part_of_day(words: &[Word], at: usize) -> Option<(PartOfDay, usize)> {
    let word = |offset: usize| text(words, at + offset);
    match (word(0), word(1), word(2)) {
        ("am", ..) => Some((PartOfDay::Am, at + 1)),
        ("pm", ..) => Some((PartOfDay::Pm, at + 1)),
        ("a", "m", _) => Some((PartOfDay::Am, at + 2)),
        ("p", "m", _) => Some((PartOfDay::Pm, at + 2)),
        ("in", "the", "morning") => Some((PartOfDay::Am, at + 3)),
        ("in", "the", "afternoon" | "evening") => Some((PartOfDay::Pm, at + 3)),
        ("this", "morning", _) => Some((PartOfDay::Am, at + 2)),
        ("this", "afternoon" | "evening", _) => Some((PartOfDay::Pm, at + 2)),
        ("at", "night", _) => Some((PartOfDay::Night, at + 2)),
        ("tonight", ..) => Some((PartOfDay::Night, at + 1)),
        _ => None,
    }
}

fn whole(number: Number) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "numbers are never negative here and the cast saturates, which the callers' bounds refuse"
    )]
    let whole = number.value as u32;
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
            let found: Vec<String> = times(&words, 0).iter().map(|t| format!("{} @{}", t.text(), t.end)).collect();
            lines.push_str(&format!("{case}: {}\n", found.join(", ")));
        }
        expected.assert_eq(&lines);
    }

    #[test]
    fn clock_forms() {
        check(
            &[
                "7",
                "seven",
                "19",
                "7:30",
                "7.30",
                "19:30",
                "1930",
                "0730",
                "seven thirty",
                "7 30",
                "seven oh five",
                "twenty one thirty",
                "seven o'clock",
                "7 o’clock",
                "noon",
                "midnight",
                "0:00",
            ],
            expect![[r#"
                7: 07:00 @1
                seven: 07:00 @1
                19: 19:00 @1
                7:30: 07:30 @1
                7.30: 07:30 @1
                19:30: 19:30 @1
                1930: 19:30 @1
                0730: 07:30 @1
                seven thirty: 07:30 @2, 07:00 @1
                7 30: 07:30 @2, 07:00 @1
                seven oh five: 07:05 @3, 07:00 @1
                twenty one thirty: 21:30 @3, 21:00 @2, 20:00 @1
                seven o'clock: 07:00 @2
                7 o’clock: 07:00 @2
                noon: 12:00 @1
                midnight: 00:00 @1
                0:00: 00:00 @1
            "#]],
        );
    }

    #[test]
    fn parts_of_the_day() {
        check(
            &[
                "7 am",
                "7 a.m.",
                "7pm",
                "7:30 PM",
                "12 am",
                "12 pm",
                "seven in the evening",
                "six in the morning",
                "3 in the afternoon",
                "ten at night",
                "12 at night",
                "1 at night",
                "8 tonight",
                "7 p m",
                "seven thirty this evening",
                "19:30 pm",
            ],
            expect![[r#"
                7 am: 07:00 @2, 07:00 @1
                7 a.m.: 07:00 @2, 07:00 @1
                7pm: 19:00 @2, 07:00 @1
                7:30 PM: 19:30 @2, 07:30 @1
                12 am: 00:00 @2, 12:00 @1
                12 pm: 12:00 @2, 12:00 @1
                seven in the evening: 19:00 @4, 07:00 @1
                six in the morning: 06:00 @4, 06:00 @1
                3 in the afternoon: 15:00 @4, 03:00 @1
                ten at night: 22:00 @3, 10:00 @1
                12 at night: 00:00 @3, 12:00 @1
                1 at night: 01:00 @3, 01:00 @1
                8 tonight: 20:00 @2, 08:00 @1
                7 p m: 19:00 @3, 07:00 @1
                seven thirty this evening: 19:30 @4, 07:30 @2, 07:00 @1
                19:30 pm: 19:30 @2, 19:30 @1
            "#]],
        );
    }

    #[test]
    fn before_and_after_the_hour() {
        check(
            &[
                "half past seven",
                "quarter past seven",
                "a quarter to eight",
                "ten to six",
                "ten past six pm",
                "twenty-five minutes past six",
                "quarter to one",
                "ten to midnight",
                "half past twelve in the afternoon",
                "half seven",
                "half six in the evening",
            ],
            expect![[r#"
                half past seven: 07:30 @3
                quarter past seven: 07:15 @3
                a quarter to eight: 07:45 @4
                ten to six: 05:50 @3, 10:00 @1
                ten past six pm: 18:10 @4, 06:10 @3, 10:00 @1
                twenty-five minutes past six: 06:25 @5, 20:00 @1
                quarter to one: 12:45 @3
                ten to midnight: 23:50 @3, 10:00 @1
                half past twelve in the afternoon: 12:30 @6, 12:30 @3
                half seven: 07:30 @2
                half six in the evening: 18:30 @5, 06:30 @2
            "#]],
        );
    }

    #[test]
    fn what_is_no_time() {
        check(
            &["", "25", "7:60", "24:00", "19 am", "half to seven", "a hundred", "past seven", "oh five", "7:5", "9999"],
            expect![[r#"
                : 
                25: 
                7:60: 
                24:00: 
                19 am: 
                half to seven: 
                a hundred: 
                past seven: 
                oh five: 
                7:5: 
                9999: 
            "#]],
        );
    }
}
