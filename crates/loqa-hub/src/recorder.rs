//! The one way of what happened: to observers in this process, to those on the bus, to
//! the store, and into the latency metric; each only as far as the turn's scope lets it.
//!
//! Never in the way of a turn: events go through a bounded channel; when that is full
//! the event is counted as dropped. Recordings are kept only where somebody asked for it.

use loqa_bus::Bus;
use loqa_protocol::{PrivacyScope, TimedEvent, TurnId, header, subject};
use loqa_store::{Entry, Store};
use loqa_telemetry::{Measures, VoiceLatency};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{broadcast, mpsc, oneshot};

/// Events that may wait to be passed on, some hundred turns' worth. Chosen.
const QUEUE: usize = 4_096;
/// Events that an observer in this process may be behind before it misses some. Chosen.
const BEHIND: usize = 1_024;

enum Job {
    Event(Box<Entry>),
    Recording(TurnId, Vec<i16>),
    Flush(oneshot::Sender<()>),
}

/// Handle on the recorder; cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Job>,
    observers: broadcast::Sender<Entry>,
    dropped: Arc<AtomicU64>,
    measures: Arc<Measures>,
    store: Store,
}

impl Recorder {
    /// Starts passing on. Call from within the runtime.
    #[must_use]
    pub fn start(store: Store, bus: Bus) -> Self {
        let (queue, mut jobs) = mpsc::channel::<Job>(QUEUE);
        let (observers, _) = broadcast::channel(BEHIND);
        let measures = Arc::new(Measures::new());
        let (metric, told, kept) = (Arc::clone(&measures), observers.clone(), store.clone());
        tokio::spawn(async move {
            while let Some(job) = jobs.recv().await {
                match job {
                    Job::Event(entry) => pass_on(*entry, &metric, &told, &kept, &bus).await,
                    Job::Recording(turn, samples) => {
                        let store = kept.clone();
                        let keeping = move || store.keep_recording(&turn, samples);
                        match tokio::task::spawn_blocking(keeping).await {
                            Ok(Ok(())) => {}
                            Ok(Err(error)) => tracing::error!(%error, "a recording was not kept"),
                            Err(error) => tracing::error!(%error, "keeping a recording ended badly"),
                        }
                    }
                    Job::Flush(done) => {
                        let store = kept.clone();
                        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || store.flush()).await {
                            tracing::warn!(%error, "the event store did not confirm what it has");
                        }
                        let _ = done.send(());
                    }
                }
            }
        });
        Self { queue, observers, dropped: Arc::default(), measures, store }
    }

    /// Hands an event over; never waits.
    pub fn record(&self, event: TimedEvent, scope: PrivacyScope) {
        let entry = Entry { event, scope, wall_ms: wall_ms() };
        if self.queue.try_send(Job::Event(Box::new(entry))).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            loqa_telemetry::queue_dropped("recorder", 1);
            tracing::warn!(dropped, "recorder is behind, event dropped");
        }
    }

    /// Hands the recording of a turn over, 16 kHz mono, after its events; never waits.
    pub fn record_audio(&self, turn: TurnId, samples: Vec<i16>, scope: PrivacyScope) {
        if scope.may_be_kept() && self.queue.try_send(Job::Recording(turn, samples)).is_err() {
            tracing::warn!("recorder is behind, a recording is not kept");
        }
    }

    /// Everything from here on, of every scope: nothing of it leaves this process. Who
    /// falls behind misses events and is told how many.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Entry> {
        self.observers.subscribe()
    }

    /// Waits until everything handed over so far is written.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.queue.send(Job::Flush(done)).await.is_ok() {
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

    /// Where events are kept.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }
}

async fn pass_on(entry: Entry, metric: &Measures, observers: &broadcast::Sender<Entry>, store: &Store, bus: &Bus) {
    let timed = &entry.event;
    metric.observe(timed, entry.scope);
    // Without an observer there is nobody to tell.
    let _ = observers.send(entry.clone());
    if !entry.scope.may_be_kept() {
        return;
    }
    // Observers on the bus may miss an event; the store does not.
    let headers = [(header::PRIVACY, entry.scope.as_str())];
    let sent = match serde_json::to_vec(timed) {
        Ok(json) => bus
            .publish_bytes(&subject::session_events(&timed.session), &headers, json.into())
            .await
            .map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    };
    if let Err(error) = sent {
        tracing::debug!(error, "event did not reach the bus");
    }
    if let Err(error) = store.append(entry) {
        tracing::warn!(%error, "an event was not kept");
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
