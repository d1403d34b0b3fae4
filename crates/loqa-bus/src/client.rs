//! The typed client. One connection per program, shared by cloning.
//!
//! Every wait has a deadline, every queue a bound. `publish` returning `Ok` means
//! that the message is queued for the socket, not that anybody got it: what must
//! arrive is a request. The connection comes back by itself; whatever was waiting
//! for an answer when it broke fails at once with [`BusError::Disconnected`],
//! because core NATS keeps nothing for an absent reader.

use crate::permissions::FLUSH;
use crate::{BusError, Credentials};
use async_nats::{ConnectErrorKind, Event, HeaderMap, HeaderName, HeaderValue, StatusCode};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use loqa_protocol::{header, subject::inbox_prefix};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

/// How long connecting may take. Chosen: a local server answers within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an operation waits for a broken connection to come back before it gives
/// up. Chosen: a restarted server is back within 0.1 s, its first back-off step within 0.5 s.
const RECONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// Longest pause between two attempts to reconnect. Chosen: well below the time in
/// which a user notices, and ten attempts a second on loopback cost nothing.
const MAX_RECONNECT_DELAY: Duration = Duration::from_millis(100);
/// How long a message may wait for room in the client's queue.
const QUEUE_PATIENCE: Duration = Duration::from_secs(2);
/// How often the inbox looks whether the connection is still used. Chosen: a closed
/// connection that lingers this long does no harm.
const IDLE_CHECK: Duration = Duration::from_secs(1);
/// Messages of one reply stream that may wait unread. Chosen: a whole spoken reply
/// at 20 ms a chunk, ten times over.
const REPLY_CAPACITY: usize = 1024;
/// Messages that async-nats may hold before a pump takes them. The pumps never wait,
/// so this only bounds what a starved runtime can pile up.
const PUMP_CAPACITY: usize = 16_384;

/// A connection to the bus. Cloning shares it; the last clone closes it.
#[derive(Clone)]
pub struct Bus {
    client: async_nats::Client,
    shared: Arc<Shared>,
}

struct Shared {
    identity: String,
    inbox: Arc<Inbox>,
    connection: watch::Sender<Connection>,
    dropped: AtomicU64,
    refusals: AtomicU64,
}

/// Whether the connection stands, and how often it broke so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Whether messages can be sent at this moment.
    pub connected: bool,
    /// Counts up from 0 each time the connection breaks. Who told the peers
    /// something tells them again when this changed.
    pub epoch: u64,
}

impl Bus {
    /// Connects, and from then on reconnects for ever by itself. The connection's
    /// inboxes lie below `_INBOX.<identity>`.
    pub async fn connect(credentials: &Credentials) -> Result<Self, BusError> {
        let (connection, _) = watch::channel(Connection { connected: true, epoch: 0 });
        let shared = Arc::new(Shared {
            identity: credentials.identity.clone(),
            inbox: Arc::new(Inbox::new(&credentials.identity)),
            connection,
            dropped: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
        });
        let observer = Arc::downgrade(&shared);
        let connecting = async_nats::ConnectOptions::with_nkey(credentials.seed.clone())
            .name(&credentials.identity)
            .custom_inbox_prefix(inbox_prefix(&credentials.identity))
            .connection_timeout(CONNECT_TIMEOUT)
            .subscription_capacity(PUMP_CAPACITY)
            .ignore_discovered_servers()
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                if let Some(shared) = observer.upgrade() {
                    shared.observe(&event);
                }
                std::future::ready(())
            })
            .connect(&credentials.url);
        let client = timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| BusError::Unreachable {
                url: credentials.url.clone(),
                reason: format!("no answer within {} ms", CONNECT_TIMEOUT.as_millis()),
            })?
            .map_err(|error| match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    BusError::Unauthorized { identity: credentials.identity.clone() }
                }
                _ => BusError::Unreachable { url: credentials.url.clone(), reason: error.to_string() },
            })?;
        let replies = client
            .subscribe(format!("{}.>", shared.inbox.prefix))
            .await
            .map_err(|_| BusError::InvalidSubject(shared.inbox.prefix.clone()))?;
        shared.inbox.pump(replies);
        Ok(Self { client, shared })
    }

    /// Queues `message` as JSON. `Ok` does not mean that it was delivered.
    pub async fn publish<T: Serialize>(&self, subject: &str, message: &T) -> Result<(), BusError> {
        self.publish_bytes(subject, &[], encode(subject, message)?).await
    }

    /// Queues raw bytes with headers. `Ok` does not mean that they were delivered.
    /// Fails at once while the connection is down: what nobody waits for is not kept.
    pub async fn publish_bytes(&self, subject: &str, headers: &[(&str, &str)], payload: Bytes) -> Result<(), BusError> {
        self.require_connection()?;
        self.enqueue(subject, None, headers_with_trace(subject, headers)?, payload).await
    }

    /// [`Self::publish_bytes`] for threads that cannot await: never waits. `Ok(false)`
    /// means that the client's queue is full; try again a little later.
    pub fn try_publish_bytes(&self, subject: &str, headers: &[(&str, &str)], payload: Bytes) -> Result<bool, BusError> {
        self.require_connection()?;
        let headers = headers_with_trace(subject, headers)?;
        match self.send(subject, None, headers, payload).now_or_never() {
            Some(result) => result.map(|()| true),
            None => Ok(false),
        }
    }

    /// Asks and waits for one answer, both as JSON.
    pub async fn request<T: Serialize, R: DeserializeOwned>(
        &self,
        subject: &str,
        message: &T,
        deadline: Duration,
    ) -> Result<R, BusError> {
        let payload = encode(subject, message)?;
        self.request_bytes(subject, &[], payload, deadline).await?.json()
    }

    /// Asks and waits for one answer, both raw.
    ///
    /// Fails with [`BusError::NoResponders`] at once when nobody listens, with
    /// [`BusError::Disconnected`] when the connection breaks meanwhile.
    pub async fn request_bytes(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Message, BusError> {
        let ends = Instant::now() + deadline;
        let headers = headers_with_trace(subject, headers)?;
        let mut breaks = self.await_connection(deadline).await?;
        let mut waiting = self.shared.inbox.register(subject, 1);
        let exchange = async {
            self.send(subject, Some(&waiting.reply), headers, payload).await?;
            waiting.next(subject).await
        };
        tokio::select! {
            biased;
            answer = exchange => answer,
            () = breaks.wait() => Err(BusError::Disconnected),
            () = tokio::time::sleep_until(ends) => {
                Err(BusError::DeadlineExceeded { subject: subject.to_owned(), deadline })
            }
        }
    }

    /// Asks and opens the stream of answers. What the answers are, and which is the
    /// last, is between the two ends.
    pub async fn open_stream<T: Serialize>(&self, subject: &str, message: &T) -> Result<ReplyStream, BusError> {
        self.open_stream_with(subject, &[], message).await
    }

    /// [`Self::open_stream`] with headers.
    pub async fn open_stream_with<T: Serialize>(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        message: &T,
    ) -> Result<ReplyStream, BusError> {
        let payload = encode(subject, message)?;
        let headers = headers_with_trace(subject, headers)?;
        let breaks = self.await_connection(RECONNECT_PATIENCE).await?;
        let waiting = self.shared.inbox.register(subject, REPLY_CAPACITY);
        self.enqueue(subject, Some(&waiting.reply), headers, payload).await?;
        Ok(ReplyStream { subject: subject.to_owned(), waiting, breaks })
    }

    /// Listens to a subject, as a member of a queue group when one is named. At most
    /// `capacity` messages wait unread; more are dropped and counted.
    ///
    /// The server does not confirm a subscription by itself, see [`Self::flush`]. What
    /// this client sends afterwards is handled after it, so an announcement cannot
    /// overtake it. A subject that the identity may not hear stays silent and is
    /// counted by [`Self::refusals`].
    pub async fn subscribe(
        &self,
        subject: &str,
        queue: Option<&str>,
        capacity: usize,
    ) -> Result<Subscription, BusError> {
        let subscribing = async {
            match queue {
                Some(queue) => self.client.queue_subscribe(subject.to_owned(), queue.to_owned()).await,
                None => self.client.subscribe(subject.to_owned()).await,
            }
        };
        let subscriber = timeout(QUEUE_PATIENCE, subscribing).await.map_err(|_| BusError::Disconnected)?.map_err(
            |error| match error.kind() {
                async_nats::SubscribeErrorKind::InvalidSubject | async_nats::SubscribeErrorKind::InvalidQueueName => {
                    BusError::InvalidSubject(subject.to_owned())
                }
                async_nats::SubscribeErrorKind::Other => BusError::Disconnected,
            },
        )?;
        Ok(Subscription::pump(subscriber, subject, capacity, Arc::clone(&self.shared)))
    }

    /// Queues an answer to a request. Refuses a reply subject that is no inbox: a
    /// peer must not make this program publish somewhere else in its own name.
    pub async fn respond<T: Serialize>(&self, reply: &str, message: &T) -> Result<(), BusError> {
        if !is_inbox(reply) {
            return Err(BusError::InvalidSubject(reply.to_owned()));
        }
        self.publish(reply, message).await
    }

    /// Waits until the server has handled everything that was queued so far: what was
    /// published is on its way to whoever listens, what was subscribed is in force or
    /// counted by [`Self::refusals`].
    pub async fn flush(&self) -> Result<(), BusError> {
        let mut breaks = self.await_connection(Duration::ZERO).await?;
        let mut waiting = self.shared.inbox.register(FLUSH, 1);
        // A message to itself: the server handles one connection's messages in order.
        self.enqueue(&waiting.reply, None, None, Bytes::new()).await?;
        tokio::select! {
            biased;
            echo = waiting.next(FLUSH) => echo.map(|_| ()),
            () = breaks.wait() => Err(BusError::Disconnected),
            () = tokio::time::sleep(QUEUE_PATIENCE) => Err(BusError::Disconnected),
        }
    }

    /// Whether the connection stands at this moment.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Follows the connection: who told its peers something tells them again when
    /// it is connected with another epoch.
    #[must_use]
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.shared.connection.subscribe()
    }

    /// The name this program has on the bus.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.shared.identity
    }

    /// Messages that were dropped because a reader of this connection was too slow.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// How often the server refused something, which is nearly always a permission.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.shared.refusals.load(Ordering::Relaxed)
    }

    fn require_connection(&self) -> Result<(), BusError> {
        if self.is_connected() { Ok(()) } else { Err(BusError::Disconnected) }
    }

    /// Waits for the connection, for a bounded time, and returns a watch on its breaking.
    async fn await_connection(&self, deadline: Duration) -> Result<Breaks, BusError> {
        let mut connection = self.shared.connection.subscribe();
        if !self.is_connected() {
            let ends = Instant::now() + deadline.min(RECONNECT_PATIENCE);
            while !self.is_connected() {
                tokio::select! {
                    changed = connection.changed() => changed.map_err(|_| BusError::Disconnected)?,
                    () = tokio::time::sleep(Duration::from_millis(5)) => {}
                    () = tokio::time::sleep_until(ends) => return Err(BusError::Disconnected),
                }
            }
        }
        let epoch = connection.borrow_and_update().epoch;
        Ok(Breaks { connection, epoch })
    }

    async fn enqueue(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<(), BusError> {
        timeout(QUEUE_PATIENCE, self.send(subject, reply, headers, payload))
            .await
            .map_err(|_| BusError::Disconnected)?
    }

    async fn send(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<(), BusError> {
        let size = payload.len();
        let to = subject.to_owned();
        let sent = match (reply, headers) {
            (None, None) => self.client.publish(to, payload).await,
            (None, Some(headers)) => self.client.publish_with_headers(to, headers, payload).await,
            (Some(reply), None) => self.client.publish_with_reply(to, reply.to_owned(), payload).await,
            (Some(reply), Some(headers)) => {
                self.client.publish_with_reply_and_headers(to, reply.to_owned(), headers, payload).await
            }
        };
        sent.map_err(|error| match error.kind() {
            async_nats::PublishErrorKind::MaxPayloadExceeded => self.too_large(subject, size),
            async_nats::PublishErrorKind::InvalidSubject => BusError::InvalidSubject(subject.to_owned()),
            async_nats::PublishErrorKind::Send => BusError::Disconnected,
        })
    }

    fn too_large(&self, subject: &str, size: usize) -> BusError {
        BusError::TooLarge { subject: subject.to_owned(), size, limit: self.client.max_payload() }
    }
}

impl Shared {
    fn observe(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.connection.send_modify(|connection| connection.connected = true);
            }
            Event::Disconnected | Event::Closed => self.connection.send_modify(|connection| {
                connection.connected = false;
                connection.epoch += 1;
            }),
            // async-nats dropped something before a pump saw it, and does not say
            // what. Every exchange under way may have a gap, as after a break.
            Event::SlowConsumer(_) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                self.connection.send_modify(|connection| connection.epoch += 1);
            }
            Event::ServerError(error) => {
                self.refusals.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(identity = %self.identity, %error, "the bus refused something");
            }
            Event::ClientError(error) => {
                tracing::debug!(identity = %self.identity, %error, "bus client");
            }
            Event::LameDuckMode | Event::Draining => {}
        }
    }
}

/// Tells when the connection broke since the watch was made.
struct Breaks {
    connection: watch::Receiver<Connection>,
    epoch: u64,
}

impl Breaks {
    async fn wait(&mut self) {
        let epoch = self.epoch;
        // An error means that the client is gone, which is a break as well.
        let _ = self.connection.wait_for(|connection| connection.epoch != epoch).await;
    }
}

/// A received message.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where it was published.
    pub subject: String,
    /// Where an answer goes. Only ever an inbox: other addresses are dropped on arrival.
    pub reply: Option<String>,
    /// The raw payload.
    pub payload: Bytes,
    headers: Option<HeaderMap>,
    no_responders: bool,
}

impl Message {
    /// The value of a header, `None` when it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.as_ref()?.get(name).map(HeaderValue::as_str)
    }

    /// Reads the payload as JSON. The error names the position, never the content.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, BusError> {
        serde_json::from_slice(&self.payload).map_err(|error| BusError::Decode {
            subject: self.subject.clone(),
            reason: format!("{:?} at line {} column {}", error.classify(), error.line(), error.column()).to_lowercase(),
        })
    }

    /// Whether an answer would go to this identity's own inbox. A peer that names
    /// somebody else's inbox is not answered.
    #[must_use]
    pub fn reply_belongs_to(&self, identity: &str) -> bool {
        self.reply
            .as_deref()
            .and_then(|reply| reply.strip_prefix(&inbox_prefix(identity)))
            .is_some_and(|rest| rest.starts_with('.'))
    }
}

impl From<async_nats::Message> for Message {
    fn from(message: async_nats::Message) -> Self {
        Self {
            subject: message.subject.into_string(),
            reply: message.reply.map(async_nats::Subject::into_string).filter(|reply| is_inbox(reply)),
            payload: message.payload,
            headers: message.headers,
            no_responders: message.status == Some(StatusCode::NO_RESPONDERS),
        }
    }
}

/// Answers to one request. Dropping it ends the subscription.
pub struct ReplyStream {
    subject: String,
    waiting: Waiting,
    breaks: Breaks,
}

impl ReplyStream {
    /// The next answer. After an error the stream is of no more use, except after
    /// [`BusError::DeadlineExceeded`], which only says that nothing came yet.
    pub async fn next(&mut self, deadline: Duration) -> Result<Message, BusError> {
        let dropped = self.waiting.dropped.load(Ordering::Relaxed);
        if dropped > 0 {
            // A gap in the stream cannot be repaired; say so before handing out what
            // came after it.
            return Err(BusError::Overflow { subject: self.subject.clone(), dropped });
        }
        tokio::select! {
            biased;
            message = self.waiting.next(&self.subject) => message,
            () = self.breaks.wait() => Err(BusError::Disconnected),
            () = tokio::time::sleep(deadline) => {
                Err(BusError::DeadlineExceeded { subject: self.subject.clone(), deadline })
            }
        }
    }
}

/// Where answers arrive: one subscription for all requests and streams of the
/// connection, told apart by the last token of the reply subject.
///
/// The reply subject also holds the subject that was asked:
/// `_INBOX.<who asks>.<subject without loqa.>.<random token>`. So the server can
/// allow answers by a fixed list (who may hear `loqa.work.stt.whisper` may publish to
/// `_INBOX.*.work.stt.whisper.*`). The server's own `allow_responses` would be
/// narrower, but it forgets all open requests whenever the configuration is
/// reloaded, which would cut streams each time an identity is added.
struct Inbox {
    prefix: String,
    waiting: Mutex<HashMap<String, Slot>>,
}

struct Slot {
    sender: mpsc::Sender<Message>,
    dropped: Arc<AtomicU64>,
}

/// One registered request; unregisters itself when dropped.
struct Waiting {
    reply: String,
    token: String,
    messages: mpsc::Receiver<Message>,
    dropped: Arc<AtomicU64>,
    inbox: Arc<Inbox>,
}

impl Inbox {
    fn new(identity: &str) -> Self {
        Self { prefix: inbox_prefix(identity), waiting: Mutex::default() }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(self: &Arc<Self>, subject: &str, capacity: usize) -> Waiting {
        let (sender, messages) = mpsc::channel(capacity);
        let dropped = Arc::new(AtomicU64::new(0));
        // Random, not counted: who has seen one reply subject cannot tell the next.
        let token = hex::encode(rand::random::<[u8; 16]>());
        let asked = subject.strip_prefix("loqa.").unwrap_or(subject);
        let reply = format!("{}.{asked}.{token}", self.prefix);
        self.slots().insert(token.clone(), Slot { sender, dropped: Arc::clone(&dropped) });
        Waiting { reply, token, messages, dropped, inbox: Arc::clone(self) }
    }

    /// Hands answers to whoever waits for them, until the last [`Bus`] is dropped.
    fn pump(self: &Arc<Self>, mut replies: async_nats::Subscriber) {
        let inbox = Arc::downgrade(self);
        tokio::spawn(async move {
            // The subscriber keeps the connection open, so the pump looks now and
            // then whether anybody still uses it.
            loop {
                let message = timeout(IDLE_CHECK, replies.next()).await;
                let Some(inbox) = inbox.upgrade() else { break };
                match message {
                    Ok(Some(message)) => inbox.deliver(message),
                    Ok(None) => break,
                    Err(_) => {}
                }
            }
        });
    }

    fn deliver(&self, message: async_nats::Message) {
        let slots = self.slots();
        let token = message.subject.rsplit('.').next().unwrap_or_default();
        // Nobody there: an answer that came after its deadline.
        let Some(slot) = slots.get(token) else { return };
        if let Err(mpsc::error::TrySendError::Full(message)) = slot.sender.try_send(message.into())
            && slot.dropped.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::warn!(subject = %message.subject, "slow reader of a reply stream");
        }
    }
}

impl Waiting {
    async fn next(&mut self, subject: &str) -> Result<Message, BusError> {
        match self.messages.recv().await {
            Some(message) if message.no_responders => Err(BusError::NoResponders { subject: subject.to_owned() }),
            Some(message) => Ok(message),
            None => Err(BusError::Disconnected),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.inbox.slots().remove(&self.token);
    }
}

/// Messages on a subject. Dropping it ends the subscription; a broken connection
/// does not, but what was sent meanwhile is lost.
pub struct Subscription {
    messages: mpsc::Receiver<Message>,
    dropped: Arc<AtomicU64>,
}

impl Subscription {
    /// The next message; `None` once the client is closed.
    pub async fn next(&mut self) -> Option<Message> {
        self.messages.recv().await
    }

    /// Messages of this subscription that were dropped because they were not read in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Moves messages into a queue with a bound of its own. async-nats knows one
    /// bound for all subscriptions and logs each drop; here each subscription has
    /// its bound, and drops are counted in silence.
    fn pump(mut subscriber: async_nats::Subscriber, subject: &str, capacity: usize, shared: Arc<Shared>) -> Self {
        let (sender, messages) = mpsc::channel(capacity.max(1));
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        let subject = subject.to_owned();
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    biased;
                    message = subscriber.next() => message,
                    () = sender.closed() => None,
                };
                let Some(message) = message else { break };
                match sender.try_send(Message::from(message)) {
                    Ok(()) => {}
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        shared.dropped.fetch_add(1, Ordering::Relaxed);
                        if counter.fetch_add(1, Ordering::Relaxed) == 0 {
                            tracing::warn!(%subject, capacity, "slow reader, messages are dropped");
                        }
                    }
                    Err(mpsc::error::TrySendError::Closed(_)) => break,
                }
            }
        });
        Self { messages, dropped }
    }
}

fn reconnect_delay(attempts: usize) -> Duration {
    match attempts {
        0 | 1 => Duration::ZERO,
        2..=6 => Duration::from_millis(1 << (attempts - 1)),
        _ => MAX_RECONNECT_DELAY,
    }
}

fn encode<T: Serialize>(subject: &str, message: &T) -> Result<Bytes, BusError> {
    serde_json::to_vec(message)
        .map(Bytes::from)
        .map_err(|error| BusError::Encode { subject: subject.to_owned(), reason: error.to_string() })
}

/// The headers of a message with the trace context of the current span added;
/// `None` when there is nothing to say, which saves the server the parsing.
fn headers_with_trace(subject: &str, headers: &[(&str, &str)]) -> Result<Option<HeaderMap>, BusError> {
    let traceparent = loqa_telemetry::current_traceparent();
    if headers.is_empty() && traceparent.is_none() {
        return Ok(None);
    }
    let refused = |name: &str| BusError::Encode {
        subject: subject.to_owned(),
        reason: format!("the header `{name}` cannot stand in a message"),
    };
    let mut map = HeaderMap::new();
    let own = traceparent.as_deref().map(|value| (header::TRACEPARENT, value));
    for (name, value) in headers.iter().copied().chain(own) {
        // async-nats takes an empty name, the server does not.
        let key = HeaderName::from_str(name).ok().filter(|_| !name.is_empty());
        let key = key.ok_or_else(|| refused(name))?;
        let value = HeaderValue::from_str(value).map_err(|_| refused(name))?;
        map.insert(key, value);
    }
    Ok(Some(map))
}

/// `_INBOX.<identity>.<token>…`, without blanks and wildcards.
fn is_inbox(reply: &str) -> bool {
    reply.strip_prefix("_INBOX.").is_some_and(|rest| {
        rest.split('.').count() >= 2
            && rest.split('.').all(|token| {
                !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            })
    })
}
