//! The one thread that starts native skills. Linux sends the death signal of a child
//! when the *thread* that forked it ends, so it must be one that lives as long as the
//! hub, and dies with it.

use std::io;
use tokio::sync::oneshot;

type Work = Box<dyn FnOnce() + Send>;

/// Starts programs one after the other. Dropping it ends its thread, and with it on
/// Linux every program that it started.
pub(super) struct Spawner {
    orders: std::sync::mpsc::SyncSender<Work>,
}

impl Spawner {
    /// Must be called within a runtime: children are waited for there.
    pub(super) fn start() -> io::Result<Self> {
        // A start takes milliseconds, so few can wait at the same time.
        let (orders, work) = std::sync::mpsc::sync_channel::<Work>(8);
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new().name("loqa-native".to_owned()).spawn(move || {
            let _entered = runtime.enter();
            while let Ok(work) = work.recv() {
                work();
            }
        })?;
        Ok(Self { orders })
    }

    /// Runs `spawn` on the thread.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        spawn: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (sender, started) = oneshot::channel();
        let work: Work = Box::new(move || {
            let _ = sender.send(spawn());
        });
        self.orders.try_send(work).map_err(|_| io::Error::other("too many programs are being started"))?;
        started.await.map_err(|_| io::Error::other("the thread that starts programs is gone"))?
    }
}
