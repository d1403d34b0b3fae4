//! Keeps the microphone warm: opens it, opens it again when it went away, closes it while
//! the person wants it closed. Deliberately absent: what is made of its sound.

use crate::aside::Aside;
use crate::ear::Heard;
use crate::event::DeviceFault;
use loqa_audio::AudioError;
use loqa_audio::device::{CaptureEvent, Microphone};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How often a microphone that is not there is looked for. Chosen.
const LOOK: Duration = Duration::from_secs(1);
/// How long a system that lost a device is left alone. Chosen.
const SETTLE: Duration = Duration::from_millis(200);
/// Frames that may wait for their reader: two seconds. What is more is dropped.
pub(crate) const FRAMES: usize = 100;

/// What is wanted of the microphone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The device; `None` is the system's default.
    pub device: Option<String>,
    /// The person has closed it.
    pub is_closed: bool,
}

/// What the microphone tells.
#[derive(Debug)]
pub(crate) enum News {
    /// Sound.
    Heard(Heard),
    /// It is open, or why it is not. Frames after it are of another stream than those before.
    Changed(Option<DeviceFault>),
}

/// Runs until nobody wishes any more.
pub(crate) async fn keep(mut wish: watch::Receiver<Wish>, news: mpsc::Sender<News>) {
    let mut told = None;
    loop {
        let wanted = wish.borrow_and_update().clone();
        if wanted.is_closed {
            if wish.changed().await.is_err() {
                return;
            }
            continue;
        }
        let (lost, mut is_lost) = mpsc::channel::<AudioError>(1);
        let frames = news.clone();
        let on_event = move |event| match event {
            CaptureEvent::Frame { samples, voiced, captured } => {
                // Late readers lose sound; the device's thread does not wait.
                let _full = frames.try_send(News::Heard(Heard { samples, voiced, captured }));
            }
            CaptureEvent::Lost { error } => drop(lost.try_send(error)),
        };
        let device = wanted.device;
        let opened = tokio::task::spawn_blocking(move || Microphone::open(device.as_deref(), on_event)).await;
        let (microphone, fault) = match opened {
            Ok(Ok(microphone)) => (Some(Aside::new(microphone)), None),
            Ok(Err(error)) => {
                let fault = DeviceFault::of(&error);
                if told != Some(Some(fault)) {
                    tracing::warn!(%error, "microphone");
                }
                (None, Some(fault))
            }
            Err(error) => {
                tracing::error!(%error, "the microphone cannot be opened");
                (None, Some(DeviceFault::Failed))
            }
        };
        let is_open = microphone.is_some();
        if (is_open || told != Some(fault)) && news.send(News::Changed(fault)).await.is_err() {
            return;
        }
        told = Some(fault);
        let again = tokio::time::sleep(if is_open { Duration::MAX } else { LOOK });
        let goes_on = tokio::select! {
            changed = wish.changed() => changed.is_ok(),
            Some(error) = is_lost.recv() => {
                tracing::warn!(%error, "microphone");
                // One that was lost may never close: nobody waits for it.
                drop(microphone);
                told = Some(Some(DeviceFault::Failed));
                if news.send(News::Changed(Some(DeviceFault::Failed))).await.is_err() {
                    return;
                }
                tokio::time::sleep(SETTLE).await;
                continue;
            }
            () = again => true,
        };
        if let Some(microphone) = microphone {
            microphone.close().await;
        }
        if !goes_on {
            return;
        }
    }
}
