//! libasound writes every device that it cannot find to standard error; on a machine
//! without sound that is dozens of lines at each start.

use std::ffi::{c_char, c_int};
use std::sync::Once;

/// Drops what libasound would write, for the whole process.
pub(super) fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        type Fixed = unsafe extern "C" fn(*const c_char, c_int, *const c_char, c_int, *const c_char);
        type Variadic = unsafe extern "C" fn(*const c_char, c_int, *const c_char, c_int, *const c_char, ...);
        // SAFETY: the handler reads no variable argument. On every Linux ABI that Rust
        // supports the caller passes the named arguments of a variadic function as those
        // of a plain one and cleans up after the call itself.
        let handler = unsafe { std::mem::transmute::<Fixed, Variadic>(ignore) };
        // SAFETY: the handler lives for ever, and libasound calls it from any thread.
        unsafe { alsa_sys::snd_lib_error_set_handler(Some(handler)) };
    });
}

unsafe extern "C" fn ignore(_: *const c_char, _: c_int, _: *const c_char, _: c_int, _: *const c_char) {}
