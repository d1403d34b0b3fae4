//! Cuts streamed text into speakable clauses (being built).

/// Takes text as it is generated and gives clauses.
#[derive(Debug, Default)]
pub struct ClauseCutter {
    pending: String,
}

impl ClauseCutter {
    /// More text.
    pub fn push(&mut self, delta: &str) -> Vec<String> {
        self.pending.push_str(delta);
        Vec::new()
    }
    /// The rest.
    pub fn finish(&mut self) -> Option<String> {
        let text = std::mem::take(&mut self.pending);
        (!text.trim().is_empty()).then(|| text.trim().to_owned())
    }
}
