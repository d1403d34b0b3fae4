//! Stops a running inference. ONNX Runtime has to be told from another thread, so one
//! thread watches the cancel flag while a run goes on, and sleeps otherwise.

use loqa_engine::CancelFlag;
use ort::session::RunOptions;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the flag is read during a run. A tenth of the 50 ms that a cancel may take.
const POLL: Duration = Duration::from_millis(5);

/// Watches one inference at a time.
pub struct Interrupter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    watched: Mutex<Watched>,
    changed: Condvar,
}

#[derive(Default)]
enum Watched {
    #[default]
    Nothing,
    Run(Arc<RunOptions>, CancelFlag),
    Stopped,
}

impl Interrupter {
    /// Starts the watching thread.
    pub fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let watching = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("tts-interrupt".to_owned()).spawn(move || watching.watch())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Watches until the guard is dropped: when `cancel` is set, the run with these options ends.
    #[must_use]
    pub fn watch(&self, options: Arc<RunOptions>, cancel: CancelFlag) -> WatchGuard<'_> {
        self.shared.set(Watched::Run(options, cancel));
        WatchGuard { shared: &self.shared }
    }
}

impl std::fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupter").finish_non_exhaustive()
    }
}

impl Drop for Interrupter {
    fn drop(&mut self) {
        self.shared.set(Watched::Stopped);
        if let Some(thread) = self.thread.take() {
            // It panics only if this crate has a bug; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

/// Ends the watch when dropped.
pub struct WatchGuard<'a> {
    shared: &'a Shared,
}

impl Drop for WatchGuard<'_> {
    fn drop(&mut self) {
        self.shared.set(Watched::Nothing);
    }
}

impl Shared {
    fn set(&self, watched: Watched) {
        *self.lock() = watched;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        let mut watched = self.lock();
        loop {
            let is_running = match &*watched {
                Watched::Stopped => return,
                Watched::Nothing => false,
                Watched::Run(options, cancel) => {
                    if cancel.is_cancelled()
                        && let Err(error) = options.terminate()
                    {
                        tracing::warn!(%error, "cannot interrupt the inference");
                    }
                    true
                }
            };
            watched = if is_running {
                self.changed.wait_timeout(watched, POLL).unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.changed.wait(watched).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }
}
