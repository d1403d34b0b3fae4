//! A server that speaks the Wyoming protocol, so that Home Assistant can use this hub as
//! its ears (`asr`), its voice (`tts`) and its conversation (`handle`).
//!
//! Wyoming knows no keys: whoever reaches the port may ask. It is off by default and
//! listens on loopback only. Words that come in count as another program's, and pass the
//! same permission gate as all others.
//!
//! Deliberately absent: wake words, satellites, discovery by Zeroconf.

pub mod codec;
mod connection;
mod info;

use crate::server::{self, Sockets};
use connection::Connection;
use loqa_hub::Hub;
use loqa_hub::config::Config;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

/// Connections at a time; the next one is closed at once. Chosen: Home Assistant opens one for each request.
const MAX_CONNECTIONS: usize = 32;
/// Longest wait for connections that are in use when the server ends. Chosen.
const DRAIN: Duration = Duration::from_secs(2);
/// What the words of a request are labelled with.
const PROGRAM: &str = "wyoming";

/// How to start a server.
#[derive(Debug, Clone, Copy)]
pub struct WyomingOptions {
    /// TCP port; 0 takes a free one.
    pub port: u16,
}

impl WyomingOptions {
    /// As the configuration says; `None` where it is off.
    #[must_use]
    pub fn from_config(config: &Config) -> Option<Self> {
        let port = u16::try_from(config.integer("wyoming.port")).unwrap_or(0);
        config.bool("wyoming.enabled").then_some(Self { port })
    }
}

/// A running server.
pub struct WyomingServer {
    address: SocketAddr,
    faults: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl WyomingServer {
    /// Starts it on 127.0.0.1 and, where the system has it, ::1.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn start(hub: Arc<Hub>, options: WyomingOptions) -> anyhow::Result<Self> {
        let Sockets { v4, v6, port } = server::bind(options.port, "wyoming.port").await?;
        let faults = Arc::new(AtomicU64::new(0));
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let (stop, stopping) = watch::channel(false);
        let tasks = std::iter::once(v4)
            .chain(v6)
            .map(|listener| {
                let (hub, places) = (Arc::clone(&hub), Arc::clone(&places));
                tokio::spawn(accept(listener, hub, places, Arc::clone(&faults), stopping.clone()))
            })
            .collect();
        Ok(Self { address: (Ipv4Addr::LOCALHOST, port).into(), faults, stop, tasks })
    }

    /// The IPv4 address; the IPv6 one has the same port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that a fault of the server itself has ended; 0 unless there is a bug.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Takes no new connections; those in use have a moment to end.
    pub async fn stop(self) {
        let _told = self.stop.send_replace(true);
        for task in self.tasks {
            let _ended = task.await;
        }
    }
}

async fn accept(
    listener: TcpListener,
    hub: Arc<Hub>,
    places: Arc<Semaphore>,
    faults: Arc<AtomicU64>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) if peer.ip().is_loopback() => stream,
                // Nothing else can come in here; should it ever, it is not served.
                Ok(_) => continue,
                Err(error) => {
                    // Out of file descriptors, as a rule: trying again at once helps nobody.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(ended) = connections.join_next() => {
                count(&faults, ended);
                continue;
            }
            () = stopped(&mut stop) => break,
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (hub, stop) = (Arc::clone(&hub), stop.clone());
        connections.spawn(async move {
            serve(stream, hub, stop).await;
            drop(place);
        });
    }
    drop(listener);
    let all = async {
        while let Some(ended) = connections.join_next().await {
            count(&faults, ended);
        }
    };
    if tokio::time::timeout(DRAIN, all).await.is_err() {
        connections.shutdown().await;
    }
}

fn count(faults: &AtomicU64, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        faults.fetch_add(1, Ordering::Relaxed);
        tracing::error!("a Wyoming connection ended badly");
    }
}

async fn serve(stream: TcpStream, hub: Arc<Hub>, mut stop: watch::Receiver<bool>) {
    let _faster = stream.set_nodelay(true);
    tokio::select! {
        () = Connection::new(stream, hub).run() => {}
        () = stopped(&mut stop) => {}
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _told = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_panics_is_counted_and_one_that_ends_is_not() {
        let faults = AtomicU64::new(0);
        let mut connections = JoinSet::new();
        connections.spawn(async {});
        let aborted = connections.spawn(std::future::pending());
        aborted.abort();
        connections
            .spawn(async { panic!("put in on purpose, so that the counter of the fuzz tests is seen to count") });
        while let Some(ended) = connections.join_next().await {
            count(&faults, ended);
        }
        assert_eq!(faults.load(Ordering::Relaxed), 1);
    }
}
