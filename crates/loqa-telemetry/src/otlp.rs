//! Export of traces and metrics by OTLP over HTTP. Logs stay on standard error.
//!
//! The SDK exports from plain threads, where an asynchronous HTTP client finds no
//! runtime; [`Transport`] therefore brings a small one of its own. A collector
//! that is away costs nothing in a turn: spans wait in a bounded queue and are
//! dropped when it is full.

use crate::meters::{Meters, resource};
use anyhow::{Context as _, ensure};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::metrics::PeriodicReader;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// One request to the collector may take this long. Chosen: it runs beside the turns.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// What is left at the end may take this long before the program goes. An engine
/// has two seconds to exit when the hub is gone.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// Metrics are sent this often. Chosen: a bench of some minutes gets several points.
const METRICS_INTERVAL: Duration = Duration::from_secs(15);

/// The two providers of a process; dropping it flushes and stops them.
#[derive(Debug)]
pub(crate) struct Export {
    traces: SdkTracerProvider,
    meters: Meters,
}

impl Export {
    /// Starts export to `endpoint`, the base address of an OTLP/HTTP collector.
    pub(crate) fn start(program: &'static str, endpoint: &str) -> anyhow::Result<Self> {
        let base = endpoint.trim().trim_end_matches('/');
        let url = reqwest::Url::parse(base)
            .with_context(|| format!("read the OTLP endpoint, for example `http://127.0.0.1:4318`: `{endpoint}`"))?;
        ensure!(
            matches!(url.scheme(), "http" | "https") && url.has_host(),
            "the OTLP endpoint has to be an http or https address, for example `http://127.0.0.1:4318`: `{endpoint}`"
        );
        let transport: Arc<dyn HttpClient> = Arc::new(Transport::new()?);
        let spans = SpanExporter::builder()
            .with_http()
            .with_shared_http_client(Arc::clone(&transport))
            .with_endpoint(format!("{base}/v1/traces"))
            .with_timeout(REQUEST_TIMEOUT)
            .build()
            .context("set up the export of traces")?;
        let metrics = MetricExporter::builder()
            .with_http()
            .with_shared_http_client(transport)
            .with_endpoint(format!("{base}/v1/metrics"))
            .with_timeout(REQUEST_TIMEOUT)
            .build()
            .context("set up the export of metrics")?;
        let resource = resource(program);
        let periodic = PeriodicReader::builder(metrics).with_interval(METRICS_INTERVAL).build();
        Ok(Self {
            traces: SdkTracerProvider::builder().with_resource(resource.clone()).with_batch_exporter(spans).build(),
            meters: Meters::new(resource, |builder| builder.with_reader(periodic))?,
        })
    }

    /// The layer that turns spans of Loqa's own crates, INFO and above, into traces.
    /// The transport's own spans stay out, else each export would cause another.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let own = Targets::new().with_target("loqa", LevelFilter::INFO);
        tracing_opentelemetry::layer().with_tracer(self.traces.tracer("loqa")).with_filter(own)
    }

    /// The meters that export.
    pub(crate) fn meters(&self) -> &Meters {
        &self.meters
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // The SDK waits up to five seconds for the metrics, whatever it is told, so
        // both signals are flushed beside each other on threads that may be left
        // behind. A collector that is away is no reason to keep a program from
        // ending; the SDK has logged each failed export already.
        let (traces, meters) = (self.traces.clone(), self.meters.provider.clone());
        let (sender, done) = std::sync::mpsc::channel();
        let also_done = sender.clone();
        std::thread::spawn(move || {
            let _ = traces.shutdown_with_timeout(FLUSH_TIMEOUT);
            let _ = sender.send(());
        });
        std::thread::spawn(move || {
            let _ = meters.shutdown();
            let _ = also_done.send(());
        });
        let end = Instant::now() + FLUSH_TIMEOUT;
        for _signal in 0..2 {
            let _ = done.recv_timeout(end.saturating_duration_since(Instant::now()));
        }
    }
}

/// HTTP for the exporters: follows no redirects, runs on its own thread.
#[derive(Debug)]
struct Transport {
    client: reqwest::Client,
    /// `None` only while being dropped.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Transport {
    fn new() -> anyhow::Result<Self> {
        // Another part of the program may have installed it first; either is ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("loqa-otlp")
            .enable_all()
            .build()
            .context("start the thread that exports telemetry")?;
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(REQUEST_TIMEOUT)
            .build()
            .context("set up the HTTP client that exports telemetry")?;
        Ok(Self { client, runtime: Some(runtime) })
    }
}

#[async_trait::async_trait]
impl HttpClient for Transport {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let runtime = self.runtime.as_ref().ok_or("the exporter is stopping")?;
        let client = self.client.clone();
        runtime.spawn(async move { client.send_bytes(request).await }).await?
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        // A plain drop would wait, and panics inside an asynchronous program.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, VoiceLatency};
    use loqa_protocol::{LatencySplit, TurnClass};
    use opentelemetry::metrics::MeterProvider as _;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, channel};

    struct Received {
        head: String,
        body: Vec<u8>,
    }

    impl Received {
        fn holds(&self, text: &str) -> bool {
            self.body.windows(text.len()).any(|window| window == text.as_bytes())
        }
    }

    /// A collector: answers every request with 200 and hands it to the test.
    fn collector() -> (String, Receiver<Received>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, sender) = (stream.unwrap(), sender.clone());
                std::thread::spawn(move || {
                    let mut bytes = Vec::new();
                    let mut buffer = [0; 4096];
                    loop {
                        let n = stream.read(&mut buffer).unwrap_or(0);
                        if n == 0 {
                            return;
                        }
                        bytes.extend_from_slice(&buffer[..n]);
                        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
                        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
                        let length: usize = head
                            .lines()
                            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
                            .unwrap_or(0);
                        if bytes.len() < end + 4 + length {
                            continue;
                        }
                        let body = bytes[end + 4..end + 4 + length].to_vec();
                        bytes.drain(..end + 4 + length);
                        let _ = sender.send(Received { head, body });
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                    }
                });
            }
        });
        (address, receiver)
    }

    #[test]
    fn traces_and_metrics_reach_the_collector_and_speech_does_not() {
        let (endpoint, received) = collector();
        let export = Export::start("loqa-test", &endpoint).unwrap();
        let options = Options { filter: Some("off".into()), ..Options::default() };
        let subscriber = crate::subscriber(&options, Some(&export)).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let turn = tracing::info_span!(target: "loqa_hub", "turn");
            turn.in_scope(|| {
                tracing::info_span!(target: "loqa_hub", "stt", hop = "stt").in_scope(|| {
                    tracing::debug!(target: "loqa_hub", text = "the secret of the user", "final transcript");
                });
                tracing::info_span!(target: "hyper", "foreign").in_scope(|| {});
            });
        });
        let latency = VoiceLatency::with_meter(&export.meters().provider.meter("loqa"));
        latency.record(TurnClass::Intent, &LatencySplit { total: 120.0, ..LatencySplit::default() });
        drop(export);

        let limit = Duration::from_secs(20);
        let requests: Vec<Received> = (0..2).map(|_| received.recv_timeout(limit).expect("both signals")).collect();
        let of = |path: &str| {
            let start = format!("POST {path} HTTP/1.1");
            requests.iter().find(|request| request.head.starts_with(&start)).expect("one request per signal")
        };
        let traces = of("/v1/traces");
        assert!(traces.head.to_ascii_lowercase().contains("content-type: application/x-protobuf"), "{}", traces.head);
        assert!(traces.holds("loqa-test") && traces.holds("turn") && traces.holds("stt"));
        assert!(!traces.holds("foreign"), "only Loqa's own spans leave");
        assert!(!traces.holds("secret"), "what the user said never leaves");
        let metrics = of("/v1/metrics");
        assert!(metrics.holds("loqa.voice_latency_ms") && metrics.holds("intent"));
        assert!(metrics.holds("stt_tail") && metrics.holds(&crate::hardware_class()));
    }

    #[test]
    fn a_collector_that_is_away_or_silent_does_not_keep_the_program() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for address in [refused, silent.local_addr().unwrap()] {
            let export = Export::start("loqa-test", &format!("http://{address}/")).unwrap();
            let options = Options { filter: Some("off".into()), ..Options::default() };
            let subscriber = crate::subscriber(&options, Some(&export)).unwrap();
            tracing::subscriber::with_default(subscriber, || {
                drop(tracing::info_span!(target: "loqa_hub", "turn"));
            });
            VoiceLatency::with_meter(&export.meters().provider.meter("loqa"))
                .record(TurnClass::None, &LatencySplit::default());
            let begin = Instant::now();
            drop(export);
            assert!(begin.elapsed() < FLUSH_TIMEOUT * 10, "flushing is bounded: {:?}", begin.elapsed());
        }
    }

    #[test]
    fn an_endpoint_that_cannot_be_used_is_named() {
        for bad in ["", "collector", "ftp://host/", "unix:///run/otel", "127.0.0.1:4318"] {
            let error = Export::start("loqa-test", bad).expect_err(bad);
            assert!(format!("{error:#}").contains(&format!("`{bad}`")), "{error:#}");
        }
    }
}
