//! The supervised nats-server child.

use crate::{BusError, Credentials, Permissions};
use std::path::PathBuf;
use std::time::Duration;

/// Where things lie.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The nats-server program.
    pub binary: PathBuf,
    /// A folder for the generated configuration; made private to the user.
    /// One hub at a time: whoever starts a server owns the folder.
    pub run_dir: PathBuf,
}

/// How often a server that died is started again.
#[derive(Debug, Clone)]
pub struct RestartPolicy {
    /// More deaths than this within `window` end in [`ServerState::Broken`].
    pub deaths: usize,
    /// The window in which deaths are counted.
    pub window: Duration,
}

impl Default for RestartPolicy {
    /// Five deaths in a minute: chosen, see the reliability goals.
    fn default() -> Self {
        Self { deaths: 5, window: Duration::from_secs(60) }
    }
}

/// How the server is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerState {
    /// The process was started and has not proved itself yet.
    Starting,
    /// It echoed our nonce through our own subscription.
    Ready,
    /// It died and is started again after a pause.
    Backoff {
        /// Counts deaths within the policy's window, from 1.
        attempt: u32,
    },
    /// It died too often or its port is taken; nothing happens by itself any more.
    Broken {
        /// What to tell the user, with the server's last words.
        reason: String,
    },
    /// It was stopped on purpose.
    Stopped,
}

/// A running, supervised nats-server.
pub struct BusServer;

impl BusServer {
    /// Starts the server.
    pub async fn start(_options: ServerOptions) -> Result<Self, BusError> {
        Err(BusError::Stopped)
    }
    /// Adds an identity.
    pub async fn add_identity(
        &self,
        _name: &str,
        _permissions: Permissions,
    ) -> Result<Credentials, BusError> {
        Err(BusError::Stopped)
    }
    /// Removes an identity.
    pub async fn remove_identity(&self, _name: &str) -> Result<(), BusError> {
        Err(BusError::Stopped)
    }
    /// `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        String::new()
    }
    /// Process id.
    pub fn pid(&self) -> Option<u32> {
        None
    }
    /// Follows the state.
    pub fn state(&self) -> tokio::sync::watch::Receiver<ServerState> {
        tokio::sync::watch::channel(ServerState::Starting).1
    }
    /// Stops the server.
    pub async fn stop(self) {}
}
