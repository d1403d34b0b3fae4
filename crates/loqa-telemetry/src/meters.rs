//! The one meter of the process, and its figures as Prometheus reads them.
//!
//! Every instrument is OpenTelemetry's. The same figures go out by OTLP where an
//! endpoint is set, and are kept for `/metrics` in any case; keeping them costs some
//! kilobytes. Deliberately absent: serving them, which is the HTTP API's business.

use anyhow::Context as _;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};
use std::sync::OnceLock;

/// Content type of [`scrape`].
pub const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

static METERS: OnceLock<Meters> = OnceLock::new();

/// Provider and registry of a process.
#[derive(Debug, Clone)]
pub(crate) struct Meters {
    pub(crate) provider: SdkMeterProvider,
    registry: Registry,
}

impl Meters {
    /// With what `more` adds to the provider, the OTLP reader for example.
    pub(crate) fn new(
        resource: Resource,
        more: impl FnOnce(
            opentelemetry_sdk::metrics::MeterProviderBuilder,
        ) -> opentelemetry_sdk::metrics::MeterProviderBuilder,
    ) -> anyhow::Result<Self> {
        let registry = Registry::new();
        // Names are given whole, with their units; scopes say nothing here.
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_units()
            .scope_info_enabled(false)
            .build()
            .context("set up the figures for Prometheus")?;
        let builder = SdkMeterProvider::builder().with_resource(resource).with_reader(reader);
        Ok(Self { provider: more(builder).build(), registry })
    }

    /// Makes these the meters of the process; `false` when it has some already.
    pub(crate) fn install(self) -> bool {
        METERS.set(self).is_ok()
    }

    pub(crate) fn scrape(&self) -> String {
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| {
            tracing::error!(%error, "figures cannot be written");
            String::new()
        })
    }
}

/// What names this program in its figures and traces.
pub(crate) fn resource(program: &'static str) -> Resource {
    Resource::builder()
        .with_service_name(program)
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(opentelemetry::KeyValue::new("service.namespace", "loqa"))
        .build()
}

fn process() -> Option<&'static Meters> {
    if METERS.get().is_none() {
        // A program, or a test, that did not start telemetry counts for `/metrics` only.
        match Meters::new(resource("loqa"), |builder| builder) {
            Ok(meters) => drop(meters.install()),
            Err(error) => tracing::error!(error = format!("{error:#}"), "this process has no figures"),
        }
    }
    METERS.get()
}

/// The meter of this process. Ask after [`crate::init`], else nothing goes out by OTLP.
pub(crate) fn meter() -> Meter {
    process().map_or_else(|| opentelemetry::global::meter("loqa"), |meters| meters.provider.meter("loqa"))
}

/// All figures of this process in Prometheus' text format.
#[must_use]
pub fn scrape() -> String {
    process().map(Meters::scrape).unwrap_or_default()
}
