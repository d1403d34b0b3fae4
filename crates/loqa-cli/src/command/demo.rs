//! `loqa demo`: one turn with the bundled models, on a hub of its own that leaves
//! nothing behind.

use super::{print_turn, turn_code, turn_json};
use crate::{BadArguments, Session, sound};
use anyhow::{Context as _, bail};
use clap::Args;
use loqa_hub::Hub;
use loqa_hub::session::driver::TurnInput;
use loqa_hub::sink::AudioSink;
use loqa_protocol::event::TurnSource;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Arguments of `loqa demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Speak from this WAV file instead of the bundled one.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["text", "mic"])]
    wav: Option<PathBuf>,
    /// Type instead of speaking.
    #[arg(long, value_name = "TEXT", conflicts_with = "mic")]
    text: Option<String>,
    /// Speak into the microphone; the turn ends when you are silent.
    #[arg(long)]
    mic: bool,
    /// Write the spoken reply to this WAV file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Do not play the reply.
    #[arg(long)]
    silent: bool,
}

/// The bundled clip: "Set a timer for five minutes."
pub fn bundled_clip(models: &Path) -> PathBuf {
    models.join("starter/speech/timer.wav")
}

/// Longest start of a hub; the starter models need under a second.
pub const START_PATIENCE: Duration = Duration::from_secs(60);

impl Demo {
    /// Runs the command.
    pub async fn run(self, mut session: Session) -> anyhow::Result<ExitCode> {
        if let Some(out) = &self.out {
            let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !folder.is_dir() {
                bail!(BadArguments(format!("--out: no such folder: `{}`", folder.display())));
            }
        }
        // Bad audio is told before anything is started.
        let clip = match (&self.wav, &self.text, self.mic) {
            (_, Some(_), _) | (_, _, true) => None,
            (wav, None, false) => {
                let path = wav.clone().unwrap_or_else(|| bundled_clip(&session.paths.models));
                Some(sound::Clip::read(&path)?)
            }
        };
        let began = Instant::now();
        let folder = scratch(&mut session)?;
        let hub = Hub::start(&session.config, &session.paths, None).await?;
        let missing = hub.wait_ready(START_PATIENCE).await;
        for (capability, reason) in &missing {
            eprintln!("loqa: {capability} is not available: {reason}");
        }
        if !session.json {
            println!("ready:      after {} ms, everything on this machine", began.elapsed().as_millis());
        }
        let (sink, recording) =
            if self.silent { AudioSink::memory() } else { sound::speaker_and_memory(!session.json) };
        let input = match (clip, self.text, self.mic) {
            (Some(clip), _, _) => {
                if !session.json {
                    println!("speaking:   {:.1} s of audio, at the speed of speech", clip.seconds());
                }
                TurnInput::Voice { source: TurnSource::PushToTalk, audio: sound::play_in(clip, sound::Pace::RealTime) }
            }
            (None, Some(text), _) => TurnInput::Text(text),
            (None, None, _) => {
                println!("listening:  speak now");
                TurnInput::Voice { source: TurnSource::HandsFree, audio: sound::microphone()? }
            }
        };
        let turn = hub.begin(None, input, sink).await;
        let report = turn.report().await;
        hub.stop().await;
        drop(folder);
        let report = report?;
        let samples = recording.samples();
        let mut written = None;
        if let Some(out) = &self.out {
            if samples.is_empty() {
                eprintln!("loqa: there was no sound to write to `{}`", out.display());
            } else {
                sound::write_reply(out, &samples)?;
                written = Some(out.as_path());
            }
        }
        if session.json {
            println!("{}", turn_json(&report, written));
        } else {
            print_turn(&report);
            println!("spoken:     {:.1} s", recording.duration().as_secs_f64());
            if let Some(path) = written {
                println!("written:    {}", path.display());
            }
        }
        Ok(turn_code(&report))
    }
}

/// Gives the session a data folder of its own that goes when the value is dropped.
pub fn scratch(session: &mut Session) -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("loqa-").tempdir().context("make a folder for this run")?;
    session.paths.data = folder.path().to_owned();
    session.paths.downloads = folder.path().to_owned();
    session.config.set("privacy.keep", "none")?;
    Ok(folder)
}
