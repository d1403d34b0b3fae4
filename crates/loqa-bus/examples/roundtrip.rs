//! Measures the bus: how long a request takes to a responder in another connection
//! and back, and how long each frame of a stream. Prints p50 and p99.
//!
//! ```console
//! $ cargo run -p loqa-bus --example roundtrip
//! ```

use anyhow::Context as _;
use bytes::Bytes;
use loqa_bus::{Bus, BusServer, Permissions, ServerOptions};
use loqa_protocol::InstanceId;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const WARM_UP: usize = 500;
const ROUNDS: usize = 5_000;
const LIMIT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tools = std::env::var_os("LOQA_TOOLS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools"), PathBuf::from);
    let binary = tools.join("nats").join(format!("nats-server{}", std::env::consts::EXE_SUFFIX));
    let dir = tempfile::tempdir().context("make a run folder")?;
    let began = Instant::now();
    let server = BusServer::start(ServerOptions { binary, run_dir: dir.path().to_owned() }).await?;
    say(&format!("server ready after {:.1} ms", ms(began.elapsed())))?;

    let hub = Bus::connect(&server.add_identity("hub", Permissions::hub()).await?).await?;
    let instance = InstanceId::from_bits(1);
    let began = Instant::now();
    let identity = server.add_identity(instance.as_str(), Permissions::engine(&instance, "stt.echo")).await?;
    say(&format!("identity added in {:.1} ms", ms(began.elapsed())))?;
    let engine = Bus::connect(&identity).await?;
    let mut work = engine.subscribe("loqa.work.stt.echo", Some("workers"), 64).await?;
    engine.flush().await?;
    tokio::spawn(async move {
        while let Some(message) = work.next().await {
            let Some(reply) = message.reply else { continue };
            if engine.publish_bytes(&reply, &[], message.payload).await.is_err() {
                break;
            }
        }
    });

    for (what, payload) in [("request, 64 bytes", 64), ("request, 640 bytes (20 ms of audio)", 640)] {
        let payload = Bytes::from(vec![b'x'; payload]);
        let mut times = Vec::with_capacity(ROUNDS);
        for round in 0..WARM_UP + ROUNDS {
            let began = Instant::now();
            hub.request_bytes("loqa.work.stt.echo", &[], payload.clone(), LIMIT).await?;
            if round >= WARM_UP {
                times.push(began.elapsed());
            }
        }
        report(what, &mut times)?;
    }
    let mut times = Vec::with_capacity(ROUNDS);
    for round in 0..WARM_UP + ROUNDS {
        let began = Instant::now();
        let mut stream = hub.open_stream("loqa.work.stt.echo", &"x").await?;
        stream.next(LIMIT).await?;
        if round >= WARM_UP {
            times.push(began.elapsed());
        }
    }
    report("opened stream to first reply", &mut times)?;
    server.stop().await;
    Ok(())
}

fn report(what: &str, times: &mut [Duration]) -> anyhow::Result<()> {
    times.sort_unstable();
    let at = |share: f64| ms(times[((times.len() - 1) as f64 * share) as usize]);
    say(&format!("{what}: p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms", at(0.5), at(0.99), at(1.0)))
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("print")
}
