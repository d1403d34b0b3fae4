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
    /// Its standard input is the pipe; nothing is ever written to it. Killed when the
    /// server has been reaped, since the number may belong to somebody else then.
    watchdog: tokio::process::Child,
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
    Ok((Child { server, watchdog }, pid, stderr))
}

pub(super) async fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    let status = child.server.wait().await;
    let _ = child.watchdog.start_kill();
    status
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::time::Duration;
    use tokio::time::timeout;

    /// The program is given `-c` and one argument, which a shell takes for a script.
    fn sleeper() -> Child {
        spawn(Path::new("/bin/sh"), Path::new("exec sleep 600")).unwrap().0
    }

    async fn ended_by(child: &mut Child) -> Option<i32> {
        timeout(Duration::from_secs(20), wait(child)).await.unwrap().unwrap().signal()
    }

    #[tokio::test]
    async fn the_server_dies_when_the_pipe_to_the_hub_closes() {
        let mut child = sleeper();
        drop(child.watchdog.stdin.take());
        assert_eq!(ended_by(&mut child).await, Some(9));
    }

    #[tokio::test]
    async fn the_watchdog_ends_with_the_server() {
        let mut child = sleeper();
        kill(&mut child, 0);
        assert_eq!(ended_by(&mut child).await, Some(9));
        let ended = timeout(Duration::from_secs(20), child.watchdog.wait()).await.unwrap();
        assert_eq!(ended.unwrap().signal(), Some(9));
    }

    #[tokio::test]
    async fn signals_reach_the_server() {
        let mut child = sleeper();
        let pid = child.server.id().unwrap();
        assert!(reload(&child, pid).unwrap());
        assert_eq!(ended_by(&mut child).await, Some(1), "a sleep ends at a hang-up");
        let mut child = sleeper();
        let pid = child.server.id().unwrap();
        terminate(&mut child, pid);
        assert_eq!(ended_by(&mut child).await, Some(15));
    }
}
