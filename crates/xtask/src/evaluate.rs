//! Measures the starter models with `loqa eval` on `models/evaluation` and writes
//! `models/EVALUATION.md` for people and `models/evaluation/baseline.json`, which a
//! test holds later models against.
//!
//! Deliberately absent: measuring by itself. What it writes is what any user gets from
//! the same command.

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

const KINDS: [(&str, &str); 3] = [("stt", "Recogniser"), ("llm", "Reflex planner"), ("tts", "Voice")];

/// Builds `loqa`, runs the three evaluations, writes both files.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let mut baseline = Map::new();
    for (kind, _) in KINDS {
        println!("evaluating {kind} …");
        let output = Command::new(env!("CARGO"))
            .args(["run", "--quiet", "--package", "loqa-cli", "--bin", "loqa", "--", "eval", kind, "--json"])
            .arg("--manifest")
            .arg(root.join("models/evaluation").join(format!("{kind}.tsv")))
            .current_dir(root)
            .output()
            .context("run `loqa eval`")?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "`loqa eval {kind}` failed: {stdout}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let figures: Value = serde_json::from_str(stdout.lines().last().unwrap_or_default())
            .with_context(|| format!("read what `loqa eval {kind}` printed"))?;
        baseline.insert(kind.to_owned(), figures);
    }
    std::fs::write(root.join("models/EVALUATION.md"), page(&baseline)).context("write models/EVALUATION.md")?;
    let json = serde_json::to_string_pretty(&baseline)?;
    std::fs::write(root.join("models/evaluation/baseline.json"), json + "\n").context("write the baseline")?;
    Ok(())
}

fn page(baseline: &Map<String, Value>) -> String {
    let mut page = String::from(
        "# Evaluation of the starter models\n\n\
         Written by `cargo xtask evaluate`; do not edit. The cases are in `models/evaluation`, the measures in `docs/cli.md` (`loqa eval`).\n\
         Times depend on the machine, the rest does not beyond the last digits.\n",
    );
    for (kind, title) in KINDS {
        let Some(figures) = baseline.get(kind).and_then(Value::as_object) else { continue };
        let _ = write!(page, "\n## {title}\n\n| measure | value |\n|---|---|\n");
        for (name, value) in figures.iter().filter(|(name, value)| !value.is_array() || *name == "model") {
            let _ = writeln!(page, "| {name} | {} |", shown(value));
        }
        let _ = write!(page, "\nThe worst cases:\n\n| case | expected | got |\n|---|---|---|\n");
        for case in figures.get("worst").and_then(Value::as_array).into_iter().flatten() {
            let cell = |name: &str| case[name].as_str().unwrap_or_default().replace('|', "\\|");
            let _ = writeln!(page, "| {} | {} | {} |", cell("case"), cell("expected"), cell("got"));
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
            "worst": [{ "case": "a|b", "expected": "yes", "got": "no" }] } });
        let page = page(figures.as_object().unwrap());
        for line in ["| cases | 2 |", "| word_error_rate | 0.250 |", "| ms | p50 1.500 |", "| a\\|b | yes | no |"] {
            assert!(page.contains(line), "{line}: {page}");
        }
    }
}
