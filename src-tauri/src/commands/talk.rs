//! Talking: the key in the window, typed turns, mute.

use crate::refusal::Refusal;
use crate::shell::Shell;
use loqa_hub::hub::MAX_TEXT;
use loqa_protocol::ErrorCode;
use loqa_talk::TalkSnapshot;
use tauri::{AppHandle, Manager as _, Runtime};

/// The key is down.
#[tauri::command]
pub async fn talk_press<R: Runtime>(app: AppHandle<R>) -> Result<(), Refusal> {
    app.state::<Shell>().talk()?.press();
    Ok(())
}

/// The key is up.
#[tauri::command]
pub async fn talk_release<R: Runtime>(app: AppHandle<R>) -> Result<(), Refusal> {
    app.state::<Shell>().talk()?.release();
    Ok(())
}

/// Ends whatever goes on.
#[tauri::command]
pub async fn talk_cancel<R: Runtime>(app: AppHandle<R>) -> Result<(), Refusal> {
    app.state::<Shell>().talk()?.cancel();
    Ok(())
}

/// Closes or opens the microphone.
#[tauri::command]
pub async fn talk_mute<R: Runtime>(app: AppHandle<R>, on: bool) -> Result<(), Refusal> {
    app.state::<Shell>().talk()?.mute(on);
    Ok(())
}

/// A typed turn; `speak` has its answer spoken, too.
#[tauri::command]
pub async fn talk_text<R: Runtime>(app: AppHandle<R>, text: String, speak: bool) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::bad_request("there is nothing to ask: type something first"));
    }
    if text.chars().count() > MAX_TEXT {
        let message = format!("the text is longer than {MAX_TEXT} characters: shorten it");
        return Err(Refusal::new(ErrorCode::TextTooLong, message));
    }
    app.state::<Shell>().talk()?.text(text, speak);
    Ok(())
}

/// Begins a new conversation.
#[tauri::command]
pub async fn talk_fresh<R: Runtime>(app: AppHandle<R>) -> Result<(), Refusal> {
    app.state::<Shell>().talk()?.fresh();
    Ok(())
}

/// How things stand.
#[tauri::command]
pub async fn talk_snapshot<R: Runtime>(app: AppHandle<R>) -> Result<TalkSnapshot, Refusal> {
    Ok(app.state::<Shell>().talk()?.snapshot())
}
