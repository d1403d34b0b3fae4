//! What the hub and a native skill say to each other. A native skill is a program of
//! its own; it gets its boot line on standard input like an engine, and calls and
//! host calls go over the bus.

use crate::id::CallId;
use crate::{ErrorCode, PrivacyScope, ToolOutcome};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The one line on a native skill's standard input. Holds a secret: never logged.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkillBoot {
    /// [`crate::PROTOCOL_VERSION`] of the hub; a skill that speaks another one ends.
    pub protocol: u32,
    /// `nats://127.0.0.1:<port>`.
    pub url: String,
    /// Name of its identity on the bus.
    pub identity: String,
    /// nkey seed of that identity.
    pub seed: String,
    /// Name of the skill, as in its manifest.
    pub skill: String,
    /// Folder that it may write to.
    pub data_dir: String,
    /// What the user has set for it.
    pub settings: Map<String, Value>,
}

impl std::fmt::Debug for SkillBoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Settings may hold passwords.
        f.debug_struct("SkillBoot").field("skill", &self.skill).field("url", &self.url).finish_non_exhaustive()
    }
}

/// What the hub asks of a native skill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum SkillCall {
    /// Run a tool; the arguments have passed the manifest's schema.
    Tool {
        /// Names this call in host calls and in a cancel.
        call: CallId,
        /// How long what led to it may be remembered.
        #[serde(default)]
        scope: PrivacyScope,
        /// Name of the tool.
        tool: String,
        /// Its arguments.
        arguments: Map<String, Value>,
        /// Answer within this many milliseconds; later answers are not read.
        deadline_ms: u64,
    },
    /// Switch a device for another skill, which the gate has allowed to. Only a skill that
    /// has `device:control` itself is asked.
    Device {
        /// As in a tool's call.
        call: CallId,
        /// As in a tool's call.
        #[serde(default)]
        scope: PrivacyScope,
        /// `turn_on`, `set_temperature` and the like, as Home Assistant names its services.
        operation: String,
        /// `domain.name`.
        entity: String,
        /// Parameters of the operation.
        data: Map<String, Value>,
        /// As in a tool's call.
        deadline_ms: u64,
    },
    /// Nobody waits for that call any more.
    Cancel {
        /// Which.
        call: CallId,
    },
    /// Answer with [`SkillAnswer::Pong`].
    Ping,
}

/// What a native skill answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum SkillAnswer {
    /// The tool ran, or the device was told.
    Done {
        /// What it brought; of a device, `data` says what became of it.
        outcome: ToolOutcome,
    },
    /// The tool did not run.
    Failed {
        /// `tool_arguments`, `permission_denied` or `skill_fault`.
        code: ErrorCode,
        /// For the log at DEBUG: it may repeat what the user said.
        message: String,
    },
    /// It is alive, or has taken note.
    Pong,
}

/// A native skill asks the hub for a host function. Every one passes the same gate as a
/// host call of a WASM skill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostCall {
    /// The call that it works on; null for what the skill does unasked.
    pub call: Option<CallId>,
    /// Name of the host function, as WASM skills import it.
    pub function: String,
    /// Its arguments.
    pub arguments: Value,
}

/// The hub's answer to a host call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HostAnswer {
    /// It was done; what it brought.
    Ok(Value),
    /// It was not done.
    Error {
        /// For programs: `not_granted`, `bad_arguments` and so on.
        code: String,
        /// For people.
        message: String,
    },
}

/// What a skill published, for observers and for skills that subscribed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkillPublication {
    /// Who published it.
    pub skill: String,
    /// Below the skill's own prefix.
    pub topic: String,
    /// The skill's own.
    pub data: Value,
}

/// What a skill shows the user, for whoever has a screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkillNotification {
    /// Who shows it.
    pub skill: String,
    /// Foreign text: escape it, never style it.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_line_does_not_show_its_secrets() {
        let boot = SkillBoot {
            protocol: 1,
            url: "nats://127.0.0.1:1".into(),
            identity: "skill-home".into(),
            seed: "SUSECRET".into(),
            skill: "home".into(),
            data_dir: "/d".into(),
            settings: [("password".to_owned(), Value::from("PASSWORD"))].into_iter().collect(),
        };
        let shown = format!("{boot:?}");
        assert!(!shown.contains("SUSECRET") && !shown.contains("PASSWORD"), "{shown}");
    }
}
