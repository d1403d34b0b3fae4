//! Libraries that are not ONNX Runtime, or too old. In a program of its own, because a
//! process can hold one such library and every other test loads the real one.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use loqa_tts::{TtsError, runtime};
use std::path::Path;
use std::process::Command;

#[test]
fn a_missing_library_names_the_place_and_the_way_out() {
    let error = runtime::locate(Some(Path::new(if cfg!(windows) { r"C:\nowhere\o.dll" } else { "/nowhere/o.so" })));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("nowhere") && error.contains("run `npm run setup`"), "{error}");
}

#[test]
fn a_relative_path_is_refused() {
    let error = runtime::locate(Some(Path::new("libonnxruntime.so.1"))).unwrap_err();
    assert!(matches!(error, TtsError::Setting { key: "ort_dylib", .. }), "{error}");
    assert!(error.to_string().contains("the path must be absolute"), "{error}");
}

#[test]
fn the_search_lists_every_place() {
    if std::env::var_os(runtime::DYLIB_VARIABLE).is_some() {
        return; // Then there is no search.
    }
    match runtime::locate(None) {
        Err(error) => assert!(error.to_string().contains(runtime::DYLIB_NAME), "{error}"),
        // Installed on this machine.
        Ok(path) => assert!(path.is_absolute()),
    }
}

#[test]
fn a_file_that_is_no_library_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(runtime::DYLIB_NAME);
    std::fs::write(&path, "hello").unwrap();
    let error = runtime::load(&runtime::locate(Some(&path)).unwrap()).unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()) && error.contains("or newer is needed"), "{error}");
}

/// A library that says that it is ONNX Runtime 1.17 and does nothing else.
const OLD_RUNTIME: &str = r#"
use std::ffi::{c_char, c_void};
#[repr(C)]
pub struct Base { api: extern "C" fn(u32) -> *const c_void, version: extern "C" fn() -> *const c_char }
extern "C" fn api(_: u32) -> *const c_void { std::ptr::null() }
extern "C" fn version() -> *const c_char { c"1.17.3".as_ptr() }
static BASE: Base = Base { api, version };
#[unsafe(no_mangle)]
pub extern "C" fn OrtGetApiBase() -> *const Base { &BASE }
"#;

#[test]
fn a_library_that_is_too_old_is_refused_with_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("old.rs");
    let library = folder.path().join(runtime::DYLIB_NAME);
    std::fs::write(&source, OLD_RUNTIME).unwrap();
    let built = Command::new("rustc")
        .args(["--edition", "2024", "--crate-type", "cdylib", "--crate-name", "old", "-o"])
        .arg(&library)
        .arg(&source)
        .status()
        .unwrap();
    assert!(built.success(), "rustc builds the stand-in");
    let error = runtime::load(&library).unwrap_err().to_string();
    assert!(error.contains("1.17.3") && error.contains("version 1.23 or newer"), "{error}");
}
