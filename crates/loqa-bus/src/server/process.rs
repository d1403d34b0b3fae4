//! The nats-server process: started so that it cannot outlive the hub, signalled,
//! reaped, and its last words kept.
//!
//! Each platform has its own way not to leave an orphan behind: a death signal on
//! Linux, a watchdog on other Unix systems, a job object on Windows.

#[cfg(target_os = "linux")]
#[path = "process/linux.rs"]
mod platform;
#[cfg(all(unix, not(target_os = "linux")))]
#[path = "process/unix.rs"]
mod platform;
#[cfg(windows)]
#[path = "process/windows.rs"]
mod platform;

/// Compiled and tried on Linux too, since it needs nothing else.
#[cfg(all(test, target_os = "linux"))]
#[path = "process/unix.rs"]
mod watchdog;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Lines of the server's own log that are kept for an error message.
const KEPT_LINES: usize = 20;

/// A started process.
pub(super) struct Process {
    child: platform::Child,
    pid: u32,
    words: Arc<Mutex<VecDeque<String>>>,
    listener: JoinHandle<()>,
}

impl Process {
    /// Starts the program. Must be called on a thread that lives as long as the hub:
    /// the Linux death signal fires when the *thread* that forked ends.
    pub(super) fn spawn(binary: &Path, config: &Path) -> io::Result<Self> {
        let (child, pid, stderr) = platform::spawn(binary, config)?;
        let words = Arc::new(Mutex::new(VecDeque::new()));
        let listener = tokio::spawn(listen(stderr, Arc::clone(&words)));
        Ok(Self { child, pid, words, listener })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for the end and says how it came about, with the server's last complaint.
    /// May be cancelled and called again.
    pub(super) async fn wait(&mut self) -> String {
        let status = match platform::wait(&mut self.child).await {
            Ok(status) => format!("ended with {status}"),
            Err(error) => format!("cannot be waited for: {error}"),
        };
        // What it wrote last may still be in the pipe.
        let _ = timeout(Duration::from_millis(100), &mut self.listener).await;
        match self.last_complaint() {
            Some(words) => format!("{status}: {words}"),
            None => status,
        }
    }

    /// The last line that speaks of an error.
    pub(super) fn last_complaint(&self) -> Option<String> {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        words
            .iter()
            .rev()
            .find(|line| line.contains("[FTL]") || line.contains("[ERR]") || line.contains("nats-server:"))
            .cloned()
    }

    /// Asks it to read its configuration again. `false`: this platform cannot, restart it.
    pub(super) fn reload(&self) -> io::Result<bool> {
        platform::reload(&self.child, self.pid)
    }

    /// Ends it: politely first, after `patience` by force. Returns when it is reaped.
    pub(super) async fn stop(mut self, patience: Duration) {
        platform::terminate(&mut self.child, self.pid);
        if timeout(patience, platform::wait(&mut self.child)).await.is_err() {
            self.kill().await;
        }
    }

    /// Ends it by force. Returns when it is reaped.
    pub(super) async fn kill(mut self) {
        platform::kill(&mut self.child, self.pid);
        let _ = platform::wait(&mut self.child).await;
    }
}

async fn listen(stderr: impl AsyncRead + Unpin, words: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::debug!(target: "loqa_bus::nats_server", "{line}");
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() == KEPT_LINES {
            words.pop_front();
        }
        words.push_back(line);
    }
}
