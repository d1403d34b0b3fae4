//! The microphone: 20 ms frames of 16 kHz mono, each with the voice detector's answer.

use super::{Chosen, Direction, OPEN_LIMIT, STALLED, choose, device_error, is_fatal};
use crate::resample::Resampler;
use crate::{AudioError, Vad, wav};
use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{FromSample, Sample, SampleFormat, SizedSample};
use loqa_protocol::audio::{INPUT_FRAME_SAMPLES, INPUT_SAMPLE_RATE};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the ring is looked at: a quarter of a frame.
const POLL: Duration = Duration::from_millis(5);

/// Sound that the ring holds. Chosen: our thread is late by far less.
const RING_SECONDS: usize = 2;

/// What the microphone tells.
#[derive(Debug)]
pub enum CaptureEvent {
    /// 20 ms of sound.
    Frame {
        /// [`INPUT_FRAME_SAMPLES`] samples.
        samples: Vec<i16>,
        /// Somebody speaks in it.
        voiced: bool,
        /// When its last sample was recorded, as near as the device says.
        captured: Instant,
    },
    /// No more frames come.
    Lost {
        /// Why.
        error: AudioError,
    },
}

/// An open microphone; closed when dropped.
#[derive(Debug)]
pub struct Microphone {
    name: String,
    stop: Arc<AtomicBool>,
    overruns: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Microphone {
    /// Opens the default microphone, or the one with this name. The handler is called
    /// from the microphone's thread and must not block for longer than [`RING_SECONDS`].
    ///
    /// # Errors
    ///
    /// [`AudioError::NoDevice`] and [`AudioError::Device`].
    pub fn open(name: Option<&str>, on_event: impl FnMut(CaptureEvent) + Send + 'static) -> Result<Self, AudioError> {
        let stop = Arc::new(AtomicBool::new(false));
        let overruns = Arc::new(AtomicU64::new(0));
        let (opened, is_open) = mpsc::sync_channel(1);
        let wanted = name.map(str::to_owned);
        let (stop_flag, overrun_count) = (Arc::clone(&stop), Arc::clone(&overruns));
        let run = move || {
            match Capture::open(wanted.as_deref(), overrun_count) {
                Ok(capture) => {
                    let _ = opened.send(Ok(capture.name.clone()));
                    capture.run(on_event, &stop_flag);
                }
                Err(error) => drop(opened.send(Err(error))),
            };
        };
        let thread = std::thread::Builder::new().name("loqa-microphone".to_owned()).spawn(run).map_err(|source| {
            AudioError::Device {
                direction: Direction::Microphone.as_str(),
                name: name.unwrap_or("default").to_owned(),
                reason: source.to_string(),
            }
        })?;
        match is_open.recv_timeout(OPEN_LIMIT) {
            Ok(Ok(name)) => Ok(Self { name, stop, overruns, thread: Some(thread) }),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                // The thread ends by itself as soon as the system lets go of it.
                stop.store(true, Ordering::Release);
                Err(AudioError::Device {
                    direction: Direction::Microphone.as_str(),
                    name: name.unwrap_or("default").to_owned(),
                    reason: format!("it did not open within {} s", OPEN_LIMIT.as_secs()),
                })
            }
        }
    }

    /// Name of the device.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Samples of the device that were lost because this program was too slow.
    #[must_use]
    pub fn lost_samples(&self) -> u64 {
        self.overruns.load(Ordering::Relaxed)
    }
}

impl Drop for Microphone {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// The part that lives on the microphone's thread.
struct Capture {
    name: String,
    /// Keeps the device open.
    _stream: cpal::Stream,
    ring: rtrb::Consumer<f32>,
    errors: mpsc::Receiver<cpal::Error>,
    resampler: Resampler,
}

impl Capture {
    fn open(name: Option<&str>, overruns: Arc<AtomicU64>) -> Result<Self, AudioError> {
        let chosen = choose(Direction::Microphone, name)?;
        let rate = chosen.configs[0].sample_rate;
        let resampler = Resampler::new(rate, INPUT_SAMPLE_RATE)?;
        let mut last_error = None;
        for config in chosen.configs {
            let (producer, ring) = rtrb::RingBuffer::new(rate as usize * RING_SECONDS);
            // Errors are few; a full channel drops what comes after the first ones.
            let (report, errors) = mpsc::sync_channel(8);
            let stream = build(&chosen, config, producer, report, Arc::clone(&overruns));
            match stream.and_then(|stream| stream.play().map(|()| stream)) {
                Ok(stream) => return Ok(Self { name: chosen.name, _stream: stream, ring, errors, resampler }),
                Err(error) => last_error = Some(error),
            }
        }
        let error = last_error.unwrap_or_else(|| cpal::ErrorKind::Other.into());
        Err(device_error(Direction::Microphone, &chosen.name, &error))
    }

    fn run(mut self, mut on_event: impl FnMut(CaptureEvent), stop: &AtomicBool) {
        let mut vad = Vad::default();
        let mut speech: Vec<i16> = Vec::new();
        let mut raw = vec![0.0; self.ring.buffer().capacity()];
        let mut last = Instant::now();
        while !stop.load(Ordering::Acquire) {
            while let Ok(error) = self.errors.try_recv() {
                if is_fatal(error.kind()) {
                    let error = AudioError::DeviceLost {
                        direction: Direction::Microphone.as_str(),
                        name: self.name,
                        reason: error.to_string(),
                    };
                    on_event(CaptureEvent::Lost { error });
                    return;
                }
                tracing::debug!(kind = ?error.kind(), "microphone");
            }
            let (fresh, _) = self.ring.pop_partial_slice(&mut raw);
            let now = Instant::now();
            if fresh.is_empty() {
                if now.duration_since(last) > STALLED {
                    let error = AudioError::DeviceLost {
                        direction: Direction::Microphone.as_str(),
                        name: self.name,
                        reason: format!("it gave no sound for {} s", STALLED.as_secs()),
                    };
                    on_event(CaptureEvent::Lost { error });
                    return;
                }
                std::thread::park_timeout(POLL);
                continue;
            }
            last = now;
            speech.extend(wav::to_i16(&self.resampler.push(fresh)));
            let n_frames = speech.len() / INPUT_FRAME_SAMPLES;
            for (i, frame) in speech.chunks_exact(INPUT_FRAME_SAMPLES).enumerate() {
                let behind = (speech.len() - (i + 1) * INPUT_FRAME_SAMPLES) as f64 / f64::from(INPUT_SAMPLE_RATE);
                let captured = now.checked_sub(Duration::from_secs_f64(behind)).unwrap_or(now);
                let voiced = vad.is_voiced(frame);
                on_event(CaptureEvent::Frame { samples: frame.to_vec(), voiced, captured });
            }
            speech.drain(..n_frames * INPUT_FRAME_SAMPLES);
        }
    }
}

fn build(
    chosen: &Chosen,
    config: cpal::StreamConfig,
    ring: rtrb::Producer<f32>,
    report: mpsc::SyncSender<cpal::Error>,
    overruns: Arc<AtomicU64>,
) -> Result<cpal::Stream, cpal::Error> {
    let parts = (&chosen.device, config, ring, report, overruns);
    match chosen.format {
        SampleFormat::F32 => stream::<f32>(parts),
        SampleFormat::I16 => stream::<i16>(parts),
        SampleFormat::U16 => stream::<u16>(parts),
        SampleFormat::I32 => stream::<i32>(parts),
        SampleFormat::I24 => stream::<cpal::I24>(parts),
        SampleFormat::U8 => stream::<u8>(parts),
        SampleFormat::I8 => stream::<i8>(parts),
        SampleFormat::F64 => stream::<f64>(parts),
        _ => Err(cpal::ErrorKind::UnsupportedConfig.into()),
    }
}

type StreamParts<'a> =
    (&'a cpal::Device, cpal::StreamConfig, rtrb::Producer<f32>, mpsc::SyncSender<cpal::Error>, Arc<AtomicU64>);

fn stream<T>((device, config, mut ring, report, overruns): StreamParts<'_>) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let channels = usize::from(config.channels.max(1));
    // Only copies: no lock, no allocation, no system call.
    let take = move |data: &[T], _: &cpal::InputCallbackInfo| {
        let mut lost = 0;
        for frame in data.chunks_exact(channels) {
            let sum: f32 = frame.iter().map(|sample| f32::from_sample(*sample)).sum();
            lost += u64::from(ring.push(sum / channels as f32).is_err());
        }
        overruns.fetch_add(lost, Ordering::Relaxed);
    };
    let on_error = move |error| drop(report.try_send(error));
    device.build_input_stream(config, take, on_error, Some(OPEN_LIMIT))
}
