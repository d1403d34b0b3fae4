//! Deaths of the server and of the hub, impostors, and what must not leak.

use crate::support::{LIMIT, TestServer, Wire, eventually, is_running, kill, may, nats_server};
use loqa_bus::{Bus, BusError, BusServer, Permissions, RestartPolicy, ServerOptions, ServerState};
use loqa_protocol::{ErrorCode, InstanceId};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::time::timeout;

#[tokio::test]
async fn after_a_kill_the_server_is_back_on_the_same_port_and_everybody_with_it() {
    let test = TestServer::start().await;
    let url = test.server.url();
    let hub = test.join("hub", Permissions::hub()).await;
    let engine = test.join("e-1", Permissions::engine(&InstanceId::new("e-1").unwrap(), "stt.whisper")).await;
    let mut work = engine.subscribe("loqa.work.stt.whisper", Some("workers"), 8).await.unwrap();
    engine.flush().await.unwrap();
    let mut state = test.server.state();

    for round in 1..=5 {
        let mut stream = hub.open_stream("loqa.work.stt.whisper", &round).await.unwrap();
        work.next().await.unwrap();
        let (before, mut link) = (test.kill_server(), hub.connection());
        let killed = Instant::now();

        let error = stream.next(LIMIT).await.unwrap_err();
        assert!(matches!(error, BusError::Disconnected), "{error}");
        assert_eq!(error.code(), ErrorCode::BusUnavailable);
        assert!(killed.elapsed() < LIMIT / 2, "an open stream fails by the break, not by its deadline");

        let back = state.wait_for(|state| *state == ServerState::Ready && test.server.pid() != Some(before));
        timeout(LIMIT, back).await.unwrap().unwrap();
        timeout(LIMIT, link.wait_for(|link| link.connected && link.epoch >= round)).await.unwrap().unwrap();
        assert_eq!(test.server.url(), url);
        // The subscription is there again by itself.
        eventually("the engine is connected", || engine.is_connected()).await;
        timeout(LIMIT, engine.flush()).await.unwrap().unwrap();
    }
    // An identity can be added after all that.
    test.join("operator", Permissions::operator()).await.flush().await.unwrap();
}

#[tokio::test]
async fn a_request_during_a_restart_waits_for_the_connection() {
    let test = TestServer::start().await;
    let hub = test.join("hub", Permissions::hub()).await;
    let engine = test.join("e-1", may(&[], &["loqa.work.stt.whisper"])).await;
    let mut work = engine.subscribe("loqa.work.stt.whisper", None, 8).await.unwrap();
    engine.flush().await.unwrap();
    tokio::spawn(async move {
        while let Some(message) = work.next().await {
            // A request that broke with the connection cannot be answered.
            let _ = engine.respond(message.reply.as_deref().unwrap(), &"here").await;
        }
    });
    test.kill_server();
    eventually("the break is noticed", || !hub.is_connected()).await;
    let ends = Instant::now() + LIMIT;
    loop {
        match hub.request::<_, String>("loqa.work.stt.whisper", &1, LIMIT).await {
            Ok(answer) => {
                assert_eq!(answer, "here");
                break;
            }
            // The hub may be back before the engine is.
            Err(error) => assert!(error.is_transient() && Instant::now() < ends, "{error}"),
        }
    }
}

#[tokio::test]
async fn the_breaker_opens_after_too_many_deaths_and_says_why() {
    let test = TestServer::start_with(RestartPolicy { deaths: 2, window: Duration::from_secs(600) }).await;
    let mut state = test.server.state();
    let mut last = None;
    for _ in 0..3 {
        let ready = state.wait_for(|state| *state == ServerState::Ready && test.server.pid() != last);
        timeout(LIMIT, ready).await.unwrap().unwrap();
        last = test.server.pid();
        test.kill_server();
    }
    let broken = timeout(LIMIT, state.wait_for(|state| matches!(state, ServerState::Broken { .. })));
    let ServerState::Broken { reason } = broken.await.unwrap().unwrap().clone() else { unreachable!() };
    assert!(reason.contains("3 times") && reason.contains("signal: 9"), "{reason}");
    assert_eq!(test.server.pid(), None);
    let refused = test.server.add_identity("late", Permissions::operator()).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::BusUnavailable, "{refused}");
    test.server.stop().await;
    assert_eq!(*state.borrow(), ServerState::Stopped);
}

#[tokio::test]
async fn a_hung_server_is_replaced() {
    let test = TestServer::start().await;
    let before = test.server.pid().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(before).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let mut state = test.server.state();
    let back =
        state.wait_for(|state| *state == ServerState::Ready && test.server.pid().is_some_and(|pid| pid != before));
    timeout(LIMIT, back).await.unwrap().unwrap();
    assert!(!is_running(before));
}

#[tokio::test]
async fn an_impostor_on_the_port_is_never_taken_for_the_server() {
    // The impostor is faster than the restart, answers like NATS and lets everybody in.
    // On a loaded machine the restart may win; then there is no impostor, and another try.
    let mut tries = 0;
    let (test, impostor) = loop {
        let test = TestServer::start_with(RestartPolicy { deaths: 1, window: Duration::from_secs(600) }).await;
        let address = test.server.url().strip_prefix("nats://").unwrap().to_owned();
        test.kill_server();
        let end = Instant::now() + Duration::from_secs(1);
        let impostor = loop {
            match TcpListener::bind(&address) {
                Ok(listener) => break Some(listener),
                Err(_) if Instant::now() > end => break None,
                Err(_) => std::hint::spin_loop(),
            }
        };
        if let Some(impostor) = impostor {
            break (test, impostor);
        }
        tries += 1;
        assert!(tries < 20, "the restart is always faster");
    };
    std::thread::spawn(move || {
        for stream in impostor.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(b"INFO {\"server_name\":\"loqa-local\",\"nonce\":\"x\",\"headers\":true}\r\n");
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            std::thread::spawn(move || {
                let mut line = String::new();
                while lines.read_line(&mut line).is_ok_and(|n| n > 0) {
                    if line.starts_with("PING") {
                        let _ = stream.write_all(b"PONG\r\n");
                    }
                    line.clear();
                }
            });
        }
    });
    let mut state = test.server.state();
    let broken = timeout(LIMIT, state.wait_for(|state| matches!(state, ServerState::Broken { .. })));
    let ServerState::Broken { reason } = broken.await.unwrap().unwrap().clone() else { unreachable!() };
    assert!(reason.contains("address already in use"), "{reason}");
}

#[tokio::test]
async fn a_start_that_cannot_work_fails_at_once_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let start =
        |binary: std::path::PathBuf, run_dir: std::path::PathBuf| BusServer::start(ServerOptions { binary, run_dir });
    let run = dir.path().join("run");
    let missing = start(dir.path().join("none"), run.clone()).await.err().unwrap();
    assert!(missing.to_string().contains("npm run setup"), "{missing}");

    let not_a_program = dir.path().join("text");
    std::fs::write(&not_a_program, "hello").unwrap();
    let error = start(not_a_program, run.clone()).await.err().unwrap();
    assert!(error.to_string().contains("text"), "{error}");

    let other_program = std::path::PathBuf::from("/bin/false");
    let error = start(other_program, run.clone()).await.err().unwrap();
    assert!(error.to_string().contains("ended with exit status: 1"), "{error}");

    std::fs::write(dir.path().join("file"), "").unwrap();
    let error = start(nats_server(), dir.path().join("file")).await.err().unwrap();
    assert_eq!(error.code(), ErrorCode::StorageFault, "{error}");
}

#[tokio::test]
async fn stop_ends_the_process_and_tidies_up() {
    let test = TestServer::start().await;
    let (pid, run_dir) = (test.server.pid().unwrap(), test.dir.path().join("run"));
    let bus = test.join("operator", Permissions::operator()).await;
    test.server.stop().await;
    assert!(!is_running(pid));
    assert_eq!(std::fs::read_dir(run_dir).unwrap().count(), 0, "nothing is left behind");
    eventually("the client notices", || !bus.is_connected()).await;
    assert!(matches!(bus.publish("loqa.hub.ask", &1).await, Err(BusError::Disconnected)));
}

#[tokio::test]
async fn dropping_the_server_ends_the_process() {
    let test = TestServer::start().await;
    let pid = test.server.pid().unwrap();
    drop(test);
    eventually("the process is gone", || !is_running(pid)).await;
}

#[tokio::test]
async fn nothing_outlives_a_hub_that_was_killed() {
    let mut children = Vec::new();
    for _ in 0..10 {
        let mut hub = Command::new(env!("CARGO_BIN_EXE_loqa-bus-holder"))
            .arg(nats_server())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(hub.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let server: u32 = line.trim().parse().unwrap();
        assert!(is_running(server));
        kill(hub.id());
        hub.wait().unwrap();
        children.push(server);
    }
    for server in children {
        eventually("the orphan is gone", || !is_running(server)).await;
    }
}

#[tokio::test]
async fn nothing_outlives_a_hub_that_was_killed_while_it_started_its_server() {
    for delay_us in (0..20_000).step_by(1_000) {
        let dir = tempfile::tempdir().unwrap();
        let mut hub = Command::new(env!("CARGO_BIN_EXE_loqa-bus-holder"))
            .arg(nats_server())
            .arg(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(delay_us));
        kill(hub.id());
        hub.wait().unwrap();
        let config = dir.path().join("nats.conf").display().to_string();
        eventually("no server with this configuration runs", || !runs_with_argument(&config)).await;
    }
}

#[tokio::test]
async fn idle_runtime_threads_do_not_take_the_server_with_them() {
    // Started from a runtime that ends: the death signal must not hang on its threads.
    let (server, dir) = std::thread::spawn(|| {
        let dir = tempfile::tempdir().unwrap();
        let options = ServerOptions { binary: nats_server(), run_dir: dir.path().to_owned() };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        (runtime.block_on(BusServer::start(options)).unwrap(), dir)
    })
    .join()
    .unwrap();
    let pid = server.pid().unwrap();
    let credentials = server.add_identity("operator", Permissions::operator()).await.unwrap();
    assert!(Wire::login(&credentials).is_some());
    assert_eq!(server.pid(), Some(pid), "the same process lives on");
    server.stop().await;
    drop(dir);
}

#[tokio::test]
async fn the_seed_is_in_no_argument_environment_file_or_log() {
    let test = TestServer::start().await;
    let credentials = test.server.add_identity("operator", Permissions::operator()).await.unwrap();
    let _bus = Bus::connect(&credentials).await.unwrap();
    let secret = credentials.seed.as_bytes();
    let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    for pid in [test.server.pid().unwrap(), std::process::id()] {
        for file in ["cmdline", "environ"] {
            assert!(!holds(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap()), "{file} of {pid}");
        }
    }
    for entry in std::fs::read_dir(test.dir.path().join("run")).unwrap() {
        use std::os::unix::fs::PermissionsExt as _;
        let entry = entry.unwrap();
        assert!(!holds(&std::fs::read(entry.path()).unwrap()), "{}", entry.path().display());
        if entry.file_name() == "nats.conf" {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
    assert!(!format!("{credentials:?}").contains(&credentials.seed));
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    let test = TestServer::start().await;
    let port: u16 = test.server.url().rsplit(':').next().unwrap().parse().unwrap();
    let listening = |table: &str| {
        std::fs::read_to_string(table)
            .unwrap_or_default()
            .lines()
            .filter(|line| line.split_whitespace().nth(3) == Some("0A"))
            .filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
            .filter(|local| local.ends_with(&format!(":{port:04X}")))
            .collect::<Vec<_>>()
    };
    assert_eq!(listening("/proc/net/tcp"), [format!("0100007F:{port:04X}")]);
    assert_eq!(listening("/proc/net/tcp6"), Vec::<String>::new());
}

fn runs_with_argument(argument: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        std::fs::read(entry.path().join("cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).any(|part| part == argument.as_bytes()))
    })
}
