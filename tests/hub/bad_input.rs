//! Bad files, texts, arguments and configurations: a clear message, the right exit
//! code, nothing lost, no panic.

use loqa_protocol::ErrorCode;
use loqa_tests::{TestHub, clip, last_json, loqa, loqa_command, repository};
use std::path::Path;
use std::process::Output;

fn demo(folder: &Path, wav: &Path) -> Output {
    loqa(folder, &["demo", "--json", "--silent", "--wav", wav.to_str().unwrap()])
}

fn assert_refused(output: &Output, code: i32, says: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(says), "expected `{says}` in: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(last_json(output)["error"].is_string(), "the object says it too");
}

/// A WAV header in front of `data`.
fn wav(format: u16, channels: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
    let block = channels * bits / 8;
    let length = u32::try_from(data.len()).unwrap();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + length).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16u32.to_le_bytes());
    bytes.extend(format.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * u32::from(block)).to_le_bytes());
    bytes.extend(block.to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(length.to_le_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn files_that_hold_no_speech_are_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let good = std::fs::read(clip("timer.wav")).unwrap();
    let ten_minutes = wav(1, 1, 16_000, 16, &vec![0; 10 * 60 * 32_000]);
    for (name, bytes, says) in [
        ("text.wav", b"this is no sound".to_vec(), "text.wav"),
        ("empty.wav", Vec::new(), "empty.wav"),
        ("no-samples.wav", wav(1, 1, 16_000, 16, &[]), "no-samples.wav"),
        ("truncated.wav", good[..good.len() / 2].to_vec(), "truncated.wav"),
        ("long.wav", ten_minutes, "30"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        assert_refused(&demo(folder.path(), &path), 2, says);
    }
    assert_refused(&demo(folder.path(), &folder.path().join("absent.wav")), 2, "absent.wav");
    assert_refused(&demo(folder.path(), folder.path()), 2, "regular file");
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_in_any_common_format_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let samples = loqa_tests::speech("timer.wav");
    let hub = TestHub::start(&[]).await;
    let floats: Vec<f32> = samples.iter().map(|s| f32::from(*s) / 32768.0).collect();
    let cases = [
        ("8 bit", wav(1, 1, 16_000, 8, &samples.iter().map(|s| ((s >> 8) + 128) as u8).collect::<Vec<_>>())),
        (
            "stereo",
            wav(
                1,
                2,
                16_000,
                16,
                &samples.iter().flat_map(|s| [s.to_le_bytes(), s.to_le_bytes()].concat()).collect::<Vec<_>>(),
            ),
        ),
        ("float", wav(3, 1, 16_000, 32, &floats.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<_>>())),
        ("44.1 kHz", wav(1, 1, 44_100, 16, &resampled(&floats, 44_100))),
    ];
    for (name, bytes) in cases {
        let path = folder.path().join("speech.wav");
        std::fs::write(&path, bytes).unwrap();
        let (report, _) = hub.say(&loqa_audio::wav::read_speech(&path).unwrap()).await;
        assert_eq!(report.tool.map(|call| call.name).as_deref(), Some("timer.start"), "{name}: {}", report.transcript);
        hub.ask("cancel all timers").await;
    }
    hub.stop().await;
}

fn resampled(samples: &[f32], rate: u32) -> Vec<u8> {
    let other = loqa_audio::resample::resample(samples, 16_000, rate).unwrap();
    loqa_audio::wav::to_i16(&other).iter().flat_map(|s| s.to_le_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_are_no_commands_end_with_a_code() {
    let hub = TestHub::start(&[("stt.enabled", "false"), ("tts.enabled", "false")]).await;
    for (name, text, code) in [
        ("100 kB", "timer ".repeat(17_000), ErrorCode::TextTooLong),
        ("emoji", "🦀🎉🕰️".to_owned(), ErrorCode::NotUnderstood),
        ("control characters", "\u{1b}[2J\u{0}\u{7}".repeat(3).replace("[2J", ""), ErrorCode::NotUnderstood),
        ("nothing", String::new(), ErrorCode::NotUnderstood),
    ] {
        let report = hub.ask(&text).await;
        assert_eq!(report.failure.map(|failure| failure.code), Some(code), "{name}");
        assert_eq!(report.tool, None, "{name}");
    }
    assert_eq!(hub.ask("list my timers").await.failure, None, "the hub is as before");
    hub.stop().await;
}

#[test]
fn a_bad_configuration_names_file_line_key_and_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loqa.toml");
    for (text, says) in [
        ("[stt]\nthread = 1\n", "loqa.toml:2: unknown key `stt.thread`, did you mean `stt.threads`?"),
        ("[stt]\nthreads = 1\nthreads = 2\n", "loqa.toml:3: duplicate key"),
        ("[tts]\nspeed = 9\n", "loqa.toml:2: `tts.speed` must be a number from 0.5 to 2, found: 9"),
    ] {
        std::fs::write(&path, text).unwrap();
        let output = loqa(folder.path(), &["--config", path.to_str().unwrap(), "config", "show", "--json"]);
        assert_refused(&output, 2, says);
    }
    let output = loqa(folder.path(), &["--config", "/absent/loqa.toml", "config", "show", "--json"]);
    assert_refused(&output, 2, "/absent/loqa.toml");
    let output = loqa(folder.path(), &["--set", "stt.threads=many", "config", "show", "--json"]);
    assert_refused(&output, 2, "`stt.threads` must be a whole number from 0 to 64");
}

#[test]
fn a_model_file_that_is_not_the_expected_one_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    let status = std::process::Command::new("cp").arg("-r").arg(repository().join("models")).arg(&models).status();
    assert!(status.unwrap().success());
    let weights = models.join("starter/llm/reflex-q8_0.gguf");
    let good = std::fs::read(&weights).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (bytes, says) in [
        (Vec::new(), "has 0 bytes"),
        (good[..1000].to_vec(), "has 1000 bytes"),
        (vec![b'x'; good.len()], "SHA-256"),
        (flipped, "SHA-256"),
    ] {
        std::fs::write(&weights, bytes).unwrap();
        let set = format!("paths.models={}", models.display());
        let output = loqa(folder.path(), &["--set", &set, "demo", "--json", "--silent", "--text", "hello"]);
        assert_refused(&output, 1, says);
        assert_refused(&output, 1, "reflex-q8_0.gguf");
        let verify = loqa(folder.path(), &["--set", &set, "models", "verify", "reflex", "--json"]);
        assert_eq!(verify.status.code(), Some(1));
        assert_eq!(last_json(&verify)["models"][0]["ok"], false);
    }
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "x").unwrap();
    // Root may write anywhere, but not below a file.
    let output = loqa(&file.join("data"), &["ask", "--json", "list my timers"]);
    assert_refused(&output, 1, "a-file/data");
    assert_refused(&output, 1, "paths.data");
}

/// A shell script in a mount namespace of its own. Root has the right to that anyway,
/// also where user namespaces are forbidden (in a chroot); others get it by one of those.
fn own_mounts(script: &str) -> std::process::Command {
    let mut command = std::process::Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "sh", "-c", script]);
    command
}

#[test]
fn a_full_disk_is_said_plainly() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    // A file system of 64 kB.
    let program = loqa_tests::program("loqa");
    let script = format!(
        "mount -t tmpfs -o size=64k none '{disk}' && exec '{program}' ask --json 'list my timers'",
        disk = disk.display(),
        program = program.display()
    );
    let mut command = own_mounts(&script);
    let prepared = loqa_command(&disk.join("data"));
    command.current_dir(repository());
    for (name, value) in prepared.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        ["No space left", "full", "space"].iter().any(|word| stderr.contains(word)),
        "the message says that space is missing: {stderr}"
    );
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn a_disk_that_fills_up_meanwhile_stops_what_must_be_kept_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    // Each answer is one line; `fill` takes every byte that is left.
    let script = format!(
        r#"
        mount -t tmpfs -o size=8m none '{disk}' || exit 90
        loqa='{program}'
        "$loqa" serve --json --silent --set privacy.keep=turns --set stt.enabled=false --set tts.enabled=false \
            > '{folder}/ready' 2> '{folder}/stderr' &
        hub=$!
        for _ in $(seq 600); do test -s '{folder}/ready' && break; sleep 0.1; done
        ask() {{ "$loqa" ask --json "$1" 2> /dev/null | tail -n 1; }}
        ask 'set a tea timer for one hour'
        dd if=/dev/zero of='{disk}/fill' bs=4k 2> /dev/null
        ask 'set a pizza timer for two hours'
        ask 'set a pizza timer for two hours'
        rm '{disk}/fill'
        ask 'set a cake timer for three hours'
        ask 'list my timers'
        kill "$hub" && wait "$hub"
        echo "ended with $?"
        "#,
        disk = disk.display(),
        folder = folder.path().display(),
        program = loqa_tests::program("loqa").display(),
    );
    let mut command = own_mounts(&script);
    command.current_dir(repository());
    for (name, value) in loqa_command(&disk.join("data")).get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = std::fs::read_to_string(folder.path().join("stderr")).unwrap();
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{stdout}\n{stderr}");
    let answers: Vec<serde_json::Value> = lines[..5].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_done = |answer: &serde_json::Value| answer["failure"].is_null() && answer["error"].is_null();
    assert!(is_done(&answers[0]), "{stdout}");
    for full in &answers[1..3] {
        assert!(!is_done(full), "a timer that cannot be kept is not promised: {stdout}");
    }
    assert!(is_done(&answers[3]), "it goes on without a restart: {stdout}\n{stderr}");
    let reply = answers[4]["reply"].as_str().unwrap();
    assert!(reply.contains("tea") && reply.contains("cake") && !reply.contains("pizza"), "{reply}");
    assert_eq!(lines[5], "ended with 0", "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}
