//! Running recorded turns again, on another hub, and saying what comes out differently:
//! another model, another tier, another version of a skill.
//!
//! The turns run as they always do, from the input to the answer. What keeps them from
//! acting is the hub that they run on: [`rehearsal`] sets one up with a data folder of
//! its own, so without grants, secrets, devices and addresses, and in which nothing is kept.
//!
//! Deliberately absent: judging which answer is better.

mod rehearsal;

pub use rehearsal::{ReplayError, Replayed, Report, Through, run};

use crate::Hub;
use crate::config::{Config, ConfigError};
use crate::hub::TurnOptions;
use crate::session::VoiceInput;
use crate::session::driver::TurnInput;
use crate::sink::AudioSink;
use loqa_protocol::audio::INPUT_FRAME_SAMPLES;
use loqa_protocol::event::TurnSource;
use loqa_protocol::{Failure, SessionId, ToolCall, TurnId};
use loqa_store::{MAX_LIMIT, Page, Reader, SessionRow, StoreError, TurnRow};
use serde::Serialize;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Longest turn of a replay. Chosen: above the longest deadline of a turn.
const PATIENCE: Duration = Duration::from_mins(11);
/// Longest line of a file of recorded sessions: a recording of the longest utterance in hex, and room.
const MAX_LINE: usize = 8 << 20;

/// A session as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Its id.
    pub session: SessionId,
    /// Its turns, in their order.
    pub turns: Vec<RecordedTurn>,
}

/// A turn as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedTurn {
    /// What came of it.
    pub row: TurnRow,
    /// What was said, 16 kHz mono; a turn without is typed again.
    pub audio: Option<Vec<i16>>,
}

/// Before and after.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change<T> {
    /// As it was recorded.
    pub before: T,
    /// As it came out this time.
    pub after: T,
    /// Whether that is the same; texts are compared by their words.
    pub same: bool,
}

/// What came out of a turn this time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The recorded turn.
    pub turn: TurnId,
    /// Whether it was heard again, or typed.
    pub spoken: bool,
    /// What was heard.
    pub transcript: Change<String>,
    /// What was called.
    pub tool: Change<Option<ToolCall>>,
    /// What was answered.
    pub reply: Change<String>,
    /// From the end of speech to the first sound, in milliseconds; `same` says that both made a sound or none.
    pub latency_ms: Change<Option<f64>>,
    /// Why it failed.
    pub failure: Change<Option<Failure>>,
    /// From the input to the end of the turn, in milliseconds.
    pub took_ms: f64,
}

impl Difference {
    /// Whether it was understood in the same way: transcript, tool call, and whether it
    /// failed. With `strict` the reply counts too.
    #[must_use]
    pub const fn is_same(&self, strict: bool) -> bool {
        self.transcript.same && self.tool.same && self.failure.same && (!strict || self.reply.same)
    }
}

/// Makes a configuration one in which nothing is kept, asked or sent.
///
/// # Errors
/// Never with the keys that there are.
pub fn rehearsal(config: &mut Config) -> Result<(), ConfigError> {
    for (key, value) in [
        ("privacy.keep", "ephemeral"),
        ("home.enabled", "false"),
        ("bus.mqtt_listen", ""),
        ("llm.endpoint", ""),
        ("skills.dev", ""),
        // Nobody is there to answer.
        ("skills.prompt_ms", "1000"),
    ] {
        config.set(key, value)?;
    }
    Ok(())
}

/// A session of the store, with recordings where there are some.
///
/// # Errors
/// It is not kept, or cannot be read.
pub fn from_store(reader: &Reader, session: &SessionId) -> Result<Recorded, StoreError> {
    let mut turns = Vec::new();
    let mut page = Some(Page::first(MAX_LIMIT));
    while let Some(wanted) = page {
        let paged = reader.turns(session, &wanted)?;
        page = wanted.following(&paged);
        for row in paged.items {
            let audio = if row.recording { Some(reader.recording(&row.turn)?) } else { None };
            turns.push(RecordedTurn { row, audio });
        }
    }
    Ok(Recorded { session: session.clone(), turns })
}

/// The sessions of a file as `loqa sessions export` writes it.
///
/// # Errors
/// A line is not what it should be; the text names it.
pub fn from_lines(text: &str) -> Result<Vec<Recorded>, String> {
    let mut sessions: Vec<Recorded> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let wrong = |what: &str| format!("line {number}: {what}");
        if line.trim().is_empty() {
            continue;
        }
        if line.len() > MAX_LINE {
            return Err(wrong("longer than a turn can be"));
        }
        let value: Value = serde_json::from_str(line).map_err(|_| wrong("not JSON"))?;
        match value["type"].as_str() {
            Some("session") => {
                let row: SessionRow = serde_json::from_value(value).map_err(|e| wrong(&e.to_string()))?;
                sessions.push(Recorded { session: row.session, turns: Vec::new() });
            }
            Some("turn") => {
                let audio =
                    value["pcm_hex"].as_str().map(|hex| samples(hex).ok_or_else(|| wrong("`pcm_hex` is no audio")));
                let audio = audio.transpose()?;
                let row: TurnRow = serde_json::from_value(value).map_err(|e| wrong(&e.to_string()))?;
                match sessions.last_mut().filter(|session| session.session == row.session) {
                    Some(session) => session.turns.push(RecordedTurn { row, audio }),
                    None => return Err(wrong("a turn stands without its session before it")),
                }
            }
            Some("event") => {}
            _ => return Err(wrong("`type` is session, turn or event")),
        }
    }
    Ok(sessions)
}

fn samples(text: &str) -> Option<Vec<i16>> {
    let bytes = hex::decode(text).ok().filter(|bytes| bytes.len() % 2 == 0)?;
    Some(bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect())
}

/// Runs the turns of a session again, one after the other, in a session of their own.
/// A turn of which nothing was understood at the time is left out.
///
/// # Errors
/// A turn did not end.
pub async fn replay(hub: &Hub, recorded: &Recorded) -> anyhow::Result<Vec<Difference>> {
    let session = SessionId::from_bits(rand::random());
    let mut differences = Vec::new();
    for turn in &recorded.turns {
        let input = match &turn.audio {
            Some(samples) => spoken(samples.clone()),
            None if turn.row.transcript.is_empty() => continue,
            None => TurnInput::Text(turn.row.transcript.clone()),
        };
        let options = TurnOptions { session: Some(session.clone()), guest: true, keep_audio: None };
        let (sink, _recording) = AudioSink::memory();
        let began = Instant::now();
        let running = hub.begin_with(options, input, sink).await;
        let report = tokio::time::timeout(PATIENCE, running.report())
            .await
            .map_err(|_| anyhow::anyhow!("turn `{}` did not end when it was run again", turn.row.turn))??;
        let took_ms = began.elapsed().as_secs_f64() * 1e3;
        let row = &turn.row;
        let text = |before: &str, after: &str| Change {
            before: before.to_owned(),
            after: after.to_owned(),
            same: words(before) == words(after),
        };
        let latency = [row.latency_ms, report.latency_ms].map(|split| split.map(|split| split.total));
        differences.push(Difference {
            turn: row.turn.clone(),
            spoken: turn.audio.is_some(),
            transcript: text(&row.transcript, &report.transcript),
            tool: Change { same: row.tool == report.tool, before: row.tool.clone(), after: report.tool },
            reply: text(&row.reply, &report.reply),
            latency_ms: Change {
                same: latency[0].is_some() == latency[1].is_some(),
                before: latency[0],
                after: latency[1],
            },
            failure: Change {
                same: row.failure.as_ref().map(|it| it.code) == report.failure.as_ref().map(|it| it.code),
                before: row.failure.clone(),
                after: report.failure,
            },
            took_ms,
        });
    }
    Ok(differences)
}

/// Frames of a recording, fed at once.
fn spoken(samples: Vec<i16>) -> TurnInput {
    let (sender, audio) = mpsc::channel(64);
    tokio::spawn(async move {
        for frame in samples.chunks(INPUT_FRAME_SAMPLES) {
            if sender.send(VoiceInput::Frame { samples: frame.to_vec(), voiced: true }).await.is_err() {
                return;
            }
        }
        let _ = sender.send(VoiceInput::End { at: Instant::now() }).await;
    });
    TurnInput::Voice { source: TurnSource::PushToTalk, audio }
}

/// The words of a text, without case and punctuation.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = r#"{"type":"session","session":"s-1","scope":"persistent","started_ms":1,"last_ms":2,"ended_ms":null,"turns":1,"recordings":1,"title":"x"}"#;
    const TURN: &str = r#"{"type":"turn","turn":"t-1","session":"s-1","started_ms":1,"ended_ms":2,"source":"text","end":"completed","class":"intent","transcript":"Hi.","confidence":1.0,"reply":"","capability":null,"tool":null,"failure":null,"latency_ms":null,"recording":true,"pcm_hex":"0100feff"}"#;

    #[test]
    fn an_export_is_read_back() {
        let sessions = from_lines(&format!("{SESSION}\n{TURN}\n{{\"type\":\"event\"}}\n\n")).unwrap();
        assert_eq!(sessions.len(), 1);
        assert_eq!(sessions[0].turns[0].audio.as_deref(), Some([1i16, -2].as_slice()));
        assert_eq!(sessions[0].turns[0].row.transcript, "Hi.");
    }

    #[test]
    fn a_line_that_is_wrong_is_named() {
        for (text, expected) in [
            ("nonsense", "line 1: not JSON"),
            ("{\"type\":\"other\"}", "line 1: `type` is session, turn or event"),
            (TURN, "line 1: a turn stands without its session before it"),
        ] {
            assert_eq!(from_lines(text).unwrap_err(), expected);
        }
        let odd = TURN.replace("0100feff", "0100fe");
        assert_eq!(from_lines(&format!("{SESSION}\n{odd}")).unwrap_err(), "line 2: `pcm_hex` is no audio");
        assert!(
            from_lines(&format!("{SESSION}\n{}", TURN.replace("\"t-1\"", "7"))).unwrap_err().starts_with("line 2: ")
        );
    }

    #[test]
    fn texts_are_compared_by_their_words() {
        assert_eq!(words("Set a Timer, for 5 minutes!"), words("set a timer for 5 minutes"));
        assert_ne!(words("set a timer"), words("set the timer"));
    }
}
