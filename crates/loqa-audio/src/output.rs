//! Where the answer goes: the speaker, a WAV file, or nowhere. All three are used the
//! same way, so that a hub without a sound device runs the same turn.
//!
//! One answer is `start`, any number of `push`, `finish`; `stop` drops it at once. The
//! event handler is called from a thread of the output, or from the call itself; it must
//! not block. After [`Output::stop`] and [`Output::start`] no event of an earlier answer
//! arrives.

use crate::{AudioError, wav};
use loqa_protocol::audio::OUTPUT_SAMPLE_RATE;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest answer that is queued, in seconds. Chosen: nobody listens for ten minutes;
/// a model that never ends must not fill the memory.
pub const MAX_ANSWER_SECONDS: u32 = 600;

/// What the output tells.
#[derive(Debug)]
pub enum OutputEvent {
    /// The first sample of the answer was handed to the device.
    FirstSample {
        /// When that was.
        at: Instant,
        /// How much later the device makes it heard, as the device says.
        latency: Duration,
    },
    /// The last sample of the answer was heard.
    Drained,
    /// The answer will not be heard to its end. `Drained` does not follow.
    Failed {
        /// Why.
        error: AudioError,
    },
}

/// How fast an output without a device takes sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As a speaker would: an answer of two seconds is drained after two seconds.
    RealTime,
    /// At once; for tests, files and benchmarks.
    Immediate,
}

/// Takes 24 kHz mono samples and makes them heard.
#[derive(Debug)]
pub struct Output {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Null(Silent),
    Wav {
        silent: Silent,
        path: PathBuf,
        samples: Vec<i16>,
    },
    #[cfg(feature = "device")]
    Speaker(crate::device::Speaker),
}

impl Output {
    /// Drops the sound.
    pub fn null(pace: Pace, on_event: impl Fn(OutputEvent) + Send + Sync + 'static) -> Self {
        Self { kind: Kind::Null(Silent::new(pace, Emitter::new(on_event))) }
    }

    /// Writes each answer to this file when it is finished, over the one before it.
    pub fn wav(path: &Path, pace: Pace, on_event: impl Fn(OutputEvent) + Send + Sync + 'static) -> Self {
        let silent = Silent::new(pace, Emitter::new(on_event));
        Self { kind: Kind::Wav { silent, path: path.to_owned(), samples: Vec::new() } }
    }

    /// Opens the speaker, the system's default or the one with this name.
    ///
    /// # Errors
    ///
    /// [`AudioError::NoDevice`] and [`AudioError::Device`].
    #[cfg(feature = "device")]
    pub fn speaker(
        name: Option<&str>,
        on_event: impl Fn(OutputEvent) + Send + Sync + 'static,
    ) -> Result<Self, AudioError> {
        Ok(Self { kind: Kind::Speaker(crate::device::Speaker::open(name, on_event)?) })
    }

    /// Whether what it plays on is there. A speaker that is lost opens again with the next answer.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match &self.kind {
            Kind::Null(_) | Kind::Wav { .. } => true,
            #[cfg(feature = "device")]
            Kind::Speaker(speaker) => speaker.is_open(),
        }
    }

    /// An answer begins. An earlier one that is not finished is stopped.
    pub fn start(&mut self) {
        match &mut self.kind {
            Kind::Null(silent) => silent.start(),
            Kind::Wav { silent, samples, .. } => {
                samples.clear();
                silent.start();
            }
            #[cfg(feature = "device")]
            Kind::Speaker(speaker) => speaker.start(),
        }
    }

    /// More of the answer. Never blocks.
    pub fn push(&mut self, more: &[i16]) {
        match &mut self.kind {
            Kind::Null(silent) => {
                silent.push(more.len());
            }
            Kind::Wav { silent, samples, .. } => {
                if silent.push(more.len()) {
                    samples.extend_from_slice(more);
                }
            }
            #[cfg(feature = "device")]
            Kind::Speaker(speaker) => speaker.play(more),
        }
    }

    /// The answer is complete; `Drained` follows when it was heard.
    pub fn finish(&mut self) {
        match &mut self.kind {
            Kind::Null(silent) => silent.finish(),
            Kind::Wav { silent, path, samples } => {
                if !silent.is_active {
                    return;
                }
                match wav::write(path, samples, OUTPUT_SAMPLE_RATE) {
                    Ok(()) => silent.finish(),
                    Err(error) => silent.fail(error),
                }
            }
            #[cfg(feature = "device")]
            Kind::Speaker(speaker) => speaker.finish(),
        }
    }

    /// Falls silent at once and forgets what is queued.
    pub fn stop(&mut self) {
        match &mut self.kind {
            Kind::Null(silent) => silent.stop(),
            Kind::Wav { silent, samples, .. } => {
                samples.clear();
                silent.stop();
            }
            #[cfg(feature = "device")]
            Kind::Speaker(speaker) => speaker.stop(),
        }
    }
}

type Handler = dyn Fn(OutputEvent) + Send + Sync;

/// Calls the handler, but only for the answer that is the present one.
#[derive(Clone)]
pub(crate) struct Emitter {
    handler: Arc<Handler>,
    /// Number of the present answer. Held while the handler runs, so that `stop` returns
    /// only when no event of the answer can come any more.
    present: Arc<Mutex<u64>>,
}

impl std::fmt::Debug for Emitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emitter").finish_non_exhaustive()
    }
}

impl Emitter {
    pub(crate) fn new(handler: impl Fn(OutputEvent) + Send + Sync + 'static) -> Self {
        Self { handler: Arc::new(handler), present: Arc::new(Mutex::new(0)) }
    }

    /// Begins another answer; events of those before it are dropped from here on.
    pub(crate) fn next_answer(&self) -> u64 {
        // A handler that panicked leaves the number as it was.
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        *present += 1;
        *present
    }

    pub(crate) fn emit(&self, answer: u64, event: OutputEvent) {
        let present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if *present == answer {
            (self.handler)(event);
        }
    }
}

/// Keeps the time of a speaker that is not there.
#[derive(Debug)]
struct Silent {
    pace: Pace,
    emitter: Emitter,
    answer: u64,
    is_active: bool,
    n_samples: usize,
    /// When the samples so far would have been heard.
    heard_at: Option<Instant>,
    timer: Option<Timer>,
}

impl Silent {
    fn new(pace: Pace, emitter: Emitter) -> Self {
        Self { pace, emitter, answer: 0, is_active: false, n_samples: 0, heard_at: None, timer: None }
    }

    fn start(&mut self) {
        self.answer = self.emitter.next_answer();
        self.is_active = true;
        self.n_samples = 0;
        self.heard_at = None;
    }

    /// Whether the samples belong to an answer.
    fn push(&mut self, n_samples: usize) -> bool {
        if !self.is_active || n_samples == 0 {
            return false;
        }
        if self.n_samples + n_samples > (MAX_ANSWER_SECONDS * OUTPUT_SAMPLE_RATE) as usize {
            self.fail(AudioError::QueueFull { limit_seconds: MAX_ANSWER_SECONDS });
            return false;
        }
        let now = Instant::now();
        if self.n_samples == 0 {
            self.emitter.emit(self.answer, OutputEvent::FirstSample { at: now, latency: Duration::ZERO });
        }
        self.n_samples += n_samples;
        let length = Duration::from_secs_f64(n_samples as f64 / f64::from(OUTPUT_SAMPLE_RATE));
        // Samples that come late are heard late, as from a speaker that ran dry.
        self.heard_at = Some(self.heard_at.map_or(now, |at| at.max(now)) + length);
        true
    }

    fn finish(&mut self) {
        if !self.is_active {
            return;
        }
        self.is_active = false;
        match (self.pace, self.heard_at) {
            (Pace::RealTime, Some(at)) => {
                let emitter = self.emitter.clone();
                self.timer.get_or_insert_with(|| Timer::new(emitter)).set(self.answer, at);
            }
            _ => self.emitter.emit(self.answer, OutputEvent::Drained),
        }
    }

    fn fail(&mut self, error: AudioError) {
        self.is_active = false;
        self.emitter.emit(self.answer, OutputEvent::Failed { error });
    }

    fn stop(&mut self) {
        self.is_active = false;
        self.emitter.next_answer();
    }
}

/// Says `Drained` at a given time.
#[derive(Debug)]
struct Timer {
    /// Bounded in fact: one message per answer, and each is read at once.
    orders: Option<mpsc::Sender<(u64, Instant)>>,
    thread: Option<JoinHandle<()>>,
}

impl Timer {
    fn new(emitter: Emitter) -> Self {
        let (orders, inbox) = mpsc::channel();
        let run = move || {
            let mut next: Option<(u64, Instant)> = None;
            loop {
                let wait = next.map_or(Duration::MAX, |(_, at)| at.saturating_duration_since(Instant::now()));
                match inbox.recv_timeout(wait) {
                    Ok(order) => next = Some(order),
                    Err(RecvTimeoutError::Timeout) => {
                        if let Some((answer, _)) = next.take() {
                            emitter.emit(answer, OutputEvent::Drained);
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        let thread = std::thread::Builder::new().name("loqa-output".to_owned()).spawn(run).ok();
        Self { orders: Some(orders), thread }
    }

    fn set(&self, answer: u64, at: Instant) {
        if let Some(orders) = &self.orders {
            // The thread ends only when this sender is dropped.
            let _ = orders.send((answer, at));
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.orders.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than any event here takes, on any machine.
    const LIMIT: Duration = Duration::from_secs(20);

    fn channel() -> (impl Fn(OutputEvent) + Send + Sync + 'static, mpsc::Receiver<OutputEvent>) {
        let (sender, receiver) = mpsc::channel();
        (move |event| drop(sender.send(event)), receiver)
    }

    fn names(events: &mpsc::Receiver<OutputEvent>) -> Vec<&'static str> {
        events.try_iter().map(|e| name(&e)).collect()
    }

    fn name(event: &OutputEvent) -> &'static str {
        match event {
            OutputEvent::FirstSample { .. } => "first",
            OutputEvent::Drained => "drained",
            OutputEvent::Failed { .. } => "failed",
        }
    }

    #[test]
    fn an_answer_is_written_to_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reply.wav");
        let (handler, events) = channel();
        let mut output = Output::wav(&path, Pace::Immediate, handler);
        for length in [2_400, 480] {
            output.start();
            output.push(&[]);
            output.push(&vec![100; length / 2]);
            output.push(&vec![-100; length / 2]);
            assert_eq!(names(&events), ["first"]);
            output.finish();
            assert_eq!(names(&events), ["drained"]);
            let reader = hound::WavReader::open(&path).unwrap();
            assert_eq!((reader.spec().sample_rate, reader.len() as usize), (OUTPUT_SAMPLE_RATE, length));
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_a_failure_and_not_a_drain() {
        let (handler, events) = channel();
        let mut output = Output::wav(Path::new("/no/such/folder/reply.wav"), Pace::Immediate, handler);
        output.start();
        output.push(&[1]);
        output.finish();
        assert_eq!(names(&events), ["first", "failed"]);
    }

    #[test]
    fn in_real_time_an_answer_takes_as_long_as_it_is() {
        let (handler, events) = channel();
        let mut output = Output::null(Pace::RealTime, handler);
        output.start();
        let begin = Instant::now();
        output.push(&[0; 2_400]);
        output.push(&[0; 2_400]);
        output.finish();
        assert_eq!(name(&events.recv_timeout(LIMIT).unwrap()), "first");
        assert_eq!(name(&events.recv_timeout(LIMIT).unwrap()), "drained");
        assert!(begin.elapsed() >= Duration::from_millis(200), "200 ms of sound take 200 ms");
    }

    #[test]
    fn a_stopped_answer_says_nothing_more() {
        let (handler, events) = channel();
        let mut output = Output::null(Pace::RealTime, handler);
        output.start();
        output.push(&[0; 240]);
        output.finish();
        output.stop();
        let _ = names(&events);
        output.start();
        output.push(&[0; 2_400]);
        output.finish();
        assert_eq!(name(&events.recv_timeout(LIMIT).unwrap()), "first");
        assert_eq!(name(&events.recv_timeout(LIMIT).unwrap()), "drained");
        drop(output);
        assert_eq!(name_of_rest(&events), None, "the first answer's end must not come later");
    }

    fn name_of_rest(events: &mpsc::Receiver<OutputEvent>) -> Option<&'static str> {
        events.recv_timeout(LIMIT).ok().map(|e| name(&e))
    }

    #[test]
    fn an_answer_without_sound_is_drained_at_once() {
        for pace in [Pace::RealTime, Pace::Immediate] {
            let (handler, events) = channel();
            let mut output = Output::null(pace, handler);
            output.start();
            output.finish();
            assert_eq!(names(&events), ["drained"]);
            output.finish();
            output.push(&[1]);
            assert!(names(&events).is_empty(), "sound outside of an answer is dropped");
        }
    }

    #[test]
    fn an_endless_answer_is_refused() {
        let (handler, events) = channel();
        let mut output = Output::null(Pace::Immediate, handler);
        output.start();
        let minute = vec![0; 60 * OUTPUT_SAMPLE_RATE as usize];
        for _ in 0..11 {
            output.push(&minute);
        }
        assert_eq!(names(&events), ["first", "failed"]);
    }
}
