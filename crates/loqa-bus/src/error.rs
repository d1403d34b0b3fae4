//! What can go wrong on the bus, and what a caller can do about it.

use loqa_protocol::ErrorCode;
use std::path::PathBuf;
use std::time::Duration;

/// A failed operation on the bus. [`BusError::code`] says how to branch on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// Nobody listens on the subject. Told by the server at once, without waiting
    /// for the deadline. Try another subject, or start what should listen.
    #[error("nobody listens on `{subject}`")]
    NoResponders {
        /// Where the message went.
        subject: String,
    },
    /// No answer in time. The message may have been handled: ask again only if
    /// handling it twice does no harm.
    #[error("no answer on `{subject}` within {} ms", deadline.as_millis())]
    DeadlineExceeded {
        /// Where the message went.
        subject: String,
        /// How long the caller wanted to wait.
        deadline: Duration,
    },
    /// There is no connection to the server at the moment, or it broke while an
    /// answer was awaited. The client reconnects by itself: ask again.
    #[error("the bus connection is down")]
    Disconnected,
    /// The reader was too slow and its bounded queue overflowed, so messages of
    /// this stream are missing. Give the stream up.
    #[error("{dropped} messages on `{subject}` were dropped because they were not read in time")]
    Overflow {
        /// The stream.
        subject: String,
        /// How many are missing.
        dropped: u64,
    },
    /// The server does not know this identity or its seed. Get new credentials.
    #[error("the bus refused the identity `{identity}`")]
    Unauthorized {
        /// Who was refused.
        identity: String,
    },
    /// No server answers at the address. Check that the hub runs.
    #[error("no bus at {url}: {reason}")]
    Unreachable {
        /// The address.
        url: String,
        /// What the attempt brought.
        reason: String,
    },
    /// The subject cannot be published or subscribed to: empty, a blank inside,
    /// or a reply address outside of the inboxes. A bug of the caller or a hostile peer.
    #[error("not a usable subject: `{0}`")]
    InvalidSubject(String),
    /// The message is larger than the bus accepts. Send less, or in pieces.
    #[error("a message of {size} bytes on `{subject}` is over the limit of {limit} bytes")]
    TooLarge {
        /// Where the message should have gone.
        subject: String,
        /// Payload size.
        size: usize,
        /// The server's limit.
        limit: usize,
    },
    /// The message could not be written as JSON. A bug of the caller.
    #[error("cannot encode the message for `{subject}`: {reason}")]
    Encode {
        /// Where the message should have gone.
        subject: String,
        /// What serde said.
        reason: String,
    },
    /// The message is not what was expected. Holds the position, never the content.
    #[error("cannot read the message on `{subject}`: {reason}")]
    Decode {
        /// Where it came from.
        subject: String,
        /// Kind of problem and its position.
        reason: String,
    },
    /// The server program is not there. Run the set-up.
    #[error("nats-server not found at {}: run `npm run setup`", path.display())]
    BinaryMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The server's folder or configuration cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Storage {
        /// What could not be written.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The server cannot be started, reloaded or trusted. The text holds its own last words.
    #[error("nats-server: {reason}")]
    Server {
        /// What happened.
        reason: String,
    },
    /// The identity's name or permissions are not acceptable. A bug of the caller.
    #[error("identity `{identity}`: {reason}")]
    InvalidIdentity {
        /// The name that was asked for.
        identity: String,
        /// What is wrong.
        reason: String,
    },
    /// The server was stopped.
    #[error("the bus server has been stopped")]
    Stopped,
}

impl BusError {
    /// The protocol's code for this failure.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoResponders { .. } => ErrorCode::EngineMissing,
            Self::DeadlineExceeded { .. } => ErrorCode::DeadlineExceeded,
            Self::InvalidSubject(_)
            | Self::TooLarge { .. }
            | Self::Encode { .. }
            | Self::Decode { .. }
            | Self::InvalidIdentity { .. } => ErrorCode::BadRequest,
            Self::Storage { .. } => ErrorCode::StorageFault,
            Self::Stopped => ErrorCode::ShuttingDown,
            Self::Disconnected
            | Self::Overflow { .. }
            | Self::Unauthorized { .. }
            | Self::Unreachable { .. }
            | Self::BinaryMissing { .. }
            | Self::Server { .. } => ErrorCode::BusUnavailable,
        }
    }

    /// Whether the same call may succeed a moment later without anybody doing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Disconnected | Self::Unreachable { .. } | Self::NoResponders { .. })
    }
}
