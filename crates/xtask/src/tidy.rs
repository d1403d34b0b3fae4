//! The rules of the house that neither rustc nor clippy knows: who may depend on
//! whom, which crates stay pure, that every module says what it is for, that
//! links between documents lead somewhere.

use crate::metadata::{self, Package};
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};

/// Our crates, and which of our crates each may use (not in its tests). The order
/// is that of `docs/architecture.md`.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("loqa-protocol", &[]),
    ("loqa-turn", &["loqa-protocol"]),
    ("loqa-telemetry", &["loqa-protocol"]),
    ("loqa-bus", &["loqa-protocol", "loqa-telemetry"]),
    ("loqa-engine", &["loqa-protocol", "loqa-telemetry", "loqa-bus"]),
    ("loqa-audio", &["loqa-protocol"]),
    ("loqa-audit", &["loqa-protocol"]),
    ("loqa-skills", &["loqa-protocol", "loqa-turn", "loqa-audit"]),
    ("loqa-store", &["loqa-protocol"]),
    ("loqa-models", &["loqa-protocol"]),
    (
        "loqa-hub",
        &[
            "loqa-protocol",
            "loqa-turn",
            "loqa-telemetry",
            "loqa-bus",
            "loqa-engine",
            "loqa-skills",
            "loqa-audit",
            "loqa-store",
            "loqa-models",
        ],
    ),
    (
        "loqa-api",
        &[
            "loqa-protocol",
            "loqa-turn",
            "loqa-telemetry",
            "loqa-bus",
            "loqa-audit",
            "loqa-skills",
            "loqa-store",
            "loqa-models",
            "loqa-audio",
            "loqa-hub",
        ],
    ),
    (
        "loqa-cli",
        &[
            "loqa-protocol",
            "loqa-turn",
            "loqa-telemetry",
            "loqa-bus",
            "loqa-skills",
            "loqa-audit",
            "loqa-audio",
            "loqa-hub",
            "loqa-wasm",
            "loqa-store",
            "loqa-models",
            "loqa-api",
        ],
    ),
    ("loqa-talk", &["loqa-protocol", "loqa-audio", "loqa-hub"]),
    ("loqa-desktop", &["loqa-protocol", "loqa-telemetry", "loqa-hub", "loqa-api", "loqa-talk"]),
    ("smart-home", &["loqa-protocol", "loqa-bus", "loqa-telemetry"]),
    ("loqa-stt", &["loqa-protocol", "loqa-telemetry", "loqa-engine"]),
    // Reads the spoken times that its small model copies; the reading is pure code of loqa-turn.
    ("loqa-llm", &["loqa-protocol", "loqa-turn", "loqa-telemetry", "loqa-engine"]),
    ("loqa-tts", &["loqa-protocol", "loqa-telemetry", "loqa-engine"]),
    ("loqa-wasm", &[]),
    ("xtask", &["loqa-wasm"]),
];

/// Tests of the whole may use every part; nothing may use them.
const TESTS: &str = "loqa-tests";

/// Heavy or platform-bound crates, and who alone may use them.
const RESERVED: &[(&str, &[&str])] = &[
    ("whisper-rs", &["loqa-stt"]),
    ("whisper-rs-sys", &["loqa-stt"]),
    ("llama-cpp-2", &["loqa-llm"]),
    ("llama-cpp-sys-2", &["loqa-llm"]),
    ("ort", &["loqa-tts"]),
    ("misaki-rs", &["loqa-tts"]),
    ("cpal", &["loqa-audio"]),
    ("extism", &["loqa-skills"]),
    ("async-nats", &["loqa-bus"]),
    ("tauri", &["loqa-desktop", TESTS]),
];

/// Crates that do no IO and read no clock, and what would break that.
const PURE: &[&str] = &["crates/loqa-protocol", "crates/loqa-turn"];
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::env",
    "tokio",
    "rand::",
];

/// Folders with Rust of ours.
const SOURCES: &[&str] = &["crates", "sidecars", "tests", "skills", "src-tauri"];

/// Checks all rules and names every place that breaks one.
///
/// # Errors
/// A rule is broken, or the tree cannot be read.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let packages = metadata::read(root)?.packages;
    let mut violations = directions(&packages);
    violations.extend(reserved(&packages));
    let mut sources = Vec::new();
    for folder in SOURCES.iter().map(|folder| root.join(folder)).filter(|folder| folder.is_dir()) {
        for file in files_with(&folder, "rs")? {
            let text = std::fs::read_to_string(&file).with_context(|| format!("read `{}`", file.display()))?;
            sources.push((relative(root, &file), text));
        }
    }
    let n_files = sources.len();
    for (name, text) in &sources {
        violations.extend(header(name, text));
        if !is_test_module(name, &sources) {
            violations.extend(purity(name, text));
        }
    }
    for file in files_with(root, "md")? {
        let text = std::fs::read_to_string(&file).with_context(|| format!("read `{}`", file.display()))?;
        violations.extend(dead_links(root, &file, &text));
    }
    if !violations.is_empty() {
        bail!("{} places are untidy:\n  {}", violations.len(), violations.join("\n  "));
    }
    println!("{n_files} Rust files and the directions of {} crates are tidy", DIRECTIONS.len());
    Ok(())
}

fn directions(packages: &[Package]) -> Vec<String> {
    let mut violations = Vec::new();
    let own: Vec<&Package> = packages.iter().filter(|package| package.source.is_none()).collect();
    for package in own.iter().filter(|package| package.name != TESTS) {
        let Some((_, allowed)) = DIRECTIONS.iter().find(|(name, _)| *name == package.name) else {
            violations.push(format!("{}: has no row in DIRECTIONS of crates/xtask/src/tidy.rs", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev")) {
            let is_own = own.iter().any(|other| other.name == dependency.name);
            if is_own && !allowed.contains(&dependency.name.as_str()) {
                violations.push(format!("{} may not depend on {}", package.name, dependency.name));
            }
        }
    }
    violations
}

fn reserved(packages: &[Package]) -> Vec<String> {
    let mut violations = Vec::new();
    for (foreign, allowed) in RESERVED {
        for user in direct_users(packages, foreign).into_iter().filter(|user| !allowed.contains(user)) {
            violations.push(format!("{user} may not depend on {foreign}, only {} may", allowed.join(", ")));
        }
    }
    violations
}

/// Our packages that use a foreign one directly, not only in tests.
fn direct_users<'a>(packages: &'a [Package], name: &str) -> Vec<&'a str> {
    let uses = |package: &Package| {
        package
            .dependencies
            .iter()
            .any(|dependency| dependency.name == name && dependency.kind.as_deref() != Some("dev"))
    };
    packages.iter().filter(|package| package.source.is_none() && uses(package)).map(|package| &*package.name).collect()
}

/// What every Rust file begins with, and what none is called.
fn header(name: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    if name.ends_with("/mod.rs") {
        violations.push(format!("{name}: call it after its folder instead of mod.rs"));
    }
    if !text.trim_start_matches('\u{feff}').starts_with("//!") {
        violations.push(format!("{name}: begins without `//!` that says what the module is for"));
    }
    violations
}

/// Whether a file is only there for tests: below `tests/`, or declared so by a file of its crate.
fn is_test_module(name: &str, sources: &[(String, String)]) -> bool {
    let Some((folder, file)) = name.rsplit_once('/') else { return false };
    let declaration = format!("#[cfg(test)]\nmod {};", file.trim_end_matches(".rs"));
    let crate_folder = name.split("/src/").next().unwrap_or(folder);
    name.contains("/tests/")
        || sources.iter().any(|(other, text)| other.starts_with(crate_folder) && text.contains(&declaration))
}

/// What a crate without IO and clock may not name.
fn purity(name: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    if !PURE.iter().any(|folder| name.starts_with(&format!("{folder}/src/"))) {
        return violations;
    }
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    for (index, line) in code.lines().enumerate() {
        let code = line.split("//").next().unwrap_or(line);
        for impure in IMPURE.iter().filter(|impure| code.contains(**impure)) {
            violations.push(format!("{name}:{}: `{impure}` in a crate without IO and clock", index + 1));
        }
    }
    violations
}

/// Links of a Markdown file to files that do not exist.
fn dead_links(root: &Path, file: &Path, text: &str) -> Vec<String> {
    let folder = file.parent().unwrap_or(root);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ', '#']).next());
    targets
        .filter(|target| !target.is_empty() && !target.contains(':'))
        .filter(|target| !folder.join(target).exists())
        .map(|target| format!("{}: links to `{target}`, which does not exist", relative(root, file)))
        .collect()
}

/// Files with this ending, sorted, without what tools and builds leave behind.
fn files_with(folder: &Path, ending: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("list `{}`", folder.display()))? {
            let entry = entry.with_context(|| format!("list `{}`", folder.display()))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let kind = entry.file_type().with_context(|| format!("look at `{}`", entry.path().display()))?;
            if kind.is_dir() && !name.starts_with('.') && !["target", "node_modules", "dist"].contains(&&*name) {
                open.push(entry.path());
            } else if kind.is_file() && entry.path().extension().is_some_and(|extension| extension == ending) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn relative(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind)| Dependency { name: (*name).into(), kind: kind.map(Into::into) })
            .collect();
        Package { name: name.into(), source: None, dependencies }
    }

    #[test]
    fn a_dependency_against_the_direction_is_refused_but_not_in_tests() {
        let hub = package("loqa-hub", &[]);
        let turn = package("loqa-turn", &[("loqa-hub", None)]);
        assert_eq!(directions(&[hub, turn]), ["loqa-turn may not depend on loqa-hub"]);
        let hub = package("loqa-hub", &[]);
        let turn = package("loqa-turn", &[("loqa-hub", Some("dev"))]);
        assert_eq!(directions(&[hub, turn]), Vec::<String>::new());
        let stranger = package("loqa-utils", &[]);
        assert!(directions(&[stranger])[0].contains("no row"), "a new crate needs a decision");
    }

    #[test]
    fn heavy_crates_have_one_user() {
        let packages = [package("loqa-hub", &[("cpal", None)]), package("loqa-audio", &[("cpal", None)])];
        assert_eq!(reserved(&packages), ["loqa-hub may not depend on cpal, only loqa-audio may"]);
    }

    #[test]
    fn modules_say_what_they_are_for() {
        assert!(header("crates/a/src/b.rs", "//! What.\n").is_empty());
        assert_eq!(header("crates/a/src/b.rs", "use x;\n").len(), 1);
        assert_eq!(header("crates/a/src/b/mod.rs", "//! What.\n").len(), 1);
    }

    #[test]
    fn pure_crates_stay_pure_but_for_their_tests() {
        let clock = "//! What.\nfn f() { Instant::now(); }\n";
        assert_eq!(purity("crates/loqa-turn/src/state.rs", clock).len(), 1);
        assert!(purity("crates/loqa-hub/src/session.rs", clock).is_empty(), "the edge may read the clock");
        let in_test = "//! What.\n// Instant::now is the driver's.\n#[cfg(test)]\nmod tests {\n    fn f() { Instant::now(); }\n}\n";
        assert!(purity("crates/loqa-turn/src/state.rs", in_test).is_empty());
        let sources = [
            ("crates/loqa-turn/src/state.rs".into(), "#[cfg(test)]\nmod invariants;\n".into()),
            ("crates/loqa-turn/src/state/invariants.rs".to_owned(), clock.to_owned()),
        ];
        assert!(is_test_module("crates/loqa-turn/src/state/invariants.rs", &sources));
        assert!(!is_test_module("crates/loqa-turn/src/state.rs", &sources));
        assert!(!is_test_module("crates/loqa-hub/src/invariants.rs", &sources), "another crate's declaration");
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("there.md"), "").unwrap();
        let file = folder.path().join("a.md");
        let text = "[a](there.md) [b](there.md#part) [c](https://host/x) [d](gone.md) [e](#here)";
        assert_eq!(dead_links(folder.path(), &file, text), ["a.md: links to `gone.md`, which does not exist"]);
    }
}
