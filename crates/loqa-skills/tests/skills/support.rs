//! What the tests share: a host on a folder of its own, a clock that is moved by hand,
//! effects that are written down, and small modules in WASM text.

use loqa_audit::{Entry, Journal, JournalError, Kind, Outcome};
use loqa_protocol::{Failure, PrivacyScope, SessionId, ToolCall, ToolOutcome, TurnId};
use loqa_skills::{
    Clock, DeviceOrder, Effects, EventQuery, HttpAnswer, HttpOrder, Invocation, LlmAnswer, LlmOrder, Pending, Said,
    SkillHost, SkillHostOptions, Taint,
};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Generous, because the machine may be busy; the tests of time limits bring their own.
pub const BUDGET: Duration = Duration::from_secs(10);

/// Wall time at which benches begin.
pub const BENCH_START: i64 = 1_767_268_800_000;

/// A folder in memory where there is one: the databases of these tests are written
/// thousands of times, and none of them tests the disk.
pub fn fast_folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Moved by the test.
#[derive(Debug, Default)]
pub struct TestClock {
    wall_ms: AtomicI64,
    steady_ms: AtomicI64,
}

impl TestClock {
    pub fn at(wall_ms: i64) -> Arc<Self> {
        let clock = Self::default();
        clock.wall_ms.store(wall_ms, Ordering::SeqCst);
        Arc::new(clock)
    }

    /// Time passes.
    pub fn pass(&self, ms: i64) {
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
        self.steady_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Someone sets the clock.
    pub fn set_by(&self, ms: i64) {
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn wall_ms(&self) -> i64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn steady_ms(&self) -> i64 {
        self.steady_ms.load(Ordering::SeqCst)
    }
}

/// Writes down what skills did.
#[derive(Default)]
pub struct Recorder {
    lines: Mutex<Vec<String>>,
    interruption: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Recorder {
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }

    /// Runs `action` in the middle of the next effect.
    pub fn interrupt_with(&self, action: impl FnOnce() + Send + 'static) {
        *self.interruption.lock().unwrap() = Some(Box::new(action));
    }

    fn push(&self, line: String) {
        self.lines.lock().unwrap().push(line);
        let interruption = self.interruption.lock().unwrap().take();
        if let Some(action) = interruption {
            action();
        }
    }
}

impl Effects for Recorder {
    fn say(&self, skill: &str, text: &str) {
        self.push(format!("{skill} says {text}"));
    }

    fn notify(&self, skill: &str, text: &str) {
        self.push(format!("{skill} notifies {text}"));
    }

    fn publish(&self, skill: &str, topic: &str, data: &Value) {
        self.push(format!("{skill} publishes {data} on {topic}"));
    }

    fn http(&self, order: HttpOrder, pending: Pending<HttpAnswer>) {
        self.push(format!("{} calls {} {}", order.skill, order.method, order.url));
        pending.answer(Ok(HttpAnswer { status: 200, bytes_out: 1, ..HttpAnswer::default() }));
    }

    fn events(&self, query: EventQuery, pending: Pending<Vec<Value>>) {
        self.push(format!("{} reads {:?} events", query.skill, query.level));
        pending.answer(Ok(Vec::new()));
    }

    fn complete(&self, order: LlmOrder, pending: Pending<LlmAnswer>) {
        self.push(format!("{} asks {}", order.skill, order.prompt));
        pending.answer(Ok(LlmAnswer { text: "yes".to_owned(), tokens: 3 }));
    }

    fn device(&self, order: DeviceOrder, pending: Pending<Value>) {
        self.push(format!("{} orders {} {}", order.skill, order.operation, order.entity));
        pending.answer(Ok(Value::Null));
    }
}

/// Keeps `operation permission reason` of every row: denials, and what reaches outside.
#[derive(Debug, Clone, Default)]
pub struct Decisions(pub Arc<Mutex<Vec<String>>>);

impl Decisions {
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Journal for Decisions {
    fn append(&self, entry: Entry) -> Result<u64, JournalError> {
        self.append_later(entry);
        Ok(0)
    }

    fn append_later(&self, entry: Entry) {
        if !matches!(entry.kind, Kind::CallIntent | Kind::CallDenied) {
            return;
        }
        // The calls' own rows are the business of other tests.
        let (Some(effect), Some(permission), Some(reason)) = (entry.effect, entry.permission, entry.reason) else {
            return;
        };
        self.0.lock().unwrap().push(format!("{} {permission} {reason}", effect.operation));
    }

    fn finish(&self, _intent: u64, _outcome: Outcome) {}
}

/// A host and everything around it.
pub struct Bench {
    pub host: Arc<SkillHost>,
    pub clock: Arc<TestClock>,
    pub effects: Arc<Recorder>,
    pub decisions: Decisions,
    folder: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap(), TestClock::at(BENCH_START))
    }

    fn on(folder: tempfile::TempDir, clock: Arc<TestClock>) -> Self {
        let effects = Arc::new(Recorder::default());
        let decisions = Decisions::default();
        let options =
            SkillHostOptions { data_dir: folder.path().join("data"), clock: Arc::clone(&clock) as Arc<dyn Clock> };
        let host =
            SkillHost::open_with_audit(options, Arc::clone(&effects) as Arc<dyn Effects>, Arc::new(decisions.clone()))
                .unwrap();
        Self { host: Arc::new(host), clock, effects, decisions, folder }
    }

    /// Ends the host and opens another one on the same data; nothing is loaded.
    pub fn restart(self) -> Self {
        let Self { host, clock, folder, .. } = self;
        drop(host);
        Self::on(folder, clock)
    }

    /// Writes a skill folder: `manifest` and a module from its text.
    pub fn write_skill(&self, manifest: &str, module: &str) -> PathBuf {
        let bytes = wat::parse_str(module).unwrap_or_else(|error| panic!("{error}\n{module}"));
        self.write_skill_bytes(manifest, &bytes)
    }

    pub fn write_skill_bytes(&self, manifest: &str, module: &[u8]) -> PathBuf {
        let folder = self.folder.path().join("skill");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("skill.yaml"), manifest).unwrap();
        std::fs::write(folder.join("test.wasm"), module).unwrap();
        folder
    }

    pub fn call(&self, tool: &str, arguments: Value) -> Result<ToolOutcome, Failure> {
        self.host.call(&invocation(tool, arguments, BUDGET))
    }
}

pub fn invocation(tool: &str, arguments: Value, budget: Duration) -> Invocation {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    Invocation {
        session: SessionId::from_bits(1),
        turn: TurnId::from_bits(1),
        scope: PrivacyScope::Persistent,
        call: ToolCall { name: tool.to_owned(), arguments },
        taint: Taint::user(),
        said: Said::default(),
        budget,
        cancel: Arc::new(AtomicBool::new(false)),
    }
}

/// A manifest with the tool `test.run` and these permissions, one YAML entry each.
pub fn manifest(permissions: &[String]) -> String {
    let permissions = permissions.iter().map(|entry| format!("  - {entry}\n")).collect::<String>();
    let permissions = if permissions.is_empty() { String::new() } else { format!("permissions:\n{permissions}") };
    format!(
        "schema: 1\nname: test\nversion: 1.0.0\ntitle: Test\ndescription: A test.\nauthor: Tests\nlicense: MIT\n\
         runtime: {{ kind: wasm, module: test.wasm, host_api: 1 }}\n\
         tools:\n  - {{ name: test.run, description: Runs., effect: safe }}\n{permissions}"
    )
}

/// A module whose `loqa_tool` runs `body` and then replies `{"ok":null}`. `$copy` moves
/// bytes of the module's memory into a block for the host; `extra` adds declarations.
pub fn module(imports: &str, extra: &str, body: &str) -> String {
    format!(
        r#"(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  {imports}
  (memory 1)
  (data (i32.const 60000) "{{\"ok\":null}}")
  {extra}
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
    {body}
    (call $output_set (call $copy (i32.const 60000) (i32.const 11)) (i64.const 11))
    (i32.const 0)))"#
    )
}

/// Text for a WASM data segment.
pub fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// The folder of the bundled timer skill, as set-up builds it.
pub fn timer_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../skills/timer/dist");
    assert!(folder.join("timer.wasm").is_file(), "skills/timer/dist/timer.wasm is missing: run `npm run setup`");
    folder
}
