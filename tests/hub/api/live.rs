//! The two WebSockets: what happens, as it happens, and a conversation with sound.

use super::{Api, QUIET};
use futures_util::{SinkExt as _, StreamExt as _};
use loqa_api::feed::Live;
use loqa_api::talk::{Playback, TalkMessage, TalkRequest};
use loqa_protocol::TurnEvent;
use loqa_protocol::client::TurnReport;
use loqa_tests::{PATIENCE, speech};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

pub async fn connect(api: &Api, path: &str) -> Socket {
    let mut request = format!("ws://{}{path}", api.server.address()).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", api.token).parse().unwrap());
    connect_async(request).await.unwrap().0
}

async fn next(socket: &mut Socket) -> Message {
    tokio::time::timeout(PATIENCE, socket.next()).await.expect("a message comes").expect("the socket is open").unwrap()
}

pub async fn say(socket: &mut Socket, request: &TalkRequest) {
    socket.send(Message::text(serde_json::to_string(request).unwrap())).await.unwrap();
}

/// One turn, up to its report.
#[derive(Debug, Default)]
struct Heard {
    session: String,
    turn: String,
    events: Vec<TurnEvent>,
    samples: Vec<i16>,
    sample_rate: u32,
    audio_ended: bool,
    audio_stopped: bool,
    report: Option<TurnReport>,
}

impl Heard {
    /// Takes messages until this one comes; `true` when it was the report.
    async fn until(&mut self, socket: &mut Socket, wanted: impl Fn(&TalkMessage) -> bool) {
        loop {
            match next(socket).await {
                Message::Binary(bytes) => {
                    assert!(self.sample_rate > 0 && !self.audio_ended && !self.audio_stopped, "sound has its place");
                    self.samples.extend(bytes.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)));
                }
                Message::Text(text) => {
                    let message: TalkMessage = serde_json::from_str(text.as_str()).unwrap();
                    let done = wanted(&message);
                    self.take(message);
                    if done {
                        return;
                    }
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    fn take(&mut self, message: TalkMessage) {
        match message {
            TalkMessage::Started { session, turn } => {
                (self.session, self.turn) = (session.to_string(), turn.to_string());
            }
            TalkMessage::Event { event } => {
                assert_eq!(
                    (event.session.as_str(), event.turn.as_str()),
                    (&*self.session, &*self.turn),
                    "its own only"
                );
                self.events.push(event.event);
            }
            TalkMessage::Audio { sample_rate } => self.sample_rate = sample_rate,
            TalkMessage::AudioEnd => self.audio_ended = true,
            TalkMessage::AudioStop => self.audio_stopped = true,
            TalkMessage::Report { report } => self.report = Some(report),
            TalkMessage::Problem { problem } => panic!("{problem}"),
            TalkMessage::Dropped { count } => panic!("{count} events were lost"),
        }
    }

    async fn report(&mut self, socket: &mut Socket) -> TurnReport {
        self.until(socket, |message| matches!(message, TalkMessage::Report { .. })).await;
        self.report.clone().unwrap()
    }

    fn loudest(&self) -> u16 {
        self.samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0)
    }
}

fn start(playback: Playback) -> TalkRequest {
    TalkRequest::Start { session: None, speak: true, playback, guest: false, keep_audio: None }
}

/// Sends a clip in pieces of an odd number of frames, so that the hub has to cut it anew.
async fn send_clip(socket: &mut Socket, name: &str) {
    for piece in speech(name).chunks(1_234) {
        let bytes: Vec<u8> = piece.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        socket.send(Message::binary(bytes)).await.unwrap();
    }
    say(socket, &TalkRequest::End).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_over_the_socket_is_heard_done_and_answered_with_sound() {
    let api = Api::start(&[("tts.cache_bytes", "0")]).await;
    let mut observer = connect(&api, "/v1/events").await;
    let mut socket = connect(&api, "/v1/talk").await;
    say(&mut socket, &start(Playback::Immediate)).await;
    send_clip(&mut socket, "timer.wav").await;
    let mut heard = Heard::default();
    let report = heard.report(&mut socket).await;
    assert_eq!(report.failure, None);
    assert_eq!(report.transcript.to_lowercase().trim_end_matches('.'), "set a timer for 5 minutes");
    assert_eq!(report.tool.as_ref().map(|call| call.arguments["duration_s"].clone()), Some(json!(300)));
    assert!(heard.audio_ended && heard.sample_rate == 24_000);
    assert!(heard.samples.len() > 12_000 && heard.loudest() > 1_000, "half a second that can be heard");
    let names: Vec<&str> = heard.events.iter().map(TurnEvent::name).collect();
    assert_eq!((names.first(), names.last()), (Some(&"turn_started"), Some(&"turn_ended")), "{names:?}");
    for wanted in ["speech_started", "speech_ended", "transcript_final", "tool_called", "first_sound"] {
        assert!(names.contains(&wanted), "{wanted} in {names:?}");
    }

    // The other socket saw the same turn.
    let mut seen = Vec::new();
    while seen.last() != Some(&"turn_ended") {
        let Message::Text(text) = next(&mut observer).await else { panic!("text only") };
        match serde_json::from_str(text.as_str()).unwrap() {
            Live::Turn { event } if event.turn == report.turn => seen.push(event.event.name()),
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!(seen, names);

    // A typed turn in the same session, without sound.
    let text = "cancel all timers".to_owned();
    let session = Some(report.session.clone());
    let typed = TalkRequest::Text { text, session, speak: false, playback: Playback::Immediate, guest: false };
    say(&mut socket, &typed).await;
    let mut heard = Heard::default();
    let second = heard.report(&mut socket).await;
    assert_eq!((second.failure, second.session), (None, report.session));
    assert!(heard.samples.is_empty() && heard.sample_rate == 0, "nobody asked for sound");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_can_be_cancelled_and_spoken_over() {
    let api = Api::start(&[]).await;
    let mut socket = connect(&api, "/v1/talk").await;
    // In the middle of the speech.
    say(&mut socket, &start(Playback::Immediate)).await;
    let half: Vec<u8> = speech("timer.wav")[..8_000].iter().flat_map(|sample| sample.to_le_bytes()).collect();
    socket.send(Message::binary(half)).await.unwrap();
    say(&mut socket, &TalkRequest::Cancel).await;
    let report = Heard::default().report(&mut socket).await;
    assert_eq!(report.tool, None, "{report:?}");

    // Over the answer: the client says that it still plays, so the turn goes on until then.
    say(&mut socket, &start(Playback::Reported)).await;
    send_clip(&mut socket, "timer.wav").await;
    let mut heard = Heard::default();
    heard.until(&mut socket, |message| matches!(message, TalkMessage::Audio { .. })).await;
    say(&mut socket, &TalkRequest::BargeIn).await;
    let report = heard.report(&mut socket).await;
    let ended = heard.events.last().unwrap();
    assert!(matches!(ended, TurnEvent::TurnEnded { .. }), "{report:?}");
    // And the next one is heard as usual, up to the client's word that it was played.
    say(&mut socket, &start(Playback::Reported)).await;
    send_clip(&mut socket, "timer.wav").await;
    let mut heard = Heard::default();
    heard.until(&mut socket, |message| matches!(message, TalkMessage::AudioEnd)).await;
    say(&mut socket, &TalkRequest::Played).await;
    assert_eq!(heard.report(&mut socket).await.failure, None);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_conversations_at_a_time_hear_only_their_own() {
    let api = Api::start(&[("tts.cache_bytes", "0")]).await;
    let (mut one, mut two) = (connect(&api, "/v1/talk").await, connect(&api, "/v1/talk").await);
    let mut silent = connect(&api, "/v1/talk").await;
    let text = |text: &str| TalkRequest::Text {
        text: text.to_owned(),
        session: None,
        speak: true,
        playback: Playback::Immediate,
        guest: false,
    };
    say(&mut one, &text("set a tea timer for two minutes")).await;
    say(&mut two, &text("list my timers")).await;
    let (mut first, mut second) = (Heard::default(), Heard::default());
    let (one_report, two_report) = tokio::join!(first.report(&mut one), second.report(&mut two));
    assert_eq!(one_report.tool.map(|call| call.name).as_deref(), Some("timer.start"));
    assert_eq!(two_report.tool.map(|call| call.name).as_deref(), Some("timer.list"));
    assert_ne!(first.session, second.session);
    assert!(first.loudest() > 1_000 && second.loudest() > 1_000, "both are answered");
    assert_ne!(first.samples, second.samples);
    // `Heard` refuses events of other turns; the third one, which said nothing, got nothing at all.
    silent.send(Message::text("{\"type\":\"cancel\"}")).await.unwrap();
    let Message::Text(text) = next(&mut silent).await else { panic!("text only") };
    let only: Value = serde_json::from_str(text.as_str()).unwrap();
    assert_eq!((&only["type"], &only["problem"]["code"]), (&json!("problem"), &json!("conflict")), "{only}");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_socket_cannot_take_is_told_and_it_stays_open() {
    let api = Api::start(&QUIET).await;
    let mut socket = connect(&api, "/v1/talk").await;
    for (sent, code) in [
        ("no json", "bad_request"),
        ("{\"type\":\"sing\"}", "bad_request"),
        ("{\"type\":\"start\",\"loud\":true}", "bad_request"),
        ("{\"type\":\"text\",\"text\":\"\"}", "bad_request"),
        ("{\"type\":\"end\"}", "conflict"),
        ("{\"type\":\"played\"}", "conflict"),
    ] {
        socket.send(Message::text(sent)).await.unwrap();
        let Message::Text(text) = next(&mut socket).await else { panic!("text only") };
        let answer: Value = serde_json::from_str(text.as_str()).unwrap();
        assert_eq!(
            (&answer["type"], &answer["problem"]["code"]),
            (&json!("problem"), &json!(code)),
            "{sent}: {answer}"
        );
    }
    // Sound that nobody asked for is dropped; half a sample is told.
    socket.send(Message::binary(vec![0u8; 641])).await.unwrap();
    say(&mut socket, &start(Playback::Immediate)).await;
    socket.send(Message::binary(vec![0u8; 641])).await.unwrap();
    let mut heard = Heard::default();
    let code = loop {
        let Message::Text(text) = next(&mut socket).await else { continue };
        match serde_json::from_str(text.as_str()).unwrap() {
            TalkMessage::Problem { problem } => break problem.code.to_string(),
            other => heard.take(other),
        }
    };
    assert_eq!(code, "bad_audio");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_ask_for_the_token_and_end_with_the_server() {
    let api = Api::start(&QUIET).await;
    for path in ["/v1/events", "/v1/talk", "/v1/events?token=x", &format!("/v1/talk?token={}", api.token)] {
        let url = format!("ws://{}{path}", api.server.address());
        match connect_async(url.into_client_request().unwrap()).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 401, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
    // Without the upgrade it is no socket, and says so.
    let (status, _) = api.send(reqwest::Method::GET, "/v1/talk", None).await;
    assert_eq!(status, 426);
    let mut sockets = Vec::new();
    loop {
        let mut request = format!("ws://{}/v1/events", api.server.address()).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", api.token).parse().unwrap());
        match connect_async(request).await {
            Ok((socket, _)) => sockets.push(socket),
            Err(Error::Http(response)) => {
                assert_eq!(response.status(), 429);
                break;
            }
            Err(other) => panic!("{other}"),
        }
        assert!(sockets.len() < 1_000, "there is a limit");
    }
    assert_eq!(sockets.len(), loqa_api::limits::MAX_SOCKETS);
    api.stop().await;
    for mut socket in sockets {
        while let Some(Ok(message)) = tokio::time::timeout(PATIENCE, socket.next()).await.expect("it ends") {
            assert!(matches!(message, Message::Close(_)), "{message:?}");
        }
    }
}
