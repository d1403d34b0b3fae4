//! The worker threads: each takes jobs from one queue and does them one by one.

use crate::{Job, Replies, Worker};
use loqa_protocol::engine::EngineKind;
use loqa_protocol::{ErrorCode, Failure, Hop, WorkId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use tokio::sync::mpsc::UnboundedSender;

/// Stack of the threads that call into model libraries. Chosen: the default of a
/// main thread on Linux, which is what these libraries are tried with.
pub(crate) const STACK_SIZE: usize = 8 << 20;

/// A job on its way to a worker.
pub(crate) struct Assignment {
    pub(crate) work: WorkId,
    pub(crate) job: Job,
    pub(crate) replies: Replies,
    pub(crate) span: tracing::Span,
}

/// What a worker thread tells the main loop. The channel is unbounded because it
/// carries two messages per accepted job, and accepted jobs are bounded.
#[derive(Debug)]
pub(crate) enum Report {
    /// A worker took the job from the queue.
    Started(WorkId),
    /// It is free again.
    Ended(WorkId),
    /// It panicked; its model is in an unknown state.
    Panicked(WorkId),
}

/// Starts one thread per worker. The threads end when the sender of the queue is dropped.
pub(crate) fn start(
    kind: EngineKind,
    workers: Vec<Box<dyn Worker>>,
    queue: mpsc::Receiver<Assignment>,
    reports: &UnboundedSender<Report>,
) -> std::io::Result<Vec<std::thread::JoinHandle<()>>> {
    let queue = Arc::new(Mutex::new(queue));
    workers
        .into_iter()
        .enumerate()
        .map(|(index, worker)| {
            let queue = Arc::clone(&queue);
            let reports = reports.clone();
            std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .stack_size(STACK_SIZE)
                .spawn(move || work(kind, worker, &queue, &reports))
        })
        .collect()
}

fn work(
    kind: EngineKind,
    mut worker: Box<dyn Worker>,
    queue: &Mutex<mpsc::Receiver<Assignment>>,
    reports: &UnboundedSender<Report>,
) {
    loop {
        // The lock is held while waiting: another free worker waits for the lock instead
        // of for the queue, which comes to the same.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Assignment { work, job, replies, span }) = next else { return };
        // A failed send means that the main loop is over; the queue will be closed next.
        let _ = reports.send(Report::Started(work.clone()));
        let outcome = if replies.is_open() {
            let _entered = span.entered();
            catch_unwind(AssertUnwindSafe(|| worker.run(job)))
        } else {
            Ok(Ok(()))
        };
        match outcome {
            Ok(Ok(())) => {
                if replies.is_open() {
                    replies.fail(kind, fault(kind, "the worker ended without a last message"));
                }
            }
            Ok(Err(failure)) => replies.fail(kind, failure),
            Err(_) => {
                replies.fail(kind, fault(kind, "the worker panicked; the engine restarts"));
                let _ = reports.send(Report::Panicked(work));
                return;
            }
        }
        let _ = reports.send(Report::Ended(work));
    }
}

pub(crate) fn fault(kind: EngineKind, message: &str) -> Failure {
    Failure::new(hop(kind), ErrorCode::EngineFault, message)
}

pub(crate) const fn hop(kind: EngineKind) -> Hop {
    match kind {
        EngineKind::Stt => Hop::Stt,
        EngineKind::Llm => Hop::Llm,
        EngineKind::Tts => Hop::Tts,
    }
}

/// Logs where a panic came from. Its message is kept to DEBUG, since it may quote
/// what a user said.
pub(crate) fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(%thread, %location, "panic");
        tracing::debug!(%thread, "{panic}");
    }));
}
