//! A language model behind an OpenAI-compatible address, as Ollama offers it: a real
//! HTTP server on loopback, asked by the real `loqa-llm`.

use axum::Router;
use axum::http::header;
use axum::routing::{get, post};
use loqa_protocol::TurnClass;
use loqa_tests::TestHub;

const ANSWER: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Beethoven \"}}]}\n\n\
    data: {\"choices\":[{\"delta\":{\"content\":\"wrote it.\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_endpoint_answers_before_the_bundled_model_and_is_replaced_by_it_when_it_goes() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v1", listener.local_addr().unwrap());
    let app = Router::new()
        .route("/v1/models", get(|| async { r#"{"object":"list","data":[{"id":"m"}]}"# }))
        .route("/v1/chat/completions", post(|| async { ([(header::CONTENT_TYPE, "text/event-stream")], ANSWER) }));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });

    let hub =
        TestHub::start(&[("stt.enabled", "false"), ("llm.endpoint", &endpoint), ("llm.endpoint_model", "m")]).await;
    let report = hub.ask("who wrote the ninth symphony").await;
    assert_eq!(report.failure, None);
    assert_eq!((report.class, report.reply.as_str()), (TurnClass::Llm, "Beethoven wrote it."));

    server.abort();
    let _ = server.await;
    let report = hub.ask("tell me a joke").await;
    assert_eq!(report.failure, None, "the next tier takes over");
    assert_eq!(report.class, TurnClass::Reflex);
    hub.stop().await;
}
