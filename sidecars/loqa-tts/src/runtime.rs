//! Finds and loads the ONNX Runtime library. Always by absolute path: a stray
//! `onnxruntime.dll` in the system folder must never be picked up.

use crate::error::TtsError;
use ort::environment::Environment;
use ort::logging::LogLevel;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Environment variable with the absolute path of the library.
pub const DYLIB_VARIABLE: &str = "LOQA_ORT_DYLIB";

/// File name of the library on this platform.
pub const DYLIB_NAME: &str = if cfg!(windows) {
    "onnxruntime.dll"
} else if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so.1"
};

/// Where the library is: the hub's setting, `LOQA_ORT_DYLIB`, beside this program, in a
/// macOS bundle's `Frameworks`, in the installed package's folder. What is named
/// explicitly must be there; the search does not go on behind the user's back.
pub fn locate(setting: Option<&Path>) -> Result<PathBuf, TtsError> {
    let variable = std::env::var_os(DYLIB_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = setting.map(Path::to_path_buf).or(variable) {
        if !path.is_absolute() {
            let reason = format!("the path must be absolute: `{}`", path.display());
            return Err(TtsError::Setting { key: "ort_dylib", reason });
        }
        return if path.is_file() {
            Ok(path)
        } else {
            Err(TtsError::RuntimeMissing { searched: vec![path.display().to_string()] })
        };
    }
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf));
    let mut candidates = Vec::new();
    if let Some(folder) = &beside {
        candidates.push(folder.join(DYLIB_NAME));
        candidates.push(folder.join("../Frameworks").join(DYLIB_NAME));
        candidates.push(folder.join("../lib/Loqa").join(DYLIB_NAME));
    }
    match candidates.iter().find(|path| path.is_file()) {
        Some(path) => path
            .canonicalize()
            .map_err(|error| TtsError::RuntimeRefused { path: path.clone(), reason: error.to_string() }),
        None => Err(TtsError::RuntimeMissing {
            searched: candidates.iter().map(|path| path.display().to_string()).collect(),
        }),
    }
}

/// Loads the library. A process can hold one: asking again returns the one that is loaded.
pub fn load(dylib: &Path) -> Result<Environment, TtsError> {
    static LOADED: Mutex<Option<Environment>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = loaded.as_ref() {
        return Ok(environment.clone());
    }
    let refused = |reason: String| TtsError::RuntimeRefused { path: dylib.to_path_buf(), reason };
    let environment = ort::init_from(dylib)
        .map_err(|error| refused(error.to_string()))?
        .with_name("loqa-tts")
        // Microsoft's builds report usage on Windows unless told not to.
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(|error| refused(error.to_string()))?;
    *loaded = Some(environment.clone());
    Ok(environment)
}

/// The runtime warns about graph details that only its developers can act on, so its
/// levels are lowered by one.
fn log(level: LogLevel, category: &str, _id: &str, _location: &str, message: &str) {
    match level {
        LogLevel::Fatal | LogLevel::Error => tracing::warn!(category, message, "onnxruntime"),
        LogLevel::Warning => tracing::debug!(category, message, "onnxruntime"),
        LogLevel::Info | LogLevel::Verbose => tracing::trace!(category, message, "onnxruntime"),
    }
}
