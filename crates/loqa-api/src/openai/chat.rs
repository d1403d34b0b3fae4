//! `POST /v1/chat/completions`: a typed turn with the hub's own planner and skills.
//!
//! The last message is what is said; earlier ones are the conversation that the model is
//! shown. The hub has instructions and tools of its own, so `system` messages are passed
//! over and requests with tools are refused.

use super::error::OpenAiError;
use super::{PROGRAM, Place, Shared, body, models};
use axum::extract::{Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use futures_util::stream;
use loqa_bus::Subscription;
use loqa_hub::RunningTurn;
use loqa_protocol::client::TurnReport;
use loqa_protocol::llm::{ChatMessage, Role};
use loqa_protocol::{ErrorCode, Failure, Hop, SessionId, TimedEvent, TurnEvent, TurnId, subject};
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Earlier messages that the model is shown: as many as a session remembers.
const MAX_EARLIER: usize = 12;
/// Characters of them. Chosen: a small model's window holds some thousand tokens.
const MAX_EARLIER_CHARS: usize = 8_000;
/// Events of a turn that may wait; a gap is filled from the report.
const EVENTS: usize = 256;
/// Pieces of an answer that may wait for the client; a full channel makes the rest wait.
const PIECES: usize = 32;
/// A line of nothing keeps the connection alive while the person is asked. Chosen.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Asked {
    model: String,
    messages: Vec<Message>,
    #[serde(default)]
    stream: Option<bool>,
    n: Option<u32>,
    tools: Option<Vec<Value>>,
    functions: Option<Vec<Value>>,
    response_format: Option<Value>,
    logprobs: Option<bool>,
    modalities: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    Extension(place): Extension<Place>,
    request: Request,
) -> Result<Response, OpenAiError> {
    let asked: Asked = body::json(request).await?;
    models::chats(&asked.model)?;
    refuse_what_is_not_done(&asked)?;
    let (earlier, said) = conversation(asked.messages)?;
    let session = SessionId::from_bits(rand::random());
    if asked.stream == Some(true) {
        return streamed(shared, place, session, earlier, said).await;
    }
    let running = shared.hub.ask_once_for(PROGRAM, session, earlier, said).await;
    let report = report_of(running).await?;
    Ok(Json(json!({
        "id": id_of(&report.turn),
        "object": "chat.completion",
        "created": seconds_now(),
        "model": models::LOQA,
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": report.reply, "refusal": null},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "loqa": details(&report),
    }))
    .into_response())
}

fn refuse_what_is_not_done(asked: &Asked) -> Result<(), OpenAiError> {
    let is_some = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if is_some(&asked.tools) || is_some(&asked.functions) {
        return Err(OpenAiError::unsupported("tools", "the hub uses its own skills; send no tools"));
    }
    if asked.n.is_some_and(|n| n != 1) {
        return Err(OpenAiError::unsupported("n", "there is one answer"));
    }
    if asked.response_format.as_ref().is_some_and(|format| format["type"] != "text") {
        return Err(OpenAiError::unsupported("response_format", "the answer is a text"));
    }
    if asked.logprobs == Some(true) {
        return Err(OpenAiError::unsupported("logprobs", "there are no probabilities"));
    }
    if asked.modalities.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| kind != "text")) {
        return Err(OpenAiError::unsupported("modalities", "the answer is a text; `/v1/audio/speech` speaks it"));
    }
    Ok(())
}

/// What was said before, and what is said.
fn conversation(messages: Vec<Message>) -> Result<(Vec<ChatMessage>, String), OpenAiError> {
    let mut all = Vec::new();
    for message in messages {
        let role = match message.role.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" | "developer" => continue,
            _ => {
                let reason = "there are the roles user, assistant, system and developer";
                return Err(OpenAiError::unsupported("messages", reason));
            }
        };
        let content = match message.content {
            None => String::new(),
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => text_of(parts)?,
        };
        all.push(ChatMessage { role, content });
    }
    let Some(ChatMessage { role: Role::User, content: said }) = all.pop() else {
        return Err(OpenAiError::parameter("messages", "the last message must be the user's"));
    };
    all.retain(|message| !message.content.is_empty());
    all.drain(..all.len().saturating_sub(MAX_EARLIER));
    while all.iter().map(|message| message.content.chars().count()).sum::<usize>() > MAX_EARLIER_CHARS {
        all.remove(0);
    }
    Ok((all, said))
}

fn text_of(parts: Vec<Part>) -> Result<String, OpenAiError> {
    let mut text = Vec::new();
    for part in parts {
        match (part.kind.as_str(), part.text) {
            ("text", Some(piece)) => text.push(piece),
            _ => return Err(OpenAiError::unsupported("messages", "contents are texts; there are no images or sounds")),
        }
    }
    Ok(text.join("\n"))
}

/// The report of a turn that has an answer.
async fn report_of(running: RunningTurn) -> Result<TurnReport, OpenAiError> {
    let ended = running.report().await;
    let report = ended.map_err(|_| Failure::new(Hop::Hub, ErrorCode::ShuttingDown, "the hub is stopping"))?;
    match &report.failure {
        Some(failure) if !is_answer(&report, failure) => Err(failure.clone().into()),
        Some(_) | None => Ok(report),
    }
}

/// What the assistant cannot or may not do it says in words; that is an answer.
fn is_answer(report: &TurnReport, failure: &Failure) -> bool {
    let is_about_the_wish = matches!(
        failure.code,
        ErrorCode::NotUnderstood
            | ErrorCode::PermissionDenied
            | ErrorCode::ToolUnknown
            | ErrorCode::ToolArguments
            | ErrorCode::SkillFault
    );
    is_about_the_wish && !report.reply.is_empty()
}

/// The turn in Loqa's own words, for clients that know it.
fn details(report: &TurnReport) -> Value {
    json!({"turn": report.turn, "class": report.class, "tool": report.tool, "failure": report.failure})
}

/// Sends the answer clause by clause. Until the first one the answer may still be an error.
async fn streamed(
    shared: Arc<Shared>,
    place: Place,
    session: SessionId,
    earlier: Vec<ChatMessage>,
    said: String,
) -> Result<Response, OpenAiError> {
    let no_bus = |_| Failure::new(Hop::Hub, ErrorCode::BusUnavailable, "the hub's events cannot be heard");
    let events = shared.bus.subscribe(&subject::session_events(&session), None, EVENTS).await.map_err(no_bus)?;
    // Nothing of the turn happens before the subscription is in force.
    shared.bus.flush().await.map_err(no_bus)?;
    let running = shared.hub.ask_once_for(PROGRAM, session, earlier, said).await;
    let turn = running.turn.clone();
    let (sender, pieces) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        follow(events, running, sender).await;
        drop(place);
    });
    let mut pieces = pieces;
    let first = match pieces.recv().await {
        Some(Piece::Failed(error)) => return Err(error),
        Some(piece) => piece,
        None => return Err(Failure::new(Hop::Hub, ErrorCode::ShuttingDown, "the hub is stopping").into()),
    };
    let head = Head { id: id_of(&turn), created: seconds_now() };
    let begin = stream::iter([Ok::<_, Infallible>(head.chunk(json!({"role": "assistant", "content": ""}), None))]);
    let rest = stream::unfold((Some(first), pieces), move |(next, mut pieces)| {
        let head = head.clone();
        async move {
            let piece = match next {
                Some(piece) => piece,
                None => pieces.recv().await?,
            };
            Some((Ok(head.event(piece)), (None, pieces)))
        }
    });
    let events = futures_util::StreamExt::chain(begin, rest);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// A piece of a streamed answer.
enum Piece {
    Text(String),
    Done(Value),
    Failed(OpenAiError),
    End,
}

/// Hands on what is said as it is said. What the bus lost comes from the report.
async fn follow(mut events: Subscription, running: RunningTurn, pieces: mpsc::Sender<Piece>) {
    let turn = running.turn.clone();
    let mut said = Assembled::default();
    let report = report_of(running);
    tokio::pin!(report);
    let report = loop {
        tokio::select! {
            report = &mut report => break report,
            Some(message) = events.next() => {
                let Ok(timed) = message.json::<TimedEvent>() else { continue };
                if timed.turn == turn
                    && let Some(text) = said.take(&timed)
                {
                    let _ = pieces.send(Piece::Text(text)).await;
                }
            }
        }
    };
    match report {
        Ok(report) => {
            if let Some(rest) = said.rest(&report.reply) {
                let _ = pieces.send(Piece::Text(rest)).await;
            }
            let _ = pieces.send(Piece::Done(details(&report))).await;
        }
        Err(error) => {
            let _ = pieces.send(Piece::Failed(error)).await;
        }
    }
    let _ = pieces.send(Piece::End).await;
}

/// What was sent so far: always a beginning of the reply.
#[derive(Default)]
struct Assembled {
    text: String,
    next_seq: u32,
    has_gap: bool,
}

impl Assembled {
    /// The text that an event adds.
    fn take(&mut self, timed: &TimedEvent) -> Option<String> {
        self.has_gap |= timed.seq != self.next_seq;
        self.next_seq = timed.seq.saturating_add(1);
        let TurnEvent::SpeakingStarted { text } = &timed.event else { return None };
        if self.has_gap {
            return None;
        }
        let space = if self.text.is_empty() { "" } else { " " };
        let piece = format!("{space}{}", text.trim());
        self.text.push_str(&piece);
        Some(piece)
    }

    /// What of the whole reply is not sent yet.
    fn rest(&self, reply: &str) -> Option<String> {
        reply.strip_prefix(&self.text).filter(|rest| !rest.is_empty()).map(str::to_owned)
    }
}

/// What all chunks of an answer share.
#[derive(Clone)]
struct Head {
    id: String,
    created: u64,
}

impl Head {
    fn event(&self, piece: Piece) -> Event {
        match piece {
            Piece::Text(text) => self.chunk(json!({"content": text}), None),
            Piece::Done(details) => self.chunk(json!({}), Some(details)),
            Piece::Failed(error) => Event::default().data(error.object().to_string()),
            Piece::End => Event::default().data("[DONE]"),
        }
    }

    /// One chunk; the last one has the details and says that it is the last.
    fn chunk(&self, delta: Value, details: Option<Value>) -> Event {
        let finish_reason = details.as_ref().map(|_| "stop");
        let mut chunk = json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": models::LOQA,
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}],
        });
        if let (Some(details), Some(chunk)) = (details, chunk.as_object_mut()) {
            chunk.insert("loqa".to_owned(), details);
        }
        Event::default().data(chunk.to_string())
    }
}

fn id_of(turn: &TurnId) -> String {
    format!("chatcmpl-{turn}")
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(json: Value) -> Result<(Vec<ChatMessage>, String), OpenAiError> {
        conversation(serde_json::from_value(json).unwrap())
    }

    #[test]
    fn the_last_message_is_said_and_the_earlier_ones_are_remembered() {
        let (earlier, said) = messages(json!([
            {"role": "system", "content": "be a pirate"},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "hi"},
            {"role": "assistant", "content": null},
            {"role": "user", "content": [{"type": "text", "text": "set a timer"}, {"type": "text", "text": "please"}]},
        ]))
        .unwrap();
        assert_eq!(said, "set a timer\nplease");
        let earlier: Vec<_> = earlier.iter().map(|message| (message.role, message.content.as_str())).collect();
        assert_eq!(earlier, [(Role::User, "hello"), (Role::Assistant, "hi")]);
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        for wrong in [
            json!([]),
            json!([{"role": "assistant", "content": "hi"}]),
            json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]),
            json!([{"role": "tool", "content": "42"}, {"role": "user", "content": "a"}]),
            json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]),
        ] {
            assert!(messages(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_long_conversation_loses_its_beginning() {
        let long: Vec<Value> =
            (0..60).map(|i| json!({"role": "user", "content": format!("{i} {}", "x".repeat(990))})).collect();
        let (earlier, said) = messages(Value::Array(long)).unwrap();
        assert!(said.starts_with("59"));
        assert!(earlier.len() <= 8 && earlier.last().unwrap().content.starts_with("58"), "{}", earlier.len());
    }

    #[test]
    fn a_lost_event_never_changes_the_answer() {
        let timed = |seq, text: &str| TimedEvent {
            session: SessionId::from_bits(1),
            turn: TurnId::from_bits(1),
            seq,
            at_us: 0,
            event: TurnEvent::SpeakingStarted { text: text.to_owned() },
        };
        let events = [timed(0, "One. "), timed(1, "Two."), timed(2, "Three.")];
        for lost in 0..=events.len() {
            let mut said = Assembled::default();
            let kept = events.iter().enumerate().filter(|(at, _)| *at != lost).map(|(_, event)| event);
            let mut all: String = kept.filter_map(|event| said.take(event)).collect();
            all.extend(said.rest("One. Two. Three."));
            assert_eq!(all, "One. Two. Three.", "without {lost}");
        }
    }
}
