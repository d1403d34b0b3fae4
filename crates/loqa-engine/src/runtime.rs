//! The life of an engine process.

use crate::{Loaded, EngineBoot, EngineKind};
use loqa_protocol::Failure;
use std::process::ExitCode;

/// Runs an engine program from its boot line to its end. Call it from `main` and
/// return its result.
pub fn engine_main(
    _program: &'static str,
    _kind: EngineKind,
    _load: impl FnOnce(&EngineBoot) -> Result<Loaded, Failure> + Send + 'static,
) -> ExitCode {
    ExitCode::from(2)
}
