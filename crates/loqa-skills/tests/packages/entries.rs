//! Where strangers' bytes come in. Each entry takes any bytes and must come back without
//! a panic; the targets in `fuzz/` and the seeded runner in `fuzz.rs` share them.

use loqa_protocol::{PrivacyScope, SessionId, ToolCall, TurnId};
use loqa_skills::permission::{Permission, ScopeKind, Tier};
use loqa_skills::{
    Effects, HostFunction, Invocation, Manifest, Package, SkillHost, SkillHostOptions, SystemClock, Taint,
};
use loqa_turn::intent::{IntentDecl, IntentIndex};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A manifest.
pub fn manifest(bytes: &[u8]) {
    if let Err(faults) = Manifest::parse(Path::new("skill.yaml"), bytes) {
        let shown = faults.to_string();
        assert!(!faults.faults.is_empty(), "a refusal says why");
        let hides = |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let moves = |c: char| c != '\n' && (c.is_control() || hides(c));
        assert!(!shown.chars().any(moves), "a fault moves the terminal's cursor: {shown:?}");
    }
}

/// A package.
pub fn package(bytes: &[u8]) {
    match Package::read(bytes) {
        Ok(package) => {
            assert!(package.files().map(|(_, size)| size as u64).sum::<u64>() <= loqa_skills::package::MAX_BYTES);
            let _ = package.check_code();
        }
        Err(error) => assert!(error.to_string().chars().all(|c| c == '\n' || !c.is_control()), "{error:?}"),
    }
}

/// A template in the first line, something that was said in the rest.
pub fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (template, said) = text.split_once('\n').unwrap_or((text, "set a timer for five minutes"));
    let decl = IntentDecl { tool: "test.run".to_owned(), say: vec![template.to_owned()] };
    if let Ok(index) = IntentIndex::compile(&[decl]) {
        let _ = index.find(said);
        let _ = index.find(template);
    }
}

/// Arguments of host calls: the first byte picks the function, the rest is what a module
/// passes to it, through the real sandbox.
pub struct HostCalls {
    host: SkillHost,
    folder: tempfile::TempDir,
    n_calls: u32,
}

/// Longest arguments of one call; longer ones only repeat what shorter ones show.
const MAX_ARGUMENTS: usize = 4_000;
/// A host is replaced after so many calls, so that what was kept does not slow the next ones.
const CALLS_PER_HOST: u32 = 20_000;

impl HostCalls {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("skill.yaml"), all_permissions()).expect("a manifest");
        std::fs::write(folder.path().join("test.wasm"), wat::parse_str(module()).expect("a module")).expect("a file");
        let options = SkillHostOptions { data_dir: folder.path().join("data"), clock: Arc::new(SystemClock) };
        let host = SkillHost::open(options, Arc::new(Nothing)).expect("a host");
        host.load(folder.path()).expect("a skill that loads");
        Self { host, folder, n_calls: 0 }
    }

    /// Makes one call; `true` when the skill came back from it.
    pub fn call(&mut self, bytes: &[u8]) -> bool {
        self.n_calls += 1;
        if self.n_calls > CALLS_PER_HOST {
            *self = Self::new();
        }
        let (which, rest) = bytes.split_first().unwrap_or((&0, &[]));
        let which = usize::from(*which) % HostFunction::ALL.len();
        let rest = if rest.is_empty() { b" " } else { &rest[..rest.len().min(MAX_ARGUMENTS)] };
        let data = hex::encode([&[which as u8], rest].concat());
        let result = self.host.call(&Invocation {
            session: SessionId::from_bits(1),
            turn: TurnId::from_bits(1),
            scope: PrivacyScope::Persistent,
            call: ToolCall { name: "test.run".to_owned(), arguments: arguments(&data) },
            said: loqa_skills::Said::default(),
            taint: Taint::user(),
            budget: Duration::from_secs(10),
            cancel: Arc::new(AtomicBool::new(false)),
        });
        if let Err(failure) = &result {
            assert!(!failure.message.contains("panic"), "{failure}");
            // An answer that is too long ends the call, and five of these the skill.
            self.host.load(self.folder.path()).expect("it loads again");
        }
        result.is_ok()
    }
}

struct Nothing;

impl Effects for Nothing {
    fn say(&self, _skill: &str, _text: &str) {}
    fn notify(&self, _skill: &str, _text: &str) {}
    fn publish(&self, _skill: &str, _topic: &str, _data: &Value) {}
}

fn arguments(data: &str) -> Map<String, Value> {
    Map::from_iter([("data".to_owned(), Value::from(data))])
}

/// A manifest that asks for everything that is granted without a question.
fn all_permissions() -> String {
    let mut text = String::from(
        "schema: 1\nname: test\nversion: 1.0.0\ntitle: Test\ndescription: A test.\nauthor: Tests\nlicense: MIT\n\
         runtime: { kind: wasm, module: test.wasm, host_api: 1 }\n\
         tools:\n  - name: test.run\n    description: Runs.\n    effect: safe\n    parameters:\n      type: object\n\
         \x20     properties:\n        data: { type: string, maxLength: 10000 }\npermissions:\n",
    );
    let granted = |permission: &Permission| permission.tier() <= Tier::T1 && permission.is_offered();
    for permission in Permission::ALL.iter().copied().filter(granted) {
        let _ = write!(text, "  - {{ use: {permission}, reason: test");
        for key in permission.scope_keys().iter().filter(|key| key.required) {
            let value = match (key.kind, key.name) {
                (ScopeKind::Texts, "urls") => "[\"https://127.0.0.1:1/\"]",
                (ScopeKind::Texts, "methods") => "[GET]",
                (ScopeKind::Texts, _) => "[a, status]",
                (ScopeKind::Text, "origin") => "\"https://127.0.0.1:1\"",
                (ScopeKind::Text, _) => "key",
                (ScopeKind::Limit { .. }, _) => "1",
                (ScopeKind::Flag, _) => "false",
            };
            let _ = write!(text, ", {}: {value}", key.name);
        }
        text.push_str(" }\n");
    }
    text
}

/// A module that takes hexadecimal digits out of its input and hands the bytes to a host function.
fn module() -> String {
    let sample = json!({ "tool": "test.run", "arguments": { "data": "@" } }).to_string();
    let before = sample.find('@').expect("the sample has it");
    let around = sample.len() - 1;
    let mut imports = String::new();
    let mut calls = String::new();
    for (idx, function) in HostFunction::ALL.iter().enumerate() {
        let name = function.name();
        let _ = writeln!(imports, r#"(import "loqa:host/v1" "{name}" (func $f{idx} (param i64) (result i64)))"#);
        let _ = writeln!(
            calls,
            "(if (i32.eq (local.get $which) (i32.const {idx})) (then (drop (call $f{idx} (local.get $block)))))"
        );
    }
    format!(
        r#"(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store (param i64 i32)))
  (import "extism:host/env" "input_length" (func $length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $load (param i64) (result i32)))
  (import "extism:host/env" "output_set" (func $output (param i64 i64)))
  {imports}
  (memory 1)
  (data (i32.const 16) "{{\"ok\":null}}")
  (func $nibble (param $c i32) (result i32)
    (if (result i32) (i32.lt_u (local.get $c) (i32.const 97))
      (then (i32.sub (local.get $c) (i32.const 48)))
      (else (i32.sub (local.get $c) (i32.const 87)))))
  (func $byte (param $idx i64) (result i32) (local $at i64)
    (local.set $at (i64.add (i64.const {before}) (i64.shl (local.get $idx) (i64.const 1))))
    (i32.or
      (i32.shl (call $nibble (call $load (local.get $at))) (i32.const 4))
      (call $nibble (call $load (i64.add (local.get $at) (i64.const 1))))))
  (func (export "loqa_tool") (result i32)
    (local $n i64) (local $idx i64) (local $block i64) (local $which i32)
    (local.set $n (i64.shr_u (i64.sub (call $length) (i64.const {around})) (i64.const 1)))
    (local.set $which (call $byte (i64.const 0)))
    (local.set $block (call $alloc (i64.sub (local.get $n) (i64.const 1))))
    (local.set $idx (i64.const 1))
    (loop $next
      (call $store
        (i64.add (local.get $block) (i64.sub (local.get $idx) (i64.const 1)))
        (call $byte (local.get $idx)))
      (local.set $idx (i64.add (local.get $idx) (i64.const 1)))
      (br_if $next (i64.lt_u (local.get $idx) (local.get $n))))
    {calls}
    (local.set $block (call $alloc (i64.const 11)))
    (local.set $idx (i64.const 0))
    (loop $copy
      (call $store (i64.add (local.get $block) (local.get $idx))
        (i32.load8_u (i32.add (i32.const 16) (i32.wrap_i64 (local.get $idx)))))
      (local.set $idx (i64.add (local.get $idx) (i64.const 1)))
      (br_if $copy (i64.lt_u (local.get $idx) (i64.const 11))))
    (call $output (local.get $block) (i64.const 11))
    (i32.const 0)))"#
    )
}
