//! The servers that speak the interfaces of others, those that are switched on.
//!
//! Deliberately absent: Loqa's own API.

use crate::openai::{OpenAiOptions, OpenAiServer};
use crate::wyoming::{WyomingOptions, WyomingServer};
use anyhow::Context as _;
use loqa_hub::Hub;
use loqa_hub::config::Config;
use std::sync::Arc;

/// Running servers; each is off unless the configuration says otherwise.
#[derive(Default)]
pub struct Compat {
    /// OpenAI's interface.
    pub openai: Option<OpenAiServer>,
    /// Home Assistant's.
    pub wyoming: Option<WyomingServer>,
}

impl Compat {
    /// Starts those that are on.
    ///
    /// # Errors
    /// A port is taken, or the key's file cannot be used.
    pub async fn start(hub: &Arc<Hub>, config: &Config) -> anyhow::Result<Self> {
        let mut servers = Self::default();
        if let Some(options) = OpenAiOptions::from_config(config) {
            let server = OpenAiServer::start(Arc::clone(hub), options).await;
            servers.openai = Some(server.context("start the OpenAI-compatible server")?);
        }
        if let Some(options) = WyomingOptions::from_config(config) {
            match WyomingServer::start(Arc::clone(hub), options).await {
                Ok(server) => servers.wyoming = Some(server),
                Err(error) => {
                    servers.stop().await;
                    return Err(error.context("start the Wyoming server"));
                }
            }
        }
        Ok(servers)
    }

    /// Ends them.
    pub async fn stop(self) {
        if let Some(openai) = self.openai {
            openai.stop().await;
        }
        if let Some(wyoming) = self.wyoming {
            wyoming.stop().await;
        }
    }
}
