//! The last moments of sound, kept so that the beginning of an utterance is not lost.

use std::collections::VecDeque;

/// Keeps the newest samples and forgets the oldest.
#[derive(Debug)]
pub struct History {
    samples: VecDeque<i16>,
    capacity: usize,
}

impl History {
    /// Keeps this many samples.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { samples: VecDeque::with_capacity(capacity), capacity }
    }

    /// Adds samples; the oldest beyond the capacity are forgotten.
    pub fn push(&mut self, samples: &[i16]) {
        let newest = &samples[samples.len().saturating_sub(self.capacity)..];
        let surplus = (self.samples.len() + newest.len()).saturating_sub(self.capacity);
        self.samples.drain(..surplus);
        self.samples.extend(newest);
    }

    /// Gives everything, the oldest first, and is empty then.
    pub fn take(&mut self) -> Vec<i16> {
        self.samples.drain(..).collect()
    }

    /// How many samples are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_samples_are_kept_in_order() {
        let mut history = History::new(4);
        history.push(&[1, 2]);
        history.push(&[3, 4, 5]);
        assert_eq!(history.take(), [2, 3, 4, 5]);
        history.push(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(history.len(), 4);
        assert_eq!(history.take(), [3, 4, 5, 6]);
        assert!(history.is_empty());
    }

    #[test]
    fn no_capacity_keeps_nothing() {
        let mut history = History::new(0);
        history.push(&[1, 2, 3]);
        assert!(history.is_empty());
    }
}
