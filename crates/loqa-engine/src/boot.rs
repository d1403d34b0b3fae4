//! How an engine program begins: its arguments, and the boot line on standard input.

use crate::{EngineBoot, EngineKind};
use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

/// Longest boot line in bytes.
const MAX_BOOT: u64 = 64 * 1024;

/// What the program is to do.
pub(crate) enum Begin {
    /// Serve with these orders.
    Boot(EngineKind, Box<EngineBoot>),
    /// The question on the command line was answered.
    Answered,
    /// It cannot begin; the text says why and what to do.
    Refused(String),
}

/// Reads arguments and the boot line. Without a `kind` the boot line decides.
pub(crate) fn begin(program: &str, kind: Option<EngineKind>) -> Begin {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => {}
        (Some("--version" | "-V"), None) => {
            return say(&format!("{program} {}\n", env!("CARGO_PKG_VERSION")));
        }
        (Some("--help" | "-h"), None) => {
            return say(&format!(
                "{program} is the {} engine of Loqa.\n\n\
                 The hub starts it and writes its orders to standard input, one line of JSON.\n\
                 Start the hub with `loqa serve`, or try it with `loqa demo`.\n\n\
                 Options:\n  --version  print the version\n  --help     print this text\n\n\
                 Exit codes: 0 done, 2 no usable orders, 3 model refused, 4 bus not reachable, 5 worker broken\n",
                kind.map_or("scripted", EngineKind::as_str)
            ));
        }
        (Some(other), _) => {
            return Begin::Refused(format!("unknown argument `{other}`; try `{program} --help`"));
        }
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Begin::Refused("this program is started by the hub; run `loqa serve` or `loqa demo`".to_owned());
    }
    let mut line = Vec::new();
    if let Err(error) = stdin.lock().take(MAX_BOOT).read_until(b'\n', &mut line) {
        return Begin::Refused(format!("cannot read the boot line from standard input: {error}"));
    }
    match parse(&line, kind) {
        Ok((kind, boot)) => Begin::Boot(kind, Box::new(boot)),
        Err(reason) => Begin::Refused(reason),
    }
}

fn parse(line: &[u8], kind: Option<EngineKind>) -> Result<(EngineKind, EngineBoot), String> {
    if line.is_empty() {
        return Err("no boot line on standard input; this program is started by the hub, \
                    run `loqa serve` or `loqa demo`"
            .to_owned());
    }
    if !line.ends_with(b"\n") && line.len() as u64 == MAX_BOOT {
        return Err(format!("the boot line is longer than {MAX_BOOT} bytes"));
    }
    // The line holds a secret, so neither it nor serde's excerpt of it is shown.
    let boot: EngineBoot = serde_json::from_slice(line).map_err(|error| {
        format!(
            "the boot line is not what this version understands: {:?} at column {}; \
                 hub and engine must be of the same version",
            error.classify(),
            error.column()
        )
    })?;
    let asked = [EngineKind::Stt, EngineKind::Llm, EngineKind::Tts]
        .into_iter()
        .filter(|_| loqa_protocol::subject::work(&boot.capability).is_some())
        .find(|asked| boot.capability.split('.').next() == Some(asked.as_str()));
    match asked {
        Some(asked) if kind.is_none_or(|kind| kind == asked) => Ok((asked, boot)),
        Some(_) | None => Err(format!(
            "this is the {} engine and cannot serve `{}`",
            kind.map_or("scripted", EngineKind::as_str),
            boot.capability
        )),
    }
}

fn say(text: &str) -> Begin {
    // A closed standard output is the reader's wish.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Begin::Answered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(capability: &str) -> String {
        format!(
            r#"{{"url":"nats://127.0.0.1:1","identity":"e-1","seed":"SUSECRET","instance":"e-1",
                "capability":"{capability}","model":"m","model_path":"/m"}}"#
        )
        .replace('\n', "")
    }

    #[test]
    fn a_good_line_is_taken_with_and_without_its_line_feed() {
        for end in ["", "\n", "\r\n"] {
            let line = boot("stt.whisper") + end;
            for kind in [Some(EngineKind::Stt), None] {
                let (kind, boot) = parse(line.as_bytes(), kind).unwrap();
                assert_eq!((kind, boot.capability.as_str()), (EngineKind::Stt, "stt.whisper"));
            }
        }
    }

    #[test]
    fn bad_lines_are_refused_and_never_repeated() {
        let cut = boot("stt.whisper")[..60].to_owned();
        let wrong_type = boot("stt.whisper").replace("\"SUSECRET\"", "[\"SUSECRET\"]");
        let huge = vec![b' '; 64 * 1024];
        for line in
            [&b""[..], b"\n", b"{}", b"hello SUSECRET", cut.as_bytes(), wrong_type.as_bytes(), &huge, b"\xff\xfe"]
        {
            let reason = parse(line, Some(EngineKind::Stt)).unwrap_err();
            assert!(!reason.contains("SUSECRET"), "{reason}");
        }
    }

    #[test]
    fn an_engine_serves_only_its_own_kind() {
        for capability in ["tts.kokoro", "stt", "stt.a.b", "stt.>", ""] {
            let reason = parse(boot(capability).as_bytes(), Some(EngineKind::Stt)).unwrap_err();
            assert!(reason.contains("cannot serve"), "{reason}");
        }
    }
}
