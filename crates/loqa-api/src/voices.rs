//! The voices of the configured speech engine, and texts in the pieces that it speaks.

use loqa_hub::Hub;
use loqa_turn::clause::ClauseCutter;

/// Longest text that is spoken for another program, in characters: what OpenAI takes too.
pub(crate) const MAX_SPOKEN: usize = 4_096;

/// Names of the voices; empty while the engine starts.
pub(crate) fn voices(hub: &Hub) -> Vec<String> {
    let nodes = hub.nodes();
    let capabilities = nodes.iter().flat_map(|node| &node.capabilities);
    capabilities.filter(|it| it.name.starts_with("tts.")).flat_map(|it| it.voices.clone()).collect()
}

/// The text in clauses; empty when there is nothing to pronounce.
pub(crate) fn clauses(text: &str) -> Vec<String> {
    let mut cutter = ClauseCutter::default();
    let mut clauses = cutter.push(text);
    clauses.extend(cutter.finish());
    clauses
}
