//! The key on Wayland: the desktop's portal `org.freedesktop.portal.GlobalShortcuts`
//! (version 1) binds it and tells when it is held and let go. The desktop asks the person
//! once and decides which key it is.
//!
//! Deliberately absent: desktops without this portal, which say so.

use ashpd::AppID;
use ashpd::desktop::Session;
use ashpd::desktop::global_shortcuts::{Activated, Deactivated, GlobalShortcuts, NewShortcut};
use ashpd::zbus::Connection;
use futures_util::{Stream, StreamExt as _};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Our name of the one shortcut.
const ID: &str = "push-to-talk";
/// Under which the desktop remembers what the person said; that of `tauri.conf.json`.
const APP: &str = "ai.loqa.desktop";
/// Longest wait for an answer that needs no person. Chosen.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest wait for the person. Chosen: they may be away when the app starts with the session.
const PERSON: Duration = Duration::from_secs(600);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What the key does, for the desktop's list.
    pub description: String,
    /// The key that is proposed, in the portal's spelling.
    pub trigger: Option<String>,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum PortalError {
    /// No session bus, no portal, or one that cannot bind keys.
    #[error("it has no portal for global shortcuts ({0})")]
    Missing(String),
    /// The person, or the desktop, said no.
    #[error("it was not allowed ({0})")]
    Refused(String),
    /// Nobody answered.
    #[error("nobody answered its question")]
    NoAnswer,
}

/// A key that the desktop has bound; it is let go with this.
pub struct Bound {
    trigger: String,
    session: Arc<Session<GlobalShortcuts>>,
    listening: JoinHandle<()>,
}

impl Bound {
    /// The key in the desktop's words.
    #[must_use]
    pub fn trigger(&self) -> &str {
        &self.trigger
    }

    /// Lets the key go.
    pub async fn end(self) {
        self.listening.abort();
        let _closed = timeout(ANSWER, self.session.close()).await;
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Binds the key on the session bus.
///
/// # Errors
/// There is no such portal, or it was not allowed.
pub async fn bind(
    wanted: Wanted,
    key: impl Fn(bool) + Send + Sync + 'static,
    ended: impl FnOnce() + Send + 'static,
) -> Result<Bound, PortalError> {
    let connection = timeout(ANSWER, Connection::session()).await;
    let connection = connection.map_err(|_| PortalError::Missing("the session bus does not answer".into()))?;
    bind_on(connection.map_err(missing)?, wanted, key, ended).await
}

fn missing(error: impl std::fmt::Display) -> PortalError {
    PortalError::Missing(error.to_string())
}

/// The same on a given bus. `key` is told `true` when the key goes down, `false` when it comes
/// up; `ended` when the desktop ends it.
async fn bind_on(
    connection: Connection,
    wanted: Wanted,
    key: impl Fn(bool) + Send + Sync + 'static,
    ended: impl FnOnce() + Send + 'static,
) -> Result<Bound, PortalError> {
    if let Ok(app) = AppID::try_from(APP) {
        // Older portals know no registry and take the name of the program's unit.
        let _older = timeout(ANSWER, ashpd::register_host_app_with_connection(connection.clone(), app)).await;
    }
    let answered = |_| PortalError::Missing("the portal does not answer".to_owned());
    // In a task of its own: ashpd panics over a portal that names another session than asked for.
    let opening = tokio::spawn(async move {
        let portal = GlobalShortcuts::with_connection(connection).await?;
        let session = portal.create_session(Default::default()).await?;
        ashpd::Result::Ok((portal, session))
    });
    let opened = timeout(ANSWER, opening).await.map_err(answered)?.map_err(missing)?;
    let (portal, session) = opened.map_err(missing)?;
    // Before the key is bound, so that no press is lost.
    let pressed = portal.receive_activated().await.map_err(missing)?;
    let released = portal.receive_deactivated().await.map_err(missing)?;
    let shortcuts = [NewShortcut::new(ID, wanted.description).preferred_trigger(wanted.trigger.as_deref())];
    let asked = timeout(PERSON, portal.bind_shortcuts(&session, &shortcuts, None, Default::default()));
    let asked = asked.await.map_err(|_| PortalError::NoAnswer)?;
    let answer =
        asked.and_then(|request| request.response()).map_err(|error| PortalError::Refused(error.to_string()))?;
    let bound = answer.shortcuts().iter().find(|shortcut| shortcut.id() == ID);
    let trigger = match bound.map(|shortcut| shortcut.trigger_description()) {
        None => return Err(PortalError::Refused("no key was given".to_owned())),
        // Some desktops bind without saying which key.
        Some("") => wanted.trigger.unwrap_or_default(),
        Some(words) => words.to_owned(),
    };
    let session = Arc::new(session);
    let listening = tokio::spawn(listen(portal, Arc::clone(&session), pressed, released, key, ended));
    Ok(Bound { trigger, session, listening })
}

/// Only signals of our own session count.
fn path_of(session: &Session<GlobalShortcuts>) -> String {
    serde_json::to_value(session).ok().and_then(|path| path.as_str().map(str::to_owned)).unwrap_or_default()
}

async fn listen(
    // Keeps the connection.
    _portal: GlobalShortcuts,
    session: Arc<Session<GlobalShortcuts>>,
    pressed: impl Stream<Item = Activated>,
    released: impl Stream<Item = Deactivated>,
    key: impl Fn(bool),
    ended: impl FnOnce(),
) {
    let path = path_of(&session);
    let closed = session.receive_closed().await;
    let closed = async {
        match closed {
            Ok(closed) => drop(pin!(closed).next().await),
            // Then only a portal that goes away is noticed.
            Err(_) => std::future::pending().await,
        }
    };
    let (mut pressed, mut released, mut closed) = (pin!(pressed), pin!(released), pin!(closed));
    let mut is_down = false;
    loop {
        let (now_down, is_ours) = tokio::select! {
            Some(event) = pressed.next() =>
                (true, event.session_handle().as_str() == path && event.shortcut_id() == ID),
            Some(event) = released.next() =>
                (false, event.session_handle().as_str() == path && event.shortcut_id() == ID),
            () = &mut closed => break,
            else => break,
        };
        // A key that repeats while it is held is one press.
        if is_ours && is_down != now_down {
            is_down = now_down;
            key(is_down);
        }
    }
    if is_down {
        key(false);
    }
    ended();
}

#[cfg(test)]
mod tests;
