//! The backend for OpenAI-compatible servers, against a real HTTP server on loopback.

use crate::kit::{Outcome, request, timer_tools};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt as _;
use loqa_engine::{CancelFlag, EngineBoot};
use loqa_llm::openai::RemoteModel;
use loqa_llm::settings::Settings;
use loqa_protocol::llm::Role;
use loqa_protocol::{ErrorCode, Failure, InstanceId};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What the server saw, and how it behaves.
#[derive(Default)]
struct Server {
    behaviour: Behaviour,
    requests: Mutex<Vec<(HeaderMap, Value)>>,
    /// Set when the client went away in the middle of a stream.
    dropped: Arc<AtomicBool>,
    redirected: AtomicUsize,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Behaviour {
    #[default]
    Talks,
    Calls,
    CallsUnoffered,
    CallsWithBadArguments,
    /// One word, then silence.
    Hangs,
    BrokenJson,
    Fails,
    BreaksOff,
    Redirects,
    Whole,
    ErrorInStream,
    WantsKey,
}

/// Starts the server on its own thread; the address ends the test's knowledge of it.
fn serve(behaviour: Behaviour) -> (Arc<Server>, String) {
    let server = Arc::new(Server { behaviour, ..Server::default() });
    let state = Arc::clone(&server);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let router = Router::new()
                .route("/v1/models", get(models))
                .route("/v1/chat/completions", post(complete))
                .route("/elsewhere", post(elsewhere))
                .with_state(state);
            axum::serve(listener, router).await.unwrap();
        });
    });
    let address = told.recv_timeout(Duration::from_secs(10)).unwrap();
    (server, format!("http://{address}/v1"))
}

async fn models() -> Json<Value> {
    Json(json!({"object": "list", "data": [{"id": "tiny:latest"}, {"id": "other"}]}))
}

async fn elsewhere(State(server): State<Arc<Server>>) -> StatusCode {
    server.redirected.fetch_add(1, Ordering::SeqCst);
    StatusCode::OK
}

async fn complete(State(server): State<Arc<Server>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    server.requests.lock().unwrap().push((headers.clone(), body));
    let word = |text: &str| json!({"choices": [{"index": 0, "delta": {"content": text}}]}).to_string();
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).to_string();
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}}).to_string();
    let call = |name: &str, arguments: &str| {
        json!({"choices": [{"index": 0, "delta": {"tool_calls": [
            {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
        ]}}]})
        .to_string()
    };
    let more = |arguments: &str| {
        json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}}]})
            .to_string()
    };
    match server.behaviour {
        Behaviour::Talks => events(vec![word("Grüße"), word(" aus"), word(" Köln."), end, usage, "[DONE]".into()]),
        Behaviour::Calls => {
            events(vec![call("timer_start", ""), more("{\"duration_s\""), more(":300}"), end, "[DONE]".into()])
        }
        Behaviour::CallsUnoffered => events(vec![call("door_open", "{}"), end, "[DONE]".into()]),
        Behaviour::CallsWithBadArguments => {
            events(vec![call("timer_start", "{\"duration_s\":\"five\"}"), end, "[DONE]".into()])
        }
        Behaviour::Hangs => {
            let gone = DropFlag(Arc::clone(&server.dropped));
            let (send, receive) = mpsc::channel::<Result<Bytes, Infallible>>(1);
            send.send(Ok(Bytes::from(format!("data: {}\n\n", word("Well"))))).await.unwrap();
            let stream = futures_util::stream::unfold((receive, send, gone), |(mut receive, send, gone)| async move {
                receive.recv().await.map(|bytes| (bytes, (receive, send, gone)))
            });
            event_stream(Body::from_stream(stream))
        }
        Behaviour::BrokenJson => events(vec![word("Well"), "{\"choices\":[{".into()]),
        Behaviour::Fails => (StatusCode::INTERNAL_SERVER_ERROR, "the user said: my secret").into_response(),
        Behaviour::BreaksOff => events(vec![word("Well")]),
        Behaviour::Redirects => (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]).into_response(),
        Behaviour::Whole => Json(json!({"choices": [{"message": {"role": "assistant", "content": "All at once."}, "finish_reason": "stop"}]})).into_response(),
        Behaviour::ErrorInStream => events(vec![word("Well"), json!({"error": {"message": "out of memory"}}).to_string()]),
        Behaviour::WantsKey => match headers.get("authorization").and_then(|v| v.to_str().ok()) {
            Some("Bearer sesame") => events(vec![word("Open."), end, "[DONE]".into()]),
            _ => StatusCode::UNAUTHORIZED.into_response(),
        },
    }
}

/// Sends each event in two pieces, cut in the middle of whatever is there.
fn events(events: Vec<String>) -> Response {
    let pieces = events.into_iter().flat_map(|event| {
        let bytes = format!("data: {event}\n\n").into_bytes();
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        [Bytes::copy_from_slice(head), Bytes::copy_from_slice(tail)]
    });
    event_stream(Body::from_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()).map(Ok::<_, Infallible>)))
}

fn event_stream(body: Body) -> Response {
    ([("content-type", "text/event-stream")], body).into_response()
}

struct DropFlag(Arc<AtomicBool>);

impl Drop for DropFlag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn boot(settings: Value) -> EngineBoot {
    serde_json::from_value(json!({
        "url": "nats://127.0.0.1:1", "identity": "x", "seed": "x", "instance": InstanceId::from_bits(1),
        "capability": "llm.remote", "model": "tiny", "model_path": "", "settings": settings,
    }))
    .unwrap()
}

fn connect(settings: Value) -> Result<RemoteModel, Failure> {
    let boot = boot(settings);
    RemoteModel::connect(&boot, &Settings::of(&boot)?)
}

fn ask(remote: &mut RemoteModel, deadline_ms: u64, cancel: &CancelFlag) -> Result<Outcome, Failure> {
    let mut asked = request(&[(Role::System, "Be brief."), (Role::User, "my secret")], &timer_tools());
    asked.deadline_ms = deadline_ms;
    let mut outcome = Outcome::default();
    remote.answer(&asked, Instant::now(), cancel, &mut |reply| {
        outcome.take(reply);
        Ok(())
    })?;
    Ok(outcome)
}

fn ask_server(behaviour: Behaviour) -> (Arc<Server>, Result<Outcome, Failure>) {
    let (server, endpoint) = serve(behaviour);
    let mut remote = connect(json!({"backend": "openai", "endpoint": endpoint})).unwrap();
    let outcome = ask(&mut remote, 10_000, &CancelFlag::new());
    (server, outcome)
}

#[test]
fn text_is_streamed_as_it_comes() {
    let (server, outcome) = ask_server(Behaviour::Talks);
    let outcome = outcome.unwrap();
    assert_eq!((outcome.text.as_str(), outcome.deltas), ("Grüße aus Köln.", 3));
    let done = outcome.done.unwrap();
    assert_eq!((done.prompt_tokens, done.cached_tokens, done.output_tokens), (12, 8, 3));
    let requests = server.requests.lock().unwrap();
    let (headers, body) = &requests[0];
    assert_eq!(body["model"], "tiny");
    assert_eq!(body["messages"][0], json!({"role": "system", "content": "Be brief."}));
    assert_eq!(body["tools"][0]["function"]["name"], "timer_start", "names in the server's alphabet");
    assert!(headers.get("authorization").is_none(), "no key, no header");
}

#[test]
fn a_tool_call_in_pieces_comes_back_under_our_name() {
    let outcome = ask_server(Behaviour::Calls).1.unwrap();
    assert_eq!(outcome.shown(), r#"timer.start {"duration_s":300}"#);
}

#[test]
fn an_answer_that_is_not_streamed_is_read_too() {
    assert_eq!(ask_server(Behaviour::Whole).1.unwrap().text, "All at once.");
}

#[test]
fn what_a_server_can_do_wrong_is_named() {
    for (behaviour, code, word) in [
        (Behaviour::CallsUnoffered, ErrorCode::ToolUnknown, "not offered"),
        (Behaviour::CallsWithBadArguments, ErrorCode::ToolArguments, "`timer.start.duration_s` must be a whole number"),
        (Behaviour::BrokenJson, ErrorCode::EngineFault, "sent broken JSON"),
        (Behaviour::Fails, ErrorCode::EngineFault, "status 500"),
        (Behaviour::BreaksOff, ErrorCode::EngineFault, "broke off"),
        (Behaviour::ErrorInStream, ErrorCode::EngineFault, "reported an error"),
        (Behaviour::Redirects, ErrorCode::EngineFault, "redirects elsewhere"),
        (Behaviour::WantsKey, ErrorCode::EngineFault, "refuses the key"),
    ] {
        let (server, outcome) = ask_server(behaviour);
        let failure = outcome.expect_err(word);
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.message.contains(word), "{failure}");
        assert!(!failure.message.contains("secret"), "what was said is not in an error: {failure}");
        if code == ErrorCode::EngineFault {
            assert!(failure.message.contains("http://127.0.0.1:"), "the endpoint is named: {failure}");
        }
        assert_eq!(server.redirected.load(Ordering::SeqCst), 0, "nothing is sent to where a server points");
    }
}

#[test]
fn a_key_is_sent_when_it_is_set() {
    let (_server, endpoint) = serve(Behaviour::WantsKey);
    let mut remote = connect(json!({"backend": "openai", "endpoint": endpoint, "api_key": "sesame"})).unwrap();
    assert_eq!(ask(&mut remote, 10_000, &CancelFlag::new()).unwrap().text, "Open.");
}

#[test]
fn cancelling_closes_the_connection() {
    let (server, endpoint) = serve(Behaviour::Hangs);
    let mut remote = connect(json!({"backend": "openai", "endpoint": endpoint})).unwrap();
    let cancel = CancelFlag::new();
    let mut cancelled = None;
    let failure = remote
        .answer(&request(&[(Role::User, "hi")], &[]), Instant::now(), &cancel, &mut |_| {
            cancel.cancel();
            cancelled = Some(Instant::now());
            Ok(())
        })
        .expect_err("cancelled at its first word");
    assert_eq!(failure.code, ErrorCode::Cancelled);
    // 50 ms are promised, a loaded test machine gets ten times as much.
    assert!(cancelled.expect("a word came").elapsed() < Duration::from_millis(500));
    // The server notices without another request.
    let begun = Instant::now();
    while !server.dropped.load(Ordering::SeqCst) {
        assert!(begun.elapsed() < Duration::from_secs(10), "the connection stays open");
        std::thread::yield_now();
    }
}

#[test]
fn a_silent_server_runs_into_the_deadline() {
    let (_server, endpoint) = serve(Behaviour::Hangs);
    let mut remote = connect(json!({"backend": "openai", "endpoint": endpoint})).unwrap();
    let begun = Instant::now();
    let failure = ask(&mut remote, 300, &CancelFlag::new()).expect_err("it never ends");
    assert_eq!(failure.code, ErrorCode::DeadlineExceeded);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn nobody_there_is_said_plainly() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut remote = connect(json!({"backend": "openai", "endpoint": format!("http://{free}/v1")})).unwrap();
    let failure = ask(&mut remote, 10_000, &CancelFlag::new()).expect_err("nobody listens");
    assert!(failure.message.contains(&format!("http://{free}/v1 cannot be reached")), "{failure}");
    assert!(failure.message.contains("is it running?"), "{failure}");
}

#[test]
fn a_name_that_points_outside_is_refused_when_it_is_looked_up() {
    // `localhost` is near; a name under `.invalid` never resolves.
    let mut remote = connect(json!({"backend": "openai", "endpoint": "http://loqa.invalid/v1"})).unwrap();
    let failure = ask(&mut remote, 10_000, &CancelFlag::new()).expect_err("no such name");
    assert!(failure.message.contains("cannot be reached"), "{failure}");
    let failure = connect(json!({"backend": "openai", "endpoint": "http://1.1.1.1/v1"})).err().expect("far away");
    assert!(failure.message.contains("allow_remote"), "{failure}");
}

#[test]
fn loading_finds_the_model_and_measures_it() {
    let (_server, endpoint) = serve(Behaviour::Talks);
    let loaded = loqa_llm::load(&boot(json!({"backend": "ollama", "endpoint": endpoint}))).expect("loads");
    let capability = &loaded.capabilities[0];
    assert_eq!((capability.name.as_str(), capability.model.as_str()), ("llm.remote", "tiny"));
    assert!(capability.measured_speed > 0.0);
    assert_eq!(loaded.workers.len(), 1);

    let failure = loqa_llm::load(&boot(json!({"backend": "openai", "endpoint": endpoint, "remote_model": "huge"})))
        .err()
        .expect("no such model");
    assert_eq!(failure.code, ErrorCode::ModelInvalid);
    assert!(failure.message.contains("no model `huge`; it has `tiny:latest`, `other`"), "{failure}");
}

#[test]
fn settings_of_the_wrong_kind_are_named() {
    for (settings, word) in [
        (json!({"backend": "cloud"}), "`backend` must be `llama`, `openai` or `ollama`, not `cloud`"),
        (json!({"threads": 0}), "`threads` must be a whole number from 1 to 256"),
        (json!({"threads": "2"}), "`threads` must be a whole number"),
        (json!({"context": 3}), "`context` must be a whole number from 64"),
        (json!({"allow_remote": "yes"}), "`allow_remote` must be true or false"),
        (json!({"languages": "en"}), "`languages` must be a list"),
        (json!({"backend": "openai"}), "`endpoint` is missing"),
    ] {
        let failure = loqa_llm::load(&boot(settings)).err().expect(word);
        assert!(failure.message.contains(word), "{failure}");
    }
    let shown = format!("{:?}", Settings::of(&boot(json!({"api_key": "sesame"}))));
    assert!(!shown.contains("sesame"), "{shown}");
}
