//! Reads the header of a whisper.cpp model file and walks over its tensors, so
//! that a file that is empty, cut short or of another kind is refused with a
//! reason before whisper.cpp sees it: whisper.cpp itself would load a file without
//! weights, and index past its vocabulary when the header lies.
//!
//! Deliberately absent: digests. The hub has compared them with the catalog.

use crate::mel::MelFilters;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// `ggml` read as a little-endian number: the first four bytes are `lmgg`.
const MAGIC: u32 = 0x6767_6d6c;
/// FFT bins that the filters weigh: half of Whisper's 400-sample window, plus one.
const FFT_BINS: usize = 201;
/// Vocabulary of the English models; the special tokens' numbers start from it.
const ENGLISH_VOCABULARY: u32 = 51_864;
/// Vocabulary with the most languages that whisper.cpp 1.8.3 has names for (100).
const LARGEST_VOCABULARY: u32 = 51_866;

/// What the header says about the model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelHeader {
    /// Size of the vocabulary, special tokens included.
    pub vocabulary: u32,
    /// Most positions that the encoder takes; 50 a second.
    pub audio_ctx: u32,
    /// Width of the encoder.
    pub audio_state: u32,
    /// Layers of the encoder.
    pub audio_layers: u32,
    /// Most tokens that the decoder takes.
    pub text_ctx: u32,
    /// Layers of the decoder.
    pub text_layers: u32,
    /// Mel bands.
    pub mels: u32,
    /// Weight format, for example `q8_0`.
    pub quantisation: &'static str,
    /// The mel filter bank of the file.
    pub filters: MelFilters,
    /// Length of the file in bytes.
    pub bytes: u64,
}

impl ModelHeader {
    /// Whether the model knows more languages than English.
    #[must_use]
    pub fn is_multilingual(&self) -> bool {
        self.vocabulary > ENGLISH_VOCABULARY
    }

    /// Whether the model is smaller than any that OpenAI published (`tiny` is 384
    /// wide): Loqa's own starter models, which were trained on short windows.
    #[must_use]
    pub fn is_starter_class(&self) -> bool {
        self.audio_state < 384
    }
}

/// Why a file is not a usable model. The text names the file, what it looks like
/// and the way out.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// The file cannot be opened or read.
    #[error("speech model `{}` cannot be read: {source}; check the path and its permissions, or fetch the model again with `loqa models verify`", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is something else.
    #[error("speech model `{}` is {looks_like}; loqa-stt needs a whisper.cpp ggml file (ggml-*.bin): choose one of `loqa models list`", .path.display())]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// What it looks like, with its article.
        looks_like: &'static str,
    },
    /// The file begins as it should, but is damaged.
    #[error("speech model `{}` is damaged: {what}; fetch it again, `loqa models verify` shows which files are bad", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// Reads and checks `path`.
///
/// # Errors
/// [`ModelFileError`] when whisper.cpp could not or must not load the file.
pub fn inspect(path: &Path) -> Result<ModelHeader, ModelFileError> {
    let unreadable = |source| ModelFileError::Unreadable { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(ModelFileError::OtherKind { path: path.to_owned(), looks_like: "a folder" });
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut reader = Reader { inner: BufReader::new(file), path, length: metadata.len(), position: 0 };
    reader.model()
}

struct Reader<'a> {
    inner: BufReader<File>,
    path: &'a Path,
    length: u64,
    position: u64,
}

impl Reader<'_> {
    fn model(&mut self) -> Result<ModelHeader, ModelFileError> {
        self.magic()?;
        let [vocabulary, audio_ctx, audio_state, audio_heads, audio_layers] = self.numbers("the header")?;
        let [text_ctx, text_state, text_heads, text_layers, mels, ftype] = self.numbers("the header")?;

        self.within("vocabulary size", vocabulary, ENGLISH_VOCABULARY..=LARGEST_VOCABULARY)?;
        self.within("audio context", audio_ctx, 64..=1_500)?;
        self.within("encoder width", audio_state, 32..=2_560)?;
        self.within("encoder heads", audio_heads, 1..=64)?;
        self.within("encoder layers", audio_layers, 1..=64)?;
        self.within("text context", text_ctx, 16..=1_024)?;
        self.within("decoder heads", text_heads, 1..=64)?;
        self.within("decoder layers", text_layers, 1..=64)?;
        if text_state != audio_state {
            return Err(self.damaged(format!("encoder and decoder differ in width: {audio_state} and {text_state}")));
        }
        if !audio_state.is_multiple_of(audio_heads) || !text_state.is_multiple_of(text_heads) {
            return Err(self
                .damaged(format!("width {audio_state} cannot be divided among {audio_heads} and {text_heads} heads")));
        }
        if mels != 80 && mels != 128 {
            return Err(self.damaged(format!("Whisper models have 80 or 128 mel bands: {mels}")));
        }
        let Some(quantisation) = quantisation_name(ftype) else {
            return Err(self.damaged(format!("unknown weight format: {ftype}")));
        };

        let filters = self.filters(mels)?;
        self.vocabulary(vocabulary)?;
        let n_tensors = self.tensors()?;
        if n_tensors == 0 {
            return Err(self.damaged("it holds a vocabulary but no weights".to_owned()));
        }
        Ok(ModelHeader {
            vocabulary,
            audio_ctx,
            audio_state,
            audio_layers,
            text_ctx,
            text_layers,
            mels,
            quantisation,
            filters,
            bytes: self.length,
        })
    }

    fn magic(&mut self) -> Result<(), ModelFileError> {
        let mut head = Vec::with_capacity(64);
        self.inner.by_ref().take(64).read_to_end(&mut head).map_err(|source| self.unreadable(source))?;
        if let Some(looks_like) = other_kind(&head) {
            return Err(ModelFileError::OtherKind { path: self.path.to_owned(), looks_like });
        }
        self.seek(4)
    }

    fn filters(&mut self, mels: u32) -> Result<MelFilters, ModelFileError> {
        let [n_mel, n_fft] = self.numbers("the mel filters")?;
        if n_mel != mels || n_fft as usize != FFT_BINS {
            return Err(self.damaged(format!("mel filters are {n_mel} by {n_fft} instead of {mels} by {FFT_BINS}")));
        }
        let mut weights = vec![0_u8; n_mel as usize * FFT_BINS * 4];
        self.read_exact(&mut weights, "the mel filters")?;
        let (quads, _) = weights.as_chunks::<4>();
        let weights: Vec<f32> = quads.iter().map(|quad| f32::from_le_bytes(*quad)).collect();
        MelFilters::new(mels as usize, weights)
            .ok_or_else(|| self.damaged("mel filters hold values that are not numbers".to_owned()))
    }

    fn vocabulary(&mut self, vocabulary: u32) -> Result<(), ModelFileError> {
        let [n_words] = self.numbers("the vocabulary")?;
        self.within("number of words", n_words, 1..=vocabulary)?;
        for _ in 0..n_words {
            let [length] = self.numbers("the vocabulary")?;
            self.within("length of a word", length, 0..=1_024)?;
            self.skip(u64::from(length), "the vocabulary")?;
        }
        Ok(())
    }

    /// Walks to the end of the file; its length must be used up to the last byte.
    fn tensors(&mut self) -> Result<usize, ModelFileError> {
        let mut n_tensors = 0;
        while self.position < self.length {
            let [n_dims, name_length, kind] = self.numbers("a tensor")?;
            self.within("number of dimensions", n_dims, 1..=4)?;
            self.within("length of a tensor's name", name_length, 1..=256)?;
            let Some((block_bytes, block_elements)) = block(kind) else {
                return Err(self.damaged(format!("unknown weight format in a tensor: {kind}")));
            };
            let mut n_elements = 1_u64;
            for _ in 0..n_dims {
                let [extent] = self.numbers("a tensor")?;
                self.within("extent of a tensor", extent, 1..=1 << 24)?;
                // Four extents of 2^24 would overflow; no Whisper tensor comes near 2^32.
                n_elements = n_elements.saturating_mul(u64::from(extent));
            }
            if n_elements > 1 << 32 || !n_elements.is_multiple_of(block_elements) {
                return Err(self.damaged(format!("a tensor has an impossible size: {n_elements} elements")));
            }
            self.skip(u64::from(name_length), "a tensor's name")?;
            self.skip(n_elements / block_elements * block_bytes, "a tensor's weights")?;
            n_tensors += 1;
        }
        Ok(n_tensors)
    }

    fn numbers<const N: usize>(&mut self, part: &str) -> Result<[u32; N], ModelFileError> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            let mut bytes = [0; 4];
            self.read_exact(&mut bytes, part)?;
            *number = u32::from_le_bytes(bytes);
        }
        Ok(numbers)
    }

    fn read_exact(&mut self, buffer: &mut [u8], part: &str) -> Result<(), ModelFileError> {
        let length = buffer.len() as u64;
        self.ensure(length, part)?;
        self.inner.read_exact(buffer).map_err(|source| self.unreadable(source))?;
        self.position += length;
        Ok(())
    }

    fn skip(&mut self, length: u64, part: &str) -> Result<(), ModelFileError> {
        self.ensure(length, part)?;
        let offset = i64::try_from(length).map_err(|_| self.damaged(format!("{part} is longer than any file")))?;
        self.inner.seek_relative(offset).map_err(|source| self.unreadable(source))?;
        self.position += length;
        Ok(())
    }

    fn seek(&mut self, position: u64) -> Result<(), ModelFileError> {
        self.inner.seek(SeekFrom::Start(position)).map_err(|source| self.unreadable(source))?;
        self.position = position;
        Ok(())
    }

    fn ensure(&self, length: u64, part: &str) -> Result<(), ModelFileError> {
        if self.length - self.position < length {
            return Err(self.damaged(format!("the file ends after {} bytes, inside {part}", self.length)));
        }
        Ok(())
    }

    fn within(&self, what: &str, value: u32, range: std::ops::RangeInclusive<u32>) -> Result<(), ModelFileError> {
        if range.contains(&value) {
            return Ok(());
        }
        Err(self.damaged(format!("{what} is not between {} and {}: {value}", range.start(), range.end())))
    }

    fn damaged(&self, what: String) -> ModelFileError {
        ModelFileError::Damaged { path: self.path.to_owned(), what }
    }

    fn unreadable(&self, source: io::Error) -> ModelFileError {
        ModelFileError::Unreadable { path: self.path.to_owned(), source }
    }
}

/// What the first bytes look like; `None` for a whisper.cpp model.
fn other_kind(head: &[u8]) -> Option<&'static str> {
    let is_text = || head.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..));
    Some(match head {
        [] => "empty",
        [b'G', b'G', b'U', b'F', ..] => "a GGUF file, the format of llama.cpp's language models",
        [b't', b'j', b'g', b'g', ..] | [b'f', b'm', b'g', b'g', ..] | [b'a', b'l', b'g', b'g', ..] => {
            "a language model in an old ggml format"
        }
        [b'P', b'K', 3 | 5, 4 | 6, ..] => "a zip archive, perhaps a PyTorch checkpoint",
        [0x80, 2..=5, b'}' | b'c' | b']' | 0x8a | 0x95, ..] => "a Python pickle, perhaps a PyTorch checkpoint",
        [0x1f, 0x8b, ..] => "a gzip archive",
        [0x08, 1..=20, 0x12 | 0x1a | 0x22 | 0x2a | 0x3a, ..] => "an ONNX model",
        [b'R', b'I', b'F', b'F', ..] => "a WAV recording",
        [_, _, _, _, _, _, 0, 0, b'{', ..] => "a safetensors file",
        head if head.starts_with(b"version https://git-lfs") => {
            "a Git LFS pointer, the model itself was not downloaded"
        }
        head if head.starts_with(b"<!") || head.starts_with(b"<html") || head.starts_with(b"<HTML") => {
            "a web page, perhaps an error message saved by a download"
        }
        head if head.len() >= 4 && head[..4] == MAGIC.to_le_bytes() => {
            // whisper.cpp's voice activity models share the magic and continue with a name.
            return head.get(8..14).filter(|name| *name == b"silero").map(|_| "a voice activity model of whisper.cpp");
        }
        head if head.iter().all(|byte| *byte == 0) => "filled with zeros",
        _ if is_text() => "a text file",
        _ => "of an unknown kind",
    })
}

/// Name of a ggml file type; the thousands are the version of the quantisation.
fn quantisation_name(ftype: u32) -> Option<&'static str> {
    Some(match ftype % 1_000 {
        0 => "f32",
        1 => "f16",
        2 => "q4_0",
        3 => "q4_1",
        7 => "q8_0",
        8 => "q5_0",
        9 => "q5_1",
        10 => "q2_k",
        11 => "q3_k",
        12 => "q4_k",
        13 => "q5_k",
        14 => "q6_k",
        _ => return None,
    })
}

/// Bytes and elements of one block of a ggml tensor type, from `ggml.c`.
fn block(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 => (4, 1),
        1 => (2, 1),
        2 => (18, 32),
        3 => (20, 32),
        6 => (22, 32),
        7 => (24, 32),
        8 => (34, 32),
        10 => (84, 256),
        11 => (110, 256),
        12 => (144, 256),
        13 => (176, 256),
        14 => (210, 256),
        _ => return None,
    })
}
