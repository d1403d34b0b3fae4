//! Taking back what is remembered, while the hub runs: all of it, or one session.
//!
//! Deliberately absent: the erasing itself, which is [`crate::privacy`]'s and the store's.

use super::{Hub, Inner};
use crate::{audit, privacy};
use loqa_protocol::client::{StoreReply, StoreRequest};
use loqa_protocol::{ErrorCode, Failure, Hop, SessionId};
use loqa_store::Erased;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a turn that gave its report may still hold its session. Chosen: far above a
/// task's last step, and short for a person.
const ENDED_TURN: Duration = Duration::from_millis(500);
/// Between two looks. Chosen.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl Hub {
    /// Removes everything that was said and answered, for good: from the store, from the
    /// contents of the audit, and from the memory of the conversations. Leaves the proof, a
    /// row `store.wipe`.
    ///
    /// # Errors
    /// A turn runs, or something cannot be removed.
    pub async fn wipe(&self) -> Result<Erased, Failure> {
        // Begun, it is done, whoever waits for it.
        let inner = Arc::clone(&self.inner);
        let wiping = tokio::spawn(async move { inner.wipe().await });
        wiping.await.unwrap_or_else(|e| Err(refused(e.to_string())))
    }
}

impl Inner {
    /// Answers the operator's request about the store.
    pub(super) async fn about_store(self: Arc<Self>, request: StoreRequest) -> StoreReply {
        match request {
            StoreRequest::Wipe => match self.wipe().await {
                Ok(erased) => StoreReply::Erased { erased: serde_json::to_value(erased).unwrap_or_default() },
                Err(failure) => StoreReply::Refused { failure },
            },
            StoreRequest::Delete { .. } | StoreRequest::Guest { .. } => {
                let answering = tokio::task::spawn_blocking(move || {
                    if let StoreRequest::Delete { session } = &request {
                        self.context.recorder.measures().forget(Some(session));
                    }
                    privacy::answer(&self.privacy, &self.audit, request)
                });
                answering.await.unwrap_or_else(|e| StoreReply::Refused { failure: refused(e.to_string()) })
            }
        }
    }

    async fn wipe(self: &Arc<Self>) -> Result<Erased, Failure> {
        // No turn begins while this is held.
        let mut sessions = self.sessions.lock().await;
        // A turn that runs or waits for its session holds it, and for a moment one that just ended.
        let until = Instant::now() + ENDED_TURN;
        while sessions.values().any(|session| Arc::strong_count(session) > 1) {
            if Instant::now() > until {
                let message = "a turn runs, and would be remembered after all: wait for its end, or cancel it";
                return Err(Failure::new(Hop::Hub, ErrorCode::Conflict, message));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        // What waits to be written would be written afterwards.
        self.context.recorder.flush().await;
        self.context.recorder.measures().forget(None);
        let ended: Vec<SessionId> = sessions.drain().map(|(session, _)| session).collect();
        let inner = Arc::clone(self);
        let wiping = tokio::task::spawn_blocking(move || {
            for session in &ended {
                audit::session_ended(&*inner.audit, session, "forgotten");
                if let Err(error) = inner.context.skills.grants().end_session(session) {
                    tracing::error!(%error, "the grants of a session that ended cannot be ended");
                }
            }
            privacy::wipe(inner.privacy.store(), &inner.audit)
        });
        let wiped = wiping.await.map_err(|e| refused(e.to_string()))?;
        drop(sessions);
        wiped.map_err(|error| refused(format!("{error:#}")))
    }
}

fn refused(message: String) -> Failure {
    Failure::new(Hop::Hub, ErrorCode::StorageFault, message)
}
