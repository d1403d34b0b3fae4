//! Utterance templates (being built).
use loqa_protocol::ToolCall;

/// The utterances of one tool, as a skill declares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntentDecl {
    /// Name of the tool, for example `timer.start`.
    pub tool: String,
    /// The templates.
    pub say: Vec<String>,
}

/// Compiled templates.
#[derive(Debug, Default)]
pub struct IntentIndex {}

/// A fault in a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{tool}: {message}")]
pub struct TemplateError {
    /// Tool.
    pub tool: String,
    /// Message.
    pub message: String,
}

/// What was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct IntentMatch {
    /// The call.
    pub call: ToolCall,
    /// The template.
    pub template: String,
    /// What was left over.
    pub leftover: String,
}

impl IntentIndex {
    /// Compiles.
    pub fn compile(_decls: &[IntentDecl]) -> Result<Self, Vec<TemplateError>> {
        Ok(Self {})
    }
    /// Finds.
    #[must_use]
    pub fn find(&self, _text: &str) -> Option<IntentMatch> {
        None
    }
}
