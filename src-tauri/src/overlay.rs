//! When the overlay is there: from the moment at which somebody is listened to, or is told why
//! not, while the main window is not in front, until a moment after the turn has ended. Pure;
//! the clock is an argument.
//!
//! Deliberately absent: the window itself, see `windows`.

use loqa_talk::TalkPhase;
use std::time::{Duration, Instant};

/// How long it stays after the turn. Chosen: the time to read the last line of an answer.
const LINGER: Duration = Duration::from_secs(4);

/// What is to be done with the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Show it; the focus stays where it is.
    Show,
    /// Hide it.
    Hide,
}

/// Whether it is there, and until when.
#[derive(Debug, Default)]
pub struct Overlay {
    is_listening: bool,
    is_shown: bool,
    hide_at: Option<Instant>,
}

impl Overlay {
    /// Something happened: this is what Loqa does, and whether the main window is in front.
    pub fn step(&mut self, phase: TalkPhase, is_main_focused: bool, now: Instant) -> Option<Act> {
        let was_listening = std::mem::replace(&mut self.is_listening, phase == TalkPhase::Listening);
        match phase {
            TalkPhase::Listening | TalkPhase::Thinking | TalkPhase::Speaking => self.hide_at = None,
            TalkPhase::Idle | TalkPhase::Muted | TalkPhase::Offline => {
                if self.is_shown && self.hide_at.is_none() {
                    self.hide_at = Some(now + LINGER);
                }
            }
        }
        let begins = self.is_listening && !was_listening;
        if begins && !is_main_focused {
            // Also when it seems to be there: the person may have closed it meanwhile.
            self.is_shown = true;
            return Some(Act::Show);
        }
        if self.is_shown && is_main_focused {
            // The main window shows the same, and more.
            return self.hide();
        }
        self.due(now)
    }

    /// The key did nothing, for a reason that the overlay names: without it a person who presses
    /// a key in another program would not learn that nobody listens.
    pub fn refused(&mut self, is_main_focused: bool, now: Instant) -> Option<Act> {
        if is_main_focused {
            return None;
        }
        self.is_shown = true;
        self.hide_at = Some(now + LINGER);
        Some(Act::Show)
    }

    /// When [`Overlay::due`] is to be asked.
    #[must_use]
    pub const fn hide_at(&self) -> Option<Instant> {
        self.hide_at
    }

    /// What is due by the clock.
    pub fn due(&mut self, now: Instant) -> Option<Act> {
        if self.hide_at.is_some_and(|at| at <= now) { self.hide() } else { None }
    }

    fn hide(&mut self) -> Option<Act> {
        self.hide_at = None;
        self.is_shown = false;
        Some(Act::Hide)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TalkPhase::{Idle, Listening, Muted, Offline, Speaking, Thinking};

    #[test]
    fn it_comes_with_the_key_and_goes_after_the_turn() {
        let now = Instant::now();
        let mut overlay = Overlay::default();
        assert_eq!(overlay.step(Idle, false, now), None);
        assert_eq!(overlay.step(Listening, false, now), Some(Act::Show));
        for phase in [Listening, Thinking, Speaking] {
            assert_eq!(overlay.step(phase, false, now), None, "{phase:?}");
        }
        assert_eq!(overlay.step(Idle, false, now), None, "the last line can be read");
        let at = overlay.hide_at().unwrap();
        assert_eq!(overlay.step(Idle, false, at - Duration::from_millis(1)), None, "further events do not prolong it");
        assert_eq!(overlay.hide_at(), Some(at));
        assert_eq!(overlay.due(at), Some(Act::Hide));
        assert_eq!(overlay.due(at + LINGER), None, "once");
    }

    #[test]
    fn a_new_turn_keeps_it() {
        let now = Instant::now();
        let mut overlay = Overlay::default();
        overlay.step(Listening, false, now);
        overlay.step(Muted, false, now);
        assert_eq!(overlay.step(Listening, false, now), Some(Act::Show), "it may have been closed by hand");
        assert_eq!(overlay.due(now + LINGER * 2), None, "the old time does not count");
    }

    #[test]
    fn it_does_not_come_before_the_main_window() {
        let now = Instant::now();
        let mut overlay = Overlay::default();
        for phase in [Listening, Thinking, Speaking, Idle, Offline] {
            assert_eq!(overlay.step(phase, true, now), None, "{phase:?}");
        }
        overlay.step(Listening, false, now);
        assert_eq!(overlay.step(Thinking, true, now), Some(Act::Hide), "the person went to the window");
    }

    #[test]
    fn a_key_that_does_nothing_is_explained() {
        let now = Instant::now();
        let mut overlay = Overlay::default();
        assert_eq!(overlay.refused(true, now), None, "the window says it");
        assert_eq!(overlay.refused(false, now), Some(Act::Show));
        assert_eq!(overlay.step(Muted, false, now), None);
        assert_eq!(overlay.due(now + LINGER), Some(Act::Hide));
        assert_eq!(overlay.hide_at(), None);
    }

    #[test]
    fn typing_does_not_bring_it() {
        let mut overlay = Overlay::default();
        assert_eq!(overlay.step(Thinking, false, Instant::now()), None);
        assert_eq!(overlay.step(Idle, false, Instant::now()), None);
        assert_eq!(overlay.hide_at(), None);
    }
}
