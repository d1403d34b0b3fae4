//! Measures recovery: kills nats-server again and again and prints how long it takes
//! from the kill until a request is answered again. The number of kills is the only
//! argument, 30 by default.
//!
//! ```console
//! $ cargo run -p loqa-bus --example recovery -- 30
//! ```

use anyhow::Context as _;
use loqa_bus::{Bus, BusServer, Permissions, RestartPolicy, ServerOptions};
use loqa_protocol::InstanceId;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(5);
/// Longer than what counts as a steady server, so that each kill is a first death.
const BETWEEN_KILLS: Duration = Duration::from_millis(1_100);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let kills = match std::env::args().nth(1) {
        Some(kills) => kills.parse().with_context(|| format!("read the number of kills: `{kills}`"))?,
        None => 30,
    };
    let tools = std::env::var_os("LOQA_TOOLS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools"), PathBuf::from);
    let binary = tools.join("nats").join(format!("nats-server{}", std::env::consts::EXE_SUFFIX));
    let dir = tempfile::tempdir().context("make a run folder")?;
    let options = ServerOptions { binary, run_dir: dir.path().to_owned() };
    let policy = RestartPolicy { deaths: usize::MAX, ..RestartPolicy::default() };
    let server = BusServer::start_with(options, policy).await?;
    let hub = Bus::connect(&server.add_identity("hub", Permissions::hub()).await?).await?;
    let instance = InstanceId::from_bits(1);
    let identity = server.add_identity(instance.as_str(), Permissions::engine(&instance, "stt.echo")).await?;
    let engine = Bus::connect(&identity).await?;
    let mut work = engine.subscribe("loqa.work.stt.echo", Some("workers"), 64).await?;
    engine.flush().await?;
    tokio::spawn(async move {
        while let Some(message) = work.next().await {
            if let Some(reply) = message.reply {
                // What cannot be answered was asked before the kill.
                let _ = engine.publish_bytes(&reply, &[], message.payload).await;
            }
        }
    });

    let mut times = Vec::new();
    for _ in 0..kills {
        tokio::time::sleep(BETWEEN_KILLS).await;
        let killed = Instant::now();
        kill(server.pid().context("the server runs")?)?;
        while hub.request::<_, u32>("loqa.work.stt.echo", &7, LIMIT).await.is_err() {
            anyhow::ensure!(killed.elapsed() < Duration::from_secs(30), "the bus does not come back");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(killed.elapsed());
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    writeln!(
        std::io::stdout(),
        "{} kills, until a request is answered again: p50 {:.1} ms, p95 {:.1} ms, max {:.1} ms",
        times.len(),
        at(0.5),
        at(0.95),
        at(1.0)
    )?;
    server.stop().await;
    Ok(())
}

#[cfg(unix)]
fn kill(pid: u32) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).context("a process id")?;
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::KILL)?)
}

#[cfg(not(unix))]
fn kill(_pid: u32) -> anyhow::Result<()> {
    anyhow::bail!("killing the server is only written for Unix")
}
