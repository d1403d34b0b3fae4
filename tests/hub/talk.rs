//! Press to talk, whole: the key, a virtual microphone that is spoken into, the hub with its
//! starter models, a virtual speaker that is listened to, and `loqa ptt` from outside.

use loqa_tests::sound::{Listener, MICROPHONE, SPEAKER, Sound, loudness, spoken_seconds};
use loqa_tests::{PATIENCE, last_json, loqa, program, repository, wait_gone};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The app without a window.
struct App {
    process: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<Value>,
    /// All that came, for a test that fails.
    log: Vec<Value>,
    data: tempfile::TempDir,
}

impl App {
    /// Starts it on the devices of `sound` and waits until one can talk.
    fn start(sound: &Sound, microphone: &str, speaker: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut command = Command::new(program("loqa-test-talk"));
        command
            .args([microphone, speaker])
            .current_dir(repository())
            .env("LOQA_PATHS_DATA", data.path())
            .env("LOQA_PATHS_MODELS", repository().join("models"))
            .env("LOQA_PATHS_SKILLS", repository().join("skills/timer/dist"))
            // What is tested is not how soon a busy machine speaks.
            .env("LOQA_TURN_TTS_FIRST_MS", "30000")
            .env("LOQA_TURN_STT_FINAL_MS", "30000")
            // For this test; a program takes them for its configuration.
            .env_remove("LOQA_TALK_TURNS")
            .env_remove("LOQA_TALK_FIGURES")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        sound.give_to(&mut command);
        let mut process = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(process.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ended = sender.send(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        let input = process.stdin.take();
        let mut app = Self { process, input, lines, log: Vec::new(), data };
        app.until("one can talk", |line| is(line, "opened"));
        app.warm();
        app
    }

    fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    /// The next line that fits; those before it are passed over.
    fn until(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if !is(&line, "level") {
                        self.log.push(line.clone());
                    }
                    if fits(&line) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("{what}: not within {PATIENCE:?}\n{:#?}", self.log),
                Err(RecvTimeoutError::Disconnected) => panic!("{what}: the program has ended\n{:#?}", self.log),
            }
        }
    }

    /// How the turn that runs ends.
    fn report(&mut self) -> Value {
        let line = self.until("the turn ends", |line| line["event"]["message"]["type"] == "report");
        line["event"]["message"]["report"].clone()
    }

    /// As [`App::report`], of a turn that was stopped.
    fn cancelled(&mut self) -> Value {
        let ended = self.until("the turn ends", |line| is_event(line, "turn_ended"));
        assert_eq!(ended["event"]["message"]["event"]["event"]["end"], "cancelled", "{ended}");
        self.report()
    }

    fn ask(&mut self, word: &str) -> Value {
        self.tell(word);
        self.until(word, |line| !line[word].is_null())[word].clone()
    }

    fn phase(&mut self) -> String {
        self.ask("snapshot")["phase"].as_str().unwrap().to_owned()
    }

    /// Waits until neither device has a fault, and there is sound from before the key again.
    fn both_work(&mut self) {
        self.until_snapshot("both devices work", |snapshot| {
            snapshot["microphone"].is_null() && snapshot["speaker"].is_null()
        });
        self.warm();
    }

    /// Waits until things stand like that.
    fn until_snapshot(&mut self, what: &str, fits: impl Fn(&Value) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let snapshot = self.ask("snapshot");
            if fits(&snapshot) {
                return;
            }
            assert!(Instant::now() < end, "{what}: {snapshot}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until the microphone has given half a second of sound.
    fn warm(&mut self) {
        self.tell("levels");
        for _ in 0..10 {
            self.until("the microphone gives sound", |line| is(line, "level"));
        }
        self.tell("no-levels");
    }

    /// Typed turns that make a long answer possible.
    fn set_timers(&mut self) {
        for (minutes, name) in [(10, "pasta"), (20, "bread"), (30, "laundry"), (40, "coffee"), (50, "garden")] {
            self.tell(&format!("text set a {name} timer for {minutes} minutes"));
            let report = self.report();
            assert_eq!(report["tool"]["name"], "timer.start", "{report}");
        }
    }

    /// `loqa ptt`, from outside.
    fn ptt(&self, key: &str) -> Value {
        let output = loqa(self.data.path(), &["ptt", key, "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        last_json(&output)
    }

    /// Ends it and checks that nothing of it is left.
    fn stop(mut self) {
        let pids: Vec<u32> = serde_json::from_value(self.ask("pids")).unwrap();
        self.input = None;
        self.until("it ends", |line| line["stopped"] == true);
        assert!(self.process.wait().unwrap().success());
        wait_gone(&pids);
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is(line: &Value, event: &str) -> bool {
    line["event"]["type"] == event
}

fn is_event(line: &Value, name: &str) -> bool {
    line["event"]["message"]["event"]["event"]["type"] == name
}

/// What is heard is speech, not noise: the voice detector says so, and it is loud enough.
fn hear_speech(speaker: &Listener, mark: usize) {
    let heard = speaker.speech(mark, 0.5);
    assert!(loudness(&heard) > 50.0, "the answer can be heard: {}", loudness(&heard));
}

/// Names of the events of one turn, without repetitions and levels.
fn story(log: &[Value]) -> Vec<String> {
    let mut story: Vec<String> =
        log.iter().filter_map(|line| line["event"]["type"].as_str()).map(str::to_owned).collect();
    story.retain(|name| name != "hub");
    story.dedup();
    story
}

#[test]
fn held_or_tapped_what_is_said_is_answered_on_the_speaker() {
    let sound = Sound::start();
    let speaker = sound.listen();
    let mut app = App::start(&sound, "-", "-");

    // Held.
    let mark = speaker.mark();
    app.log.clear();
    app.tell("press");
    app.until("it listens", |line| is(line, "held"));
    assert_eq!(app.phase(), "listening");
    sound.speak("timer.wav");
    app.until("what is heard is shown while it is said", |line| is_event(line, "transcript_partial"));
    app.tell("release");
    app.until("the answer is heard", |line| is(line, "playing") && line["event"]["on"] == true);
    assert_eq!(app.phase(), "speaking");
    let report = app.report();
    assert_eq!(report["tool"]["name"], "timer.start", "{report}");
    assert_eq!(report["tool"]["arguments"]["duration_s"], 300, "{report}");
    hear_speech(&speaker, mark);
    assert_eq!(app.phase(), "idle");
    assert_eq!(story(&app.log), ["held", "let_go", "playing"], "each is told once and in order");
    let figures = app.ask("figures");
    assert!(report["latency_ms"]["total"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!(figures[0]["latency_ms"], report["latency_ms"], "{figures}");
    let pre_roll = figures[0]["pre_roll_ms"].as_f64().unwrap();
    assert!((100.0..=400.0).contains(&pre_roll), "sound from before the key: {figures}");

    // Tapped: the voice ends it.
    let mark = speaker.mark();
    app.tell("tap");
    app.until("it listens", |line| is(line, "held"));
    sound.speak("time_left.wav");
    app.until("it notices that nobody speaks", |line| is(line, "let_go"));
    let report = app.report();
    assert_eq!(report["failure"], Value::Null, "{report}");
    assert!(report["tool"]["name"].as_str().is_some_and(|name| name.starts_with("timer.")), "{report}");
    hear_speech(&speaker, mark);

    // An announcement comes out of the same speaker.
    let mark = speaker.mark();
    app.tell("announce Your pasta timer is done.");
    hear_speech(&speaker, mark);
    app.stop();
}

#[test]
fn the_key_works_from_the_command_line() {
    let nobody = tempfile::tempdir().unwrap();
    let output = loqa(nobody.path(), &["ptt", "press"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("not running") && said.contains("loqa-desktop"), "{said}");

    let sound = Sound::start();
    let speaker = sound.listen();
    let mut app = App::start(&sound, "-", "-");
    assert_eq!(app.ptt("status"), json!({ "phase": "idle", "muted": false }));
    let mark = speaker.mark();
    assert_eq!(app.ptt("press")["phase"], "listening");
    sound.speak("timer.wav");
    assert_eq!(app.ptt("release")["phase"], "thinking");
    let report = app.report();
    assert_eq!(report["tool"]["arguments"]["duration_s"], 300, "{report}");
    hear_speech(&speaker, mark);

    assert_eq!(app.ptt("tap")["phase"], "listening");
    assert_eq!(app.ptt("cancel")["phase"], "idle");
    app.cancelled();
    app.tell("mute");
    app.until("it is muted", |line| is(line, "muted"));
    let output = loqa(app.data.path(), &["ptt", "press", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(last_json(&output)["error"].as_str().unwrap().contains("muted"), "{output:?}");
    assert_eq!(app.ptt("status"), json!({ "phase": "muted", "muted": true }));
    app.stop();
}

#[test]
fn a_hub_without_a_microphone_says_so_to_the_key() {
    let data = tempfile::tempdir().unwrap();
    let mut hub = loqa_tests::loqa_command(data.path())
        .args(["serve", "--json", "--set", "stt.enabled=false", "--set", "tts.enabled=false"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(hub.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = loqa(data.path(), &["ptt", "press"]);
    stop(&mut hub);
    assert_eq!(output.status.code(), Some(1), "{line}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no microphone"), "{said}");
}

fn stop(process: &mut Child) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    process.wait().unwrap();
}

#[test]
fn it_can_be_cancelled_interrupted_and_muted() {
    let sound = Sound::start();
    let speaker = sound.listen();
    let mut app = App::start(&sound, "-", "-");

    // Cancelled while it listens: nothing is done and nothing is said.
    let mark = speaker.mark();
    app.tell("press");
    app.until("it listens", |line| is(line, "held"));
    sound.speak("timer.wav");
    app.tell("cancel");
    app.until("it listens no more", |line| is(line, "let_go"));
    let report = app.cancelled();
    assert_eq!((&report["reply"], &report["tool"]), (&json!(""), &Value::Null), "{report}");
    assert_eq!(app.phase(), "idle");
    speaker.silence(1.0);
    assert!(spoken_seconds(&speaker.since(mark)) < 0.1, "nothing was said");

    // A second press while it thinks or after a tap cancels too.
    app.tell("tap");
    app.until("it listens", |line| is(line, "held"));
    app.tell("tap");
    app.cancelled();

    // Interrupted: it falls silent and listens to what is said instead.
    app.set_timers();
    speaker.silence(1.0);
    let mark = speaker.mark();
    app.tell("text how much time is left on my timers");
    app.until("the answer is heard", |line| is(line, "playing") && line["event"]["on"] == true);
    let _begin = speaker.speech(mark, 0.3);
    app.log.clear();
    app.tell("press");
    app.until("it falls silent", |line| is(line, "playing") && line["event"]["on"] == false);
    let _interrupted = app.cancelled();
    app.until("it listens", |line| is(line, "held"));
    assert_eq!(app.phase(), "listening");
    speaker.silence(0.5);
    let mark = speaker.mark();
    sound.speak("cancel_pasta.wav");
    app.tell("release");
    let report = app.report();
    assert_eq!(report["tool"]["name"], "timer.cancel", "{report}");
    hear_speech(&speaker, mark);

    // Muted: the microphone is closed, a press is refused with the reason, text still works.
    app.tell("mute");
    app.until("it is muted", |line| is(line, "muted"));
    assert_eq!(app.phase(), "muted");
    app.tell("press");
    let refused = app.until("the press is refused", |line| is(line, "refused"));
    assert_eq!(refused["event"]["fault"], "muted");
    app.tell("release");
    let end = Instant::now() + PATIENCE;
    while recordings(&sound) > 0 {
        assert!(Instant::now() < end, "muted the microphone is closed");
        std::thread::sleep(Duration::from_millis(100));
    }
    app.tell("text set a timer for five minutes");
    assert_eq!(app.report()["failure"], Value::Null);
    app.tell("unmute");
    app.until("it is open", |line| is(line, "microphone") && line["event"]["fault"].is_null());
    app.tell("tap");
    app.until("it listens again", |line| is(line, "held"));
    app.tell("cancel");
    app.cancelled();

    // Without spoken answers one reads them.
    app.tell("no-answers");
    speaker.silence(1.0);
    let mark = speaker.mark();
    app.tell("press");
    app.until("it listens", |line| is(line, "held"));
    sound.speak("timer.wav");
    app.tell("release");
    let report = app.report();
    assert_eq!(report["tool"]["name"], "timer.start", "{report}");
    assert!(report["reply"].as_str().is_some_and(|reply| !reply.is_empty()), "{report}");
    speaker.silence(1.0);
    assert!(spoken_seconds(&speaker.since(mark)) < 0.1, "nothing was said");
    app.stop();
}

/// How many programs record from the microphone.
fn recordings(sound: &Sound) -> usize {
    let output = sound.tool("pactl").args(["list", "short", "source-outputs"]).stdout(Stdio::piped()).output().unwrap();
    // One is the remapped microphone itself, one the test that listens to the speaker.
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| !line.is_empty()).count().saturating_sub(2)
}

#[test]
fn devices_are_chosen_go_away_and_come_back() {
    let mut sound = Sound::start();
    let speaker = sound.listen();
    let mut app = App::start(&sound, MICROPHONE, SPEAKER);
    let devices = app.ask("devices");
    assert_eq!((&devices["microphone"], &devices["speaker"]), (&json!(MICROPHONE), &json!(SPEAKER)));
    for (list, id) in [("microphones", MICROPHONE), ("speakers", SPEAKER)] {
        let ids: Vec<&str> = devices[list].as_array().unwrap().iter().filter_map(|row| row["id"].as_str()).collect();
        assert!(ids.contains(&id) && ids.contains(&"default"), "{devices:#}");
    }

    // The devices go away while somebody speaks: half a sentence is not acted on.
    app.tell("press");
    app.until("it listens", |line| is(line, "held"));
    drop(speaker);
    sound.unplug();
    app.until("it is noticed", |line| is(line, "microphone") && !line["event"]["fault"].is_null());
    app.cancelled();
    app.tell("release");
    app.tell("press");
    let refused = app.until("nobody is listened to", |line| is(line, "refused"));
    assert!(refused["event"]["fault"].as_str().unwrap().starts_with("microphone_"), "{refused}");
    app.tell("release");

    // They come back, and are used.
    sound.plug();
    let speaker = sound.listen();
    app.both_work();
    speak_and_hear(&mut app, &sound, &speaker);

    // A device that is not there, and the way back.
    app.tell("choose nowhere nowhere");
    app.until_snapshot("both are missing", |snapshot| {
        snapshot["microphone"] == "missing" && snapshot["speaker"] == "missing"
    });
    app.tell("text set a timer for five minutes");
    let report = app.report();
    assert_eq!(report["failure"], Value::Null, "without a speaker the answer is text: {report}");
    assert!(report["reply"].as_str().is_some_and(|reply| !reply.is_empty()), "{report}");
    app.tell("choose - -");
    app.both_work();
    speak_and_hear(&mut app, &sound, &speaker);
    app.stop();
}

/// One spoken turn, heard.
fn speak_and_hear(app: &mut App, sound: &Sound, speaker: &Listener) {
    let mark = speaker.mark();
    app.tell("press");
    app.until("it listens", |line| is(line, "held"));
    sound.speak("timer.wav");
    app.tell("release");
    let report = app.report();
    assert_eq!(report["tool"]["name"], "timer.start", "{report}");
    hear_speech(speaker, mark);
}

/// As many turns as `LOQA_TALK_TURNS` says, two if it says nothing; prints the figures, and
/// writes them to the file that `LOQA_TALK_FIGURES` names. Asserts no time: a busy machine
/// has its own.
#[test]
fn turns_follow_each_other_and_are_measured() {
    let turns: usize = std::env::var("LOQA_TALK_TURNS").ok().map_or(2, |turns| turns.parse().unwrap());
    let sound = Sound::start();
    let speaker = sound.listen();
    let mut app = App::start(&sound, "-", "-");
    for turn in 0..turns {
        let mark = speaker.mark();
        app.tell("press");
        app.until("it listens", |line| is(line, "held"));
        sound.speak("timer.wav");
        app.tell("release");
        let report = app.report();
        assert_eq!(report["failure"], Value::Null, "turn {turn}: {report}");
        hear_speech(&speaker, mark);
        // No more than twenty can run at once.
        if turn % 10 == 9 {
            app.tell("text cancel all timers");
            let report = app.report();
            assert_eq!(report["failure"], Value::Null, "turn {turn}: {report}");
        }
        app.log.clear();
    }
    let figures = app.ask("figures");
    let figures = figures.as_array().unwrap();
    assert_eq!(figures.len(), turns.min(256));
    let mut lines = Vec::new();
    let mut line = |name: &str, value: &dyn Fn(&Value) -> Option<f64>| {
        let mut values: Vec<f64> = figures.iter().filter_map(value).collect();
        assert_eq!(values.len(), figures.len(), "every turn has its `{name}`");
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() as f64 * share).ceil() as usize).clamp(1, values.len()) - 1];
        lines.push(format!("{name:<28} p50 {:>8.2} ms   p95 {:>8.2} ms   max {:>8.2} ms", at(0.5), at(0.95), at(1.0)));
    };
    line("press to first sample", &|figure| figure["press_to_first_sample_ms"].as_f64());
    line("pre-roll", &|figure| figure["pre_roll_ms"].as_f64());
    for part in [
        "total",
        "endpoint",
        "stt_tail",
        "plan",
        "skill",
        "llm_first_token",
        "first_clause",
        "tts_first_chunk",
        "bus",
        "output",
    ] {
        line(&format!("release to sound: {part}"), &|figure| figure["latency_ms"][part].as_f64());
    }
    let text = format!("{turns} turns\n{}\n", lines.join("\n"));
    eprintln!("{text}");
    if let Some(path) = std::env::var_os("LOQA_TALK_FIGURES") {
        std::fs::write(Path::new(&path), &text).unwrap();
    }
    app.stop();
}
