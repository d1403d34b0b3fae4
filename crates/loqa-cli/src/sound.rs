//! Connects the hub's channels with files and sound devices.

use anyhow::{Context as _, bail};
use loqa_audio::output::{Output, OutputEvent};
use loqa_audio::segment::{Segment, SegmentEnd, Segmenter, SegmenterSettings};
use loqa_audio::{Vad, device, wav};
use loqa_hub::session::VoiceInput;
use loqa_hub::sink::{AudioSink, Recording, SinkCommand, SinkEvent};
use loqa_protocol::audio::{INPUT_FRAME_SAMPLES, INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Speech from a file, with the voice detector's word on every frame.
#[derive(Debug, Clone)]
pub struct Clip {
    frames: Vec<(Vec<i16>, bool)>,
    samples: usize,
}

impl Clip {
    /// Reads a WAV file of any common kind.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let samples =
            wav::read_speech(path).map_err(|e| crate::BadArguments(format!("{:#}", anyhow::Error::from(e))))?;
        Ok(Self::of(samples))
    }

    /// Speech at [`INPUT_SAMPLE_RATE`].
    pub fn of(samples: Vec<i16>) -> Self {
        let mut vad = Vad::default();
        let frames = samples.chunks(INPUT_FRAME_SAMPLES).map(|frame| (frame.to_vec(), vad.is_voiced(frame))).collect();
        Self { frames, samples: samples.len() }
    }

    /// Its length.
    pub fn seconds(&self) -> f64 {
        self.samples as f64 / f64::from(INPUT_SAMPLE_RATE)
    }
}

/// How fast a clip is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As a person speaks.
    RealTime,
    /// As fast as it goes.
    AtOnce,
}

/// Frames between a feeder and the hub; a second of speech. Chosen.
const FRAMES: usize = 50;

/// Feeds a clip into a turn. The end is told when its last sample was due, as the
/// release of a key would be.
pub fn play_in(clip: Clip, pace: Pace) -> mpsc::Receiver<VoiceInput> {
    let (sender, receiver) = mpsc::channel(FRAMES);
    tokio::spawn(async move {
        let began = Instant::now();
        let mut due = began;
        for (samples, voiced) in clip.frames {
            due += Duration::from_secs_f64(samples.len() as f64 / f64::from(INPUT_SAMPLE_RATE));
            if pace == Pace::RealTime {
                tokio::time::sleep_until(due.into()).await;
            }
            if sender.send(VoiceInput::Frame { samples, voiced }).await.is_err() {
                return;
            }
        }
        // A late timer is the machine's latency and counts; feeding at once has no clock of its own.
        let at = if pace == Pace::RealTime { due } else { Instant::now() };
        let _ = sender.send(VoiceInput::End { at }).await;
    });
    receiver
}

/// One utterance from the default microphone; it ends when the speaker is silent.
pub fn microphone() -> anyhow::Result<mpsc::Receiver<VoiceInput>> {
    let (sender, receiver) = mpsc::channel(FRAMES);
    let mut segmenter = Segmenter::hands_free(SegmenterSettings::default());
    let (hold, release) = std::sync::mpsc::channel::<()>();
    let mut over = false;
    let handler = move |event| {
        if over {
            return;
        }
        let inputs = match event {
            device::CaptureEvent::Frame { samples, voiced, captured } => segmenter
                .push(&samples, voiced)
                .into_iter()
                .filter_map(|segment| match segment {
                    Segment::Started { samples } => Some(VoiceInput::Frame { samples, voiced: true }),
                    Segment::Continued { samples, voiced } => Some(VoiceInput::Frame { samples, voiced }),
                    Segment::Ended { reason: SegmentEnd::TooShort, .. } => None,
                    Segment::Ended { silence, .. } => {
                        let silence = Duration::from_secs_f64(silence as f64 / f64::from(INPUT_SAMPLE_RATE));
                        Some(VoiceInput::End { at: captured.checked_sub(silence).unwrap_or(captured) })
                    }
                })
                .collect(),
            device::CaptureEvent::Lost { error } => {
                eprintln!("loqa: the microphone went away: {error}");
                vec![VoiceInput::End { at: Instant::now() }]
            }
        };
        for input in inputs {
            over |= matches!(input, VoiceInput::End { .. });
            over |= sender.blocking_send(input).is_err();
        }
        if over {
            let _ = hold.send(());
        }
    };
    let microphone = device::Microphone::open(None, handler).context("open the microphone")?;
    // The microphone stays open until the utterance is over.
    std::thread::spawn(move || {
        let _ = release.recv();
        drop(microphone);
    });
    Ok(receiver)
}

/// The speaker where there is one, else memory; for announcements.
pub fn speaker_or_memory() -> AudioSink {
    speaker_and_memory(false).0
}

/// A sink that keeps the sound and plays it where there is a sound device.
pub fn speaker_and_memory(tell: bool) -> (AudioSink, Recording) {
    // An answer brings three events at most, so the channel cannot fill; the device's
    // thread must not wait in any case.
    let (events, mut device_events) = mpsc::channel(16);
    let opened = Output::speaker(None, move |event| {
        let _ = events.try_send(event);
    });
    let mut output = match opened {
        Ok(output) => output,
        Err(e) => {
            if tell {
                println!("sound:      not played: {e}");
            }
            return AudioSink::memory();
        }
    };
    let (sink, mut driver) = AudioSink::pair();
    let recording = Recording::default();
    let kept = recording.clone();
    output.start();
    tokio::spawn(async move {
        let mut played = Played::default();
        loop {
            let event = tokio::select! {
                command = driver.commands.recv() => {
                    match command {
                        Some(SinkCommand::Chunk(samples)) => {
                            kept.extend(&samples);
                            output.push(&samples);
                            played.samples.extend(samples);
                        }
                        Some(SinkCommand::Finish) => {
                            played.is_complete = true;
                            output.finish();
                        }
                        Some(SinkCommand::Stop) => {
                            output.stop();
                            if driver.events.send(SinkEvent::Drained).await.is_err() {
                                return;
                            }
                        }
                        None => return,
                    }
                    continue;
                }
                Some(event) = device_events.recv() => event,
            };
            let event = match event {
                // Of a device that came back: it was told.
                OutputEvent::FirstSample { .. } if played.first.is_some() => continue,
                OutputEvent::FirstSample { at, latency } => {
                    played.first = Some(at);
                    SinkEvent::FirstSample { at, device_latency: latency }
                }
                OutputEvent::Drained => SinkEvent::Drained,
                OutputEvent::Failed { error } if played.losses < LOSSES => {
                    tracing::warn!(%error, "the speaker is opened again");
                    played.losses += 1;
                    output.start();
                    output.push(played.rest());
                    if played.is_complete {
                        output.finish();
                    }
                    continue;
                }
                OutputEvent::Failed { error } => SinkEvent::Failed(error.to_string()),
            };
            if driver.events.send(event).await.is_err() {
                return;
            }
        }
    });
    (sink, recording)
}

/// How often an answer goes on after its device went away. Chosen: the sound server of a
/// machine under load takes a stream away now and then, and gives the next one at once.
const LOSSES: u32 = 5;

/// What was given to the speaker, for a device that goes away.
#[derive(Default)]
struct Played {
    samples: Vec<i16>,
    is_complete: bool,
    /// When its beginning was heard.
    first: Option<Instant>,
    losses: u32,
}

impl Played {
    /// What was not heard.
    fn rest(&self) -> &[i16] {
        let heard = self.first.map_or(Duration::ZERO, |first| first.elapsed());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a length of sound, rounded")]
        let heard = (heard.as_secs_f64() * f64::from(OUTPUT_SAMPLE_RATE)) as usize;
        &self.samples[heard.min(self.samples.len())..]
    }
}

/// Writes the spoken reply.
pub fn write_reply(path: &Path, samples: &[i16]) -> anyhow::Result<()> {
    wav::write(path, samples, OUTPUT_SAMPLE_RATE).with_context(|| format!("write the reply to `{}`", path.display()))
}

/// What `loqa doctor` says about sound.
pub fn devices() -> anyhow::Result<String> {
    let devices = device::devices();
    let microphones = devices.iter().filter(|device| device.is_microphone).count();
    let speakers = devices.iter().filter(|device| device.is_speaker).count();
    if microphones == 0 && speakers == 0 {
        bail!("no sound device: `loqa demo --out FILE` writes the reply to a file");
    }
    Ok(format!("{microphones} microphones, {speakers} speakers"))
}
