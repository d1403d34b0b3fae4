//! Linux: the program is a sealed file in memory, so that what was hashed is what runs.
//! Between fork and exec the child restricts itself with Landlock and seccomp and then
//! executes that file, and only that file, by its descriptor.
//!
//! Everything that allocates is done before the fork. The child makes system calls only.

use super::{Cell, Holds};
use filter::Filters;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, Scope,
};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::process::Signal;
use std::ffi::{CString, c_char, c_int, c_long, c_uint};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[path = "filter.rs"]
mod filter;

#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const EXECVEAT: super::c_long = 322;
    pub(super) const SECCOMP: super::c_long = 317;
    pub(super) const PRCTL: super::c_long = 157;
}
#[cfg(not(target_arch = "x86_64"))]
mod number {
    pub(super) const EXECVEAT: super::c_long = 281;
    pub(super) const SECCOMP: super::c_long = 277;
    pub(super) const PRCTL: super::c_long = 167;
}
/// The same on every architecture, as for all calls since 2019.
const CLOSE_RANGE: c_long = 436;
const LANDLOCK_CREATE_RULESET: c_long = 444;
const LANDLOCK_RESTRICT_SELF: c_long = 446;

const AT_EMPTY_PATH: c_int = 0x1000;
const CLOSE_RANGE_CLOEXEC: c_uint = 4;
const PR_SET_NO_NEW_PRIVS: c_int = 38;
const SECCOMP_GET_ACTION_AVAIL: c_uint = 2;
const SECCOMP_RET_ERRNO: u32 = 0x0005_0000;

/// What the loader of a program reads, and what TLS needs to know whom to trust.
const READABLE: &[&str] = &[
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/etc/ld.so.cache",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/dev/urandom",
];
/// The programs that load other programs' libraries: the only ones that may be executed.
const LOADERS: &[&str] = &[
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
];

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// A program in memory that nobody can change.
pub(in super::super) struct Image {
    path: PathBuf,
    file: OwnedFd,
}

impl Image {
    pub(in super::super) fn new(path: &Path, bytes: &[u8]) -> io::Result<Self> {
        let plain = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Kernels before 6.3 do not know EXEC, and allow it without being told.
        let file = rustix::fs::memfd_create("loqa-skill", plain | MemfdFlags::EXEC)
            .or_else(|_| rustix::fs::memfd_create("loqa-skill", plain))?;
        let mut file = std::fs::File::from(file);
        file.write_all(bytes)?;
        let file = OwnedFd::from(file);
        seal(&file)?;
        Ok(Self { path: std::path::absolute(path)?, file })
    }

    pub(in super::super) fn path(&self) -> &Path {
        &self.path
    }
}

/// From here on nobody can change the bytes. The kernel says "busy" while another core
/// still holds pages that were just written; it lets go of them by itself.
fn seal(file: &OwnedFd) -> io::Result<()> {
    /// Chosen: the kernel itself waits some 150 ms within each try.
    const TRIES: u32 = 20;
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    let mut tries = 0;
    loop {
        tries += 1;
        match rustix::fs::fcntl_add_seals(file, seals) {
            Err(rustix::io::Errno::BUSY) if tries < TRIES => std::thread::sleep(Duration::from_millis(20)),
            result => return Ok(result?),
        }
    }
}

pub(super) fn what_holds() -> Holds {
    // SAFETY: with these arguments the call reads nothing and returns a version.
    let abi = unsafe { syscall(LANDLOCK_CREATE_RULESET, std::ptr::null::<u8>(), 0_usize, 1_u32) };
    let action = SECCOMP_RET_ERRNO;
    // SAFETY: the call reads the four bytes of `action`, which outlives it.
    let seccomp = unsafe { syscall(number::SECCOMP, SECCOMP_GET_ACTION_AVAIL, 0_u32, &raw const action) };
    Holds {
        files: abi >= 1,
        // TCP ports came with the fourth version.
        network: abi >= 4,
        system_calls: seccomp == 0 && Filters::is_known_architecture(),
    }
}

pub(super) fn confine(command: &mut tokio::process::Command, image: &Image, cell: Option<&Cell>) -> io::Result<()> {
    let entry = Entry::prepare(image, cell)?;
    // SAFETY: `Entry::enter` makes system calls only; it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || entry.enter());
    }
    Ok(())
}

/// Everything that the child needs between fork and exec.
struct Entry {
    hub: rustix::process::Pid,
    image: OwnedFd,
    ruleset: Option<OwnedFd>,
    filters: Option<Filters>,
    /// Holds what `arguments` points to.
    _name: CString,
    arguments: [*const c_char; 2],
    environment: [*const c_char; 1],
}

// SAFETY: the pointers lead to the heap memory of `_name`, which moves with the value
// and is never changed.
unsafe impl Send for Entry {}
// SAFETY: nothing in it changes after it was made.
unsafe impl Sync for Entry {}

impl Entry {
    fn prepare(image: &Image, cell: Option<&Cell>) -> io::Result<Self> {
        let name = CString::new(image.path.file_name().unwrap_or_default().as_bytes())?;
        let image = image.file.try_clone()?;
        let ruleset = match cell {
            Some(cell) => ruleset(cell).map_err(|error| io::Error::other(format!("landlock: {error}")))?,
            None => None,
        };
        let filters = match cell {
            Some(_) => {
                Filters::new(image.as_raw_fd()).map_err(|error| io::Error::other(format!("seccomp: {error}")))?
            }
            None => None,
        };
        let arguments = [name.as_ptr(), std::ptr::null()];
        Ok(Self {
            hub: rustix::process::getpid(),
            image,
            ruleset,
            filters,
            _name: name,
            arguments,
            environment: [std::ptr::null()],
        })
    }

    /// In the child, before the program. Returns only when it failed.
    fn enter(&self) -> io::Result<()> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The hub may have died before the signal was armed; then nobody sends it.
        if rustix::process::getppid() != Some(self.hub) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // SAFETY: marks descriptors and touches no memory. What the hub left open for
        // its children by mistake must not reach this one. Old kernels lack the call.
        unsafe { syscall(CLOSE_RANGE, 3 as c_uint, c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
        // SAFETY: sets a flag of this process.
        check(unsafe { syscall(number::PRCTL, PR_SET_NO_NEW_PRIVS, 1_usize, 0_usize, 0_usize, 0_usize) })?;
        if let Some(ruleset) = &self.ruleset {
            // SAFETY: the descriptor is open; the call touches no memory.
            check(unsafe { syscall(LANDLOCK_RESTRICT_SELF, ruleset.as_raw_fd(), 0_u32) })?;
        }
        if let Some(filters) = &self.filters {
            filters.apply()?;
        }
        // SAFETY: the path is a constant; both lists end with a null and live as long as `self`.
        check(unsafe {
            syscall(
                number::EXECVEAT,
                self.image.as_raw_fd(),
                c"".as_ptr(),
                self.arguments.as_ptr(),
                self.environment.as_ptr(),
                AT_EMPTY_PATH,
            )
        })
    }
}

fn check(result: c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// As strict as this kernel can be; `None` where it knows no Landlock.
fn ruleset(cell: &Cell) -> Result<Option<OwnedFd>, landlock::RulesetError> {
    let abi = ABI::V7;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?;
    let mut rules: Vec<(PathBuf, _)> = READABLE.iter().map(|path| (PathBuf::from(path), read)).collect();
    rules.extend(LOADERS.iter().map(|path| (PathBuf::from(path), read | AccessFs::Execute)));
    rules.push((PathBuf::from("/dev/null"), read | AccessFs::WriteFile));
    rules.push((cell.program_dir.clone(), read));
    rules.push((
        cell.data_dir.clone(),
        read | AccessFs::WriteFile
            | AccessFs::Truncate
            | AccessFs::MakeReg
            | AccessFs::MakeDir
            | AccessFs::RemoveFile
            | AccessFs::RemoveDir
            | AccessFs::Refer,
    ));
    for (path, access) in rules {
        // What is not there cannot be read either.
        let Ok(fd) = PathFd::new(&path) else { continue };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(abi) };
        ruleset = ruleset.add_rule(PathBeneath::new(fd, access))?;
    }
    for port in &cell.connect_to {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    Ok(ruleset.into())
}
