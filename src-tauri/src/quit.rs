//! The end of the app: from the menu, a page, or a signal. Talking, servers, hub and all
//! programs that they started end in this order, within a deadline; then the app does.
//!
//! Deliberately absent: closing a window, which only hides it.

use crate::shell::{Shell, StartState};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tauri::{AppHandle, Manager as _, Runtime};

/// Longest time for an orderly end. Chosen: above what the hub waits for a skill and the
/// engines for their work. What is left then ends with this process: engines when their
/// standard input closes, the bus by the system.
const DEADLINE: Duration = Duration::from_secs(25);
/// And then for the event loop. Chosen.
const LAST: Duration = Duration::from_secs(5);
/// How often a start that is under way is looked at. Chosen.
const GLANCE: Duration = Duration::from_millis(20);

/// Begins the end; further calls do nothing.
pub fn begin<R: Runtime>(app: &AppHandle<R>) {
    let shell = app.state::<Shell>();
    if shell.is_quitting.swap(true, Ordering::SeqCst) {
        return;
    }
    for (_, window) in app.webview_windows() {
        let _hidden = window.hide();
    }
    // Whatever hangs, the process does not stay.
    std::thread::spawn(|| {
        std::thread::sleep(DEADLINE + LAST);
        tracing::error!("the app did not end in time, it is ended");
        std::process::exit(1);
    });
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        stop(&app).await;
        app.exit(0);
    });
}

/// Stops everything that was started; returns when it is gone, or at the deadline.
pub async fn stop<R: Runtime>(app: &AppHandle<R>) {
    let shell = app.state::<Shell>();
    shell.is_quitting.store(true, Ordering::SeqCst);
    if tokio::time::timeout(DEADLINE, stop_all(&shell)).await.is_err() {
        tracing::error!("not everything ended in time, it ends with this process");
    }
    shell.is_stopped.store(true, Ordering::SeqCst);
}

async fn stop_all(shell: &Shell) {
    let began = Instant::now();
    // A start that is under way ends by itself when it sees that the app does.
    while matches!(shell.start_state(), StartState::Hub | StartState::Window) {
        tokio::time::sleep(GLANCE).await;
    }
    if let Some(running) = shell.take_running() {
        running.stop().await;
    }
    tracing::info!(ms = began.elapsed().as_millis(), "the hub has ended");
}

/// Ends the app when the system asks for it, from here on.
pub fn on_signals<R: Runtime>(app: &AppHandle<R>) {
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        asked_by_system().await;
        begin(&app);
    });
}

#[cfg(unix)]
async fn asked_by_system() {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = signals.map(signal) else {
        tracing::warn!("signals cannot be listened to");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
    }
}

#[cfg(not(unix))]
async fn asked_by_system() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
