//! Windows: a job object that the system closes, and with it the server, when the
//! hub's handles go. There is no hang-up signal for a plain process, so a changed
//! configuration means a restart.

use process_wrap::tokio::{ChildWrapper, CommandWrap, JobObject, KillOnDrop};
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use tokio::process::ChildStderr;

pub(super) type Child = Box<dyn ChildWrapper>;

pub(super) fn spawn(binary: &Path, config: &Path) -> io::Result<(Child, u32, ChildStderr)> {
    let mut command = CommandWrap::with_new(binary, |command| {
        command.arg("-c").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    });
    command.wrap(KillOnDrop).wrap(JobObject);
    let mut child = command.spawn()?;
    let pid = child.id();
    match (pid, child.stderr().take()) {
        (Some(pid), Some(stderr)) => Ok((child, pid, stderr)),
        _ => Err(io::Error::other("the process has no id or no standard error")),
    }
}

pub(super) async fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    child.wait().await
}

pub(super) fn reload(_child: &Child, _pid: u32) -> io::Result<bool> {
    Ok(false)
}

pub(super) fn terminate(child: &mut Child, pid: u32) {
    kill(child, pid);
}

pub(super) fn kill(child: &mut Child, _pid: u32) {
    let _ = child.start_kill();
}
