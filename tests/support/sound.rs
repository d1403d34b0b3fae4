//! A sound server of the test's own: a virtual microphone that is spoken into, a virtual
//! speaker that is listened to. Deliberately absent: real devices.

use crate::{PATIENCE, clip};
use loqa_audio::Vad;
use loqa_protocol::audio::{INPUT_FRAME_SAMPLES, INPUT_SAMPLE_RATE};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// An id of the virtual microphone, as ALSA names it.
pub const MICROPHONE: &str = "desk_microphone";
/// An id of the virtual speaker.
pub const SPEAKER: &str = "desk_speaker";

/// A sound server with one virtual microphone and one virtual speaker.
pub struct Sound {
    server: Child,
    folder: tempfile::TempDir,
}

impl Sound {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Below a folder of its own, so that a sound server of the user is neither used nor disturbed.
        let named = |name: &str, device: &str| {
            format!("pcm.{name} {{ type pulse device \"{device}\" hint {{ show on description \"{name}\" }} }}\n")
        };
        let alsa = "</usr/share/alsa/alsa.conf>\npcm.!default { type pulse }\nctl.!default { type pulse }\n".to_owned()
            + &named(MICROPHONE, "microphone")
            + &named(SPEAKER, "speaker");
        std::fs::write(folder.path().join("alsa.conf"), alsa).unwrap();
        let server = Self::serve(folder.path());
        let sound = Self { server, folder };
        sound.set_up();
        sound
    }

    fn serve(folder: &Path) -> Child {
        let socket = folder.join("native");
        let mut command = Command::new("pulseaudio");
        command
            // It would take a core from whatever else a small machine does.
            .args(["--realtime=no", "--high-priority=no"])
            .args(["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--log-target=stderr"])
            .args(["-L", "module-null-sink sink_name=speaker"])
            .args(["-L", "module-null-sink sink_name=mouth"])
            .args(["-L", "module-remap-source source_name=microphone master=mouth.monitor"])
            .args(["-L", &format!("module-native-protocol-unix socket={} auth-anonymous=1", socket.display())]);
        set_environment(&mut command, folder);
        command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("`npm test` installs pulseaudio")
    }

    fn set_up(&self) {
        let end = Instant::now() + PATIENCE;
        while !self.tool("pactl").args(["set-default-source", "microphone"]).status().unwrap().success() {
            assert!(Instant::now() < end, "pulseaudio answers");
            std::thread::sleep(Duration::from_millis(50));
        }
        self.control(&["set-default-sink", "speaker"]);
    }

    /// Takes all devices away.
    pub fn unplug(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }

    /// And gives them back.
    pub fn plug(&mut self) {
        // The socket of a server that was killed stays behind.
        let _ = std::fs::remove_file(self.path("native"));
        self.server = Self::serve(self.folder.path());
        self.set_up();
    }

    /// Makes a program use these devices and no others.
    pub fn give_to(&self, command: &mut Command) {
        set_environment(command, self.folder.path());
    }

    /// A program of the sound server.
    #[must_use]
    pub fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        set_environment(&mut command, self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// A path below its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Has the server do something.
    pub fn control(&self, arguments: &[&str]) {
        assert!(self.tool("pactl").args(arguments).status().unwrap().success(), "pactl {arguments:?}");
    }

    /// Speaks a bundled clip into the microphone; returns when it was spoken.
    pub fn speak(&self, name: &str) {
        assert!(self.tool("paplay").arg("--device=mouth").arg(clip(name)).status().unwrap().success(), "{name}");
    }

    /// Listens to the speaker from here on.
    #[must_use]
    pub fn listen(&self) -> Listener {
        let mut recorder = self
            .tool("parec")
            .args(["--device=speaker.monitor", "--rate=16000", "--channels=1", "--format=s16le", "--latency-msec=20"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = recorder.stdout.take().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut bytes = [0; 2_048];
            let mut odd = Vec::new();
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                odd.extend_from_slice(&bytes[..n]);
                let whole = odd.len() / 2 * 2;
                let samples = odd[..whole].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
                kept.lock().unwrap().extend(samples);
                odd.drain(..whole);
            }
        });
        let listener = Listener { recorder, heard };
        listener.wait("it records", |samples| !samples.is_empty());
        listener
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// What comes out of the speaker.
pub struct Listener {
    recorder: Child,
    heard: Arc<Mutex<Vec<i16>>>,
}

impl Listener {
    /// Where the recording is; sound from here on comes after it.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.heard.lock().unwrap().len()
    }

    /// The sound since a mark.
    #[must_use]
    pub fn since(&self, mark: usize) -> Vec<i16> {
        self.heard.lock().unwrap()[mark..].to_vec()
    }

    /// Waits until this much speech was heard since a mark; gives the sound.
    #[must_use]
    pub fn speech(&self, mark: usize, seconds: f64) -> Vec<i16> {
        self.wait(&format!("{seconds} s of speech are heard"), |samples| {
            samples.len() > mark && spoken_seconds(&samples[mark..]) >= seconds
        });
        self.since(mark)
    }

    /// Waits until nothing was heard for this long.
    pub fn silence(&self, seconds: f64) {
        let length = (seconds * f64::from(INPUT_SAMPLE_RATE)) as usize;
        let begin = self.mark();
        self.wait(&format!("{seconds} s of silence are heard"), |samples| {
            samples.len() >= begin + length && loudness(&samples[samples.len() - length..]) < 10.0
        });
    }

    fn wait(&self, what: &str, is_true: impl Fn(&[i16]) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_true(&self.heard.lock().unwrap()) {
            assert!(Instant::now() < end, "{what}, within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.recorder.kill();
        let _ = self.recorder.wait();
    }
}

fn set_environment(command: &mut Command, folder: &Path) {
    command
        .env("HOME", folder)
        .env("XDG_RUNTIME_DIR", folder)
        .env("PULSE_RUNTIME_PATH", folder)
        .env("PULSE_SERVER", format!("unix:{}", folder.join("native").display()))
        .env("ALSA_CONFIG_PATH", folder.join("alsa.conf"))
        .env_remove("DISPLAY")
        .env_remove("DBUS_SESSION_BUS_ADDRESS");
}

/// Seconds of sound that voice activity detection takes for speech.
#[must_use]
pub fn spoken_seconds(samples: &[i16]) -> f64 {
    let mut vad = Vad::default();
    let voiced = samples.chunks_exact(INPUT_FRAME_SAMPLES).filter(|frame| vad.is_voiced(frame)).count();
    (voiced * INPUT_FRAME_SAMPLES) as f64 / f64::from(INPUT_SAMPLE_RATE)
}

/// Root of the mean square of the samples.
#[must_use]
pub fn loudness(samples: &[i16]) -> f64 {
    let sum: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    (sum / samples.len().max(1) as f64).sqrt()
}
