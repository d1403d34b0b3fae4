//! What the whole-hub tests share: a hub with the real engines in a folder of its
//! own, clips, and the built `loqa` program.
//!
//! Nothing here is a stand-in: nats-server, whisper.cpp, llama.cpp, ONNX Runtime,
//! SQLite and the WASM skill are the real ones, with the bundled models.

#![expect(clippy::missing_panics_doc, reason = "a test that cannot go on stops")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

pub mod mutate;
pub mod python;
pub mod sound;

use loqa_audio::Vad;
use loqa_hub::Hub;
use loqa_hub::config::Config;
use loqa_hub::paths::Paths;
use loqa_hub::session::VoiceInput;
use loqa_hub::session::driver::TurnInput;
use loqa_hub::sink::{AudioSink, Recording};
use loqa_protocol::audio::{INPUT_FRAME_SAMPLES, INPUT_SAMPLE_RATE};
use loqa_protocol::client::TurnReport;
use loqa_protocol::event::TurnSource;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Generous bound on anything that takes well under a second on a quiet machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The source tree.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Gives reqwest its cryptography, which this build chooses at run time.
pub fn cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A bundled clip by name.
#[must_use]
pub fn clip(name: &str) -> PathBuf {
    repository().join("models/starter/speech").join(name)
}

/// A program of this build.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.is_file(), "`{}` is missing: run `npm test`, it builds everything first", path.display());
    path
}

/// A hub with a folder of its own.
pub struct TestHub {
    /// The hub.
    pub hub: Hub,
    /// Its data folder, removed with the value.
    pub data: tempfile::TempDir,
}

impl TestHub {
    /// Starts it with these settings on top of the defaults and waits for all engines.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let hub = start_in(data.path(), settings).await.unwrap();
        let missing = hub.wait_ready(PATIENCE).await;
        assert!(missing.is_empty(), "all engines come up: {missing:?}");
        Self { hub, data }
    }

    /// One typed turn.
    pub async fn ask(&self, text: &str) -> TurnReport {
        let (sink, _recording) = AudioSink::memory();
        self.run(TurnInput::Text(text.to_owned()), sink).await
    }

    /// One spoken turn, fed at once, and the sound of its answer.
    pub async fn say(&self, samples: &[i16]) -> (TurnReport, Recording) {
        let (sink, recording) = AudioSink::memory();
        let report = self.run(voice(samples, Duration::ZERO), sink).await;
        (report, recording)
    }

    /// One turn of any kind.
    pub async fn run(&self, input: TurnInput, sink: AudioSink) -> TurnReport {
        let turn = self.hub.begin(None, input, sink).await;
        tokio::time::timeout(PATIENCE, turn.report()).await.expect("every turn ends").unwrap()
    }

    /// Stops the hub and checks that nothing of it is left.
    pub async fn stop(self) {
        let mut pids: Vec<u32> = self.hub.engine_pids().into_iter().map(|(_, pid)| pid).collect();
        pids.extend(self.hub.bus_pid());
        self.hub.stop().await;
        wait_gone(&pids);
    }
}

/// Starts a hub on a folder.
pub async fn start_in(data: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Hub> {
    start_with(data, settings, None).await
}

/// Starts a hub on a folder, with an output for announcements.
pub async fn start_with(
    data: &Path,
    settings: &[(&str, &str)],
    announce_to: Option<loqa_hub::SinkFactory>,
) -> anyhow::Result<Hub> {
    let mut config = Config::default();
    config.set("paths.data", &data.to_string_lossy())?;
    config.set("paths.models", &repository().join("models").to_string_lossy())?;
    config.set("paths.skills", &repository().join("skills/timer/dist").to_string_lossy())?;
    for (key, value) in settings {
        config.set(key, value)?;
    }
    let paths = Paths::resolve(&config)?;
    Hub::start(&config, &paths, announce_to).await
}

/// Samples of a bundled clip.
#[must_use]
pub fn speech(name: &str) -> Vec<i16> {
    loqa_audio::wav::read_speech(&clip(name)).unwrap()
}

/// A turn's input that feeds these samples, with `pause` between frames.
#[must_use]
pub fn voice(samples: &[i16], pause: Duration) -> TurnInput {
    let (sender, audio) = mpsc::channel(64);
    let samples = samples.to_vec();
    tokio::spawn(async move {
        let mut vad = Vad::default();
        for frame in samples.chunks(INPUT_FRAME_SAMPLES) {
            let input = VoiceInput::Frame { samples: frame.to_vec(), voiced: vad.is_voiced(frame) };
            if sender.send(input).await.is_err() {
                return;
            }
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        let _ = sender.send(VoiceInput::End { at: Instant::now() }).await;
    });
    TurnInput::Voice { source: TurnSource::PushToTalk, audio }
}

/// Silence of this length.
#[must_use]
pub fn silence(seconds: f64) -> Vec<i16> {
    vec![0; (seconds * f64::from(INPUT_SAMPLE_RATE)) as usize]
}

/// White noise of this length at about -26 dBFS, the same every time.
#[must_use]
pub fn noise(seconds: f64) -> Vec<i16> {
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    (0..(seconds * f64::from(INPUT_SAMPLE_RATE)) as usize)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 48) as i16) / 20
        })
        .collect()
}

/// Runs `loqa` in the source tree with a data folder of its own.
#[must_use]
pub fn loqa(data: &Path, arguments: &[&str]) -> Output {
    loqa_command(data).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// `loqa` in the source tree with a data folder of its own.
#[must_use]
pub fn loqa_command(data: &Path) -> Command {
    let mut command = Command::new(program("loqa"));
    command
        .current_dir(repository())
        .env("LOQA_PATHS_DATA", data)
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env_remove("LOQA_CONFIG");
    command
}

/// Last line of standard output, as JSON.
#[must_use]
pub fn last_json(output: &Output) -> serde_json::Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|e| {
        panic!(
            "last line of standard output is one object: {e}: {line}\nstderr: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

/// Waits until none of these processes lives.
pub fn wait_gone(pids: &[u32]) {
    let end = Instant::now() + PATIENCE;
    while pids.iter().any(|pid| is_alive(*pid)) {
        assert!(Instant::now() < end, "processes are left: {pids:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process lives; one that waits to be reaped does not.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with(['Z', 'X']))
}

/// Ends a process that a test started, without giving it a chance.
#[cfg(unix)]
pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}
