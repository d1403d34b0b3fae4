//! Asking the person. The gate asks when a permission of tier T2 is used for the first
//! time, a T3 permission at every use, and when foreign values would choose what happens.
//!
//! Who shows the question is not decided here: a window, a command line and a test
//! answer the same trait. No answer in time is a no.

use crate::permission::{Permission, Tier};
use crate::taint::Taint;
use std::sync::atomic::AtomicBool;
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

/// What the person is asked. Every text of the skill's author is foreign text: escape it, never style it.
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
    /// Where the values come from.
    pub taint: Taint,
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

/// Puts a question to the person and waits.
pub trait Consent: Send + Sync {
    /// Blocks until there is an answer, `limit` is over, or `cancel` is set.
    fn ask(&self, question: &Question, limit: Duration, cancel: &AtomicBool) -> Answer;
}

/// Nobody is there to be asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct NobodyThere;

impl Consent for NobodyThere {
    fn ask(&self, _question: &Question, _limit: Duration, _cancel: &AtomicBool) -> Answer {
        Answer::Unanswered
    }
}
