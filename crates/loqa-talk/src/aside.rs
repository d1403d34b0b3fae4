//! Devices are closed on a thread of their own: a sound server that went away may keep a
//! driver waiting for ever, and neither the talk nor the end of the program waits with it.
//! Deliberately absent: opening them.

use std::ops::{Deref, DerefMut};
use std::time::Duration;
use tokio::sync::oneshot;

/// Longest wait for a device to close. Chosen: Bluetooth needs about two seconds.
const CLOSING: Duration = Duration::from_secs(5);

/// Something that is closed aside when it is dropped.
#[derive(Debug)]
pub(crate) struct Aside<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Aside<T> {
    pub fn new(device: T) -> Self {
        Self(Some(device))
    }

    pub const fn none() -> Self {
        Self(None)
    }

    /// Closes it and waits, but not for ever.
    pub async fn close(mut self) {
        let (done, closed) = oneshot::channel();
        drop_aside(self.0.take(), done);
        if tokio::time::timeout(CLOSING, closed).await.is_err() {
            tracing::warn!("a sound device does not close");
        }
    }
}

impl<T: Send + 'static> Deref for Aside<T> {
    type Target = Option<T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T: Send + 'static> DerefMut for Aside<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<T: Send + 'static> Drop for Aside<T> {
    fn drop(&mut self) {
        if let Some(device) = self.0.take() {
            drop_aside(Some(device), oneshot::channel().0);
        }
    }
}

fn drop_aside<T: Send + 'static>(device: Option<T>, done: oneshot::Sender<()>) {
    let closing = move || {
        drop(device);
        let _nobody = done.send(());
    };
    // Without a thread it is closed here.
    let _thread = std::thread::Builder::new().name("loqa-close".to_owned()).spawn(closing);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Closes when it is allowed to.
    struct Stuck(mpsc::Receiver<()>);

    impl Drop for Stuck {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    #[tokio::test]
    async fn a_device_that_does_not_close_keeps_nobody() {
        let (let_go, stuck) = mpsc::channel();
        drop(Aside::new(Stuck(stuck)));
        let (closes, quick) = mpsc::channel();
        drop(closes);
        Aside::new(Stuck(quick)).close().await;
        drop(let_go);
    }
}
