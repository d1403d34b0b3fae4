//! The speech engine as a program. It is started by the hub; see `loqa-engine`.

use loqa_engine::{EngineKind, engine_main};
use std::process::ExitCode;

fn main() -> ExitCode {
    engine_main("loqa-tts", EngineKind::Tts, loqa_tts::worker::load)
}
