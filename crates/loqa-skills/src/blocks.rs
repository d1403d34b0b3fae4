//! The blocks of bytes through which host and guest talk, kept by the host.
//!
//! Extism has a memory of its own for this, inside the sandbox: the guest can write to
//! all of it, the bookkeeping included, and Extism believes what stands there when it
//! reads a block or the output from outside. So the functions that PDKs import from
//! `extism:host/env` are replaced by these: the bytes lie in the host's memory, every
//! access is checked, and the guest reaches nothing of Extism's.

use crate::host_call::{MAX_MESSAGE_BYTES, Running};
use extism::{Function, UserData, Val, ValType};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Extism's module of functions that move bytes between host and guest.
pub(crate) const NAMESPACE: &str = "extism:host/env";
/// Most bytes in blocks at one time: twice the largest answer of a web server, and what else a call holds.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Most blocks at one time. Chosen: two per host call and as many again.
const MAX_BLOCKS: usize = 256;
/// Blocks do not touch, so that running over the end of one is noticed.
const GAP: u64 = 16;

use ValType::{I32, I64};

type Operation = fn(&mut Blocks, &[u64]) -> Result<u64, String>;

/// Name, parameters, results and what it does.
const FUNCTIONS: &[(&str, &[ValType], &[ValType], Operation)] = &[
    ("alloc", &[I64], &[I64], |blocks, arguments| blocks.alloc_zeroed(arguments[0])),
    ("free", &[I64], &[], |blocks, arguments| Ok(blocks.free(arguments[0]))),
    ("length", &[I64], &[I64], |blocks, arguments| {
        Ok(blocks.bytes.get(&arguments[0]).map_or(0, |block| block.len() as u64))
    }),
    ("load_u8", &[I64], &[I32], |blocks, arguments| blocks.block(arguments[0], 1).map(|bytes| u64::from(bytes[0]))),
    ("load_u64", &[I64], &[I64], |blocks, arguments| blocks.block(arguments[0], 8).map(little_endian)),
    ("store_u8", &[I64, I32], &[], |blocks, arguments| {
        blocks.block(arguments[0], 1)?.copy_from_slice(&arguments[1].to_le_bytes()[..1]);
        Ok(0)
    }),
    ("store_u64", &[I64, I64], &[], |blocks, arguments| {
        blocks.block(arguments[0], 8)?.copy_from_slice(&arguments[1].to_le_bytes());
        Ok(0)
    }),
    ("input_length", &[], &[I64], |blocks, _| Ok(blocks.input.len() as u64)),
    ("input_load_u8", &[I64], &[I32], |blocks, arguments| blocks.input(arguments[0], 1).map(little_endian)),
    ("input_load_u64", &[I64], &[I64], |blocks, arguments| blocks.input(arguments[0], 8).map(little_endian)),
    ("output_set", &[I64, I64], &[], |blocks, arguments| blocks.set_output(arguments[0], arguments[1])),
];

/// Whether modules may import that function of [`NAMESPACE`].
pub(crate) fn is_offered(name: &str) -> bool {
    FUNCTIONS.iter().any(|(offered, ..)| *offered == name)
}

/// The functions, acting on the blocks of the invocation that runs.
pub(crate) fn functions(running: &Arc<Mutex<Option<Running>>>) -> impl Iterator<Item = Function> {
    FUNCTIONS.iter().map(move |(name, parameters, results, operation)| {
        let running = Arc::clone(running);
        let returns_byte = **results == [I32];
        let (parameters, results) = (parameters.iter().cloned(), results.iter().cloned());
        Function::new(*name, parameters, results, UserData::new(()), move |_, inputs, outputs, _| {
            let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
            let invocation = running.as_mut().ok_or_else(|| extism::Error::msg("no invocation is running"))?;
            let mut arguments = [0_u64; 2];
            for (argument, input) in arguments.iter_mut().zip(inputs) {
                *argument = match input {
                    Val::I32(number) => u64::from(number.cast_unsigned()),
                    Val::I64(number) => number.cast_unsigned(),
                    other => return Err(extism::Error::msg(format!("unexpected type of argument: {other:?}"))),
                };
            }
            let result = match operation(&mut invocation.blocks, &arguments) {
                Ok(result) => result,
                Err(fault) => {
                    invocation.fault = Some(fault);
                    return Err(extism::Error::msg("stopped by the host"));
                }
            };
            if let Some(output) = outputs.first_mut() {
                // Only bytes travel as 32 bits.
                *output = if returns_byte {
                    Val::I32(i32::from(result.to_le_bytes()[0]))
                } else {
                    Val::I64(result.cast_signed())
                };
            }
            Ok(())
        })
        .with_namespace(NAMESPACE)
    })
}

/// The blocks of one invocation.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// By the number that the guest takes for an address.
    bytes: BTreeMap<u64, Vec<u8>>,
    next: u64,
    n_bytes: usize,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Blocks {
    /// No blocks yet, and this input.
    pub(crate) fn new(input: Vec<u8>) -> Self {
        Self { next: GAP, input, ..Self::default() }
    }

    /// What the guest set as its output.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// A new block for the guest.
    pub(crate) fn alloc(&mut self, block: Vec<u8>) -> Result<u64, String> {
        if block.len() > MAX_BYTES.saturating_sub(self.n_bytes) || self.bytes.len() >= MAX_BLOCKS {
            return Err(format!("holds more than {MAX_BYTES} bytes or {MAX_BLOCKS} blocks for the host"));
        }
        let address = self.next;
        self.next = (address + block.len() as u64 + GAP).next_multiple_of(GAP);
        self.n_bytes += block.len();
        self.bytes.insert(address, block);
        Ok(address)
    }

    /// The whole block that begins at `address`.
    pub(crate) fn whole(&self, address: u64) -> Option<&[u8]> {
        self.bytes.get(&address).map(Vec::as_slice)
    }

    fn alloc_zeroed(&mut self, length: u64) -> Result<u64, String> {
        // A length that does not fit is beyond the limit as well, which `alloc` would say too late.
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(MAX_BYTES + 1);
        if length > MAX_BYTES.saturating_sub(self.n_bytes) {
            return Err(format!("holds more than {MAX_BYTES} bytes or {MAX_BLOCKS} blocks for the host"));
        }
        self.alloc(vec![0; length])
    }

    fn free(&mut self, address: u64) -> u64 {
        if let Some(block) = self.bytes.remove(&address) {
            self.n_bytes -= block.len();
        }
        0
    }

    fn block(&mut self, address: u64, length: usize) -> Result<&mut [u8], String> {
        let outside = || "reached outside of its blocks".to_owned();
        let (start, block) = self.bytes.range_mut(..=address).next_back().ok_or_else(outside)?;
        let start = usize::try_from(address - start).map_err(|_| outside())?;
        block.get_mut(start..start.saturating_add(length)).ok_or_else(outside)
    }

    fn input(&self, offset: u64, length: usize) -> Result<&[u8], String> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        self.input.get(start..start.saturating_add(length)).ok_or_else(|| "read beyond its input".to_owned())
    }

    fn set_output(&mut self, address: u64, length: u64) -> Result<u64, String> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_MESSAGE_BYTES {
            return Err(format!("returned {length} bytes, at most {MAX_MESSAGE_BYTES} are allowed"));
        }
        self.output = if length == 0 { Vec::new() } else { self.block(address, length)?.to_vec() };
        Ok(0)
    }
}

fn little_endian(bytes: impl AsRef<[u8]>) -> u64 {
    bytes.as_ref().iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(blocks: &mut Blocks, name: &str, arguments: &[u64]) -> Result<u64, String> {
        let (.., operation) = FUNCTIONS.iter().find(|(offered, ..)| *offered == name).unwrap();
        operation(blocks, arguments)
    }

    #[test]
    fn what_is_stored_is_loaded_and_returned() {
        let mut blocks = Blocks::new(b"0123456789".to_vec());
        assert_eq!(call(&mut blocks, "input_length", &[]), Ok(10));
        assert_eq!(call(&mut blocks, "input_load_u64", &[1]), Ok(u64::from_le_bytes(*b"12345678")));
        assert_eq!(call(&mut blocks, "input_load_u8", &[9]), Ok(u64::from(b'9')));
        let block = call(&mut blocks, "alloc", &[9]).unwrap();
        assert_eq!(call(&mut blocks, "length", &[block]), Ok(9));
        call(&mut blocks, "store_u64", &[block, u64::from_le_bytes(*b"abcdefgh")]).unwrap();
        call(&mut blocks, "store_u8", &[block + 8, u64::from(b'i') | 0xff00]).unwrap();
        assert_eq!(call(&mut blocks, "load_u64", &[block + 1]), Ok(u64::from_le_bytes(*b"bcdefghi")));
        call(&mut blocks, "output_set", &[block + 1, 3]).unwrap();
        assert_eq!(blocks.take_output(), b"bcd");
        call(&mut blocks, "free", &[block]).unwrap();
        assert_eq!(call(&mut blocks, "length", &[block]), Ok(0));
        assert_eq!(blocks.n_bytes, 0);
    }

    #[test]
    fn no_access_leaves_a_block() {
        let mut blocks = Blocks::new(vec![1; 8]);
        let first = call(&mut blocks, "alloc", &[16]).unwrap();
        let second = call(&mut blocks, "alloc", &[16]).unwrap();
        let empty = call(&mut blocks, "alloc", &[0]).unwrap();
        let outside = [0, first - 1, first + 9, first + 16, second - 1, second + 9, empty, u64::MAX, u64::MAX - 7];
        for address in outside {
            for (name, arguments) in
                [("load_u64", vec![address]), ("store_u64", vec![address, 1]), ("output_set", vec![address, 8])]
            {
                assert!(call(&mut blocks, name, &arguments).is_err(), "{name}({address})");
            }
        }
        for offset in [1, 8, u64::MAX] {
            assert!(call(&mut blocks, "input_load_u64", &[offset]).is_err(), "{offset}");
        }
        for length in [65_537, u64::MAX] {
            assert!(call(&mut blocks, "output_set", &[first, length]).is_err(), "{length}");
        }
    }

    #[test]
    fn bytes_and_blocks_are_bounded() {
        let mut blocks = Blocks::new(Vec::new());
        assert!(call(&mut blocks, "alloc", &[u64::MAX]).is_err());
        assert!(call(&mut blocks, "alloc", &[MAX_BYTES as u64 + 1]).is_err());
        let whole = call(&mut blocks, "alloc", &[MAX_BYTES as u64]).unwrap();
        assert!(call(&mut blocks, "alloc", &[1]).is_err());
        call(&mut blocks, "free", &[whole]).unwrap();
        for _ in 0..MAX_BLOCKS {
            call(&mut blocks, "alloc", &[0]).unwrap();
        }
        assert!(call(&mut blocks, "alloc", &[0]).is_err());
    }
}
