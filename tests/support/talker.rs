//! A desktop app without a window: a hub and `loqa-talk` in a process of their own, because
//! sound libraries take their devices from the environment of the whole process.
//!
//! It is told line by line what to do and prints, line by line, what happens:
//! `{"event": …}`, and what it was asked for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![expect(clippy::print_stdout, reason = "it is read by a test")]

use loqa_hub::Hub;
use loqa_hub::config::Config;
use loqa_hub::paths::Paths;
use loqa_talk::{Loudspeaker, Talk, TalkOptions};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::broadcast::error::RecvError;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = std::env::var("LOQA_LOG").ok();
    let _telemetry = loqa_telemetry::init(
        "loqa-test-talk",
        &loqa_telemetry::Options { json: false, filter: filter.or(Some("warn".to_owned())), otlp_endpoint: None },
    )?;
    let mut arguments = std::env::args().skip(1);
    let (microphone, speaker) = (device(arguments.next()), device(arguments.next()));
    let config = Config::load(None, std::env::vars(), &[])?;
    let paths = Paths::resolve(&config)?;
    let loudspeaker = Loudspeaker::start(speaker)?;
    let hub = Arc::new(Hub::start(&config, &paths, Some(loudspeaker.factory())).await?);
    let talk = Talk::start(Arc::clone(&hub), TalkOptions { microphone, loudspeaker })?;
    let mut events = talk.events();
    tokio::spawn(async move {
        loop {
            match events.recv().await {
                Ok(event) => say(&json!({ "event": event })),
                Err(RecvError::Lagged(missed)) => say(&json!({ "missed": missed })),
                Err(RecvError::Closed) => return,
            }
        }
    });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let mut words = line.split(' ');
        match words.next().unwrap_or_default() {
            "press" => talk.press(),
            "release" => talk.release(),
            "tap" => talk.tap(),
            "cancel" => talk.cancel(),
            "mute" => talk.mute(true),
            "unmute" => talk.mute(false),
            "fresh" => talk.fresh(),
            "levels" => talk.listen_levels(true),
            "no-levels" => talk.listen_levels(false),
            "answers" => talk.speak_answers(true),
            "no-answers" => talk.speak_answers(false),
            "try" => talk.try_speaker(),
            "choose" => talk.choose(device(words.next().map(str::to_owned)), device(words.next().map(str::to_owned))),
            "text" => talk.text(words.collect::<Vec<_>>().join(" "), true),
            "announce" => hub.announce(&words.collect::<Vec<_>>().join(" ")).await,
            "snapshot" => say(&json!({ "snapshot": talk.snapshot() })),
            "figures" => say(&json!({ "figures": talk.figures() })),
            "devices" => {
                let asked = talk.clone();
                say(&json!({ "devices": tokio::task::spawn_blocking(move || asked.devices()).await? }));
            }
            "pids" => say(
                &json!({ "pids": hub.engine_pids().into_iter().map(|(_, pid)| pid).chain(hub.bus_pid()).collect::<Vec<_>>() }),
            ),
            other => anyhow::bail!("`{other}` is nothing that it does"),
        }
    }
    talk.stop().await;
    Hub::stop_shared(hub).await;
    say(&json!({ "stopped": true }));
    Ok(())
}

/// `-` is the system's default.
fn device(word: Option<String>) -> Option<String> {
    word.filter(|word| word != "-")
}

fn say(line: &Value) {
    println!("{line}");
}
