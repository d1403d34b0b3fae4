//! The hardware class that every latency figure is published with. It names what
//! decides the speed of a local model on a CPU, and nothing that identifies a machine.

/// Architecture, usable cores and widest vector instructions, for example
/// `x86_64-2c-avx512` or `aarch64-8c-neon`.
#[must_use]
pub fn hardware_class() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{}-{cores}c-{}", std::env::consts::ARCH, vectors())
}

#[cfg(target_arch = "x86_64")]
fn vectors() -> &'static str {
    if is_x86_feature_detected!("avx512f") {
        "avx512"
    } else if is_x86_feature_detected!("avx2") {
        "avx2"
    } else if is_x86_feature_detected!("avx") {
        "avx"
    } else {
        "sse"
    }
}

#[cfg(target_arch = "aarch64")]
fn vectors() -> &'static str {
    if std::arch::is_aarch64_feature_detected!("sve") { "sve" } else { "neon" }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn vectors() -> &'static str {
    "generic"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_has_three_parts() {
        let class = hardware_class();
        let parts: Vec<&str> = class.split('-').collect();
        assert_eq!(parts.len(), 3, "{class}");
        assert_eq!(parts[0], std::env::consts::ARCH);
        let cores: usize = parts[1].strip_suffix('c').and_then(|n| n.parse().ok()).expect("a number of cores");
        assert!(cores >= 1);
    }
}
