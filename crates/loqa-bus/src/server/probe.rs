//! A minimal NATS client that proves things about a server: which process it is,
//! that it lets an identity in, that it routes, that it is alive. It speaks the
//! wire protocol itself, because it must see each single answer and never reconnect.

use nkeys::KeyPair;
use serde::Deserialize;
use std::net::Ipv4Addr;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Longest line that is read from a server that may be an impostor.
const MAX_LINE: u64 = 16 * 1024;

/// An open connection.
pub(super) struct Probe {
    stream: BufReader<TcpStream>,
    server_name: String,
}

/// Why a server did not prove what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    #[error("no connection: {0}")]
    Io(#[from] std::io::Error),
    #[error("it refused the identity")]
    Refused,
    #[error("it does not speak NATS")]
    NotNats,
}

#[derive(Deserialize)]
struct Info {
    server_name: String,
    #[serde(default)]
    nonce: String,
}

impl Probe {
    /// Connects, logs in with `key` and waits for the server's word that it may stay.
    pub(super) async fn connect(port: u16, key: &KeyPair) -> Result<Self, ProbeError> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        let mut probe = Self { stream: BufReader::new(stream), server_name: String::new() };
        let line = probe.line().await?;
        let info: Info =
            line.strip_prefix("INFO ").and_then(|json| serde_json::from_str(json).ok()).ok_or(ProbeError::NotNats)?;
        probe.server_name = info.server_name;
        let signature = key.sign(info.nonce.as_bytes()).map_err(|_| ProbeError::Refused)?;
        let hello = serde_json::json!({
            "verbose": false, "pedantic": false, "lang": "rust", "version": env!("CARGO_PKG_VERSION"),
            "protocol": 1, "name": "supervisor", "headers": true, "no_responders": true,
            "nkey": key.public_key(), "sig": base64_url(&signature),
        });
        probe.send(&format!("CONNECT {hello}\r\n")).await?;
        probe.ping().await?;
        Ok(probe)
    }

    /// The name that the server gave when the connection was made.
    pub(super) fn server_name(&self) -> &str {
        &self.server_name
    }

    /// Waits for a PONG. Whatever was sent before has been handled then.
    pub(super) async fn ping(&mut self) -> Result<(), ProbeError> {
        self.send("PING\r\n").await?;
        loop {
            let line = self.line().await?;
            if line == "PONG" {
                return Ok(());
            }
            if line.starts_with("-ERR") {
                return Err(ProbeError::Refused);
            }
            if line == "PING" {
                self.send("PONG\r\n").await?;
            }
        }
    }

    /// Publishes a nonce and waits until it comes back through a subscription of its own.
    pub(super) async fn echo(&mut self, subject: &str, nonce: &str) -> Result<(), ProbeError> {
        let ask = format!("SUB {subject} 1\r\nPUB {subject} {}\r\n{nonce}\r\nUNSUB 1\r\n", nonce.len());
        self.send(&ask).await?;
        loop {
            let line = self.line().await?;
            if line == nonce {
                return self.ping().await;
            }
            if line.starts_with("-ERR") {
                return Err(ProbeError::Refused);
            }
        }
    }

    async fn send(&mut self, text: &str) -> Result<(), ProbeError> {
        Ok(self.stream.write_all(text.as_bytes()).await?)
    }

    async fn line(&mut self) -> Result<String, ProbeError> {
        let mut line = Vec::new();
        let n = (&mut self.stream).take(MAX_LINE).read_until(b'\n', &mut line).await?;
        if n == 0 {
            return Err(ProbeError::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let text = String::from_utf8(line).map_err(|_| ProbeError::NotNats)?;
        if !text.ends_with('\n') {
            return Err(ProbeError::NotNats);
        }
        Ok(text.trim_end().to_owned())
    }
}

/// Unpadded base64url, as the protocol wants the signature.
fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| (group << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..=chunk.len() {
            let index = (group >> (18 - 6 * position)) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_the_test_vectors_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64_url(bytes.as_bytes()), text);
        }
        assert_eq!(base64_url(&[0xfb, 0xff]), "-_8");
    }
}
