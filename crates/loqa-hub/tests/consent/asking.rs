//! A turn in which the person is asked.

use crate::stage::{Move, PATIENCE, Stage, call};
use crate::wat_skill::{Reply, write_skill};
use loqa_bus::{Bus, Permissions};
use loqa_hub::session::Session;
use loqa_protocol::grant::{GrantReply, GrantRequest, PromptEvent, PromptReply, PromptRequest};
use loqa_protocol::{ErrorCode, InstanceId, SessionId, subject};
use loqa_skills::Permission;
use loqa_skills::grants::Grantor;
use serde_json::{Map, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LIGHT: &str = "  - { use: device:control, domains: [light], entities: [light.kitchen], reason: to switch }\n";

/// A stage with a skill that switches a light, and a model that calls it.
async fn stage(limit: Duration) -> Stage {
    let mind = |_: &[loqa_protocol::llm::ChatMessage]| Move::Call(call("lamp.run", json!({})));
    // The tool has 300 ms, half of what the machine allows; the person needs longer.
    Stage::new(Arc::new(mind), limit, Duration::from_millis(600), |skills, folder, _| {
        let arguments = r#"{"operation":"turn_on","entity":"light.kitchen"}"#;
        let skill = write_skill(folder, "lamp", LIGHT, "device", arguments, Reply::IfAllowed);
        skills.load(&skill).unwrap();
    })
    .await
}

async fn wait_for_prompt(stage: &Stage) -> loqa_protocol::grant::Prompt {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(prompt) = stage.prompts.list().pop() {
            return prompt;
        }
        assert!(Instant::now() < end, "nobody was asked");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_turn_waits_for_the_answer_longer_than_the_tool_may_take() {
    let stage = stage(PATIENCE).await;
    let mut session = Session::new(SessionId::from_bits(1));
    let answering = async {
        let prompt = wait_for_prompt(&stage).await;
        // Three times the tool's whole time.
        tokio::time::sleep(Duration::from_millis(1_800)).await;
        stage.prompts.answer(&prompt.id, "session").unwrap();
        prompt
    };
    let (report, prompt) = tokio::join!(stage.ask(&mut session, "light please"), answering);
    assert_eq!(report.failure, None, "{}", report.reply);
    assert_eq!(report.reply, "I need your permission for that. Please confirm it on the screen. Done.");
    assert_eq!(stage.world.take(), ["turn_on light.kitchen"]);
    assert_eq!(prompt.target, "device light.kitchen turn_on", "the person sees what would be done");
    assert_eq!((prompt.tier.as_str(), prompt.occasion.as_str()), ("T2", "first_use"));

    // The session has it, another one does not.
    let report = stage.ask(&mut session, "light please").await;
    assert_eq!((report.failure, report.reply.as_str()), (None, "Done."));
    assert_eq!(stage.world.take().len(), 1);
    let mut other = Session::new(SessionId::from_bits(2));
    let denying = async {
        let prompt = wait_for_prompt(&stage).await;
        stage.prompts.answer(&prompt.id, "deny").unwrap();
    };
    let (report, ()) = tokio::join!(stage.ask(&mut other, "light please"), denying);
    assert_eq!(report.failure.map(|failure| failure.code), Some(ErrorCode::PermissionDenied));
    assert!(report.reply.ends_with("Sorry, I am not allowed to do that."), "{}", report.reply);
    assert_eq!(stage.world.take(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_a_no_that_is_said() {
    let stage = stage(Duration::from_millis(1_000)).await;
    let mut session = Session::new(SessionId::from_bits(1));
    let report = stage.ask(&mut session, "light please").await;
    assert_eq!(report.failure.map(|failure| failure.code), Some(ErrorCode::PermissionDenied));
    assert!(report.reply.ends_with("Sorry, I am not allowed to do that."), "{}", report.reply);
    assert_eq!(stage.world.take(), [""; 0]);
    assert!(stage.prompts.list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_ends_the_question_and_the_call() {
    let stage = stage(PATIENCE).await;
    let mut session = Session::new(SessionId::from_bits(1));
    let revoking = async {
        let prompt = wait_for_prompt(&stage).await;
        let began = Instant::now();
        stage.context.skills.grants().revoke("lamp", Some(Permission::DeviceControl), Grantor::Operator).unwrap();
        (prompt, began)
    };
    let (report, (prompt, began)) = tokio::join!(stage.ask(&mut session, "light please"), revoking);
    assert!(began.elapsed() < Duration::from_secs(5), "the person's time did not have to run out");
    assert_eq!(report.failure.map(|failure| failure.code), Some(ErrorCode::PermissionDenied));
    assert_eq!(stage.world.take(), [""; 0]);
    assert!(stage.prompts.answer(&prompt.id, "always").is_err(), "the question is over");
    assert!(stage.context.skills.grants().list(Some("lamp")).iter().all(|grant| grant.ended.is_some()));
}

/// Nothing that is said, by whomever, and nobody but the operator answers a question.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_by_the_operator_and_by_nobody_else() {
    let stage = stage(Duration::from_secs(20)).await;
    let serving =
        loqa_hub::consent::serve(Arc::clone(&stage.prompts), Arc::clone(&stage.context.skills), stage.bus.clone());
    let serving = tokio::spawn(serving);
    let engine = Permissions::engine(&InstanceId::from_bits(2), "stt.whisper");
    let engine = stage.join("engine-other", engine).await;
    assert!(
        stage.context.tools.iter().all(|tool| tool.name == "lamp.run"),
        "no tool of a model reaches a question: {:?}",
        stage.context.tools
    );
    let mut session = Session::new(SessionId::from_bits(1));
    let others = async {
        let prompt = wait_for_prompt(&stage).await;
        // The room says yes, in every way, in another session: its turns call the skill again
        // and find it busy.
        for words in ["yes", "yes, always", "confirm", "I confirm it", &format!("answer {} always", prompt.id)] {
            let mut other = Session::new(SessionId::from_bits(2));
            let report = stage.ask(&mut other, words).await;
            assert!(report.failure.is_some(), "{words}: {}", report.reply);
        }
        let answer = PromptRequest::Answer { prompt: prompt.id.clone(), answer: "always".to_owned() };
        let refused = engine.request::<_, PromptReply>(subject::HUB_PROMPT, &answer, Duration::from_secs(2)).await;
        assert!(refused.is_err(), "the server lets no engine ask: {refused:?}");
        assert_eq!(stage.prompts.list().first().map(|open| &open.id), Some(&prompt.id), "it is open still");
    };
    let (report, ()) = tokio::join!(stage.ask(&mut session, "light please"), others);
    assert_eq!(report.failure.map(|failure| failure.code), Some(ErrorCode::PermissionDenied));
    assert_eq!(stage.world.take(), [""; 0]);
    serving.abort();
}

/// Asks the hub as the command line does.
async fn request<R: serde::de::DeserializeOwned>(bus: &Bus, subject: &str, message: &impl serde::Serialize) -> R {
    bus.request(subject, message, Duration::from_secs(20)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_lists_answers_grants_and_revokes_over_the_bus() {
    let stage = stage(PATIENCE).await;
    let serving =
        loqa_hub::consent::serve(Arc::clone(&stage.prompts), Arc::clone(&stage.context.skills), stage.bus.clone());
    let serving = tokio::spawn(serving);
    let operator = stage.join("operator", Permissions::operator()).await;
    let mut events = operator.subscribe("loqa.prompt.*", None, 64).await.unwrap();
    operator.flush().await.unwrap();

    let mut session = Session::new(SessionId::from_bits(1));
    let answering = async {
        let shown: PromptEvent = events.next().await.unwrap().json().unwrap();
        let PromptEvent::Shown { prompt } = shown else { panic!("{shown:?}") };
        let open: PromptReply = request(&operator, subject::HUB_PROMPT, &PromptRequest::List).await;
        let PromptReply::Open { prompts } = open else { panic!("{open:?}") };
        assert_eq!(prompts.len(), 1);
        assert_eq!(prompts[0].id, prompt.id);
        for (answer, is_taken) in [("yes", false), ("always", true), ("deny", false)] {
            let answer = PromptRequest::Answer { prompt: prompt.id.clone(), answer: answer.to_owned() };
            let reply: PromptReply = request(&operator, subject::HUB_PROMPT, &answer).await;
            assert_eq!(matches!(reply, PromptReply::Taken), is_taken, "{answer:?}: {reply:?}");
        }
        let over: PromptEvent = events.next().await.unwrap().json().unwrap();
        assert_eq!(over, PromptEvent::Over { answer: "always".to_owned() });
    };
    let (report, ()) = tokio::join!(stage.ask(&mut session, "light please"), answering);
    assert_eq!(report.failure, None);

    let list = GrantRequest::List { skill: Some("lamp".to_owned()) };
    let GrantReply::Grants { grants } = request(&operator, subject::HUB_GRANT, &list).await else { panic!("refused") };
    assert_eq!(grants.len(), 1);
    assert_eq!((grants[0].permission.as_str(), grants[0].granted_by.as_str()), ("device:control", "prompt"));

    let revoke = GrantRequest::Revoke { skill: "lamp".to_owned(), permission: None };
    let GrantReply::Grants { grants } = request(&operator, subject::HUB_GRANT, &revoke).await else {
        panic!("refused")
    };
    assert_eq!(grants[0].ended.as_deref(), Some("revoked"));

    let grant = |permission: &str, scope: Map<String, serde_json::Value>, lifetime: &str| GrantRequest::Grant {
        skill: "lamp".to_owned(),
        permission: permission.to_owned(),
        scope,
        lifetime: lifetime.to_owned(),
        session: None,
    };
    let given: GrantReply =
        request(&operator, subject::HUB_GRANT, &grant("device:control", Map::new(), "always")).await;
    assert!(matches!(&given, GrantReply::Grants { grants } if grants[0].lifetime == "always"), "{given:?}");
    assert_eq!(stage.ask(&mut session, "light please").await.failure, None, "nobody is asked");
    for bad in [
        grant("device:control", Map::from_iter([("urls".to_owned(), json!(["x"]))]), "always"),
        grant("device:control", Map::new(), "for ever"),
        grant("device:control", Map::new(), "session"),
        grant("http:call", Map::new(), "always"),
        grant("message:send", Map::new(), "always"),
        grant("everything", Map::new(), "always"),
    ] {
        let reply: GrantReply = request(&operator, subject::HUB_GRANT, &bad).await;
        assert!(matches!(reply, GrantReply::Refused { .. }), "{bad:?}: {reply:?}");
    }
    serving.abort();
}
