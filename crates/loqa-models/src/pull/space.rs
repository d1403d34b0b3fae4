//! Room on the disk that holds a folder.

use std::io;
use std::path::Path;

/// Bytes that a program of this user may still write to the disk of `folder`.
///
/// sysinfo leaves memory file systems out of its list, so Unix is asked directly.
#[cfg(unix)]
pub(super) fn free(folder: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
pub(super) fn free(folder: &Path) -> io::Result<u64> {
    let folder = folder.canonicalize()?;
    let disks = sysinfo::Disks::new_with_refreshed_list();
    let holds = |disk: &&sysinfo::Disk| folder.starts_with(disk.mount_point());
    let disk = disks.iter().filter(holds).max_by_key(|disk| disk.mount_point().as_os_str().len());
    disk.map(sysinfo::Disk::available_space).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}
