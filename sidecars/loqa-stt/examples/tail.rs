//! How long is the tail: from the end marker to the final transcript?
//!
//! Each clip is spoken to a worker in real time, as the hub would send it, twice:
//! whole (the key is released a moment after speaking, so the speculative pass can
//! win) and cut at the last voiced frame (the key is released with the last sound).
//!
//! ```console
//! $ cargo run -p loqa-stt --example tail -- models/starter/stt/starter-q8_0.bin models/starter/speech 5
//! ```
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "an example prints and stops at what it cannot do")]

#[path = "../tests/stt/clips.rs"]
mod clips;

use clips::{Clip, request, worker};
use loqa_engine::{AudioInput, CancelFlag};
use loqa_protocol::stt::{SttFinal, SttReply};
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().map_or_else(clips::starter_model, PathBuf::from);
    let folder = arguments.next().map_or_else(clips::speech_folder, PathBuf::from);
    let repetitions: usize = arguments.next().map_or(3, |n| n.parse().unwrap());
    let mut worker = worker(&model);
    worker.warm_up().unwrap();
    println!(
        "{:<22} {:>6} {:>9} {:>9} {:>9} {:>5} {:>6}  text",
        "clip", "ms", "tail p50", "tail max", "decode", "spec", "conf"
    );
    for clip in clips::clips_in(&folder) {
        for (name, clip) in
            [(clip.name.clone(), clip.clone()), (format!("{} (cut)", clip.name), clip.cut_after_speech())]
        {
            let finals: Vec<SttFinal> = (0..repetitions).map(|_| speak(&mut worker, &clip)).collect();
            let mut tails: Vec<u64> = finals.iter().map(|last| last.tail_us).collect();
            tails.sort_unstable();
            let last = &finals[0];
            let speculative = finals.iter().filter(|last| last.speculative).count();
            println!(
                "{name:<22} {:>6} {:>9} {:>9} {:>9} {:>3}/{repetitions} {:>6.3}  {}{}",
                last.audio_ms,
                tails[tails.len() / 2],
                tails[tails.len() - 1],
                last.decode_us,
                speculative,
                last.confidence,
                last.text,
                if last.text == clip.text { "" } else { "   <-- differs" },
            );
        }
    }
}

fn speak(worker: &mut loqa_stt::worker::SttWorker, clip: &Clip) -> SttFinal {
    let (sender, audio) = sync_channel(16);
    let frames = clip.frames();
    let feeder = std::thread::spawn(move || {
        let began = Instant::now();
        for (n, (samples, voiced)) in frames.into_iter().enumerate() {
            let due = began + Duration::from_millis(20) * (n as u32 + 1);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            sender.send(AudioInput::Frame { samples, voiced }).unwrap();
        }
        sender.send(AudioInput::End { received: Instant::now() }).unwrap();
    });
    let mut last = None;
    worker
        .transcribe(&request(true), &audio, &CancelFlag::new(), &mut |reply| {
            if let SttReply::Final(reply) = reply {
                last = Some(reply.clone());
            }
        })
        .unwrap();
    feeder.join().unwrap();
    last.unwrap()
}
