//! One loaded skill: its compiled module, its instance, and the record of its faults.
//!
//! A skill runs one call at a time. Its instance is kept warm between calls and is
//! replaced after a fault and after [`CALLS_PER_INSTANCE`] calls; a skill must not
//! rely on what its memory held before.

use crate::SkillError;
use crate::blocks;
use crate::control::{CallControl, Stopped};
use crate::grants::code_digest;
use crate::host::MAX_BUDGET;
use crate::host_call::{HostFunction, NAMESPACE, Running};
use crate::manifest::{self, Manifest};
use crate::module::{self, MEMORY_PAGES};
use crate::package::Pin;
use crate::permission::Permission;
use crate::watchdog::Watchdog;
use extism::{CompiledPlugin, Function, PTR, Plugin, PluginBuilder, UserData, Val, Wasm};
use loqa_audit::Status;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::io::Read as _;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Wall time of a call on the voice path, from the design of skills.
pub const DEFAULT_BUDGET: Duration = Duration::from_millis(250);
/// The export that runs a tool.
pub(crate) const EXPORT_TOOL: &str = "loqa_tool";
/// The export that takes an event.
pub(crate) const EXPORT_EVENT: &str = "loqa_event";

/// Calls that may wait for a skill that is running.
const MAX_WAITING: usize = 8;
/// Faults within [`FAULT_WINDOW_MS`] that suspend a skill.
const MAX_FAULTS: usize = 5;
const FAULT_WINDOW_MS: i64 = 10 * 60 * 1_000;
/// A guest that leaks memory gets a fresh one before it runs out. Chosen: 32 KiB per call.
const CALLS_PER_INSTANCE: u32 = 1_000;
/// Fuel that ends a call even if the watchdog cannot: some ten seconds of computing.
const CALL_FUEL: u64 = 20_000_000_000;
/// Fuel for code that runs when a module is instantiated, which no timeout covers: some 50 ms.
const START_FUEL: u64 = 100_000_000;
/// Time for an interrupt that came too late to hit its own call, so that it cannot hit the next one.
const SETTLE: Duration = Duration::from_millis(5);

/// What the host says about a loaded skill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkillInfo {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// For people.
    pub title: String,
    /// For people.
    pub description: String,
    /// Who wrote it.
    pub author: String,
    /// SPDX expression.
    pub license: String,
    /// SHA-256 of the module's bytes, in hex.
    pub module_sha256: String,
    /// Names of its tools.
    pub tools: Vec<String>,
    /// Names of the permissions that it asks for.
    pub permissions: Vec<String>,
    /// Whether it runs.
    pub state: SkillState,
    /// Whether it is loaded from the folder in which it is being written.
    pub dev: bool,
}

impl SkillInfo {
    pub(crate) fn of(manifest: &Manifest, module_sha256: &str, state: SkillState) -> Self {
        Self {
            name: manifest.name.clone(),
            version: manifest.version.to_string(),
            title: manifest.title.clone(),
            description: manifest.description.clone(),
            author: manifest.author.clone(),
            license: manifest.license.clone(),
            module_sha256: module_sha256.to_owned(),
            tools: manifest.tools.iter().map(|tool| tool.name.clone()).collect(),
            permissions: manifest
                .permissions
                .iter()
                .map(|requested| requested.permission.as_str().to_owned())
                .collect(),
            state,
            dev: false,
        }
    }
}

/// Whether a skill runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkillState {
    /// It takes calls.
    Enabled,
    /// It failed too often and takes no calls until it is loaded again.
    Suspended,
}

/// Why a call brought nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallError {
    /// Too many calls wait already.
    Busy,
    /// The caller cancelled.
    Cancelled,
    /// A permission was taken away while the call was using it.
    Revoked(Permission),
    /// The skill could not begin in time, because an earlier call was still running.
    Queued,
    /// The skill did not finish in its time; counts towards its suspension.
    Overdue(String),
    /// The skill broke; counts towards its suspension.
    Fault(String),
}

impl CallError {
    /// How the audit calls it.
    pub(crate) const fn status(&self) -> Status {
        match self {
            Self::Busy => Status::Error,
            Self::Cancelled | Self::Revoked(_) => Status::Cancelled,
            Self::Queued | Self::Overdue(_) => Status::Timeout,
            Self::Fault(_) => Status::Trap,
        }
    }
}

/// The wall time that a call gets: `voice`, or more for a skill that waits for others.
pub(crate) fn budget(manifest: &Manifest, voice: Duration) -> Duration {
    let waits = [Permission::HttpCall, Permission::LlmComplete];
    let is_slow = waits.into_iter().any(|permission| manifest.requested(permission).is_some());
    if is_slow { MAX_BUDGET.max(voice) } else { voice }
}

pub(crate) struct Skill {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) module_sha256: String,
    /// What grants bind to.
    pub(crate) code_digest: String,
    /// Whether it comes with Loqa, so that its words are as trusted as the hub's own.
    pub(crate) is_bundled: bool,
    /// Whether it is loaded from the folder in which it is being written.
    pub(crate) is_dev: bool,
    compiled: CompiledPlugin,
    /// The invocation that the host functions act for.
    running: Arc<Mutex<Option<Running>>>,
    slot: Mutex<Slot>,
    is_free: Condvar,
    n_waiting: AtomicUsize,
    faults: Mutex<VecDeque<i64>>,
    is_suspended: AtomicBool,
}

#[derive(Default)]
struct Slot {
    is_taken: bool,
    instance: Option<(Plugin, u32)>,
}

impl Skill {
    /// Reads, checks and compiles the skill in `folder`. Each file is read once; what was hashed is what runs.
    /// With a pin, other bytes than those are refused before anything is made of them.
    pub(crate) fn load(folder: &Path, pin: Option<&Pin>) -> Result<Self, SkillError> {
        let manifest_path = folder.join(manifest::FILE_NAME);
        let manifest_bytes = read_bounded(&manifest_path, manifest::MAX_BYTES)?;
        check_pin(&manifest_path, &manifest_bytes, pin.map(|pin| pin.manifest_sha256.as_str()))?;
        let manifest = Manifest::parse(&manifest_path, &manifest_bytes)?;
        let module_path = folder.join(&manifest.module);
        if manifest.runtime != manifest::Runtime::Wasm {
            let reason = "is a program and no WASM module; the hub starts it as a native skill".to_owned();
            return Err(SkillError::Module { skill: manifest.name, path: module_path, reason });
        }
        let bytes = read_bounded(&module_path, module::MAX_MODULE_BYTES)?;
        check_pin(&module_path, &bytes, pin.map(|pin| pin.module_sha256.as_str()))?;
        let refused =
            |reason: String| SkillError::Module { skill: manifest.name.clone(), path: module_path.clone(), reason };
        let facts = module::check(&bytes, &exports(&manifest)).map_err(refused)?;
        let module_sha256 = hex::encode(Sha256::digest(&bytes));
        let code_digest = code_digest(&manifest_bytes, &bytes);
        let running = Arc::new(Mutex::new(None));
        let source = extism::Manifest::new([Wasm::data(bytes)]).with_memory_max(MEMORY_PAGES - facts.initial_pages);
        let compiled = PluginBuilder::new(source)
            .with_wasi(false)
            .with_cache_disabled()
            .with_fuel_limit(CALL_FUEL)
            .with_initialization_fuel_limit(START_FUEL)
            .with_functions(blocks::functions(&running))
            .with_functions(HostFunction::ALL.iter().map(|function| import(*function, &running)))
            .compile()
            .map_err(|error| refused(format!("cannot be compiled: {error:#}")))?;
        let instance = Plugin::new_from_compiled(&compiled)
            .map_err(|error| refused(format!("{} when it is linked", describe(&error))))?;
        Ok(Self {
            manifest: Arc::new(manifest),
            module_sha256,
            code_digest,
            is_bundled: false,
            is_dev: false,
            compiled,
            running,
            slot: Mutex::new(Slot { is_taken: false, instance: Some((instance, 0)) }),
            is_free: Condvar::new(),
            n_waiting: AtomicUsize::new(0),
            faults: Mutex::default(),
            is_suspended: AtomicBool::new(false),
        })
    }

    pub(crate) fn info(&self) -> SkillInfo {
        let state = if self.is_suspended() { SkillState::Suspended } else { SkillState::Enabled };
        SkillInfo { dev: self.is_dev, ..SkillInfo::of(&self.manifest, &self.module_sha256, state) }
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.is_suspended.load(Ordering::Relaxed)
    }

    /// Counts a fault; `true` when this one suspends the skill.
    pub(crate) fn count_fault(&self, steady_ms: i64) -> bool {
        let mut faults = lock(&self.faults);
        faults.retain(|at| steady_ms - at < FAULT_WINDOW_MS);
        faults.push_back(steady_ms);
        faults.len() >= MAX_FAULTS && !self.is_suspended.swap(true, Ordering::Relaxed)
    }

    /// Runs one export on the input in the invocation's blocks. The invocation comes back
    /// in every case, with what it drafted.
    pub(crate) fn call(
        &self,
        export: &str,
        invocation: Running,
        budget: Duration,
        watchdog: &Watchdog,
    ) -> (Result<Vec<u8>, CallError>, Option<Running>) {
        let control = invocation.actor.control.clone();
        let mut turn = match self.take_turn(&control) {
            Ok(turn) => turn,
            Err(error) => return (Err(error), Some(invocation)),
        };
        let (mut plugin, n_calls) = match turn.instance.take() {
            Some(instance) => instance,
            None => match Plugin::new_from_compiled(&self.compiled) {
                Ok(plugin) => (plugin, 0),
                Err(error) => return (Err(CallError::Fault(describe(&error))), Some(invocation)),
            },
        };
        *lock(&self.running) = Some(invocation);
        let watch = watchdog.watch(control.clone(), plugin.cancel_handle());
        // Input and output travel in the invocation's blocks; Extism's own stay empty.
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| plugin.call::<&[u8], ()>(export, &[])));
        let stopped = watch.end().or_else(|| control.stopped().filter(|stopped| *stopped != Stopped::Deadline));
        let mut invocation = lock(&self.running).take();
        let fault = invocation.as_ref().and_then(|invocation| invocation.fault.clone());
        let outcome = match (stopped, result) {
            (Some(stopped), result) => {
                if matches!(result, Ok(Ok(()))) {
                    std::thread::sleep(SETTLE);
                }
                Err(match stopped {
                    Stopped::Cancelled => CallError::Cancelled,
                    Stopped::Revoked(permission) => CallError::Revoked(permission),
                    Stopped::Deadline => CallError::Overdue(format!("did not finish within {} ms", budget.as_millis())),
                })
            }
            (None, Ok(Ok(()))) => {
                Ok(invocation.as_mut().map(|invocation| invocation.blocks.take_output()).unwrap_or_default())
            }
            (None, Ok(Err(error))) => Err(CallError::Fault(fault.unwrap_or_else(|| describe(&error)))),
            (None, Err(_panic)) => Err(CallError::Fault("made the host panic; please report this".to_owned())),
        };
        if outcome.is_ok() && n_calls + 1 < CALLS_PER_INSTANCE {
            turn.instance = Some((plugin, n_calls + 1));
        }
        (outcome, invocation)
    }

    /// Waits until no other call runs. Bounded in number and by the deadline.
    fn take_turn(&self, control: &CallControl) -> Result<Turn<'_>, CallError> {
        if self.n_waiting.fetch_add(1, Ordering::SeqCst) > MAX_WAITING {
            self.n_waiting.fetch_sub(1, Ordering::SeqCst);
            return Err(CallError::Busy);
        }
        let turn = self.wait_for_turn(control);
        self.n_waiting.fetch_sub(1, Ordering::SeqCst);
        turn
    }

    fn wait_for_turn(&self, control: &CallControl) -> Result<Turn<'_>, CallError> {
        /// Cancel flags are not tied to the condition variable, so they are read this often. Chosen.
        const GLANCE: Duration = Duration::from_millis(10);
        let mut slot = lock(&self.slot);
        while slot.is_taken {
            match control.stopped() {
                Some(Stopped::Cancelled) => return Err(CallError::Cancelled),
                Some(Stopped::Revoked(permission)) => return Err(CallError::Revoked(permission)),
                Some(Stopped::Deadline) => return Err(CallError::Queued),
                None => {}
            }
            let left = control.left();
            slot = self.is_free.wait_timeout(slot, left.min(GLANCE)).unwrap_or_else(PoisonError::into_inner).0;
        }
        slot.is_taken = true;
        let instance = slot.instance.take();
        Ok(Turn { skill: self, instance })
    }
}

/// The right to run the skill; gives it back when dropped, with the instance if it is still good.
struct Turn<'a> {
    skill: &'a Skill,
    instance: Option<(Plugin, u32)>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut slot = lock(&self.skill.slot);
        slot.is_taken = false;
        slot.instance = self.instance.take();
        drop(slot);
        self.skill.is_free.notify_one();
    }
}

/// Makes one host function. Everything that it does is in [`Running::host_call`].
fn import(function: HostFunction, running: &Arc<Mutex<Option<Running>>>) -> Function {
    let running = Arc::clone(running);
    Function::new(function.name(), [PTR], [PTR], UserData::new(()), move |_, inputs, outputs, _| {
        let (Some(Val::I64(address)), Some(result)) = (inputs.first(), outputs.first_mut()) else {
            return Err(extism::Error::msg("unexpected type of argument"));
        };
        let mut running = lock(&running);
        let invocation = running.as_mut().ok_or_else(|| extism::Error::msg("no invocation is running"))?;
        let answer = invocation.host_call(function, address.cast_unsigned());
        *result = Val::I64(answer.map_err(|_abort| extism::Error::msg("stopped by the host"))?.cast_signed());
        Ok(())
    })
    .with_namespace(NAMESPACE)
}

/// The cause of a trap in a line; it comes from the runtime and holds nothing of the guest's data.
fn describe(error: &extism::Error) -> String {
    let cause = error.root_cause().to_string();
    let line = cause.lines().next().unwrap_or_default();
    match line.trim_start_matches("wasm trap: ") {
        "oom" => format!("needs more than {} MiB of memory", u64::from(MEMORY_PAGES) * 64 / 1024),
        "plugin ran out of fuel" | "all fuel consumed by WebAssembly" => "computed for too long".to_owned(),
        _ => format!("broke: {line}"),
    }
}

/// What a module with this manifest must export.
pub(crate) fn exports(manifest: &Manifest) -> Vec<&'static str> {
    let tool = (!manifest.tools.is_empty()).then_some(EXPORT_TOOL);
    let event = (!manifest.events.is_empty()).then_some(EXPORT_EVENT);
    tool.into_iter().chain(event).collect()
}

/// What was read is what the user agreed to.
fn check_pin(path: &Path, bytes: &[u8], sha256: Option<&str>) -> Result<(), SkillError> {
    match sha256 {
        Some(sha256) if hex::encode(Sha256::digest(bytes)) != sha256 => {
            Err(SkillError::Changed { path: path.to_owned() })
        }
        Some(_) | None => Ok(()),
    }
}

/// The manifest of the skill in `folder`, and what its grants bind to, see [`code_digest`].
/// Nothing is compiled.
pub fn identify(folder: &Path) -> Result<(Manifest, String), SkillError> {
    let manifest_path = folder.join(manifest::FILE_NAME);
    let manifest_bytes = read_bounded(&manifest_path, manifest::MAX_BYTES)?;
    let manifest = Manifest::parse(&manifest_path, &manifest_bytes)?;
    let module = read_bounded(&folder.join(&manifest.module), module::MAX_MODULE_BYTES)?;
    let digest = code_digest(&manifest_bytes, &module);
    Ok((manifest, digest))
}

/// Reads a regular file; a link could lead out of the skill's folder.
pub(crate) fn read_bounded(path: &Path, max_bytes: usize) -> Result<Vec<u8>, SkillError> {
    let failed = |source| SkillError::Read { path: PathBuf::from(path), source };
    let kind = std::fs::symlink_metadata(path).map_err(failed)?.file_type();
    if !kind.is_file() {
        return Err(failed(std::io::Error::other("not a regular file")));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there is more.
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in a host function leaves a half-done invocation behind, which is dropped with its draft.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
