//! `loqa serve` with its API: where it is told, what it listens on, that the token stays in its file.

use loqa_tests::{PATIENCE, last_json, loqa, loqa_command, wait_gone};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::time::Instant;

struct Serving {
    child: Child,
    ready: Value,
    out: BufReader<std::process::ChildStdout>,
    /// Reads what it logs, so that a full pipe does not stop it.
    errors: std::thread::JoinHandle<String>,
}

fn serve(data: &std::path::Path, more: &[&str]) -> Serving {
    let mut command = loqa_command(data);
    command.args(["serve", "--json", "--silent"]).args(more);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut stderr = child.stderr.take().unwrap();
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        stderr.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let ready = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
    Serving { child, ready, out, errors }
}

impl Serving {
    /// Ends it and gives back all that it wrote.
    fn end(mut self) -> String {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut text = String::new();
        self.out.read_to_string(&mut text).unwrap();
        text.push_str(&self.errors.join().unwrap());
        assert!(self.child.wait().unwrap().success(), "{text}");
        text
    }
}

#[test]
fn serve_tells_where_it_is_and_never_the_token() {
    let data = tempfile::tempdir().unwrap();
    let quiet = ["--log", "trace", "--set", "stt.enabled=false", "--set", "tts.enabled=false", "--set", "llm.models="];
    let serving = serve(data.path(), &quiet);
    let url = serving.ready["api"]["url"].as_str().unwrap().to_owned();
    let file = serving.ready["api"]["token_file"].as_str().unwrap().to_owned();
    let token = std::fs::read_to_string(&file).unwrap();
    assert_eq!(token.len(), 64);
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let told = last_json(&loqa(data.path(), &["api", "url", "--json"]));
    assert_eq!((told["url"].as_str(), told["token_file"].as_str()), (Some(&*url), Some(&*file)));
    let people = loqa(data.path(), &["api", "url"]);
    let people = String::from_utf8_lossy(&people.stdout).into_owned();
    assert!(people.contains(&url) && people.contains(&file) && !people.contains(&token), "{people}");

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        loqa_tests::cryptography();
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let status = client.get(format!("{url}/v1/status")).bearer_auth(&token).send().await.unwrap();
        assert_eq!(status.status(), 200);
        // A wrong one, so that a log of it would show.
        let wrong = client.get(format!("{url}/v1/status")).bearer_auth("wrong-and-secret").send().await.unwrap();
        assert_eq!(wrong.status(), 401);
    });
    let ready = serving.ready.to_string();
    let written = ready + &serving.end();
    assert!(!written.contains(&token) && !written.contains("wrong-and-secret"), "tokens are not logged");
    assert!(!std::path::Path::new(&file).exists());
    let gone = loqa(data.path(), &["api", "url", "--json"]);
    assert_eq!(gone.status.code(), Some(1));
}

#[test]
fn everything_listens_on_loopback_only() {
    let data = tempfile::tempdir().unwrap();
    let more = [
        "--set",
        "openai.enabled=true",
        "--set",
        "openai.port=0",
        "--set",
        "wyoming.enabled=true",
        "--set",
        "wyoming.port=0",
    ];
    let serving = serve(data.path(), &more);
    let pids = family(serving.child.id());
    assert!(pids.len() >= 5, "the hub, the bus and three engines: {pids:?}");
    let listening = listening(&pids);
    let ports: BTreeSet<u16> = listening.iter().map(|(_, port)| *port).collect();
    assert!(listening.iter().all(|(address, _)| address.is_loopback()), "{listening:?}");
    let port = |text: &str| text.rsplit(':').next().unwrap().split('/').next().unwrap().parse::<u16>().unwrap();
    for name in ["openai", "wyoming"] {
        assert!(ports.contains(&port(serving.ready[name].as_str().unwrap())), "{name} in {listening:?}");
    }
    assert!(ports.contains(&port(serving.ready["api"]["url"].as_str().unwrap())), "{listening:?}");
    assert_eq!(ports.len(), 4, "the API, the two others, the bus, and nothing else: {listening:?}");
    serving.end();
    wait_gone(&pids);
}

/// A process and all that came from it.
fn family(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let rest = stat.rsplit(')').next().unwrap_or_default();
        let parent = rest.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        parents.push((pid, parent));
    }
    let mut family = vec![root];
    let end = Instant::now() + PATIENCE;
    loop {
        let next: Vec<u32> = parents
            .iter()
            .filter(|(pid, parent)| family.contains(parent) && !family.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if next.is_empty() {
            return family;
        }
        family.extend(next);
        assert!(Instant::now() < end);
    }
}

/// What these processes listen on: `/proc/<pid>/fd` joined with `/proc/net/tcp{,6}`.
fn listening(pids: &[u32]) -> Vec<(std::net::IpAddr, u16)> {
    let mut inodes = BTreeSet::new();
    for pid in pids {
        let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for link in entries.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()) {
            let link = link.to_string_lossy().into_owned();
            inodes.extend(link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')).map(str::to_owned));
        }
    }
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // State 0A is LISTEN.
            if fields[3] == "0A" && inodes.contains(fields[9]) {
                found.push(address_of(fields[1]));
            }
        }
    }
    assert!(!found.is_empty(), "something listens");
    found
}

/// `0100007F:1F90`: words of 32 bit in the machine's byte order, which is little-endian here.
fn address_of(text: &str) -> (std::net::IpAddr, u16) {
    let (address, port) = text.split_once(':').unwrap();
    let words = hex::decode(address).unwrap();
    let bytes: Vec<u8> = words.chunks(4).flat_map(|word| word.iter().rev().copied().collect::<Vec<_>>()).collect();
    let address = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => std::net::IpAddr::from(four),
        Err(_) => std::net::IpAddr::from(<[u8; 16]>::try_from(bytes.as_slice()).unwrap()),
    };
    (address, u16::from_str_radix(port, 16).unwrap())
}
