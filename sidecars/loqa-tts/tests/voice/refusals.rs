//! Files that are not what they should be: refused with the reason and the way out.

use crate::support::onnx::{self, FLOAT, INT32, INT64, value};
use crate::support::{clause, ort_dylib, settings, speak, starter_model};
use loqa_tts::model::{Element, Model};
use loqa_tts::settings::Settings;
use loqa_tts::{Speaker, TtsError, runtime};
use ort::session::RunOptions;
use std::path::{Path, PathBuf};

fn load(bytes: &[u8]) -> Result<Model, TtsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, bytes).unwrap();
    load_file(&path)
}

fn load_file(path: &Path) -> Result<Model, TtsError> {
    Model::load(&runtime::load(&ort_dylib()).unwrap(), path, None)
}

#[track_caller]
fn check(bytes: &[u8], reasons: &[&str]) {
    let error = load(bytes).expect_err("must be refused").to_string();
    for reason in reasons {
        assert!(error.contains(reason), "{error:?} must say {reason:?}");
    }
}

#[test]
fn models_that_are_no_models_are_named() {
    check(b"", &["is empty"]);
    check(b"GGUF\x03\0\0\0and so on", &["a GGUF model (llama.cpp), not an ONNX model"]);
    check(b"lmgg and so on", &["a ggml model"]);
    check(b"<html>404</html>", &["a text file"]);
    let whole = std::fs::read(starter_model()).unwrap();
    check(&whole[..whole.len() / 2], &["is cut off", "fetch it again"]);
    let error = load_file(Path::new("/nowhere/model.onnx")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/model.onnx"), "{error}");
    assert!(load_file(&std::env::temp_dir()).is_err(), "a folder is no model");
}

#[test]
fn damaged_weights_are_refused_or_load_but_never_crash() {
    let whole = std::fs::read(starter_model()).unwrap();
    for at in [20, 100, 2_000, whole.len() - 3_000, whole.len() - 50] {
        let mut damaged = whole.clone();
        damaged[at..at + 16].fill(0xff);
        let _ = load(&damaged);
    }
}

#[test]
fn another_model_is_refused_with_what_it_has_and_what_is_needed() {
    let other = onnx::cast_model(&[value("pixels", FLOAT, &[Some(1), Some(3), None, None])], "pixels", "classes");
    check(&other, &["is not a Kokoro model", "pixels Tensor<f32>(1, 3, n, n)", "classes", "needed are token ids"]);
    let no_style =
        [value("ids", INT64, &[Some(1), None]), value("a", INT64, &[Some(1)]), value("b", INT64, &[Some(1)])];
    check(&onnx::cast_model(&no_style, "ids", "wave"), &["is not a Kokoro model"]);
}

#[test]
fn weights_in_another_file_are_refused() {
    let location = [onnx::bytes(1, b"location"), onnx::bytes(2, b"weights.bin")].concat();
    let tensor = [onnx::bytes(13, &location), onnx::number(14, 1)].concat();
    let graph = onnx::bytes(5, &tensor);
    check(&[onnx::number(1, 8), onnx::bytes(7, &graph)].concat(), &["another file (`weights.bin`)"]);
}

#[test]
fn names_and_types_are_those_of_the_file() {
    let inputs = [
        value("tempo", INT32, &[Some(1)]),
        value("tokens", INT32, &[Some(1), None]),
        value("voice", FLOAT, &[Some(1), Some(128)]),
    ];
    let mut model = load(&onnx::cast_model(&inputs, "tokens", "audio")).unwrap();
    let contract = model.contract().clone();
    assert_eq!((contract.tokens.name.as_str(), contract.tokens.element), ("tokens", Element::I32));
    assert_eq!((contract.speed.name.as_str(), contract.speed.element), ("tempo", Element::I32));
    assert_eq!((contract.style.name.as_str(), contract.style_width), ("voice", 128));
    assert_eq!(contract.waveform, "audio");
    let samples = model.run(&[0, 5, 7, 0], &[0.0; 128], 1.0, &RunOptions::new().unwrap()).unwrap();
    assert_eq!(samples, [0.0, 5.0, 7.0, 0.0]);
    let error = model.run(&[0, 5, 0], &[0.0; 7], 1.0, &RunOptions::new().unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("inference: "), "{error}");
}

#[test]
fn a_model_without_sound_is_refused_and_any_other_of_the_shape_speaks() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("voices")).unwrap();
    std::fs::write(folder.path().join("voices/zero.bin"), vec![0; 510 * 1_024]).unwrap();
    let inputs = [
        value("ids", INT64, &[Some(1), None]),
        value("style", FLOAT, &[Some(1), Some(256)]),
        value("speed", FLOAT, &[Some(1)]),
    ];
    let model = folder.path().join("model.onnx");
    let mut settings = Settings::read(&serde_json::Map::new(), &model).unwrap();
    settings.ort_dylib = Some(ort_dylib());
    // The style comes back as sound: all zeros.
    std::fs::write(&model, onnx::cast_model(&inputs, "style", "wave")).unwrap();
    let error = Speaker::load(&model, &settings).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("silence for a test sentence"), "{error}");
    // The ids come back as sound: noise, but sound.
    std::fs::write(&model, onnx::cast_model(&inputs, "ids", "wave")).unwrap();
    let mut speaker = Speaker::load(&model, &settings).unwrap();
    assert!(!speak(&mut speaker, clause("Hello.")).unwrap().0.is_empty());
}

#[test]
fn voices_that_are_missing_or_damaged_are_refused() {
    let load = |voices_dir: PathBuf, voice: Option<&str>| {
        let mut settings = settings(0);
        settings.voices_dir = voices_dir;
        settings.voice = voice.map(str::to_owned);
        Speaker::load(&starter_model(), &settings).map(|_| ()).unwrap_err().to_string()
    };
    let folder = tempfile::tempdir().unwrap();
    let error = load(folder.path().join("none"), None);
    assert!(error.contains("does not exist; set `voices_dir`"), "{error}");
    std::fs::write(folder.path().join("short.bin"), b"abc").unwrap();
    let error = load(folder.path().to_path_buf(), None);
    assert!(error.contains("voice `short` has 3 bytes"), "{error}");
    std::fs::write(folder.path().join("zero.bin"), vec![0; 510 * 1_024]).unwrap();
    let error = load(folder.path().to_path_buf(), Some("nobody"));
    assert!(error.contains("unknown voice `nobody`; available: "), "{error}");
}
