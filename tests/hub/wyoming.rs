//! The Wyoming server, asked by the unmodified `wyoming` package and by hand: what it
//! does, what it refuses, and that it is off unless it is wanted.

use loqa_api::wyoming::codec::{self, Event};
use loqa_api::wyoming::{WyomingOptions, WyomingServer};
use loqa_hub::{Hub, TurnOptions};
use loqa_protocol::audio::pcm_to_bytes;
use loqa_tests::mutate::Random;
use loqa_tests::python::run_script;
use loqa_tests::{PATIENCE, TestHub, clip, speech};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

struct Served {
    hub: Arc<Hub>,
    data: tempfile::TempDir,
    server: WyomingServer,
}

impl Served {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let TestHub { hub, data } = TestHub::start(settings).await;
        let hub = Arc::new(hub);
        let server = WyomingServer::start(Arc::clone(&hub), WyomingOptions { port: 0 }).await.unwrap();
        Self { hub, data, server }
    }

    async fn connect(&self) -> Client {
        Client(BufReader::new(TcpStream::connect(self.server.address()).await.unwrap()))
    }

    /// Whether the server answers a new client.
    async fn answers(&self) -> bool {
        let mut client = self.connect().await;
        client.send(&[Event::new("describe", Value::Null)]).await;
        client.next().await.is_some_and(|event| event.kind == "info")
    }

    async fn stop(self) {
        self.server.stop().await;
        Hub::stop_shared(self.hub).await;
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    async fn send(&mut self, events: &[Event]) {
        let bytes: Vec<u8> = events.iter().flat_map(Event::encode).collect();
        self.0.get_mut().write_all(&bytes).await.unwrap();
    }

    /// `None` when the server closed.
    async fn next(&mut self) -> Option<Event> {
        timeout(PATIENCE, codec::read(&mut self.0)).await.expect("an answer comes").unwrap()
    }
}

fn sound(samples: &[i16]) -> Vec<Event> {
    let format = json!({"rate": 16_000, "width": 2, "channels": 1});
    let mut events = vec![Event::new("audio-start", format.clone())];
    events.extend(
        samples.chunks(1_024).map(|chunk| Event::new("audio-chunk", format.clone()).with_payload(pcm_to_bytes(chunk))),
    );
    events.push(Event::new("audio-stop", Value::Null));
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wyoming_package_hears_speaks_and_sets_a_timer() {
    let served = Served::start(&[("tts.cache_bytes", "0")]).await;
    let wav = served.data.path().join("spoken.wav");
    let port = served.server.address().port().to_string();
    let text = "The timer is set for five minutes. Have a nice day.";
    let script =
        run_script("wyoming_client.py", &[&port, &clip("timer.wav").to_string_lossy(), text, &wav.to_string_lossy()])
            .await;
    assert!(script.ok, "the package was not content: {}", script.err);
    let seen = script.json();

    let there = &seen["describe"];
    assert_eq!(there["asr"], json!([["starter-stt", ["en"]]]));
    assert!(there["tts"].as_array().is_some_and(|voices| !voices.is_empty()), "{there}");
    assert_eq!(there["streaming"], json!([true]));
    assert_eq!(there["handle"], json!([["loqa", ["en"]]]));
    assert_eq!(there["installed"], true);

    for heard in [&seen["transcript"], &seen["transcript_plain"]] {
        let heard = heard["text"].as_str().unwrap_or_default().to_lowercase();
        assert_eq!(heard.trim_end_matches('.'), "set a timer for 5 minutes");
    }
    assert_eq!(seen["transcript_unknown"]["error"], "bad_request");

    for (spoken, last) in
        [(&seen["spoken"], None), (&seen["named"], None), (&seen["streamed"], Some("synthesize-stopped"))]
    {
        let mut kinds = vec!["audio-start", "audio-chunk", "audio-stop"];
        kinds.extend(last);
        assert_eq!(spoken["kinds"], json!(kinds), "{spoken}");
        assert_eq!(spoken["format"], json!([1, 2, 24_000]));
        assert!(spoken["seconds"].as_f64().unwrap() > 1.0, "{spoken}");
    }
    let samples = loqa_audio::wav::read_speech(&wav).unwrap();
    let loudest = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    assert!(loudest > 1_000, "it can be heard: {loudest}");
    for wrong in ["nobody", "ssml", "nothing"] {
        assert_eq!(seen[wrong]["error"], "bad_request", "{wrong}");
    }

    assert_eq!(seen["pong"], "there?");
    let handled = seen["handled"]["handled"].as_str().unwrap_or_default();
    assert!(handled.contains("3 minutes"), "{}", seen["handled"]);
    assert_eq!(seen["handled"]["context"], json!({"conversation_id": "kitchen"}));
    assert!(seen["again"]["handled"].as_str().is_some_and(|text| text.contains("minute")), "{}", seen["again"]);
    assert!(seen["not_handled"]["not_handled"].is_string(), "{}", seen["not_handled"]);
    let report =
        served.hub.ask(TurnOptions::default(), "list my timers".to_owned(), false).await.report().await.unwrap();
    assert!(report.reply.contains("tea"), "the person's own turn sees it: {}", report.reply);
    assert_eq!(served.server.faults(), 0);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_told_and_the_client_may_go_on() {
    let served = Served::start(&[("llm.models", ""), ("tts.enabled", "false")]).await;
    let mut client = served.connect().await;
    for (event, code) in [
        (Event::new("synthesize", json!({"text": "hello"})), "engine_missing"),
        (Event::new("synthesize", Value::Null), "bad_request"),
        (Event::new("synthesize-chunk", json!({"text": "x"})), "bad_request"),
        (Event::new("audio-stop", Value::Null), "bad_request"),
        (Event::new("audio-start", json!({"rate": 16_000})), "bad_request"),
        (Event::new("audio-start", json!({"rate": 5, "width": 2, "channels": 1})), "bad_audio"),
        (Event::new("transcript", json!({"text": 7})), "bad_request"),
    ] {
        client.send(&[Event::new("unheard-of", json!({"a": 1})), event.clone()]).await;
        let answer = client.next().await.unwrap();
        assert_eq!((answer.kind.as_str(), answer.text("code")), ("error", Some(code)), "{event:?}");
    }
    let mut long = sound(&vec![0; 31 * 16_000]);
    client.send(&long).await;
    assert_eq!(client.next().await.unwrap().text("code"), Some("audio_too_long"));
    // What follows the fault of the same recording: its end has nothing to end.
    assert_eq!(client.next().await.unwrap().text("code"), Some("bad_request"));
    // Another format on the way is a fault, a recording that is begun anew is none.
    long = sound(&speech("timer.wav"));
    let changed = Event::new("audio-chunk", json!({"rate": 8_000, "width": 2, "channels": 1}));
    client.send(&[long[0].clone(), changed]).await;
    assert_eq!(client.next().await.unwrap().text("code"), Some("bad_audio"));
    client.send(&long[..5]).await;
    client.send(&long).await;
    let heard = client.next().await.unwrap();
    assert_eq!(heard.kind, "transcript");
    assert!(heard.text("text").unwrap().to_lowercase().starts_with("set a timer"), "{heard:?}");
    client.0.get_mut().write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(client.next().await.unwrap().kind, "error", "what is no event is told once");
    let mut rest = Vec::new();
    timeout(PATIENCE, client.0.read_to_end(&mut rest)).await.expect("and the connection ends").unwrap();
    served.stop().await;
}

/// What stands in the header of an `error` event.
const ERROR: &[u8] = b"\"type\":\"error\"";

/// Number of mutated streams: `LOQA_TEST_STREAMS`, else 500.
#[tokio::test(flavor = "multi_thread")]
async fn mutated_streams_neither_break_nor_stop_the_server() {
    let rounds = std::env::var("LOQA_TEST_STREAMS").ok().and_then(|n| n.parse().ok()).unwrap_or(500);
    let served = Served::start(&[("llm.models", "")]).await;
    let seeds: Vec<Vec<Event>> = vec![
        [vec![Event::new("transcribe", json!({"language": "en"}))], sound(&speech("timer.wav")[..3_200])].concat(),
        vec![Event::new("synthesize", json!({"text": "yes", "voice": {"name": "default"}}))],
        vec![
            Event::new("synthesize-start", json!({"voice": {"name": "default"}})),
            Event::new("synthesize-chunk", json!({"text": "no"})),
            Event::new("synthesize-stop", Value::Null),
        ],
        vec![Event::new("transcript", json!({"text": "list my timers", "context": {"conversation_id": "x"}}))],
        vec![Event::new("describe", Value::Null), Event::new("ping", json!({"text": "a"}))],
    ];
    let mut random = Random::new(3);
    let (mut answered, mut refused, mut silent) = (0, 0, 0);
    for round in 0..rounds {
        let seed: Vec<u8> = seeds[round % seeds.len()].iter().flat_map(Event::encode).collect();
        let stream = TcpStream::connect(served.server.address()).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let bytes = random.mutated(&seed);
        // The server may close before it has read all; that is an answer too.
        let _closed = writer.write_all(&bytes).await;
        let _closed = writer.shutdown().await;
        let mut answer = Vec::new();
        let ended = timeout(PATIENCE, reader.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "round {round}: the server neither answers nor closes: {}", bytes.escape_ascii());
        if answer.is_empty() {
            silent += 1;
        } else if answer.windows(ERROR.len()).any(|window| window == ERROR) {
            refused += 1;
        } else {
            answered += 1;
        }
        assert_eq!(served.server.faults(), 0, "round {round}: {}", bytes.escape_ascii());
    }
    eprintln!("{rounds} mutated streams: {answered} answered, {refused} refused, {silent} passed over");
    assert!(answered > rounds / 20 && refused > rounds / 20, "both ways are gone: {answered} {refused} {silent}");
    assert!(timeout(Duration::from_mins(1), served.answers()).await.unwrap(), "and it still answers");
    served.stop().await;
}
