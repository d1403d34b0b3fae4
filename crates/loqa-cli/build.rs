//! Puts the SDK into the program, so that `loqa skill new` makes a skill that builds
//! outside of this repository, against the SDK of the same version.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let skills = Path::new(&env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("../../skills");
    let skills = fs::canonicalize(skills)?;
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    println!("cargo::rerun-if-changed={}", skills.join("sdk").display());
    println!("cargo::rerun-if-changed={}", skills.join("Cargo.toml").display());
    println!("cargo::rerun-if-changed={}", skills.join("Cargo.lock").display());

    let workspace = fs::read_to_string(skills.join("Cargo.toml"))?;
    let manifest = fs::read_to_string(skills.join("sdk/Cargo.toml"))?;
    fs::write(out.join("sdk.toml"), standing_alone(&manifest, &workspace)?)?;

    let mut files = Vec::new();
    collect(&skills.join("sdk/src"), &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(skills.join("sdk")).map_err(io::Error::other)?;
        let name = name.to_string_lossy().replace('\\', "/");
        writeln!(table, "    ({name:?}, include_str!({:?})),", file.to_string_lossy()).map_err(io::Error::other)?;
    }
    table.push(']');
    fs::write(out.join("sdk_files.rs"), table)?;
    fs::copy(skills.join("Cargo.lock"), out.join("sdk.lock"))?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The manifest with what it takes from its workspace written out.
fn standing_alone(manifest: &str, workspace: &str) -> io::Result<String> {
    let mut lines = Vec::new();
    for line in manifest.lines() {
        // Lints are the repository's own business.
        if line == "[lints]" || line == "workspace = true" {
            continue;
        }
        match line.strip_suffix(".workspace = true") {
            Some(key) => {
                let given = workspace.lines().find(|given| given.split(" = ").next() == Some(key));
                let given =
                    given.ok_or_else(|| io::Error::other(format!("skills/Cargo.toml does not give `{key}`")))?;
                lines.push(given.to_owned());
            }
            None => lines.push(line.to_owned()),
        }
    }
    Ok(lines.join("\n") + "\n")
}
