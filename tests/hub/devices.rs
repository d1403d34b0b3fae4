//! `loqa demo --mic` on sound devices: a PulseAudio of the test's own, whose
//! microphone is fed with a clip and whose speaker is recorded.

use loqa_tests::sound::Sound;
use loqa_tests::{loqa_command, wait_gone};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::time::Duration;

#[test]
fn what_a_microphone_hears_is_answered_on_a_speaker() {
    let sound = Sound::start();
    let speaker = sound.listen();
    let mark = speaker.mark();

    let data = tempfile::tempdir().unwrap();
    let mut command = loqa_command(data.path());
    // Real time on a busy machine: what is tested is not how soon it speaks.
    command
        .args(["demo", "--mic", "--json", "--set", "turn.tts_first_ms=30000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    sound.give_to(&mut command);
    let mut demo = command.spawn().unwrap();
    let mut output = BufReader::new(demo.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert!(line.starts_with("listening:"), "{line}");
    // The microphone is being opened; the segmenter wants to know the room before somebody speaks.
    std::thread::sleep(Duration::from_secs(1));
    sound.speak("timer.wav");
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert!(demo.wait().unwrap().success(), "{text}");

    let report: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(report["tool"]["name"], "timer.start", "{report}");
    assert_eq!(report["tool"]["arguments"]["duration_s"], 300, "{report}");
    // What is still on its way through the sound server is waited for.
    let _answer = speaker.speech(mark, 0.5);
    wait_gone(&[demo.id()]);
}
