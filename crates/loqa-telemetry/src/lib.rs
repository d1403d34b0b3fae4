//! Start-up of logs, traces and metrics, the trace context that travels in bus
//! headers, what is counted of turns, and the histogram of `loqa.voice_latency_ms`.
//!
//! Deliberately absent: anything that a user said. Traces leave the process from
//! level INFO upwards only, and what people say is logged at DEBUG at most, so
//! that no transcript, reply or tool argument can reach a collector. Metric
//! attributes come from closed sets.
//!
//! Nothing is sent unless an endpoint is set; without one there is no
//! OpenTelemetry layer at all and [`current_traceparent`] answers `None`. Figures are
//! kept in the process for whoever may ask for [`scrape`].

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on may stop"))]

mod hardware;
mod measures;
mod meters;
mod otlp;
mod trace_context;
mod voice_latency;

pub use hardware::hardware_class;
pub use measures::{
    Measures, WATERFALLS, Waterfall, engine_died, know_skills, queue_dropped, set_engines, set_store_bytes,
};
pub use meters::{PROMETHEUS_TEXT, scrape};
pub use trace_context::{current_traceparent, set_parent};
pub use voice_latency::{ClassLatency, PartLatency, VoiceLatency, Window};

use anyhow::Context as _;
use std::io::IsTerminal as _;
use tracing::Subscriber;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry};

/// Environment variable that replaces [`Options::filter`], in `tracing`'s syntax:
/// `info`, `loqa_bus=debug,info`.
pub const LOG_VARIABLE: &str = "LOQA_LOG";
/// Environment variable that picks the log's shape: `json` or `text`.
pub const LOG_FORMAT_VARIABLE: &str = "LOQA_LOG_FORMAT";
/// Environment variable for the collector, used when [`Options::otlp_endpoint`] is `None`.
pub const OTLP_VARIABLE: &str = "LOQA_OTLP_ENDPOINT";

/// What a program logs and where its traces and metrics go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// One JSON object per line instead of text for people.
    pub json: bool,
    /// Filter in `tracing`'s syntax; `None` means `info`. [`LOG_VARIABLE`] overrides it.
    pub filter: Option<String>,
    /// Base address of an OTLP/HTTP collector, for example `http://127.0.0.1:4318`;
    /// `/v1/traces` and `/v1/metrics` are added. `None` falls back to [`OTLP_VARIABLE`];
    /// without either, nothing is exported.
    pub otlp_endpoint: Option<String>,
}

impl Options {
    /// What the environment says, for programs without settings of their own (the engines).
    #[must_use]
    pub fn from_env() -> Self {
        Self {
            json: std::env::var(LOG_FORMAT_VARIABLE).is_ok_and(|format| format == "json"),
            filter: None,
            otlp_endpoint: None,
        }
    }
}

/// Keeps export alive; dropping it sends what is left, for at most two seconds.
#[derive(Debug)]
#[must_use = "telemetry ends when the guard is dropped"]
pub struct Guard {
    _export: Option<otlp::Export>,
}

/// Starts logging to standard error and, where an endpoint is set, the export of
/// traces and metrics. Call it once, first thing in `main`.
///
/// # Errors
/// A filter or an endpoint that cannot be read, named in the message; or a second
/// call in the same process.
pub fn init(program: &'static str, options: &Options) -> anyhow::Result<Guard> {
    let options = with_environment(options, |name| std::env::var(name).ok());
    let export = match &options.otlp_endpoint {
        Some(endpoint) => Some(otlp::Export::start(program, endpoint)?),
        None => None,
    };
    tracing::subscriber::set_global_default(subscriber(&options, export.as_ref())?)
        .context("start telemetry: it was started before in this process")?;
    if let Some(export) = &export
        && !export.meters().clone().install()
    {
        tracing::warn!("figures were counted before telemetry was started, they are not exported");
    }
    Ok(Guard { _export: export })
}

/// Applies the environment on top of the options; the source is an argument so
/// that tests need not change the process.
fn with_environment(options: &Options, variable: impl Fn(&str) -> Option<String>) -> Options {
    let set = |name| variable(name).filter(|value| !value.trim().is_empty());
    Options {
        json: options.json,
        filter: set(LOG_VARIABLE).or_else(|| options.filter.clone()),
        otlp_endpoint: options.otlp_endpoint.clone().or_else(|| set(OTLP_VARIABLE)),
    }
}

fn subscriber(
    options: &Options,
    export: Option<&otlp::Export>,
) -> anyhow::Result<impl Subscriber + Send + Sync + use<>> {
    let filter = options.filter.as_deref().unwrap_or("info");
    let filter = EnvFilter::builder()
        .parse(filter)
        .with_context(|| format!("read the log filter, for example `info` or `loqa_bus=debug,info`: `{filter}`"))?;
    // Internal errors stay silent: the layer would report a closed standard error
    // by `eprintln!`, which panics there. An engine outlives the hub's end of the
    // pipe for a moment, and must not die of a log line then.
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let log = if options.json {
        log.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    } else {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        log.with_ansi(colour).boxed()
    };
    Ok(Registry::default().with(log.with_filter(filter)).with(export.map(otlp::Export::layer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn the_environment_overrides_the_filter_and_fills_in_the_endpoint() {
        let options = Options { json: true, filter: Some("warn".into()), otlp_endpoint: Some("http://given:1".into()) };
        let set = [(LOG_VARIABLE, "debug"), (OTLP_VARIABLE, "http://env:2")];
        let result = with_environment(&options, environment(&set));
        assert_eq!(result.filter.as_deref(), Some("debug"), "LOQA_LOG wins over the file");
        assert_eq!(result.otlp_endpoint.as_deref(), Some("http://given:1"), "an explicit endpoint wins");

        let result = with_environment(&Options::default(), environment(&set));
        assert_eq!(result.otlp_endpoint.as_deref(), Some("http://env:2"));
        let result = with_environment(&Options::default(), environment(&[(OTLP_VARIABLE, " ")]));
        assert_eq!(result.otlp_endpoint, None, "an empty variable is an unset one");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let options = Options { filter: Some("loqa=loud".into()), ..Options::default() };
        let error = match subscriber(&options, None) {
            Ok(_) => panic!("`loud` is no level"),
            Err(error) => error,
        };
        assert!(error.to_string().contains("`loqa=loud`"), "{error:#}");
    }
}
