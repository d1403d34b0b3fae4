//! Builds the bundled skills to WebAssembly, in a folder of their own below the target
//! folder. How that is done with each tool chain is in `loqa-wasm`.

use anyhow::Context as _;
use loqa_wasm::{Lock, ask_rustc, compile, modules, place};
use std::path::{Path, PathBuf};

/// Folders below `skills/` that become a module of the same name.
const SKILLS: &[&str] = &["timer", "shopping-list", "weather"];
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
    let wanted =
        SKILLS.iter().map(|skill| (*skill, dist(&workspace, skill).join(format!("{skill}.wasm")))).collect::<Vec<_>>();
    let is_fresh = |skill: &str, module: &Path| {
        module.is_file()
            && dist(&workspace, skill).join("skill.yaml").is_file()
            && std::fs::read_to_string(stamp(&workspace, skill)).is_ok_and(|stamped| stamped == fingerprint)
    };
    if wanted.iter().all(|(skill, module)| is_fresh(skill, module)) {
        return Ok(wanted.into_iter().map(|(_, module)| Built::Fresh(module)).collect());
    }
    compile(&workspace, &target_dir, Lock::Fixed)?;
    for (skill, module) in &wanted {
        let compiled = modules(&target_dir).join(format!("{}.wasm", skill.replace('-', "_")));
        std::fs::create_dir_all(dist(&workspace, skill))?;
        // The stamp comes last, so that a copy that was cut short is made again.
        let _absent = std::fs::remove_file(stamp(&workspace, skill));
        place(&compiled, module)?;
        place(&workspace.join(skill).join("skill.yaml"), &dist(&workspace, skill).join("skill.yaml"))?;
        std::fs::write(stamp(&workspace, skill), &fingerprint)?;
    }
    Ok(wanted.into_iter().map(|(_, module)| Built::Rebuilt(module)).collect())
}

fn dist(workspace: &Path, skill: &str) -> PathBuf {
    workspace.join(skill).join("dist")
}

fn stamp(workspace: &Path, skill: &str) -> PathBuf {
    dist(workspace, skill).join(".built-from")
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
