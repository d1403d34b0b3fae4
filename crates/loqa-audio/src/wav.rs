//! WAV files: reads any PCM into speech for a turn, writes 16-bit mono.
//!
//! The header is read by hand, not by a library, for two reasons: a file that ends
//! early is refused with both lengths instead of being cut in silence, and the length
//! is judged before the sound is read, so that an hour of music costs nothing.

use crate::AudioError;
use crate::resample::resample;
use loqa_protocol::audio::{INPUT_SAMPLE_RATE, MAX_UTTERANCE_SECONDS};
use std::fs::File;
use std::io::{BufReader, BufWriter, Cursor, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Rates that are read; telephones begin at 8 kHz, studios end at 192 kHz.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=192_000;

/// Most channels that are mixed down. Chosen: 22.2 surround has 24.
const MAX_CHANNELS: u16 = 32;

/// Most chunks before the sound. Chosen: players write a handful of them.
const MAX_CHUNKS: usize = 1_000;

/// Frames that are read at once.
const FRAMES_PER_READ: usize = 4_096;

/// How the samples of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    U8,
    I16,
    I24,
    I32,
    F32,
}

impl Encoding {
    const fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::I16 => 2,
            Self::I24 => 3,
            Self::I32 | Self::F32 => 4,
        }
    }

    /// One little-endian sample, from -1 to 1.
    fn decode(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (Self::U8, &[a]) => (f32::from(a) - 128.0) / 128.0,
            (Self::I16, &[a, b]) => f32::from(i16::from_le_bytes([a, b])) / 32_768.0,
            (Self::I24, &[a, b, c]) => i32::from_le_bytes([0, a, b, c]) as f32 / 2_147_483_648.0,
            (Self::I32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]) as f32 / 2_147_483_648.0,
            (Self::F32, &[a, b, c, d]) => {
                let sample = f32::from_le_bytes([a, b, c, d]);
                // A NaN would silence everything that the resampler computes with it.
                if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 }
            }
            _ => 0.0,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Format {
    encoding: Encoding,
    channels: u16,
    rate: u32,
}

impl Format {
    fn frame_bytes(self) -> u64 {
        u64::from(self.channels) * self.encoding.bytes() as u64
    }
}

/// Reads a WAV file as speech: 16 kHz, mono, 16 bits, at most
/// [`MAX_UTTERANCE_SECONDS`] long.
///
/// # Errors
///
/// When the file cannot be read, is no WAV, is of a kind that is not read, has no
/// sound, ends early or is too long; see [`AudioError`].
pub fn read_speech(path: &Path) -> Result<Vec<i16>, AudioError> {
    let read_error = |source| AudioError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read_error)?;
    let metadata = file.metadata().map_err(read_error)?;
    if !metadata.is_file() {
        // A pipe or a device has no length to compare the header with.
        let source = std::io::Error::new(ErrorKind::InvalidInput, "it is not a regular file");
        return Err(read_error(source));
    }
    read_from(BufReader::new(file), metadata.len(), path)
}

/// As [`read_speech`], from memory; `name` stands for the file in messages.
///
/// # Errors
///
/// As [`read_speech`].
pub fn read_speech_bytes(bytes: &[u8], name: &str) -> Result<Vec<i16>, AudioError> {
    read_from(Cursor::new(bytes), bytes.len() as u64, Path::new(name))
}

fn read_from(mut file: impl Read + Seek, length: u64, path: &Path) -> Result<Vec<i16>, AudioError> {
    let read_error = |source| AudioError::Read { path: path.to_owned(), source };
    let (format, expected) = read_header(&mut file, path)?;
    let position = file.stream_position().map_err(read_error)?;
    let actual = length.saturating_sub(position);
    // Programs that write into a pipe cannot fill the length in.
    let expected = if expected == u64::from(u32::MAX) { actual } else { expected };
    if expected > actual {
        return Err(AudioError::Truncated { path: path.to_owned(), expected, actual });
    }
    let n_frames = expected / format.frame_bytes();
    if n_frames == 0 {
        return Err(AudioError::Empty { path: path.to_owned() });
    }
    let seconds = n_frames as f64 / f64::from(format.rate);
    if seconds > f64::from(MAX_UTTERANCE_SECONDS) {
        return Err(AudioError::AudioTooLong { path: path.to_owned(), seconds, limit_seconds: MAX_UTTERANCE_SECONDS });
    }
    let mono = read_mono(file, format, n_frames).map_err(|error| match error.kind() {
        // The file shrank while it was read.
        ErrorKind::UnexpectedEof => AudioError::Truncated { path: path.to_owned(), expected, actual: 0 },
        _ => read_error(error),
    })?;
    let speech = resample(&mono, format.rate, INPUT_SAMPLE_RATE)?;
    Ok(to_i16(&speech))
}

/// Writes 16-bit mono.
///
/// # Errors
///
/// [`AudioError::Write`] when the file cannot be created or written in full.
pub fn write(path: &Path, samples: &[i16], rate: u32) -> Result<(), AudioError> {
    let write_error = |source| AudioError::Write { path: path.to_owned(), source };
    let n_bytes = u32::try_from(samples.len() * 2)
        .ok()
        .filter(|n| *n <= u32::MAX - 36)
        .ok_or_else(|| write_error(std::io::Error::new(ErrorKind::InvalidInput, "more than 4 GiB of sound")))?;
    let mut file = BufWriter::new(File::create(path).map_err(write_error)?);
    let mut header = Vec::with_capacity(44);
    header.extend_from_slice(b"RIFF");
    header.extend_from_slice(&(36 + n_bytes).to_le_bytes());
    header.extend_from_slice(b"WAVEfmt ");
    header.extend_from_slice(&16_u32.to_le_bytes());
    header.extend_from_slice(&1_u16.to_le_bytes());
    header.extend_from_slice(&1_u16.to_le_bytes());
    header.extend_from_slice(&rate.to_le_bytes());
    header.extend_from_slice(&(rate * 2).to_le_bytes());
    header.extend_from_slice(&2_u16.to_le_bytes());
    header.extend_from_slice(&16_u16.to_le_bytes());
    header.extend_from_slice(b"data");
    header.extend_from_slice(&n_bytes.to_le_bytes());
    let write_all = |file: &mut BufWriter<File>| {
        file.write_all(&header)?;
        file.write_all(&loqa_protocol::audio::pcm_to_bytes(samples))?;
        file.flush()
    };
    write_all(&mut file).map_err(write_error)
}

/// From -1..1 to 16 bits, rounded, clipped.
#[must_use]
pub fn to_i16(samples: &[f32]) -> Vec<i16> {
    #[expect(clippy::cast_possible_truncation, reason = "the cast from float saturates")]
    let one = |sample: &f32| (sample * 32_768.0).round() as i16;
    samples.iter().map(one).collect()
}

/// From 16 bits to -1..1.
#[must_use]
pub fn to_f32(samples: &[i16]) -> Vec<f32> {
    samples.iter().map(|&sample| f32::from(sample) / 32_768.0).collect()
}

/// Reads up to the first byte of sound; gives the format and the announced length.
fn read_header(file: &mut (impl Read + Seek), path: &Path) -> Result<(Format, u64), AudioError> {
    let not_wav = |reason: String| AudioError::NotWav { path: path.to_owned(), reason };
    let read_error = |source| AudioError::Read { path: path.to_owned(), source };
    let mut start = Vec::new();
    file.by_ref().take(12).read_to_end(&mut start).map_err(read_error)?;
    match &start[..] {
        [] => return Err(not_wav("it is empty".to_owned())),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E'] => {}
        [b'R', b'F', b'6', b'4', ..] | [b'R', b'I', b'F', b'X', ..] => {
            return Err(AudioError::UnsupportedWav {
                path: path.to_owned(),
                what: "a RIFF variant for huge or big-endian files".to_owned(),
            });
        }
        other if other.starts_with(b"RIFF") && other.len() < 12 => {
            return Err(not_wav("it ends within its first 12 bytes".to_owned()));
        }
        other => {
            let shown: String = other.iter().take(4).map(|b| b.escape_ascii().to_string()).collect();
            return Err(not_wav(format!("it begins with `{shown}` instead of `RIFF`")));
        }
    }
    let mut format = None;
    for _ in 0..MAX_CHUNKS {
        let mut head = [0; 8];
        if let Err(error) = file.read_exact(&mut head) {
            if error.kind() != ErrorKind::UnexpectedEof {
                return Err(read_error(error));
            }
            let missing = if format.is_some() { "sound (`data`)" } else { "description of its format (`fmt `)" };
            return Err(not_wav(format!("it has no {missing}")));
        }
        let [a, b, c, d, sizes @ ..] = head;
        let size = u64::from(u32::from_le_bytes(sizes));
        match (&[a, b, c, d], format) {
            (b"fmt ", None) => format = Some(read_format(file, size, path)?),
            (b"data", Some(format)) => return Ok((format, size)),
            (b"data", None) => return Err(not_wav("its sound comes before its format".to_owned())),
            _ => {
                // Chunks are padded to an even length.
                let skip = i64::try_from(size + size % 2).unwrap_or(i64::MAX);
                file.seek(SeekFrom::Current(skip)).map_err(read_error)?;
            }
        }
    }
    Err(not_wav(format!("there is no sound within its first {MAX_CHUNKS} chunks")))
}

fn read_format(file: &mut (impl Read + Seek), size: u64, path: &Path) -> Result<Format, AudioError> {
    let unsupported = |what: String| AudioError::UnsupportedWav { path: path.to_owned(), what };
    let not_wav = |reason: &str| AudioError::NotWav { path: path.to_owned(), reason: reason.to_owned() };
    // PCM has 16 bytes, the extensible form 40; anything far beyond is damage.
    if !(16..=1_000).contains(&size) {
        return Err(not_wav("the description of its format has an impossible length"));
    }
    let mut bytes = Vec::new();
    file.by_ref()
        .take(size + size % 2)
        .read_to_end(&mut bytes)
        .map_err(|source| AudioError::Read { path: path.to_owned(), source })?;
    let u16_at = |at: usize| bytes.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    let u32_at = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let (Some(tag), Some(channels), Some(rate), Some(block), Some(bits)) =
        (u16_at(0), u16_at(2), u32_at(4), u16_at(12), u16_at(14))
    else {
        return Err(not_wav("the description of its format is cut off"));
    };
    // The extensible form has the real tag at the beginning of its sub-format.
    let tag = if tag == 0xfffe { u16_at(24).ok_or_else(|| not_wav("its sub-format is cut off"))? } else { tag };
    let encoding = match (tag, bits) {
        (1, 8) => Encoding::U8,
        (1, 16) => Encoding::I16,
        (1, 24) => Encoding::I24,
        (1, 32) => Encoding::I32,
        (3, 32) => Encoding::F32,
        (1, _) => return Err(unsupported(format!("PCM of {bits} bits"))),
        (3, _) => return Err(unsupported(format!("{bits}-bit float"))),
        (6, _) => return Err(unsupported("A-law".to_owned())),
        (7, _) => return Err(unsupported("µ-law".to_owned())),
        (0x55, _) => return Err(unsupported("MP3".to_owned())),
        _ => return Err(unsupported(format!("audio of format {tag:#06x}"))),
    };
    if channels == 0 || channels > MAX_CHANNELS {
        return Err(unsupported(format!("{channels} channels")));
    }
    if !RATES.contains(&rate) {
        return Err(unsupported(format!("a sample rate of {rate} Hz")));
    }
    let format = Format { encoding, channels, rate };
    if u64::from(block) != format.frame_bytes() {
        return Err(not_wav("its format contradicts itself"));
    }
    Ok(format)
}

/// Reads in pieces, so that 32 channels take no more memory than one.
fn read_mono(file: impl Read, format: Format, n_frames: u64) -> std::io::Result<Vec<f32>> {
    let frame_bytes = usize::from(format.channels) * format.encoding.bytes();
    let mut left = n_frames;
    let mut file = file;
    let mut mono = Vec::new();
    let mut block = vec![0; frame_bytes * FRAMES_PER_READ];
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(FRAMES_PER_READ);
        let bytes = &mut block[..n * frame_bytes];
        file.read_exact(bytes)?;
        mono.extend(bytes.chunks_exact(frame_bytes).map(|frame| mix_down(frame, format)));
        left -= n as u64;
    }
    Ok(mono)
}

/// The mean of the channels.
fn mix_down(frame: &[u8], format: Format) -> f32 {
    let sum: f32 = frame.chunks_exact(format.encoding.bytes()).map(|s| format.encoding.decode(s)).sum();
    sum / f32::from(format.channels)
}

#[cfg(test)]
mod tests;
