//! The speaker: 24 kHz mono in, whatever the device wants out.
//!
//! The stream is opened before it is needed and plays silence between answers, so that
//! the first sample of an answer waits for one hardware period and for nothing else.

use super::{Chosen, Direction, OPEN_LIMIT, STALLED, choose, device_error, is_fatal};
use crate::output::{Emitter, MAX_ANSWER_SECONDS, OutputEvent};
use crate::resample::Resampler;
use crate::{AudioError, wav};
use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{FromSample, SampleFormat, SizedSample};
use loqa_protocol::audio::OUTPUT_SAMPLE_RATE;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the ring is filled up while an answer is played. Chosen: far shorter than
/// the ring is long.
const POLL: Duration = Duration::from_millis(4);

/// How often the device's errors are looked at while nothing is played.
const IDLE_POLL: Duration = Duration::from_millis(250);

/// Sound that the ring holds; it bounds how long our thread may be late.
const RING: Duration = Duration::from_millis(500);

/// Where a position of the stream is not set.
const NOWHERE: u64 = u64::MAX;

/// An open speaker; closed when dropped.
#[derive(Debug)]
pub struct Speaker {
    name: String,
    emitter: Emitter,
    answer: u64,
    /// Unbounded, but what it carries is bounded by [`MAX_ANSWER_SECONDS`], and our
    /// thread reads it every few milliseconds.
    orders: Option<mpsc::Sender<Order>>,
    is_open: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Order {
    Start { answer: u64 },
    Play(Vec<i16>),
    Finish,
    Stop,
}

impl Speaker {
    /// Opens the default speaker, or the one with this name. The handler is called from
    /// the speaker's thread and must not block.
    ///
    /// # Errors
    ///
    /// [`AudioError::NoDevice`] and [`AudioError::Device`].
    pub fn open(
        name: Option<&str>,
        on_event: impl Fn(OutputEvent) + Send + Sync + 'static,
    ) -> Result<Self, AudioError> {
        let emitter = Emitter::new(on_event);
        let (orders, inbox) = mpsc::channel();
        let (opened, is_open) = mpsc::sync_channel(1);
        let wanted = name.map(str::to_owned);
        let events = emitter.clone();
        let is_open_flag = Arc::new(AtomicBool::new(true));
        let open_flag = Arc::clone(&is_open_flag);
        let run = move || match Playback::open(wanted.as_deref()) {
            Ok(playback) => {
                let _ = opened.send(Ok(playback.name.clone()));
                Player::new(wanted, playback, events, open_flag).run(&inbox);
            }
            Err(error) => drop(opened.send(Err(error))),
        };
        let device_error = |reason: String| AudioError::Device {
            direction: Direction::Speaker.as_str(),
            name: name.unwrap_or("default").to_owned(),
            reason,
        };
        let thread = std::thread::Builder::new()
            .name("loqa-speaker".to_owned())
            .spawn(run)
            .map_err(|source| device_error(source.to_string()))?;
        let name = is_open
            .recv_timeout(OPEN_LIMIT)
            .map_err(|_| device_error(format!("it did not open within {} s", OPEN_LIMIT.as_secs())))??;
        Ok(Self { name, emitter, answer: 0, orders: Some(orders), is_open: is_open_flag, thread: Some(thread) })
    }

    /// Name of the device.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the device is there: a device that goes away while nothing is played tells no
    /// answer so.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// An answer begins. After a lost device this tries to open it again.
    pub fn start(&mut self) {
        self.answer = self.emitter.next_answer();
        self.order(Order::Start { answer: self.answer });
    }

    /// More of the answer, 24 kHz mono. Never blocks.
    pub fn play(&mut self, samples: &[i16]) {
        self.order(Order::Play(samples.to_vec()));
    }

    /// The answer is complete.
    pub fn finish(&mut self) {
        self.order(Order::Finish);
    }

    /// Falls silent with the device's next period and forgets what is queued.
    pub fn stop(&mut self) {
        self.answer = self.emitter.next_answer();
        self.order(Order::Stop);
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // The thread ends only when this sender is dropped.
            let _ = orders.send(order);
        }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.orders.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What our thread and the callback tell each other. Positions count samples of the
/// device since the stream began.
#[derive(Debug)]
struct Shared {
    /// Set by us: forget what is in the ring; cleared by the callback when it has.
    flush: AtomicBool,
    /// The first sample of the answer.
    first: AtomicU64,
    /// Behind the last sample of the answer.
    end: AtomicU64,
    first_played: Mutex<Option<(Instant, Duration)>>,
    ended: Mutex<Option<Instant>>,
    /// How often the device asked for sound.
    periods: AtomicU64,
}

/// An open stream.
struct Playback {
    name: String,
    /// Keeps the device open.
    _stream: cpal::Stream,
    ring: rtrb::Producer<f32>,
    shared: Arc<Shared>,
    errors: mpsc::Receiver<cpal::Error>,
    resampler: Resampler,
    /// Samples that went into the ring since the stream began.
    written: u64,
    /// How often the device had asked for sound when that was last seen to change, and when.
    alive: (u64, Instant),
}

impl Playback {
    fn open(name: Option<&str>) -> Result<Self, AudioError> {
        let chosen = choose(Direction::Speaker, name)?;
        let rate = chosen.configs[0].sample_rate;
        let resampler = Resampler::new(OUTPUT_SAMPLE_RATE, rate)?;
        let mut last_error = None;
        for config in chosen.configs {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "half a second of samples")]
            let capacity = (f64::from(rate) * RING.as_secs_f64()) as usize;
            let (ring, consumer) = rtrb::RingBuffer::new(capacity);
            let shared = Arc::new(Shared {
                flush: AtomicBool::new(false),
                first: AtomicU64::new(NOWHERE),
                end: AtomicU64::new(NOWHERE),
                first_played: Mutex::new(None),
                ended: Mutex::new(None),
                periods: AtomicU64::new(0),
            });
            // Errors are few; a full channel drops what comes after the first ones.
            let (report, errors) = mpsc::sync_channel(8);
            let stream = build(&chosen, config, consumer, Arc::clone(&shared), report);
            match stream.and_then(|stream| stream.play().map(|()| stream)) {
                Ok(stream) => {
                    let name = chosen.name;
                    let alive = (0, Instant::now());
                    return Ok(Self { name, _stream: stream, ring, shared, errors, resampler, written: 0, alive });
                }
                Err(error) => last_error = Some(error),
            }
        }
        let error = last_error.unwrap_or_else(|| cpal::ErrorKind::Other.into());
        Err(device_error(Direction::Speaker, &chosen.name, &error))
    }
}

/// The part that lives on the speaker's thread.
struct Player {
    wanted: Option<String>,
    /// `None` after the device was lost.
    playback: Option<Playback>,
    emitter: Emitter,
    answer: Option<Answer>,
    is_open: Arc<AtomicBool>,
}

/// The answer that is being played.
struct Answer {
    number: u64,
    /// Samples of the device that wait for room in the ring.
    waiting: VecDeque<f32>,
    n_samples: usize,
    is_complete: bool,
    has_begun: bool,
    end_is_told: bool,
    /// When the last sample is heard.
    heard_at: Option<Instant>,
}

impl Player {
    fn new(wanted: Option<String>, playback: Playback, emitter: Emitter, is_open: Arc<AtomicBool>) -> Self {
        Self { wanted, playback: Some(playback), emitter, answer: None, is_open }
    }

    fn run(mut self, inbox: &mpsc::Receiver<Order>) {
        loop {
            let wait = if self.answer.is_some() { POLL } else { IDLE_POLL };
            match inbox.recv_timeout(wait) {
                Ok(order) => self.follow(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.notice_errors();
            self.fill();
            self.notice_progress();
        }
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Start { answer } => self.start(answer),
            Order::Play(samples) => self.play(&samples),
            Order::Finish => {
                if let (Some(answer), Some(playback)) = (&mut self.answer, &mut self.playback)
                    && !answer.is_complete
                {
                    answer.waiting.extend(playback.resampler.finish());
                    answer.is_complete = true;
                }
            }
            Order::Stop => self.silence(),
        }
    }

    fn start(&mut self, number: u64) {
        self.silence();
        if self.playback.is_none() {
            match Playback::open(self.wanted.as_deref()) {
                Ok(playback) => {
                    self.playback = Some(playback);
                    self.is_open.store(true, Ordering::Release);
                }
                Err(error) => {
                    self.emitter.emit(number, OutputEvent::Failed { error });
                    return;
                }
            }
        }
        self.answer = Some(Answer {
            number,
            waiting: VecDeque::new(),
            n_samples: 0,
            is_complete: false,
            has_begun: false,
            end_is_told: false,
            heard_at: None,
        });
    }

    fn play(&mut self, samples: &[i16]) {
        let (Some(answer), Some(playback)) = (&mut self.answer, &mut self.playback) else { return };
        if answer.is_complete {
            return;
        }
        answer.n_samples += samples.len();
        if answer.n_samples > (MAX_ANSWER_SECONDS * OUTPUT_SAMPLE_RATE) as usize {
            let error = AudioError::QueueFull { limit_seconds: MAX_ANSWER_SECONDS };
            self.emitter.emit(answer.number, OutputEvent::Failed { error });
            self.silence();
            return;
        }
        answer.waiting.extend(playback.resampler.push(&wav::to_f32(samples)));
    }

    /// Drops the present answer and what the device has not taken yet.
    fn silence(&mut self) {
        if self.answer.take().is_none() {
            return;
        }
        if let Some(playback) = &mut self.playback {
            playback.resampler.reset();
            playback.shared.first.store(NOWHERE, Ordering::Release);
            playback.shared.end.store(NOWHERE, Ordering::Release);
            playback.shared.flush.store(true, Ordering::Release);
        }
    }

    fn notice_errors(&mut self) {
        let Some(playback) = &mut self.playback else { return };
        let mut fatal = None;
        while let Ok(error) = playback.errors.try_recv() {
            if is_fatal(error.kind()) {
                fatal = Some(error.to_string());
            } else {
                tracing::debug!(kind = ?error.kind(), "speaker");
            }
        }
        let periods = playback.shared.periods.load(Ordering::Acquire);
        if playback.alive.0 != periods {
            playback.alive = (periods, Instant::now());
        } else if playback.alive.1.elapsed() > STALLED {
            fatal.get_or_insert_with(|| format!("it took no sound for {} s", STALLED.as_secs()));
        }
        let Some(reason) = fatal else { return };
        let error =
            AudioError::DeviceLost { direction: Direction::Speaker.as_str(), name: playback.name.clone(), reason };
        tracing::warn!(%error, "speaker");
        self.is_open.store(false, Ordering::Release);
        if let Some(answer) = self.answer.take() {
            self.emitter.emit(answer.number, OutputEvent::Failed { error });
        }
        // Last: a device that went away may not let go of this thread.
        self.playback = None;
    }

    /// Moves samples into the ring.
    fn fill(&mut self) {
        let (Some(answer), Some(playback)) = (&mut self.answer, &mut self.playback) else { return };
        if playback.shared.flush.load(Ordering::Acquire) {
            // The callback still forgets the answer before this one.
            return;
        }
        if !answer.has_begun && !answer.waiting.is_empty() {
            answer.has_begun = true;
            // Nothing of an earlier answer may be taken for this one.
            playback.shared.end.store(NOWHERE, Ordering::Release);
            *lock(&playback.shared.first_played) = None;
            *lock(&playback.shared.ended) = None;
            playback.shared.first.store(playback.written, Ordering::Release);
        }
        let room = playback.ring.slots().min(answer.waiting.len());
        for sample in answer.waiting.drain(..room) {
            // There is room: nobody else writes.
            playback.written += u64::from(playback.ring.push(sample).is_ok());
        }
        if answer.is_complete && answer.waiting.is_empty() && answer.has_begun && !answer.end_is_told {
            answer.end_is_told = true;
            playback.shared.end.store(playback.written, Ordering::Release);
        }
    }

    /// Passes on what the callback saw.
    fn notice_progress(&mut self) {
        let (Some(answer), Some(playback)) = (&mut self.answer, &self.playback) else { return };
        if answer.has_begun
            && let Some((at, latency)) = lock(&playback.shared.first_played).take()
        {
            self.emitter.emit(answer.number, OutputEvent::FirstSample { at, latency });
        }
        if answer.has_begun && answer.heard_at.is_none() {
            answer.heard_at = lock(&playback.shared.ended).take();
        }
        let is_silent = answer.is_complete && !answer.has_begun && answer.waiting.is_empty();
        if is_silent || answer.heard_at.is_some_and(|at| at <= Instant::now()) {
            let number = answer.number;
            self.answer = None;
            self.emitter.emit(number, OutputEvent::Drained);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn build(
    chosen: &Chosen,
    config: cpal::StreamConfig,
    ring: rtrb::Consumer<f32>,
    shared: Arc<Shared>,
    report: mpsc::SyncSender<cpal::Error>,
) -> Result<cpal::Stream, cpal::Error> {
    let parts = (&chosen.device, config, ring, shared, report);
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
    (&'a cpal::Device, cpal::StreamConfig, rtrb::Consumer<f32>, Arc<Shared>, mpsc::SyncSender<cpal::Error>);

fn stream<T>((device, config, mut ring, shared, report): StreamParts<'_>) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample + FromSample<f32>,
{
    let channels = usize::from(config.channels.max(1));
    let rate = f64::from(config.sample_rate.max(1));
    let mut played: u64 = 0;
    // Only copies. The two mutexes are taken once per answer each, with `try_lock`, so that
    // nothing here ever waits; what could not be told is told one period later.
    let give = move |data: &mut [T], info: &cpal::OutputCallbackInfo| {
        shared.periods.fetch_add(1, Ordering::Release);
        if shared.flush.load(Ordering::Acquire) {
            while ring.pop().is_ok() {
                played += 1;
            }
            shared.flush.store(false, Ordering::Release);
        }
        let begin = played;
        for frame in data.chunks_exact_mut(channels) {
            let Ok(sample) = ring.pop() else {
                frame.fill(T::EQUILIBRIUM);
                continue;
            };
            played += 1;
            frame.fill(T::from_sample(sample));
        }
        let first = shared.first.load(Ordering::Acquire);
        let end = shared.end.load(Ordering::Acquire);
        let has_first = first != NOWHERE && played > first;
        let has_end = end != NOWHERE && played >= end;
        if !has_first && !has_end {
            return;
        }
        let stamp = info.timestamp();
        let latency = stamp.playback.saturating_duration_since(stamp.callback);
        let now = Instant::now();
        if has_first && let Ok(mut slot) = shared.first_played.try_lock() {
            let into_buffer = Duration::from_secs_f64(first.saturating_sub(begin) as f64 / rate);
            *slot = Some((now, latency + into_buffer));
            // Told once; the next answer sets its own beginning.
            let _ = shared.first.compare_exchange(first, NOWHERE, Ordering::AcqRel, Ordering::Relaxed);
        }
        if has_end && let Ok(mut slot) = shared.ended.try_lock() {
            let into_buffer = Duration::from_secs_f64(end.saturating_sub(begin) as f64 / rate);
            *slot = Some(now + latency + into_buffer);
            let _ = shared.end.compare_exchange(end, NOWHERE, Ordering::AcqRel, Ordering::Relaxed);
        }
    };
    let on_error = move |error| drop(report.try_send(error));
    device.build_output_stream(config, give, on_error, Some(OPEN_LIMIT))
}
