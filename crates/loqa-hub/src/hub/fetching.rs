//! Models that come and go at the wish of a window: pulls that the hub runs, and removals.
//!
//! What a pull may fetch is what the catalog pins, from where the catalog says; the person
//! names the licence, and both are rows of the audit before anything is asked for.

use super::Hub;
use crate::models::{self, Model};
use crate::pulls::{Pull, failure_of};
use loqa_audit::Journal as _;
use loqa_models::{PullError, Puller};
use loqa_protocol::{ErrorCode, Failure, Hop};
use std::sync::Arc;
use tokio::sync::broadcast;

impl Hub {
    /// Begins to fetch a model, or joins the pull of it that runs. `licence` is the one that
    /// the person was shown and agrees to. Goes on whoever listens, and ends with the hub.
    ///
    /// # Errors
    /// There is no such model, it cannot be fetched, its licence is another one, another
    /// model is being fetched, or the audit cannot be written. Then nothing was asked for.
    pub async fn pull_model(&self, name: &str, licence: &str) -> Result<Pull, Failure> {
        let (inner, name, licence) = (Arc::clone(&self.inner), name.to_owned(), licence.to_owned());
        let beginning = tokio::task::spawn_blocking(move || {
            let catalog = inner.paths.catalog().map_err(|e| failed(ErrorCode::StorageFault, format!("{e:#}")))?;
            let model = catalog.find(&name, None).map_err(|e| failed(ErrorCode::NotFound, format!("{e:#}")))?.clone();
            may_be_pulled(&model)?;
            if model.licence != licence {
                let message = format!("model `{name}` is under {}: show that, and send it as `licence`", model.licence);
                return Err(failed(ErrorCode::Conflict, message));
            }
            if let Some(running) = inner.pulls.running(&name)? {
                return Ok(running);
            }
            let row = models::change("models.pull", format!("{name} under {licence}"));
            inner.audit.append(row).map_err(|e| failed(ErrorCode::StorageFault, e.to_string()))?;
            inner.pulls.begin(catalog, &model)
        });
        beginning.await.map_err(|e| failed(ErrorCode::HubFault, e.to_string()))?
    }

    /// Stops the pull of a model if it runs, and says what became of the last one. What
    /// arrived is kept for the next.
    ///
    /// # Errors
    /// None was begun since the hub started, or it does not stop.
    pub async fn cancel_pull(&self, name: &str) -> Result<Pull, Failure> {
        self.inner.pulls.cancel(name).await
    }

    /// The last pull of each model since the hub started, the newest last.
    #[must_use]
    pub fn pulls(&self) -> Vec<Pull> {
        self.inner.pulls.list()
    }

    /// How pulls go on: at every change of state, and at most four times a second in between.
    #[must_use]
    pub fn follow_pulls(&self) -> broadcast::Receiver<Pull> {
        self.inner.pulls.listen()
    }

    /// Removes the files of a fetched model, and what is left of pulls; says how many bytes
    /// that were.
    ///
    /// # Errors
    /// It is in use, configured for this start or the next, bundled or being fetched; or the
    /// audit or the disk refuses.
    pub async fn remove_model(&self, name: &str) -> Result<u64, Failure> {
        let inner = Arc::clone(&self.inner);
        // Nobody puts it to use meanwhile.
        let swapping = self.inner.swapping.lock().await;
        let (name, saved) = (name.to_owned(), self.saved_config());
        let removing = tokio::task::spawn_blocking(move || {
            let catalog = inner.paths.catalog().map_err(|e| failed(ErrorCode::StorageFault, format!("{e:#}")))?;
            let model = catalog.find(&name, None).map_err(|e| failed(ErrorCode::NotFound, format!("{e:#}")))?;
            let in_use = inner.models_in_use();
            let config = inner.config.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            let reason = [&config, &saved].into_iter().find_map(|config| models::needed(config, &in_use, &name));
            let bundled = || format!("model `{name}` comes with Loqa and cannot be removed");
            if let Some(reason) = reason.or_else(|| model.bundled.then(bundled)) {
                return Err(failed(ErrorCode::Conflict, reason));
            }
            let row = models::change("models.remove", name.clone());
            inner.audit.append(row).map_err(|e| failed(ErrorCode::StorageFault, e.to_string()))?;
            models::remove(&catalog, &config, &in_use, &name).map_err(|e| failure_of(&e))
        });
        let removed = removing.await.map_err(|e| failed(ErrorCode::HubFault, e.to_string()))?;
        drop(swapping);
        removed
    }

    /// For tests: has pulls come from another place by another way.
    #[doc(hidden)]
    pub fn pull_instead(&self, puller: Puller, from: impl Into<String>) {
        self.inner.pulls.instead(puller, from.into());
    }
}

/// Whether there is anything to fetch that could be trusted.
fn may_be_pulled(model: &Model) -> Result<(), Failure> {
    if model.bundled {
        let message = format!("model `{}` comes with Loqa, there is nothing to fetch", model.name);
        return Err(failed(ErrorCode::Conflict, message));
    }
    if !model.is_pinned() {
        return Err(failure_of(&PullError::Unpinned(model.name.clone())));
    }
    Ok(())
}

fn failed(code: ErrorCode, message: impl Into<String>) -> Failure {
    Failure::new(Hop::Hub, code, message)
}
