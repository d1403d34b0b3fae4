//! Cuts the sound of the microphone into what a turn is told: the moments before the key,
//! the utterance up to the release, and what the voice detector makes of it. Pure: time
//! comes with the frames. Deliberately absent: devices, and what the key means.

use crate::key::{PRE_ROLL, Voice};
use loqa_audio::{Segment, SegmentEnd, Segmenter, SegmenterSettings};
use loqa_hub::session::VoiceInput;
use loqa_protocol::audio::{INPUT_SAMPLE_RATE, MAX_UTTERANCE_SECONDS};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long after a release the frame under way is waited for, and only where somebody still
/// speaks. Chosen: a frame (20 ms), a period of the device (10 ms) and some slack.
pub const TAIL: Duration = Duration::from_millis(50);
/// Kept beyond the pre-roll: a key is heard of later than it went down. Chosen.
const SLACK: Duration = Duration::from_millis(200);

/// One frame of the microphone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Mono at [`INPUT_SAMPLE_RATE`].
    pub samples: Vec<i16>,
    /// Somebody speaks in it.
    pub voiced: bool,
    /// When its last sample was recorded.
    pub captured: Instant,
}

impl Heard {
    fn length(&self) -> Duration {
        length(self.samples.len())
    }

    fn begin(&self) -> Instant {
        self.captured.checked_sub(self.length()).unwrap_or(self.captured)
    }

    /// What of it lies between two moments.
    fn between(&self, from: Instant, until: Option<Instant>) -> Option<Self> {
        let early = samples_in(from.saturating_duration_since(self.begin())).min(self.samples.len());
        let late = until.map_or(0, |until| samples_in(self.captured.saturating_duration_since(until)));
        let end = self.samples.len().saturating_sub(late);
        let captured = self.captured.checked_sub(length(self.samples.len() - end)).unwrap_or(self.captured);
        (early < end).then(|| Self { samples: self.samples[early..end].to_vec(), voiced: self.voiced, captured })
    }
}

/// The ear.
#[derive(Debug, Default)]
pub struct Ear {
    recent: VecDeque<Heard>,
    utterance: Option<Utterance>,
}

#[derive(Debug)]
struct Utterance {
    from: Instant,
    /// The key was let go, and the frame under way is waited for.
    until: Option<Instant>,
    segmenter: Segmenter,
    samples: usize,
}

/// What a frame brought.
#[derive(Debug, Default)]
pub struct Said {
    /// For the turn.
    pub feed: Vec<VoiceInput>,
    /// For the key.
    pub voices: Vec<Voice>,
}

impl Ear {
    /// Begins an utterance with what was heard from `from` on. With `until` it is complete.
    pub fn begin(&mut self, from: Instant, until: Option<Instant>) -> Said {
        // The pre-roll is in the frames already.
        let settings = SegmenterSettings { pre_roll: 0, ..SegmenterSettings::default() };
        self.utterance = Some(Utterance { from, until: None, segmenter: Segmenter::hands_free(settings), samples: 0 });
        let recent = std::mem::take(&mut self.recent);
        let mut said = Said::default();
        for heard in &recent {
            if let Some(utterance) = &mut self.utterance {
                utterance.take(heard, until, &mut said);
            }
        }
        self.recent = recent;
        if let Some(until) = until {
            said.feed.extend(self.finish(until));
        }
        said
    }

    /// Takes a frame. Sound from `wanted_from` on is kept, for an utterance that will begin.
    pub fn hear(&mut self, heard: Heard, wanted_from: Option<Instant>) -> Said {
        let mut said = Said::default();
        let mut over = None;
        if let Some(utterance) = &mut self.utterance {
            let until = utterance.until;
            utterance.take(&heard, until, &mut said);
            over = until.filter(|until| heard.captured >= *until);
        }
        if let Some(until) = over {
            said.feed.extend(self.finish(until));
        }
        let floor = heard.captured.checked_sub(PRE_ROLL + SLACK).unwrap_or(heard.captured);
        let longest = heard.captured.checked_sub(Duration::from_secs(MAX_UTTERANCE_SECONDS.into())).unwrap_or(floor);
        let floor = wanted_from.map_or(floor, |from| from.min(floor)).max(longest);
        self.recent.push_back(heard);
        while self.recent.front().is_some_and(|first| first.captured < floor) {
            self.recent.pop_front();
        }
        said
    }

    /// The key was let go. What the microphone still has of the time before is waited for
    /// where somebody speaks; else the utterance ends here.
    pub fn end(&mut self, at: Instant) -> Vec<VoiceInput> {
        let newest = self.recent.back();
        let is_complete = newest.is_none_or(|newest| newest.captured >= at || !newest.voiced);
        if let Some(utterance) = self.utterance.as_mut().filter(|_| !is_complete) {
            utterance.until = Some(at);
            return Vec::new();
        }
        self.finish(at)
    }

    /// When [`Ear::tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.utterance.as_ref().and_then(|utterance| utterance.until).map(|until| until + TAIL)
    }

    /// Ends an utterance whose last frame does not come.
    pub fn tick(&mut self, now: Instant) -> Vec<VoiceInput> {
        match self.next_deadline() {
            Some(deadline) if now >= deadline => {
                let until = self.utterance.as_ref().and_then(|utterance| utterance.until);
                until.map_or_else(Vec::new, |until| self.finish(until))
            }
            _ => Vec::new(),
        }
    }

    /// Drops the utterance, if one is open.
    pub fn drop_utterance(&mut self) {
        self.utterance = None;
    }

    /// Forgets everything: the microphone was closed or is another one.
    pub fn forget(&mut self) {
        self.recent.clear();
        self.utterance = None;
    }

    fn finish(&mut self, at: Instant) -> Vec<VoiceInput> {
        self.utterance.take().map_or_else(Vec::new, |_| vec![VoiceInput::End { at }])
    }
}

impl Utterance {
    fn take(&mut self, heard: &Heard, until: Option<Instant>, said: &mut Said) {
        let Some(heard) = heard.between(self.from, until) else { return };
        self.samples += heard.samples.len();
        let captured = heard.captured;
        said.voices.extend(self.segmenter.push(&heard.samples, heard.voiced).into_iter().filter_map(|segment| {
            match segment {
                Segment::Started { .. } => Some(Voice::Began),
                Segment::Continued { .. } => None,
                Segment::Ended { reason: SegmentEnd::TooShort, .. } => Some(Voice::WasNone),
                Segment::Ended { silence, .. } => {
                    Some(Voice::Ended { at: captured.checked_sub(length(silence)).unwrap_or(captured) })
                }
            }
        }));
        said.feed.push(VoiceInput::Frame { samples: heard.samples, voiced: heard.voiced });
    }
}

fn length(samples: usize) -> Duration {
    Duration::from_secs_f64(samples as f64 / f64::from(INPUT_SAMPLE_RATE))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a length of sound, rounded")]
fn samples_in(time: Duration) -> usize {
    (time.as_secs_f64() * f64::from(INPUT_SAMPLE_RATE)).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    /// Frame `n` was recorded from `n * 20 ms` on; its samples are all `n`.
    fn frame(zero: Instant, n: i16, voiced: bool) -> Heard {
        let number = u32::try_from(n).unwrap();
        Heard { samples: vec![n; 320], voiced, captured: zero + (number + 1) * FRAME }
    }

    fn ms(zero: Instant, ms: u64) -> Instant {
        zero + Duration::from_millis(ms)
    }

    /// Each run of equal samples with its length in milliseconds, and the end.
    fn spell(feed: &[VoiceInput], zero: Instant) -> String {
        let words = feed.iter().map(|input| match input {
            VoiceInput::Frame { samples, .. } => format!("{}:{}", samples[0], samples.len() / 16),
            VoiceInput::End { at } => format!("end@{}", at.duration_since(zero).as_millis()),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn warm(zero: Instant, frames: i16) -> Ear {
        let mut ear = Ear::default();
        for n in 0..frames {
            assert!(ear.hear(frame(zero, n, true), None).feed.is_empty(), "nobody listens");
        }
        ear
    }

    #[test]
    fn the_moments_before_the_key_are_the_first_of_the_utterance() {
        let zero = Instant::now();
        let mut ear = warm(zero, 50);
        // Pressed at 1,000 ms: 300 ms of it have been heard.
        let said = ear.begin(ms(zero, 700), None);
        let lengths: usize = said
            .feed
            .iter()
            .map(|input| match input {
                VoiceInput::Frame { samples, .. } => samples.len(),
                VoiceInput::End { .. } => 0,
            })
            .sum();
        assert_eq!(lengths, 300 * 16, "exactly the pre-roll");
        assert!(spell(&said.feed, zero).starts_with("35:20 36:20"), "{}", spell(&said.feed, zero));
        assert_eq!(spell(&ear.hear(frame(zero, 50, true), None).feed, zero), "50:20", "and it goes on without a gap");
    }

    #[test]
    fn over_an_answer_nothing_from_before_the_press_is_taken() {
        let zero = Instant::now();
        let mut ear = warm(zero, 50);
        let said = ear.begin(ms(zero, 995), None);
        assert_eq!(spell(&said.feed, zero), "49:5", "the frame of the press is cut at the press");
    }

    #[test]
    fn the_frame_of_the_release_is_waited_for_and_cut() {
        let zero = Instant::now();
        let mut ear = warm(zero, 50);
        ear.begin(ms(zero, 960), None);
        assert!(ear.end(ms(zero, 1_010)).is_empty(), "somebody speaks and the frame is under way");
        assert_eq!(ear.next_deadline(), Some(ms(zero, 1_060)));
        assert_eq!(spell(&ear.hear(frame(zero, 50, true), None).feed, zero), "50:10 end@1010");
        assert!(ear.hear(frame(zero, 51, true), None).feed.is_empty(), "it has ended once");
    }

    #[test]
    fn a_frame_that_does_not_come_is_not_waited_for_long() {
        let zero = Instant::now();
        let mut ear = warm(zero, 50);
        ear.begin(ms(zero, 960), None);
        assert!(ear.end(ms(zero, 1_010)).is_empty());
        assert!(ear.tick(ms(zero, 1_059)).is_empty());
        assert_eq!(spell(&ear.tick(ms(zero, 1_060)), zero), "end@1010");
        assert!(ear.tick(ms(zero, 1_100)).is_empty());
    }

    #[test]
    fn in_silence_the_release_ends_at_once() {
        let zero = Instant::now();
        let mut ear = warm(zero, 10);
        ear.hear(frame(zero, 10, false), None);
        ear.begin(ms(zero, 200), None);
        assert_eq!(spell(&ear.end(ms(zero, 230)), zero), "end@230");
    }

    #[test]
    fn what_is_said_while_a_turn_stops_is_kept_and_cut_on_both_sides() {
        let zero = Instant::now();
        let mut ear = Ear::default();
        let from = ms(zero, 110);
        for n in 0..100 {
            ear.hear(frame(zero, n, true), Some(from));
        }
        let said = ear.begin(from, Some(ms(zero, 150)));
        assert_eq!(spell(&said.feed, zero), "5:10 6:20 7:10 end@150");
        assert!(ear.hear(frame(zero, 100, true), None).feed.is_empty());
    }

    #[test]
    fn little_is_kept_that_nobody_asked_for() {
        let zero = Instant::now();
        let ear = warm(zero, 3_000);
        let kept: Duration = ear.recent.iter().map(Heard::length).sum();
        assert!(kept <= PRE_ROLL + SLACK + 2 * FRAME, "{kept:?}");
        let mut ear = Ear::default();
        for n in 0..3_000 {
            ear.hear(frame(zero, n, true), Some(zero));
        }
        let kept: Duration = ear.recent.iter().map(Heard::length).sum();
        assert!(kept <= Duration::from_secs(31), "however long a turn takes to stop: {kept:?}");
    }

    #[test]
    fn the_end_of_speech_is_told_with_its_moment() {
        let zero = Instant::now();
        let mut ear = Ear::default();
        ear.begin(zero, None);
        let mut voices = Vec::new();
        for n in 0..100 {
            voices.extend(ear.hear(frame(zero, n, (10..40).contains(&n)), None).voices);
        }
        // Silence begins at 800 ms, less the detector's hangover of 96 ms.
        assert_eq!(voices, [Voice::Began, Voice::Ended { at: ms(zero, 704) }]);
    }
}
