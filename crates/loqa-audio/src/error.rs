//! What can be wrong with sound, and what the user can do about it.

use loqa_protocol::ErrorCode;
use std::path::PathBuf;

/// Every failure of this crate. Messages name the thing, the value and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The file cannot be opened or read. Check the path and its permissions.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file cannot be written. Check the folder, its permissions and the disk.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is something else, or damaged at its beginning. Give a PCM WAV.
    #[error("`{}` is not a WAV file: {reason}", path.display())]
    NotWav {
        /// Which file.
        path: PathBuf,
        /// What was found instead.
        reason: String,
    },
    /// A WAV file of a kind that is not read. Convert it, for example with
    /// `ffmpeg -i IN -ar 16000 -ac 1 OUT.wav`.
    #[error(
        "`{}` holds {what}, which is not read: give PCM of 8, 16, 24 or 32 bits or 32-bit float, 8 to 192 kHz",
        path.display()
    )]
    UnsupportedWav {
        /// Which file.
        path: PathBuf,
        /// What it holds.
        what: String,
    },
    /// The file has no samples. Record it again.
    #[error("`{}` holds no sound", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// The file ends early; a part of the recording would be missing. Copy it again.
    #[error("`{}` is cut off: its header announces {expected} bytes of sound, {actual} are there", path.display())]
    Truncated {
        /// Which file.
        path: PathBuf,
        /// Bytes of sound according to the header.
        expected: u64,
        /// Bytes of sound in the file.
        actual: u64,
    },
    /// Longer than a turn accepts. Cut it.
    #[error("`{}` is {seconds:.1} s long, at most {limit_seconds} s are taken", path.display())]
    AudioTooLong {
        /// Which file.
        path: PathBuf,
        /// Its length.
        seconds: f64,
        /// The limit.
        limit_seconds: u32,
    },
    /// The rates cannot be converted into each other.
    #[error("cannot resample from {from} Hz to {to} Hz: rates must be 4,000 to 384,000 Hz")]
    Rate {
        /// Rate of the input.
        from: u32,
        /// Rate that was asked for.
        to: u32,
    },
    /// There is no such sound device. Plug one in, choose another one, or use a file.
    #[error("no {direction} was found{}: {hint}", name.as_ref().map(|n| format!(" with the name `{n}`")).unwrap_or_default())]
    NoDevice {
        /// `microphone` or `speaker`.
        direction: &'static str,
        /// The name that was asked for.
        name: Option<String>,
        /// What to do.
        hint: String,
    },
    /// The sound device does not work as needed. The message has the system's reason.
    #[error("the {direction} `{name}` cannot be used: {reason}")]
    Device {
        /// `microphone` or `speaker`.
        direction: &'static str,
        /// The device.
        name: String,
        /// What the system says.
        reason: String,
    },
    /// The sound device went away while it was in use. Plug it in again and retry.
    #[error("the {direction} `{name}` was lost: {reason}")]
    DeviceLost {
        /// `microphone` or `speaker`.
        direction: &'static str,
        /// The device.
        name: String,
        /// What the system says.
        reason: String,
    },
    /// More sound was queued than a reply can have; the queue was dropped.
    #[error("more than {limit_seconds} s of speech are waiting to be played")]
    QueueFull {
        /// The limit.
        limit_seconds: u32,
    },
}

impl AudioError {
    /// The code that programs branch on.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::AudioTooLong { .. } => ErrorCode::AudioTooLong,
            Self::Empty { .. } => ErrorCode::NoSpeech,
            Self::Write { .. } => ErrorCode::StorageFault,
            Self::Read { .. }
            | Self::NotWav { .. }
            | Self::UnsupportedWav { .. }
            | Self::Truncated { .. }
            | Self::Rate { .. } => ErrorCode::BadAudio,
            Self::NoDevice { .. } => ErrorCode::EngineMissing,
            Self::Device { .. } | Self::QueueFull { .. } => ErrorCode::EngineFault,
            Self::DeviceLost { .. } => ErrorCode::EngineLost,
        }
    }
}
