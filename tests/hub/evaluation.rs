//! `loqa eval` on the fixed cases of `models/evaluation`, against the figures that
//! `cargo xtask evaluate` wrote: a worse model file does not pass unseen.

use loqa_tests::{last_json, loqa, repository};
use serde_json::Value;

/// What another processor's rounding may change. Chosen: one case among the smallest set.
const TOLERANCE: f64 = 0.045;

/// The figures of one set of `models/evaluation` as they are and as they were.
fn evaluate(set: &str) -> (Value, Value) {
    let folder = repository().join("models/evaluation");
    let baseline: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("baseline.json")).unwrap()).unwrap();
    let data = tempfile::tempdir().unwrap();
    let (kind, all_tools) = set.split_once('-').map_or((set, false), |(kind, _)| (kind, true));
    let manifest = folder.join(format!("{set}.tsv")).to_string_lossy().into_owned();
    let tools = folder.join("tools.json").to_string_lossy().into_owned();
    let mut arguments = vec!["eval", kind, "--json", "--manifest", &manifest];
    if all_tools {
        arguments.extend(["--tools", &tools]);
    }
    let output = loqa(data.path(), &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures = last_json(&output);
    assert_eq!(figures["cases"], baseline[set]["cases"], "run `cargo xtask evaluate` after changing the cases");
    (figures, baseline[set].clone())
}

fn assert_not_worse(figures: &Value, baseline: &Value, measure: &str, higher_is_better: bool) {
    let (now, then) = (figures[measure].as_f64().unwrap(), baseline[measure].as_f64().unwrap());
    let loss = if higher_is_better { then - now } else { now - then };
    assert!(loss <= TOLERANCE, "{measure} is {now:.3}, it was {then:.3}");
}

#[test]
fn the_recogniser_is_not_worse_than_it_was() {
    let (figures, baseline) = evaluate("stt");
    assert_not_worse(&figures, &baseline, "word_error_rate", false);
    assert_not_worse(&figures, &baseline, "sentences_right", true);
}

#[test]
fn the_planner_is_not_worse_than_it_was() {
    for set in ["llm", "llm-hand", "llm-independent", "llm-values", "llm-phrasings", "llm-noise"] {
        let (figures, baseline) = evaluate(set);
        assert_not_worse(&figures, &baseline, "exact_match", true);
        assert_not_worse(&figures, &baseline, "wrong_actions", false);
    }
}

#[test]
fn the_voice_is_not_worse_than_it_was() {
    let (figures, baseline) = evaluate("tts");
    assert_not_worse(&figures, &baseline, "words_understood", true);
}

#[test]
fn a_manifest_that_cannot_be_used_is_named() {
    let data = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = data.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    for (kind, manifest, words) in [
        ("stt", "/nonexistent.tsv".to_owned(), "/nonexistent.tsv"),
        ("stt", write("empty.tsv", "# nothing\n"), "no case"),
        ("stt", write("one.tsv", "only.wav\n"), "one.tsv:1"),
        ("stt", write("gone.tsv", "# x\ngone.wav\thello\n"), "gone.wav"),
        ("llm", write("half.tsv", "set a timer\ttimer.start\n"), "pairs of tool and arguments"),
        ("llm", write("json.tsv", "set a timer\ttimer.start\t{\n"), "no JSON object"),
        ("tts", write("tab.tsv", "one\ttwo\n"), "without tabs"),
    ] {
        let output = loqa(data.path(), &["eval", kind, "--manifest", &manifest]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{manifest}: {stderr}");
        assert!(stderr.contains(words) && !stderr.contains("panicked"), "{manifest}: {stderr}");
    }
}

#[test]
fn offered_tools_that_cannot_be_used_are_named() {
    let data = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = data.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let cases = write("cases.tsv", "stop\t-\n");
    for (kind, tools, words) in [
        ("llm", "/nonexistent.json".to_owned(), "/nonexistent.json"),
        ("llm", write("half.json", "[{\"name\": \"x\"}]"), "half.json"),
        ("stt", write("fine.json", "[]"), "only a planner is offered tools"),
    ] {
        let output = loqa(data.path(), &["eval", kind, "--manifest", &cases, "--tools", &tools]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{tools}: {stderr}");
        assert!(stderr.contains(words) && !stderr.contains("panicked"), "{tools}: {stderr}");
    }
}
