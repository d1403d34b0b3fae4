//! Events of the Wyoming protocol on a stream of bytes: one line of JSON, then further
//! data, then the payload. Every length is judged before anything is read for it.
//!
//! Deliberately absent: what events mean.

use serde_json::{Map, Value};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// Longest header line in bytes. Chosen: older clients put their data there.
pub const MAX_HEADER: usize = 64 * 1024;
/// Longest further data in bytes. Chosen: a request is a sentence with some context.
pub const MAX_DATA: usize = 256 * 1024;
/// Longest payload in bytes. Chosen: ten seconds of the widest sound that is read, in one piece.
pub const MAX_PAYLOAD: usize = 4 * 1024 * 1024;

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What it is, for example `audio-chunk`.
    pub kind: String,
    /// Its fields.
    pub data: Map<String, Value>,
    /// Raw bytes, for example sound.
    pub payload: Vec<u8>,
}

/// Bytes that are no event. There is no way to find the next one, so the connection ends.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream ended within an event.
    #[error("the event is cut off")]
    CutOff,
    /// A part is longer than is read.
    #[error("the {part} is longer than {limit} bytes")]
    TooLong {
        /// Which part.
        part: &'static str,
        /// Its limit.
        limit: usize,
    },
    /// The line or the data cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// The stream broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Event {
    /// An event without payload.
    #[must_use]
    pub fn new(kind: &str, data: Value) -> Self {
        let data = if let Value::Object(data) = data { data } else { Map::new() };
        Self { kind: kind.to_owned(), data, payload: Vec::new() }
    }

    /// The same with a payload.
    #[must_use]
    pub fn with_payload(self, payload: Vec<u8>) -> Self {
        Self { payload, ..self }
    }

    /// A field that is a text.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.data.get(field).and_then(Value::as_str)
    }

    /// The bytes that are sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut header = Map::new();
        header.insert("type".to_owned(), Value::from(self.kind.clone()));
        header.insert("version".to_owned(), Value::from(env!("CARGO_PKG_VERSION")));
        let data = if self.data.is_empty() { Vec::new() } else { Value::Object(self.data.clone()).to_string().into() };
        if !data.is_empty() {
            header.insert("data_length".to_owned(), Value::from(data.len()));
        }
        if !self.payload.is_empty() {
            header.insert("payload_length".to_owned(), Value::from(self.payload.len()));
        }
        let mut bytes = Value::Object(header).to_string().into_bytes();
        bytes.push(b'\n');
        bytes.extend(data);
        bytes.extend(&self.payload);
        bytes
    }
}

/// Reads one event; `None` when the stream ended before it.
///
/// # Errors
/// The bytes are no event, see [`FrameError`].
pub async fn read(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Event>, FrameError> {
    let mut line = Vec::new();
    let limit = u64::try_from(MAX_HEADER).unwrap_or(u64::MAX);
    (&mut *reader).take(limit).read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => return Ok(None),
        Some(b'\n') => {}
        Some(_) if line.len() + 1 >= MAX_HEADER => {
            return Err(FrameError::TooLong { part: "header", limit: MAX_HEADER });
        }
        Some(_) => return Err(FrameError::CutOff),
    }
    let mut header = object(&line, "header")?;
    let Some(Value::String(kind)) = header.remove("type") else {
        return Err(FrameError::Malformed("the header has no text `type`".to_owned()));
    };
    let data_length = length(&header, "data_length", "data", MAX_DATA)?;
    let payload_length = length(&header, "payload_length", "payload", MAX_PAYLOAD)?;
    let mut data = match header.remove("data") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(data)) => data,
        Some(_) => return Err(FrameError::Malformed("`data` is no object".to_owned())),
    };
    if data_length > 0 {
        data.extend(object(&exactly(reader, data_length).await?, "data")?);
    }
    let payload = exactly(reader, payload_length).await?;
    Ok(Some(Event { kind, data, payload }))
}

fn object(bytes: &[u8], part: &str) -> Result<Map<String, Value>, FrameError> {
    // The reason names a place, never what was said.
    serde_json::from_slice(bytes).map_err(|e| {
        FrameError::Malformed(format!("the {part} is no JSON object (line {}, column {})", e.line(), e.column()))
    })
}

fn length(header: &Map<String, Value>, field: &str, part: &'static str, limit: usize) -> Result<usize, FrameError> {
    match header.get(field) {
        None | Some(Value::Null) => Ok(0),
        Some(value) => {
            let length = value.as_u64().ok_or_else(|| FrameError::Malformed(format!("`{field}` is no length")))?;
            usize::try_from(length).ok().filter(|n| *n <= limit).ok_or(FrameError::TooLong { part, limit })
        }
    }
}

/// Memory grows with what arrives, not with what was announced.
async fn exactly(reader: &mut (impl AsyncBufRead + Unpin), n_bytes: usize) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::new();
    reader.take(u64::try_from(n_bytes).unwrap_or(u64::MAX)).read_to_end(&mut bytes).await?;
    if bytes.len() == n_bytes { Ok(bytes) } else { Err(FrameError::CutOff) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    async fn all(mut bytes: &[u8]) -> (Vec<Event>, Option<FrameError>) {
        let mut events = Vec::new();
        loop {
            match read(&mut bytes).await {
                Ok(Some(event)) => events.push(event),
                Ok(None) => return (events, None),
                Err(error) => return (events, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn an_event_survives_the_round_trip() {
        let sent = [
            Event::new("describe", Value::Null),
            Event::new("transcript", json!({"text": "süß\n", "context": {"conversation_id": "c"}})),
            Event::new("audio-chunk", json!({"rate": 16_000, "width": 2, "channels": 1})).with_payload(vec![10; 4_096]),
        ];
        let bytes: Vec<u8> = sent.iter().flat_map(Event::encode).collect();
        let (received, error) = all(&bytes).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(received, sent);
    }

    #[tokio::test]
    async fn data_may_stand_in_the_header_and_the_further_data_wins() {
        let (events, error) =
            all(b"{\"type\":\"ping\",\"data\":{\"text\":\"a\",\"x\":1},\"data_length\":12}\n{\"text\":\"b\"}").await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(Value::Object(events[0].data.clone()), json!({"text": "b", "x": 1}));
    }

    #[tokio::test]
    async fn lengths_are_judged_before_they_are_believed() {
        let long = format!("{{\"type\":\"x\",\"payload_length\":{}}}\n", MAX_PAYLOAD + 1);
        assert!(matches!(all(long.as_bytes()).await.1, Some(FrameError::TooLong { part: "payload", .. })));
        let long = format!("{{\"type\":\"x\",\"data_length\":{}}}\n", u64::MAX);
        assert!(matches!(all(long.as_bytes()).await.1, Some(FrameError::TooLong { part: "data", .. })));
        let long = vec![b' '; MAX_HEADER + 1];
        assert!(matches!(all(&long).await.1, Some(FrameError::TooLong { part: "header", .. })));
        for bad in ["-1", "1.5", "\"3\"", "[]", "1e3"] {
            let text = format!("{{\"type\":\"x\",\"data_length\":{bad}}}\n");
            assert!(matches!(all(text.as_bytes()).await.1, Some(FrameError::Malformed(_))), "{bad}");
        }
    }

    #[tokio::test]
    async fn what_is_no_event_is_refused_by_name() {
        for (bytes, reason) in [
            (&b"{\"type\":\"x\"}"[..], "the event is cut off"),
            (b"{\"type\":\"x\",\"payload_length\":3}\nab", "the event is cut off"),
            (b"GET / HTTP/1.1\n", "the header is no JSON object (line 1, column 1)"),
            (b"[]\n", "the header is no JSON object (line 1, column 0)"),
            (b"{}\n", "the header has no text `type`"),
            (b"{\"type\":7}\n", "the header has no text `type`"),
            (b"{\"type\":\"x\",\"data\":[]}\n", "`data` is no object"),
            (b"{\"type\":\"x\",\"data_length\":2}\n[]", "the data is no JSON object (line 1, column 0)"),
        ] {
            let (events, error) = all(bytes).await;
            assert!(events.is_empty());
            assert_eq!(error.unwrap().to_string(), reason, "{}", bytes.escape_ascii());
        }
        assert!(all(b"").await.1.is_none(), "an end between two events is no fault");
    }

    /// Number of mutated streams: `LOQA_TEST_FRAMES`, else 20,000 (a second).
    #[tokio::test]
    async fn mutated_frames_neither_panic_nor_hang_nor_grow() {
        let rounds = std::env::var("LOQA_TEST_FRAMES").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
        let seed: Vec<u8> = [
            Event::new("transcribe", json!({"language": "en"})),
            Event::new("audio-chunk", json!({"rate": 16_000, "width": 2, "channels": 1})).with_payload(vec![7; 64]),
            Event::new("synthesize", json!({"text": "hello", "voice": {"name": "x"}})),
        ]
        .iter()
        .flat_map(Event::encode)
        .collect();
        let mut random = crate::testing::Random::new(11);
        let (mut refused, mut read) = (0, 0);
        for _ in 0..rounds {
            let bytes = random.mutated(&seed);
            let (events, error) = all(&bytes).await;
            let size: usize = events.iter().map(|event| event.payload.len()).sum();
            assert!(size <= bytes.len(), "no more comes out than went in");
            refused += usize::from(error.is_some());
            read += events.len();
        }
        assert!(refused > rounds / 4 && read > rounds / 4, "the mutations reach both ways: {refused} {read}");
    }
}
