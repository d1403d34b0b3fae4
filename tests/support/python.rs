//! The Python of the tests, with the packages that `tools/setup/python-tests.txt` pins:
//! other people's programs, unmodified.
//!
//! Deliberately absent: installing it; `npm test` and `node tools/python.mjs` do.

use crate::repository;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// Longest run of one script. Chosen: ten times what the slowest takes on a busy machine with two cores.
const SCRIPT_PATIENCE: Duration = Duration::from_mins(5);

/// The interpreter: `LOQA_TEST_PYTHON`, which `npm test` sets, else the one in the tools folder.
#[must_use]
pub fn python() -> PathBuf {
    if let Some(path) = std::env::var_os("LOQA_TEST_PYTHON").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "LOQA_TEST_PYTHON names `{}`, which is missing", path.display());
        return path;
    }
    let requirements = std::fs::read(repository().join("tools/setup/python-tests.txt")).unwrap();
    let digest = hex::encode(Sha256::digest(requirements));
    let tools = std::env::var_os("LOQA_TOOLS").map_or_else(|| repository().join(".tools"), PathBuf::from);
    let folder = tools.join(format!("python-tests-{}", &digest[..16]));
    let path = if cfg!(windows) { folder.join("Scripts/python.exe") } else { folder.join("bin/python") };
    assert!(
        path.is_file(),
        "`{}` is missing: run `npm test`, or `node tools/python.mjs` to install it",
        path.display()
    );
    path
}

/// What a script of `tests/python` printed, and whether it ended well. Its secrets
/// arrive in files or in the environment, as with any program.
#[derive(Debug)]
pub struct Script {
    /// Whether its exit code was 0.
    pub ok: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Script {
    /// The last line of standard output as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let line = self.out.lines().last().unwrap_or_default();
        serde_json::from_str(line)
            .unwrap_or_else(|e| panic!("the last line is one object: {e}: {line}\nstderr: {}", self.err))
    }
}

/// Runs a script of `tests/python` to its end.
pub async fn run_script(name: &str, arguments: &[&str]) -> Script {
    let mut command = tokio::process::Command::new(python());
    command
        .arg("-I")
        .arg(repository().join("tests/python").join(name))
        .args(arguments)
        .current_dir(repository())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    // A proxy of the machine is no way to a loopback address.
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    let output = tokio::time::timeout(SCRIPT_PATIENCE, command.output())
        .await
        .unwrap_or_else(|_| panic!("`{name}` did not end in {} s", SCRIPT_PATIENCE.as_secs()))
        .unwrap();
    Script {
        ok: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
