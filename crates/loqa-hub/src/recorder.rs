//! The one writer of what happened: publishes each event for observers, keeps it
//! where the user lets it, and feeds the latency metric.
//!
//! Never in the way of a turn: events go through a bounded channel; when that is
//! full the event is counted as dropped. Audio is never kept here.

use anyhow::Context as _;
use loqa_bus::Bus;
use loqa_protocol::{TimedEvent, subject};
use loqa_telemetry::{Measures, VoiceLatency};
use rusqlite::{Connection, params};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Events that may wait to be written, some hundred turns' worth. Chosen.
const QUEUE: usize = 4096;

enum Entry {
    Event(TimedEvent),
    Flush(oneshot::Sender<()>),
}

/// Handle on the recorder; cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Entry>,
    dropped: Arc<AtomicU64>,
    measures: Arc<Measures>,
}

impl Recorder {
    /// Starts the writer. `database` is `None` when nothing may be kept.
    pub fn start(database: Option<&Path>, bus: Bus) -> anyhow::Result<Self> {
        let mut connection = database.map(open).transpose()?;
        let (queue, mut entries) = mpsc::channel::<Entry>(QUEUE);
        let measures = Arc::new(Measures::new());
        let metric = measures.clone();
        let (store, stored) = mpsc::channel::<Entry>(QUEUE);
        std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || write_batches(connection.as_mut(), stored))
            .context("start the recorder's thread")?;
        tokio::spawn(async move {
            while let Some(entry) = entries.recv().await {
                if let Entry::Event(timed) = &entry {
                    metric.observe(timed, loqa_protocol::PrivacyScope::Persistent);
                    // Observers may miss an event; the store does not.
                    if let Err(e) = bus.publish(&subject::session_events(&timed.session), timed).await {
                        tracing::debug!(error = %e, "event did not reach the bus");
                    }
                }
                if store.send(entry).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self { queue, dropped: Arc::default(), measures })
    }

    /// Hands an event over; never waits.
    pub fn record(&self, event: TimedEvent) {
        if self.queue.try_send(Entry::Event(event)).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            loqa_telemetry::queue_dropped("recorder", 1);
            tracing::warn!(dropped, "recorder is behind, event dropped");
        }
    }

    /// Waits until everything handed over so far is written.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.queue.send(Entry::Flush(done)).await.is_ok() {
            let _ = written.await;
        }
    }

    /// The latency figures since the start.
    #[must_use]
    pub fn latency(&self) -> &VoiceLatency {
        self.measures.latency()
    }

    /// All that is counted of turns: windows of percentiles, the last turns as waterfalls.
    #[must_use]
    pub fn measures(&self) -> &Measures {
        &self.measures
    }
}

fn open(path: &Path) -> anyhow::Result<Connection> {
    let connection = Connection::open(path).with_context(|| format!("open the event store `{}`", path.display()))?;
    // The path of a turn never waits for this file, so every batch can be made durable.
    connection
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;
             PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;
             CREATE TABLE IF NOT EXISTS events (
                 session TEXT NOT NULL,
                 turn    TEXT NOT NULL,
                 seq     INTEGER NOT NULL,
                 at_us   INTEGER NOT NULL,
                 wall_ms INTEGER NOT NULL,
                 name    TEXT NOT NULL,
                 event   TEXT NOT NULL,
                 PRIMARY KEY (session, turn, seq)
             ) WITHOUT ROWID, STRICT;
             PRAGMA user_version=1;",
        )
        .with_context(|| format!("prepare the event store `{}`", path.display()))?;
    Ok(connection)
}

fn write_batches(mut connection: Option<&mut Connection>, mut entries: mpsc::Receiver<Entry>) {
    let mut batch = Vec::new();
    while entries.blocking_recv_many(&mut batch, 512) > 0 {
        let mut flushed = Vec::new();
        let mut events = Vec::new();
        for entry in batch.drain(..) {
            match entry {
                Entry::Event(event) => events.push(event),
                Entry::Flush(done) => flushed.push(done),
            }
        }
        if let Some(connection) = connection.as_deref_mut()
            && !events.is_empty()
            && let Err(e) = write(connection, &events)
        {
            // Voice goes on without its record; `loqa doctor` shows a full disk.
            tracing::error!(error = %e, events = events.len(), "events were not kept");
        }
        for done in flushed {
            let _ = done.send(());
        }
    }
}

fn write(connection: &mut Connection, events: &[TimedEvent]) -> anyhow::Result<()> {
    let wall_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare_cached(
            "INSERT OR IGNORE INTO events (session, turn, seq, at_us, wall_ms, name, event)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        for timed in events {
            insert.execute(params![
                timed.session.as_str(),
                timed.turn.as_str(),
                timed.seq,
                i64::try_from(timed.at_us).unwrap_or(i64::MAX),
                wall_ms,
                timed.event.name(),
                serde_json::to_string(&timed.event)?,
            ])?;
        }
    }
    transaction.commit()?;
    Ok(())
}
