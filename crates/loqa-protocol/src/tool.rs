//! What a skill offers and how it is called. The JSON Schema of the parameters
//! comes from the skill's manifest and is used for prompts, grammars and checks.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What calling a tool can do to the world; declared in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ToolEffect {
    /// Only looks something up.
    Read,
    /// Changes something that is easily undone.
    Safe,
    /// Needs a confirmation.
    Sensitive,
}

/// A tool as it is offered to a planner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ToolSpec {
    /// `skill.verb`, for example `timer.start`.
    pub name: String,
    /// One sentence for a language model.
    pub description: String,
    /// JSON Schema of the arguments, always of type `object`.
    pub parameters: Value,
    /// What a call can do.
    pub effect: ToolEffect,
}

/// A call of a tool, before any check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// Name of the tool, as in [`ToolSpec::name`].
    pub name: String,
    /// Arguments by name.
    #[serde(default)]
    pub arguments: Map<String, Value>,
}

/// What a tool call brought.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ToolOutcome {
    /// What to say to the user, ready to be spoken. Empty: the planner words it.
    #[serde(default)]
    pub say: String,
    /// Data for a language model or an API client.
    #[serde(default)]
    pub data: Value,
}
