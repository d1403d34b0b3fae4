//! What the bus tests share: the pinned server, a wire-level client that sees each
//! single answer, and waiting with a limit.

use loqa_bus::{Bus, BusServer, Credentials, Permissions, RestartPolicy, ServerOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Generous: only a broken product waits this long.
pub const LIMIT: Duration = Duration::from_secs(20);

/// The pinned nats-server.
pub fn nats_server() -> PathBuf {
    let tools = std::env::var_os("LOQA_TOOLS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools"), PathBuf::from);
    let binary = tools.join("nats").join(format!("nats-server{}", std::env::consts::EXE_SUFFIX));
    assert!(binary.is_file(), "{} is missing: run `npm run setup`", binary.display());
    binary
}

/// A server with a folder of its own.
pub struct TestServer {
    pub server: BusServer,
    pub dir: TempDir,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::start_with(RestartPolicy { deaths: 1_000, ..RestartPolicy::default() }).await
    }

    pub async fn start_with(policy: RestartPolicy) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = ServerOptions { binary: nats_server(), run_dir: dir.path().join("run") };
        let server = BusServer::start_with(options, policy).await.unwrap();
        Self { server, dir }
    }

    pub async fn join(&self, name: &str, permissions: Permissions) -> Bus {
        let credentials = self.server.add_identity(name, permissions).await.unwrap();
        Bus::connect(&credentials).await.unwrap()
    }

    #[cfg(target_os = "linux")]
    /// Kills the server process as the system would, and waits until it is gone.
    pub fn kill_server(&self) -> u32 {
        let pid = self.server.pid().unwrap();
        kill(pid);
        pid
    }
}

#[cfg(target_os = "linux")]
/// `kill -9` of one process that a test started.
pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[cfg(target_os = "linux")]
pub fn is_running(pid: u32) -> bool {
    // A zombie has ended: only its parent has not looked yet.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// Waits for a condition, with a limit.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let ends = tokio::time::Instant::now() + LIMIT;
    while !condition() {
        assert!(tokio::time::Instant::now() < ends, "did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Any permissions, for the test's own ends of a conversation.
pub fn may(publish: &[&str], subscribe: &[&str]) -> Permissions {
    Permissions {
        publish: publish.iter().map(|s| (*s).to_owned()).collect(),
        subscribe: subscribe.iter().map(|s| (*s).to_owned()).collect(),
        responses: true,
    }
}

/// A client that speaks the wire protocol and asks the server's verdict on each line.
pub struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    /// Logs in; `None` when the server refuses.
    pub fn login(credentials: &Credentials) -> Option<Self> {
        let key = nkeys::KeyPair::from_seed(&credentials.seed).unwrap();
        let mut wire = Self::open(&credentials.url);
        let info = wire.line();
        let info: serde_json::Value = serde_json::from_str(info.strip_prefix("INFO ").unwrap()).unwrap();
        let signature = key.sign(info["nonce"].as_str().unwrap().as_bytes()).unwrap();
        let hello = serde_json::json!({
            "verbose": false, "headers": true, "no_responders": true, "protocol": 1, "lang": "test",
            "version": "0", "nkey": key.public_key(), "sig": base64_url(&signature),
        });
        wire.send(&format!("CONNECT {hello}\r\n"));
        wire.verdict().then_some(wire)
    }

    pub fn open(url: &str) -> Self {
        let stream = TcpStream::connect(url.strip_prefix("nats://").unwrap()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// A server that has closed the connection meanwhile shows in [`Self::line`].
    pub fn send(&mut self, text: &str) {
        let _ = self.stream.get_mut().write_all(text.as_bytes());
    }

    /// The next line; empty when the server has closed the connection.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(_) => line.trim_end().to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => String::new(),
            Err(error) => panic!("the server does not answer: {error}"),
        }
    }

    /// Whether the server accepted everything that was sent since the last verdict.
    pub fn verdict(&mut self) -> bool {
        self.send("PING\r\n");
        let mut accepted = true;
        loop {
            let line = self.line();
            if line.starts_with("-ERR") {
                accepted = false;
            } else if line == "PONG" {
                return accepted;
            } else if line.is_empty() {
                return false;
            }
        }
    }

    pub fn may_publish(&mut self, subject: &str) -> bool {
        self.send(&format!("PUB {subject} 0\r\n\r\n"));
        self.verdict()
    }

    pub fn may_subscribe(&mut self, subject: &str, queue: Option<&str>) -> bool {
        self.send(&format!("SUB {subject} {} 7\r\n", queue.unwrap_or_default()));
        let accepted = self.verdict();
        self.send("UNSUB 7\r\n");
        accepted
    }
}

fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bit = |n: usize| bytes.get(n / 8).is_some_and(|byte| byte & (128 >> (n % 8)) != 0);
    (0..(bytes.len() * 8).div_ceil(6))
        .map(|sextet| (0..6).fold(0, |index, n| index * 2 + usize::from(bit(sextet * 6 + n))))
        .map(|index| char::from(ALPHABET[index]))
        .collect()
}
