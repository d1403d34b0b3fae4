//! Models of the whole: fetched by the command, foretold, and put to use under turns that
//! run.

use loqa_hub::Hub;
use loqa_hub::session::driver::TurnInput;
use loqa_hub::sink::AudioSink;
use loqa_models::{Catalog, Forecast, Machine};
use loqa_protocol::engine::EngineKind;
use loqa_protocol::models::{ModelsReply, ModelsRequest};
use loqa_protocol::{ErrorCode, subject};
use loqa_tests::{PATIENCE, TestHub, last_json, loqa_command, repository, speech, start_in, voice, wait_gone};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A catalog with the starter models, the same under other names, and a planner whose
/// file is the pinned one and no model.
fn catalog_in(folder: &Path) {
    let models = repository().join("models");
    std::os::unix::fs::symlink(models.join("starter"), folder.join("starter")).unwrap();
    let text = std::fs::read_to_string(models.join("catalog.toml")).unwrap();
    let mut more = String::new();
    for (name, second, capability) in
        [("starter-stt", "second-stt", ""), ("reflex", "second-llm", "llm.second"), ("starter-tts", "second-tts", "")]
    {
        let entry = text.split("[[model]]\n").find(|entry| entry.starts_with(&format!("name = \"{name}\"\n"))).unwrap();
        // Up to the comment before the next group.
        let entry = entry.split("\n# ---").next().unwrap();
        let mut entry = entry.replacen(name, second, 1);
        if !capability.is_empty() {
            entry = entry.replacen("capability = \"llm.reflex\"", &format!("capability = \"{capability}\""), 1);
        }
        more.push_str(&format!("\n[[model]]\n{entry}\n"));
    }
    let broken = b"GGUF and nothing that belongs behind it";
    std::fs::write(folder.join("broken.gguf"), broken).unwrap();
    let digest = {
        use sha2::Digest as _;
        hex::encode(sha2::Sha256::digest(broken))
    };
    let llm = std::fs::read(models.join("starter/llm/reflex-q8_0.gguf")).unwrap();
    let llm_digest = {
        use sha2::Digest as _;
        hex::encode(sha2::Sha256::digest(&llm))
    };
    for (name, bundled, path, size, digest) in [
        ("broken", true, "broken.gguf", broken.len(), digest),
        ("fetched", false, "fetched/model.gguf", llm.len(), llm_digest),
    ] {
        more.push_str(&format!(
            "\n[[model]]\nname = \"{name}\"\ntitle = \"t\"\nkind = \"llm\"\ncapability = \"llm.{name}\"\nformat = \"gguf\"\n\
             quantisation = \"q8_0\"\nlanguages = [\"en\"]\nram_mb = 20\nclass = \"reflex\"\nlicence = \"MIT\"\n\
             source = \"https://example.org\"\nbundled = {bundled}\n\
             [[model.file]]\nrole = \"model\"\npath = \"{path}\"\nsize = {size}\nsha256 = \"{digest}\"\n"
        ));
    }
    std::fs::write(folder.join("catalog.toml"), text + &more).unwrap();
}

fn run(data: &Path, models: &Path, arguments: &[&str]) -> Output {
    loqa_command(data).env("LOQA_PATHS_MODELS", models).args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn the_command_fetches_checks_and_removes_a_model() {
    let (data, models) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    catalog_in(models.path());
    let loqa = |arguments: &[&str]| run(data.path(), models.path(), arguments);
    let file = repository().join("models/starter/llm/reflex-q8_0.gguf");
    let state = || {
        let list = last_json(&loqa(&["models", "list", "--json"]));
        let rows = list["models"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["name"] == "fetched").unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(), "absent");
    for (arguments, reason) in [
        (&["models", "pull", "reflex"][..], "comes with Loqa"),
        (&["models", "pull", "nothing"], "no model is called"),
        (&["models", "pull", "fetched"], "--from"),
        (&["models", "pull", "fetched", "--from", "http://models.example.org/m"], "by https only"),
        (&["models", "pull", "fetched", "--from", "https://127.0.0.1/m"], "not public"),
        (&["models", "pull", "fetched", "--from", "https://192.168.1.1/m"], "not public"),
    ] {
        let refused = loqa(arguments);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains(reason), "{arguments:?}: {text}");
    }
    let pulled = loqa(&["models", "pull", "fetched", "--from", &file.to_string_lossy(), "--json"]);
    assert!(pulled.status.success(), "{}", String::from_utf8_lossy(&pulled.stderr));
    let lines = String::from_utf8_lossy(&pulled.stdout).into_owned();
    assert!(lines.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{lines}");
    assert!(lines.contains("\"type\":\"ready\""), "{lines}");
    assert_eq!(last_json(&pulled)["pulled"]["fetched"], std::fs::metadata(&file).unwrap().len());
    assert_eq!(state(), "installed");
    assert_eq!(last_json(&loqa(&["models", "verify", "fetched", "--json"]))["models"][0]["ok"], true);

    let place = data.path().join("models/fetched/model.gguf");
    let mut bytes = std::fs::read(&place).unwrap();
    bytes[1_000_000] ^= 1;
    std::fs::write(&place, bytes).unwrap();
    assert_eq!(state(), "installed", "a list looks at sizes only");
    let verified = loqa(&["models", "verify", "fetched", "--json"]);
    assert!(!verified.status.success() && last_json(&verified)["models"][0]["ok"] == false);

    let removed = last_json(&loqa(&["models", "remove", "fetched", "--json"]));
    assert_eq!(removed["removed_bytes"], std::fs::metadata(&file).unwrap().len());
    assert!(!place.exists() && state() == "absent");
    let configured = loqa(&["models", "remove", "fetched", "--set", "llm.models=fetched"]);
    assert!(String::from_utf8_lossy(&configured.stderr).contains("is configured"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forecast_is_of_the_order_of_what_the_engines_measure() {
    let hub = TestHub::start(&[]).await;
    let nodes = hub.hub.nodes();
    hub.stop().await;
    let machine = tokio::task::spawn_blocking(Machine::measure).await.unwrap();
    let catalog = Catalog::load(&repository().join("models")).unwrap();
    for node in nodes {
        let capability = &node.capabilities[0];
        let forecast = Forecast::of(&catalog, catalog.find(&capability.model, None).unwrap(), &machine);
        let ratio = capability.measured_speed / forecast.speed;
        eprintln!("{}: measured {}, foretold {:.1}", capability.model, capability.measured_speed, forecast.speed);
        // Wide: the engine measures itself while the machine does other things, and so does the probe.
        assert!(
            (0.02..50.0).contains(&ratio),
            "{}: {} measured, {forecast:?}",
            capability.model,
            capability.measured_speed
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_exchanged_under_running_turns_and_none_of_them_fails() {
    let (data, models) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    catalog_in(models.path());
    let settings =
        [("paths.models", &*models.path().to_string_lossy()), ("tts.voice", "slt"), ("tts.cache_bytes", "0")];
    let hub = Arc::new(start_in(data.path(), &settings).await.unwrap());
    assert!(hub.wait_ready(PATIENCE).await.is_empty());
    let (stop, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let talking = {
        let (hub, stop, turns) = (Arc::clone(&hub), Arc::clone(&stop), Arc::clone(&turns));
        tokio::spawn(async move {
            let session = Some(loqa_protocol::SessionId::from_bits(77));
            while !stop.load(Ordering::Relaxed) {
                // Spoken, so that all three engines are used; and typed, in one session, that
                // only the planner can answer.
                spoken(&hub).await;
                typed(&hub, session.clone()).await;
                turns.fetch_add(2, Ordering::Relaxed);
            }
        })
    };
    let more_turns = async |n: u32| {
        let (wanted, end) = (turns.load(Ordering::Relaxed) + n, Instant::now() + PATIENCE);
        while turns.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < end && !talking.is_finished(), "turns go on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    more_turns(4).await;
    for (kind, name) in
        [(EngineKind::Stt, "second-stt"), (EngineKind::Llm, "second-llm"), (EngineKind::Tts, "second-tts")]
    {
        let old: Vec<u32> = pids_of(&hub, kind);
        let models = hub.use_model(kind, 1, name).await.unwrap();
        assert!(models.iter().any(|row| row.kind == kind && row.tier == 1 && row.model == name), "{models:?}");
        more_turns(4).await;
        // The old engine is gone once its work was done.
        tokio::task::spawn_blocking(move || wait_gone(&old)).await.unwrap();
        more_turns(2).await;
    }

    // A model that does not come up changes nothing.
    let before = (hub.models_in_use(), hub.engine_pids());
    for (tier, model, code) in [
        (1, "broken", ErrorCode::ModelInvalid),
        (1, "fetched", ErrorCode::ModelInvalid),
        (1, "nothing", ErrorCode::ModelInvalid),
        (3, "reflex", ErrorCode::BadRequest),
        (0, "reflex", ErrorCode::BadRequest),
        (2, "second-llm", ErrorCode::Conflict),
    ] {
        let failure = hub.use_model(EngineKind::Llm, tier, model).await.unwrap_err();
        assert_eq!(failure.code, code, "{model}: {failure}");
        if model == "broken" {
            assert!(failure.message.contains("the old one stays"), "{failure}");
        }
    }
    assert_eq!((hub.models_in_use(), hub.engine_pids()), before, "everything is as it was");
    more_turns(2).await;

    // Another place is added, by the command.
    let used = run(data.path(), models.path(), &["models", "use", "llm.2", "reflex", "--json"]);
    assert!(used.status.success(), "{}", String::from_utf8_lossy(&used.stderr));
    assert_eq!(last_json(&used)["models"].as_array().unwrap().len(), 4);
    assert_eq!(hub.capabilities(), ["stt.whisper", "llm.second", "llm.reflex", "tts.kokoro"]);
    more_turns(2).await;
    stop.store(true, Ordering::Relaxed);
    talking.await.unwrap();
    Hub::stop_shared(hub).await;
}

fn pids_of(hub: &Hub, kind: EngineKind) -> Vec<u32> {
    let of_kind = |name: &String| name.starts_with(kind.as_str());
    hub.engine_pids().into_iter().filter(|(name, _)| of_kind(name)).map(|(_, pid)| pid).collect()
}

async fn spoken(hub: &Hub) {
    let (sink, recording) = AudioSink::memory();
    let turn = hub.begin(None, voice(&speech("timer.wav"), Duration::ZERO), sink).await;
    let report = tokio::time::timeout(PATIENCE, turn.report()).await.expect("every turn ends").unwrap();
    assert_eq!(report.failure, None, "{report:?}");
    assert!(recording.duration() > Duration::from_millis(100), "it is answered aloud: {report:?}");
    typed_as(hub, None, "cancel all timers").await;
}

async fn typed(hub: &Hub, session: Option<loqa_protocol::SessionId>) {
    typed_as(hub, session, "would you kindly begin a countdown of two minutes").await;
}

async fn typed_as(hub: &Hub, session: Option<loqa_protocol::SessionId>, text: &str) {
    let (sink, _recording) = AudioSink::memory();
    let turn = hub.begin(session, TurnInput::Text(text.to_owned()), sink).await;
    let report = tokio::time::timeout(PATIENCE, turn.report()).await.expect("every turn ends").unwrap();
    // A small planner may not understand; it may not be missing.
    let code = report.failure.as_ref().map(|failure| failure.code);
    assert!(matches!(code, None | Some(ErrorCode::NotUnderstood)), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_of_another_program_is_on_the_record_of_the_hub() {
    let hub = TestHub::start(&[("stt.enabled", "false"), ("tts.enabled", "false"), ("llm.models", "")]).await;
    let bus = hub.hub.observe().await.unwrap();
    let ask = async |request: ModelsRequest| -> ModelsReply {
        bus.request(subject::HUB_MODELS, &request, PATIENCE).await.unwrap()
    };
    let target = "https://models.example.org/whisper.bin".to_owned();
    let model = "whisper-tiny".to_owned();
    let ModelsReply::Recorded { row } = ask(ModelsRequest::Leaving { model, target: target.clone() }).await else {
        panic!("it is recorded");
    };
    let left = ModelsRequest::Left { row, ok: true, bytes_out: 120, bytes_in: 77_691_713 };
    assert_eq!(ask(left).await, ModelsReply::Done);
    hub.hub.audit().flush().unwrap();
    let reader = loqa_audit::Reader::open(hub.data.path()).unwrap();
    let sums = reader.egress(None, None, None).unwrap();
    assert!(sums.iter().any(|sum| sum.bytes == 120 && sum.origin.contains("models.example.org")), "{sums:?}");
    drop(bus);
    hub.stop().await;
}
