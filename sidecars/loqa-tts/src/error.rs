//! What can go wrong in this engine, each with the thing and the way out.

use loqa_protocol::{ErrorCode, Failure, latency::Hop};
use std::path::PathBuf;

/// A reason why the engine cannot start or cannot speak.
#[derive(Debug, thiserror::Error)]
pub enum TtsError {
    /// A setting of the boot message is not what it must be. Correct the configuration.
    #[error("setting `{key}`: {reason}")]
    Setting {
        /// Its name.
        key: &'static str,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// No ONNX Runtime library anywhere. Run the set-up.
    #[error("ONNX Runtime is not installed: run `npm run setup`, or set LOQA_ORT_DYLIB to the absolute path of the library; looked at: {}", .searched.join(", "))]
    RuntimeMissing {
        /// The paths that were tried.
        searched: Vec<String>,
    },
    /// The library is there and cannot be used. Run the set-up again.
    #[error("ONNX Runtime at `{}`: {reason}; version 1.{} or newer is needed, run `npm run setup`", .path.display(), ort::MINOR_VERSION)]
    RuntimeRefused {
        /// The library.
        path: PathBuf,
        /// What the loader says.
        reason: String,
    },
    /// The model file is missing, damaged or of another kind. Choose another model or
    /// fetch it again.
    #[error("voice model `{}`: {reason}", .path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A voice file, or the folder of voices, cannot be used.
    #[error("voices `{}`: {reason}", .path.display())]
    Voices {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No such voice. Ask for one of the list.
    #[error("unknown voice `{name}`; available: {}", .available.join(", "))]
    UnknownVoice {
        /// What was asked for.
        name: String,
        /// What there is.
        available: Vec<String>,
    },
    /// The text is longer than one request may be. Send it in parts.
    #[error("text too long: {characters} characters, at most {limit} are allowed")]
    TextTooLong {
        /// Its length.
        characters: usize,
        /// The limit.
        limit: usize,
    },
    /// The request makes no sense. Correct it.
    #[error("{0}")]
    BadRequest(String),
    /// The hub took the work back or nobody listens any more.
    #[error("cancelled")]
    Cancelled,
    /// The time for the clause is over.
    #[error("no complete speech within {0} ms")]
    DeadlineExceeded(u64),
    /// The model failed while it ran. Not the request's fault.
    #[error("inference: {0}")]
    Inference(String),
}

impl TtsError {
    /// The code that programs branch on.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Setting { .. } | Self::UnknownVoice { .. } | Self::BadRequest(_) => ErrorCode::BadRequest,
            Self::RuntimeMissing { .. } | Self::RuntimeRefused { .. } | Self::Inference(_) => ErrorCode::EngineFault,
            Self::Model { .. } | Self::Voices { .. } => ErrorCode::ModelInvalid,
            Self::TextTooLong { .. } => ErrorCode::TextTooLong,
            Self::Cancelled => ErrorCode::Cancelled,
            Self::DeadlineExceeded(_) => ErrorCode::DeadlineExceeded,
        }
    }
}

impl From<TtsError> for Failure {
    fn from(error: TtsError) -> Self {
        Self::new(Hop::Tts, error.code(), error.to_string())
    }
}
