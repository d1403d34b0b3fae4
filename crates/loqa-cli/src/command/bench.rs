//! `loqa bench turn`: the same turn many times, and percentiles by class and hop.
//!
//! The phrase cache is off unless asked for, because a phrase kept from before is
//! another class. Audio is fed at the speed of speech unless asked otherwise,
//! because decoding during speech is part of what is measured.

use super::demo::{START_PATIENCE, bundled_clip, scratch};
use crate::{Session, sound};
use anyhow::bail;
use clap::{Args, Subcommand};
use hdrhistogram::Histogram;
use loqa_hub::Hub;
use loqa_hub::session::driver::TurnInput;
use loqa_hub::sink::AudioSink;
use loqa_protocol::LatencySplit;
use loqa_protocol::event::TurnSource;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum What {
    /// From the end of speech to the first sound, split by hop.
    Turn(TurnBench),
}

/// Arguments of `loqa bench turn`.
#[derive(Debug, Args)]
pub struct TurnBench {
    /// Turns to measure.
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    turns: u32,
    /// Turns before the measurement.
    #[arg(long, default_value_t = 2)]
    warmup: u32,
    /// Speak from this WAV file instead of the bundled one.
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    wav: Option<PathBuf>,
    /// Type instead of speaking.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Feed the audio at once instead of at the speed of speech.
    #[arg(long)]
    fast: bool,
    /// Leave the phrase cache on.
    #[arg(long)]
    cache: bool,
}

/// Runs the command.
pub async fn run(session: Session, what: What) -> anyhow::Result<ExitCode> {
    let What::Turn(bench) = what;
    bench.run(session).await
}

/// Microseconds up to ten minutes, three digits.
fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 600_000_000, 3)?)
}

struct ClassFigures {
    total: Histogram<u64>,
    parts: Vec<Histogram<u64>>,
    worst_gap: f64,
}

impl ClassFigures {
    fn new() -> anyhow::Result<Self> {
        let parts = LatencySplit::PART_NAMES.iter().map(|_| histogram()).collect::<anyhow::Result<_>>()?;
        Ok(Self { total: histogram()?, parts, worst_gap: 0.0 })
    }

    fn record(&mut self, split: &LatencySplit) -> anyhow::Result<()> {
        let micros = |ms: f64| (ms * 1000.0).max(0.0).round() as u64;
        self.total.record(micros(split.total))?;
        for (histogram, part) in self.parts.iter_mut().zip(split.parts()) {
            histogram.record(micros(part))?;
        }
        if split.total > 0.0 {
            self.worst_gap = self.worst_gap.max((split.sum() - split.total).abs() / split.total);
        }
        Ok(())
    }
}

fn percentiles(histogram: &Histogram<u64>) -> serde_json::Value {
    let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    json!({ "p50": ms(0.50), "p95": ms(0.95), "p99": ms(0.99), "max": histogram.max() as f64 / 1000.0 })
}

impl TurnBench {
    async fn run(self, mut session: Session) -> anyhow::Result<ExitCode> {
        let clip = match &self.text {
            Some(_) => None,
            None => Some(sound::Clip::read(&self.wav.clone().unwrap_or_else(|| bundled_clip(&session.paths.models)))?),
        };
        let folder = scratch(&mut session)?;
        if !self.cache {
            session.config.set("tts.cache_bytes", "0")?;
        }
        let hub = Hub::start(&session.config, &session.paths, None).await?;
        if let Some((capability, reason)) = hub.wait_ready(START_PATIENCE).await.into_iter().next() {
            hub.stop().await;
            bail!("{capability} is not available: {reason}");
        }
        let mut classes: BTreeMap<&'static str, ClassFigures> = BTreeMap::new();
        let mut failures = 0u32;
        let mut transcripts: BTreeMap<String, u32> = BTreeMap::new();
        for index in 0..self.warmup + self.turns {
            let input = match (&clip, &self.text) {
                (Some(clip), _) => {
                    let pace = if self.fast { sound::Pace::AtOnce } else { sound::Pace::RealTime };
                    TurnInput::Voice { source: TurnSource::PushToTalk, audio: sound::play_in(clip.clone(), pace) }
                }
                (None, text) => TurnInput::Text(text.clone().unwrap_or_default()),
            };
            let (sink, _recording) = AudioSink::memory();
            let report = hub.begin(None, input, sink).await.report().await?;
            // Timers of earlier turns must not pile up in the skill.
            let (sink, _recording) = AudioSink::memory();
            hub.begin(None, TurnInput::Text("cancel all timers".to_owned()), sink).await.report().await?;
            if index < self.warmup {
                continue;
            }
            *transcripts.entry(report.transcript.clone()).or_default() += 1;
            match (&report.failure, &report.latency_ms) {
                (None, Some(split)) => {
                    let figures = match classes.entry(report.class.as_str()) {
                        std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                        std::collections::btree_map::Entry::Vacant(entry) => entry.insert(ClassFigures::new()?),
                    };
                    figures.record(split)?;
                }
                _ => failures += 1,
            }
            if !session.json && (index + 1) % 20 == 0 {
                eprintln!("loqa: {} of {} turns", index + 1 - self.warmup, self.turns);
            }
        }
        hub.stop().await;
        drop(folder);
        self.print(&session, &classes, failures, &transcripts);
        Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    fn print(
        &self,
        session: &Session,
        classes: &BTreeMap<&'static str, ClassFigures>,
        failures: u32,
        transcripts: &BTreeMap<String, u32>,
    ) {
        let hardware = loqa_telemetry::hardware_class();
        if session.json {
            let rows: Vec<_> = classes
                .iter()
                .map(|(class, figures)| {
                    let parts: serde_json::Map<_, _> = LatencySplit::PART_NAMES
                        .iter()
                        .zip(&figures.parts)
                        .map(|(name, histogram)| ((*name).to_owned(), percentiles(histogram)))
                        .collect();
                    json!({
                        "class": class, "turns": figures.total.len(), "total": percentiles(&figures.total),
                        "parts": parts, "largest_gap_between_sum_and_total": figures.worst_gap,
                    })
                })
                .collect();
            println!(
                "{}",
                json!({
                    "hardware": hardware, "turns": self.turns, "failures": failures,
                    "paced": !self.fast, "cache": self.cache, "classes": rows, "transcripts": transcripts,
                })
            );
            return;
        }
        println!("hardware {hardware}, {} turns, {failures} failed", self.turns);
        for (class, figures) in classes {
            println!("class {class}, {} turns, ms        p50     p95     p99     max", figures.total.len());
            let rows = std::iter::once(("total", &figures.total))
                .chain(LatencySplit::PART_NAMES.into_iter().zip(&figures.parts));
            for (name, histogram) in rows {
                let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
                println!(
                    "  {name:<26} {:>7.2} {:>7.2} {:>7.2} {:>7.2}",
                    ms(0.5),
                    ms(0.95),
                    ms(0.99),
                    histogram.max() as f64 / 1000.0
                );
            }
            println!("  largest gap between the sum of the parts and the total: {:.1} %", figures.worst_gap * 100.0);
        }
        for (transcript, count) in transcripts {
            println!("heard {count} times: {transcript}");
        }
    }
}
