//! A WASM skill of one tool that makes one host call, written as text. The tests of the
//! whole hub use this file too.

use std::path::{Path, PathBuf};

/// What a tool of [`write_skill`] answers.
#[derive(Debug, Clone, Copy)]
pub enum Reply {
    /// The host's answer as it is.
    AsHost,
    /// "Done.", or that it was denied.
    IfAllowed,
}

/// Writes a skill with one tool, `NAME.run`, that makes one host call and says what `reply`
/// makes of it.
pub fn write_skill(
    folder: &Path,
    name: &str,
    permissions: &str,
    function: &str,
    arguments: &str,
    reply: Reply,
) -> PathBuf {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let manifest = format!(
        "schema: 1\nname: {name}\nversion: 1.0.0\ntitle: Test\ndescription: A test.\nauthor: Tests\nlicense: MIT\n\
         runtime: {{ kind: wasm, module: {name}.wasm, host_api: 1 }}\n\
         tools:\n  - {{ name: {name}.run, description: Runs., effect: safe }}\npermissions:\n{permissions}"
    );
    std::fs::write(folder.join("skill.yaml"), manifest).unwrap();
    let escaped = arguments.replace('\\', "\\\\").replace('"', "\\\"");
    let host = format!("(call $host (call $copy (i32.const 0) (i32.const {})))", arguments.len());
    let body = match reply {
        // What the host brings is the outcome.
        Reply::AsHost => {
            format!("(local.set $at {host}) (call $output_set (local.get $at) (call $length (local.get $at)))")
        }
        // `{"ok": …}` from the host is a success of the skill, everything else a failure.
        Reply::IfAllowed => format!(
            r#"(local.set $at {host})
               (if (i32.eq (call $load_u8 (i64.add (local.get $at) (i64.const 2))) (i32.const 111))
                 (then (call $output_set (call $copy (i32.const 60000) (i32.const 34)) (i64.const 34)))
                 (else (call $output_set (call $copy (i32.const 61000) (i32.const 42)) (i64.const 42))))"#
        ),
    };
    let module = format!(
        r#"(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "load_u8" (func $load_u8 (param i64) (result i32)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "loqa:host/v1" "{function}" (func $host (param i64) (result i64)))
  (memory 1)
  (data (i32.const 0) "{escaped}")
  (data (i32.const 60000) "{{\"ok\":{{\"say\":\"Done.\",\"data\":null}}}}")
  (data (i32.const 61000) "{{\"error\":{{\"code\":\"denied\",\"message\":\"no\"}}}}")
  (func $copy (param $from i32) (param $length i32) (result i64)
    (local $to i64) (local $idx i32)
    (local.set $to (call $alloc (i64.extend_i32_u (local.get $length))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $idx) (local.get $length)))
        (call $store_u8
          (i64.add (local.get $to) (i64.extend_i32_u (local.get $idx)))
          (i32.load8_u (i32.add (local.get $from) (local.get $idx))))
        (local.set $idx (i32.add (local.get $idx) (i32.const 1)))
        (br $next)))
    (local.get $to))
  (func (export "loqa_tool") (result i32)
    (local $at i64)
    {body}
    (i32.const 0)))"#
    );
    std::fs::write(folder.join(format!("{name}.wasm")), wat::parse_str(&module).unwrap()).unwrap();
    folder
}
