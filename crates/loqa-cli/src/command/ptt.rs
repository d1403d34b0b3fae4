//! `loqa ptt`: the key to talk, for desktops that give a program no global hotkey: their
//! own key settings call this. Deliberately absent: what the key means, which the app decides.

use super::nodes;
use crate::Session;
use anyhow::{Context as _, bail};
use clap::ValueEnum;
use loqa_bus::BusError;
use loqa_protocol::subject;
use loqa_protocol::talk::{KeyReply, KeyRequest};
use std::process::ExitCode;
use std::time::Duration;

/// Longest wait for the app. Chosen: it answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// What happens to the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Key {
    /// It goes down: Loqa listens until the release.
    Press,
    /// It goes up: what was said is answered.
    Release,
    /// Down and up at once: Loqa listens until nobody speaks any more.
    Tap,
    /// Whatever goes on is to end.
    Cancel,
    /// Only say what goes on.
    Status,
}

/// Runs the command.
pub async fn run(session: &Session, key: Key) -> anyhow::Result<ExitCode> {
    let request = match key {
        Key::Press => KeyRequest::Press,
        Key::Release => KeyRequest::Release,
        Key::Tap => KeyRequest::Tap,
        Key::Cancel => KeyRequest::Cancel,
        Key::Status => KeyRequest::Status,
    };
    let bus = nodes::connect(session).await?.context("Loqa is not running, start the app with `loqa-desktop`")?;
    let reply = match bus.request(subject::HUB_KEY, &request, PATIENCE).await {
        Err(BusError::NoResponders { .. }) => {
            bail!("the hub that runs has no microphone to talk into: stop it and start the app with `loqa-desktop`")
        }
        reply => reply.context("tell the app of the key")?,
    };
    match reply {
        KeyReply::State { phase, muted } => {
            if session.json {
                println!("{}", serde_json::json!({ "phase": phase, "muted": muted }));
            } else {
                println!("{}", phase.as_str());
            }
            Ok(ExitCode::SUCCESS)
        }
        KeyReply::Refused { failure } => bail!("{}", failure.message),
    }
}
