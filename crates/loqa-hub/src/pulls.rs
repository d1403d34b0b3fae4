//! Downloads of models that the hub runs itself, for a window: one at a time, whoever
//! listens and for how long, until it is done, is cancelled, or the hub stops.
//!
//! A pull that ends early leaves what arrived; the next one of the same model goes on from
//! there. Deliberately absent: the fetching, which is `loqa-models`, and the decision
//! whether a pull may begin, which is the hub's.

use crate::models::{self, Catalog, Model, ModelFile};
use loqa_audit::Journal;
use loqa_models::{Progress, PullError, PullRequest, Puller};
use loqa_protocol::{ErrorCode, Failure, Hop};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, watch};

/// Between two messages about the bytes of a pull. Chosen: a person reads no faster.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// Messages that a listener may be behind; it then misses some and hears the newer ones. Chosen.
const BEHIND: usize = 64;
/// Longest wait for a pull that was told to stop. Chosen: above a slow write of one block.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// How far a pull is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullState {
    /// It is under way.
    Running,
    /// Every file is in place, with its pinned digest.
    Done,
    /// It ended without the model; what arrived is kept.
    Failed,
    /// Somebody stopped it, or the hub was stopped; what arrived is kept.
    Cancelled,
}

/// One pull, the last of its model since the hub started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Catalog name.
    pub name: String,
    /// How far it is.
    pub state: PullState,
    /// Bytes of the model that are on the disk.
    pub bytes: u64,
    /// Bytes of the whole model.
    pub total: u64,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// The pulls of a hub; clones are the same.
#[derive(Clone)]
pub(crate) struct Pulls(Arc<Shared>);

struct Shared {
    journal: Arc<dyn Journal>,
    table: Mutex<Table>,
    told: broadcast::Sender<Pull>,
}

#[derive(Default)]
struct Table {
    /// One row for each model that was asked for, in the order of the last request.
    rows: Vec<Pull>,
    running: Option<Running>,
    closed: bool,
    /// Where tests have models come from.
    instead: Option<(Puller, String)>,
}

struct Running {
    name: String,
    stop: watch::Sender<bool>,
    over: watch::Receiver<bool>,
}

impl Pulls {
    pub(crate) fn new(journal: Arc<dyn Journal>) -> Self {
        let (told, _) = broadcast::channel(BEHIND);
        Self(Arc::new(Shared { journal, table: Mutex::default(), told }))
    }

    /// The pull of this model if it runs, which is then what the caller wants.
    ///
    /// # Errors
    /// One of another model is in the way, or the hub is stopping.
    pub(crate) fn running(&self, name: &str) -> Result<Option<Pull>, Failure> {
        self.0.table().running(name)
    }

    /// Begins a pull of a model that may be pulled, or joins it.
    pub(crate) fn begin(&self, catalog: Catalog, model: &Model) -> Result<Pull, Failure> {
        let (stop, stopped) = watch::channel(false);
        let (ended, over) = watch::channel(false);
        let name = model.name.clone();
        let (pull, instead) = {
            let mut table = self.0.table();
            if let Some(running) = table.running(&name)? {
                return Ok(running);
            }
            let pull = Pull {
                name: name.clone(),
                state: PullState::Running,
                bytes: model.files.iter().map(|file| present(&catalog, model, file)).sum(),
                total: model.bytes(),
                failure: None,
            };
            table.rows.retain(|row| row.name != name);
            table.rows.push(pull.clone());
            table.running = Some(Running { name, stop, over });
            (pull, table.instead.clone())
        };
        self.0.tell(&pull);
        let (shared, begun) = (Arc::clone(&self.0), pull.clone());
        tokio::spawn(async move {
            shared.run(catalog, begun, instead, stopped).await;
            ended.send_replace(true);
        });
        Ok(pull)
    }

    /// Stops the pull of a model if it runs, and returns what became of the last one.
    pub(crate) async fn cancel(&self, name: &str) -> Result<Pull, Failure> {
        let over = self.0.table().running.as_ref().filter(|running| running.name == name).map(Running::end);
        if let Some(mut over) = over {
            let waiting = over.wait_for(|over| *over);
            if tokio::time::timeout(STOP_PATIENCE, waiting).await.is_err() {
                let message = format!("the pull does not stop within {} s", STOP_PATIENCE.as_secs());
                return Err(failure(ErrorCode::DeadlineExceeded, message));
            }
        }
        let row = self.0.table().rows.iter().find(|row| row.name == name).cloned();
        row.ok_or_else(|| failure(ErrorCode::NotFound, format!("model `{name}` was not being fetched")))
    }

    /// What was pulled since the start, the newest request last.
    pub(crate) fn list(&self) -> Vec<Pull> {
        self.0.table().rows.clone()
    }

    /// How pulls go on from here.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Pull> {
        self.0.told.subscribe()
    }

    /// Ends the pull that runs, and takes no other.
    pub(crate) async fn close(&self) {
        let over = {
            let mut table = self.0.table();
            table.closed = true;
            table.running.as_ref().map(Running::end)
        };
        if let Some(mut over) = over
            && tokio::time::timeout(STOP_PATIENCE, over.wait_for(|over| *over)).await.is_err()
        {
            tracing::warn!("a download does not stop, it ends with this process");
        }
    }

    /// For tests: another way to the files, and another source than the catalog's.
    pub(crate) fn instead(&self, puller: Puller, from: String) {
        self.0.table().instead = Some((puller, from));
    }
}

impl Table {
    fn running(&self, name: &str) -> Result<Option<Pull>, Failure> {
        if self.closed {
            return Err(failure(ErrorCode::ShuttingDown, "the hub is stopping"));
        }
        match &self.running {
            Some(running) if running.name == name => Ok(self.rows.iter().find(|row| row.name == name).cloned()),
            Some(Running { name: other, .. }) => {
                let message = format!("model `{other}` is being fetched: wait for it, or cancel it");
                Err(failure(ErrorCode::Conflict, message))
            }
            None => Ok(None),
        }
    }
}

impl Running {
    /// Tells it to stop, and gives what says that it has.
    fn end(&self) -> watch::Receiver<bool> {
        self.stop.send_replace(true);
        self.over.clone()
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, pull: &Pull) {
        // Nobody listening is no fault.
        let _nobody = self.told.send(pull.clone());
    }

    async fn run(
        &self,
        catalog: Catalog,
        mut pull: Pull,
        instead: Option<(Puller, String)>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let result = tokio::select! {
            result = self.fetch(&catalog, &pull, instead) => Some(result),
            _ = stopped.wait_for(|stopped| *stopped) => None,
        };
        pull.bytes = self.table().rows.iter().find(|row| row.name == pull.name).map_or(0, |row| row.bytes);
        match result {
            Some(Ok(())) => (pull.state, pull.bytes) = (PullState::Done, pull.total),
            Some(Err(error)) => {
                tracing::warn!(model = pull.name, %error, "a model was not fetched");
                (pull.state, pull.failure) = (PullState::Failed, Some(failure_of(&error)));
            }
            None => pull.state = PullState::Cancelled,
        }
        {
            let mut table = self.table();
            if let Some(row) = table.rows.iter_mut().find(|row| row.name == pull.name) {
                row.clone_from(&pull);
            }
            table.running = None;
        }
        self.tell(&pull);
    }

    async fn fetch(&self, catalog: &Catalog, pull: &Pull, instead: Option<(Puller, String)>) -> Result<(), PullError> {
        let (puller, from) = match instead {
            Some((puller, from)) => (puller, Some(from)),
            None => {
                let journal = Arc::clone(&self.journal);
                // The certificates of the system are read from the disk.
                let made = tokio::task::spawn_blocking(move || models::puller(journal)).await;
                (made.map_err(|e| PullError::Refused(format!("prepare downloads: {e}")))??, None)
            }
        };
        // The licence was agreed to before the pull began.
        let request = PullRequest { name: pull.name.clone(), from, accept_licence: true };
        let model = catalog.find(&pull.name, None).map_err(|e| PullError::Unknown(format!("{e:#}")))?;
        let follow = Mutex::new(Follow {
            have: model.files.iter().map(|file| present(catalog, model, file)).collect(),
            told: Instant::now(),
        });
        let listener = |progress: Progress| {
            let mut follow = follow.lock().unwrap_or_else(PoisonError::into_inner);
            follow.take(model, &progress);
            let bytes = follow.have.iter().sum();
            let row = {
                let mut table = self.table();
                let row = table.rows.iter_mut().find(|row| row.name == model.name);
                row.map(|row| {
                    row.bytes = bytes;
                    row.clone()
                })
            };
            if let Some(row) = row
                && follow.told.elapsed() >= TELL_EVERY
            {
                follow.told = Instant::now();
                self.tell(&row);
            }
        };
        puller.pull(catalog, &request, &listener).await.map(drop)
    }
}

/// Bytes that are there of each file of a model.
struct Follow {
    have: Vec<u64>,
    told: Instant,
}

impl Follow {
    fn take(&mut self, model: &Model, progress: &Progress) {
        let (name, bytes) = match progress {
            Progress::File { file, have, .. } => (file, Some(*have)),
            Progress::Bytes { file, done, .. } => (file, Some(*done)),
            Progress::Ready { file, .. } => (file, None),
            Progress::Source { .. } | Progress::SourceFailed { .. } => return,
        };
        let known = model.files.iter().zip(&mut self.have).find(|(file, _)| file.path == *name);
        if let Some((file, have)) = known {
            *have = bytes.unwrap_or(file.size);
        }
    }
}

/// The size of a file that lies in its place, by its size; 0 otherwise. The pull reads all of it.
fn present(catalog: &Catalog, model: &Model, file: &ModelFile) -> u64 {
    let there = std::fs::metadata(catalog.path(model, file)).is_ok_and(|meta| meta.len() == file.size);
    if there { file.size } else { 0 }
}

fn failure(code: ErrorCode, message: impl Into<String>) -> Failure {
    Failure::new(Hop::Hub, code, message)
}

/// What a client is told about a pull, or a removal, that was refused or failed.
pub(crate) fn failure_of(error: &PullError) -> Failure {
    let code = match error {
        PullError::Unknown(_) => ErrorCode::NotFound,
        PullError::Unpinned(_) | PullError::Sources { .. } => ErrorCode::ModelInvalid,
        PullError::Bundled(_)
        | PullError::NoSource(_)
        | PullError::Licence { .. }
        | PullError::Busy(_)
        | PullError::Refused(_) => ErrorCode::Conflict,
        PullError::NoSpace { .. } | PullError::Disk { .. } | PullError::Ledger(_) => ErrorCode::StorageFault,
    };
    failure(code, error.to_string())
}
