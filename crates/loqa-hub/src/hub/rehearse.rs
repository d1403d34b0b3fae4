//! A kept session once more, beside the hub that kept it: on a hub of its own that acts on
//! nothing and keeps nothing. One at a time, because it loads its models a second time.

use super::Hub;
use crate::replay::{self, ReplayError, Report, Through};
use loqa_protocol::{ErrorCode, Failure, Hop, SessionId};
use loqa_store::StoreError;
use std::sync::{Arc, PoisonError};
use tokio::sync::oneshot;

impl Hub {
    /// Runs a kept session again and says what comes out differently. Dropping the future
    /// ends it, and so does stopping the hub.
    ///
    /// # Errors
    /// The session is not kept, another replay runs, a model is not there or does not come
    /// up, or a turn did not end.
    pub async fn replay(&self, session: &SessionId, through: Through) -> Result<Report, Failure> {
        let Ok(place) = Arc::clone(&self.inner.replaying).try_lock_owned() else {
            let message = "a session is being run again: wait for its end";
            return Err(failed(ErrorCode::Conflict, message));
        };
        let (store, wanted) = (self.store().clone(), session.clone());
        let reading = tokio::task::spawn_blocking(move || replay::from_store(&store, &wanted));
        let recorded = reading.await.map_err(|e| failed(ErrorCode::HubFault, e.to_string()))?.map_err(|error| {
            let found = !matches!(error, StoreError::NotFound { .. } | StoreError::Missing { .. });
            failed(if found { ErrorCode::StorageFault } else { ErrorCode::NotFound }, error.to_string())
        })?;
        let (config, paths) = (self.config(), self.paths().clone());
        let recorded = vec![(session.to_string(), recorded)];
        // Dropped with this future; the hub of the replay has to be stopped all the same.
        let (listening, gone) = oneshot::channel::<()>();
        let (done, result) = oneshot::channel();
        let mut stopping = self.inner.stopping.subscribe();
        let task = tokio::spawn(async move {
            let stop = async {
                tokio::select! {
                    _ = gone => {}
                    _ = stopping.wait_for(|stopping| *stopping) => {}
                }
            };
            let report = replay::run(config, paths, &recorded, &through, stop, |_| {}).await;
            drop(place);
            // Who asked may be gone.
            let _gone = done.send(report);
        });
        {
            let mut leaving = self.inner.leaving.lock().unwrap_or_else(PoisonError::into_inner);
            leaving.retain(|task| !task.is_finished());
            leaving.push(task);
        }
        let report = result.await;
        drop(listening);
        let report = report.map_err(|_| failed(ErrorCode::HubFault, "the replay ended badly, the log says more"))?;
        let report = report.map_err(|error| {
            let code = match &error {
                ReplayError::Unfit(_) => ErrorCode::BadRequest,
                ReplayError::Absent(_) => ErrorCode::ModelInvalid,
                ReplayError::Stopped => ErrorCode::ShuttingDown,
                ReplayError::Failed(_) => ErrorCode::HubFault,
            };
            failed(code, format!("{error:#}"))
        })?;
        match report.missing.first() {
            Some((capability, reason)) => {
                Err(failed(ErrorCode::EngineMissing, format!("{capability} is not available: {reason}")))
            }
            None => Ok(report),
        }
    }
}

fn failed(code: ErrorCode, message: impl Into<String>) -> Failure {
    Failure::new(Hop::Hub, code, message)
}
