//! `/v1/talk`: a conversation over a WebSocket. Sound comes in as PCM between `start` and
//! `end`, events and the sound of the answer go out while they come about.
//!
//! One turn at a time and socket. Deliberately absent: finding the end of speech, which the
//! client tells, and other formats than PCM.

mod turn;

use crate::events::{close, no_socket, send, send_message};
use crate::feed::{Listener, Live};
use crate::problem::{ApiResult, Problem};
use crate::server::stopped;
use crate::state::AppState;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use loqa_hub::hub::TurnOptions;
use loqa_hub::session::driver::TurnOrder;
use loqa_hub::sink::SinkCommand;
use loqa_protocol::audio::OUTPUT_SAMPLE_RATE;
use loqa_protocol::client::TurnReport;
use loqa_protocol::{ErrorCode, SessionId, TimedEvent, TurnEvent, TurnId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use turn::RunningTalk;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use utoipa_axum::router::OpenApiRouter;

/// Longest message, in bytes: two seconds of sound. Chosen.
const MAX_MESSAGE: usize = 64 * 1024;
/// Longest wait for the last event of a turn that has ended. Chosen.
const LAST_EVENT: Duration = Duration::from_secs(2);

/// Client → hub, as text. Sound is sent as binary messages: PCM, signed 16 bit little-endian,
/// mono, 16,000 Hz, in pieces of any length up to two seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TalkRequest {
    /// The key is down: sound follows.
    Start {
        /// Continue this session, or begin a new one.
        #[serde(default)]
        session: Option<SessionId>,
        /// Whether the answer is spoken.
        #[serde(default = "yes")]
        speak: bool,
        /// Who says when the answer was heard.
        #[serde(default)]
        playback: Playback,
        /// Whether nothing of it may be kept, whatever is configured.
        #[serde(default)]
        guest: bool,
        /// Whether what is said is kept as a recording, from here on in this session; as
        /// configured when it is left out.
        #[serde(default)]
        keep_audio: Option<bool>,
    },
    /// The key is up: all was said.
    End,
    /// A typed turn.
    Text {
        /// What is typed.
        text: String,
        /// Continue this session, or begin a new one.
        #[serde(default)]
        session: Option<SessionId>,
        /// Whether the answer is spoken.
        #[serde(default = "yes")]
        speak: bool,
        /// Who says when the answer was heard.
        #[serde(default)]
        playback: Playback,
        /// Whether nothing of it may be kept, whatever is configured.
        #[serde(default)]
        guest: bool,
    },
    /// Stop the turn.
    Cancel,
    /// The person speaks over the answer: stop it.
    BargeIn,
    /// The last sample of the answer was played; for [`Playback::Reported`].
    Played,
}

fn yes() -> bool {
    true
}

/// Who says when the answer was heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Playback {
    /// It counts as heard when it was sent: for clients that keep it.
    #[default]
    Immediate,
    /// The client says `played`: for clients with a speaker. Until then the turn goes on and
    /// can be spoken over.
    Reported,
}

/// Hub → client, as text. The sound of the answer comes as binary messages between `audio`
/// and `audio_end` or `audio_stop`: PCM, signed 16 bit little-endian, mono.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TalkMessage {
    /// The turn begins.
    Started {
        /// Its session.
        session: SessionId,
        /// The turn.
        turn: TurnId,
    },
    /// Something happened in it: partial transcripts, tool calls, the text of the reply.
    Event {
        /// What.
        event: TimedEvent,
    },
    /// Sound follows.
    Audio {
        /// Samples per second.
        sample_rate: u32,
    },
    /// No more sound follows.
    AudioEnd,
    /// No more sound follows, and what waits is not to be played.
    AudioStop,
    /// The turn has ended.
    Report {
        /// How.
        report: TurnReport,
    },
    /// A message was not taken. The socket stays open.
    Problem {
        /// Why.
        problem: Problem,
    },
    /// Events were lost, because this client or the hub was too slow to take them.
    Dropped {
        /// How many.
        count: u64,
    },
}

pub(crate) fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new().route("/v1/talk", get(talk))
}

/// Shapes of the messages, for the description.
pub(crate) fn schemas(shapes: &mut Vec<(String, RefOr<Schema>)>) {
    shapes.push((TalkRequest::name().into_owned(), <TalkRequest as utoipa::PartialSchema>::schema()));
    shapes.push((TalkMessage::name().into_owned(), <TalkMessage as utoipa::PartialSchema>::schema()));
    TalkRequest::schemas(shapes);
    TalkMessage::schemas(shapes);
}

async fn talk(
    State(state): State<Arc<AppState>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> ApiResult<Response> {
    let upgrade = upgrade.map_err(|rejection| no_socket(&rejection))?;
    let place = state.limits.socket()?;
    let upgrade = upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
    Ok(upgrade.on_upgrade(move |socket| converse(socket, state, place)))
}

/// Everything that can wake a conversation.
enum Wake {
    Client(Option<Result<Message, axum::Error>>),
    Live(Option<Live>),
    Sink(Option<SinkCommand>),
    Ended(anyhow::Result<TurnReport>),
    /// Nobody said that the answer was played.
    Unplayed,
    Stopped,
}

async fn converse(socket: WebSocket, state: Arc<AppState>, place: OwnedSemaphorePermit) {
    let mut stopping = state.stopping.clone();
    let mut conversation = Conversation { socket, listener: state.feed.listen(), turn: None, state };
    loop {
        let wake = conversation.wait(&mut stopping).await;
        if !conversation.take(wake).await {
            break;
        }
    }
    let Conversation { socket, state, turn, .. } = conversation;
    // Dropping a turn cancels it.
    drop((state, turn));
    close(socket, place).await;
}

struct Conversation {
    socket: WebSocket,
    listener: Listener,
    turn: Option<RunningTalk>,
    state: Arc<AppState>,
}

impl Conversation {
    async fn wait(&mut self, stopping: &mut tokio::sync::watch::Receiver<bool>) -> Wake {
        let Self { socket, listener, turn, .. } = self;
        let of_turn = async {
            match turn {
                Some(turn) => turn.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stopped(stopping) => Wake::Stopped,
            wake = of_turn => wake,
            live = listener.next() => Wake::Live(live),
            message = socket.recv() => Wake::Client(message),
        }
    }

    /// `false` when the conversation is over.
    async fn take(&mut self, wake: Wake) -> bool {
        match wake {
            Wake::Stopped | Wake::Live(None) | Wake::Client(None | Some(Err(_) | Ok(Message::Close(_)))) => false,
            Wake::Client(Some(Ok(message))) => self.take_message(message).await,
            Wake::Live(Some(live)) => self.pass_on(live).await,
            Wake::Sink(command) => self.play(command).await,
            Wake::Unplayed => {
                if let Some(turn) = &mut self.turn {
                    turn.played();
                }
                true
            }
            Wake::Ended(report) => self.end(report).await,
        }
    }

    async fn say(&mut self, message: &TalkMessage) -> bool {
        send(&mut self.socket, message).await
    }

    async fn complain(&mut self, problem: Problem) -> bool {
        self.say(&TalkMessage::Problem { problem }).await
    }

    async fn take_message(&mut self, message: Message) -> bool {
        match message {
            Message::Binary(bytes) => match self.turn.as_mut().map_or(Ok(()), |turn| turn.hear(&bytes)) {
                Ok(()) => true,
                Err(problem) => self.complain(problem).await,
            },
            Message::Text(text) => match serde_json::from_str(text.as_str()) {
                Ok(request) => self.take_request(request).await,
                Err(error) => self.complain(Problem::bad_request(error.to_string())).await,
            },
            // Answered by reading them.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => true,
        }
    }

    async fn take_request(&mut self, request: TalkRequest) -> bool {
        let begun = match request {
            TalkRequest::Start { session, speak, playback, guest, keep_audio } => {
                self.begin(None, TurnOptions { session, guest, keep_audio }, speak, playback).await
            }
            TalkRequest::Text { text, session, speak, playback, guest } => {
                self.begin(Some(text), TurnOptions { session, guest, keep_audio: None }, speak, playback).await
            }
            other => {
                let Some(turn) = &mut self.turn else {
                    return self.complain(Problem::new(ErrorCode::Conflict, "no turn runs on this socket")).await;
                };
                match other {
                    TalkRequest::End => turn.end_of_speech(),
                    TalkRequest::Cancel => turn.order(TurnOrder::Cancel),
                    TalkRequest::BargeIn => turn.order(TurnOrder::BargeIn),
                    TalkRequest::Played => turn.played(),
                    TalkRequest::Start { .. } | TalkRequest::Text { .. } => {}
                }
                return true;
            }
        };
        match begun {
            Ok((session, turn)) => self.say(&TalkMessage::Started { session, turn }).await,
            Err(problem) => self.complain(problem).await,
        }
    }

    async fn begin(
        &mut self,
        text: Option<String>,
        options: TurnOptions,
        speak: bool,
        playback: Playback,
    ) -> ApiResult<(SessionId, TurnId)> {
        if self.turn.is_some() {
            let detail = "a turn runs on this socket: end it with `cancel` or `barge_in` and wait for its report";
            return Err(Problem::new(ErrorCode::Conflict, detail));
        }
        let turn = RunningTalk::begin(&self.state.hub, text, options, speak, playback).await?;
        let ids = (turn.session.clone(), turn.turn.clone());
        self.turn = Some(turn);
        Ok(ids)
    }

    async fn pass_on(&mut self, live: Live) -> bool {
        match live {
            Live::Turn { event } => match &mut self.turn {
                Some(turn) if turn.turn == event.turn => {
                    turn.saw(&event.event);
                    self.say(&TalkMessage::Event { event }).await
                }
                // Of others: none of this client's business.
                Some(_) | None => true,
            },
            Live::Dropped { count } if self.turn.is_some() => self.say(&TalkMessage::Dropped { count }).await,
            Live::Dropped { .. }
            | Live::PromptShown { .. }
            | Live::PromptOver { .. }
            | Live::Notice { .. }
            | Live::ModelPull { .. } => true,
        }
    }

    async fn play(&mut self, command: Option<SinkCommand>) -> bool {
        let Some(turn) = &mut self.turn else { return true };
        match command {
            Some(SinkCommand::Chunk(samples)) => {
                let first = turn.chunk(samples.len());
                let audio = TalkMessage::Audio { sample_rate: OUTPUT_SAMPLE_RATE };
                if first && !self.say(&audio).await {
                    return false;
                }
                let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
                let sent = send_message(&mut self.socket, Message::Binary(bytes.into())).await;
                if let Some(turn) = self.turn.as_mut().filter(|_| first && sent) {
                    turn.first_sample(Instant::now());
                }
                sent
            }
            Some(SinkCommand::Finish) => {
                let sound = turn.finish();
                !sound || self.say(&TalkMessage::AudioEnd).await
            }
            Some(SinkCommand::Stop) => {
                let sound = turn.stop();
                !sound || self.say(&TalkMessage::AudioStop).await
            }
            None => {
                turn.sink_is_gone();
                true
            }
        }
    }

    /// Events come over the bus and may be behind the report: those are waited for.
    async fn end(&mut self, report: anyhow::Result<TurnReport>) -> bool {
        let end = Instant::now() + LAST_EVENT;
        while self.turn.as_ref().is_some_and(|turn| !turn.is_ended) {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(live) = tokio::time::timeout(left, self.listener.next()).await else { break };
            let Some(live) = live else { return false };
            if !self.pass_on(live).await {
                return false;
            }
        }
        self.turn = None;
        match report {
            Ok(report) => self.say(&TalkMessage::Report { report }).await,
            Err(error) => self.complain(Problem::new(ErrorCode::ShuttingDown, format!("{error:#}"))).await,
        }
    }
}

/// Whether this is the last event of its turn.
fn is_last(event: &TurnEvent) -> bool {
    matches!(event, TurnEvent::TurnEnded { .. })
}
