//! Any bytes as a manifest.
#![no_main]

#[path = "../../crates/loqa-skills/tests/packages/entries.rs"]
#[allow(dead_code, reason = "each target uses one entry")]
mod entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entries::manifest(bytes));
