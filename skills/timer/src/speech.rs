//! Durations as they are spoken. Numbers stay digits: the speech engine reads them.

/// "2 minutes and 10 seconds". A second that has begun counts whole, so that a timer of
/// five minutes has "5 minutes" left right after it was set; seconds are dropped beside hours.
pub(crate) fn spoken_duration(ms: i64) -> String {
    let parts =
        units(ms).into_iter().map(|(n, unit)| if n == 1 { format!("1 {unit}") } else { format!("{n} {unit}s") });
    let parts = parts.collect::<Vec<_>>();
    if parts.is_empty() { "0 seconds".to_owned() } else { join(&parts, "and") }
}

/// "5 minute", as in "your 5 minute timer".
pub(crate) fn adjective(ms: i64) -> String {
    units(ms).into_iter().map(|(n, unit)| format!("{n} {unit}")).collect::<Vec<_>>().join(" ")
}

/// Seconds, a begun one counting whole.
pub(crate) fn whole_seconds(ms: i64) -> i64 {
    ms.max(0).saturating_add(999) / 1_000
}

/// "a", "a and b", "a, b and c".
pub(crate) fn join(parts: &[String], word: &str) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} {word} {last}", first.join(", ")),
    }
}

fn units(ms: i64) -> Vec<(i64, &'static str)> {
    let seconds = whole_seconds(ms);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let seconds = if hours > 0 && minutes > 0 { 0 } else { seconds };
    [(hours, "hour"), (minutes, "minute"), (seconds, "second")].into_iter().filter(|(n, _)| *n > 0).collect()
}
