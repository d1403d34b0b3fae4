//! Any bytes as the arguments of a host call, through the real sandbox.
#![no_main]

#[path = "../../crates/loqa-skills/tests/packages/entries.rs"]
#[allow(dead_code, reason = "each target uses one entry")]
mod entries;

use std::sync::Mutex;

static HOST: Mutex<Option<entries::HostCalls>> = Mutex::new(None);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut host = HOST.lock().expect("a panic ends the run");
    host.get_or_insert_with(entries::HostCalls::new).call(bytes);
});
