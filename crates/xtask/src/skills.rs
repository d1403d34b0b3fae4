//! Builds the bundled skills to WebAssembly.
//!
//! Two tool chains are hidden here: one that brings the standard library for
//! `wasm32-unknown-unknown` (rustup with that target), and one that brings its source
//! only (Debian's packages), for which the library is built along and LLVM's linker is
//! used. Skills are built in a folder of their own below the target folder.

use anyhow::{Context as _, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where skills run.
const TARGET: &str = "wasm32-unknown-unknown";
/// Folders below `skills/` that become a module of the same name.
const SKILLS: &[&str] = &["timer", "shopping-list", "weather"];
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

/// Builds every skill below `skills/` whose sources are newer than its module.
///
/// # Errors
/// The tool chain is missing, or a skill does not compile.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let target_dir = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root.join(dir),
        None => root.join("target"),
    };
    for built in build(root, &target_dir)? {
        match built {
            Built::Fresh(module) => println!("{} is up to date", module.display()),
            Built::Rebuilt(module) => println!("built {}", module.display()),
        }
    }
    Ok(())
}

/// What became of one skill; the path is that of its module.
enum Built {
    /// Nothing had changed.
    Fresh(PathBuf),
    /// It was compiled.
    Rebuilt(PathBuf),
}

/// Builds into `skills/<name>/dist/`; what is compiled on the way lies in `<target_dir>/skills`.
fn build(root: &Path, target_dir: &Path) -> anyhow::Result<Vec<Built>> {
    let workspace = root.join("skills");
    let target_dir = target_dir.join("skills");
    let fingerprint = fingerprint(&workspace)?;
    let modules =
        SKILLS.iter().map(|skill| (*skill, dist(&workspace, skill).join(format!("{skill}.wasm")))).collect::<Vec<_>>();
    let is_fresh = |skill: &str, module: &Path| {
        module.is_file()
            && dist(&workspace, skill).join("skill.yaml").is_file()
            && std::fs::read_to_string(stamp(&workspace, skill)).is_ok_and(|stamped| stamped == fingerprint)
    };
    if modules.iter().all(|(skill, module)| is_fresh(skill, module)) {
        return Ok(modules.into_iter().map(|(_, module)| Built::Fresh(module)).collect());
    }
    compile(&workspace, &target_dir)?;
    for (skill, module) in &modules {
        let compiled = target_dir.join(TARGET).join("release").join(format!("{}.wasm", skill.replace('-', "_")));
        std::fs::create_dir_all(dist(&workspace, skill))?;
        // The stamp comes last, so that a copy that was cut short is made again.
        let _absent = std::fs::remove_file(stamp(&workspace, skill));
        place(&compiled, module)?;
        place(&workspace.join(skill).join("skill.yaml"), &dist(&workspace, skill).join("skill.yaml"))?;
        std::fs::write(stamp(&workspace, skill), &fingerprint)?;
    }
    Ok(modules.into_iter().map(|(_, module)| Built::Rebuilt(module)).collect())
}

fn dist(workspace: &Path, skill: &str) -> PathBuf {
    workspace.join(skill).join("dist")
}

fn stamp(workspace: &Path, skill: &str) -> PathBuf {
    dist(workspace, skill).join(".built-from")
}

/// Copies so that a reader sees the old file or the new one.
fn place(from: &Path, to: &Path) -> anyhow::Result<()> {
    let beside = to.with_extension("new");
    std::fs::copy(from, &beside).with_context(|| format!("copy `{}` to `{}`", from.display(), beside.display()))?;
    std::fs::rename(&beside, to).with_context(|| format!("rename `{}` to `{}`", beside.display(), to.display()))
}

fn compile(workspace: &Path, target_dir: &Path) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args(["build", "--locked", "--release", "--target", TARGET])
        .env("CARGO_TARGET_DIR", target_dir)
        // Flags that the user set are meant for the machine's own processor.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    let tool_chain = match find_tool_chain(workspace) {
        // rustup adds what is missing by itself where it can; its own message says why it cannot.
        Err(error) if add_target(workspace) => find_tool_chain(workspace).context(error)?,
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
    let status = command.status().context("run cargo for the skills")?;
    if !status.success() {
        bail!("the skills do not compile: {status}");
    }
    Ok(())
}

enum ToolChain {
    /// The standard library for [`TARGET`] is there.
    Complete,
    /// Its source is, and a linker.
    SourceOnly { linker: &'static str },
}

fn find_tool_chain(workspace: &Path) -> anyhow::Result<ToolChain> {
    let libraries = PathBuf::from(ask_rustc(workspace, &["--print", "target-libdir", "--target", TARGET])?);
    let has_core = std::fs::read_dir(libraries).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-")))
    });
    if has_core {
        return Ok(ToolChain::Complete);
    }
    let sysroot = PathBuf::from(ask_rustc(workspace, &["--print", "sysroot"])?);
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
fn add_target(workspace: &Path) -> bool {
    let added = Command::new("rustup").args(["target", "add", TARGET]).current_dir(workspace).status();
    added.is_ok_and(|status| status.success())
}

fn ask_rustc(workspace: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let output = Command::new(rustc).args(arguments).current_dir(workspace).output().context("run rustc")?;
    if !output.status.success() {
        bail!("rustc {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout).context("rustc names a path that is not UTF-8")?.trim().to_owned())
}

/// Changes when a source or the compiler does. Not against tampering; FNV-1a is enough.
fn fingerprint(workspace: &Path) -> anyhow::Result<String> {
    let mut files = Vec::new();
    collect_sources(workspace, &mut files).with_context(|| format!("read `{}`", workspace.display()))?;
    files.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        // The length keeps two files apart from one with both contents.
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    add(ask_rustc(workspace, &["-vV"])?.as_bytes());
    for file in &files {
        let name = file.strip_prefix(workspace).unwrap_or(file).to_string_lossy().replace('\\', "/");
        add(name.as_bytes());
        add(&std::fs::read(file).with_context(|| format!("read `{}`", file.display()))?);
    }
    Ok(format!("{hash:016x}"))
}

fn collect_sources(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if !["target", "dist"].iter().any(|built| entry.file_name() == *built) {
                collect_sources(&path, files)?;
            }
        } else if path
            .extension()
            .is_some_and(|extension| ["rs", "toml", "lock", "yaml"].iter().any(|known| extension == *known))
        {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_follows_sources_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("loqa-xtask-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("timer/src")).unwrap();
        std::fs::create_dir_all(folder.join("timer/dist")).unwrap();
        std::fs::write(folder.join("timer/src/lib.rs"), "one").unwrap();
        let first = fingerprint(&folder).unwrap();
        std::fs::write(folder.join("timer/dist/skill.yaml"), "built").unwrap();
        std::fs::write(folder.join("timer/notes.txt"), "words").unwrap();
        assert_eq!(fingerprint(&folder).unwrap(), first, "what is built must not cause a build");
        std::fs::write(folder.join("timer/src/lib.rs"), "two").unwrap();
        assert_ne!(fingerprint(&folder).unwrap(), first, "a changed source must");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
