//! Looks into a model file before ONNX Runtime does: what kind of file it is, whether
//! it is complete, and whether it would pull in other files. The runtime's own messages
//! for these cases ("protobuf parsing failed") help nobody, and external data is a way
//! to make it read files that nobody verified.
//!
//! Reads the structure only and skips the weights, so the size of the file hardly matters.
//! It does not judge operators or shapes.

use crate::error::TtsError;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// What the structure of a model file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Size of the file.
    pub file_bytes: u64,
    /// The format that most weights are stored in: `f32`, `f16`, `int8`, …
    pub weights: &'static str,
}

/// Reads the structure of an ONNX file.
pub fn inspect(path: &Path) -> Result<Header, TtsError> {
    let refuse = |reason: String| TtsError::Model { path: path.to_path_buf(), reason };
    let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| refuse(error.to_string()))?;
    if !metadata.is_file() {
        return Err(refuse("is not a file".to_owned()));
    }
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let mut head = [0_u8; 64];
    let head_len = read_up_to(&mut reader, &mut head).map_err(|error| refuse(error.to_string()))?;
    if head_len == 0 {
        return Err(refuse("is empty, fetch it again".to_owned()));
    }
    if let Some(kind) = other_kind(&head[..head_len]) {
        return Err(refuse(format!("is {kind}, not an ONNX model")));
    }
    reader.seek(SeekFrom::Start(0)).map_err(|error| refuse(error.to_string()))?;
    let mut walk = Walk { reader, at: 0, weights: Weights::default() };
    let is_model = walk.message(Message::Model, metadata.len(), 0).map_err(|fault| refuse(fault.to_string()))?;
    if !is_model {
        return Err(refuse("has no graph, it is not an ONNX model".to_owned()));
    }
    Ok(Header { file_bytes: metadata.len(), weights: walk.weights.name() })
}

/// Names files that people put in the place of a model by mistake.
fn other_kind(head: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| head.starts_with(magic);
    Some(match head {
        _ if starts(b"GGUF") => "a GGUF model (llama.cpp)",
        _ if starts(b"lmgg") || starts(b"ggml") || starts(b"tjgg") || starts(b"fmgg") => "a ggml model (whisper.cpp)",
        _ if starts(b"PK\x03\x04") => "a ZIP archive (a PyTorch checkpoint, or voices)",
        _ if starts(b"\x80\x02") => "a pickled PyTorch checkpoint",
        _ if starts(b"\x93NUMPY") => "a NumPy array (a voice?)",
        _ if starts(b"\x7fELF") || starts(b"MZ") || starts(b"\xcf\xfa\xed\xfe") => "a program or library",
        _ if starts(b"RIFF") => "a RIFF file (a sound?)",
        _ if starts(b"version https://git-lfs") => "a Git LFS pointer, the model itself was not fetched",
        _ if starts(b"\x1f\x8b") || starts(b"\xfd7zXZ") || starts(b"\x28\xb5\x2f\xfd") => {
            "a compressed file, unpack it"
        }
        [_, _, _, _, b'O', b'R', b'T', b'M', ..] => "a model in ONNX Runtime's own format",
        [_, _, _, _, _, _, _, _, b'{', b'"', ..] => "a safetensors file",
        _ if starts(b"{") || starts(b"<") || starts(b"#") => "a text file (a failed download?)",
        _ => return None,
    })
}

fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match reader.read(&mut buffer[len..])? {
            0 => break,
            n => len += n,
        }
    }
    Ok(len)
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("is cut off: it ends {missing} bytes too early, fetch it again")]
    Truncated { missing: u64 },
    #[error("is not an ONNX model or is damaged at byte {at}")]
    Malformed { at: u64 },
    #[error("keeps weights in another file (`{file}`); only models in one file are accepted")]
    ExternalData { file: String },
    #[error("is nested too deeply at byte {at}")]
    TooDeep { at: u64 },
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// The messages of onnx.proto that can lead to a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    Function,
}

impl Message {
    /// The message in a field, by the numbers of onnx.proto3.
    fn child(self, field: u64) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::SparseTensor,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            _ => return None,
        })
    }
}

/// Bytes of weights by storage format.
#[derive(Default)]
struct Weights {
    f32: u64,
    f16: u64,
    int8: u64,
    int4: u64,
}

impl Weights {
    /// `data_type` by the numbers of onnx.proto3.
    fn add(&mut self, data_type: u64, bytes: u64) {
        match data_type {
            1 => self.f32 += bytes,
            10 | 16 => self.f16 += bytes,
            2 | 3 => self.int8 += bytes,
            21 | 22 => self.int4 += bytes,
            _ => {}
        }
    }

    /// The format with the most weights, not the most bytes.
    fn name(&self) -> &'static str {
        let counts = [("f32", self.f32 / 4), ("f16", self.f16 / 2), ("int8", self.int8), ("int4", self.int4 * 2)];
        counts.iter().filter(|(_, n)| *n > 0).max_by_key(|(_, n)| *n).map_or("f32", |(name, _)| name)
    }
}

/// Deepest nesting of subgraphs that is followed. Chosen: Kokoro has 1.
const MAX_DEPTH: usize = 24;

struct Walk<R> {
    reader: BufReader<R>,
    at: u64,
    weights: Weights,
}

impl<R: Read + Seek> Walk<R> {
    /// Walks one message that ends at `end`; whether it holds a graph.
    fn message(&mut self, message: Message, end: u64, depth: usize) -> Result<bool, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::TooDeep { at: self.at });
        }
        let mut has_graph = false;
        let mut data_type = 0;
        let mut raw_bytes = 0;
        let mut is_external = false;
        let mut external_file = None;
        while self.at < end {
            let start = self.at;
            let key = self.varint(end)?;
            let (field, wire) = (key >> 3, key & 7);
            if field == 0 {
                return Err(Fault::Malformed { at: start });
            }
            match wire {
                0 => {
                    let value = self.varint(end)?;
                    match (message, field) {
                        (Message::Tensor, 2) => data_type = value,
                        (Message::Tensor, 14) => is_external = value == 1,
                        _ => {}
                    }
                }
                1 => self.skip(8, end)?,
                5 => self.skip(4, end)?,
                2 => {
                    let len = self.varint(end)?;
                    let stop = self.at.checked_add(len).ok_or(Fault::Malformed { at: start })?;
                    if stop > end {
                        // Only the outermost message can be cut off by the end of the file.
                        return Err(if depth == 0 {
                            Fault::Truncated { missing: stop - end }
                        } else {
                            Fault::Malformed { at: start }
                        });
                    }
                    has_graph |= message == Message::Model && field == 7;
                    if let Some(child) = message.child(field) {
                        self.message(child, stop, depth + 1)?;
                    } else if message == Message::Tensor && field == 13 {
                        if let Some(file) = self.external_location(stop)? {
                            external_file = Some(file);
                        }
                    } else {
                        if message == Message::Tensor && matches!(field, 4 | 5 | 9) {
                            raw_bytes += len;
                        }
                        self.skip(len, end)?;
                    }
                }
                _ => return Err(Fault::Malformed { at: start }),
            }
        }
        if is_external || external_file.is_some() {
            let file = external_file.unwrap_or_else(|| "unnamed".to_owned());
            return Err(Fault::ExternalData { file });
        }
        if message == Message::Tensor {
            self.weights.add(data_type, raw_bytes);
        }
        Ok(has_graph)
    }

    /// The value of an entry with the key `location`.
    fn external_location(&mut self, end: u64) -> Result<Option<String>, Fault> {
        let mut key = Vec::new();
        let mut value = Vec::new();
        while self.at < end {
            let start = self.at;
            let tag = self.varint(end)?;
            if tag & 7 != 2 {
                return Err(Fault::Malformed { at: start });
            }
            let len = self.varint(end)?;
            // A path is short; what is longer is no path that anybody has to read.
            if len > end - self.at || len > 4096 {
                return Err(Fault::Malformed { at: start });
            }
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
            self.reader.read_exact(&mut bytes)?;
            self.at += len;
            match tag >> 3 {
                1 => key = bytes,
                2 => value = bytes,
                _ => {}
            }
        }
        Ok((key == b"location").then(|| String::from_utf8_lossy(&value).into_owned()))
    }

    fn varint(&mut self, end: u64) -> Result<u64, Fault> {
        let start = self.at;
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            if self.at >= end {
                return Err(Fault::Truncated { missing: 1 });
            }
            let mut byte = [0];
            self.reader.read_exact(&mut byte)?;
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::Malformed { at: start })
    }

    fn skip(&mut self, len: u64, end: u64) -> Result<(), Fault> {
        if len > end - self.at {
            return Err(Fault::Truncated { missing: len - (end - self.at) });
        }
        let offset = i64::try_from(len).map_err(|_| Fault::Malformed { at: self.at })?;
        self.reader.seek_relative(offset)?;
        self.at += len;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of bytes.
    fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![(number << 3 | 2) as u8];
        let mut len = bytes.len();
        while len > 0x7f {
            out.push((len & 0x7f) as u8 | 0x80);
            len >>= 7;
        }
        out.push(len as u8);
        out.extend(bytes);
        out
    }

    fn inspect_bytes(bytes: &[u8]) -> Result<Header, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, bytes).unwrap();
        inspect(&path).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let error = inspect_bytes(bytes).expect_err("must be refused");
        assert!(error.contains(expected), "{error:?} must say {expected:?}");
    }

    #[test]
    fn files_of_other_kinds_are_named() {
        check(b"", "is empty");
        check(b"GGUF\x03\0\0\0", "a GGUF model");
        check(b"lmgg\x01\0\0\0", "a ggml model");
        check(b"PK\x03\x04", "ZIP archive");
        check(b"<!DOCTYPE html>", "text file");
        check(b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer");
        check(&[0xff; 200], "not an ONNX model");
        check(&[0; 200], "not an ONNX model");
        check(&[8, 9], "has no graph");
    }

    #[test]
    fn a_missing_tail_is_reported() {
        let whole = field(7, &field(1, &[0x12; 0]));
        assert!(inspect_bytes(&whole).is_ok());
        let long = field(7, &field(2, &[b'x'; 100]));
        check(&long[..60], "cut off: it ends 44 bytes too early");
    }

    #[test]
    fn weights_in_another_file_are_refused_wherever_they_are() {
        let entry = [field(1, b"location"), field(2, b"../../etc/passwd")].concat();
        let tensor = [field(13, &entry), vec![14 << 3, 1]].concat();
        check(&field(7, &field(5, &tensor)), "`../../etc/passwd`");
        // In a subgraph's constant.
        let inner = field(1, &field(5, &field(5, &tensor)));
        let nested = field(7, &field(1, &field(5, &field(6, &inner))));
        check(&nested, "another file");
        // Only the flag, without a place.
        check(&field(7, &field(5, &[14 << 3, 1])), "another file");
    }

    #[test]
    fn endless_nesting_is_refused() {
        let mut bytes = Vec::new();
        for _ in 0..100 {
            bytes = field(1, &field(5, &field(6, &bytes)));
        }
        check(&field(7, &bytes), "nested too deeply");
    }

    #[test]
    fn the_storage_format_is_that_of_most_weights() {
        let tensor = |data_type: u8, len: usize| field(5, &[vec![2 << 3, data_type], field(9, &vec![0; len])].concat());
        let graph = [tensor(1, 40), tensor(10, 100)].concat();
        assert_eq!(inspect_bytes(&field(7, &graph)).unwrap().weights, "f16");
    }
}
