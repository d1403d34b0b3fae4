;; The skill that the test of the window installs: one tool, which asks the host for the words
;; of the person and answers "Done." when it may have them. `parrot.wasm` is this file,
;; assembled by `wat2wasm`.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "load_u8" (func $load_u8 (param i64) (result i32)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "loqa:host/v1" "transcript" (func $transcript (param i64) (result i64)))
  (memory 1)
  (data (i32.const 0) "{\"level\":\"utterance\"}")
  (data (i32.const 100) "{\"ok\":{\"say\":\"Done.\",\"data\":null}}")
  (data (i32.const 200) "{\"error\":{\"code\":\"denied\",\"message\":\"no\"}}")
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
    (local.set $at (call $transcript (call $copy (i32.const 0) (i32.const 21))))
    ;; The host's answer begins with {"ok" or {"error".
    (if (i32.eq (call $load_u8 (i64.add (local.get $at) (i64.const 2))) (i32.const 111))
      (then (call $output_set (call $copy (i32.const 100) (i32.const 34)) (i64.const 34)))
      (else (call $output_set (call $copy (i32.const 200) (i32.const 42)) (i64.const 42))))
    (i32.const 0)))
