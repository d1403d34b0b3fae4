//! The language model engine: chat with tools in, streamed text or one valid tool
//! call out.
//!
//! Two backends answer the same request: [`local`] runs a GGUF file with llama.cpp,
//! [`openai`] asks a server on this machine or its network. Whatever a model says,
//! only an offered tool with fitting arguments leaves this crate as a call.
//! Deliberately absent: deciding what to do with a call, and any state between
//! requests except the cache of computed prompts.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on stops"))]

pub mod chat;
pub mod decode;
pub mod gbnf;
pub mod gguf;
pub mod llama;
pub mod local;
pub mod openai;
pub mod reflex;
pub mod schema;
pub mod settings;
pub mod template;
pub mod tools;

use crate::decode::{LoadOptions, failure};
use crate::local::LocalModel;
use crate::settings::{Backend, Settings};
use loqa_engine::{Capability, EngineBoot, Loaded};
use loqa_protocol::{ErrorCode, Failure};
use std::path::Path;

/// Loads what the boot message names.
pub fn load(boot: &EngineBoot) -> Result<Loaded, Failure> {
    let settings = Settings::of(boot)?;
    match settings.backend {
        Backend::Llama => load_local(boot, &settings),
        Backend::OpenAi => openai::load(boot, &settings),
    }
}

fn load_local(boot: &EngineBoot, settings: &Settings) -> Result<Loaded, Failure> {
    if boot.model_path.is_empty() {
        return Err(failure(ErrorCode::ModelInvalid, "the boot message names no model file"));
    }
    let options = LoadOptions { threads: settings.threads, context: settings.context };
    let mut model = LocalModel::load(Path::new(&boot.model_path), options)?;
    let measured_speed = model.decoder().measure()?;
    let header = model.header();
    let languages = match &settings.languages {
        Some(languages) => languages.clone(),
        None if header.languages.is_empty() => vec!["en".into()],
        None => header.languages.clone(),
    };
    tracing::info!(
        model = %boot.model,
        quantisation = %header.quantisation,
        reflex = model.is_reflex(),
        "language model loaded"
    );
    let capability = Capability {
        name: boot.capability.clone(),
        model: boot.model.clone(),
        quantisation: header.quantisation.clone(),
        languages,
        sample_rate: None,
        voices: Vec::new(),
        measured_speed,
    };
    Ok(Loaded { workers: vec![Box::new(model)], capabilities: vec![capability] })
}
