//! What all parts of the app share: the settings, the running hub with its servers, how far
//! the start is, and the origin that windows may show.
//!
//! Deliberately absent: the starting and stopping, see `hub` and `quit`.

use crate::arguments::Arguments;
use crate::hotkey::Hotkey;
use crate::refusal::Refusal;
use crate::settings::SettingsFile;
use loqa_api::{ApiServer, Compat};
use loqa_hub::Hub;
use loqa_hub::privacy::Privacy;
use loqa_protocol::ErrorCode;
use loqa_talk::Talk;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinHandle;
use url::Url;

/// Shared by commands, windows, tray and hotkey.
pub struct Shell {
    /// What the app was started with.
    pub arguments: Arguments,
    /// Folder for everything that is kept.
    pub data: PathBuf,
    /// What the person chose.
    pub settings: SettingsFile,
    /// The global key.
    pub hotkey: Hotkey,
    /// Set once, when the app begins to end.
    pub is_quitting: AtomicBool,
    /// Set when everything that the app started is gone.
    pub is_stopped: AtomicBool,
    start: Mutex<StartState>,
    /// The hub's, once it is known; windows may show nothing else.
    origin: Mutex<Option<url::Origin>>,
    running: Mutex<Option<Running>>,
}

/// How far the start is, for the start page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum StartState {
    /// Nothing was begun.
    Waiting,
    /// The bus, the record, the store and the skills are being opened.
    Hub,
    /// The API, the microphone and the speaker are being opened.
    Window,
    /// The hub's own pages come.
    Ready,
    /// It did not start.
    Failed {
        /// Why, with the way out.
        problem: String,
    },
}

/// The hub and what stands around it. Whoever takes it out stops it, see [`Running::stop`].
pub struct Running {
    /// Decides.
    pub hub: Arc<Hub>,
    /// Serves the windows.
    pub api: ApiServer,
    /// Serves other programs, as configured.
    pub compat: Compat,
    /// Microphone, speaker, turns.
    pub talk: Talk,
    /// What passes on what happens.
    pub tasks: Vec<JoinHandle<()>>,
}

impl Running {
    /// Ends everything, in the order in which one needs the other; returns when it is gone.
    pub async fn stop(self) {
        for task in &self.tasks {
            task.abort();
        }
        self.talk.stop().await;
        drop(self.talk);
        self.compat.stop().await;
        self.api.stop().await;
        Hub::stop_shared(self.hub).await;
    }
}

impl Shell {
    /// Before anything is started.
    #[must_use]
    pub fn new(arguments: Arguments, data: PathBuf) -> Self {
        Self {
            settings: SettingsFile::open(&data),
            arguments,
            data,
            hotkey: Hotkey::default(),
            is_quitting: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
            start: Mutex::new(StartState::Waiting),
            origin: Mutex::new(None),
            running: Mutex::new(None),
        }
    }

    /// How far the start is.
    #[must_use]
    pub fn start_state(&self) -> StartState {
        lock(&self.start).clone()
    }

    /// The start is that far.
    pub fn set_start(&self, state: StartState) {
        *lock(&self.start) = state;
    }

    /// Whether a start may begin, which then has begun: none runs, and the app is not ending.
    #[must_use]
    pub fn may_start(&self) -> bool {
        let mut start = lock(&self.start);
        let may = matches!(*start, StartState::Waiting | StartState::Failed { .. })
            && !self.is_quitting.load(Ordering::SeqCst);
        if may {
            *start = StartState::Hub;
        }
        may
    }

    /// Whether an address is one of the hub's.
    #[must_use]
    pub fn is_hub(&self, url: &Url) -> bool {
        lock(&self.origin).as_ref() == Some(&url.origin())
    }

    /// Windows may show this origin from here on.
    pub fn set_origin(&self, origin: url::Origin) {
        *lock(&self.origin) = Some(origin);
    }

    /// The hub runs from here on.
    ///
    /// # Errors
    /// The app is ending already: the caller has to stop it.
    pub fn keep(&self, running: Running) -> Result<(), Box<Running>> {
        let mut held = lock(&self.running);
        if self.is_quitting.load(Ordering::SeqCst) {
            return Err(Box::new(running));
        }
        *held = Some(running);
        Ok(())
    }

    /// Takes it out, to stop it.
    pub fn take_running(&self) -> Option<Running> {
        lock(&self.running).take()
    }

    /// Adds a task that ends with the hub.
    pub fn keep_task(&self, task: JoinHandle<()>) {
        match &mut *lock(&self.running) {
            Some(running) => running.tasks.push(task),
            None => task.abort(),
        }
    }

    /// The way to talk.
    ///
    /// # Errors
    /// The hub does not run.
    pub fn talk(&self) -> Result<Talk, Refusal> {
        lock(&self.running).as_ref().map(|running| running.talk.clone()).ok_or_else(Refusal::not_running)
    }

    /// What may be remembered, and guest mode; `None` while the hub does not run.
    #[must_use]
    pub fn privacy(&self) -> Option<Arc<Privacy>> {
        lock(&self.running).as_ref().map(|running| Arc::clone(running.hub.privacy()))
    }

    /// Address of a page of the window that logs in, see [`ApiServer::page_url`]; `None` while the
    /// hub does not run.
    #[must_use]
    pub fn page_url(&self, page: &str) -> Option<Url> {
        lock(&self.running).as_ref()?.api.page_url(page)?.parse().ok()
    }

    /// The questions of skills that are open; `None` while the hub does not run.
    #[must_use]
    pub fn prompts(&self) -> Option<Arc<loqa_hub::consent::Prompts>> {
        lock(&self.running).as_ref().map(|running| Arc::clone(running.hub.prompts()))
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something that waits for the disk or the system, off the threads that must not.
///
/// # Errors
/// Its own, or it ended badly.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tauri::async_runtime::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Refusal::new(ErrorCode::HubFault, format!("this ended badly, {error}"))))
}
