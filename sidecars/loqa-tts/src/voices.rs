//! Voices are tables of style vectors, one row per length of the text in tokens. They
//! come as raw files (`<name>.bin`, little-endian f32 `[rows, 1, width]`) or together in
//! one NPZ archive (`voices-v1.0.bin`). Tables are read when a voice is first used.

mod npz;

use crate::error::TtsError;
use crate::phonemes::Accent;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest number of rows in a table; Kokoro has 510.
const MAX_ROWS: u64 = 4_096;
/// Most voices that are offered; Kokoro v1.0 has 54 in all languages.
const MAX_VOICES: usize = 512;
/// Voices to begin with when the configuration names none, best first.
const FAVOURITES: &[&str] = &["af_heart", "mid", "slt", "af_bella", "am_michael"];

/// The voices of one model.
#[derive(Debug)]
pub struct Voices {
    width: usize,
    default: String,
    sources: BTreeMap<String, Source>,
    loaded: BTreeMap<String, Arc<VoiceTable>>,
}

/// Where the numbers of one voice are.
#[derive(Debug, Clone)]
struct Source {
    file: PathBuf,
    offset: u64,
    bytes: u64,
    accent: Accent,
}

/// The style vectors of one voice.
#[derive(Debug, Clone, PartialEq)]
pub struct VoiceTable {
    /// Which English it speaks.
    pub accent: Accent,
    width: usize,
    styles: Vec<f32>,
}

impl VoiceTable {
    /// The style for a text of this many tokens, pads not counted. Longer texts get the last row.
    #[must_use]
    pub fn style(&self, n_tokens: usize) -> &[f32] {
        let last = self.rows() - 1;
        let start = n_tokens.min(last) * self.width;
        &self.styles[start..start + self.width]
    }

    /// Rows of the table, at least 1.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.styles.len() / self.width
    }
}

impl Voices {
    /// Lists the voices in a folder, or in one NPZ file. `width` is the model's style width.
    /// `default` is the voice of requests that name none; it must exist, and is read at once.
    pub fn open(place: &Path, width: usize, default: Option<&str>) -> Result<Self, TtsError> {
        let refuse = |reason: String| TtsError::Voices { path: place.to_path_buf(), reason };
        let mut sources = BTreeMap::new();
        let mut refused = Vec::new();
        if place.is_dir() {
            let entries = std::fs::read_dir(place).map_err(|error| refuse(error.to_string()))?;
            let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
            files.sort();
            for file in files.iter().filter(|file| file.extension().is_some_and(|ext| ext == "bin" || ext == "npz")) {
                if let Err(error) = add_file(file, width, &mut sources) {
                    tracing::warn!(%error, "voice left out");
                    refused.push(error.to_string());
                }
            }
        } else if place.exists() {
            add_file(place, width, &mut sources)?;
        } else {
            return Err(refuse("does not exist; set `voices_dir` to the folder of voice files".to_owned()));
        }
        if sources.is_empty() {
            let reason = if refused.is_empty() {
                "holds no English voices; needed are files `<name>.bin` or `voices-v1.0.bin`".to_owned()
            } else {
                format!("holds no voice that can be used: {}", refused.join("; "))
            };
            return Err(refuse(reason));
        }
        let favourite = FAVOURITES.iter().copied().find(|name| sources.contains_key(*name));
        let first = sources.keys().next().map(String::as_str);
        let default = default.or(favourite).or(first).unwrap_or_default().to_owned();
        let mut voices = Self { width, default, sources, loaded: BTreeMap::new() };
        voices.table(None)?;
        Ok(voices)
    }

    /// Names, the default first.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let others = self.sources.keys().filter(|name| **name != self.default);
        std::iter::once(&self.default).chain(others).cloned().collect()
    }

    /// Every accent that some voice speaks, that of the default voice first.
    #[must_use]
    pub fn accents(&self) -> Vec<Accent> {
        let mut accents: Vec<Accent> = Vec::new();
        let default = self.sources.get(&self.default);
        for source in default.into_iter().chain(self.sources.values()) {
            if !accents.contains(&source.accent) {
                accents.push(source.accent);
            }
        }
        accents
    }

    /// The voice of requests that name none.
    #[must_use]
    pub fn default_name(&self) -> &str {
        &self.default
    }

    /// The table of a voice, read from its file at first use. `None` is the default voice.
    pub fn table(&mut self, name: Option<&str>) -> Result<Arc<VoiceTable>, TtsError> {
        let name = name.unwrap_or(&self.default);
        if let Some(table) = self.loaded.get(name) {
            return Ok(Arc::clone(table));
        }
        let Some(source) = self.sources.get(name) else {
            return Err(TtsError::UnknownVoice { name: name.to_owned(), available: self.names() });
        };
        let table = Arc::new(source.read(self.width)?);
        self.loaded.insert(name.to_owned(), Arc::clone(&table));
        Ok(table)
    }
}

fn add_file(file: &Path, width: usize, sources: &mut BTreeMap<String, Source>) -> Result<(), TtsError> {
    let refuse = |reason: String| TtsError::Voices { path: file.to_path_buf(), reason };
    let mut reader = File::open(file).map_err(|error| refuse(error.to_string()))?;
    let bytes = reader.metadata().map_err(|error| refuse(error.to_string()))?.len();
    let mut magic = [0; 4];
    let is_archive = bytes >= 4 && reader.read_exact(&mut magic).is_ok() && magic == *b"PK\x03\x04";
    if is_archive {
        for array in npz::list(&mut reader).map_err(|error| refuse(error.to_string()))? {
            if array.shape.iter().product::<u64>() * 4 != array.bytes || array.shape.last() != Some(&(width as u64)) {
                return Err(refuse(format!(
                    "array `{}` has the shape {:?}, needed is [rows, 1, {width}]",
                    array.name, array.shape
                )));
            }
            add(&array.name, file, array.offset, array.bytes, width, sources)?;
        }
        return Ok(());
    }
    let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    add(name, file, 0, bytes, width, sources)
}

fn add(
    name: &str,
    file: &Path,
    offset: u64,
    bytes: u64,
    width: usize,
    sources: &mut BTreeMap<String, Source>,
) -> Result<(), TtsError> {
    let refuse = |reason: String| TtsError::Voices { path: file.to_path_buf(), reason };
    let is_name =
        (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !is_name {
        return Err(refuse(format!("`{name}` is no name for a voice, use letters, digits, `_` and `-`")));
    }
    let row = width as u64 * 4;
    if bytes == 0 || !bytes.is_multiple_of(row) || bytes / row > MAX_ROWS {
        return Err(refuse(format!(
            "voice `{name}` has {bytes} bytes; needed are f32 rows of {row} bytes (Kokoro: 510 rows, {} bytes)",
            510 * row
        )));
    }
    // Voices of other languages are no fault, they are not for this engine.
    let Some(accent) = Accent::of_voice(name) else { return Ok(()) };
    if sources.len() >= MAX_VOICES {
        return Err(refuse(format!("more than {MAX_VOICES} voices")));
    }
    sources.insert(name.to_owned(), Source { file: file.to_path_buf(), offset, bytes, accent });
    Ok(())
}

impl Source {
    fn read(&self, width: usize) -> Result<VoiceTable, TtsError> {
        let refuse = |reason: String| TtsError::Voices { path: self.file.clone(), reason };
        let bytes = self.read_bytes().map_err(|error| refuse(error.to_string()))?;
        let (values, _) = bytes.as_chunks::<4>();
        let styles: Vec<f32> = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
        // Kokoro's values are below 1 in size; text or another file read as floats is far off.
        if let Some(odd) = styles.iter().find(|value| !value.is_finite() || value.abs() > 1e3) {
            return Err(refuse(format!("is no table of styles: it holds the value {odd}")));
        }
        Ok(VoiceTable { accent: self.accent, width, styles })
    }

    fn read_bytes(&self) -> std::io::Result<Vec<u8>> {
        let mut reader = File::open(&self.file)?;
        reader.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = vec![0; usize::try_from(self.bytes).unwrap_or(0)];
        reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Rows that say their own number in each place.
    fn table(rows: usize, width: usize) -> Vec<u8> {
        (0..rows).flat_map(|row| std::iter::repeat_n((row as f32 / 1024.0).to_le_bytes(), width)).flatten().collect()
    }

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            File::create(folder.path().join(name)).unwrap().write_all(bytes).unwrap();
        }
        folder
    }

    #[test]
    fn rows_are_chosen_by_length_and_clamped() {
        let folder = folder(&[("af_sky.bin", &table(510, 256))]);
        let mut voices = Voices::open(folder.path(), 256, None).unwrap();
        let table = voices.table(Some("af_sky")).unwrap();
        assert_eq!(table.rows(), 510);
        for (n_tokens, row) in [(0, 0.0), (7, 7.0), (509, 509.0), (510, 509.0), (100_000, 509.0)] {
            assert_eq!(table.style(n_tokens), vec![row / 1024.0; 256]);
        }
    }

    #[test]
    fn an_archive_offers_each_of_its_english_arrays() {
        let one = table(510, 256);
        let bytes = npz::tests::archive(&[
            ("af_sky", &[510, 1, 256], &one),
            ("bm_lewis", &[510, 1, 256], &one),
            ("jf_alpha", &[510, 1, 256], &one),
        ]);
        let folder = folder(&[("voices-v1.0.bin", &bytes)]);
        for place in [folder.path().to_path_buf(), folder.path().join("voices-v1.0.bin")] {
            let mut voices = Voices::open(&place, 256, Some("bm_lewis")).unwrap();
            assert_eq!(voices.names(), ["bm_lewis", "af_sky"]);
            assert_eq!(voices.accents(), [Accent::British, Accent::American]);
            assert_eq!(voices.table(Some("af_sky")).unwrap().style(3), vec![3.0 / 1024.0; 256]);
        }
    }

    #[test]
    fn an_unknown_voice_is_an_error_that_lists_the_others() {
        let folder = folder(&[("slt.bin", &table(2, 256)), ("rms.bin", &table(2, 256))]);
        let mut voices = Voices::open(folder.path(), 256, None).unwrap();
        let error = voices.table(Some("nobody")).unwrap_err().to_string();
        assert_eq!(error, "unknown voice `nobody`; available: slt, rms");
        let error = Voices::open(folder.path(), 256, Some("nobody")).unwrap_err().to_string();
        assert!(error.contains("unknown voice `nobody`"), "{error}");
    }

    #[test]
    fn files_that_are_no_tables_are_refused_with_the_reason() {
        for (bytes, reason) in [
            (vec![], "has 0 bytes"),
            (table(510, 256)[..1000].to_vec(), "has 1000 bytes"),
            (vec![b'x'; 1024], "holds the value"),
            (f32::NAN.to_le_bytes().repeat(256), "holds the value NaN"),
        ] {
            let folder = folder(&[("af_sky.bin", &bytes)]);
            let error = Voices::open(folder.path(), 256, None).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let empty = folder(&[]);
        assert!(Voices::open(empty.path(), 256, None).unwrap_err().to_string().contains("holds no English voices"));
        assert!(Voices::open(&empty.path().join("no"), 256, None).unwrap_err().to_string().contains("does not exist"));
    }

    #[test]
    fn one_bad_file_does_not_take_the_others_away() {
        let folder = folder(&[("bad.bin", b"x"), ("slt.bin", &table(2, 256)), ("readme.txt", b"hello")]);
        assert_eq!(Voices::open(folder.path(), 256, None).unwrap().names(), ["slt"]);
    }
}
