//! `loqa.voice_latency_ms` and its split: exact percentiles per class and part in
//! the process, and the same values as an OpenTelemetry histogram.
//!
//! Classes are never mixed, and there is no average of averages: a percentile is
//! read from the one histogram that holds every value.

use crate::hardware_class;
use hdrhistogram::Histogram;
use loqa_protocol::{LatencySplit, TurnClass};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

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

/// Percentiles of one part within one class, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
        Self::with_meter(&opentelemetry::global::meter("loqa"))
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
        }
    }

    /// Adds one turn. Values that are not finite or below zero count as zero;
    /// values above ten minutes count as ten minutes.
    pub fn record(&self, class: TurnClass, split: &LatencySplit) {
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

    /// The figures so far, one entry per class that had a turn.
    #[must_use]
    pub fn snapshot(&self) -> Vec<ClassLatency> {
        let classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
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
