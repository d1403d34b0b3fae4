//! Manifests, good and bad: every fault is found at once, with its place, rule and remedy.

use expect_test::{Expect, expect};
use loqa_skills::manifest::Rule;
use loqa_skills::{Manifest, Permission};
use std::path::Path;

const GOOD: &str = "\
schema: 1
name: kettle
version: 0.1.0
title: Kettle
description: Boils water.
author: Loqa contributors
license: MIT
runtime:
  kind: wasm
  module: kettle.wasm
  host_api: 1
tools:
  - name: kettle.boil
    description: Boil water.
    parameters:
      type: object
      required: [cups]
      properties:
        cups: { type: integer, minimum: 1, maximum: 8 }
        strength: { type: string, enum: [weak, strong] }
    effect: safe
intents:
  - tool: kettle.boil
    say:
      - boil {cups:number} cups
permissions:
  - { use: timer:set, max: 3, reason: to wait }
  - { use: http:call, urls: [\"https://example.org/\"], methods: [GET], reason: to look }
events:
  subscribe: [timer.elapsed]
";

fn faults(text: &str) -> String {
    match Manifest::parse(Path::new("skill.yaml"), text.as_bytes()) {
        Ok(_) => "no fault\n".to_owned(),
        Err(faults) => format!("{faults}\n"),
    }
}

/// Replaces one part of the good manifest and compares the faults.
#[track_caller]
fn check(part: &str, instead: &str, expected: Expect) {
    assert_eq!(GOOD.matches(part).count(), 1, "`{part}` must stand once");
    expected.assert_eq(&faults(&GOOD.replacen(part, instead, 1)));
}

#[test]
fn a_good_manifest_is_read_as_written() {
    let manifest = Manifest::parse(Path::new("skill.yaml"), GOOD.as_bytes()).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.version.to_string().as_str()), ("kettle", "0.1.0"));
    assert_eq!(manifest.tools[0].spec().parameters["required"], serde_json::json!(["cups"]));
    assert_eq!(manifest.intents[0].say, ["boil {cups:number} cups"]);
    let timer = manifest.requested(Permission::TimerSet).unwrap();
    assert_eq!(timer.scope.limit(Permission::TimerSet, "max"), Some(3));
    assert_eq!(manifest.requested(Permission::HttpCall).unwrap().scope.texts("methods"), ["GET"]);
    assert_eq!(manifest.events, ["timer.elapsed"]);
}

#[test]
fn the_bundled_manifest_is_good() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../skills/timer/skill.yaml");
    if let Err(faults) = Manifest::parse(&path, &std::fs::read(&path).unwrap()) {
        panic!("{faults}");
    }
}

#[test]
fn each_fault_has_its_rule() {
    check(
        "schema: 1",
        "schema: 2",
        expect![[r#"
        skill.yaml:1:9: unsupported: manifest schema 2 is not known; write `schema: 1`
    "#]],
    );
    check(
        "schema: 1\n",
        "",
        expect![[r#"
        skill.yaml:1:1: missing-key: the manifest has no `schema`; add `schema`
    "#]],
    );
    check(
        "name: kettle\n",
        "name: Kettle\n",
        expect![[r#"
        skill.yaml:2:7: name: `Kettle` is not a skill name; use 2 to 40 of a-z, 0-9 and -, with a letter or digit at both ends
    "#]],
    );
    check(
        "name: kettle\n",
        "name: kеttle\n",
        expect![[r#"
        skill.yaml:2:7: name: `kеttle` is not a skill name; use 2 to 40 of a-z, 0-9 and -, with a letter or digit at both ends
    "#]],
    );
    check(
        "name: kettle\n",
        "name: [kettle]\n",
        expect![[r#"
        skill.yaml:2:7: type: `name` is a list; write a text
    "#]],
    );
    check(
        "version: 0.1.0",
        "version: 0.1",
        expect![[r#"
        skill.yaml:3:10: value: `0.1` is not a semantic version: unexpected end of input while parsing minor version number; write three numbers, for example 0.1.0
    "#]],
    );
    check(
        "title: Kettle",
        "title: Kеttle",
        expect![[r#"
        skill.yaml:4:8: characters: `Kеttle` in `title` mixes letters that look alike; write the word in one script
    "#]],
    );
    check(
        "title: Kettle",
        "title: \"Ket\\u202Etle\"",
        expect![[r#"
        skill.yaml:4:8: characters: `title` holds the control character U+202E; write plain text on one line
    "#]],
    );
    check(
        "title: Kettle",
        "title: Ket\u{202e}tle",
        expect![[r#"
        skill.yaml:4:8: characters: `title` holds the control character U+202E; write plain text on one line
        skill.yaml:4:11: characters: invisible character U+202E; remove it
    "#]],
    );
    check(
        "title: Kettle",
        "title: ~",
        expect![[r#"
        skill.yaml:4:8: type: `title` is empty; write a text
    "#]],
    );
    check(
        "title: Kettle",
        "title: Kettle\ntitle: Pot",
        expect![[r#"
        skill.yaml:5:1: duplicate-key: `title` stands twice, first in line 4; keep one of them
    "#]],
    );
    check(
        "title: Kettle",
        "title: Kettle\nicon: a.png",
        expect![[r#"
        skill.yaml:5:1: unknown-key: the manifest has no key `icon`; known keys are: schema, name, version, title, description, author, license, runtime, tools, intents, permissions, events
    "#]],
    );
    check(
        "kind: wasm",
        "kind: native",
        expect![[r#"
        skill.yaml:9:3: missing-key: runtime has no `sandbox`; add `sandbox`
        skill.yaml:9:3: missing-key: runtime has no `program`; add `program`
        skill.yaml:10:3: unknown-key: runtime has no key `module`; known keys are: kind, program, host_api, sandbox
    "#]],
    );
    check(
        "kind: wasm",
        "kind: python",
        expect![[r#"
        skill.yaml:9:9: value: runtime kind `python` is not known; write `kind: wasm`
    "#]],
    );
    check(
        "module: kettle.wasm",
        "module: ../kettle.wasm",
        expect![[r#"
        skill.yaml:10:11: path: `../kettle.wasm` is not a module in the skill's own folder; name a file beside skill.yaml, for example timer.wasm
    "#]],
    );
    check(
        "module: kettle.wasm",
        "module: /etc/passwd",
        expect![[r#"
        skill.yaml:10:11: path: `/etc/passwd` is not a module in the skill's own folder; name a file beside skill.yaml, for example timer.wasm
    "#]],
    );
    check(
        "host_api: 1",
        "host_api: 7",
        expect![[r#"
        skill.yaml:11:13: unsupported: host API 7 is not offered by this version; build against version 1 and write `host_api: 1`
    "#]],
    );
    check(
        "host_api: 1",
        "host_api: \"1\"",
        expect![[r#"
        skill.yaml:11:13: type: `host_api` is not a whole number; write digits without quotes
    "#]],
    );
}

#[test]
fn tools_and_their_parameters_are_checked() {
    check(
        "- name: kettle.boil",
        "- name: lamp.boil",
        expect![[r#"
        skill.yaml:13:11: name: `lamp.boil` is not a tool name of this skill; write `kettle.` and a verb of a-z, 0-9 and _
        skill.yaml:23:11: reference: no valid tool `kettle.boil` is declared; name a tool from `tools`
    "#]],
    );
    check(
        "- name: kettle.boil",
        "- name: boil",
        expect![[r#"
        skill.yaml:13:11: name: `boil` is not a tool name of this skill; write `kettle.` and a verb of a-z, 0-9 and _
        skill.yaml:23:11: reference: no valid tool `kettle.boil` is declared; name a tool from `tools`
    "#]],
    );
    check(
        "type: object\n",
        "type: text\n",
        expect![[r#"
        skill.yaml:16:13: value: type `text` is not known; use object, array, string, integer, number or boolean
        skill.yaml:23:11: reference: no valid tool `kettle.boil` is declared; name a tool from `tools`
    "#]],
    );
    check(
        "type: object\n",
        "type: string\n",
        expect![[r#"
        skill.yaml:16:7: type: parameters do not describe an object; write `type: object`
        skill.yaml:17:7: schema-keyword: `required` cannot be used for type `string`; remove it, `string` takes: type, description, enum, minLength, maxLength
        skill.yaml:18:7: schema-keyword: `properties` cannot be used for type `string`; remove it, `string` takes: type, description, enum, minLength, maxLength
        skill.yaml:23:11: reference: no valid tool `kettle.boil` is declared; name a tool from `tools`
    "#]],
    );
    check(
        "minimum: 1, maximum: 8",
        "minimum: 9, maximum: 8",
        expect![[r#"
        skill.yaml:19:15: value: nothing fits: the lower bound is above the upper one; swap the bounds
    "#]],
    );
    check(
        "minimum: 1, maximum: 8",
        "minimum: one",
        expect![[r#"
        skill.yaml:19:41: type: `minimum` is not a whole number; write digits without quotes
    "#]],
    );
    check(
        "minimum: 1, maximum: 8",
        "multipleOf: 2",
        expect![[r#"
        skill.yaml:19:32: schema-keyword: `multipleOf` cannot be used for type `integer`; the host checks only: type, description, properties, required, enum, minimum, maximum, minLength, maxLength, items, maxItems
    "#]],
    );
    check(
        "minimum: 1, maximum: 8",
        "maxLength: 2",
        expect![[r#"
        skill.yaml:19:32: schema-keyword: `maxLength` cannot be used for type `integer`; remove it, `integer` takes: type, description, minimum, maximum
    "#]],
    );
    check(
        "enum: [weak, strong]",
        "pattern: x",
        expect![[r#"
        skill.yaml:20:35: schema-keyword: `pattern` cannot be used for type `string`; the host checks only: type, description, properties, required, enum, minimum, maximum, minLength, maxLength, items, maxItems
    "#]],
    );
    check(
        "enum: [weak, strong]",
        "enum: []",
        expect![[r#"
        skill.yaml:20:41: value: `enum` is empty; list the allowed values
    "#]],
    );
    check(
        "required: [cups]",
        "required: [mugs]",
        expect![[r#"
        skill.yaml:17:18: reference: no valid property `mugs` is declared; name a property from `properties`
    "#]],
    );
    check(
        "required: [cups]",
        "additionalProperties: true",
        expect![[r#"
        skill.yaml:17:29: schema-keyword: other arguments are never accepted; remove `additionalProperties` and name every argument
    "#]],
    );
    check(
        "strength: {",
        "Strength: {",
        expect![[r#"
        skill.yaml:20:9: name: `Strength` is not a parameter name; use up to 40 of a-z, 0-9 and _, beginning with a letter
    "#]],
    );
    check(
        "effect: safe",
        "effect: harmless",
        expect![[r#"
        skill.yaml:21:13: value: effect `harmless` is not known; write read, safe or sensitive
        skill.yaml:23:11: reference: no valid tool `kettle.boil` is declared; name a tool from `tools`
    "#]],
    );
}

#[test]
fn intents_refer_to_tools_and_parameters() {
    check(
        "- tool: kettle.boil",
        "- tool: kettle.cook",
        expect![[r#"
        skill.yaml:23:11: reference: no valid tool `kettle.cook` is declared; name a tool from `tools`
    "#]],
    );
    check(
        "boil {cups:number} cups",
        "boil {mugs:number} cups",
        expect![[r#"
        skill.yaml:25:9: reference: `kettle.boil` has no parameter `mugs`; name the slot after a parameter
    "#]],
    );
    check(
        "boil {cups:number} cups",
        "boil (a|b",
        expect![[r#"
        skill.yaml:25:9: template: character 6 of the template: `(` is never closed; add `)`
    "#]],
    );
    check(
        "      - boil {cups:number} cups",
        "      []",
        expect![[r#"
        skill.yaml:25:7: value: an intent without a template; write at least one template
    "#]],
    );
}

#[test]
fn permissions_and_events_are_checked() {
    check(
        "use: timer:set, max: 3",
        "use: timer:everything",
        expect![[r#"
        skill.yaml:27:12: unknown-permission: there is no permission `timer:everything`; use one of: log:write, reply:say, kv:store, bus:publish, bus:subscribe, timer:set, tts:say, notify:show, http:call, secret:use, transcript:read, event_store:read, llm:complete, device:control, message:send, data:delete, native:exec, audio:capture
        skill.yaml:30:15: reference: `timer.elapsed` comes only to skills that ask for `timer:set`; add `timer:set` to `permissions`
    "#]],
    );
    check(
        "use: timer:set, max: 3",
        "use: timer:set, max: 1000",
        expect![[r#"
        skill.yaml:27:28: value: `max` of `timer:set` is 1000; write a number from 1 to 100
    "#]],
    );
    check(
        "use: timer:set, max: 3",
        "use: timer:set, max: -1",
        expect![[r#"
        skill.yaml:27:28: value: `max` of `timer:set` is -1; write a number from 1 to 100
    "#]],
    );
    check(
        "use: timer:set, max: 3",
        "use: timer:set, most: 3",
        expect![[r#"
        skill.yaml:27:23: unknown-key: a permission has no key `most`; known keys are: use, reason, max
    "#]],
    );
    check(
        "use: timer:set, max: 3",
        "use: audio:capture",
        expect![[r#"
        skill.yaml:27:12: forbidden-permission: `audio:capture` is never granted to a WASM skill; remove it
        skill.yaml:30:15: reference: `timer.elapsed` comes only to skills that ask for `timer:set`; add `timer:set` to `permissions`
    "#]],
    );
    check(
        "use: timer:set, max: 3",
        "use: kv:store",
        expect![[r#"
        skill.yaml:30:15: reference: `timer.elapsed` comes only to skills that ask for `timer:set`; add `timer:set` to `permissions`
    "#]],
    );
    check(
        "use: timer:set, max: 3",
        "use: bus:publish, topics: [\"a.*\"]",
        expect![[r#"
        skill.yaml:27:34: value: `a.*` is not a topic; use tokens of a-z, 0-9, _ and - with dots between, without wildcards and without the skill's prefix
        skill.yaml:30:15: reference: `timer.elapsed` comes only to skills that ask for `timer:set`; add `timer:set` to `permissions`
    "#]],
    );
    check(
        ", reason: to wait",
        "",
        expect![[r#"
        skill.yaml:27:5: missing-key: a permission has no `reason`; add `reason`
        skill.yaml:30:15: reference: `timer.elapsed` comes only to skills that ask for `timer:set`; add `timer:set` to `permissions`
    "#]],
    );
    check(
        "use: timer:set, max: 3, reason: to wait }",
        "use: timer:set, reason: a }\n  - { use: timer:set, reason: b }",
        expect![[r#"
        skill.yaml:28:12: duplicate-name: `timer:set` is asked for twice; keep one entry with the wider scope
    "#]],
    );
    check(
        "urls: [\"https://example.org/\"], ",
        "",
        expect![[r#"
        skill.yaml:28:5: missing-key: a permission has no `urls`; add `urls`
    "#]],
    );
    check(
        "[timer.elapsed]",
        "[timer.elapsed, door.opened]",
        expect![[r#"
        skill.yaml:30:30: value: event `door.opened` is not known; use one of: timer.elapsed, or `bus.` and a topic of `bus:subscribe`
    "#]],
    );
}

#[test]
fn yaml_beyond_the_budgets_is_refused() {
    check(
        "title: Kettle",
        "title: &t Kettle",
        expect![[r#"
        skill.yaml:4:8: yaml-alias: anchors and aliases are not allowed; write the value out
    "#]],
    );
    check(
        "title: Kettle",
        "title: *t",
        expect![[r#"
        skill.yaml:4:8: yaml-syntax: not YAML: while parsing node, found unknown anchor; correct the YAML
    "#]],
    );
    check(
        "title: Kettle",
        "title: !!str Kettle",
        expect![[r#"
        skill.yaml:4:8: yaml-tag: YAML tags are not allowed; remove the tag
    "#]],
    );
    check(
        "title: Kettle",
        "title: Kettle\n---\na: 1",
        expect![[r#"
        skill.yaml:5:1: yaml-documents: more than one YAML document; keep one document per file
    "#]],
    );
    check(
        "title: Kettle",
        "title: [",
        expect![[r#"
        skill.yaml:5:1: yaml-syntax: not YAML: invalid indentation; correct the YAML
    "#]],
    );
    check(
        "title: Kettle",
        "? [a, b]\n: c",
        expect![[r#"
        skill.yaml:1:1: missing-key: the manifest has no `title`; add `title`
        skill.yaml:4:3: unknown-key: the manifest has no key ``; known keys are: schema, name, version, title, description, author, license, runtime, tools, intents, permissions, events
        skill.yaml:4:3: type: a key must be a single word; use a plain key
    "#]],
    );
    expect![[r#"
        skill.yaml:1:1: yaml-documents: the file is empty; write a manifest, see docs/skills.md
    "#]]
    .assert_eq(&faults(""));
    expect![[r#"
        skill.yaml:1:1: type: the manifest is a list; write a mapping of keys to values
    "#]]
    .assert_eq(&faults("- a"));
    expect![[r#"
        skill.yaml:1:1: yaml-documents: the file is empty; write a manifest, see docs/skills.md
    "#]]
    .assert_eq(&faults("# only a comment"));
    expect![[r#"
        skill.yaml:1:19: yaml-depth: nested deeper than 16 levels; flatten the structure
    "#]]
    .assert_eq(&faults(&format!("a: {}", "[".repeat(40))));
    expect![[r#"
        skill.yaml:1:30002: yaml-depth: more than 10000 values; shorten the manifest
    "#]]
    .assert_eq(&faults(&format!("a: [{}]", "1, ".repeat(20_000))));
    expect![[r#"
        skill.yaml:1:1: file-size: the manifest has 70003 bytes; keep it below 65536 bytes
    "#]]
    .assert_eq(&faults(&format!("a: {}", "x".repeat(70_000))));
    let not_utf8 = Manifest::parse(Path::new("skill.yaml"), b"schema: 1\nname: \xff").unwrap_err().to_string();
    expect!["skill.yaml:2:7: characters: not UTF-8; save the file as UTF-8"].assert_eq(&not_utf8);
}

#[test]
fn all_faults_of_a_manifest_come_at_once() {
    let text = GOOD
        .replace("version: 0.1.0", "version: one")
        .replace("kind: wasm", "kind: wasm\n  speed: fast")
        .replace("effect: safe", "effect: nice")
        .replace("max: 3", "max: 0")
        .replace("[timer.elapsed]", "[rain]");
    expect![[r#"
        skill.yaml:3:10: value: `one` is not a semantic version: unexpected character 'o' while parsing major version number; write three numbers, for example 0.1.0
        skill.yaml:10:3: unknown-key: runtime has no key `speed`; known keys are: kind, module, host_api
        skill.yaml:22:13: value: effect `nice` is not known; write read, safe or sensitive
        skill.yaml:24:11: reference: no valid tool `kettle.boil` is declared; name a tool from `tools`
        skill.yaml:28:28: value: `max` of `timer:set` is 0; write a number from 1 to 100
        skill.yaml:31:15: value: event `rain` is not known; use one of: timer.elapsed, or `bus.` and a topic of `bus:subscribe`
    "#]].assert_eq(&faults(&text));
}

#[test]
fn whatever_is_written_the_parser_answers() {
    // Every prefix, and every line doubled or dropped: no panic, and a place in every fault.
    for end in (0..GOOD.len()).filter(|end| GOOD.is_char_boundary(*end)) {
        check_places(&GOOD[..end]);
    }
    let lines = GOOD.lines().collect::<Vec<_>>();
    for idx in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(idx);
        check_places(&without.join("\n"));
        let mut doubled = lines.clone();
        doubled.insert(idx, lines[idx]);
        check_places(&doubled.join("\n"));
    }
}

fn check_places(text: &str) {
    let Err(faults) = Manifest::parse(Path::new("skill.yaml"), text.as_bytes()) else { return };
    assert!(!faults.faults.is_empty());
    for fault in faults.faults {
        assert!(fault.place.line >= 1 && fault.place.column >= 1, "{fault}");
        assert!(Rule::ALL.contains(&fault.rule) && !fault.message.is_empty() && !fault.remedy.is_empty(), "{fault}");
    }
}
