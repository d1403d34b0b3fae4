//! Installing, upgrading and removing on the command line, and what is said about faults.

use crate::support::Place;
use serde_json::json;

const TIMERS: &str = "permissions:\n  - { use: timer:set, max: 3, reason: \"to wait\" }\n";

#[test]
fn a_new_skill_is_valid_and_brings_the_sdk_along() {
    let place = Place::new();
    let (code, made) = place.skill(&["new", "tea-time", "--author", "Ada \"A\" Lovelace"]);
    assert_eq!(code, 0, "{made}");
    let files: Vec<&str> = made["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
    for file in [
        "Cargo.toml",
        "Cargo.lock",
        "skill.yaml",
        "skill.schema.json",
        "src/lib.rs",
        "vendor/loqa-skill-sdk/src/lib.rs",
    ] {
        assert!(files.contains(&file), "no {file} in {files:?}");
        assert!(place.path().join("tea-time").join(file).is_file(), "{file}");
    }
    assert_eq!(place.skill(&["validate", "tea-time"]), (0, json!({ "ok": true, "faults": [] })));
    let manifest = std::fs::read_to_string(place.path().join("tea-time/skill.yaml")).unwrap();
    assert!(manifest.starts_with("# yaml-language-server: $schema=./skill.schema.json\n"), "{manifest}");
    let sdk = std::fs::read_to_string(place.path().join("tea-time/vendor/loqa-skill-sdk/Cargo.toml")).unwrap();
    assert!(!sdk.contains("workspace"), "the SDK must stand alone:\n{sdk}");

    assert_eq!(place.skill(&["new", "tea-time"]).0, 1, "what is there is not written over");
    for bad in ["x", "Tea", "tea_time", "-tea", "../tea", "2tea"] {
        assert_eq!(place.output(&["skill", "new", "--json", "--", bad]).status.code(), Some(2), "{bad}");
    }
}

#[test]
fn every_fault_is_told_with_its_place() {
    let place = Place::new();
    place.skill(&["new", "tea"]);
    let path = place.path().join("tea/skill.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text =
        text.replace("schema: 1", "schema: 9").replace("kv:store", "kv:everything").replace("license", "licence");
    std::fs::write(&path, text).unwrap();
    let (code, object) = place.skill(&["validate", "tea"]);
    assert_eq!((code, &object["ok"]), (1, &json!(false)));
    let faults = object["faults"].as_array().unwrap();
    let rules: Vec<_> =
        faults.iter().map(|fault| (fault["line"].as_u64().unwrap(), fault["rule"].as_str().unwrap())).collect();
    assert_eq!(
        rules,
        [(2, "missing-key"), (2, "unsupported"), (8, "unknown-key"), (27, "unknown-permission")],
        "{object}"
    );
    assert!(faults.iter().all(|fault| !fault["remedy"].as_str().unwrap().is_empty()), "{object}");
    let shown = place.output(&["skill", "validate", "tea"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.lines().next().unwrap().starts_with("tea/skill.yaml:2:"), "{shown}");
    assert_eq!(place.skill(&["validate", "nowhere"]).0, 2);
    assert_eq!(place.skill(&["pack", "tea"]).0, 2, "a skill with faults is not packed");
}

#[test]
fn nothing_is_installed_without_a_yes() {
    let place = Place::new();
    let package = place.package("1.0.0", TIMERS, &[]);
    let package = package.to_str().unwrap();
    let (code, refused) = place.skill(&["install", package]);
    assert_eq!(code, 2, "{refused}");
    assert!(refused["error"].as_str().unwrap().contains("--yes"), "{refused}");
    let sheet = place.output(&["skill", "install", package]);
    let sheet = String::from_utf8_lossy(&sheet.stdout).into_owned();
    assert!(sheet.contains("may set timers and read the clock (timer:set, allowed from now on)"), "{sheet}");
    assert!(sheet.contains("not signed: nothing shows who made it"), "{sheet}");
    assert!(!place.path().join("data/skills/kettle").exists(), "nothing was installed");

    let (code, installed) = place.skill(&["install", package, "--yes"]);
    assert_eq!((code, &installed["hub"]), (0, &json!("not_running")), "{installed}");
    assert_eq!(installed["permissions"][0]["scope"], json!({ "max": 3 }));
    assert_eq!(place.skill(&["install", package, "--yes"]).0, 1, "it is there already");
    let (_, list) = place.skill(&["list"]);
    let names: Vec<_> =
        list["skills"].as_array().unwrap().iter().map(|skill| skill["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["timer", "kettle"], "bundled and installed");
    assert_eq!(place.skill(&["info", "kettle"]).1["permissions"][0]["permission"], "timer:set");
    assert_eq!(place.skill(&["disable", "kettle"]).1["outcome"], "disabled");
    assert_eq!(place.skill(&["info", "kettle"]).1["state"], "disabled");
    assert_eq!(place.skill(&["remove", "kettle"]).0, 0);
    assert_eq!(place.skill(&["info", "kettle"]).0, 1);
    assert!(!place.path().join("data/skills/kettle").exists(), "its files are gone");
}

#[test]
fn an_upgrade_that_asks_for_more_waits_for_a_yes() {
    let place = Place::new();
    assert_eq!(place.skill(&["key", "new", "ada.key"]).0, 0);
    assert_eq!(place.skill(&["key", "new", "ada.key"]).0, 1, "a key is never written over");
    let signed = ["--key", "ada.key"];
    let first = place.package("1.0.0", "", &signed);
    place.skill(&["install", first.to_str().unwrap(), "--yes"]);
    let wider = place.package("1.1.0", TIMERS, &signed);
    let (code, staged) = place.skill(&["upgrade", wider.to_str().unwrap()]);
    assert_eq!((code, &staged["outcome"]), (0, &json!("staged")), "{staged}");
    assert_eq!(staged["differences"], json!(["it asks for `timer:set` in addition"]));
    let (_, info) = place.skill(&["info", "kettle"]);
    assert_eq!((&info["version"], &info["staged"]), (&json!("1.0.0"), &json!("1.1.0")));
    assert_eq!(place.skill(&["upgrade", "kettle"]).1["outcome"], "staged", "no terminal, no yes");
    assert_eq!(place.skill(&["upgrade", "kettle", "--yes"]).1["outcome"], "replaced");
    let (_, info) = place.skill(&["info", "kettle"]);
    assert_eq!((&info["version"], &info["previous"]), (&json!("1.1.0"), &json!("1.0.0")));

    let narrower = place.package("1.2.0", "", &signed);
    assert_eq!(place.skill(&["upgrade", narrower.to_str().unwrap()]).1["outcome"], "replaced");
    let (code, refused) = place.skill(&["upgrade", wider.to_str().unwrap(), "--yes"]);
    assert_eq!(code, 1, "{refused}");
    assert!(refused["error"].as_str().unwrap().contains("older than the installed version"), "{refused}");
    let unsigned = place.package("2.0.0", "", &[]);
    let (code, refused) = place.skill(&["upgrade", unsigned.to_str().unwrap(), "--yes"]);
    assert_eq!(code, 1, "{refused}");
    assert_eq!(place.skill(&["rollback", "kettle"]).1["outcome"], "rolled_back to 1.1.0");
}

#[test]
fn a_hostile_package_is_refused_as_a_wrong_file() {
    let place = Place::new();
    let package = place.package("1.0.0", "", &[]);
    let mut bytes = std::fs::read(&package).unwrap();
    bytes.push(0);
    std::fs::write(&package, bytes).unwrap();
    let (code, object) = place.skill(&["validate", package.to_str().unwrap()]);
    assert_eq!((code, &object["faults"][0]["rule"]), (1, &json!("container")), "{object}");
    assert_eq!(place.skill(&["install", package.to_str().unwrap(), "--yes"]).0, 2);
}
