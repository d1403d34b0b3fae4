//! Looks at a model file before llama.cpp does: is it GGUF, is it whole, is it a
//! language model. llama.cpp trusts what a file says about itself; a damaged one
//! can end the process. Here every count and every offset is held against the
//! length of the file, and a refusal names what the file is and the way out.
//!
//! Deliberately absent: digests (the hub compares them with the catalogue before
//! it starts an engine) and reading the weights.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Longest key or string that is kept, in bytes. Chosen: chat templates reach about 20 KiB.
const MAX_STRING: u64 = 4 << 20;
/// Most entries of the metadata. Chosen: real files have under 100.
const MAX_KEYS: u64 = 4_096;
/// Most tensors. Chosen: the largest models have a few thousand.
const MAX_TENSORS: u64 = 100_000;
/// GGUF allows arrays of arrays; no model uses more than one level.
const MAX_ARRAY_DEPTH: u32 = 2;
/// Alignment of the tensor data where the file names none, from the GGUF specification.
const DEFAULT_ALIGNMENT: u64 = 32;

/// What the header says about the model.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufHeader {
    /// `general.architecture`, for example `llama`.
    pub architecture: String,
    /// `general.name`, where the file has one.
    pub name: Option<String>,
    /// Weight format, from `general.file_type`: `q8_0`, `q4_k_m`, `f16`, or `unknown`.
    pub quantisation: String,
    /// `general.languages`, BCP 47; empty where the file does not say.
    pub languages: Vec<String>,
    /// Longest context the model was trained for, in tokens; 0 where the file does not say.
    pub context_length: u64,
    /// Whether the file brings a chat template.
    pub has_chat_template: bool,
    /// Number of tensors.
    pub tensors: u64,
    /// Length of the file in bytes.
    pub file_bytes: u64,
}

/// Why a file is refused. The text goes to the user as it is.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// It could not be read; the path or its permissions need a look.
    #[error("cannot read the model file: {0}")]
    Io(#[from] std::io::Error),
    /// It is some other kind of file; the catalogue names the right one.
    #[error("this is not a GGUF model file but {0}; `loqa models list` shows the files that fit")]
    OtherKind(String),
    /// It is a GGUF file of a kind that holds no language model.
    #[error(
        "this GGUF file holds {0}, not a language model that can chat; `loqa models list` shows the files that fit"
    )]
    NoLanguageModel(String),
    /// The header contradicts itself or the file length: download it again.
    #[error("the model file is damaged: {0}; fetch it again and check it with `loqa models verify`")]
    Damaged(String),
    /// It is well-formed but newer or older than what this program reads.
    #[error("the model file needs another version of Loqa: {0}")]
    Unsupported(String),
}

/// Reads and checks the header of `path`.
pub fn check_file(path: &Path) -> Result<GgufHeader, GgufError> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(GgufError::OtherKind("a folder".into()));
    }
    let file = File::open(path)?;
    check(BufReader::with_capacity(1 << 16, file), metadata.len())
}

/// Reads and checks a header from any source that is `file_bytes` long.
pub fn check(source: impl Read + Seek, file_bytes: u64) -> Result<GgufHeader, GgufError> {
    let mut reader = Reader { source, at: 0, len: file_bytes };
    if file_bytes == 0 {
        return Err(GgufError::Damaged("it is empty".into()));
    }
    let mut start = [0_u8; 16];
    let known = usize::try_from(file_bytes.min(16)).unwrap_or(16);
    reader.source.read_exact(&mut start[..known])?;
    reader.at = known as u64;
    if known < 4 || &start[..4] != b"GGUF" {
        return Err(GgufError::OtherKind(other_kind(&start[..known]).into()));
    }
    reader.seek(4)?;
    let version = reader.u32()?;
    match version {
        2 | 3 => {}
        1 => return Err(GgufError::Unsupported("GGUF version 1 is too old, convert it again".into())),
        _ if matches!(version.swap_bytes(), 1..=3) => {
            return Err(GgufError::Unsupported("it is written for big-endian machines".into()));
        }
        other => return Err(GgufError::Unsupported(format!("GGUF version {other}, this program reads 2 and 3"))),
    }
    let tensors = reader.u64()?;
    let keys = reader.u64()?;
    // Even the shortest entry of each kind needs this many bytes.
    if keys > MAX_KEYS || keys.saturating_mul(13) > file_bytes {
        return Err(GgufError::Damaged(format!("it claims {keys} metadata entries in {file_bytes} bytes")));
    }
    if tensors > MAX_TENSORS || tensors.saturating_mul(24) > file_bytes {
        return Err(GgufError::Damaged(format!("it claims {tensors} tensors in {file_bytes} bytes")));
    }

    let mut values: HashMap<String, Value> = HashMap::new();
    for _ in 0..keys {
        let key = reader.string(256, "a metadata key")?;
        let kind = reader.u32()?;
        let value = reader.value(kind, &key, 0)?;
        if values.insert(key.clone(), value).is_some() {
            return Err(GgufError::Damaged(format!("the metadata entry `{key}` occurs twice")));
        }
    }
    let alignment = match values.get("general.alignment") {
        None => DEFAULT_ALIGNMENT,
        Some(value) => match value.as_u64() {
            Some(n) if n.is_power_of_two() && (8..=65_536).contains(&n) => n,
            _ => return Err(GgufError::Damaged("`general.alignment` is not a sensible power of two".into())),
        },
    };
    check_tensors(&mut reader, tensors, alignment)?;
    summarise(&values, tensors, file_bytes)
}

/// Every tensor must have a known type, sane dimensions, and lie inside the file.
fn check_tensors<R: Read + Seek>(reader: &mut Reader<R>, tensors: u64, alignment: u64) -> Result<(), GgufError> {
    let mut furthest: (u64, String) = (0, String::new());
    for _ in 0..tensors {
        let name = reader.string(256, "a tensor name")?;
        let n_dims = reader.u32()?;
        if !(1..=4).contains(&n_dims) {
            return Err(GgufError::Damaged(format!("tensor `{name}` has {n_dims} dimensions")));
        }
        let mut dims = [1_u64; 4];
        for dim in dims.iter_mut().take(n_dims as usize) {
            *dim = reader.u64()?;
        }
        let kind = reader.u32()?;
        let offset = reader.u64()?;
        let (block, block_bytes) = tensor_type(kind).ok_or_else(|| {
            GgufError::Unsupported(format!("tensor `{name}` has the weight format {kind}, which is unknown here"))
        })?;
        let elements = dims.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim));
        let bytes = elements
            .filter(|n| *n > 0 && dims[0].is_multiple_of(block))
            .and_then(|n| (n / block).checked_mul(block_bytes))
            .ok_or_else(|| GgufError::Damaged(format!("tensor `{name}` has impossible dimensions")))?;
        if !offset.is_multiple_of(alignment) {
            return Err(GgufError::Damaged(format!("tensor `{name}` is not aligned")));
        }
        let end = offset
            .checked_add(bytes)
            .ok_or_else(|| GgufError::Damaged(format!("tensor `{name}` lies beyond the end of the file")))?;
        if end > furthest.0 {
            furthest = (end, name);
        }
    }
    let data_start = reader.at.div_ceil(alignment).saturating_mul(alignment);
    let needed = data_start.saturating_add(furthest.0);
    if needed > reader.len {
        return Err(GgufError::Damaged(format!(
            "it ends too early: tensor `{}` needs {needed} bytes, the file has {}",
            furthest.1, reader.len
        )));
    }
    Ok(())
}

fn summarise(values: &HashMap<String, Value>, tensors: u64, file_bytes: u64) -> Result<GgufHeader, GgufError> {
    let text = |key: &str| values.get(key).and_then(Value::as_str);
    let architecture = text("general.architecture")
        .ok_or_else(|| GgufError::Damaged("`general.architecture` is missing".into()))?
        .to_owned();
    match text("general.type") {
        None | Some("model") => {}
        Some("adapter") => return Err(GgufError::NoLanguageModel("a LoRA adapter".into())),
        Some("mmproj") => return Err(GgufError::NoLanguageModel("the image part of a model".into())),
        Some(other) => return Err(GgufError::NoLanguageModel(format!("a `{other}`"))),
    }
    let count = |key: &str| values.get(key).and_then(Value::as_u64);
    if let Some(parts) = count("split.count").filter(|n| *n > 1) {
        return Err(GgufError::Unsupported(format!(
            "it is one of {parts} parts; join them with llama-gguf-split --merge first"
        )));
    }
    const NOT_FOR_CHAT: [&str; 12] = [
        "whisper",
        "clip",
        "bert",
        "nomic-bert",
        "nomic-bert-moe",
        "jina-bert-v2",
        "jina-bert-v3",
        "modern-bert",
        "t5encoder",
        "wavtokenizer-dec",
        "kokoro",
        "sd",
    ];
    if NOT_FOR_CHAT.contains(&architecture.as_str()) {
        return Err(GgufError::NoLanguageModel(format!("a model of the kind `{architecture}`")));
    }
    if tensors == 0 {
        return Err(GgufError::NoLanguageModel("no weights, only a vocabulary".into()));
    }
    if !matches!(values.get("tokenizer.ggml.tokens"), Some(Value::Array { len, .. }) if *len > 0) {
        return Err(GgufError::Damaged("`tokenizer.ggml.tokens` is missing or empty".into()));
    }
    // llama.cpp divides by these.
    for key in ["attention.head_count", "embedding_length", "block_count"] {
        let key = format!("{architecture}.{key}");
        if count(&key) == Some(0) {
            return Err(GgufError::Damaged(format!("`{key}` is 0")));
        }
    }
    Ok(GgufHeader {
        name: text("general.name").map(str::to_owned),
        quantisation: count("general.file_type").and_then(file_type).unwrap_or("unknown").to_owned(),
        languages: match values.get("general.languages") {
            Some(Value::Array { strings, .. }) => strings.clone(),
            _ => Vec::new(),
        },
        context_length: count(&format!("{architecture}.context_length")).unwrap_or(0),
        has_chat_template: text("tokenizer.chat_template").is_some_and(|t| !t.trim().is_empty()),
        architecture,
        tensors,
        file_bytes,
    })
}

/// What a file that is not GGUF most likely is, from its first bytes.
fn other_kind(start: &[u8]) -> &'static str {
    let lower: Vec<u8> = start.iter().map(u8::to_ascii_lowercase).collect();
    let trimmed = lower.trim_ascii_start();
    match start {
        [b'l', b'm', b'g', b'g', ..] => "a ggml file (Whisper speech models look like this)",
        [b't' | b'f', b'j' | b'm', b'g', b'g', ..] => "an old ggml model; convert it to GGUF",
        [b'F', b'U', b'G', b'G', ..] => "a big-endian GGUF file",
        [b'P', b'K', 3, 4, ..] => "a zip archive (PyTorch weights look like this)",
        [0x1f, 0x8b, ..] => "a gzip archive; unpack it first",
        [0x08, _, 0x12, ..] | [0x08, _, b':' | b'"', ..] => "an ONNX model",
        [0x80, ..] => "a Python pickle",
        [0x7f, b'E', b'L', b'F', ..] | [b'M', b'Z', ..] => "a program",
        _ if trimmed.starts_with(b"<!doc") || trimmed.starts_with(b"<html") => "a web page; the download failed",
        _ if trimmed.starts_with(b"version https") => "a git-lfs pointer; fetch the file itself",
        _ if start.len() > 8 && start[8] == b'{' => "a safetensors file; convert it to GGUF",
        _ if trimmed.starts_with(b"{") => "JSON text",
        _ if start.iter().all(|b| *b == 0) => "a file full of zeros; the download was cut off",
        _ => "something unknown",
    }
}

/// Elements per block and bytes per block of a tensor type, from ggml.h of the linked
/// version. `None` for numbers that it does not know or has removed.
const fn tensor_type(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 | 26 => (1, 4),      // f32, i32
        1 | 25 | 30 => (1, 2), // f16, i16, bf16
        2 => (32, 18),         // q4_0
        3 => (32, 20),         // q4_1
        6 => (32, 22),         // q5_0
        7 => (32, 24),         // q5_1
        8 => (32, 34),         // q8_0
        9 => (32, 36),         // q8_1
        10 => (256, 84),       // q2_k
        11 => (256, 110),      // q3_k
        12 => (256, 144),      // q4_k
        13 => (256, 176),      // q5_k
        14 => (256, 210),      // q6_k
        15 => (256, 292),      // q8_k
        16 => (256, 66),       // iq2_xxs
        17 => (256, 74),       // iq2_xs
        18 => (256, 98),       // iq3_xxs
        19 => (256, 50),       // iq1_s
        20 => (32, 18),        // iq4_nl
        21 => (256, 110),      // iq3_s
        22 => (256, 82),       // iq2_s
        23 => (256, 136),      // iq4_xs
        24 => (1, 1),          // i8
        27 | 28 => (1, 8),     // i64, f64
        29 => (256, 56),       // iq1_m
        34 => (256, 54),       // tq1_0
        35 => (256, 66),       // tq2_0
        39 => (32, 17),        // mxfp4
        40 => (64, 36),        // nvfp4
        41 => (128, 18),       // q1_0
        42 => (64, 18),        // q2_0
        _ => return None,
    })
}

/// Names of llama.cpp's `LLAMA_FTYPE_*` numbers.
const fn file_type(kind: u64) -> Option<&'static str> {
    Some(match kind {
        0 => "f32",
        1 => "f16",
        2 => "q4_0",
        3 => "q4_1",
        7 => "q8_0",
        8 => "q5_0",
        9 => "q5_1",
        10 => "q2_k",
        11 => "q3_k_s",
        12 => "q3_k_m",
        13 => "q3_k_l",
        14 => "q4_k_s",
        15 => "q4_k_m",
        16 => "q5_k_s",
        17 => "q5_k_m",
        18 => "q6_k",
        19 => "iq2_xxs",
        20 => "iq2_xs",
        21 => "q2_k_s",
        22 => "iq3_xs",
        23 => "iq3_xxs",
        24 => "iq1_s",
        25 => "iq4_nl",
        26 => "iq3_s",
        27 => "iq3_m",
        28 => "iq2_s",
        29 => "iq2_m",
        30 => "iq4_xs",
        31 => "iq1_m",
        32 => "bf16",
        36 => "tq1_0",
        37 => "tq2_0",
        38 => "mxfp4",
        39 => "nvfp4",
        40 => "q1_0",
        41 => "q2_0",
        _ => return None,
    })
}

#[derive(Debug)]
enum Value {
    Unsigned(u64),
    Signed(i64),
    Other,
    Text(String),
    /// Strings are kept for short arrays only (`general.languages`).
    Array {
        len: u64,
        strings: Vec<String>,
    },
}

impl Value {
    fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(n) => Some(*n),
            Self::Signed(n) => u64::try_from(*n).ok(),
            Self::Other | Self::Text(_) | Self::Array { .. } => None,
        }
    }

    fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Unsigned(_) | Self::Signed(_) | Self::Other | Self::Array { .. } => None,
        }
    }
}

/// Reads little-endian values and never past the known length.
struct Reader<R> {
    source: R,
    at: u64,
    len: u64,
}

impl<R: Read + Seek> Reader<R> {
    fn seek(&mut self, to: u64) -> Result<(), GgufError> {
        if to > self.len {
            return Err(Self::too_short());
        }
        let by = i64::try_from(to).ok().zip(i64::try_from(self.at).ok()).map(|(to, at)| to - at);
        // A relative seek keeps the buffer when the target lies inside it.
        match by {
            Some(by) => self.source.seek(SeekFrom::Current(by))?,
            None => self.source.seek(SeekFrom::Start(to))?,
        };
        self.at = to;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), GgufError> {
        self.seek(self.at.checked_add(bytes).ok_or_else(Self::too_short)?)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        if self.len - self.at < N as u64 {
            return Err(Self::too_short());
        }
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn string(&mut self, longest: u64, what: &str) -> Result<String, GgufError> {
        let len = self.u64()?;
        if len > longest || len > self.len - self.at {
            return Err(GgufError::Damaged(format!("{what} claims to be {len} bytes long")));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| Self::too_short())?];
        self.source.read_exact(&mut bytes)?;
        self.at += len;
        String::from_utf8(bytes).map_err(|_| GgufError::Damaged(format!("{what} is not UTF-8")))
    }

    fn value(&mut self, kind: u32, key: &str, depth: u32) -> Result<Value, GgufError> {
        Ok(match kind {
            0 => Value::Unsigned(u64::from(u8::from_le_bytes(self.bytes()?))),
            1 => Value::Signed(i64::from(i8::from_le_bytes(self.bytes()?))),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.bytes()?))),
            3 => Value::Signed(i64::from(i16::from_le_bytes(self.bytes()?))),
            4 => Value::Unsigned(u64::from(self.u32()?)),
            5 => Value::Signed(i64::from(i32::from_le_bytes(self.bytes()?))),
            6 => {
                self.skip(4)?;
                Value::Other
            }
            7 => {
                self.skip(1)?;
                Value::Other
            }
            8 => Value::Text(self.string(MAX_STRING, &format!("the metadata entry `{key}`"))?),
            9 => self.array(key, depth)?,
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.bytes()?)),
            12 => {
                self.skip(8)?;
                Value::Other
            }
            other => {
                return Err(GgufError::Damaged(format!("the metadata entry `{key}` has the unknown type {other}")));
            }
        })
    }

    fn array(&mut self, key: &str, depth: u32) -> Result<Value, GgufError> {
        if depth >= MAX_ARRAY_DEPTH {
            return Err(GgufError::Damaged(format!("the metadata entry `{key}` is nested too deeply")));
        }
        let kind = self.u32()?;
        let len = self.u64()?;
        let element: u64 = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 => 8, // at least its length
            9 => 12,
            10..=12 => 8,
            other => {
                return Err(GgufError::Damaged(format!("the array `{key}` has the unknown type {other}")));
            }
        };
        if len.checked_mul(element).is_none_or(|bytes| bytes > self.len - self.at) {
            return Err(GgufError::Damaged(format!("the array `{key}` claims {len} elements")));
        }
        let mut strings = Vec::new();
        match kind {
            8 => {
                for _ in 0..len {
                    if len <= 32 {
                        strings.push(self.string(MAX_STRING, &format!("an element of `{key}`"))?);
                    } else {
                        let bytes = self.u64()?;
                        if bytes > MAX_STRING {
                            return Err(GgufError::Damaged(format!("an element of `{key}` claims {bytes} bytes")));
                        }
                        self.skip(bytes)?;
                    }
                }
            }
            9 => {
                for _ in 0..len {
                    self.array(key, depth + 1)?;
                }
            }
            _ => self.skip(len * element)?,
        }
        Ok(Value::Array { len, strings })
    }

    fn too_short() -> GgufError {
        GgufError::Damaged("it ends in the middle of its header".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use std::path::PathBuf;

    fn starter() -> Vec<u8> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/starter/llm/reflex-q8_0.gguf");
        std::fs::read(&path).expect("the bundled model; run `npm run setup`")
    }

    fn verdict(bytes: &[u8]) -> Result<GgufHeader, GgufError> {
        check(Cursor::new(bytes), bytes.len() as u64)
    }

    #[test]
    fn the_bundled_model_passes() {
        let header = verdict(&starter()).expect("a whole file");
        assert_eq!(header.architecture, "llama");
        assert_eq!(header.quantisation, "q8_0");
        assert_eq!(header.context_length, 512);
        assert!(header.has_chat_template);
    }

    #[test]
    fn the_table_of_weight_formats_is_that_of_the_linked_ggml() {
        // bindgen's type for C enums differs between platforms.
        let count = u32::try_from(i64::from(llama_cpp_sys_2::GGML_TYPE_COUNT)).expect("positive");
        for kind in 0..count {
            // SAFETY: both only read a static table, and `kind` is below its length.
            let theirs =
                unsafe { (llama_cpp_sys_2::ggml_blck_size(kind as _), llama_cpp_sys_2::ggml_type_size(kind as _)) };
            let theirs = (theirs.1 > 0).then(|| (u64::try_from(theirs.0).expect("positive"), theirs.1 as u64));
            assert_eq!(tensor_type(kind), theirs, "weight format {kind}");
        }
        assert_eq!(tensor_type(count), None);
    }

    #[test]
    fn every_truncation_is_named_as_damage() {
        let whole = starter();
        // The header ends before the first 128 KiB; beyond it, coarse steps suffice.
        let cuts = (4..131_072).step_by(37).chain((131_072..whole.len()).step_by(60_011)).chain([whole.len() - 1]);
        for cut in cuts {
            let error = verdict(&whole[..cut]).expect_err("a cut file");
            assert!(matches!(error, GgufError::Damaged(_)), "cut at {cut}: {error}");
        }
    }

    #[test]
    fn other_files_are_named() {
        for (bytes, word) in [
            (&b""[..], "empty"),
            (b"G", "unknown"),
            (b"lmgg\x00\x00\x00\x00", "Whisper"),
            (b"PK\x03\x04rest", "zip"),
            (b"\n<!DOCTYPE html>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1", "git-lfs"),
            (b"\x10\x00\x00\x00\x00\x00\x00\x00{\"a\":1}", "safetensors"),
            (b"\x08\x0a\x12\x07pytorch", "ONNX"),
            (&[0; 64], "zeros"),
            (b"GGUF\x00\x00\x00\x03\x00\x00\x00\x00", "big-endian"),
            (b"GGUF\x09\x00\x00\x00\x00\x00\x00\x00", "version 9"),
        ] {
            let text = verdict(bytes).expect_err("not a model").to_string();
            assert!(text.contains(word), "expected `{word}` in: {text}");
        }
        assert!(check_file(Path::new("/")).expect_err("a folder").to_string().contains("folder"));
    }

    #[test]
    fn two_thousand_mutated_headers_neither_panic_nor_run_away() {
        let whole = starter();
        let header_end = 131_072.min(whole.len());
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).expect("fits")
        };
        let mut refused = 0;
        for round in 0..2_000 {
            let mut bytes = whole.clone();
            for _ in 0..=next(8) {
                // Half of the mutations go where the counts and lengths are densest.
                let at = if round % 2 == 0 { next(2_048) } else { next(header_end) };
                match next(4) {
                    0 => bytes[at] ^= 1 << next(8),
                    1 => bytes[at] = 0xff,
                    2 => bytes[at..(at + 8).min(header_end)].fill(0xff),
                    _ => bytes[at] = u8::try_from(next(256)).expect("a byte"),
                }
            }
            if next(4) == 0 {
                bytes.truncate(next(bytes.len()));
            }
            refused += u32::from(verdict(&bytes).is_err());
        }
        assert!(refused > 500, "mutations in counts must be seen, only {refused} were");
    }
}
