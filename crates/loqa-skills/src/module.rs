//! What a WASM module may be, checked on the bytes before they are compiled.
//!
//! Extism limits memory and time, and leaves gaps that are closed here: tables
//! without an upper bound, memory that is there from the start and is not counted,
//! and built-in functions (variables, configuration, HTTP, its own log) that would
//! reach around [`crate::authorize`].

use crate::blocks;
use crate::host_call::{HostFunction, NAMESPACE};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef, Validator, WasmFeatures};

/// Largest module. Chosen: forty times the bundled skill; bounds the time to compile.
pub const MAX_MODULE_BYTES: usize = 4 * 1024 * 1024;
/// All memory of a running skill, in pages of 64 KiB: 32 MiB.
pub(crate) const MEMORY_PAGES: u32 = 512;
/// Memory that a module may have from the start. Extism counts growth only, so the
/// start is subtracted from what may grow; half each keeps the sum below the limit.
const MAX_INITIAL_PAGES: u64 = 256;
/// Most entries in a table: 1 MiB of pointers.
const MAX_TABLE: u64 = 128 * 1024;
/// What the host needs to know of a module that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ModuleFacts {
    /// Pages that the module has from the start.
    pub(crate) initial_pages: u32,
}

/// Checks a module; the text says what is wrong and what helps.
pub(crate) fn check(bytes: &[u8], exports: &[&str]) -> Result<ModuleFacts, String> {
    if bytes.len() > MAX_MODULE_BYTES {
        return Err(format!("the module has {} bytes, at most {MAX_MODULE_BYTES} are allowed", bytes.len()));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(
            "not a WASM module, it does not begin with `\\0asm`; build the skill and name its .wasm file".into()
        );
    }
    let features = WasmFeatures::WASM2 | WasmFeatures::EXTENDED_CONST | WasmFeatures::TAIL_CALL;
    Validator::new_with_features(features)
        .validate_all(bytes)
        .map_err(|error| format!("not a valid module of WebAssembly 2.0: {error}"))?;
    let mut initial_pages = 0_u64;
    let mut may_grow = false;
    let mut has_start = false;
    let mut functions = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| error.to_string())? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.map_err(|error| error.to_string())?;
                    check_import(import.module, import.name, import.ty)?;
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let memory = memory.map_err(|error| error.to_string())?;
                    initial_pages += memory.initial;
                    may_grow = memory.maximum.is_none_or(|maximum| maximum > u64::from(MEMORY_PAGES));
                }
            }
            Payload::StartSection { .. } => has_start = true,
            Payload::TableSection(tables) => {
                for table in tables {
                    let limits = table.map_err(|error| error.to_string())?.ty;
                    if limits.initial > MAX_TABLE || limits.maximum.is_none_or(|maximum| maximum > MAX_TABLE) {
                        return Err(format!(
                            "a table may grow beyond {MAX_TABLE} entries; link without --growable-table"
                        ));
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(|error| error.to_string())?;
                    if export.kind == ExternalKind::Func {
                        functions.push(export.name);
                    }
                }
            }
            _ => {}
        }
    }
    if initial_pages > MAX_INITIAL_PAGES {
        return Err(format!(
            "the module begins with {initial_pages} pages of memory, at most {MAX_INITIAL_PAGES} are allowed; use a smaller stack or less static data"
        ));
    }
    // Extism links a module before it limits its memory, and linking runs this code.
    if (has_start || functions.contains(&"_initialize")) && may_grow {
        return Err(format!(
            "the module runs code when it is linked and may grow its memory; link with --max-memory={}",
            u64::from(MEMORY_PAGES) * 64 * 1024
        ));
    }
    if let Some(missing) = exports.iter().find(|export| !functions.contains(*export)) {
        return Err(format!("the module exports no function `{missing}`; declare the skill with the SDK's `skill!`"));
    }
    let initial_pages = u32::try_from(initial_pages).unwrap_or(u32::MAX);
    Ok(ModuleFacts { initial_pages })
}

fn check_import(module: &str, name: &str, kind: TypeRef) -> Result<(), String> {
    if !matches!(kind, TypeRef::Func(_)) {
        return Err(format!("the module imports `{module}::{name}`, which is not a function"));
    }
    match module {
        blocks::NAMESPACE if blocks::is_offered(name) => Ok(()),
        NAMESPACE if HostFunction::from_name(name).is_some() => Ok(()),
        blocks::NAMESPACE => Err(format!(
            "`{module}::{name}` goes around the permissions and is not offered; use the functions of `{NAMESPACE}`"
        )),
        NAMESPACE => {
            let known = HostFunction::ALL.iter().map(|function| function.name()).collect::<Vec<_>>().join(", ");
            Err(format!("this version has no host function `{name}`; there are: {known}"))
        }
        _ => Err(format!(
            "the module imports `{module}::{name}`; only `{NAMESPACE}` is offered, build for wasm32-unknown-unknown without WASI"
        )),
    }
}
