//! The engine as a program on the real bus: nats-server, nkeys, permissions, and this
//! test in the place of the hub.

use crate::clips::{clip, request, starter_model};
use bytes::Bytes;
use loqa_bus::{Bus, BusServer, Permissions, ReplyStream, ServerOptions};
use loqa_protocol::audio::pcm_to_bytes;
use loqa_protocol::engine::{Control, ControlAnswer, EngineAnnounce, EngineBoot, HubAnswer};
use loqa_protocol::stt::{SttFinal, SttReply, SttRequest};
use loqa_protocol::{ErrorCode, Failure, InstanceId, WorkId, header, subject};
use serde_json::Map;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const CAPABILITY: &str = "stt.whisper";

/// A hub's side of one engine process.
struct Bench {
    hub: Bus,
    server: BusServer,
    instance: InstanceId,
    engine: Engine,
    announce: EngineAnnounce,
    _folder: TempDir,
}

/// Ends with the test, whatever happens.
struct Engine {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Engine {
    fn start(boot: &EngineBoot) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_loqa-stt"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{}", serde_json::to_string(boot).unwrap()).unwrap();
        Self { child, stdin: Some(stdin) }
    }

    async fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the engine does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn nats_server() -> PathBuf {
    let tools = std::env::var_os("LOQA_TOOLS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools"), PathBuf::from);
    let binary = tools.join("nats").join(format!("nats-server{}", std::env::consts::EXE_SUFFIX));
    assert!(binary.is_file(), "no nats-server at {}: run `npm run setup`", binary.display());
    binary
}

impl Bench {
    async fn start(model: &Path) -> Self {
        let (hub, server, mut engine, folder, instance) = Self::launch(model).await;
        let mut hellos = hub.subscribe(subject::ENGINE_HELLO, None, 16).await.unwrap();
        let mut announcements = hub.subscribe(subject::ENGINE_ANNOUNCE, None, 16).await.unwrap();
        let welcome = HubAnswer::Welcome { heartbeat_ms: 2_000 };
        let announce = tokio::time::timeout(PATIENCE, async {
            loop {
                tokio::select! {
                    Some(hello) = hellos.next() => hub.respond(hello.reply.as_deref().unwrap(), &welcome).await.unwrap(),
                    Some(announce) = announcements.next() => {
                        hub.respond(announce.reply.as_deref().unwrap(), &welcome).await.unwrap();
                        break announce.json::<EngineAnnounce>().unwrap();
                    }
                    status = engine.ended() => panic!("the engine ended: {status}"),
                }
            }
        });
        let announce = announce.await.expect("the engine announces itself");
        Self { hub, server, instance, engine, announce, _folder: folder }
    }

    async fn launch(model: &Path) -> (Bus, BusServer, Engine, TempDir, InstanceId) {
        let folder = TempDir::new().unwrap();
        let options = ServerOptions { binary: nats_server(), run_dir: folder.path().join("bus") };
        let server = BusServer::start(options).await.unwrap();
        let hub = Bus::connect(&server.add_identity("hub", Permissions::hub()).await.unwrap()).await.unwrap();
        let instance = InstanceId::from_bits(7);
        let permissions = Permissions::engine(&instance, CAPABILITY);
        let credentials = server.add_identity("engine-stt", permissions).await.unwrap();
        let engine = Engine::start(&EngineBoot {
            url: credentials.url,
            identity: credentials.identity,
            seed: credentials.seed,
            instance: instance.clone(),
            capability: CAPABILITY.to_owned(),
            model: "starter".to_owned(),
            model_path: model.to_str().unwrap().to_owned(),
            settings: Map::new(),
        });
        (hub, server, engine, folder, instance)
    }

    /// Opens work and waits until a worker has it.
    async fn open(&self, request: &SttRequest) -> ReplyStream {
        let work = subject::work(CAPABILITY).unwrap();
        let mut replies = self.hub.open_stream(&work, request).await.unwrap();
        let accepted = next(&mut replies).await;
        assert_eq!(accepted, SttReply::Accepted { instance: self.instance.clone() });
        replies
    }

    async fn frame(&self, work: &WorkId, seq: usize, samples: &[i16], voiced: bool) {
        let headers = [(header::SEQ, &*seq.to_string()), (header::VOICED, if voiced { "1" } else { "0" })];
        let payload = Bytes::from(pcm_to_bytes(samples));
        self.hub.publish_bytes(&subject::audio(&self.instance, work), &headers, payload).await.unwrap();
    }

    async fn end(&self, work: &WorkId, total: usize) {
        let headers = [(header::END, &*total.to_string())];
        let subject = subject::audio(&self.instance, work);
        self.hub.request_bytes(&subject, &headers, Bytes::new(), PATIENCE).await.unwrap();
    }

    /// Speaks a clip in real time and returns partial texts and the final reply.
    async fn speak(&self, name: &str, work: u64) -> (Vec<String>, Result<SttFinal, Failure>) {
        let clip = clip(name);
        let request = SttRequest { work: WorkId::from_bits(work), ..request(true) };
        let mut replies = self.open(&request).await;
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        for (seq, (samples, voiced)) in clip.frames().into_iter().enumerate() {
            pace.tick().await;
            self.frame(&request.work, seq, &samples, voiced).await;
        }
        self.end(&request.work, clip.samples.len()).await;
        rest(&mut replies).await
    }

    async fn control(&self, order: &Control) -> ControlAnswer {
        self.hub.request(&subject::engine_control(&self.instance), order, PATIENCE).await.unwrap()
    }
}

async fn next(replies: &mut ReplyStream) -> SttReply {
    replies.next(PATIENCE).await.unwrap().json().unwrap()
}

async fn rest(replies: &mut ReplyStream) -> (Vec<String>, Result<SttFinal, Failure>) {
    let mut partials = Vec::new();
    loop {
        match next(replies).await {
            SttReply::Partial { text, .. } => partials.push(text),
            SttReply::Final(last) => return (partials, Ok(last)),
            SttReply::Failed { failure } => return (partials, Err(failure)),
            SttReply::Accepted { .. } => panic!("accepted twice"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speech_in_partial_and_final_transcripts_out() {
    let bench = Bench::start(&starter_model()).await;
    assert_eq!((bench.announce.slots, bench.announce.capabilities[0].name.as_str()), (2, CAPABILITY));

    let (partials, last) = bench.speak("pasta_timer", 1).await;
    let last = last.unwrap();
    assert_eq!(last.text, "Set a pasta timer for 10 minutes.");
    assert!(!partials.is_empty(), "text is shown while the user speaks");
    assert!(last.confidence > 0.5 && last.audio_ms > 2_000, "{last:?}");
    // The budget is 60 ms; the pause at the end of the clip lets the speculative pass win.
    assert!(last.tail_us < 600_000, "{last:?}");

    let (_, next) = bench.speak("timer", 2).await;
    assert_eq!(next.unwrap().text, "Set a timer for 5 minutes.", "the worker is free again");
    bench.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_frame_is_bad_audio_and_a_cancel_is_heard() {
    let bench = Bench::start(&starter_model()).await;

    let gap = SttRequest { work: WorkId::from_bits(1), ..request(false) };
    let mut replies = bench.open(&gap).await;
    bench.frame(&gap.work, 0, &[0; 320], true).await;
    bench.frame(&gap.work, 2, &[0; 320], true).await;
    let (_, outcome) = rest(&mut replies).await;
    assert_eq!(outcome.unwrap_err().code, ErrorCode::BadAudio);

    let long = SttRequest { work: WorkId::from_bits(2), ..request(false) };
    let mut replies = bench.open(&long).await;
    let speech = clip("timer").samples.repeat(14);
    for (seq, samples) in speech.chunks(1_600).enumerate() {
        bench.frame(&long.work, seq, samples, true).await;
    }
    bench.end(&long.work, speech.len()).await;
    let asked = Instant::now();
    assert_eq!(bench.control(&Control::Cancel { work: long.work }).await, ControlAnswer::Cancelled);
    let (_, outcome) = rest(&mut replies).await;
    assert_eq!(outcome.unwrap_err().code, ErrorCode::Cancelled);
    // The promise is 50 ms.
    assert!(asked.elapsed() < Duration::from_millis(500), "took {:?}", asked.elapsed());

    let (_, last) = bench.speak("timer", 3).await;
    assert_eq!(last.unwrap().text, "Set a timer for 5 minutes.");
    bench.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_leaves_with_its_hub_even_in_the_middle_of_a_pass() {
    let mut bench = Bench::start(&starter_model()).await;
    let long = SttRequest { work: WorkId::from_bits(2), ..request(false) };
    let _replies = bench.open(&long).await;
    let speech = clip("timer").samples.repeat(14);
    for (seq, samples) in speech.chunks(1_600).enumerate() {
        bench.frame(&long.work, seq, samples, true).await;
    }
    bench.end(&long.work, speech.len()).await;
    let left = Instant::now();
    drop(bench.engine.stdin.take());
    let status = bench.engine.ended().await;
    assert!(status.success(), "{status}");
    // The promise is two seconds.
    assert!(left.elapsed() < Duration::from_secs(20), "took {:?}", left.elapsed());
    bench.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_model_ends_the_engine_with_its_code() {
    let folder = TempDir::new().unwrap();
    let model = folder.path().join("model.bin");
    std::fs::write(&model, b"GGUF\x03\0\0\0").unwrap();
    let (_hub, server, mut engine, _folder, _) = Bench::launch(&model).await;
    assert_eq!(engine.ended().await.code(), Some(3), "model refused");
    server.stop().await;
}
