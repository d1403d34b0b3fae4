//! What the hub itself writes into the audit: sessions, skills, restarts, and what goes
//! to a server outside.
//!
//! Deliberately absent: what skills do. Their host writes that, through the same record.

use crate::config::Config;
use anyhow::Context as _;
use loqa_audit::{
    Actor, ActorKind, Audit, Checkpoint, Context, Effect, Entry, Erase, Journal, JournalError, Kind, Options, Outcome,
    Status,
};
use loqa_protocol::client::{AuditReply, AuditRequest};
use loqa_protocol::llm::LlmRequest;
use loqa_protocol::{ErrorCode, Failure, Hop, PrivacyScope, SessionId};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often old rows are removed while the hub runs. Chosen: retention counts in days.
const PRUNE_EVERY: Duration = Duration::from_hours(6);

/// Opens the audit of a data folder as the configuration says.
pub fn open(data: &Path, config: &Config) -> anyhow::Result<Arc<Audit>> {
    let keep = crate::privacy::configured_scope(config);
    let options = Options { ephemeral: keep != PrivacyScope::Persistent, ..Options::default() };
    let audit = Audit::open(data, options).context("open the audit")?;
    let mut entry = of_hub(Kind::PrivacyMode, Context::default());
    entry.reason = Some(keep.as_str().into());
    audit.append_later(entry);
    Ok(Arc::new(audit))
}

/// Removes rows that are older than `audit.keep_days`, at once and from time to time;
/// ends when it is dropped.
pub async fn prune(audit: Arc<Audit>, keep_days: i64) {
    if keep_days == 0 {
        return;
    }
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let cutoff_ms = i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(keep_days.saturating_mul(86_400_000));
        let audit = Arc::clone(&audit);
        match tokio::task::spawn_blocking(move || audit.prune(cutoff_ms)).await {
            Ok(Ok(0)) => {}
            Ok(Ok(rows)) => tracing::info!(rows, keep_days, "old rows of the audit were removed"),
            Ok(Err(error)) => tracing::warn!(%error, "old rows of the audit stay"),
            Err(error) => tracing::error!(%error, "removing old rows of the audit ended badly"),
        }
        tokio::time::sleep(PRUNE_EVERY).await;
    }
}

/// A session began.
pub fn session_started(journal: &dyn Journal, session: &SessionId) {
    journal.append_later(of_hub(Kind::SessionStart, in_session(session)));
}

/// A session ended, because of `reason`: `forgotten` or `hub_stopped`.
pub fn session_ended(journal: &dyn Journal, session: &SessionId, reason: &'static str) {
    let mut entry = of_hub(Kind::SessionEnd, in_session(session));
    entry.reason = Some(reason.into());
    journal.append_later(entry);
}

/// An engine died; `reason` is `died` when it is started again, else `gave_up`. Its last
/// words may repeat what was said, so they are contents.
pub fn engine_restarted(journal: &dyn Journal, capability: &str, reason: &'static str, last_words: &str) {
    let actor = Actor::named(ActorKind::Engine, capability);
    let mut entry = Entry::new(Kind::EngineRestart, actor, Context::default());
    entry.reason = Some(reason.into());
    entry.payload = Some(json!({ "last_words": last_words }));
    journal.append_later(entry);
}

/// Answers the operator.
pub fn answer(audit: &Audit, request: AuditRequest) -> AuditReply {
    let done = |checkpoint: Checkpoint| {
        let checkpoint = serde_json::to_value(checkpoint).map_err(|e| JournalError(e.to_string()))?;
        Ok(AuditReply::Done { checkpoint })
    };
    let result = match request {
        AuditRequest::Checkpoint => audit.checkpoint().and_then(done),
        AuditRequest::Exported { rows, format } => {
            audit.append(exported(rows, &format)).and_then(|_| audit.checkpoint()).and_then(done)
        }
        AuditRequest::Erase { session, before_ms } => {
            let what = match (session, before_ms) {
                (Some(session), _) => Erase::Session(session),
                (None, Some(before_ms)) => Erase::Before(before_ms),
                (None, None) => Erase::All,
            };
            audit.erase(what).map(|payloads| AuditReply::Erased { payloads })
        }
    };
    result.unwrap_or_else(|error: JournalError| AuditReply::Refused {
        failure: Failure::new(Hop::Hub, ErrorCode::StorageFault, error.to_string()),
    })
}

/// The row that says that the record was exported.
fn exported(rows: u64, format: &str) -> Entry {
    let mut entry = Entry::new(Kind::AuditExport, Actor::named(ActorKind::User, "operator"), Context::default());
    entry.scope = Some(format!("{rows} rows"));
    entry.effect = Some(Effect { operation: "audit.export".into(), target: Some(format.to_owned()), bytes_out: None });
    entry
}

fn of_hub(kind: Kind, context: Context) -> Entry {
    Entry::new(kind, Actor::named(ActorKind::Hub, "hub"), context)
}

fn in_session(session: &SessionId) -> Context {
    Context { session: Some(session.clone()), ..Context::default() }
}

/// Engines that ask a server, and the record of what they are given.
pub struct Outside {
    journal: Arc<dyn Journal>,
    /// Where the requests of a capability go.
    targets: BTreeMap<String, String>,
}

impl Outside {
    /// Requests to these capabilities leave through these addresses.
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>, targets: BTreeMap<String, String>) -> Self {
        Self { journal, targets }
    }

    /// Whether requests to this capability leave the machine.
    #[must_use]
    pub fn goes_out(&self, capability: &str) -> bool {
        self.targets.contains_key(capability)
    }

    /// Records that a request is about to leave; `None` when it stays. It must not leave
    /// when this fails. Blocks until the row is on the disk.
    pub fn leaving(&self, capability: &str, request: &LlmRequest) -> Result<Option<Leaving>, Failure> {
        let Some(target) = self.targets.get(capability) else { return Ok(None) };
        let context =
            Context { session: Some(request.session.clone()), turn: Some(request.turn.clone()), ..Context::default() };
        let mut entry = Entry::new(Kind::CallIntent, Actor::named(ActorKind::Engine, capability), context);
        entry.reason = Some("configured".into());
        entry.effect = Some(Effect { operation: "llm.endpoint".into(), target: Some(target.clone()), bytes_out: None });
        let intent = self.journal.append(entry).map_err(|error| {
            Failure::new(Hop::Llm, ErrorCode::StorageFault, format!("nothing is sent to `{target}`: {error}"))
        })?;
        // What the server gets is made of these; its own wrapping is not known here.
        let bytes = serde_json::to_vec(&(&request.messages, &request.tools)).map_or(0, |json| json.len() as u64);
        Ok(Some(Leaving { journal: Arc::clone(&self.journal), intent, bytes, sent: false, status: Status::Cancelled }))
    }
}

/// A request that may leave; dropping it says how that went.
pub struct Leaving {
    journal: Arc<dyn Journal>,
    intent: u64,
    bytes: u64,
    sent: bool,
    status: Status,
}

impl Leaving {
    /// The engine has taken the request: its bytes count as gone.
    pub const fn sent(&mut self) {
        self.sent = true;
    }

    /// The answer came, or did not.
    pub const fn ended(&mut self, status: Status) {
        self.status = status;
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let bytes_out = Some(if self.sent { self.bytes } else { 0 });
        self.journal.finish(self.intent, Outcome { bytes_out, ..Outcome::of(self.status) });
    }
}
