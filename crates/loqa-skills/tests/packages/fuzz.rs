//! The entries of `fuzz/`, fed by a seeded mutator from the same corpora: 1,000,000 inputs
//! each with `LOQA_TEST_N=1000000`, and the same ones on every machine.

use crate::archive::{Numbers, n_cases};
use crate::entries;
use std::path::Path;
use std::time::{Duration, Instant};

/// What one input may take on a machine that does nothing else.
const GOAL: Duration = Duration::from_millis(50);
/// Ten times that, because the machine may be busy.
const SLOWEST: Duration = Duration::from_millis(500);

const YAML: &[&str] = &[
    "&a ",
    "*a",
    "<<: *a",
    "!!str ",
    "---\n",
    "...\n",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "? ",
    "|\n",
    ">\n",
    "\"",
    "'",
    "#",
    "\u{202e}",
    "\u{200b}",
    "\u{feff}",
    "\t",
    "\0",
    "\u{1b}[2J",
    "null",
    "~",
    "true",
    "-1",
    "1e999",
    "0x7f",
    "999999999999",
    "schema: 1\n",
    "name: ",
    "runtime: ",
    "tools:\n",
    "permissions:\n",
    "use: http:call",
    "use: audio:capture",
    "max: ",
    "type: object",
    "items: ",
    "enum: []",
    "required: [",
    "additionalProperties: true",
    "../",
    "native",
];
const TEMPLATE: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "|",
    ":",
    "{x}",
    "{x:duration}",
    "{x:number}",
    "{x:time}",
    "{x:a|b}",
    "[[[[",
    "((((",
    "[a|[b|[c|d]]]",
    "(a|b)(c|d)(e|f)",
    "set ",
    "timer ",
    "for ",
    "five minutes",
    "half past ten",
    "\n",
    "\u{301}",
    "ß",
    "\\",
];
const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "1e309",
    "-1",
    "9223372036854775808",
    "\"key\":",
    "\"value\":",
    "\"text\":",
    "\"topic\":",
    "\"data\":",
    "\"id\":",
    "\"due_in_ms\":",
    "\"prefix\":",
    "\"level\":",
    "\"url\":",
    "\"method\":",
    "\"headers\":",
    "[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":{\"a\":",
    "\u{7f}",
    "\r\n",
    "../..",
    "https://127.0.0.1:1/",
    "status",
    "\"x\"",
];
const ZIP: &[&str] = &["PK\x01\x02", "PK\x03\x04", "PK\x05\x06", "PK\x06\x06", "../", "/", "\0", "A", "skill.yaml"];

/// The committed inputs of a target.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 5, "`{}` holds a corpus", folder.display());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// The next input: one of the corpus, changed in a few places.
fn mutated(numbers: &mut Numbers, corpus: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut bytes = numbers.pick(corpus).clone();
    for _ in 0..=numbers.below(6) {
        let at = numbers.below(bytes.len() + 1);
        match numbers.below(9) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            2 if at < bytes.len() => bytes[at] = numbers.next() as u8,
            3 => drop(bytes.splice(at..at, numbers.pick(words).bytes())),
            4 => {
                let end = (at + numbers.pick(words).len()).min(bytes.len());
                drop(bytes.splice(at..end, numbers.pick(words).bytes()));
            }
            5 => {
                let end = (at + numbers.below(30)).min(bytes.len());
                bytes.drain(at..end);
            }
            6 => {
                let end = (at + numbers.below(60)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, part));
            }
            7 => {
                let other = numbers.pick(corpus);
                let from = numbers.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend(&other[from..]);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

fn time(entry: &mut impl FnMut(&[u8]), input: &[u8]) -> Duration {
    let began = Instant::now();
    entry(input);
    began.elapsed()
}

fn run(target: &str, words: &[&str], usual: u64, mut entry: impl FnMut(&[u8])) {
    let corpus = corpus(target);
    corpus.iter().for_each(|input| entry(input));
    let mut numbers = Numbers(target.bytes().map(u64::from).sum());
    let (n, mut slowest) = (n_cases(usual), Duration::ZERO);
    for case in 0..n {
        let input = mutated(&mut numbers, &corpus, words);
        let mut took = time(&mut entry, &input);
        // A busy machine takes the processor away now and then; what is slow by itself is slow each time.
        for _ in 0..4 {
            if took > GOAL {
                took = took.min(time(&mut entry, &input));
            }
        }
        assert!(took < SLOWEST, "{target}: case {case} took {took:?}: {:?}", String::from_utf8_lossy(&input));
        slowest = slowest.max(took);
    }
    println!("{target}: {n} inputs, 0 panics, slowest {slowest:?}");
}

#[test]
fn fuzz_manifest() {
    run("manifest", YAML, 5_000, entries::manifest);
}

#[test]
fn fuzz_package() {
    run("package", ZIP, 5_000, entries::package);
}

#[test]
fn fuzz_template() {
    run("template", TEMPLATE, 5_000, entries::template);
}

#[test]
fn fuzz_host_call() {
    let mut host = entries::HostCalls::new();
    let mut n_back = 0_u64;
    run("host_call", JSON, 1_000, |input| n_back += u64::from(host.call(input)));
    assert!(n_back > 900, "only {n_back} calls came back, the module breaks for another reason");
}

/// The control: the same runner finds an entry that panics on what mutations bring about.
#[test]
fn a_reader_that_trusts_its_input_is_caught() {
    let careless = |bytes: &[u8]| {
        // An `unwrap` as it is easily left in a parser.
        let text = std::str::from_utf8(bytes).unwrap();
        let _version: u64 =
            text.lines().find_map(|line| line.strip_prefix("schema: ")).unwrap().trim().parse().unwrap();
    };
    let caught = std::panic::catch_unwind(|| run("manifest", YAML, 5_000, careless));
    assert!(caught.is_err(), "5,000 inputs and the careless reader never panicked");
}
