//! Checks the sound devices by hand: lists them, plays a tone, records two seconds.
//!
//! `cargo run -p loqa-audio --features device --example device -- [list|play|stop|record OUT.wav]`

use loqa_audio::device::{CaptureEvent, Microphone, devices};
use loqa_audio::{Output, OutputEvent, wav};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] | ["list"] => {
            for device in devices() {
                eprintln!("{device:?}");
            }
            Ok(())
        }
        ["play"] => play(false),
        ["stop"] => play(true),
        ["record", out] => record(out),
        _ => Err("arguments: list | play | stop | record OUT.wav".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Three answers of one second in the pieces that an engine sends.
fn play(stop_early: bool) -> Result<(), Box<dyn std::error::Error>> {
    let (sender, events) = mpsc::channel();
    let opening = Instant::now();
    let mut output = Output::speaker(None, move |event| drop(sender.send((Instant::now(), event))))?;
    eprintln!("opened in {:?}", opening.elapsed());
    let tone: Vec<i16> =
        (0..24_000).map(|i| ((i as f32 * 440.0 * std::f32::consts::TAU / 24_000.0).sin() * 8_000.0) as i16).collect();
    for round in 0..3 {
        // Speech comes after a while of silence, and not in step with the device.
        std::thread::sleep(Duration::from_millis(313));
        output.start();
        let begin = Instant::now();
        for piece in tone.chunks(2_400) {
            output.push(piece);
        }
        output.finish();
        if stop_early && round == 1 {
            std::thread::sleep(Duration::from_millis(200));
            output.stop();
            let told = events.try_iter().count();
            eprintln!("stopped after 200 ms, {told} events before");
            continue;
        }
        loop {
            let (seen, event) = events.recv_timeout(Duration::from_secs(10))?;
            match event {
                OutputEvent::FirstSample { at, latency } => eprintln!(
                    "first sample handed over after {:?}, device latency {latency:?}, told after {:?}",
                    at.saturating_duration_since(begin),
                    seen - begin
                ),
                OutputEvent::Drained => {
                    eprintln!("drained after {:?}", seen - begin);
                    break;
                }
                OutputEvent::Failed { error } => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn record(out: &str) -> Result<(), Box<dyn std::error::Error>> {
    let (sender, events) = mpsc::sync_channel(1_000);
    let microphone = Microphone::open(None, move |event| drop(sender.try_send(event)))?;
    eprintln!("recording from {}", microphone.name());
    let (mut sound, mut n_voiced) = (Vec::new(), 0);
    while sound.len() < 32_000 {
        match events.recv_timeout(Duration::from_secs(10))? {
            CaptureEvent::Frame { samples, voiced, .. } => {
                sound.extend(samples);
                n_voiced += u32::from(voiced);
            }
            CaptureEvent::Lost { error } => return Err(error.into()),
        }
    }
    wav::write(std::path::Path::new(out), &sound, 16_000)?;
    eprintln!("{} frames, {n_voiced} voiced, {} samples lost", sound.len() / 320, microphone.lost_samples());
    Ok(())
}
