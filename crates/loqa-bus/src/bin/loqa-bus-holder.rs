//! For the tests: a hub that does nothing but hold a bus server, prints the server's
//! process id, and waits to be killed. Arguments: the nats-server program, and a
//! run folder or none.

use loqa_bus::{BusServer, ServerOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let Some(binary) = arguments.next() else { return ExitCode::from(2) };
    let (run_dir, _temporary) = match arguments.next() {
        Some(run_dir) => (run_dir, None),
        None => match tempfile::tempdir() {
            Ok(dir) => (dir.path().to_owned(), Some(dir)),
            Err(_) => return ExitCode::from(2),
        },
    };
    let Ok(server) = BusServer::start(ServerOptions { binary, run_dir }).await else {
        return ExitCode::from(1);
    };
    let line = format!("{}\n", server.pid().unwrap_or_default());
    if std::io::stdout().write_all(line.as_bytes()).is_err() {
        return ExitCode::from(1);
    }
    std::future::pending().await
}
