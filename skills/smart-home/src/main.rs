//! The smart-home bridge, a native skill: Home Assistant over its WebSocket API, and
//! MQTT devices. The hub starts it, gives it one line on standard input, and calls its
//! tools over the bus.
//!
//! Deliberately absent: permissions. What may be done to which device is asked of the
//! hub before it is done, each time; the token for Home Assistant comes from the hub too.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test"))]

mod act;
mod bridge;
mod home;
mod home_assistant;
mod hub;
mod mqtt;
mod names;
mod orders;
mod say;
mod settings;
mod tools;

use loqa_protocol::PROTOCOL_VERSION;
use loqa_protocol::skill::SkillBoot;
use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

/// Longest boot line in bytes.
const MAX_BOOT: u64 = 256 * 1024;

/// Exit codes: 0 the hub is gone or it was told to stop; 2 no usable boot line; 4 the
/// bus cannot be reached.
fn main() -> ExitCode {
    let boot = match read_boot() {
        Ok(boot) => boot,
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "smart-home: {reason}");
            return ExitCode::from(2);
        }
    };
    let mut options = loqa_telemetry::Options::from_env();
    options.filter = Some("info,async_nats=warn".to_owned());
    let _telemetry = loqa_telemetry::init("smart-home", &options).ok();
    // For addresses with `wss`; whoever was first has made the same choice.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let exit = runtime.block_on(bridge::live(boot));
            runtime.shutdown_background();
            exit
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "smart-home: no runtime: {error}");
            ExitCode::from(4)
        }
    }
}

fn read_boot() -> Result<SkillBoot, String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err("this program is started by the hub; set `home.enabled` and run `loqa serve`".to_owned());
    }
    let mut line = Vec::new();
    stdin
        .lock()
        .take(MAX_BOOT)
        .read_until(b'\n', &mut line)
        .map_err(|error| format!("cannot read the boot line: {error}"))?;
    // The line holds secrets, so neither it nor serde's excerpt of it is shown.
    let boot: SkillBoot = serde_json::from_slice(&line).map_err(|error| {
        format!("the boot line is not what this version understands: {:?}", error.classify()).to_lowercase()
    })?;
    if boot.protocol != PROTOCOL_VERSION {
        return Err(format!("the hub speaks protocol {}, this skill {PROTOCOL_VERSION}", boot.protocol));
    }
    Ok(boot)
}
