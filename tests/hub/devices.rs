//! `loqa demo --mic` on sound devices: a PulseAudio of the test's own, whose
//! microphone is fed with a clip and whose speaker is recorded.

use loqa_audio::Vad;
use loqa_protocol::audio::INPUT_FRAME_SAMPLES;
use loqa_tests::{PATIENCE, clip, loqa_command, wait_gone};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A sound server with one virtual microphone and one virtual speaker.
struct Sound {
    server: Child,
    folder: tempfile::TempDir,
}

impl Sound {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Below a folder of its own, so that a sound server of the user is neither used nor disturbed.
        let alsa = "</usr/share/alsa/alsa.conf>\npcm.!default { type pulse }\nctl.!default { type pulse }\n";
        std::fs::write(folder.path().join("alsa.conf"), alsa).unwrap();
        let socket = folder.path().join("native");
        let mut command = Command::new("pulseaudio");
        command
            .args(["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--log-target=stderr"])
            .args(["-L", "module-null-sink sink_name=speaker"])
            .args(["-L", "module-null-sink sink_name=mouth"])
            .args(["-L", "module-remap-source source_name=microphone master=mouth.monitor"])
            .args(["-L", &format!("module-native-protocol-unix socket={} auth-anonymous=1", socket.display())]);
        set_environment(&mut command, folder.path());
        let server =
            command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("`npm test` installs pulseaudio");
        let sound = Self { server, folder };
        let end = Instant::now() + PATIENCE;
        while !sound.tool("pactl").args(["set-default-source", "microphone"]).status().unwrap().success() {
            assert!(Instant::now() < end, "pulseaudio answers");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(sound.tool("pactl").args(["set-default-sink", "speaker"]).status().unwrap().success());
        sound
    }

    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        set_environment(&mut command, self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
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

/// Seconds of a recording that voice activity detection takes for speech.
fn spoken_seconds(path: &Path) -> f64 {
    let samples = loqa_audio::wav::read_speech(path).unwrap();
    let mut vad = Vad::default();
    let voiced = samples.chunks_exact(INPUT_FRAME_SAMPLES).filter(|frame| vad.is_voiced(frame)).count();
    (voiced * INPUT_FRAME_SAMPLES) as f64 / f64::from(loqa_protocol::audio::INPUT_SAMPLE_RATE)
}

#[test]
fn what_a_microphone_hears_is_answered_on_a_speaker() {
    let sound = Sound::start();
    let recorded = sound.path("speaker.wav");
    let mut recorder = sound
        .tool("parecord")
        .args(["--device=speaker.monitor", "--file-format=wav", "--rate=16000", "--channels=1", "--format=s16le"])
        .arg(&recorded)
        .spawn()
        .unwrap();

    let data = tempfile::tempdir().unwrap();
    let mut command = loqa_command(data.path());
    // Real time on a busy machine: what is tested is not how soon it speaks.
    command
        .args(["demo", "--mic", "--json", "--set", "turn.tts_first_ms=30000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    set_environment(&mut command, sound.folder.path());
    let mut demo = command.spawn().unwrap();
    let mut output = BufReader::new(demo.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert!(line.starts_with("listening:"), "{line}");
    // The microphone is being opened; the segmenter wants to know the room before somebody speaks.
    std::thread::sleep(Duration::from_secs(1));
    assert!(sound.tool("paplay").arg("--device=mouth").arg(clip("timer.wav")).status().unwrap().success());
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert!(demo.wait().unwrap().success(), "{text}");
    // What is still on its way through the sound server.
    std::thread::sleep(Duration::from_millis(500));
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(recorder.id()).unwrap()).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    recorder.wait().unwrap();

    let report: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(report["tool"]["name"], "timer.start", "{report}");
    assert_eq!(report["tool"]["arguments"]["duration_s"], 300, "{report}");
    let spoken = spoken_seconds(&recorded);
    assert!(spoken > 0.5, "the answer is heard on the speaker: {spoken} s of speech, {report}");
    drop(sound);
    wait_gone(&[demo.id(), recorder.id()]);
}
