//! The engine program over the real bus, with this test in the hub's place.

use crate::support::{LIMIT, nats_server, ort_dylib, starter_model};
use loqa_bus::{Bus, BusServer, Message, Permissions, ReplyStream, ServerOptions, Subscription};
use loqa_protocol::engine::{Control, ControlAnswer, EngineAnnounce, EngineBoot, EngineHello, EngineKind, HubAnswer};
use loqa_protocol::tts::{TtsDone, TtsReply, TtsRequest};
use loqa_protocol::{ErrorCode, Failure, InstanceId, SessionId, TurnId, WorkId, audio, header, subject};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use tokio::time::timeout;

const CAPABILITY: &str = "tts.kokoro";

struct Hub {
    server: BusServer,
    bus: Bus,
    hello: Subscription,
    announce: Subscription,
    _folder: tempfile::TempDir,
}

impl Hub {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = ServerOptions { binary: nats_server(), run_dir: folder.path().join("run") };
        let server = BusServer::start(options).await.unwrap();
        let credentials = server.add_identity("hub", Permissions::hub()).await.unwrap();
        let bus = Bus::connect(&credentials).await.unwrap();
        let hello = bus.subscribe(subject::ENGINE_HELLO, None, 16).await.unwrap();
        let announce = bus.subscribe(subject::ENGINE_ANNOUNCE, None, 16).await.unwrap();
        Self { server, bus, hello, announce, _folder: folder }
    }

    /// Starts the program and writes its boot line, as the hub does.
    async fn spawn(&self, instance: &InstanceId, settings: Map<String, Value>) -> Engine {
        let permissions = Permissions::engine(instance, CAPABILITY);
        let credentials = self.server.add_identity(instance.as_str(), permissions).await.unwrap();
        let boot = EngineBoot {
            url: credentials.url.clone(),
            identity: credentials.identity.clone(),
            seed: credentials.seed.clone(),
            instance: instance.clone(),
            capability: CAPABILITY.to_owned(),
            model: "starter-tts".to_owned(),
            model_path: starter_model().display().to_string(),
            settings,
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_loqa-tts")).stdin(Stdio::piped()).spawn().unwrap();
        let line = serde_json::to_string(&boot).unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{line}").unwrap();
        Engine(child)
    }

    async fn welcome(&mut self) -> EngineHello {
        let message = timeout(LIMIT, self.hello.next()).await.unwrap().unwrap();
        self.answer(&message).await;
        message.json().unwrap()
    }

    async fn announced(&mut self) -> EngineAnnounce {
        let message = timeout(LIMIT, self.announce.next()).await.unwrap().unwrap();
        self.answer(&message).await;
        message.json().unwrap()
    }

    async fn answer(&self, message: &Message) {
        let reply = message.reply.as_deref().unwrap();
        self.bus.respond(reply, &HubAnswer::Welcome { heartbeat_ms: 2_000 }).await.unwrap();
    }

    async fn ask(&self, work: u64, text: &str, voice: Option<&str>) -> ReplyStream {
        let request = TtsRequest {
            work: WorkId::from_bits(work),
            turn: TurnId::from_bits(1),
            session: SessionId::from_bits(1),
            text: text.to_owned(),
            voice: voice.map(str::to_owned),
            speed: 1.0,
            deadline_ms: 30_000,
        };
        self.bus.open_stream(&subject::work(CAPABILITY).unwrap(), &request).await.unwrap()
    }

    async fn speak(&self, work: u64, text: &str, voice: Option<&str>) -> (Vec<i16>, Result<TtsDone, Failure>) {
        let mut stream = self.ask(work, text, voice).await;
        let mut samples = Vec::new();
        let mut accepted = false;
        let mut next_seq = 0_u64;
        loop {
            let message = stream.next(LIMIT).await.unwrap();
            if message.header(header::KIND) == Some(header::KIND_PCM) {
                assert!(accepted, "sound only after the work was accepted");
                assert_eq!(message.header(header::SEQ), Some(next_seq.to_string().as_str()));
                next_seq += 1;
                samples.extend(audio::pcm_from_bytes(&message.payload).unwrap());
                continue;
            }
            match message.json::<TtsReply>().unwrap() {
                TtsReply::Accepted { .. } => accepted = true,
                TtsReply::Done(done) => {
                    assert_eq!((done.samples, done.chunks), (samples.len() as u64, next_seq));
                    return (samples, Ok(done));
                }
                TtsReply::Failed { failure } => return (samples, Err(failure)),
            }
        }
    }
}

/// Killed when the test ends, however it ends.
struct Engine(Child);

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Engine {
    async fn exit_code(mut self) -> i32 {
        let ends = tokio::time::Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code().unwrap();
            }
            assert!(tokio::time::Instant::now() < ends, "the engine does not end");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

fn settings() -> Map<String, Value> {
    let Value::Object(settings) = json!({ "ort_dylib": ort_dylib(), "cache_bytes": 1_000_000 }) else { unreachable!() };
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clauses_are_spoken_over_the_bus() {
    let mut hub = Hub::start().await;
    let instance = InstanceId::from_bits(1);
    let mut engine = hub.spawn(&instance, settings()).await;
    let hello = hub.welcome().await;
    assert_eq!((hello.kind, hello.program.as_str()), (EngineKind::Tts, "loqa-tts"));
    let announce = hub.announced().await;
    let capability = &announce.capabilities[0];
    assert_eq!((capability.name.as_str(), capability.model.as_str()), (CAPABILITY, "starter-tts"));
    assert_eq!(capability.voices, ["mid", "rms", "slt"]);
    assert_eq!(capability.languages, ["en-US"]);
    assert_eq!((capability.sample_rate, capability.quantisation.as_str()), (Some(24_000), "f16"));
    assert!(capability.measured_speed > 1.0, "{}", capability.measured_speed);

    let (samples, done) = hub.speak(1, "Timer set for 5 minutes.", None).await;
    let done = done.unwrap();
    assert!((24_000..96_000).contains(&samples.len()), "{} samples", samples.len());
    assert!(!done.cached && done.first_chunk_us > 0 && done.first_chunk_us <= done.total_us, "{done:?}");
    let (again, done) = hub.speak(2, "Timer set for 5 minutes.", None).await;
    assert!(done.unwrap().cached);
    assert_eq!(samples, again);

    let (samples, done) = hub.speak(3, "👍", None).await;
    assert_eq!((samples.len(), done.unwrap().chunks), (0, 0), "nothing to say is no failure");
    let failure = hub.speak(4, "Hi.", Some("nobody")).await.1.unwrap_err();
    assert_eq!(failure.code, ErrorCode::BadRequest);
    assert!(failure.message.contains("available: mid, rms, slt"), "{failure}");
    let failure = hub.speak(5, &"a ".repeat(1_500), None).await.1.unwrap_err();
    assert_eq!(failure.code, ErrorCode::TextTooLong);

    // Cancelled in mid-speech, and the next clause is whole again.
    let long = "The kitchen light is on, and the timer has five minutes left. ".repeat(30);
    let mut stream = hub.ask(6, &long, None).await;
    while stream.next(LIMIT).await.unwrap().header(header::KIND) != Some(header::KIND_PCM) {}
    let cancel = Control::Cancel { work: WorkId::from_bits(6) };
    let answer: ControlAnswer = hub.bus.request(&subject::engine_control(&instance), &cancel, LIMIT).await.unwrap();
    assert_eq!(answer, ControlAnswer::Cancelled);
    let failure = loop {
        let message = stream.next(LIMIT).await.unwrap();
        if message.header(header::KIND) == Some(header::KIND_PCM) {
            continue;
        }
        match message.json::<TtsReply>().unwrap() {
            TtsReply::Failed { failure } => break failure,
            other => panic!("{other:?} after a cancel"),
        }
    };
    assert_eq!(failure.code, ErrorCode::Cancelled);
    assert!(hub.speak(7, "Okay.", None).await.1.is_ok());

    // The hub goes, the engine goes.
    drop(engine.0.stdin.take());
    assert_eq!(engine.exit_code().await, 0);
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_cannot_load_ends_with_the_code_for_it() {
    let mut hub = Hub::start().await;
    let mut broken = settings();
    broken.insert("voices_dir".to_owned(), json!("/nowhere"));
    let engine = hub.spawn(&InstanceId::from_bits(2), broken).await;
    hub.welcome().await;
    assert_eq!(engine.exit_code().await, 3);
    hub.server.stop().await;
}
