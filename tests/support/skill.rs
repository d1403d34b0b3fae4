//! A native skill for tests: it does what it is told, also what it must not be able to.
//! Each attempt says whether the system let it.

use loqa_bus::{Bus, BusError, Credentials};
use loqa_protocol::skill::{HostAnswer, HostCall, SkillAnswer, SkillBoot, SkillCall};
use loqa_protocol::{ToolOutcome, subject};
use serde_json::{Map, Value, json};
use std::io::{BufRead as _, Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line).is_err() {
        return ExitCode::from(2);
    }
    let Ok(boot) = serde_json::from_str::<SkillBoot>(&line) else { return ExitCode::from(2) };
    if boot.settings.get("dies_at_once").is_some() {
        let _ = writeln!(std::io::stderr(), "I was told to die");
        return ExitCode::from(9);
    }
    // A hostile program does not watch its standard input.
    if boot.settings.get("outlives").is_none() {
        std::thread::spawn(|| {
            let mut rest = Vec::new();
            let _ = std::io::stdin().lock().read_to_end(&mut rest);
            std::process::exit(0);
        });
    }
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() else {
        return ExitCode::from(4);
    };
    match runtime.block_on(serve(boot)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::from(4)
        }
    }
}

async fn serve(boot: SkillBoot) -> Result<(), BusError> {
    let credentials = Credentials { url: boot.url.clone(), identity: boot.identity.clone(), seed: boot.seed.clone() };
    let mut attempt = 0;
    let bus = loop {
        match Bus::connect(&credentials).await {
            Ok(bus) => break bus,
            Err(error) if attempt > 50 => return Err(error),
            Err(_) => attempt += 1,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let mut calls = bus.subscribe(&subject::skill_call(&boot.skill), None, 32).await?;
    while let Some(message) = calls.next().await {
        let Ok(SkillCall::Tool { call, tool: _, arguments, .. }) = message.json::<SkillCall>() else { continue };
        let (bus, skill) = (bus.clone(), boot.skill.clone());
        tokio::spawn(async move {
            let text = |key: &str| arguments.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (what, target) = (text("what"), text("target"));
            let data = match what.as_str() {
                "host" => {
                    let mut arguments: Map<String, Value> = serde_json::from_str(&target).unwrap_or_default();
                    let function = arguments.remove("function").and_then(|it| it.as_str().map(str::to_owned));
                    let host_call = HostCall {
                        call: Some(call),
                        function: function.unwrap_or_default(),
                        arguments: Value::Object(arguments),
                    };
                    let to = subject::skill_host(&skill);
                    match bus.request::<_, HostAnswer>(&to, &host_call, Duration::from_secs(60)).await {
                        Ok(answer) => json!(answer),
                        Err(error) => json!({ "bus": error.to_string() }),
                    }
                }
                "stall" => std::future::pending().await,
                _ => match tokio::task::spawn_blocking(move || attempt_to(&what, &target)).await {
                    Ok(Ok(())) => json!("done"),
                    Ok(Err(error)) => json!(format!("{:?}", error.raw_os_error().unwrap_or_default())),
                    Err(_) => json!("broke"),
                },
            };
            let answer = SkillAnswer::Done { outcome: ToolOutcome { say: String::new(), data } };
            if let Some(reply) = &message.reply {
                let _ = bus.respond(reply, &answer).await;
            }
        });
    }
    Ok(())
}

/// Tries one thing; the error is what the system said.
fn attempt_to(what: &str, target: &str) -> std::io::Result<()> {
    match what {
        "pid" => Ok(()),
        "read" => std::fs::read(target).map(|_| ()),
        "list" => std::fs::read_dir(target).map(|_| ()),
        "write" => std::fs::write(target, "x"),
        "connect" => std::net::TcpStream::connect(target).map(|_| ()),
        "listen" => std::net::TcpListener::bind(target).map(|_| ()),
        "udp" => std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"x", target)).map(|_| ()),
        "unix" => std::os::unix::net::UnixStream::connect(target).map(|_| ()),
        "run" => std::process::Command::new(target).output().map(|_| ()),
        "kill" => {
            let pid = target.parse::<i32>().ok().and_then(rustix::process::Pid::from_raw);
            let pid = pid.ok_or(std::io::ErrorKind::InvalidInput)?;
            Ok(rustix::process::kill_process(pid, rustix::process::Signal::TERM)?)
        }
        // Would let it outlive the hub.
        "undying" => Ok(rustix::process::set_parent_process_death_signal(None)?),
        _ => Err(std::io::ErrorKind::Unsupported.into()),
    }
}
