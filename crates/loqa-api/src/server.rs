//! The listening sockets, the connections, and their end.
//!
//! 127.0.0.1 and, where the system has it, ::1, with the same port; nothing else is ever
//! bound. Deliberately absent: HTTP/2, TLS.

use crate::feed::Feed;
use crate::guard::{self, Border};
use crate::limits::{HEADER_TIME, Limits, MAX_CONNECTIONS, MAX_HEAD, MAX_HEADERS};
use crate::login::{self, Logins};
use crate::models::Measured;
use crate::openapi;
use crate::packages::Packages;
use crate::problem::Problem;
use crate::state::{ApiOptions, AppState};
use crate::token::{self, Token};
use crate::window;
use anyhow::Context as _;
use axum::Router;
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use loqa_hub::Hub;
use loqa_hub::paths::ApiAddress;
use loqa_protocol::ErrorCode;
use std::any::Any;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tower_http::catch_panic::CatchPanicLayer;

/// Free ports that are tried until one is free on both addresses. Chosen.
const PORT_TRIES: usize = 16;
/// Longest wait for requests under way when the server ends. Chosen.
const DRAIN: Duration = Duration::from_secs(5);

/// A running server.
pub struct ApiServer {
    listening: Listening,
    token_path: PathBuf,
    state: Arc<AppState>,
    feed: JoinHandle<()>,
}

impl ApiServer {
    /// Starts it; returns when it answers and clients can find it.
    ///
    /// # Errors
    /// The port is taken, or the token's file cannot be written.
    pub async fn start(hub: Arc<Hub>, options: ApiOptions) -> anyhow::Result<Self> {
        let sockets = bind(options.port, "api.port").await?;
        let port = sockets.port;
        let run = hub.paths().run();
        let (token, text) = Token::generate();
        let (packages, token_path) = tokio::task::spawn_blocking({
            let run = run.clone();
            move || anyhow::Ok((Packages::open(&run)?, token::write(&run, &text)?))
        })
        .await
        .context("prepare the API's files")??;
        let bus = hub.observe().await.context("listen to the hub's events")?;
        let (feed, feeding) = Feed::start(&hub, bus).await?;
        let (stop, stopping) = watch::channel(false);
        let state = Arc::new(AppState {
            hub,
            border: Border::new(port, options.checks),
            token,
            logins: Logins::new(options.ui),
            in_app: options.in_app,
            limits: Limits::default(),
            feed,
            packages,
            measured: Measured::default(),
            stopping,
            started: Instant::now(),
        });
        let router = openapi::router(&state, options.ui)
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&state), guard::guard));
        let listening = Listening::serve(sockets, finished(router), stop);
        let server = Self { listening, token_path, state, feed: feeding };
        let api = ApiAddress { url: server.url(), token_file: server.token_path.clone() };
        let hub = Arc::clone(&server.state.hub);
        tokio::task::spawn_blocking(move || hub.publish_api(Some(api)))
            .await
            .context("tell clients where the API is")??;
        Ok(server)
    }

    /// The IPv4 address; the IPv6 one has the same port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Address of the window with a fresh code that logs a browser in; `None` while `api.ui`
    /// is off. The code works once, within a minute.
    #[must_use]
    pub fn login_url(&self) -> Option<String> {
        self.page_url("")
    }

    /// As [`ApiServer::login_url`], for one page of the window: `overlay.html`. Empty is its
    /// first page.
    #[must_use]
    pub fn page_url(&self, page: &str) -> Option<String> {
        let logins = &self.state.logins;
        let life = if self.state.in_app { login::LIFE_IN_APP } else { login::LIFE };
        let code = || logins.make_code(life, Instant::now());
        logins.enabled.then(|| format!("{}{}{page}#/login/{}", self.url(), window::ROOT, code()))
    }

    /// File that holds the token.
    #[must_use]
    pub fn token_path(&self) -> &Path {
        &self.token_path
    }

    /// What handlers share, for servers beside this one.
    #[must_use]
    pub fn state(&self) -> &Arc<AppState> {
        &self.state
    }

    /// Takes no new requests, lets those under way end, closes the WebSockets. The token is
    /// worth nothing afterwards, and its file is gone.
    pub async fn stop(self) {
        self.listening.stop().await;
        if tokio::time::timeout(DRAIN, self.state.limits.sockets_gone()).await.is_err() {
            tracing::warn!("a WebSocket did not close in time");
        }
        self.feed.abort();
        let _ended = self.feed.await;
        let (state, path) = (self.state, self.token_path);
        let removed = tokio::task::spawn_blocking(move || {
            let _gone = std::fs::remove_file(&path);
            state.packages.clear();
            state.hub.publish_api(None)
        });
        match removed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "clients may still look for the API"),
            Err(error) => tracing::error!(%error, "the API ended badly"),
        }
    }
}

/// A router with what every answer carries, whatever happens inside.
pub fn finished(router: Router) -> Router {
    router.layer(CatchPanicLayer::custom(panicked)).layer(axum::middleware::from_fn(guard::headers))
}

fn panicked(_cause: Box<dyn Any + Send + 'static>) -> Response {
    // The panic itself is in the log, with its place.
    Problem::new(ErrorCode::HubFault, "the request ended badly, the log says more").into_response()
}

/// Bound sockets that nobody serves yet.
#[derive(Debug)]
pub struct Sockets {
    pub(crate) v4: TcpListener,
    pub(crate) v6: Option<TcpListener>,
    /// Their port.
    pub port: u16,
}

/// Binds 127.0.0.1 and ::1 with one port; 0 takes one that is free on both. `key` is the
/// configuration's name for the port.
///
/// # Errors
/// The port is taken.
pub async fn bind(port: u16, key: &str) -> anyhow::Result<Sockets> {
    let mut tries = if port == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| {
            format!("listen on 127.0.0.1:{port}: stop what uses the port, or set `{key}` to another one or to 0")
        })?;
        let bound = v4.local_addr().context("ask for the bound port")?.port();
        match TcpListener::bind((Ipv6Addr::LOCALHOST, bound)).await {
            Ok(v6) => return Ok(Sockets { v4, v6: Some(v6), port: bound }),
            // Somebody else's: a client that tries ::1 first must not reach them.
            Err(e) if e.kind() == ErrorKind::AddrInUse && tries > 0 => {}
            Err(e) if e.kind() == ErrorKind::AddrInUse => {
                return Err(e).with_context(|| format!("listen on [::1]:{bound}: another program uses the port"));
            }
            // A system without IPv6.
            Err(_) => return Ok(Sockets { v4, v6: None, port: bound }),
        }
    }
}

/// Sockets that are served, and the way to end that.
pub struct Listening {
    /// The IPv4 address.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Listening {
    /// Serves a router until [`Listening::stop`]; `stop` is told then, too.
    #[must_use]
    pub fn serve(sockets: Sockets, router: Router, stop: watch::Sender<bool>) -> Self {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), sockets.port);
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let listeners = std::iter::once(sockets.v4).chain(sockets.v6);
        let tasks = listeners
            .map(|listener| tokio::spawn(accept(listener, router.clone(), Arc::clone(&places), stop.subscribe())))
            .collect();
        Self { address, stop, tasks }
    }

    /// Closes the sockets and the connections, those in use after a moment.
    pub async fn stop(self) {
        let _told = self.stop.send_replace(true);
        for task in self.tasks {
            let _ended = task.await;
        }
    }
}

async fn accept(listener: TcpListener, router: Router, places: Arc<Semaphore>, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) if peer.ip().is_loopback() => stream,
                // Nothing else can come in here; should it ever, it is not served.
                Ok(_) => continue,
                Err(error) => {
                    // Out of file descriptors, as a rule: trying again at once helps nobody.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
            () = stopped(&mut stop) => break,
        };
        // With all places taken, closing at once says so fastest.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            serve_connection(stream, router, stop).await;
            drop(place);
        });
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, all).await.is_err() {
        connections.shutdown().await;
    }
}

async fn serve_connection(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    let _faster = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::trace!(%error, "a connection ended");
    }
}

/// Waits until the server is to end.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the server is gone.
    drop(stop.wait_for(|stop| *stop).await);
}
