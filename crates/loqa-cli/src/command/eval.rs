//! `loqa eval stt|llm|tts`: an installed model on anyone's own recordings or
//! sentences, through the same engines that run turns.
//!
//! The manifests are tab-separated, one case a line; empty lines and lines that begin
//! with `#` are left out. Deliberately absent: choosing a model (`--set stt.model=…`
//! does that) and anything that acts; tools are planned and not called.

mod score;

use super::demo::{START_PATIENCE, scratch};
use crate::{BadArguments, Session, sound};
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use loqa_hub::Hub;
use loqa_protocol::ToolSpec;
use loqa_protocol::audio::{INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE};
use loqa_protocol::engine::EngineKind;
use score::{Words, percentile};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Longest manifest in bytes. Chosen: some hundred thousand cases.
const MAX_MANIFEST: u64 = 16 * 1024 * 1024;
/// Share of a planner's actions that may be wrong, for the gate that the figures name.
const MOST_WRONG_ACTIONS: f64 = 0.02;
/// Cases that the output shows.
const WORST: usize = 20;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The recogniser: `FILE.wav<TAB>what was said`.
    Stt,
    /// The planner: `what was said<TAB>tool<TAB>{"argument": …}`, further right answers as further pairs; `-` for no tool.
    Llm,
    /// The voice, heard by the configured recogniser: one text a line.
    Tts,
}

/// Arguments of `loqa eval`.
#[derive(Debug, Args)]
pub struct Eval {
    /// What to measure.
    kind: Kind,
    /// The cases, tab-separated.
    #[arg(long, value_name = "FILE.tsv")]
    manifest: PathBuf,
    /// The tools that the planner is offered, a JSON array (name, description, parameters, effect); those of the installed skills when not given (llm only).
    #[arg(long, value_name = "FILE.json")]
    tools: Option<PathBuf>,
    /// Only the first of them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// The process that was measured.
#[derive(Debug, Clone, Copy, Default)]
struct Engine {
    /// From nothing to all engines ready, the bus included.
    ready_ms: f64,
    /// Resident memory after the last case; 0 when it is not known.
    rss_bytes: u64,
}

/// One case, measured.
struct Case {
    /// File or text.
    name: String,
    expected: String,
    got: String,
    /// Right answers of how many: words, or one.
    right: usize,
    wrong: usize,
    of: usize,
    /// Time of the engine.
    ms: f64,
    /// Time until the first sound (tts only).
    first_ms: f64,
    /// Length of the sound, where there is one.
    audio_ms: f64,
    /// Whether a tool was called, and whether one should have been (llm only).
    acted: bool,
    should_act: bool,
    confidence: f32,
}

impl Eval {
    /// Runs the command.
    pub async fn run(self, mut session: Session) -> anyhow::Result<ExitCode> {
        let rows = read_manifest(&self.manifest, self.limit)?;
        let offered = self.tools.as_deref().map(|path| self.read_tools(path)).transpose()?;
        let folder = scratch(&mut session)?;
        // Engines that are not needed stay off.
        let on = |is_needed: bool| if is_needed { "true" } else { "false" };
        session.config.set("stt.enabled", on(self.kind != Kind::Llm))?;
        session.config.set("tts.enabled", on(self.kind == Kind::Tts))?;
        if self.kind != Kind::Llm {
            session.config.set("llm.models", "")?;
        }
        // A phrase from the cache would say nothing about the voice's speed.
        session.config.set("tts.cache_bytes", "0")?;
        let began = Instant::now();
        let hub = Hub::start(&session.config, &session.paths, None).await?;
        let mut engine = Engine::default();
        let cases = async {
            if let Some((capability, reason)) = hub.wait_ready(START_PATIENCE).await.into_iter().next() {
                bail!("{capability} is not available: {reason}");
            }
            engine.ready_ms = millis_since(began);
            let offered = offered.unwrap_or_else(|| hub.tools());
            let mut cases = Vec::new();
            for (number, row) in &rows {
                let case = match self.kind {
                    Kind::Stt => self.hear(&hub, &session, row).await,
                    Kind::Llm => plan(&hub, &offered, row).await,
                    Kind::Tts => speak(&hub, &session, row).await,
                };
                cases.push(case.with_context(|| format!("{}:{number}", self.manifest.display()))?);
                if !session.json && cases.len() % 50 == 0 {
                    eprintln!("loqa: {} of {} cases", cases.len(), rows.len());
                }
            }
            engine.rss_bytes = hub.nodes().iter().find(|node| self.kind.is(node.kind)).map_or(0, |node| node.rss_bytes);
            Ok(cases)
        }
        .await;
        hub.stop().await;
        drop(folder);
        self.print(&session, &cases?, engine);
        Ok(ExitCode::SUCCESS)
    }

    async fn hear(&self, hub: &Hub, session: &Session, row: &[String]) -> anyhow::Result<Case> {
        let [file, said] = row else { bail!(BadArguments("a line is `FILE.wav<TAB>what was said`".to_owned())) };
        let path = self.manifest.parent().unwrap_or(Path::new(".")).join(file);
        let clip = sound::Clip::read(&path)?;
        let audio_ms = clip.seconds() * 1_000.0;
        let began = Instant::now();
        let heard = hub
            .transcribe(sound::play_in(clip, sound::Pace::AtOnce), session.config.text("stt.language"))
            .await
            .map_err(|failure| anyhow::anyhow!("{failure}"))?;
        let words = Words::compare(said, &heard.text);
        Ok(Case {
            name: file.clone(),
            expected: said.clone(),
            got: heard.text,
            right: words.right,
            wrong: words.errors(),
            of: words.of,
            ms: millis_since(began),
            first_ms: 0.0,
            audio_ms,
            acted: false,
            should_act: false,
            confidence: heard.confidence,
        })
    }

    fn read_tools(&self, path: &Path) -> anyhow::Result<Vec<ToolSpec>> {
        if self.kind != Kind::Llm {
            bail!(BadArguments("--tools: only a planner is offered tools".to_owned()));
        }
        let unusable = |e: &dyn std::fmt::Display| BadArguments(format!("--tools: read `{}`: {e}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| unusable(&e))?;
        Ok(serde_json::from_str(&text).map_err(|e| unusable(&e))?)
    }

    fn print(&self, session: &Session, cases: &[Case], engine: Engine) {
        let figures = self.figures(session, cases, engine);
        if session.json {
            println!("{figures}");
            return;
        }
        for (name, value) in figures.as_object().into_iter().flatten().filter(|(_, value)| !value.is_array()) {
            println!("{name:<28} {value}");
        }
        for case in worst(cases) {
            println!("{}: expected `{}`, got `{}`", case.name, case.expected, case.got);
        }
    }

    /// The object of `docs/cli.md`.
    fn figures(&self, session: &Session, cases: &[Case], engine: Engine) -> Value {
        let (right, wrong, of) = cases
            .iter()
            .fold((0, 0, 0), |(right, wrong, of), case| (right + case.right, wrong + case.wrong, of + case.of));
        let share = |n: usize, of: usize| if of == 0 { Value::Null } else { json!(n as f64 / of as f64) };
        let audio_ms: f64 = cases.iter().map(|case| case.audio_ms).sum();
        let ms: Vec<f64> = cases.iter().map(|case| case.ms).collect();
        let mut figures = Map::new();
        let mut add = |name: &str, value: Value| figures.insert(name.to_owned(), value);
        add("kind", json!(format!("{:?}", self.kind).to_lowercase()));
        add(
            "model",
            match self.kind {
                Kind::Stt => json!(session.config.text("stt.model")),
                Kind::Llm => json!(session.config.list("llm.models")),
                Kind::Tts => json!(session.config.text("tts.model")),
            },
        );
        add("hardware", json!(loqa_telemetry::hardware_class()));
        add("cases", json!(cases.len()));
        match self.kind {
            Kind::Stt => {
                add("word_error_rate", share(wrong, of));
                add("sentences_right", share(cases.iter().filter(|case| case.wrong == 0).count(), cases.len()));
            }
            Kind::Llm => {
                // What the hub would carry out: it leaves out calls below its gate.
                let gate = session.config.number("llm.min_tool_confidence");
                let commands: Vec<&Case> = cases.iter().filter(|case| case.should_act).collect();
                let acted: Vec<&Case> =
                    cases.iter().filter(|case| case.acted && f64::from(case.confidence) >= gate).collect();
                add("exact_match", share(right, cases.len()));
                add("commands", json!(commands.len()));
                add("commands_right", share(commands.iter().filter(|case| case.wrong == 0).count(), commands.len()));
                add("gate", json!(gate));
                add("acts", share(acted.iter().filter(|case| case.should_act).count(), commands.len()));
                add("wrong_actions", share(acted.iter().filter(|case| case.wrong > 0).count(), acted.len()));
                add("best_gate", best_gate(cases, commands.len()));
            }
            Kind::Tts => {
                add("judged_by", json!(session.config.text("stt.model")));
                add("words_understood", share(right, of));
                let first: Vec<f64> = cases.iter().map(|case| case.first_ms).collect();
                add("first_chunk_ms", percentiles(&first));
            }
        }
        add("ms", percentiles(&ms));
        if audio_ms > 0.0 {
            add("real_time_factor", json!(ms.iter().sum::<f64>() / audio_ms));
        }
        add("ready_ms", json!(engine.ready_ms));
        // Engines tell it with their heartbeats; a short run has seen none.
        if engine.rss_bytes > 0 {
            add("engine_rss_mb", json!(engine.rss_bytes as f64 / 1e6));
        }
        let worst: Vec<Value> = worst(cases)
            .map(|case| {
                json!({ "case": case.name, "expected": case.expected, "got": case.got, "confidence": case.confidence })
            })
            .collect();
        add("worst", Value::Array(worst));
        Value::Object(figures)
    }
}

impl Kind {
    fn is(self, engine: EngineKind) -> bool {
        matches!(
            (self, engine),
            (Self::Stt, EngineKind::Stt) | (Self::Llm, EngineKind::Llm) | (Self::Tts, EngineKind::Tts)
        )
    }
}

/// What a planner could do with a better gate: the lowest confidence at which at most
/// [`MOST_WRONG_ACTIONS`] of its actions on these cases are wrong, and on what share of
/// the commands it then acts. Chosen on the cases it is measured on, so it flatters.
fn best_gate(cases: &[Case], commands: usize) -> Value {
    let mut acted: Vec<&Case> = cases.iter().filter(|case| case.acted).collect();
    acted.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let (mut wrong, mut on_commands, mut best) = (0_usize, 0_usize, Value::Null);
    for (n, case) in acted.iter().enumerate() {
        wrong += usize::from(case.wrong > 0);
        on_commands += usize::from(case.should_act);
        // A gate lets through all cases of one confidence, or none.
        let is_last = acted.get(n + 1).is_none_or(|next| next.confidence < case.confidence);
        let share = wrong as f64 / (n + 1) as f64;
        if is_last && share <= MOST_WRONG_ACTIONS {
            let acts = on_commands as f64 / commands.max(1) as f64;
            best = json!({ "gate": case.confidence, "acts": acts, "wrong_actions": share });
        }
    }
    best
}

async fn plan(hub: &Hub, offered: &[ToolSpec], row: &[String]) -> anyhow::Result<Case> {
    let [said, right @ ..] = row else { bail!(BadArguments("an empty line".to_owned())) };
    let mut expected = Vec::new();
    for pair in right.chunks(2) {
        match pair {
            [none] if none == "-" => expected.push(None),
            [tool, arguments] => {
                let arguments: Map<String, Value> = serde_json::from_str(arguments)
                    .map_err(|e| BadArguments(format!("`{arguments}` is no JSON object: {e}")))?;
                expected.push(Some((tool.clone(), arguments)));
            }
            _ => bail!(BadArguments("after what was said come pairs of tool and arguments, or `-`".to_owned())),
        }
    }
    if expected.is_empty() {
        bail!(BadArguments("a line is `what was said<TAB>tool<TAB>{\"argument\": …}`, or `-` for no tool".to_owned()));
    }
    let began = Instant::now();
    let planned = hub.plan(said, offered.to_vec()).await;
    let ms = millis_since(began);
    let (call, got, confidence) = match planned {
        Ok(planned) => match planned.call {
            Some((call, confidence)) => {
                let text = format!("{} {}", call.name, Value::Object(call.arguments.clone()));
                (Some((call.name, call.arguments)), text, confidence)
            }
            None => (None, planned.text, 0.0),
        },
        // A model that cannot say what it wants has not acted.
        Err(failure) => (None, failure.to_string(), 0.0),
    };
    let is_right = expected.contains(&call);
    let expected_text = match &expected[0] {
        Some((tool, arguments)) => format!("{tool} {}", Value::Object(arguments.clone())),
        None => "-".to_owned(),
    };
    Ok(Case {
        name: said.clone(),
        expected: expected_text,
        got,
        right: usize::from(is_right),
        wrong: usize::from(!is_right),
        of: 1,
        ms,
        first_ms: 0.0,
        audio_ms: 0.0,
        acted: call.is_some(),
        should_act: expected[0].is_some(),
        confidence,
    })
}

async fn speak(hub: &Hub, session: &Session, row: &[String]) -> anyhow::Result<Case> {
    let [text] = row else { bail!(BadArguments("a line is one text, without tabs".to_owned())) };
    let began = Instant::now();
    let spoken = hub
        .synthesize(text, session.config.text_if_set("tts.voice"), session.config.number("tts.speed") as f32)
        .await
        .map_err(|failure| anyhow::anyhow!("{failure}"))?;
    let ms = millis_since(began);
    let wave = loqa_audio::wav::to_f32(&spoken.samples);
    let heard = loqa_audio::resample::resample(&wave, OUTPUT_SAMPLE_RATE, INPUT_SAMPLE_RATE)?;
    let clip = sound::Clip::of(loqa_audio::wav::to_i16(&heard));
    let heard = hub
        .transcribe(sound::play_in(clip, sound::Pace::AtOnce), session.config.text("stt.language"))
        .await
        .map_err(|failure| anyhow::anyhow!("{failure}"))?;
    let words = Words::compare(text, &heard.text);
    Ok(Case {
        name: text.clone(),
        expected: text.clone(),
        got: heard.text,
        right: words.right,
        wrong: words.errors(),
        of: words.of,
        ms,
        first_ms: spoken.done.first_chunk_us as f64 / 1_000.0,
        audio_ms: spoken.samples.len() as f64 * 1_000.0 / f64::from(OUTPUT_SAMPLE_RATE),
        acted: false,
        should_act: false,
        confidence: heard.confidence,
    })
}

fn percentiles(ms: &[f64]) -> Value {
    json!({ "p50": percentile(ms, 0.5), "p95": percentile(ms, 0.95), "max": percentile(ms, 1.0) })
}

/// The cases with the most that is wrong, worst first.
fn worst(cases: &[Case]) -> impl Iterator<Item = &Case> {
    let mut wrong: Vec<&Case> = cases.iter().filter(|case| case.wrong > 0).collect();
    let badness = |case: &Case| case.wrong as f64 / case.of.max(1) as f64;
    wrong.sort_by(|a, b| badness(b).total_cmp(&badness(a)).then(b.confidence.total_cmp(&a.confidence)));
    wrong.into_iter().take(WORST)
}

/// The rows with their line numbers.
fn read_manifest(path: &Path, limit: Option<u32>) -> anyhow::Result<Vec<(usize, Vec<String>)>> {
    let size =
        std::fs::metadata(path).map_err(|e| BadArguments(format!("--manifest: read `{}`: {e}", path.display())))?.len();
    if size > MAX_MANIFEST {
        bail!(BadArguments(format!("--manifest: `{}` has {size} bytes, {MAX_MANIFEST} are allowed", path.display())));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|e| BadArguments(format!("--manifest: read `{}` as UTF-8: {e}", path.display())))?;
    let rows = parse_rows(&text, limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)));
    if rows.is_empty() {
        bail!(BadArguments(format!("--manifest: `{}` holds no case", path.display())));
    }
    Ok(rows)
}

fn parse_rows(text: &str, limit: usize) -> Vec<(usize, Vec<String>)> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|(index, line)| (index + 1, line.trim_end_matches('\r').split('\t').map(str::to_owned).collect()))
        .take(limit)
        .collect()
}

fn millis_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_line_numbers() {
        let rows = parse_rows("# head\n\na.wav\thello\r\nb.wav\tyes\n", 1);
        assert_eq!(rows, [(3, vec!["a.wav".to_owned(), "hello".to_owned()])]);
    }

    #[test]
    fn the_best_gate_acts_most_within_two_wrong_of_a_hundred() {
        let case = |confidence: f32, wrong: usize, should_act: bool| Case {
            name: String::new(),
            expected: String::new(),
            got: String::new(),
            right: 1 - wrong,
            wrong,
            of: 1,
            ms: 0.0,
            first_ms: 0.0,
            audio_ms: 0.0,
            acted: true,
            should_act,
            confidence,
        };
        // 60 right ones, one wrong one (1.6 %), right ones beside a wrong one of the same confidence.
        let mut cases: Vec<Case> = (0..60).map(|_| case(0.9, 0, true)).collect();
        cases.push(case(0.8, 1, true));
        cases.extend([case(0.5, 0, true), case(0.5, 1, false)]);
        let gate = best_gate(&cases, 100);
        assert_eq!((gate["acts"].as_f64(), gate["gate"].as_f64().map(|g| (g * 10.0).round())), (Some(0.61), Some(8.0)));
        assert_eq!(best_gate(&[case(0.9, 1, true)], 1), Value::Null);
    }
}
