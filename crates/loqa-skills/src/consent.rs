//! Asking the person. The gate asks when a permission of tier T2 is used for the first
//! time, a T3 permission at every use, and when foreign values would choose what happens.
//!
//! Who shows the question is not decided here: a window, a command line and a test
//! answer the same trait. No answer in time is a no.

use crate::control::CallControl;
use crate::permission::{Permission, Scope, Tier};
use crate::taint::Taint;
use loqa_protocol::{SessionId, TurnId};
use std::time::Duration;

/// Why the person is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Occasion {
    /// First use of a T2 permission.
    FirstUse,
    /// Every use of a T3 permission.
    EveryUse,
    /// Values from elsewhere take part.
    Foreign,
}

/// A text that somebody else has chosen, so that it shows what it holds: control
/// characters, and those that are invisible or turn the direction of writing (Unicode
/// category Cf, the line and paragraph separators, the fillers), are written as `\u{…}`.
#[must_use]
pub fn plain(text: &str) -> String {
    let hides = |c: char| {
        c.is_control()
            || matches!(c,
                '\u{ad}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{600}'..='\u{605}'
                | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
                | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1345f}'
                | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if hides(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
        shown
    })
}

/// What the person is asked. The texts of the skill's author and of whoever made the
/// arguments are [`plain`]; a window escapes them and never styles them.
#[derive(Debug, Clone)]
pub struct Question {
    /// Name of the skill.
    pub skill: String,
    /// Its title, from the manifest.
    pub title: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the code that would act, in hex.
    pub digest: String,
    /// The permission.
    pub permission: Permission,
    /// Its tier.
    pub tier: Tier,
    /// Why the person is asked.
    pub occasion: Occasion,
    /// The host function or operation.
    pub operation: &'static str,
    /// What exactly would be done to what: `turn_on light.kitchen`, `GET https://host/path`.
    pub target: String,
    /// The author's reason, from the manifest.
    pub reason: String,
    /// How far a lasting answer would reach: what the manifest asks for.
    pub scope: Scope,
    /// Where the values come from.
    pub taint: Taint,
    /// On whose behalf; `None` for an event.
    pub turn: Option<(SessionId, TurnId)>,
}

impl Question {
    /// The answers that make sense. A confirmation of actual arguments is for this time only.
    #[must_use]
    pub const fn answers(&self) -> &'static [Answer] {
        match (self.occasion, &self.turn) {
            (Occasion::FirstUse, Some(_)) => {
                &[Answer::Once, Answer::Session, Answer::Always, Answer::Deny, Answer::Never]
            }
            (Occasion::FirstUse, None) => &[Answer::Once, Answer::Always, Answer::Deny, Answer::Never],
            (Occasion::EveryUse | Occasion::Foreign, _) => &[Answer::Once, Answer::Deny, Answer::Never],
        }
    }
}

/// What the person answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Only this time.
    Once,
    /// While this session lasts.
    Session,
    /// Until it is revoked.
    Always,
    /// Not this time.
    Deny,
    /// Never ask again.
    Never,
    /// Nobody answered in time, or the call was cancelled.
    Unanswered,
}

impl Occasion {
    /// The stable text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstUse => "first_use",
            Self::EveryUse => "every_use",
            Self::Foreign => "foreign",
        }
    }
}

impl Answer {
    /// The stable text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Session => "session",
            Self::Always => "always",
            Self::Deny => "deny",
            Self::Never => "never",
            Self::Unanswered => "unanswered",
        }
    }

    /// The answer of that text form that a person can give.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Once, Self::Session, Self::Always, Self::Deny, Self::Never]
            .into_iter()
            .find(|answer| answer.as_str() == name)
    }
}

/// Puts a question to the person and waits.
pub trait Consent: Send + Sync {
    /// Blocks until there is an answer, `limit` is over, or [`CallControl::stopped`] says
    /// that nobody waits for one. Called from any thread, several at a time.
    fn ask(&self, question: &Question, limit: Duration, control: &CallControl) -> Answer;
}

/// Nobody is there to be asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct NobodyThere;

impl Consent for NobodyThere {
    fn ask(&self, _question: &Question, _limit: Duration, _control: &CallControl) -> Answer {
        Answer::Unanswered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_text_shows_what_it_holds() {
        assert_eq!(plain("Küche – 照明"), "Küche – 照明");
        for hostile in ["\u{1b}[2J", "a\u{202e}b", "\r\n", "a\u{200b}b", "\u{2066}x\u{2069}", "\u{e0041}", "\u{3164}"] {
            let shown = plain(hostile);
            assert!(shown.contains("\\u{"), "{shown}");
            assert_eq!(plain(&shown), shown, "nothing hidden is left");
        }
    }
}
