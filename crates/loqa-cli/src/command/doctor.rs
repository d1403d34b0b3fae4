//! `loqa doctor`: looks at every part of the installation and says what to do.
//! Makes the data folder where there is none; changes nothing else.

use crate::{Session, sound};
use loqa_hub::paths::running_hub;
use loqa_protocol::engine::EngineKind;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

struct Finding {
    part: &'static str,
    ok: bool,
    /// A part that a turn can do without.
    optional: bool,
    detail: String,
}

/// A healthy program answers `--version` in milliseconds.
const PROGRAM_PATIENCE: Duration = Duration::from_secs(10);
/// Below this the databases will soon fail. Chosen.
const LOW_SPACE: u64 = 200_000_000;

/// Runs the command.
pub async fn run(session: &Session) -> anyhow::Result<ExitCode> {
    let mut findings = vec![data_folder(session), running(session), processor()];
    for (part, path, remedy) in [
        ("nats-server", session.paths.nats_server.clone(), "run `npm run setup` or set `bus.nats_server`"),
        ("loqa-stt", session.paths.program("loqa-stt"), "run `cargo build --workspace` or set `paths.programs`"),
        ("loqa-llm", session.paths.program("loqa-llm"), "run `cargo build --workspace` or set `paths.programs`"),
        ("loqa-tts", session.paths.program("loqa-tts"), "run `cargo build --workspace` or set `paths.programs`"),
    ] {
        findings.push(program(part, &path, remedy).await);
    }
    findings.push(library(&session.paths.onnxruntime));
    findings.extend(models(session));
    findings.extend(session.paths.skills.iter().map(|folder| skill(folder)));
    findings.push(event_store(session));
    findings.push(sandbox());
    findings.push(devices());
    let bad = findings.iter().any(|finding| !finding.ok && !finding.optional);
    if session.json {
        let rows: Vec<_> = findings
            .iter()
            .map(|f| serde_json::json!({ "part": f.part, "ok": f.ok, "optional": f.optional, "detail": f.detail }))
            .collect();
        println!("{}", serde_json::json!({ "ok": !bad, "parts": rows }));
    } else {
        for finding in &findings {
            let mark = match (finding.ok, finding.optional) {
                (true, _) => "ok     ",
                (false, true) => "note   ",
                (false, false) => "MISSING",
            };
            println!("{mark} {:<14} {}", finding.part, finding.detail);
        }
    }
    Ok(if bad { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn finding(part: &'static str, result: anyhow::Result<String>) -> Finding {
    match result {
        Ok(detail) => Finding { part, ok: true, optional: false, detail },
        Err(e) => Finding { part, ok: false, optional: false, detail: format!("{e:#}") },
    }
}

fn data_folder(session: &Session) -> Finding {
    finding(
        "data folder",
        session.paths.prepare().map(|()| {
            let shown = session.paths.data.display();
            match free_space(&session.paths.data) {
                Some(free) if free < LOW_SPACE => format!("{shown}, only {} MB free", free / 1_000_000),
                Some(free) => format!("{shown}, {} GB free", free / 1_000_000_000),
                None => format!("{shown}"),
            }
        }),
    )
}

#[cfg(unix)]
fn free_space(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

#[cfg(not(unix))]
fn free_space(_path: &Path) -> Option<u64> {
    None
}

fn running(session: &Session) -> Finding {
    let detail = running_hub(&session.paths.data)
        .map_or_else(|| "none runs on this data folder".to_owned(), |hub| format!("runs with process id {}", hub.pid));
    Finding { part: "hub", ok: true, optional: true, detail }
}

fn processor() -> Finding {
    #[cfg(target_arch = "x86_64")]
    let fits = std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c")
        && std::arch::is_x86_feature_detected!("bmi2");
    #[cfg(not(target_arch = "x86_64"))]
    let fits = true;
    let hardware = loqa_telemetry::hardware_class();
    let detail = if fits {
        hardware
    } else {
        format!("{hardware}: the engines need AVX2, FMA, F16C and BMI2 (Intel Haswell, 2013, or newer)")
    };
    Finding { part: "processor", ok: fits, optional: false, detail }
}

/// The file of the sessions; a hub that cannot use it goes on in memory.
fn event_store(session: &Session) -> Finding {
    let path = session.paths.data.join(loqa_store::FILE_NAME);
    let (ok, detail) = match loqa_store::Reader::open(&path) {
        Ok(reader) => match reader.counts() {
            Ok(counts) => {
                (true, format!("{} sessions, {} MB, {}", counts.sessions, counts.bytes / 1_000_000, path.display()))
            }
            Err(error) => (false, error.to_string()),
        },
        Err(loqa_store::StoreError::Missing { .. }) => (true, "nothing was kept so far".to_owned()),
        Err(error) => (false, error.to_string()),
    };
    Finding { part: "event store", ok, optional: true, detail }
}

/// What the system can hold native skills back from; a hub without them needs nothing of it.
fn sandbox() -> Finding {
    let holds = loqa_hub::native::what_holds();
    let missing: Vec<&str> = [
        (holds.files, "files (Landlock, Linux 5.13)"),
        (holds.network, "TCP ports (Landlock, Linux 6.7)"),
        (holds.system_calls, "system calls (seccomp)"),
    ]
    .into_iter()
    .filter_map(|(is_held, what)| (!is_held).then_some(what))
    .collect();
    let detail = if missing.is_empty() {
        "native skills are held back from files, TCP ports and system calls".to_owned()
    } else {
        format!("native skills are not held back from {}: allow only programs that you trust", missing.join(", "))
    };
    Finding { part: "sandbox", ok: missing.is_empty(), optional: true, detail }
}

async fn program(part: &'static str, path: &Path, remedy: &str) -> Finding {
    let run = tokio::process::Command::new(path).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    let result = match tokio::time::timeout(PROGRAM_PATIENCE, run).await {
        Ok(Ok(output)) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(format!("{} ({})", text.trim(), path.display()))
        }
        Ok(Ok(output)) => Err(anyhow::anyhow!("`{} --version` ended with {}: {remedy}", path.display(), output.status)),
        Ok(Err(e)) => Err(anyhow::anyhow!("`{}`: {e}: {remedy}", path.display())),
        Err(_) => Err(anyhow::anyhow!("`{} --version` does not end: {remedy}", path.display())),
    };
    finding(part, result)
}

fn library(path: &Path) -> Finding {
    let result = if path.is_file() {
        Ok(path.display().to_string())
    } else {
        Err(anyhow::anyhow!("`{}` is missing: run `npm run setup` or set `tts.onnxruntime`", path.display()))
    };
    finding("onnxruntime", result)
}

fn models(session: &Session) -> Vec<Finding> {
    let config = &session.config;
    let catalog = match session.paths.catalog() {
        Ok(catalog) => catalog,
        Err(e) => return vec![finding("models", Err(e))],
    };
    let mut wanted = Vec::new();
    if config.bool("stt.enabled") {
        wanted.push((config.text("stt.model").to_owned(), EngineKind::Stt));
    }
    wanted.extend(config.list("llm.models").into_iter().map(|name| (name, EngineKind::Llm)));
    if config.bool("tts.enabled") {
        wanted.push((config.text("tts.model").to_owned(), EngineKind::Tts));
    }
    wanted
        .into_iter()
        .map(|(name, kind)| {
            finding("model", catalog.verified(&name, kind).map(|model| format!("{name}, {}", model.path.display())))
        })
        .collect()
}

fn skill(folder: &Path) -> Finding {
    let manifest = folder.join("skill.yaml");
    let result = if manifest.is_file() {
        Ok(folder.display().to_string())
    } else {
        Err(anyhow::anyhow!("`{}` is missing: run `npm run setup` to build the bundled skills", manifest.display()))
    };
    finding("skill", result)
}

fn devices() -> Finding {
    match sound::devices() {
        Ok(detail) => Finding { part: "sound", ok: true, optional: true, detail },
        Err(e) => Finding { part: "sound", ok: false, optional: true, detail: format!("{e:#}") },
    }
}
