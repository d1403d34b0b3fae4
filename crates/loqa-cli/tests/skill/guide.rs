//! Every command of the authoring guide, in its order.

use crate::support::Place;
use std::path::Path;

/// The fenced `sh` blocks of a document.
fn commands(document: &str) -> Vec<&str> {
    let blocks = document.split("\n```sh\n").skip(1);
    blocks.map(|block| block.split_once("\n```").unwrap().0).flat_map(str::lines).collect()
}

#[cfg(unix)]
#[test]
fn the_guide_leads_from_nothing_to_an_installed_skill() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let document = std::fs::read_to_string(repository.join("docs/skills.md")).unwrap();
    let commands = commands(&document);
    assert!(commands.len() >= 15, "the guide has {} commands", commands.len());
    let place = Place::new();
    // The target folder of this test: the standard library for WASM lies there already when
    // the bundled skills were built, and else only the first run takes minutes.
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let script = commands.join("\n");
    let output = place
        .command("sh")
        .args(["-e", "-x", "-c", &script])
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION")
        .env_remove("CARGO_UNSTABLE_FEATURE_UNIFICATION")
        .output()
        .unwrap();
    let (told, said) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{said}\n{told}");
    assert!(said.contains("test result: ok. 1 passed"), "the template's own test runs:\n{said}\n{told}");
    for step in [
        "built ",
        "packed hello-0.1.0.loqaskill",
        "has no fault",
        "installed `hello` 0.1.0",
        "`hello` is upgraded to 0.2.0",
        "`hello` is back at 0.1.0",
        "`hello` is removed",
    ] {
        assert!(said.contains(step), "no `{step}` in\n{said}\n{told}");
    }
}
