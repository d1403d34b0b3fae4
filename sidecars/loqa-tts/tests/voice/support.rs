//! Where the real parts are, and small ONNX files made by hand.

use loqa_tts::runtime;
use loqa_tts::settings::Settings;
use loqa_tts::{Clause, Speaker, Spoken, TtsError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Generous: only a broken engine waits this long.
pub const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn tool(path: &str) -> PathBuf {
    let tools = std::env::var_os("LOQA_TOOLS").map_or_else(|| repository().join(".tools"), PathBuf::from);
    let tool = tools.join(path);
    assert!(tool.is_file(), "{} is missing: run `npm run setup`", tool.display());
    tool.canonicalize().unwrap()
}

pub fn nats_server() -> PathBuf {
    tool(&format!("nats/nats-server{}", std::env::consts::EXE_SUFFIX))
}

pub fn ort_dylib() -> PathBuf {
    tool(&format!("onnxruntime/{}", runtime::DYLIB_NAME))
}

pub fn starter_model() -> PathBuf {
    repository().join("models/starter/tts/starter-tts.onnx")
}

pub fn settings(cache_bytes: usize) -> Settings {
    let mut settings = Settings::read(&serde_json::Map::new(), &starter_model()).unwrap();
    settings.ort_dylib = Some(ort_dylib());
    settings.cache_bytes = cache_bytes;
    settings
}

/// One speaker for all tests that do not look at the cache: loading takes half a second.
pub fn speaker() -> MutexGuard<'static, Speaker> {
    static SHARED: OnceLock<Mutex<Speaker>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| Mutex::new(Speaker::load(&starter_model(), &settings(0)).unwrap()));
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn clause(text: &str) -> Clause<'_> {
    Clause { text, voice: None, speed: 1.0 }
}

/// Speaks and collects the chunks.
pub fn speak(speaker: &mut Speaker, clause: Clause<'_>) -> Result<(Vec<Vec<i16>>, Spoken), TtsError> {
    let mut chunks = Vec::new();
    let spoken = speaker.speak(clause, &loqa_engine::CancelFlag::new(), |chunk| {
        chunks.push(chunk.to_vec());
        Ok::<(), ()>(())
    })?;
    Ok((chunks, spoken))
}

pub fn seconds(chunks: &[Vec<i16>]) -> f64 {
    chunks.iter().map(Vec::len).sum::<usize>() as f64 / 24_000.0
}

/// ONNX files, field by field, by the numbers of onnx.proto3.
pub mod onnx {
    pub const FLOAT: u64 = 1;
    pub const INT32: u64 = 6;
    pub const INT64: u64 = 7;

    fn varint(mut value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while value > 0x7f {
            out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    }

    pub fn number(field: u64, value: u64) -> Vec<u8> {
        [varint(field << 3), varint(value)].concat()
    }

    pub fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
        [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
    }

    /// A tensor's name, type and shape; `None` is a free dimension.
    pub fn value(name: &str, element: u64, shape: &[Option<u64>]) -> Vec<u8> {
        let dims: Vec<u8> =
            shape.iter().flat_map(|dim| bytes(1, &dim.map_or_else(|| bytes(2, b"n"), |dim| number(1, dim)))).collect();
        let tensor = [number(1, element), bytes(2, &dims)].concat();
        [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
    }

    /// A model that casts its first input to f32 and gives that back under `output`.
    pub fn cast_model(inputs: &[Vec<u8>], first: &str, output: &str) -> Vec<u8> {
        let to_float = [bytes(1, b"to"), number(3, FLOAT), number(20, 2)].concat();
        let node = [bytes(1, first.as_bytes()), bytes(2, output.as_bytes()), bytes(4, b"Cast"), bytes(5, &to_float)];
        let mut graph = [bytes(1, &node.concat()), bytes(2, b"g")].concat();
        for input in inputs {
            graph.extend(bytes(11, input));
        }
        graph.extend(bytes(12, &value(output, FLOAT, &[Some(1), None])));
        [number(1, 8), bytes(7, &graph), bytes(8, &number(2, 13))].concat()
    }
}
