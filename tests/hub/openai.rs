//! The OpenAI-compatible server, asked by the unmodified `openai` package and by hand:
//! what it does, what it refuses, and that it is off unless it is wanted.

use loqa_api::Compat;
use loqa_api::openai::{KeyFile, OpenAiOptions, OpenAiServer};
use loqa_hub::{Hub, TurnOptions};
use loqa_protocol::audio::OUTPUT_SAMPLE_RATE;
use loqa_tests::mutate::Random;
use loqa_tests::python::run_script;
use loqa_tests::{PATIENCE, TestHub, clip, last_json, loqa, speech};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A hub with its server.
struct Served {
    hub: Arc<Hub>,
    data: tempfile::TempDir,
    server: OpenAiServer,
    client: reqwest::Client,
}

impl Served {
    async fn start(settings: &[(&str, &str)]) -> Self {
        loqa_tests::cryptography();
        let TestHub { hub, data } = TestHub::start(settings).await;
        let hub = Arc::new(hub);
        let server = OpenAiServer::start(Arc::clone(&hub), OpenAiOptions { port: 0 }).await.unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_mins(2))
            // A connection whose request was refused before its end is no good for another one.
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        Self { hub, data, server, client }
    }

    fn key(&self) -> String {
        std::fs::read_to_string(self.server.key_path()).unwrap().trim().to_owned()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.base_url())
    }

    async fn post(&self, path: &str, kind: &str, body: Vec<u8>) -> reqwest::Response {
        let request = self.client.post(self.url(path)).bearer_auth(self.key());
        request.header("content-type", kind).body(body).send().await.unwrap()
    }

    async fn post_json(&self, path: &str, body: Value) -> reqwest::Response {
        self.post(path, "application/json", body.to_string().into_bytes()).await
    }

    async fn stop(self) {
        self.server.stop().await;
        Hub::stop_shared(self.hub).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_package_hears_speaks_and_sets_a_timer() {
    let served = Served::start(&[("tts.cache_bytes", "0")]).await;
    let wav = served.data.path().join("spoken.wav");
    let (base_url, key_file) = (served.server.base_url(), served.server.key_path().to_owned());
    let (clip, wav_text) = (clip("timer.wav"), wav.to_string_lossy().into_owned());
    let script = run_script(
        "openai_client.py",
        &[&base_url, &key_file.to_string_lossy(), &clip.to_string_lossy(), "set a timer for five minutes", &wav_text],
    )
    .await;
    assert!(script.ok, "the package was not content: {}", script.err);
    let seen = script.json();

    let models: Vec<&str> = seen["models"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for model in ["loqa", "starter-stt", "starter-tts"] {
        assert!(models.contains(&model), "{models:?}");
    }
    let command = |field: &Value| {
        let text = field.as_str().unwrap_or_default().trim().trim_end_matches('.').to_lowercase();
        assert_eq!(text, "set a timer for 5 minutes", "{field}");
    };
    for field in [&seen["json"], &seen["text"], &seen["verbose"]["text"], &seen["stream_text"]] {
        command(field);
    }
    assert_eq!(seen["verbose"]["language"], "en");
    let seconds = speech("timer.wav").len() as f64 / 16_000.0;
    assert!((seen["verbose"]["duration"].as_f64().unwrap() - seconds).abs() < 0.1, "{}", seen["verbose"]);
    assert!(seen["srt"].as_str().unwrap().starts_with("1\n00:00:00,000 --> 00:00:0"), "{}", seen["srt"]);
    assert!(seen["vtt"].as_str().unwrap().starts_with("WEBVTT\n\n00:00:00.000 --> 00:00:0"), "{}", seen["vtt"]);
    assert_eq!(seen["stream"], json!(["transcript.text.delta", "transcript.text.done"]));

    assert_eq!(seen["wav_type"], "audio/wav");
    assert_eq!(seen["wav"], json!([1, 2, OUTPUT_SAMPLE_RATE]));
    let spoken = loqa_audio::wav::read_speech(&wav).unwrap();
    let loudest = spoken.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    assert!(spoken.len() > 16_000 && loudest > 1_000, "{} samples, {loudest}", spoken.len());
    let (fast, usual) = (seen["pcm_seconds"].as_f64().unwrap(), seen["wav_seconds"].as_f64().unwrap());
    assert!(fast < usual, "half as fast again is shorter: {fast} {usual}");

    for answer in [&seen["chat"], &seen["chunks"]] {
        assert_eq!(answer["loqa"]["tool"], json!({"name": "timer.start", "arguments": {"duration_s": 300}}));
        assert_eq!(answer["finish_reason"], "stop");
    }
    let said = seen["chat"]["content"].as_str().unwrap();
    assert!(said.contains("5 minutes"), "{said}");
    assert_eq!(seen["chunks"]["content"], said, "the pieces make up the same answer");
    assert!(seen["chunks"]["n"].as_u64().unwrap() >= 3, "it begins, says and ends: {}", seen["chunks"]);
    assert_eq!(seen["chunks"]["ids"], 1);
    let together = seen["together"].as_array().unwrap();
    assert!(
        together.len() == 3 && together.iter().all(|text| text.as_str().unwrap().contains("timer")),
        "{together:?}"
    );

    let refused = |name: &str| {
        let it = &seen["refused"][name];
        (it["status"].as_u64().unwrap_or(0), it["code"].as_str().unwrap_or("").to_owned(), it["class"].clone())
    };
    for (name, status, code, class) in [
        ("wrong_key", 401, "invalid_api_key", "AuthenticationError"),
        ("other_key", 401, "invalid_api_key", "AuthenticationError"),
        ("model", 404, "model_not_found", "NotFoundError"),
        ("mp3", 400, "unsupported_value", "BadRequestError"),
        ("speed", 400, "invalid_value", "BadRequestError"),
        ("voice", 400, "invalid_value", "BadRequestError"),
        ("words", 400, "unsupported_value", "BadRequestError"),
        ("not_wav", 400, "bad_audio", "BadRequestError"),
        ("language", 400, "bad_request", "BadRequestError"),
        ("tools", 400, "unsupported_value", "BadRequestError"),
        ("empty", 400, "invalid_value", "BadRequestError"),
        ("no_word", 422, "not_understood", "UnprocessableEntityError"),
        ("no_word_streamed", 422, "not_understood", "UnprocessableEntityError"),
        ("path", 404, "not_found", "NotFoundError"),
    ] {
        assert_eq!(refused(name), (status, code.to_owned(), json!(class)), "{name}");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_this_machines_programs_with_this_key_get_in() {
    let served = Served::start(&[("stt.enabled", "false"), ("tts.enabled", "false"), ("llm.models", "")]).await;
    let models = served.url("/models");
    let get = |key: Option<&str>, headers: &[(&'static str, &str)]| {
        let mut request = served.client.get(&models);
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async move { request.send().await.unwrap().status() }
    };
    let key = served.key();
    assert_eq!(get(Some(&key), &[]).await, StatusCode::OK);
    assert_eq!(get(None, &[]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(get(Some(""), &[]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(get(Some(&key[..key.len() - 1]), &[]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(get(Some(&format!("{key}0")), &[]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(get(Some(&key), &[("host", "evil.example")]).await, StatusCode::FORBIDDEN, "rebinding");
    assert_eq!(get(Some(&key), &[("origin", "http://evil.example")]).await, StatusCode::FORBIDDEN, "another page");
    let address = served.server.address();
    assert!(address.ip().is_loopback(), "{address}");

    // A new key counts at once, and the old one opens nothing any more.
    let output = loqa(served.data.path(), &["openai", "key", "--rotate", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let fresh = last_json(&output)["key"].as_str().unwrap().to_owned();
    assert_ne!(fresh, key);
    assert_eq!(get(Some(&key), &[]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(get(Some(&fresh), &[]).await, StatusCode::OK);
    std::fs::remove_file(served.server.key_path()).unwrap();
    assert_eq!(get(Some(&fresh), &[]).await, StatusCode::SERVICE_UNAVAILABLE, "without a key nobody gets in");
    KeyFile::in_folder(served.data.path()).ensure().unwrap();

    // The API's token is no key, and the key is no token.
    let options = loqa_api::ApiOptions::default();
    let api = loqa_api::ApiServer::start(Arc::clone(&served.hub), options).await.unwrap();
    let token = std::fs::read_to_string(api.token_path()).unwrap();
    assert_eq!(get(Some(token.trim()), &[]).await, StatusCode::UNAUTHORIZED);
    let nodes = |key: String| served.client.get(format!("{}/v1/nodes", api.url())).bearer_auth(key).send();
    assert_eq!(nodes(served.key()).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(nodes(token.trim().to_owned()).await.unwrap().status(), StatusCode::OK);
    api.stop().await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_works_on_the_same_hub_as_the_persons_own_turns() {
    let served = Served::start(&[("stt.enabled", "false"), ("tts.enabled", "false")]).await;
    let body = json!({"model": "loqa", "messages": [{"role": "user", "content": "set a tea timer for three minutes"}]});
    let answer: Value = served.post_json("/chat/completions", body).await.json().await.unwrap();
    assert_eq!(answer["loqa"]["tool"]["name"], "timer.start");
    let report =
        served.hub.ask(TurnOptions::default(), "list my timers".to_owned(), false).await.report().await.unwrap();
    assert!(report.reply.contains("tea"), "{}", report.reply);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_servers_are_off_unless_they_are_wanted() {
    let port = {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        free.local_addr().unwrap().port().to_string()
    };
    let settings = [("stt.enabled", "false"), ("tts.enabled", "false"), ("llm.models", ""), ("openai.port", &port)];
    let TestHub { hub, data } = TestHub::start(&settings).await;
    let hub = Arc::new(hub);
    let servers = Compat::start(&hub, &hub.config()).await.unwrap();
    assert!(servers.openai.is_none() && servers.wyoming.is_none());
    assert!(tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await.is_err(), "nobody listens");
    assert!(!data.path().join("openai.key").exists(), "and no key is made");
    servers.stop().await;

    let mut config = hub.config();
    for key in ["openai.enabled", "wyoming.enabled"] {
        config.set(key, "true").unwrap();
    }
    config.set("wyoming.port", "0").unwrap();
    let servers = Compat::start(&hub, &config).await.unwrap();
    assert_eq!(servers.openai.as_ref().unwrap().address().port().to_string(), port);
    assert!(servers.wyoming.is_some());
    // The port is taken: said with the key that changes it, and nothing is left half started.
    let error = format!("{:#}", Compat::start(&hub, &config).await.err().unwrap());
    assert!(error.contains("openai.port") && error.contains(&port), "{error}");
    servers.stop().await;
    assert!(tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await.is_err(), "the port is free again");
    Hub::stop_shared(hub).await;
}

/// Number of mutated bodies: `LOQA_TEST_BODIES`, else 500.
#[tokio::test(flavor = "multi_thread")]
async fn mutated_bodies_neither_break_nor_stop_the_server() {
    let rounds = std::env::var("LOQA_TEST_BODIES").ok().and_then(|n| n.parse().ok()).unwrap_or(500);
    let served = Served::start(&[("llm.models", "")]).await;
    let short = served.data.path().join("short.wav");
    loqa_audio::wav::write(&short, &speech("timer.wav")[..3_200], 16_000).unwrap();
    let recording = std::fs::read(short).unwrap();
    let boundary = "XbX";
    let mut form = Vec::new();
    for (name, value) in [("model", "loqa"), ("response_format", "srt"), ("language", "en"), ("temperature", "0")] {
        form.extend(
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").into_bytes(),
        );
    }
    form.extend(
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n")
            .into_bytes(),
    );
    form.extend(recording);
    form.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
    let kind = format!("multipart/form-data; boundary={boundary}");
    let chat = json!({"model": "loqa", "stream": false, "messages": [{"role": "user", "content": "list my timers"}]});
    let spoken = json!({"model": "loqa", "input": "yes", "voice": "default", "response_format": "pcm", "speed": 1.5});
    let seeds = [
        ("/audio/transcriptions", kind.as_str(), form),
        ("/chat/completions", "application/json", chat.to_string().into_bytes()),
        ("/audio/speech", "application/json", spoken.to_string().into_bytes()),
    ];
    let mut random = Random::new(7);
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for round in 0..rounds {
        let (path, kind, seed) = &seeds[round % seeds.len()];
        let response = served.post(path, kind, random.mutated(seed)).await;
        let status = response.status().as_u16();
        let is_known = matches!(status, 200 | 400 | 404 | 413 | 422);
        let body = response.bytes().await.unwrap();
        assert!(is_known, "round {round} of {path}: {status} {}", String::from_utf8_lossy(&body));
        *statuses.entry(status).or_default() += 1;
    }
    let n_of = |status: u16| statuses.get(&status).copied().unwrap_or(0);
    assert!(n_of(200) > rounds / 20 && n_of(400) > rounds / 5, "both ways are gone: {statuses:?}");
    eprintln!("{rounds} mutated bodies: {statuses:?}");
    let answer = served.post_json("/chat/completions", chat).await;
    assert_eq!(answer.status(), StatusCode::OK, "and it still answers");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifth_request_at_a_time_is_told_to_wait() {
    let served = Served::start(&[("stt.enabled", "false"), ("tts.enabled", "false"), ("llm.models", "")]).await;
    let address = served.server.address();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ncontent-length: 100\r\n\r\n{{",
        served.key()
    );
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let list = || served.client.get(served.url("/models")).bearer_auth(served.key()).send();
    // The four are let in one after the other; until then a fifth still finds a place.
    let end = std::time::Instant::now() + PATIENCE;
    let busy = loop {
        let answer = list().await.unwrap();
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            break answer;
        }
        assert!(std::time::Instant::now() < end, "four slow requests leave no place for a fifth");
    };
    assert!(busy.headers().contains_key("retry-after"));
    drop(slow);
    while list().await.unwrap().status() != StatusCode::OK {
        assert!(std::time::Instant::now() < end, "their places are free again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_refused_before_it_is_read() {
    let served = Served::start(&[("stt.enabled", "false"), ("tts.enabled", "false"), ("llm.models", "")]).await;
    let large = served.client.post(served.url("/chat/completions")).bearer_auth(served.key());
    // The server closes while the client still sends; not every client sees the answer then.
    if let Ok(response) = large.body(vec![b' '; 2 * 1024 * 1024]).send().await {
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    let declared = "content-length: 1048577";
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {0}\r\nauthorization: Bearer {1}\r\n{declared}\r\n\r\n",
        served.server.address(),
        served.key()
    );
    let mut stream = tokio::net::TcpStream::connect(served.server.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("nothing is waited for").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413", "the length alone is enough");
    let long = json!({"model": "loqa", "input": "word ".repeat(1_000)});
    assert_eq!(served.post_json("/audio/speech", long).await.status(), StatusCode::BAD_REQUEST);
    let hour = loqa_tests::silence(31.0);
    let file = served.data.path().join("long.wav");
    loqa_audio::wav::write(&file, &hour, 16_000).unwrap();
    let mut form = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nloqa\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n".to_vec();
    form.extend(std::fs::read(&file).unwrap());
    form.extend(b"\r\n--b--\r\n");
    let response = served.post("/audio/transcriptions", "multipart/form-data; boundary=b", form).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let error: Value = response.json().await.unwrap();
    assert_eq!(error["error"]["code"], "audio_too_long");
    served.stop().await;
}
