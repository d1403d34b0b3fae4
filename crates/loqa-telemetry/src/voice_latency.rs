//! `loqa.voice_latency_ms` and its split: exact percentiles per class and part in
//! the process, and the same values as an OpenTelemetry histogram.
//!
//! Classes are never mixed, and there is no average of averages: a percentile is
//! read from one histogram that holds every value. For the time since the start that
//! histogram is kept; for a window it is filled anew from the turns of that window.

use crate::hardware_class;
use hdrhistogram::Histogram;
use loqa_protocol::{LatencySplit, TurnClass};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Name of the total in [`PartLatency::part`] and in the attribute `hop`.
const TOTAL: &str = "total";

/// Bucket limits in milliseconds for the exported histogram. Chosen: fine below
/// the promise of 200 ms, coarse above.
const BOUNDARIES_MS: &[f64] = &[
    0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0, 60.0, 80.0, 100.0, 125.0, 150.0, 175.0, 200.0, 250.0, 300.0, 400.0,
    600.0, 800.0, 1_000.0, 1_500.0, 2_000.0, 3_000.0, 5_000.0, 10_000.0,
];

/// Longest latency kept, in microseconds: ten minutes, far beyond any turn's deadline.
const LONGEST_US: f64 = 600e6;

/// Turns that are kept for windows, about half a megabyte. Chosen: two a second for an hour.
const KEPT_TURNS: usize = 7_200;
/// The total and the nine parts.
const PARTS: usize = 1 + LatencySplit::PART_NAMES.len();

/// The time that figures are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// The last minute.
    Minute,
    /// The last five minutes.
    FiveMinutes,
    /// The last hour.
    Hour,
    /// Since the hub started.
    All,
}

impl Window {
    /// Every window.
    pub const ALL: &[Self] = &[Self::Minute, Self::FiveMinutes, Self::Hour, Self::All];

    /// How long it is; `None` for all of the time.
    #[must_use]
    pub const fn length(self) -> Option<Duration> {
        match self {
            Self::Minute => Some(Duration::from_mins(1)),
            Self::FiveMinutes => Some(Duration::from_mins(5)),
            Self::Hour => Some(Duration::from_hours(1)),
            Self::All => None,
        }
    }
}

/// One turn's values, for windows.
#[derive(Debug)]
struct Kept {
    at: Instant,
    class: TurnClass,
    us: [u32; PARTS],
}

/// Percentiles of one part within one class, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PartLatency {
    /// `total` or a name of [`LatencySplit::PART_NAMES`].
    pub part: &'static str,
    /// How many values the figures rest on.
    pub count: u64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest value.
    pub max: f64,
}

/// All figures of one class: the total first, then the nine parts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClassLatency {
    /// How the turns were answered.
    pub class: TurnClass,
    /// The machine the figures hold for, see [`hardware_class`].
    pub hardware: String,
    /// Turns counted.
    pub count: u64,
    /// `total` and the nine parts, in the order of [`LatencySplit::PART_NAMES`].
    pub parts: Vec<PartLatency>,
}

impl ClassLatency {
    /// The figures of one part.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&PartLatency> {
        self.parts.iter().find(|part| part.part == name)
    }
}

/// Collects the latency of turns. Shared by reference; recording takes microseconds.
#[derive(Debug)]
pub struct VoiceLatency {
    hardware: String,
    exported: opentelemetry::metrics::Histogram<f64>,
    classes: Mutex<BTreeMap<TurnClass, Vec<Histogram<u32>>>>,
    kept: Mutex<VecDeque<Kept>>,
}

impl Default for VoiceLatency {
    fn default() -> Self {
        Self::new()
    }
}

impl VoiceLatency {
    /// An empty collection that exports through the process's meter. Make it after
    /// [`crate::init`], else nothing is exported.
    #[must_use]
    pub fn new() -> Self {
        Self::with_meter(&crate::meters::meter())
    }

    pub(crate) fn with_meter(meter: &Meter) -> Self {
        Self {
            hardware: hardware_class(),
            exported: meter
                .f64_histogram("loqa.voice_latency_ms")
                .with_description("end of the user's speech to the first sound of the answer, and its parts")
                .with_unit("ms")
                .with_boundaries(BOUNDARIES_MS.to_vec())
                .build(),
            classes: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// Adds one turn. Values that are not finite or below zero count as zero;
    /// values above ten minutes count as ten minutes.
    pub fn record(&self, class: TurnClass, split: &LatencySplit) {
        self.record_at(class, split, Instant::now());
    }

    fn record_at(&self, class: TurnClass, split: &LatencySplit, at: Instant) {
        let values = std::iter::once(split.total).chain(split.parts());
        let names = part_names();
        {
            let mut classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
            let histograms = classes.entry(class).or_insert_with(|| names.map(|_| empty_histogram()).collect());
            for (histogram, value) in histograms.iter_mut().zip(values.clone()) {
                // `saturating_record` would clip at the size so far instead of growing.
                histogram.record(microseconds(value)).expect("ten minutes fit a histogram that grows");
            }
        }
        {
            let mut us = [0; PARTS];
            for (kept, value) in us.iter_mut().zip(values.clone()) {
                // Ten minutes in microseconds fit.
                *kept = u32::try_from(microseconds(value)).unwrap_or(u32::MAX);
            }
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == KEPT_TURNS {
                kept.pop_front();
            }
            kept.push_back(Kept { at, class, us });
        }
        for (name, value) in part_names().zip(values) {
            let attributes = [
                KeyValue::new("class", class.as_str()),
                KeyValue::new("hop", name),
                KeyValue::new("hardware", self.hardware.clone()),
            ];
            #[expect(clippy::cast_precision_loss, reason = "ten minutes in microseconds fit exactly")]
            self.exported.record(microseconds(value) as f64 / 1e3, &attributes);
        }
    }

    /// The figures since the start, one entry per class that had a turn.
    #[must_use]
    pub fn snapshot(&self) -> Vec<ClassLatency> {
        self.figures(&self.classes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The figures of a window, one entry per class that had a turn in it. Of a busier
    /// hour than two turns a second the last 7,200 turns count.
    #[must_use]
    pub fn of(&self, window: Window) -> Vec<ClassLatency> {
        self.of_at(window, Instant::now())
    }

    fn of_at(&self, window: Window, now: Instant) -> Vec<ClassLatency> {
        let Some(length) = window.length() else { return self.snapshot() };
        let mut classes: BTreeMap<TurnClass, Vec<Histogram<u32>>> = BTreeMap::new();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for turn in kept.iter().rev().take_while(|turn| now.saturating_duration_since(turn.at) < length) {
            let histograms =
                classes.entry(turn.class).or_insert_with(|| part_names().map(|_| empty_histogram()).collect());
            for (histogram, us) in histograms.iter_mut().zip(turn.us) {
                histogram.record(u64::from(us)).expect("ten minutes fit a histogram that grows");
            }
        }
        drop(kept);
        self.figures(&classes)
    }

    fn figures(&self, classes: &BTreeMap<TurnClass, Vec<Histogram<u32>>>) -> Vec<ClassLatency> {
        classes
            .iter()
            .map(|(class, histograms)| ClassLatency {
                class: *class,
                hardware: self.hardware.clone(),
                count: histograms.first().map_or(0, Histogram::len),
                parts: part_names().zip(histograms).map(|(name, histogram)| part(name, histogram)).collect(),
            })
            .collect()
    }
}

fn part_names() -> impl Iterator<Item = &'static str> {
    std::iter::once(TOTAL).chain(LatencySplit::PART_NAMES)
}

/// Three significant digits; grows with the largest value, about 45 kB for a second.
fn empty_histogram() -> Histogram<u32> {
    Histogram::new(3).expect("three significant digits are allowed")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value lies between 0 and ten minutes here"
)]
fn microseconds(milliseconds: f64) -> u64 {
    if milliseconds.is_nan() { 0 } else { (milliseconds * 1e3).clamp(0.0, LONGEST_US).round() as u64 }
}

fn part(name: &'static str, histogram: &Histogram<u32>) -> PartLatency {
    #[expect(clippy::cast_precision_loss, reason = "ten minutes in microseconds fit exactly")]
    let milliseconds = |us: u64| us as f64 / 1e3;
    PartLatency {
        part: name,
        count: histogram.len(),
        p50: milliseconds(histogram.value_at_quantile(0.50)),
        p95: milliseconds(histogram.value_at_quantile(0.95)),
        p99: milliseconds(histogram.value_at_quantile(0.99)),
        max: milliseconds(histogram.max()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(total: f64) -> LatencySplit {
        LatencySplit { total, stt_tail: total / 2.0, tts_first_chunk: total / 2.0, ..LatencySplit::default() }
    }

    #[test]
    fn percentiles_are_those_of_the_recorded_values() {
        let latency = VoiceLatency::new();
        for ms in 1..=1000 {
            latency.record(TurnClass::Intent, &split(f64::from(ms)));
        }
        let snapshot = latency.snapshot();
        assert_eq!(snapshot.len(), 1);
        let class = &snapshot[0];
        assert_eq!((class.class, class.count), (TurnClass::Intent, 1000));
        let names: Vec<_> = class.parts.iter().map(|part| part.part).collect();
        assert_eq!(names, part_names().collect::<Vec<_>>());
        let total = class.part("total").unwrap();
        // The histogram keeps three digits: one part in a thousand.
        for (value, expected) in [(total.p50, 500.0), (total.p95, 950.0), (total.p99, 990.0), (total.max, 1000.0)] {
            assert!((value - expected).abs() <= expected * 1e-3, "{value} for {expected}");
        }
        let half = class.part("stt_tail").unwrap();
        assert!((half.p95 - 475.0).abs() <= 0.5, "parts have their own figures: {}", half.p95);
        let none = class.part("skill").unwrap();
        assert_eq!((none.count, none.p99), (1000, 0.0), "a hop that took no time counts as zero");
    }

    #[test]
    fn a_window_holds_its_own_turns_and_no_others() {
        let latency = VoiceLatency::new();
        let start = Instant::now();
        // One turn a second for two hours, slower from minute to minute.
        for second in 0..7_200_u32 {
            let at = start + Duration::from_secs(u64::from(second));
            latency.record_at(TurnClass::Intent, &split(f64::from(1 + second / 60)), at);
        }
        let now = start + Duration::from_secs(7_200);
        for (window, count, p50, max) in [
            (Window::Minute, 59, 120.0, 120.0),
            (Window::FiveMinutes, 299, 118.0, 120.0),
            (Window::Hour, 3_599, 90.0, 120.0),
            (Window::All, 7_200, 60.0, 120.0),
        ] {
            let figures = latency.of_at(window, now);
            let total = figures[0].part("total").unwrap();
            assert_eq!(figures[0].count, count, "{window:?}");
            assert!((total.p50 - p50).abs() <= 2.0 && (total.max - max).abs() < 0.2, "{window:?}: {total:?}");
        }
        assert!(
            latency.of_at(Window::Minute, now + Duration::from_secs(61)).is_empty(),
            "an idle minute has no figures"
        );
        for _ in 0..KEPT_TURNS + 10 {
            latency.record_at(TurnClass::Llm, &split(1.0), now);
        }
        assert_eq!(latency.kept.lock().unwrap().len(), KEPT_TURNS, "what is kept is bounded");
    }

    #[test]
    fn parts_below_a_millisecond_are_kept() {
        let latency = VoiceLatency::new();
        latency.record(TurnClass::Intent, &LatencySplit { plan: 0.012, ..split(80.0) });
        let snapshot = latency.snapshot();
        assert_eq!(snapshot[0].part("plan").unwrap().p50, 0.012);
    }

    #[test]
    fn classes_are_never_mixed() {
        let latency = VoiceLatency::new();
        latency.record(TurnClass::Intent, &split(10.0));
        latency.record(TurnClass::Llm, &split(900.0));
        let totals: Vec<_> = latency
            .snapshot()
            .iter()
            .map(|class| (class.class, class.count, class.part("total").unwrap().p50.round()))
            .collect();
        assert_eq!(totals, [(TurnClass::Intent, 1, 10.0), (TurnClass::Llm, 1, 900.0)]);
    }

    #[test]
    fn values_that_make_no_sense_do_not_panic() {
        let latency = VoiceLatency::new();
        for total in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -5.0, 1e300] {
            latency.record(TurnClass::None, &split(total));
        }
        let snapshot = latency.snapshot();
        assert_eq!(snapshot[0].count, 5);
        assert!(snapshot[0].part("total").unwrap().max <= 601_000.0, "clamped to ten minutes");
    }
}
