//! A real HTTP/1.1 server on loopback that can be as bad as a server gets: it writes its
//! bytes itself, because a library would not let it lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the server does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Nothing.
    Good,
    /// Answers 200 with the whole file whatever was asked.
    IgnoresRange,
    /// Answers 206 with a piece that begins elsewhere.
    WrongOffset,
    /// Says that it sends the right piece, and sends the beginning of the file.
    LyingOffset,
    /// Answers 416 to every range.
    NoRange,
    /// Ends the connection in the middle, each time.
    Truncates,
    /// Its file and its tag change between requests, and it does not know `If-Range`.
    ChangesTag,
    /// One bit is another.
    FlipsABit,
    /// Stops sending in the middle and keeps the connection.
    Stalls,
    /// Redirects to plain HTTP on another host.
    RedirectsToHttp,
    /// Redirects to an address of this network.
    RedirectsToPrivate,
    /// Redirects to itself for ever.
    RedirectsInCircles,
    /// Says that the file is packed.
    Gzip,
    /// Sends more than the file, chunked, so that no length gives it away.
    Oversize,
    /// Says a length that is too large.
    WrongLength,
    /// Answers 500.
    ServerError,
    /// Says that it sends one piece of many.
    MultipartRanges,
}

impl Behaviour {
    /// Everything that is wrong.
    pub const BAD: &[Self] = &[
        Self::IgnoresRange,
        Self::WrongOffset,
        Self::LyingOffset,
        Self::NoRange,
        Self::Truncates,
        Self::ChangesTag,
        Self::FlipsABit,
        Self::Stalls,
        Self::RedirectsToHttp,
        Self::RedirectsToPrivate,
        Self::RedirectsInCircles,
        Self::Gzip,
        Self::Oversize,
        Self::WrongLength,
        Self::ServerError,
        Self::MultipartRanges,
    ];
}

/// A server with one file.
pub struct Server {
    /// Address of the file.
    pub url: String,
    /// Bytes of the file that it sent.
    pub sent: Arc<AtomicU64>,
    /// Requests that it answered.
    pub requests: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared {
    bytes: Vec<u8>,
    behaviour: Behaviour,
    /// Between two blocks of 16 KiB.
    pause: Duration,
    sent: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
}

impl Server {
    pub async fn start(bytes: Vec<u8>, behaviour: Behaviour) -> Self {
        Self::slow(bytes, behaviour, Duration::ZERO).await
    }

    pub async fn slow(bytes: Vec<u8>, behaviour: Behaviour, pause: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/model.gguf?signature=secret", listener.local_addr().unwrap());
        let (sent, requests) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let shared = Arc::new(Shared { bytes, behaviour, pause, sent: sent.clone(), requests: requests.clone() });
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    // A client that goes away is not this server's fault.
                    let _ = shared.serve(stream).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { url, sent, requests, task }
    }
}

impl Shared {
    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let asked: Option<usize> =
            header("range: bytes=").and_then(|range| range.strip_suffix('-')).and_then(|from| from.parse().ok());
        let size = self.bytes.len();
        let tag = match self.behaviour {
            Behaviour::ChangesTag => format!("\"v{number}\""),
            _ => "\"v1\"".to_owned(),
        };
        let fresh =
            header("if-range: ").is_none_or(|if_range| if_range == tag) || self.behaviour == Behaviour::ChangesTag;
        let from = asked.filter(|_| fresh).filter(|from| *from < size);

        let head =
            |status: &str, more: &str| format!("HTTP/1.1 {status}\r\nConnection: close\r\nETag: {tag}\r\n{more}\r\n");
        let whole = head("200 OK", &format!("Content-Length: {size}\r\n"));
        let piece = |from: usize, said: usize| {
            head(
                "206 Partial Content",
                &format!("Content-Range: bytes {said}-{}/{size}\r\nContent-Length: {}\r\n", size - 1, size - from),
            )
        };
        match (self.behaviour, from) {
            (Behaviour::IgnoresRange, _) => self.send(&mut stream, &whole, &self.bytes).await,
            (Behaviour::WrongOffset, Some(from)) => {
                let other = from / 2;
                self.send(&mut stream, &piece(other, other), &self.bytes[other..]).await
            }
            (Behaviour::LyingOffset, Some(from)) => {
                self.send(&mut stream, &piece(from, from), &self.bytes[..size - from]).await
            }
            (Behaviour::NoRange, Some(_)) => {
                self.send(&mut stream, &head("416 Range Not Satisfiable", "Content-Length: 0\r\n"), &[]).await
            }
            (Behaviour::Truncates, from) => {
                let from = from.unwrap_or(0);
                let said = if from > 0 { piece(from, from) } else { whole };
                // Ever less, so that it never gets there.
                let until = from + (size - from) / 2;
                self.send(&mut stream, &said, &self.bytes[from..until]).await
            }
            (Behaviour::ChangesTag, from) => {
                let mut bytes = self.bytes.clone();
                for byte in &mut bytes {
                    *byte ^= u8::try_from(number % 251).unwrap() + 1;
                }
                let from = from.unwrap_or(0);
                let said = if from > 0 { piece(from, from) } else { whole };
                self.send(&mut stream, &said, &bytes[from..size - (size - from) / 3]).await
            }
            (Behaviour::FlipsABit, from) => {
                let mut bytes = self.bytes.clone();
                bytes[size - 1] ^= 1;
                let said = from.map_or(whole, |from| piece(from, from));
                self.send(&mut stream, &said, &bytes[from.unwrap_or(0)..]).await
            }
            (Behaviour::Stalls, from) => {
                let from = from.unwrap_or(0);
                let said = if from > 0 { piece(from, from) } else { whole };
                self.send(&mut stream, &said, &self.bytes[from..from + (size - from) / 2]).await?;
                // Until the client has had enough.
                let _ = stream.read_u8().await;
                Ok(())
            }
            (Behaviour::RedirectsToHttp, _) => self.redirect(&mut stream, "http://models.example.org/model.gguf").await,
            (Behaviour::RedirectsToPrivate, _) => {
                let places =
                    ["https://10.0.0.1/m", "https://[fd00::1]/m", "https://169.254.169.254/m", "https://127.0.0.2/m"];
                self.redirect(&mut stream, places[usize::try_from(number).unwrap() % places.len()]).await
            }
            (Behaviour::RedirectsInCircles, _) => self.redirect(&mut stream, "/model.gguf").await,
            (Behaviour::Gzip, _) => {
                let packed = head("200 OK", &format!("Content-Encoding: gzip\r\nContent-Length: {size}\r\n"));
                self.send(&mut stream, &packed, &self.bytes).await
            }
            (Behaviour::Oversize, _) => {
                // Without a length the body goes on until the connection ends.
                self.send(&mut stream, &head("200 OK", ""), &[&self.bytes[..], &[0; 4096]].concat()).await
            }
            (Behaviour::WrongLength, _) => {
                let said = head("200 OK", &format!("Content-Length: {}\r\n", size + 1));
                self.send(&mut stream, &said, &self.bytes).await
            }
            (Behaviour::ServerError, _) => {
                self.send(&mut stream, &head("500 Internal Server Error", "Content-Length: 0\r\n"), &[]).await
            }
            (Behaviour::MultipartRanges, Some(from)) => {
                let said = head(
                    "206 Partial Content",
                    &format!("Content-Type: multipart/byteranges; boundary=x\r\nContent-Length: {}\r\n", size - from),
                );
                self.send(&mut stream, &said, &self.bytes[from..]).await
            }
            (_, Some(from)) => self.send(&mut stream, &piece(from, from), &self.bytes[from..]).await,
            (_, None) => self.send(&mut stream, &whole, &self.bytes).await,
        }
    }

    async fn redirect(&self, stream: &mut TcpStream, to: &str) -> std::io::Result<()> {
        let head = format!("HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        self.send(stream, &head, &[]).await
    }

    async fn send(&self, stream: &mut TcpStream, head: &str, body: &[u8]) -> std::io::Result<()> {
        stream.write_all(head.as_bytes()).await?;
        for block in body.chunks(16 << 10) {
            stream.write_all(block).await?;
            self.sent.fetch_add(block.len() as u64, Ordering::Relaxed);
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
        stream.flush().await
    }
}
