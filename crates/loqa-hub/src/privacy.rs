//! What may be remembered and for how long: the configured scope, guest mode, retention,
//! and what the operator asks of the store over the bus.
//!
//! Deliberately absent: the keeping itself, which is the store's.

use crate::config::Config;
use crate::recorder::wall_ms;
use crate::registry::Registry;
use anyhow::Context as _;
use loqa_audit::{Actor, ActorKind, Audit, Context, Effect, Entry, Erase, Journal as _, Kind};
use loqa_protocol::client::{StoreReply, StoreRequest};
use loqa_protocol::{ErrorCode, Failure, Hop, PrivacyScope, SessionId};
use loqa_store::{Erased, NodeRow, Retention, Store, StoreError, StoreOptions};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often turns beyond the limits are removed while the hub runs. Chosen: limits count in days.
const PRUNE_EVERY: Duration = Duration::from_hours(1);
/// How often the store learns which engines are there. Chosen.
const NOTE_NODES_EVERY: Duration = Duration::from_secs(30);
/// The setting that survives a restart: a guest does not become the owner by it.
const GUEST: &str = "privacy.guest";

/// What may be remembered; shared by the sessions of a hub.
pub struct Privacy {
    configured: PrivacyScope,
    keep_audio: bool,
    guest: AtomicBool,
    store: Store,
}

/// The scope that `privacy.keep` names. `none` and `turns` are its older words.
#[must_use]
pub fn configured_scope(config: &Config) -> PrivacyScope {
    match config.text("privacy.keep") {
        "persistent" | "turns" => PrivacyScope::Persistent,
        "session" => PrivacyScope::Session,
        _ => PrivacyScope::Ephemeral,
    }
}

/// The limits of `privacy.keep_days` and `privacy.keep_turns`.
#[must_use]
pub fn retention(config: &Config) -> Retention {
    Retention {
        keep_days: u32::try_from(config.integer("privacy.keep_days")).unwrap_or(0),
        keep_turns: config.integer("privacy.keep_turns").unsigned_abs(),
    }
}

/// Opens the store of a data folder as the configuration says. A file that cannot be
/// used does not keep the hub from talking: it goes on in memory and says so. Only a
/// file of a newer version is an error, because what is in it would seem to be gone.
pub fn open_store(data: &Path, config: &Config) -> anyhow::Result<Store> {
    if configured_scope(config) == PrivacyScope::Ephemeral {
        return Store::open(StoreOptions::memory()).context("open a store in memory");
    }
    match Store::open(StoreOptions::file(data.join(loqa_store::FILE_NAME))) {
        Ok(store) => Ok(store),
        Err(error @ StoreError::Newer { .. }) => Err(error.into()),
        Err(error) => {
            tracing::error!(%error, "sessions are kept in memory only, until the hub is started again");
            let store = Store::open(StoreOptions::memory()).context("open a store in memory")?;
            store.add_notice(format!("sessions are kept in memory only, until the hub is started again: {error}"));
            Ok(store)
        }
    }
}

impl Privacy {
    /// As configured; guest mode as it was left.
    #[must_use]
    pub fn new(config: &Config, store: Store) -> Self {
        let guest = matches!(store.setting(GUEST), Ok(Some(Value::Bool(true))));
        if guest {
            tracing::warn!("guest mode is on: nothing is kept; `loqa guest off` ends it");
        }
        Self {
            configured: configured_scope(config),
            keep_audio: config.bool("privacy.keep_audio"),
            guest: AtomicBool::new(guest),
            store,
        }
    }

    /// How long a turn that begins may be remembered.
    #[must_use]
    pub fn scope(&self, as_guest: bool) -> PrivacyScope {
        if as_guest || self.guest() { PrivacyScope::Ephemeral } else { self.configured }
    }

    /// Whether recordings of new sessions are kept when nobody says otherwise.
    #[must_use]
    pub const fn keep_audio(&self) -> bool {
        self.keep_audio
    }

    /// Whether guest mode is on.
    #[must_use]
    pub fn guest(&self) -> bool {
        self.guest.load(Ordering::SeqCst)
    }

    /// Turns guest mode on or off, from the next turn on. Blocks for as long as a commit takes.
    ///
    /// # Errors
    /// The setting cannot be kept; the mode itself has changed.
    pub fn set_guest(&self, on: bool) -> Result<(), StoreError> {
        self.guest.store(on, Ordering::SeqCst);
        self.store.set_setting(GUEST, &if on { Value::Bool(true) } else { Value::Null })
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }
}

/// Removes turns beyond the limits, at once and from time to time; ends when it is dropped.
pub async fn prune(store: Store, retention: Retention) {
    if retention == Retention::default() {
        return;
    }
    loop {
        let pruned = store.clone();
        match tokio::task::spawn_blocking(move || pruned.prune(retention, wall_ms())).await {
            Ok(Ok(0)) => {}
            Ok(Ok(turns)) => tracing::info!(turns, "turns beyond the limits were removed"),
            Ok(Err(error)) => tracing::warn!(%error, "turns beyond the limits stay"),
            Err(error) => tracing::error!(%error, "removing old turns ended badly"),
        }
        tokio::time::sleep(PRUNE_EVERY).await;
    }
}

/// Tells the store which engines are there; ends when it is dropped.
pub async fn note_nodes(store: Store, registry: Registry) {
    loop {
        tokio::time::sleep(NOTE_NODES_EVERY).await;
        let now_ms = wall_ms();
        let rows: Vec<NodeRow> = registry
            .list(Instant::now())
            .into_iter()
            .map(|node| NodeRow {
                instance: node.instance.to_string(),
                kind: node.kind.as_str().to_owned(),
                node: node.node,
                program: node.program,
                capabilities: node.capabilities.into_iter().map(|capability| capability.name).collect(),
                first_ms: now_ms,
                last_ms: now_ms.saturating_sub(i64::try_from(node.last_seen_ms).unwrap_or(0)),
            })
            .collect();
        let store = store.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || store.note_nodes(rows)).await {
            tracing::debug!(%error, "engines were not noted");
        }
    }
}

/// Removes a session from the store, and the contents of its rows from the audit, with a
/// row that says so. Blocks.
///
/// # Errors
/// It is not kept, or it cannot be removed.
pub fn delete_session(store: &Store, audit: &Audit, session: &SessionId) -> anyhow::Result<Erased> {
    let erased = store.delete_session(session)?;
    audit.append(row_of(Kind::StoreDelete, &erased, Some(session))).context("record the deletion")?;
    audit.erase(Erase::Session(session.clone())).context("erase the contents of the session in the audit")?;
    Ok(erased)
}

/// Removes everything from the store, and all contents from the audit, with a row that
/// says so. Blocks.
///
/// # Errors
/// Something cannot be removed.
pub fn wipe(store: &Store, audit: &Audit) -> anyhow::Result<Erased> {
    let erased = store.wipe().context("wipe the event store")?;
    audit.append(row_of(Kind::StoreWipe, &erased, None)).context("record the wipe")?;
    audit.erase(Erase::All).context("erase the contents of the audit")?;
    Ok(erased)
}

/// The proof: how much there was, how much is left, which turns went (by a digest of
/// their ids) and the digest of the file that is left.
fn row_of(kind: Kind, erased: &Erased, session: Option<&SessionId>) -> Entry {
    let context = Context { session: session.cloned(), ..Context::default() };
    let mut entry = Entry::new(kind, Actor::named(ActorKind::User, "operator"), context);
    let (before, after) = (&erased.before, &erased.after);
    entry.scope = Some(
        json!({
            "sessions": [before.sessions, after.sessions], "turns": [before.turns, after.turns],
            "events": [before.events, after.events], "transcripts": [before.transcripts, after.transcripts],
            "recordings": [before.recordings, after.recordings], "latency": [before.latency, after.latency],
            "nodes": [before.nodes, after.nodes], "settings": [before.settings, after.settings],
            "files": erased.files.len(),
        })
        .to_string(),
    );
    let target =
        format!("turns:sha256:{} file:sha256:{}", erased.turns_sha256, erased.file_sha256.as_deref().unwrap_or("none"));
    entry.effect = Some(Effect { operation: kind.as_str().into(), target: Some(target), bytes_out: None });
    entry
}

/// Answers one request of the operator. Blocks.
#[must_use]
pub fn answer(privacy: &Privacy, audit: &Audit, request: StoreRequest) -> StoreReply {
    let erased = |result: anyhow::Result<Erased>| {
        result.map(|erased| StoreReply::Erased { erased: serde_json::to_value(erased).unwrap_or_default() })
    };
    let result = match request {
        StoreRequest::Delete { session } => erased(delete_session(privacy.store(), audit, &session)),
        StoreRequest::Wipe => erased(wipe(privacy.store(), audit)),
        StoreRequest::Guest { on } => on
            .map_or(Ok(()), |on| {
                let mut entry =
                    Entry::new(Kind::PrivacyMode, Actor::named(ActorKind::User, "operator"), Context::default());
                entry.reason = Some(if on { "guest" } else { "guest_off" }.into());
                audit.append_later(entry);
                privacy.set_guest(on).context("keep the setting")
            })
            .map(|()| StoreReply::Guest { on: privacy.guest(), scope: privacy.scope(false) }),
    };
    result.unwrap_or_else(|error| {
        let code = match error.downcast_ref::<StoreError>() {
            Some(StoreError::NotFound { .. }) => ErrorCode::BadRequest,
            _ => ErrorCode::StorageFault,
        };
        StoreReply::Refused { failure: Failure::new(Hop::Hub, code, format!("{error:#}")) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_words_still_name_a_scope() {
        let scope = |keep: &str| {
            let mut config = Config::default();
            config.set("privacy.keep", keep).unwrap();
            configured_scope(&config)
        };
        for (keep, expected) in [
            ("ephemeral", PrivacyScope::Ephemeral),
            ("none", PrivacyScope::Ephemeral),
            ("session", PrivacyScope::Session),
            ("persistent", PrivacyScope::Persistent),
            ("turns", PrivacyScope::Persistent),
        ] {
            assert_eq!(scope(keep), expected, "{keep}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_does_not_stop_the_hub() {
        let folder = tempfile::tempdir().unwrap();
        // A folder where the file should be.
        std::fs::create_dir(folder.path().join(loqa_store::FILE_NAME)).unwrap();
        let store = open_store(folder.path(), &Config::default()).unwrap();
        assert_eq!(store.path(), None);
        assert!(store.health().notices[0].contains("in memory only"), "{:?}", store.health());
    }

    #[test]
    fn guest_mode_outlives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::default();
        for (before, set) in [(false, true), (true, false), (false, false)] {
            let privacy = Privacy::new(&config, open_store(folder.path(), &config).unwrap());
            assert_eq!(privacy.guest(), before);
            assert_eq!(privacy.scope(false) == PrivacyScope::Ephemeral, before);
            assert_eq!(privacy.scope(true), PrivacyScope::Ephemeral, "one turn as a guest");
            privacy.set_guest(set).unwrap();
        }
    }
}
