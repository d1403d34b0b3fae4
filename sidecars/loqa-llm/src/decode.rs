//! One model, one context, one sequence: prompt in, tokens out, with the prompt's
//! unchanged beginning kept in the KV cache between requests.
//!
//! Deliberately absent: what the tokens mean. Prompts, grammars and the reading of
//! the output belong to [`crate::chat`] and [`crate::reflex`].

use crate::gguf::GgufHeader;
use crate::llama;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::context::session::{LlamaStateSeqFlags, SeqState};
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;
use loqa_engine::CancelFlag;
use loqa_protocol::{ErrorCode, Failure, Hop};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most prompt tokens per step; the cancel flag is looked at between steps.
pub const PREFILL_STEP: usize = 256;
/// A prefill step should not take longer than this, so that a cancel is seen within
/// 50 ms also where a model is slow; steps shrink to fit, down to [`MIN_STEP`].
const STEP_TARGET: Duration = Duration::from_millis(30);
/// Below this, steps cost more than they save.
const MIN_STEP: usize = 8;
/// Context length where the settings name none: enough for tools and some history, and
/// 150 MB of cache for a 3B model.
const DEFAULT_CONTEXT: u32 = 4_096;
/// Prefixes kept as snapshots, and the memory they may take together.
const MAX_SNAPSHOTS: usize = 4;
const MAX_SNAPSHOT_BYTES: usize = 256 << 20;
/// A prefix shorter than this is not worth a snapshot.
const MIN_SNAPSHOT_TOKENS: usize = 16;
/// Compiled grammars kept: one per set of tools, and per command for the reflex model.
const MAX_GRAMMARS: usize = 8;
/// Candidates that are looked at before the whole vocabulary is.
const TOP_CANDIDATES: usize = 64;
/// Nucleus and floor for sampling at a temperature above 0, llama.cpp's defaults.
const TOP_P: f32 = 0.95;
const MIN_P: f32 = 0.05;

/// How to load a model.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadOptions {
    /// Threads for computing; `None`: 1 for small models, else the physical cores.
    pub threads: Option<u32>,
    /// Context length in tokens; `None`: the model's, at most 4,096.
    pub context: Option<u32>,
}

/// A loaded model and its one sequence.
pub struct Decoder {
    // Fields drop in this order: everything that points into the model goes first.
    context: LlamaContext<'static>,
    grammars: Vec<(String, LlamaSampler)>,
    batch: LlamaBatch<'static>,
    model: Arc<LlamaModel>,
    cached: Vec<LlamaToken>,
    snapshots: Vec<Snapshot>,
    abort: Box<llama::AbortSwitch>,
    abort_connected: bool,
    step: usize,
    limit: usize,
    threads: u32,
}

struct Snapshot {
    tokens: Vec<LlamaToken>,
    state: SeqState,
}

/// One token that was chosen.
#[derive(Debug, Clone, Copy)]
pub struct Picked {
    /// The token.
    pub token: LlamaToken,
    /// Its probability before the grammar had its say.
    pub probability: f32,
    /// Whether the grammar forbade what the model wanted.
    pub steered: bool,
}

/// How to choose tokens.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature: f32,
    /// State of the random numbers; never 0.
    pub seed: u64,
}

impl Sampling {
    fn random(&mut self) -> f32 {
        // xorshift64*: quality is ample for choosing words, and a work id replays its reply.
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        let bits = self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40;
        bits as f32 / (1_u64 << 24) as f32
    }
}

/// When to stop working.
#[derive(Debug, Clone, Copy)]
pub struct Stop<'a> {
    /// Set by the runtime.
    pub cancel: &'a CancelFlag,
    /// The whole reply must be done by then.
    pub deadline: Instant,
}

impl Stop<'_> {
    /// An error once there is a reason to stop.
    pub fn check(&self) -> Result<(), Failure> {
        if Instant::now() >= self.deadline {
            return Err(failure(ErrorCode::DeadlineExceeded, "the reply was not ready within its deadline"));
        }
        if self.cancel.is_cancelled() {
            return Err(failure(ErrorCode::Cancelled, "the reply was cancelled"));
        }
        Ok(())
    }
}

pub(crate) fn failure(code: ErrorCode, message: impl Into<String>) -> Failure {
    Failure::new(Hop::Llm, code, message)
}

impl Decoder {
    /// Loads a file that has passed [`crate::gguf::check_file`].
    pub fn load(path: &Path, header: &GgufHeader, options: LoadOptions) -> Result<Self, Failure> {
        let backend = llama::backend()?;
        let invalid = |text: String| failure(ErrorCode::ModelInvalid, format!("load `{}`: {text}", path.display()));
        if path.to_str().is_none() {
            return Err(invalid("the path is not UTF-8; move the model to another folder".into()));
        }
        llama::forget_complaints();
        let model = LlamaModel::load_from_file(backend, path, &Default::default())
            .map_err(|error| invalid(llama::complaints().unwrap_or_else(|| error.to_string())))?;
        let model = Arc::new(model);
        let trained = model.n_ctx_train().max(1);
        let context = options.context.unwrap_or_else(|| trained.min(DEFAULT_CONTEXT)).clamp(16, trained.max(16));
        let threads = options.threads.filter(|n| *n > 0).unwrap_or_else(|| llama::threads_for(header.file_bytes));
        let n_threads = i32::try_from(threads).unwrap_or(1);
        // llama.cpp rounds the context up to its own granularity; ours is what was asked for.
        let limit = context as usize;
        let step = PREFILL_STEP.min(limit);
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(context))
            .with_n_batch(step as u32)
            .with_n_ubatch(step as u32)
            .with_n_threads(n_threads)
            .with_n_threads_batch(n_threads)
            .with_no_perf(true);
        let context = model
            .new_context(backend, params)
            .map_err(|error| invalid(llama::complaints().unwrap_or_else(|| error.to_string())))?;
        // SAFETY: the context borrows the model, which lives at a fixed address inside the
        // `Arc` that this struct holds; `context` is declared, and so dropped, before it.
        let mut context = unsafe { std::mem::transmute::<LlamaContext<'_>, LlamaContext<'static>>(context) };
        let abort = Box::<llama::AbortSwitch>::default();
        // GPUs compute a step as a whole; there the steps have to be short.
        let abort_connected = abort.connect(&mut context) && !backend.supports_gpu_offload();
        Ok(Self {
            context,
            grammars: Vec::new(),
            batch: LlamaBatch::new(step, 1),
            model,
            cached: Vec::new(),
            snapshots: Vec::new(),
            abort,
            abort_connected,
            step,
            limit,
            threads,
        })
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &LlamaModel {
        &self.model
    }

    /// Context length in tokens.
    #[must_use]
    pub fn n_ctx(&self) -> usize {
        self.limit
    }

    /// Threads in use.
    #[must_use]
    pub fn threads(&self) -> u32 {
        self.threads
    }

    /// Whether a running step can be stopped in its middle.
    #[must_use]
    pub fn stops_within_steps(&self) -> bool {
        self.abort_connected
    }

    /// Forgets the sequence and all snapshots.
    pub fn forget(&mut self) {
        self.context.clear_kv_cache();
        self.cached.clear();
        self.snapshots.clear();
    }

    /// Computes the prompt as far as it differs from what the cache holds, and returns
    /// how many tokens came from the cache. The first `prefix` tokens are expected
    /// again: their state is kept as a snapshot.
    pub fn prefill(&mut self, prompt: &[LlamaToken], prefix: usize, stop: Stop<'_>) -> Result<usize, Failure> {
        if prompt.is_empty() || prompt.len() > self.n_ctx() {
            return Err(failure(ErrorCode::BadRequest, "the prompt does not fit the context"));
        }
        // At least the last token is computed, for its logits.
        let reusable = &prompt[..prompt.len() - 1];
        let mut kept = common(&self.cached, reusable);
        let best = self
            .snapshots
            .iter()
            .enumerate()
            .filter(|(_, snapshot)| snapshot.tokens.len() > kept && reusable.starts_with(&snapshot.tokens))
            .max_by_key(|(_, snapshot)| snapshot.tokens.len())
            .map(|(n, _)| n);
        if let Some(n) = best {
            kept = self.restore(n);
        }
        if kept < self.cached.len() {
            // Recurrent models cannot give up a part of their state.
            let removed = self.context.clear_kv_cache_seq(Some(0), Some(kept as u32), None);
            if matches!(removed, Ok(true)) {
                self.cached.truncate(kept);
            } else {
                self.context.clear_kv_cache();
                self.cached.clear();
                kept = 0;
            }
        }
        let mut at = kept;
        while at < prompt.len() {
            stop.check()?;
            let mut end = prompt.len().min(at + self.step);
            if at < prefix && prefix < end {
                end = prefix;
            }
            let begun = Instant::now();
            self.step(&prompt[at..end], stop)?;
            self.adapt_step(end - at, begun.elapsed());
            at = end;
            if at == prefix {
                self.keep_snapshot();
            }
        }
        Ok(kept)
    }

    /// Adds one generated token to the sequence.
    pub fn advance(&mut self, token: LlamaToken, stop: Stop<'_>) -> Result<(), Failure> {
        self.step(&[token], stop)
    }

    /// Chooses the next token from the last computed logits.
    pub fn pick(&self, grammar: Option<&mut LlamaSampler>, sampling: &mut Sampling) -> Result<Picked, Failure> {
        let logits = self.context.get_logits_ith(self.batch.n_tokens() - 1);
        let (best, highest) = argmax(logits);
        let chosen = if sampling.temperature <= 0.0 {
            match grammar {
                None => (best, false),
                Some(grammar) => {
                    if allows(grammar, best, highest) {
                        (best, false)
                    } else {
                        (allowed(grammar, logits)?[0].0, true)
                    }
                }
            }
        } else {
            let (candidates, steered) = match grammar {
                None => (top(logits), false),
                Some(grammar) => (allowed(grammar, logits)?, !allows(grammar, best, highest)),
            };
            (draw(&candidates, sampling), steered)
        };
        let (index, steered) = chosen;
        Ok(Picked {
            token: token(index),
            probability: (logits[index] - highest).exp() / partition(logits, highest),
            steered,
        })
    }

    /// The grammar, compiled once per text. It points into the model: drop it first.
    pub fn grammar(&mut self, text: &str) -> Result<LlamaSampler, Failure> {
        if let Some(at) = self.grammars.iter().position(|(known, _)| known == text) {
            let entry = self.grammars.remove(at);
            self.grammars.push(entry);
        } else {
            let sampler = LlamaSampler::grammar(&self.model, text, "root").map_err(|_| {
                failure(ErrorCode::BadRequest, "the tools make a grammar that is too large; offer fewer of them")
            })?;
            if self.grammars.len() == MAX_GRAMMARS {
                self.grammars.remove(0);
            }
            self.grammars.push((text.to_owned(), sampler));
        }
        match self.grammars.last() {
            Some((_, sampler)) => Ok(sampler.clone()),
            None => Err(failure(ErrorCode::EngineFault, "the grammar was not kept")),
        }
    }

    /// Generated tokens per second on this machine, over at most 32 tokens or a third of a second.
    pub fn measure(&mut self) -> Result<f64, Failure> {
        let cancel = CancelFlag::new();
        let stop = Stop { cancel: &cancel, deadline: Instant::now() + Duration::from_secs(60) };
        let vocab = self.model.vocab();
        let start = if vocab.bos().0 >= 0 { vocab.bos() } else { LlamaToken(0) };
        let mut sampling = Sampling { temperature: 0.0, seed: 1 };
        // The first step touches every page of the weights; it is not counted.
        self.prefill(&[start], 0, stop)?;
        let begun = Instant::now();
        let mut tokens = 0_u32;
        while tokens < 32 && (tokens < 2 || begun.elapsed() < Duration::from_millis(333)) {
            if self.cached.len() + 1 >= self.n_ctx() {
                break;
            }
            let picked = self.pick(None, &mut sampling)?;
            self.advance(picked.token, stop)?;
            tokens += 1;
        }
        let speed = f64::from(tokens) / begun.elapsed().as_secs_f64().max(1e-9);
        self.forget();
        Ok(speed)
    }

    fn step(&mut self, tokens: &[LlamaToken], stop: Stop<'_>) -> Result<(), Failure> {
        let full = self.cached.len() + tokens.len() > self.n_ctx();
        if full || tokens.is_empty() {
            return Err(failure(ErrorCode::EngineFault, "a step does not fit the context"));
        }
        self.batch.clear();
        let at = i32::try_from(self.cached.len()).unwrap_or(i32::MAX);
        for (n, token) in (0..).zip(tokens) {
            let last = n as usize + 1 == tokens.len();
            self.batch
                .add(*token, at.saturating_add(n), &[0], last)
                .map_err(|error| failure(ErrorCode::EngineFault, error.to_string()))?;
        }
        let outcome = self.abort.while_watching(stop, || self.context.decode(&mut self.batch));
        if let Err(error) = outcome {
            // An aborted step leaves some of its tokens behind.
            let kept = self.cached.len();
            if !matches!(self.context.clear_kv_cache_seq(Some(0), Some(kept as u32), None), Ok(true)) {
                self.context.clear_kv_cache();
                self.cached.clear();
            }
            stop.check()?;
            return Err(failure(ErrorCode::EngineFault, format!("llama.cpp could not compute: {error}")));
        }
        self.cached.extend_from_slice(tokens);
        Ok(())
    }

    /// Makes steps shorter where they took too long, and longer again where there is room.
    fn adapt_step(&mut self, tokens: usize, took: Duration) {
        if self.abort_connected || tokens < MIN_STEP {
            return;
        }
        let most = PREFILL_STEP.min(self.n_ctx());
        if took > STEP_TARGET {
            self.step = (self.step / 2).max(MIN_STEP);
        } else if took < STEP_TARGET / 4 {
            self.step = (self.step * 2).min(most);
        }
    }

    fn restore(&mut self, n: usize) -> usize {
        let snapshot = self.snapshots.remove(n);
        self.context.clear_kv_cache();
        self.cached.clear();
        if self.context.state_seq_set(&snapshot.state, 0).is_err() {
            // A snapshot that does not fit is worth nothing; computing anew is always right.
            self.context.clear_kv_cache();
            return 0;
        }
        self.cached.extend_from_slice(&snapshot.tokens);
        self.snapshots.push(snapshot);
        self.cached.len()
    }

    fn keep_snapshot(&mut self) {
        if self.cached.len() < MIN_SNAPSHOT_TOKENS
            || self.snapshots.iter().any(|snapshot| snapshot.tokens == self.cached)
        {
            return;
        }
        let Ok(state) = self.context.state_seq_get(0, LlamaStateSeqFlags::empty()) else { return };
        if state.byte_len() > MAX_SNAPSHOT_BYTES {
            return;
        }
        let mut bytes = state.byte_len();
        self.snapshots.push(Snapshot { tokens: self.cached.clone(), state });
        // Newest last; drop from the front what is too much.
        let mut keep = 0;
        for snapshot in self.snapshots.iter().rev().skip(1) {
            bytes += snapshot.state.byte_len();
            if bytes > MAX_SNAPSHOT_BYTES || keep + 1 == MAX_SNAPSHOTS {
                break;
            }
            keep += 1;
        }
        let excess = self.snapshots.len() - keep - 1;
        self.snapshots.drain(..excess);
    }
}

/// How many tokens two sequences begin with in common.
#[must_use]
pub fn common(a: &[LlamaToken], b: &[LlamaToken]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn token(index: usize) -> LlamaToken {
    LlamaToken(i32::try_from(index).unwrap_or(i32::MAX))
}

fn argmax(logits: &[f32]) -> (usize, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (n, logit) in logits.iter().enumerate() {
        if *logit > best.1 {
            best = (n, *logit);
        }
    }
    best
}

/// Sum of the exponentials relative to the highest logit. What is more than 20 below
/// it adds less than 3e-4 over 150,000 tokens and is left out.
fn partition(logits: &[f32], highest: f32) -> f32 {
    let floor = highest - 20.0;
    logits.iter().filter(|logit| **logit > floor).map(|logit| (logit - highest).exp()).sum()
}

fn allows(grammar: &mut LlamaSampler, index: usize, logit: f32) -> bool {
    let mut one = LlamaTokenDataArray::new(vec![LlamaTokenData::new(token(index), logit, 0.0)], false);
    grammar.apply(&mut one);
    one.data.first().is_some_and(|data| data.logit().is_finite())
}

/// The likeliest candidates, best first.
fn top(logits: &[f32]) -> Vec<(usize, f32)> {
    let mut all: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
    let k = TOP_CANDIDATES.min(all.len());
    if k < all.len() {
        all.select_nth_unstable_by(k, |a, b| b.1.total_cmp(&a.1));
        all.truncate(k);
    }
    all.sort_unstable_by(|a, b| b.1.total_cmp(&a.1));
    all
}

/// The candidates that the grammar allows, best first: among the likeliest, or where
/// none of them fits, among all.
fn allowed(grammar: &mut LlamaSampler, logits: &[f32]) -> Result<Vec<(usize, f32)>, Failure> {
    let mut filter = |candidates: Vec<(usize, f32)>| {
        let data = candidates.iter().map(|(n, logit)| LlamaTokenData::new(token(*n), *logit, 0.0)).collect();
        let mut array = LlamaTokenDataArray::new(data, false);
        grammar.apply(&mut array);
        let mut left: Vec<(usize, f32)> = array
            .data
            .iter()
            .filter(|data| data.logit().is_finite())
            .map(|data| (usize::try_from(data.id().0).unwrap_or(0), data.logit()))
            .collect();
        left.sort_unstable_by(|a, b| b.1.total_cmp(&a.1));
        left
    };
    let near = filter(top(logits));
    if !near.is_empty() {
        return Ok(near);
    }
    let mut all = filter(logits.iter().copied().enumerate().collect());
    all.truncate(TOP_CANDIDATES);
    if all.is_empty() {
        return Err(failure(ErrorCode::EngineFault, "the grammar allows no token of this model"));
    }
    Ok(all)
}

/// Draws by temperature, nucleus and floor.
fn draw(candidates: &[(usize, f32)], sampling: &mut Sampling) -> usize {
    let highest = candidates.first().map_or(0.0, |(_, logit)| *logit);
    let weights: Vec<f32> =
        candidates.iter().map(|(_, logit)| ((logit - highest) / sampling.temperature).exp()).collect();
    let total: f32 = weights.iter().sum();
    let mut kept = 0;
    let mut mass = 0.0;
    for weight in &weights {
        if kept > 0 && (mass >= TOP_P * total || *weight < MIN_P * weights[0]) {
            break;
        }
        mass += weight;
        kept += 1;
    }
    let mut target = sampling.random() * mass;
    for (n, weight) in weights.iter().take(kept).enumerate() {
        target -= weight;
        if target <= 0.0 {
            return candidates[n].0;
        }
    }
    candidates.first().map_or(0, |(n, _)| *n)
}
