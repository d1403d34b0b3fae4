//! Where the answer's sound goes, seen from the hub: a channel of commands and a
//! channel of events. Devices and files are the business of whoever holds the
//! other ends (the desktop app, the CLI).

use loqa_protocol::audio::OUTPUT_SAMPLE_RATE;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What the hub tells the output.
#[derive(Debug)]
pub enum SinkCommand {
    /// Sound, mono at 24 kHz.
    Chunk(Vec<i16>),
    /// No more sound comes; say [`SinkEvent::Drained`] when all is played.
    Finish,
    /// Be silent at once and drop what waits; say [`SinkEvent::Drained`].
    Stop,
}

/// What the output tells the hub.
#[derive(Debug)]
pub enum SinkEvent {
    /// The first sample of this answer was handed to the device.
    FirstSample {
        /// When.
        at: Instant,
        /// What the device adds by its own report.
        device_latency: Duration,
    },
    /// All sound was played or dropped.
    Drained,
    /// The device is gone; the text is what remains of the answer.
    Failed(String),
}

/// One answer's output.
#[derive(Debug)]
pub struct AudioSink {
    /// To the output. Bounded: a full channel means that playback lags, and synthesis waits.
    pub commands: mpsc::Sender<SinkCommand>,
    /// From the output.
    pub events: mpsc::Receiver<SinkEvent>,
}

/// Chunks that may wait for the output, about 4 s of sound. Chosen.
pub const SINK_CAPACITY: usize = 64;

/// The other ends of an [`AudioSink`].
#[derive(Debug)]
pub struct SinkDriver {
    /// From the hub.
    pub commands: mpsc::Receiver<SinkCommand>,
    /// To the hub.
    pub events: mpsc::Sender<SinkEvent>,
}

impl AudioSink {
    /// A sink and the ends that an output has to serve.
    #[must_use]
    pub fn pair() -> (Self, SinkDriver) {
        let (commands, command_receiver) = mpsc::channel(SINK_CAPACITY);
        let (event_sender, events) = mpsc::channel(8);
        (Self { commands, events }, SinkDriver { commands: command_receiver, events: event_sender })
    }

    /// An output that takes sound as fast as it comes and keeps it; for headless hubs
    /// and tests. Its `FirstSample` is the arrival of the first chunk.
    #[must_use]
    pub fn memory() -> (Self, Recording) {
        let (sink, mut driver) = Self::pair();
        let recording = Recording::default();
        let kept = recording.clone();
        tokio::spawn(async move {
            let mut begun = false;
            while let Some(command) = driver.commands.recv().await {
                let event = match command {
                    SinkCommand::Chunk(samples) => {
                        kept.extend(&samples);
                        if begun {
                            continue;
                        }
                        begun = true;
                        SinkEvent::FirstSample { at: Instant::now(), device_latency: Duration::ZERO }
                    }
                    SinkCommand::Finish | SinkCommand::Stop => SinkEvent::Drained,
                };
                if driver.events.send(event).await.is_err() {
                    return;
                }
            }
        });
        (sink, recording)
    }
}

/// What a [`AudioSink::memory`] was given.
#[derive(Debug, Clone, Default)]
pub struct Recording(Arc<Mutex<Vec<i16>>>);

impl Recording {
    /// Keeps more samples.
    pub fn extend(&self, samples: &[i16]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(samples);
    }

    /// The samples so far.
    #[must_use]
    pub fn samples(&self) -> Vec<i16> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Length of the sound so far.
    #[must_use]
    pub fn duration(&self) -> Duration {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner).len();
        Duration::from_secs_f64(samples as f64 / f64::from(OUTPUT_SAMPLE_RATE))
    }
}
