//! Files that are no model: refused with the file's name, what it looks like and
//! the way out, never with a crash.

use crate::clips;
use loqa_stt::model_file::inspect;
use loqa_stt::whisper::Model;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn starter() -> Vec<u8> {
    std::fs::read(clips::starter_model()).unwrap()
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn refusal(path: &Path) -> String {
    let message = Model::load(path).expect_err("must be refused").to_string();
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(message.contains(name), "names the file: {message}");
    assert!(message.contains("loqa models"), "says the way out: {message}");
    message
}

#[test]
fn header_of_the_starter_model_is_read() {
    let header = inspect(&clips::starter_model()).unwrap();
    assert_eq!((header.quantisation, header.audio_state, header.audio_layers), ("q8_0", 160, 4));
    assert_eq!((header.text_layers, header.mels, header.filters.bands()), (2, 80, 80));
    assert!(header.is_starter_class() && !header.is_multilingual());
}

#[test]
fn files_of_other_kinds_are_called_by_their_name() {
    let folder = TempDir::new().unwrap();
    let cases: &[(&str, &[u8], &str)] = &[
        ("empty.bin", b"", "is empty"),
        ("llm.gguf", b"GGUF\x03\0\0\0aaaaaaaaaaaaaaaa", "a GGUF file"),
        ("tts.onnx", b"\x08\x08\x12\x07pytorch\x1a\x061.13.0", "an ONNX model"),
        ("tiny.pt", b"PK\x03\x04aaaaaaaa\0\0", "a zip archive"),
        ("old.pt", b"\x80\x02}q\x01X\x04\0\0\0", "a Python pickle"),
        ("model.bin.gz", b"\x1f\x8b\x08\0\0\0\0\0", "a gzip archive"),
        ("weights.safetensors", b"\x40\0\0\0\0\0\0\0{\"a\":1}", "a safetensors file"),
        ("page.bin", b"<!DOCTYPE html><html>404</html>", "a web page"),
        ("pointer.bin", b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
        ("notes.bin", "Liebe Grüße".as_bytes(), "a text file"),
        ("speech.wav", b"RIFF\x24\0\0\0WAVEfmt ", "a WAV recording"),
        ("vad.bin", b"lmgg\x0a\0\0\0silero-16k\x06\0\0\0", "a voice activity model"),
        ("zeros.bin", &[0; 4_096], "filled with zeros"),
        ("noise.bin", &[0x91, 0x03, 0xfe, 0x00, 0x11, 0x01, 0x02, 0x80, 0x07], "of an unknown kind"),
    ];
    for (name, bytes, expected) in cases {
        let message = refusal(&write(&folder, name, bytes));
        assert!(message.contains(expected), "{name}: {message}");
    }
}

#[test]
fn neighbours_in_the_models_folder_are_recognised() {
    let starter = clips::starter_model();
    let models = starter.parent().unwrap().parent().unwrap();
    assert!(refusal(&models.join("llm/reflex-q8_0.gguf")).contains("a GGUF file"));
    assert!(refusal(&models.join("tts/starter-tts.onnx")).contains("an ONNX model"));
}

#[test]
fn missing_files_and_folders_are_said_to_be_so() {
    let folder = TempDir::new().unwrap();
    assert!(refusal(&folder.path().join("nowhere.bin")).contains("cannot be read"));
    std::fs::create_dir(folder.path().join("model.bin")).unwrap();
    assert!(refusal(&folder.path().join("model.bin")).contains("a folder"));
}

#[test]
fn a_model_cut_short_anywhere_is_damaged() {
    let folder = TempDir::new().unwrap();
    let whole = starter();
    for length in [4, 7, 30, 48, 5_000, 100_000, 600_000, whole.len() / 2, whole.len() - 1] {
        let message = refusal(&write(&folder, "cut.bin", &whole[..length]));
        assert!(message.contains("damaged") && message.contains("the file ends"), "{length} bytes: {message}");
    }
    let message = refusal(&write(&folder, "longer.bin", &[&whole[..], b"abc"].concat()));
    assert!(message.contains("damaged"), "{message}");
}

#[test]
fn a_vocabulary_without_weights_is_not_a_model() {
    let folder = TempDir::new().unwrap();
    let whole = starter();
    let first_tensor = find(&whole, b"encoder.positional_embedding");
    // Two extents and three numbers stand before the name of a two-dimensional tensor.
    let message = refusal(&write(&folder, "hollow.bin", &whole[..first_tensor - 20]));
    assert!(message.contains("no weights"), "{message}");
}

#[test]
fn impossible_headers_are_damaged() {
    let folder = TempDir::new().unwrap();
    let whole = starter();
    // Position in the header, in numbers after the magic; value; what the message names.
    let cases = [
        (0, 7, "vocabulary size"),
        (0, u32::MAX, "vocabulary size"),
        (1, 1 << 30, "audio context"),
        (2, 0, "encoder width"),
        (2, 161, "cannot be divided"),
        (3, 0, "encoder heads"),
        (4, 9_999, "encoder layers"),
        (5, 0, "text context"),
        (6, 192, "differ in width"),
        (7, 0, "decoder heads"),
        (8, 0, "decoder layers"),
        (9, 64, "80 or 128 mel bands"),
        (10, 999, "unknown weight format"),
        (11, 40, "mel filters are"),
    ];
    for (position, value, expected) in cases {
        let mut bytes = whole.clone();
        let at = 4 + 4 * position;
        bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
        let message = refusal(&write(&folder, "header.bin", &bytes));
        // Width 161 also differs from the decoder's.
        assert!(
            message.contains(expected) || (value == 161 && message.contains("differ in width")),
            "number {position} set to {value}: {message}"
        );
    }
}

#[test]
fn what_only_whisper_notices_is_passed_on() {
    let folder = TempDir::new().unwrap();
    let mut bytes = starter();
    let name = find(&bytes, b"decoder.positional_embedding");
    bytes[name..name + 7].copy_from_slice(b"DECODER");
    let message = refusal(&write(&folder, "renamed.bin", &bytes));
    assert!(message.contains("unknown tensor"), "{message}");
}

#[test]
fn garbled_headers_never_crash() {
    let folder = TempDir::new().unwrap();
    let whole = starter();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    for _ in 0..300 {
        let mut bytes = whole[..200_000].to_vec();
        for _ in 0..4 {
            let at = next() % 66_000;
            bytes[at] = next() as u8;
        }
        assert!(inspect(&write(&folder, "garbled.bin", &bytes)).is_err(), "it is cut short in any case");
    }
}

fn find(bytes: &[u8], name: &[u8]) -> usize {
    bytes.windows(name.len()).position(|window| window == name).expect("the name is in the file")
}
