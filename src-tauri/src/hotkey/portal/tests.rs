//! The portal's part is played on a private bus: a session, one binding, presses and releases.

use super::*;
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use tokio::sync::mpsc;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::zvariant::{ObjectPath, OwnedObjectPath, OwnedValue, Value};

/// Long: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A bus of its own; it ends with the test.
struct PrivateBus {
    daemon: Child,
    address: String,
}

impl PrivateBus {
    fn start() -> Self {
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address=1"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test needs dbus-daemon, from the package dbus");
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { daemon, address: address.trim().to_owned() }
    }

    async fn connect(&self) -> Connection {
        zbus::connection::Builder::address(self.address.as_str()).unwrap().build().await.unwrap()
    }
}

impl Drop for PrivateBus {
    fn drop(&mut self) {
        let _ended = self.daemon.kill();
        let _reaped = self.daemon.wait();
    }
}

/// What the portal was asked, and how it answers.
#[derive(Clone, Default)]
struct Script {
    /// Bound keys: name, description, what was proposed.
    bound: std::sync::Arc<Mutex<Vec<(String, String, String)>>>,
    /// The answer to a binding: 0 is yes, 1 is that the person said no.
    answer: u32,
    /// What the desktop calls the key.
    trigger: String,
}

struct Shortcuts(Script);

type Dict = HashMap<String, OwnedValue>;

fn text(options: &Dict, key: &str) -> String {
    options.get(key).and_then(|value| value.downcast_ref::<&str>().ok()).unwrap_or_default().to_owned()
}

fn path(kind: &str, header: &Header<'_>, token: &str) -> OwnedObjectPath {
    let sender = header.sender().unwrap().as_str().trim_start_matches(':').replace('.', "_");
    ObjectPath::try_from(format!("/org/freedesktop/portal/desktop/{kind}/{sender}/{token}")).unwrap().into()
}

async fn respond(emitter: &SignalEmitter<'_>, request: &OwnedObjectPath, code: u32, results: HashMap<&str, Value<'_>>) {
    let connection = emitter.connection();
    let body = (code, results);
    connection.emit_signal(None::<&str>, request, "org.freedesktop.portal.Request", "Response", &body).await.unwrap();
}

#[zbus::interface(name = "org.freedesktop.portal.GlobalShortcuts")]
impl Shortcuts {
    #[zbus(property, name = "version")]
    fn version(&self) -> u32 {
        1
    }

    async fn create_session(
        &self,
        options: Dict,
        #[zbus(header)] header: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        let request = path("request", &header, &text(&options, "handle_token"));
        let session = path("session", &header, &text(&options, "session_handle_token"));
        let results = HashMap::from([("session_handle", Value::from(session.as_str().to_owned()))]);
        respond(&emitter, &request, 0, results).await;
        request
    }

    async fn bind_shortcuts(
        &self,
        _session: OwnedObjectPath,
        shortcuts: Vec<(String, Dict)>,
        _parent: String,
        options: Dict,
        #[zbus(header)] header: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        let request = path("request", &header, &text(&options, "handle_token"));
        let mut answer = Vec::new();
        for (id, wanted) in shortcuts {
            let description = text(&wanted, "description");
            self.0.bound.lock().unwrap().push((id.clone(), description.clone(), text(&wanted, "preferred_trigger")));
            let given = HashMap::from([
                ("description", Value::from(description)),
                ("trigger_description", Value::from(self.0.trigger.clone())),
            ]);
            answer.push((id, given));
        }
        respond(&emitter, &request, self.0.answer, HashMap::from([("shortcuts", Value::from(answer))])).await;
        request
    }

    #[zbus(signal, name = "Activated")]
    async fn activated(
        emitter: &SignalEmitter<'_>,
        session: ObjectPath<'_>,
        shortcut: &str,
        at: u64,
        options: HashMap<&str, Value<'_>>,
    ) -> zbus::Result<()>;

    #[zbus(signal, name = "Deactivated")]
    async fn deactivated(
        emitter: &SignalEmitter<'_>,
        session: ObjectPath<'_>,
        shortcut: &str,
        at: u64,
        options: HashMap<&str, Value<'_>>,
    ) -> zbus::Result<()>;
}

const DESKTOP: &str = "/org/freedesktop/portal/desktop";

/// Puts a portal on the bus.
async fn play(bus: &PrivateBus, script: Script) -> Connection {
    zbus::connection::Builder::address(bus.address.as_str())
        .unwrap()
        .name("org.freedesktop.portal.Desktop")
        .unwrap()
        .serve_at(DESKTOP, Shortcuts(script))
        .unwrap()
        .build()
        .await
        .unwrap()
}

/// What the app was told.
#[derive(Debug, PartialEq)]
enum Told {
    Key(bool),
    Ended,
}

async fn bind_there(bus: &PrivateBus) -> (Result<Bound, PortalError>, mpsc::Receiver<Told>) {
    let (sender, told) = mpsc::channel(64);
    let ended = sender.clone();
    let wanted = Wanted { description: "Push to talk".into(), trigger: Some("CTRL+ALT+space".into()) };
    let bound = bind_on(
        bus.connect().await,
        wanted,
        move |down| sender.try_send(Told::Key(down)).unwrap(),
        move || ended.try_send(Told::Ended).unwrap(),
    );
    (tokio::time::timeout(PATIENCE, bound).await.expect("binding never ended"), told)
}

async fn next(told: &mut mpsc::Receiver<Told>) -> Told {
    tokio::time::timeout(PATIENCE, told.recv()).await.expect("the app was not told").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desktop_binds_one_key_and_tells_when_it_is_held() {
    let bus = PrivateBus::start();
    let script = Script { trigger: "Strg+Alt+Leertaste".into(), ..Script::default() };
    let portal = play(&bus, script.clone()).await;
    let (bound, mut told) = bind_there(&bus).await;
    let bound = bound.unwrap();
    assert_eq!(bound.trigger(), "Strg+Alt+Leertaste", "in the desktop's words");
    let asked = script.bound.lock().unwrap().clone();
    assert_eq!(asked, [(ID.to_owned(), "Push to talk".to_owned(), "CTRL+ALT+space".to_owned())], "in one call");

    let object = portal.object_server().interface::<_, Shortcuts>(DESKTOP).await.unwrap();
    let emitter = object.signal_emitter();
    let ours = path_of(&bound.session);
    assert!(ours.contains("/session/"), "{ours}");
    let ours = ObjectPath::try_from(ours).unwrap();
    let other = ObjectPath::try_from("/org/freedesktop/portal/desktop/session/1_1/other").unwrap();
    // Those of others do nothing; one that repeats is one press.
    Shortcuts::activated(emitter, other, ID, 0, HashMap::new()).await.unwrap();
    Shortcuts::activated(emitter, ours.clone(), "other", 0, HashMap::new()).await.unwrap();
    for _ in 0..3 {
        Shortcuts::activated(emitter, ours.clone(), ID, 1, HashMap::new()).await.unwrap();
    }
    assert_eq!(next(&mut told).await, Told::Key(true));
    Shortcuts::deactivated(emitter, ours.clone(), ID, 2, HashMap::new()).await.unwrap();
    assert_eq!(next(&mut told).await, Told::Key(false));
    Shortcuts::activated(emitter, ours.clone(), ID, 3, HashMap::new()).await.unwrap();
    assert_eq!(next(&mut told).await, Told::Key(true));
    // The desktop takes the key away while it is held: nobody may go on listening.
    let closed = (HashMap::<&str, Value<'_>>::new(),);
    portal.emit_signal(None::<&str>, &ours, "org.freedesktop.portal.Session", "Closed", &closed).await.unwrap();
    assert_eq!(next(&mut told).await, Told::Key(false));
    assert_eq!(next(&mut told).await, Told::Ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_says_no_is_heard() {
    let bus = PrivateBus::start();
    let _portal = play(&bus, Script { answer: 1, ..Script::default() }).await;
    let (bound, _told) = bind_there(&bus).await;
    assert!(matches!(bound.map(drop), Err(PortalError::Refused(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desktop_that_names_no_key_has_bound_the_proposed_one() {
    let bus = PrivateBus::start();
    let _portal = play(&bus, Script::default()).await;
    let (bound, _told) = bind_there(&bus).await;
    assert_eq!(bound.unwrap().trigger(), "CTRL+ALT+space");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desktop_without_a_portal_says_so() {
    let bus = PrivateBus::start();
    let (bound, _told) = bind_there(&bus).await;
    assert!(matches!(bound.map(drop), Err(PortalError::Missing(_))));
}
