//! The WASM side: bytes in and out through Extism's memory, host functions as imports.

use crate::loqa::{Host, HostError};
use extism_pdk::Memory;
use serde::Deserialize;
use serde_json::Value;

macro_rules! imports {
    ($($name:literal => $import:ident),+ $(,)?) => {
        #[link(wasm_import_module = "loqa:host/v1")]
        unsafe extern "C" {
            $(#[link_name = $name] fn $import(arguments: u64) -> u64;)+
        }

        /// The offset of the result, or `None` when there is no such function.
        fn call_import(name: &str, arguments: u64) -> Option<u64> {
            match name {
                // SAFETY: every import takes and returns an offset in Extism's memory and
                // touches nothing else; the host checks the offset.
                $($name => Some(unsafe { $import(arguments) }),)+
                _ => None,
            }
        }
    };
}

imports! {
    "log" => host_log,
    "say" => host_say,
    "announce" => host_announce,
    "notify" => host_notify,
    "publish" => host_publish,
    "kv_get" => host_kv_get,
    "kv_set" => host_kv_set,
    "kv_delete" => host_kv_delete,
    "kv_list" => host_kv_list,
    "now" => host_now,
    "timer_set" => host_timer_set,
    "timer_cancel" => host_timer_cancel,
    "timer_list" => host_timer_list,
    "http" => host_http,
    "secret" => host_secret,
    "transcript" => host_transcript,
    "event_store" => host_event_store,
    "llm" => host_llm,
    "device" => host_device,
}

/// The host that runs this module.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealHost;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Ok(Value),
    Error(HostError),
}

impl Host for RealHost {
    fn call(&mut self, function: &str, arguments: Value) -> Result<Value, HostError> {
        let arguments = store(&arguments.to_string().into_bytes());
        let answer = call_import(function, arguments.offset()).map(Memory::from).ok_or_else(|| HostError {
            code: "bad_arguments".to_owned(),
            message: format!("there is no host function `{function}`"),
        })?;
        arguments.free();
        let bytes = answer.to_vec();
        answer.free();
        match serde_json::from_slice(&bytes) {
            Ok(Answer::Ok(value)) => Ok(value),
            Ok(Answer::Error(error)) => Err(error),
            Err(error) => Err(HostError { code: "bad_arguments".to_owned(), message: error.to_string() }),
        }
    }
}

/// Runs one export: reads the input, writes the output.
pub fn answer(answer: impl FnOnce(&mut dyn Host, &[u8]) -> Vec<u8>) -> i32 {
    let input = extism_pdk::input_bytes();
    let output = answer(&mut RealHost, &input);
    store(&output).set_output();
    0
}

fn store(bytes: &[u8]) -> Memory {
    let memory = Memory::from_bytes(bytes);
    // `from_bytes` only copies; its signature is that of conversions that can fail.
    memory.unwrap_or_else(|_| Memory::null())
}
