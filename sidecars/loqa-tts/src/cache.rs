//! Phrases that were spoken before, so that "Timer set." costs nothing the second time.
//! Bounded in bytes; the phrase that was not asked for longest goes first. Lives in
//! memory only: what an assistant says does not go to disk.

use std::collections::HashMap;
use std::sync::Arc;

/// What makes two requests the same sound.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Phrase {
    /// Name of the voice.
    pub voice: String,
    /// Bits of the speed, so that it can be compared.
    pub speed: u32,
    /// The prepared text.
    pub text: String,
}

/// Finished samples by phrase.
#[derive(Debug)]
pub struct PhraseCache {
    limit: usize,
    bytes: usize,
    clock: u64,
    entries: HashMap<Phrase, Entry>,
}

#[derive(Debug)]
struct Entry {
    samples: Arc<[i16]>,
    used: u64,
}

/// What an entry takes besides samples and text. An estimate.
const OVERHEAD: usize = 128;

impl PhraseCache {
    /// At most this many bytes; 0 keeps nothing.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, clock: 0, entries: HashMap::new() }
    }

    /// The samples of a phrase, if they are kept.
    pub fn get(&mut self, phrase: &Phrase) -> Option<Arc<[i16]>> {
        self.clock += 1;
        let entry = self.entries.get_mut(phrase)?;
        entry.used = self.clock;
        Some(Arc::clone(&entry.samples))
    }

    /// Keeps a phrase and drops others to make room. A phrase that would take more than a
    /// quarter of the room is not kept: it is long and seldom said twice.
    pub fn insert(&mut self, phrase: Phrase, samples: &[i16]) {
        let size = size(&phrase, samples);
        if size > self.limit / 4 {
            return;
        }
        self.clock += 1;
        let entry = Entry { samples: samples.into(), used: self.clock };
        if let Some(old) = self.entries.insert(phrase.clone(), entry) {
            self.bytes -= self::size(&phrase, &old.samples);
        }
        self.bytes += size;
        while self.bytes > self.limit {
            // A few hundred entries at most: a search costs less than a list to maintain.
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(phrase, _)| phrase.clone());
            let Some(oldest) = oldest else { break };
            if let Some(entry) = self.entries.remove(&oldest) {
                self.bytes -= self::size(&oldest, &entry.samples);
            }
        }
    }

    /// Bytes in use.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn size(phrase: &Phrase, samples: &[i16]) -> usize {
    size_of_val(samples) + phrase.text.len() + phrase.voice.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrase(text: &str) -> Phrase {
        Phrase { voice: "slt".to_owned(), speed: 1.0_f32.to_bits(), text: text.to_owned() }
    }

    #[test]
    fn the_least_recently_used_phrase_goes_first() {
        let mut cache = PhraseCache::new(10_000);
        for text in ["a", "b", "c", "d"] {
            cache.insert(phrase(text), &[0; 1_000]);
        }
        assert!(cache.get(&phrase("a")).is_some());
        cache.insert(phrase("e"), &[0; 1_000]);
        assert!(cache.get(&phrase("b")).is_none(), "b was not asked for longest");
        for text in ["a", "c", "d", "e"] {
            assert!(cache.get(&phrase(text)).is_some(), "{text}");
        }
        assert!(cache.bytes() <= 10_000);
    }

    #[test]
    fn long_phrases_and_an_empty_cache_keep_nothing() {
        let mut cache = PhraseCache::new(10_000);
        cache.insert(phrase("long"), &[0; 2_000]);
        assert!(cache.get(&phrase("long")).is_none());
        let mut off = PhraseCache::new(0);
        off.insert(phrase("a"), &[]);
        assert!(off.get(&phrase("a")).is_none());
        assert_eq!(off.bytes(), 0);
    }

    #[test]
    fn replacing_a_phrase_counts_it_once() {
        let mut cache = PhraseCache::new(10_000);
        cache.insert(phrase("a"), &[0; 100]);
        let once = cache.bytes();
        cache.insert(phrase("a"), &[1; 100]);
        assert_eq!(cache.bytes(), once);
        assert_eq!(cache.get(&phrase("a")).unwrap()[0], 1);
    }

    #[test]
    fn voice_and_speed_are_part_of_the_phrase() {
        let mut cache = PhraseCache::new(10_000);
        cache.insert(phrase("a"), &[0; 10]);
        assert!(cache.get(&Phrase { voice: "rms".to_owned(), ..phrase("a") }).is_none());
        assert!(cache.get(&Phrase { speed: 2.0_f32.to_bits(), ..phrase("a") }).is_none());
    }
}
