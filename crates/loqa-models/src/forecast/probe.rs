//! Measures this machine: bytes a second from memory, arithmetic a second, memory.
//!
//! Both loops run on all usable cores at once, as the engines do, and take the best of
//! several rounds: whatever else runs only makes a round slower. Deliberately absent:
//! keeping the figures; they are taken anew each time, in about half a second.

use serde::Serialize;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Bytes that each core reads in a round: several times the largest last-level cache per
/// core of a common machine. Chosen.
const BUFFER_BYTES: usize = 48 << 20;
/// Rounds over the buffer. Chosen: the first one also maps the memory.
const READ_ROUNDS: usize = 4;
/// Numbers of the arithmetic loop, 16 KiB in all: they stay in the first-level cache.
const NUMBERS: usize = 2_048;
/// Lanes of independent sums: enough for two multiply-add units of 16 lanes and their
/// latency of four cycles.
const LANES: usize = 128;
/// One round of arithmetic. Chosen: long against the clock, short for a person.
const ROUND: Duration = Duration::from_millis(40);
/// Rounds of arithmetic. Chosen.
const ARITHMETIC_ROUNDS: usize = 4;

/// What was measured of this machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Machine {
    /// Architecture, usable cores, and the vector instructions of the measurement.
    pub hardware: String,
    /// Usable cores.
    pub cores: usize,
    /// Bytes that all cores together read from memory in a second.
    pub bytes_per_second: f64,
    /// Multiplications and additions of 32-bit numbers that they do in a second.
    pub operations_per_second: f64,
    /// Memory that there is, in MB.
    pub ram_mb: u64,
    /// Memory that is free for a new program, in MB.
    pub ram_free_mb: u64,
}

impl Machine {
    /// Measures. Keeps all cores busy for about half a second; not on an async thread.
    #[must_use]
    pub fn measure() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (ram_mb, ram_free_mb) = memory();
        let buffer = BUFFER_BYTES.min(usize::try_from(ram_free_mb << 20).unwrap_or(usize::MAX) / (4 * cores));
        let (kernel, vectors) = kernel();
        Self {
            hardware: format!("{}-{cores}c-{vectors}", std::env::consts::ARCH),
            cores,
            bytes_per_second: on_all(cores, || read_rate(buffer.max(1 << 20))),
            operations_per_second: on_all(cores, || arithmetic_rate(kernel)),
            ram_mb,
            ram_free_mb,
        }
    }

    /// The same machine with the memory of this moment; takes no time.
    #[must_use]
    pub fn with_memory_of_now(&self) -> Self {
        let (ram_mb, ram_free_mb) = memory();
        Self { ram_mb, ram_free_mb, ..self.clone() }
    }
}

/// The sum of what every core reaches while all of them work.
fn on_all(cores: usize, rate: impl Fn() -> f64 + Sync) -> f64 {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..cores).map(|_| scope.spawn(&rate)).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).sum()
    })
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn read_rate(bytes: usize) -> f64 {
    let buffer = vec![1_u64; bytes / 8];
    let mut best = Duration::MAX;
    for _ in 0..READ_ROUNDS {
        let began = Instant::now();
        let sum = black_box(&buffer).chunks_exact(LANES).fold([0_u64; LANES], |mut sums, chunk| {
            for (sum, value) in sums.iter_mut().zip(chunk) {
                *sum = sum.wrapping_add(*value);
            }
            sums
        });
        black_box(sum);
        best = best.min(began.elapsed());
    }
    bytes as f64 / best.as_secs_f64().max(1e-9)
}

type Kernel = fn(&[f32], &[f32], &mut [f32; LANES]);

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn arithmetic_rate(kernel: Kernel) -> f64 {
    let (a, b) = (vec![0.5_f32; NUMBERS], vec![0.25_f32; NUMBERS]);
    let mut sums = [0.0_f32; LANES];
    let mut best = 0.0_f64;
    for _ in 0..ARITHMETIC_ROUNDS {
        let began = Instant::now();
        let mut passes = 0_u64;
        while began.elapsed() < ROUND {
            for _ in 0..64 {
                kernel(black_box(&a), black_box(&b), &mut sums);
            }
            passes += 64;
        }
        let operations = passes as f64 * NUMBERS as f64 * 2.0;
        best = best.max(operations / began.elapsed().as_secs_f64());
        black_box(&sums);
    }
    best
}

/// The widest loop that this processor has, and what it is called.
fn kernel() -> (Kernel, &'static str) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // Sound: the processor was asked.
            return (|a, b, sums| unsafe { multiply_add_avx512(a, b, sums) }, "avx512");
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // Sound: the processor was asked.
            return (|a, b, sums| unsafe { multiply_add_avx2(a, b, sums) }, "avx2");
        }
    }
    (multiply_add, if cfg!(target_arch = "aarch64") { "neon" } else { "generic" })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn multiply_add_avx512(a: &[f32], b: &[f32], sums: &mut [f32; LANES]) {
    fused(a, b, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn multiply_add_avx2(a: &[f32], b: &[f32], sums: &mut [f32; LANES]) {
    fused(a, b, sums);
}

/// Compiled into its callers, for their instructions.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn fused(a: &[f32], b: &[f32], sums: &mut [f32; LANES]) {
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] = a[lane].mul_add(b[lane], sums[lane]);
        }
    }
}

/// Without fused instructions, which would be a call on processors that lack them.
fn multiply_add(a: &[f32], b: &[f32], sums: &mut [f32; LANES]) {
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
}

/// All memory and what is free, in MB, as far as this process may use it.
fn memory() -> (u64, u64) {
    let refresh = sysinfo::RefreshKind::nothing().with_memory(sysinfo::MemoryRefreshKind::nothing().with_ram());
    // A system that does not tell counts as one without memory: then nothing fits, which is said.
    let Ok(system) = sysinfo::System::new_with_specifics(refresh) else { return (0, 0) };
    let (mut total, mut free) = (system.total_memory(), system.available_memory());
    // In a container the limit of its group counts.
    if let Some(limits) = system.cgroup_limits() {
        total = total.min(limits.total_memory);
        free = free.min(limits.free_memory);
    }
    (total / 1_000_000, free / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_this_machine_are_possible() {
        let machine = Machine::measure();
        assert!(machine.cores >= 1 && machine.ram_free_mb <= machine.ram_mb && machine.ram_mb > 256, "{machine:?}");
        // From a small board to a large server, built for tests and disturbed by others.
        assert!((1e8..1e13).contains(&machine.bytes_per_second), "{machine:?}");
        assert!((1e8..1e14).contains(&machine.operations_per_second), "{machine:?}");
    }
}
