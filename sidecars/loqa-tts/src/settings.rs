//! The engine's settings from the boot message. A wrong value is an error that names the
//! setting and what is allowed; a setting that this version does not know is a warning,
//! because a newer hub may run an older engine.

use crate::error::TtsError;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Phrases kept when nothing else is configured: about 160 s of speech. Chosen.
pub const DEFAULT_CACHE_BYTES: usize = 8 * 1024 * 1024;
/// More phrases than anybody needs; keeps a typing error from eating the memory.
const MAX_CACHE_BYTES: usize = 1024 * 1024 * 1024;
/// More threads than any machine of this project has.
const MAX_THREADS: usize = 256;

/// What can be configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `ort_dylib`: absolute path of the ONNX Runtime library. Otherwise it is searched.
    pub ort_dylib: Option<PathBuf>,
    /// `voices_dir`: folder of voice files, or one NPZ file. Otherwise `voices` beside the model.
    pub voices_dir: PathBuf,
    /// `voice`: the voice of requests that name none.
    pub voice: Option<String>,
    /// `intra_threads` (or `threads`): threads of one inference; 0 or absent chooses by the
    /// size of the model.
    pub intra_threads: Option<usize>,
    /// `cache_bytes`: room for phrases that were spoken before; 0 keeps none.
    pub cache_bytes: usize,
}

impl Settings {
    /// Reads the settings that came with a model file.
    pub fn read(settings: &Map<String, Value>, model: &Path) -> Result<Self, TtsError> {
        let mut read = Self {
            ort_dylib: None,
            voices_dir: model.parent().unwrap_or(Path::new("")).join("voices"),
            voice: None,
            intra_threads: None,
            cache_bytes: DEFAULT_CACHE_BYTES,
        };
        for (key, value) in settings {
            match key.as_str() {
                "ort_dylib" => read.ort_dylib = Some(PathBuf::from(text("ort_dylib", value)?)),
                "voices_dir" => read.voices_dir = PathBuf::from(text("voices_dir", value)?),
                "voice" => read.voice = Some(text("voice", value)?.to_owned()),
                "intra_threads" | "threads" => {
                    read.intra_threads = Some(number("intra_threads", value, MAX_THREADS)?).filter(|n| *n > 0);
                }
                "cache_bytes" => read.cache_bytes = number("cache_bytes", value, MAX_CACHE_BYTES)?,
                other => tracing::warn!(setting = other, "unknown setting"),
            }
        }
        Ok(read)
    }
}

fn text<'a>(key: &'static str, value: &'a Value) -> Result<&'a str, TtsError> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.ok_or_else(|| TtsError::Setting { key, reason: format!("must be a text that is not empty, got {value}") })
}

fn number(key: &'static str, value: &Value, max: usize) -> Result<usize, TtsError> {
    let number = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= max);
    number.ok_or_else(|| TtsError::Setting {
        key,
        reason: format!("must be a whole number from 0 to {max}, got {value}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(settings: Value) -> Result<Settings, String> {
        let Value::Object(settings) = settings else { panic!("an object") };
        Settings::read(&settings, Path::new("/models/m.onnx")).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_configured_gives_the_defaults() {
        let settings = read(json!({})).unwrap();
        assert_eq!(settings.voices_dir, Path::new("/models/voices"));
        assert_eq!(settings.cache_bytes, DEFAULT_CACHE_BYTES);
        assert_eq!(settings.intra_threads, None);
    }

    #[test]
    fn everything_can_be_configured() {
        let settings = read(json!({
            "ort_dylib": "/opt/libonnxruntime.so.1", "voices_dir": "/v", "voice": "rms", "threads": 2, "cache_bytes": 0
        }));
        let settings = settings.unwrap();
        assert_eq!(settings.voice.as_deref(), Some("rms"));
        assert_eq!((settings.intra_threads, settings.cache_bytes), (Some(2), 0));
        assert_eq!(read(json!({"intra_threads": 0})).unwrap().intra_threads, None);
    }

    #[test]
    fn wrong_values_name_the_setting_and_what_is_allowed() {
        for (settings, expected) in [
            (json!({"voice": 3}), "setting `voice`: must be a text that is not empty, got 3"),
            (json!({"cache_bytes": -1}), "setting `cache_bytes`: must be a whole number from 0 to 1073741824, got -1"),
            (json!({"threads": "many"}), "setting `intra_threads`: must be a whole number from 0 to 256, got \"many\""),
            (json!({"voices_dir": ""}), "setting `voices_dir`: must be a text that is not empty, got \"\""),
        ] {
            assert_eq!(read(settings).unwrap_err(), expected);
        }
    }
}
