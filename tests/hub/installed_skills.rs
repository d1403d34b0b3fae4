//! An installed skill answers in a running hub as soon as the operator says so.

use loqa_protocol::client::{SkillsReply, SkillsRequest};
use loqa_protocol::subject;
use loqa_skills::Installed;
use loqa_skills::installed::Switch;
use loqa_skills::package::{Package, pack};
use loqa_tests::{TestHub, repository};
use std::time::Duration;

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
