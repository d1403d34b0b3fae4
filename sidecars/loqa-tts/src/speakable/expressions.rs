//! The second pass: numbers, times, money, units, dates, abbreviations and addresses
//! become words. Works on words separated by white space and looks one word ahead.

use super::numbers;

/// Speaks the first word, and the next one too where both are one expression. Returns the
/// words and how many were used (1 or 2). `inside` is whether text went before.
pub(super) fn speak(words: &[&str], inside: bool) -> (String, usize) {
    let Some(word) = words.first() else { return (String::new(), 1) };
    let token = Token::of(word);
    let next = words.get(1).map(|word| Token::of(word));
    // A mark between two words ends the expression: "5, km" is not five kilometers.
    let joined = next.filter(|next| token.close.is_empty() && next.open.is_empty());

    if let Some((spoken, drops_stop)) = abbreviation(&token, next.map(|next| next.core)) {
        let ends = words.len() == 1 || (drops_stop && next.is_some_and(|next| next.starts_sentence()));
        let close = if ends { token.close } else { &token.close[1..] };
        return (format!("{}{spoken}{close}", token.open), 1);
    }
    let sign_stands_alone = inside && token.core == "-" && joined.is_some_and(|next| starts_with_digit(next.core));
    if sign_stands_alone {
        return ("minus".to_owned(), 1);
    }
    let (spoken, uses_next) = expression(token.core, joined.map(|next| next.core));
    match next.filter(|_| uses_next) {
        Some(next) => {
            // The stop of "5 p.m." and "5 min." ends the sentence only where one could end.
            let is_stop = next.close == "." && (next.core.contains('.') || is_unit(next.core));
            let goes_on = words.get(2).is_some_and(|word| !Token::of(word).starts_sentence());
            let close = if is_stop && goes_on { "" } else { next.close };
            (format!("{}{spoken}{close}", token.open), 2)
        }
        None => (format!("{}{spoken}{}", token.open, token.close), 1),
    }
}

/// A word without the marks around it.
#[derive(Clone, Copy)]
struct Token<'a> {
    open: &'a str,
    core: &'a str,
    close: &'a str,
}

impl<'a> Token<'a> {
    fn of(word: &'a str) -> Self {
        let core = word.trim_start_matches(['(', '"', '\'', '_']);
        let (open, rest) = word.split_at(word.len() - core.len());
        let core = rest.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', '"', '…', '—', '\'', '_']);
        // The apostrophe of "dogs'" belongs to the word.
        let keeps_apostrophe = core.ends_with('s') && rest[core.len()..].starts_with('\'') && open.is_empty();
        let core = if keeps_apostrophe { &rest[..=core.len()] } else { core };
        Self { open, core, close: &rest[core.len()..] }
    }

    fn starts_sentence(&self) -> bool {
        self.core.starts_with(|c: char| c.is_ascii_uppercase())
    }
}

// --- abbreviations -----------------------------------------------------------

/// Abbreviation without its last full stop, in lower case, and what is said. `Sun.`, `Mar.`
/// and `no.` end sentences more often than they are short for anything.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("dr", "Doctor"),
    ("mr", "Mister"),
    ("mrs", "Missus"),
    ("ms", "Miss"),
    ("prof", "Professor"),
    ("jr", "Junior"),
    ("sr", "Senior"),
    ("mt", "Mount"),
    ("vs", "versus"),
    ("etc", "et cetera"),
    ("e.g", "for example"),
    ("i.e", "that is"),
    ("approx", "approximately"),
    ("appt", "appointment"),
    ("dept", "department"),
    ("est", "estimated"),
    ("inc", "incorporated"),
    ("ltd", "limited"),
    ("tel", "telephone"),
    ("min", "minutes"),
    ("sec", "seconds"),
    ("hr", "hours"),
    ("jan", "January"),
    ("feb", "February"),
    ("apr", "April"),
    ("aug", "August"),
    ("sep", "September"),
    ("sept", "September"),
    ("oct", "October"),
    ("nov", "November"),
    ("dec", "December"),
    ("mon", "Monday"),
    ("tue", "Tuesday"),
    ("tues", "Tuesday"),
    ("wed", "Wednesday"),
    ("thu", "Thursday"),
    ("thurs", "Thursday"),
    ("fri", "Friday"),
];

/// Words and whether a sentence may end with the same full stop. Only for words that a
/// full stop follows.
fn abbreviation(token: &Token<'_>, next: Option<&str>) -> Option<(String, bool)> {
    if !token.close.starts_with('.') || token.close.starts_with("..") {
        return None;
    }
    let lower = token.core.to_ascii_lowercase();
    if let Some((_, words)) = ABBREVIATIONS.iter().find(|(short, _)| *short == lower) {
        // The others stand before the word that they belong to, so that a capital letter
        // after them is a name and no new sentence.
        let may_end = matches!(lower.as_str(), "etc" | "inc" | "ltd" | "jr" | "sr" | "min" | "sec" | "hr");
        return Some(((*words).to_owned(), may_end));
    }
    match lower.as_str() {
        "a.m" => Some(("AM".to_owned(), true)),
        "p.m" => Some(("PM".to_owned(), true)),
        "ph.d" => Some(("P H D".to_owned(), false)),
        "st" if next.is_some_and(|next| next.starts_with(|c: char| c.is_ascii_uppercase())) => {
            Some(("Saint".to_owned(), false))
        }
        "st" => Some(("Street".to_owned(), false)),
        "no" if next.is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit())) => {
            Some(("number".to_owned(), false))
        }
        // "U.S." and other letters with stops.
        _ if is_initials(token.core) => Some((token.core.replace('.', " "), false)),
        // An initial.
        _ if token.core.len() == 1 && token.core != "I" && token.core.starts_with(|c: char| c.is_ascii_uppercase()) => {
            Some((token.core.to_owned(), false)).filter(|_| next.is_some())
        }
        _ => None,
    }
}

fn is_initials(core: &str) -> bool {
    let parts = core.split('.');
    core.contains('.')
        && parts.clone().all(|part| part.len() == 1 && part.starts_with(|c: char| c.is_ascii_uppercase()))
}

// --- expressions -------------------------------------------------------------

fn expression(core: &str, next: Option<&str>) -> (String, bool) {
    if core.contains("://") || core.starts_with("www.") {
        return (address(core), false);
    }
    if let Some(spoken) = number_expression(core, next) {
        return spoken;
    }
    match core.to_ascii_lowercase().as_str() {
        "w/" => return ("with".to_owned(), false),
        "w/o" => return ("without".to_owned(), false),
        "tsp" => return ("teaspoons".to_owned(), false),
        "tbsp" => return ("tablespoons".to_owned(), false),
        "mins" => return ("minutes".to_owned(), false),
        "hrs" => return ("hours".to_owned(), false),
        "<" => return ("is less than".to_owned(), false),
        ">" => return ("is more than".to_owned(), false),
        _ => {}
    }
    (word(core), false)
}

/// A word that is no number: symbols get names, digits inside are read, dots in names too.
fn word(core: &str) -> String {
    let is_email = core.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
    if is_email {
        return address(core);
    }
    let mut out = String::with_capacity(core.len() + 8);
    let mut rest = core;
    while let Some(c) = rest.chars().next() {
        if c.is_ascii_digit() {
            let len = rest.bytes().take_while(u8::is_ascii_digit).count();
            separate(&mut out);
            out.push_str(&numbers::integer(&rest[..len]));
            out.push(' ');
            rest = &rest[len..];
            if let Some(fraction) = rest.strip_prefix('.').filter(|text| starts_with_digit(text)) {
                out.push_str("point");
                rest = fraction;
            }
            continue;
        }
        let after = &rest[c.len_utf8()..];
        match c {
            '*' if starts_with_digit(after) => out.push_str(" times "),
            '^' if starts_with_digit(after) => out.push_str(" to the power of "),
            '&' => out.push_str(" and "),
            '@' => out.push_str(" at "),
            '%' => out.push_str(" percent "),
            '+' => out.push_str(" plus "),
            '=' => out.push_str(" equals "),
            '€' => out.push_str(" euros "),
            '£' => out.push_str(" pounds "),
            '¥' => out.push_str(" yen "),
            '₹' => out.push_str(" rupees "),
            '$' => out.push_str(" dollars "),
            '°' => out.push_str(" degrees "),
            '#' if starts_with_digit(after) => out.push_str(" number "),
            '/' | '#' | '<' | '>' => out.push(' '),
            '.' => out.push_str(&inner_stop(&out, after)),
            _ => out.push(c),
        }
        rest = after;
    }
    out
}

/// A full stop inside a word: an acronym ("U.S"), a missing space ("done.Next") or a name
/// ("example.com").
fn inner_stop(before: &str, after: &str) -> String {
    let letters_before = before.chars().rev().take_while(char::is_ascii_alphabetic).count();
    let letters_after = after.chars().take_while(char::is_ascii_alphabetic).count();
    if letters_before == 1 && letters_after <= 1 {
        " ".to_owned()
    } else if after.starts_with(|c: char| c.is_ascii_uppercase()) && letters_before > 1 {
        ". ".to_owned()
    } else if letters_after > 0 || after.starts_with(|c: char| c.is_ascii_digit()) {
        " dot ".to_owned()
    } else {
        ".".to_owned()
    }
}

/// Web and mail addresses. The scheme and `www.` are not spoken, punctuation of a query
/// neither.
fn address(core: &str) -> String {
    let core = core.split_once("://").map_or(core, |(_, rest)| rest);
    let core = core.strip_prefix("www.").unwrap_or(core).trim_end_matches('/');
    let mut out = String::new();
    let mut rest = core;
    while let Some(c) = rest.chars().next() {
        if c.is_ascii_digit() {
            let len = rest.bytes().take_while(u8::is_ascii_digit).count();
            separate(&mut out);
            out.push_str(&numbers::integer(&rest[..len]));
            out.push(' ');
            rest = &rest[len..];
            continue;
        }
        match c {
            '.' => out.push_str(" dot "),
            '/' => out.push_str(" slash "),
            '@' => out.push_str(" at "),
            c if c.is_ascii_alphabetic() => out.push(c),
            _ => out.push(' '),
        }
        rest = &rest[c.len_utf8()..];
    }
    out
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

fn separate(out: &mut String) {
    if !out.is_empty() && !out.ends_with(' ') {
        out.push(' ');
    }
}

// --- numbers -----------------------------------------------------------------

/// A number as written: sign, currency sign, digits, what follows.
struct Written<'a> {
    sign: &'static str,
    currency: Option<char>,
    whole: String,
    fraction: Option<&'a str>,
    has_separators: bool,
    rest: &'a str,
}

fn read_number(core: &str) -> Option<Written<'_>> {
    let mut rest = core;
    let mut sign = "";
    let mut currency = None;
    loop {
        let c = rest.chars().next()?;
        match c {
            '-' if sign.is_empty() => sign = "minus ",
            '+' if sign.is_empty() => sign = "plus ",
            '~' if sign.is_empty() => sign = "about ",
            '#' if sign.is_empty() => sign = "number ",
            '<' if sign.is_empty() => sign = "less than ",
            '>' if sign.is_empty() => sign = "more than ",
            '$' | '€' | '£' | '¥' | '₹' if currency.is_none() => currency = Some(c),
            '0'..='9' | '.' => break,
            _ => return None,
        }
        rest = &rest[c.len_utf8()..];
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let mut whole = rest[..digits].to_owned();
    rest = &rest[digits..];
    let mut has_separators = false;
    while let Some(group) = rest.strip_prefix(',') {
        let len = group.bytes().take_while(u8::is_ascii_digit).count();
        if len != 3 || whole.is_empty() {
            break;
        }
        whole.push_str(&group[..3]);
        rest = &group[3..];
        has_separators = true;
    }
    let mut fraction = None;
    if let Some(after) = rest.strip_prefix('.') {
        let len = after.bytes().take_while(u8::is_ascii_digit).count();
        if len > 0 {
            fraction = Some(&after[..len]);
            rest = &after[len..];
        }
    }
    (!whole.is_empty() || fraction.is_some()).then_some(Written {
        sign,
        currency,
        whole,
        fraction,
        has_separators,
        rest,
    })
}

impl Written<'_> {
    fn words(&self) -> String {
        match self.fraction {
            Some(fraction) => numbers::decimal(&self.whole, fraction),
            None => numbers::integer(&self.whole),
        }
    }

    /// Words of a number that stands alone, where four digits may be a year.
    fn words_alone(&self) -> String {
        let is_year = self.fraction.is_none() && !self.has_separators && self.sign.is_empty() && self.whole.len() == 4;
        match self.whole.parse() {
            Ok(n) if is_year && !self.whole.starts_with('0') => numbers::year(n),
            _ => self.words(),
        }
    }

    fn is_one(&self) -> bool {
        self.whole == "1" && self.fraction.is_none()
    }
}

fn number_expression(core: &str, next: Option<&str>) -> Option<(String, bool)> {
    let number = read_number(core)?;
    if number.currency.is_some() {
        return Some(money(&number, next));
    }
    let signed = |words: String| format!("{}{words}", number.sign);
    let rest = number.rest;
    if rest.is_empty() {
        if let Some(next) = next {
            if let Some(half_day) = half_day(next) {
                return Some((format!("{} {half_day}", signed(number.words())), true));
            }
            if let Some(unit) = unit(next, number.is_one()) {
                return Some((format!("{} {unit}", signed(number.words())), true));
            }
            if let Some(part) = next.split_once('/').and_then(|(over, under)| fraction(over, under)) {
                return Some((format!("{} and {part}", signed(number.words())), true));
            }
        }
        return Some((signed(number.words_alone()), false));
    }
    if number.fraction.is_none() {
        if let Some((spoken, uses_next)) = clock(&number.whole, rest, next) {
            return Some((spoken, uses_next));
        }
        if let Some(date) = iso_date(&number.whole, rest) {
            return Some((date, false));
        }
        if let Some(ratio) =
            rest.strip_prefix(':').filter(|to| !to.is_empty() && to.bytes().all(|b| b.is_ascii_digit()))
        {
            return Some((format!("{} to {}", signed(number.words()), numbers::integer(ratio)), false));
        }
        if let Some(part) = rest.strip_prefix('/').and_then(|under| fraction(&number.whole, under)) {
            return Some(match next.and_then(|next| unit(next, true)) {
                Some(unit) => (format!("{} {unit}", signed(part)), true),
                None => (signed(part), false),
            });
        }
        if matches!(rest.to_ascii_lowercase().as_str(), "st" | "nd" | "rd" | "th") {
            let n = number.whole.parse().ok().filter(|_| number.whole.len() <= 15)?;
            return Some((signed(numbers::ordinal(n)), false));
        }
        if matches!(rest, "s" | "'s") {
            return Some((signed(numbers::plural(&number.words_alone())), false));
        }
        if rest.starts_with('-')
            && let Some(spoken) = digits_with_hyphens(core)
        {
            return Some((spoken, false));
        }
    }
    if rest.starts_with('.') || (number.fraction.is_some() && rest.starts_with(|c: char| c.is_ascii_digit())) {
        return version(core).map(|spoken| (spoken, false));
    }
    if let Some(half_day) = half_day(rest) {
        return Some((format!("{} {half_day}", signed(number.words())), false));
    }
    if let Some(unit) = unit(rest, number.is_one()) {
        return Some((format!("{} {unit}", signed(number.words())), false));
    }
    if let Some(currency) = rest.chars().next().filter(|c| currency_name(*c, true).is_some()) {
        let after = &rest[currency.len_utf8()..];
        let (spoken, _) = money(&Written { currency: Some(currency), rest: after, ..number }, None);
        return Some((spoken, false));
    }
    if let Some(upper) = rest.strip_prefix('-').and_then(read_number) {
        let unit = unit(upper.rest, false).unwrap_or_else(|| word(upper.rest));
        return Some((format!("{} to {} {unit}", signed(number.words_alone()), upper.words_alone()), false));
    }
    let tail =
        number_expression(rest.trim_start_matches(['-', '/']), None).map_or_else(|| word(rest), |(spoken, _)| spoken);
    let operator = match rest.chars().next() {
        Some('/' | '-') | None => "",
        Some('+') if rest.len() == 1 => return Some((format!("{} plus", signed(number.words())), false)),
        Some(_) => "",
    };
    Some((format!("{} {operator}{tail}", signed(number.words())), false))
}

/// "7:30", "7:30pm", "7:30 pm", "1:02:03".
fn clock(hours: &str, rest: &str, next: Option<&str>) -> Option<(String, bool)> {
    let after = rest.strip_prefix(':')?;
    let minutes = after.get(..2).filter(|m| m.bytes().all(|b| b.is_ascii_digit()))?;
    if hours.len() > 2 || hours.is_empty() {
        return None;
    }
    let hour = numbers::cardinal(hours.parse().ok()?);
    let minute: u64 = minutes.parse().ok()?;
    let mut tail = &after[2..];
    let mut seconds = None;
    if let Some(text) =
        tail.strip_prefix(':').and_then(|s| s.get(..2)).filter(|s| s.bytes().all(|b| b.is_ascii_digit()))
    {
        seconds = text.parse::<u64>().ok();
        tail = &tail[3..];
    }
    let part = |n: u64| if n < 10 { format!("oh {}", numbers::cardinal(n)) } else { numbers::cardinal(n) };
    if let Some((until, uses_next)) = tail.strip_prefix('-').and_then(|until| number_expression(until, next)) {
        let (from, _) = clock(hours, &rest[..rest.len() - tail.len()], None)?;
        return Some((format!("{from} to {until}"), uses_next));
    }
    let (half, uses_next) = match (tail, next) {
        // The hour alone: "twelve noon".
        ("", Some("noon" | "midnight")) => (Some(""), false),
        ("", Some(next)) => (half_day(next), half_day(next).is_some()),
        ("", None) => (None, false),
        (tail, _) => (Some(half_day(tail)?), false),
    };
    let mut spoken = match (minute, seconds, half) {
        (0, None, None) if hours != "0" && hours != "00" => format!("{hour} o'clock"),
        (0, None, Some(_)) => hour,
        _ => format!("{hour} {}", part(minute)),
    };
    if let Some(seconds) = seconds {
        spoken = format!("{spoken} {}", part(seconds));
    }
    if let Some(half) = half.filter(|half| !half.is_empty()) {
        spoken = format!("{spoken} {half}");
    }
    Some((spoken, uses_next))
}

fn half_day(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "am" | "a.m" => Some("AM"),
        "pm" | "p.m" => Some("PM"),
        _ => None,
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// "2026-11-22", also with a time behind: "2026-11-22T10:30:00Z".
fn iso_date(year: &str, rest: &str) -> Option<String> {
    if let Some((date, time)) = rest.split_once('T') {
        let hours = time.bytes().take_while(u8::is_ascii_digit).count();
        let (time, _) = clock(&time[..hours], time[hours..].get(..3)?, None)?;
        return Some(format!("{} at {time}", iso_date(year, date)?));
    }
    let (month, day) = rest.strip_prefix('-')?.split_once('-')?;
    if year.len() != 4 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    let month = MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
    let day = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    Some(format!("{month} {}, {}", numbers::ordinal(day), numbers::year(year.parse().ok()?)))
}

/// "3/4" as "three quarters". Only small ones: "24/7" and dates are no fractions.
fn fraction(over: &str, under: &str) -> Option<String> {
    let over: u64 = over.parse().ok()?;
    let under: u64 = under.parse().ok()?;
    if over == 0 || over >= under || under > 10 {
        return None;
    }
    let part = match (under, over) {
        (2, _) => "half".to_owned(),
        (4, 1) => "quarter".to_owned(),
        (4, _) => "quarters".to_owned(),
        (_, 1) => numbers::ordinal(under),
        _ => numbers::plural(&numbers::ordinal(under)),
    };
    Some(format!("{} {part}", numbers::cardinal(over)))
}

/// "1.2.3" and "192.168.0.1".
fn version(core: &str) -> Option<String> {
    let parts: Vec<&str> = core.split('.').collect();
    let is_version = parts.len() > 2 && parts.iter().all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    is_version.then(|| parts.iter().map(|part| numbers::integer(part)).collect::<Vec<_>>().join(" point "))
}

/// "555-0123" is a telephone number, "5-10" a range.
fn digits_with_hyphens(core: &str) -> Option<String> {
    let groups: Vec<&str> = core.split('-').collect();
    if !groups.iter().all(|g| !g.is_empty() && g.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let is_local = groups.len() == 2 && groups[0].len() == 3 && groups[1].len() == 4;
    if is_local || groups.len() > 2 || groups.iter().any(|g| g.len() > 2 && g.starts_with('0')) {
        return Some(groups.iter().map(|group| numbers::digits(group)).collect::<Vec<_>>().join(", "));
    }
    let alone = |text: &str| read_number(text).map_or_else(String::new, |number| number.words_alone());
    Some(format!("{} to {}", alone(groups[0]), alone(groups[1])))
}

// --- money -------------------------------------------------------------------

fn currency_name(sign: char, one: bool) -> Option<&'static str> {
    Some(match (sign, one) {
        ('$', true) => "dollar",
        ('$', false) => "dollars",
        ('€', true) => "euro",
        ('€', false) => "euros",
        ('£', true) => "pound",
        ('£', false) => "pounds",
        ('¥', _) => "yen",
        ('₹', true) => "rupee",
        ('₹', false) => "rupees",
        _ => return None,
    })
}

fn coin_name(sign: char, one: bool) -> &'static str {
    match (sign, one) {
        ('£', true) => "penny",
        ('£', false) => "pence",
        ('₹', _) => "paise",
        (_, true) => "cent",
        (_, false) => "cents",
    }
}

fn magnitude(text: &str) -> Option<&'static str> {
    Some(match text {
        "k" | "K" | "thousand" => "thousand",
        "m" | "M" | "mn" | "million" => "million",
        "b" | "B" | "bn" | "billion" => "billion",
        "trillion" => "trillion",
        _ => return None,
    })
}

fn money(number: &Written<'_>, next: Option<&str>) -> (String, bool) {
    let sign = number.currency.unwrap_or('$');
    let name = |one| currency_name(sign, one).unwrap_or("");
    let after = if number.rest.is_empty() { next.filter(|next| next.len() > 2).and_then(magnitude) } else { None };
    if let Some(scale) = magnitude(number.rest).or(after) {
        return (format!("{}{} {scale} {}", number.sign, number.words(), name(false)), after.is_some());
    }
    let coins = number.fraction.filter(|f| f.len() == 2).and_then(|f| f.parse::<u64>().ok());
    let zero = number.whole.trim_start_matches('0').is_empty();
    let mut words = match coins {
        Some(0) => format!("{} {}", numbers::integer(&number.whole), name(number.whole == "1")),
        Some(coins) => {
            let coins = format!("{} {}", numbers::cardinal(coins), coin_name(sign, coins == 1));
            if zero {
                coins
            } else {
                format!("{} {} and {coins}", numbers::integer(&number.whole), name(number.whole == "1"))
            }
        }
        None => format!("{} {}", number.words(), name(number.is_one())),
    };
    if let Some(upper) = number.rest.strip_prefix('-').and_then(read_number).filter(|upper| upper.rest.is_empty()) {
        words = format!("{} to {} {}", number.words(), upper.words(), name(false));
    } else if !number.rest.is_empty() {
        words = format!("{words} {}", word(number.rest));
    }
    (format!("{}{words}", number.sign), false)
}

// --- units -------------------------------------------------------------------

/// Abbreviation, one, several.
const UNITS: &[(&str, &str, &str)] = &[
    ("%", "percent", "percent"),
    ("°", "degree", "degrees"),
    ("°C", "degree Celsius", "degrees Celsius"),
    ("°F", "degree Fahrenheit", "degrees Fahrenheit"),
    ("°K", "kelvin", "kelvins"),
    ("km", "kilometer", "kilometers"),
    ("m", "meter", "meters"),
    ("cm", "centimeter", "centimeters"),
    ("mm", "millimeter", "millimeters"),
    ("mi", "mile", "miles"),
    ("ft", "foot", "feet"),
    ("yd", "yard", "yards"),
    ("kg", "kilogram", "kilograms"),
    ("g", "gram", "grams"),
    ("mg", "milligram", "milligrams"),
    ("ug", "microgram", "micrograms"),
    ("lb", "pound", "pounds"),
    ("lbs", "pound", "pounds"),
    ("oz", "ounce", "ounces"),
    ("l", "liter", "liters"),
    ("L", "liter", "liters"),
    ("ml", "milliliter", "milliliters"),
    ("mL", "milliliter", "milliliters"),
    ("tsp", "teaspoon", "teaspoons"),
    ("tbsp", "tablespoon", "tablespoons"),
    ("h", "hour", "hours"),
    ("hr", "hour", "hours"),
    ("hrs", "hour", "hours"),
    ("min", "minute", "minutes"),
    ("mins", "minute", "minutes"),
    ("s", "second", "seconds"),
    ("sec", "second", "seconds"),
    ("secs", "second", "seconds"),
    ("ms", "millisecond", "milliseconds"),
    ("us", "microsecond", "microseconds"),
    ("mph", "mile per hour", "miles per hour"),
    ("kph", "kilometer per hour", "kilometers per hour"),
    ("km/h", "kilometer per hour", "kilometers per hour"),
    ("kmh", "kilometer per hour", "kilometers per hour"),
    ("m/s", "meter per second", "meters per second"),
    ("W", "watt", "watts"),
    ("kW", "kilowatt", "kilowatts"),
    ("kWh", "kilowatt hour", "kilowatt hours"),
    ("V", "volt", "volts"),
    ("Hz", "hertz", "hertz"),
    ("kHz", "kilohertz", "kilohertz"),
    ("MHz", "megahertz", "megahertz"),
    ("GHz", "gigahertz", "gigahertz"),
    ("kB", "kilobyte", "kilobytes"),
    ("KB", "kilobyte", "kilobytes"),
    ("MB", "megabyte", "megabytes"),
    ("GB", "gigabyte", "gigabytes"),
    ("TB", "terabyte", "terabytes"),
    ("Mbps", "megabit per second", "megabits per second"),
    ("Gbps", "gigabit per second", "gigabits per second"),
    ("dB", "decibel", "decibels"),
    ("hPa", "hectopascal", "hectopascals"),
    ("px", "pixel", "pixels"),
    ("x", "time", "times"),
];

fn is_unit(text: &str) -> bool {
    unit(text, false).is_some()
}

fn unit(text: &str, one: bool) -> Option<String> {
    let (_, singular, plural) = UNITS.iter().find(|(short, ..)| *short == text)?;
    Some(if one { (*singular).to_owned() } else { (*plural).to_owned() })
}
