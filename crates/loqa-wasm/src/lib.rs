//! Builds skills to WebAssembly: the bundled ones for `cargo xtask skills`, any other
//! for `loqa skill build`.
//!
//! Two tool chains are hidden here: one that brings the standard library for
//! `wasm32-unknown-unknown` (rustup with that target), and one that brings its source
//! only (Debian's packages), for which the library is built along and LLVM's linker is
//! used.

use anyhow::{Context as _, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where skills run.
pub const TARGET: &str = "wasm32-unknown-unknown";
/// How LLVM's linker for WASM may be called; Debian adds the version.
const LINKERS: &[&str] = &[
    "wasm-ld",
    "wasm-ld-22",
    "wasm-ld-21",
    "wasm-ld-20",
    "wasm-ld-19",
    "wasm-ld-18",
    "wasm-ld-17",
    "wasm-ld-16",
    "wasm-ld-15",
    "wasm-ld-14",
];

/// Whether cargo may change the lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// It must be up to date.
    Fixed,
    /// Cargo brings it up to date.
    Free,
}

/// Compiles the package or workspace in `folder`; the modules lie in [`modules`] of the same target folder.
///
/// # Errors
/// The tool chain is missing, with what to install, or the code does not compile.
pub fn compile(folder: &Path, target_dir: &Path, lock: Lock) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .current_dir(folder)
        .args(["build", "--release", "--target", TARGET])
        .args((lock == Lock::Fixed).then_some("--locked"))
        .env("CARGO_TARGET_DIR", target_dir)
        // Flags that the user set are meant for the machine's own processor.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    let tool_chain = match find_tool_chain(folder) {
        // rustup adds what is missing by itself where it can; its own message says why it cannot.
        Err(error) if add_target(folder) => find_tool_chain(folder).context(error)?,
        other => other?,
    };
    match tool_chain {
        ToolChain::Complete => {}
        ToolChain::SourceOnly { linker } => {
            command
                .args(["-Z", "build-std=std,panic_abort"])
                // `build-std` is an unstable option; this is how a stable compiler takes it.
                .env("RUSTC_BOOTSTRAP", "1")
                .env("RUSTFLAGS", format!("-C linker={linker}"));
        }
    }
    // Standard output belongs to the program that has it built.
    let status = command.stdout(std::io::stderr()).status().context("run cargo")?;
    if !status.success() {
        bail!("the code does not compile: {status}");
    }
    Ok(())
}

enum ToolChain {
    /// The standard library for [`TARGET`] is there.
    Complete,
    /// Its source is, and a linker.
    SourceOnly { linker: &'static str },
}

fn find_tool_chain(folder: &Path) -> anyhow::Result<ToolChain> {
    let libraries = PathBuf::from(ask_rustc(folder, &["--print", "target-libdir", "--target", TARGET])?);
    let has_core = std::fs::read_dir(libraries).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-")))
    });
    if has_core {
        return Ok(ToolChain::Complete);
    }
    let sysroot = PathBuf::from(ask_rustc(folder, &["--print", "sysroot"])?);
    let has_source = sysroot.join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file();
    let linker = LINKERS
        .iter()
        .find(|linker| Command::new(linker).arg("--version").output().is_ok_and(|output| output.status.success()));
    match (has_source, linker) {
        (true, Some(linker)) => Ok(ToolChain::SourceOnly { linker }),
        (has_source, linker) => {
            let missing = match (has_source, linker) {
                (false, None) => "neither the standard library's source nor `wasm-ld` is there",
                (false, Some(_)) => "the standard library's source is not there",
                (true, _) => "`wasm-ld` is not there",
            };
            bail!(
                "this Rust cannot build for {TARGET}: {missing}\n\
                 with rustup: rustup target add {TARGET}\n\
                 with Debian's Rust: apt-get install rust-web-src lld"
            )
        }
    }
}

/// Has rustup fetch the standard library. `false` where Rust does not come from rustup, or without a network.
fn add_target(folder: &Path) -> bool {
    let added =
        Command::new("rustup").args(["target", "add", TARGET]).current_dir(folder).stdout(std::io::stderr()).status();
    added.is_ok_and(|status| status.success())
}

/// Asks the compiler that `folder` uses.
///
/// # Errors
/// There is none, or it says no.
pub fn ask_rustc(folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let output = Command::new(rustc).args(arguments).current_dir(folder).output().context("run rustc")?;
    if !output.status.success() {
        bail!("rustc {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout).context("rustc names a path that is not UTF-8")?.trim().to_owned())
}

/// Where the modules of a target folder lie.
#[must_use]
pub fn modules(target_dir: &Path) -> PathBuf {
    target_dir.join(TARGET).join("release")
}

/// Copies so that a reader sees the old file or the new one.
///
/// # Errors
/// One of the files cannot be read or written.
pub fn place(from: &Path, to: &Path) -> anyhow::Result<()> {
    let beside = to.with_extension("new");
    std::fs::copy(from, &beside).with_context(|| format!("copy `{}` to `{}`", from.display(), beside.display()))?;
    std::fs::rename(&beside, to).with_context(|| format!("rename `{}` to `{}`", beside.display(), to.display()))
}
