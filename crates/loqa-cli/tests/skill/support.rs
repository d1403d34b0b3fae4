//! What the tests share: the program, with a data folder of its own.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder to work in, and a data folder that is not the user's.
pub struct Place {
    pub folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A program with what every run of `loqa` here needs in its environment.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let loqa = Path::new(env!("CARGO_BIN_EXE_loqa"));
        let mut paths = vec![loqa.parent().unwrap().to_owned()];
        paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut command = Command::new(program);
        command
            .current_dir(self.path())
            .stdin(Stdio::null())
            .env("PATH", std::env::join_paths(paths).unwrap())
            .env("LOQA_PATHS_DATA", self.path().join("data"))
            .env("LOQA_PATHS_SKILLS", repository.join("skills/timer"))
            .env("LOQA_PATHS_MODELS", repository.join("models"))
            .env_remove("LOQA_CONFIG");
        command
    }

    /// Runs `loqa skill …` with `--json`: its exit code and its object.
    pub fn skill(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.output(&[&["skill"], arguments, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        let object = serde_json::from_str(last).unwrap_or_else(|error| {
            panic!("{arguments:?}: {error}\n{text}\n{}", String::from_utf8_lossy(&output.stderr))
        });
        (output.status.code().unwrap(), object)
    }

    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_loqa")).args(arguments).output().unwrap()
    }

    /// Writes a built skill and packs it.
    pub fn package(&self, version: &str, permissions: &str, more: &[&str]) -> PathBuf {
        let folder = self.path().join("kettle");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(
            folder.join("skill.yaml"),
            format!(
                "schema: 1\nname: kettle\nversion: {version}\ntitle: Kettle\ndescription: Boils water.\nauthor: Ada\n\
                 license: MIT\nruntime: {{ kind: wasm, module: kettle.wasm, host_api: 1 }}\n{permissions}"
            ),
        )
        .unwrap();
        // The least module that there is: no tool asks for an export.
        std::fs::write(folder.join("kettle.wasm"), b"\0asm\x01\0\0\0").unwrap();
        let (code, object) = self.skill(&[&["pack", "kettle"], more].concat());
        assert_eq!(code, 0, "{object}");
        self.path().join(object["package"].as_str().unwrap())
    }
}
