//! Linux: the kernel kills the server when the thread that started it ends, which
//! a `kill -9` of the hub cannot prevent.

use rustix::process::{Pid, Signal};
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use tokio::process::ChildStderr;

pub(super) type Child = tokio::process::Child;

pub(super) fn spawn(binary: &Path, config: &Path) -> io::Result<(Child, u32, ChildStderr)> {
    let hub = rustix::process::getpid();
    let mut command = tokio::process::Command::new(binary);
    command
        .arg("-c")
        .arg(config)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    // SAFETY: the closure runs between fork and exec and makes two system calls
    // only; it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The hub may have died before the signal was armed; then nobody sends it.
            if rustix::process::getppid() == Some(hub) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        });
    }
    let mut child = command.spawn()?;
    match (child.id(), child.stderr.take()) {
        (Some(pid), Some(stderr)) => Ok((child, pid, stderr)),
        _ => Err(io::Error::other("the process has no id or no standard error")),
    }
}

pub(super) async fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    child.wait().await
}

pub(super) fn reload(child: &Child, pid: u32) -> io::Result<bool> {
    if child.id().is_some() {
        signal(pid, Signal::HUP)?;
    }
    Ok(true)
}

pub(super) fn terminate(child: &mut Child, pid: u32) {
    // `id` is `None` once the process was reaped: its number may be somebody else's.
    if child.id().is_some() {
        let _ = signal(pid, Signal::TERM);
    }
}

pub(super) fn kill(child: &mut Child, _pid: u32) {
    let _ = child.start_kill();
}

fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::kill_process(pid, signal)?)
}
