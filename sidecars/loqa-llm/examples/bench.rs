//! Compares the engine's decoding with the bare llama-cpp-2 loop on the same prompt.
//!
//! ```console
//! $ cargo run -p loqa-llm --example bench -- models/starter/llm/reflex-q8_0.gguf
//! ```
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use loqa_engine::CancelFlag;
use loqa_llm::decode::{Decoder, LoadOptions, Sampling, Stop};
use loqa_llm::{gguf, llama};
use std::error::Error;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};

const PROMPT: &str = "<s><|tools|> timer.start timer.cancel timer.pause timer.resume timer.status timer.list \
    light.set switch.set climate.set cover.set scene.run clock.time clock.date list.add list.remove list.show\
    <|user|> set a timer for five minutes<|out|>";
const TOKENS: usize = 128;
const ROUNDS: usize = 40;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "models/starter/llm/reflex-q8_0.gguf".into());
    let path = Path::new(&path);
    let header = gguf::check_file(path)?;
    let mut decoder = Decoder::load(path, &header, LoadOptions::default())?;
    let prompt = decoder.model().vocab().tokenize(PROMPT.as_bytes(), false, true);
    let threads = i32::try_from(decoder.threads())?;

    let backend = llama::backend()?;
    let model = LlamaModel::load_from_file(backend, path, &Default::default())?;
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    // In turn, so that both see the same load of the machine; the fastest round counts.
    for _ in 0..ROUNDS {
        bare.push(bare_loop(&model, &prompt, threads)?);
        ours.push(engine_loop(&mut decoder, &prompt)?);
    }
    let best = |times: &[(Duration, Duration)]| {
        let prefill = times.iter().map(|t| t.0).min().unwrap_or_default().as_secs_f64();
        let decode = times.iter().map(|t| t.1).min().unwrap_or_default().as_secs_f64();
        (prefill, decode)
    };
    let (bare, ours) = (best(&bare), best(&ours));
    println!("prompt {} tokens, {TOKENS} generated, {threads} thread(s), best of {ROUNDS}", prompt.len());
    println!("bare    prefill {:7.2} ms, {:6.0} tokens/s", bare.0 * 1e3, TOKENS as f64 / bare.1);
    println!("engine  prefill {:7.2} ms, {:6.0} tokens/s", ours.0 * 1e3, TOKENS as f64 / ours.1);
    println!(
        "ratio   prefill {:7.3},    decode {:.3}, whole {:.3}",
        bare.0 / ours.0,
        bare.1 / ours.1,
        (bare.0 + bare.1) / (ours.0 + ours.1)
    );
    Ok(())
}

/// As in llama-cpp-2's own example: one batch for the prompt, then token by token, greedy.
fn bare_loop(model: &LlamaModel, prompt: &[LlamaToken], threads: i32) -> Result<(Duration, Duration), Box<dyn Error>> {
    let params = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(model.n_ctx_train().min(4_096)))
        .with_n_batch(512)
        .with_n_ubatch(512)
        .with_n_threads(threads)
        .with_n_threads_batch(threads);
    let mut context = model.new_context(llama::backend()?, params)?;
    let mut batch = LlamaBatch::new(512, 1);
    let mut sampler = LlamaSampler::greedy();
    let begun = Instant::now();
    for (n, token) in (0..).zip(prompt) {
        batch.add(*token, n, &[0], n as usize + 1 == prompt.len())?;
    }
    context.decode(&mut batch)?;
    context.synchronize();
    let prefill = begun.elapsed();
    let begun = Instant::now();
    for at in (i32::try_from(prompt.len())?..).take(TOKENS) {
        let token = sampler.sample(&context, batch.n_tokens() - 1);
        batch.clear();
        batch.add(token, at, &[0], true)?;
        context.decode(&mut batch)?;
    }
    context.synchronize();
    Ok((prefill, begun.elapsed()))
}

fn engine_loop(decoder: &mut Decoder, prompt: &[LlamaToken]) -> Result<(Duration, Duration), Box<dyn Error>> {
    let cancel = CancelFlag::new();
    let stop = Stop { cancel: &cancel, deadline: Instant::now() + Duration::from_secs(60) };
    let mut sampling = Sampling { temperature: 0.0, seed: 1 };
    decoder.forget();
    let begun = Instant::now();
    decoder.prefill(prompt, 0, stop)?;
    let prefill = begun.elapsed();
    let begun = Instant::now();
    for _ in 0..TOKENS {
        let picked = decoder.pick(None, &mut sampling)?;
        decoder.advance(picked.token, stop)?;
    }
    Ok((prefill, begun.elapsed()))
}
