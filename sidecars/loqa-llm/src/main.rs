//! `loqa-llm`, started by the hub: see the library.

use loqa_engine::{EngineKind, engine_main};
use std::process::ExitCode;

fn main() -> ExitCode {
    engine_main("loqa-llm", EngineKind::Llm, loqa_llm::load)
}
