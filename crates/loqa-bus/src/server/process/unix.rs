//! Unix without death signals (macOS, BSD): a shell beside the server holds one end
//! of a pipe to the hub and kills the server when the pipe closes, which happens
//! however the hub dies.

use rustix::process::{Pid, Signal};
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use tokio::process::ChildStderr;

pub(super) struct Child {
    server: tokio::process::Child,
    /// Killed on drop, before it can act on the closing pipe. Its standard input is
    /// the pipe; nothing is ever written to it.
    _watchdog: tokio::process::Child,
}

pub(super) fn spawn(binary: &Path, config: &Path) -> io::Result<(Child, u32, ChildStderr)> {
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
    let mut server = command.spawn()?;
    let (Some(pid), Some(stderr)) = (server.id(), server.stderr.take()) else {
        return Err(io::Error::other("the process has no id or no standard error"));
    };
    let watchdog = tokio::process::Command::new("/bin/sh")
        .args(["-c", r#"read -r _; kill -9 "-$1""#, "loqa-bus-watchdog"])
        .arg(pid.to_string())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    Ok((Child { server, _watchdog: watchdog }, pid, stderr))
}

pub(super) async fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    child.server.wait().await
}

pub(super) fn reload(child: &Child, pid: u32) -> io::Result<bool> {
    if child.server.id().is_some() {
        signal(pid, Signal::HUP)?;
    }
    Ok(true)
}

pub(super) fn terminate(child: &mut Child, pid: u32) {
    // `id` is `None` once the process was reaped: its number may be somebody else's.
    if child.server.id().is_some() {
        let _ = signal(pid, Signal::TERM);
    }
}

pub(super) fn kill(child: &mut Child, _pid: u32) {
    let _ = child.server.start_kill();
}

fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::kill_process(pid, signal)?)
}
