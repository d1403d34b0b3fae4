//! The life of the bridge: joins the bus, keeps its connections to the home, answers
//! calls, and leaves when the hub is gone.

use crate::act::Ways;
use crate::home::Home;
use crate::hub::{Call, Hub};
use crate::settings::Settings;
use crate::tools::Fault;
use crate::{home_assistant, mqtt, orders, tools};
use loqa_bus::{Bus, BusError, Credentials, Message};
use loqa_protocol::id::CallId;
use loqa_protocol::skill::{SkillAnswer, SkillBoot, SkillCall};
use loqa_protocol::{ToolOutcome, subject};
use std::collections::HashMap;
use std::io::Read as _;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// How long the bus may take to come up at the start.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Calls that may wait to be looked at; the hub sends fewer.
const QUEUE: usize = 32;
/// Orders that may wait for a connection.
const ORDERS: usize = 32;

/// How it stands with one side of the home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    /// Nothing is configured for it.
    Off,
    /// It was never up.
    Connecting,
    /// It works.
    Up,
    /// What to say about it.
    Down(String),
}

/// What the parts of the bridge share.
pub(crate) struct Shared {
    home: Mutex<Home>,
    pub(crate) ways: Ways,
    links: Mutex<(Link, Link)>,
}

impl Shared {
    pub(crate) fn home(&self) -> MutexGuard<'_, Home> {
        self.home.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, (Link, Link)> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_home_assistant(&self, link: Link) {
        self.links().0 = link;
    }

    pub(crate) fn set_mqtt(&self, link: Link) {
        self.links().1 = link;
    }

    /// What to say when nothing can be done at all; `None` while one side works.
    pub(crate) fn trouble(&self) -> Option<String> {
        let links = self.links();
        match &*links {
            (Link::Up, _) | (_, Link::Up) => None,
            (Link::Off, Link::Off) => Some("No home is set up. Set home dot url, or home dot mqtt.".to_owned()),
            (Link::Down(words), _) | (Link::Off | Link::Connecting, Link::Down(words)) => Some(words.clone()),
            (Link::Connecting, _) | (_, Link::Connecting) => Some("I have not reached your home yet.".to_owned()),
        }
    }
}

/// Runs until the hub is gone.
pub(crate) async fn live(boot: SkillBoot) -> ExitCode {
    let mut parent_gone = watch_parent();
    let settings = match Settings::read(boot.settings.clone()) {
        Ok(settings) => settings,
        Err(reason) => {
            tracing::error!(reason, "the settings cannot be used");
            return ExitCode::from(2);
        }
    };
    let bus = tokio::select! {
        bus = connect(&boot) => match bus {
            Ok(bus) => bus,
            Err(error) => {
                tracing::error!(%error, "bus not reachable");
                return ExitCode::from(4);
            }
        },
        _ = &mut parent_gone => return ExitCode::SUCCESS,
    };
    let hub = Hub::new(bus.clone(), &boot.skill);
    let (ha_sender, ha_orders) = mpsc::channel(ORDERS);
    let (mqtt_sender, mqtt_orders) = mpsc::channel(ORDERS);
    let link = |is_set: bool| if is_set { Link::Connecting } else { Link::Off };
    let shared = Arc::new(Shared {
        home: Mutex::new(Home::with_aliases(&settings.aliases)),
        ways: Ways {
            home_assistant: settings.url.is_some().then_some(ha_sender),
            mqtt: settings.mqtt.is_some().then_some(mqtt_sender),
        },
        links: Mutex::new((link(settings.url.is_some()), link(settings.mqtt.is_some()))),
    });
    let mut calls = match bus.subscribe(&subject::skill_call(&boot.skill), None, QUEUE).await {
        Ok(calls) => calls,
        Err(error) => {
            tracing::error!(%error, "cannot listen on the bus");
            return ExitCode::from(4);
        }
    };
    if let Some(url) = settings.url.clone() {
        tokio::spawn(home_assistant::keep(Arc::clone(&shared), hub.clone(), url, ha_orders));
    }
    if let Some(settings_of_mqtt) = settings.mqtt.clone() {
        tokio::spawn(mqtt::keep(
            Arc::clone(&shared),
            hub.clone(),
            settings_of_mqtt,
            settings.topics.clone(),
            mqtt_orders,
        ));
    }
    let running: Arc<Mutex<HashMap<CallId, AbortHandle>>> = Arc::default();
    loop {
        tokio::select! {
            biased;
            _ = &mut parent_gone => return ExitCode::SUCCESS,
            message = calls.next() => match message {
                Some(message) => take(&shared, &hub, &bus, &running, message),
                None => return ExitCode::from(4),
            },
        }
    }
}

fn take(
    shared: &Arc<Shared>,
    hub: &Hub,
    bus: &Bus,
    running: &Arc<Mutex<HashMap<CallId, AbortHandle>>>,
    message: Message,
) {
    let lock = |running: &Arc<Mutex<HashMap<CallId, AbortHandle>>>| {
        running.lock().unwrap_or_else(PoisonError::into_inner).len()
    };
    match message.json::<SkillCall>() {
        Ok(SkillCall::Tool { call: id, scope: _, tool, arguments, deadline_ms }) => {
            tracing::debug!(running = lock(running), %tool, "call");
            let call = Call::new(hub.clone(), id.clone(), Duration::from_millis(deadline_ms));
            let shared = Arc::clone(shared);
            let work = async move { tools::run(&shared, &call, &tool, &arguments).await };
            begin(running, bus, id, message, work);
        }
        Ok(SkillCall::Device { call: id, operation, entity, data, deadline_ms, .. }) => {
            tracing::debug!(running = lock(running), %operation, %entity, "order of another skill");
            let call = Call::new(hub.clone(), id.clone(), Duration::from_millis(deadline_ms));
            let shared = Arc::clone(shared);
            let work = async move { orders::run(&shared, &call, &operation, &entity, data).await };
            begin(running, bus, id, message, work);
        }
        Ok(SkillCall::Cancel { call }) => {
            if let Some(task) = running.lock().unwrap_or_else(PoisonError::into_inner).remove(&call) {
                task.abort();
            }
        }
        Ok(SkillCall::Ping) => {
            let bus = bus.clone();
            tokio::spawn(async move { respond(&bus, &message, &SkillAnswer::Pong).await });
        }
        Err(error) => tracing::warn!(%error, "an unreadable call"),
    }
}

/// Does the work beside the others and answers; a cancel finds it by its id.
fn begin(
    running: &Arc<Mutex<HashMap<CallId, AbortHandle>>>,
    bus: &Bus,
    id: CallId,
    message: Message,
    work: impl Future<Output = Result<ToolOutcome, Fault>> + Send + 'static,
) {
    let (bus, done, key) = (bus.clone(), Arc::clone(running), id.clone());
    let task = tokio::spawn(async move {
        let answer = match work.await {
            Ok(outcome) => SkillAnswer::Done { outcome },
            Err((code, message)) => SkillAnswer::Failed { code, message },
        };
        respond(&bus, &message, &answer).await;
        done.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    });
    running.lock().unwrap_or_else(PoisonError::into_inner).insert(id, task.abort_handle());
}

async fn respond(bus: &Bus, message: &Message, answer: &SkillAnswer) {
    if let Some(reply) = &message.reply
        && let Err(error) = bus.respond(reply, answer).await
    {
        tracing::debug!(%error, "an answer did not leave");
    }
}

/// Connects, patiently: the server may be taking over its configuration at this moment.
async fn connect(boot: &SkillBoot) -> Result<Bus, BusError> {
    let credentials = Credentials { url: boot.url.clone(), identity: boot.identity.clone(), seed: boot.seed.clone() };
    let started = Instant::now();
    loop {
        match Bus::connect(&credentials).await {
            Ok(bus) => return Ok(bus),
            Err(error) => {
                let is_early =
                    matches!(error, BusError::Unauthorized { .. }) && started.elapsed() < Duration::from_secs(1);
                if !(is_early || error.is_transient() && started.elapsed() < CONNECT_LIMIT) {
                    return Err(error);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Resolves when standard input ends, which is when the hub is gone, however it went.
fn watch_parent() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    let watch = move || {
        let mut rest = [0_u8; 256];
        while matches!(std::io::stdin().lock().read(&mut rest), Ok(n) if n > 0) {}
        let _ = sender.send(());
    };
    // Without the thread the sender is dropped, and the bridge ends at once.
    if let Err(error) = std::thread::Builder::new().name("parent-watch".to_owned()).spawn(watch) {
        tracing::error!(%error, "no thread to watch the hub");
    }
    receiver
}
