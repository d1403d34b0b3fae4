//! Passes on what happens: talking to the windows, the tray and the overlay; open questions to
//! the window that shows them; guest mode to the tray.
//!
//! Deliberately absent: any state that a page could not ask for again. A slow page misses
//! levels, and asks for a snapshot where it missed more.

use crate::overlay::{Act, Overlay};
use crate::shell::Shell;
use crate::{tray, windows};
use loqa_hub::consent::Prompts;
use loqa_talk::{Talk, TalkEvent};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tauri::{AppHandle, Emitter as _, Manager as _, Runtime};
use tokio::sync::broadcast::error::RecvError;

/// How often guest mode is looked at, which clients of the hub change, too. Chosen: one
/// atomic load.
const GUEST_EVERY: Duration = Duration::from_secs(2);
/// How long the window for questions stays when none is open: the next one of the same skill
/// comes at once. Chosen.
const PROMPT_LINGER: Duration = Duration::from_millis(800);

/// Everything that can wake the relay.
enum Wake {
    /// Boxed: it is many times the size of the others.
    Talk(Box<Result<TalkEvent, RecvError>>),
    OverlayDue,
    Guest,
}

/// Passes on until talking ends. The events must have been subscribed to before talking began.
pub async fn talk<R: Runtime>(app: AppHandle<R>, talk: Talk, mut events: tokio::sync::broadcast::Receiver<TalkEvent>) {
    let mut overlay = Overlay::default();
    let mut guest = tokio::time::interval(GUEST_EVERY);
    guest.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    show(&app, &talk, &mut overlay);
    loop {
        let due = overlay.hide_at();
        let wake = tokio::select! {
            event = events.recv() => Wake::Talk(Box::new(event)),
            () = sleep_until(due) => Wake::OverlayDue,
            _ = guest.tick() => Wake::Guest,
        };
        match wake {
            Wake::Talk(event) => match *event {
                Ok(event) => tell(&app, &talk, &mut overlay, &event),
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "windows were too slow for what happens while talking");
                    show(&app, &talk, &mut overlay);
                }
                Err(RecvError::Closed) => return,
            },
            Wake::OverlayDue => act(&app, overlay.due(Instant::now())),
            Wake::Guest => {
                if let Some(privacy) = app.state::<Shell>().privacy() {
                    tray::show_guest(&app, privacy.guest());
                }
            }
        }
    }
}

fn tell<R: Runtime>(app: &AppHandle<R>, talk: &Talk, overlay: &mut Overlay, event: &TalkEvent) {
    if let Err(error) = app.emit("talk", event) {
        tracing::debug!(%error, "a window was not told");
    }
    match event {
        // Twenty a second, and no state in it.
        TalkEvent::Level { .. } => {}
        TalkEvent::Refused { .. } => {
            show(app, talk, overlay);
            act(app, overlay.refused(windows::is_main_focused(app), Instant::now()));
        }
        _ => show(app, talk, overlay),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn show<R: Runtime>(app: &AppHandle<R>, talk: &Talk, overlay: &mut Overlay) {
    let now = talk.snapshot();
    tray::show_phase(app, now.phase, now.is_muted);
    act(app, overlay.step(now.phase, windows::is_main_focused(app), Instant::now()));
}

fn act<R: Runtime>(app: &AppHandle<R>, act: Option<Act>) {
    match act {
        Some(Act::Show) => windows::show_overlay(app),
        Some(Act::Hide) => windows::hide_overlay(app),
        None => {}
    }
}

/// Opens the window for questions while there are some; ends with the hub.
pub async fn prompts<R: Runtime>(app: AppHandle<R>, prompts: Arc<Prompts>) {
    let mut count = prompts.count();
    drop(prompts);
    loop {
        let open = *count.borrow_and_update();
        let window = app.get_webview_window(windows::PROMPT);
        match window {
            None if open > 0 => {
                let made = app.state::<Shell>().page_url("prompt.html").map(|url| windows::open_prompt(&app, url));
                if let Some(Err(error)) = made {
                    tracing::warn!(%error, "the window for questions did not open, `loqa skill prompts` answers them");
                }
            }
            Some(window) if open == 0 => {
                let again = tokio::time::timeout(PROMPT_LINGER, count.wait_for(|open| *open > 0)).await;
                match again {
                    Ok(Ok(_)) => continue,
                    // The hub ends.
                    Ok(Err(_)) => {}
                    Err(_) => {
                        let _gone = window.destroy();
                    }
                }
            }
            None | Some(_) => {}
        }
        if count.changed().await.is_err() {
            return;
        }
    }
}
