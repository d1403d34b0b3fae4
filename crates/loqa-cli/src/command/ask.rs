//! `loqa ask TEXT`: one typed turn, by the running hub or one started for it.

use super::{nodes, print_turn, turn_code, turn_json};
use crate::Session;
use anyhow::{Context as _, bail};
use clap::Args;
use loqa_hub::session::driver::TurnInput;
use loqa_hub::sink::AudioSink;
use loqa_hub::{Hub, TurnOptions};
use loqa_protocol::client::{AskReply, AskRequest, TurnReport};
use loqa_protocol::{SessionId, subject};
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `loqa ask`.
#[derive(Debug, Args)]
pub struct Ask {
    /// What to ask.
    #[arg(required = true, num_args = 1..)]
    text: Vec<String>,
    /// Continue this session of the running hub.
    #[arg(long)]
    session: Option<SessionId>,
    /// Keep nothing of this turn.
    #[arg(long)]
    guest: bool,
}

/// A turn's own deadline is shorter; this bounds the wait for a hub that hangs.
const PATIENCE: Duration = Duration::from_mins(5);

impl Ask {
    /// Runs the command.
    pub async fn run(self, session: Session) -> anyhow::Result<ExitCode> {
        let text = self.text.join(" ");
        let report = match nodes::connect(&session).await? {
            Some(bus) => {
                let request = AskRequest { text, session: self.session, speak: false, guest: self.guest };
                match bus.request(subject::HUB_ASK, &request, PATIENCE).await.context("ask the running hub")? {
                    AskReply::Turn(report) => report,
                    AskReply::Refused { failure } => bail!("the hub refused: {failure}"),
                }
            }
            None => ask_own_hub(&session, text, self.guest).await?,
        };
        if session.json {
            println!("{}", turn_json(&report, None));
        } else {
            print_turn(&report);
        }
        Ok(turn_code(&report))
    }
}

async fn ask_own_hub(session: &Session, text: String, guest: bool) -> anyhow::Result<TurnReport> {
    let mut config = session.config.clone();
    // A typed turn needs neither ears nor a voice.
    config.set("stt.enabled", "false")?;
    config.set("tts.enabled", "false")?;
    let hub = Hub::start(&config, &session.paths, None).await?;
    for (capability, reason) in hub.wait_ready(Duration::from_secs(60)).await {
        eprintln!("loqa: {capability} is not available: {reason}");
    }
    let (sink, _recording) = AudioSink::memory();
    let options = TurnOptions { guest, ..TurnOptions::default() };
    let turn = hub.begin_with(options, TurnInput::Text(text), sink).await;
    let report = turn.report().await;
    hub.stop().await;
    report
}
