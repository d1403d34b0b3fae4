//! Input of a dry run from a file, one JSON object per line.

use super::Input;
use crate::SkillEvent;
use crate::host_call::HostFunction;
use loqa_protocol::{TimedEvent, ToolCall, TurnEvent};
use serde::Deserialize;
use serde_json::{Map, Value};

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub enum Recorded {
    /// To be given to the skill.
    Input(Input),
    /// To be answered to its next simulated call of that function.
    Answer(HostFunction, Value),
}

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line}: {reason}; a line is {{\"text\"}}, {{\"tool\", \"arguments\"}}, {{\"event\", \"data\"}}, \
     {{\"answer\", \"value\"}} or a recorded event of a turn"
)]
pub struct RecordedFault {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Text(Text),
    Tool(Tool),
    Answer(Answer),
    Event(Event),
    Turn(Box<TimedEvent>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tool {
    tool: String,
    #[serde(default)]
    arguments: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    answer: String,
    value: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    event: String,
    #[serde(default)]
    data: Value,
}

/// Reads a file of recorded or written input. Of a turn's recorded events the transcript
/// is taken; the others say what happened because of it.
pub fn read_recorded(text: &str) -> Result<Vec<Recorded>, RecordedFault> {
    let mut recorded = Vec::new();
    for (idx, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fault = |reason: String| RecordedFault { line: idx + 1, reason };
        let line = serde_json::from_str::<Line>(line).map_err(|error| fault(error.to_string()))?;
        recorded.extend(match line {
            Line::Text(Text { text }) => Some(Recorded::Input(Input::Text(text))),
            Line::Tool(Tool { tool, arguments }) => {
                Some(Recorded::Input(Input::Tool(ToolCall { name: tool, arguments })))
            }
            Line::Event(Event { event, data }) => Some(Recorded::Input(Input::Event(SkillEvent { name: event, data }))),
            Line::Answer(Answer { answer, value }) => {
                let function = HostFunction::from_name(&answer)
                    .ok_or_else(|| fault(format!("there is no host function `{answer}`")))?;
                Some(Recorded::Answer(function, value))
            }
            Line::Turn(timed) => match timed.event {
                TurnEvent::TranscriptFinal { text, .. } => Some(Recorded::Input(Input::Text(text))),
                _ => None,
            },
        });
    }
    Ok(recorded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_lines_and_recorded_turns_are_read() {
        let turn = r#"{"session":"s-0000000000000001","turn":"t-0000000000000001","seq":1,"at_us":5,"event":{"type":"transcript_final","text":"hello","confidence":1.0}}"#;
        let other = r#"{"session":"s-0000000000000001","turn":"t-0000000000000001","seq":2,"at_us":6,"event":{"type":"first_sound"}}"#;
        let lines =
            format!("{{\"text\":\"a\"}}\n\n{{\"tool\":\"x.y\"}}\n{turn}\n{other}\n{{\"answer\":\"http\",\"value\":1}}");
        let read = read_recorded(&lines).unwrap();
        assert_eq!(read.len(), 4, "{read:?}");
        assert_eq!(read[2], Recorded::Input(Input::Text("hello".into())));
        assert_eq!(read[3], Recorded::Answer(HostFunction::Http, Value::from(1)));
        for (line, at) in [("{}", 1), ("\n[1]", 2), ("{\"text\":1}", 1), ("{\"answer\":\"fly\",\"value\":1}", 1)] {
            assert_eq!(read_recorded(line).unwrap_err().line, at, "{line}");
        }
    }
}
