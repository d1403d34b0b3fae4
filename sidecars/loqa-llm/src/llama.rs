//! What belongs to the process and not to a model: llama.cpp's backend, its log,
//! its abort callback, and the number of threads.

use crate::decode::{Stop, failure};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_backend::LlamaBackend;
use loqa_protocol::{ErrorCode, Failure};
use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Models below this size run on one thread: ggml's threads wait for each other in a
/// spin, which on busy cores costs far more than a second thread brings. Measured with
/// the reflex model: 8 ms per reply on one thread, 97 ms on two busy ones.
const SMALL_MODEL_BYTES: u64 = 100 << 20;

/// Starts llama.cpp, once per process.
pub fn backend() -> Result<&'static LlamaBackend, Failure> {
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    BACKEND
        .get_or_init(|| {
            // SAFETY: the callback is a plain function without user data.
            unsafe { llama_cpp_sys_2::llama_log_set(Some(log), std::ptr::null_mut()) };
            LlamaBackend::init().map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(|error| failure(ErrorCode::EngineFault, format!("start llama.cpp: {error}")))
}

static COMPLAINTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// llama.cpp tells why a model does not load only in its log.
pub(crate) fn complaints() -> Option<String> {
    let lines = COMPLAINTS.lock().unwrap_or_else(PoisonError::into_inner);
    // The first complaint is the cause, the rest follows from it.
    lines.first().cloned()
}

pub(crate) fn forget_complaints() {
    COMPLAINTS.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

unsafe extern "C" fn log(level: llama_cpp_sys_2::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: llama.cpp passes a string that ends in 0 and lives during the call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let line = text.trim();
    if line.is_empty() || line == "." {
        return;
    }
    if level == llama_cpp_sys_2::GGML_LOG_LEVEL_ERROR {
        let mut lines = COMPLAINTS.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < 8 {
            lines.push(line.to_owned());
        }
    }
    // Everything at DEBUG: prompts may occur in it, and its warnings are not for users.
    tracing::debug!(target: "llama.cpp", level = ?level, "{line}");
}

/// Lets llama.cpp stop in the middle of a step. Lives in a `Box`, because the context
/// holds its address.
#[derive(Debug, Default)]
pub(crate) struct AbortSwitch {
    flag: AtomicPtr<AtomicBool>,
}

impl AbortSwitch {
    /// Hands the switch to the context. `false`: only the checks between steps work.
    ///
    /// llama-cpp-2 0.1.160 wraps neither `llama_set_abort_callback` nor the parameter
    /// for it and keeps the pointer private, but prints it with `Debug`. The version is
    /// pinned, and a test holds this to be true.
    pub(crate) fn connect(&self, context: &mut LlamaContext<'static>) -> bool {
        let shown = format!("{context:?}");
        let digits = shown.split("0x").nth(1).unwrap_or("");
        let digits: String = digits.chars().take_while(char::is_ascii_hexdigit).collect();
        let Ok(address) = usize::from_str_radix(&digits, 16) else { return false };
        if address == 0 || !address.is_multiple_of(align_of::<usize>()) {
            return false;
        }
        let raw = std::ptr::with_exposed_provenance_mut::<llama_cpp_sys_2::llama_context>(address);
        let data = std::ptr::from_ref(self).cast_mut().cast::<c_void>();
        // SAFETY: `raw` is the live context that `context` owns; `self` lives in a box that
        // is dropped after the context; the callback only reads atomics.
        unsafe { llama_cpp_sys_2::llama_set_abort_callback(raw, Some(should_abort), data) };
        true
    }

    /// Runs `work` while the switch follows the cancel flag, which the runtime also
    /// sets at the deadline. No clock is read: this is asked for every node of the graph.
    pub(crate) fn while_watching<T>(&self, stop: Stop<'_>, work: impl FnOnce() -> T) -> T {
        self.flag.store(stop.cancel.as_ptr().cast_mut(), Ordering::Release);
        let result = work();
        self.flag.store(std::ptr::null_mut(), Ordering::Release);
        result
    }

    fn is_thrown(&self) -> bool {
        let flag = self.flag.load(Ordering::Acquire);
        if flag.is_null() {
            return false;
        }
        // SAFETY: set by `while_watching`, whose caller keeps the flag alive until it returns.
        unsafe { &*flag }.load(Ordering::Acquire)
    }
}

unsafe extern "C" fn should_abort(data: *mut c_void) -> bool {
    // SAFETY: `connect` passed the address of a switch that outlives the context.
    unsafe { &*data.cast::<AbortSwitch>() }.is_thrown()
}

/// Threads for a model of this size.
#[must_use]
pub fn threads_for(model_bytes: u64) -> u32 {
    if model_bytes < SMALL_MODEL_BYTES {
        return 1;
    }
    let usable = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    physical_cores().map_or(usable, |cores| cores.min(usable)).max(1)
}

/// Second hyper-threads share the multipliers that ggml keeps busy.
fn physical_cores() -> Option<u32> {
    let cpus = std::fs::read_dir("/sys/devices/system/cpu").ok()?;
    let mut cores: Vec<String> = cpus
        .filter_map(|cpu| std::fs::read_to_string(cpu.ok()?.path().join("topology/thread_siblings_list")).ok())
        .collect();
    cores.sort_unstable();
    cores.dedup();
    u32::try_from(cores.len()).ok().filter(|n| *n > 0)
}
