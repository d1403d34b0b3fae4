//! What every handler reaches, and what a server is started with.

use crate::feed::Feed;
use crate::guard::{Border, Checks};
use crate::limits::Limits;
use crate::login::Logins;
use crate::models::Measured;
use crate::packages::Packages;
use crate::token::Token;
use loqa_hub::Hub;
use loqa_hub::config::Config;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// How to start a server.
#[derive(Debug, Clone, Default)]
pub struct ApiOptions {
    /// TCP port; 0 takes a free one.
    pub port: u16,
    /// Whether a page of ours is served and a browser can log in.
    pub ui: bool,
    /// What is checked of every request; all of it, but for the controls of tests.
    pub checks: Checks,
    /// Whether the window is shown by the desktop app, which runs in the same process: its
    /// pages may then also reach the app's own commands, and their logins last as long as it.
    pub in_app: bool,
}

impl ApiOptions {
    /// As the configuration says.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        let port = u16::try_from(config.integer("api.port")).unwrap_or(0);
        Self { port, ui: config.bool("api.ui"), ..Self::default() }
    }
}

/// What handlers share.
pub struct AppState {
    /// The hub, which decides.
    pub hub: Arc<Hub>,
    /// Where requests may come from.
    pub(crate) border: Border,
    /// What they must carry.
    pub(crate) token: Token,
    /// Or this.
    pub(crate) logins: Logins,
    /// As [`ApiOptions::in_app`].
    pub(crate) in_app: bool,
    /// How much at a time.
    pub limits: Limits,
    /// What happens, for whoever listens.
    pub feed: Feed,
    /// Uploaded packages whose permission sheets wait for an answer.
    pub(crate) packages: Packages,
    /// What was measured of this machine.
    pub(crate) measured: Measured,
    /// Turns true when the server ends: sockets close then.
    pub stopping: watch::Receiver<bool>,
    pub(crate) started: Instant,
}

impl std::fmt::Debug for AppState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppState").field("border", &self.border).finish_non_exhaustive()
    }
}
