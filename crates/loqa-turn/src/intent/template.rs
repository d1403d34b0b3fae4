//! Reads one utterance template. Faults are reported with their column and a remedy;
//! templates that could match anything are refused here and not at the first misfire.

use super::words;

/// Longest template, in bytes. Chosen: a spoken sentence has about 100.
pub const MAX_TEMPLATE_BYTES: usize = 500;

/// Deepest nesting of groups. Chosen; people lose track before it.
const MAX_DEPTH: usize = 6;

/// Most slots in one template. Chosen.
const MAX_SLOTS: usize = 12;

/// One part of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    /// A literal word, as [`words::split`] gives it.
    Word(String),
    /// One of the alternatives; none when it is optional and left out.
    Group { optional: bool, alternatives: Vec<Vec<Part>> },
    /// A value.
    Slot { name: String, kind: SlotKind },
}

/// What a slot takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SlotKind {
    Duration,
    Number,
    Time,
    Text,
    /// Each choice as declared.
    Choice(Vec<String>),
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
    pub remedy: String,
}

/// Reads and checks a template.
pub(super) fn parse(template: &str) -> Result<Vec<Part>, Fault> {
    if template.len() > MAX_TEMPLATE_BYTES {
        return Err(fault(
            MAX_TEMPLATE_BYTES,
            format!("the template has {} bytes, at most {MAX_TEMPLATE_BYTES} are allowed", template.len()),
            "declare several shorter templates",
        ));
    }
    let mut parser = Parser { chars: template.chars().collect(), at: 0, n_slots: 0 };
    let parts = parser.sequence(0)?;
    if let Some(c) = parser.peek() {
        let message = match c {
            '|' => "`|` stands outside of a group".to_owned(),
            other => format!("`{other}` closes nothing"),
        };
        return Err(parser.fault_here(message, "put alternatives into `(…|…)`, or remove the character"));
    }
    check_meaning(&parts)?;
    Ok(parts)
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    n_slots: usize,
}

impl Parser {
    fn sequence(&mut self, depth: usize) -> Result<Vec<Part>, Fault> {
        let mut parts = Vec::new();
        while let Some(c) = self.peek() {
            match c {
                '|' | ')' | ']' | '}' => break,
                _ if c.is_whitespace() => self.at += 1,
                '(' | '[' | '{' => {
                    self.refuse_glued(self.at.checked_sub(1), "before", "([|")?;
                    parts.push(if c == '{' { self.slot()? } else { self.group(c == '[', depth)? });
                    self.refuse_glued(Some(self.at), "behind", ")]}|")?;
                }
                _ => self.literal(&mut parts)?,
            }
        }
        Ok(parts)
    }

    fn group(&mut self, optional: bool, depth: usize) -> Result<Part, Fault> {
        let open_at = self.at;
        let (open, close) = if optional { ('[', ']') } else { ('(', ')') };
        if depth == MAX_DEPTH {
            return Err(
                self.fault_here(format!("groups are nested more than {MAX_DEPTH} deep"), "declare several templates")
            );
        }
        self.at += 1;
        let mut alternatives = Vec::new();
        loop {
            let start = self.at;
            let alternative = self.sequence(depth + 1)?;
            if alternative.is_empty() && self.peek().is_some() {
                return Err(Fault {
                    column: start + 1,
                    message: format!("an alternative of the group `{open}…{close}` is empty"),
                    remedy: "use `[…]` for what may be left out".to_owned(),
                });
            }
            alternatives.push(alternative);
            match self.peek() {
                Some('|') => self.at += 1,
                Some(c) if c == close => break,
                Some(c) => {
                    return Err(self.fault_here(
                        format!("`{c}` does not close `{open}` of column {}", open_at + 1),
                        &format!("write `{close}`"),
                    ));
                }
                None => {
                    return Err(Fault {
                        column: open_at + 1,
                        message: format!("`{open}` is never closed"),
                        remedy: format!("add `{close}`"),
                    });
                }
            }
        }
        self.at += 1;
        Ok(Part::Group { optional, alternatives })
    }

    fn slot(&mut self) -> Result<Part, Fault> {
        let open_at = self.at;
        let rest = &self.chars[open_at + 1..];
        let Some(length) = rest.iter().position(|c| matches!(c, '}' | '{')).filter(|&i| rest[i] == '}') else {
            return Err(self.fault_here("`{` is never closed", "add `}`"));
        };
        let inside: String = rest[..length].iter().collect();
        self.at = open_at + length + 2;
        self.n_slots += 1;
        let at_slot = |message: String, remedy: &str| fault(open_at + 1, message, remedy);
        if self.n_slots > MAX_SLOTS {
            return Err(at_slot(format!("more than {MAX_SLOTS} slots"), "declare several templates"));
        }
        let (name, kind) = inside.split_once(':').unwrap_or((&inside, "text"));
        let (name, kind) = (name.trim(), kind.trim());
        let is_name = name.len() <= 40
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_name {
            return Err(at_slot(
                format!("`{name}` is no slot name"),
                "write the argument's name in a-z, 0-9 and _, beginning with a letter",
            ));
        }
        let kind = match kind {
            "duration" => SlotKind::Duration,
            "number" => SlotKind::Number,
            "time" => SlotKind::Time,
            "text" => SlotKind::Text,
            choices if choices.contains('|') => {
                let choices: Vec<String> = choices.split('|').map(|c| c.trim().to_owned()).collect();
                if choices.iter().any(|c| words::split(c, 1).is_empty()) {
                    return Err(at_slot(
                        "a choice is empty".to_owned(),
                        "remove it, or make the slot optional with `[…]`",
                    ));
                }
                SlotKind::Choice(choices)
            }
            unknown => {
                return Err(at_slot(
                    format!("`{unknown}` is no slot type"),
                    "write duration, number, time, text or choices such as `{colour:red|light blue}`",
                ));
            }
        };
        Ok(Part::Slot { name: name.to_owned(), kind })
    }

    fn literal(&mut self, parts: &mut Vec<Part>) -> Result<(), Fault> {
        let start = self.at;
        while let Some(c) = self.peek() {
            if c.is_whitespace() || "()[]{}|".contains(c) {
                break;
            }
            if !c.is_alphanumeric() && !"'’-%&\u{301}".contains(c) {
                return Err(self.fault_here(
                    format!("`{}` is not spoken", c.escape_debug()),
                    "leave it out; punctuation of what was said is ignored",
                ));
            }
            self.at += 1;
        }
        let text: String = self.chars[start..self.at].iter().collect();
        let found = words::split(&text, usize::MAX);
        if found.is_empty() {
            return Err(fault(start + 1, format!("`{text}` is no word"), "leave it out"));
        }
        parts.extend(found.into_iter().map(|word| Part::Word(word.text)));
        Ok(())
    }

    /// Groups and slots stand apart from words: `timer[s]` has no meaning here.
    fn refuse_glued(&self, neighbour: Option<usize>, side: &str, allowed: &str) -> Result<(), Fault> {
        let Some(&c) = neighbour.and_then(|at| self.chars.get(at)) else {
            return Ok(());
        };
        if c.is_whitespace() || allowed.contains(c) {
            return Ok(());
        }
        Err(self.fault_here(
            format!("`{c}` touches a group or a slot"),
            &format!("put a space {side} it; write word endings as `(timer|timers)`"),
        ))
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn fault_here(&self, message: impl Into<String>, remedy: &str) -> Fault {
        fault(self.at + 1, message, remedy)
    }
}

fn fault(column: usize, message: impl Into<String>, remedy: &str) -> Fault {
    Fault { column, message: message.into(), remedy: remedy.to_owned() }
}

fn check_meaning(parts: &[Part]) -> Result<(), Fault> {
    if may_be_silent(parts) {
        return Err(fault(1, "the template matches when nothing is said", "add a word or a slot that is not optional"));
    }
    if may_be_free_text_alone(parts) {
        return Err(fault(
            1,
            "the template matches whatever is said",
            "add a word or a typed slot that is not optional beside the free text",
        ));
    }
    if let Some(name) = slot_used_twice(parts) {
        return Err(fault(
            1,
            format!("the slot `{name}` can be filled twice"),
            "give the second one another name, or put the two into alternatives",
        ));
    }
    if texts_touch(parts) {
        return Err(fault(
            1,
            "two free texts can follow each other without a word between them",
            "put a word between them, or give one of them a type",
        ));
    }
    Ok(())
}

fn may_be_silent(parts: &[Part]) -> bool {
    parts.iter().all(|part| match part {
        Part::Word(_) | Part::Slot { .. } => false,
        Part::Group { optional, alternatives } => *optional || alternatives.iter().any(|a| may_be_silent(a)),
    })
}

/// Whether some way through the parts consists of free text and nothing else.
fn may_be_free_text_alone(parts: &[Part]) -> bool {
    parts.iter().all(|part| match part {
        Part::Word(_) => false,
        Part::Slot { kind, .. } => *kind == SlotKind::Text,
        Part::Group { optional, alternatives } => *optional || alternatives.iter().any(|a| may_be_free_text_alone(a)),
    })
}

fn slot_used_twice(parts: &[Part]) -> Option<String> {
    fn names(parts: &[Part], on_path: &mut Vec<String>) -> Option<String> {
        for part in parts {
            match part {
                Part::Word(_) => {}
                Part::Slot { name, .. } => {
                    if on_path.contains(name) {
                        return Some(name.clone());
                    }
                    on_path.push(name.clone());
                }
                Part::Group { alternatives, .. } => {
                    let before = on_path.clone();
                    for alternative in alternatives {
                        let mut branch = before.clone();
                        if let Some(twice) = names(alternative, &mut branch) {
                            return Some(twice);
                        }
                        on_path.extend(branch.into_iter().skip(before.len()));
                    }
                }
            }
        }
        None
    }
    names(parts, &mut Vec::new())
}

/// Whether free text can directly follow free text.
fn texts_touch(parts: &[Part]) -> bool {
    /// Walks with "free text may have ended right here"; gives the same for the end.
    fn walk(parts: &[Part], mut after_text: bool, touches: &mut bool) -> bool {
        for part in parts {
            after_text = match part {
                Part::Word(_) => false,
                Part::Slot { kind: SlotKind::Text, .. } => {
                    *touches |= after_text;
                    true
                }
                Part::Slot { .. } => false,
                Part::Group { optional, alternatives } => {
                    let mut any = *optional && after_text;
                    for alternative in alternatives {
                        any |= walk(alternative, after_text, touches);
                    }
                    any
                }
            };
        }
        after_text
    }
    let mut touches = false;
    walk(parts, false, &mut touches);
    touches
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(templates: &[&str], expected: Expect) {
        let mut lines = String::new();
        for template in templates {
            let line = match parse(template) {
                Ok(parts) => format!("{template} => {}\n", show(&parts)),
                Err(f) => format!("{template} => column {}: {}; {}\n", f.column, f.message, f.remedy),
            };
            lines.push_str(&line);
        }
        expected.assert_eq(&lines);
    }

    fn show(parts: &[Part]) -> String {
        let shown: Vec<String> = parts
            .iter()
            .map(|part| match part {
                Part::Word(word) => word.clone(),
                Part::Slot { name, kind } => format!("{name}={kind:?}"),
                Part::Group { optional, alternatives } => {
                    let inner: Vec<String> = alternatives.iter().map(|a| show(a)).collect();
                    format!("{}<{}>", if *optional { "maybe" } else { "one" }, inner.join(" / "))
                }
            })
            .collect();
        shown.join(" ")
    }

    #[test]
    fn templates_are_read() {
        check(
            &[
                "(set|start) [a|an|the] [{label}] timer for {duration_s:duration}",
                "what's the time",
                "turn {state:on|off} the [wi-fi [main] ] light",
                "{room:living room|kitchen} lights to {level:number} %",
                "((wake me|get me up) at|alarm for) {when:time}",
            ],
            expect![[r#"
                (set|start) [a|an|the] [{label}] timer for {duration_s:duration} => one<set / start> maybe<a / an / the> maybe<label=Text> timer for duration_s=Duration
                what's the time => what's the time
                turn {state:on|off} the [wi-fi [main] ] light => turn state=Choice(["on", "off"]) the maybe<wi fi maybe<main>> light
                {room:living room|kitchen} lights to {level:number} % => room=Choice(["living room", "kitchen"]) lights to level=Number percent
                ((wake me|get me up) at|alarm for) {when:time} => one<one<wake me / get me up> at / alarm for> when=Time
            "#]],
        );
    }

    #[test]
    fn faults_name_their_place_and_a_remedy() {
        check(
            &[
                "",
                "   ",
                "[please]",
                "{text}",
                "[now] {what:text}",
                "set (a timer",
                "set a) timer",
                "a|b",
                "set {x:duraton}",
                "set {X:number}",
                "set {:number}",
                "set {x",
                "set {a {b}}",
                "timer[s] off",
                "{x:number}% off",
                "stop!",
                "go (a|)",
                "go ()",
                "{a:number} and {a:number}",
                "say {a} {b}",
                "say {a} [to] {b}",
                "choose {c:red||blue}",
                "set (a]",
                "what is - this",
            ],
            expect![[r#"
                 => column 1: the template matches when nothing is said; add a word or a slot that is not optional
                    => column 1: the template matches when nothing is said; add a word or a slot that is not optional
                [please] => column 1: the template matches when nothing is said; add a word or a slot that is not optional
                {text} => column 1: the template matches whatever is said; add a word or a typed slot that is not optional beside the free text
                [now] {what:text} => column 1: the template matches whatever is said; add a word or a typed slot that is not optional beside the free text
                set (a timer => column 5: `(` is never closed; add `)`
                set a) timer => column 6: `)` closes nothing; put alternatives into `(…|…)`, or remove the character
                a|b => column 2: `|` stands outside of a group; put alternatives into `(…|…)`, or remove the character
                set {x:duraton} => column 5: `duraton` is no slot type; write duration, number, time, text or choices such as `{colour:red|light blue}`
                set {X:number} => column 5: `X` is no slot name; write the argument's name in a-z, 0-9 and _, beginning with a letter
                set {:number} => column 5: `` is no slot name; write the argument's name in a-z, 0-9 and _, beginning with a letter
                set {x => column 5: `{` is never closed; add `}`
                set {a {b}} => column 5: `{` is never closed; add `}`
                timer[s] off => column 6: `r` touches a group or a slot; put a space before it; write word endings as `(timer|timers)`
                {x:number}% off => column 11: `%` touches a group or a slot; put a space behind it; write word endings as `(timer|timers)`
                stop! => column 5: `!` is not spoken; leave it out; punctuation of what was said is ignored
                go (a|) => column 7: an alternative of the group `(…)` is empty; use `[…]` for what may be left out
                go () => column 5: an alternative of the group `(…)` is empty; use `[…]` for what may be left out
                {a:number} and {a:number} => column 1: the slot `a` can be filled twice; give the second one another name, or put the two into alternatives
                say {a} {b} => column 1: two free texts can follow each other without a word between them; put a word between them, or give one of them a type
                say {a} [to] {b} => column 1: two free texts can follow each other without a word between them; put a word between them, or give one of them a type
                choose {c:red||blue} => column 8: a choice is empty; remove it, or make the slot optional with `[…]`
                set (a] => column 7: `]` does not close `(` of column 5; write `)`
                what is - this => column 9: `-` is no word; leave it out
            "#]],
        );
    }

    #[test]
    fn deep_long_and_crowded_templates_are_refused() {
        let deep = format!("{}a{}", "(".repeat(50), ")".repeat(50));
        let long = "word ".repeat(200);
        let crowded: String = (0..20).map(|i| format!("and {{s{i}:number}} ")).collect();
        for template in [deep, long, crowded] {
            let fault = parse(&template).unwrap_err();
            assert!(!fault.remedy.is_empty(), "a refusal says what to do: {fault:?}");
        }
    }
}
