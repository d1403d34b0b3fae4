//! Every bus subject, spelled once. `docs/protocol.md` is checked against
//! [`CATALOG`]; bus permissions are built from the same functions.

use crate::id::{InstanceId, PromptId, SessionId, WorkId, is_token};

/// Engine → hub: [`crate::engine::EngineHello`], answered with [`crate::engine::HubAnswer`].
pub const ENGINE_HELLO: &str = "loqa.engine.hello";
/// Engine → hub: [`crate::engine::EngineAnnounce`], answered with [`crate::engine::HubAnswer`].
pub const ENGINE_ANNOUNCE: &str = "loqa.engine.announce";
/// Engine → hub: [`crate::engine::Heartbeat`], not answered.
pub const ENGINE_HEARTBEAT: &str = "loqa.engine.heartbeat";
/// Operator → hub: [`crate::client::AskRequest`], answered with [`crate::client::AskReply`].
pub const HUB_ASK: &str = "loqa.hub.ask";
/// Operator → hub: empty, answered with a list of [`crate::client::NodeInfo`].
pub const HUB_NODES: &str = "loqa.hub.nodes";
/// Operator → hub: [`crate::models::ModelsRequest`], answered with [`crate::models::ModelsReply`].
pub const HUB_MODELS: &str = "loqa.hub.models";
/// Operator → hub: [`crate::grant::PromptRequest`], answered with [`crate::grant::PromptReply`].
pub const HUB_PROMPT: &str = "loqa.hub.prompt";
/// Operator → hub: [`crate::grant::GrantRequest`], answered with [`crate::grant::GrantReply`].
pub const HUB_GRANT: &str = "loqa.hub.grant";
/// Operator → hub: [`crate::client::SkillsRequest`], answered with [`crate::client::SkillsReply`].
pub const HUB_SKILLS: &str = "loqa.hub.skills";
/// Operator → hub: [`crate::client::AuditRequest`], answered with [`crate::client::AuditReply`].
pub const HUB_AUDIT: &str = "loqa.hub.audit";
/// Operator → hub: [`crate::client::StoreRequest`], answered with [`crate::client::StoreReply`].
pub const HUB_STORE: &str = "loqa.hub.store";
/// Operator → hub with a microphone: [`crate::talk::KeyRequest`], answered with [`crate::talk::KeyReply`].
pub const HUB_KEY: &str = "loqa.hub.key";
/// Hub → hub: the readiness nonce.
pub const HUB_NONCE: &str = "loqa.hub.nonce";

/// Every `loqa.skill.<skill>.call`: what the hub publishes to.
pub const SKILL_CALL_ALL: &str = "loqa.skill.*.call";
/// Every `loqa.skill.<skill>.host`: what the hub subscribes to.
pub const SKILL_HOST_ALL: &str = "loqa.skill.*.host";
/// The part of a native skill's prefix on which it is called.
pub const SKILL_CALL: &str = "call";
/// The part of a native skill's prefix on which others tell it something.
pub const SKILL_IN: &str = "in";
/// Name of the hub's identity, which alone calls skills.
pub const HUB_IDENTITY: &str = "hub";

/// Queue group of all workers; NATS gives each request to one member.
pub const WORKERS: &str = "workers";

/// Hub → one engine: [`crate::engine::Control`].
#[must_use]
pub fn engine_control(instance: &InstanceId) -> String {
    format!("loqa.engine.control.{instance}")
}

/// Hub → a worker with this capability (`stt.whisper`): the request that opens work.
/// `None` when the capability is not `kind.model` in subject tokens.
#[must_use]
pub fn work(capability: &str) -> Option<String> {
    let (kind, model) = capability.split_once('.')?;
    (is_token(kind) && is_token(model)).then(|| format!("loqa.work.{capability}"))
}

/// Hub → the worker that a session is pinned to: the same request as [`work`].
/// `None` as there.
#[must_use]
pub fn work_at(capability: &str, instance: &InstanceId) -> Option<String> {
    work(capability).map(|work| format!("{work}.{instance}"))
}

/// Hub → one engine: PCM frames of one utterance.
#[must_use]
pub fn audio(instance: &InstanceId, work: &WorkId) -> String {
    format!("loqa.audio.{instance}.{work}")
}

/// All audio for one engine: what it subscribes to.
#[must_use]
pub fn audio_all(instance: &InstanceId) -> String {
    format!("loqa.audio.{instance}.*")
}

/// Hub → observers: [`crate::TimedEvent`] of one session.
#[must_use]
pub fn session_events(session: &SessionId) -> String {
    format!("loqa.event.{session}")
}

/// Hub → observers: [`crate::grant::PromptEvent`] of one question to the person.
#[must_use]
pub fn prompt(prompt: &PromptId) -> String {
    format!("loqa.prompt.{prompt}")
}

/// Hub → native skill: [`crate::skill::SkillCall`], answered with [`crate::skill::SkillAnswer`].
#[must_use]
pub fn skill_call(skill: &str) -> String {
    format!("loqa.skill.{skill}.{SKILL_CALL}")
}

/// Native skill → hub: [`crate::skill::HostCall`], answered with [`crate::skill::HostAnswer`].
#[must_use]
pub fn skill_host(skill: &str) -> String {
    format!("loqa.skill.{skill}.host")
}

/// The skill that a [`skill_host`] subject belongs to.
#[must_use]
pub fn skill_of_host(subject: &str) -> Option<&str> {
    subject.strip_prefix("loqa.skill.")?.strip_suffix(".host").filter(|skill| is_token(skill))
}

/// Hub → observers: [`crate::skill::SkillNotification`].
#[must_use]
pub fn skill_notice(skill: &str) -> String {
    format!("loqa.notice.{skill}")
}

/// Skill → whoever is granted it: what it publishes on a topic of its own. The hub
/// publishes [`crate::skill::SkillPublication`] for skills in its sandbox.
#[must_use]
pub fn skill_out(skill: &str, topic: &str) -> String {
    format!("loqa.skill.{skill}.out.{topic}")
}

/// Whoever is granted it → native skill.
#[must_use]
pub fn skill_in(skill: &str, topic: &str) -> String {
    format!("loqa.skill.{skill}.{SKILL_IN}.{topic}")
}

/// Name of a native skill's identity on the bus.
#[must_use]
pub fn skill_identity(skill: &str) -> String {
    format!("skill-{skill}")
}

/// Inbox prefix of an identity; replies to it go nowhere else.
#[must_use]
pub fn inbox_prefix(identity: &str) -> String {
    format!("_INBOX.{identity}")
}

/// How much a message matters, which decides its transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Published once; may be lost.
    FireAndForget,
    /// Request with a deadline; the sender knows whether it arrived.
    Request,
    /// Request whose reply subject receives a stream, ended by a marked last message.
    Stream,
}

impl Delivery {
    /// The word used in `docs/protocol.md`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FireAndForget => "fire-and-forget",
            Self::Request => "request",
            Self::Stream => "stream",
        }
    }
}

/// One row of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct SubjectSpec {
    /// Subject with `<name>` for the variable tokens.
    pub pattern: &'static str,
    /// Who sends to whom.
    pub direction: &'static str,
    /// Rust type of the payload, and of the reply where there is one.
    pub payload: &'static str,
    /// How it is delivered.
    pub delivery: Delivery,
}

/// Every subject that Loqa uses.
pub const CATALOG: &[SubjectSpec] = &[
    SubjectSpec {
        pattern: ENGINE_HELLO,
        direction: "engine → hub",
        payload: "EngineHello → HubAnswer",
        delivery: Delivery::Request,
    },
    SubjectSpec {
        pattern: ENGINE_ANNOUNCE,
        direction: "engine → hub",
        payload: "EngineAnnounce → HubAnswer",
        delivery: Delivery::Request,
    },
    SubjectSpec {
        pattern: ENGINE_HEARTBEAT,
        direction: "engine → hub",
        payload: "Heartbeat",
        delivery: Delivery::FireAndForget,
    },
    SubjectSpec {
        pattern: "loqa.engine.control.<instance>",
        direction: "hub → engine",
        payload: "Control → ControlAnswer",
        delivery: Delivery::Request,
    },
    SubjectSpec {
        pattern: "loqa.work.stt.<model>",
        direction: "hub → one worker",
        payload: "SttRequest → SttReply…",
        delivery: Delivery::Stream,
    },
    SubjectSpec {
        pattern: "loqa.work.llm.<model>",
        direction: "hub → one worker",
        payload: "LlmRequest → LlmReply…",
        delivery: Delivery::Stream,
    },
    SubjectSpec {
        pattern: "loqa.work.tts.<model>",
        direction: "hub → one worker",
        payload: "TtsRequest → TtsReply… and PCM chunks",
        delivery: Delivery::Stream,
    },
    SubjectSpec {
        pattern: "loqa.work.<kind>.<model>.<instance>",
        direction: "hub → engine",
        payload: "as loqa.work.<kind>.<model>",
        delivery: Delivery::Stream,
    },
    SubjectSpec {
        pattern: "loqa.audio.<instance>.<work>",
        direction: "hub → engine",
        payload: "PCM frames, then an end marker",
        delivery: Delivery::FireAndForget,
    },
    SubjectSpec {
        pattern: "loqa.event.<session>",
        direction: "hub → observers",
        payload: "TimedEvent",
        delivery: Delivery::FireAndForget,
    },
    SubjectSpec {
        pattern: "loqa.skill.<skill>.call",
        direction: "hub → native skill",
        payload: "SkillCall → SkillAnswer",
        delivery: Delivery::Request,
    },
    SubjectSpec {
        pattern: "loqa.skill.<skill>.host",
        direction: "native skill → hub",
        payload: "HostCall → HostAnswer",
        delivery: Delivery::Request,
    },
    SubjectSpec {
        pattern: "loqa.skill.<skill>.out.<topic>",
        direction: "skill → granted",
        payload: "SkillPublication, or a native skill's own",
        delivery: Delivery::FireAndForget,
    },
    SubjectSpec {
        pattern: "loqa.skill.<skill>.in.<topic>",
        direction: "granted → native skill",
        payload: "the sender's own",
        delivery: Delivery::FireAndForget,
    },
    SubjectSpec {
        pattern: "loqa.notice.<skill>",
        direction: "hub → observers",
        payload: "SkillNotification",
        delivery: Delivery::FireAndForget,
    },
    SubjectSpec {
        pattern: HUB_ASK,
        direction: "operator → hub",
        payload: "AskRequest → AskReply",
        delivery: Delivery::Request,
    },
    SubjectSpec {
        pattern: HUB_NODES,
        direction: "operator → hub",
        payload: "empty → [NodeInfo]",
        delivery: Delivery::Request,
    },
    SubjectSpec {
        pattern: HUB_MODELS,
        direction: "operator → hub",
        payload: "ModelsRequest → ModelsReply",
        delivery: Delivery::Request,
    },
    SubjectSpec {
        pattern: "loqa.prompt.<prompt>",
        direction: "hub → observers",
        payload: "PromptEvent",
        delivery: Delivery::FireAndForget,
    },
    SubjectSpec {
        pattern: HUB_PROMPT,
        direction: "operator → hub",
        payload: "PromptRequest → PromptReply",
        delivery: Delivery::Request,
    },
    SubjectSpec {
        pattern: HUB_GRANT,
        direction: "operator → hub",
        payload: "GrantRequest → GrantReply",
        delivery: Delivery::Request,
    },
    SubjectSpec {
        pattern: HUB_SKILLS,
        direction: "operator → hub",
        payload: "SkillsRequest → SkillsReply",
        delivery: Delivery::Request,
    },
    SubjectSpec {
        pattern: HUB_AUDIT,
        direction: "operator → hub",
        payload: "AuditRequest → AuditReply",
        delivery: Delivery::Request,
    },
    SubjectSpec {
        pattern: HUB_STORE,
        direction: "operator → hub",
        payload: "StoreRequest → StoreReply",
        delivery: Delivery::Request,
    },
    SubjectSpec {
        pattern: HUB_KEY,
        direction: "operator → hub",
        payload: "KeyRequest → KeyReply",
        delivery: Delivery::Request,
    },
    SubjectSpec {
        pattern: HUB_NONCE,
        direction: "hub → hub",
        payload: "readiness nonce, raw bytes",
        delivery: Delivery::FireAndForget,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_becomes_a_subject_only_as_two_tokens() {
        assert_eq!(work("stt.whisper").as_deref(), Some("loqa.work.stt.whisper"));
        for bad in ["stt", "stt.", ".x", "stt.a.b", "stt.>", "stt.*", "STT.x", ""] {
            assert_eq!(work(bad), None, "{bad} must not widen a subject");
        }
    }
}
