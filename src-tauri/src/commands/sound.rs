//! Microphones and speakers: which there are, which are used, and trying them.

use crate::refusal::Refusal;
use crate::shell::{Shell, blocking};
use loqa_talk::DeviceList;
use tauri::{AppHandle, Manager as _, Runtime};

/// Longest id of a device, in bytes. Chosen: many times what systems give.
const MAX_ID: usize = 1_024;

/// What there is, and what is chosen.
#[tauri::command]
pub async fn devices_list<R: Runtime>(app: AppHandle<R>) -> Result<DeviceList, Refusal> {
    let talk = app.state::<Shell>().talk()?;
    // Asking the system for its devices takes a while.
    blocking(move || Ok(talk.devices())).await
}

/// Uses these from here on; `null` is the system's default.
#[tauri::command]
pub async fn devices_choose<R: Runtime>(
    app: AppHandle<R>,
    microphone: Option<String>,
    speaker: Option<String>,
) -> Result<(), Refusal> {
    if [&microphone, &speaker].into_iter().flatten().any(|id| id.is_empty() || id.len() > MAX_ID) {
        return Err(Refusal::bad_request("this is no device: choose one of the list"));
    }
    let talk = app.state::<Shell>().talk()?;
    blocking(move || {
        app.state::<Shell>().settings.change(|settings| {
            settings.microphone.clone_from(&microphone);
            settings.speaker.clone_from(&speaker);
        })?;
        talk.choose(microphone, speaker);
        Ok(())
    })
    .await
}

/// Has levels flow although nobody talks.
#[tauri::command]
pub async fn devices_listen<R: Runtime>(app: AppHandle<R>, on: bool) -> Result<(), Refusal> {
    app.state::<Shell>().talk()?.listen_levels(on);
    Ok(())
}

/// Has a short sentence spoken.
#[tauri::command]
pub async fn devices_try_speaker<R: Runtime>(app: AppHandle<R>) -> Result<(), Refusal> {
    app.state::<Shell>().talk()?.try_speaker();
    Ok(())
}
