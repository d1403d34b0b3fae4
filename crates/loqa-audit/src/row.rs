//! A row as it is read back.

use crate::body::Hash;
use crate::record::Kind;
use serde_json::{Map, Value};

/// One row of the record.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Number, from 1, without gaps.
    pub seq: u64,
    /// Hash of the row before it.
    pub prev: Hash,
    /// Hash of this row.
    pub hash: Hash,
    /// The record, byte by byte as it was hashed.
    pub body: String,
    /// The same, read.
    pub record: Map<String, Value>,
}

impl Row {
    /// Reads the columns `seq, prev, hash, body`, and says what is wrong with them.
    pub(crate) fn read(row: &rusqlite::Row<'_>) -> Result<Self, String> {
        let column = |e: rusqlite::Error| e.to_string();
        let seq: i64 = row.get(0).map_err(column)?;
        let body: String = row.get(3).map_err(column)?;
        let record = match serde_json::from_str(&body) {
            Ok(Value::Object(record)) => record,
            Ok(_) | Err(_) => return Err("the record is not a JSON object".to_owned()),
        };
        let seq = u64::try_from(seq).map_err(|_| format!("the number is {seq}"))?;
        Ok(Self { seq, prev: row.get(1).map_err(column)?, hash: row.get(2).map_err(column)?, body, record })
    }

    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_name(self.text("kind")?)
    }

    /// A text field.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.record.get(name)?.as_str()
    }

    /// A number field.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.record.get(name)?.as_u64()
    }

    /// When it was handed over, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn wall_ms(&self) -> Option<i64> {
        self.record.get("wall_ms")?.as_i64()
    }

    /// Name of who acted.
    #[must_use]
    pub fn actor(&self) -> Option<&str> {
        self.record.get("actor")?.get("id")?.as_str()
    }

    /// A text of the effect: `operation` or `target`.
    #[must_use]
    pub fn effect(&self, name: &str) -> Option<&str> {
        self.record.get("effect")?.get(name)?.as_str()
    }

    /// Bytes that left the machine by it.
    #[must_use]
    pub fn bytes_out(&self) -> Option<u64> {
        self.record.get("effect")?.get("bytes_out")?.as_u64()
    }

    /// The row with its hashes as one JSON object, the record embedded as it is.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::json!({
            "seq": self.seq,
            "prev": hex::encode(self.prev),
            "hash": hex::encode(self.hash),
            "record": self.record,
        })
    }
}
