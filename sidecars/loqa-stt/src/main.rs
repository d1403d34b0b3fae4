//! The speech-to-text engine as a program; the hub starts it.

use loqa_engine::{EngineKind, engine_main};
use std::process::ExitCode;

fn main() -> ExitCode {
    engine_main("loqa-stt", EngineKind::Stt, loqa_stt::load)
}
