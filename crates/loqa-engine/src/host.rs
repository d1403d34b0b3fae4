//! What an engine tells about the machine and its own process.

/// Name of the machine.
pub(crate) fn node() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_default();
    if name.is_empty() { "local".to_owned() } else { name }
}

/// Resident memory of this process in bytes; 0 where the platform does not tell.
pub(crate) fn rss_bytes() -> u64 {
    std::fs::read_to_string("/proc/self/status").map_or(0, |status| rss_of(&status))
}

fn rss_of(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kilobytes| kilobytes.trim().parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_status_file() {
        assert_eq!(rss_of("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t3\n"), 2048 * 1024);
        assert_eq!(rss_of("Name:\tx\n"), 0);
    }
}
