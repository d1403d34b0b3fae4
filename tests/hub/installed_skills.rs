//! An installed skill answers in a running hub as soon as the operator says so.

use crate::wat_skill::{Reply, write_skill};
use loqa_protocol::client::{SkillsReply, SkillsRequest};
use loqa_protocol::subject;
use loqa_skills::Installed;
use loqa_skills::installed::Switch;
use loqa_skills::package::{Package, pack};
use loqa_tests::{PATIENCE, TestHub, repository};
use std::time::{Duration, Instant};

/// The bundled timer skill under another name, with other utterances, from a package.
fn egg_timer() -> Package {
    let timer = repository().join("skills/timer/dist");
    let folder = tempfile::tempdir().unwrap();
    let manifest = std::fs::read_to_string(timer.join("skill.yaml")).unwrap();
    let manifest = manifest
        .replace("name: timer", "name: egg")
        .replace("tool: timer.", "tool: egg.")
        .replace("module: timer.wasm", "module: egg.wasm");
    std::fs::write(folder.path().join("skill.yaml"), manifest).unwrap();
    std::fs::copy(timer.join("timer.wasm"), folder.path().join("egg.wasm")).unwrap();
    Package::read(&pack(folder.path(), None).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_hub_takes_up_what_is_installed() {
    let hub = TestHub::start(&[("stt.enabled", "false"), ("tts.enabled", "false"), ("llm.models", "")]).await;
    let operator = loqa_hub::paths::running_hub(hub.data.path()).expect("the hub says how to reach it");
    let credentials = loqa_bus::Credentials { url: operator.url, identity: operator.identity, seed: operator.seed };
    let bus = loqa_bus::Bus::connect(&credentials).await.unwrap();
    let ask = async |request| -> Vec<String> {
        match bus.request(subject::HUB_SKILLS, &request, Duration::from_secs(60)).await.unwrap() {
            SkillsReply::Skills { skills, not_loaded } => {
                assert_eq!(not_loaded, []);
                skills.into_iter().map(|skill| skill.name).collect()
            }
            SkillsReply::Refused { failure } => panic!("{failure}"),
        }
    };
    assert_eq!(ask(SkillsRequest::List).await, ["timer"]);
    let installed = Installed::in_data(hub.data.path());
    installed.install(&egg_timer(), 1).unwrap();
    assert_eq!(ask(SkillsRequest::List).await, ["timer"], "nothing is loaded before it is asked for");
    assert_eq!(ask(SkillsRequest::Reload).await, ["egg", "timer"]);
    assert!(hub.hub.tools().iter().any(|tool| tool.name == "egg.start"), "turns may use it");

    installed.switch("egg", Switch::Disabled, 2).unwrap();
    assert_eq!(ask(SkillsRequest::Reload).await, ["timer"]);
    assert!(!hub.hub.tools().iter().any(|tool| tool.name.starts_with("egg.")));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skill_in_development_answers_with_its_new_code_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let permissions = "  - { use: kv:store, reason: r }\n\
                       intents:\n  - { tool: draft.run, say: [\"try the draft\"] }\n";
    let key = r#"{"key":"a"}"#;
    let path = write_skill(folder.path(), "draft", permissions, "kv_get", key, Reply::IfAllowed);
    let path = path.display().to_string();
    let off = [("stt.enabled", "false"), ("tts.enabled", "false"), ("llm.models", "")];
    let hub = TestHub::start(&[off[0], off[1], off[2], ("skills.dev", &path)]).await;
    let report = hub.ask("try the draft").await;
    assert_eq!((report.reply.as_str(), report.failure), ("Done.", None));

    // What it calls instead, it has no permission for.
    write_skill(folder.path(), "draft", permissions, "notify", r#"{"text":"x"}"#, Reply::IfAllowed);
    let end = Instant::now() + PATIENCE;
    while hub.ask("try the draft").await.failure.is_none() {
        assert!(Instant::now() < end, "the new code is loaded");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A version that cannot be loaded leaves the one before in place.
    std::fs::write(folder.path().join("draft/skill.yaml"), "schema: 1\nname: draft\n").unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let report = hub.ask("try the draft").await;
    assert!(report.failure.is_some() && report.tool.is_some_and(|tool| tool.name == "draft.run"), "it still answers");
    hub.stop().await;
}
