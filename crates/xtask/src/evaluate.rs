//! Measures the starter models with `loqa eval` on `models/evaluation` and writes
//! `models/EVALUATION.md` for people and `models/evaluation/baseline.json`, which a
//! test holds later models against.
//!
//! Deliberately absent: measuring by itself. What it writes is what any user gets from
//! the same command.

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// One manifest of `models/evaluation`. Its name is also the key in the baseline.
struct Set {
    name: &'static str,
    kind: &'static str,
    what: &'static str,
    /// Whether all tools of `tools.json` are offered instead of those of the bundled skills.
    all_tools: bool,
}

const fn set(name: &'static str, kind: &'static str, all_tools: bool, what: &'static str) -> Set {
    Set { name, kind, what, all_tools }
}

const SETS: [Set; 8] = [
    set("stt", "stt", false, "voices that were not trained on, and silence"),
    set("llm", "llm", false, "hand-written, only the timer skill installed"),
    set("llm-hand", "llm", true, "hand-written by the author of the training text"),
    set("llm-independent", "llm", true, "hand-written by somebody who had not seen the training text"),
    set("llm-values", "llm", true, "trained phrasings, held-out values in the 190 that have one"),
    set("llm-phrasings", "llm", true, "held-out phrasings"),
    set("llm-noise", "llm", true, "held-out values with a recogniser's slips"),
    set("tts", "tts", false, "replies of skills"),
];
const KINDS: [(&str, &str); 3] = [("stt", "Recogniser"), ("llm", "Reflex planner"), ("tts", "Voice")];
/// Cases of a run that only measures speed.
const TIMED: &str = "40";

/// Builds `loqa`, runs the evaluations, writes both files.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let mut baseline = Map::new();
    for set in &SETS {
        println!("evaluating {} …", set.name);
        baseline.insert(set.name.to_owned(), figures(root, set, &[])?);
    }
    let mut speed = Map::new();
    for (kind, _) in KINDS {
        for threads in ["1", "2"] {
            println!("timing {kind} with {threads} …");
            let set = SETS.iter().find(|set| set.name == kind).context("every kind has a set of its name")?;
            let threads_of_kind = format!("{kind}.threads={threads}");
            let timed = figures(root, set, &["--limit", TIMED, "--set", &threads_of_kind])?;
            speed.insert(format!("{kind}-{threads}"), timed["ms"].clone());
        }
    }
    std::fs::write(root.join("models/EVALUATION.md"), page(&baseline, &speed)).context("write models/EVALUATION.md")?;
    let json = serde_json::to_string_pretty(&baseline)?;
    std::fs::write(root.join("models/evaluation/baseline.json"), json + "\n").context("write the baseline")?;
    Ok(())
}

/// What `loqa eval` prints for one set.
fn figures(root: &Path, set: &Set, more: &[&str]) -> anyhow::Result<Value> {
    let folder = root.join("models/evaluation");
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["run", "--quiet", "--package", "loqa-cli", "--bin", "loqa", "--", "eval", set.kind, "--json"])
        .arg("--manifest")
        .arg(folder.join(format!("{}.tsv", set.name)))
        .args(more)
        .current_dir(root);
    if set.all_tools {
        command.arg("--tools").arg(folder.join("tools.json"));
    }
    let output = command.output().context("run `loqa eval`")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "`loqa eval {}` failed: {stdout}{}",
        set.kind,
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(stdout.lines().last().unwrap_or_default())
        .with_context(|| format!("read what `loqa eval {}` printed", set.kind))
}

fn page(baseline: &Map<String, Value>, speed: &Map<String, Value>) -> String {
    let mut page = String::from(
        "# Evaluation of the starter models\n\n\
         Written by `cargo xtask evaluate`; do not edit. The cases are in `models/evaluation`, the measures in `docs/cli.md` (`loqa eval`).\n\
         Times and memory depend on the machine, the rest does not beyond the last digits.\n",
    );
    for (kind, title) in KINDS {
        let of_kind: Vec<(&Set, &Value)> =
            SETS.iter().filter(|set| set.kind == kind).filter_map(|set| Some((set, baseline.get(set.name)?))).collect();
        let Some((_, first)) = of_kind.first() else { continue };
        let _ = write!(page, "\n## {title}\n\n| measure |");
        for (set, _) in &of_kind {
            let _ = write!(page, " {} |", set.name);
        }
        let _ = writeln!(page, "\n|---|{}", "---|".repeat(of_kind.len()));
        let _ = write!(page, "| of |");
        for (set, _) in &of_kind {
            let _ = write!(page, " {} |", set.what);
        }
        page.push('\n');
        let shown_names =
            first.as_object().into_iter().flatten().filter(|(name, value)| !value.is_array() && *name != "kind");
        for (name, _) in shown_names {
            let _ = write!(page, "| {name} |");
            for (_, figures) in &of_kind {
                let _ = write!(page, " {} |", figures.get(name).map(shown).unwrap_or_default());
            }
            page.push('\n');
        }
        for threads in ["1", "2"] {
            if let Some(ms) = speed.get(&format!("{kind}-{threads}")) {
                let _ = writeln!(
                    page,
                    "\nWith {threads} thread{}, ms: {}.",
                    if threads == "1" { "" } else { "s" },
                    shown(ms)
                );
            }
        }
        for (set, figures) in of_kind {
            let _ = write!(
                page,
                "\n### Worst cases of `{}`\n\n| case | expected | got | confidence |\n|---|---|---|---|\n",
                set.name
            );
            for case in figures.get("worst").and_then(Value::as_array).into_iter().flatten() {
                let cell = |name: &str| case[name].as_str().unwrap_or_default().replace('|', "\\|");
                let sure = shown(case.get("confidence").unwrap_or(&json!("")));
                let _ = writeln!(page, "| {} | {} | {} | {sure} |", cell("case"), cell("expected"), cell("got"));
            }
        }
    }
    page
}

fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if !number.is_i64() && !number.is_u64() => format!("{float:.3}"),
            _ => number.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            map.iter().map(|(name, value)| format!("{name} {}", shown(value))).collect::<Vec<_>>().join(", ")
        }
        Value::Null | Value::Bool(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_page_names_measures_and_escapes_cases() {
        let figures = json!({ "stt": { "model": "m", "cases": 2, "word_error_rate": 0.25, "ms": { "p50": 1.5 },
            "worst": [{ "case": "a|b", "expected": "yes", "got": "no", "confidence": 0.5 }] } });
        let speed = json!({ "stt-2": { "p50": 3.0 } });
        let page = page(figures.as_object().unwrap(), speed.as_object().unwrap());
        let lines = [
            "| measure | stt |",
            "| cases | 2 |",
            "| word_error_rate | 0.250 |",
            "| ms | p50 1.500 |",
            "| a\\|b | yes | no | 0.500 |",
            "With 2 threads, ms: p50 3.000.",
        ];
        for line in lines {
            assert!(page.contains(line), "{line}: {page}");
        }
    }
}
