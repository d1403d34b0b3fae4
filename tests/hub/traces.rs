//! One turn is one trace, across all processes: a collector that reads OTLP with
//! OpenTelemetry's own message types receives what the built programs send.

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::routing::post;
use loqa_tests::{clip, last_json, loqa_command};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone)]
struct Span {
    service: String,
    name: String,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
}

type Spans = Arc<Mutex<Vec<Span>>>;

/// Takes a request of the OTLP/HTTP protocol apart; anything else is refused as a real collector does.
fn receive(spans: &Spans, kind: Option<&str>, body: Bytes) -> StatusCode {
    if kind != Some("application/x-protobuf") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    for resource in request.resource_spans {
        let service = resource
            .resource
            .iter()
            .flat_map(|resource| &resource.attributes)
            .find(|attribute| attribute.key == "service.name")
            .and_then(|attribute| match attribute.value.as_ref()?.value.as_ref()? {
                Value::StringValue(name) => Some(name.clone()),
                _ => None,
            })
            .unwrap_or_default();
        let received = resource.scope_spans.into_iter().flat_map(|scope| scope.spans).map(|span| Span {
            service: service.clone(),
            name: span.name,
            trace: span.trace_id,
            id: span.span_id,
            parent: span.parent_span_id,
        });
        spans.lock().unwrap().extend(received);
    }
    StatusCode::OK
}

async fn collector() -> (String, Spans, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let spans = Spans::default();
    let sink = spans.clone();
    let traces = post(move |headers: axum::http::HeaderMap, body: Bytes| async move {
        receive(&sink, headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()), body)
    });
    let app = Router::new().route("/v1/traces", traces).route("/v1/metrics", post(|| async { StatusCode::OK }));
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (endpoint, spans, server)
}

/// The spans of the one turn that `loqa demo` runs with these arguments.
async fn spans_of(arguments: &[&str]) -> Vec<Span> {
    let (endpoint, spans, server) = collector().await;
    let data = tempfile::tempdir().unwrap();
    let mut command = loqa_command(data.path());
    // By flag: the engines learn the address from the hub, not from the environment.
    command.args(["--set", &format!("telemetry.otlp_endpoint={endpoint}"), "demo", "--json", "--silent"]);
    command.args(arguments).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(last_json(&output)["tool"]["name"].is_string());
    server.abort();
    let spans = spans.lock().unwrap().clone();
    let turn = spans.iter().find(|span| span.name == "turn").expect("the turn is a span").trace.clone();
    spans.into_iter().filter(|span| span.trace == turn).collect()
}

fn assert_is_one_tree(spans: &[Span], services: &[&str], hops: &[&str]) {
    let found: BTreeSet<&str> = spans.iter().map(|span| span.service.as_str()).collect();
    assert_eq!(found, services.iter().copied().collect(), "{spans:#?}");
    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (span.id.as_slice(), span)).collect();
    assert_eq!(by_id.len(), spans.len(), "span ids are distinct");
    let roots: Vec<&Span> = spans.iter().filter(|span| !by_id.contains_key(span.parent.as_slice())).collect();
    assert_eq!(roots.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["turn"], "{spans:#?}");
    for hop in hops {
        assert!(spans.iter().any(|span| span.name == *hop && span.service == "loqa"), "hop {hop}: {spans:#?}");
    }
    for span in spans.iter().filter(|span| span.service != "loqa") {
        let parent = by_id[span.parent.as_slice()];
        assert_eq!(parent.service, "loqa", "the work of an engine hangs below the hub's hop: {span:?} {parent:?}");
        assert_eq!(format!("loqa-{}", parent.name), span.service);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoken_turn_is_one_trace_across_hub_and_engines() {
    let path = clip("timer.wav");
    let spans = spans_of(&["--wav", &path.to_string_lossy()]).await;
    assert_is_one_tree(&spans, &["loqa", "loqa-stt", "loqa-tts"], &["stt", "skill", "tts"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_the_model_plans_is_one_trace_too() {
    let spans = spans_of(&["--text", "is my tea timer finished"]).await;
    assert_is_one_tree(&spans, &["loqa", "loqa-llm", "loqa-tts"], &["llm", "skill", "tts"]);
}
