//! The thread that computes. It owns the model's working state and runs one pass
//! after the other, so that the worker keeps taking frames, cancels within
//! milliseconds and never waits for whisper.cpp's encoder, which cannot be
//! interrupted (whisper.cpp 1.8.3 asks its abort callback only between the encoder
//! and each token; here the stop flag is asked at the same places).
//!
//! Dropping a recognizer stops its pass and waits for the thread, but not for long:
//! a big encoder must not hold up the end of the process.

use crate::decode::{self, DecodeError, Pass, Transcript};
use crate::whisper::State;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Runs passes on a thread of its own.
#[derive(Debug)]
pub struct Recognizer {
    /// `None` only while dropping: closing it ends the thread.
    passes: Option<Sender<Order>>,
    outcomes: Receiver<Outcome>,
    thread: Option<JoinHandle<()>>,
    current: Option<Ticket>,
    last_number: u64,
}

/// How long the end waits for the thread. Chosen: a pass of the starter model over a
/// command ends well within, and the engine's runtime grants one second in all.
const FAREWELL: Duration = Duration::from_millis(300);

/// One pass that was begun.
#[derive(Debug, Clone)]
struct Ticket {
    number: u64,
    stop: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Order {
    ticket: Ticket,
    pass: Pass,
}

#[derive(Debug)]
struct Outcome {
    number: u64,
    result: Result<Transcript, DecodeError>,
}

/// The computing thread ended, which it does only by a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recognizer's thread has died")]
pub struct Died;

impl Recognizer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(mut state: State) -> std::io::Result<Self> {
        let (passes, orders) = channel::<Order>();
        let (results, outcomes) = channel();
        let thread = std::thread::Builder::new().name("whisper".to_owned()).spawn(move || {
            // Unbounded channels: `begin` stops the pass before, so that at most a few
            // stopped ones wait, each for an instant.
            for Order { ticket, pass } in orders {
                let result = decode::decode(&mut state, &pass, &ticket.stop);
                if results.send(Outcome { number: ticket.number, result }).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { passes: Some(passes), outcomes, thread: Some(thread), current: None, last_number: 0 })
    }

    /// Begins a pass; one that was running is stopped and its result is lost.
    ///
    /// # Errors
    /// [`Died`] when the thread is gone.
    pub fn begin(&mut self, pass: Pass) -> Result<(), Died> {
        self.stop();
        self.last_number += 1;
        let ticket = Ticket { number: self.last_number, stop: Arc::default() };
        let passes = self.passes.as_ref().ok_or(Died)?;
        passes.send(Order { ticket: ticket.clone(), pass }).map_err(|_| Died)?;
        self.current = Some(ticket);
        Ok(())
    }

    /// Stops the running pass, if any; its result is lost.
    pub fn stop(&mut self) {
        if let Some(ticket) = self.current.take() {
            ticket.stop.store(true, Ordering::Release);
        }
    }

    /// Whether a pass is running or its result has not been taken.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.current.is_some()
    }

    /// The result of the running pass if it is there.
    ///
    /// # Errors
    /// [`Died`] when the thread is gone.
    pub fn poll(&mut self) -> Result<Option<Result<Transcript, DecodeError>>, Died> {
        loop {
            match self.outcomes.try_recv() {
                Ok(outcome) => {
                    if let Some(result) = self.accept(outcome) {
                        return Ok(Some(result));
                    }
                }
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => return Err(Died),
            }
        }
    }

    /// Waits for the result of the running pass, at most `limit`.
    ///
    /// # Errors
    /// [`Died`] when the thread is gone.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<Result<Transcript, DecodeError>>, Died> {
        match self.outcomes.recv_timeout(limit) {
            Ok(outcome) => Ok(self.accept(outcome)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Died),
        }
    }

    /// Lets a panic of the thread go on in this one, so that the engine's runtime
    /// reports it and ends the process: nobody knows what state the model is in.
    pub fn resume_panic(&mut self) {
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }

    fn accept(&mut self, outcome: Outcome) -> Option<Result<Transcript, DecodeError>> {
        if self.current.as_ref()?.number != outcome.number {
            return None;
        }
        self.current = None;
        Some(outcome.result)
    }
}

impl Drop for Recognizer {
    fn drop(&mut self) {
        self.stop();
        drop(self.passes.take());
        let ends = Instant::now() + FAREWELL;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) && Instant::now() < ends {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
