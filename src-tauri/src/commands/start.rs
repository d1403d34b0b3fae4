//! What the start page asks, which is shown until the hub's own pages are there.

use crate::hub;
use crate::shell::{Shell, StartState};
use tauri::{AppHandle, Manager as _, Runtime};

/// How far the start is.
#[tauri::command]
pub async fn start_read<R: Runtime>(app: AppHandle<R>) -> StartState {
    app.state::<Shell>().start_state()
}

/// Starts the hub once more after it did not start; nothing happens while it is starting.
#[tauri::command]
pub async fn start_again<R: Runtime>(app: AppHandle<R>) {
    hub::begin(&app);
}
